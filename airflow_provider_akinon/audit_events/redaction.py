"""Redaction: what an event's record loses before it is stored.

The policy ``credentials`` looks into ``headers``, ``post_data``, ``query_params`` and ``url`` and replaces what a
*name* says is a credential: under keys of JSON, also of JSON within strings, in lists of names and values, in forms,
URLs, blocks of headers and multipart bodies. Paths that the user adds drop, mask or pseudonymise values anywhere.

Nothing is decoded and encoded again: places are found and spliced, so every other byte stays, such as ``1.10``, a
repeated key or half a character. What is broken or cut off is searched as text, and where it is uncertain how far
a credential goes, more is removed rather than less. No line makes it raise. This module refuses policies it does not
know, pseudonyms without a key, and paths to what identifies and orders an event.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from airflow_provider_akinon.audit_events.credentials import harmless, is_credential
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.loose_text import QUOTED, REDACTED, loose_credentials
from airflow_provider_akinon.audit_events.splicing import (
    ESCAPES,
    PERCENTS,
    Edit,
    Node,
    States,
    labelled,
    members_of,
    parse_json,
    plain,
    removals,
    spliced,
    unescaped,
    unpercented,
)

POLICY = "credentials"
VERSION = 1
"""Rises when the policy finds something else than before."""
FIELDS = frozenset({"headers", "post_data", "query_params", "url"})
"""The fields of an event in which the policy looks for credentials."""
ACTIONS = ("drop", "mask", "hmac")
"""What a path can do, the strongest first."""
SHORTEST_KEY = 16
"""Bytes. Whoever guesses the key of pseudonyms can guess what they stand for."""

_LAYERS = 16  # of text within text; what lies deeper is removed unread
_WORK = 32  # characters to look at for each of a field; what would take more is removed unread
_LONGEST_REMEMBERED = 4096  # characters of a field that are worth remembering
_PASSES = 8  # over a text of which it is uncertain what is a credential's
HMAC_MARK = b"hmac-sha256:"
"""What pseudonyms begin with."""
_PSEUDONYM = re.compile(rf"{HMAC_MARK.decode()}[0-9a-f]{{32}}")
_ANY = re.compile(r"""[ \t\r\n]++|("[^"\\]*+(?>(?:\\.[^"\\]*+)*)")""", re.DOTALL)
_MARKS = re.compile(r"""[=:%\\@{\["]""")
_JSON_IN_FORM = re.compile(r"""=((?:[{\["]|%7B|%5B|%22)[^&\r\n]++)""", re.IGNORECASE)
_DONE = re.compile(
    r"""(?P<quote>(?<!\\)\\*+"|%(?>(?:25)*)22|)(?:\[|%(?>(?:25)*)5B)redacted(?:\]|%(?>(?:25)*)5D)(?P=quote)""",
    re.IGNORECASE,
)
_PATH = re.compile(r"[^.\[\]*]+(?:\.(?:[^.\[\]*]+|\*)|\[\*\]){0,31}")


@dataclass(frozen=True)
class Redaction:
    """A policy: `parse` makes one, a call redacts a line. Immutable; safe to share between threads.

    ``paths`` are sorted pairs of path and action. Equal policies give equal `as_dict`. The key is in no repr.
    """

    paths: tuple[tuple[str, str], ...] = ()
    key: bytes | None = field(default=None, repr=False)
    _tree: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        tree: dict[str, Any] = {}
        for path, action in self.paths:
            branch = tree
            for name in path.split("."):
                branch = branch.setdefault(name, {})
            branch[""] = action
        object.__setattr__(self, "_tree", tree)

    @classmethod
    def parse(cls, redact: object, *, key: bytes | None = None) -> Redaction | None:
        """Return the policy of ``"credentials"``, or of a mapping of paths to ``drop``, ``mask`` or ``hmac``.

        A mapping adds its paths to the credentials. None gives None: nothing is redacted. ``key`` is what ``hmac``
        needs, at least `SHORTEST_KEY` bytes.

        :raises InvalidInput: the policy, an action or a path is unknown, or the key is missing. Names all of them.
        """
        if redact is None:
            return None
        if isinstance(redact, str) and redact == POLICY:
            return cls()
        if not isinstance(redact, Mapping):
            raise InvalidInput(
                f"redact={redact!r} is not a policy; give {POLICY!r}, None to store records verbatim, "
                f"or a mapping such as {{'user.email': 'mask'}}"
            )
        paths: dict[str, str] = {}
        problems = []
        for path, action in redact.items():
            problem = _problem(path, action, key)
            if not problem and paths.setdefault(name := _normal(path), action) != action:
                problem = f"redact has two actions for the path {name!r}; give one"
            if problem:
                problems.append(problem)
        if problems:
            raise InvalidInput("; ".join(problems))
        return cls(tuple(sorted(paths.items())), key if "hmac" in paths.values() else None)

    def as_dict(self) -> dict[str, Any]:
        """Return what a receipt says of the policy: its name, version, paths, and which key. No secret."""
        key_id = hmac.digest(self.key, b"key id", "sha256").hex()[:16] if self.key else None
        return {"policy": POLICY, "version": VERSION, "paths": dict(self.paths), "key_id": key_id}

    def __call__(self, line: bytes) -> bytes:
        """Return an event's record, compact JSON on one line, redacted. Never raises for what a record holds."""
        return self._object(line, (self._tree,), FIELDS)

    def _object(self, line: bytes, states: States, fields: Collection[str]) -> bytes:
        """Return an object's JSON with what the paths lead to redacted, and in ``fields`` also credentials."""
        wanted = {step for state in states for step in state}
        members = members_of(line)
        edits: list[tuple[int, int, bytes]] = []
        gone = set()
        for place, (name, _, start, end) in enumerate(members):
            below = _step(states, name) if name in wanted or "*" in wanted else ()
            if not below and name not in fields:
                continue
            action, value = _action(below), line[start:end]
            if action == "drop":
                gone.add(place)
            elif value == b"null":
                continue
            elif value[:1] == b"{" and name not in fields and not action:
                edits.append((start, end, self._object(value, below, ())))
            else:
                text = str(value, "utf-8", "surrogateescape")
                if not below and len(text) < _LONGEST_REMEMBERED:
                    new = _without_credentials(text)
                    if new is not text:
                        edits.append((start, end, new.encode("utf-8", "surrogateescape")))
                elif below or not harmless(text):
                    new = (
                        self._instead(text, action)
                        if action
                        else self._field(text, below, name in fields, bool(fields) and name == "headers")
                    )
                    edits.append((start, end, new.encode("utf-8", "surrogateescape")))
        if gone:
            edits += [(*span, b"") for span in removals([(begin, end) for _, begin, _, end in members], gone)]
        return spliced(line, sorted(edits))

    def _field(self, text: str, states: States, credentials: bool, fold: bool) -> str:
        """Return a field's JSON, redacted. ``fold``: its keys are headers', in any case."""
        for _ in range(_PASSES):
            walk = _Walk(self, credentials, _WORK * (len(text) + 100))
            new = spliced(text, walk.json(text, states, fold)[0])
            if new == text or not walk.doubtful:
                return new
            text = new
        return QUOTED

    def _instead(self, text: str, action: str) -> str:
        """Return the JSON that stands for a value's JSON."""
        if text == "null":
            return text
        if action != "hmac":
            return QUOTED
        if text[0] != '"':
            canonical = _ANY.sub(
                lambda found: json.dumps(plain(found[1][1:-1]), ensure_ascii=False) if found[1] else "", text
            )
        elif _PSEUDONYM.fullmatch(canonical := plain(text[1:-1])):
            return text
        # Escaped halves of a character become one, as they do where JSON is read.
        canonical = canonical.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        digest = hmac.digest(self.key or b"", canonical.encode("utf-8", "surrogatepass"), "sha256")
        return f'"hmac-sha256:{digest.hex()[:32]}"'


@lru_cache(maxsize=1024)
def _without_credentials(text: str) -> str:
    """Return a field's JSON without credentials. One session's events have the same headers."""
    if harmless(text):
        return text
    flat = _flat_without_credentials(text)
    return Redaction()._field(text, (), credentials=True, fold=False) if flat is None else flat


_MEMBER = re.compile(r""""([^"\\]*+)":("[^"\\]*+"|[-+.\w]++)(?:,|\}\Z)""")


def _flat_without_credentials(text: str) -> str | None:
    """Return what a `_Walk` would leave of an object like most headers, of plain texts only; None of any other."""
    edits: list[Edit] = []
    names = set()
    at = 1
    for found in _MEMBER.finditer(text, 1) if text[0] == "{" and text[-1] == "}" else ():
        if found.start() != at:
            return None
        at = found.end()
        name, value = found.groups()
        names.add(name.lower())
        if is_credential(name):
            if value != "null":
                edits.append((*found.span(2), QUOTED))
        elif _MARKS.search(value, 1, len(value) - 1) and not harmless(value):
            return None
    # {"name": "Cookie", "value": …} is more than its names say.
    return spliced(text, edits) if at == len(text) and "value" not in names else None


class _Walk:
    """Finds what a field is to lose.

    ``doubtful``: something was found in what is no whole JSON, and so another walk may find more. ``left``:
    characters that it may still look at.
    """

    def __init__(self, redaction: Redaction, credentials: bool, left: int) -> None:
        self.instead = redaction._instead
        self.credentials = credentials
        self.left = left
        self.doubtful = False

    def json(self, text: str, states: States, fold: bool, layer: int = 0) -> tuple[list[Edit], bool]:
        """Return the edits of JSON, and whether it is whole. ``fold``: its keys are headers', in any case."""
        if text[0] == '"' and layer == 0:
            return self.string(text, 0, len(text), states, fold, layer), True
        roots, whole = parse_json(text)
        credentials = self.credentials
        edits: list[Edit] = []
        stack = [(Node(None, 0, -1, len(text), roots), states, fold)]
        while stack:
            node, states, fold = stack.pop()
            kids = node.kids or ()
            parent = node.name if node.name and len(node.name) < 200 else None
            wanted = {step for state in states for step in state} if states else None
            gone = set()
            for place, kid in enumerate(kids):
                below, action, label, value = kid.states, None, kid.name, kid
                if kids is roots:
                    below = states
                elif wanted and (label in wanted or fold or "*" in wanted):
                    below += _step(states, label.lower() if fold and label else label)
                if kid.kids and (credentials or states) and (found := labelled(text, node, kid)):
                    # An item of a list of names and values is also what its name says.
                    label, value = found
                    value.states = _step(states, label.lower() if fold else label, "")
                if below or value.states:
                    action = _action(below)
                    if "drop" in (action, _action(value.states)):
                        gone.add(place)
                        continue
                if label is not None and credentials and is_credential(label, parent):
                    edits.append((value.start, value.end, self.instead(text[value.start : value.end], "mask")))
                    if value is kid:
                        continue
                if action:
                    edits.append((kid.start, kid.end, self.instead(text[kid.start : kid.end], action)))
                elif kid.kids is None:
                    if whole and text[kid.start] == '"' and (credentials or below):
                        edits += self.string(text, kid.start, kid.end, below, fold and kids is roots, layer)
                elif credentials or below or value.states:
                    stack.append((kid, below, fold and kids is roots))
            if gone:
                edits += [(*span, "") for span in removals([(kid.begin, kid.end) for kid in kids], gone)]
        return self.merged(text, edits), whole

    def string(self, text: str, start: int, end: int, states: States, fold: bool, layer: int) -> list[Edit]:
        """Return the edits of what is between the quotes of a JSON string."""
        if not _MARKS.search(text, start + 1, end - 1):
            return []
        inner = text[start + 1 : end - 1]
        if not states and harmless(inner):
            return []
        coded = unescaped(inner)
        edits = self.text(coded.text, states, fold, layer)
        return [(start + 1 + first, start + 1 + last, new) for first, last, new in coded.outer(edits)]

    def text(self, text: str, states: States, fold: bool, layer: int) -> list[Edit]:
        """Return the edits of a text within a text."""
        self.left -= len(text)
        if layer >= _LAYERS or self.left < 0:
            return self.merged(text, [(0, len(text), REDACTED)])
        edits: list[Edit] = []
        whole = False
        if text.lstrip()[:1] in ("{", "[", '"'):
            edits, whole = self.json(text, states, fold, layer + 1)
        if not whole and self.credentials:
            for found in _JSON_IN_FORM.finditer(text):
                coded = unpercented(found[1])
                inner, whole = self.json(coded.text, (), False, layer + 1)
                if whole:
                    edits += [(found.start(1) + a, found.start(1) + b, new) for a, b, new in coded.outer(inner)]
            edits += loose_credentials(text)
            # Whatever the text is, its names may be escaped. What is redacted already is: not one layer more.
            rest = _DONE.sub("", text) if "redacted" in text else text
            for pattern, decode in ((PERCENTS, unpercented), (ESCAPES, unescaped)):
                if pattern.search(rest):
                    coded = decode(text)
                    edits += coded.outer(self.text(coded.text, (), False, layer + 1))
                    break
            self.doubtful = self.doubtful or bool(edits)
        return self.merged(text, edits)

    def merged(self, text: str, edits: list[Edit]) -> list[Edit]:
        """Return edits of a text that do not overlap: where some do, the first or longest takes all.

        What is redacted already is left as it is.
        """
        merged: list[Edit] = []
        for start, end, new in sorted(edits, key=_order) if len(edits) > 1 else edits:
            if new and (start == end or _DONE.fullmatch(text, start, end)):
                continue
            if merged and start < merged[-1][1]:
                first, last, kept = merged[-1]
                merged[-1] = (first, max(last, end), kept)
            else:
                merged.append((start, end, new))
        return merged


def _order(edit: Edit) -> tuple[int, int]:
    return edit[0], -edit[1]


# What a policy is made of.


def _problem(path: object, action: object, key: bytes | None) -> str | None:
    """Return what is wrong with a path and its action."""
    if not isinstance(path, str) or not _PATH.fullmatch(path) or path != "".join(path.split()):
        return f"redact has the path {path!r}; write one like 'user.email' or 'user.groups[*].name'"
    if path.partition(".")[0].partition("[")[0] in ("uuid", "timestamp"):
        return f"redact has the path {path!r}, but uuid and timestamp identify and order events; leave it out"
    if action not in ACTIONS:
        return f"redact[{path!r}]={action!r} is not an action; give one of {', '.join(ACTIONS)}"
    if action == "hmac" and (key is None or len(key) < SHORTEST_KEY):
        return (
            f"redact[{path!r}]='hmac' needs a secret key of at least {SHORTEST_KEY} bytes; give redact_conn_id, "
            "whose password it is, or use 'mask'"
        )
    return None


def _normal(path: str) -> str:
    """Return the one spelling of a path: ``[*]`` is ``.*``, and names of headers are in lower case."""
    names = path.replace("[*]", ".*").split(".")
    if names[0] == "headers" and len(names) > 1:
        names[1] = names[1].lower()
    return ".".join(names)


def _step(states: States, name: str | None, wildcard: str = "*") -> States:
    """Return where a member of this name, or an item (None), leads to."""
    return tuple(state[step] for state in states for step in {name, wildcard} if step and step in state)


def _action(states: States) -> str | None:
    """Return the strongest action of the paths that end here."""
    if not states:
        return None
    actions = [state.get("") for state in states]
    return next((action for action in ACTIONS if action in actions), None)
