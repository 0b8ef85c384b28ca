"""Events as they are stored: gzip JSON Lines, each line the record as the API wrote it.

A record passes through as bytes: unknown fields, huge integers, ``1.10`` and the order of keys stay as they were;
only white space between tokens goes, so that a record is one line. The same events give the same bytes (the gzip
header holds no time and no name), in one environment: another zlib may compress differently, so the SHA-256 of
the uncompressed content is the lasting identity.
"""

from __future__ import annotations

import gzip
import hashlib
from datetime import UTC, datetime, timedelta
from typing import IO, NamedTuple

import msgspec

from airflow_provider_akinon.audit_events.errors import ProtocolError, UnrequestedEvent
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.window import MILLISECOND, Window, format_instant

CONTENT_TYPE = "application/gzip"


class Event(NamedTuple):
    """An audit event: what orders it, and the record. Sorts by ``(timestamp, uuid)``."""

    timestamp: datetime
    uuid: str
    line: bytes
    """The record as the API wrote it, on one line, without a line break at its end."""


class _Fields(msgspec.Struct, frozen=True):
    """The fields of a record that the export reads; all others stay bytes."""

    timestamp: str
    uuid: str
    user: msgspec.Raw = msgspec.Raw(b"null")
    content_type: msgspec.Raw = msgspec.Raw(b"null")
    object_id: msgspec.Raw = msgspec.Raw(b"null")


_decode_fields = msgspec.json.Decoder(_Fields).decode


def parse_event(record: bytes) -> Event:
    """Return the event of a record's JSON.

    :raises ProtocolError: the record has no ``uuid``, or no ``timestamp`` with a time zone.
    """
    return _event(record, _parse_fields(record))


def parse_requested_event(record: bytes, window: Window, filters: Filters) -> Event:
    """Return the event of a record's JSON, checked against what was asked for.

    :raises ProtocolError: see `parse_event`.
    :raises UnrequestedEvent: it lies outside ``window``, or does not match ``filters``.
    """
    fields = _parse_fields(record)
    event = _event(record, fields)
    # A timestamp of at most three digits may be a longer one that was cut.
    resolution = MILLISECOND if len(fields.timestamp.partition(".")[2].rstrip("Z")) <= 3 else timedelta(0)
    if not window.contains(event.timestamp, resolution):
        raise UnrequestedEvent(
            f"The API returned event {event.uuid} of {format_instant(event.timestamp)}, "
            f"outside the window {window} that was asked for"
        )
    if filters.as_dict():
        mismatch = filters.mismatch({name: msgspec.json.decode(getattr(fields, name)) for name in filters.as_dict()})
        if mismatch:
            raise UnrequestedEvent(f"The API returned event {event.uuid}, whose {mismatch}")
    return event


def _parse_fields(record: bytes) -> _Fields:
    try:
        return _decode_fields(record)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"The API returned a record that is not an audit event: {error}") from error


def _event(record: bytes, fields: _Fields) -> Event:
    try:
        timestamp = datetime.fromisoformat(fields.timestamp)
    except ValueError:
        timestamp = None
    if timestamp is None or timestamp.tzinfo is None:
        raise ProtocolError(
            f"Event {fields.uuid} has the timestamp {fields.timestamp!r}, not a date-time with a time zone"
        )
    return Event(timestamp.astimezone(UTC), fields.uuid, msgspec.json.format(record, indent=-1))


class JsonLinesGzip:
    """Writes events to ``file`` as gzip JSON Lines, and keeps what identifies them.

    Use it in a ``with``: the figures are final after it. Memory does not grow with the events.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.count = 0
        self._uuids = hashlib.sha256()
        self._content = hashlib.sha256()
        self._stored = _Hashed(file)
        self._gzip = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=self._stored, mtime=0)

    def __enter__(self) -> JsonLinesGzip:
        return self

    def __exit__(self, *_: object) -> None:
        self._gzip.close()

    def write(self, event: Event) -> None:
        """Append an event."""
        line = event.line + b"\n"
        self._content.update(line)
        self._uuids.update(event.uuid.encode() + b"\n")
        self._gzip.write(line)
        self.count += 1

    @property
    def size(self) -> int:
        """Bytes of the compressed file."""
        return self._stored.size

    @property
    def sha256(self) -> str:
        """SHA-256 of the compressed file, hex."""
        return self._stored.sha256.hexdigest()

    @property
    def content_sha256(self) -> str:
        """SHA-256 of the uncompressed lines, hex."""
        return self._content.hexdigest()

    @property
    def uuids_sha256(self) -> str:
        """SHA-256 of the events' uuids in the file's order, each followed by a line feed, hex."""
        return self._uuids.hexdigest()


class _Hashed:
    """Passes writes on to a file, counting and hashing them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.size += len(data)
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()
