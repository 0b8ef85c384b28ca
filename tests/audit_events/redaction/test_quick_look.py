"""The quick look: where it can tell, it takes out what the search takes out, whatever the JSON is like."""

from __future__ import annotations

import json
import random
from urllib.parse import quote

import pytest

from airflow_provider_akinon.audit_events.redaction import Redaction, credential_search
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
    "[",
    '{"a":[',
)
"""Texts in which something is a credential, or looks like one."""
SCALARS = ("null", "1.10", "true", '"[redacted]"')
ESCAPES = {'"': r"\"", "\\": r"\\", "\r": r"\r", "\n": r"\n"}

BEGIN, END = b'{"post_data":', b',"uuid":"u"}'


def quick(*values: str) -> list[str]:
    """Return what is left of fields in records that are redacted at once."""
    lines = Redaction().lines([BEGIN + value.encode() + END for value in values])
    return [line.removeprefix(BEGIN).removesuffix(END).decode() for line in lines]


def searched(*values: str) -> list[str]:
    """Return what the search leaves of fields."""
    return [credential_search.CredentialSearch(len(value)).searched(value) for value in values]


class Writer:
    """Writes random JSON of a few names and texts, some of it as no encoder would."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._names = self._rng.sample(NAMES, 3)
        self._texts = self._names + self._rng.sample(FORMS, 2)
        self._escaped = self._rng.choice((0.0, 0.0, 0.02, 0.2))
        self._blanks = self._rng.choice(([""], ["", "", "", " ", "\n"]))

    def value(self) -> str:
        """Return the JSON of a container, or of a text."""
        return self._value(4) if self._rng.random() < 0.2 else self.container()

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
    for seed in range(first, first + number, 4):
        values = [Writer(each).value() for each in range(seed, seed + 4)]

        assert quick(*values) == searched(*values), (seed, values)


@pytest.mark.parametrize(
    "value",
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
        '{"x":",","password":"S"}',
        '["a",",","Cookie","S"]',
        '{"x":["[",",","y"],"password":"S"}',
        '[["Cookie",",","S"]]',
        '[["Cookie","S"],["a","b"],["pin",1],["token",null]]',
        '[ ["Cookie" , "S"] ]',
        '[[ "Cookie", "S"]]',
        '[["Cookie","S",1]]',
        '[["pin",1],["x"]]',
        '[["Cookie","S","T"],["pin"]]',
        '{"a":"x\\\\","b":"y\\\\","password":"S","c":"z"}',
        '{"a":["x",["Cookie","S"]]}',
        '[["a=1&pin=2","S"],["token=1","S"]]',
        '{"password":[],"cvv":{},"pin":12,"otp":-1.5e3,"sid":null,"sess_id" : true}',
        '{"password" : "S", "a":"b"}',
        '{"Cookie":"","token":"\\"S\\"","cookies":"[redacted]","jwt":"%5Bredacted%5D","pwd":"[S"}',
        '{"a":"b","password":"x","pin":"y","note":"password=S"}',
        '{"note":"{\\"password\\":\\"S\\",\\"a\\":\\"b\\"}","more":"{\\"pin\\":"}',
        '{"path":"C:\\\\","password":"S\\\\","next":"\\\\\\"token=S"}',
        '{"n\\u0061me":"Cookie","value":"S"}',
        '{"card":{"number":"S"},"number":"1"}',
        '"password=S"',
        '"x"',
        '""',
        "5",
        "[]",
    ],
)
def test_what_only_looks_plain_comes_out_as_searched(value: str) -> None:
    """What is cut in another place than between two strings, or is no pair, form or URL, is not taken for one."""
    values = [value, '{"a":"b"}', value, f'{{"it":{value}}}', f'[{value},"x"]']
    assert quick(value) == searched(value)
    assert quick(*values) == searched(*values)


@pytest.mark.parametrize(
    "value", ['"["', '["["]', '{"a":"["}', '["a","["]', '"{\\"a\\":["', '","', '"\\\\"', "[]", "null"]
)
def test_a_field_is_not_read_on_into_the_next(value: str) -> None:
    """However a field's JSON ends, what is cut between it and the next one is cut there."""
    rest = '{"card":{"number":"S"}}'

    assert quick(value, rest, value, value, rest) == searched(value, rest, value, value, rest)


def test_what_was_harmless_is_remembered_in_its_place_only() -> None:
    """A text that stood under a harmless name is taken out where its name says that it is a credential."""
    for harmless, credential in (
        ('{"a":"S"}', '{"pin":"S"}'),
        ('{"a":"b","x":"S","c":"d"}', '{"a":"b","pin":"S","c":"d"}'),
        ('["a","S"]', '[["pin","S"]]'),
        ('{"a":"pin","b":"S"}', '[["pin","S"]]'),
        ('["pin","S"]', '{"pin":"S"}'),
        ('{"a":{"number":"S"}}', '{"card":{"number":"S"}}'),
        ('{"pin":null}', '{"pin":true}'),
        ('[["a",1]]', '[["pin",1]]'),
        ('{"jwt":"S","a":"b"}', '{"jwt":"%5Bredacted%5D","a":"b"}'),
    ):
        for values in ((harmless, credential), (credential, harmless)):
            assert quick(*values) == searched(*values)
            for value in values:
                assert quick(value) == searched(value)


@pytest.mark.parametrize(
    ("name", "text"), [("a_token", "[redacted]"), ("b_token", "[REDACTED]"), ("c_token", "%5Bredacted%5D")]
)
def test_what_is_redacted_already_stays_where_credentials_stood(name: str, text: str) -> None:
    """It stays as it is written, also in a place that is known to hold credentials."""
    for value in ("S", "T", text):
        field = f'{{"{name}":"{value}","a":"b"}}'
        assert quick(field) == searched(field)


@pytest.mark.parametrize(
    "text",
    [
        "/?token=S",
        "token%3DS",
        r"token\u003dS",
        "Cookie: S",
        "https://S@localhost/",
        "https://a:S@localhost/",
        r"{\"pin\":\"S\"}",
        r"[[\"pin\",\"S\"]]",
    ],
)
def test_no_text_that_may_hold_a_credential_is_passed_over(text: str) -> None:
    """Each mark that comes with a credential makes a field be looked at, beside others that are plain."""
    lines = [b'{"url":"%b"}' % url.encode() for url in ("https://localhost/", text, "/")]
    first, middle, last = Redaction().lines(lines)

    assert (first, last) == (lines[0], lines[2])
    assert b"S" not in middle


def test_texts_that_take_long_come_out_as_each_does_alone() -> None:
    """The work that many fields share ends before it is done; none of them is removed unread for that."""
    coded = "token=a&"
    while len(coded) < 120:
        coded = quote(coded, safe="")
    values = [json.dumps(f"{number}&{coded}") for number in range(500)]

    assert quick(*values) == searched(*values)
    assert '"[redacted]"' not in searched(*values)


@pytest.mark.parametrize(("layers", "is_opened"), [(3, True), (6, True), in_ci(17, False)])
def test_json_in_many_strings_comes_out_as_searched(layers: int, is_opened: bool) -> None:
    """JSON within more strings than the search opens is removed unread."""
    value = '{"pin":"S","a":"x"}'
    for _ in range(layers):
        value = json.dumps({"a": value})

    [left] = quick(value)
    assert [left] == searched(value)
    assert ("x" in left) == is_opened
    assert "S" not in left


def test_fields_are_no_list_of_pairs() -> None:
    """The fields are looked at together; a list in one of them is no pair of theirs."""
    line = b'{"headers":["Cookie","a"],"post_data":["Cookie","b"],"uuid":"u"}'

    assert Redaction()(line) == line


ALIKE = [b'{"headers":{"Cookie":"S%d"},"url":"/","uuid":"u%d"}' % (number, number) for number in range(3)]
UNLIKE = [
    b"",
    b"{}",
    b'{"uuid":"u"}',
    b'{"url":"/?token=S","headers":null}',
    b'{"url":"/?token=S","url":"/?pin=S"}',
    b'{ "url":"/?token=S"}',
    b'{"\\u0075rl":"/?token=S"}',
    b'{"headers":{"Cookie":"S"},"url":"/?token=S"',
    b'{"url":"/"}\n{"url":"/"}',
    b'{"post_data":{"password":\n"S"}}',
    b'{"post_data":"\xff","url":"/?token=S"}',
    b'{"post_data":"\\ud800","url":"/?token=S"}',
    '{"ürl":"/","url":"/?token=S","%s":1}'.encode(),
]


@pytest.mark.parametrize("other", UNLIKE)
def test_records_come_out_at_once_as_one_by_one(other: bytes) -> None:
    """Whatever a record is like, it and those beside it come out as each does alone, and none is lost."""
    redact = Redaction()
    alone = [redact(line) for line in ALIKE]
    assert b"S" not in b"".join([*alone, redact(other)])

    for place in range(4):
        lines = [*ALIKE[:place], other, *ALIKE[place:]]
        assert redact.lines(lines) == [*alone[:place], redact(other), *alone[place:]]
    assert redact.lines([other, other]) == [redact(other)] * 2


def test_large_records_come_out_at_once_as_one_by_one() -> None:
    """More than is redacted at a time comes out whole."""
    redact = Redaction()
    lines = [b'{"url":"/?token=S","note":"%s","uuid":"%d"}' % (b"x" * 100_000, number) for number in range(9)]

    assert redact.lines(lines) == [line.replace(b"=S", b"=%5Bredacted%5D") for line in lines]
    assert redact.lines([]) == []
