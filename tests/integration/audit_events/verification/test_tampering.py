"""Whatever somebody who may write to the bucket does to a sealed archive is found, and called by its name.

Each tampering is done to a copy of an archive that a real S3 holds, and says what has to be found: that, and nothing
else. What is not found, as no verification can, is told here too.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon import __main__
from airflow_provider_akinon.audit_events.archive import Bucket, Status
from airflow_provider_akinon.audit_events.model import Window, format_instant
from airflow_provider_akinon.audit_events.verification import Expected, verify_archive
from airflow_provider_akinon.operators.audit_archive import VerifyAuditArchiveOperator
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.long import in_ci
from tests.support.memory_bucket import MemoryBucket
from tests.support.sealed import (
    ANOTHER_KEY,
    DAYS,
    EMPTY,
    HOUR,
    KEY,
    PREFIX,
    RECORDED,
    RECORDED_LATER,
    REPEATED,
    REPEATED_LATER,
    SEALED,
    START,
    Archive,
    Files,
    Found,
    archive_of,
    beside,
    bucket_with,
    date_of,
    days_of,
    files_of,
    memory_bucket_with,
    new_bucket_with,
    period_of,
    put,
    renamed,
    rewritten,
    right,
    seal,
    verify,
    window_of,
    wrong,
)

pytestmark = pytest.mark.xdist_group("sealed")
"""They look at copies of one archive, which takes a while to make."""

OK, NOT_SEALED = Status.OK, Status.NOT_SEALED
MISSING, ALTERED, WITHOUT_RECEIPT = Status.MISSING, Status.ALTERED, Status.WITHOUT_RECEIPT
LEFT_OUT, GAP, OVERLAP = Status.LEFT_OUT, Status.GAP, Status.OVERLAP
NOT_SIGNED, HEAD_MISSING, NOTHING = Status.NOT_SIGNED, Status.HEAD_MISSING, Status.NOTHING

SEALED_DAY, NEIGHBOUR, UNSEALED_DAY = 3, 4, 23


@pytest.fixture(scope="module")
def archive(s3: LocalS3, shop: Sandbox) -> Archive:
    return archive_of(s3, shop)


@pytest.fixture(scope="module")
def untouched(s3: LocalS3, archive: Archive) -> Bucket:
    """A bucket with a copy that tests only read."""
    return new_bucket_with(s3, archive.files)


@dataclass(frozen=True)
class Tampering:
    """What somebody left of an archive, and what is to be found of it."""

    files: Files
    found: set[Found]
    unsealed: Iterable[int] = ()
    """The days with which nothing is wrong, but that lose their seal."""
    gone: Iterable[int] = ()
    """The days of which nothing is left to name."""


TAMPERINGS: dict[str, Callable[[Archive], Tampering]] = {}


def tampering(function: Callable[[Archive], Tampering]) -> Callable[[Archive], Tampering]:
    TAMPERINGS[function.__name__] = function
    return function


def without(files: Mapping[str, bytes], *keys: str) -> Files:
    assert set(keys) <= files.keys()
    return {key: body for key, body in files.items() if key not in keys}


def swapped(files: Mapping[str, bytes], one: str, other: str) -> Files:
    return {**files, one: files[other], other: files[one]}


def moved(files: Mapping[str, bytes], key: str, to: str) -> Files:
    assert to not in files
    return {**without(files, key), to: files[key]}


def flipped(body: bytes, at: int | None = None) -> bytes:
    at = len(body) // 2 if at is None else at
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]


def about(status: Status, archive: Archive, days: Iterable[int]) -> set[Found]:
    return {(status, archive.object(day)) for day in days}


def forged(archive: Archive, day: int, **fields: Any) -> tuple[str, bytes, str, bytes]:
    """Return a day's object without its last event, and a receipt with all the right hashes: their keys and bytes."""
    receipt = archive.document(archive.receipt(day))
    key = receipt["object"]["key"]
    lines = gzip.decompress(archive.files[key]).splitlines(keepends=True)[:-1]
    uuids = [json.loads(line)["uuid"] for line in lines]
    body = gzip.compress(b"".join(lines), mtime=0)
    receipt["counts"] = dict.fromkeys(receipt["counts"], len(lines)) | {"vanished": 0}
    receipt["window_uuids"] = sum_of(uuids)
    receipt["uuids_sha256"] = hashlib.sha256("".join(f"{uuid}\n" for uuid in uuids).encode()).hexdigest()
    receipt["last_timestamp"] = json.loads(lines[-1])["timestamp"]
    receipt["object"] |= {
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_sha256": hashlib.sha256(b"".join(lines)).hexdigest(),
    }
    return key, body, *renamed(receipt | fields)


def sum_of(uuids: Iterable[str]) -> str:
    """Return what a receipt says of all uuids of its window."""
    return f"{sum(int(hashlib.sha256(uuid.encode()).hexdigest(), 16) for uuid in uuids) % 2**256:064x}"


def newest(archive: Archive, day: int) -> str:
    """Return the SHA-256 of a day's newest receipt, as the next one has to name it."""
    return hashlib.sha256(archive.files[archive.receipt(day)]).hexdigest()


# Objects and receipts


@tampering
def a_byte_of_an_object(archive: Archive) -> Tampering:
    keys = [archive.object(day) for day in (SEALED_DAY, UNSEALED_DAY, RECORDED)]
    files = {**archive.files, **{key: flipped(archive.files[key]) for key in keys}}
    return Tampering(files, {(ALTERED, key) for key in keys})


@tampering
def an_objects_size(archive: Archive) -> Tampering:
    longer, shorter = (archive.object(day) for day in (SEALED_DAY, NEIGHBOUR))
    files = {**archive.files, longer: archive.files[longer] + b"\0", shorter: archive.files[shorter][:-1]}
    return Tampering(files, {(ALTERED, longer), (ALTERED, shorter)})


@tampering
def an_object_emptied(archive: Archive) -> Tampering:
    key = archive.object(SEALED_DAY)
    return Tampering({**archive.files, key: b""}, {(ALTERED, key)})


@tampering
def an_object_deleted(archive: Archive) -> Tampering:
    keys = [archive.object(day) for day in (SEALED_DAY, EMPTY, UNSEALED_DAY)]
    return Tampering(without(archive.files, *keys), {(MISSING, key) for key in keys})


@tampering
def a_byte_of_a_receipt(archive: Archive) -> Tampering:
    keys = [archive.receipt(day) for day in (SEALED_DAY, REPEATED)]
    files = {**archive.files, **{key: flipped(archive.files[key]) for key in keys}}
    return Tampering(files, about(ALTERED, archive, (SEALED_DAY, REPEATED)))


@tampering
def a_receipt_deleted(archive: Archive) -> Tampering:
    files = without(archive.files, archive.receipt(SEALED_DAY))
    return Tampering(files, about(MISSING, archive, [SEALED_DAY]))


@tampering
def a_receipt_deleted_before_it_is_sealed(archive: Archive) -> Tampering:
    files = without(archive.files, archive.receipt(UNSEALED_DAY))
    return Tampering(files, about(WITHOUT_RECEIPT, archive, [UNSEALED_DAY]) | {(GAP, window_of(UNSEALED_DAY))})


@tampering
def object_and_receipt_deleted(archive: Archive) -> Tampering:
    files = without(archive.files, archive.object(SEALED_DAY), archive.receipt(SEALED_DAY))
    return Tampering(files, about(MISSING, archive, [SEALED_DAY]))


@tampering
def object_and_receipt_deleted_before_they_are_sealed(archive: Archive) -> Tampering:
    files = without(archive.files, archive.object(UNSEALED_DAY), archive.receipt(UNSEALED_DAY))
    return Tampering(files, {(GAP, window_of(UNSEALED_DAY))}, gone=[UNSEALED_DAY])


@tampering
def everything_deleted_but_the_seals(archive: Archive) -> Tampering:
    files = without(archive.files, *archive.of_days(DAYS))
    return Tampering(files, about(MISSING, archive, SEALED), gone=days_of(5))


@tampering
def objects_swapped(archive: Archive) -> Tampering:
    keys = [archive.object(day) for day in (SEALED_DAY, NEIGHBOUR)]
    return Tampering(swapped(archive.files, *keys), {(ALTERED, key) for key in keys})


@tampering
def receipts_swapped(archive: Archive) -> Tampering:
    keys = [archive.receipt(day) for day in (SEALED_DAY, NEIGHBOUR)]
    return Tampering(swapped(archive.files, *keys), about(ALTERED, archive, (SEALED_DAY, NEIGHBOUR)))


@tampering
def an_object_renamed(archive: Archive) -> Tampering:
    key = archive.object(SEALED_DAY)
    other = key.replace("/2025", "/again-2025")
    return Tampering(moved(archive.files, key, other), {(MISSING, key), (WITHOUT_RECEIPT, other)})


@tampering
def a_receipt_renamed_to_other_bytes(archive: Archive) -> Tampering:
    key = archive.receipt(SEALED_DAY)
    files = moved(archive.files, key, key.replace(newest(archive, SEALED_DAY), "0" * 64))
    return Tampering(files, about(ALTERED, archive, [SEALED_DAY]))


@tampering
def a_receipt_renamed_to_another_object(archive: Archive) -> Tampering:
    key = archive.receipt(SEALED_DAY)
    files = moved(archive.files, key, key.replace("/_2025", "/_again-2025"))
    nobodys = archive.object(SEALED_DAY).replace("/2025", "/again-2025")
    return Tampering(files, {*about(MISSING, archive, [SEALED_DAY]), (ALTERED, nobodys)})


@tampering
def a_receipt_renamed_to_no_receipt(archive: Archive) -> Tampering:
    key = archive.receipt(SEALED_DAY)
    return Tampering(moved(archive.files, key, f"{key}.bak"), about(MISSING, archive, [SEALED_DAY]))


@tampering
def a_receipt_copied_to_its_neighbour(archive: Archive) -> Tampering:
    key, sha256 = archive.receipt(SEALED_DAY), newest(archive, SEALED_DAY)
    copy = archive.receipt(NEIGHBOUR).replace(newest(archive, NEIGHBOUR), sha256)
    return Tampering({**archive.files, copy: archive.files[key]}, about(ALTERED, archive, [NEIGHBOUR]))


@tampering
def object_and_receipt_renamed(archive: Archive) -> Tampering:
    key, receipt = archive.object(SEALED_DAY), archive.receipt(SEALED_DAY)
    other = key.replace("/2025", "/again-2025")
    files = moved(moved(archive.files, key, other), receipt, receipt.replace("/_2025", "/_again-2025"))
    return Tampering(files, {(MISSING, key), (ALTERED, other)})


@tampering
def object_and_receipt_renamed_consistently(archive: Archive) -> Tampering:
    key, receipt = archive.object(SEALED_DAY), archive.receipt(SEALED_DAY)
    other = key.replace("/2025", "/again-2025")
    document = archive.document(receipt)
    document["object"]["key"] = other
    document["partition_timezone"] = None
    files = {**without(moved(archive.files, key, other), receipt), **dict([renamed(document)])}
    return Tampering(files, {(MISSING, key), (LEFT_OUT, other), (OVERLAP, window_of(SEALED_DAY))})


# Late events and records


BOTH = (REPEATED, REPEATED_LATER)


@tampering
def a_byte_of_late_events(archive: Archive) -> Tampering:
    files = {**archive.files, **{key: flipped(archive.files[key]) for key in map(archive.late, BOTH)}}
    return Tampering(files, about(ALTERED, archive, BOTH))


@tampering
def the_size_of_late_events(archive: Archive) -> Tampering:
    files = {**archive.files, **{key: archive.files[key] + b"\0" for key in map(archive.late, BOTH)}}
    return Tampering(files, about(ALTERED, archive, BOTH))


@tampering
def late_events_deleted(archive: Archive) -> Tampering:
    return Tampering(without(archive.files, *map(archive.late, BOTH)), about(MISSING, archive, BOTH))


@tampering
def the_first_object_deleted_beside_late_events(archive: Archive) -> Tampering:
    return Tampering(without(archive.files, *map(archive.object, BOTH)), about(MISSING, archive, BOTH))


@tampering
def an_earlier_receipt_deleted(archive: Archive) -> Tampering:
    days = (*BOTH, RECORDED, RECORDED_LATER)
    files = without(archive.files, *(archive.receipts(day)[0] for day in days))
    return Tampering(files, about(MISSING, archive, days))


@tampering
def a_late_export_taken_back(archive: Archive) -> Tampering:
    gone = [key for day in BOTH for key in (archive.late(day), archive.receipt(day))]
    # That nothing is wrong with what no seal holds is what no verification can know.
    return Tampering(without(archive.files, *gone), about(MISSING, archive, [REPEATED]))


@tampering
def the_receipt_of_late_events_deleted(archive: Archive) -> Tampering:
    files = without(archive.files, *map(archive.receipt, BOTH))
    found = {*about(MISSING, archive, [REPEATED]), *about(WITHOUT_RECEIPT, archive, [REPEATED_LATER])}
    return Tampering(files, found)


@tampering
def a_byte_of_a_record(archive: Archive) -> Tampering:
    days = (RECORDED, RECORDED_LATER)
    files = {**archive.files, **{key: flipped(archive.files[key]) for key in map(archive.receipt, days)}}
    return Tampering(files, about(ALTERED, archive, days))


@tampering
def a_record_deleted(archive: Archive) -> Tampering:
    files = without(archive.files, archive.receipt(RECORDED), archive.receipt(RECORDED_LATER))
    # Nor can it know of a record that no seal holds.
    return Tampering(files, about(MISSING, archive, [RECORDED]))


@tampering
def a_record_that_vanished_events_are_removed_from(archive: Archive) -> Tampering:
    document = archive.document(archive.receipt(RECORDED_LATER)) | {"changed": [], "vanished": []}
    files = without(archive.files, archive.receipt(RECORDED_LATER))
    written = dict([beside(archive.object(RECORDED_LATER), document)])
    return Tampering(files | written, about(ALTERED, archive, [RECORDED_LATER]))


@tampering
def a_record_beside_other_objects(archive: Archive) -> Tampering:
    record, sha256 = archive.files[archive.receipt(RECORDED)], newest(archive, RECORDED)
    late, other = archive.receipt(REPEATED_LATER), archive.receipt(SEALED_DAY)
    copies = {
        late.replace(newest(archive, REPEATED_LATER), sha256): record,
        other.replace(newest(archive, SEALED_DAY), sha256): record,
    }
    return Tampering(archive.files | copies, about(ALTERED, archive, (REPEATED_LATER, SEALED_DAY)))


@tampering
def receipts_copied_within_their_window(archive: Archive) -> Tampering:
    copies = {}
    for day in BOTH:
        first, late = archive.receipts(day)
        copies[first.replace(name_of(first), name_of(late))] = archive.files[late]
    return Tampering(archive.files | copies, about(ALTERED, archive, BOTH))


def name_of(receipt: str) -> str:
    """Return the SHA-256 in a receipt's key."""
    return receipt.split(".")[-3]


@tampering
def late_events_renumbered(archive: Archive) -> Tampering:
    """The number before is left out: somebody removed an object with all that told of it."""
    key, receipt = archive.late(REPEATED_LATER), archive.receipt(REPEATED_LATER)
    document = archive.document(receipt)
    document["object"]["key"] = key.replace(".late-1.", ".late-3.")
    files = moved(without(archive.files, receipt), key, document["object"]["key"])
    return Tampering(files | dict([renamed(document)]), about(MISSING, archive, [REPEATED_LATER]))


@tampering
def what_looks_like_late_events(archive: Archive) -> Tampering:
    nothings = f"{PREFIX}nothing.late-9999999999999999.jsonl.gz"
    next_ = archive.object(SEALED_DAY).replace(".jsonl.gz", ".late-1.jsonl.gz")
    far = archive.object(NEIGHBOUR).replace(".jsonl.gz", ".late-9999999999999999.jsonl.gz")
    files = {**archive.files, nothings: b"", next_: b"", far: b""}
    found = {(WITHOUT_RECEIPT, nothings), *about(WITHOUT_RECEIPT, archive, [SEALED_DAY])}
    return Tampering(files, found | about(MISSING, archive, [NEIGHBOUR]))


@tampering
def an_event_stored_twice(archive: Archive) -> Tampering:
    files = with_late(archive, UNSEALED_DAY, lambda lines: lines[3:4])
    return Tampering(files, about(ALTERED, archive, [UNSEALED_DAY]))


@tampering
def late_events_of_which_the_sum_is_another(archive: Archive) -> Tampering:
    files = with_late(archive, UNSEALED_DAY, lambda _: [NEW], window_uuids="0" * 64)
    return Tampering(files, about(ALTERED, archive, [UNSEALED_DAY]))


@tampering
def late_events_forged_in_sealed_time(archive: Archive) -> Tampering:
    files = with_late(archive, SEALED_DAY, lambda _: [NEW])
    return Tampering(files, about(LEFT_OUT, archive, [SEALED_DAY]))


NEW = b'{"uuid":"00000000-0000-4000-8000-000000000000","timestamp":"%b"}\n'
"""A line, but for its time."""


def with_late(archive: Archive, day: int, late_of: Callable[[list[bytes]], list[bytes]], **fields: Any) -> Files:
    """Add late events to a day of one object, made of its lines, with a receipt that is right but for ``fields``."""
    receipt = archive.document(archive.receipt(day))
    first = receipt["object"]["key"]
    stored = gzip.decompress(archive.files[first]).splitlines(keepends=True)
    time = json.loads(stored[0])["timestamp"]
    late = [line.replace(b"%b", time.encode()) for line in late_of(stored)]
    uuids = [json.loads(line)["uuid"] for line in late]
    content = b"".join(late)
    body = gzip.compress(content, mtime=0)
    number = len(stored) + len(late)
    receipt["counts"] |= {"api_after": number, "window": number, "lines": len(late), "uuids": len(late)}
    receipt["object"] |= {
        "key": first.replace(".jsonl.gz", ".late-1.jsonl.gz"),
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "content_sha256": hashlib.sha256(content).hexdigest(),
    }
    receipt |= {
        "uuids_sha256": hashlib.sha256("".join(f"{uuid}\n" for uuid in uuids).encode()).hexdigest(),
        "window_uuids": sum_of([*uuids, *(json.loads(line)["uuid"] for line in stored)]),
        "first_timestamp": json.loads(late[0])["timestamp"],
        "last_timestamp": json.loads(late[-1])["timestamp"],
        "previous": [newest(archive, day)],
    }
    return {**archive.files, receipt["object"]["key"]: body, **dict([renamed(receipt | fields)])}


def receipt_again(archive: Archive, day: int, **counts: int) -> Files:
    """Return the archive with a second receipt of a day's only object, with other counts and another run."""
    document = archive.document(archive.receipt(day))
    document["counts"] |= counts
    document["run"] |= {"run_id": "another", "try_number": 2}
    return {**archive.files, **dict([renamed(document)])}


@tampering
def receipts_of_one_object_that_contradict_each_other(archive: Archive) -> Tampering:
    lines = archive.document(archive.receipt(UNSEALED_DAY))["counts"]["lines"] - 1
    counts = dict.fromkeys(("uuids", "lines", "window", "api_after"), lines)
    return Tampering(receipt_again(archive, UNSEALED_DAY, **counts), about(ALTERED, archive, [UNSEALED_DAY]))


@tampering
def counts_that_do_not_add_up(archive: Archive) -> Tampering:
    document = archive.document(archive.receipt(RECORDED_LATER))
    assert document["counts"]["vanished"] == 1
    document["counts"]["vanished"] = 0
    files = without(archive.files, archive.receipt(RECORDED_LATER))
    written = dict([beside(archive.object(RECORDED_LATER), document)])
    return Tampering(files | written, about(ALTERED, archive, [RECORDED_LATER]))


@tampering
def a_window_that_knows_too_few_of_its_events(archive: Archive) -> Tampering:
    document = archive.document(archive.receipt(REPEATED_LATER))
    document["counts"] |= {"window": 12, "api_after": 12}
    files = without(archive.files, archive.receipt(REPEATED_LATER))
    return Tampering(files | dict([renamed(document)]), about(ALTERED, archive, [REPEATED_LATER]))


# Forgeries that are right in themselves


def redated(archive: Archive, day: int, start: int, end: int = 0, **fields: Any) -> dict[str, bytes]:
    """Return a day's receipt, of an author's own key, for a window whose edges are some hours off."""
    window = Window(window_of(day).start + start * HOUR, window_of(day).end + end * HOUR)
    told = {"window": window.as_dict(), "partition_timezone": None}
    return dict([renamed(archive.document(archive.receipt(day)) | told | fields)])


@tampering
def a_receipt_redated(archive: Archive) -> Tampering:
    files = {**without(archive.files, archive.receipt(SEALED_DAY)), **redated(archive, SEALED_DAY, -1)}
    # Which time it is of, the seal says.
    return Tampering(files, about(MISSING, archive, [SEALED_DAY]))


@tampering
def a_receipt_redated_where_its_window_is_not_stored(archive: Archive) -> Tampering:
    files = {**archive.files, **redated(archive, SEALED_DAY, -1, partition_timezone="UTC")}
    return Tampering(files, about(ALTERED, archive, [SEALED_DAY]))


@tampering
def a_receipt_redated_beside_the_old_one(archive: Archive) -> Tampering:
    files = {**archive.files, **redated(archive, SEALED_DAY, -1)}
    return Tampering(files, about(ALTERED, archive, [SEALED_DAY]))


@tampering
def a_receipt_redated_in_place_of_the_old_one(archive: Archive) -> Tampering:
    later = redated(archive, SEALED_DAY, -1, previous=[newest(archive, SEALED_DAY)])
    return Tampering({**archive.files, **later}, about(ALTERED, archive, [SEALED_DAY]))


@tampering
def a_receipt_redated_before_it_is_sealed(archive: Archive) -> Tampering:
    longer = redated(archive, UNSEALED_DAY, -1)
    files = {**without(archive.files, archive.receipt(UNSEALED_DAY)), **longer}
    return Tampering(files, {(OVERLAP, Window(window_of(UNSEALED_DAY).start - HOUR, window_of(UNSEALED_DAY).start))})


@tampering
def a_receipt_redated_to_where_its_events_are_not(archive: Archive) -> Tampering:
    shorter = redated(archive, UNSEALED_DAY, 3)
    files = {**without(archive.files, archive.receipt(UNSEALED_DAY)), **shorter}
    uncovered = Window(window_of(UNSEALED_DAY).start, window_of(UNSEALED_DAY).start + 3 * HOUR)
    return Tampering(files, {*about(ALTERED, archive, [UNSEALED_DAY]), (GAP, uncovered)})


@tampering
def a_receipt_with_a_window_that_cannot_be(archive: Archive) -> Tampering:
    document = archive.document(archive.receipt(UNSEALED_DAY))
    document["window"] = dict(zip(document["window"], reversed(document["window"].values()), strict=True))
    files = {**without(archive.files, archive.receipt(UNSEALED_DAY)), **dict([renamed(document)])}
    return Tampering(files, {*about(ALTERED, archive, [UNSEALED_DAY]), (GAP, window_of(UNSEALED_DAY))})


@tampering
def a_receipt_that_is_no_text(archive: Archive) -> Tampering:
    body = archive.files[archive.receipt(UNSEALED_DAY)].replace(b'"dag_id": null', b'"dag_id": "\xff"')
    key = archive.receipt(UNSEALED_DAY).replace(newest(archive, UNSEALED_DAY), hashlib.sha256(body).hexdigest())
    files = {**without(archive.files, archive.receipt(UNSEALED_DAY)), key: body}
    return Tampering(files, {*about(ALTERED, archive, [UNSEALED_DAY]), (GAP, window_of(UNSEALED_DAY))})


@tampering
def a_receipt_whose_counts_differ(archive: Archive) -> Tampering:
    document = archive.document(archive.receipt(UNSEALED_DAY))
    document["counts"]["api_after"] += 1
    files = {**without(archive.files, archive.receipt(UNSEALED_DAY)), **dict([renamed(document)])}
    return Tampering(files, about(ALTERED, archive, [UNSEALED_DAY]))


@tampering
def a_forgery_with_the_old_receipt_removed(archive: Archive) -> Tampering:
    key, body, receipt, written = forged(archive, SEALED_DAY)
    files = {**without(archive.files, archive.receipt(SEALED_DAY)), key: body, receipt: written}
    return Tampering(files, {(MISSING, key)})


@tampering
def a_forgery_that_names_the_old_receipt(archive: Archive) -> Tampering:
    key, body, receipt, written = forged(archive, SEALED_DAY, previous=[newest(archive, SEALED_DAY)])
    return Tampering({**archive.files, key: body, receipt: written}, {(ALTERED, key)})


@tampering
def a_forgery_beside_the_old_receipt(archive: Archive) -> Tampering:
    key, body, receipt, written = forged(archive, SEALED_DAY)
    return Tampering({**archive.files, key: body, receipt: written}, {(ALTERED, key)})


@tampering
def a_forgery_by_other_filters(archive: Archive) -> Tampering:
    sealed = [newest(archive, SEALED_DAY)]
    key, body, receipt, written = forged(
        archive, SEALED_DAY, previous=sealed, filters={"user": 7}, partition_timezone=None
    )
    files = {**archive.files, key: body, receipt: written}
    return Tampering(files, {(ALTERED, key)})


@tampering
def a_forgery_from_another_source(archive: Archive) -> Tampering:
    sealed = [newest(archive, SEALED_DAY)]
    source = {"host": "elsewhere.example.com", "remote_id": 1}
    key, body, receipt, written = forged(archive, SEALED_DAY, previous=sealed, source=source)
    files = {**archive.files, key: body, receipt: written}
    return Tampering(files, {(ALTERED, key)})


@tampering
def a_forgery_where_no_window_was(archive: Archive) -> Tampering:
    document = archive.document(archive.receipt(EMPTY))
    key = document["object"]["key"].replace(date_of(EMPTY), date_of(-1))
    document["object"]["key"] = key
    document |= {"window": window_of(-1).as_dict(), "partition_timezone": None}
    files = {**archive.files, key: archive.files[archive.object(EMPTY)], **dict([renamed(document)])}
    return Tampering(files, {(LEFT_OUT, key)})


@tampering
def an_object_without_receipt(archive: Archive) -> Tampering:
    folder = archive.object(SEALED_DAY).rpartition("/")[0]
    keys = [f"{folder}/more.jsonl.gz", f"{folder}/more.jsonl", f"{PREFIX}more.parquet", f"{PREFIX}X.JSONL.GZ"]
    files = {**archive.files, **dict.fromkeys(keys, b"{}\n"), f"{PREFIX}README.txt": b"", f"{folder}/_SUCCESS": b""}
    return Tampering(files, {(WITHOUT_RECEIPT, key) for key in keys})


@tampering
def objects_that_query_engines_read(archive: Archive) -> Tampering:
    folder = archive.object(SEALED_DAY).rpartition("/")[0]
    names = ["evil.json.gz", "evil", "x.ndjson.gz", "X.JSONL.GZ", "README.txt", "sub/evil.csv"]
    passed_over = {f"{folder}/.hidden": b"{}", f"{folder}/sub/": b"", f"{folder}/_evil.jsonl": b"{}"}
    keys = [f"{folder}/{name}" for name in names]
    return Tampering(
        {**archive.files, **dict.fromkeys(keys, b"{}\n"), **passed_over}, {(WITHOUT_RECEIPT, key) for key in keys}
    )


# Seals


@tampering
def the_chains_beginning_deleted(archive: Archive) -> Tampering:
    files = without(archive.files, archive.seal(1))
    return Tampering(files, {(MISSING, archive.seal(1)), *about(LEFT_OUT, archive, days_of(1))})


@tampering
def a_seal_in_the_middle_deleted(archive: Archive) -> Tampering:
    files = without(archive.files, archive.seal(2))
    return Tampering(files, {(MISSING, archive.seal(2)), *about(LEFT_OUT, archive, days_of(2))})


@tampering
def two_seals_in_a_row_deleted(archive: Archive) -> Tampering:
    files = without(archive.files, archive.seal(2), archive.seal(3))
    late = about(LEFT_OUT, archive, [*days_of(2), *days_of(3), REPEATED])
    return Tampering(files, {(MISSING, archive.seal(2)), *late})


@tampering
def a_seal_and_what_it_held_deleted(archive: Archive) -> Tampering:
    files = without(archive.files, archive.seal(2), *archive.of_days(days_of(2)))
    return Tampering(files, {(MISSING, archive.seal(2)), (GAP, period_of(2))}, gone=days_of(2))


@tampering
def a_seal_cut_off(archive: Archive) -> Tampering:
    files = {**archive.files, archive.seal(2): archive.files[archive.seal(2)][:-100]}
    return Tampering(files, {(ALTERED, archive.seal(2)), *about(LEFT_OUT, archive, days_of(2))})


@tampering
def the_newest_seal_cut_off(archive: Archive) -> Tampering:
    files = {**archive.files, archive.seal(4): archive.files[archive.seal(4)][:-100]}
    return Tampering(files, {(ALTERED, archive.seal(4))}, unsealed=days_of(4))


@tampering
def a_byte_of_a_seal(archive: Archive) -> Tampering:
    body = archive.files[archive.seal(2)]
    files = {**archive.files, archive.seal(2): flipped(body, body.index(b'"receipt": "') + 20)}
    return Tampering(files, {(ALTERED, archive.seal(2)), *about(LEFT_OUT, archive, days_of(2))})


@tampering
def a_byte_of_the_newest_seal(archive: Archive) -> Tampering:
    body = archive.files[archive.seal(4)]
    files = {**archive.files, archive.seal(4): flipped(body, body.index(b'"provider_version": "') + 21)}
    return Tampering(files, {(ALTERED, archive.seal(4))}, unsealed=days_of(4))


@tampering
def seals_swapped(archive: Archive) -> Tampering:
    files = swapped(archive.files, archive.seal(2), archive.seal(3))
    late = about(LEFT_OUT, archive, [*days_of(2), *days_of(3), REPEATED])
    return Tampering(files, {(ALTERED, archive.seal(2)), (ALTERED, archive.seal(3)), *late})


@tampering
def a_seal_signed_by_another_key(archive: Archive) -> Tampering:
    files = {**archive.files, archive.seal(2): rewritten(archive.files[archive.seal(2)], ANOTHER_KEY)}
    return Tampering(files, {(ALTERED, archive.seal(2)), *about(LEFT_OUT, archive, days_of(2))})


@tampering
def the_newest_seal_signed_by_another_key(archive: Archive) -> Tampering:
    files = {**archive.files, archive.seal(4): rewritten(archive.files[archive.seal(4)], ANOTHER_KEY)}
    return Tampering(files, {(NOT_SIGNED, archive.seal(4))}, unsealed=days_of(4))


@tampering
def the_newest_seals_signature_removed(archive: Archive) -> Tampering:
    files = {**archive.files, archive.seal(4): rewritten(archive.files[archive.seal(4)])}
    return Tampering(files, {(NOT_SIGNED, archive.seal(4))}, unsealed=days_of(4))


@tampering
def a_seal_added_without_the_key(archive: Archive) -> Tampering:
    head = archive.files[archive.seal(4)]
    period = Window(start=period_of(5).start, end=period_of(5).end)
    body = rewritten(head, number=5, previous=archive.heads[-1], period=period, receipts=[])
    key = archive.seal(4).replace("_000004", "_000005")
    return Tampering({**archive.files, key: body}, {(NOT_SIGNED, key)})


def rebuilt(archive: Archive, key: Any) -> Tampering:
    """Forge a day and all seals after it, each of them right in itself."""
    key_of_object, body, receipt, written = forged(archive, SEALED_DAY)
    old, new = newest(archive, SEALED_DAY), hashlib.sha256(written).hexdigest()
    files = {**without(archive.files, archive.receipt(SEALED_DAY)), key_of_object: body, receipt: written}
    previous = None
    for number in range(1, 5):
        place = archive.seal(number)
        files[place] = rewritten(files[place].replace(old.encode(), new.encode()), key, previous=previous)
        previous = hashlib.sha256(files[place]).hexdigest()
    return Tampering(files, {(NOT_SIGNED, archive.seal(number)) for number in range(1, 5)}, unsealed=SEALED)


@tampering
def all_seals_rebuilt_without_the_key(archive: Archive) -> Tampering:
    return rebuilt(archive, None)


@tampering
def all_seals_rebuilt_with_another_key(archive: Archive) -> Tampering:
    return rebuilt(archive, ANOTHER_KEY)


@tampering
def seals_before_a_hole_rebuilt_without_the_key(archive: Archive) -> Tampering:
    everything = rebuilt(archive, None).files
    files = {**everything, **{archive.seal(number): archive.files[archive.seal(number)] for number in (3, 4)}}
    left_out = about(LEFT_OUT, archive, [*days_of(1), *days_of(2)])
    found = {(NOT_SIGNED, archive.seal(1)), (MISSING, archive.seal(2)), *left_out}
    return Tampering(without(files, archive.seal(2)), found)


@tampering
def all_seals_deleted(archive: Archive) -> Tampering:
    files = without(archive.files, *map(archive.seal, range(1, 5)))
    return Tampering(files, {(NOT_SIGNED, None)}, unsealed=SEALED)


@tampering
def a_seal_with_a_number_far_off(archive: Archive) -> Tampering:
    far, next_ = (archive.seal(4).replace("_000004", f"_{number:06d}") for number in (10**12, 5))
    return Tampering({**archive.files, far: b"{}"}, {(ALTERED, far), (MISSING, next_)})


@pytest.mark.parametrize("is_real", [pytest.param(False, id="memory"), in_ci(True, id="S3")])
@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_found(s3: LocalS3, archive: Archive, name: str, is_real: bool) -> None:
    """What was done is found, called by its name and place, and nothing else is; soonest in memory."""
    tampered = TAMPERINGS[name](archive)
    assert tampered.files != archive.files

    report = verify(bucket_with(s3, tampered.files) if is_real else memory_bucket_with(tampered.files))

    assert wrong(report) == tampered.found
    assert right(report) == expected_of(archive, tampered)


def bytes_of(archive: Archive, days: Iterable[int]) -> int:
    return sum(len(archive.files[key]) for day in days for key in archive.objects(day))


def expected_of(archive: Archive, tampered: Tampering) -> dict[str, Status]:
    """Return the days with which nothing may be wrong, each with its status."""
    named = {place for _, place in tampered.found} | {archive.object(day) for day in tampered.gone}
    sealed = set(SEALED) - set(tampered.unsealed)
    expected = {archive.object(day): OK if day in sealed else NOT_SEALED for day in DAYS}
    return {key: status for key, status in expected.items() if key not in named}


# Nothing but the bytes


def test_an_archive_that_nobody_touched(archive: Archive, untouched: Bucket) -> None:
    """Every sealed window is ok, every other not sealed yet, and the chain is told; with and without the key."""
    for signed_by in (KEY, None):
        report = verify(untouched, signed_by=signed_by)

        assert report.wrong == ()
        assert report.counts == {"ok": len(SEALED), "not sealed": len(DAYS) - len(SEALED)}
        assert right(report) == expected_of(archive, Tampering({}, set()))
        assert [each.window for each in report.findings] == [window_of(day) for day in DAYS]
        assert {each.chain for each in report.findings} == {archive.chain}
        assert report.bytes_read == bytes_of(archive, DAYS)
        assert report.archive == f"s3://{untouched.name}/{PREFIX}"
        assert report.signatures_checked == (signed_by is not None)
        [chain] = report.chains
        assert chain.as_dict() == {
            "chain": archive.chain,
            "number": 4,
            "head": archive.heads[-1],
            "sealed_until": period_of(4).end.isoformat().replace("+00:00", "Z"),
            "signed_by": str(KEY.public),
            "copy_of": f"s3://{archive.bucket}/{PREFIX}",
        }


def test_heads_that_are_there(archive: Archive, untouched: Bucket) -> None:
    """Each head that sealing returned is found, the newest and the older ones."""
    assert verify(untouched, known_heads=archive.heads[:1]).wrong == ()
    assert verify(untouched, known_heads=archive.heads).wrong == ()


def test_a_head_that_never_was(archive: Archive, untouched: Bucket) -> None:
    """A head of another archive is missing, and nothing else is wrong."""
    report = verify(untouched, known_heads=[*archive.heads, "0" * 64])

    assert wrong(report) == {(HEAD_MISSING, None)}
    assert "0" * 64 in str(report.wrong[0])


@pytest.mark.parametrize(
    ("days", "start", "end"),
    [
        (range(4, 12), window_of(4).start, window_of(11).end),
        (range(4, 12), window_of(4).start + HOUR, window_of(11).end - HOUR),
        (range(4), None, window_of(3).end),
        (range(21, 25), window_of(21).start, None),
        (range(24, 25), window_of(24).start + 23 * HOUR, None),
    ],
)
def test_a_stretch_of_time(archive: Archive, untouched: Bucket, days: range, start: Any, end: Any) -> None:
    """Only the windows that lie in it, or reach into it, are told, and only their objects are read."""
    report = verify(untouched, start=start, end=end)

    assert right(report) == {archive.object(day): OK if day in SEALED else NOT_SEALED for day in days}
    assert report.wrong == ()
    assert report.bytes_read == bytes_of(archive, days)


def test_time_before_the_first_window_and_after_the_last(untouched: Bucket) -> None:
    """A shop begins, and is closed: nothing lacks then, however much was asked for."""
    report = verify(untouched, start=window_of(-2).start, end=window_of(28).end)

    assert report.wrong == ()
    assert len(report.findings) == len(DAYS)


@pytest.mark.parametrize("asked", [{"start": window_of(30).start}, {"end": window_of(-5).start}])
def test_time_with_nothing(untouched: Bucket, asked: dict[str, Any]) -> None:
    """A stretch without beginning or end, in which no window lies, is nothing, and that is wrong."""
    report = verify(untouched, **asked)

    assert wrong(report) == {(NOTHING, None)}
    assert report.wrong[0].details == ("no window is in that time",)


def test_progress_is_told(untouched: Bucket) -> None:
    """After each window it is told how many were read, of how many."""
    told: list[tuple[int, int]] = []

    verify_archive(untouched, PREFIX, progress=lambda done, of: told.append((done, of)))

    assert told == [(done, len(DAYS)) for done in range(1, len(DAYS) + 1)]


# What is right


def test_two_receipts_of_one_object(s3: LocalS3, archive: Archive) -> None:
    """They are fine where they differ only in run, times and what the API counted, as where two tasks met."""
    report = verify(bucket_with(s3, receipt_again(archive, UNSEALED_DAY, api_before=11)))

    assert report.wrong == ()
    assert right(report) == expected_of(archive, Tampering({}, set()))


def test_late_events_of_an_own_key(s3: LocalS3, archive: Archive) -> None:
    """Late events beside a key that ends like no format belong to its window, also where their receipt is gone."""
    new = f"{PREFIX}own/elsewhere.gz"
    files: Files = {}
    before: list[str] = []
    for receipt, late in zip(archive.receipts(REPEATED_LATER), ("", ".late-1"), strict=True):
        document = archive.document(receipt) | {"previous": before, "partition_timezone": None}
        body = archive.files[document["object"]["key"]]
        document["object"]["key"] = new + late
        key, written = renamed(document)
        before = [name_of(key)]
        files |= {new + late: body, key: written}

    report = verify(bucket_with(s3, files), signed_by=None)
    receiptless = verify(bucket_with(s3, without(files, key)), signed_by=None)

    assert (report.wrong, right(report)) == ((), {new: NOT_SEALED})
    assert wrong(receiptless) == {(WITHOUT_RECEIPT, new)}
    assert f"{new}.late-1" in str(receiptless.wrong)


def test_what_is_told_of_late_objects(s3: LocalS3, archive: Archive) -> None:
    """A window has one finding: key and window are the first object's, and the details name the object meant."""
    bucket = bucket_with(s3, late_events_deleted(archive).files)

    findings = {each.key: each for each in verify(bucket).wrong}

    assert len(findings) == 2
    for day in BOTH:
        finding = findings[archive.object(day)]
        assert (finding.window, finding.chain) == (window_of(day), archive.chain)
        assert f"the object {archive.late(day)} is gone" in finding.details


def test_everything_of_a_window_deleted_but_its_seal(s3: LocalS3, archive: Archive) -> None:
    """Both objects and both receipts that seals hold are missed by name, in one finding."""
    bucket = bucket_with(s3, without(archive.files, *archive.of_days([REPEATED])))

    [finding] = verify(bucket).wrong

    assert (finding.status, finding.key, finding.window) == (MISSING, archive.object(REPEATED), window_of(REPEATED))
    told = " ".join(finding.details)
    assert [each for each in map(name_of, archive.receipts(REPEATED)) if each not in told] == []
    assert f"the object {archive.late(REPEATED)} is gone" in finding.details
    assert "the object is gone" in finding.details


def test_objects_whose_receipts_are_all_unreadable(archive: Archive) -> None:
    """Where nothing is left to compare objects with, that is told."""
    files = {
        key: flipped(body) if "/_2025" in key else body for key, body in archive.of_days([REPEATED_LATER]).items()
    }

    report = verify(memory_bucket_with(files), signed_by=None)

    assert wrong(report) == about(ALTERED, archive, [REPEATED_LATER])


@pytest.mark.parametrize("order", [0, 1])
def test_of_two_last_receipts_the_one_that_knows_more(archive: Archive, order: int) -> None:
    """Two tasks that met leave two last receipts; what counts is what is stored, not whose clock is ahead."""
    first, late = (archive.document(key) for key in archive.receipts(REPEATED_LATER))
    again = first | {"verified_at": ("2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z")[order]}
    again["run"] = first["run"] | {"run_id": "another"}
    files = archive.of_days([REPEATED_LATER]) | dict([renamed(again)])
    assert late["counts"]["window"] > again["counts"]["window"]

    assert verify(memory_bucket_with(files), signed_by=None).wrong == ()


# Windows asked for


def test_damage_is_found_where_it_was_asked_for(s3: LocalS3, archive: Archive) -> None:
    """A damaged window is told where it lies in the stretch, and otherwise not; a damaged seal always is."""
    damaged = archive.object(SEALED_DAY)
    files = {**archive.files, damaged: b"", archive.seal(3): flipped(archive.files[archive.seal(3)])}
    bucket = bucket_with(s3, without(files, archive.object(NEIGHBOUR), archive.receipt(NEIGHBOUR)))
    seal_ = (ALTERED, archive.seal(3))

    assert wrong(verify(bucket, end=window_of(1).end)) == {seal_}
    assert wrong(verify(bucket, end=window_of(SEALED_DAY).end, start=START)) == {
        *about(LEFT_OUT, archive, [REPEATED]), (ALTERED, damaged), seal_,
    }  # fmt: skip
    assert wrong(verify(bucket, start=window_of(NEIGHBOUR).start, end=window_of(NEIGHBOUR).end)) == {
        *about(MISSING, archive, [NEIGHBOUR]), seal_,
    }  # fmt: skip


def test_a_forgery_is_found_in_the_time_that_it_claims(s3: LocalS3, archive: Archive) -> None:
    """A receipt that no seal holds and that claims a time is told, whatever time is asked for."""
    bucket = bucket_with(s3, {**archive.files, **redated(archive, SEALED_DAY, -1)})

    for day in (SEALED_DAY - 1, SEALED_DAY, 15):
        found = wrong(verify(bucket, start=window_of(day).start, end=window_of(day).end))
        assert found == {(ALTERED, archive.object(SEALED_DAY))}


# The newest seal


def test_the_newest_seal_deleted(s3: LocalS3, archive: Archive) -> None:
    """With its head it is missed; without, and with older heads, its windows are not sealed, and no more."""
    bucket = bucket_with(s3, without(archive.files, archive.seal(4)))
    expected = expected_of(archive, Tampering({}, set(), unsealed=days_of(4)))

    assert wrong(verify(bucket, known_heads=archive.heads)) == {(HEAD_MISSING, None)}
    for known in ((), archive.heads[:3]):
        report = verify(bucket, known_heads=known)
        assert report.wrong == ()
        assert right(report) == expected


def test_all_seals_deleted_is_found_with_a_head(s3: LocalS3, archive: Archive) -> None:
    """Without the key the oldest head alone shows it."""
    bucket = bucket_with(s3, without(archive.files, *map(archive.seal, range(1, 5))))

    assert wrong(verify(bucket, signed_by=None, known_heads=archive.heads[:1])) == {(HEAD_MISSING, None)}
    assert verify(bucket, signed_by=None).wrong == ()


def test_what_is_rebuilt_is_found_with_a_head(s3: LocalS3, archive: Archive) -> None:
    """A rebuilt chain is right in itself; the oldest head, without any key, shows that it is another."""
    bucket = bucket_with(s3, all_seals_rebuilt_without_the_key(archive).files)

    assert verify(bucket, signed_by=None).wrong == ()
    assert wrong(verify(bucket, signed_by=None, known_heads=archive.heads[:1])) == {(HEAD_MISSING, None)}


def test_another_key_did_not_sign(archive: Archive, untouched: Bucket) -> None:
    """With a key that signed nothing every seal is named; one right key among several is enough."""
    report = verify(untouched, signed_by=ANOTHER_KEY)
    both = Expected(public_keys=[ANOTHER_KEY.public, KEY.public])

    assert wrong(report) == {(NOT_SIGNED, archive.seal(number)) for number in range(1, 5)}
    assert verify_archive(untouched, PREFIX, both).wrong == ()


def test_a_seal_that_says_other_things_of_a_receipt(s3: LocalS3, archive: Archive) -> None:
    """Without a key anyone can write the newest seal; where it contradicts a receipt, that is found."""
    body = archive.files[archive.seal(4)]
    day = days_of(4)[0]
    old, new = (
        format_instant(instant)[:13].encode() for instant in (window_of(day).start, window_of(day).start + HOUR)
    )
    first = body.index(b'"receipts"')
    bucket = bucket_with(s3, {**archive.files, archive.seal(4): body[:first] + body[first:].replace(old, new, 1)})

    report = verify(bucket, signed_by=None)

    assert wrong(report) == {
        (ALTERED, archive.object(day)),
        (GAP, Window(window_of(day).start, window_of(day).start + HOUR)),
    }
    assert "seal 4 tells other things" in str(report.wrong)


# A gap that was sealed


def test_a_forgery_in_a_gap_that_was_sealed(s3: LocalS3, archive: Archive) -> None:
    """A gap stays a gap; an export that fills it later is left out of its seal until a seal holds it."""
    late, gap = archive.of_days([SEALED_DAY]), window_of(SEALED_DAY)
    bucket = bucket_with(s3, without(archive.of_days(days_of(1)), *late))
    assert seal(bucket, period_of(1)).head.seal.gaps == [Window(start=gap.start, end=gap.end)]
    assert wrong(verify(bucket)) == {(GAP, window_of(SEALED_DAY))}

    put(s3, bucket.name, late)
    found = wrong(verify(bucket))
    seal(bucket, period_of(1))

    assert found == {(LEFT_OUT, archive.object(SEALED_DAY))}
    assert verify(bucket).wrong == ()


# What no verification can find


def test_the_last_unsealed_windows_can_vanish(s3: LocalS3, archive: Archive) -> None:
    """Until they are sealed nothing tells of them: an archive ends where its last window does."""
    bucket = bucket_with(s3, without(archive.files, *archive.of_days([DAYS[-1]])))

    assert verify(bucket).wrong == ()
    assert verify(bucket, end=window_of(DAYS[-1]).end).wrong == ()


def test_what_no_seal_holds_can_be_forged(s3: LocalS3, archive: Archive) -> None:
    """Object and receipt that are replaced together before they are sealed are not sealed yet, and no more."""
    key, body, receipt, written = forged(archive, UNSEALED_DAY)
    files = {**without(archive.files, archive.receipt(UNSEALED_DAY)), key: body, receipt: written}

    assert verify(bucket_with(s3, files)).wrong == ()


# Nothing there


def test_an_empty_prefix(s3: LocalS3, archive: Archive) -> None:
    """Where nothing is, that is what is found, with and without a head."""
    bucket = bucket_with(s3, {"elsewhere/a.jsonl.gz": b""})

    report = verify(bucket)

    assert wrong(report) == {(NOTHING, None)}
    assert report.wrong[0].details == ("there is neither an object, nor a receipt, nor a seal",)
    assert wrong(verify(bucket, known_heads=archive.heads[:1])) == {(HEAD_MISSING, None)}


def test_the_wrong_prefix(untouched: Bucket) -> None:
    """Above the prefix that was sealed the windows are not sealed; with the key, that no seal is there is wrong."""
    report = verify_archive(untouched, "akinon/", Expected(public_keys=[KEY.public]))

    assert wrong(report) == {(NOT_SIGNED, None)}
    assert report.counts["not sealed"] == len(DAYS)


# What S3 does not give


class ColdBucket(MemoryBucket):
    """Some of its objects were moved to a storage class that wants them restored first."""

    cold: Collection[str] = ()

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - boto3's words
        if Key in self.cold:
            raise ClientError({"Error": {"Code": "InvalidObjectState"}}, "GetObject")
        return super().get_object(Bucket=Bucket, Key=Key)


def test_what_has_to_be_restored_is_unreadable(archive: Archive) -> None:
    """Neither an object nor a receipt in cold storage is called altered, nor right. In memory: SeaweedFS has none."""
    cold = [archive.object(SEALED_DAY), archive.receipt(NEIGHBOUR)]
    memory = ColdBucket.holding(archive.files)
    memory.cold = cold

    report = verify(Bucket(memory, memory.name))

    assert wrong(report) == about(Status.UNREADABLE, archive, [SEALED_DAY, NEIGHBOUR])
    assert all("restore it to read it" in str(each) for each in report.wrong)


@pytest.mark.parametrize("kind", ["object", "receipt", "seal"])
def test_what_is_deleted_meanwhile(archive: Archive, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Listed, and gone when it is read: it is missing, and all else is looked at."""
    memory = MemoryBucket.holding(archive.files)
    key = {"object": archive.object(3), "receipt": archive.receipt(3), "seal": archive.seal(2)}[kind]
    listing = memory.get_paginator

    def then_delete(**asked: Any) -> Any:
        yield from listing("list_objects_v2").paginate(**asked)
        del memory.objects[key]

    monkeypatch.setattr(memory, "get_paginator", lambda _: SimpleNamespace(paginate=then_delete))

    report = verify(Bucket(memory, memory.name))

    left_out = about(LEFT_OUT, archive, days_of(2)) if kind == "seal" else set()
    assert wrong(report) == {(MISSING, key if kind == "seal" else archive.object(3)), *left_out}
    assert f"{key} was deleted while it was looked at" in str(report.wrong)


# The operator and the command


THREE = ["a_byte_of_an_object", "a_seal_in_the_middle_deleted", "all_seals_rebuilt_with_another_key"]


@pytest.mark.parametrize("name", THREE)
def test_the_task_and_the_command_find_it(
    s3: LocalS3,
    archive: Archive,
    name: str,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The task fails for good and the command exits 1; both name what is wrong, and where."""
    tampered = TAMPERINGS[name](archive)
    put(s3, bucket, tampered.files)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    places = [place for _, place in tampered.found if isinstance(place, str)]

    with pytest.raises(AirflowFailException) as caught:
        VerifyAuditArchiveOperator(task_id="verify", s3_bucket=bucket, public_keys=str(KEY.public)).execute({})
    status = __main__.main(
        ["verify", f"s3://{bucket}/{PREFIX}", "--endpoint-url", s3.url, "--public-key", str(KEY.public)]
    )

    assert str(caught.value).startswith(f"{len(tampered.found)} findings are wrong in s3://{bucket}/{PREFIX}: ")
    assert status == 1
    printed = capsys.readouterr().out
    assert printed.endswith(f"{len(tampered.found)} WRONG\n")
    for shown in (str(caught.value), printed):
        assert [place for place in places if place not in shown] == []


def test_the_task_finds_nothing(s3: LocalS3, archive: Archive, bucket: str) -> None:
    """Where nothing is wrong, figures go to XCom, and only they."""
    put(s3, bucket, archive.files)

    found = VerifyAuditArchiveOperator(
        task_id="verify",
        s3_bucket=bucket,
        s3_key_prefix=f"/{PREFIX}",
        start=START.isoformat(),
        end=period_of(4).end,
        public_keys=[str(ANOTHER_KEY.public), str(KEY.public)],
        known_heads=archive.heads[-1],
    ).execute({})

    assert found["counts"] == {"ok": len(SEALED)}
    assert [chain["head"] for chain in found["chains"]] == [archive.heads[-1]]
    assert found["bytes_read"] == bytes_of(archive, SEALED)
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"s3_bucket": None}, "s3_bucket is missing"),
        ({"s3_bucket": "no-such-bucket"}, "does not exist"),
        ({"s3_key_prefix": "s3://a/b"}, "is not a prefix"),
        ({"start": "2025-03-03"}, "has no time zone"),
        ({"start": window_of(3).end, "end": window_of(3).start}, "exchange them"),
        ({"public_keys": "key"}, "public_keys is not an Ed25519 public key"),
        ({"public_keys": [None]}, "public_keys has None"),
        ({"known_heads": "0f"}, "is not the SHA-256 of a seal"),
        ({"known_heads": [""]}, "known_heads has ''"),
    ],
)
def test_a_wrong_parameter_of_the_task(bucket: str, arguments: dict[str, Any], problem: str) -> None:
    """It fails for good, and says what to change."""
    with pytest.raises(AirflowFailException, match=problem):
        VerifyAuditArchiveOperator(task_id="verify", **{"s3_bucket": bucket, **arguments}).execute({})


# Any change at all


@pytest.fixture(scope="module")
def small(s3: LocalS3, archive: Archive) -> Archive:
    """Four days in two seals, one of them exported again between the seals; a seal holds every receipt."""
    days = archive.of_days(range(3))
    early = without(days, archive.late(REPEATED), archive.receipt(REPEATED))
    bucket = new_bucket_with(s3, early)
    first = seal(bucket, window_of(0, 3))
    put(s3, bucket.name, archive.of_days(range(4)))
    second = seal(bucket, window_of(3))
    assert [len(each.head.seal.receipts) for each in (first, second)] == [3, 2]
    files = files_of(s3, bucket.name)
    assert len(files) == 5 + 5 + 2
    assert verify(memory_bucket_with(files), known_heads=[second.head.sha256]).counts == {"ok": 4}
    return Archive(files, (first.head.sha256, second.head.sha256), archive.chain, archive.bucket)


def test_any_deletion_is_found(small: Archive) -> None:
    """Whichever key is deleted, it is missed. In memory, as all that follow, for their number."""
    for key in small.files:
        report = verify(memory_bucket_with(without(small.files, key)), known_heads=small.heads)
        assert report.wrong, key


KEYS, PLACES = st.integers(0, 11), st.integers(0, 10_000)
"""One of the keys of the small archive, and a place in its bytes, counted round and round."""


@given(KEYS, PLACES, st.integers(1, 255))
def test_any_changed_byte_is_found(small: Archive, number: int, place: int, by: int) -> None:
    """Whichever byte of whichever key is changed, to whatever: with the public key, without any head, it is found."""
    key, body = sorted(small.files.items())[number]
    at = place % len(body)
    changed = body[:at] + bytes([body[at] ^ by]) + body[at + 1 :]

    assert verify(memory_bucket_with({**small.files, key: changed})).wrong


@given(KEYS, PLACES, st.integers(0, 30), st.binary(max_size=20))
def test_any_piece_cut_out_or_put_in_is_found(
    small: Archive, number: int, place: int, length: int, piece: bytes
) -> None:
    """Whichever piece of whichever key is replaced by another, of any length, it is found."""
    key, body = sorted(small.files.items())[number]
    at = place % (len(body) + 1)
    changed = body[:at] + piece + body[at + length :]

    assert bool(verify(memory_bucket_with({**small.files, key: changed})).wrong) == (changed != body)


def test_every_character_of_a_signature_counts(small: Archive) -> None:
    """Also those with bits to spare: each character of the newest seal's signature, made any other, is found."""
    key, body = small.seal(2), small.files[small.seal(2)]
    start = body.index(b'"signature": "') + 14
    places = range(start, start + 88)
    assert body[places[-1] + 1 :] == b'"\n}\n'

    for at in places[-4:]:
        for byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= ":
            changed = body[:at] + bytes([byte]) + body[at + 1 :]
            report = verify(memory_bucket_with({**small.files, key: changed}))
            assert bool(report.wrong) == (changed != body)
