"""Finds credentials in any JSON: in objects, in lists of names and values, in texts within texts.

It searches JSON as far as it is whole, and all else as loose text, both as it is written and decoded. The work is
bounded: what would take more is removed unread. This module does not hurry; most fields never come here.
"""

from __future__ import annotations

import re

from airflow_provider_akinon.audit_events.redaction.credential_names import (
    harmless,
    has_mark,
    is_body,
    is_card,
    is_credential,
    is_suspect,
)
from airflow_provider_akinon.audit_events.redaction.loose_text import QUOTED, REDACTED, loose_credentials
from airflow_provider_akinon.audit_events.redaction.splicing import (
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
    spliced,
    unescaped,
    unpercented,
)

_LAYERS = 16  # of text within text; what lies deeper is removed unread
_WORK, _MORE_WORK = 12, 100_000  # characters to look at: for each character of a field, and for any field
_LEAST_WORK = 700_000  # some kilobytes of forms within forms take as much; what would take more is removed unread
_TEXT, _MARK, _EDIT = 300, 20, 30  # characters that take as long as a text does, a colon or equals sign, or an edit
_MAYBE_JSON = re.compile(r"""[{\["]""")
_JSON_IN_FORM = re.compile(r"""=((?:[{\["]|%7B|%5B|%22)[^&\r\n]++)""", re.IGNORECASE)


class CredentialSearch:
    """Searches one field within bounds: after as much work as the field's size allows, it removes the rest."""

    def __init__(self, size: int) -> None:
        self._left = max(_LEAST_WORK, _MORE_WORK + _WORK * size)

    @property
    def is_spent(self) -> bool:
        """Whether all work is done, so that something may have been removed unread."""
        return self._left <= 0

    def searched(self, text: str) -> str:
        """Return a value's JSON without the credentials that are found in it as a text, also where it is broken."""
        while self._left > 0:
            self._again = False
            edits = self._string(text, 0, len(text), None, 0) if text[:1] == '"' else self._json(text, None, 0)[0]
            before, text = text, spliced(text, edits)
            if text == before or not self._again:
                return text
        return QUOTED

    def _json(self, text: str, parent: str | None, layer: int) -> tuple[list[Edit], bool]:
        """Return the edits of JSON, and whether it is whole. ``parent``: the name above it."""
        self._left -= len(text)
        roots, whole = parse_json(text)
        edits: list[Edit] = []
        stack: list[tuple[Node, str | None]] = [((None, 0, -1, len(text), roots), parent)]
        while stack:
            node, parent = stack.pop()
            in_card = parent is not None and is_card(parent)
            for child in node[4] or ():
                name, begin, start, end, inside = child
                under = parent if name is None else name
                if name is not None and (in_card or is_suspect(name)):
                    if whole and is_body(name):
                        edits += self._string(text, begin, key_end(text, begin), None, layer)
                    if is_credential(name, parent):
                        edits += _removal(text, child)
                        continue
                if inside is not None:
                    edits += _labelled_removals(text, node, child)
                    stack.append((child, under))
                elif whole and text[start] == '"' and has_mark(text[start + 1 : end - 1]):
                    edits += self._string(text, start, end, under, layer)
        return merged(text, edits), whole

    def _string(self, text: str, start: int, end: int, parent: str | None, layer: int) -> list[Edit]:
        """Return the edits of a JSON string's content, between its quotes."""
        coded = unescaped(text[start + 1 : end - 1])
        found = self._text(coded.text, parent, layer)
        return [(start + 1 + a, start + 1 + b, new) for a, b, new in coded.outer(found)]

    def _text(self, text: str, parent: str | None, layer: int) -> list[Edit]:
        """Return the edits of a text within a text."""
        if _is_harmless_under(text, parent):
            return []
        self._left -= _TEXT + len(text) + _MARK * (text.count("=") + text.count(":"))
        if layer >= _LAYERS or self._left < 0:
            return merged(text, [(0, len(text), REDACTED)])
        edits, whole = self._json(text, parent, layer + 1) if _MAYBE_JSON.search(text) else ([], False)
        if whole:
            return edits
        edits = merged(text, edits + self._form(text, layer + 1) + loose_credentials(text, parent))
        edits = merged(text, edits + self._coded(text, edits, parent, layer + 1))
        self._left -= _EDIT * len(edits)
        self._again = self._again or bool(edits)
        return edits

    def _form(self, text: str, layer: int) -> list[Edit]:
        """Return the edits of whole JSON in a form."""
        edits: list[Edit] = []
        for found in _JSON_IN_FORM.finditer(text):
            self._left -= _TEXT
            if self._left < 0:
                return [(0, len(text), REDACTED)]
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


def _is_harmless_under(text: str, parent: str | None) -> bool:
    return harmless(text) and not (parent is not None and is_card(parent))


def _labelled_removals(text: str, parent: Node, node: Node) -> list[Edit]:
    """Return the edits of values beside their names: ``["Cookie", …]``."""
    names, values = labelled(text, parent, node)
    return [edit for value in values for edit in _removal(text, value)] if any(map(is_credential, names)) else []


def _removal(text: str, value: Node) -> list[Edit]:
    """Return the edit of a credential; null stays."""
    _, _, start, end, _ = value
    return [] if text[start:end] == "null" else [(start, end, QUOTED)]
