"""
# What one user did

Exports each day's audit events of the user whose `pk` is 42. A day on which the user did nothing gives an object
without events.
"""

# [START akinon_admin_user_export]
import os
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG, CronDataIntervalTimetable
except ImportError:  # before Airflow 3.2
    from airflow import DAG
    from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

with DAG(
    dag_id="akinon_admin_user_export",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["akinon", "example"],
):
    AuditEventsToS3Operator(
        task_id="export",
        filters={"user": 42},
        s3_bucket=os.environ.get("AKINON_EXAMPLE_BUCKET", "audit-archive"),
        s3_key_prefix="users",
    )
# [END akinon_admin_user_export]
