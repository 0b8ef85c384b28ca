"""
# Find late events, week by week

Counts each exported window of the last five weeks again. Windows whose count differs are exported again, as they were
before: what came late is stored beside what is there. Where the source has lost or changed what is stored, the run
fails and says where; the archive keeps it. What was added to months that are sealed already is sealed at once, with
the connection and the Variable of the DAG that seals each month.
"""

# [START akinon_weekly_reconcile]
import os
from datetime import timedelta

import pendulum

try:
    from airflow.sdk import DAG, CronDataIntervalTimetable, Variable, task
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:  # before Airflow 3.2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.exceptions import AirflowFailException
    from airflow.models import Variable
    from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_akinon.operators.audit_archive import (
    ReconcileAuditArchiveOperator,
    SealAuditArchiveOperator,
    export_again_kwargs,
)
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

BUCKET = os.environ.get("AKINON_EXAMPLE_BUCKET", "audit-archive")

with DAG(
    dag_id="akinon_weekly_reconcile",
    schedule=CronDataIntervalTimetable("0 4 * * 1", timezone="UTC"),
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=1,
    render_template_as_native_obj=True,  # the known heads are a list
    default_args={"retries": 3, "retry_delay": timedelta(minutes=5)},
    doc_md=__doc__,
    tags=["akinon", "example"],
):
    reconcile = ReconcileAuditArchiveOperator(
        task_id="reconcile",
        start="{{ data_interval_end.subtract(days=35) }}",
        end="{{ data_interval_end }}",
        s3_bucket=BUCKET,
        sample=50,
    )
    # With the s3_key_prefix, redact and redact_key_conn_id of the DAG that exports; here all are the default.
    export_again = AuditEventsToS3Operator.partial(task_id="export_again", s3_bucket=BUCKET).expand_kwargs(
        reconcile.output.map(export_again_kwargs)
    )
    seal = SealAuditArchiveOperator(
        task_id="seal",
        # The months that have ended, as they are sealed each month.
        start="{{ data_interval_end.subtract(months=1).start_of('month') }}",
        end="{{ data_interval_end.start_of('month') }}",
        s3_bucket=BUCKET,
        seal_key_conn_id="akinon_seal",
        known_heads="{{ var.json.get('akinon_seal_heads', []) }}",
        trigger_rule="all_done",  # what an export recorded before it failed is sealed too
    )

    @task
    def keep_heads(sealed):
        """Keep the heads outside the bucket."""
        Variable.set("akinon_seal_heads", sealed["heads"], serialize_json=True)

    @task(trigger_rule="none_failed")
    def require_mended():
        """Fail the run where an export failed, although sealing goes on after it."""

    @task
    def alert(windows):
        """Fail where stored events were lost or changed at the source; a mail or a chat message would go here."""
        told = [
            f"{each['key']}: {each['vanished']} vanished; of {each['sampled']} that were fetched, "
            f"{len(each['gone'])} are gone, {len(each['changed'])} were changed"
            for each in windows
            if each["vanished"] or each["gone"] or each["changed"]
        ]
        if told:
            raise AirflowFailException(f"The source has lost or changed stored events. {'. '.join(told)}")

    alert(reconcile.output)
    export_again >> [seal, require_mended()]
    keep_heads(seal.output)
# [END akinon_weekly_reconcile]
