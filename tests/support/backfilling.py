"""A DAG's days, exported by a whole Airflow, twice, and tasks that fail there with a key at hand."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.airflow_installation import AIRFLOW_3, Run
from tests.support.system import BUCKET, DAYS, System

DAG_ID = "akinon_daily_export"
FAILING = ("wrong_key", "careless")
"""DAGs that fail."""
BACKFILL_TIMEOUT = 600.0
"""Seconds that a backfill may take."""


@dataclass(frozen=True)
class Backfill:
    """The runs of a backfill, and what it had written to the bucket when it was over."""

    runs: list[Run]
    objects: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Backfilling:
    """Backfills the days in an installation, and reads what landed."""

    system: System

    def run(self) -> list[Backfill]:
        """Start the DAGs that fail; backfill the days, and then all of them again."""
        for dag_id in (DAG_ID, *FAILING):
            self.system.airflow.switch_on(dag_id)
        triggers = [("dags", "trigger", dag_id, "--run-id", "failing") for dag_id in FAILING]
        return [self._backfill(triggers, []), self._backfill([], self._again())]

    def objects(self) -> dict[str, dict[str, Any]]:
        """Return what backfills wrote to the bucket, by key.

        The run of yesterday, which the schedule asks for since the DAG is switched on, writes there too.
        """
        listing = self.system.s3.client().list_objects_v2(Bucket=BUCKET)
        scheduled = [run for run in self.system.airflow.runs(DAG_ID) if run.run_id.startswith("scheduled__")]
        days = [f"/date={run.interval_start:%Y-%m-%d}/" for run in scheduled]
        return {
            entry["Key"]: entry
            for entry in listing.get("Contents", [])
            if "/date=" in entry["Key"] and not any(day in entry["Key"] for day in days)
        }

    def uuids(self, key: str) -> list[str]:
        """Return the uuids of an object's events, in its order."""
        body = self.system.s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return [json.loads(line)["uuid"] for line in gzip.decompress(body).splitlines()]

    def _backfill(self, before: Sequence[Sequence[str]], more: Sequence[str]) -> Backfill:
        """Backfill the days as the documentation says, after other commands, and wait until all is done."""
        airflow = self.system.airflow
        first, last = DAYS[0].isoformat(), DAYS[-1].isoformat()
        if AIRFLOW_3:
            span = ("--from-date", first, "--to-date", last, "--max-active-runs", "2")
            airflow.commands(*before, ("backfill", "create", "--dag-id", DAG_ID, *span, *more))
            airflow.wait_for("the backfill to be completed", self._are_completed, BACKFILL_TIMEOUT)
        else:
            span = ("--start-date", first, "--end-date", last)
            airflow.commands(*before, ("dags", "backfill", DAG_ID, *span, *more))
        runs = [run for run in airflow.runs(DAG_ID) if run.run_id.startswith("backfill__")]
        return Backfill(runs, self.objects())

    def _again(self) -> Sequence[str]:
        return ("--reprocess-behavior", "completed") if AIRFLOW_3 else ("--reset-dagruns", "--yes")

    def _are_completed(self) -> bool:
        statement = "SELECT bool_and(completed_at IS NOT NULL) FROM backfill WHERE dag_id = %s"
        [(completed,)] = self.system.airflow.database.query(statement, DAG_ID)
        return bool(completed)
