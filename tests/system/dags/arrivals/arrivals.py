"""DAGs that write down every batch of new events they are told of, each of a user of its own. Airflow 3 only."""

import json
import os
from pathlib import Path

import pendulum
from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_provider_akinon.triggers.audit_events import AuditEventsArrivedTrigger

WATCHERS = {
    "told": ("akinon_watched", {"user": 1}),
    "soon": ("akinon_watched", {"user": 2}),
    "later": ("akinon_watched", {"user": 3}),
    "latest": ("akinon_watched", {"user": 4}),
    "refused": ("akinon_refused", None),
}


def watched(name, conn_id, filters):
    """Return an asset that a look at the connection's API, each second, brings news of."""
    trigger = AuditEventsArrivedTrigger(
        since=os.environ["ARRIVALS_SINCE"], filters=filters, poll_interval=1, overlap=3600, akinon_conn_id=conn_id
    )
    return Asset(f"news_{name}", watchers=[AssetWatcher(name=name, trigger=trigger)])


for name, (conn_id, filters) in WATCHERS.items():
    news = watched(name, conn_id, filters)
    with DAG(
        dag_id=f"arrivals_{name}",
        schedule=[news],
        start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
        is_paused_upon_creation=False,
    ):

        @task
        def write_down(name, asset, triggering_asset_events=None):
            """Append the payloads that this run is for, as one line."""
            payloads = [event.extra["payload"] for event in triggering_asset_events[Asset(asset)]]
            with Path(os.environ["ARRIVALS_FOLDER"], name).open("a") as file:
                file.write(json.dumps(payloads) + "\n")

        write_down(name, news.name)
