"""An API that reads users live: the same events look different each time, and an archive of them stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from airflow_provider_akinon.audit_events.api import AuditEventsApi
from airflow_provider_akinon.audit_events.archive import Bucket, Location, Run, Status, default_prefix
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters, Format, Window
from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.audit_events.sealing import seal_archive
from airflow_provider_akinon.audit_events.storing import Archived, Target, archive
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import DAY
from tests.support.long import in_ci
from tests.support.sealed import KEY, PREFIX, api_of, verify

START = datetime(2024, 11, 4, tzinfo=UTC)
DAYS = 60
"""With events."""
NOBODY = Run(dag_id=None, task_id=None, run_id=None, map_index=None, try_number=None)


@pytest.fixture
def live() -> Iterator[Sandbox]:
    """An API with some events in each of the days, whose users move from second to second."""
    with Sandbox.start(events=0) as api:
        # At midnight, too: the first of them is in one window, and in no other.
        api.insert({"timestamp": START + day * DAY + place * DAY / 4} for day in range(DAYS) for place in range(4))
        yield api


def export(bucket: Bucket, api: AuditEventsApi, start: datetime) -> Archived:
    """Export a day as the operator does by default."""
    window = Window(start, start + DAY)
    prefix = default_prefix(api.settings.source)
    place = Location.of_window(bucket.name, prefix, window, Filters(), UTC, Format.JSONL_GZ)
    target = Target.look(bucket, place, Format.JSONL_GZ, "UTC")
    with export_window(api, window, Filters(), Redaction()) as read:
        return archive(read, target, {}, NOBODY)


def export_all(bucket: Bucket, live: Sandbox, days: int) -> list[Archived]:
    """Export each day, some at a time, as a backfill does."""
    with api_of(live) as api, ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda day: export(bucket, api, START + day * DAY), range(days)))


def listing(s3: LocalS3, bucket: str) -> dict[str, tuple[object, object]]:
    """Return what changes where anything is written, by key."""
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {each["Key"]: (each["ETag"], each["LastModified"]) for page in pages for each in page.get("Contents", ())}


@pytest.mark.parametrize("days", [12, in_ci(60)])
def test_a_second_export_against_live_users_writes_nothing(
    live: Sandbox, s3: LocalS3, bucket: str, days: int
) -> None:
    """Days that are exported again, when their users have moved, stay as they are, and verify as before."""
    kept, whole = Bucket(s3.client(), bucket), Window(START, START + days * DAY)
    first = export_all(kept, live, days)
    assert sum(each.added for each in first) == live.count(whole.start, whole.end) == 4 * days
    assert len(listing(s3, bucket)) == 2 * days
    [sealing] = seal_archive(kept, PREFIX, whole, NOBODY, key=KEY)
    heads = [sealing.head.sha256]
    assert verify(kept, known_heads=heads).counts == {Status.OK.value: days}
    sealed = listing(s3, bucket)

    again = export_all(kept, live, days)

    assert listing(s3, bucket) == sealed
    assert not any(each.written for each in again)
    for numbers in (each.numbers for each in again):
        assert numbers.same + numbers.user_moved == 4
        assert not numbers.new_fields
    # Events of no user are the same, all others have moved.
    assert sum(each.numbers.user_moved for each in again) > 2 * days
    assert verify(kept, known_heads=heads).counts == {Status.OK.value: days}
    [resealed] = seal_archive(kept, PREFIX, whole, NOBODY, key=KEY)
    assert resealed.head.sha256 == sealing.head.sha256
    assert listing(s3, bucket) == sealed
