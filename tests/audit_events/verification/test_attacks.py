"""An attacker who may write and delete in the bucket, and has neither the private key nor the head.

Whatever they plant, alter, rename, delete and re-date: who verifies with the public key and the head learns of it,
of each key, and gets to the end. What they can still do is what no seal holds yet.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.archive import Bucket, Status, first_and_number, name_of_window
from airflow_provider_akinon.audit_events.errors import ArchiveError
from airflow_provider_akinon.audit_events.formats import stored
from airflow_provider_akinon.audit_events.model import Filters, Format, Window
from airflow_provider_akinon.audit_events.reconciling import Reconciler
from airflow_provider_akinon.audit_events.seals import Seal, SealedReceipt
from airflow_provider_akinon.audit_events.verification import Report
from tests.support.examples import SOME_EXAMPLES
from tests.support.memory_archive import (
    DAY,
    PERIOD,
    PREFIX,
    SEALED_END,
    START,
    Shop,
    day,
    seal,
    sealed_archive,
    verify,
)
from tests.support.memory_bucket import MemoryBucket
from tests.support.sealed import ANOTHER_KEY, Files, beside, memory_bucket_with, named_by_bytes, rewritten

ARCHIVE = sealed_archive()
SEALED_DAYS, DAYS = range(2 * PERIOD), range(3 * PERIOD)
END = datetime(2030, 1, 1, tzinfo=UTC)
FOREIGN = "\x1b[2K\rNothing is wrong.\n\u202e"


def object_of(number: int, end: str = ".jsonl.gz") -> str:
    """Return the key of a day's first object."""
    date = f"date={day(number).start:%Y-%m-%d}/"
    [key] = [key for key in ARCHIVE.objects if date in key and key.endswith(end) and ".late-" not in key]
    return key


def receipts_of(key: str) -> list[str]:
    """Return the keys of an object's receipts."""
    folder, _, name = key.rpartition("/")
    return [each for each in ARCHIVE.receipts if each.startswith(f"{folder}/_{name}.")]


def flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


def document_of(number: int) -> dict[str, Any]:
    """Return the first receipt of a day, read."""
    [key] = [key for key in receipts_of(object_of(number)) if ARCHIVE.document(key)["object"]]
    return ARCHIVE.document(key)


def planted(document: dict[str, Any], key: str, body: bytes | None = None) -> Files:
    """Return an object at a key and a receipt of it, right in itself; the bytes are the document's unless given."""
    body = ARCHIVE.files[document["object"]["key"]] if body is None else body
    told = {**document["object"], "key": key, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    return {key: body, **dict([beside(key, {**document, "object": told})])}


def empty(window: dict[str, str], format_: str, key: str, **fields: Any) -> Files:
    """Return an export without events of a window, right in itself, at a key of its author's."""
    document = document_of(0)
    counts = dict.fromkeys(document["counts"], 0)
    body = gzip.compress(b"") if format_ == "jsonl.gz" else b""
    nothing = {"first_timestamp": None, "last_timestamp": None, "window_uuids": "0" * 64, "previous": []}
    made = {**document, **nothing, "window": window, "format": format_, "counts": counts, "partition_timezone": None}
    return planted({**made, **fields}, key, body)


def wrong(files: Files | Bucket, **expected: Any) -> dict[str | None, Status]:
    """Return what is wrong by its key, with the public key and the head unless told otherwise."""
    report = verify(files, **{"known_heads": ARCHIVE.heads[-1:], **expected})
    return {each.key: each.status for each in report.wrong}


def span(start: datetime, end: datetime) -> dict[str, str]:
    return {"start": f"{start:%Y-%m-%dT%H:%M:%S.%fZ}", "end": f"{end:%Y-%m-%dT%H:%M:%S.%fZ}"}


def test_nothing_is_wrong_with_the_archive() -> None:
    """Untouched, it is right: what follows is found because of what was done."""
    report = verify(ARCHIVE.files, known_heads=ARCHIVE.heads)

    assert report.wrong == ()
    assert report.counts == {"ok": 2 * len(SEALED_DAYS), "not sealed": 2 * PERIOD}


# What claims to lie outside of what is looked at.


def test_a_window_that_reaches_out_of_the_sealed_time() -> None:
    """An object whose receipt claims a microsecond more than was sealed is no export of tomorrow."""
    key = f"{PREFIX}date=2025-03-08/more.jsonl.gz"
    claimed = span(SEALED_END - timedelta(hours=1), SEALED_END + timedelta(microseconds=1))

    found = wrong(ARCHIVE.files | empty(claimed, "jsonl.gz", key))

    assert found[key] is Status.LEFT_OUT


@pytest.mark.parametrize("expected", [{}, {"start": START, "end": SEALED_END}], ids=["all", "sealed time"])
def test_the_day_after_in_the_folder_of_the_last_sealed_one(expected: dict[str, Any]) -> None:
    """It may be honest, as nobody knows the time zone of an author's key; it is named as what no seal holds."""
    key = f"{PREFIX}date=2025-03-08/more.jsonl.gz"
    files = ARCHIVE.files | empty(day(8).as_dict(), "jsonl.gz", key, partition_timezone=None)

    report = verify(files, known_heads=ARCHIVE.heads[-1:], **expected)

    assert [each.status for each in report.findings if each.key == key] == [Status.NOT_SEALED]
    far = files | empty(day(9).as_dict(), "jsonl.gz", key, partition_timezone=None)
    assert wrong(far, **expected)[key] is Status.ALTERED


@pytest.mark.parametrize("number", SEALED_DAYS)
def test_another_format_of_a_sealed_day(number: int) -> None:
    """A format that was never sealed does not bring a sealed day to unsealed time."""
    key = f"{PREFIX}{day(number).start:date=%Y-%m-%d}/more.jsonl"

    assert wrong(ARCHIVE.files | empty(day(number).as_dict(), "jsonl", key)) == {key: Status.LEFT_OUT}


@pytest.mark.parametrize("key", [f"{PREFIX}more.jsonl.gz", f"{PREFIX}march/more"])
def test_a_window_far_off(key: str) -> None:
    """What claims another time than that which is asked for is looked at, where its key does not say so too."""
    far = span(END, END + DAY)
    files = ARCHIVE.files | empty(far, "jsonl.gz", key)
    files[key] += b"\0"

    assert wrong(files, start=START, end=SEALED_END) == {key: Status.ALTERED}


def test_a_window_far_off_among_the_others() -> None:
    """Below the date of a day that is asked for, another time is a lie."""
    key = f"{PREFIX}date=2025-03-03/more.jsonl.gz"
    far = span(END, END + DAY)

    assert wrong(ARCHIVE.files | empty(far, "jsonl.gz", key), start=START, end=SEALED_END) == {key: Status.ALTERED}


def test_a_hole_behind_another_format() -> None:
    """A window that lacks before it is sealed is a gap, whatever lies there in another format."""
    lost, key = day(9), f"{PREFIX}date=2025-03-10/more.jsonl"
    folder = f"{PREFIX}date=2025-03-10/"
    files = {name: body for name, body in ARCHIVE.files.items() if not name.startswith(folder) or "parquet" in name}

    report = verify(files | empty(lost.as_dict(), "jsonl", key), known_heads=ARCHIVE.heads)

    assert [(each.status, each.window) for each in report.wrong] == [(Status.GAP, lost)]


def test_a_seal_names_what_was_added_to_sealed_time() -> None:
    """The next seal holds it, and says so: nothing gets a signature without a word."""
    memory = MemoryBucket.holding(ARCHIVE.files | empty(day(2).as_dict(), "jsonl", f"{PREFIX}more.jsonl"))

    [sealing] = seal(Bucket(memory, "audit"), day(8, PERIOD))

    assert [entry.object for entry in sealing.late] == [f"{PREFIX}more.jsonl"]
    assert sealing.head.seal.additions == [entry.receipt for entry in sealing.late]
    assert len(sealing.head.seal.receipts) == 2 * PERIOD + 1


# What vouches.


def appended(number: int, **fields: Any) -> Files:
    """Return a seal after the newest one that nobody signed."""
    newest = ARCHIVE.seals[-1]
    body = rewritten(ARCHIVE.files[newest], number=number, previous=ARCHIVE.heads[-1], **fields)
    return {newest.replace("_000002", f"_{number:06d}"): body}


def test_a_seal_after_the_head_vouches_for_nothing() -> None:
    """With a head and no key, what a later seal holds is as if no seal held it."""
    key = f"{PREFIX}more.jsonl"
    forged = empty(day(2).as_dict(), "jsonl", key)
    [receipt] = [name.split(".")[-3] for name in forged if name.endswith(".json")]
    entry = {"receipt": receipt, "object": key, "format": "jsonl", "window": document_of(2)["window"]}
    seal_ = appended(3, receipts=[msgspec.convert(entry, SealedReceipt)])

    assert wrong(ARCHIVE.files | forged | seal_, public_keys=()) == {key: Status.LEFT_OUT}
    assert wrong(ARCHIVE.files | forged | seal_)[key] is Status.LEFT_OUT


def test_a_seal_after_the_head_takes_nothing_out_of_sight() -> None:
    """Nor does it count what such a seal says of the time of what it holds."""
    document = {**document_of(2), "partition_timezone": "UTC", "format": "jsonl"}
    key = object_of(2).replace(".jsonl.gz", ".jsonl")
    forged = planted(document, key, gzip.decompress(ARCHIVE.files[object_of(2)]))
    [receipt] = [name.split(".")[-3] for name in forged if name.endswith(".json")]
    far = Window(start=END, end=END + DAY)
    entry = SealedReceipt(receipt=receipt, object=key, format=Format.JSONL, window=far)

    found = wrong(ARCHIVE.files | forged | appended(3, receipts=[entry]), public_keys=(), start=START, end=SEALED_END)

    assert found == {key: Status.ALTERED}


# Where documents lie.


@pytest.mark.parametrize(
    "name", ["evil.json.gz", "evil", "x.ndjson.gz", "X.JSONL.GZ", "a\nb", "sub/x.csv", "x.late-1"]
)
def test_what_query_engines_read(name: str) -> None:
    """Below the folder of a date nothing is passed over that a query engine reads."""
    key = f"{PREFIX}date=2025-03-03/{name}"

    assert wrong({**ARCHIVE.files, key: b"{}"}) == {key: Status.WITHOUT_RECEIPT}


@pytest.mark.parametrize("name", ["_evil.jsonl", ".evil.jsonl", ""])
def test_what_query_engines_pass_over(name: str) -> None:
    """Names that begin with an underscore or a dot are nobody's events, nor is a folder's marker."""
    assert wrong({**ARCHIVE.files, f"{PREFIX}date=2025-03-03/{name}": b""}) == {}


# One key, one finding.


DEEP = b'{"a":' * 200_000 + b"}" * 200_000


@pytest.mark.parametrize(
    "change",
    [
        lambda document: {
            **document,
            "window": {"start": "0001-01-01T00:00:00+14:00", "end": "0001-01-02T00:00:00Z"},
        },
        lambda document: {**document, "verified_at": "9999-12-31T23:59:59-14:00"},
        lambda document: {**document, "first_timestamp": "0001-01-01T00:00:00+14:00"},
        lambda document: {**document, "redaction": {}},
        lambda document: {**document, "filters": {"user": 10**400}},
        lambda document: {**document, "counts": {**document["counts"], "window": 10**400}},
        lambda document: {**document, "previous": ["0" * 64 + "\n"]},
        lambda document: {**document, "source": {"host": FOREIGN, "remote_id": 1}},
        lambda document: {**document, "source": {"host": "shop.example.com", "remote_id": 10**400}},
        lambda document: {**document, "partition_timezone": "../../etc/passwd"},
        lambda document: {**document, "partition_timezone": "{{ conn.akinon_seal.password }}"},
        lambda document: {**document, "run": FOREIGN},
        lambda _: FOREIGN,
        lambda _: [],
    ],
)
def test_one_document_hides_no_other(change: Callable[[dict[str, Any]], Any]) -> None:
    """A document that cannot be is one finding of its window; an altered object elsewhere is found beside it."""
    altered, key = object_of(6), object_of(3)
    files = {**ARCHIVE.files, altered: flipped(ARCHIVE.files[altered])}
    files |= dict([beside(key, change(document_of(3)))])

    assert wrong(files) == {altered: Status.ALTERED, key: Status.ALTERED}


@pytest.mark.parametrize(
    "body",
    [DEEP, b'{"redaction":' + DEEP, b"[" * 10**6, b"\xff" * 100, b"", b"{}", b"9" * 10**6, b" " * (9 << 20)],
    ids=["deep", "deep field", "open", "no text", "empty", "object", "number", "large"],
)
def test_a_receipt_of_any_bytes(body: bytes) -> None:
    """Whatever bytes bear the name of a receipt are one finding of their window."""
    altered, key = object_of(6), object_of(3)
    files = {**ARCHIVE.files, altered: flipped(ARCHIVE.files[altered]), **dict([named_by_bytes(key, body)])}

    assert wrong(files) == {altered: Status.ALTERED, key: Status.ALTERED}


@pytest.mark.parametrize("name", ["_0000099.seal.json", "_000000.seal.json", "_x.seal.json", "_99.seal.json"])
def test_a_name_that_is_no_seals(name: str) -> None:
    """What only looks like a seal ends nothing, and counts for nothing."""
    altered = object_of(6)
    folder = ARCHIVE.seals[0].rpartition("/")[0]
    files = {**ARCHIVE.files, f"{folder}/{name}": b"{}", altered: flipped(ARCHIVE.files[altered])}

    assert wrong(files) == {altered: Status.ALTERED}


class Refusing(MemoryBucket):
    """One of its keys may not be read."""

    refused = ""

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's words
        if Key == self.refused:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject")
        return super().get_object(Bucket=Bucket, Key=Key)


@pytest.mark.parametrize("kind", ["object", "receipt", "seal"])
def test_one_key_that_may_not_be_read(kind: str) -> None:
    """It is unreadable, and all others are looked at."""
    altered = object_of(6)
    memory = Refusing.holding({**ARCHIVE.files, altered: flipped(ARCHIVE.files[altered])})
    memory.refused = {"object": object_of(3), "receipt": receipts_of(object_of(3))[0], "seal": ARCHIVE.seals[0]}[kind]

    found = wrong(Bucket(memory, memory.name))

    assert found.pop(altered) is Status.ALTERED
    assert found.pop(ARCHIVE.seals[0] if kind == "seal" else object_of(3)) is Status.UNREADABLE
    assert set(found.values()) <= {Status.LEFT_OUT}


def test_gzip_that_unpacks_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Late events of one line that unpacks to a thousand times its size are not read into memory."""
    monkeypatch.setattr(stored, "MOST_OF_A_LINE", 1 << 20)
    first = object_of(9)
    late = first.replace(".jsonl.gz", ".late-1.jsonl.gz")
    bomb = gzip.compress(b"{" * (64 << 20), 1)
    [before] = [key.split(".")[-3] for key in receipts_of(first)]
    document = document_of(9)
    lines = document["counts"]["lines"]
    document |= {"previous": [before]}
    document["counts"] |= {"window": lines + 1, "api_after": lines + 1, "lines": 1, "uuids": 1}
    files = ARCHIVE.files | planted(document, late, bomb)

    tracemalloc.start()
    try:
        found = wrong(files)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found == {first: Status.ALTERED}
    assert peak < 32 << 20


def test_events_without_end() -> None:
    """An object of late events with more of them than its receipt tells is read no further: not to what is broken."""
    first = object_of(9)
    late = first.replace(".jsonl.gz", ".late-1.jsonl.gz")
    event = '{"uuid":"%08x-0000-4000-8000-000000000000","timestamp":"2025-03-10T01:00:00Z"}\n'
    body = gzip.compress("".join([event % 1, event % 2, "broken\n"]).encode())
    [before] = [key.split(".")[-3] for key in receipts_of(first)]
    document = document_of(9)
    lines = document["counts"]["lines"]
    document |= {"previous": [before]}
    document["counts"] |= {"window": lines + 1, "api_after": lines + 1, "lines": 1, "uuids": 1}

    report = verify(ARCHIVE.files | planted(document, late, body), known_heads=ARCHIVE.heads)

    [finding] = report.wrong
    assert any("has other than the 1 events of its receipt" in detail for detail in finding.details)


def test_a_window_alone_leaves_no_gap() -> None:
    """What somebody asked for once, here and there, is no series; what touches is."""

    def made(*days: int) -> Files:
        files: Files = {}
        for number in days:
            files |= empty(day(number).as_dict(), "jsonl", f"{PREFIX}{number}.jsonl", filters={"user": 7})
        return files

    assert verify(ARCHIVE.files | made(20, 24, 29)).wrong == ()
    assert [each.window for each in verify(ARCHIVE.files | made(20, 21, 24)).wrong] == [day(22, 2)]
    assert verify(ARCHIVE.files | made(20, 21, 24), end=day(22).start).wrong == ()


# What is shown.


def test_nothing_foreign_is_written_as_it_is() -> None:
    """Keys and fields with escapes and line breaks are escaped wherever a finding goes."""
    key = f"{PREFIX}date=2025-03-03/x{FOREIGN}"
    report = verify({**ARCHIVE.files, key: b"{}"}, known_heads=ARCHIVE.heads)

    [finding] = report.wrong
    for text in (str(finding), json.dumps(report.as_dict(), ensure_ascii=False)):
        assert r"\x1b[2K" in text.replace("\\\\", "\\")
        assert not set(text) & set("\x1b\r\n\u202e")


# Sealing.


def test_sealing_signs_nothing_that_is_wrong() -> None:
    """What verifying calls wrong before it is sealed is refused."""
    document = document_of(9)
    for change in (
        {"previous": ["1" * 64]},
        {"counts": {**document["counts"], "window": 99}},
        {"window": day(10).as_dict(), "partition_timezone": None},
    ):
        memory = MemoryBucket.holding(ARCHIVE.files | dict([beside(object_of(9), {**document, **change})]))
        before = set(memory.objects)
        with pytest.raises(ArchiveError, match="Nothing was sealed"):
            seal(Bucket(memory, "audit"), day(8, PERIOD))
        assert set(memory.objects) == before


@pytest.mark.parametrize("lost", ["object", "receipt", "both"])
def test_an_erasure_does_not_end_sealing(lost: str) -> None:
    """What is gone of what a seal holds is named in the next seal, once, and verifying finds it all the same."""
    key, [receipt] = object_of(3), receipts_of(object_of(3))
    gone = {"object": {key}, "receipt": {receipt}, "both": {key, receipt}}[lost]
    memory = MemoryBucket.holding({name: body for name, body in ARCHIVE.files.items() if name not in gone})
    bucket = Bucket(memory, "audit")

    [third], [fourth] = seal(bucket, day(8, PERIOD)), seal(bucket, day(12))

    assert third.head.seal.losses == sorted(gone)
    assert (fourth.written, fourth.head.seal.losses) == (True, [])
    assert wrong(bucket, known_heads=[fourth.head.sha256]) == {key: Status.MISSING}


# Reconciling.


def test_receipts_that_name_other_windows_blind_nothing() -> None:
    """A receipt that names the receipts of other windows as before it hides none of them from reconciling."""
    others = [key.split(".")[-3] for number in DAYS for key in receipts_of(object_of(number))]
    files = ARCHIVE.files | dict([beside(object_of(9), {**document_of(9), "previous": others})])
    reconciler = Reconciler(Shop().api, memory_bucket_with(files))  # type: ignore[arg-type]

    windows = reconciler.recount(reconciler.exported(PREFIX, day(0, len(DAYS))))

    # The source has lost everything: each window says so.
    assert len(windows) == 2 * len(DAYS)
    assert all(each.vanished for each in windows if each.receipt.counts.api_after)


# Which archive it is.


def test_a_copy_is_said_to_be_one() -> None:
    """It verifies, says where it was written, and is sealed on once the head that was copied is known."""
    memory = MemoryBucket("another")
    memory.objects.update(MemoryBucket.holding(ARCHIVE.files).objects)
    bucket = Bucket(memory, "another")

    report = verify(bucket, known_heads=ARCHIVE.heads)
    assert report.wrong == ()
    assert [chain.copy_of for chain in report.chains] == [f"s3://audit/{PREFIX}"]
    with pytest.raises(ArchiveError, match=f"was written for s3://audit/{PREFIX}: this is a copy"):
        seal(bucket, day(8, PERIOD))
    [sealing] = seal(bucket, day(8, PERIOD), known_heads=ARCHIVE.heads[-1:])
    assert sealing.head.seal.bucket == "another"
    assert [chain.copy_of for chain in verify(bucket).chains] == [None]
    assert seal(bucket, day(12))[0].written


def two_shops() -> tuple[MemoryBucket, list[str]]:
    """Return an archive with a second chain, sealed, and the heads of both."""
    memory = MemoryBucket.holding(ARCHIVE.files)
    source = {"host": "second.example.com", "remote_id": 2}
    for number in (8, 9):
        key = f"{PREFIX}second/{number}.jsonl.gz"
        for name, body in empty(day(number).as_dict(), "jsonl.gz", key, source=source).items():
            memory.put(name, MemoryBucket.holding({name: body}).objects[name])
    sealings = seal(Bucket(memory, "audit"), day(8, PERIOD))
    assert len(sealings) == 2
    return memory, [each.head.sha256 for each in sealings]


@pytest.mark.parametrize("with_head", [False, True])
def test_a_shop_that_is_deleted_with_its_seals(with_head: bool) -> None:
    """The seals of every other shop name it."""
    memory, heads = two_shops()
    bucket = Bucket(memory, "audit")
    assert verify(bucket, known_heads=heads).wrong == ()
    first, second = sorted(key for key in memory.objects if "_seals/" in key and "second" in key), "second"
    for key in [key for key in memory.objects if second in key]:
        del memory.objects[key]

    report = verify(bucket, known_heads=heads[:1] if with_head else [])

    assert [(each.status, each.key) for each in report.wrong] == [(Status.MISSING, first[0])]


# Any number of keys, in any way.


ALIEN = {"filters": {"user": 7}}, {"source": {"host": "elsewhere.example.com", "remote_id": 1}}
NAMES = ("evil", "x.jsonl.gz", "x.json", "X.PARQUET", "a/b.csv", "x.late-2.jsonl.gz", f"{FOREIGN}.jsonl", "é" * 9)


class Attack:
    """Changes that an attacker makes to the archive, and what has to be told of them."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.files = dict(ARCHIVE.files)
        self.aliens: set[str] = set()
        """What was planted of another source, or of time that is not sealed yet: nobody can tell it from honest."""
        """The keys of what was planted as another source's, or with filters."""
        self.planted: dict[str, Files] = {}
        """What was planted as an export of the archive's own of time that is sealed, by its key: right in itself."""

    def any_key(self) -> str:
        return self.draw(st.sampled_from(sorted(self.files)))

    def any_day(self) -> int:
        return self.draw(st.sampled_from(DAYS))

    def delete(self) -> None:
        del self.files[self.any_key()]

    def alter(self) -> None:
        key = self.any_key()
        body = self.files[key]
        at = self.draw(st.integers(0, max(0, len(body) - 1)))
        self.files[key] = self.draw(
            st.sampled_from([body[:at], body + b"\n", b"", body[:at] + b"\0" + body[at + 1 :], b"{}"])
        )

    def rename(self) -> None:
        key, other = self.any_key(), self.any_key()
        self.files[other] = self.files.pop(key)

    def copy(self) -> None:
        self.files[self.any_key()] = self.files[self.any_key()]

    def copy_to_a_new_name(self) -> None:
        folder = f"{PREFIX}date={day(self.any_day()).start:%Y-%m-%d}/"
        self.files[folder + self.draw(st.sampled_from(NAMES))] = self.files[self.any_key()]

    def plant_bytes(self) -> None:
        """Plant a receipt of any bytes, rightly named."""
        body = self.draw(st.sampled_from([b"", b"{}", b"[" * 9999, b"\xff", self.files[self.any_key()]]))
        self.files.update([named_by_bytes(object_of(self.any_day()), body)])

    def redate(self) -> None:
        """Plant a receipt, and perhaps its object, that is right in itself and tells something else."""
        number = self.any_day()
        document = document_of(number)
        other = day(self.any_day())
        hours = timedelta(hours=self.draw(st.integers(-30, 30)))
        alien = self.draw(st.sampled_from([{}, {}, {}, *ALIEN]))
        edges = self.draw(
            st.sampled_from(
                [
                    other.as_dict(),
                    span(other.start + hours, other.end + hours),
                    span(SEALED_END - DAY, SEALED_END + timedelta(microseconds=1)),
                    span(END, END + DAY),
                    document["window"],
                ]
            )
        )
        format_ = self.draw(st.sampled_from(["jsonl.gz", "jsonl", "parquet"]))
        zone = self.draw(st.sampled_from([None, "UTC", "Europe/Istanbul"]))
        folder = f"{PREFIX}date={other.start:%Y-%m-%d}/"
        key = self.draw(
            st.sampled_from([document["object"]["key"], folder + f"more.{format_}", f"{PREFIX}more.{format_}"])
        )
        claims: dict[str, Any] = {"partition_timezone": zone, **alien}
        if self.draw(st.booleans()):
            made = empty(edges, format_, key, **claims)
        else:
            previous = self.draw(st.sampled_from([[], ["0" * 64], document["previous"]]))
            made = planted({**document, "window": edges, "format": format_, "previous": previous, **claims}, key)
        if self.draw(st.booleans()):
            made.pop(key)  # the receipt alone
        elif alien or (zone is None and Window.parse(edges["start"], edges["end"]).start >= SEALED_END):
            # The time zone of its folder's date is its author's, so it may be of the day after.
            self.aliens.add(first_and_number(key)[0])
        self.files |= made

    def plant(self) -> None:
        """Plant an export that is right in itself, in any format, and reaches out of the sealed time or not.

        Where it lies, the author chose, or its window says.
        """
        window = day(self.draw(st.sampled_from(SEALED_DAYS)))
        edges = self.draw(
            st.sampled_from(
                [window, Window(window.start, SEALED_END + timedelta(microseconds=1)), Window(window.start, END)]
            )
        )
        format_ = self.draw(st.sampled_from(list(Format)))
        rightful = name_of_window(edges, Filters(), UTC, format_)
        folder = self.draw(st.sampled_from([f"{edges.start:date=%Y-%m-%d}/", "", "kept/", None]))
        key = PREFIX + (rightful if folder is None else f"{folder}more.{format_.value}")
        if key in ARCHIVE.files:
            return
        zone = "UTC" if folder is None else None
        self.planted[key] = empty(edges.as_dict(), format_.value, key, partition_timezone=zone)
        self.files |= self.planted[key]

    def plant_a_seal(self) -> None:
        """Plant a seal that another key signed, or nobody, and which holds what it likes."""
        newest = ARCHIVE.seals[-1]
        number = self.draw(st.sampled_from([1, 2, 3, 3, 4, 10**9]))
        before = msgspec.json.decode(ARCHIVE.files[newest], type=Seal)
        self.files[newest.replace("_000002", f"_{number:06d}")] = rewritten(
            ARCHIVE.files[newest],
            self.draw(st.sampled_from([None, ANOTHER_KEY])),
            number=number,
            previous=self.draw(st.sampled_from([None, *ARCHIVE.heads, "0" * 64])),
            receipts=self.draw(st.sampled_from([[], before.receipts])) + self.entries(),
        )

    def entries(self) -> list[SealedReceipt]:
        """Return what a seal would say of what was planted, or of another time."""
        far = self.draw(st.sampled_from([None, Window(start=END, end=END + DAY)]))
        return [
            SealedReceipt(
                receipt=name.split(".")[-3],
                object=key,
                format=json.loads(body)["format"],
                window=far or msgspec.convert(json.loads(body)["window"], Window),
            )
            for key, files in self.planted.items()
            for name, body in files.items()
            if name != key
        ]

    def delete_many(self) -> None:
        kind = self.draw(st.sampled_from([".seal.json", ".receipt.json", ".jsonl.gz", "date=2025-03-0"]))
        self.files = {key: body for key, body in self.files.items() if kind not in key}


ACTS = (
    Attack.delete, Attack.alter, Attack.rename, Attack.copy, Attack.copy_to_a_new_name, Attack.plant_bytes,
    Attack.redate, Attack.plant, Attack.plant, Attack.plant_a_seal, Attack.delete_many,
)  # fmt: skip


@pytest.mark.hypothesis
@settings(max_examples=SOME_EXAMPLES)
@given(data=st.data())
def test_whatever_an_attacker_does_is_found(data: st.DataObject) -> None:
    """Of each sealed key that is not what it was, and of each that was added to sealed time, something is said."""
    attack = Attack(data)
    for act in data.draw(st.lists(st.sampled_from(ACTS), min_size=1, max_size=5)):
        if attack.files:
            act(attack)
    files = attack.files

    report = verify(files, known_heads=ARCHIVE.heads[-1:])

    assert_told(report, files, attack.aliens)
    assert_planted_is_told(attack, report)
    asked = {"start": START, "end": day(data.draw(st.sampled_from(SEALED_DAYS))).end}
    assert_planted_is_told(attack, verify(files, known_heads=ARCHIVE.heads[-1:], public_keys=()))
    assert_planted_is_told(attack, verify(files, known_heads=ARCHIVE.heads[-1:], **asked), **asked)
    assert_planted_is_told(attack, verify(files, known_heads=ARCHIVE.heads[-1:], public_keys=(), **asked), **asked)
    for text in (json.dumps(report.as_dict(), ensure_ascii=False), *map(str, report.findings)):
        assert not set(text) & set("\x1b\r\n\u202e")


def assert_planted_is_told(attack: Attack, report: Report, start: datetime = START, end: datetime = END) -> None:
    """What was planted in sealed time is wrong, whatever vouches, where it is of the time that is asked for."""
    if any(attack.files.get(key) != ARCHIVE.files[key] for key in ARCHIVE.seals):
        return  # then that is told
    for key, files in attack.planted.items():
        document = json.loads(next(body for name, body in files.items() if name != key))
        window = msgspec.convert(document["window"], Window)
        is_asked_for = window.start < end and window.end > start
        if is_asked_for and all(attack.files.get(name) == body for name, body in files.items()):
            assert any(each.status.is_wrong for each in report.findings if each.key == key), key


def assert_told(report: Report, files: Files, aliens: set[str]) -> None:
    """Compare what was told with what was done."""
    told = {each.key for each in report.wrong}
    altered = {key for key in ARCHIVE.files if files.get(key) != ARCHIVE.files[key]}
    seals = altered & set(ARCHIVE.seals)
    if seals:
        about_seals = {Status.MISSING, Status.ALTERED, Status.NOT_SIGNED, Status.HEAD_MISSING}
        assert any(
            each.status in about_seals and (each.key is None or "_seals/" in each.key) for each in report.wrong
        )
    else:
        held = ARCHIVE.held
        for key in altered & held.keys():
            assert held[key] in told, key
    for key in files.keys() - ARCHIVE.files.keys():
        if "/_" in key or key.startswith("_") or not reads(key):
            continue
        first = first_and_number(key)[0]
        named = [each for each in report.findings if each.key == first or key in str(each)]
        folder = next((part for part in key.split("/") if part.startswith("date=")), "")
        if folder and datetime.fromisoformat(folder.removeprefix("date=")).replace(tzinfo=UTC) < SEALED_END:
            assert named, key
            if not seals and first not in aliens:
                assert any(each.status.is_wrong for each in named), key


def reads(key: str) -> bool:
    """Tell whether a query engine reads a key below the folder of a date."""
    return not key.rpartition("/")[2].startswith(("_", "."))
