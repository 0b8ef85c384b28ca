"""Filters: nothing empty or unknown is sent, and what comes back is compared."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.model import Filters


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Filters()),
        ({}, Filters()),
        ({"user": 42}, Filters(user=42)),
        ({"object_id": " 7 ", "content_type": "-1", "user": "0"}, Filters(user=0, content_type=-1, object_id=7)),
        ({"user": 10**30}, Filters(user=10**30)),
        (Filters(content_type=3), Filters(content_type=3)),
    ],
)
def test_integers_are_taken_also_as_text(given: object, expected: Filters) -> None:
    """A mapping of known names to integers, or to the text that a template renders, gives the filters."""
    assert Filters.parse(given) == expected


@pytest.mark.parametrize("value", ["", " ", None, "None", "4.2", 4.2, True, False, [42], {"pk": 42}, "٤٢", "1_000"])
@pytest.mark.parametrize("name", ["user", "content_type", "object_id"])
def test_a_value_that_is_no_integer_is_refused(name: str, value: object) -> None:
    """An empty filter would return everybody's events, so it and everything else but an integer is refused."""
    with pytest.raises(InvalidInput) as caught:
        Filters.parse({name: value})

    assert f"filters[{name!r}]={value!r} is not an integer" in str(caught.value)


@pytest.mark.parametrize("name", ["usr", "User", "timestamp", "user ", "limit", 5])
def test_an_unknown_name_is_refused(name: object) -> None:
    """The API would ignore an unknown parameter without a word, so it is refused, with the known names."""
    with pytest.raises(InvalidInput) as caught:
        Filters.parse({name: 1})

    assert f"unknown name {name!r}" in str(caught.value)
    assert "user, content_type, object_id" in str(caught.value)


@pytest.mark.parametrize("given", ["user=42", 42, ["user"], True])
def test_filters_are_a_mapping(given: object) -> None:
    """Anything but a mapping is refused, and the message shows how to write one."""
    with pytest.raises(InvalidInput, match=r"is not a mapping; write it like \{'user': 42\}"):
        Filters.parse(given)


def test_all_problems_are_reported_at_once() -> None:
    """One error names every wrong name and value."""
    with pytest.raises(InvalidInput) as caught:
        Filters.parse({"usr": 1, "user": "", "object_id": 1.5, "content_type": 3})

    assert [part in str(caught.value) for part in ("'usr'", "filters['user']=''", "filters['object_id']=1.5")] == [
        True,
        True,
        True,
    ]
    assert "content_type']" not in str(caught.value)


def test_only_what_is_set_is_asked_for() -> None:
    """The query holds no empty parameter; zero is a value. The order is fixed, whatever the mapping's."""
    filters = Filters.parse({"object_id": 7, "user": 0})

    assert filters.params() == {"user": "0", "object_id": "7"}
    assert list(filters.as_dict().items()) == [("user", 0), ("object_id", 7)]
    assert Filters().params() == {}


EVENT: dict[str, Any] = {"user": {"pk": 42, "id": "text"}, "content_type": 3, "object_id": 7}


@pytest.mark.parametrize(
    ("asked", "event"),
    [
        (Filters(), {}),
        (Filters(user=42, content_type=3, object_id=7), EVENT),
        (Filters(user=42), {"user": 42}),
        (Filters(user=42), {"user": {"pk": "42"}}),
        (Filters(object_id=7), {"object_id": "7", "user": None}),
        (Filters(user=10**30), {"user": {"pk": 10**30}}),
    ],
)
def test_an_event_that_was_asked_for_matches(asked: Filters, event: dict[str, Any]) -> None:
    """Nested or bare user, number or text: what names the same identity matches."""
    assert asked.mismatch(event) is None


@pytest.mark.parametrize(
    ("asked", "event", "difference"),
    [
        (Filters(user=43), EVENT, "user is 42, asked for 43"),
        (Filters(user=42), {"user": None}, "user is None, asked for 42"),
        (Filters(user=42), {}, "user is None, asked for 42"),
        (Filters(user=42), {"user": {"id": 42}}, "user is None, asked for 42"),
        (Filters(user=1), {"user": True}, "user is True, asked for 1"),
        (Filters(content_type=3, object_id=8), EVENT, "object_id is 7, asked for 8"),
        (Filters(content_type=4), EVENT, "content_type is 3, asked for 4"),
        (Filters(content_type=3), {"content_type": {"pk": 3}}, "content_type is {'pk': 3}, asked for 3"),
    ],
)
def test_an_event_that_was_not_asked_for_is_told(asked: Filters, event: dict[str, Any], difference: str) -> None:
    """Where the API ignored a filter, the difference is named."""
    assert asked.mismatch(event) == difference
