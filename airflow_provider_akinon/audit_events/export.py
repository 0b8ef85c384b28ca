"""The export of a window to a local file, proved complete before anyone else sees it.

The API's ``count`` respects the filters, so completeness needs no trust in page numbers: the events read are as
many as one closing count of the whole window says, or the window is read again, a few times, or the export fails.
What the counts cannot show: a deletion and an insertion that cancel out between two requests, and a count that is
stale. This module refuses to return a file whose numbers do not add up.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from airflow_provider_akinon.audit_events.api import AuditEventsApi
from airflow_provider_akinon.audit_events.encoding import Event, JsonLinesGzip
from airflow_provider_akinon.audit_events.errors import IncompleteWindow, ProtocolError
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.slices import read_slice
from airflow_provider_akinon.audit_events.window import Window, format_instant

READINGS = 3
"""Times that a window is read before the export fails, when events come in while it is read."""


@dataclass(frozen=True, slots=True)
class Export:
    """A proved window in a local file."""

    window: Window
    filters: Filters
    source: str
    """Where the events come from: host and remote id, such as ``shop.example.com/remote/1``."""
    count: int
    file: IO[bytes]
    """The gzip JSON Lines, positioned at the start; gone when the export's context ends."""
    size: int
    sha256: str
    content_sha256: str
    uuids_sha256: str

    def lines(self) -> Iterator[bytes]:
        """Yield the stored lines, uncompressed, from the first on; leaves the file at its start."""
        self.file.seek(0)
        with gzip.open(self.file) as lines:
            yield from lines
        self.file.seek(0)


@contextmanager
def export_window(api: AuditEventsApi, window: Window, filters: Filters) -> Iterator[Export]:
    """Read ``window`` into a temporary file on local disk and give it, proved complete.

    The file has no name, so that nothing stays behind even when the process is killed.

    :raises ApiError: the API failed, or gave what was not asked for; see `errors`.
    :raises IncompleteWindow: the events read are not as many as the API counts.
    """
    for _ in range(READINGS):
        with tempfile.TemporaryFile(prefix="akinon-audit-events-") as file:
            with JsonLinesGzip(file) as lines:
                for event in _ascending(read_slice(api, window, filters)):
                    lines.write(event)
            expected = api.count(window, filters)
            if lines.count == expected:
                file.seek(0)
                yield Export(
                    window=window,
                    filters=filters,
                    source=source_of(api),
                    count=lines.count,
                    file=file,
                    size=lines.size,
                    sha256=lines.sha256,
                    content_sha256=lines.content_sha256,
                    uuids_sha256=lines.uuids_sha256,
                )
                return
    raise IncompleteWindow(
        f"The window {window} is not proved complete: the API counts {expected} events and {lines.count} were "
        f"read, after {READINGS} readings. It is probably still changing; try again later",
        expected=expected,
        read=lines.count,
    )


def source_of(api: AuditEventsApi) -> str:
    """Return the name of an API and account, for keys and metadata."""
    return f"{api.settings.host}/remote/{api.settings.extra.remote_id}"


def _ascending(events: Iterator[Event]) -> Iterator[Event]:
    """Pass events on, making sure that they strictly ascend: in order, and none twice."""
    last: Event | None = None
    for event in events:
        if last is not None and event[:2] <= last[:2]:
            raise ProtocolError(
                f"The API gave event {event.uuid} of {format_instant(event.timestamp)} after event {last.uuid} of "
                f"{format_instant(last.timestamp)}: twice, or out of order"
            )
        last = event
        yield event
