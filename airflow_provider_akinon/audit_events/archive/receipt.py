"""Receipts say what an export asked for, how many events it got, which bytes it wrote, and what proves it.

A receipt lies beside its object and is written after it, so that an object with a receipt is whole. It is never
changed: its name holds the SHA-256 of its own bytes. Each receipt of a window names those before it. A receipt
without an object is a record of changes: it names the stored events that the API now gives otherwise, or no longer,
by their uuids and the names of fields, never by what these held. A receipt holds no event, no secret, and of persons
at most the ``pk`` that was filtered by. This module refuses receipts that are not of its schema, whose bytes do not
have the SHA-256 in their name, or that lie where their window is not stored: whoever may write to the bucket can name
a receipt as they like.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from airflow_provider_akinon.audit_events.archive.layout import (
    first_and_number,
    name_of_window,
    parse_receipt_key,
    why_not_of,
)
from airflow_provider_akinon.audit_events.errors import ArchiveError, InvalidInput
from airflow_provider_akinon.audit_events.model import UUID, Filters, Format, Instant, Source, Window, parse_timezone

RECEIPT_SCHEMA: Literal["airflow-provider-akinon/receipt/1"] = "airflow-provider-akinon/receipt/1"
CONTENT_TYPE = "application/json"
_OF_OBJECTS = ("ContentType", "Metadata", "StorageClass")
"""Upload arguments for objects alone; receipts and seals do without them, since they are small, and read on every
rerun."""

NOT_PROVED = (
    "That the API itself shows every event of the shop, or showed each as it happened.",
    "That no event was deleted at the source while another was inserted between two requests, nor that the API's "
    "counts were fresh.",
    "That no event of the window was added after 'verified_at'.",
)
"""The limits of the proof, which every receipt states."""

MOST_OF_A_RECEIPT = 8 << 20
"""The most bytes of a receipt; a record of many changes goes into several receipts of half that size."""

# A pattern's end is also found before a line feed; the length is not.
Sha256 = Annotated[
    str, msgspec.Meta(pattern="^[0-9a-f]{64}$", max_length=64, description="A SHA-256, in lower-case hex.")
]
Uuid = Annotated[str, msgspec.Meta(pattern=f"^{UUID}$", max_length=36)]
Count = Annotated[int, msgspec.Meta(ge=0)]


def arguments_of_documents(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return boto3's upload arguments of an export as they are for receipts and other small documents."""
    kept = {name: value for name, value in arguments.items() if name not in _OF_OBJECTS}
    return {**kept, "ContentType": CONTENT_TYPE}


def require_calendar(*instants: datetime | None) -> None:
    """Refuse instants that have no date in some time zone.

    :raises ValueError: one lies in the year 1 or 9999.
    """
    if not all(instant is None or 1 < instant.year < 9999 for instant in instants):
        raise ValueError("a time of no calendar: its date in another time zone has no number")


class Counts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The numbers of events, which have to agree."""

    api_before: Count
    """The API's count of the window when reading began."""
    api_after: Count
    """The API's count of the window after the last event was read: the proof. It equals ``window`` less ``vanished``;
    a task that writes the receipt of another task's object leaves out the events that it has yet to store itself."""
    uuids: Count
    """The number of different uuids in the object, counted one by one; 0 in a record of changes."""
    lines: Count
    """The number of events in the object: its lines, or rows. The same as ``uuids``."""
    window: Count
    """The number of events in all objects of the window, up to this receipt."""
    vanished: Count
    """The number of events among those of ``window`` that the API no longer returned, newly seen or not."""


class StoredObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The object that the receipt is for."""

    key: str
    """The object's key."""
    size: Count
    """The object's size in bytes."""
    sha256: Sha256
    """The SHA-256 of the object's bytes."""
    content_sha256: Sha256
    """The SHA-256 of the object's events as JSON Lines, uncompressed: the same in every format and with every
    compressor."""
    version_id: str | None
    """S3's version id of the object, None where the bucket kept no versions. A copy of the archive has other version
    ids."""


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The policy by which parts of the records were removed."""

    policy: Literal["credentials"]
    """The policy's name."""
    version: Count
    """The policy's version: a later one may find more."""
    paths: dict[str, Literal["drop", "mask", "hmac"]]
    """The paths that were added to the policy, each with ``drop``, ``mask`` or ``hmac``."""
    key_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")] | None
    """An id that tells keys of pseudonyms apart; None where there are no pseudonyms."""


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The task that wrote the receipt."""

    dag_id: str | None
    """The id of the task's DAG."""
    task_id: str | None
    """The task's id in the DAG."""
    run_id: str | None
    """The id of the DAG's run."""
    map_index: int | None
    """The number of the mapped task's instance, from 0; -1 where the task is not mapped."""
    try_number: int | None
    """The number of the task's try, from 1."""


class ChangedEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stored event that the API now gives with other content."""

    uuid: Uuid
    """The event's uuid."""
    fields: list[str]
    """The names of the fields that changed; ``user.pk`` where the event now has another user, or has or had none."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receipt, version 1 of its schema."""

    schema: Literal["airflow-provider-akinon/receipt/1"]
    """``airflow-provider-akinon/receipt/1``. Another number stands for other fields."""
    window: Window
    """The time that was asked for: from ``start`` on, and before ``end``."""
    filters: Filters
    """The filters of the export; empty where all events of the window were asked for."""
    source: Source
    """The source of the events."""
    partition_timezone: str | None
    """The IANA time zone of the date in the object's key; None where the author gave the whole key."""
    format: Format
    """The format of the window's objects: ``jsonl.gz``, ``jsonl`` or ``parquet``."""
    redaction: Policy | None
    """The policy by which parts of the records were removed, None where they are as the API wrote them."""
    counts: Counts
    uuids_sha256: Sha256 | None
    """The SHA-256 of the object's uuids in its order, by timestamp and uuid, each followed by a line feed; None in a
    record of changes."""
    window_uuids: Sha256
    """The sum of the SHA-256 of each uuid in all objects of the window up to this receipt, modulo 2^256, in hex. It
    is the same in every order."""
    first_timestamp: Instant | None
    """The timestamp of the object's first event, None where there is none."""
    last_timestamp: Instant | None
    """The timestamp of the object's last event, None where there is none."""
    object: StoredObject | None
    """The object that the receipt is for, None in a record of changes."""
    changed: list[ChangedEvent]
    """The stored events that the API was newly seen to give with other content, in the order of uuids."""
    vanished: list[Uuid]
    """The uuids of stored events that the API was newly seen to give no longer, in order."""
    provider_version: str
    """The version of this package."""
    run: Run
    """The task that wrote the receipt."""
    verified_at: Instant
    """The time when ``counts.api_after`` came, which proved the window complete; by the worker's clock, in UTC."""
    previous: list[Sha256]
    """The SHA-256 of the window's receipt before this one, or of several where two tasks wrote one at once; empty in
    the first."""
    not_proved: list[str]
    """Sentences that say what the receipt does not prove."""

    def __post_init__(self) -> None:
        require_calendar(
            self.window.start, self.window.end, self.first_timestamp, self.last_timestamp, self.verified_at
        )

    def encode(self) -> bytes:
        """Return the receipt's bytes: the same for the same receipt."""
        return encoded_document(self)

    def policy(self) -> dict[str, Any] | None:
        """Return the policy in the form in which `Redaction` describes its own."""
        return None if self.redaction is None else dict(msgspec.to_builtins(self.redaction))

    def without_uuids(self) -> Receipt:
        """Return the receipt without the uuids that it records, so that many receipts fit into memory."""
        return msgspec.structs.replace(self, changed=[], vanished=[])


def encoded_document(document: msgspec.Struct) -> bytes:
    """Return a document's bytes as people and programs read them: the same for the same document."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


_decode = msgspec.json.Decoder(Receipt).decode


def receipt_schema() -> dict[str, Any]:
    """Return the JSON Schema of receipts."""
    return msgspec.json.schema(Receipt)


def parse_receipt(key: str, body: bytes) -> Receipt:
    """Return the receipt that was stored under ``key``.

    :raises ArchiveError: it is no receipt, its bytes are not those of its key, it is another object's, or it
        lies where its window is not stored.
    """
    parsed = parse_receipt_key(key)
    if parsed is None or hashlib.sha256(body).hexdigest() != parsed.sha256:
        raise ArchiveError(f"The receipt {key} was altered, or renamed: its SHA-256 is not the one in its name")
    try:
        receipt = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{key} is not a receipt of a version that this package knows: {error}") from error
    if receipt.object is not None and receipt.object.key != parsed.object_key:
        raise ArchiveError(f"{key} is the receipt of {receipt.object.key}, copied here. Remove it, and ask why")
    first, number = first_and_number(parsed.object_key)
    if receipt.object is None and number:
        raise ArchiveError(f"{key} is a record of the window's changes, copied here. Remove it, and ask why")
    if why := _misplaced(first, receipt):
        raise ArchiveError(f"{key} lies where its window is not stored: {why}. Remove it, and ask who wrote it")
    return receipt


def _misplaced(first: str, receipt: Receipt) -> str | None:
    """Return why a receipt cannot be of the window whose first object has this key, None where it can."""
    if receipt.partition_timezone is None:
        return why_not_of(first, receipt.window, receipt.format)
    try:
        timezone = parse_timezone("partition_timezone", receipt.partition_timezone)
    except InvalidInput as error:
        return str(error)
    name = name_of_window(receipt.window, receipt.filters, timezone, receipt.format)
    return None if first == name or first.endswith(f"/{name}") else f"by its window and filters it belongs at {name}"


def newest_receipts(receipts: Mapping[str, Receipt]) -> list[str]:
    """Return, in order, the SHA-256 of a window's receipts that no other receipt names as the one before it."""
    named = {sha256 for receipt in receipts.values() for sha256 in receipt.previous}
    return sorted(receipts.keys() - named)
