"""Splices texts: finds the values in a JSON text, and what a coded text stands for, each with its place.

Nothing is decoded and encoded again. What is found is replaced by splicing, so that every other byte stays, such as
``1.10``, a repeated key or a lone surrogate. This module knows no credentials, and takes broken JSON as far as it
goes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import AnyStr, NamedTuple, cast
from urllib.parse import quote

import msgspec

Edit = tuple[int, int, str]
"""An edit: the text between two places is replaced by another text."""
ByteEdit = tuple[int, int, bytes]


# JSON.

_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:(?P<comma>,)[ \t\r\n]*+)?(?:(?P<key>"[^"\\]*+(?>(?:\\.[^"\\]*+)*)")[ \t\r\n]*+:[ \t\r\n]*+)?"""
    r"""(?:(?P<string>"[^"\\]*+(?>(?:\\.[^"\\]*+)*)")|(?P<literal>[-+.\w]++)|(?P<open>[{\[])|(?P<cut>"[^"\\]*+(?>(?:\\.[^"\\]*+)*)\\?\Z))"""
    r"""|[ \t\r\n]*+(?P<close>[}\]])""",
    re.DOTALL,
)
_COMMA, _KEY, _STRING, _LITERAL, _OPEN, _CUT, _CLOSE = range(1, 8)


_BEFORE_JSON = re.compile(r"[\s\ufeff]*")


Node = tuple[str | None, int, int, int, "list[Node] | None"]
"""A value: its key or None, where its member or item begins, where it starts and ends, and what is in it.

The last is None of a scalar. A tuple, for speed.
"""
_KEY_STRING = re.compile(r'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"', re.DOTALL)


def parse_json(text: str) -> tuple[list[Node], bool]:
    """Return the values that a text of JSON holds, one after the other, and whether all of it was understood.

    A value that is not closed goes to the text's end.
    """
    roots: list[Node] = []
    above: list[tuple[list[Node], str | None, int, int]] = []
    children, in_object, whole = roots, False, True
    at = cast(re.Match[str], _BEFORE_JSON.match(text)).end()
    for token in _TOKEN.finditer(text, at):
        whole = whole and token.start() == at
        at, kind = token.end(), token.lastindex or 0
        if kind == _CLOSE:
            whole = whole and bool(above) and text[at - 1] == ("}" if in_object else "]")
            if above:
                children, in_object = _closed(text, above, children, at)
            continue
        start = begin = token.start(kind)
        comma, key = token.group(_COMMA, _KEY)
        whole = whole and (key is not None) == in_object and _fits(children, comma, kind, not above)
        name = None
        if key is not None:
            begin, name = token.start(_KEY), plain(key[1:-1])
        if kind == _OPEN:
            above.append((children, name, begin, start))
            children, in_object = [], text[start] == "{"
        else:
            children.append((name, begin, start, at, None))
    whole = whole and not above and not text[at:].strip()
    while above:
        children, in_object = _closed(text, above, children, len(text))
    return roots, whole


def _fits(children: list[Node], comma: str | None, kind: int, is_top: bool) -> bool:
    """Tell whether a value may stand after what is before it: uncut, and with a comma before all but the first.

    Without one, only containers follow each other, as lines of JSON do.
    """
    is_line = is_top and kind == _OPEN and bool(children) and children[-1][4] is not None
    return kind != _CUT and (is_line or (comma is None) != bool(children))


def _closed(
    text: str, above: list[tuple[list[Node], str | None, int, int]], children: list[Node], end: int
) -> tuple[list[Node], bool]:
    """Put what is in a container into what is around it; return that, and whether it is an object."""
    around, name, begin, start = above.pop()
    around.append((name, begin, start, end, children))
    return around, bool(above) and text[above[-1][3]] == "{"


def key_end(text: str, begin: int) -> int:
    """Return where the key ends that begins there, its quotation mark included."""
    return cast(re.Match[str], _KEY_STRING.match(text, begin)).end()


def labelled(text: str, parent: Node, node: Node) -> tuple[list[str], list[Node]]:
    """Return the names and the values of ``["Cookie", …]`` in a list, or of ``{"name": "Cookie", "value": …}``."""
    children = node[4] or []
    if text[node[2]] == "{":
        names = [(child[0] or "").lower() for child in children]
        if "value" not in names:
            return [], []
        labels = [child for child, name in zip(children, names, strict=True) if name in ("name", "key")]
        values = [child for child, name in zip(children, names, strict=True) if name == "value"]
    elif len(children) == 2 and parent[2] >= 0 and text[parent[2]] == "[":
        labels, values = children[:1], children[1:]
    else:
        return [], []
    return [plain(text[start + 1 : end - 1]) for _, _, start, end, _ in labels if text[start] == '"'], values


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _fields_of(line: bytes) -> dict[str, msgspec.Raw] | None:
    """Return a record's fields; None where a field is there twice, or the record is not compact, or broken."""
    try:
        fields = _decode_fields(line)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    # Of a compact record; whatever else is in it adds some.
    size = len("".join(fields).encode()) + 4 * len(fields) + 1 + sum(map(len, fields.values()))
    return fields if size == len(line) else None


def members_of(line: bytes) -> list[tuple[str, int, int, int]]:
    """Return a record's fields: name, where the member begins, where the value starts and ends."""
    end, members = 0, []
    fields = _fields_of(line)
    for name, value in (fields or {}).items():
        begin = end + 1
        start = begin + len(name.encode()) + 3
        end = start + len(bytes(value))
        members.append((name, begin, start, end))
    if fields is not None:
        return members
    roots, _ = parse_json(line.decode("latin-1"))  # in which places are those of bytes
    for key, begin, start, end, _ in (roots and roots[0][4]) or ():
        name = key or ""
        if not name.isascii():
            with suppress(UnicodeError):
                name = name.encode("latin-1").decode()
        members.append((name, begin, start, end))
    return members


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
        outer = self.coded[nearest] + place - self.inner[nearest]
        return min(outer, self.coded[nearest + 1]) if nearest + 1 < len(self.coded) else outer


def _layer(
    text: str,
    pattern: re.Pattern[str],
    decode: Callable[[re.Match[str]], str],
    encode: Callable[[str], str],
    edits: Sequence[Edit] = (),
) -> Layer:
    """Return a text with the edits made, and with each thing that the pattern finds outside of them decoded."""
    parts: list[str] = []
    inner, coded = [0], [0]
    at = place = 0

    def add(start: int, end: int, new: str) -> None:
        nonlocal at, place
        parts.extend((text[at:start], new))
        place += start - at + len(new)
        at = end
        inner.append(place)
        coded.append(at)

    for start, end, new in (*edits, (len(text), len(text), "")):
        for found in pattern.finditer(text, at, start):
            add(*found.span(), decode(found))
        add(start, end, pattern.sub(decode, new))
    return Layer("".join(parts), encode, inner, coded)


_NOTHING = re.compile(r"(?!)")


def edited(text: str, edits: Sequence[Edit]) -> Layer:
    """Return a text with edits made."""
    return _layer(text, _NOTHING, re.Match.group, str, edits)


def unescaped(text: str, edits: Sequence[Edit] = ()) -> Layer:
    """Return what is between the quotes of a JSON string, also of a broken one, with edits made."""
    return _layer(text, ESCAPES, _escape, _escaped, edits) if "\\" in text else Layer(text, _escaped)


def plain(text: str) -> str:
    """Return what is between the quotes of a JSON string, decoded."""
    return unescaped(text).text if "\\" in text else text


def _escape(found: re.Match[str]) -> str:
    code, char = found.groups()
    return _CONTROLS.get(char, char) if char else chr(int(code, 16))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def unpercented(text: str, edits: Sequence[Edit] = ()) -> Layer:
    """Return a form or a URL with edits made in the text that it stands for."""
    return _layer(text.replace("+", " "), PERCENTS, _octets, lambda new: quote(new, safe=""), edits)


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
    """Return the spans to cut so that some members or items go, each with one comma."""
    last = max((place for place in range(len(spans)) if place not in gone), default=-1) if gone else 0
    return [
        (spans[place][0], spans[place + 1][0])
        if place < last
        else (spans[place - 1][1] if place else spans[0][0], spans[place][1])
        for place in sorted(gone)
    ]


_DONE = re.compile(
    r"""(?P<quote>(?<!\\)\\*+"|%(?>(?:25)*)22|)(?:\[|%(?>(?:25)*)5B)redacted(?:\]|%(?>(?:25)*)5D)(?P=quote)""",
    re.IGNORECASE,
)


def merged(text: str, edits: list[Edit]) -> list[Edit]:
    """Return edits of a text that do not overlap: where some do, the first or longest takes all.

    What is redacted already is left as it is.
    """
    kept: list[Edit] = []
    for start, end, new in sorted(edits, key=_order) if len(edits) > 1 else edits:
        if new and (start == end or _DONE.fullmatch(text, start, end)):
            continue
        if kept and start < kept[-1][1]:
            first, last, before = kept[-1]
            kept[-1] = (first, max(last, end), before)
        else:
            kept.append((start, end, new))
    return kept


def is_redacted(value: bytes) -> bool:
    """Tell whether a value's JSON only says that something was removed."""
    return (
        value[1:2] in (b"[", b"%")
        and len(value) < 100
        and _DONE.fullmatch(str(value, "utf-8", "replace")) is not None
    )


def _order(edit: Edit) -> tuple[int, int]:
    return edit[0], -edit[1]


def not_redacted(text: str) -> str:
    """Return a text without its removal marks."""
    return _DONE.sub("", text) if "redacted" in text else text
