"""Sensors that wait in the triggerer, each for a day of its own; each DAG runs once, as soon as Airflow knows it."""

from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2.11
    from airflow import DAG

from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor

DAYS = [pendulum.datetime(2026, 1, number, tz="UTC") for number in range(1, 6)]


def wait(dag_id, day, **arguments):
    """Make a DAG whose only task waits for something on a day."""
    with DAG(dag_id=dag_id, schedule="@once", start_date=DAYS[0], catchup=False, is_paused_upon_creation=False):
        AuditEventsSensor(
            task_id="wait",
            start=day,
            end=day.add(days=1),
            deferrable=True,
            poke_interval=1,
            retries=2,
            akinon_conn_id="akinon_awaited",
            **arguments,
        )


wait("resumes", DAYS[0], min_events=3)
wait("survives", DAYS[1], min_events=3)
# The day has long passed, and must not have settled for that alone.
wait("settles", DAYS[2], min_events=3, settled_for=timedelta(seconds=4), max_lateness=timedelta(days=36_500))
# Long enough for a busy scheduler to see first that the deferred task's process has ended: Airflow takes a task that
# is due again before that for one that was killed, and tries it again.
TIMEOUT = 15
wait("times_out", DAYS[3], timeout=TIMEOUT)
wait("gives_up", DAYS[4], timeout=TIMEOUT, soft_fail=True)
