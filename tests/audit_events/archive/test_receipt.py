"""Receipts: one schema for all who check them, names that tell the bytes, and stores that refuse."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import io
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, ClassVar, get_args, get_origin

import boto3
import jsonschema
import msgspec
import pytest
from botocore.exceptions import ClientError

from airflow_provider_akinon.audit_events.api import Settings
from airflow_provider_akinon.audit_events.archive import (
    NOT_PROVED,
    RECEIPT_SCHEMA,
    Bucket,
    ChangedEvent,
    Counts,
    Policy,
    Receipt,
    Run,
    StoredObject,
    newest_receipts,
    parse_receipt,
    parse_receipt_key,
    receipt_key,
    receipt_prefix,
    receipt_schema,
)
from airflow_provider_akinon.audit_events.errors import ArchiveError, ObjectChanged, ObjectLocked
from airflow_provider_akinon.audit_events.model import Filters, Source, Window
from tests.support.paths import DOCS

PAGE = (DOCS / "receipts.rst").read_text()
KEY = "logs/date=2026-01-31/a.jsonl.gz"
HASHES = [f"{digit}" * 64 for digit in "0123"]
UUIDS = [f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}" for digit in "aB"]
START, END = datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)

RECEIPT = Receipt(
    schema=RECEIPT_SCHEMA,
    window=Window(start=START, end=END),
    filters=Filters(user=42),
    source=Source(host="shop.example.com", remote_id=1),
    partition_timezone=None,
    format="jsonl.gz",
    redaction=Policy(policy="credentials", version=1, paths={}, key_id=None),
    counts=Counts(api_before=1, api_after=2, uuids=2, lines=2, window=3, vanished=1),
    uuids_sha256=HASHES[0],
    window_uuids=HASHES[1],
    first_timestamp=START,
    last_timestamp=START.replace(microsecond=1),
    object=StoredObject(key=KEY, size=9, sha256=HASHES[1], content_sha256=HASHES[2], version_id=None),
    changed=[ChangedEvent(uuid=UUIDS[0], fields=["url", "user.pk"])],
    vanished=[UUIDS[1]],
    provider_version="1.0",
    run=Run(dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=1),
    verified_at=END,
    previous=[HASHES[3]],
    not_proved=list(NOT_PROVED),
)
RECORD = msgspec.structs.replace(
    RECEIPT, object=None, uuids_sha256=None, first_timestamp=None, last_timestamp=None, previous=[HASHES[1]]
)
"""A receipt without an object, which only records changes."""
Path_ = tuple[str, ...]


def encoded(document: object) -> tuple[str, bytes]:
    """Return a document's rightful name and bytes."""
    body = json.dumps(document).encode()
    return receipt_key(KEY, hashlib.sha256(body).hexdigest()), body


def document() -> dict[str, Any]:
    return dict(json.loads(RECEIPT.encode()))


def paths(kind: type[msgspec.Struct], above: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of each field that is no struct itself, nor one or null; filters, all optional, count as one."""
    for field in msgspec.structs.fields(kind):
        structs = [
            each
            for each in (field.type, *get_args(field.type))
            if inspect.isclass(each) and issubclass(each, msgspec.Struct) and each is not Filters
        ]
        if structs and get_origin(field.type) is not list:
            yield from paths(structs[0], (*above, field.name))
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


NAME = "date=2026-01-31/20260131T000000Z_20260201T000000Z_user=42.jsonl.gz"


@pytest.mark.parametrize(
    ("key", "timezone"),
    [
        (NAME, "UTC"),
        (f"logs/{NAME}", "UTC"),
        (f"logs/{NAME}", "Europe/Istanbul"),
        (f"logs/{NAME}".replace(".jsonl", ".late-2.jsonl"), "UTC"),
        (f"logs/{NAME}".replace("01-31/", "01-30/"), "America/New_York"),
        ("one.jsonl.gz", None),
        ("logs/date=2026-01-31/one", None),
        ("logs/date=2026-01-30/one.gz", None),
    ],
)
def test_a_receipt_lies_where_its_window_is_stored(key: str, timezone: str | None) -> None:
    """Below any prefix, date and name are those of its window, filters, format and time zone, or the author's."""
    assert told_at(key, timezone).partition_timezone == timezone


@pytest.mark.parametrize(
    ("key", "timezone", "problem"),
    [
        ("logs/date=2026-01-31/1{{ conn.akinon_seal.password }}.jsonl.gz", "UTC", "it belongs at date=2026-01-31/"),
        (f"logs/{NAME}x", "UTC", "it belongs at"),
        (f"logs-{NAME}", "UTC", "it belongs at"),
        (f"logs/{NAME}".replace("01-31/", "01-30/"), "UTC", "it belongs at date=2026-01-31/"),
        (f"logs/{NAME}", "America/New_York", "it belongs at date=2026-01-30/"),
        (f"logs/{NAME}".replace("_user=42", ""), "UTC", "_user=42"),
        (f"logs/{NAME}".removesuffix(".gz"), "UTC", "it belongs at"),
        (f"logs/{NAME}", "{{ conn.akinon_seal.password }}", "is not a time zone"),
        ("logs/date=2026-02-02/one", None, "the key says 2026-02-02"),
        ("logs/one.parquet", None, "the key ends in parquet"),
    ],
)
def test_a_receipt_that_lies_elsewhere_is_refused(key: str, timezone: str | None, problem: str) -> None:
    """Whoever may write to the bucket can name a receipt as they like, and gets no further with it."""
    with pytest.raises(ArchiveError, match="lies where its window is not stored") as caught:
        told_at(key, timezone)
    assert problem in str(caught.value)


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"])
def test_a_window_without_a_calendar_is_refused(start: str) -> None:
    """A time that no time zone can be applied to is an error of the receipt, and not of whoever reads it."""
    told = document()
    told["window"] = {"start": start, "end": "9999-12-31T23:00:00Z"}

    with pytest.raises(ArchiveError, match="not a receipt of a version that this package knows"):
        parse_receipt(*encoded(told))


def told_at(key: str, timezone: str | None) -> Receipt:
    """Return a receipt as it is read beside an object of this key."""
    assert RECEIPT.object
    stored = msgspec.structs.replace(RECEIPT.object, key=key)
    body = msgspec.structs.replace(RECEIPT, object=stored, partition_timezone=timezone).encode()
    return parse_receipt(receipt_key(key, hashlib.sha256(body).hexdigest()), body)


def test_the_schema_is_one() -> None:
    """What `receipt_schema` returns is a JSON Schema of draft 2020-12, and takes a receipt, full or empty."""
    jsonschema.Draft202012Validator.check_schema(receipt_schema())

    assert refused(document()) == (False, False)
    nothing: dict[str, Any] = {"redaction": None, "changed": [], "vanished": [], "previous": []}
    empty = msgspec.structs.replace(RECEIPT, first_timestamp=None, last_timestamp=None, **nothing)
    for each in (empty, RECORD):
        assert refused(json.loads(each.encode())) == (False, False)


@pytest.mark.parametrize("path", list(paths(Receipt)), ids=".".join)
def test_no_field_may_be_missing(path: Path_) -> None:
    """A receipt that lacks a field is refused, by the schema as by the package."""
    changed = document()
    del folder_of(changed, path)[path[-1]]

    assert refused(changed) == (True, True)


@pytest.mark.parametrize("name", ["uuid", "fields"])
def test_a_change_is_whole(name: str) -> None:
    """A change that lacks its uuid or its fields is refused, and so is one that says more, such as what was there."""
    lacking, more = document(), document()
    del lacking["changed"][0][name]
    more["changed"][0]["before"] = "/orders/"

    assert refused(lacking) == refused(more) == (True, True)


@pytest.mark.parametrize("above", [(), ("window",), ("source",), ("counts",), ("object",), ("run",)])
def test_no_field_may_be_added(above: Path_) -> None:
    """A field that is not known is refused at each level, so that nothing is believed that nobody looked at."""
    changed = document()
    folder_of(changed, (*above, "more"))["more"] = 1

    assert refused(changed) == (True, True)


@pytest.mark.parametrize("path", ["uuids_sha256", "window_uuids", "object.sha256", "object.content_sha256"])
@pytest.mark.parametrize("value", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, 0])
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
        ("counts.window", -1),
        ("counts.vanished", None),
        ("window_uuids", None),
        ("object.sha256", None),
        ("changed", None),
        ("changed", ["c"]),
        ("changed", [{"uuid": UUIDS[0], "fields": "url"}]),
        ("vanished", [1]),
        ("previous", ["x"]),
        ("previous", None),
        ("window.start", None),
        ("verified_at", 0),
        ("source.remote_id", "1"),
        ("source.host", "shop.example.com\n"),
        ("source.host", "\x1b[2K"),
        ("source.host", ""),
        ("vanished", ["v"]),
        ("vanished", [UUIDS[0] + "\n"]),
        ("changed", [{"uuid": UUIDS[0][:-1], "fields": ["url"]}]),
        ("redaction", {}),
        ("redaction", {"policy": "none", "version": 1, "paths": {}, "key_id": None}),
        ("redaction", {"policy": "credentials", "version": 1, "paths": {"user": {}}, "key_id": None}),
        ("redaction", {"policy": "credentials", "version": -1, "paths": {}, "key_id": None}),
        ("redaction", {"policy": "credentials", "version": 1, "paths": {}, "key_id": "x" * 16}),
        ("uuids_sha256", HASHES[0] + "\n"),
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


def test_a_record_of_changes_comes_back() -> None:
    """A receipt without an object reads back from beside the window's first object."""
    body = RECORD.encode()

    assert parse_receipt(receipt_key(KEY, hashlib.sha256(body).hexdigest()), body) == RECORD
    assert json.loads(body)["object"] is json.loads(body)["uuids_sha256"] is None
    assert json.loads(body)["changed"] == [{"uuid": UUIDS[0], "fields": ["url", "user.pk"]}]


def test_names() -> None:
    """A receipt lies in its object's folder, begins with an underscore, and its key gives both back."""
    name = f"logs/date=2026-01-31/_a.jsonl.gz.{HASHES[1]}.receipt.json"
    assert receipt_key(KEY, HASHES[1]) == name
    assert receipt_key("a", HASHES[1]) == f"_a.{HASHES[1]}.receipt.json"
    assert name.startswith(receipt_prefix(KEY))
    assert parse_receipt_key(name) == (KEY, HASHES[1])
    assert parse_receipt_key(f"_a.{HASHES[1]}.receipt.json") == ("a", HASHES[1])


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
    assert parse_receipt_key(key) is None


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
        ({"a": "", "b": "a", "c": "a"}, "bc"),
    ],
)
def test_the_receipts_that_count(chain: dict[str, str], left: str) -> None:
    """Those that no other one names as before it are the newest, also where some of the chain are gone."""
    receipts = {name: msgspec.structs.replace(RECEIPT, previous=list(names)) for name, names in chain.items()}

    assert newest_receipts(receipts) == list(left)


@pytest.mark.parametrize(
    "host",
    [
        "shop.example.com",
        "http://127.0.0.1:8080",
        "https://[2001:db8::1]",
        "https://[fe80::1%eth0]:8443",
        "a_b",
        "a" * 400,
    ],
)
def test_every_host_of_a_connection_can_be_read_back(host: str) -> None:
    """What a connection may lead to is a source that a receipt may name."""
    settings = Settings.parse(host=host, password="k", extra={"remote_id": 2**70})
    source = Source(host=settings.host, remote_id=settings.extra.remote_id)
    body = msgspec.structs.replace(RECEIPT, source=source).encode()

    assert parse_receipt(receipt_key(KEY, hashlib.sha256(body).hexdigest()), body).source == source


def test_the_example_is_a_receipt() -> None:
    """The page's example is byte for byte a receipt of the schema, under its rightful name, and its numbers agree."""
    [(name, block)] = re.findall(r"^``(_\S+)``:\n\n\.\. code-block:: json\n\n((?:   .*\n)+)", PAGE, re.M)
    body = re.sub(r"^   ", "", block, flags=re.M).encode()

    jsonschema.validate(json.loads(body), receipt_schema(), jsonschema.Draft202012Validator)
    receipt = parse_receipt(f"{json.loads(body)['object']['key'].rpartition('/')[0]}/{name}", body)

    assert receipt.encode() == body
    counts = receipt.counts
    assert counts.api_after == counts.uuids == counts.lines == counts.window - counts.vanished
    assert receipt.not_proved == list(NOT_PROVED)


@dataclasses.dataclass
class RefusingStore:
    """A store that refuses what it is to hold, with this code, and holds ``body`` at every key."""

    code: str
    body: bytes = b""
    meta: ClassVar[Any] = boto3.client("s3", region_name="us-east-1").meta

    def put_object(self, **_: object) -> None:
        raise ClientError({"Error": {"Code": self.code, "Message": "Access Denied."}}, "PutObject")

    def upload_fileobj(self, *_: object, **__: object) -> None:
        self.put_object()

    def get_object(self, **_: object) -> dict[str, Any]:
        return {"Body": io.BytesIO(self.body)}


LOCK = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": datetime(2033, 2, 1, tzinfo=UTC)}
Write = Callable[[Bucket, dict[str, Any]], None]
WRITES: list[Write] = [
    lambda bucket, arguments: bucket.create(KEY, b"ours", arguments),
    lambda bucket, arguments: bucket.upload(KEY, io.BytesIO(b"ours"), arguments),
]
BOTH = pytest.mark.parametrize("write", WRITES, ids=["small", "large"])


@BOTH
def test_a_store_that_refuses_a_lock(write: Write) -> None:
    """The error says which arguments it is about, and what may be missing; trying again does not help."""
    with pytest.raises(ObjectLocked) as caught:
        write(Bucket(RefusingStore("AccessDenied"), "audit"), LOCK)

    assert str(caught.value).startswith(f"S3 refused s3://audit/{KEY} with ObjectLockMode, ObjectLockRetainUntilDate")
    assert "Object Lock must be switched on for the bucket" in str(caught.value)
    assert "AccessDenied" in str(caught.value)
    assert caught.value.permanent
    assert isinstance(caught.value.__cause__, ClientError)


@BOTH
@pytest.mark.parametrize(
    ("code", "arguments"), [("AccessDenied", {}), ("AccessDenied", {"Tagging": "a=b"}), ("SlowDown", LOCK)]
)
def test_another_refusal_passes_as_it_is(write: Write, code: str, arguments: dict[str, Any]) -> None:
    """Where no lock is asked for, or S3 is only busy, its own error is raised."""
    with pytest.raises(ClientError, match=code):
        write(Bucket(RefusingStore(code), "audit"), arguments)


@BOTH
@pytest.mark.parametrize("code", ["PreconditionFailed", "ConditionalRequestConflict"])
def test_a_key_that_is_taken(write: Write, code: str) -> None:
    """Where something else is by now, the error says that it was left alone, and that another try may do."""
    with pytest.raises(
        ObjectChanged, match=f"^s3://audit/{KEY} was written by somebody else .* Nothing was"
    ) as caught:
        write(Bucket(RefusingStore(code, b"theirs"), "audit"), LOCK)

    assert not caught.value.permanent


def test_an_identical_document_is_success() -> None:
    """A receipt that is there already, byte by byte, as after an answer that got lost, was written."""
    Bucket(RefusingStore("PreconditionFailed", b"ours"), "audit").create(KEY, b"ours", {})
