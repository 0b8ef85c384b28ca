"""Receipts: one schema for all who check them, names that tell the bytes, and what may not be replaced."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import boto3
import jsonschema
import msgspec
import pytest
from botocore.exceptions import ClientError

from airflow_provider_akinon.audit_events.bucket import Bucket
from airflow_provider_akinon.audit_events.errors import ArchiveError, ObjectLocked
from airflow_provider_akinon.audit_events.receipt import (
    NOT_PROVED,
    SCHEMA,
    Counts,
    Receipt,
    Run,
    Source,
    Span,
    StoredObject,
    heads,
    parse_receipt,
    receipt_key,
    receipt_prefix,
    receipt_schema,
    told_by_key,
)
from tests.support.paths import DOCS

PAGE = (DOCS / "receipts.rst").read_text()
KEY = "logs/date=2026-01-31/a.jsonl.gz"
HASHES = [f"{digit}" * 64 for digit in "0123"]
START, END = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)

RECEIPT = Receipt(
    schema=SCHEMA,
    window=Span(start=START, end=END),
    filters={"user": 42},
    source=Source(host="shop.example.com", remote_id=1),
    format="jsonl.gz",
    redaction={"policy": "credentials", "version": 1, "paths": {}, "key_id": None},
    counts=Counts(api_before=1, api_after=2, uuids=2, lines=2),
    uuids_sha256=HASHES[0],
    first_timestamp=START,
    last_timestamp=START.replace(microsecond=1),
    object=StoredObject(key=KEY, size=9, sha256=HASHES[1], content_sha256=HASHES[2], version_id=None),
    provider_version="1.0",
    run=Run(dag_id="d", task_id="t", run_id="r", try_number=1),
    verified_at=END,
    supersedes=[HASHES[3]],
    not_proved=list(NOT_PROVED),
)
Path_ = tuple[str, ...]


def encoded(document: object) -> tuple[str, bytes]:
    """Return a document's rightful name and bytes."""
    body = json.dumps(document).encode()
    return receipt_key(KEY, hashlib.sha256(body).hexdigest()), body


def document() -> dict[str, Any]:
    return dict(json.loads(RECEIPT.encode()))


def paths(kind: type[msgspec.Struct], above: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of each field that is no struct itself."""
    for field in msgspec.structs.fields(kind):
        if inspect.isclass(field.type) and issubclass(field.type, msgspec.Struct):
            yield from paths(field.type, (*above, field.name))
        else:
            yield (*above, field.name)


def folder_of(document: dict[str, Any], path: Path_) -> dict[str, Any]:
    for name in path[:-1]:
        document = document[name]
    return document


def refused(document: dict[str, Any]) -> tuple[bool, bool]:
    """Tell whether the schema, and whether the package, refuses a document."""
    schema = jsonschema.Draft202012Validator(receipt_schema())
    try:
        parse_receipt(*encoded(document))
    except ArchiveError:
        return not schema.is_valid(document), True
    return not schema.is_valid(document), False


def test_a_receipt_comes_back() -> None:
    """A receipt reads back as it was from its bytes, which are the same each time, and end in a line feed."""
    body = RECEIPT.encode()

    assert parse_receipt(receipt_key(KEY, hashlib.sha256(body).hexdigest()), body) == RECEIPT
    assert RECEIPT.encode() == body
    assert body.endswith(b"}\n")
    assert json.loads(body)["window"] == {"start": "2026-01-31T00:00:00Z", "end": "2026-02-01T00:00:00Z"}


def test_the_schema_is_one() -> None:
    """What `receipt_schema` returns is a JSON Schema of draft 2020-12, and takes a receipt, full or empty."""
    jsonschema.Draft202012Validator.check_schema(receipt_schema())

    assert refused(document()) == (False, False)
    empty = msgspec.structs.replace(RECEIPT, first_timestamp=None, last_timestamp=None, redaction=None, supersedes=[])
    assert refused(json.loads(empty.encode())) == (False, False)


@pytest.mark.parametrize("path", list(paths(Receipt)), ids=".".join)
def test_no_field_may_be_missing(path: Path_) -> None:
    """A receipt that lacks a field is refused, by the schema as by the package."""
    changed = document()
    del folder_of(changed, path)[path[-1]]

    assert refused(changed) == (True, True)


@pytest.mark.parametrize("above", [(), ("window",), ("source",), ("counts",), ("object",), ("run",)])
def test_no_field_may_be_added(above: Path_) -> None:
    """A field that is not known is refused at each level, so that nothing is believed that nobody looked at."""
    changed = document()
    folder_of(changed, (*above, "more"))["more"] = 1

    assert refused(changed) == (True, True)


@pytest.mark.parametrize("path", ["uuids_sha256", "object.sha256", "object.content_sha256"])
@pytest.mark.parametrize("value", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, 0, None])
def test_a_hash_is_a_hash(path: str, value: object) -> None:
    """What is no SHA-256 in lower-case hex is refused."""
    changed = document()
    steps = tuple(path.split("."))
    folder_of(changed, steps)[steps[-1]] = value

    assert refused(changed) == (True, True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "airflow-provider-akinon/receipt/2"),
        ("format", "csv"),
        ("counts.lines", -1),
        ("counts.lines", 1.5),
        ("counts.api_after", "2"),
        ("object.size", -1),
        ("filters", {"user": "42"}),
        ("filters", None),
        ("supersedes", ["x"]),
        ("window.start", None),
        ("verified_at", 0),
        ("source.remote_id", "1"),
    ],
)
def test_a_value_is_of_its_kind(path: str, value: object) -> None:
    """A value that its field cannot have is refused, by the schema as by the package."""
    changed = document()
    steps = tuple(path.split("."))
    folder_of(changed, steps)[steps[-1]] = value

    assert refused(changed) == (True, True)


@pytest.mark.parametrize("value", ["2026-01-31T00:00:00", "2026-01-31", "yesterday"])
def test_a_time_has_its_zone(value: str) -> None:
    """The package refuses what is no instant; of a schema's ``format``, many validators make nothing."""
    changed = document()
    changed["verified_at"] = value

    assert refused(changed)[1]


def test_bytes_that_are_not_those_of_the_name_are_refused() -> None:
    """One byte more, or another name, and the receipt is not believed; the message names it."""
    body = RECEIPT.encode()
    key = receipt_key(KEY, hashlib.sha256(body).hexdigest())

    for name, read in ((key, body + b" "), (key, b""), (receipt_key(KEY, HASHES[0]), body), ("elsewhere.json", body)):
        with pytest.raises(ArchiveError) as caught:
            parse_receipt(name, read)
        assert str(caught.value).startswith(f"The receipt {name} was altered, or renamed")
        assert caught.value.permanent


def test_a_receipt_of_another_object_is_refused() -> None:
    """A receipt that was copied beside another object is not taken for that one's."""
    body = RECEIPT.encode()
    key = receipt_key("logs/date=2026-01-31/b.jsonl.gz", hashlib.sha256(body).hexdigest())
    with pytest.raises(ArchiveError, match=f"{re.escape(key)} is the receipt of {re.escape(KEY)}, copied here"):
        parse_receipt(key, body)


def test_names() -> None:
    """A receipt lies in its object's folder, begins with an underscore, and its key gives both back."""
    name = f"logs/date=2026-01-31/_a.jsonl.gz.{HASHES[1]}.receipt.json"
    assert receipt_key(KEY, HASHES[1]) == name
    assert receipt_key("a", HASHES[1]) == f"_a.{HASHES[1]}.receipt.json"
    assert name.startswith(receipt_prefix(KEY))
    assert told_by_key(name) == (KEY, HASHES[1])
    assert told_by_key(f"_a.{HASHES[1]}.receipt.json") == ("a", HASHES[1])


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        f"a.{HASHES[1]}.receipt.json",
        f"_a.{HASHES[1][1:]}.receipt.json",
        f"_a.{'A' * 64}.receipt.json",
        f"_a.{HASHES[1]}.receipt.json.bak",
        f"_a.{HASHES[1]}.receipt.json\n",
        f"_a.{HASHES[1]}xreceipt.json",
        f"_.{HASHES[1]}/receipt.json",
    ],
)
def test_what_is_no_name_of_a_receipt(key: str) -> None:
    """Anything else in the folder is not taken for a receipt."""
    assert told_by_key(key) is None


@pytest.mark.parametrize(
    ("chain", "left"),
    [
        ({}, ""),
        ({"a": ""}, "a"),
        ({"a": "", "b": "a"}, "b"),
        ({"b": "a", "a": "", "c": "b"}, "c"),
        ({"a": "", "b": ""}, "ab"),
        ({"a": "", "b": "", "c": "ab"}, "c"),
        ({"b": "a"}, "b"),
    ],
)
def test_the_receipts_that_count(chain: dict[str, str], left: str) -> None:
    """Those that no other one supersedes are left, also where some of the chain are gone."""
    receipts = [(name, msgspec.structs.replace(RECEIPT, supersedes=list(names))) for name, names in chain.items()]

    assert [name for name, _ in heads(iter(receipts))] == list(left)


def test_every_field_is_documented() -> None:
    """The table of the page has exactly the fields of a receipt, in their order, each with a type and a meaning."""
    table = re.findall(r"^   \* - ``([\w.]+)``\n     - (.+)\n     - (.+)$", PAGE, re.M)

    assert [name for name, _, _ in table] == [".".join(path) for path in paths(Receipt)]


def test_the_types_in_the_documentation() -> None:
    """The type that the page gives a field is the one that the schema has."""
    schema = receipt_schema()
    definitions = schema["$defs"]

    def kind(part: dict[str, Any]) -> str:
        if "anyOf" in part:
            return " or ".join(kind(each) for each in part["anyOf"])
        if "enum" in part:
            return "string"
        if part["type"] == "array":
            return f"list of {kind(part['items'])}s".replace("hashs", "hashes")
        if "pattern" in part:
            return "hash"
        return "time" if part.get("format") == "date-time" else str(part["type"])

    table = dict(re.findall(r"^   \* - ``([\w.]+)``\n     - (.+)$", PAGE, re.M))
    for path, told in table.items():
        part: dict[str, Any] = schema
        for step in path.split("."):
            if "$ref" in part:
                part = definitions[part["$ref"].rpartition("/")[2]]
            part = part["properties"][step]
        assert told == kind(part), path


def test_the_example_is_a_receipt() -> None:
    """The page's example is byte for byte a receipt of the schema, under its rightful name, and its numbers agree."""
    [(name, block)] = re.findall(r"^``(_\S+)``:\n\n\.\. code-block:: json\n\n((?:   .*\n)+)", PAGE, re.M)
    body = re.sub(r"^   ", "", block, flags=re.M).encode()

    jsonschema.validate(json.loads(body), receipt_schema(), jsonschema.Draft202012Validator)
    receipt = parse_receipt(f"{json.loads(body)['object']['key'].rpartition('/')[0]}/{name}", body)

    assert receipt.encode() == body
    assert receipt.counts.api_after == receipt.counts.uuids == receipt.counts.lines
    assert receipt.not_proved == list(NOT_PROVED)


@dataclasses.dataclass
class LockedStore:
    """A store that refuses to overwrite what is locked, as some that speak S3 do. SeaweedFS makes a version."""

    head: dict[str, Any]
    code: str = "AccessDenied"
    meta: ClassVar[Any] = boto3.client("s3", region_name="us-east-1").meta

    def head_object(self, **_: object) -> dict[str, Any]:
        if not self.head:
            raise ClientError({"Error": {"Code": "404"}}, "HeadObject")
        return {"ContentLength": 1, "Metadata": {}, "ETag": "e1", **copy.deepcopy(self.head)}

    def put_object(self, **_: object) -> None:
        raise ClientError({"Error": {"Code": self.code, "Message": "Access Denied."}}, "PutObject")

    def upload_fileobj(self, *_: object, **__: object) -> None:
        self.put_object()


class Seekable:
    """As much of a file as an upload that is refused needs."""

    def seek(self, place: int) -> None:
        assert place == 0


RETAINED = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime(2033, 2, 1, tzinfo=UTC)}


@pytest.mark.parametrize("refused", [lambda b: b.put(KEY, b"", {}), lambda b: b.upload(KEY, Seekable(), {}, None)])
@pytest.mark.parametrize(
    ("head", "told"),
    [
        (RETAINED, "Object Lock (COMPLIANCE) holds it until 2033-02-01 00:00:00+00:00"),
        ({**RETAINED, "ObjectLockLegalHoldStatus": "ON"}, "a legal hold is on it"),
        ({**RETAINED, "ObjectLockLegalHoldStatus": "OFF"}, "until 2033-02-01"),
    ],
)
def test_a_store_that_refuses_to_overwrite_what_is_locked(
    refused: Callable[[Bucket], None], head: dict[str, Any], told: str
) -> None:
    """The error says until when the object is held, and what to change; trying again does not help."""
    bucket = Bucket(LockedStore(head), "audit")

    with pytest.raises(ObjectLocked) as caught:
        refused(bucket)

    assert str(caught.value).startswith(f"s3://audit/{KEY} may not be replaced: ")
    assert told in str(caught.value)
    assert "AccessDenied" in str(caught.value)
    assert caught.value.permanent
    assert isinstance(caught.value.__cause__, ClientError)


@pytest.mark.parametrize(
    ("store", "arguments"),
    [
        (LockedStore({}), {}),
        (LockedStore({}), {"Tagging": "a=b"}),
        (LockedStore(RETAINED, "SlowDown"), {"ObjectLockMode": "COMPLIANCE"}),
    ],
)
def test_another_refusal_passes_as_it_is(store: LockedStore, arguments: dict[str, str]) -> None:
    """Where no lock is asked for nor held, or S3 is only busy, its own error is raised."""
    with pytest.raises(ClientError, match=store.code):
        Bucket(store, "audit").put(KEY, b"", arguments)
