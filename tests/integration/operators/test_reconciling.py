"""Reconciling finds what came late, vanished or was changed, mends what can be mended, and loses nothing."""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_akinon.audit_events.errors import ObjectChanged
from airflow_provider_akinon.audit_events.formats import read_lines
from airflow_provider_akinon.audit_events.redaction import REDACTED, VERSION
from airflow_provider_akinon.operators.audit_archive import ReconcileAuditArchiveOperator, export_again_kwargs
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import (
    DAY,
    MICROSECOND,
    SECOND,
    Span,
    Stored,
    everything,
    execute,
    export,
    list_requests,
    objects,
    receipts,
    spread,
    the_object,
)
from tests.support.http_server import Server
from tests.support.long import in_ci
from tests.support.sealed import renamed
from tests.support.servers import Connect
from tests.support.spared import spared_at_each_step
from tests.support.verbatim import answer_verbatim

FORMATS = ("jsonl.gz", "jsonl", "parquet")
EACH_FORMAT = ["jsonl.gz", in_ci("jsonl"), in_ci("parquet")]
HOUR = timedelta(hours=1)
ALL = 1_000
"""A sample that no test's events exceed."""
PSEUDONYMS = {"user.email": "hmac", "user.phone": "mask", "remote_addr": "hmac", "user.avatar": "drop"}
SECRET = "the-key-of-all-pseudonyms"

KINDS: dict[str, dict[str, Any]] = {
    "jsonl.gz": {"file_format": "jsonl.gz"},
    "jsonl": {"file_format": "jsonl"},
    "parquet": {"file_format": "parquet"},
    "filters": {"filters": {"user": 7}},
    "key": {"s3_key": "akinon/audit-events/kept/elsewhere.gz"},
    "credentials": {"redact": "credentials"},
    "paths": {"redact": {"user.email": "mask", "content": "drop"}},
    "hmac": {"redact": PSEUDONYMS, "redact_key_conn_id": "pseudonyms"},
    "parquet-hmac": {"redact": PSEUDONYMS, "redact_key_conn_id": "pseudonyms", "file_format": "parquet"},
}
"""Arguments with which a window was exported."""


@pytest.fixture(scope="module")
def client(s3: LocalS3) -> Any:
    return s3.client()


@pytest.fixture(autouse=True)
def one_client(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks and tests share a client of S3: to make one takes longer than all else that they do."""
    monkeypatch.setattr(S3Hook, "get_conn", lambda _: client)
    monkeypatch.setattr(LocalS3, "client", lambda _: client)


@pytest.fixture(autouse=True)
def pseudonyms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections whose passwords are keys of pseudonyms."""
    for name, password in (("PSEUDONYMS", SECRET), ("OTHERS", f"not-{SECRET}"), ("EMPTY", "")):
        connection = json.dumps({"conn_type": "generic", "password": password})
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", connection)


@pytest.fixture
def filled(shop: Sandbox, connect: Connect, day: Span) -> Span:
    """A day with 12 events, half of them of the user 7."""
    fill(shop, day, 12)
    connect(shop)
    return day


def fill(shop: Sandbox, span: Span, number: int) -> list[str]:
    return shop.insert({"timestamp": time, "user": 7 + place % 2} for place, time in enumerate(spread(span, number)))


def add(shop: Sandbox, span: Span, number: int, **fields: Any) -> list[str]:
    """Let events of the user 7 come late."""
    times = (span.start + HOUR + place * SECOND for place in range(number))
    return shop.insert({"timestamp": time, "user": 7, **fields} for time in times)


def reconcile(bucket: str, span: Span, **arguments: Any) -> list[dict[str, Any]]:
    """Reconcile as a task would, and return what goes to XCom, as it comes out of there."""
    operator = ReconcileAuditArchiveOperator(
        task_id="reconcile",
        **{"s3_bucket": bucket, "start": span.start, "end": span.end, "redact": None, **arguments},
    )
    found: list[dict[str, Any]] = json.loads(json.dumps(operator.execute({})))
    return found


def policy_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the redaction of an export's arguments, to be given again."""
    return {"redact": None, **{name: value for name, value in arguments.items() if name.startswith("redact")}}


def failure(bucket: str, span: Span, **arguments: Any) -> tuple[str, list[dict[str, Any]]]:
    """Reconcile, and return the text of the task's final failure, and what went to XCom before it."""
    pushed: dict[str, Any] = {}
    context = {"ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))}
    operator = ReconcileAuditArchiveOperator(
        task_id="reconcile",
        **{"s3_bucket": bucket, "start": span.start, "end": span.end, "redact": None, **arguments},
    )
    with pytest.raises(AirflowFailException) as caught:
        operator.execute(context)
    return str(caught.value), json.loads(json.dumps(pushed["return_value"]))


def refusal(bucket: str, span: Span, **arguments: Any) -> str:
    """Reconcile and return the text of the task's final failure."""
    with pytest.raises(AirflowFailException) as caught:
        reconcile(bucket, span, **arguments)
    return str(caught.value)


def detail_requests(api: Sandbox, since: int) -> list[str]:
    """Return the uuids that were asked for, one by one."""
    return [
        entry["path"].rstrip("/").rpartition("/")[2]
        for entry in api.requests()[since:]
        if not entry["path"].endswith("/audit-events/")
    ]


def events(stored: Stored) -> list[dict[str, Any]]:
    """Return the events of an object of any format."""
    if stored.key.endswith(".parquet"):
        return [json.loads(line) for line in read_lines(io.BytesIO(stored.body))]
    return [json.loads(line) for line in lines_of(stored)]


def uuids(stored: Stored) -> list[str]:
    return [event["uuid"] for event in events(stored)]


def later(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the receipts that are not the first of their window."""
    return [receipt for receipt in found if receipt["previous"]]


def by_window(stored: Iterable[Stored]) -> dict[str, list[str]]:
    """Return the uuids in all objects of each window, sorted, by the key of its first object."""
    found = defaultdict(list)
    for one in stored:
        found[re.sub(r"\.late-[0-9]+", "", one.key)] += uuids(one)
    return {key: sorted(each) for key, each in sorted(found.items())}


def identities(s3: LocalS3, bucket: str) -> list[tuple[Any, ...]]:
    return [one.identity for one in everything(s3, bucket)]


# Late events.


@pytest.mark.long
def test_late_events_in_thirty_of_forty_windows(shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str) -> None:
    """A thousand late events are found in just the windows where they are, by one request a window, and mended."""
    random = Random(1_000)
    whole = Span(datetime(2018, 1, 1, tzinfo=UTC), datetime(2018, 1, 1, tzinfo=UTC) + 40 * DAY)
    days = [Span(whole.start + place * DAY, whole.start + (place + 1) * DAY) for place in range(40)]
    for day in days:
        shop.insert({"timestamp": time} for time in spread(day, random.randrange(6)))
    connect(shop)
    for day in days:
        export(bucket, *day)
    stored = {day: shop.count(*day) for day in days}
    late_days = sorted(random.sample(days, 30))
    edges = [0, *sorted(random.sample(range(1, 1_000), 29)), 1_000]
    late = dict(zip(late_days, (end - start for start, end in pairwise(edges)), strict=True))
    shop.insert(
        {"timestamp": day.start + random.randrange(DAY // MICROSECOND) * MICROSECOND}
        for day, number in late.items()
        for _ in range(number)
    )
    before = len(shop.requests())

    found = reconcile(bucket, whole)

    requests = shop.requests()[before:]
    assert len(requests) == 40
    asked = [parse_qs(entry["query"]) for entry in requests]
    assert sorted(query["timestamp__gte"] for query in asked) == [
        [f"{day.start:%Y-%m-%d}T00:00:00.000Z"] for day in days
    ]
    assert all(query["limit"] == ["1"] for query in asked)
    assert [(one["window"]["start"], one["window"]["end"], one["late"]) for one in found] == [
        (f"{day.start:%Y-%m-%d}T00:00:00.000Z", f"{day.end:%Y-%m-%d}T00:00:00.000Z", number)
        for day, number in late.items()
    ]
    assert [(one["stored"], one["counted"]) for one in found] == [
        (stored[day], stored[day] + number) for day, number in late.items()
    ]
    assert {(one["vanished"], one["sampled"], one["added"]) for one in found} == {(0, 0, None)}
    before_repair = objects(s3, bucket)

    mended = reconcile(bucket, whole, repair=True)

    assert mended == [one | {"added": one["late"]} for one in found]
    objects_now = objects(s3, bucket)
    assert list(by_window(objects_now).values()) == [sorted(shop.uuids(*day)) for day in days]
    assert sum(map(len, map(uuids, objects_now))) == sum(stored.values()) + 1_000
    assert {one.identity for one in before_repair} < {one.identity for one in objects_now}
    kept = receipts(s3, bucket)
    assert len(kept) == 70
    assert sorted(one["window"]["start"] for one in later(kept)) == [
        f"{day.start:%Y-%m-%dT00:00:00Z}" for day in late
    ]
    assert reconcile(bucket, whole, repair=True) == []


@pytest.mark.parametrize("how", [in_ci("by hand"), "repair"])
@pytest.mark.parametrize("kind", KINDS)
def test_exported_again_as_it_was(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, kind: str, how: str) -> None:
    """What is stored stays; late events lie beside it, in the same format, with the same filters and redaction."""
    arguments = KINDS[kind]
    export(bucket, *filled, **arguments)
    before, [first] = the_object(s3, bucket), receipts(s3, bucket)
    add(shop, filled, 3)
    conn_id = arguments.get("redact_key_conn_id")

    [found] = reconcile(bucket, filled, repair=how == "repair", **policy_of(arguments))
    if how == "by hand" and kind == "key":
        with pytest.raises(AirflowSkipException, match="repair=True"):
            export_again_kwargs(found)
        return
    if how == "by hand":
        execute({}, s3_bucket=bucket, **policy_of(arguments), **export_again_kwargs(found))

    assert (found["key"], found["late"]) == (before.key, 3)
    assert found["added"] == (None if how == "by hand" else 3)
    [late] = [one for one in objects(s3, bucket) if one.key != before.key]
    assert before.identity in identities(s3, bucket)
    assert re.sub(r"\.late-1", "", late.key) == before.key
    assert sorted(uuids(before) + uuids(late)) == sorted(shop.uuids(*filled, **arguments.get("filters", {})))
    kept = receipts(s3, bucket)
    [second] = later(kept)
    assert (len(kept), len(second["previous"]), second["counts"]["lines"]) == (2, 1, 3)
    assert second["counts"]["window"] == second["counts"]["api_after"] == len(uuids(before)) + 3
    for name in ("window", "filters", "source", "format", "redaction"):
        assert second[name] == first[name]
    if conn_id:
        assert all(event["user"]["email"].startswith("hmac-sha256:") for event in events(late))
    assert all(("avatar" in event["user"]) is (conn_id is None) for event in events(late))
    assert reconcile(bucket, filled) == []


def test_late_again(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """Of a window with several objects and receipts, the last receipt is compared with."""
    export(bucket, *filled)
    for number in (1, 2, 3):
        add(shop, filled, number)
        [found] = reconcile(bucket, filled, repair=True)
        assert (found["late"], found["added"]) == (number, number)
    assert reconcile(bucket, filled) == []
    assert list(by_window(objects(s3, bucket)).values()) == [sorted(shop.uuids(*filled))]
    assert len(objects(s3, bucket)) == len(receipts(s3, bucket)) == 4


def test_airflows_objects_are_spared_while_a_window_is_read_again(
    shop: Sandbox, filled: Span, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector does not hold up a repair with what Airflow brought into the process."""
    export(bucket, *filled)
    add(shop, filled, 1)
    spared = spared_at_each_step(monkeypatch)
    reconcile(bucket, filled, repair=True)

    assert min(spared) > 100_000
    assert gc.get_freeze_count() == 0


def test_upload_arguments_of_repairs(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """What is written by a repair takes the operator's own upload arguments."""
    export(bucket, *filled)
    add(shop, filled, 1)

    reconcile(bucket, filled, repair=True, extra_args={"Metadata": {"team": "security"}})

    assert [one.head["Metadata"].get("team") for one in objects(s3, bucket)] == [None, "security"]


# Which windows.


def test_which_windows_are_looked_at(shop: Sandbox, connect: Connect, bucket: str, day: Span) -> None:
    """Windows that have time in common with the span are counted, those that only touch it are not."""
    hours = [Span(day.start + place * HOUR, day.start + (place + 1) * HOUR) for place in range(4)]
    connect(shop)
    for hour in hours:
        export(bucket, *hour)
        fill(shop, hour, 2)

    def starts(start: datetime, end: datetime) -> list[str]:
        before = len(shop.requests())
        found = reconcile(bucket, Span(start, end))
        assert len(list_requests(shop, before)) == len(found)
        return [one["window"]["start"][11:13] for one in found]

    assert starts(hours[1].start, hours[2].end) == ["01", "02"]
    assert starts(hours[1].start + SECOND, hours[1].start + 2 * SECOND) == ["01"]
    assert starts(hours[1].end - MICROSECOND, hours[2].start + MICROSECOND) == ["01", "02"]


def test_the_runs_interval(shop: Sandbox, filled: Span, bucket: str) -> None:
    """Without start and end, the span is the run's data interval."""
    export(bucket, *filled)
    add(shop, filled, 2)
    operator = ReconcileAuditArchiveOperator(task_id="reconcile", s3_bucket=bucket)

    found = operator.execute({"data_interval_start": filled.start, "data_interval_end": filled.end})

    assert [one["late"] for one in found] == [2]


def test_two_formats_cost_one_request(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """Objects of the same window and filters are told apart, and counted together."""
    for format_ in FORMATS:
        export(bucket, *filled, file_format=format_)
    export(bucket, *filled, filters={"user": 8})
    add(shop, filled, 4)
    before = len(shop.requests())

    found = reconcile(bucket, filled, repair=True)

    assert [(one["format"], one["filters"], one["late"], one["added"]) for one in found] == [
        (format_, {}, 4, 4) for format_ in sorted(FORMATS)
    ]
    counted = [entry for entry in list_requests(shop, before) if "limit=1&" in entry["query"] + "&"]
    assert sum("user=8" in entry["query"] for entry in counted) == 1
    assert reconcile(bucket, filled) == []
    assert sorted(map(len, by_window(objects(s3, bucket)).values())) == [6, 16, 16, 16]


def test_counting_costs_no_more(shop: Sandbox, filled: Span, bucket: str) -> None:
    """Three formats of a window and one of its users are two requests, whatever else is stored."""
    for format_ in FORMATS:
        export(bucket, *filled, file_format=format_)
    export(bucket, *filled, filters={"user": 8})
    before = len(shop.requests())

    assert reconcile(bucket, filled) == []

    assert len(shop.requests()) - before == 2


def test_other_sources_are_left_alone(
    shop: Sandbox, s3: LocalS3, connect: Connect, filled: Span, bucket: str
) -> None:
    """Windows of another host below the same prefix are neither counted nor mended."""
    export(bucket, *filled)
    connect(shop, host=shop.url.replace("127.0.0.1", "localhost"))
    theirs = export(bucket, *filled)["key"]
    connect(shop)
    add(shop, filled, 2)
    before = len(shop.requests())

    found = reconcile(bucket, filled)

    assert len(shop.requests()) - before == 1
    assert [one["late"] for one in found] == [2]
    assert found[0]["key"] != theirs
    reconcile(bucket, filled, repair=True)
    stored = by_window(objects(s3, bucket))
    assert {key == theirs: len(each) for key, each in stored.items()} == {True: 12, False: 14}


def test_other_prefixes_are_left_alone(shop: Sandbox, filled: Span, bucket: str) -> None:
    """Only what lies in the folder of the prefix is looked at."""
    for prefix in ("mine", "mine-not"):
        export(bucket, *filled, s3_key_prefix=prefix)
    add(shop, filled, 1)

    [found] = reconcile(bucket, filled, s3_key_prefix="mine")

    assert found["key"].startswith("mine/")


# Vanished events.


@pytest.mark.parametrize("format_", EACH_FORMAT)
def test_vanished_events_are_told(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, format_: str) -> None:
    """Without a repair they are counted and told, nothing is written, and the task does not fail."""
    export(bucket, *filled, file_format=format_)
    before = identities(s3, bucket)
    shop.delete(uuids(the_object(s3, bucket))[:3])

    [found] = reconcile(bucket, filled)

    assert (found["stored"], found["counted"], found["late"], found["vanished"]) == (12, 9, 0, 3)
    assert found["added"] is None
    assert identities(s3, bucket) == before


@pytest.mark.parametrize("format_", EACH_FORMAT)
@pytest.mark.parametrize("how", ["fail", "warn", "by hand"])
def test_vanished_events_are_recorded(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, format_: str, how: str
) -> None:
    """A repair keeps what the source has lost, byte for byte, records which it is, and fails unless told to warn."""
    export(bucket, *filled, file_format=format_)
    stored, before = the_object(s3, bucket), identities(s3, bucket)
    lost = uuids(stored)[:3]
    shop.delete(lost)
    told = "0 of the 12 stored events of .* otherwise by now, and 3 no longer"

    if how == "warn":
        [found] = reconcile(bucket, filled, repair=True, on_source_change="warn")
    elif how == "fail":
        message, [found] = failure(bucket, filled, repair=True)
        assert re.search(told, message)
    else:
        [found] = reconcile(bucket, filled)
        with pytest.raises(AirflowFailException, match=told):
            execute({}, s3_bucket=bucket, redact=None, **export_again_kwargs(found))

    assert (found["late"], found["vanished"], found["added"]) == (0, 3, None if how == "by hand" else 0)
    after = identities(s3, bucket)
    assert len(after) == len(before) + 1
    assert set(before) < set(after)
    [record] = later(receipts(s3, bucket))
    assert (record["object"], record["changed"], record["vanished"]) == (None, [], sorted(lost))
    # What is recorded is what the last receipt tells from then on.
    assert reconcile(bucket, filled, repair=True) == []
    assert identities(s3, bucket) == after


def halves(span: Span) -> tuple[Span, Span]:
    noon = span.start + 12 * HOUR
    return Span(span.start, noon), Span(noon, span.end)


@pytest.mark.parametrize("format_", EACH_FORMAT)
@pytest.mark.parametrize("how", ["fail", "warn"])
def test_late_and_vanished_in_one_window(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, format_: str, how: str
) -> None:
    """Where events came and others went, the net is told and both are mended, as are the windows after it."""
    morning, evening = halves(filled)
    for half in (morning, evening):
        export(bucket, *half, file_format=format_)
    mixed, plain = objects(s3, bucket)
    [lost] = uuids(mixed)[:1]
    shop.delete([lost])
    add(shop, morning, 3)
    add(shop, evening, 1)

    if how == "warn":
        found = reconcile(bucket, filled, repair=True, on_source_change="warn")
    else:
        message, found = failure(bucket, filled, repair=True)
        assert re.search(f"0 of the {len(uuids(mixed))} stored events .* and 1 no longer", message)
        assert "3 new events were added" in message

    assert [(one["late"], one["vanished"], one["added"]) for one in found] == [(2, 0, 3), (1, 0, 1)]
    assert {mixed.identity, plain.identity} < {one.identity for one in objects(s3, bucket)}
    assert by_window(objects(s3, bucket)) == {
        mixed.key: sorted([lost, *shop.uuids(*morning)]),
        plain.key: sorted(shop.uuids(*evening)),
    }
    kept = receipts(s3, bucket)
    assert [one["vanished"] for one in kept if one["object"] is None] == [[lost]]
    assert (len(kept), len(objects(s3, bucket))) == (5, 4)
    assert reconcile(bucket, filled, repair=True) == []


def test_late_and_vanished_in_one_mapped_window(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """Mapped tasks come to the same end, whether more came or more went; a window whose count fits is skipped."""
    morning, evening = halves(filled)
    for half in (morning, evening):
        export(bucket, *half)
    stored = {one.key: uuids(one) for one in objects(s3, bucket)}
    lost = {key: each[:number] for (key, each), number in zip(stored.items(), (1, 3), strict=True)}
    shop.delete([uuid for each in lost.values() for uuid in each])
    for half in (morning, evening):
        add(shop, half, 2)

    found = reconcile(bucket, filled)
    for one in found:
        with pytest.raises(AirflowFailException, match="2 new events were added"):
            execute({}, s3_bucket=bucket, redact=None, **export_again_kwargs(one))

    assert [(one["late"], one["vanished"]) for one in found] == [(1, 0), (0, 1)]
    assert by_window(objects(s3, bucket)) == {
        key: sorted([*lost[key], *shop.uuids(*half)]) for key, half in zip(stored, (morning, evening), strict=True)
    }
    with pytest.raises(AirflowSkipException):
        export_again_kwargs(found[0] | {"late": 0})


def test_a_repair_that_fails_after_another(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """What was recorded before a failure is told with it: another try would have nothing to tell of it."""
    morning, evening = halves(filled)
    for half in (morning, evening):
        export(bucket, *half)
    first, second = objects(s3, bucket)
    shop.delete(uuids(first)[:1])
    add(shop, evening, 1)
    s3.client().put_object(
        Bucket=bucket, Key=second.key, Body=b"-" * len(second.body), Metadata=second.head["Metadata"]
    )

    message, found = failure(bucket, filled, repair=True)

    assert re.search(rf"^s3://{bucket}/{second.key} was altered.*; The API gives .* and 1 no longer", message)
    assert [(one["vanished"], one["added"]) for one in found] == [(1, 0), (0, None)]


def test_as_many_came_as_went(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """A count does not show it; a sample does, which records nothing, and never fails."""
    export(bucket, *filled)
    before = identities(s3, bucket)
    lost = uuids(the_object(s3, bucket))[4]
    shop.delete([lost])
    add(shop, filled, 1)

    assert reconcile(bucket, filled, repair=True) == []
    [found] = reconcile(bucket, filled, sample=ALL, repair=True)
    assert (found["late"], found["vanished"], found["gone"], found["changed"]) == (0, 0, [lost], [])
    assert found["added"] is None
    assert identities(s3, bucket) == before


# Samples.


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_event_is_found(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, kind: str) -> None:
    """The sample finds the event and the names of its fields, and nothing where nothing was changed."""
    arguments = KINDS[kind]
    export(bucket, *filled, **arguments)
    stored = uuids(the_object(s3, bucket))
    before = len(shop.requests())
    assert reconcile(bucket, filled, sample=ALL, **policy_of(arguments)) == []
    assert sorted(detail_requests(shop, before)) == sorted(stored)
    assert len(shop.requests()) - before == len(stored) + 1

    shop.update(stored[3], url="https://shop.example.com/other/", object_id=1)
    shop.update(stored[5], remote_addr="192.0.2.1")
    [found] = reconcile(bucket, filled, sample=ALL, **policy_of(arguments))

    changed = {one["uuid"]: one["fields"] for one in found["changed"]}
    assert changed == {stored[3]: ["object_id", "url"], stored[5]: ["remote_addr"]}
    assert (found["sampled"], found["gone"], found["user_moved"]) == (len(stored), [], 0)
    assert (found["late"], found["vanished"]) == (0, 0)


CHANGES: list[tuple[Any, Any]] = [
    (1, True),
    (0, False),
    (1, 1.0),
    (1, "1"),
    (2**70, 2**70 + 1),
    (0.1, 0.10000000000000002),
    (None, {}),
    ([], {}),
    ([1, 2], [2, 1]),
    ({"a": None}, {}),
    ({"a": [1, {"b": [1]}]}, {"a": [1, {"b": [True]}]}),
    ({"a": [1, {"b": 1}]}, {"a": [1, {"b": 1, "c": 1}]}),
    ("a\u2028b", "a b"),
]
"""What a field held when it was exported, and what it holds now."""


@pytest.mark.parametrize("format_", EACH_FORMAT)
@pytest.mark.parametrize("redact", [None, "credentials"])
def test_what_counts_as_a_change(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, format_: str, redact: str | None
) -> None:
    """A value is another one where its JSON is, to the type of a nested number; the order of keys does not count."""
    same = [({"a": 1, "b": [1.5]}, {"b": [1.5], "a": 1})]
    for place, (before, _) in enumerate(CHANGES + same):
        shop.insert([{"timestamp": day.start + place * SECOND, "content": before}])
    connect(shop)
    export(bucket, *day, file_format=format_, redact=redact)
    assert reconcile(bucket, day, sample=ALL, redact=redact) == []
    stored = uuids(the_object(s3, bucket))
    for uuid, (_, after) in zip(stored, CHANGES + same, strict=True):
        shop.update(uuid, content=after)

    [found] = reconcile(bucket, day, sample=ALL, redact=redact)

    assert [one["uuid"] for one in found["changed"]] == stored[:-1]
    assert {tuple(one["fields"]) for one in found["changed"]} == {("content",)}


@pytest.mark.parametrize("format_", EACH_FORMAT)
def test_what_is_known_of_a_person_is_told_apart(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, format_: str
) -> None:
    """A change in ``user`` alone is no changed event, but for who it is; nor does it hide that of another field."""
    export(bucket, *filled, file_format=format_)
    stored = events(the_object(s3, bucket))
    shop.update(stored[1]["uuid"], user=stored[1]["user"] | {"last_login": "2030-01-01T00:00:00Z"})
    shop.update(stored[2]["uuid"], user=stored[2]["user"] | {"email": "new@example.com", "more": 1})
    shop.update(stored[3]["uuid"], user=None)
    shop.update(stored[4]["uuid"], user=stored[4]["user"] | {"phone": None}, url="https://shop.example.com/other/")

    [found] = reconcile(bucket, filled, sample=ALL)

    assert found["changed"] == [
        {"uuid": stored[3]["uuid"], "fields": ["user.pk"]},
        {"uuid": stored[4]["uuid"], "fields": ["url"]},
    ]
    assert (found["user_moved"], found["gone"]) == (2, [])


def test_a_person_behind_a_pseudonym(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """What was masked or dropped cannot change; what has a pseudonym shows that it did."""
    export(bucket, *filled, **KINDS["hmac"])
    stored = events(the_object(s3, bucket))
    for event, fields in (
        (stored[1], {"phone": "0", "avatar": "planted.png"}),
        (stored[2], {"email": "new@example.com"}),
    ):
        email = f"user{event['user']['pk']}@example.com"
        shop.update(event["uuid"], user=event["user"] | {"email": email} | fields)

    [found] = reconcile(bucket, filled, sample=ALL, redact=PSEUDONYMS, redact_key_conn_id="pseudonyms")

    assert (found["changed"], found["user_moved"]) == ([], 1)


def test_deleted_events_are_gone(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """What the API has no longer is told by its uuid, beside the count."""
    export(bucket, *filled)
    lost = uuids(the_object(s3, bucket))[2:4]
    shop.delete(lost)

    [found] = reconcile(bucket, filled, sample=ALL)

    assert (found["gone"], found["changed"], found["vanished"], found["sampled"]) == (lost, [], 2, 12)


@pytest.mark.parametrize("sample", [0, 1, 5, 29])
def test_a_sample_costs_one_request_an_event(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, sample: int
) -> None:
    """As many different stored events are fetched as were asked for, whatever windows and formats they lie in."""
    connect(shop)
    hours = [Span(day.start + place * HOUR, day.start + (place + 1) * HOUR) for place in range(4)]
    for hour, number, format_ in zip(hours, (3, 0, 10, 17), ("jsonl", "jsonl", "parquet", "jsonl.gz"), strict=True):
        fill(shop, hour, number)
        export(bucket, *hour, file_format=format_)
    stored = [uuid for one in objects(s3, bucket) for uuid in uuids(one)]
    for uuid in stored:
        shop.update(uuid, url="https://shop.example.com/other/")
    before = len(shop.requests())

    found = reconcile(bucket, day, sample=sample)

    fetched = detail_requests(shop, before)
    assert (len(stored), len(fetched), len(set(fetched))) == (30, sample, sample)
    assert len(shop.requests()) - before == 4 + sample
    assert set(fetched) == {one["uuid"] for window in found for one in window["changed"]}
    assert set(fetched) <= set(stored)
    assert sum(window["sampled"] for window in found) == sample


def test_every_event_has_the_same_chance(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span
) -> None:
    """Over a few draws each of six events comes up, in whichever window it is."""
    connect(shop)
    noon = day.start + 12 * HOUR
    for half, number in ((Span(day.start, noon), 1), (Span(noon, day.end), 5)):
        fill(shop, half, number)
        export(bucket, *half)
    stored = {uuid for one in objects(s3, bucket) for uuid in uuids(one)}
    before = len(shop.requests())

    for _ in range(8):
        reconcile(bucket, day, sample=5)

    # One is left out each time: the same one each time, by a chance of less than one in a hundred thousand.
    assert set(detail_requests(shop, before)) == stored


@pytest.mark.parametrize("wanted", [in_ci({"sample": 1}), {"sample": ALL, "repair": True}, in_ci({"repair": True})])
@pytest.mark.parametrize(
    ("conn_id", "problem"),
    [
        (None, r"redact\['user\.email'\]='hmac' needs a secret key of at least 16 bytes; give redact_key_conn_id"),
        ("others", r"\S+\.jsonl\.gz was redacted by .*, and here it would be by .*\(redact, redact_key_conn_id\)"),
        ("empty", r"redact_key_conn_id='empty' has no password"),
    ],
)
def test_the_key_of_pseudonyms_is_needed(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, wanted: dict[str, Any], conn_id: str | None, problem: str
) -> None:
    """Without the key, or with another one, nothing is sent and nothing written; counting alone needs none."""
    export(bucket, *filled, **KINDS["hmac"])
    noon = filled.start + 12 * HOUR
    export(bucket, filled.start, noon, redact=None)
    add(shop, filled, 1)
    stored = [one.identity for one in everything(s3, bucket)]
    before = len(shop.requests())

    with pytest.raises(AirflowFailException, match=problem) as caught:
        reconcile(bucket, filled, redact=PSEUDONYMS, redact_key_conn_id=conn_id, **wanted)

    assert SECRET not in str(caught.value)
    assert len(shop.requests()) == before
    assert [one.identity for one in everything(s3, bucket)] == stored
    assert [one["late"] for one in reconcile(bucket, filled)] == [1, 1]


@pytest.mark.parametrize("format_", ["jsonl.gz", "jsonl"])
def test_an_older_version_of_the_policy(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, format_: str
) -> None:
    """What an older version stored, which removed less, is neither refused nor called changed; other fields are."""
    secrets = {"password": "planted-word", "size": 1}
    shop.insert({"timestamp": time, "user": 7, "post_data": secrets} for time in spread(day, 4))
    connect(shop)
    export(bucket, *day, redact="credentials", file_format=format_)
    stored_by_an_older_version(s3, bucket, REDACTED, "planted-word")
    stored = uuids(the_object(s3, bucket))
    assert reconcile(bucket, day, sample=ALL, redact="credentials") == []
    add(shop, day, 2, post_data=secrets)

    [mended] = reconcile(bucket, day, repair=True, redact="credentials")

    assert (mended["late"], mended["added"]) == (2, 2)
    assert sorted(one["redaction"]["version"] for one in receipts(s3, bucket)) == [0, VERSION]
    # Of two objects, one by each version.
    assert reconcile(bucket, day, sample=ALL, redact="credentials") == []
    shop.update(stored[1], url="https://shop.example.com/other/")
    [found] = reconcile(bucket, day, sample=ALL, redact="credentials")
    assert found["changed"] == [{"uuid": stored[1], "fields": ["url"]}]


def stored_by_an_older_version(s3: LocalS3, bucket: str, removed: str, kept: str) -> None:
    """Let a bucket's only object be one that was stored before its policy removed ``kept``."""
    stored, [one] = the_object(s3, bucket), [one for one in everything(s3, bucket) if one.is_receipt]
    content = b"".join(line + b"\n" for line in lines_of(stored)).replace(removed.encode(), kept.encode())
    assert kept.encode() in content
    body = gzip.compress(content, mtime=0) if stored.key.endswith(".gz") else content
    receipt = json.loads(one.body)
    receipt["redaction"]["version"] = 0
    receipt["object"] |= {
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_sha256": hashlib.sha256(content).hexdigest(),
    }
    key, written = renamed(receipt)
    client = s3.client()
    client.delete_object(Bucket=bucket, Key=one.key)
    metadata = stored.head["Metadata"] | {"akinon-sha256": receipt["object"]["sha256"]}
    client.put_object(Bucket=bucket, Key=stored.key, Body=body, Metadata=metadata)
    client.put_object(Bucket=bucket, Key=key, Body=written)


def lines_of(stored: Stored) -> list[bytes]:
    return stored.body.splitlines() if stored.key.endswith(".jsonl") else stored.lines


# What somebody planted in the bucket.

SECRETIVE = "{{ conn.akinon_default.password }}"


def planted(s3: LocalS3, bucket: str, key: str, **fields: Any) -> None:
    """Put an object there like the bucket's only one, with a receipt in which only these fields are others."""
    [receipt], stored = receipts(s3, bucket), the_object(s3, bucket)
    receipt |= fields
    receipt["object"]["key"] = key
    name, body = renamed(receipt)
    s3.client().put_object(Bucket=bucket, Key=key, Body=stored.body)
    s3.client().put_object(Bucket=bucket, Key=name, Body=body)


def test_a_key_from_the_bucket_reaches_no_template(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """A planted key is refused where a window has its own, and handed to no mapped task where it is the author's."""
    export(bucket, *filled)
    folder = the_object(s3, bucket).key.rpartition("/")[0]
    add(shop, filled, 1)
    planted(s3, bucket, f"{folder}/1{SECRETIVE}.jsonl.gz", partition_timezone=None)

    found = reconcile(bucket, filled)

    assert [SECRETIVE in one["key"] for one in found] == [True, False]
    with pytest.raises(AirflowSkipException, match="repair=True"):
        export_again_kwargs(found[0])
    assert "{{" not in json.dumps(export_again_kwargs(found[1]))
    planted_again = f"{folder}/2{SECRETIVE}.jsonl.gz"
    s3.client().delete_object(Bucket=bucket, Key=found[0]["key"])
    for one in everything(s3, bucket):
        if SECRETIVE in one.key:
            s3.client().delete_object(Bucket=bucket, Key=one.key)
    planted(s3, bucket, planted_again)
    assert "lies where its window is not stored" in refusal(bucket, filled)


def test_a_mapped_export_mends_only_what_is_stored(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """Below another prefix, the window would be stored a second time: the mapped task fails before it reads."""
    export(bucket, *filled)
    add(shop, filled, 1)
    [found] = reconcile(bucket, filled)
    stored, before = identities(s3, bucket), len(shop.requests())

    with pytest.raises(
        AirflowFailException, match=r"only_again is set, and nothing of .* is stored at s3://\S+/other/"
    ):
        execute({}, s3_bucket=bucket, s3_key_prefix="other", **export_again_kwargs(found))

    assert identities(s3, bucket) == stored
    assert len(shop.requests()) == before


@pytest.mark.parametrize("wanted", [{"sample": 1}, {"repair": True}])
def test_a_policy_from_the_bucket_is_not_followed(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, wanted: dict[str, Any]
) -> None:
    """A receipt that says that nothing was removed lets no repair store what the DAG's policy removes."""
    export(bucket, *filled, redact="credentials")
    add(shop, filled, 1)
    [key] = [one.key for one in everything(s3, bucket) if one.is_receipt]
    stored = the_object(s3, bucket).key
    planted(s3, bucket, stored, redaction=None)
    s3.client().delete_object(Bucket=bucket, Key=key)
    kept = [one.identity for one in everything(s3, bucket)]

    told = refusal(bucket, filled, redact="credentials", **wanted)

    assert "was redacted by None, and here it would be by" in told
    assert [one.identity for one in everything(s3, bucket)] == kept
    assert "{{" not in json.dumps(export_again_kwargs(reconcile(bucket, filled)[0]))
    with pytest.raises(AirflowFailException, match="was redacted by None, and here it would be by"):
        execute({}, s3_bucket=bucket, **export_again_kwargs(reconcile(bucket, filled)[0]))


# Records as no sandbox makes them.

WEIRD = (
    '{"uuid":"00000000-0000-4000-8000-00000000000%d","timestamp":"2021-05-01T0%d:00:00.000Z","user":null,'
    '"content":%s}'
)
CONTENTS = (
    ("null", "0"),
    ("1" * 5_000, "1" * 4_999 + "2"),
    ("1.10", "1.1"),
    ("-0.0", "0.0"),
    ("1e400", "1e401"),
    ('"\\ud83d half \\udc00"', '"\\ud83d half \\udc01"'),
    ('{"\\ud800":"\\ud800","a":1,"a":2}', '{"\\ud800":"\\ud801","a":2}'),
    ('"\\u015f \\/ ş \\u2028 \u2028"', '"ş"'),
)
"""Written just so by the API, and what it writes once it was changed."""


@pytest.fixture
def weird(shop: Sandbox, connect: Connect) -> Iterator[dict[str, str]]:
    """An API of records that are as JSON allows them to be."""
    lines = [WEIRD % (place, place, content) for place, (content, _) in enumerate(CONTENTS)]
    records = {line[9:45]: line for line in lines}
    with Server(partial(answer_verbatim, records)) as api:
        connect(shop, host=api.url)
        yield records


@pytest.mark.parametrize("format_", EACH_FORMAT)
@pytest.mark.parametrize("redact", [None, "credentials", PSEUDONYMS])
def test_weird_records(weird: dict[str, str], bucket: str, format_: str, redact: Any) -> None:
    """No number is too long, and no text too broken, to be compared; each change of them is found."""
    may = Span(datetime(2021, 5, 1, tzinfo=UTC), datetime(2021, 5, 2, tzinfo=UTC))
    assert export(bucket, *may, file_format=format_, redact=redact, redact_key_conn_id="pseudonyms")["count"] == len(
        CONTENTS
    )

    assert reconcile(bucket, may, sample=ALL, redact=redact, redact_key_conn_id="pseudonyms") == []

    for (uuid, record), (before, after) in zip(list(weird.items()), CONTENTS, strict=True):
        weird[uuid] = record.replace(f'"content":{before}', f'"content":{after}')
        assert weird[uuid] != record
    [found] = reconcile(bucket, may, sample=ALL, redact=redact, redact_key_conn_id="pseudonyms")
    assert found["changed"] == [{"uuid": uuid, "fields": ["content"]} for uuid in weird]


# What goes wrong.


def test_no_export_in_the_span(shop: Sandbox, filled: Span, bucket: str) -> None:
    """A prefix or a span without any export is told, rather than called fine."""
    later = Span(filled.end, filled.end + DAY)
    assert f"s3://{bucket}/akinon/audit-events/ holds no export of" in refusal(bucket, filled)
    export(bucket, *filled)
    before = len(shop.requests())

    assert "check s3_key_prefix, start and end" in refusal(bucket, later)
    assert "holds no export of" in refusal(bucket, filled, s3_key_prefix="elsewhere")
    assert len(shop.requests()) == before


@pytest.mark.parametrize("sample", [-1, True, "5", 1.5, None])
def test_a_wrong_sample(shop: Sandbox, filled: Span, bucket: str, sample: Any) -> None:
    """What is no number of events is refused before anything is sent."""
    export(bucket, *filled)
    before = len(shop.requests())

    assert f"sample={sample!r} is not a number of events" in refusal(bucket, filled, sample=sample)
    assert len(shop.requests()) == before


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"s3_bucket": "no-such-bucket"}, "s3_bucket='no-such-bucket' does not exist"),
        ({"s3_bucket": None}, "s3_bucket is missing"),
        ({"s3_key_prefix": "s3://bucket/prefix"}, "is not a prefix"),
        ({"start": None}, "start is missing"),
        ({"start": "2026-01-01"}, "start='2026-01-01'"),
        ({"extra_args": {"Nonsense": 1}}, "extra_args has the unknown name 'Nonsense'"),
        ({"on_source_change": "ignore"}, "on_source_change='ignore' is not known"),
    ],
)
def test_wrong_parameters(shop: Sandbox, filled: Span, bucket: str, arguments: dict[str, Any], problem: str) -> None:
    """Each is named, and nothing is sent."""
    before = len(shop.requests())

    assert problem in refusal(bucket, filled, **arguments)
    assert len(shop.requests()) == before


def test_an_altered_receipt(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """A receipt that somebody edited is not believed, and fails the task for good before anything is sent."""
    key = export(bucket, *filled)["receipt"]
    [kept] = [one for one in everything(s3, bucket) if one.is_receipt]
    s3.client().put_object(Bucket=bucket, Key=key, Body=kept.body.replace(b'"lines": 12', b'"lines": 11'))
    before = len(shop.requests())

    assert f"The receipt {key} was altered, or renamed" in refusal(bucket, filled, repair=True)
    assert len(shop.requests()) == before


@pytest.mark.parametrize("format_", EACH_FORMAT)
def test_a_damaged_object(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, format_: str) -> None:
    """An object that does not read as it was written is named where it is sampled, and is never built upon."""
    key = export(bucket, *filled, file_format=format_)["key"]
    [stored] = objects(s3, bucket)
    damaged = stored.body[:40] + b"{" + stored.body[41 : len(stored.body) // 2]
    s3.client().put_object(Bucket=bucket, Key=key, Body=damaged, Metadata=stored.head["Metadata"])
    add(shop, filled, 1)
    before = identities(s3, bucket)

    assert refusal(bucket, filled, sample=ALL).startswith(f"{key} is damaged: it does not read as it was written")
    altered = f"s3://{bucket}/{key} has {len(damaged)} bytes, and {len(stored.body)} by its receipt: it was altered"
    assert refusal(bucket, filled, repair=True).startswith(altered)

    assert identities(s3, bucket) == before


def test_a_receipt_that_is_gone(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """An object whose receipt was removed gets no fresh one, where a later receipt names what is gone."""
    first = export(bucket, *filled)["receipt"]
    lost = uuids(the_object(s3, bucket))[:1]
    shop.delete(lost)
    reconcile(bucket, filled, repair=True, on_source_change="warn")
    s3.client().delete_object(Bucket=bucket, Key=first)
    add(shop, filled, 1)
    before = identities(s3, bucket)

    message = refusal(bucket, filled, repair=True)

    assert f"The receipt {first.split('.')[-3]} of s3://{bucket}/" in message
    assert "is gone, which a later one names" in message
    assert identities(s3, bucket) == before


def test_a_key_that_is_refused(shop: Sandbox, connect: Connect, filled: Span, bucket: str) -> None:
    """The API's refusal fails the task for good."""
    export(bucket, *filled)
    connect(shop, password="wrong")

    assert "The Akinon API answered 401: Invalid token." in refusal(bucket, filled)


def test_an_object_that_is_not_there(s3: LocalS3, filled: Span, bucket: str) -> None:
    """A sample of an object that was deleted says which."""
    key = export(bucket, *filled)["key"]
    s3.client().delete_object(Bucket=bucket, Key=key)

    with pytest.raises(ObjectChanged, match=key):
        reconcile(bucket, filled, sample=ALL)


# What stays unsaid.


def test_no_personal_data_and_no_key(
    shop: Sandbox,
    s3: LocalS3,
    connect: Connect,
    bucket: str,
    day: Span,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What events hold is in no result and no log, and neither are keys, though all that can be told is told."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "airflow", "airflow.task"):
        caplog.set_level(logging.DEBUG, logger=name)
    user = {"pk": 7_654_321, "email": "planted@example.com", "username": "planted-name"}
    fields = {"user": user, "remote_addr": "203.0.113.77", "content": {"planted-name": "planted-word"}}
    shop.insert({"timestamp": day.start + place * SECOND, **fields} for place in range(6))
    connect(shop)
    policy = {"redact": {"remote_addr": "hmac"}, "redact_key_conn_id": "pseudonyms"}
    export(bucket, *day, **policy)
    stored = uuids(the_object(s3, bucket))
    shop.update(stored[0], content={"planted-name": "planted-other"}, remote_addr="203.0.113.78")
    shop.update(stored[1], user=user | {"email": "planted-new@example.com"})
    shop.delete(stored[2:3])
    add(shop, day, 3, **fields)

    found = reconcile(bucket, day, sample=ALL, repair=True, on_source_change="warn", **policy)

    assert [(one["late"], one["added"], len(one["changed"]), len(one["gone"])) for one in found] == [(2, 3, 1, 1)]
    assert found[0]["user_moved"] == 1
    out, err = capfd.readouterr()
    logged = (
        caplog.text + "".join(f"{record.getMessage()} {record.args!r}\n" for record in caplog.records) + out + err
    )
    assert "of 6 that were fetched, 1 were changed, 1 are gone" in logged
    words = ("planted", "203.0.113.7", "7654321", shop.key, SECRET, s3.secret_key)
    for text in (json.dumps(found), logged):
        assert [word for word in words if word in text] == []
