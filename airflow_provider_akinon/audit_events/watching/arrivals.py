"""Finds new events: those that have arrived since the last look, each once.

A look reads the events from a little before the last one's end (the overlap, as events become visible late) to now,
and leaves out those that were announced. What has been announced goes from look to look as a small value, the
`Cursor`; with it, another process can take over, and misses nothing and announces nothing again. It holds no personal
data: only times, and uuids of the overlap. Events that become visible later than the overlap are not noticed here; a
reconciliation of counts is for these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_akinon.audit_events.api import PagesOfEvents
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters, Window, format_instant, parse_event, parse_instant

MOST_UUIDS = 20
"""The most uuids that an announcement names."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The point up to which events have been announced."""

    until: datetime
    """The end of the time that the last look covered, in UTC."""
    announced: Mapping[str, datetime] = field(default_factory=dict)
    """The announced events that the next look will see again: their timestamps in UTC, by their uuids."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        announced = {uuid: format_instant(timestamp) for uuid, timestamp in self.announced.items()}
        return {"until": format_instant(self.until), "announced": announced}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Cursor:
        """Return the cursor that `as_dict` wrote."""
        announced = {uuid: parse_instant("announced", text) for uuid, text in value["announced"].items()}
        return cls(parse_instant("until", value["until"]), announced)


@dataclass(frozen=True, slots=True)
class Batch:
    """New events, as they are announced. No personal data."""

    batch_id: str
    """An id that is the same only for the same events."""
    count: int
    window: Window
    """The time from the first new event to the end of the look."""
    uuids: tuple[str, ...]
    """The first `MOST_UUIDS` uuids of the new events, in ``(timestamp, uuid)`` order."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {
            "batch_id": self.batch_id,
            "count": self.count,
            "window": self.window.as_dict(),
            "uuids": list(self.uuids),
        }


def look_for(
    api: PagesOfEvents, filters: Filters, since: datetime, cursor: Cursor, overlap: timedelta, now: datetime
) -> tuple[Batch | None, Cursor]:
    """Look once for events from ``since`` on that are new to ``cursor``.

    Return them, None where there are none, and the cursor after them. ``now`` is an aware datetime.

    :raises ApiError: the API failed; see `errors`.
    :raises IncompleteWindow: the numbers do not prove that every event was read.
    """
    if now <= cursor.until:
        return None, cursor
    window = Window(max(since, cursor.until - overlap), now)
    if api.count(window, filters) == len(cursor.announced):
        return None, cursor
    with export_window(api, window, filters) as export:
        events = [parse_event(line)[:2] for line in export.lines()]
    fresh = [(timestamp, uuid) for timestamp, uuid in events if uuid not in cursor.announced]
    after = Cursor(now, {uuid: timestamp for timestamp, uuid in events if timestamp >= now - overlap})
    if not fresh:
        return None, after
    digest = hashlib.sha256("".join(sorted(uuid for _, uuid in fresh)).encode()).hexdigest()
    uuids = tuple(uuid for _, uuid in fresh[:MOST_UUIDS])
    # A timestamp that was cut to milliseconds may lie before `since`.
    return Batch(digest[:32], len(fresh), Window(max(since, fresh[0][0]), now), uuids), after
