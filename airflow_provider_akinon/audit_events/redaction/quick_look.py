"""Finds credentials in whole JSON quickly: cuts many values into pieces, and judges each piece once.

JSON is cut where one string ends and the next begins, at ``","``. Every name and every text then lies in one piece,
so most pieces are harmless by themselves, and the same ones come again and again. This module never guesses: a value
with a piece that does not tell by itself is left to `CredentialSearch`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from typing import TypeVar, cast

import msgspec

from airflow_provider_akinon.audit_events.redaction.credential_names import (
    HARMLESS_NAMES,
    MARKS,
    harmless,
    has_stem,
    is_body,
    is_credential,
    is_suspect,
)
from airflow_provider_akinon.audit_events.redaction.credential_search import CredentialSearch
from airflow_provider_akinon.audit_events.redaction.loose_text import PERCENT_QUOTED, REDACTED
from airflow_provider_akinon.audit_events.redaction.splicing import Edit, is_redacted, merged, spliced

_LAYERS = 4  # of JSON within strings
_SEAM, _WIDE_SEAM = b'","', b'", "'
_EDGE = b"\n"
"""Stands around each value, which holds no other; and once more before a piece that does not tell."""
_BETWEEN = _EDGE + _SEAM + _EDGE

_QUOTE, _BACKSLASH = b"\1", b"\2"
"""Stand for escaped quotation marks and backslashes, so that all quotation marks that are left are JSON's own."""
_UNCUT = b"\3"
"""Stands in the seam after a list's first text, which may be the name of the second, so that it is not cut."""
_CODED = re.compile(rb"[\1\2\3\\]")
_FIRST = re.compile(rb'(\["[^"\n]*+")(?=, ?")')  # never the seam between two values
_SCALAR = re.compile(r"([ \t\r]*+:[ \t\r]*+)([^ \t\r\n,{}\[\]]++)")
_PLAIN_TEXTS = re.compile(rb"(?>(?:(?:https?://)?[^%b\1\2\3\n]*+\n)*)" % re.escape(MARKS.encode()))
"""Texts, each with a line feed after it, that hold no credential, whatever they say."""
_PLAIN_VALUES = re.compile(rb'(?>(?:(?:null|\{\}|"(?:https?://)?[^%b\n]*+")\n)*)' % re.escape(MARKS.encode()))
"""The JSON of values, with a line feed after each, that are such texts, or empty."""
_PLAIN_FORM = re.compile(
    r"((?:(?:https?://[\w.\-]++(?::[0-9]++)?)?/[\w./~%\-]*+\?)?)[\w.~*+%\[\]\-]++=[\w.~*+%\[\]\-=&]*+", re.ASCII
)

_Place = tuple[bytes, bytes, bytes]
"""The place of a text: what a piece holds before its last text, the quotation mark there, and what it holds after it.
"""
_T = TypeVar("_T")

_SHORT = 200
_MOST_REMEMBERED = 4096
"""The most pieces, and places in pieces, of fewer than `_SHORT` bytes that are remembered: as a rule half a megabyte
in all, at most four."""
_harmless_pieces: set[bytes] = set()
_harmless_places: set[_Place] = set()
_places_of_credentials: set[_Place] = set()

_REDACTED = REDACTED.encode()
_require_json = msgspec.json.Decoder(msgspec.Raw).decode
_decode_string = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


class _DoubtError(Exception):
    """A piece does not tell by itself what is a credential."""


_DOUBTS = (_DoubtError, msgspec.DecodeError, UnicodeError)


def redacted(json: bytes) -> bytes:
    """Return a field's JSON without credentials, also where it is broken."""
    return redacted_values([json])[0] if _is_whole(json) else _searched(json)


def are_plain(values: Iterable[bytes]) -> bool:
    """Tell whether fields' JSON are texts that surely hold no credential, or empty; False where it takes a look."""
    return _PLAIN_VALUES.fullmatch(_EDGE.join([*values, b""])) is not None


def redacted_values(values: list[bytes]) -> list[bytes]:
    """Return fields' JSON, all of it whole, without credentials; the same list where it holds none."""
    found = _look(values, CredentialSearch(sum(map(len, values)))) if values else values
    if None not in found:
        return cast(list[bytes], found)
    return [_searched(bytes(old)) if new is None else new for old, new in zip(values, found, strict=True)]


def _searched(json: bytes) -> bytes:
    text = str(json, "utf-8", "surrogateescape")
    return CredentialSearch(len(json)).searched(text).encode("utf-8", "surrogateescape")


def _is_whole(json: bytes) -> bool:
    try:
        _require_json(json)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _look(values: list[bytes], search: CredentialSearch | None, layer: int = 0) -> Sequence[bytes | None]:
    """Return JSON without credentials; None where it has to be searched; ``values`` itself where none holds any.

    ``search``: searches texts; without it, no text may need a search. ``layer``: the number of strings around the
    JSON.
    """
    joined = _EDGE + _BETWEEN.join(values) + _EDGE
    if joined.count(_EDGE) != 2 * len(values):  # JSON may hold line feeds between its tokens
        return [None] if len(values) == 1 else [_look([value], search, layer)[0] for value in values]
    # JSON in a string is often written with spaces.
    seam = _WIDE_SEAM if len(values) == 1 and _WIDE_SEAM in joined else _SEAM
    pieces = _opened(joined).split(seam)
    changed = _changed(set(pieces).difference(_harmless_pieces), search, layer)
    if not changed:
        return values
    joined = _closed(seam.join(map(changed.get, pieces, pieces)))
    found = joined[1:-1].split(_BETWEEN)
    if joined.count(_EDGE) == 2 * len(values):
        return found
    return [None if _EDGE in new else new for new in found]


def _opened(json: bytes) -> bytes:
    """Return JSON in which each quotation mark begins or ends a string; `_closed` undoes it."""
    if b"\\" in json:
        json = json.replace(rb"\\", _BACKSLASH).replace(rb"\"", _QUOTE)
    return _FIRST.sub(rb"\1" + _UNCUT, json) if b"[" in json else json


def _closed(json: bytes) -> bytes:
    return json.replace(_QUOTE, rb"\"").replace(_BACKSLASH, rb"\\").replace(_UNCUT, b"")


def _changed(pieces: Set[bytes], search: CredentialSearch | None, layer: int) -> dict[bytes, bytes]:
    """Return what replaces those of the pieces that hold credentials.

    A piece that does not tell by itself is replaced by itself with an edge before it.
    """
    changed: dict[bytes, bytes] = {}
    texts: dict[bytes, bytes] = {}
    others: list[bytes] = []
    for piece in pieces:
        # Mostly its last text is new, and stands in a place that is known.
        head, quote, text = piece.rpartition(b'"')
        tail = b""
        if text[-1:] == _EDGE:
            tail = quote + text
            head, quote, text = head.rpartition(b'"')
        place = head, quote, tail
        if place in _harmless_places:
            texts[piece] = text
            continue
        if place in _places_of_credentials:
            if text[:1] not in (b"[", b"%"):  # else it may be redacted already
                changed[piece] = head + quote + _REDACTED + tail
                continue
        elif b":" not in tail and head.rstrip()[-1:] != b"[":  # else it is a name
            _learn(place)
        others.append(piece)
    if not _are_plain(texts.values()):
        others += [piece for piece, text in texts.items() if not _are_plain([text])]
    for piece in others:
        new = _renewed(piece, search, layer)
        if new != piece:
            changed[piece] = new
    return changed


def _are_plain(texts: Iterable[bytes]) -> bool:
    return _PLAIN_TEXTS.fullmatch(_EDGE.join([*texts, b""])) is not None


def _renewed(piece: bytes, search: CredentialSearch | None, layer: int) -> bytes:
    """Return a piece without credentials; with an edge before it where it does not tell by itself."""
    try:
        new = _judged(piece, search, layer)
    except _DOUBTS:
        return _EDGE + piece
    if new == piece and len(piece) < _SHORT:
        _remember(piece, _harmless_pieces)
    return new


def _learn(place: _Place) -> None:
    """Remember whether a text in this place is a credential."""
    head, quote, tail = place
    empty = head + quote + tail
    if len(empty) >= _SHORT:
        return
    try:
        judged = _judged(empty, None, 0)
    except _DOUBTS:
        return
    if judged == empty:
        _remember(place, _harmless_places)
    elif judged == head + quote + _REDACTED + tail:
        _remember(place, _places_of_credentials)


def _remember(new: _T, known: set[_T]) -> None:
    if len(known) >= _MOST_REMEMBERED:
        known.pop()
    known.add(new)


def _judged(piece: bytes, search: CredentialSearch | None, layer: int) -> bytes:
    """Return a piece without credentials.

    :raises _DoubtError: it does not tell by itself.
    :raises msgspec.DecodeError, UnicodeError: a string is not what it should be.
    """
    parts = piece.decode().split('"')
    first, ends = piece.startswith(_EDGE), piece.endswith(_EDGE)
    if (len(parts) - first - ends) % 2 == 0:  # a string that is only a comma was cut
        raise _DoubtError
    is_coded = _CODED.search(piece) is not None
    for at in range(first, len(parts) - ends, 2):
        old = b'"%b"' % _closed(parts[at].encode()) if is_coded else b""
        text = _decode_string(old) if is_coded else parts[at]
        after = parts[at + 1] if at + 1 < len(parts) else ","
        if ":" in after:
            if text not in HARMLESS_NAMES:
                _take_value(parts, at + 1, text)
        elif at and parts[at - 1].rstrip()[-1:] == "[" and is_credential(text):
            _take_second(parts, at, text)
        elif text != REDACTED and not harmless(text):
            new = _new_text(text, old or b'"%b"' % text.encode(), search, layer)
            parts[at] = _opened(new)[1:-1].decode()
    return '"'.join(parts).encode()


def _take_value(parts: list[str], after: int, name: str) -> None:
    """Take out the scalar after a name that says that it is a credential."""
    if not is_credential(name) or is_body(name):
        if is_suspect(name):
            raise _DoubtError
        return
    if parts[after].strip() == ":":
        _take(parts, after + 1)
        return
    value = _SCALAR.match(parts[after])
    if not value:
        raise _DoubtError
    if value[2] != "null":
        parts[after] = f'{value[1]}"{REDACTED}"{parts[after][value.end() :]}'


def _take_second(parts: list[str], at: int, name: str) -> None:
    """Take out the second text of a list in a list, where the first says that it is a credential."""
    around = parts[at - 1 : at + 4 : 2]
    is_pair = (
        len(around) == 3
        and around[0].endswith(("[[", ",["))
        and around[1].rstrip() == _UNCUT.decode() + ","
        and around[2].startswith("]")
    )
    if not is_pair or not harmless(name):
        raise _DoubtError
    _take(parts, at + 2)


def _take(parts: list[str], at: int) -> None:
    if not is_redacted(b'"%b"' % _closed(parts[at].encode())):
        parts[at] = REDACTED


def _new_text(text: str, old: bytes, search: CredentialSearch | None, layer: int) -> bytes:
    """Return the JSON of a text without credentials. ``old``: as it is written."""
    if _encode(text) == old:
        if text[0] in "{[" and layer < _LAYERS and _is_whole(inner := text.encode()):
            new = _look([inner], None, layer + 1)[0]
            if new is not None:
                return _encode(new.decode())
        form = _form_edits(text)
        if form is not None:
            return _encode(spliced(text, form))
    if search is None or len(old) >= _SHORT:  # which may take long, and is not remembered
        raise _DoubtError
    found = search.searched(old.decode())
    if search.is_spent:
        raise _DoubtError
    return found.encode()


def _form_edits(text: str) -> list[Edit] | None:
    """Return the edits of a form, or of a URL with a query; None where its names are not plain."""
    found = _PLAIN_FORM.fullmatch(text)
    if not found or has_stem(found[1].removeprefix("https:").removeprefix("http:")):
        return None
    edits: list[Edit] = []
    start = found.end(1)
    for pair in text[start:].split("&"):
        end = start + len(pair)
        if has_stem(pair):
            name, _, value = pair.partition("=")
            if not is_credential(name) or not value.strip("="):
                return None
            edits.append((end - len(value), end, PERCENT_QUOTED))
        start = end + 1
    return merged(text, edits)
