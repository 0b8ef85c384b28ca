"""Many deferred sensors on one triggerer: what they cost it, and the API. Airflow 3, PostgreSQL, the sandbox.

``python -m benchmarks.deferred_sensors [SENSORS] [SECONDS]`` prints one JSON object. Every sensor looks each minute,
for a user of its own. The sensors do not start on workers, which would take longer than the measuring: their tasks
are put where a deferred sensor's are, with the trigger that the sensor hands over.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil

from airflow_provider_akinon.sandbox import Sandbox
from tests.support.airflow_installation import AirflowInstallation

DAG = """
import os
import pendulum
from airflow.sdk import DAG
from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor

DAY = pendulum.datetime(2026, 1, 5, tz="UTC")
with DAG(dag_id="many", schedule="@once", start_date=DAY, max_active_tasks=10_000):
    AuditEventsSensor.partial(
        task_id="wait", start=DAY, end=DAY.add(days=1), deferrable=True, poke_interval=60, pool="closed"
    ).expand(filters=[{"user": number} for number in range(1, int(os.environ["SENSORS"]) + 1)])
"""
DEFER = """
import datetime
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from airflow_provider_akinon.audit_events.model import Filters
from airflow_provider_akinon.audit_events.watching import Awaited, Sighting
from airflow_provider_akinon.audit_events.model import Window
from airflow_provider_akinon.triggers.audit_events import AuditEventsTrigger
from sqlalchemy import select

now = datetime.datetime.now(datetime.timezone.utc)
day = Window.parse("2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z")
with create_session() as session:
    for ti in session.scalars(select(TaskInstance).where(TaskInstance.dag_id == "many", TaskInstance.map_index >= 0)):
        awaited = Awaited(day, Filters.parse({"user": ti.map_index + 1}), 1)
        row = Trigger.from_object(AuditEventsTrigger.of("akinon_default", awaited, Sighting(0, now), 60.0, None))
        session.add(row)
        session.flush()
        ti.trigger_id, ti.state, ti.next_method, ti.next_kwargs = row.id, "deferred", "execute_complete", {}
        ti.trigger_timeout = now + datetime.timedelta(days=1)
"""


def measure(sensors: int, seconds: float) -> dict[str, object]:
    """Return what ``sensors`` deferred sensors cost in ``seconds`` seconds."""
    settings = {"SENSORS": str(sensors), "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False"}
    with Sandbox.start(events=0) as sandbox, tempfile.TemporaryDirectory() as dags:
        Path(dags, "many.py").write_text(DAG)
        connections = {"akinon_default": sandbox.connection_json()}
        with AirflowInstallation.running(Path(dags), connections, settings) as airflow:
            query = airflow.database.query
            airflow.cli("pools", "set", "closed", "0", "nothing starts")
            mapped = "SELECT count(*) FROM task_instance WHERE dag_id = 'many' AND map_index >= 0"
            airflow.wait_for("the tasks", lambda: query(mapped)[0][0] == sensors, 300)
            for name in ("scheduler", "dag-processor"):
                airflow.kill(name, signal.SIGKILL)
            airflow.python("-c", DEFER)
            airflow.start("triggerer")
            airflow.wait_for("the first looks", lambda: len(sandbox.requests()) > 0, 300)
            before, cpu, begun = len(sandbox.requests()), _cpu(airflow), time.monotonic()
            lags, memory = [], []
            while time.monotonic() - begun < seconds:
                [(heartbeat,)] = query("SELECT max(latest_heartbeat) FROM job WHERE job_type = 'TriggererJob'")
                lags.append((datetime.now(UTC) - heartbeat).total_seconds())
                memory.append(sum(process.memory_info().rss for process in _processes(airflow)))
                time.sleep(1)
            minutes = (time.monotonic() - begun) / 60
            found = {
                "sensors": sensors,
                "minutes": round(minutes, 2),
                "requests_per_minute": round((len(sandbox.requests()) - before) / minutes, 1),
                "triggerer_cpu_seconds_per_minute": round((_cpu(airflow) - cpu) / minutes, 2),
                "triggerer_rss_mib": [round(memory[0] / 2**20), round(max(memory) / 2**20)],
                "longest_heartbeat_age_seconds": round(max(lags), 1),
                "event_loop_blocked_warnings": _log(airflow).count("async thread was blocked"),
                "failures_met": _log(airflow).count("Looking again in"),
                "still_deferred": _deferred(airflow),
            }
            sandbox.insert({"timestamp": "2026-01-05T12:00:00Z", "user": user} for user in range(1, sensors + 1))
            inserted = time.monotonic()
            airflow.wait_for("all to resume", lambda: not _deferred(airflow), 300)
            return found | {"all_resumed_after_seconds": round(time.monotonic() - inserted, 1)}


def _deferred(airflow: AirflowInstallation) -> int:
    return int(airflow.database.query("SELECT count(*) FROM task_instance WHERE state = 'deferred'")[0][0])


def _log(airflow: AirflowInstallation) -> str:
    # The processes' log, and that of each trigger.
    return "".join(airflow.logs().values())


def _processes(airflow: AirflowInstallation) -> list[psutil.Process]:
    process = psutil.Process(airflow.processes["triggerer"].pid)
    return [process, *process.children(recursive=True)]


def _cpu(airflow: AirflowInstallation) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in _processes(airflow))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    result = measure(int(arguments[0]) if arguments else 500, float(arguments[1]) if arguments[1:] else 180.0)
    print(json.dumps(result, indent=1))
