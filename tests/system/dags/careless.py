"""DAGs that fail with an API key at hand, to see what of it gets into the logs."""

import logging

import pendulum

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2.11
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

START = pendulum.datetime(2026, 1, 1, tz="UTC")

with DAG(dag_id="careless", schedule=None, start_date=START, catchup=False):

    @task
    def log_the_connection():
        """Log the key and what is made of it, and fail with it in the error and in the traceback's frames."""
        hook = AkinonHook("akinon_careless")
        password = hook.get_connection("akinon_careless").password
        logging.getLogger(__name__).info("The password is %s, the settings are %s", password, hook.settings)
        raise RuntimeError(f"Authorization: {hook.settings.authorization}")

    log_the_connection()

with DAG(dag_id="wrong_key", schedule=None, start_date=START, catchup=False):
    AuditEventsToS3Operator(
        task_id="export",
        start=START,
        end=START.add(days=1),
        s3_bucket="audit-archive",
        akinon_conn_id="akinon_wrong_key",
    )
