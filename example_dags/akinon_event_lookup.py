"""
# Look one event up

Trigger it with an event's uuid. It logs, and returns, what the event was about, without the personal data in it.
"""

# [START akinon_event_lookup]
import pendulum

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # before Airflow 3.2
    from airflow import DAG
    from airflow.decorators import task
    from airflow.models.param import Param

from airflow_provider_akinon.hooks.akinon import AkinonHook

with DAG(
    dag_id="akinon_event_lookup",
    schedule=None,
    start_date=pendulum.datetime(2025, 1, 1, tz="UTC"),
    catchup=False,
    params={"uuid": Param("123e4567-e89b-12d3-a456-426614174000", type="string")},
    doc_md=__doc__,
    tags=["akinon", "example"],
):

    @task
    def look_up(params=None):
        """Return when the event happened, and what it touched."""
        event = AkinonHook().get_event(params["uuid"])
        return {name: event.get(name) for name in ("uuid", "timestamp", "content_type", "object_id", "url")}

    look_up()
# [END akinon_event_lookup]
