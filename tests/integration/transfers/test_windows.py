"""Which window a run exports: never a guessed or an empty one, and days tile whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import DAY, MICROSECOND, Span, execute, objects
from tests.support.long import in_ci
from tests.support.servers import Connect

MIDNIGHT = pendulum.datetime(2026, 1, 31)


def interval(start: datetime | None, end: datetime | None) -> dict[str, Any]:
    return {"data_interval_start": start, "data_interval_end": end, "logical_date": start, "dag_run": None}


@pytest.mark.parametrize(
    ("context", "arguments", "advice"),
    [
        pytest.param(
            interval(MIDNIGHT, MIDNIGHT),
            {},
            r"interval is empty.*CronDataIntervalTimetable\(",
            id="daily-on-airflow-3",
        ),
        pytest.param(interval(None, None), {}, r"no data interval.*CronDataIntervalTimetable\(", id="triggered"),
        pytest.param({}, {}, r"no data interval.*give the task a start and an end", id="asset-triggered"),
        pytest.param({}, {"start": MIDNIGHT + DAY, "end": MIDNIGHT}, "is after .* exchange them", id="reversed"),
        pytest.param({}, {"start": MIDNIGHT, "end": MIDNIGHT}, "the window is empty", id="empty"),
        pytest.param({}, {"start": MIDNIGHT}, "end is missing", id="no-end"),
        pytest.param({}, {"end": MIDNIGHT}, "start is missing", id="no-start"),
        pytest.param(
            {},
            {"start": datetime(2026, 1, 31), "end": MIDNIGHT + DAY},  # noqa: DTZ001 - without a time zone on purpose
            r"start='2026-01-31 00:00:00' has no time zone; add one",
            id="naive",
        ),
        pytest.param(
            {},
            {"start": MIDNIGHT, "end": "2026-02-01T00:00:00"},
            r"end='2026-02-01T00:00:00' has no time zone; add one",
            id="naive-text",
        ),
        pytest.param(
            {}, {"start": "{{ ds }}", "end": MIDNIGHT}, r"is not an ISO 8601 date-time; write it", id="text"
        ),
        pytest.param({}, {"start": "", "end": ""}, r"start='' is not an ISO 8601 date-time", id="empty-text"),
        pytest.param(
            interval(MIDNIGHT, MIDNIGHT + DAY),
            {"partition_timezone": "Europe/Atlantis"},
            r"partition_timezone='Europe/Atlantis' is not a time zone; use an IANA name",
            id="unknown-time-zone",
        ),
        pytest.param(
            {},
            {"start": MIDNIGHT, "end": datetime.now(UTC) + timedelta(hours=6)},
            "is in the future .* wait for it",
            id="future",
        ),
        pytest.param(
            interval(pendulum.now("UTC"), pendulum.now("UTC") + DAY), {}, "is in the future", id="future-interval"
        ),
        pytest.param(
            {"partition_date": MIDNIGHT},
            {},
            r"partition_period is missing: .* such as timedelta\(days=1\)",
            id="partition",
        ),
        pytest.param(
            {"partition_date": MIDNIGHT}, {"partition_period": timedelta(0)}, "the window is empty", id="no-length"
        ),
    ],
)
def test_no_window_is_guessed(
    shop: Sandbox,
    s3: LocalS3,
    connect: Connect,
    bucket: str,
    context: dict[str, Any],
    arguments: dict[str, Any],
    advice: str,
) -> None:
    """A run without a window ends for good, says what to change, asks the API nothing and writes nothing."""
    connect(shop)
    before = len(shop.requests())

    with pytest.raises(AirflowFailException, match=advice):
        execute(context, s3_bucket=bucket, **arguments)

    assert len(shop.requests()) == before
    assert objects(s3, bucket) == []


@pytest.mark.parametrize(
    ("context", "arguments"),
    [
        pytest.param(interval(MIDNIGHT, MIDNIGHT + DAY), {}, id="interval"),
        pytest.param(
            {"dag_run": SimpleNamespace(partition_date=MIDNIGHT)},
            {"partition_period": DAY},
            id="partition-of-the-run",
        ),
        pytest.param(
            interval(MIDNIGHT, MIDNIGHT) | {"partition_date": MIDNIGHT}, {"partition_period": DAY}, id="both"
        ),
        pytest.param(
            interval(MIDNIGHT, MIDNIGHT),
            {"start": "2026-01-31T03:00:00+03:00", "end": "2026-02-01T00:00:00Z"},
            id="given",
        ),
    ],
)
def test_every_kind_of_run_gives_the_same_object(
    sandbox: Sandbox, s3: LocalS3, connect: Connect, bucket: str, context: dict[str, Any], arguments: dict[str, Any]
) -> None:
    """Interval, partition or given edges: the same day is the same key and the same events."""
    connect(sandbox)

    execute(context, s3_bucket=bucket, **arguments)

    [stored] = objects(s3, bucket)
    assert stored.key.endswith("/remote/1/date=2026-01-31/20260131T000000Z_20260201T000000Z.jsonl.gz")
    assert stored.uuids == sandbox.uuids(MIDNIGHT, MIDNIGHT + DAY)


def test_days_of_istanbul_tile(sandbox: Sandbox, s3: LocalS3, connect: Connect, bucket: str) -> None:
    """The days of Istanbul, exported one by one, hold every event once, under their own dates."""
    connect(sandbox)
    midnights = [pendulum.datetime(2026, 1, date, tz="Europe/Istanbul") for date in range(24, 28)]

    for start, end in pairwise(midnights):
        execute(interval(start, end), s3_bucket=bucket, s3_key_prefix="", partition_timezone="Europe/Istanbul")

    stored = objects(s3, bucket)
    assert [one.key[:16] for one in stored] == [f"date=2026-01-{date}/" for date in range(24, 27)]
    assert [uuid for one in stored for uuid in one.uuids] == sandbox.uuids(midnights[0], midnights[-1])


@pytest.mark.parametrize(
    ("first", "hours"),
    [
        pytest.param(pendulum.datetime(2025, 3, 29, tz="Europe/Berlin"), [24, 23, 24], id="spring"),
        pytest.param(pendulum.datetime(2025, 10, 25, tz="Europe/Berlin"), [24, 25, 24], id="autumn"),
    ],
)
@pytest.mark.parametrize("kind", ["interval", in_ci("partition")])
def test_days_with_another_length_tile(
    shop: Sandbox,
    s3: LocalS3,
    connect: Connect,
    bucket: str,
    first: pendulum.DateTime,
    hours: list[int],
    kind: str,
) -> None:
    """Where clocks change, a day has 23 or 25 hours, and still each event lies in exactly one export."""
    connect(shop)
    midnights = [first.add(days=number) for number in range(4)]
    times = [first.in_timezone("UTC") + timedelta(minutes=7) * number for number in range(72 * 60 // 7)]
    times += [midnight + offset for midnight in midnights for offset in (-MICROSECOND, timedelta(0), MICROSECOND)]
    shop.insert({"timestamp": time} for time in times)

    for start, end in pairwise(midnights):
        context = interval(start, end)
        if kind == "partition":
            context = {"partition_date": start.in_timezone("UTC")}
        execute(
            context,
            s3_bucket=bucket,
            s3_key_prefix="",
            partition_period=DAY,
            partition_timezone="Europe/Berlin",
        )

    stored = objects(s3, bucket)
    windows = [Span(*map(datetime.fromisoformat, one.head["Metadata"]["akinon-window"].split("/"))) for one in stored]
    assert [one.key[:16] for one in stored] == [f"date={midnight:%Y-%m-%d}/" for midnight in midnights[:3]]
    assert [(end - start) // timedelta(hours=1) for start, end in windows] == hours
    assert [uuid for one in stored for uuid in one.uuids] == shop.uuids(midnights[0], midnights[-1])
