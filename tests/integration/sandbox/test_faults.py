"""Every way in which the API, or the network before it, can be told to behave worse."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import requests

from airflow_provider_akinon.sandbox import Sandbox
from tests.support.clock import LONG
from tests.support.sandbox_client import END, Client

INSTANT = "2025-06-01T12:00:00.123456Z"
AROUND = {"timestamp__gte": "2025-06-01T00:00:00Z", "timestamp__lt": "2025-06-02T00:00:00Z"}


@pytest.mark.parametrize("ignore_sort", [False, True])
def test_unstable_order_moves_only_equal_timestamps(faulty, ignore_sort: bool) -> None:
    """Equal timestamps come in another order each time; others stay in order; nothing comes twice in a page."""
    sandbox, client = faulty(events=0, unstable_order=True, ignore_sort=ignore_sort)
    burst = set(sandbox.insert([{"timestamp": INSTANT}] * 40))
    [early, late] = sandbox.insert([{"timestamp": "2025-06-01T11:00:00Z"}, {"timestamp": "2025-06-01T13:00:00Z"}])
    pages = [[e["uuid"] for e in client.results(sort="timestamp", limit=100, **AROUND)] for _ in range(8)]
    first, last = (late, early) if ignore_sort else (early, late)
    assert all(page[0] == first and page[-1] == last and set(page[1:-1]) == burst for page in pages)
    assert len({tuple(page) for page in pages}) == 8
    assert len({page[1] for page in pages}) > 3, "any of them may come first"


def test_ignored_parameters_are_ignored(faulty) -> None:
    """With the flags for it, sort, limit and the integer filters change nothing; the window still does."""
    sandbox, client = faulty(events=500, ignore_sort=True, ignore_limit=True, ignore_filters=True)
    window = {"timestamp__gte": "2026-01-25T00:00:00Z", "timestamp__lt": END}
    plain = client.list(**window).json()
    assert plain["count"] == sandbox.count("2026-01-25T00:00:00Z", END) < 500
    asked = client.list(sort="timestamp", limit=7, user=1001, content_type=12, object_id=1, **window).json()
    assert (asked["count"], asked["results"]) == (plain["count"], plain["results"])
    assert len(asked["results"]) == 20
    instants = [event["timestamp"] for event in asked["results"]]
    assert instants[0] > instants[-1]


def test_truncate_shows_milliseconds_and_filters_microseconds(faulty) -> None:
    """A shown timestamp is cut to milliseconds, so that a filter by it misses the event."""
    sandbox, client = faulty(events=0, truncate=True)
    [uuid, whole] = sandbox.insert([{"timestamp": INSTANT}, {"timestamp": "2025-06-01T13:00:00Z"}])
    shown = [event["timestamp"] for event in client.results(sort="timestamp", **AROUND)]
    assert shown == ["2025-06-01T12:00:00.123Z", "2025-06-01T13:00:00.000Z"]
    assert client.list(timestamp=shown[0]).json()["count"] == 0
    assert client.list(timestamp=INSTANT).json()["results"][0]["uuid"] == uuid
    assert client.get(f"{client.url}{whole}/", timeout=20).json()["timestamp"] == shown[1]


def test_insert_while_reading_adds_what_is_asked_for_and_then_is_quiet(faulty) -> None:
    """Each of the first N list requests inserts one event of its window and filters before it counts."""
    sandbox, client = faulty(events=200, insert_while_reading=4)
    counts = [client.list(limit=1, user=77, content_type=12, **AROUND).json()["count"] for _ in range(2)]
    assert counts == [1, 2]
    assert sandbox.count("2025-06-01T00:00:00Z", "2025-06-02T00:00:00Z", user=77, content_type=12) == 2
    instant = {"timestamp__gt": "2025-07-01T00:00:00Z", "timestamp__lte": "2025-07-01T00:00:00.000001Z"}
    assert client.results(**instant)[0]["timestamp"] == "2025-07-01T00:00:00.000001Z"
    assert client.list(timestamp__gte=END, timestamp__lt=END).json()["count"] == 0
    assert client.list(timestamp="x").status_code == 400
    assert [client.list().json()["count"] for _ in range(2)] == [204, 204]
    assert len(set(sandbox.uuids())) == 204


def test_delete_while_reading_removes_what_is_asked_for_and_then_is_quiet(faulty) -> None:
    """Each of the first N list requests deletes one event of its window before it counts."""
    sandbox, client = faulty(events=200, delete_while_reading=3)
    kept = set(sandbox.uuids())
    sandbox.insert([{"timestamp": INSTANT}] * 5)
    assert [client.list(limit=1, **AROUND).json()["count"] for _ in range(5)] == [4, 3, 2, 2, 2]
    assert kept <= set(sandbox.uuids())
    assert sandbox.count() == 202


def test_faults_come_at_their_rate_and_from_the_seed(faulty) -> None:
    """The asked share of requests fails, in every kind, and in the same order for the same seed."""
    kinds = []
    for _ in range(2):
        sandbox, client = faulty(events=30, faults=0.5)
        for _ in range(80):
            try:
                client.list(limit=2)
            except requests.RequestException:
                client.close()
        kinds.append([line["fault"] for line in sandbox.requests()])
    assert kinds[0] == kinds[1]
    counts = Counter(kinds[0])
    assert 25 < counts.pop(None) < 55
    assert set(counts) == {"502", "503", "429", "html", "empty", "truncated", "reset"}


def test_each_fault_is_what_it_is_called(faulty) -> None:
    """Each kind of fault reaches the client as the failure it stands for."""
    sandbox, client = faulty(events=100, faults=1)
    answers: dict[str, tuple[int, str, str | None]] = {}
    resets: list[str] = []
    for _ in range(100):
        try:
            response = client.list(limit=50)
        except requests.RequestException as error:
            resets.append(str(error))
            client.close()
            kind = "reset"
        else:
            kind = sandbox.requests()[-1]["fault"]
            answers[kind] = (response.status_code, response.text, response.headers.get("Retry-After"))
        assert sandbox.requests()[-1]["fault"] == kind
    assert resets
    assert all("Connection reset by peer" in error for error in resets)
    assert answers["502"][0] == 502
    assert "<html>" in answers["502"][1]
    assert (answers["503"][0], answers["503"][2]) == (503, "1")
    assert (answers["429"][0], answers["429"][2]) == (429, "1")
    assert "throttled" in answers["429"][1]
    assert answers["html"][0] == 200
    assert answers["html"][1].startswith("<html>")
    assert answers["empty"][:2] == (200, "")
    assert answers["truncated"][0] == 200
    assert answers["truncated"][1].startswith('{"count":100,')
    assert not answers["truncated"][1].endswith("}")


def test_drip_sends_a_byte_at_a_time(faulty) -> None:
    """A dripping answer is whole in the end, and takes the asked time."""
    _, client = faulty(events=10, faults=1, fault="drip", hang_seconds=1)
    begun = time.monotonic()
    body = client.get(client.url, params={"limit": 1}, timeout=20).content
    assert time.monotonic() - begun > 0.9
    assert body.startswith(b'{"count":10,')
    assert body.endswith(b"}]}")

    _, slow = faulty(events=10, faults=1, fault="drip", hang_seconds=10 * LONG)
    begun = time.monotonic()
    with slow.get(slow.url, params={"limit": 1}, stream=True, timeout=20) as response:
        assert response.raw.read(5) == b'{"cou'
    assert time.monotonic() - begun < LONG


def test_hang_says_nothing_and_does_not_delay_the_stop(faulty) -> None:
    """A hanging request times out at the client, and the sandbox stops at once all the same."""
    sandbox, client = faulty(events=10, faults=1, fault="hang")
    with pytest.raises(requests.ReadTimeout):
        client.get(client.url, timeout=0.5)
    begun = time.monotonic()
    assert sandbox.stop() == 0
    assert time.monotonic() - begun < LONG


def test_redirect_sends_list_requests_elsewhere(faulty) -> None:
    """List requests answer 302 to the other server's same path and query; one event is served here."""
    sandbox, client = faulty(events=10, redirect_to="http://127.0.0.1:9/")
    response = client.list(limit=2)
    assert response.status_code == 302
    assert response.headers["Location"] == client.url.replace(sandbox.url, "http://127.0.0.1:9") + "?limit=2"
    assert client.get(f"{client.url}{sandbox.uuids()[0]}/", timeout=20).status_code == 200
    assert [line["fault"] for line in sandbox.requests()] == ["redirect", None]


def test_latency_delays_each_answer(faulty) -> None:
    """Each answer waits for the asked time."""
    sandbox, client = faulty(events=10, latency_ms=300)
    begun = time.monotonic()
    client.results()
    assert time.monotonic() - begun >= 0.3
    assert sandbox.requests()[-1]["seconds"] >= 0.3


def test_faults_combine(faulty) -> None:
    """Flags of the API and of the network work together."""
    _, client = faulty(events=300, faults=0.5, fault="502", truncate=True, ignore_limit=True, page_size=30)
    answers = [client.list(limit=1) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200, 502}
    good = next(answer for answer in answers if answer.status_code == 200).json()["results"]
    assert len(good) == 30
    assert all(len(event["timestamp"]) == len("2026-01-01T00:00:00.000Z") for event in good)


def test_the_plain_api_loads_no_faults(plain: Sandbox, client: Client) -> None:
    """Without a flag no request of the plain sandbox was spoilt."""
    client.results()
    assert {line["fault"] for line in plain.requests()} == {None}
