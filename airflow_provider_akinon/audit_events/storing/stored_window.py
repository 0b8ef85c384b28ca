"""A window as the archive holds it: its objects in the order of their numbers, and all of its receipts.

This module reads keys, receipts and what S3 says of the objects, but no object itself. It refuses what does not go
together: a hole in the numbers, a receipt whose object is gone, or a receipt of another window, source, filters,
format or policy. It writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_akinon.audit_events.archive import (
    Bucket,
    Location,
    ObjectHead,
    Receipt,
    StoredObject,
    WindowReceipts,
    facts_of,
    first_and_number,
    late_key,
    late_prefix,
    parse_receipt_key,
    read_receipt,
    receipt_key,
    receipt_prefix,
    stem_of,
)
from airflow_provider_akinon.audit_events.errors import ArchiveError, ForeignObject, ObjectAltered
from airflow_provider_akinon.audit_events.export import Export
from airflow_provider_akinon.audit_events.model import Format
from airflow_provider_akinon.audit_events.storing.comparison import VANISHED

METADATA_PREFIX = "akinon-"


@dataclass(frozen=True, slots=True)
class WindowObject:
    """One of a window's objects, and its receipts, which all say the same of it."""

    key: str
    head: ObjectHead
    receipts: Mapping[str, Receipt]

    @property
    def described(self) -> StoredObject | None:
        """The object as its receipts describe it; None where it has no receipt."""
        return next((receipt.object for receipt in self.receipts.values()), None)

    @property
    def earliest(self) -> tuple[str, Receipt]:
        """The first of its receipts, with its SHA-256."""
        return next(iter(self.receipts.items()))


@dataclass(frozen=True, slots=True)
class Target:
    """The location of a window's objects, and those of them that were there before the window was read."""

    bucket: Bucket
    location: Location
    """The location of the first object."""
    before: frozenset[int]
    """The numbers of the objects that were there. Another task may since have stored events that this one did not
    read."""
    timezone: str | None
    """The IANA time zone of the date in the key; None where the author gave the whole key."""

    @classmethod
    def look(
        cls,
        bucket: Bucket,
        location: Location,
        file_format: Format,
        timezone: str | None,
    ) -> Target:
        """Return the target as it is now: to be called before the window is read."""
        return cls(bucket, location, frozenset(objects_at(bucket, location, file_format)), timezone)


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """The objects and receipts that the archive holds of a window."""

    location: Location
    """The location of the first object."""
    format: Format
    objects: tuple[WindowObject, ...]
    receipts: WindowReceipts

    @classmethod
    def read(cls, bucket: Bucket, location: Location, export: Export) -> StoredWindow:
        """Return the stored window of ``export``; its first object lies at ``location``.

        :raises ForeignObject: the object there is no export of that window, source, filters and format.
        :raises ObjectAltered: an object is gone, or of another size than its receipts tell.
        :raises ArchiveError: a receipt was altered, is gone, or is of another window or policy.
        """
        receipts = _receipts(bucket, location, export)
        found = objects_at(bucket, location, export.format)
        numbers = found.keys() | receipts.of_objects.keys()
        for number in range(max(numbers, default=-1) + 1):
            if number not in found:
                raise ObjectAltered(
                    f"{location.late(number, export.format)} is gone: {_why_it_was_there(number, receipts)}. Nothing "
                    "was written. Restore it from its version, and ask who removed it"
                )
        objects = tuple(
            WindowObject(
                late_key(location.key, number, export.format), found[number], receipts.of_objects.get(number, {})
            )
            for number in sorted(found)
        )
        for each in objects:
            _require_size(location, each)
            if not each.receipts:
                _require_own(location, each, export, is_last=each is objects[-1])
        return cls(location, export.format, objects, receipts)

    @property
    def lines(self) -> int:
        """The events of all objects that have a receipt."""
        return self.receipts.lines

    def shows(self, export: Export) -> bool:
        """Tell whether the receipts show that the stored events are those that were read, byte by byte."""
        if len(self.objects) != 1 or self.objects[0].described is None:
            return False
        only = self.objects[0]
        noted = metadata_of(only.head).get("sha256")
        return (
            only.described is not None
            and only.described.content_sha256 == export.written.content_sha256
            and noted in (None, only.described.sha256)
        )

    def recorded(self, bucket: Bucket) -> Iterator[tuple[str, str]]:
        """Yield uuid and field of each recorded change; the field is `VANISHED` where the event has vanished.

        The receipts are read again for it, one at a time: together they may hold more than fits into memory.
        """
        for sha256, known in self.receipts.receipts.items():
            if known.object is None:
                key = receipt_key(self.location.key, sha256)
                receipt = read_receipt(bucket, key)
                yield from ((each.uuid, name) for each in receipt.changed for name in each.fields)
                yield from ((uuid, VANISHED) for uuid in receipt.vanished)

    def having(self, head: ObjectHead | None, sha256: str, receipt: Receipt) -> StoredWindow:
        """Return this window with one more receipt; if that has an object, also with the object and its ``head``."""
        receipts = self.receipts.having(sha256, receipt)
        if receipt.object is None or head is None:
            return replace(self, receipts=receipts)
        number = first_and_number(receipt.object.key)[1]
        stored = WindowObject(receipt.object.key, head, receipts.of_objects[number])
        return replace(self, objects=(*self.objects[:number], stored), receipts=receipts)


def identity_of(export: Export) -> dict[str, str]:
    """Return the metadata that all objects of a window share: they say which export it is."""
    return {
        "source": str(export.source),
        "window": "/".join(export.window.as_dict().values()),
        "filters": json.dumps(export.filters.as_dict()),
        "format": export.format.value,
    }


def metadata_of(head: ObjectHead) -> dict[str, str]:
    """Return our metadata of an object; stores change the case of names, and users add their own."""
    return {
        name.lower().removeprefix(METADATA_PREFIX): value
        for name, value in head.metadata.items()
        if name.lower().startswith(METADATA_PREFIX)
    }


def _receipts(bucket: Bucket, location: Location, export: Export) -> WindowReceipts:
    found: dict[str, Receipt] = {}
    for key in bucket.keys(receipt_prefix(stem_of(location.key, export.format))):
        parsed = parse_receipt_key(key)
        if parsed is None or not _is_of(location, parsed.object_key, export.format):
            continue
        receipt = read_receipt(bucket, key)
        _require_same(key, receipt, export)
        found[parsed.sha256] = receipt.without_uuids()
    receipts = WindowReceipts(location.key, found)
    for sha256 in sorted({sha256 for receipt in found.values() for sha256 in receipt.previous} - found.keys()):
        raise ArchiveError(
            f"The receipt {sha256} of {location} is gone, which a later one names. Nothing was written. Restore it "
            "from its version, and ask who removed it"
        )
    for number, each in receipts.of_objects.items():
        if len({facts_of(receipt) for receipt in each.values()}) > 1:
            raise ArchiveError(
                f"The receipts of {location.late(number, export.format)} contradict each other. Nothing was written. "
                "Verify the archive, and ask who wrote them"
            )
    return receipts


def _is_of(location: Location, key: str, file_format: Format) -> bool:
    """Tell whether a key is that of one of the window's objects."""
    first, number = first_and_number(key)
    return key == location.key or (first == location.key and key == late_key(location.key, number, file_format))


def objects_at(bucket: Bucket, location: Location, file_format: Format) -> dict[int, ObjectHead]:
    """Return the heads of a window's objects that S3 has now, by their numbers."""
    keys = [location.key, *bucket.keys(late_prefix(location.key, file_format))]
    mine = {first_and_number(key)[1]: key for key in keys if _is_of(location, key, file_format)}
    heads = {number: bucket.head(key) for number, key in mine.items()}
    return {number: head for number, head in heads.items() if head is not None}


def _why_it_was_there(number: int, receipts: WindowReceipts) -> str:
    if number in receipts.of_objects:
        return f"its receipt {next(iter(receipts.of_objects[number]))} is there"
    return "objects or receipts that came after it are there"


def _require_same(key: str, receipt: Receipt, export: Export) -> None:
    """Make sure that a receipt is of the same window, source, filters, format and policy as ``export``.

    :raises ArchiveError: it is not; both are named.
    """
    pairs: dict[str, tuple[object, object]] = {
        "window": (receipt.window, export.window),
        "filters": (receipt.filters.as_dict(), export.filters.as_dict()),
        "source": (str(receipt.source), str(export.source)),
        "format": (receipt.format.value, export.format.value),
    }
    for name, (stored, asked) in pairs.items():
        if stored != asked:
            raise ForeignObject(
                f"{key} is the receipt of an export with the {name} {stored}, and this one has the {name} {asked}. "
                "Nothing was written: choose a key that differs per window, source, filters and format "
                "(s3_key_prefix does)"
            )
    policy = None if export.redaction is None else export.redaction.as_dict()
    if policy_of(receipt.policy()) != policy_of(policy):
        raise ArchiveError(
            f"{receipt.object.key if receipt.object else key} was redacted by {receipt.policy()}, and here it would "
            f"be by {policy}. Nothing was written: what is stored keeps its policy. Give the one of then (redact, "
            "redact_key_conn_id), or export with the new one to another s3_key_prefix"
        )


def policy_of(redaction: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a policy without its version: an upgrade changes the version, which makes no other policy."""
    return None if redaction is None else {name: value for name, value in redaction.items() if name != "version"}


def _require_size(location: Location, each: WindowObject) -> None:
    described = each.described
    if described is not None and described.size != each.head.size:
        raise ObjectAltered(
            f"s3://{location.bucket}/{each.key} has {each.head.size} bytes, and {described.size} by its receipt: it "
            "was altered. Nothing was written. Restore it from its version, and ask who did it"
        )


def _require_own(location: Location, each: WindowObject, export: Export, *, is_last: bool) -> None:
    """Make sure that an object without a receipt can be one that another task has just written.

    :raises ForeignObject: it is something else.
    :raises ArchiveError: it once had a receipt.
    """
    here = f"s3://{location.bucket}/{each.key}"
    found = metadata_of(each.head)
    for name, value in identity_of(export).items():
        if found.get(name) != value:
            held = f"is an export with the {name} {found[name]}" if name in found else "is no export of ours"
            raise ForeignObject(
                f"{here} {held}, and this one has the {name} {value}. Nothing was written: choose a key that differs "
                "per window, source, filters and format (s3_key_prefix does), or move the object"
            )
    if not is_last:
        raise ArchiveError(
            f"{here} has no receipt, and a later object of the window has: its receipt was removed. Nothing was "
            "written. Restore the receipt from its version, and ask who removed it"
        )
