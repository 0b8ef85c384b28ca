"""A DAG that counts and exports by a connection that was saved in the UI."""

import os

import pendulum

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2.11
    from airflow import DAG

from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

with DAG(dag_id="as_saved", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC"), catchup=False):
    AuditEventsToS3Operator(
        task_id="export",
        start="{{ dag_run.conf['start'] }}",
        end="{{ dag_run.conf['end'] }}",
        akinon_conn_id="akinon_typed",
        s3_bucket=os.environ["BROWSER_BUCKET"],
    )
