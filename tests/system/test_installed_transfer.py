"""Exports in a whole Airflow: a backfill on the real scheduler, twice, and what of the key the logs hold."""

from __future__ import annotations

import base64
from datetime import timedelta
from urllib.parse import quote

import pytest

from tests.support.backfilling import DAG_ID, Backfill, Backfilling
from tests.support.system import CARELESS_KEY, DAYS, EVENTS, KEY, WRONG_KEY, System

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def backfilling(system: System) -> Backfilling:
    """Reads what the backfills wrote."""
    return Backfilling(system)


def test_a_backfill_is_exact(backfilling: Backfilling, backfills: list[Backfill]) -> None:
    """Ten days give ten objects and receipts; the objects hold exactly the events that the API's database has."""
    first, _ = backfills

    assert [(run.interval_start, run.state) for run in first.runs] == [(day, "success") for day in DAYS]
    objects = sorted(key for key in first.objects if not key.endswith(".receipt.json"))
    assert len(first.objects) == 2 * len(objects) == 2 * len(DAYS)
    for key, day in zip(objects, DAYS, strict=True):
        assert f"/date={day:%Y-%m-%d}/" in key
        assert backfilling.uuids(key) == backfilling.system.exported.uuids(day, day + timedelta(days=1))
    assert sum(len(backfilling.uuids(key)) for key in objects) == EVENTS


def test_a_backfill_may_be_repeated(backfills: list[Backfill]) -> None:
    """Running all days again changes no object and no receipt: same keys, ETags and times of writing."""
    first, again = backfills

    assert [(run.interval_start, run.state) for run in again.runs] == [(day, "success") for day in DAYS]
    # They did run again.
    assert min(run.started for run in again.runs) > max(run.ended for run in first.runs)
    assert again.objects == first.objects


@pytest.mark.usefixtures("backfills")
def test_no_log_holds_the_key(system: System) -> None:
    """No log, no other file of Airflow's and no table holds the API key, in any form, also after a refusal."""
    airflow = system.airflow
    assert airflow.wait_for_run("wrong_key", "failing").state == "failed"

    files = {path: path.read_bytes() for path in airflow.home.rglob("*") if path.is_file()}
    tables = airflow.database.dump()

    # The logs of all that ran are there, or nothing would be found in them.
    backfilled = [text for path, text in files.items() if f"dag_id={DAG_ID}/run_id=backfill__" in path.as_posix()]
    assert sum(text.count(b"proved complete") for text in backfilled) >= 2 * len(DAYS)
    assert b"Invalid token" in b"".join(files.values())
    assert "wrong_key" in tables
    for key in (KEY, WRONG_KEY):
        for form in (key, quote(key), quote(key, safe=""), b64(key), b64(f"Token {key}"), b64(f":{key}")):
            assert [path for path, content in files.items() if form.encode() in content] == []
            assert form not in tables


@pytest.mark.usefixtures("backfills")
def test_a_careless_task_does_not_log_the_key(system: System) -> None:
    """Where a DAG itself logs the key and what is made of it, and fails with it, its task's log has stars instead.

    The task's own log only: Airflow 3's local executor prints a task's lines once more in the scheduler's output,
    without masking.
    """
    assert system.airflow.wait_for_run("careless", "failing").state == "failed"

    [log] = [text for path, text in system.airflow.logs().items() if "dag_id=careless" in path.parts]
    assert "The password is ***" in log
    assert "Authorization: ***" in log
    assert CARELESS_KEY not in log


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
