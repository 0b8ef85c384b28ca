"""Compares an event with its stored record: which fields differ, and whether the difference means anything.

The API gives the ``user`` as of today, not as of the moment of the event, so the same event may have another ``user``
later; only another ``pk`` means another person. Another order of keys, another notation of the same instant, and an
instant cut to fewer digits are no difference. This module compares records; it knows no archive.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from airflow_provider_akinon.audit_events.model import members, raw_members
from airflow_provider_akinon.audit_events.redaction import HMAC_MARK, REDACTED

DOCUMENTED = frozenset(
    [
        "content",
        "content_type",
        "headers",
        "object_id",
        "post_data",
        "query_params",
        "remote_addr",
        "timestamp",
        "url",
        "user",
        "uuid",
    ]
)
"""The fields of an event in Akinon's document of the API; others may come at any time."""

_LONGEST_NAME = 200
_NULL = b"null"
_MARK = re.compile(re.escape(REDACTED).encode() + rb"|%(?:25)*5Bredacted%(?:25)*5D|" + HMAC_MARK, re.IGNORECASE)
_FRACTION = re.compile(r"(?<=:[0-9]{2})\.([0-9]+)")


class Verdict(Enum):
    """The result of comparing an event."""

    SAME = "same"
    USER_MOVED = "user_moved"
    CHANGED = "changed"
    NOT_COMPARED = "not_compared"


class Compared(NamedTuple):
    """An event beside its stored record."""

    verdict: Verdict
    fields: tuple[str, ...] = ()
    """The fields that changed, such as ``url`` or ``user.pk``, in alphabetical order."""
    has_new_fields: bool = False
    """Whether the event now has undocumented fields that are not stored."""


SAME = Compared(Verdict.SAME)

_Value = bytes | msgspec.Raw


def compare(stored: bytes, now: bytes, *, marks: bool = False) -> Compared:
    """Compare the record of an event that is stored with the one that the API gives now.

    :param marks: leave out fields in which either side has a mark of redaction, which may have removed more, or less,
        when the event was stored.
    """
    if stored == now:
        return SAME
    before, after = raw_members(stored), raw_members(now)
    came = after.keys() - before.keys()
    differing = {name for name, raw in before.items() if raw != after.get(name)} | (came & DOCUMENTED)
    verdicts = {name: _verdict(name, before.get(name), after.get(name), marks=marks) for name in differing}
    fields = [_told(name) for name, verdict in verdicts.items() if verdict is Verdict.CHANGED]
    # A change says more than a field that could not be compared, and that more than what the API knows of the user.
    found = (Verdict.CHANGED, Verdict.NOT_COMPARED, Verdict.USER_MOVED)
    worst = next((verdict for verdict in found if verdict in verdicts.values()), Verdict.SAME)
    return Compared(worst, tuple(sorted(fields)), has_new_fields=not came <= DOCUMENTED)


def _verdict(name: str, before: _Value | None, after: _Value | None, *, marks: bool) -> Verdict:
    """Compare one field of an event, None where a side does not have it."""
    here, there = None if before is None else bytes(before), None if after is None else bytes(after)
    if here is not None and there is not None and (here == there or _is_same(name, here, there)):
        return Verdict.SAME
    if marks and (_has_mark(here) or _has_mark(there)):
        return Verdict.NOT_COMPARED
    if name != "user":
        return Verdict.CHANGED
    is_another = _pk(here) != _pk(there) and not (_is_removed(here) and _is_removed(there))
    return Verdict.CHANGED if is_another else Verdict.USER_MOVED


def _told(name: str) -> str:
    """Return the name of a changed field. Of ``user``, only a change of the person counts."""
    if name == "user":
        return "user.pk"
    return name if len(name) <= _LONGEST_NAME else _shortened(name)


def _is_same(name: str, here: bytes, there: bytes) -> bool:
    if name == "timestamp":
        return _is_same_instant(here, there)
    # The same few people do most of the work.
    return (_is_same_user if name == "user" else _is_same_json)(here, there)


def _is_same_json(here: bytes, there: bytes) -> bool:
    """Tell whether two JSON texts mean the same; the order of keys does not count."""
    if here[:1] != there[:1] or here[:1] not in b'{["':
        return False
    try:
        # Values that even Python finds different do differ: that is the usual case, and soon seen.
        if msgspec.json.decode(here) != msgspec.json.decode(there):
            return False
    except (msgspec.DecodeError, RecursionError):  # as of a lone surrogate
        pass
    try:
        return bool(_read(here.decode()) == _read(there.decode()))
    except RecursionError:
        return False


_is_same_user = lru_cache(maxsize=256)(_is_same_json)


def _is_same_instant(here: bytes, there: bytes) -> bool:
    """Tell whether two timestamps name the same instant, to the digits of the shorter one."""
    texts = [str(json.loads(text)).upper() for text in (here, there)]  # RFC 3339 allows t and z
    digits = [found[1] if (found := _FRACTION.search(text)) else "" for text in texts]
    least = min(map(len, digits))
    cut = [_FRACTION.sub(f".{each[:least]:0<6.6}", text) for text, each in zip(texts, digits, strict=True)]
    first, second = map(datetime.fromisoformat, cut)
    return first.tzinfo is not None and second.tzinfo is not None and first == second


@lru_cache(maxsize=256)
def _pk(user: bytes | None) -> bytes | None:
    """Return the value that identifies a user; None if there is none."""
    if user is None or user == _NULL:
        return None
    pk = members(user).get("pk") if user[:1] == b"{" else user
    return None if pk == _NULL else pk


def _is_removed(user: bytes | None) -> bool:
    """Tell whether redaction removed, or made a pseudonym of, a whole user: then nothing tells who it is."""
    return user is not None and user[:1] == b'"' and _has_mark(user)


def _has_mark(value: bytes | None) -> bool:
    return value is not None and _MARK.search(value) is not None


def _shortened(name: str) -> str:
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name[: _LONGEST_NAME // 2]}…{digest[:16]}"


class _Number(NamedTuple):
    """A number as it is written: Python would hold 1 and true, and 1 and 1.0, for equal, and shorten 1.10."""

    text: str


def _constant(text: str) -> Any:
    return _Number(text)


_read = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_constant).decode
