"""
# Tell when one user does something

Runs once for each batch of new audit events of an administrator, within a minute. Needs Airflow 3.
"""

# [START akinon_change_alert]
import logging

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_akinon.triggers.audit_events import AuditEventsArrivedTrigger

changes = Asset(
    "akinon_changes_by_admin",
    watchers=[
        AssetWatcher(
            name="audit_log",
            trigger=AuditEventsArrivedTrigger(since="2026-01-01T00:00:00Z", filters={"user": 42}, poll_interval=60),
        )
    ],
)

with DAG(
    dag_id="akinon_change_alert",
    schedule=[changes],
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    doc_md=__doc__,
    tags=["akinon", "example"],
):

    @task
    def tell(triggering_asset_events=None):
        """Say how many events there are, and which; a mail or a chat message would go here."""
        batches = [event.extra["payload"] for event in triggering_asset_events[changes]]
        for batch in batches:
            logging.getLogger(__name__).warning("%(count)d new events in %(window)s: %(uuids)s", batch)
        return [batch["batch_id"] for batch in batches]

    tell()
# [END akinon_change_alert]
