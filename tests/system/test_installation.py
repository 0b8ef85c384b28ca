"""The provider in a whole Airflow: what Airflow shows of it, a backfill on the real scheduler, and the logs."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_akinon import __version__
from airflow_provider_akinon.connection_form import FIELDS
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.airflow_installation import AIRFLOW_3, AirflowInstallation, Run
from tests.support.paths import EXAMPLES

pytestmark = pytest.mark.system
on_3 = pytest.mark.skipif(not AIRFLOW_3, reason="this is how Airflow 3 does it")
on_2 = pytest.mark.skipif(AIRFLOW_3, reason="this is how Airflow 2 does it")

BUCKET = "audit-archive"
DAG_ID = "akinon_daily_export"
EVENTS = 5_000
DAYS = [datetime(2026, 1, 22, tzinfo=UTC) + timedelta(days=number) for number in range(10)]
# With characters that a URL quotes, and long enough not to turn up by chance.
KEY = "right-key-Zx8+Qm/3vT=="
WRONG_KEY = "wrong-key-Pk5+Rw/9uL=="
CARELESS_KEY = "careless-key-Hn2+Bc/7yD=="
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


@dataclass(frozen=True)
class World:
    """An installation, and the API and the S3 that it works with."""

    airflow: AirflowInstallation
    sandbox: Sandbox
    s3: LocalS3

    def objects(self) -> dict[str, dict[str, Any]]:
        """Return what lies in the bucket, by key."""
        listing = self.s3.client().list_objects_v2(Bucket=BUCKET)
        return {entry["Key"]: entry for entry in listing.get("Contents", [])}

    def uuids(self, key: str) -> list[str]:
        """Return the uuids of an object's events, in its order."""
        body = self.s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return [json.loads(line)["uuid"] for line in gzip.decompress(body).splitlines()]

    def run_to_failure(self, dag_id: str) -> None:
        """Run a DAG once; it must fail."""
        self.airflow.wait_for_dag(dag_id)
        self.airflow.cli("dags", "trigger", dag_id, "--run-id", "failing")
        assert self.airflow.wait_for_run(dag_id, "failing").state == "failed"

    def backfill(self, *, again: bool = False) -> list[Run]:
        """Backfill the ten days as the documentation says, wait until all is done, and return the runs."""
        airflow = self.airflow
        first, last = DAYS[0].isoformat(), DAYS[-1].isoformat()
        if not AIRFLOW_3:
            more = ["--reset-dagruns", "--yes"] if again else []
            airflow.cli("dags", "backfill", DAG_ID, "--start-date", first, "--end-date", last, *more)
            return airflow.runs(DAG_ID)
        more = ["--reprocess-behavior", "completed"] if again else []
        span = ["--from-date", first, "--to-date", last, "--max-active-runs", "2"]
        airflow.cli("backfill", "create", "--dag-id", DAG_ID, *span, *more)
        airflow.wait_for("the backfill to be completed", self._backfills_are_completed, 600)
        return airflow.runs(DAG_ID)

    def _backfills_are_completed(self) -> bool:
        backfills = self.airflow.rest("GET", f"/api/v2/backfills?dag_id={DAG_ID}")["backfills"]
        return all(backfill["completed_at"] for backfill in backfills)


@pytest.fixture(scope="module")
def world(s3: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An installation with the example DAGs, and ours, in which only what a test asks for runs."""
    dags = tmp_path_factory.mktemp("dags")
    for folder in (EXAMPLES, Path(__file__).parent / "dags"):
        for path in folder.glob("*.py"):
            shutil.copy(path, dags)
    s3.client().create_bucket(Bucket=BUCKET)
    with Sandbox.start(events=EVENTS, days=10, until=DAYS[-1] + timedelta(days=1), key=KEY) as sandbox:
        right = json.loads(sandbox.connection_json())
        connections = {
            "akinon_default": json.dumps(right),
            "akinon_wrong_key": json.dumps(right | {"password": WRONG_KEY}),
            "akinon_careless": json.dumps(right | {"password": CARELESS_KEY}),
            "aws_default": json.dumps(s3.connection()),
        }
        settings = {
            "AKINON_EXAMPLE_BUCKET": BUCKET,
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            # Else the interval of yesterday would run as well.
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
        }
        with AirflowInstallation.running(dags, connections, settings) as airflow:
            yield World(airflow, sandbox, s3)


def test_airflow_lists_the_provider(world: World) -> None:
    """The provider is among the installed ones, with its version."""
    [provider] = [
        provider
        for provider in json.loads(world.airflow.cli("providers", "list", "--output", "json"))
        if provider["package_name"] == "airflow-provider-akinon"
    ]

    assert provider["version"] == __version__
    assert "Akinon" in provider["description"]


def test_airflow_describes_the_provider(world: World) -> None:
    """Airflow knows the provider's connection type, hook, sensor and transfer."""
    command = ("providers", "get", "airflow-provider-akinon", "--full", "--output", "json")
    said = world.airflow.cli(*command)

    for name in (
        "airflow_provider_akinon.hooks.akinon.AkinonHook",
        "airflow_provider_akinon.sensors.audit_events",
        "airflow_provider_akinon.transfers.audit_events_to_s3",
    ):
        assert name in said


@on_3
def test_the_api_server_serves_the_form(world: World) -> None:
    """The form's metadata reaches the UI: each extra field labelled, described and typed; login and schema hidden."""
    [form] = [
        entry
        for entry in world.airflow.rest("GET", "/ui/connections/hook_meta")
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
        (WRONG_KEY, False, "The API refuses the key (401"),
    ],
    ids=["right", "wrong"],
)
def test_the_test_button_answers(world: World, key: str, works: bool, says: str) -> None:
    """What the form's Test button asks the API server tells a right key from a wrong one, and repeats neither."""
    connection = json.loads(world.sandbox.connection_json())
    body = connection | {"connection_id": "akinon_new", "password": key, "extra": json.dumps(connection["extra"])}

    answer = world.airflow.rest("POST", "/api/v2/connections/test", body)

    assert answer["status"] is works
    assert says in answer["message"]
    assert key not in answer["message"]


@on_3
def test_a_stored_connection_hides_its_key(world: World) -> None:
    """A connection made in the UI comes back from the API server without its key."""
    connection = json.loads(world.sandbox.connection_json())
    body = connection | {"connection_id": "akinon_stored", "extra": json.dumps(connection["extra"])}
    world.airflow.rest("POST", "/api/v2/connections", body)

    stored = world.airflow.rest("GET", "/api/v2/connections/akinon_stored")

    assert stored["host"] == world.sandbox.url
    assert stored["password"] == "***"


@on_2
def test_airflow_2_reads_the_form(world: World) -> None:
    """Airflow 2 finds a labelled and described widget for each extra field, and login and schema hidden."""
    widgets, behaviour = json.loads(world.airflow.python("-c", FORM_OF_AIRFLOW_2).splitlines()[-1])

    assert widgets == {f"extra__akinon__{n}": [field["label"], field["description"]] for n, field in FIELDS.items()}
    assert behaviour["hidden_fields"] == ["login", "schema"]
    assert behaviour["relabeling"] == {"password": "API key"}
    assert behaviour["placeholders"]["host"] == "shop.example.com"


@on_2
def test_airflow_2_tests_the_connection(world: World) -> None:
    """What the Test button runs tells a right key from a wrong one, also on Airflow 2."""
    assert "Connection success!" in world.airflow.cli("connections", "test", "akinon_default")
    assert "The API refuses the key (401" in world.airflow.cli("connections", "test", "akinon_wrong_key")


@dataclass(frozen=True)
class Backfill:
    """The runs of a backfill, and what lay in the bucket after it."""

    runs: list[Run]
    objects: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def backfills(world: World) -> list[Backfill]:
    """The ten days, and then all of them again."""
    world.airflow.wait_for_dag(DAG_ID)
    return [Backfill(world.backfill(again=again), world.objects()) for again in (False, True)]


def test_a_backfill_is_exact(world: World, backfills: list[Backfill]) -> None:
    """Ten days give ten objects and receipts; the objects hold exactly the events that the API's database has."""
    first, _ = backfills

    assert [(run.interval_start, run.state) for run in first.runs] == [(day, "success") for day in DAYS]
    objects = sorted(key for key in first.objects if not key.endswith(".receipt.json"))
    assert len(first.objects) == 2 * len(objects) == 2 * len(DAYS)
    for key, day in zip(objects, DAYS, strict=True):
        assert f"/date={day:%Y-%m-%d}/" in key
        assert world.uuids(key) == world.sandbox.uuids(day, day + timedelta(days=1))
    assert sum(len(world.uuids(key)) for key in objects) == EVENTS


def test_a_backfill_may_be_repeated(backfills: list[Backfill]) -> None:
    """Running all days again changes no object and no receipt: same keys, ETags and times of writing."""
    first, again = backfills

    assert [(run.interval_start, run.state) for run in again.runs] == [(day, "success") for day in DAYS]
    # They did run again.
    assert min(run.started for run in again.runs) > max(run.ended for run in first.runs)
    assert again.objects == first.objects


@pytest.mark.usefixtures("backfills")
def test_no_log_holds_the_key(world: World) -> None:
    """No log, no other file of Airflow's and no table holds the API key, in any form, also after a refusal."""
    world.run_to_failure("wrong_key")

    files = {path: path.read_bytes() for path in world.airflow.home.rglob("*") if path.is_file()}
    tables = world.airflow.database.dump()

    # The logs of all that ran are there, or nothing would be found in them.
    everything = b"".join(files.values())
    assert everything.count(b"proved complete") >= 2 * len(DAYS)
    assert b"Invalid token" in everything
    assert "wrong_key" in tables
    for key in (KEY, WRONG_KEY):
        for form in (key, quote(key), quote(key, safe=""), b64(key), b64(f"Token {key}"), b64(f":{key}")):
            assert [path for path, content in files.items() if form.encode() in content] == []
            assert form not in tables


def test_a_careless_task_does_not_log_the_key(world: World) -> None:
    """Where a DAG itself logs the key and what is made of it, and fails with it, its task's log has stars instead.

    The task's own log only: Airflow 3's local executor prints a task's lines once more in the scheduler's output,
    without masking.
    """
    world.run_to_failure("careless")

    [log] = [text for path, text in world.airflow.logs().items() if "dag_id=careless" in path.parts]
    assert "The password is ***" in log
    assert "Authorization: ***" in log
    assert CARELESS_KEY not in log


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
