"""What authors ask S3 for is done, on objects and where due on receipts: locks, versions, tags, classes and keys."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pendulum
import pytest
from botocore.exceptions import ClientError

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from tests.support.dag_runs import DagRuns
from tests.support.exporting import (
    SECOND,
    Span,
    Stored,
    everything,
    export,
    lasting,
    refusal,
    spread,
    the_object,
    versions,
)
from tests.support.servers import Connect
from tests.support.wire import Wire

UNTIL = datetime(2050, 1, 31, 12, 30, tzinfo=UTC)
LOCK = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": UNTIL}


@pytest.fixture
def locking(s3: LocalS3, bucket: str) -> str:  # noqa: ARG001 - leads `aws_default` there
    """A bucket with Object Lock, and so with versions."""
    name = f"locked-{uuid4().hex}"
    s3.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


@pytest.fixture
def filled(shop: Sandbox, connect: Connect, day: Span) -> Span:
    """A day with 30 events."""
    shop.insert({"timestamp": time} for time in spread(day, 30))
    connect(shop)
    return day


def both(s3: LocalS3, bucket: str) -> tuple[Stored, Stored]:
    """Return the only object of a bucket, and its only receipt."""
    stored = everything(s3, bucket)
    [receipt] = [one for one in stored if one.is_receipt]
    [one] = [one for one in stored if not one.is_receipt]
    return one, receipt


def rendered(day: Span, extra_args: dict[str, Any]) -> dict[str, Any]:
    """Return ``extra_args`` as Airflow renders them in a run for a day."""
    task = AuditEventsToS3Operator(task_id="export", extra_args=extra_args)
    task.render_template_fields({"data_interval_end": pendulum.instance(day.end)})
    return dict(task.extra_args or {})


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
@pytest.mark.parametrize(
    "until", [UNTIL, pendulum.instance(UNTIL), UNTIL.isoformat(), "2050-01-31T15:30:00+03:00", "2050-01-31T12:30:00Z"]
)
def test_a_lock_until_a_date(s3: LocalS3, locking: str, filled: Span, mode: str, until: Any) -> None:
    """The object and its receipt are retained until the date, however it is written."""
    export(
        locking,
        *filled,
        extra_args=rendered(filled, {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": until}),
    )

    for one in both(s3, locking):
        assert one.head["ObjectLockMode"] == mode
        assert one.head["ObjectLockRetainUntilDate"] == UNTIL


@pytest.mark.parametrize("template", ["{{ data_interval_end.add(years=40) }}", "{{ data_interval_end + forty }}"])
def test_a_lock_counted_from_the_data(s3: LocalS3, locking: str, filled: Span, template: str) -> None:
    """A template gives each window's object a date of its own, counted from the end of its interval."""
    task = AuditEventsToS3Operator(
        task_id="export", extra_args={"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": template}
    )
    end = pendulum.instance(filled.end)
    task.render_template_fields({"data_interval_end": end, "forty": pendulum.duration(years=40)})

    export(locking, *filled, extra_args=task.extra_args)

    for one in both(s3, locking):
        assert one.head["ObjectLockRetainUntilDate"] == end.add(years=40)


def test_a_lock_until_a_date_that_has_passed(s3: LocalS3, locking: str, filled: Span) -> None:
    """A date in the past, as a template may give for an old window, fails the task and writes nothing."""
    past = {**LOCK, "ObjectLockRetainUntilDate": "{{ data_interval_end.add(days=1) }}"}

    problem = refusal(locking, *filled, extra_args=rendered(filled, past))

    assert "with ObjectLockMode, ObjectLockRetainUntilDate in extra_args" in problem
    assert everything(s3, locking) == []


def test_a_legal_hold(s3: LocalS3, locking: str, filled: Span) -> None:
    """A legal hold is on the object and on its receipt."""
    export(locking, *filled, extra_args={"ObjectLockLegalHoldStatus": "ON"})

    assert [one.head.get("ObjectLockLegalHoldStatus") for one in both(s3, locking)] == ["ON", "ON"]


@pytest.mark.parametrize("format_", ["jsonl.gz", "jsonl", "parquet"])
def test_late_events_and_records_are_locked_alike(
    shop: Sandbox, s3: LocalS3, locking: str, filled: Span, format_: str
) -> None:
    """Late events and records of changes are created under the lock, and what is locked gets no other version."""
    arguments: dict[str, Any] = {"extra_args": {**LOCK, "Tagging": "team=security"}, "file_format": format_}
    export(locking, *filled, **arguments)
    before = [one.identity for one in everything(s3, locking)]
    shop.insert([{"timestamp": filled.start + SECOND}])
    shop.update(shop.uuids(*filled)[0], url="/rewritten/")

    export(locking, *filled, on_source_change="warn", **arguments)

    after = everything(s3, locking)
    assert [one.identity for one in after if one.identity in before] == before
    assert [one.is_receipt for one in after].count(True) == 3
    assert len(after) == versions(s3, locking) == 5
    for one in after:
        assert (one.head["ObjectLockMode"], one.head["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", UNTIL)
        assert s3.client().get_object_tagging(Bucket=locking, Key=one.key)["TagSet"]


def test_a_rerun_leaves_a_lock_alone(s3: LocalS3, locking: str, filled: Span) -> None:
    """Where the content is the same, another date in the DAG changes nothing that is stored."""
    export(locking, *filled, extra_args=LOCK)
    before = [one.identity for one in everything(s3, locking)]

    export(locking, *filled, extra_args={**LOCK, "ObjectLockRetainUntilDate": UNTIL + timedelta(days=1)})

    assert [one.identity for one in everything(s3, locking)] == before
    assert the_object(s3, locking).head["ObjectLockRetainUntilDate"] == UNTIL


def test_a_bucket_without_object_lock(s3: LocalS3, bucket: str, filled: Span) -> None:
    """A lock that cannot be had fails the task for good, says what to change, and writes nothing."""
    problem = refusal(bucket, *filled, extra_args=LOCK)

    assert "with ObjectLockMode, ObjectLockRetainUntilDate in extra_args" in problem
    assert "Object Lock must be switched on for the bucket" in problem
    assert f"s3://{bucket}/akinon/audit-events/" in problem
    assert everything(s3, bucket) == []


@pytest.mark.parametrize("format_", ["jsonl.gz", "jsonl", "parquet"])
def test_versions_are_told(shop: Sandbox, s3: LocalS3, bucket: str, filled: Span, format_: str) -> None:
    """Each receipt names its object's version, and an export of late events makes no further one of the first."""
    client = s3.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    export(bucket, *filled, file_format=format_)
    first, told = both(s3, bucket)
    assert json.loads(told.body)["object"]["version_id"] == first.head["VersionId"]
    shop.insert([{"timestamp": filled.start + SECOND}])

    export(bucket, *filled, file_format=format_)

    stored = everything(s3, bucket)
    named = {
        json.loads(one.body)["object"]["key"]: json.loads(one.body)["object"] for one in stored if one.is_receipt
    }
    assert {key: each["version_id"] for key, each in named.items()} == {
        one.key: one.head["VersionId"] for one in stored if not one.is_receipt
    }
    assert len(named) == 2
    assert versions(s3, bucket) == 2 + 2


def test_versions_that_are_switched_on_later(shop: Sandbox, s3: LocalS3, bucket: str, filled: Span) -> None:
    """An object from before the bucket kept versions has none in its receipt, and is left alone by later exports."""
    export(bucket, *filled)
    before = [one.identity[:2] for one in everything(s3, bucket)]
    s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    export(bucket, *filled)

    assert [one.identity[:2] for one in everything(s3, bucket)] == before
    assert json.loads(both(s3, bucket)[1].body)["object"]["version_id"] is None
    shop.insert([{"timestamp": filled.start + SECOND}])
    assert export(bucket, *filled)["added"] == 1
    assert [one.identity[:2] for one in everything(s3, bucket) if one.identity[:2] in before] == before
    assert versions(s3, bucket) == 2 + 2


@pytest.mark.parametrize("format_", ["jsonl.gz", "jsonl", "parquet"])
def test_tags_metadata_and_class(s3: LocalS3, bucket: str, filled: Span, format_: str) -> None:
    """Tags go on both; the author's metadata stands beside the export's, and with the class on the object only."""
    client = s3.client()
    export(
        bucket,
        *filled,
        file_format=format_,
        extra_args={
            "Tagging": "team=security&retention=7y",
            "Metadata": {"team": "security"},
            "StorageClass": "STANDARD_IA",
        },
    )

    stored, receipt = both(s3, bucket)
    for one in (stored, receipt):
        tags = client.get_object_tagging(Bucket=bucket, Key=one.key)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"team": "security", "retention": "7y"}
        assert "ContentEncoding" not in one.head
    assert stored.head["Metadata"]["team"] == "security"
    assert stored.head["Metadata"]["akinon-count"] == "30"
    assert receipt.head["Metadata"] == {}
    assert stored.head["StorageClass"] == "STANDARD_IA"
    assert receipt.head.get("StorageClass", "STANDARD") == "STANDARD"
    assert receipt.head["ContentType"] == "application/json"
    assert (
        stored.head["ContentType"]
        == {
            "jsonl.gz": "application/gzip",
            "jsonl": "application/x-ndjson",
            "parquet": "application/vnd.apache.parquet",
        }[format_]
    )


def test_encryption_with_the_stores_key(s3: LocalS3, bucket: str, filled: Span) -> None:
    """SSE-S3 is on the object and on the receipt, and both read as before."""
    result = export(bucket, *filled, extra_args={"ServerSideEncryption": "AES256"})

    stored, receipt = both(s3, bucket)
    for one in (stored, receipt):
        assert s3.client().head_object(Bucket=bucket, Key=one.key)["ServerSideEncryption"] == "AES256"
    assert len(stored.uuids) == 30
    assert lasting(export(bucket, *filled)) == lasting(result)


@pytest.mark.parametrize("what", ["object", "receipt"])
def test_encryption_with_a_key_of_kms(
    s3: LocalS3, bucket: str, filled: Span, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The arguments of SSE-KMS reach the wire with the object and with the receipt; this S3 has no KMS."""
    arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    if what == "receipt":
        s3.client().delete_object(Bucket=bucket, Key=export(bucket, *filled)["receipt"])
    connection = s3.connection()
    with Wire(s3.url) as wire:
        connection["extra"]["endpoint_url"] = wire.url
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        kms = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": arn}
        with pytest.raises(ClientError):
            # Without conditions, or this S3 would refuse what it is tried with first.
            export(bucket, *filled, extra_args=kms, conditional_writes=False)

    puts = re.findall(rb"PUT [^\r]+\r\n.+?\r\n\r\n", bytes(wire.sent), re.S)
    assert puts
    for put in puts:
        assert (b".receipt.json HTTP" in put) is (what == "receipt")
        assert b"x-amz-server-side-encryption: aws:kms\r\n" in put.lower()
        assert b"x-amz-server-side-encryption-aws-kms-key-id: " + arn.encode() in put.lower()


def test_large_objects_are_kept_alike(shop: Sandbox, s3: LocalS3, connect: Connect, locking: str, day: Span) -> None:
    """An object that goes up in parts has the lock, the tags and the version like a small one."""
    import random
    from base64 import b64encode

    rng = random.Random(str(day))
    shop.insert(
        {"timestamp": day.start + place * SECOND, "content": b64encode(rng.randbytes(300_000)).decode()}
        for place in range(30)
    )
    connect(shop, {"page_size": 10})

    export(locking, *day, extra_args={**LOCK, "Tagging": "team=security"})

    stored, receipt = both(s3, locking)
    assert "-" in stored.head["ETag"]
    assert stored.head["ObjectLockRetainUntilDate"] == UNTIL
    assert s3.client().get_object_tagging(Bucket=locking, Key=stored.key)["TagSet"]
    told = json.loads(receipt.body)["object"]
    assert (told["version_id"], told["size"]) == (stored.head["VersionId"], len(stored.body))


@pytest.mark.parametrize(
    ("extra_args", "problem"),
    [
        ({"ObjectLockUntil": "2050-01-01"}, "unknown name 'ObjectLockUntil'"),
        ({"ContentEncoding": "gzip"}, "extra_args has 'ContentEncoding'"),
        ({"ContentType": "text/plain"}, "extra_args has 'ContentType'"),
    ],
)
def test_arguments_that_cannot_be(
    shop: Sandbox, s3: LocalS3, bucket: str, filled: Span, extra_args: dict[str, Any], problem: str
) -> None:
    """What boto3 does not know, or what the operator sets, is refused before anything is read."""
    before = len(shop.requests())

    assert problem in refusal(bucket, *filled, extra_args=extra_args)
    assert len(shop.requests()) == before
    assert everything(s3, bucket) == []


def test_an_argument_of_multipart_uploads(s3: LocalS3, bucket: str, filled: Span) -> None:
    """What boto3 takes for uploads but not for small objects does not keep the receipt from being written."""
    export(bucket, *filled, extra_args={"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"})

    both(s3, bucket)


def test_a_date_that_is_none_costs_no_reading(shop: Sandbox, locking: str, filled: Span) -> None:
    """A lock until no date at all fails the task for good before the API is asked for anything."""
    before = len(shop.requests())

    refusal(locking, *filled, extra_args={**LOCK, "ObjectLockRetainUntilDate": "in seven years"})

    assert len(shop.requests()) == before


def test_a_customers_key_is_refused_or_works(s3: LocalS3, bucket: str, filled: Span) -> None:
    """SSE-C either works as a whole or is refused before anything is written."""
    arguments = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "0" * 32}

    refusal(bucket, *filled, extra_args=arguments)

    assert everything(s3, bucket) == []


DAG = """
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG, Asset, AssetAlias, CronDataIntervalTimetable
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.datasets import Dataset as Asset, DatasetAlias as AssetAlias
    from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

with DAG(
    dag_id="kept",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2020, 1, 1, tz="UTC"),
    catchup=False,
):
    AuditEventsToS3Operator(
        task_id="export",
        s3_bucket="BUCKET",
        outlets=[Asset("s3://BUCKET/archive"), AssetAlias("archived")],
        extra_args={
            "ObjectLockMode": "GOVERNANCE",
            "ObjectLockRetainUntilDate": "{{ data_interval_end.add(years=40) }}",
        },
    )
"""


@pytest.mark.xdist_group("airflow")
def test_a_run_of_a_dag(shop: Sandbox, s3: LocalS3, locking: str, filled: Span, airflow: DagRuns) -> None:
    """In a real run the lock's template is rendered, and the outlets' events carry what the task returns."""
    (airflow.dags / "kept.py").write_text(DAG.replace("BUCKET", locking))
    environment = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CONN_")}
    assert airflow.run("kept", filled.end, environment=environment) == ["success"], airflow.log[-4000:]

    stored, receipt = both(s3, locking)
    told = json.loads(receipt.body)
    assert stored.head["ObjectLockRetainUntilDate"] == pendulum.instance(filled.end).add(years=40)
    assert (told["run"]["dag_id"], told["run"]["task_id"]) == ("kept", "export")
    assert told["run"]["run_id"]
    assert told["run"]["try_number"] >= 1
    with closing(sqlite3.connect(airflow.home / "airflow.db")) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        asset = "asset" if "asset_event" in tables else "dataset"
        rows = database.execute(
            f"SELECT uri, event.extra FROM {asset}_event AS event JOIN {asset} AS told ON event.{asset}_id = told.id"
        ).fetchall()
    events = {uri: json.loads(extra) for uri, extra in rows}
    assert set(events) == {f"s3://{locking}/archive", f"s3://{locking}/{stored.key}"}
    for extra in events.values():
        assert extra["receipt"] == receipt.key
        assert (extra["count"], extra["sha256"]) == (30, told["object"]["sha256"])
        assert extra["receipt_sha256"] in receipt.key
    assert shop.key not in airflow.log
