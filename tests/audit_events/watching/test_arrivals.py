"""New events: each announced once, whatever the order in which they become visible."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from airflow_provider_akinon.audit_events.model import Filters
from airflow_provider_akinon.audit_events.watching import MOST_UUIDS, Batch, Cursor, look_for
from tests.support.memory_api import MemoryApi, at, named

SINCE = at("06:00:00")
OVERLAP = timedelta(minutes=15)


def take(api: MemoryApi, cursor: Cursor, now: datetime) -> tuple[Batch | None, Cursor]:
    batch, after = look_for(api, Filters(), SINCE, cursor, OVERLAP, now)
    # What is noted must survive the way through a database.
    return batch, Cursor.from_dict(after.as_dict())


def test_new_events_are_announced_once() -> None:
    """The first look finds what there is since then, the second nothing, the third only what came meanwhile."""
    api = MemoryApi()
    api.events = [(at("05:59:59"), named("before")), (at("06:10:00"), named("a")), (at("06:20:00"), named("b"))]
    first, cursor = take(api, Cursor(SINCE), at("06:30:00"))
    second, cursor = take(api, cursor, at("06:31:00"))
    api.events += [(at("06:25:00"), named("late")), (at("06:31:30"), named("c")), (at("06:40:00"), named("ahead"))]
    third, cursor = take(api, cursor, at("06:32:00"))

    assert first is not None
    assert (first.count, first.uuids) == (2, (named("a"), named("b")))
    assert first.window.as_dict() == {"start": "2026-01-31T06:10:00.000Z", "end": "2026-01-31T06:30:00.000Z"}
    assert second is None
    assert third is not None
    assert third.uuids == (named("late"), named("c"))
    assert third.batch_id != first.batch_id


def test_a_look_without_news_is_one_small_request() -> None:
    """As long as nothing is new, the count alone tells."""
    api = MemoryApi()
    api.events = [(at("06:10:00") + timedelta(seconds=number), named(f"{number}")) for number in range(500)]
    batch, cursor = take(api, Cursor(SINCE), at("06:30:00"))
    assert batch is not None
    assert len(batch.uuids) == MOST_UUIDS
    api.asked.clear()
    take(api, cursor, at("06:31:00"))

    assert [request["limit"] for request in api.asked] == ["1"]


def test_the_same_cursor_gives_the_same_batch() -> None:
    """Whoever takes over after a kill announces the same events under the same id, and misses none."""
    api = MemoryApi()
    api.events = [(at("06:10:00"), named("a")), (at("06:20:00"), named("b"))]
    once, _ = take(api, Cursor(SINCE), at("06:30:00"))
    again, _ = take(api, Cursor(SINCE), at("06:30:20"))

    assert once is not None
    assert again is not None
    assert once.batch_id == again.batch_id


def test_no_event_is_missed_or_announced_twice_while_it_becomes_visible_within_the_overlap() -> None:
    """A thousand events, each visible up to a quarter of an hour after it happened, are announced once each."""
    rng = random.Random(3)
    visible = sorted(
        (happened + timedelta(seconds=rng.uniform(0, OVERLAP.total_seconds())), happened, named(f"{number}"))
        for number, happened in enumerate(
            SINCE + timedelta(milliseconds=rng.randrange(3 * 3600 * 1000)) for _ in range(1000)
        )
    )
    api, cursor, now, announced = MemoryApi(), Cursor(SINCE), SINCE, 0
    ids = set()
    while now < at("09:20:00"):
        now += timedelta(seconds=60)
        api.events = [(happened, uuid) for when, happened, uuid in visible if when <= now]
        batch, cursor = take(api, cursor, now)
        announced += batch.count if batch else 0
        ids |= {batch.batch_id} if batch else set()
        assert len(cursor.announced) < 250

    assert announced == 1000
    assert len(ids) > 100
