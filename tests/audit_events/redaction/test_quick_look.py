"""The quick look: where it can tell, it takes out what the search takes out, whatever the JSON is like."""

from __future__ import annotations

import random

import pytest

from airflow_provider_akinon.audit_events.redaction import Redaction
from tests.support.long import in_ci

NAMES = (
    "password",
    "Cookie",
    "token:a",
    "card",
    "number",
    "value",
    "name",
    "note",
    'x"password',
    "a\\",
    "{",
    "ş",
    "",
)
FORMS = (
    "a=1&password=S&b=%C5%9F",
    "https://h:1/p?token=S&x=1",
    "/reset/?a=b",
    "auth=&pin==",
    "card=1&number=2",
    "a=password%3DS",
    "a=%2Ftoken%3DS&sid=%5Bredacted%5D",
    "https://u:S@h/",
    "Cookie: S\r\nHost: h",
    'a "b" \\ c',
    "to\\u006ben=S",
    "to\\u006ben",
    "[redacted]",
    ",",
)
"""Texts in which something is a credential, or looks like one."""
SCALARS = ("null", "1.10", "true", '"[redacted]"')
ESCAPES = {'"': r"\"", "\\": r"\\", "\r": r"\r", "\n": r"\n"}

MORE = ",".join(['{"pin":1}'] * 33)
"""More credentials than are looked for one by one."""


def quick(json: str) -> str:
    """Return what is left of JSON in a field where little else is."""
    return _redacted(json, "")


def searched(json: str) -> str:
    """Return what is left of JSON in a field that has to be searched."""
    return _redacted(json, f',"more":[{MORE}]')


def _redacted(json: str, more: str) -> str:
    begin, end = '{"post_data":{"it":', '},"uuid":"u"}'
    line = Redaction()(f"{begin}{json}{more}{end}".encode()).decode()
    return line.removeprefix(begin).removesuffix(end).removesuffix(more.replace("1", '"[redacted]"'))


class Writer:
    """Writes random JSON of a few names and texts, some of it as no encoder would."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._names = self._rng.sample(NAMES, 3)
        self._texts = self._names + self._rng.sample(FORMS, 2)
        self._escaped = self._rng.choice((0.0, 0.0, 0.02, 0.2))
        self._blanks = self._rng.choice(([""], ["", "", "", " ", "\n"]))

    def container(self, depth: int = 0) -> str:
        """Return the JSON of a list, a list of pairs, or an object."""
        brackets, make = self._rng.choice(
            (("[]", self._value), ("[]", self._pair), ("{}", self._member), ("{}", self._member))
        )
        items = [f"{self._blank()}{make(depth + 1)}{self._blank()}" for _ in range(self._rng.randrange(4))]
        return brackets[0] + ",".join(items) + brackets[1]

    def _value(self, depth: int) -> str:
        kind = self._rng.randrange(10)
        if kind < 3 and depth < 4:
            return self.container(depth)
        if kind == 3 and depth < 4:
            return self._string(self.container(depth))
        return self._string(self._rng.choice(self._texts)) if kind < 8 else self._rng.choice(SCALARS)

    def _pair(self, depth: int) -> str:
        return f"[{self._string(self._rng.choice(self._names))},{self._blank()}{self._value(depth)}]"

    def _member(self, depth: int) -> str:
        return f"{self._string(self._rng.choice(self._names))}{self._blank()}:{self._value(depth)}"

    def _string(self, text: str) -> str:
        return '"' + "".join(map(self._char, text)) + '"'

    def _char(self, char: str) -> str:
        return f"\\u{ord(char):04x}" if self._rng.random() < self._escaped else ESCAPES.get(char, char)

    def _blank(self) -> str:
        return self._rng.choice(self._blanks)


@pytest.mark.parametrize(
    ("first", "number"), [(0, 1_000), *(in_ci(first, 21_000) for first in range(1_000, 64_000, 21_000))]
)
def test_it_finds_what_the_search_finds(first: int, number: int) -> None:
    """JSON with the same few names in many places and spellings comes out as the search alone leaves it."""
    for seed in range(first, first + number):
        json = Writer(seed).container()

        assert quick(json) == searched(json), (seed, json)


@pytest.mark.parametrize(
    "json",
    [
        r'{"note":"\u0074oken:a","token:a":"S"}',
        r'{"x\"Cookie":null,"\u0043ookie":"S"}',
        r'{"password":"token:a","note":"\u0074oken:a"}',
        r'[["Cookie","a","b"],["C\u006fokie","S"]]',
        r'{"a":["Cookie","S"],"b":[["C\u006fokie","S"]]}',
        '{"a":["Cookie","S"]}',
        '["Cookie","S"]',
        r'{"p\u0061ssword":"S","password":"","a":"x\\","b":"x\\","c":"x\\","d":"x\\"}',
        '{"a=1&password=S":""}',
        '"https://token.h:1/?a=b"',
        '"https://h:1a/?a=b"',
        '"/?a=b&token=S#"',
        '"a=1&password=S&"',
    ],
)
def test_what_only_looks_plain_comes_out_as_searched(json: str) -> None:
    """A name or text that stands elsewhere in another spelling, or no pair, form or URL, is not taken for one."""
    assert quick(json) == searched(json)


def test_fields_are_no_list_of_pairs() -> None:
    """The fields are looked at together; a list in one of them is no pair of theirs."""
    line = b'{"headers":["Cookie","a"],"post_data":["Cookie","b"],"uuid":"u"}'

    assert Redaction()(line) == line
