"""What a whole Airflow shows of the provider: its description, the connection's form, and what Test answers."""

from __future__ import annotations

import json

import pytest

from airflow_provider_akinon import __version__
from airflow_provider_akinon.connection_form import FIELDS
from tests.support.airflow_installation import AIRFLOW_3
from tests.support.system import EVENTS, KEY, WRONG_KEY, System

pytestmark = pytest.mark.system
on_3 = pytest.mark.skipif(not AIRFLOW_3, reason="this is how Airflow 3 does it")
on_2 = pytest.mark.skipif(AIRFLOW_3, reason="this is how Airflow 2 does it")

COMMANDS = {
    "list": ("providers", "list", "--output", "json"),
    "get": ("providers", "get", "airflow-provider-akinon", "--full", "--output", "json"),
}
if not AIRFLOW_3:
    COMMANDS |= {name: ("connections", "test", f"akinon_{name}") for name in ("default", "wrong_key")}
FORM_OF_AIRFLOW_2 = """
import json
from airflow.providers_manager import ProvidersManager
manager = ProvidersManager()
widgets = {
    name: [str(widget.field.args[0]), widget.field.kwargs["description"]]
    for name, widget in manager.connection_form_widgets.items()
    if widget.package_name == "airflow-provider-akinon"
}
print(json.dumps([widgets, manager.field_behaviours["akinon"]]))
"""


@pytest.fixture(scope="module")
def said(system: System) -> dict[str, str]:
    """What each of the commands said; one start-up of Airflow serves all of them."""
    return dict(zip(COMMANDS, system.airflow.commands(*COMMANDS.values()), strict=True))


def test_airflow_lists_the_provider(said: dict[str, str]) -> None:
    """The provider is among the installed ones, with its version."""
    [provider] = [
        provider for provider in json.loads(said["list"]) if provider["package_name"] == "airflow-provider-akinon"
    ]

    assert provider["version"] == __version__
    assert "Akinon" in provider["description"]


def test_airflow_describes_the_provider(said: dict[str, str]) -> None:
    """Airflow knows the provider's connection type, hook, sensor and transfer."""
    for name in (
        "airflow_provider_akinon.hooks.akinon.AkinonHook",
        "airflow_provider_akinon.sensors.audit_events",
        "airflow_provider_akinon.transfers.audit_events_to_s3",
    ):
        assert name in said["get"]


@on_3
def test_the_api_server_serves_the_form(system: System) -> None:
    """The form's metadata reaches the UI: each extra field labelled, described and typed; login and schema hidden."""
    [form] = [
        entry
        for entry in system.airflow.rest("GET", "/ui/connections/hook_meta")
        if entry["connection_type"] == "akinon"
    ]

    assert form["hook_name"] == "Akinon Commerce"
    standard = form["standard_fields"]
    assert standard["login"]["hidden"]
    assert standard["url_schema"]["hidden"]
    assert standard["password"] == {"hidden": False, "title": "API key", "placeholder": "the key alone"}
    assert standard["host"]["placeholder"] == "shop.example.com"
    assert list(form["extra_fields"]) == list(FIELDS)
    for name, field in form["extra_fields"].items():
        meant = FIELDS[name]
        assert field["schema"]["title"] == meant["label"], name
        assert field["description"] == meant["description"], name
        assert field["schema"]["type"] == meant["schema"]["type"], name
        assert field["value"] == meant["schema"].get("default"), name


@on_3
@pytest.mark.parametrize(
    ("key", "works", "says"),
    [
        (KEY, True, f"the key sees {EVENTS} audit events of remote id 1"),
        (WRONG_KEY, False, "The API refuses the key"),
    ],
    ids=["right", "wrong"],
)
def test_the_test_button_answers(system: System, key: str, works: bool, says: str) -> None:
    """What the form's Test button asks the API server tells a right key from a wrong one, and repeats neither."""
    connection = json.loads(system.exported.connection_json())
    body = connection | {"connection_id": "akinon_new", "password": key, "extra": json.dumps(connection["extra"])}

    answer = system.airflow.rest("POST", "/api/v2/connections/test", body)

    assert answer["status"] is works
    assert says in answer["message"]
    assert key not in answer["message"]


@on_3
def test_a_stored_connection_hides_its_key(system: System) -> None:
    """A connection made in the UI comes back from the API server without its key."""
    connection = json.loads(system.exported.connection_json())
    body = connection | {"connection_id": "akinon_stored", "extra": json.dumps(connection["extra"])}
    system.airflow.rest("POST", "/api/v2/connections", body)

    stored = system.airflow.rest("GET", "/api/v2/connections/akinon_stored")

    assert stored["host"] == system.exported.url
    assert stored["password"] == "***"


@on_2
def test_airflow_2_reads_the_form(system: System) -> None:
    """Airflow 2 finds a labelled and described widget for each extra field, and login and schema hidden."""
    widgets, behaviour = json.loads(system.airflow.python("-c", FORM_OF_AIRFLOW_2).splitlines()[-1])

    assert widgets == {f"extra__akinon__{n}": [field["label"], field["description"]] for n, field in FIELDS.items()}
    assert behaviour["hidden_fields"] == ["login", "schema"]
    assert behaviour["relabeling"] == {"password": "API key"}
    assert behaviour["placeholders"]["host"] == "shop.example.com"


@on_2
def test_airflow_2_tests_the_connection(said: dict[str, str]) -> None:
    """What the Test button runs tells a right key from a wrong one, also on Airflow 2."""
    assert "Connection success!" in said["default"]
    assert "The API refuses the key" in " ".join(said["wrong_key"].split())
