"""The sensor: one small request for each poke, and true as soon as the window holds enough."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_akinon.audit_events.errors import ProtocolError, Unavailable
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from tests.support.exporting import SECOND, Span, list_requests, spread
from tests.support.http_server import Answer, Server, page
from tests.support.servers import Connect, Hostile


def poke(context: dict[str, Any] | None = None, **arguments: Any) -> bool:
    return bool(AuditEventsSensor(task_id="wait", **arguments).poke(context or {}))


def test_it_waits_for_the_first_event(shop: Sandbox, connect: Connect, day: Span) -> None:
    """An empty window is not enough; one event in it is, and one at its end is not in it."""
    connect(shop)
    sensor = AuditEventsSensor(task_id="wait", start=day.start, end=day.end)

    shop.insert([{"timestamp": day.end}, {"timestamp": day.start - SECOND}])
    assert not sensor.poke({})
    shop.insert([{"timestamp": day.start}])
    assert sensor.poke({})


@pytest.mark.parametrize("context", ["interval", "partition"])
def test_the_window_comes_from_the_run(shop: Sandbox, connect: Connect, day: Span, context: str) -> None:
    """Without edges, the run's interval or partition is what is waited for."""
    connect(shop)
    run: dict[str, Any] = {"data_interval_start": day.start, "data_interval_end": day.end}
    if context == "partition":
        run = {"partition_date": day.start}
    arguments = {"partition_period": day.end - day.start}

    assert poke(run, **arguments) is False
    shop.insert([{"timestamp": day.end - SECOND}])
    assert poke(run, **arguments) is True


def test_it_counts_what_matches(shop: Sandbox, connect: Connect, day: Span) -> None:
    """``min_events`` and filters count together; each poke is one request for one event."""
    connect(shop)
    shop.insert({"timestamp": time, "user": 70 + place % 2, "content_type": 1} for place, time in _numbered(day, 11))
    window = {"start": day.start, "end": day.end}
    before = len(shop.requests())

    assert poke(**window, min_events=11) is True
    assert poke(**window, min_events=12) is False
    assert poke(**window, min_events=6, filters={"user": 70}) is True
    assert poke(**window, min_events=6, filters={"user": "71", "content_type": 1}) is False
    assert poke(**window, filters={"content_type": 2}) is False
    asked = list_requests(shop, before)
    assert len(asked) == len(shop.requests()) - before == 5
    assert all("limit=1" in entry["query"].split("&") for entry in asked)
    assert [entry["rows_given"] for entry in asked] == [1, 1, 1, 1, 0]


def test_it_ends_on_a_wrong_key(shop: Sandbox, connect: Connect, day: Span) -> None:
    """A refusal that waiting cannot mend ends the task, rather than the sensor's patience."""
    connect(shop, password="wrong")
    with pytest.raises(AirflowFailException, match=r"401: Invalid token\."):
        poke(start=day.start, end=day.end)


@pytest.mark.usefixtures("impatient")
def test_an_outage_can_be_retried(hostile: Hostile, day: Span) -> None:
    """An API that is down fails the poke with an error that Airflow may retry."""
    hostile(events=0, faults=1, fault="502")
    with pytest.raises(Unavailable, match="502"):
        poke(start=day.start, end=day.end)


def _numbered(day: Span, number: int) -> list[tuple[int, Any]]:
    return list(enumerate(spread(day, number)))


@pytest.mark.usefixtures("impatient")
def test_an_edges_page_passes_once_the_api_has_answered(monkeypatch: pytest.MonkeyPatch, day: Span) -> None:
    """Before the first look has an answer it is final; after that, and after a reschedule, it is as a 502."""
    edge = Answer(403, b"<html>", {"Content-Type": "text/html"})
    with Server(edge) as server:
        connection = {"conn_type": "akinon", "host": server.url, "password": "k"}
        monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", json.dumps(connection))
        sensor = AuditEventsSensor(task_id="wait", start=day.start, end=day.end)
        with pytest.raises(AirflowFailException, match="Check Host, the base URL"):
            sensor.poke({})
        server.answers[:] = [page(0), edge, edge, page(0), edge]
        assert [bool(sensor.poke({})), bool(sensor.poke({}))] == [False, False]
        with pytest.raises(ProtocolError, match="The API has answered in this task"):
            sensor.poke({})
        anew = AuditEventsSensor(task_id="wait", start=day.start, end=day.end, mode="reschedule")
        with pytest.raises(ProtocolError, match="The API has answered in this task"):
            anew.poke({"task_reschedule_count": 1})
