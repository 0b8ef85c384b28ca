"""Events: timestamp and uuid, which order and identify them, and the record as the API wrote it.

A record passes through untouched: unknown fields, huge integers, ``1.10`` and the order of keys stay as they were.
This module refuses records without a ``uuid``, or a ``timestamp`` with a time zone, and its errors give the record's
uuid and timestamp, where it has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import msgspec

from airflow_provider_akinon.audit_events.errors import ProtocolError
from airflow_provider_akinon.audit_events.foreign_text import shown
from airflow_provider_akinon.audit_events.model.lone_surrogates import tolerant
from airflow_provider_akinon.audit_events.model.unreadable import unreadable

UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
"""The pattern of a UUID in its usual form."""
MOST_BYTES = 256 * 1024 * 1024
"""The most bytes of an answer, both as it comes and unpacked; hence also of a record."""


class Event(NamedTuple):
    """An audit event: its timestamp, its uuid and its record. Sorts by ``(timestamp, uuid)``."""

    timestamp: datetime
    uuid: str
    line: bytes
    """The record as the API wrote it, on one line, without a line break at its end."""


class _Fields(msgspec.Struct, frozen=True, gc=False):
    """The fields of a record that the export reads; all others stay bytes."""

    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    uuid: str


_decode_fields = msgspec.json.Decoder(_Fields).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_scan = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode


def parse_event(line: bytes, place: int | None = None) -> Event:
    """Return the event of a record on one line; ``place`` is the record's number in its page, from 1 on.

    :raises ProtocolError: the record has no ``uuid``, or no ``timestamp`` with a time zone.
    """
    try:
        fields = tolerant(_decode_fields, line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise unreadable(line, place, error) from error
    try:
        return Event(fields.timestamp.astimezone(UTC), fields.uuid, line)
    except OverflowError:
        raise ProtocolError(
            f"Event {shown(fields.uuid)} has the timestamp {fields.timestamp}, which UTC has not"
        ) from None


def parse_events(lines: list[bytes]) -> list[Event]:
    """Return the events of records, each on one line.

    :raises ProtocolError: see `parse_event`.
    """
    try:  # without a call of `parse_event` for each, as nearly all are valid
        return [
            Event(fields.timestamp.astimezone(UTC), fields.uuid, line)
            for fields, line in zip(map(_decode_fields, lines), lines, strict=True)
        ]
    except (msgspec.DecodeError, ValueError, RecursionError, OverflowError):
        return [parse_event(line, place) for place, line in enumerate(lines, 1)]


def members(text: bytes) -> dict[str, bytes]:
    """Return the members of a compact JSON object, each value as it is written; of a repeated key the last."""
    return {name: bytes(value) for name, value in raw_members(text).items()}


def raw_members(text: bytes) -> Mapping[str, bytes | msgspec.Raw]:
    """Return what `members` does, with values that are not copied: they can be compared, and ``bytes`` copies one."""
    try:
        return _decode_members(text)
    except msgspec.DecodeError:  # of a lone surrogate, which Python's own decoder takes
        found: dict[str, bytes] = {}
        written, place = text.decode().rstrip(), 1
        while place < len(written):
            name, colon = _scan(written, place)
            _, end = _scan(written, colon + 1)
            found[name] = written[colon + 1 : end].encode()
            place = end + 1
        return found
