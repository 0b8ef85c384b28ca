"""What each place of the matrix runs: an export, a sensor that is poked, one that is deferred, and the proof."""

import os
from datetime import timedelta
from pathlib import Path

import pendulum

try:
    from airflow.sdk import DAG, CronDataIntervalTimetable
except ImportError:  # before Airflow 3.2
    from airflow import DAG
    from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_akinon.operators.audit_archive import SealAuditArchiveOperator, VerifyAuditArchiveOperator
from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

BUCKET = os.environ["MATRIX_BUCKET"]
RESUMED = Path(os.environ["MATRIX_RESUMED"])
"""Written where a sensor comes back from its trigger."""


class Deferred(AuditEventsSensor):
    """A sensor that leaves a mark where it was deferred and resumed."""

    def execute_complete(self, context, event):
        """Return what the trigger found."""
        RESUMED.touch()
        return super().execute_complete(context, event)


def daily(dag_id):
    """Return a DAG of single days."""
    return DAG(
        dag_id=dag_id,
        schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
        start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
        catchup=False,
    )


# At the first look no window has settled, so that both sensors have to look again.
WAIT = {"settled_for": timedelta(seconds=2), "max_lateness": timedelta(days=36500), "poke_interval": 1.0}

with daily("export"):
    AuditEventsToS3Operator(task_id="export", s3_bucket=BUCKET)

with daily("poked"):
    AuditEventsSensor(task_id="wait", mode="poke", deferrable=False, timeout=60, **WAIT)

with daily("deferred"):
    Deferred(task_id="wait", deferrable=True, timeout=60, **WAIT)

with daily("sealed"):
    seal = SealAuditArchiveOperator(task_id="seal", s3_bucket=BUCKET)
    verify = VerifyAuditArchiveOperator(
        task_id="verify",
        start="{{ data_interval_start }}",
        end="{{ data_interval_end }}",
        s3_bucket=BUCKET,
        known_heads="{{ ti.xcom_pull(task_ids='seal')['heads'][0] }}",
    )
    seal >> verify
