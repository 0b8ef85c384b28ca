"""Finds credentials in whole JSON quickly, by its names and texts once it is decoded.

Most fields hold no credential, or a few under plain names. Their places are found by the way in which JSON writes the
names. This module never guesses: where it cannot tell a place for certain, it leaves the JSON to `CredentialSearch`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import filterfalse, pairwise
from typing import Any

import msgspec

from airflow_provider_akinon.audit_events.redaction.credential_names import (
    HARMLESS_NAMES,
    HARMLESS_TEXTS,
    harmless,
    has_stem,
    is_body,
    is_credential,
    is_suspect,
)
from airflow_provider_akinon.audit_events.redaction.credential_search import CredentialSearch
from airflow_provider_akinon.audit_events.redaction.loose_text import PERCENT_QUOTED, QUOTED
from airflow_provider_akinon.audit_events.redaction.splicing import (
    ByteEdit,
    Edit,
    is_redacted,
    merged,
    spliced,
    start_of,
)

_FEW = 32  # names and texts that are found one by one
_LAYERS = 4  # of JSON within strings
_SCALAR = re.compile(
    rb"""[ \t\r\n]*+("[^"\\]*+(?>(?:\\.[^"\\]*+)*)"|[^"\s\[{,}\]]++)(?P<last>[ \t\r\n]*+\])?""", re.DOTALL
)
_PLAIN_FORM = re.compile(
    r"((?:(?:https?://[\w.\-]++(?::[0-9]++)?)?/[\w./~%\-]*+\?)?)[\w.~*+%\[\]\-]++=[\w.~*+%\[\]\-=&]*+", re.ASCII
)
_COLON = re.compile(rb"[ \t\r\n]*+:")
_QUOTED = QUOTED.encode()
_NOTHING: tuple[list[bytes], list[str]] = ([], [])
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def redacted(json: bytes) -> bytes:
    """Return a field's JSON without credentials, also where it is broken."""
    found = _look(json, _decoded(json))
    search = CredentialSearch(len(json))
    edits = found and _edits(json, *found, search)
    if edits is not None:
        return spliced(json, edits)
    return search.searched(str(json, "utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def edits_of_fields(fields: dict[str, msgspec.Raw], names: tuple[str, ...]) -> list[ByteEdit]:
    """Return the edits that take the credentials out of the fields of these names in a compact record."""
    # All at once, as most hold none.
    values = [*filter(None, map(fields.get, names))]
    json = b"[%b]" % b",".join(values)
    roots = _decoded(json)
    found = _look(json, roots and roots[0])
    if found is _NOTHING:
        return []
    search = CredentialSearch(len(json))
    edits = found and _edits(json, *found, search)
    if edits is None or search.is_spent:
        edits = _edits_of_each(values)
    moved: list[ByteEdit] = []
    begin = 1
    for name in filter(fields.__contains__, names):
        end = begin + len(fields[name])
        for start, stop, new in edits:
            if begin <= start < end:
                move = start_of(fields, name) - begin
                moved.append((start + move, stop + move, new))
        begin = end + 1
    return sorted(moved)


def _edits_of_each(values: list[msgspec.Raw]) -> list[ByteEdit]:
    """Return the edits of fields' JSON, one after the other, as these stand in a list."""
    edits: list[ByteEdit] = []
    begin = 1
    for value in map(bytes, values):
        end = begin + len(value)
        new = redacted(value)
        if new != value:
            edits.append((begin, end, new))
        begin = end + 1
    return edits


def _decoded(json: bytes) -> list[Any] | None:
    """Return what JSON says, as the one item of a list; None where it is broken or too deep."""
    try:
        return [_decode(json)]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _look(json: bytes, roots: list[Any] | None) -> tuple[list[bytes], list[str]] | None:
    """Return the marks before the credentials in JSON, and the texts that may hold some; None where it cannot tell.

    ``roots``: the decoded JSON, as `_decoded` returns it.
    """
    if roots is None:
        return None
    marks: list[bytes] = []
    texts: list[str] = []
    # Decoding loses a value of a key that is there twice, and with it quotation marks.
    if _collected(roots, marks, texts) != _quotes(json) or len(marks) + len(texts) > _FEW:
        return None
    return (marks, texts) if marks or texts else _NOTHING


def _edits(
    json: bytes, marks: list[bytes], texts: list[str], search: CredentialSearch | None, layer: int = 0
) -> list[ByteEdit] | None:
    """Return the edits that take the credentials out of JSON; None where it has to be searched.

    ``search``: searches the JSON's texts; without it, no text may need a search. ``layer``: the number of strings
    around the JSON.
    """
    taken = _taken(json, marks)
    replaced = _replaced(json, texts, search, layer) if texts else []
    if taken is None or replaced is None:
        return None
    edits = sorted(taken + replaced)
    if taken and replaced and any(end > start for (_, end, _), (start, _, _) in pairwise(edits)):
        return None  # what was taken for a text is a credential's value; the text is written in another way elsewhere
    return edits


def _quotes(json: bytes) -> int:
    """Return how many quotation marks begin or end a string."""
    if b"\\" not in json:
        return json.count(b'"')
    unslashed = json.replace(rb"\\", b"")
    return unslashed.count(b'"') - unslashed.count(rb"\"")


def _collected(roots: list[Any], marks: list[bytes], texts: list[str]) -> int | None:
    """Collect the marks before credentials, and texts that may hold some; return the number of quotation marks seen.

    Return None where a name says of more than one scalar that it is a credential: of all below it, or beside it.
    """
    quotes = 0
    inside: list[Any] = [roots]
    for holder in inside:
        children: Iterable[Any] = holder
        if type(holder) is dict:
            quotes += 2 * len(holder)
            if not HARMLESS_NAMES.issuperset(holder):
                strings = _under_names(holder, marks)
                if strings is None:
                    return None
                quotes += 2 * strings
            children = holder.values()
        for child in children:
            if type(child) is str:
                quotes += 2
                if child not in HARMLESS_TEXTS and not harmless(child):
                    texts.append(child)
            elif type(child) is dict:
                inside.append(child)
            elif type(child) is list:
                strings = _beside_name(child, marks, inside, is_item=type(holder) is list and holder is not roots)
                if strings is None:
                    return None
                quotes += 2 * strings
    return quotes


def _under_names(members: dict[str, Any], marks: list[bytes]) -> int | None:
    """Take the credentials out of an object, and note their keys; return how many were strings."""
    strings = 0
    for name in [*filterfalse(HARMLESS_NAMES.__contains__, members)]:
        if is_credential(name):
            value = members.pop(name)
            if type(value) is dict or type(value) is list or is_body(name):
                return None
            marks.append(_encode(name) + b":")
            strings += type(value) is str
        elif is_suspect(name):
            return None
    return strings


def _beside_name(items: list[Any], marks: list[bytes], inside: list[Any], *, is_item: bool) -> int | None:
    """Note the name in ``["Cookie", …]``, and return how many strings it holds; add any other list to ``inside``.

    ``is_item``: whether it is in a list.
    """
    if len(items) != 2 or type(items[0]) is not str or not is_suspect(items[0]):
        inside.append(items)
        return 0
    name, value = items
    if not is_item or type(value) is dict or type(value) is list or not is_credential(name) or not harmless(name):
        return None
    marks.append(b"[" + _encode(name) + b",")
    return 1 + (type(value) is str)


def _taken(json: bytes, marks: list[bytes]) -> list[ByteEdit] | None:
    """Return the edits that take out the scalars after marks; None where the JSON writes the marks in another way."""
    edits: list[ByteEdit] = []
    for mark in set(marks):
        ends = _ends(json, mark)
        if len(ends) != marks.count(mark):
            return None
        for end in ends:
            value = _SCALAR.match(json, end)
            if not value or (mark[:1] == b"[" and not value["last"]):
                return None
            if value[1] != b"null" and not is_redacted(value[1]):
                edits.append((*value.span(1), _QUOTED))
    return edits


def _replaced(json: bytes, texts: list[str], search: CredentialSearch | None, layer: int) -> list[ByteEdit] | None:
    """Return the edits of texts; None where the JSON does not write them in the usual way."""
    edits: list[ByteEdit] = []
    for text in set(texts):
        old = _encode(text)
        ends = _ends(json, old)
        new = _new_text(text, old, search, layer)
        if new is None or len(ends) != texts.count(text) or any(_COLON.match(json, end) for end in ends):
            return None
        edits += [(end - len(old), end, new) for end in ends if new != old]
    return edits


def _new_text(text: str, old: bytes, search: CredentialSearch | None, layer: int) -> bytes | None:
    """Return the JSON of a text without credentials; None where it has to be searched, and there is no ``search``."""
    if text[0] in "{[" and layer < _LAYERS:
        inner = text.encode()
        found = _look(inner, _decoded(inner))
        edits = found and _edits(inner, *found, None, layer + 1)
        if edits is not None:
            return _encode(spliced(inner, edits).decode())
    form = _form_edits(text)
    if form is not None:
        return _encode(spliced(text, form))
    return search.searched(old.decode()).encode() if search else None


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


def _ends(json: bytes, written: bytes) -> list[int]:
    """Return the end of each place where ``written`` stands and its first quotation mark is not escaped."""
    ends = []
    at = json.find(written)
    while at >= 0:
        if json[at - 1 : at] != b"\\":
            ends.append(at + len(written))
        at = json.find(written, at + len(written))
    return ends
