"""``akinon-audit probe`` against the sandbox, as it should be and in its moods."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_akinon import __main__ as command
from airflow_provider_akinon.audit_events.api import Settings, probe, probing, table_of
from airflow_provider_akinon.sandbox import Sandbox
from tests.support.clock import FakeClock
from tests.support.http_server import Answer, Server, page

MOODS: dict[str, tuple[dict[str, Any], dict[str, str], set[str]]] = {
    # the sandbox's flags, some of what is found, and what is marked
    "plain": (
        {},
        {
            "events": "600 in all",
            "sort": "is heeded",
            "limit": "is heeded; 20 by default, 200 for 500",
            "timestamp__gte and timestamp__lt": "count what they should",
            "content_type": "is heeded",
            "a page past the end": "Rejected 404",
            "a time that is none": "Rejected 400",
            "microseconds": "filters take microseconds, and times are shown whole",
        },
        set(),
    ),
    "no-order": ({"ignore_sort": True}, {"sort": "is ignored"}, set()),
    "its-own-pages": ({"ignore_limit": True}, {"limit": "is ignored; 20 by default, 20 for 500"}, set()),
    "no-filters": ({"ignore_filters": True}, {"user": "is ignored"}, {"user", "content_type", "object_id"}),
    "cut": ({"truncate": True}, {"microseconds": "times are cut in what is shown"}, set()),
    "frozen": ({"freeze_users": True}, {"the user in an event": "did not move between two requests"}, set()),
    "commerce": ({"remote_id": "none"}, {}, {"base URL and key"}),
    "empty": ({"events": 0}, {"events": "0 in all"}, {"page numbers"}),
}


@pytest.mark.parametrize(("flags", "found", "marked"), MOODS.values(), ids=MOODS)
def test_each_mood_is_found_out(flags: dict[str, Any], found: dict[str, str], marked: set[str]) -> None:
    """What is wrong with the API is found, nothing else is marked, and requests are few, apart, and read only."""
    clock = FakeClock()
    with Sandbox.start(**{"events": 600, "days": 2, **flags}) as api:
        if flags.get("truncate"):
            api.insert([{"timestamp": datetime.now(UTC).replace(microsecond=123_456) - timedelta(minutes=5)}])
        findings = probe(Settings.parse(host=api.url, password=api.key), clock=clock)
        asked = api.requests()
    lines = findings.lines

    assert {line.about for line in lines if line.is_bad} == marked
    for about, text in found.items():
        assert text in [line.found for line in lines if line.about == about.strip()]
    assert len(asked) == findings.requests <= probing.MOST_REQUESTS
    assert clock.waits.count(probing.PAUSE) == findings.requests - 1
    assert all(line.follows for line in lines)
    text = "\n".join(table_of(findings)) + json.dumps(findings.as_dict())
    assert api.key not in text
    assert api.url.removeprefix("http://") not in text


def test_no_value_of_an_event_is_shown() -> None:
    """Whatever an event holds, neither form shows it."""
    record = {
        "uuid": "0a1b2c3d-1111-4222-8333-444455556666",
        "timestamp": "2026-01-31T12:34:56.789Z",
        "remote_addr": "203.0.113.77",
        "user": {"pk": 4711, "email": "ayse@example.com"},
    }
    with Server(page(1, json.dumps(record), next="http://other.example.org/?page=2")) as server:
        findings = probe(Settings.parse(host=server.url, password="s3cr3t-K3y"), clock=FakeClock())
    text = "\n".join(table_of(findings)) + json.dumps(findings.as_dict())

    for value in (record["uuid"], "12:34:56", "203.0.113.77", "4711", "ayse", "other.example.org", "s3cr3t"):
        assert str(value) not in text
    assert "points to another origin" in text
    assert findings.requests <= probing.MOST_REQUESTS


@pytest.mark.parametrize(
    "body",
    [
        '{"count": 2, "next": "http://[", "previous": null, "results": [{}, {"timestamp": 7, "uuid": []}]}',
        '{"count": 2, "next": null, "previous": null, "results": [1, null]}',
        '{"count": 1, "next": null, "previous": null, "results": [{"timestamp": "0001-01-01T00:00:00+14:00"}]}',
        '{"count": 1, "next": null, "results": [{"timestamp": "9999-12-31T23:59:59Z", "user": {}}]}',
    ],
)
def test_answers_that_no_api_gives(body: str) -> None:
    """Whatever it cannot make sense of is a line that says so, and ends nothing."""
    with Server(Answer(200, body.encode(), {"Content-Type": "application/json"})) as server:
        findings = probe(Settings.parse(host=server.url, password="k"), clock=FakeClock())

    assert any(line.is_bad for line in findings.lines)
    assert findings.requests <= probing.MOST_REQUESTS


def test_the_requests_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they are used up, the probe says so and ends."""
    monkeypatch.setattr(probing, "MOST_REQUESTS", 7)
    with Server(page(0)) as server:
        findings = probe(Settings.parse(host=server.url, password="k"), clock=FakeClock())

    assert findings.requests == len(server.requests) == 7
    assert findings.lines[-1].found == "all 7 are used"


def test_an_edge_is_told_from_the_api() -> None:
    """Where nothing of the API answers, the refusals are all that is said, by their kind and status."""
    with Server(Answer(403, b"<html>203.0.113.77</html>", {"Content-Type": "text/html"})) as server:
        findings = probe(Settings.parse(host=server.url, password="k"), clock=FakeClock())

    assert len(findings.lines) == findings.requests == 4
    assert all(line.found.endswith("WrongServer 403") for line in findings.lines)


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A connection's id, or a host with the key from the environment, give a table or JSON, and a status."""
    monkeypatch.setattr(probing.probe, "__kwdefaults__", {**probing.probe.__kwdefaults__, "pause": 0})
    with Sandbox.start(events=100, days=1) as api:
        monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", api.connection_json())
        assert command.main(["probe", "--conn-id", "akinon_default"]) == 0
        assert "counts prove a window" in capsys.readouterr().out
        assert command.main(["probe", "--host", api.url]) == 2
        assert "AKINON_API_KEY is not set" in capsys.readouterr().err
        monkeypatch.setenv("AKINON_API_KEY", api.key)
        assert command.main(["probe", "--host", api.url, "--remote-id", "none", "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["requests"] <= probing.MOST_REQUESTS
    assert command.main(["probe", "--conn-id", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
