"""An API that behaves as badly as real ones do: what lands is exact all the same, or the task says why not."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

import pytest
from urllib3 import HTTPConnectionPool

from airflow_provider_akinon.audit_events.api import AuditEventsApi
from airflow_provider_akinon.audit_events.errors import Unreachable
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters, Window
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import (
    DAY,
    MICROSECOND,
    SECOND,
    Span,
    export,
    list_requests,
    objects,
    records,
    the_object,
)
from tests.support.long import in_ci
from tests.support.servers import UNTIL, Connect, Hostile

SPAN = Span(UNTIL - 2 * DAY, UNTIL)
NOON = UNTIL - DAY / 2


def check(api: Sandbox, s3: LocalS3, bucket: str, span: Span = SPAN) -> None:
    """Export a window, and compare what landed with the API's database."""
    export(bucket, *span)
    uuids = the_object(s3, bucket).uuids
    assert uuids
    assert uuids == api.uuids(*span)


def burst(api: Sandbox, number: int, moment: datetime = NOON) -> None:
    """Add this many events of one instant."""
    api.insert({"timestamp": moment} for _ in range(number))


@pytest.mark.parametrize(
    ("extra", "flags"),
    [
        in_ci({}, {}, id="plain"),
        in_ci({"max_concurrency": 1}, {}, id="one-at-a-time"),
        pytest.param({"max_concurrency": 8}, {}, id="eight-at-a-time"),
        pytest.param({"page_size": 1000}, {"max_limit": 20}, id="max-limit"),
        in_ci({}, {"ignore_limit": True}, id="ignore-limit"),
        in_ci({}, {"ignore_sort": True}, id="ignore-sort"),
        pytest.param({"page_size": 20}, {"ignore_sort": True, "ignore_limit": True}, id="ignore-sort-and-limit"),
    ],
)
def test_exact_whatever_it_ignores(
    hostile: Hostile, s3: LocalS3, bucket: str, extra: dict[str, object], flags: dict[str, Any]
) -> None:
    """Order, limit, precision: the API may keep to none of them, and no record is changed on the way."""
    api = hostile(extra, **flags)
    burst(api, 30)

    check(api, s3, bucket)

    assert sorted(the_object(s3, bucket).lines) == sorted(records(api, SPAN))


@pytest.mark.parametrize(
    ("number", "page_size", "flags"),
    [
        in_ci(250, 100, {}, id="250-by-100"),
        pytest.param(250, 100, {"ignore_sort": True}, id="250-by-100-unsorted"),
        in_ci(300, 20, {}, id="300-by-20"),
        in_ci(1000, 20, {}, id="1000-by-20"),
    ],
)
def test_a_burst_of_one_instant(
    hostile: Hostile, s3: LocalS3, bucket: str, number: int, page_size: int, flags: dict[str, Any]
) -> None:
    """More events of one instant than a page holds, in an order that each request draws anew."""
    api = hostile({"page_size": page_size}, events=200, unstable_order=True, **flags)
    burst(api, number)

    check(api, s3, bucket)


@pytest.mark.parametrize("unstable_order", [in_ci(False), True])
def test_timestamps_cut_to_milliseconds(hostile: Hostile, s3: LocalS3, bucket: str, unstable_order: bool) -> None:
    """Where the API shows less of a time than it filters by, all is there once, in the order that is shown."""
    api = hostile({"page_size": 50}, truncate=True, unstable_order=unstable_order)
    api.insert({"timestamp": NOON + place * 7 * MICROSECOND} for place in range(300))

    export(bucket, *SPAN)

    events = [json.loads(line) for line in the_object(s3, bucket).lines]
    shown = [(event["timestamp"], event["uuid"]) for event in events]
    assert shown == sorted(shown)
    assert sorted(uuid for _, uuid in shown) == sorted(api.uuids(*SPAN))


def test_all_within_one_second(shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span) -> None:
    """A day whose events all happened within one second, microseconds apart."""
    shop.insert({"timestamp": day.start + SECOND + place * 450 * MICROSECOND} for place in range(2000))
    connect(shop)

    check(shop, s3, bucket, day)


def test_edges_on_timestamps(shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span) -> None:
    """Windows whose edges are events' own times, to the microsecond, part them without loss or repetition."""
    times = [day.start + place * 250 * MICROSECOND for place in range(400)]
    shop.insert({"timestamp": time} for time in times for _ in range(3))
    connect(shop, {"page_size": 50})
    edges = [times[0], times[1], times[2], times[37], times[200], times[399], times[399] + MICROSECOND]

    for start, end in pairwise(edges):
        export(bucket, start, end)

    found = sorted(objects(s3, bucket), key=lambda one: _begin(one.head["Metadata"]["akinon-window"]))
    stored = [uuid for one in found for uuid in one.uuids]
    assert len(found) == 6
    assert stored == shop.uuids(*day)
    assert len(stored) == 1200


def test_a_year_with_one_busy_hour(hostile: Hostile, s3: LocalS3, bucket: str) -> None:
    """An empty year with 3,000 events in one hour costs not many more requests than their pages."""
    api = hostile(events=0)
    year = Span(datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    api.insert({"timestamp": datetime(2024, 7, 15, 12, tzinfo=UTC) + place * SECOND} for place in range(3000))

    check(api, s3, bucket, year)

    assert len(list_requests(api)) < 150


@pytest.mark.parametrize("number", [60, in_ci(300)])
def test_events_that_come_while_it_reads(hostile: Hostile, s3: LocalS3, bucket: str, number: int) -> None:
    """Events that come into what is being read are in the object, as are all others."""
    api = hostile(insert_while_reading=number)
    before = api.count(*SPAN)

    check(api, s3, bucket)

    assert api.count(*SPAN) > before


def test_events_that_come_behind_it(hostile: Hostile, s3: LocalS3, bucket: str) -> None:
    """Events that come where it has read already are in the object too."""
    api = hostile({"page_size": 20, "max_concurrency": 2}, latency_ms=30)
    late = [SPAN.start + number * SECOND for number in range(40)]

    def come() -> None:
        while len(list_requests(api)) < 12:
            time.sleep(0.01)
        api.insert({"timestamp": moment} for moment in late)

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(come)
        check(api, s3, bucket)
        coming.result()

    assert api.count(SPAN.start, late[-1] + SECOND) >= 40


def test_events_that_go_while_it_reads(hostile: Hostile, s3: LocalS3, bucket: str) -> None:
    """Where events are deleted meanwhile, nothing that survived is missing and nothing is made up."""
    api = hostile(delete_while_reading=50)
    before = api.uuids(*SPAN)

    export(bucket, *SPAN)

    stored = the_object(s3, bucket).uuids
    assert len(stored) == len(set(stored))
    assert set(api.uuids(*SPAN)) <= set(stored) <= set(before)
    assert len(api.uuids(*SPAN)) < len(before)


@pytest.mark.parametrize(
    "fault", [in_ci("502"), "503", in_ci("429"), in_ci("html"), in_ci("empty"), "truncated", in_ci("reset")]
)
def test_each_fault_is_survived(hostile: Hostile, s3: LocalS3, bucket: str, fault: str) -> None:
    """A share of the answers is spoilt in one way, and what lands is exact."""
    # Rarer where each asks for a pause of a second.
    api = hostile({"page_size": 40}, faults=0.1 if fault in ("503", "429") else 0.15, fault=fault, events=700)

    check(api, s3, bucket)

    assert fault in {entry["fault"] for entry in api.requests()}


def test_all_faults_at_once(hostile: Hostile, s3: LocalS3, bucket: str) -> None:
    """One answer in twenty is spoilt, in any way."""
    api = hostile({"page_size": 40}, faults=0.05, events=3_000)

    check(api, s3, bucket)

    assert len({entry["fault"] for entry in api.requests()} - {None}) >= 2


@pytest.mark.parametrize("fault", [in_ci("hang"), "drip"])
def test_a_slow_answer_is_given_up(hostile: Hostile, s3: LocalS3, bucket: str, fault: str) -> None:
    """An answer that does not come, or comes byte by byte, is asked for again after the timeout."""
    api = hostile({"timeout": 1.0, "page_size": 40}, faults=0.1, fault=fault, hang_seconds=120, events=700)
    began = time.monotonic()

    check(api, s3, bucket)

    assert fault in {entry["fault"] for entry in api.requests()}
    assert time.monotonic() - began < 120


@pytest.mark.parametrize(
    ("fault", "said"), [("hang", "did not answer in time"), ("drip", "a whole answer may take 0.3 s")]
)
def test_an_api_that_is_always_slow(hostile: Hostile, fault: str, said: str) -> None:
    """Where no answer is whole in time, both the test and the reading fail soon, and say so."""
    hostile({"timeout": 0.3}, faults=1, fault=fault, hang_seconds=120, events=200)
    began = time.monotonic()

    assert AkinonHook().test_connection()[0] is False
    assert said in AkinonHook().test_connection()[1]
    api = AuditEventsApi(AkinonHook().settings, attempts=2)
    with pytest.raises(Unreachable, match=said), api, export_window(api, Window(*SPAN), Filters()):
        raise AssertionError("nothing was read")

    assert time.monotonic() - began < 120


@pytest.mark.usefixtures("impatient")
def test_an_outage_writes_nothing(hostile: Hostile, s3: LocalS3, bucket: str) -> None:
    """An API that only answers with a proxy's error page fails the task so that Airflow retries; nothing lands."""
    api = hostile(faults=1, fault="502", events=100)

    with pytest.raises(Exception, match="The Akinon API answered 502: Bad Gateway") as caught:
        export(bucket, *SPAN)

    assert type(caught.value).__name__ == "Unavailable"
    assert objects(s3, bucket) == []
    assert 7 <= len(api.requests()) <= 28


def test_retry_after_is_obeyed_by_all_threads(hostile: Hostile, s3: LocalS3, bucket: str) -> None:
    """After a 429, no thread asks again before the pause is over, save what was under way already."""
    api = hostile({"max_concurrency": 8}, throttle="3/s", events=1_000)

    check(api, s3, bucket)

    log = api.requests()
    refused = [entry for entry in log if entry["status"] == 429]
    assert refused
    for refusal in refused:
        known = _time(refusal) + timedelta(seconds=refusal["seconds"])
        # The API asks for a second. What was under way, a request of each other thread, reaches its log in a moment.
        early = [after for entry in log if 0 < (after := (_time(entry) - known) / SECOND) < 0.97]
        assert len(early) < 8
        assert [after for after in early if after > 0.5] == []


@pytest.mark.parametrize("rate", [in_ci(10), 25])
def test_requests_per_second(
    hostile: Hostile, s3: LocalS3, bucket: str, monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    """No second sees more requests than the connection allows, whatever the concurrency."""
    api = hostile({"requests_per_second": rate, "max_concurrency": 8, "page_size": 30}, events=1_000)
    urlopen, sent = HTTPConnectionPool.urlopen, []

    def timed(*arguments: Any, **named: Any) -> Any:
        if "/data-warehouse/audit-events/" in (named.get("url") or arguments[2]):
            sent.append(time.monotonic())
        return urlopen(*arguments, **named)

    # Where they are sent: on its way to the log, a request may be late, and the next one on time.
    monkeypatch.setattr(HTTPConnectionPool, "urlopen", timed)

    check(api, s3, bucket)

    times = sorted(_time(entry) for entry in list_requests(api))
    assert len(sent) == len(times) > 20
    sent.sort()
    assert min(later - earlier for earlier, later in zip(sent, sent[rate:], strict=False)) > 0.8
    assert (times[-1] - times[0]) / SECOND > (len(times) - 1) / rate - 0.2


@pytest.mark.parametrize(
    "flags", [in_ci({}, id="plain"), pytest.param({"unstable_order": True, "ignore_limit": True}, id="worse")]
)
def test_next_and_previous_are_never_asked_for(
    hostile: Hostile, s3: LocalS3, bucket: str, flags: dict[str, Any]
) -> None:
    """Every request is the client's own: a window of its own, and a page number within one instant only."""
    api = hostile(**flags)
    burst(api, 150)

    check(api, s3, bucket)

    asked = [parse_qs(entry["query"]) for entry in list_requests(api)]
    assert len(asked) > 10
    for query in asked:
        start, end = (datetime.fromisoformat(query[name][0]) for name in ("timestamp__gte", "timestamp__lt"))
        assert "timestamp" not in query
        assert SPAN.start <= start < end <= SPAN.end
        assert "page" not in query or end - start <= timedelta(milliseconds=1)
    assert any("page" in query for query in asked)
    # No deep offsets: rows are skipped within one burst only.
    assert max(entry["rows_skipped"] for entry in list_requests(api)) < 200


def test_at_most_as_many_at_a_time(hostile: Hostile, s3: LocalS3, bucket: str) -> None:
    """The API never has more requests in hand than the connection allows, and does have several."""
    api = hostile({"max_concurrency": 3}, latency_ms=60, events=1_500)

    check(api, s3, bucket)

    spans = [(_time(entry), _time(entry) + timedelta(seconds=entry["seconds"])) for entry in list_requests(api)]
    at_once = [sum(begin <= moment < end for begin, end in spans) for moment, _ in spans]
    assert 1 < max(at_once) <= 3


def _begin(window: str) -> datetime:
    return datetime.fromisoformat(window.partition("/")[0])


def _time(entry: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(entry["time"])
