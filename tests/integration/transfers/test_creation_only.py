"""The bucket policy of the documentation, which allows creation only: all work goes on, and nothing can be undone.

SeaweedFS does not know the policy's condition. A stand-in before it applies the policy, as the page has it, and
refuses every DELETE besides; see `tests.support.creation_only`. Amazon's own S3 is not asked.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_provider_akinon.operators.audit_archive import (
    ReconcileAuditArchiveOperator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
)
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.creation_only import CreationOnly
from tests.support.exporting import DAY, SECOND, Span, bulky, everything, export, receipts, refusal, spread
from tests.support.paths import DOCS
from tests.support.servers import Connect

CREATED = "s3:PutObject conditional"


def policy() -> dict[str, Any]:
    """Return the bucket policy of the page on retention."""
    page = (DOCS / "retention.rst").read_text()
    blocks = re.findall(r"^\.\. code-block:: json\n\n((?:   .*\n)+)", page, re.M)
    [found] = [document for document in map(json.loads, blocks) if "Statement" in document]
    return dict(found)


@pytest.fixture
def strict(s3: LocalS3, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CreationOnly]:
    """A stand-in that `aws_default` leads to, before the S3 with the test's bucket."""
    with CreationOnly(s3.url, policy()) as stand_in:
        # After the fixture of the bucket has set it.
        assert bucket
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(replace(s3, url=stand_in.url).connection()))
        yield stand_in


def kept(s3: LocalS3, bucket: str) -> list[tuple[Any, ...]]:
    return [one.identity for one in everything(s3, bucket)]


def test_all_work_goes_on(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, strict: CreationOnly
) -> None:
    """A first export, late events, a record of changes, a repair, seals and verifying: all pass, and only create."""
    connect(shop)
    uuids = shop.insert({"timestamp": time} for time in spread(day, 30))
    export(bucket, *day)
    shop.insert([{"timestamp": day.start + SECOND}])
    late = export(bucket, *day)
    shop.update(uuids[3], url="https://shop.example.com/rewritten")
    shop.delete(uuids[7:8])
    problem = refusal(bucket, *day)
    SealAuditArchiveOperator(task_id="seal", start=day.start, end=day.end, s3_bucket=bucket).execute({})
    shop.insert({"timestamp": day.start + number * SECOND} for number in (2, 3))
    span = {"start": day.start, "end": day.end, "s3_bucket": bucket}
    [repaired] = ReconcileAuditArchiveOperator(
        task_id="reconcile", repair=True, redact=None, on_source_change="warn", **span
    ).execute({})
    SealAuditArchiveOperator(task_id="seal", start=day.end, end=day.end + DAY, s3_bucket=bucket).execute({})
    verified = VerifyAuditArchiveOperator(task_id="verify", start=day.start, end=day.end, s3_bucket=bucket).execute(
        {}
    )

    assert (late["added"], late["count"], repaired["added"]) == (1, 31, 2)
    assert "1 of the 31 stored events" in problem
    assert verified["counts"] == {"ok": 1}
    documents = receipts(s3, bucket)
    recorded = [document for document in documents if document.get("object") is None and "window_uuids" in document]
    assert [(len(each["changed"]), len(each["vanished"])) for each in recorded] == [(1, 1)]
    # Three objects with their receipts, a record, and two seals.
    assert len(everything(s3, bucket)) == 9
    # Each export and each sealing below its prefix asked the store for one more, twice before it was there.
    assert Counter(strict.passed)[CREATED] == 9 + 2 * 2
    assert "s3:PutObject" not in strict.passed
    assert strict.denied == []


def test_an_upload_in_parts_creates_too(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, strict: CreationOnly
) -> None:
    """A large export carries the header where its parts become an object, and lands."""
    connect(shop, {"page_size": 10})
    shop.insert(bulky(day, 0, 50))  # of more bytes together than one request uploads

    result = export(bucket, *day)

    assert result["count"] == 50
    assert result["bytes"] > 8 * 1024 * 1024
    # Of the requests of an upload in parts only the last one has the header. The others are the receipt's, and three
    # that asked what the store does with it.
    assert Counter(strict.passed)[CREATED] == 2 + 3
    assert Counter(strict.passed)["s3:PutObject"] >= 3
    assert len(everything(s3, bucket)) == 2
    assert strict.denied == []


def test_nothing_can_be_overwritten_or_deleted(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, strict: CreationOnly
) -> None:
    """Whoever has the keys can neither replace nor delete what is stored, whichever way he tries."""
    connect(shop)
    shop.insert({"timestamp": time} for time in spread(day, 3))
    result = export(bucket, *day)
    before = kept(s3, bucket)
    client = replace(s3, url=strict.url).client()
    where = {"Bucket": bucket, "Key": result["key"]}

    def in_parts(**header: str) -> None:
        upload = client.create_multipart_upload(**where)["UploadId"]
        part = client.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"x")
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts, **header)

    attempts = {
        "put": (lambda: client.put_object(**where, Body=b"x"), "AccessDenied"),
        "put where nothing is": (
            lambda: client.put_object(**where, Body=b"x", IfNoneMatch="*"),
            "PreconditionFailed",
        ),
        "copy": (lambda: client.copy_object(**where, CopySource={**where, "Key": result["receipt"]}), "AccessDenied"),
        "parts": (in_parts, "AccessDenied"),
        "parts, if none is": (lambda: in_parts(IfNoneMatch="*"), "PreconditionFailed"),
        "delete": (lambda: client.delete_object(**where), "AccessDenied"),
        "delete many": (
            lambda: client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": result["receipt"]}]}),
            "AccessDenied",
        ),
    }
    for name, (attempt, code) in attempts.items():
        with pytest.raises(ClientError) as caught:
            attempt()
        assert caught.value.response["Error"]["Code"] == code, name

    assert kept(s3, bucket) == before
    assert export(bucket, *day)["added"] == 0
    assert kept(s3, bucket) == before


def test_the_policy_is_what_refuses(shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span) -> None:
    """Without the policy's statements the same overwrite passes, and the next export tells that it happened."""
    connect(shop)
    shop.insert({"timestamp": time} for time in spread(day, 3))
    result = export(bucket, *day)
    [size] = {one["bytes"] for one in result["objects"]}

    with CreationOnly(s3.url, {"Statement": []}) as open_:
        replace(s3, url=open_.url).client().put_object(Bucket=bucket, Key=result["key"], Body=bytes(size))

    shop.insert([{"timestamp": day.start + SECOND}])
    assert "was altered: its SHA-256 is" in refusal(bucket, *day)
