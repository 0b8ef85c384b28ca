"""What a DAG author can ask of the API through the hook: each parameter of the list endpoint, and the detail."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pendulum
import pytest

from airflow_provider_akinon.audit_events.errors import InvalidInput, Rejected, UnrequestedEvent
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import (
    SECOND,
    Span,
    export,
    get,
    list_requests,
    objects,
    records,
    refusal,
    spread,
    url_of,
)
from tests.support.servers import Connect, Hostile

USER = 990_001
BEGIN = datetime(2024, 6, 1, 12, tzinfo=UTC)
NOBODY = "123e4567-e89b-12d3-a456-426614174000"


def at(number: float) -> datetime:
    return BEGIN + number * timedelta(milliseconds=1)


@pytest.fixture(scope="module")
def five(shop: Sandbox) -> list[str]:
    """Five events of one user, a millisecond apart, with the object ids 5 to 1, in the order of time."""
    return shop.insert(
        {"timestamp": at(number), "user": USER, "content_type": 7_000 + number, "object_id": 990_005 - number}
        for number in range(5)
    )


@pytest.fixture
def hook(shop: Sandbox, connect: Connect) -> AkinonHook:
    connect(shop)
    return AkinonHook()


@pytest.mark.parametrize(
    ("params", "places"),
    [
        pytest.param({"user": USER}, [0, 1, 2, 3, 4], id="user"),
        pytest.param({"content_type": 7_003}, [3], id="content_type"),
        pytest.param({"object_id": 990_001}, [4], id="object_id"),
        pytest.param({"timestamp": at(2)}, [2], id="timestamp"),
        pytest.param({"timestamp__gt": at(2), "user": USER}, [3, 4], id="timestamp__gt"),
        pytest.param({"timestamp__gte": at(2), "user": USER}, [2, 3, 4], id="timestamp__gte"),
        pytest.param({"timestamp__lt": at(2), "user": USER}, [0, 1], id="timestamp__lt"),
        pytest.param({"timestamp__lte": at(2), "user": USER}, [0, 1, 2], id="timestamp__lte"),
        pytest.param({"timestamp__gte": at(1), "timestamp__lt": at(4)}, [1, 2, 3], id="a-window"),
        pytest.param({"timestamp": "2024-06-01T15:00:00.002+03:00"}, [2], id="text-with-an-offset"),
        pytest.param({"timestamp": pendulum.instance(at(2)).in_timezone("Europe/Istanbul")}, [2], id="pendulum"),
        pytest.param({"sort": "timestamp", "user": USER}, [0, 1, 2, 3, 4], id="sort"),
        pytest.param({"sort": "-timestamp", "user": USER}, [4, 3, 2, 1, 0], id="sort-descending"),
        pytest.param({"sort": "object_id", "user": USER}, [4, 3, 2, 1, 0], id="sort-by-another-field"),
        pytest.param({"sort": "timestamp", "user": USER, "limit": 2}, [0, 1], id="limit"),
        pytest.param({"sort": "timestamp", "user": USER, "limit": 2, "page": 3}, [4], id="page"),
    ],
)
def test_each_parameter_of_the_list(
    hook: AkinonHook, shop: Sandbox, five: list[str], params: dict[str, Any], places: list[int]
) -> None:
    """A parameter reaches the API under its own name, and the API's answer comes back whole."""
    answer = hook.list_page(**params)

    found = [event["uuid"] for event in answer["results"]]
    if "sort" not in params:
        found, places = sorted(found), sorted(places, key=lambda place: five[place])
    assert found == [five[place] for place in places]
    assert answer["count"] == (5 if "limit" in params else len(places))
    last = list_requests(shop)[-1]
    assert (last["status"], last["authorization"]) == (200, "right")
    assert answer == get(shop, shop.url + last["path"] + "?" + last["query"]).json()


@pytest.mark.parametrize(
    "params",
    [
        {"usr": 1},
        {"cursor": "x"},
        {"user": ""},
        {"user": None},
        {"user": "42"},
        {"user": 4.2},
        {"user": True},
        {"content_type": "orders"},
        {"object_id": [1]},
        {"limit": "all"},
        {"page": ""},
        {"sort": ""},
        {"sort": "-"},
        {"sort": None},
        {"timestamp": ""},
        {"timestamp__gte": "yesterday"},
        {"timestamp__gte": datetime(2024, 6, 1)},  # noqa: DTZ001 - without a time zone on purpose
        {"timestamp__lt": "2024-06-01T00:00:00"},
        {"timestamp__lte": 1717200000},
    ],
    ids=repr,
)
def test_what_the_api_would_ignore_is_not_sent(hook: AkinonHook, shop: Sandbox, params: dict[str, Any]) -> None:
    """An unknown name, an empty value or one of another type is refused by name, before any request."""
    before = len(shop.requests())
    [(name, value)] = params.items()

    with pytest.raises(InvalidInput) as caught:
        hook.list_page(**params)

    known = name not in ("usr", "cursor")
    assert (f"{name}={value!r}" if known and isinstance(value, str) else name) in str(caught.value)
    assert len(shop.requests()) == before


def test_a_page_past_the_end(hook: AkinonHook, five: list[str]) -> None:
    """The API's own refusal comes back as data."""
    assert len(five) == 5
    with pytest.raises(Rejected, match=r"Invalid page\.") as caught:
        hook.list_page(user=USER, limit=5, page=2)
    assert (caught.value.status, caught.value.detail) == (404, "Invalid page.")


def test_one_event(hook: AkinonHook, shop: Sandbox, five: list[str]) -> None:
    """An event comes by its uuid, as text in any case or as a `UUID`, as the API has it."""
    truth = get(shop, f"{url_of(shop)}{five[0]}/").json()

    assert truth["user"]["pk"] == USER
    for uuid in (five[0], UUID(five[0]), five[0].upper()):
        assert hook.get_event(uuid) == truth


def test_no_such_event(hook: AkinonHook) -> None:
    """A uuid that the API does not know is its 404, tried once."""
    with pytest.raises(Rejected, match=r"Not found\.") as caught:
        hook.get_event(NOBODY)
    assert caught.value.status == 404


@pytest.mark.parametrize("uuid", ["", "12", "../../2/data-warehouse", f"{NOBODY}/..", None, 5])
def test_what_is_not_a_uuid_is_not_sent(hook: AkinonHook, shop: Sandbox, uuid: Any) -> None:
    """No path is made of what is not a uuid."""
    before = len(shop.requests())
    with pytest.raises(InvalidInput, match="is not a UUID"):
        hook.get_event(uuid)
    assert len(shop.requests()) == before


def test_all_events_of_a_window(hook: AkinonHook, shop: Sandbox, day: Span) -> None:
    """`iter_events` gives whole events, each once, in order; `count` says how many with one request."""
    shop.insert({"timestamp": time, "user": 5} for time in spread(day, 150))
    shop.insert({"timestamp": time, "user": 6} for time in spread(day, 150))

    assert list(hook.iter_events(*day)) == [json.loads(record) for record in records(shop, day)]
    assert [event["uuid"] for event in hook.iter_events(*day, {"user": 5})] == shop.uuids(*day, user=5)

    before = len(shop.requests())
    assert hook.count(*day) == 300
    assert hook.count(*day, {"user": 6}) == 150
    assert hook.count(day.start, day.start + SECOND) == 6
    assert [entry["rows_given"] for entry in list_requests(shop, before)] == [1, 1, 1]


@pytest.mark.parametrize(
    "filters",
    [
        {"usr": 1},
        {"timestamp": 1},
        {"user": ""},
        {"user": None},
        {"user": "x"},
        {"user": 1.0},
        {"user": True},
        "user=1",
    ],
    ids=repr,
)
def test_wrong_filters_are_refused(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, filters: Any
) -> None:
    """No spelling of a filter widens an export to everybody's events: the task ends before any request."""
    connect(shop)
    before = len(shop.requests())

    assert "filters" in refusal(bucket, *day, filters=filters)

    with pytest.raises(InvalidInput, match="filters"):
        AkinonHook().count(*day, filters)
    with pytest.raises(InvalidInput, match="filters"):
        next(AkinonHook().iter_events(*day, filters))
    assert len(shop.requests()) == before
    assert objects(s3, bucket) == []


def test_an_api_that_ignores_filters(hostile: Hostile, s3: LocalS3, bucket: str) -> None:
    """Events of others are noticed: the task says whose came, and nothing is written."""
    hostile(events=300, ignore_filters=True)
    day = Span(datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC))

    problem = refusal(bucket, *day, filters={"user": 1001})

    assert "The API returned event " in problem
    assert "user" in problem
    assert "1001" in problem
    assert objects(s3, bucket) == []
    with pytest.raises(UnrequestedEvent):
        list(AkinonHook().iter_events(*day, {"content_type": 12}))
    # What is not filtered is not at risk.
    assert export(bucket, *day)["count"] > 0
