"""Splicing texts: what a JSON text holds and where, and what a coded text stands for and where it came from.

Nothing is decoded and encoded again. What is found is replaced by splicing, so that every other byte stays, such as
``1.10``, a repeated key or half a character. This module knows no credentials, and takes broken JSON as far as it
goes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, AnyStr, NamedTuple, cast
from urllib.parse import quote

import msgspec

Edit = tuple[int, int, str]
"""Replace what is between two places by a text."""
States = tuple[dict[str, Any], ...]
"""Where in a tree of paths a walk is; "" leads to the action of a path that ends there."""


# JSON.

_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:(?P<comma>,)[ \t\r\n]*+)?(?:(?P<key>"[^"\\]*+(?>(?:\\.[^"\\]*+)*)")[ \t\r\n]*+:[ \t\r\n]*+)?"""
    r"""(?:(?P<string>"[^"\\]*+(?>(?:\\.[^"\\]*+)*)")|(?P<literal>[-+.\w]++)|(?P<open>[{\[])|(?P<cut>"[^"\\]*+(?>(?:\\.[^"\\]*+)*)\\?\Z))"""
    r"""|[ \t\r\n]*+(?P<close>[}\]])""",
    re.DOTALL,
)
_COMMA, _KEY, _STRING, _LITERAL, _OPEN, _CUT, _CLOSE = range(1, 8)


class Node(msgspec.Struct, gc=False):
    """A value: the key or None, where its member or item begins, where it starts and ends, and what is in it."""

    name: str | None
    begin: int
    start: int
    end: int
    kids: list[Node] | None
    """None in a scalar."""
    states: States = ()
    """Where paths lead to it by another name than its key; a walk notes it."""


def parse_json(text: str) -> tuple[list[Node], bool]:
    """Return the values that a text of JSON holds, one after the other, and whether all of it was understood.

    What is not closed goes to the text's end.
    """
    roots: list[Node] = []
    parents: list[Node] = []
    kids, in_object, at, whole = roots, False, 0, True
    for token in _TOKEN.finditer(text):
        if token.start() != at:
            whole = False
        at, kind = token.end(), token.lastindex or 0
        if kind == _CLOSE:
            if not parents:
                whole = False
                continue
            node = parents.pop()
            node.end = at
            whole = whole and text[at - 1] == ("}" if in_object else "]")
            kids = cast(list[Node], parents[-1].kids) if parents else roots
            in_object = bool(parents) and text[parents[-1].start] == "{"
            continue
        start = begin = token.start(kind)
        comma, key = token.group(_COMMA, _KEY)
        name = None
        if key is not None:
            begin, name = token.start(_KEY), plain(key[1:-1])
        # A comma before all but the first; without one, only containers follow each other, as lines of JSON do.
        if (comma is None) == bool(kids) and (parents or kind != _OPEN or kids[-1].kids is None):
            whole = False
        if (key is not None) != in_object:
            whole = False
        node = Node(name, begin, start, at, None)
        kids.append(node)
        if kind == _OPEN:
            node.kids = kids = []
            parents.append(node)
            in_object = text[start] == "{"
        elif kind == _CUT:
            whole = False
    for node in parents:
        node.end = len(text)
    return roots, whole and not parents and not text[at:].strip()


def labelled(text: str, parent: Node, node: Node) -> tuple[str, Node] | None:
    """Return the name and the value of ``["Cookie", …]`` in a list, or of ``{"name": "Cookie", "value": …}``."""
    kids = node.kids or []
    if text[node.start] == "{":
        named = {kid.name.lower(): kid for kid in kids if kid.name}
        label, value = named.get("name") or named.get("key"), named.get("value")
    elif len(kids) == 2 and parent.start >= 0 and text[parent.start] == "[":
        label, value = kids
    else:
        return None
    if label is None or value is None or text[label.start] != '"':
        return None
    return plain(text[label.start + 1 : label.end - 1]), value


def members_of(line: bytes) -> list[tuple[str, int, int, int]]:
    """Return a record's fields: name, where the member begins, where the value starts and ends."""
    try:
        fields = _decode_fields(line)
    except (msgspec.DecodeError, RecursionError):
        fields = {}
    end, members = 0, []
    for name, value in fields.items():
        begin = end + 1
        start = begin + len(name.encode()) + 3
        end = start + len(memoryview(value))
        members.append((name, begin, start, end))
    if end + 1 == len(line):  # or a name was escaped, or there twice
        return members
    members = []
    roots, _ = parse_json(line.decode("latin-1"))  # in which places are those of bytes
    for node in (roots and roots[0].kids) or ():
        name = node.name or ""
        if not name.isascii():
            with suppress(UnicodeError):
                name = name.encode("latin-1").decode()
        members.append((name, node.begin, node.start, node.end))
    return members


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


# Text within text.

ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
PERCENTS = re.compile(  # a character of UTF-8, or an octet
    r"%[cd][0-9a-f]%[89ab][0-9a-f]|%e[0-9a-f](?:%[89ab][0-9a-f]){2}|%f[0-9a-f](?:%[89ab][0-9a-f]){3}|%[0-9a-f]{2}",
    re.IGNORECASE,
)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class Layer(NamedTuple):
    """A decoded text, and for places in it (sorted) the places in the text that it came from."""

    text: str
    encode: Callable[[str], str]
    inner: Sequence[int] = (0,)
    coded: Sequence[int] = (0,)

    def outer(self, edits: list[Edit]) -> list[Edit]:
        """Return edits of the decoded text as edits of the text that it came from."""
        return [(self._place(start), self._place(end), self.encode(new)) for start, end, new in edits]

    def _place(self, place: int) -> int:
        nearest = bisect_right(self.inner, place) - 1
        return self.coded[nearest] + place - self.inner[nearest]


def _layer(
    text: str, pattern: re.Pattern[str], decode: Callable[[re.Match[str]], str], encode: Callable[[str], str]
) -> Layer:
    """Return a text with each thing that the pattern finds decoded into a character."""
    parts: list[str] = []
    inner, coded = [0], [0]
    at = place = 0
    for found in pattern.finditer(text):
        start, end = found.span()
        parts += text[at:start], decode(found)
        place += start - at + 1
        at = end
        inner.append(place)
        coded.append(at)
    return Layer("".join(parts) + text[at:], encode, inner, coded)


def unescaped(text: str) -> Layer:
    """Return what is between the quotes of a JSON string; also of a broken one."""
    return _layer(text, ESCAPES, _escape, _escaped) if "\\" in text else Layer(text, _escaped)


def plain(text: str) -> str:
    """Return what is between the quotes of a JSON string, decoded."""
    return unescaped(text).text if "\\" in text else text


def _escape(found: re.Match[str]) -> str:
    code, char = found.groups()
    return _CONTROLS.get(char, char) if char else chr(int(code, 16))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def unpercented(text: str) -> Layer:
    """Return what a form or a URL stands for."""
    return _layer(text.replace("+", " "), PERCENTS, _octets, lambda new: quote(new, safe=""))


def _octets(found: re.Match[str]) -> str:
    char = bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "replace")
    return char if len(char) == 1 else "\ufffd"


# Edits.


def spliced(text: AnyStr, edits: list[tuple[int, int, AnyStr]]) -> AnyStr:
    """Return a text with edits made, which are sorted and do not overlap."""
    if not edits:
        return text
    parts, at = [], 0
    for start, end, new in edits:
        parts += [text[at:start], new]
        at = end
    return text[:0].join(parts) + text[at:]


def removals(spans: Sequence[tuple[int, int]], gone: Collection[int]) -> list[tuple[int, int]]:
    """Return what to cut so that some members or items go, each with one comma."""
    last = max((place for place in range(len(spans)) if place not in gone), default=-1) if gone else 0
    return [
        (spans[place][0], spans[place + 1][0])
        if place < last
        else (spans[place - 1][1] if place else spans[0][0], spans[place][1])
        for place in sorted(gone)
    ]
