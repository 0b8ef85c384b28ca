"""Identifies a record that cannot be read, by its brackets and texts alone, which needs no recursion.

A record may be nested deeper than Python can follow, or hold a ``NaN``, which JSON does not know. This module refuses
to name a record of an incomplete answer, which may have broken off on the way, or of one that is too long to be
searched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from airflow_provider_akinon.audit_events.errors import UnreadableRecord
from airflow_provider_akinon.audit_events.foreign_text import shown

_MOST_LOOKED_INTO = 8 << 20
_LEVELS = 3
"""The levels of a page that are looked at: the page itself, its results, and the records."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[][{}]', re.DOTALL)
_MEMBER = re.compile(rb'"(uuid|timestamp)"\s*:\s*"((?:[^"\\]|\\.){1,64})"')


def require_readable(body: bytes, read: Callable[[bytes], object], *, is_page: bool) -> None:
    """Make sure that ``read`` can read each record of a complete body, which is a page or a single record.

    :raises UnreadableRecord: it cannot read one; the first such record is named.
    """
    for place, span in enumerate(_records(body) if is_page else [slice(None)] if _is_whole(body) else (), 1):
        try:
            read(body[span])
        except (msgspec.DecodeError, RecursionError) as error:
            raise unreadable(body[span], place if is_page else None, error) from error


def unreadable(record: bytes, place: int | None, error: BaseException) -> UnreadableRecord:
    """Return the error of a record that cannot be read: which record, why, and what to do.

    :param place: the record's number in its page, from 1 on; None for a single record.
    """
    said = _own_members(record)
    uuid = said.get("uuid")
    name = f"event {shown(uuid)}" if uuid else "a record without a uuid"
    when = f" of {shown(said['timestamp'])}" if "timestamp" in said else ""
    where = "" if place is None else f", number {place} of its page"
    why = "it is nested too deeply" if isinstance(error, RecursionError) else shown(str(error))
    return UnreadableRecord(
        f"The API returned {name}{when}{where}, which cannot be read as an audit event: {why}. Nothing was written. "
        "Tell Akinon to mend it. The time before and after it can be exported until then, in windows without it.",
        uuid=uuid,
    )


def _is_whole(body: bytes) -> bool:
    *_, last = [None, *_spans(body)]
    return last is not None and last[0] == 0


def _records(page: bytes) -> list[slice]:
    """Return the positions of a page's records; an empty list where the page is incomplete."""
    found = list(_spans(page))
    if not found or found[-1][0] != 0:
        return []
    return [span for depth, span in found if depth == _LEVELS - 1]


def _spans(text: bytes) -> Iterator[tuple[int, slice]]:
    """Yield depth and position of each object and list no deeper than a record, in the order of their ends."""
    starts: list[int] = []
    depth = 0
    for token in _TOKEN.finditer(text) if len(text) <= _MOST_LOOKED_INTO else ():
        kind = token[0][:1]
        if kind in (b"[", b"{"):
            if depth < _LEVELS:
                starts.append(token.start())
            depth += 1
        elif kind != b'"':
            depth -= 1
            if depth < 0:
                return
            if depth < _LEVELS:
                yield depth, slice(starts.pop(), token.end())


def _own_members(record: bytes) -> dict[str, str]:
    """Return the uuid and the timestamp among a record's own members, where they are short texts."""
    found: dict[str, str] = {}
    text, depth = record[:_MOST_LOOKED_INTO], 0
    for token in _TOKEN.finditer(text):
        kind = token[0][:1]
        if kind != b'"':
            depth += 1 if kind in (b"[", b"{") else -1
        elif depth == 1 and (member := _MEMBER.match(text, token.start())):
            found[member[1].decode()] = member[2].decode(errors="replace")
    return found
