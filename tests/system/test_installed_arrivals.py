"""Asset watchers in a whole Airflow 3: every new event is told of, whenever the triggerer is killed."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.airflow_installation import AIRFLOW_3, AirflowInstallation
from tests.support.system import System

pytestmark = [pytest.mark.system, pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no asset watchers")]

TOLD_TIMEOUT = 180.0
"""Seconds until a batch is told of, a triggerer's start included."""
HAND_OVER = 11.0
"""Seconds from a telling until the watcher looks again, each second."""
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Watcher:
    """One watcher of ``dags/arrivals``, which is told of a user's events."""

    system: System
    name: str
    user: int

    def insert(self, number: int, age: float = 1.0) -> list[str]:
        """Add events of ``age`` seconds ago, and return their uuids."""
        time = datetime.now(UTC) - timedelta(seconds=age)
        return self.system.watched.insert({"timestamp": time, "user": self.user} for _ in range(number))

    def told(self) -> list[dict[str, Any]]:
        """Return the batches that Airflow was told of, in that order, repeats included."""
        statement = (
            "SELECT event.extra FROM asset_event AS event JOIN asset ON asset.id = event.asset_id "
            "WHERE asset.name = %s ORDER BY event.id"
        )
        rows = self.system.airflow.database.query(statement, f"news_{self.name}")
        extras = [extra if isinstance(extra, dict) else json.loads(extra) for (extra,) in rows]
        return [extra["payload"] for extra in extras]

    def told_uuids(self) -> set[str]:
        """Return the uuids that Airflow was told of; small batches name all of theirs."""
        return {uuid for batch in self.told() for uuid in batch["uuids"]}

    def written_down(self) -> list[dict[str, Any]]:
        """Return the batches that the DAG's runs were for, in the order in which they ran."""
        file = self.system.batches / self.name
        if not file.exists():
            return []
        return [batch for line in file.read_text().splitlines() for batch in json.loads(line)]


@dataclass
class World:
    """The watchers, and what was inserted for each."""

    airflow: AirflowInstallation
    watchers: dict[str, Watcher]
    inserted: dict[str, list[str]]

    def insert(self, name: str, number: int, age: float = 1.0) -> None:
        """Add events for a watcher."""
        self.inserted[name] += self.watchers[name].insert(number, age)

    def insert_for_all(self, number: int, age: float = 1.0) -> None:
        """Add events for each watcher."""
        for name in self.watchers:
            self.insert(name, number, age)

    def told(self) -> int:
        """Return how often Airflow was told of a batch."""
        return sum(len(watcher.told()) for watcher in self.watchers.values())

    def is_told(self, name: str) -> bool:
        """Say whether Airflow was told of all events of a watcher."""
        return self.watchers[name].told_uuids().issuperset(self.inserted[name])

    def wait_until_all_is_told(self) -> None:
        """Wait until Airflow was told of all that was inserted."""
        self.airflow.wait_for("news", lambda: all(map(self.is_told, self.watchers)), TOLD_TIMEOUT)

    def wait_closely(self, name: str) -> None:
        """Wait until Airflow was told of a watcher's events, and know it within a few milliseconds."""
        deadline = time.monotonic() + TOLD_TIMEOUT
        while not self.is_told(name) and time.monotonic() < deadline:
            time.sleep(0.005)

    def survive_a_kill(self) -> None:
        """Kill the triggerer, insert more for each watcher meanwhile, and wait until the next one told of it all."""
        self.airflow.kill("triggerer", signal.SIGKILL)
        told = self.told()
        # One of them late, but not later than the overlap.
        self.insert_for_all(2)
        self.insert_for_all(1, age=120)
        time.sleep(2)
        assert self.told() == told
        self.airflow.start("triggerer")
        self.wait_until_all_is_told()


@pytest.fixture(scope="module")
def world(system: System) -> World:
    """The watchers that are named after the moment at which a triggerer is killed."""
    names = ("told", "soon", "later", "latest")
    watchers = {name: Watcher(system, name, user) for user, name in enumerate(names, start=1)}
    return World(system.airflow, watchers, {name: [] for name in names})


def test_every_event_is_told_of_across_kills(world: World) -> None:
    """Every event is told of, a batch again only under its id, and each has its run, however a triggerer ends."""
    world.insert_for_all(3)
    world.wait_until_all_is_told()
    time.sleep(HAND_OVER)

    # Killed right after a batch was told of; of the other watchers, while nothing happens.
    world.insert("told", 4)
    world.wait_closely("told")
    world.survive_a_kill()
    time.sleep(HAND_OVER)
    # Killed 0.2, 0.7 and 1.2 s after a batch came, around the look for it.
    for name, pause in (("latest", 0.5), ("later", 0.5), ("soon", 0.2)):
        world.insert(name, 4)
        time.sleep(pause)
    world.survive_a_kill()

    world.insert_for_all(5)
    world.wait_until_all_is_told()
    for watcher in world.watchers.values():
        check(watcher, world.inserted[watcher.name], kills=2)


def check(watcher: Watcher, inserted: list[str], kills: int) -> None:
    """Make sure that one watcher told of each event in one batch, and that each telling had its run."""
    told, airflow = watcher.told(), watcher.system.airflow
    batches = {batch["batch_id"]: batch for batch in told}
    # A repeat is the same batch, and no event is in two.
    assert all(batch == batches[batch["batch_id"]] for batch in told)
    assert Counter(uuid for batch in batches.values() for uuid in batch["uuids"]) == Counter(inserted)
    assert sum(batch["count"] for batch in batches.values()) == len(inserted)
    # Repeats are rare: at most one for each kill.
    assert len(told) - len(batches) <= kills
    airflow.wait_for("the runs", lambda: len(watcher.written_down()) >= len(told), TOLD_TIMEOUT)
    assert sorted(watcher.written_down(), key=str) == sorted(watcher.told(), key=str)
    assert {run.state for run in airflow.runs(f"arrivals_{watcher.name}")} <= {"success", "running", "queued"}


def test_a_refused_watcher_is_patient(system: System) -> None:
    """A watcher whose key is refused asks no more often than a few times a minute, whoever starts it anew."""

    def refusals() -> list[datetime]:
        answers = [answer for answer in system.watched.requests() if answer["status"] == 401]
        return [datetime.fromisoformat(answer["time"]) for answer in answers]

    # It has been refused while the other tests killed the triggerer.
    system.airflow.wait_for("a refusal", refusals, TOLD_TIMEOUT)
    system.airflow.wait_for("a minute", lambda: datetime.now(UTC) - refusals()[0] > MINUTE, TOLD_TIMEOUT)
    times = refusals()
    assert max(sum(start <= time <= start + MINUTE for time in times) for start in times) <= 5
