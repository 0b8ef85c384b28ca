"""
# Wait for the log, then export it

A day without a single audit event is more often a broken log or a key that sees too little than a quiet day. So
this DAG waits for the first event of the day, and fails where none shows within an hour.
"""

# [START akinon_wait_for_events]
import os
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG, CronDataIntervalTimetable
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

with DAG(
    dag_id="akinon_wait_for_events",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["akinon", "example"],
):
    wait = AuditEventsSensor(
        task_id="wait",
        min_events=1,
        mode="reschedule",
        poke_interval=300,
        timeout=3600,
    )
    export = AuditEventsToS3Operator(
        task_id="export",
        s3_bucket=os.environ.get("AKINON_EXAMPLE_BUCKET", "audit-archive"),
    )
    wait >> export
# [END akinon_wait_for_events]
