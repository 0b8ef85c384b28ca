"""An asset watcher in a whole Airflow 3: every new event is told of, whenever the triggerer is killed."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_akinon.sandbox import Sandbox
from tests.support.airflow_installation import AIRFLOW_3, AirflowInstallation

pytestmark = [pytest.mark.system, pytest.mark.skipif(not AIRFLOW_3, reason="Airflow 2 has no asset watchers")]

DAGS = Path(__file__).parent / "dags" / "arrivals"
TOLD_TIMEOUT = 180.0
"""Seconds until a batch is told of, a triggerer's start included."""
SETTINGS = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    # A triggerer that was killed is taken for dead sooner than in half a minute.
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}


@dataclass(frozen=True)
class World:
    """An installation with a triggerer, the API that it watches, and what a DAG was told of."""

    airflow: AirflowInstallation
    sandbox: Sandbox
    file: Path

    def insert(self, number: int, age: float = 1.0) -> list[str]:
        """Add events of ``age`` seconds ago, and return their uuids."""
        time = datetime.now(UTC) - timedelta(seconds=age)
        return self.sandbox.insert({"timestamp": time} for _ in range(number))

    def told(self) -> list[dict[str, Any]]:
        """Return the batches that Airflow was told of, in that order, repeats included."""
        rows = self.airflow.database.query("SELECT extra FROM asset_event ORDER BY id")
        extras = [extra if isinstance(extra, dict) else json.loads(extra) for (extra,) in rows]
        return [extra["payload"] for extra in extras]

    def told_uuids(self) -> set[str]:
        """Return the uuids that Airflow was told of; small batches name all of theirs."""
        return {uuid for batch in self.told() for uuid in batch["uuids"]}

    def written_down(self) -> list[dict[str, Any]]:
        """Return the batches that the DAG's runs were for, in the order in which they ran."""
        if not self.file.exists():
            return []
        return [batch for line in self.file.read_text().splitlines() for batch in json.loads(line)]

    def wait_until_told(self, uuids: list[str], *, closely: bool = False) -> None:
        """Wait until Airflow has been told of these events; ``closely`` to know it within a few milliseconds."""
        deadline = time.monotonic() + TOLD_TIMEOUT
        while closely and not self.told_uuids().issuperset(uuids) and time.monotonic() < deadline:
            time.sleep(0.005)
        self.airflow.wait_for("news", lambda: self.told_uuids().issuperset(uuids), TOLD_TIMEOUT)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An installation in which a DAG writes down what it is told of."""
    file = tmp_path_factory.mktemp("told") / "batches.jsonl"
    with Sandbox.start(events=0) as sandbox:
        since = datetime.now(UTC) - timedelta(minutes=10)
        settings = SETTINGS | {
            "ARRIVALS_CONN_IDS": "shop wrong_key",
            "ARRIVALS_SINCE": since.isoformat(),
            "ARRIVALS_FILE": str(file),
        }
        right = json.loads(sandbox.connection_json())
        connections = {"shop": json.dumps(right), "wrong_key": json.dumps(right | {"password": "wrong"})}
        with AirflowInstallation.running(DAGS, connections, settings, triggerer=True) as airflow:
            yield World(airflow, sandbox, file)


def test_every_event_is_told_of_across_kills(world: World) -> None:
    """Every event is told of, a batch again only under its id, and each has its run, however a triggerer ends."""
    airflow = world.airflow
    inserted = world.insert(3)
    world.wait_until_told(inserted)

    # Killed while nothing happens, right after a batch was told of, and at moments around the look for one.
    for moment in ("quiet", "told", 0.2, 0.7, 1.2):
        batch = world.insert(4)
        if moment == "told":
            world.wait_until_told(batch, closely=True)
        elif moment == "quiet":
            world.wait_until_told(batch)
            time.sleep(3)
        else:
            time.sleep(moment)
        airflow.kill("triggerer", signal.SIGKILL)
        told_before = len(world.told())
        # One of them late, but not later than the overlap.
        missed = world.insert(2) + world.insert(1, age=120)
        time.sleep(2)
        assert len(world.told()) == told_before
        airflow.start("triggerer")
        world.wait_until_told(batch + missed)
        inserted += batch + missed

    last = world.insert(5)
    world.wait_until_told(last)
    inserted += last
    batches = {batch["batch_id"]: batch for batch in world.told()}
    # A repeat is the same batch, and no event is in two.
    assert all(batch == batches[batch["batch_id"]] for batch in world.told())
    assert Counter(uuid for batch in batches.values() for uuid in batch["uuids"]) == Counter(inserted)
    assert sum(batch["count"] for batch in batches.values()) == len(inserted)
    # Repeats are rare: at most one for each kill.
    assert len(world.told()) - len(batches) <= 5
    airflow.wait_for("the runs", lambda: len(world.written_down()) >= len(world.told()), TOLD_TIMEOUT)
    assert sorted(world.written_down(), key=str) == sorted(world.told(), key=str)
    assert {run.state for run in airflow.runs("arrivals_shop")} <= {"success", "running", "queued"}


def test_a_refused_watcher_is_patient(world: World) -> None:
    """A watcher whose key is refused asks no more often than a few times a minute, whoever starts it anew."""

    def refusals() -> int:
        return sum(request["status"] == 401 for request in world.sandbox.requests())

    world.airflow.wait_for("a refusal", refusals, TOLD_TIMEOUT)
    before = refusals()
    time.sleep(60)
    assert refusals() - before <= 5
