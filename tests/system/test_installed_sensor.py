"""Deferred sensors in a whole Airflow, on both lines: they wait in the triggerer, whatever happens to it."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from airflow_provider_akinon.sandbox import Sandbox
from tests.support.airflow_installation import AIRFLOW_3, AirflowInstallation
from tests.support.system import System

pytestmark = pytest.mark.system

DAYS = [datetime(2026, 1, number, tzinfo=UTC) for number in range(1, 6)]
HOUR = timedelta(hours=1)
SETTLED_FOR = timedelta(seconds=4)
"""What ``dags/waiting`` asks for."""
WAIT_TIMEOUT = 240.0
"""Seconds that anything may take here; a killed triggerer is taken for dead after some 5 s, and starts in 20 s."""


class Try(NamedTuple):
    """The only task of a DAG's only run, as the metadata database has it."""

    state: str
    number: int
    trigger_id: int | None
    ended: datetime | None


@dataclass(frozen=True)
class World:
    """An installation with a triggerer, and the API that its sensors ask."""

    airflow: AirflowInstallation
    sandbox: Sandbox

    def task(self, dag_id: str) -> Try | None:
        """Return the task that waits; None before it has been started."""
        statement = "SELECT state, try_number, trigger_id, end_date FROM task_instance WHERE dag_id = %s"
        found = self.airflow.database.query(statement, dag_id)
        return Try(*found[0]) if found else None

    def wait_for_state(self, dag_id: str, *states: str) -> Try:
        """Wait until the task is in one of these states, and return it."""

        def look() -> Try | None:
            found = self.task(dag_id)
            return found if found and found.state in states else None

        return self.airflow.wait_for(f"{dag_id} to be {' or '.join(states)}", look, WAIT_TIMEOUT)

    def looks(self, day: datetime) -> list[datetime]:
        """Return when the API was asked for a day."""
        start = f"timestamp__gte={day:%Y-%m-%d}T"
        requests = [request for request in self.sandbox.requests() if start in request["query"]]
        return [datetime.fromisoformat(request["time"]) for request in requests]

    def wait_for_looks(self, day: datetime, number: int) -> None:
        """Wait until the API has been asked for a day this many times more."""
        goal = len(self.looks(day)) + number
        self.airflow.wait_for(f"{number} looks at {day}", lambda: len(self.looks(day)) >= goal, WAIT_TIMEOUT)

    def results(self, dag_id: str) -> list[dict[str, Any]]:
        """Return what the DAG's task has given to XCom."""
        statement = "SELECT value FROM xcom WHERE dag_id = %s AND key = 'return_value'"
        return [_decoded(value) for (value,) in self.airflow.database.query(statement, dag_id)]

    def earlier_tries(self, dag_id: str) -> int:
        """Return how many tries Airflow has put away because it started another."""
        statement = "SELECT count(*) FROM task_instance_history WHERE dag_id = %s"
        return int(self.airflow.database.query(statement, dag_id)[0][0])

    def insert(self, day: datetime, number: int) -> None:
        """Add events to a day."""
        self.sandbox.insert({"timestamp": day + HOUR * place} for place in range(number))


@pytest.fixture(scope="module")
def world(system: System) -> World:
    """The installation, in which the DAGs of ``dags/waiting`` have begun to run."""
    return World(system.airflow, system.awaited)


@dataclass(frozen=True)
class Kill:
    """A kill of the triggerer, with three events of one day and two more of another inserted while it lay killed."""

    inserted: datetime
    """When the events were in."""
    looks: int
    """How often the API was asked for the two days after that, before the next triggerer was started."""
    states: tuple[str, str]
    """Those of the two tasks just before the next triggerer was started."""


@pytest.fixture(scope="module")
def kill(world: World) -> Kill:
    """The triggerer has been killed while two sensors waited, and the next one was started."""
    for dag_id in ("survives", "settles"):
        world.wait_for_state(dag_id, "deferred")
    world.insert(DAYS[2], 2)
    for day in (DAYS[1], DAYS[2]):
        world.wait_for_looks(day, 2)
    world.airflow.kill("triggerer", signal.SIGKILL)
    world.insert(DAYS[1], 3)
    world.insert(DAYS[2], 2)
    inserted = datetime.now(UTC)
    # For longer than the window must be still, and than it takes to look again.
    time.sleep(SETTLED_FOR.total_seconds() + 1)
    looks = sum(look > inserted for day in (DAYS[1], DAYS[2]) for look in world.looks(day))
    states = (world.task("survives").state, world.task("settles").state)
    world.airflow.start("triggerer")
    return Kill(inserted, looks, states)


def test_a_sensor_resumes(world: World) -> None:
    """A deferred sensor looks from the triggerer, and ends well once there are enough events, in its first try."""
    world.wait_for_state("resumes", "deferred")
    world.insert(DAYS[0], 2)
    world.wait_for_looks(DAYS[0], 2)
    assert world.task("resumes").state == "deferred"

    world.insert(DAYS[0], 2)
    ended = world.wait_for_state("resumes", "success", "failed")

    assert ended[:3] == ("success", 1, None)
    assert world.results("resumes") == [{"count": 4, "window": window(DAYS[0]), "settled_at": None}]
    assert world.earlier_tries("resumes") == 0


def test_a_sensor_times_out(world: World) -> None:
    """A sensor whose time is up ends its try, and with ``soft_fail`` it is skipped; neither gives a result.

    On Airflow 3 for good, as a sensor's timeout does; Airflow 2 takes a deferred task's timeout for any failure, and
    lets it be retried.
    """
    ends = ("success", "failed", "skipped", "up_for_retry")
    timed_out = world.wait_for_state("times_out", *ends)
    gave_up = world.wait_for_state("gives_up", *ends)

    as_expected = (timed_out.state, gave_up.state) == ("failed" if AIRFLOW_3 else "up_for_retry", "skipped")
    assert as_expected, f"{timed_out.state}, {gave_up.state}; {world.airflow.log_tails()}"
    assert (timed_out.number, gave_up.number) == (1, 1)
    assert world.results("times_out") == world.results("gives_up") == []
    # The task's log, and its trigger's.
    logs = [text for path, text in world.airflow.logs().items() if "dag_id=times_out" in path.parts]
    assert ("AirflowSensorTimeout" if AIRFLOW_3 else "Trigger/execution timeout") in "".join(logs)
    # Nobody has gone on looking, each second; the last look may have been under way.
    for day, ended in ((DAYS[3], timed_out.ended), (DAYS[4], gave_up.ended)):
        quiet = ended + timedelta(seconds=3)
        world.airflow.wait_for("three seconds", lambda quiet=quiet: datetime.now(UTC) > quiet, WAIT_TIMEOUT)
        assert [look for look in world.looks(day) if look > ended + timedelta(seconds=1)] == []


def test_a_sensor_survives_its_triggerer(world: World, kill: Kill) -> None:
    """Events that come while the triggerer lies killed are found by the next one: one success, in the first try."""
    assert kill.looks == 0
    assert kill.states[0] == "deferred"

    ended = world.wait_for_state("survives", "success", "failed")

    assert ended[:3] == ("success", 1, None)
    assert world.results("survives") == [{"count": 3, "window": window(DAYS[1]), "settled_at": None}]
    assert world.earlier_tries("survives") == 0


def test_a_window_settles_anew(world: World, kill: Kill) -> None:
    """Where the count moves while the triggerer lies killed, the next one counts the stillness from then on."""
    assert kill.looks == 0
    assert kill.states[1] == "deferred"

    ended = world.wait_for_state("settles", "success", "failed")

    assert ended[:3] == ("success", 1, None)
    [result] = world.results("settles")
    assert (result["count"], result["window"]) == (4, window(DAYS[2]))
    # Seen with four events for as long as was asked, although they had been there, unseen, for longer.
    first_look = min(look for look in world.looks(DAYS[2]) if look > kill.inserted)
    assert first_look - kill.inserted > SETTLED_FOR
    # The API notes a look a little after the trigger took its time.
    assert datetime.fromisoformat(result["settled_at"]) - first_look > SETTLED_FOR - timedelta(seconds=0.5)


def window(day: datetime) -> dict[str, str]:
    return {name: f"{edge:%Y-%m-%dT%H:%M:%S}.000Z" for name, edge in (("start", day), ("end", day + 24 * HOUR))}


def _decoded(value: Any) -> Any:
    """Return an XCom's value; Airflow 2 keeps it as bytes of JSON, Airflow 3 as JSON."""
    if isinstance(value, memoryview):
        value = value.tobytes()
    while isinstance(value, str | bytes):
        value = json.loads(value)
    return value
