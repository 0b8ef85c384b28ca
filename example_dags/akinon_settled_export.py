"""
# Export a day once it has settled

Audit events become visible late. So this DAG waits, without holding a worker, until a day's count has not moved for
half an hour, and exports it then. A day that ended more than 24 hours ago is exported at once, as in a backfill.
"""

# [START akinon_settled_export]
import os
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG, CronDataIntervalTimetable
except ImportError:  # before Airflow 3.2
    from airflow import DAG
    from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

with DAG(
    dag_id="akinon_settled_export",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["akinon", "example"],
):
    settled = AuditEventsSensor(
        task_id="settled",
        settled_for=timedelta(minutes=30),
        deferrable=True,
        poke_interval=300,
        timeout=6 * 3600,
    )
    export = AuditEventsToS3Operator(
        task_id="export",
        s3_bucket=os.environ.get("AKINON_EXAMPLE_BUCKET", "audit-archive"),
    )
    settled >> export
# [END akinon_settled_export]
