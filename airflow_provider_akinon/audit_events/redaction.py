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
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, AnyStr, NamedTuple, cast
from urllib.parse import quote, unquote

import msgspec

from airflow_provider_akinon.audit_events.errors import InvalidInput

POLICY = "credentials"
VERSION = 1
"""Rises when the policy finds something else than before."""
FIELDS = frozenset({"headers", "post_data", "query_params", "url"})
"""The fields of an event in which the policy looks for credentials."""
ACTIONS = ("drop", "mask", "hmac")
"""What a path can do, the strongest first."""
REDACTED = "[redacted]"
SHORTEST_KEY = 16
"""Bytes. Whoever guesses the key of pseudonyms can guess what they stand for."""

_LAYERS = 16  # of text within text; what lies deeper is removed unread
_WORK = 32  # characters to look at for each of a field; what would take more is removed unread
_LONGEST_REMEMBERED = 4096  # characters of a field that are worth remembering
_PASSES = 8  # over a text of which it is uncertain what is a credential's
_QUOTED = json.dumps(REDACTED)
_PERCENT = quote(REDACTED)
_PSEUDONYM = re.compile(r"hmac-sha256:[0-9a-f]{32}")
_PATH = re.compile(r"[^.\[\]*]+(?:\.(?:[^.\[\]*]+|\*)|\[\*\]){0,31}")

Edit = tuple[int, int, str]
"""Replace what is between two places by a text."""
States = tuple[dict[str, Any], ...]
"""Where in the tree of paths a walk is; "" leads to the action of a path that ends there."""


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
        members = _members(line)
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
                elif below or not _harmless(text):
                    new = (
                        self._instead(text, action)
                        if action
                        else self._field(text, below, name in fields, bool(fields) and name == "headers")
                    )
                    edits.append((start, end, new.encode("utf-8", "surrogateescape")))
        if gone:
            edits += [(*span, b"") for span in _removals([(begin, end) for _, begin, _, end in members], gone)]
        return _spliced(line, sorted(edits))

    def _field(self, text: str, states: States, credentials: bool, fold: bool) -> str:
        """Return a field's JSON, redacted. ``fold``: its keys are headers', in any case."""
        for _ in range(_PASSES):
            walk = _Walk(self, credentials, _WORK * (len(text) + 100))
            new = _spliced(text, walk.json(text, states, fold)[0])
            if new == text or not walk.doubtful:
                return new
            text = new
        return _QUOTED

    def _instead(self, text: str, action: str) -> str:
        """Return the JSON that stands for a value's JSON."""
        if text == "null":
            return text
        if action != "hmac":
            return _QUOTED
        if text[0] != '"':
            canonical = _ANY.sub(
                lambda found: json.dumps(_plain(found[1][1:-1]), ensure_ascii=False) if found[1] else "", text
            )
        elif _PSEUDONYM.fullmatch(canonical := _plain(text[1:-1])):
            return text
        # Escaped halves of a character become one, as they do where JSON is read.
        canonical = canonical.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        digest = hmac.digest(self.key or b"", canonical.encode("utf-8", "surrogatepass"), "sha256")
        return f'"hmac-sha256:{digest.hex()[:32]}"'


@lru_cache(maxsize=1024)
def _without_credentials(text: str) -> str:
    """Return a field's JSON without credentials. One session's events have the same headers."""
    if _harmless(text):
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
        if _is_credential(name):
            if value != "null":
                edits.append((*found.span(2), _QUOTED))
        elif _MARKS.search(value, 1, len(value) - 1) and not _harmless(value):
            return None
    # {"name": "Cookie", "value": …} is more than its names say.
    return _spliced(text, edits) if at == len(text) and "value" not in names else None


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
        roots, whole = _parse(text)
        credentials = self.credentials
        edits: list[Edit] = []
        stack = [(_Node(None, 0, -1, len(text), roots), states, fold)]
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
                if kid.kids and (credentials or states) and (found := _labelled(text, node, kid)):
                    # An item of a list of names and values is also what its name says.
                    label, value = found
                    value.states = _step(states, label.lower() if fold else label, "")
                if below or value.states:
                    action = _action(below)
                    if "drop" in (action, _action(value.states)):
                        gone.add(place)
                        continue
                if label is not None and credentials and _is_credential(label, parent):
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
                edits += [(*span, "") for span in _removals([(kid.begin, kid.end) for kid in kids], gone)]
        return self.merged(text, edits), whole

    def string(self, text: str, start: int, end: int, states: States, fold: bool, layer: int) -> list[Edit]:
        """Return the edits of what is between the quotes of a JSON string."""
        if not _MARKS.search(text, start + 1, end - 1):
            return []
        inner = text[start + 1 : end - 1]
        if not states and _harmless(inner):
            return []
        coded = _unescaped(inner)
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
                coded = _unpercented(found[1])
                inner, whole = self.json(coded.text, (), False, layer + 1)
                if whole:
                    edits += [(found.start(1) + a, found.start(1) + b, new) for a, b, new in coded.outer(inner)]
            edits += _loose(text)
            # Whatever the text is, its names may be escaped. What is redacted already is: not one layer more.
            rest = _DONE.sub("", text) if "redacted" in text else text
            for pattern, decode in ((_PERCENTS, _unpercented), (_ESCAPES, _unescaped)):
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
        return f"redact[{path!r}]='hmac' needs a secret key of at least {SHORTEST_KEY} bytes; give one, or use 'mask'"
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


# What a credential is called. `docs/redaction.rst` has this as a table.

_ANYWHERE = (
    r"(?:set ?)?cookies?|authorization|credentials?|jwt|bearer|\w*tokens?|\w*secrets?"
    r"|\w*password\w*|pass words?|\w*passwd\w*|pass ?phrase|pass ?code|pwd|\w*parola\w*|\w*sifre(?:si|m|n|niz)?"
    r"|(?:\w*api|access|private|secret|auth|encryption|signing) ?keys?|\w*apikeys?"
    r"|\w*session ?(?:id|key)|\w*sess ?id|cvv|cvc|otp|totp"
    r"|(?:security|verification|sms|auth) ?code|(?:guvenlik|onay|dogrulama|sms) ?(?:kodu?|numarasi)"
)
_CARD = r"(?:\w*card|cc|\w*kart|karti) ?(?:number|num|no|nr|numara|numarasi)"
_AT_THE_END = r"auth|pin|pan|sid|csc|pin ?code|credit ?card|kredi ?karti?"
_ALONE = r"session|pass"
_CREDENTIAL = re.compile(rf"(?:^|\ )(?:{_ANYWHERE}|{_CARD})(?:\ |$)|(?:^|\ )(?:{_AT_THE_END})$|^(?:{_ALONE})$")
_ABOUT = re.compile(r"(?:^| )(?:at|count|date|enabled|length|policy|required|size|status|strength|type)$")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _words(name: str) -> str:
    """Return a name's words in lower case, without accents and digits: ``newŞifre2`` is ``new sifre``."""
    if not name.isascii():
        name = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    return " ".join(_WORD.findall(name.replace("ı", "i"))).lower()


def _says_credential(name: str, parent: str | None) -> bool:
    words = _words(name)
    if _ABOUT.search(words):
        return False
    if _CREDENTIAL.search(words):
        return True
    # {"card": {"number": …}}
    return bool(parent) and re.fullmatch(_CARD, f"{_words(parent or '').rpartition(' ')[2]} {words}") is not None


_STEMS = tuple(
    "cookie auth token pass secret sess key pan pin sid cred jwt bearer pwd parola sifre cvv cvc csc otp "  # noqa: SIM905
    "code card kart guvenlik onay dogrulama sms".split()  # as a list it would take 30 lines
)
_CC = re.compile("cc(?![a-mo-z])")


def _harmless(text: str) -> bool:
    """Whether a text cannot hold a credential: no name does without one of these stems, spelled plainly."""
    if "\\" in text or "%" in text or "@" in text:
        return False
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace("ı", "i")).encode("ascii", "ignore").decode()
    text = text.lower()
    return not any(stem in text for stem in _STEMS) and not _CC.search(text)


_remembered = lru_cache(maxsize=4096)(_says_credential)


def _is_credential(name: str, parent: str | None = None) -> bool:
    """Whether a name, or a name within a parent's, says that its value is a credential."""
    return _remembered(name, parent) if len(name) < 200 else _says_credential(name, None)


# JSON, as places in its text.

_TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:(?P<comma>,)[ \t\r\n]*+)?(?:(?P<key>"[^"\\]*+(?:\\.[^"\\]*+)*+")[ \t\r\n]*+:[ \t\r\n]*+)?"""
    r"""(?:(?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*+")|(?P<literal>[-+.\w]++)|(?P<open>[{\[])|(?P<cut>"[^"\\]*+(?:\\.[^"\\]*+)*+\\?\Z))"""
    r"""|[ \t\r\n]*+(?P<close>[}\]])""",
    re.DOTALL,
)
_COMMA, _KEY, _STRING, _LITERAL, _OPEN, _CUT, _CLOSE = range(1, 8)


_ANY = re.compile(r"""[ \t\r\n]++|("[^"\\]*+(?:\\.[^"\\]*+)*+")""", re.DOTALL)


class _Node(msgspec.Struct, gc=False):
    """A value: the key or None, where its member or item begins, where it starts and ends, and what is in it."""

    name: str | None
    begin: int
    start: int
    end: int
    kids: list[_Node] | None
    """None in a scalar."""
    states: States = ()


def _parse(text: str) -> tuple[list[_Node], bool]:
    """Return the values that a text of JSON holds, one after the other, and whether all of it was understood.

    What is not closed goes to the text's end.
    """
    roots: list[_Node] = []
    parents: list[_Node] = []
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
            kids = cast(list[_Node], parents[-1].kids) if parents else roots
            in_object = bool(parents) and text[parents[-1].start] == "{"
            continue
        start = begin = token.start(kind)
        comma, key = token.group(_COMMA, _KEY)
        name = None
        if key is not None:
            begin, name = token.start(_KEY), _plain(key[1:-1])
        # A comma before all but the first; without one, only containers follow each other, as lines of JSON do.
        if (comma is None) == bool(kids) and (parents or kind != _OPEN or kids[-1].kids is None):
            whole = False
        if (key is not None) != in_object:
            whole = False
        node = _Node(name, begin, start, at, None)
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


def _labelled(text: str, parent: _Node, node: _Node) -> tuple[str, _Node] | None:
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
    return _plain(text[label.start + 1 : label.end - 1]), value


def _members(line: bytes) -> list[tuple[str, int, int, int]]:
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
    roots, _ = _parse(line.decode("latin-1"))  # in which places are those of bytes
    for node in (roots and roots[0].kids) or ():
        name = node.name or ""
        if not name.isascii():
            with suppress(UnicodeError):
                name = name.encode("latin-1").decode()
        members.append((name, node.begin, node.start, node.end))
    return members


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


# Text within text.

_MARKS = re.compile(r"""[=:%\\@{\["]""")
_ESCAPES = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_PERCENTS = re.compile(  # a character of UTF-8, or an octet
    r"%[cd][0-9a-f]%[89ab][0-9a-f]|%e[0-9a-f](?:%[89ab][0-9a-f]){2}|%f[0-9a-f](?:%[89ab][0-9a-f]){3}|%[0-9a-f]{2}",
    re.IGNORECASE,
)
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class _Layer(NamedTuple):
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
) -> _Layer:
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
    return _Layer("".join(parts) + text[at:], encode, inner, coded)


def _unescaped(text: str) -> _Layer:
    """Return what is between the quotes of a JSON string; also of a broken one."""
    return _layer(text, _ESCAPES, _escape, _escaped) if "\\" in text else _Layer(text, _escaped)


def _plain(text: str) -> str:
    return _unescaped(text).text if "\\" in text else text


def _escape(found: re.Match[str]) -> str:
    code, char = found.groups()
    return _CONTROLS.get(char, char) if char else chr(int(code, 16))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _unpercented(text: str) -> _Layer:
    """Return what a form or a URL stands for."""
    return _layer(text.replace("+", " "), _PERCENTS, _octets, lambda new: quote(new, safe=""))


def _octets(found: re.Match[str]) -> str:
    char = bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "replace")
    return char if len(char) == 1 else "\ufffd"


# Text that is no JSON, or broken: whatever looks like a name and its value.

_NAMED = re.compile(r"""(?<![\w.\-\[\]%+$])([\w.\-\[\]%+$]++)(["'])?(?(2)\s*+|[ \t]*+)([=:])(?(2)\s*+|[ \t]*+)""")
_QUOTE = re.compile(
    r"""[bru]?["][^"\\]*+(?:\\.[^"\\]*+)*+\\?["]?|[bru]?['][^'\\]*+(?:\\.[^'\\]*+)*+\\?[']?""", re.DOTALL
)
_NESTED = re.compile(rf"{_QUOTE.pattern}|([{{\[(])|([}}\])])", re.DOTALL)
_BARE = re.compile(r"[^,}\]\r\n]*")
_REST_OF_HEADER = re.compile(r"[^\r\n]*+(?:\r?\n[ \t][^\r\n]*+)*+")
_END_IN_FORM = re.compile(r"""[&\r\n]|;[ \t]++(?=[\w.\-]+=)|["'](?=\s*+[,}\]])|\Z""")
_END_IN_URL = re.compile(rf"#|{_END_IN_FORM.pattern}")
_JSON_IN_FORM = re.compile(r"""=((?:[{\["]|%7B|%5B|%22)[^&\r\n]++)""", re.IGNORECASE)
_URL = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.\-]*:/)?/")
_USER_INFO = re.compile(r"""(?<=//)[^/?#\s"'<>\\]+(?=@)""")
_PART = re.compile(
    r"""\bname=(?:"([^"\r\n]*)"|([^\s;"]+))[^\r\n]{0,500}+(?:\r?\n[^\r\n]+){0,9}+\r?\n\r?\n""", re.IGNORECASE
)
_BOUNDARY = re.compile(r"\s*(--[^\s]+)")


def _loose(text: str) -> list[Edit]:
    """Return the edits of credentials in any text: a form, a URL, headers, multipart, JSON or Python cut off."""
    edits = [(*found.span(), _PERCENT) for found in _USER_INFO.finditer(text)] if "@" in text else []
    end = 0
    for found in _NAMED.finditer(text):
        name, quoted, separator = found.groups()
        start = found.end()
        if found.start() < end or not _is_credential(unquote(name) if "%" in name else name):
            continue
        # A string may be the next name, where this one's value is missing.
        string = _string(text, start, quoted is not None, separator)
        last, new = (string, _QUOTED) if string else _value(text, start, quoted is not None, separator)
        end = start if string else last
        if text[start:last].strip(" \t=") and not (quoted and text[start:last].strip() in ("null", "None")):
            edits.append((start, last, new))
    end = 0
    for found in _PART.finditer(text) if "\n" in text else ():
        if found.start() >= end and _is_credential(found[1] or found[2] or ""):
            boundary = _BOUNDARY.match(text)
            stop = re.compile(r"\r?\n" + re.escape(boundary[1] if boundary else "--") + r"|\Z")
            end = cast(re.Match[str], stop.search(text, found.end())).start()
            edits.append((found.end(), end, REDACTED))
    return edits


def _string(text: str, start: int, quoted: bool, separator: str) -> int | None:
    """Return where the string ends that starts here, if one does. ``quoted``: its name was."""
    string = _QUOTE.match(text, start) if quoted or separator == "=" else None
    if string and (separator == ":" or text[string.end() : string.end() + 1] in ("", *" \t\r\n,;&>/")):
        return string.end()
    return None


def _value(text: str, start: int, quoted: bool, separator: str) -> tuple[int, str]:
    """Return where the value ends that starts here and is no string, and what stands for it."""
    if separator == "=":
        pattern = _END_IN_URL if _URL.match(text) else _END_IN_FORM
        return cast(re.Match[str], pattern.search(text, start)).start(), _PERCENT
    if not quoted:
        return cast(re.Match[str], _REST_OF_HEADER.match(text, start)).end(), REDACTED
    depth = 0
    for token in _NESTED.finditer(text, start) if text[start : start + 1] in ("{", "[") else ():
        depth += (token[1] is not None) - (token[2] is not None)
        if depth == 0:
            return token.end(), _QUOTED
    if depth:
        return len(text), _QUOTED
    return cast(re.Match[str], _BARE.match(text, start)).end(), _QUOTED


# Edits.


_DONE = re.compile(
    r"""(?P<quote>(?<!\\)\\*+"|%(?:25)*+22|)(?:\[|%(?:25)*+5B)redacted(?:\]|%(?:25)*+5D)(?P=quote)""", re.IGNORECASE
)


def _order(edit: Edit) -> tuple[int, int]:
    return edit[0], -edit[1]


def _spliced(text: AnyStr, edits: list[tuple[int, int, AnyStr]]) -> AnyStr:
    """Return a text with edits made, which are sorted and do not overlap."""
    if not edits:
        return text
    parts, at = [], 0
    for start, end, new in edits:
        parts += [text[at:start], new]
        at = end
    return text[:0].join(parts) + text[at:]


def _removals(spans: Sequence[tuple[int, int]], gone: Collection[int]) -> list[tuple[int, int]]:
    """Return what to cut so that some members or items go, each with one comma."""
    last = max((place for place in range(len(spans)) if place not in gone), default=-1) if gone else 0
    return [
        (spans[place][0], spans[place + 1][0])
        if place < last
        else (spans[place - 1][1] if place else spans[0][0], spans[place][1])
        for place in sorted(gone)
    ]
