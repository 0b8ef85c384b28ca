"""Waiting for a window: until it holds enough events, and until it has settled.

A data-warehouse view shows events late: a window that has ended can still grow. It has settled once its end has
passed and its count has not moved for a while. The result of a look goes on to the next one as a small value
(`Sighting`), and nothing else has to be kept: not by a sensor between two pokes, nor by a trigger that another
process takes over. This module sends one small request for each look; it never sleeps and knows no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_akinon.audit_events.api import PagesOfEvents
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.model import Filters, Window, format_instant, parse_instant

MAX_LATENESS = timedelta(hours=24)
"""The time after its end during which a window may still be growing, by default."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """A window to wait for, and the conditions that it has to meet.

    :raises InvalidInput: ``min_events`` or a duration is negative, or not of its type.
    """

    window: Window
    filters: Filters
    min_events: int
    """The number of matching events that the window must hold."""
    settled_for: timedelta | None = None
    """The time for which the count must not have moved, from the window's end on; None where that does not matter."""
    max_lateness: timedelta = MAX_LATENESS
    """A window that ended longer ago has settled at the first look."""

    def __post_init__(self) -> None:
        self.check(self.min_events, self.settled_for, self.max_lateness)

    @staticmethod
    def check(min_events: object, settled_for: object, max_lateness: object) -> None:
        """Make sure that the fields that do not depend on a run are right.

        :raises InvalidInput: one is not.
        """
        if not isinstance(min_events, int) or isinstance(min_events, bool) or min_events < 0:
            raise InvalidInput(f"min_events={min_events!r} is not an integer of at least 0")
        for name, value in (("settled_for", settled_for), ("max_lateness", max_lateness)):
            if name == "settled_for" and value is None:
                continue
            if not isinstance(value, timedelta) or value < timedelta(0):
                raise InvalidInput(f"{name}={value!r} is not a duration; give one, such as timedelta(minutes=30)")
        if min_events == 0 and settled_for is None:
            raise InvalidInput("min_events=0 waits for nothing; give settled_for, or a min_events of at least 1")


@dataclass(frozen=True, slots=True)
class Sighting:
    """The number of events that a window held at the last look."""

    count: int
    since: datetime
    """The time when this count was first seen, in UTC."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {"count": self.count, "since": format_instant(self.since)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Sighting:
        """Return the sighting that `as_dict` wrote."""
        return cls(int(value["count"]), parse_instant("since", value["since"]))


def look_at(api: PagesOfEvents, awaited: Awaited, before: Sighting | None, now: datetime) -> tuple[Sighting, bool]:
    """Count the window once; return the sighting, and whether the waiting is over.

    ``before`` is the last look's sighting, None at the first look; ``now`` is an aware datetime.

    :raises ApiError: the API failed; see `errors`.
    """
    count = api.count(awaited.window, awaited.filters)
    seen = before if before is not None and before.count == count else Sighting(count, now)
    return seen, count >= awaited.min_events and _has_settled(awaited, seen, now)


def _has_settled(awaited: Awaited, seen: Sighting, now: datetime) -> bool:
    if awaited.settled_for is None:
        return True
    ended_ago = now - awaited.window.end
    if ended_ago >= awaited.max_lateness:
        return True
    # Stillness counts from the window's end: before it, nothing can be said of what comes at its end.
    return min(now - seen.since, ended_ago) >= awaited.settled_for


def progress_of(awaited: Awaited, seen: Sighting, now: datetime) -> str:
    """Return a line for the log: the count, since when it stands, and how long is still needed."""
    text = f"{awaited.window} holds {seen.count} matching events since {format_instant(seen.since)}"
    if seen.count < awaited.min_events:
        return f"{text}; waiting for {awaited.min_events}"
    if awaited.settled_for is None:
        return text
    still = max(seen.since, awaited.window.end)
    left = still + awaited.settled_for - now
    return f"{text}; settles in {timedelta(seconds=round(left.total_seconds()))}, where the count stands until then"


def result_of(awaited: Awaited, seen: Sighting, now: datetime) -> dict[str, Any]:
    """Return the result that a sensor gives to XCom when the waiting is over.

    ``count`` events, the ``window``, and ``settled_at``: when it was found settled, None where that was not asked.
    """
    return {
        "count": seen.count,
        "window": awaited.window.as_dict(),
        "settled_at": None if awaited.settled_for is None else format_instant(now),
    }
