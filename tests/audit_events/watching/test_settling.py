"""Waiting for a window: enough events, and settled, with time under control."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.model import Filters, Window
from airflow_provider_akinon.audit_events.watching import Awaited, Sighting, look_at, progress_of, result_of
from tests.support.memory_api import MemoryApi, at

MORNING = Window(at("06:00:00"), at("12:00:00"))
HALF_AN_HOUR = timedelta(minutes=30)


def awaited(**fields: Any) -> Awaited:
    return Awaited(**{"window": MORNING, "filters": Filters(), "min_events": 0, "settled_for": HALF_AN_HOUR} | fields)


def settles_at(api: MemoryApi, wanted: Awaited, arrivals: dict[datetime, datetime], start: datetime) -> datetime:
    """Look every five minutes from ``start`` on, with events arriving late; return when the waiting was over.

    ``arrivals`` has the events' timestamps by the time when they become visible.
    """
    now, seen = start, None
    while True:
        api.events = [(stamp, f"u-{when}") for when, stamp in arrivals.items() if when <= now]
        seen, over = look_at(api, wanted, seen, now)
        # What is carried on must survive the way through a trigger or a database.
        seen = Sighting.from_dict(seen.as_dict())
        if over:
            return now
        now += timedelta(minutes=5)
        assert now < start + timedelta(days=3)


def test_enough_events_end_the_waiting_at_once() -> None:
    """Without ``settled_for``, the look that finds ``min_events`` is the last one."""
    api = MemoryApi()
    wanted = awaited(min_events=2, settled_for=None)
    api.events = [(at("06:00:00"), "a"), (at("12:00:00"), "outside")]
    seen, over = look_at(api, wanted, None, at("06:30:00"))
    assert (seen.count, over) == (1, False)

    api.events.append((at("06:10:00"), "b"))
    seen, over = look_at(api, wanted, seen, at("06:35:00"))

    assert (seen.count, over) == (2, True)
    assert result_of(wanted, seen, at("06:35:00")) == {"count": 2, "window": MORNING.as_dict(), "settled_at": None}


def test_late_arrivals_hold_the_waiting_until_they_stop() -> None:
    """Events become visible until 13:10, the last twenty minutes after the one before: it is over at 13:40."""
    api = MemoryApi()
    late = {at(f"12:{minute:02}:00"): at("11:00:00") for minute in (5, 10, 25, 50)} | {at("13:10:00"): at("06:00:00")}

    assert settles_at(api, awaited(), late, at("12:00:00")) == at("13:40:00")
    assert len(api.events) == 5


def test_a_quiet_window_settles_too() -> None:
    """No event at all, and the window has settled once it has ended and been still for long enough."""
    assert settles_at(MemoryApi(), awaited(), {}, at("12:00:00")) == at("12:30:00")


def test_stillness_counts_from_the_end_of_the_window() -> None:
    """Looking since the morning, with nothing moving since then, does not end the waiting at the window's end."""
    assert settles_at(MemoryApi(), awaited(), {at("07:00:00"): at("06:30:00")}, at("06:00:00")) == at("12:30:00")


def test_a_window_that_ended_long_ago_has_settled_at_the_first_look() -> None:
    """A backfill does not wait: a day after its end a window settles at once, just before that it does not."""
    api = MemoryApi()
    a_day_later = MORNING.end + timedelta(days=1)

    assert settles_at(api, awaited(), {}, a_day_later) == a_day_later
    assert settles_at(api, awaited(), {}, a_day_later - HALF_AN_HOUR) == a_day_later
    sooner = awaited(max_lateness=timedelta(hours=1))
    assert settles_at(api, sooner, {}, at("13:00:00")) == at("13:00:00")


def test_settled_and_enough_must_both_hold() -> None:
    """A window that is still, with too few events, is waited for."""
    api = MemoryApi()
    wanted = awaited(min_events=1)

    assert settles_at(api, wanted, {at("14:00:00"): at("07:00:00")}, at("12:00:00")) == at("14:30:00")


def test_each_look_is_one_small_request() -> None:
    """A look asks for one event, whatever the window holds."""
    api = MemoryApi()
    api.events = [(at("07:00:00"), f"{number}") for number in range(50)]
    look_at(api, awaited(), None, at("12:00:00"))

    assert [request["limit"] for request in api.asked] == ["1"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"min_events": -1}, "min_events=-1 is not an integer of at least 0"),
        ({"min_events": True}, "min_events=True"),
        ({"min_events": "3"}, "min_events='3'"),
        ({"settled_for": 30}, "settled_for=30 is not a duration; give one, such as timedelta"),
        ({"settled_for": timedelta(seconds=-1)}, "settled_for="),
        ({"max_lateness": None}, "max_lateness=None"),
        ({"settled_for": None}, "min_events=0 waits for nothing"),
    ],
)
def test_what_cannot_be_waited_for_is_refused(fields: dict[str, Any], says: str) -> None:
    """Each wrong field is named with its value."""
    with pytest.raises(InvalidInput, match=says):
        awaited(**fields)


@pytest.mark.parametrize(
    ("fields", "count", "said"),
    [
        ({}, 5, "holds 5 matching events since 2026-01-31T12:10:00.000Z; settles in 0:20:00, where the count stands"),
        ({"min_events": 9}, 5, "holds 5 matching events since 2026-01-31T12:10:00.000Z; waiting for 9"),
        ({"min_events": 1, "settled_for": None}, 5, "holds 5 matching events since 2026-01-31T12:10:00.000Z"),
    ],
)
def test_progress_says_what_is_still_needed(fields: dict[str, Any], count: int, said: str) -> None:
    """Since when the count stands, and how long it has to, or how many events are missing."""
    seen = Sighting(count, at("12:10:00"))

    assert said in progress_of(awaited(**fields), seen, at("12:20:00"))
    before_the_end = progress_of(awaited(), Sighting(count, at("08:00:00")), at("11:00:00"))
    assert "settles in 1:30:00" in before_the_end
