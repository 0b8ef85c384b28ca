"""What lands in S3 is what the API's database holds, byte for byte, at a key of its own."""

from __future__ import annotations

import gc
import hashlib
import json

import pytest

from airflow_provider_akinon.audit_events.archive import PROBE_NAME
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import (
    DAY,
    MICROSECOND,
    Span,
    Stored,
    everything,
    execute,
    export,
    get,
    identities,
    objects,
    records,
    refusal,
    spread,
    the_object,
    url_of,
    versions,
)
from tests.support.long import in_ci
from tests.support.servers import Connect
from tests.support.spared import spared_at_each_step
from tests.support.wire import Wire
from tests.support.worker import Worker


@pytest.fixture
def versioned(s3: LocalS3, bucket: str) -> str:
    """A bucket that keeps every version, so that no write goes unseen."""
    s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def exported(shop: Sandbox, s3: LocalS3, connect: Connect, versioned: str, day: Span) -> Stored:
    """An export of a day with 120 events, some of them of nobody, in a versioned bucket."""
    shop.insert({"timestamp": time, "user": None if time.second % 2 else 7} for time in spread(day, 120))
    connect(shop)
    export(versioned, *day)
    return the_object(s3, versioned)


@pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 1_500, in_ci(10_000)])
def test_a_window_lands_exactly(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, number: int
) -> None:
    """Every event of the window lands once, in order, as the API's own bytes; its neighbours do not."""
    shop.insert({"timestamp": time} for time in (day.start - MICROSECOND, *spread(day, number), day.end))
    connect(shop)

    result = export(bucket, *day)

    stored, receipt = everything(s3, bucket)
    assert len(stored.uuids) == number
    assert stored.uuids == shop.uuids(*day)
    assert stored.lines == records(shop, day)
    sha256 = hashlib.sha256(stored.body).hexdigest()
    told = {"key": stored.key, "count": number, "bytes": len(stored.body), "sha256": sha256, "receipt": receipt.key}
    assert result == {
        "bucket": bucket,
        "key": stored.key,
        "objects": [told],
        "count": number,
        "bytes": len(stored.body),
        "sha256": sha256,
        "content_sha256": hashlib.sha256(b"".join(line + b"\n" for line in stored.lines)).hexdigest(),
        "window": {"start": f"{day.start:%Y-%m-%d}T00:00:00.000Z", "end": f"{day.end:%Y-%m-%d}T00:00:00.000Z"},
        "receipt": receipt.key,
        "receipt_sha256": hashlib.sha256(receipt.body).hexdigest(),
        "added": number,
        **dict.fromkeys(("same", "user_moved", "changed", "vanished", "not_compared", "new_fields"), 0),
    }
    assert len(json.dumps(result)) < 2000


def test_a_line_is_the_detail_endpoints_answer(exported: Stored, shop: Sandbox) -> None:
    """What is stored of an event is all that the API has of it."""
    for line, uuid in list(zip(exported.lines, exported.uuids, strict=True))[::10]:
        assert get(shop, f"{url_of(shop)}{uuid}/").content == line


def test_what_the_object_says_of_itself(exported: Stored, shop: Sandbox, day: Span) -> None:
    """The object is plain gzip without a time or a name, says what it is, and what it is an export of."""
    host = shop.url.removeprefix("http://")
    span = f"{day.start:%Y%m%dT%H%M%SZ}_{day.end:%Y%m%dT%H%M%SZ}"

    assert exported.body[:4] == b"\x1f\x8b\x08\x00"  # no flags: no name
    assert exported.body[4:8] == bytes(4)  # mtime 0
    assert exported.head["ContentType"] == "application/gzip"
    assert "ContentEncoding" not in exported.head
    assert exported.key == (
        f"akinon/audit-events/{host.replace(':', '_3A')}/remote/1/date={day.start:%Y-%m-%d}/{span}.jsonl.gz"
    )
    assert exported.head["Metadata"] == {
        "akinon-count": "120",
        "akinon-sha256": hashlib.sha256(exported.body).hexdigest(),
        "akinon-content-sha256": hashlib.sha256(b"".join(line + b"\n" for line in exported.lines)).hexdigest(),
        "akinon-uuids-sha256": hashlib.sha256("".join(f"{uuid}\n" for uuid in exported.uuids).encode()).hexdigest(),
        "akinon-source": f"{host}/remote/1",
        "akinon-window": f"{day.start:%Y-%m-%d}T00:00:00.000Z/{day.end:%Y-%m-%d}T00:00:00.000Z",
        "akinon-filters": "{}",
        "akinon-format": "jsonl.gz",
    }


def test_a_rerun_writes_nothing(
    exported: Stored, s3: LocalS3, versioned: str, day: Span, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the API's content is the same, S3 sees no write, no object is read, and the task returns the same."""
    connection = s3.connection()
    with Wire(s3.url) as wire:
        connection["extra"]["endpoint_url"] = wire.url
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        results = [export(versioned, *day) for _ in range(2)]

    assert results[0] == results[1]
    assert (results[0]["count"], results[0]["added"], results[0]["same"]) == (120, 0, 120)
    assert wire.requests
    tried = [line for line in wire.requests if not line.startswith(("GET ", "HEAD "))]
    assert [line for line in tried if PROBE_NAME not in line] == []
    assert [line for line in wire.requests if line.startswith("GET ") and line.endswith(".jsonl.gz")] == []
    assert the_object(s3, versioned).identity == exported.identity
    assert versions(s3, versioned) == 1 + 1


def test_a_write_would_have_been_seen(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wire that shows no write on a rerun does show the first one."""
    connection = s3.connection()
    connect(shop)
    with Wire(s3.url) as wire:
        connection["extra"]["endpoint_url"] = wire.url
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        result = export(bucket, *day)

    assert [line for line in wire.requests if line.startswith("PUT ") and PROBE_NAME not in line] == [
        f"PUT /{bucket}/{key.replace('=', '%3D')}" for key in (result["key"], result["receipt"])
    ]


def test_airflows_objects_are_spared_while_a_window_is_read(
    shop: Sandbox, connect: Connect, bucket: str, day: Span, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector does not hold up the threads that read with what Airflow brought into the process."""
    spared = spared_at_each_step(monkeypatch)
    connect(shop)
    shop.insert([{"timestamp": day.start}])
    assert export(bucket, *day)["count"] == 1

    assert min(spared) > 100_000
    assert gc.get_freeze_count() == 0


def test_a_foreign_object_is_left_alone(shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span) -> None:
    """What somebody else put at the key is left alone, whatever is allowed."""
    s3.client().put_object(Bucket=bucket, Key="mine.gz", Body=b"mine", Metadata={"akinon-count": "0"})
    before = the_object_raw(s3, bucket)
    connect(shop)

    for on_source_change in ("fail", "warn"):
        problem = refusal(bucket, *day, s3_key="mine.gz", on_source_change=on_source_change)
        assert f"s3://{bucket}/mine.gz is no export of ours" in problem
    assert the_object_raw(s3, bucket) == before


@pytest.mark.parametrize("what", ["window", "filters", "source"])
def test_an_export_of_something_else_is_left_alone(
    exported: Stored, shop: Sandbox, s3: LocalS3, connect: Connect, versioned: str, day: Span, what: str
) -> None:
    """A fixed key that another window, filter or source took before is not taken over."""
    other = {"window": {}, "filters": {"filters": {"user": 7}}, "source": {}}[what]
    end = day.end + DAY if what == "window" else day.end
    if what == "source":
        connect(shop, host=shop.url.replace("127.0.0.1", "localhost"))

    before = identities(s3, versioned)

    # By its receipt, and without one by its metadata.
    problem = refusal(versioned, day.start, end, s3_key=exported.key, **other)
    assert f"is the receipt of an export with the {what} " in problem
    assert identities(s3, versioned) == before
    for one in everything(s3, versioned):
        if one.is_receipt:
            s3.client().delete_object(Bucket=versioned, Key=one.key)
    problem = refusal(versioned, day.start, end, s3_key=exported.key, **other)
    assert f"is an export with the {what} " in problem
    assert [one.identity for one in everything(s3, versioned)] == [exported.identity]


def test_two_attempts_at_once(shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span) -> None:
    """A zombie of the first attempt and the second one leave one exact object, whoever is last."""
    shop.insert({"timestamp": time} for time in spread(day, 500))
    connect(shop)

    attempts = [Worker({}, bucket, *day) for _ in range(2)]

    assert [attempt.wait(60) for attempt in attempts] == [0, 0]
    assert the_object(s3, bucket).lines == records(shop, day)


def test_filters_land_apart(shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span) -> None:
    """A filtered export holds exactly what matches, under a key and with metadata that say so."""
    for user, content_type, object_id in ((61, 5, 1), (61, 6, 2), (62, 5, 1), (None, 5, 2)):
        fields = {"user": user, "content_type": content_type, "object_id": object_id}
        shop.insert({"timestamp": time, **fields} for time in spread(day, 130))
    connect(shop)

    for filters in ({}, {"user": 61}, {"content_type": "5"}, {"object_id": 2}, {"user": 61, "content_type": 6}):
        whole = {name: int(value) for name, value in filters.items()}
        result = export(bucket, *day, filters=filters)
        [stored] = [one for one in objects(s3, bucket) if one.key == result["key"]]
        assert result["count"] >= 130
        assert stored.uuids == shop.uuids(*day, **whole)
        assert stored.head["Metadata"]["akinon-filters"] == json.dumps(whole)
    assert len(objects(s3, bucket)) == 5


def test_a_key_of_ones_own_and_upload_arguments(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span
) -> None:
    """A URL as the key is where the object goes, and further metadata stands beside the export's own."""
    shop.insert([{"timestamp": day.start}])
    connect(shop)

    result = execute(
        {},
        start=day.start,
        end=day.end,
        s3_key=f"s3://{bucket}/a/b.gz",
        extra_args={"Metadata": {"team": "security"}, "CacheControl": "no-store"},
    )

    stored = the_object(s3, bucket)
    assert (result["bucket"], result["key"], stored.key) == (bucket, "a/b.gz", "a/b.gz")
    assert stored.head["Metadata"]["team"] == "security"
    assert stored.head["Metadata"]["akinon-count"] == "1"
    assert stored.head["CacheControl"] == "no-store"


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_costs_no_reading(shop: Sandbox, connect: Connect, day: Span) -> None:
    """A bucket that is not there fails the task before the API is asked for anything."""
    connect(shop)
    before = len(shop.requests())

    assert "s3_bucket='no-such-bucket' does not exist" in refusal("no-such-bucket", *day)
    assert len(shop.requests()) == before


def the_object_raw(s3: LocalS3, bucket: str) -> tuple[object, ...]:
    return the_object(s3, bucket).identity
