"""The sensor's shell: what it refuses, that all ways to wait give the same, and what it hands to the triggerer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred

from airflow_provider_akinon.audit_events.errors import AkinonError, InvalidInput
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from airflow_provider_akinon.task_run import has_task_state
from airflow_provider_akinon.triggers.audit_events import AuditEventsTrigger
from tests.support.servers import Connect

pytestmark = pytest.mark.xdist_group("sensors")
"""They share an API."""

START, END = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC)
WINDOW = {"start": "2026-01-05T00:00:00.000Z", "end": "2026-01-06T00:00:00.000Z"}
LONG_AGO = timedelta(days=36_500)
"""A ``max_lateness`` with which the window of these tests has to settle."""

with_state = pytest.mark.skipif(not has_task_state(), reason="this Airflow keeps no state between pokes")


def sensor(**arguments: Any) -> AuditEventsSensor:
    return AuditEventsSensor(task_id="wait", **{"start": START, "end": END, "poke_interval": 0.01, **arguments})


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    with Sandbox.start(events=0) as api:
        yield api


@pytest.fixture
def shop(api: Sandbox, connect: Connect) -> Iterator[Sandbox]:
    """An API without events, until the test adds some."""
    connect(api)
    yield api
    api.delete(api.uuids())


@pytest.fixture
def asked(api: Sandbox) -> Callable[[], list[int]]:
    """Return a function that gives the status of each answer that the API has given to this test."""
    before = len(api.requests())
    return lambda: [request["status"] for request in api.requests()[before:]]


def add(shop: Sandbox, number: int, **fields: Any) -> None:
    shop.insert({"timestamp": START + timedelta(hours=place), **fields} for place in range(number))


class State:
    """Stands for Airflow's ``task_state_store``: what a task keeps between two pokes."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return self.kept.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.kept[key] = value

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


# What the constructor refuses. --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"min_events": 0}, "min_events=0 waits for nothing"),
        ({"min_events": -1}, "min_events=-1"),
        ({"min_events": True}, "min_events=True"),
        ({"min_events": "3"}, "min_events='3'"),
        ({"settled_for": 60}, "settled_for=60 is not a duration"),
        ({"settled_for": timedelta(seconds=-1)}, "settled_for="),
        ({"max_lateness": None}, "max_lateness=None"),
        ({"max_lateness": timedelta(seconds=-1)}, "max_lateness="),
    ],
)
def test_wrong_values_are_refused(arguments: dict[str, Any], says: str) -> None:
    """A wrong value is named when the DAG is parsed."""
    with pytest.raises(InvalidInput, match=says):
        sensor(**arguments)


@pytest.mark.skipif(has_task_state(), reason="this Airflow keeps state between pokes")
def test_settling_between_pokes_needs_state() -> None:
    """Where Airflow keeps nothing between pokes, ``settled_for`` with them is refused; other ways to wait are not."""
    settled_for = timedelta(minutes=30)
    with pytest.raises(InvalidInput, match=r"needs Airflow 3\.3"):
        sensor(mode="reschedule", deferrable=False, settled_for=settled_for)

    sensor(mode="reschedule", deferrable=True, settled_for=settled_for)
    sensor(mode="poke", deferrable=False, settled_for=settled_for)
    sensor(mode="reschedule", deferrable=False)


@with_state
def test_settling_between_pokes_is_taken() -> None:
    """Where Airflow keeps state between pokes, ``settled_for`` goes with every way to wait."""
    assert sensor(mode="reschedule", deferrable=False, settled_for=timedelta(minutes=30)).reschedule


def test_how_many_to_wait_for() -> None:
    """One event is waited for, none where the window is to settle, and what is said where it is said."""
    assert sensor().min_events == 1
    assert sensor(settled_for=timedelta(0)).min_events == 0
    assert sensor(settled_for=timedelta(0), min_events=5).min_events == 5


# All ways to wait are alike. ----------------------------------------------------------------------------------


@pytest.mark.parametrize("settled_for", [None, timedelta(hours=1)], ids=["enough", "settled"])
@pytest.mark.parametrize("way", ["poke", "reschedule", "deferrable"])
def test_each_way_gives_the_same(
    shop: Sandbox, asked: Callable[[], list[int]], way: str, settled_for: timedelta | None
) -> None:
    """Where it is enough at the first look, each way to wait returns the same, and has asked once."""
    if way == "reschedule" and settled_for is not None and not has_task_state():
        pytest.skip("refused here, which another test shows")
    add(shop, 3, user=42)
    add(shop, 2, user=43)
    context: dict[str, Any] = {"task_state_store": State()} if has_task_state() else {}
    waiting = {"deferrable": True} if way == "deferrable" else {"deferrable": False, "mode": way}
    patient = sensor(filters={"user": 42}, min_events=3, settled_for=settled_for, **waiting)
    before = datetime.now(UTC) - timedelta(milliseconds=1)

    if way == "reschedule":
        # What Airflow does with a rescheduled sensor needs its database; the value is the poke's.
        found = patient.poke(context)
        assert found.is_done
        given = found.xcom_value
    else:
        given = patient.execute(context)

    settled_at = given.pop("settled_at")
    assert given == {"count": 3, "window": WINDOW}
    if settled_for is None:
        assert settled_at is None
    else:
        assert before <= datetime.fromisoformat(settled_at) <= datetime.now(UTC)
    assert asked() == [200]


def test_a_poking_sensor_keeps_what_it_saw(shop: Sandbox, asked: Callable[[], list[int]]) -> None:
    """A sensor that keeps its worker goes on from look to look until the count has been still for long enough."""
    add(shop, 2)
    still = timedelta(seconds=1)
    begun = datetime.now(UTC)
    patient = sensor(deferrable=False, settled_for=still, max_lateness=LONG_AGO, poke_interval=0.1, timeout=20)
    given = patient.execute({})

    assert given["count"] == 2
    assert datetime.fromisoformat(given["settled_at"]) - begun >= still - timedelta(milliseconds=2)
    assert len(asked()) > 2


@with_state
def test_a_rescheduled_sensor_keeps_what_it_saw(shop: Sandbox) -> None:
    """Each poke is a new sensor, in a new process: what was seen goes on in Airflow's state, and is removed after."""

    def poke() -> Any:
        still = timedelta(hours=1)
        return sensor(mode="reschedule", deferrable=False, settled_for=still, max_lateness=LONG_AGO).poke(context)

    state = State()
    context = {"task_state_store": state}
    add(shop, 2)
    assert not poke()
    [noted] = state.kept.values()
    assert noted["count"] == 2

    # As if that had been seen two hours ago; but now there are more.
    noted["since"] = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    add(shop, 1)
    assert not poke()
    [noted] = state.kept.values()
    assert noted["count"] == 3
    assert datetime.now(UTC) - datetime.fromisoformat(noted["since"]) < timedelta(minutes=1)

    noted["since"] = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    found = poke()
    assert found.is_done
    assert found.xcom_value["count"] == 3
    assert state.kept == {}


# Deferring. ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("growing", "most"),
    [
        ({}, None),
        ({"exponential_backoff": True}, 600.0),
        ({"exponential_backoff": True, "max_wait": timedelta(seconds=90)}, 90.0),
    ],
    ids=["steady", "growing", "bounded"],
)
def test_it_defers_to_the_right_trigger(
    shop: Sandbox, asked: Callable[[], list[int]], growing: dict[str, Any], most: float | None
) -> None:
    """A deferrable sensor looks once, and hands what it waits for, what it saw and its timeout to the triggerer."""
    add(shop, 2, user=42)
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    waiting = sensor(
        filters={"user": "42"},
        min_events=3,
        settled_for=timedelta(minutes=30),
        max_lateness=LONG_AGO,
        deferrable=True,
        poke_interval=20,
        timeout=600,
        **growing,
    )
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute({})

    assert deferred.value.timeout == timedelta(seconds=600)
    assert deferred.value.method_name == "execute_complete"
    trigger = deferred.value.trigger
    assert isinstance(trigger, AuditEventsTrigger)
    _, arguments = trigger.serialize()
    sighting = arguments.pop("sighting")
    assert arguments == {
        "akinon_conn_id": "akinon_default",
        **WINDOW,
        "filters": {"user": 42},
        "min_events": 3,
        "settled_for": 1800.0,
        "max_lateness": LONG_AGO.total_seconds(),
        "poke_interval": 20.0,
        "most_seconds_between": most,
    }
    assert sighting["count"] == 2
    assert before <= datetime.fromisoformat(sighting["since"]) <= datetime.now(UTC)
    assert asked() == [200]


def test_the_trigger_s_result_is_the_sensor_s() -> None:
    """What the trigger found is what the task returns, without what is only between the two."""
    result = {"count": 3, "window": WINDOW, "settled_at": None}
    assert sensor().execute_complete({}, {"status": "done", **result}) == result


@pytest.mark.parametrize(("permanent", "kind"), [(True, AirflowFailException), (False, AkinonError)])
def test_the_trigger_s_failure_is_the_sensor_s(permanent: bool, kind: type[Exception]) -> None:
    """A failure that does not pass ends the task for good, another one the try; the message is the trigger's."""
    event = {"status": "failed", "message": "The Akinon API answered 418", "permanent": permanent}
    with pytest.raises(kind, match="answered 418"):
        sensor().execute_complete({}, event)


# A refusal, however the sensor waits. -------------------------------------------------------------------------


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(("soft_fail", "kind"), [(False, AirflowFailException), (True, AirflowSkipException)])
def test_a_refusal(
    shop: Sandbox,
    asked: Callable[[], list[int]],
    connect: Connect,
    deferrable: bool,
    soft_fail: bool,
    kind: type[Exception],
) -> None:
    """A wrong key ends the task at once, after one request, as failed for good or, with ``soft_fail``, as skipped."""
    connect(shop, password="wrong")
    with pytest.raises(kind):
        sensor(deferrable=deferrable, soft_fail=soft_fail).execute({})

    assert asked() == [401]


@pytest.mark.parametrize(("soft_fail", "kind"), [(False, AirflowFailException), (True, AirflowSkipException)])
def test_a_refusal_of_the_trigger_s(soft_fail: bool, kind: type[Exception]) -> None:
    """A refusal that the trigger met ends the task as one that the sensor itself met, also with ``soft_fail``."""
    event = {"status": "failed", "message": "The Akinon API answered 401", "permanent": True}
    with pytest.raises(kind):
        sensor(soft_fail=soft_fail, deferrable=True).resume_execution("execute_complete", {"event": event}, {})
