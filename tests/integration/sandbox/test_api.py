"""The plain API: every parameter, every field, every error."""

from __future__ import annotations

import json
import time
import uuid as uuids
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import requests

from airflow_provider_akinon.sandbox import Sandbox
from tests.support.sandbox_client import END, START, Client

pytestmark = pytest.mark.xdist_group("plain")
"""They share an API."""

FIELDS = [
    *("content", "content_type", "headers", "object_id", "post_data", "query_params"),
    *("remote_addr", "timestamp", "url", "user", "uuid"),
]


def window(start: str = START, end: str = END) -> dict[str, str]:
    return {"timestamp__gte": start, "timestamp__lt": end}


def test_a_page_has_the_documented_shape(client: Client) -> None:
    """A page is count, next, previous and results, in compact JSON, and an event has the documented fields."""
    response = client.list(limit=2, page=2, **window())
    answer = response.json()
    assert list(answer) == ["count", "next", "previous", "results"]
    assert response.headers["Content-Type"] == "application/json"
    assert response.text.startswith('{"count":3000,"next":"http://127.0.0.1')
    assert "page=3" in answer["next"]
    assert "page=" not in answer["previous"]
    assert [list(event) for event in answer["results"]] == [FIELDS, FIELDS]


def test_pages_give_every_event_once(plain: Sandbox, client: Client) -> None:
    """All pages together are what the database holds, in the asked order."""
    events = [
        e for page in range(1, 16) for e in client.results(limit=200, page=page, sort="timestamp,uuid", **window())
    ]
    assert [event["uuid"] for event in events] == plain.uuids(START, END)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({}, 20),
        ({"limit": 7}, 7),
        ({"limit": 200}, 200),
        ({"limit": 5000}, 200),
        ({"limit": 0}, 20),
        ({"limit": "x"}, 20),
    ],
)
def test_limit_is_clamped_in_silence(client: Client, asked: dict[str, object], given: int) -> None:
    """A limit is honoured up to the largest; a wrong one is the default."""
    assert len(client.results(**asked)) == given


@pytest.mark.parametrize("page", ["16", "0", "-1", "x"])
def test_a_page_that_is_not_there_is_404(client: Client, page: str) -> None:
    """A page past the end, or no number, is DRF's 404."""
    response = client.list(limit=200, page=page, **window())
    assert (response.status_code, response.json()) == (404, {"detail": "Invalid page."})


@pytest.mark.parametrize(
    ("lookup", "holds"),
    [
        ("timestamp", lambda event, edge: event == edge),
        ("timestamp__gt", lambda event, edge: event > edge),
        ("timestamp__gte", lambda event, edge: event >= edge),
        ("timestamp__lt", lambda event, edge: event < edge),
        ("timestamp__lte", lambda event, edge: event <= edge),
    ],
)
def test_each_timestamp_filter_compares_microseconds(plain: Sandbox, client: Client, lookup: str, holds) -> None:
    """Each of the five filters counts what its comparison says, right at events of a microsecond's distance."""
    instants = [f"2025-06-01T00:00:00.00000{digit}Z" for digit in (1, 2, 2, 3)]
    given = plain.insert([{"timestamp": instant} for instant in instants])
    day = {"timestamp__gt": "2025-05-31T00:00:00Z", "timestamp__lt": "2025-06-02T00:00:00Z"}
    try:
        found = client.results(**{**day, lookup: instants[1]})
        expected = [uuid for uuid, instant in zip(given, instants, strict=True) if holds(instant, instants[1])]
        assert {event["uuid"] for event in found} == set(expected)
        assert {event["timestamp"] for event in found} == {i for i in instants if holds(i, instants[1])}
    finally:
        plain.delete(given)


def test_offsets_count_and_an_unencoded_plus_is_refused(plain: Sandbox, client: Client) -> None:
    """An encoded offset is honoured; an unencoded plus arrives as a space, which is no date-time."""
    assert client.list(timestamp__gte="2026-01-30T03:00:00+03:00").json()["count"] == plain.count(
        "2026-01-30T00:00:00Z"
    )
    response = client.get(f"{client.url}?timestamp__gte=2026-01-30T00:00:00+00:00", timeout=20)
    assert (response.status_code, response.json()) == (400, {"timestamp__gte": ["Enter a valid date/time."]})


@pytest.mark.parametrize("name", ["user", "content_type", "object_id"])
def test_each_integer_filter(plain: Sandbox, client: Client, name: str) -> None:
    """An integer filter gives the events of that value, and refuses what is no number."""
    sample = client.results(limit=200, **window())[7]
    value = 1001 if name == "user" else sample[name]
    answer = client.list(limit=200, **{name: value}, **window()).json()
    assert 0 < answer["count"] < 3000
    assert answer["count"] == plain.count(START, END, **{name: value})
    found = [event["user"]["pk"] if name == "user" else event[name] for event in answer["results"]]
    assert set(found) == {value}
    response = client.list(**{name: "x"})
    assert (response.status_code, response.json()) == (400, {name: ["Enter a number."]})


def test_unknown_and_empty_parameters_are_ignored(client: Client) -> None:
    """What the API does not know, and what is empty, filters nothing."""
    assert client.list(**window(), user="", usr="1", timestamp__ge="x", sort="").json()["count"] == 3000


@pytest.mark.parametrize("field", ["timestamp", "uuid", "content_type", "object_id"])
def test_sort_orders_both_ways(client: Client, field: str) -> None:
    """A field sorts upwards, and downwards with a leading dash."""
    up = [event[field] for event in client.results(limit=200, sort=field, **window())]
    down = [event[field] for event in client.results(limit=200, sort=f"-{field}", **window())]
    # ISO 8601 text does not sort at whole seconds: "…00Z" against "…00.5Z".
    key = (lambda text: text.replace("Z", "")) if field == "timestamp" else None
    assert up == sorted(up, key=key)
    assert down == sorted(down, key=key, reverse=True)
    assert up[0] != down[0]


def test_newest_come_first_by_default(client: Client) -> None:
    """Without a sort, and with one that is unknown, the newest events come first."""
    newest = client.results(limit=5, sort="-timestamp", **window())
    assert client.results(limit=5, **window()) == newest
    assert client.results(limit=5, sort="nonsense", **window()) == newest
    assert client.results(limit=5, sort="id", **window()) == client.results(limit=5, sort="timestamp,id", **window())


def test_one_event_by_its_uuid(client: Client) -> None:
    """The detail endpoint gives the record of the list; an unknown uuid, or none, is 404."""
    event = client.results(limit=1)[0]
    assert client.get(f"{client.url}{event['uuid']}/", timeout=20).json() == event
    for unknown in (uuids.UUID(int=1), "nonsense"):
        response = client.get(f"{client.url}{unknown}/", timeout=20)
        assert (response.status_code, response.json()) == (404, {"detail": "Not found."})


def test_another_remote_id_is_not_found(client: Client) -> None:
    """A number of another account in the path is 404, and only for who has a key."""
    url = client.url.replace("/remote/1/", "/remote/2/")
    response = client.get(url, timeout=20)
    assert (response.status_code, response.json()) == (404, {"detail": "Not found."})
    assert requests.get(url, timeout=20).status_code == 401


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        (None, "Authentication credentials were not provided."),
        ("sandbox-key", "Authentication credentials were not provided."),
        ("Bearer sandbox-key", "Authentication credentials were not provided."),
        ("Token wrong", "Invalid token."),
        ("Token", "Invalid token header. No credentials provided."),
        ("Token sandbox key", "Invalid token header. Token string should not contain spaces."),
    ],
)
def test_without_the_right_key_it_is_401(plain: Sandbox, client: Client, header: str | None, detail: str) -> None:
    """A key that is missing, bare, or wrong gets DRF's own refusal, and the log tells absent from wrong."""
    client.headers["Authorization"] = header  # None removes it
    response = client.list()
    assert (response.status_code, response.json()) == (401, {"detail": detail})
    assert response.headers["WWW-Authenticate"] == "Token"
    assert plain.requests()[-1]["authorization"] == ("wrong" if header else "absent")


def test_a_narrow_key_sees_only_events_of_users(plain: Sandbox, client: Client) -> None:
    """The second key counts and lists only events with a user, and finds no other by uuid."""
    system = next(event for event in client.results(limit=200) if event["user"] is None)
    client.headers["Authorization"] = "Token narrow"
    answer = client.list(limit=200, **window()).json()
    assert all(event["user"] for event in answer["results"])
    assert 0 < answer["count"] < plain.count(START, END)
    assert client.get(f"{client.url}{system['uuid']}/", timeout=20).status_code == 404


def test_nothing_can_be_written(client: Client) -> None:
    """The API is read-only."""
    response = client.post(client.url, json={}, timeout=20)
    assert (response.status_code, response.json()) == (405, {"detail": 'Method "POST" not allowed.'})


def test_records_survive_as_they_were_given(plain: Sandbox, client: Client) -> None:
    """Every kind of JSON, huge integers, line separators and Turkish text come out as they went in."""
    awkward = {
        "content": {"ünlü": "İstanbul 😀\u2028\n", "n": 2**70, "list": [None, True, -1.5, {}]},
        "headers": '{"Cookie": "made-up"}',
        "post_data": 2**65,
        "query_params": [],
        "user": None,
    }
    [uuid] = plain.insert([{"timestamp": "2025-07-01T12:00:00Z", **awkward}])
    try:
        response = client.get(f"{client.url}{uuid}/", timeout=20)
        assert {name: response.json()[name] for name in awkward} == awkward
        assert response.json()["timestamp"] == "2025-07-01T12:00:00Z"
        assert "\\u2028" in response.text
        assert str(2**70) in response.text
    finally:
        plain.delete([uuid])


@pytest.mark.parametrize("distorted", [False, True])
def test_users_are_read_live(faulty, distorted: bool) -> None:
    """The same event has another last login a second later, each user another one; nothing else of it moves."""
    sandbox, client = faulty(events=200, freeze_users=None, unstable_order=distorted)
    before = client.results(limit=200, sort="uuid")
    time.sleep(1)
    after = client.results(limit=200, sort="uuid")
    moved = set()
    for one, other in zip(before, after, strict=True):
        user, later = one.pop("user"), other.pop("user")
        assert one == other
        if user:
            moved.add((user["pk"], user["last_login"]))
            assert {name for name in user if user[name] != later[name]} == {"last_login", "modified_date"}
            assert user["last_login"] < later["last_login"]
            assert user["modified_date"] < later["modified_date"]
            seen = datetime.fromisoformat(user["last_login"])
            assert timedelta(0) < datetime.now(UTC) - seen < timedelta(minutes=11)
    people = {pk for pk, _ in moved}
    assert len(people) > 10
    assert len({login for _, login in moved}) > len(people) / 2
    uuid = before[0]["uuid"]
    sandbox.update(uuid, user={"pk": 7, "email": "x@example.com", "last_login": None})
    shown = client.get(f"{client.url}{uuid}/", timeout=20).json()["user"]
    assert (shown["pk"], shown["email"], list(shown)) == (7, "x@example.com", ["pk", "email", "last_login"])
    assert datetime.fromisoformat(shown["last_login"]) > datetime.now(UTC) - timedelta(minutes=11)


def test_frozen_users_are_those_of_the_event(client: Client) -> None:
    """With --freeze-users an event reads the same a second later, with the user that it was made with."""
    before = client.list(limit=200, sort="timestamp,uuid", **window()).content
    time.sleep(1)
    assert client.list(limit=200, sort="timestamp,uuid", **window()).content == before


def test_the_log_tells_what_was_asked_and_given(plain: Sandbox, client: Client) -> None:
    """A list request leaves its query, its host, and how many rows it skipped and gave, but never its key."""
    client.list(limit=50, page=3, **window())
    line = plain.requests()[-1]
    assert line["method"] == "GET"
    assert line["path"] == client.url.removeprefix(plain.url)
    assert line["query"].startswith("limit=50&page=3&timestamp__gte=2026-01-21T00%3A00%3A00Z")
    assert (line["status"], line["authorization"], line["fault"]) == (200, "right", None)
    assert plain.url.endswith(line["host"])
    assert (line["rows_skipped"], line["rows_given"]) == (100, 50)
    assert plain.key not in json.dumps(plain.requests())


def test_the_generated_events_are_awkward(client: Client) -> None:
    """The generated events have what makes real ones hard: bursts, nulls, every JSON kind, secrets, huge integers."""
    events = [e for page in range(1, 16) for e in client.results(limit=200, page=page, sort="timestamp", **window())]
    instants = Counter(event["timestamp"] for event in events)
    milliseconds = Counter(event["timestamp"][:23] for event in events)
    assert max(max(instants.values()), max(milliseconds.values())) == 300
    assert sum(event["timestamp"].endswith("T00:00:00Z") for event in events) == 10
    assert {type(event["content"]) for event in events} >= {type(None), dict, list, str, int}
    assert {type(event["post_data"]) for event in events} >= {type(None), dict, list, str}
    assert any(isinstance(event["content"], int) and event["content"] > 2**64 for event in events)
    assert 0.05 < sum(event["user"] is None for event in events) / 3000 < 0.2
    text = json.dumps(events, ensure_ascii=False)
    assert all(
        piece in text for piece in ("İ", "😀", "\u2028", "password=", "card_number", "Token made-up", "osessionid=")
    )
    assert 1000 < len(text.encode()) / 3000 < 1700
    office = sum("06:" <= event["timestamp"][11:14] < "15:" for event in events)
    assert office / 3000 > 0.5, "nine hours of Istanbul's working day"


def test_the_base_url_without_a_remote_id(faulty) -> None:
    """One sandbox serves one of the two documented base URLs, list and detail, and answers 404 at the other."""
    _, client = faulty(events=3, remote_id="none")
    assert client.url.endswith("/api/v1/data-warehouse/audit-events/")
    [event] = client.results(limit=1)
    assert client.get(f"{client.url}{event['uuid']}/").json()["uuid"] == event["uuid"]
    client.url = client.url.replace("/v1/", "/v1/remote/1/")
    assert (client.list().status_code, client.list().json()) == (404, {"detail": "Not found."})


def test_throttle_bare_key_and_other_settings(faulty) -> None:
    """A bare key, another key, remote id, page size and largest limit are what the flags say; throttling is DRF's."""
    sandbox, client = faulty(
        events=100, key="other", remote_id=7, bare_key=True, page_size=5, max_limit=9, throttle="4/min"
    )
    assert client.url.endswith("/remote/7/data-warehouse/audit-events/")
    client.headers["Authorization"] = "other"
    assert len(client.results()) == 5
    assert sandbox.requests()[-1]["authorization"] == "right"
    assert len(client.results(limit=100)) == 9
    client.headers["Authorization"] = "wrong"
    assert client.list().json() == {"detail": "Invalid token."}
    client.headers["Authorization"] = "Token other"
    assert [client.list().status_code for _ in range(3)] == [200, 200, 429]
    response = client.list()
    seconds = int(response.headers["Retry-After"])
    assert 0 < seconds <= 60
    assert response.json()["detail"].startswith(f"Request was throttled. Expected available in {seconds} second")
