"""Redaction: removes parts of an event's record before it is stored.

The policy ``credentials`` looks into ``headers``, ``post_data``, ``query_params`` and ``url`` and replaces each value
whose *name* says that it is a credential: under keys of JSON, also of JSON within strings, in lists of names and
values, in forms, URLs, blocks of headers and multipart bodies. Paths that the user adds drop, mask or pseudonymise
values anywhere.

Nothing is decoded and encoded again: places are found and spliced, so every other byte stays, such as ``1.10``, a
repeated key or a lone surrogate. What is broken or cut off is searched as text, and where it is uncertain how far
a credential goes, more is removed rather than less. No line makes it raise. This module refuses policies it does not
know, pseudonyms without a key, and paths to what identifies and orders an event.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.redaction.loose_text import QUOTED
from airflow_provider_akinon.audit_events.redaction.paths import ACTIONS, States, action_of, path_edits, step
from airflow_provider_akinon.audit_events.redaction.quick_look import redacted
from airflow_provider_akinon.audit_events.redaction.records import batches, redacted_records
from airflow_provider_akinon.audit_events.redaction.splicing import (
    ByteEdit,
    members_of,
    plain,
    removals,
    spliced,
)

POLICY = "credentials"
VERSION = 2
"""The policy's version; it rises when the policy finds something else than before."""
FIELDS = ("headers", "post_data", "query_params", "url")
"""The fields of an event in which the policy looks for credentials."""
SHORTEST_KEY = 16
"""The least length, in bytes, of the key of pseudonyms: whoever guesses it can guess what they stand for."""

HMAC_MARK = b"hmac-sha256:"
"""The text that pseudonyms begin with."""
_PASSES = 16  # over a field, as what a path removes may lay credentials bare
_PSEUDONYM = re.compile(rf"{HMAC_MARK.decode()}[0-9a-f]{{32}}")
_ANY = re.compile(r"""[ \t\r\n]++|("[^"\\]*+(?>(?:\\.[^"\\]*+)*)")""", re.DOTALL)
_PATH = re.compile(r"[^.\[\]*]+(?:\.(?:[^.\[\]*]+|\*)|\[\*\]){0,31}")


@dataclass(frozen=True)
class Redaction:
    """A policy: `parse` makes one, a call redacts a line, `lines` redacts many.

    Immutable; safe to share between threads.

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

        A mapping adds its paths to the credentials. None gives None: nothing is redacted. ``hmac`` needs ``key``, of
        at least `SHORTEST_KEY` bytes.

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
        return self.lines([line])[0]

    def lines(self, lines: Sequence[bytes]) -> list[bytes]:
        """Return what a call returns for each of ``lines``, in a fraction of the time."""
        if self.paths:
            return [self._object(line, (self._tree,), FIELDS) for line in lines]
        return [line for batch in batches(lines) for line in self._batch(batch)]

    def _batch(self, lines: list[bytes]) -> list[bytes]:
        """Return some records redacted, where the policy has no paths."""
        redacted = redacted_records(lines, FIELDS)
        if redacted is not None:
            return redacted
        if len(lines) == 1:
            return [self._object(lines[0], (), FIELDS)]
        half = len(lines) // 2  # one broken record is no reason to take all others one by one
        return self._batch(lines[:half]) + self._batch(lines[half:])

    def _object(self, line: bytes, states: States, fields: Collection[str]) -> bytes:
        """Return an object's JSON, redacted where the paths lead; in ``fields``, credentials are redacted too."""
        wanted = {name for state in states for name in state}
        members = members_of(line)
        edits: list[ByteEdit] = []
        gone = set()
        for place, (name, _, start, end) in enumerate(members):
            below = step(states, name) if name in wanted or "*" in wanted else ()
            if below and action_of(below) == "drop":
                gone.add(place)
            elif below or name in fields:
                edits.append((start, end, self._value(line[start:end], below, name if name in fields else "")))
        edits += [(*span, b"") for span in removals([(begin, end) for _, begin, _, end in members], gone)]
        return spliced(line, sorted(edits))

    def _value(self, value: bytes, states: States, name: str) -> bytes:
        """Return a member's JSON, redacted. ``name``: that of a field to be searched for credentials."""
        action = action_of(states)
        if value == b"null":
            return value
        if action:
            return self._instead(_text(value), action).encode("utf-8", "surrogateescape")
        return self._object(value, states, ()) if value[:1] == b"{" and not name else self._field(value, states, name)

    def _field(self, value: bytes, states: States, name: str) -> bytes:
        """Return a field's JSON, redacted. ``name``: that of a field to be searched for credentials."""
        for _ in range(_PASSES):
            before = value = bytes(redacted(value)) if name else value
            if states:
                text = _text(value)
                edits = path_edits(text, states, self._instead, fold=name == "headers")
                value = spliced(text, edits).encode("utf-8", "surrogateescape")
            if value == before:
                return value
        return QUOTED.encode()

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


def _text(value: bytes) -> str:
    return str(value, "utf-8", "surrogateescape")


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
            f"redact[{path!r}]='hmac' needs a secret key of at least {SHORTEST_KEY} bytes; give redact_key_conn_id, "
            "whose password it is, or use 'mask'"
        )
    return None


def _normal(path: str) -> str:
    """Return the one spelling of a path: ``[*]`` is ``.*``, and names of headers are in lower case."""
    names = path.replace("[*]", ".*").split(".")
    if names[0] == "headers" and len(names) > 1:
        names[1] = names[1].lower()
    return ".".join(names)
