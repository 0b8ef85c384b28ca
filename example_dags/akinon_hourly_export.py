"""
# Audit events, hour by hour

Exports each hour of a shop's audit log. The objects of one day in Istanbul lie in one folder, whatever its date in
UTC is.
"""

# [START akinon_hourly_export]
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
    dag_id="akinon_hourly_export",
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="Europe/Istanbul"),
    start_date=pendulum.datetime(2025, 1, 1, tz="Europe/Istanbul"),
    catchup=False,
    max_active_runs=2,
    default_args={"retries": 3, "retry_delay": timedelta(minutes=2)},
    doc_md=__doc__,
    tags=["akinon", "example"],
):
    AuditEventsToS3Operator(
        task_id="export",
        s3_bucket=os.environ.get("AKINON_EXAMPLE_BUCKET", "audit-archive"),
        s3_key_prefix="hourly",
        partition_timezone="Europe/Istanbul",
    )
# [END akinon_hourly_export]
