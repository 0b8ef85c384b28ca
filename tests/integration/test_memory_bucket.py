"""The bucket in memory, which the property of the archive's history stands on, answers as a real server does."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_provider_akinon.audit_events.archive import Bucket
from airflow_provider_akinon.audit_events.errors import AkinonError, InvalidInput, ObjectChanged
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.memory_bucket import MemoryBucket

KEYS = ["a/_b.x.receipt.json", "a/b.jsonl.gz", "a/b.late-1.jsonl.gz", "a/b.late-10.jsonl.gz", "a/b.late-2.jsonl.gz"]


def outcome(act: Callable[[], Any]) -> Any:
    """Return what an act gives, or how it fails: by S3's code, or by the class of the package's error."""
    try:
        return act()
    except ClientError as error:
        return error.response["Error"]["Code"]
    except AkinonError as error:
        return type(error)


def answers_of_a_client(client: Any, name: str) -> list[Any]:
    """Return what a client answers to a series of requests; of heads, what the package reads, and the ETag."""

    def head(key: str) -> Any:
        told = client.head_object(Bucket=name, Key=key)
        return {field: told[field] for field in ("ContentLength", "ContentType", "ETag", "Metadata")}

    def get(key: str) -> Any:
        told = client.get_object(Bucket=name, Key=key)
        with told["Body"] as body:
            return body.read(2), body.read(), told["Metadata"], told["ContentLength"]

    def put(key: str, body: bytes, **arguments: Any) -> Any:
        return client.put_object(Bucket=name, Key=key, Body=body, **arguments)["ETag"]

    def upload(key: str, body: bytes, **arguments: Any) -> Any:
        file = io.BytesIO(body)
        return outcome(lambda: client.upload_fileobj(file, name, key, ExtraArgs=arguments)), file.closed

    mixed = {"Akinon-Count": "3", "own": "yes"}
    acts: list[Callable[[], Any]] = [
        lambda: head("none"),
        lambda: get("none"),
        lambda: client.head_bucket(Bucket=name) is None,
        lambda: client.head_bucket(Bucket=f"{name}-other") is None,
        lambda: put("k", b"first", IfNoneMatch="*", ContentType="text/plain", Metadata=mixed),
        lambda: put("k", b"second", IfNoneMatch="*"),
        lambda: head("k"),
        lambda: get("k"),
        lambda: put("k", b"third", ContentType="text/plain"),  # a copy without metadata
        lambda: head("k"),
        lambda: upload("u", b"upload", ContentType="application/gzip", Metadata=mixed),
        lambda: head("u"),
        lambda: upload("u", b"upload again"),
        lambda: get("u"),
        lambda: client.delete_object(Bucket=name, Key="u") is None,
        lambda: client.delete_object(Bucket=name, Key="u") is None,
        lambda: head("u"),
        lambda: put("u", b"", IfNoneMatch="*", ContentType="text/plain"),
        lambda: head("u"),
    ]
    return [outcome(act) for act in acts]


def answers_of_a_bucket(client: Any, name: str) -> list[Any]:
    """Return what `Bucket` makes of a series of requests."""
    bucket = Bucket(client, name)

    def upload(key: str, body: bytes) -> Any:
        file = io.BytesIO(body)
        arguments = {"Metadata": {"akinon-sha256": "5"}, "ContentType": "a/b"}
        answer = outcome(lambda: bucket.upload(key, file, arguments))
        assert not file.closed, "where the key was taken, another one needs it"
        return answer

    acts: list[Callable[[], Any]] = [
        bucket.require,
        Bucket(client, f"{name}-other").require,
        lambda: bucket.head("a/none"),
        lambda: bucket.read("a/none", 100),
        lambda: list(bucket.entries("a/")),
        *[lambda key=key: upload(key, key.encode()) for key in reversed(KEYS)],  # type: ignore[misc]
        lambda: upload(KEYS[1], b"another"),
        lambda: bucket.read(KEYS[1], 100),
        lambda: bucket.head(KEYS[1]),
        lambda: bucket.create("a/c", b"c", {"ContentType": "a/b", "Callback": "no argument of PutObject"}),
        lambda: bucket.create("a/c", b"c", {}),
        lambda: bucket.create("a/c", b"d", {}),
        lambda: bucket.read("a/c", 100),
        lambda: client.put_object(Bucket=name, Key="z", Body=b"whatever is there") is None,
        lambda: client.put_object(Bucket=name, Key="z", Body=b"or was") is None,
        *[lambda prefix=prefix: list(bucket.entries(prefix)) for prefix in ("a/", "a/b.late-", "", "y")],  # type: ignore[misc]
    ]
    return [outcome(act) for act in acts]


@pytest.mark.parametrize("answers", [answers_of_a_client, answers_of_a_bucket])
def test_memory_answers_as_the_server_does(
    answers: Callable[[Any, str], list[Any]], s3: LocalS3, bucket: str
) -> None:
    """The same requests get the same answers: objects created once, heads, bytes, listings in order, and errors."""
    real = answers(s3.client(), bucket)

    assert answers(MemoryBucket(bucket), bucket) == real
    # What the property relies on, so that two that are wrong in the same way do not agree.
    assert {"PreconditionFailed", "NoSuchKey", "404"} <= set(map(str, real)) or {ObjectChanged, InvalidInput} <= {
        each for each in real if isinstance(each, type)
    }


def test_memory_counts_versions_as_the_server_does(s3: LocalS3, bucket: str) -> None:
    """Where a bucket keeps versions, each write has its own."""
    client = s3.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})

    def answers(client: Any) -> list[Any]:
        mine = Bucket(client, bucket)
        mine.create("k", b"first", {})
        first = mine.head("k")
        client.put_object(Bucket=bucket, Key="k", Body=b"second")
        second = mine.head("k")
        assert first
        assert second
        assert first.version_id
        assert second.version_id
        return [first.version_id != second.version_id, mine.read("k", 100), second.size]

    assert answers(MemoryBucket(bucket, versioned=True)) == answers(client) == [True, b"second", 6]
