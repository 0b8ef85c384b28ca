"""Series: windows of one source, with the same filters and format, that follow each other in time.

Each format counts for itself: two formats side by side are two archives of the same time. A window alone, such as one
that was asked for once, makes no series, and leaves no gap before or after it. The time before a series' first window
and after its last is no gap either. This module knows receipts by what seals say of them, and reads none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from airflow_provider_akinon.audit_events.archive import first_and_number
from airflow_provider_akinon.audit_events.model import Format, Window, gaps, overlaps
from airflow_provider_akinon.audit_events.seals.document import ChainName, SealedReceipt

Entry = tuple[ChainName, SealedReceipt]
"""A receipt, sealed or not, and the chain that it belongs to."""


@dataclass(frozen=True, slots=True)
class Series:
    """The windows of one source, filters and format, in order; a window's own objects count once."""

    chain: ChainName
    format: Format
    windows: tuple[Window, ...]

    def gaps(self, start: datetime | None = None, end: datetime | None = None) -> list[Window]:
        """Return the time that no window covers, from the first to the last; within ``[start, end)`` if given."""
        if not any(one.end >= next_.start for one, next_ in pairwise(self.windows)):
            return []
        return gaps(self.windows, span) if (span := self._span(start, end)) else []

    def overlaps(self, start: datetime | None = None, end: datetime | None = None) -> list[Window]:
        """Return the time that two windows cover, within the bounds of `gaps`."""
        return overlaps(self.windows, span) if (span := self._span(start, end)) else []

    def _span(self, start: datetime | None, end: datetime | None) -> Window | None:
        first = self.windows[0].start
        last = max(window.end for window in self.windows)
        start, end = max(first, start or first), min(last, end or last)
        return Window(start, end) if start < end else None


def series_of(entries: Iterable[Entry]) -> list[Series]:
    """Return the series that windows make, by chain and format. Of two entries of a window, the first counts."""
    found: defaultdict[tuple[ChainName, Format], dict[str, Window]] = defaultdict(dict)
    for chain, entry in entries:
        found[chain, entry.format].setdefault(first_and_number(entry.object)[0], entry.window)
    return [
        Series(chain, format_, tuple(sorted(windows.values(), key=lambda each: (each.start, each.end))))
        for (chain, format_), windows in sorted(found.items())
    ]


class SealedTime:
    """The time up to which each series is sealed: the end of its last sealed window, not the end of a period."""

    def __init__(self, sealed: Iterable[Entry]) -> None:
        self._ends: dict[tuple[ChainName, Format | None], datetime] = {}
        for chain, entry in sealed:
            for name in ((chain, entry.format), (chain, None)):
                self._ends[name] = max(entry.window.end, self._ends.get(name, entry.window.end))

    def holds(self, chain: ChainName, entry: SealedReceipt) -> bool:
        """Tell whether the window of a receipt that is in no seal begins in time that was sealed before.

        For a format that was never sealed, the time that another format has sealed counts.
        """
        end = self._ends.get((chain, entry.format), self._ends.get((chain, None)))
        return end is not None and entry.window.start < end
