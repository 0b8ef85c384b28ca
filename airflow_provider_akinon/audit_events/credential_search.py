"""Where credentials are in a field's JSON: in objects, in lists of names and values, in texts within texts.

First a quick look tells most fields that hold none. What it cannot tell is searched: JSON as far as it is whole, and
whatever else as loose text, as it is written and decoded. This module finds places; it replaces nothing. The work is
bounded: what would take more is removed unread.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from airflow_provider_akinon.audit_events.credentials import MARK, harmless, is_card, is_credential, is_suspect
from airflow_provider_akinon.audit_events.loose_text import QUOTED, REDACTED, loose_credentials
from airflow_provider_akinon.audit_events.splicing import (
    ESCAPES,
    PERCENTS,
    Edit,
    Node,
    edited,
    key_end,
    labelled,
    merged,
    not_redacted,
    parse_json,
    unescaped,
    unpercented,
)

_LAYERS = 16  # of text within text; what lies deeper is removed unread
_WORK = 24  # characters to look at for each of a field; what would take more is removed unread
_MAYBE_JSON = re.compile(r"""[{\["]""")
_JSON_IN_FORM = re.compile(r"""=((?:[{\["]|%7B|%5B|%22)[^&\r\n]++)""", re.IGNORECASE)
_decode = msgspec.json.Decoder().decode


def is_harmless(value: bytes | msgspec.Raw) -> bool:
    """Tell whether a field's JSON surely holds no credential; whatever else needs a search."""
    try:
        root = _decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    if type(root) is str:
        return harmless(root)
    quotes = 0
    inside: list[Any] = [root] if type(root) in (dict, list) else []
    for holder in inside:
        if type(holder) is dict:
            if any(map(is_suspect, holder)):
                return False
            quotes += 2 * len(holder)
            holder = holder.values()
        elif len(holder) == 2 and type(holder[0]) is str and is_suspect(holder[0]):
            return False
        for kid in holder:
            if type(kid) is str:
                if MARK.search(kid) and not harmless(kid):
                    return False
                quotes += 2
            elif type(kid) is dict or type(kid) is list:
                inside.append(kid)
    # Of a key that is there twice one value was lost; where a quotation mark is escaped, this cannot tell.
    return not inside or bytes(value).count(b'"') == quotes


class CredentialSearch:
    """A search of one field, again and again until nothing more is found.

    ``doubtful``: something was found in what is no whole JSON, and so another search may find more.
    """

    def __init__(self, text: str) -> None:
        self.doubtful = False
        self._left = _WORK * (len(text) + 100)

    @property
    def exhausted(self) -> bool:
        """Whether all the work is done that a field is worth."""
        return self._left <= 0

    def edits(self, text: str) -> list[Edit]:
        """Return what a field's JSON is to lose."""
        self.doubtful = False
        self._left -= len(text)
        if text[:1] == '"':
            return self._string(text, 0, len(text), None, 0)
        return self._json(text, None, 0)[0]

    def _json(self, text: str, parent: str | None, layer: int) -> tuple[list[Edit], bool]:
        """Return the edits of JSON, and whether it is whole. ``parent``: the name above it."""
        roots, whole = parse_json(text)
        edits: list[Edit] = []
        stack: list[tuple[Node, str | None]] = [((None, 0, -1, len(text), roots), parent)]
        while stack:
            node, parent = stack.pop()
            in_card = parent is not None and is_card(parent)
            for kid in node[4] or ():
                name, begin, start, end, inside = kid
                if name is not None and (in_card or is_suspect(name)):
                    if whole and ("=" in name or name[:1] in ("{", "[")):  # a body that was taken for a key
                        edits += self._string(text, begin, key_end(text, begin), None, layer)
                    if is_credential(name, parent):
                        edits += _removal(text, kid)
                        continue
                under = parent if name is None else name
                if inside is not None:
                    labels, values = labelled(text, node, kid)
                    if any(map(is_credential, labels)):
                        edits += [edit for value in values for edit in _removal(text, value)]
                    stack.append((kid, under))
                elif (
                    whole
                    and MARK.search(text, start + 1, end - 1)
                    and text[start] == '"'
                    and not _is_harmless_text(text[start + 1 : end - 1], under)
                ):
                    edits += self._string(text, start, end, under, layer)
        return merged(text, edits), whole

    def _string(self, text: str, start: int, end: int, parent: str | None, layer: int) -> list[Edit]:
        """Return the edits of what is between the quotes of a JSON string."""
        coded = unescaped(text[start + 1 : end - 1])
        found = self._text(coded.text, parent, layer)
        return [(start + 1 + a, start + 1 + b, new) for a, b, new in coded.outer(found)]

    def _text(self, text: str, parent: str | None, layer: int) -> list[Edit]:
        """Return the edits of a text within a text."""
        if _is_harmless_text(text, parent):
            return []
        self._left -= len(text)
        if layer >= _LAYERS or self._left < 0:
            return merged(text, [(0, len(text), REDACTED)])
        edits, whole = self._json(text, parent, layer + 1) if _MAYBE_JSON.search(text) else ([], False)
        if whole:
            return edits
        edits = merged(text, edits + self._form(text, layer + 1) + loose_credentials(text, parent))
        edits = merged(text, edits + self._coded(text, edits, parent, layer + 1))
        self.doubtful = self.doubtful or bool(edits)
        return edits

    def _form(self, text: str, layer: int) -> list[Edit]:
        """Return the edits of whole JSON in a form."""
        edits: list[Edit] = []
        for found in _JSON_IN_FORM.finditer(text):
            coded = unpercented(found[1])
            inner, whole = self._json(coded.text, None, layer)
            if whole:
                edits += [(found.start(1) + a, found.start(1) + b, new) for a, b, new in coded.outer(inner)]
        return edits

    def _coded(self, text: str, edits: list[Edit], parent: str | None, layer: int) -> list[Edit]:
        """Return the edits of a text whose names may be escaped, beside those that it has."""
        rest = not_redacted(edited(text, edits).text)  # not one layer more of what is redacted
        for pattern, decode in ((PERCENTS, unpercented), (ESCAPES, unescaped)):
            if pattern.search(rest):
                coded = decode(text, edits)
                return coded.outer(self._text(coded.text, parent, layer))
        return []


def _is_harmless_text(text: str, parent: str | None) -> bool:
    return harmless(text) and not (parent is not None and is_card(parent))


def _removal(text: str, value: Node) -> list[Edit]:
    """Return the edit of a credential; null stays."""
    _, _, start, end, _ = value
    return [] if text[start:end] == "null" else [(start, end, QUOTED)]
