"""A DAG that writes down every batch of new events it is told of. Airflow 3 only."""

import json
import os
from pathlib import Path

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_akinon.triggers.audit_events import AuditEventsArrivedTrigger

CONN_IDS = os.environ["ARRIVALS_CONN_IDS"].split()


def watched(conn_id):
    """Return an asset that a look at the connection's API, each second, brings news of."""
    trigger = AuditEventsArrivedTrigger(
        since=os.environ["ARRIVALS_SINCE"], poll_interval=1, overlap=3600, akinon_conn_id=conn_id
    )
    return Asset(f"news_{conn_id}", watchers=[AssetWatcher(name=conn_id, trigger=trigger)])


for conn_id in CONN_IDS:
    news = watched(conn_id)
    with DAG(dag_id=f"arrivals_{conn_id}", schedule=[news], start_date=pendulum.datetime(2026, 1, 1, tz="UTC")):

        @task
        def write_down(asset, triggering_asset_events=None):
            """Append the payloads that this run is for, as one line."""
            payloads = [event.extra["payload"] for event in triggering_asset_events[Asset(asset)]]
            with Path(os.environ["ARRIVALS_FILE"]).open("a") as file:
                file.write(json.dumps(payloads) + "\n")

        write_down(news.name)
