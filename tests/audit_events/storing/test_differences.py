"""How an event differs from what is stored of it: what says something, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.model import parse_event
from airflow_provider_akinon.audit_events.redaction import REDACTED, Redaction
from airflow_provider_akinon.audit_events.storing import DOCUMENTED, SAME, Compared, Verdict, compare

USER = {"pk": 7, "username": "a@example.com", "last_login": "2026-01-01T00:00:00Z"}
EVENT = {
    "uuid": "6b1f",
    "timestamp": "2026-01-31T12:00:00.123456Z",
    "user": USER,
    "url": "/orders/",
    "content": {"price": 1, "items": [{"a": 1, "b": None}, True]},
    "object_id": 5,
}


def text(event: object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in EVENT.items() if name not in names}


def compared(before: dict[str, Any], after: dict[str, Any], *, marks: bool = False) -> Compared:
    return compare(text(before), text(after), marks=marks)


def test_equal_bytes_are_the_same() -> None:
    """An event that is given as it is stored has no difference."""
    assert compared(EVENT, EVENT) == SAME == Compared(Verdict.SAME, (), False)


def turned(value: object) -> object:
    """Return a value with the keys of every object in it the other way round."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


def test_the_order_of_keys_says_nothing() -> None:
    """An event whose keys come in another order, at every depth, is the same."""
    other = text(turned(EVENT))

    assert other != text(EVENT)
    assert compare(text(EVENT), other) == SAME


def test_the_order_of_a_list_says_something() -> None:
    """A list whose members changed places is another one."""
    assert compared({**EVENT, "content": [1, 2]}, {**EVENT, "content": [2, 1]}).fields == ("content",)


@pytest.mark.parametrize("written", [r"\u00e7", r"\u00E7"])
def test_another_escape_of_a_character_says_nothing(written: str) -> None:
    """A text is what it means, whether a character of it is written out or escaped."""
    plain = '{"uuid":"u","url":"ç"}'

    assert compare(plain.encode(), plain.replace("ç", written).encode()) == SAME


@pytest.mark.parametrize(
    ("stored", "now"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00-00:00"),
        ("2026-01-31T12:00:00Z", "2026-01-31T15:00:00+03:00"),
        ("2026-01-31T12:00:00Z", "2026-01-31T15:00:00+0300"),
        ("2026-01-31T12:00:00Z", "2026-01-31 12:00:00Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31t12:00:00z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
        ("2026-01-31T12:00:00.5Z", "2026-01-31T12:00:00.500000Z"),
        ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123Z"),
        ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.12Z"),
        ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00Z"),
        ("2026-01-31T12:00:00.999999Z", "2026-01-31T15:00:00.999+03:00"),
        ("2026-01-31T12:00:00.123456789Z", "2026-01-31T12:00:00.123456Z"),
    ],
)
def test_another_notation_of_an_instant_says_nothing(stored: str, now: str) -> None:
    """An instant in another notation, zone, or cut to fewer digits, is the same, on whichever side it is."""
    for here, there in ((stored, now), (now, stored)):
        assert parse_event(text({**EVENT, "timestamp": here}))  # one that an export takes
        assert compared({**EVENT, "timestamp": here}, {**EVENT, "timestamp": there}) == SAME


@pytest.mark.parametrize(
    ("stored", "now"),
    [
        ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.124Z"),  # rounded, not cut
        ("2026-01-31T12:00:00.123456Z", "2026-01-31T12:00:00.123457Z"),
        ("2026-01-31T12:00:00.123Z", "2026-01-31T12:00:00.122999Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+03:00"),
    ],
)
def test_another_instant_is_a_change(stored: str, now: str) -> None:
    """An event that happened at another time now was changed."""
    result = compared({**EVENT, "timestamp": stored}, {**EVENT, "timestamp": now})

    assert result == Compared(Verdict.CHANGED, ("timestamp",))


@pytest.mark.parametrize("name", sorted(DOCUMENTED - {"uuid", "timestamp", "user"}))
@pytest.mark.parametrize(
    ("stored", "now"), [(1, 2), (1, None), (None, 1), ("a", "b"), (1, True), ({}, None), ([], {}), ("", None)]
)
def test_another_value_is_a_change(name: str, stored: object, now: object) -> None:
    """A field that holds something else is named; null and empty are not the same."""
    assert compared({**EVENT, name: stored}, {**EVENT, name: now}) == Compared(Verdict.CHANGED, (name,))


@pytest.mark.parametrize("name", sorted(DOCUMENTED - {"uuid", "timestamp", "user"}))
@pytest.mark.parametrize("value", [None, 1, "", {}])
def test_a_documented_field_that_comes_or_goes_is_a_change(name: str, value: object) -> None:
    """A documented field that is missing on one side is named, also where it holds null."""
    for pair in ((without(name), {**EVENT, name: value}), ({**EVENT, name: value}, without(name))):
        assert compared(*pair) == Compared(Verdict.CHANGED, (name,))


def test_a_new_undocumented_field_is_counted_apart() -> None:
    """A field that the API has only lately is no change of what is stored, whatever else changed."""
    new = {"risk": 1, "session": None}

    assert compared(EVENT, {**EVENT, **new}) == Compared(Verdict.SAME, (), True)
    assert compared(EVENT, {**EVENT, **new, "url": "/"}) == Compared(Verdict.CHANGED, ("url",), True)
    moved = {**USER, "last_login": None}
    assert compared(EVENT, {**EVENT, **new, "user": moved}) == Compared(Verdict.USER_MOVED, (), True)


def test_an_undocumented_field_that_is_stored_counts() -> None:
    """What is stored of an undocumented field is held to like any other: it may neither change nor go."""
    stored = {**EVENT, "risk": {"score": 1}}

    assert compared(stored, {**EVENT, "risk": {"score": 2}}) == Compared(Verdict.CHANGED, ("risk",))
    assert compared(stored, EVENT) == Compared(Verdict.CHANGED, ("risk",))


def test_all_fields_that_changed_are_named_in_order() -> None:
    """Several changes of one event are all named, in alphabetical order."""
    other = {**EVENT, "url": "/", "content": None, "user": None, "remote_addr": "::1"}

    assert compared(EVENT, other).fields == ("content", "remote_addr", "url", "user.pk")


@pytest.mark.parametrize(
    "now",
    [
        {**USER, "last_login": "2026-02-01T00:00:00Z"},
        {**USER, "groups": [1]},
        {"pk": 7},
        7,
        {"pk": 7, "username": {"pk": 8}},
    ],
)
def test_a_user_that_moved(now: object) -> None:
    """What the API knows of a person today may be anything, as long as it is the same person."""
    assert compared(EVENT, {**EVENT, "user": now}) == Compared(Verdict.USER_MOVED)
    assert compared({**EVENT, "user": now}, EVENT) == Compared(Verdict.USER_MOVED)


@pytest.mark.parametrize(
    "now", [{**USER, "pk": 8}, {**USER, "pk": "7"}, {**USER, "pk": None}, {"username": "a"}, None, 8, {}, "7", 7.0]
)
def test_another_user_is_a_change(now: object) -> None:
    """Another person, or nobody, in place of a person is a change, in either direction."""
    for pair in ((EVENT, {**EVENT, "user": now}), ({**EVENT, "user": now}, EVENT)):
        assert compared(*pair) == Compared(Verdict.CHANGED, ("user.pk",))
    assert compared(EVENT, without("user")).fields == compared(without("user"), EVENT).fields == ("user.pk",)


def test_users_that_nothing_tells_apart() -> None:
    """Where neither side says who it was, only what is known of the user moved."""
    nobody = [{**EVENT, "user": None}, {**EVENT, "user": {}}, {**EVENT, "user": {"pk": None}}, without("user")]

    for stored in nobody:
        for now in nobody:
            assert compared(stored, now).verdict in (Verdict.SAME, Verdict.USER_MOVED)


def test_a_pseudonym_of_a_whole_user() -> None:
    """It is another one after each login, and nothing tells who it is; that there is nobody any more can be told."""
    redaction = Redaction.parse({"user": "hmac"}, key=b"k" * 32)
    assert redaction
    here, later, other, nobody = (
        redaction(text({**EVENT, "user": user}))
        for user in (USER, {**USER, "last_login": "2026-02-01T00:00:00Z"}, {**USER, "pk": 8}, None)
    )

    assert compare(here, later) == compare(here, other) == Compared(Verdict.USER_MOVED)
    assert compare(here, nobody) == compare(nobody, here) == Compared(Verdict.CHANGED, ("user.pk",))


@pytest.mark.parametrize(("stored", "now"), [(8, 9), (8, None), (None, 8), (8, {"pk": 9})])
def test_a_user_that_is_a_number(stored: object, now: object) -> None:
    """A user that is given as a number is its own ``pk``."""
    assert compared({**EVENT, "user": stored}, {**EVENT, "user": now}).fields == ("user.pk",)


@pytest.mark.parametrize(
    ("stored", "now"),
    [
        ("1.10", "1.1"),
        ("1", "1.0"),
        ("1", "true"),
        ("0", "false"),
        ("1e2", "100"),
        ("1E2", "1e2"),
        ("-0", "0"),
        ("123456789012345678901234567890", "123456789012345678901234567891"),
        ("0.1000000000000000055", "0.1"),
    ],
)
@pytest.mark.parametrize("around", ["%s", "[%s]", '{"a":%s}', '{"a":[1,{"b":%s}]}'])
def test_numbers_are_what_is_written(stored: str, now: str, around: str) -> None:
    """A number that is written in another way is another one, on its own as deep inside."""
    lines = [f'{{"uuid":"u","content":{around % number}}}'.encode() for number in (stored, now)]

    assert compare(*lines) == Compared(Verdict.CHANGED, ("content",))
    assert compare(lines[0], lines[0].replace(b'"u"', b'"\\u0075"')) == SAME


@pytest.mark.parametrize("half", [r"\ud83d", r"\udc00", r"\ude00\ud83d"])
def test_halves_of_characters(half: str) -> None:
    """A record with a lone surrogate, which JSON may escape, is compared like any other."""
    stored = f'{{"uuid":"u","url":"{half}","content":{{"{half}":1,"b":2}},"user":{{"pk":"{half}"}}}}'.encode()
    turned_round = f'{{"user":{{"pk":"{half}"}},"content":{{"b":2,"{half}":1}},"url":"{half}","uuid":"u"}}'.encode()

    assert compare(stored, turned_round) == SAME
    assert compare(stored, stored.replace(b"2", b"3")).fields == ("content",)
    assert compare(stored, stored.replace(half.encode(), rb"\udead", 1)).fields == ("url",)
    assert compare(stored, stored.replace(b'"pk":"', b'"pk":"x')).fields == ("user.pk",)
    assert compare(stored, stored.replace(b'{"pk"', b'{"a":1,"pk"')).verdict is Verdict.USER_MOVED


@pytest.mark.parametrize("marks", [False, True])
def test_marks_of_a_redaction_of_another_version(marks: bool) -> None:
    """What another version of the policy may have removed, or left, is not compared; all else is."""
    stored = {**EVENT, "headers": {"Cookie": "abc", "Host": "shop"}}
    now = {**EVENT, "headers": {"Cookie": REDACTED, "Host": "shop"}}
    unknown = Compared(Verdict.NOT_COMPARED) if marks else Compared(Verdict.CHANGED, ("headers",))

    assert compared(stored, now, marks=marks) == compared(now, stored, marks=marks) == unknown
    assert compared(stored, {**now, "url": "/"}, marks=marks).fields[-1:] == ("url",)
    assert compared(stored, {**now, "url": "/"}, marks=True) == Compared(Verdict.CHANGED, ("url",))
    assert compared(stored, {**now, "risk": 1}, marks=marks).has_new_fields
    # Where both hold the same mark there is nothing to doubt.
    assert compared(now, {**now, "user": 7}, marks=marks) == Compared(Verdict.USER_MOVED)


@pytest.mark.parametrize("mark", ["[redacted]", "%5Bredacted%5D", "%255bredacted%255d"])
def test_a_mark_counts_in_any_spelling(mark: str) -> None:
    """In forms and URLs the mark is percent-encoded, and in those within others again."""
    stored, now = {**EVENT, "url": "/?t=abc"}, {**EVENT, "url": f"/?t={mark}"}

    assert compared(stored, now, marks=True) == Compared(Verdict.NOT_COMPARED)


def test_half_a_character_that_one_version_removed_changes_no_other_field() -> None:
    """A record with a lone surrogate is read in another way; a number beside it is the same as in one without."""
    stored, now = (
        b'{"content":1.10,"url":"?t=\\ud800","uuid":"u"}',
        b'{"content":1.10,"url":"?t=[redacted]","uuid":"u"}',
    )

    assert compare(stored, now, marks=True) == compare(now, stored, marks=True) == Compared(Verdict.NOT_COMPARED)


def test_marks_of_pseudonyms() -> None:
    """A pseudonym is a mark as well: of another version of the policy it may stand for the same."""
    policy = Redaction.parse({"user.username": "hmac", "remote_addr": "hmac"}, key=b"k" * 32)
    assert policy is not None
    line = text({**EVENT, "remote_addr": "203.0.113.7"})

    assert b"hmac-sha256:" in policy(line)
    assert compare(line, policy(line), marks=True) == Compared(Verdict.NOT_COMPARED)
    assert compare(line, policy(line)) == Compared(Verdict.CHANGED, ("remote_addr",))


def test_a_field_of_a_very_long_name() -> None:
    """A name that is longer than any receipt should hold is shortened, and still stands for that one field."""
    long = ["x" * 300 + end for end in "ab"]
    stored = {**EVENT, **dict.fromkeys(long, 1)}

    fields = compared(stored, {**EVENT, **dict.fromkeys(long, 2)}).fields

    assert len(set(fields)) == 2
    assert all(name.startswith("x" * 100 + "…") and len(name) < 150 for name in fields)
    assert compared(stored, {**stored, long[0]: 2}).fields[0] in fields


@pytest.mark.parametrize("depth", [50, 400])
def test_deep_nesting(depth: int) -> None:
    """A record that is nested deeply is compared like any other."""
    deep = '{"a":1,"b":' * depth + "1" + "}" * depth
    other = '{"b":' * depth + "1" + ',"a":1}' * depth
    stored, now = (f'{{"uuid":"u","content":{each}}}'.encode() for each in (deep, other))

    assert compare(stored, now) == SAME
    assert compare(stored, now.replace(b'"b":1', b'"b":2')).fields == ("content",)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def shape(value: object) -> object:
    """Return what a JSON value means, each kind apart from the others, numbers as they are written."""
    if isinstance(value, dict):
        return ("object", frozenset((name, shape(each)) for name, each in value.items()))
    if isinstance(value, list):
        return ("list", tuple(map(shape, value)))
    return (type(value).__name__, json.dumps(value))


@given(st.dictionaries(st.sampled_from(sorted(DOCUMENTED - {"timestamp", "user", "uuid"})), JSON), st.data())
def test_the_comparison_agrees_with_meaning(stored: dict[str, Any], data: st.DataObject) -> None:
    """Exactly the fields are named whose values mean something else, in whichever order their keys come."""
    drawn = data.draw(st.dictionaries(st.sampled_from(sorted(stored)), JSON)) if stored else {}
    now = {name: drawn.get(name, turned(value)) for name, value in stored.items()}

    other = sorted(name for name in stored if shape(stored[name]) != shape(now[name]))
    verdict = Verdict.CHANGED if other else Verdict.SAME
    assert compared(stored, now) == Compared(verdict, tuple(other))
