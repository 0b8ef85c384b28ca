"""Reads pages and records from answers of the API, each on one line, and checks them against what was asked for.

Only white space between tokens is removed. Each record is checked, since an API of this kind ignores a parameter that
it does not know. This module refuses counts that are no numbers of events, and records whose ``uuid`` is no UUID of
36 characters. The error of a record that cannot be read gives its uuid and timestamp, where it has them.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from datetime import timedelta
from functools import cache, partial
from typing import Annotated

import msgspec

from airflow_provider_akinon.audit_events.errors import ProtocolError, UnreadableRecord, UnrequestedEvent
from airflow_provider_akinon.audit_events.foreign_text import shown
from airflow_provider_akinon.audit_events.model import (
    LONE_SURROGATE,
    MINUTE,
    STAND_IN,
    UUID,
    Event,
    Filters,
    Window,
    format_instant,
    parse_event,
    parse_events,
    require_readable,
    shown_unit,
    tolerant,
)

MOST_EVENTS = 2**53
"""The highest count that is accepted: beyond it, not every reader of JSON tells two numbers apart."""

_UUID = re.compile(UUID)


class Page(msgspec.Struct, frozen=True):
    """A page of events: how many match in all, and the records of this page, each on one line."""

    count: Annotated[int, msgspec.Meta(ge=0, le=MOST_EVENTS)]
    results: list[msgspec.Raw]


class _Identified(msgspec.Struct, frozen=True):
    """A record whose uuid, and so the record itself, has at least the length that it needs."""

    uuid: Annotated[str, msgspec.Meta(min_length=36)]


class _RawPage(msgspec.Struct, frozen=True):
    results: msgspec.Raw


_decode_page = msgspec.json.Decoder(Page).decode
_decode_raw_page = msgspec.json.Decoder(_RawPage).decode
_decode_identified = msgspec.json.Decoder(list[_Identified]).decode
_MANY = 1_000_000


def parse_page(body: bytes) -> Page:
    """Return the page that an answer's body holds.

    :raises msgspec.DecodeError: it is not the API's JSON.
    :raises UnicodeDecodeError: it is not UTF-8, which the decoder does not check in parts that it skips.
    :raises UnreadableRecord: it is whole, and one of its records is not JSON, or nested too deeply.
    """
    page = _compacted(body, is_page=True)
    _require_records(page)
    try:
        return _decode_page(page)
    except msgspec.DecodeError:
        if not LONE_SURROGATE.search(page):
            raise
        clean = LONE_SURROGATE.sub(lambda _: STAND_IN, page)
        found = _decode_page(clean)
        records, place = [], 0
        for record in map(bytes, found.results):
            place = clean.index(record, place)
            records.append(msgspec.Raw(page[place : place + len(record)]))
            place += len(record)
        return Page(found.count, records)


def _require_records(page: bytes) -> None:
    """Make sure that the items are records: millions of items of two bytes each would take gigabytes.

    :raises msgspec.DecodeError: they are not.
    """
    if len(page) < _MANY or page.count(b",") < _MANY:
        return
    results = bytes(tolerant(_decode_raw_page, page).results)
    if results.count(b",") >= _MANY:
        tolerant(_decode_identified, results)


def parse_record(body: bytes) -> bytes:
    """Return the record of an event that an answer's body holds, on one line.

    :raises msgspec.DecodeError: it is not JSON.
    :raises UnicodeDecodeError: it is not UTF-8.
    :raises ProtocolError: see `parse_requested_events`.
    """
    event = parse_event(_compacted(body, is_page=False))
    _require_uuid(event)
    return event.line


class _Filtered(msgspec.Struct, frozen=True):
    """The fields of a record that the API can filter by."""

    user: msgspec.Raw = msgspec.Raw(b"null")
    content_type: msgspec.Raw = msgspec.Raw(b"null")
    object_id: msgspec.Raw = msgspec.Raw(b"null")


_decode_filtered = msgspec.json.Decoder(_Filtered).decode
_DECODED = 16 * 1024
"""Bytes of a body that are decoded at a time, to see whether they are UTF-8."""
_MOST_FILTERED = 64 * 1024
"""Bytes of a field that is compared with a filter: a user is an object of some fields."""


def parse_requested_events(page: Page, window: Window, filters: Filters, unit: timedelta = MINUTE) -> list[Event]:
    """Return the events of a page, each checked against what was asked for.

    :param unit: the most by which the API may have cut the times that it shows.

    :raises ProtocolError: see `parse_event`; or a uuid is not a UUID in its usual form.
    :raises UnrequestedEvent: one lies outside ``window``, or does not match ``filters``.
    """
    try:
        events = parse_events([bytes(record) for record in page.results])
    except UnreadableRecord as error:
        raise error.asked_for(str(window)) from error
    asked = filters.as_dict()
    start, end = window.start, window.end
    resolution = cache(lambda: min(unit, shown_unit(event.timestamp for event in events)))
    if not all(map(_UUID.fullmatch, [event.uuid for event in events])):
        for event in events:
            _require_uuid(event)
    outside = [event for event in events if not start <= event.timestamp < end]
    for event in outside:
        if not window.contains(event.timestamp, resolution()):
            raise UnrequestedEvent(
                f"The API returned event {event.uuid} of {format_instant(event.timestamp)}, "
                f"outside the window {window} that was asked for"
            )
    for event in events if asked else ():
        mismatch = filters.mismatch(_filtered(event, asked))
        if mismatch:
            raise UnrequestedEvent(f"The API returned event {event.uuid}, whose {shown(mismatch)}")
    return events


def _filtered(event: Event, asked: Iterable[str]) -> dict[str, object]:
    """Return the fields of an event that are asked for, decoded.

    :raises ProtocolError: one is not what such a field may be.
    """
    try:
        fields = tolerant(_decode_filtered, event.line)
        values = {name: bytes(getattr(fields, name)) for name in asked}
        if any(len(value) > _MOST_FILTERED for value in values.values()):
            raise ValueError("it is too large")
        return {name: tolerant(msgspec.json.decode, value) for name, value in values.items()}
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(
            f"The API returned event {event.uuid} with a user, content_type or object_id that is none: "
            f"{shown(str(error))}"
        ) from error


def _require_uuid(event: Event) -> None:
    if not _UUID.fullmatch(event.uuid):
        raise ProtocolError(
            f"The API returned an event whose uuid '{shown(event.uuid)}' is not a UUID of 36 characters, by which "
            "events are told apart. Check Host"
        )


def without_mark(body: bytes) -> bytes:
    """Return ``body`` without a byte order mark, which some servers write before JSON."""
    return body.removeprefix(codecs.BOM_UTF8)


def _require_utf8(body: bytes) -> None:
    """Raise UnicodeDecodeError where ``body`` is not UTF-8; in pieces, as all of its text would double the memory."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    for start in range(0, len(body), _DECODED):
        decode(body[start : start + _DECODED])
    decode(b"", final=True)


def _compacted(body: bytes, *, is_page: bool) -> bytes:
    """Return the JSON of an answer's body on one line; raises the errors of `parse_page`."""
    body = without_mark(body)
    _require_utf8(body)
    try:
        return tolerant(_compact, body)
    except (msgspec.DecodeError, RecursionError):
        require_readable(body, partial(tolerant, _compact), is_page=is_page)
        raise


def _compact(record: bytes) -> bytes:
    return msgspec.json.format(record, indent=-1)
