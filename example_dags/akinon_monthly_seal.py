"""
# Seal each month, and verify the archive

Seals what was exported of a month, with the private key in the connection `akinon_seal`. The heads of the seals go
into the Variable `akinon_seal_heads`, out of reach of whoever may only write to the bucket. Then the whole archive is
verified with the public key in the Variable `akinon_seal_public_key`. Whatever is wrong fails the run, and is told.
"""

# [START akinon_monthly_seal]
import logging
import os
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG, CronDataIntervalTimetable, Variable, task
except ImportError:  # before Airflow 3.2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models import Variable
    from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_akinon.operators.audit_archive import SealAuditArchiveOperator, VerifyAuditArchiveOperator

BUCKET = os.environ.get("AKINON_EXAMPLE_BUCKET", "audit-archive")
KNOWN_HEADS = "{{ var.json.get('akinon_seal_heads', []) }}"


def alert(context):
    """Say that the archive is not what it should be; a mail or a chat message would go here."""
    logging.getLogger(__name__).critical("The audit archive needs a look: %s", context["exception"])


with DAG(
    dag_id="akinon_monthly_seal",
    schedule=CronDataIntervalTimetable("0 12 1 * *", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    render_template_as_native_obj=True,  # the known heads are a list
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5), "on_failure_callback": alert},
    doc_md=__doc__,
    tags=["akinon", "example"],
):
    seal = SealAuditArchiveOperator(
        task_id="seal",
        # The run is at noon, when the month's last day is exported; the month ended at midnight.
        start="{{ data_interval_start.start_of('month') }}",
        end="{{ data_interval_end.start_of('month') }}",
        s3_bucket=BUCKET,
        seal_key_conn_id="akinon_seal",
        known_heads=KNOWN_HEADS,
    )

    @task
    def keep_heads(sealed):
        """Keep the heads outside the bucket."""
        Variable.set("akinon_seal_heads", sealed["heads"], serialize_json=True)

    verify = VerifyAuditArchiveOperator(
        task_id="verify",
        s3_bucket=BUCKET,
        public_keys="{{ var.value.akinon_seal_public_key }}",
        known_heads=KNOWN_HEADS,
    )
    keep_heads(seal.output) >> verify
# [END akinon_monthly_seal]
