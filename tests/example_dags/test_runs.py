"""Each example DAG runs in an Airflow of its own, against a real API and a real S3, and what lands is exact."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3

EXAMPLES = Path(__file__).parents[2] / "example_dags"
BUCKET = "example-archive"
UNTIL = datetime(2026, 2, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    """Two days of events, a few of them of the user that one of the examples exports."""
    with Sandbox.start(events=1_500, days=2, until=UNTIL) as api:
        api.insert({"timestamp": UNTIL - DAY + place * HOUR, "user": 42} for place in range(5))
        yield api


@dataclass(frozen=True)
class Airflow:
    """Runs DAGs in one AIRFLOW_HOME."""

    environment: dict[str, str]
    home: Path

    def run(self, dag_id: str, *dates: datetime, conf: dict[str, str] | None = None) -> list[str]:
        """Run a DAG for each logical date, and return the states in which the runs ended."""
        command = [sys.executable, "-m", "airflow_provider_akinon.sandbox.dag_run", str(EXAMPLES), dag_id]
        command += [date.isoformat() for date in dates]
        command += ["--conf", json.dumps(conf)] if conf else []
        with (self.home / "log").open("w") as log:
            ran = subprocess.run(
                command, env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True, timeout=180, check=False
            )
        states = [json.loads(line)["state"] for line in ran.stdout.splitlines()]
        assert len(states) == len(dates), self.log
        assert (ran.returncode == 0) is (set(states) == {"success"})
        return states

    @property
    def log(self) -> str:
        return (self.home / "log").read_text()

    def xcoms(self, dag_id: str) -> list[str]:
        """Return all that the DAG's tasks handed on, as the metadata database holds it."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            rows = database.execute("SELECT value FROM xcom WHERE dag_id = ?", [dag_id]).fetchall()
        return [value.decode() if isinstance(value, bytes) else value for (value,) in rows]


@pytest.fixture(scope="module")
def airflow(api: Sandbox, s3: LocalS3, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    s3.client().create_bucket(Bucket=BUCKET)
    home = tmp_path_factory.mktemp("airflow")
    return Airflow(
        {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_AKINON_DEFAULT": api.connection_json(),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(s3.connection()),
            "AKINON_EXAMPLE_BUCKET": BUCKET,
        },
        home,
    )


def stored(s3: LocalS3, prefix: str) -> dict[str, list[str]]:
    """Return the uuids in each object below a prefix, by what follows it in the key."""
    client = s3.client()
    found = {}
    for entry in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []):
        if entry["Key"].endswith(".receipt.json"):
            continue
        with client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"] as body:
            lines = gzip.decompress(body.read()).splitlines()
        found[entry["Key"].removeprefix(prefix)] = [json.loads(line)["uuid"] for line in lines]
    return found


def default_prefix(api: Sandbox) -> str:
    return f"akinon/audit-events/{api.url.removeprefix('http://').replace(':', '_')}/remote/1/"


def test_daily_export(airflow: Airflow, api: Sandbox, s3: LocalS3) -> None:
    """Two days land as two objects that hold the API's events; only a small result goes to XCom, and no key."""
    assert airflow.run("akinon_daily_export", UNTIL - DAY, UNTIL) == ["success", "success"], airflow.log

    objects = stored(s3, default_prefix(api))
    assert objects == {
        "date=2026-01-30/20260130T000000Z_20260131T000000Z.jsonl.gz": api.uuids(UNTIL - 2 * DAY, UNTIL - DAY),
        "date=2026-01-31/20260131T000000Z_20260201T000000Z.jsonl.gz": api.uuids(UNTIL - DAY, UNTIL),
    }
    assert all(objects.values())
    xcoms = airflow.xcoms("akinon_daily_export")
    assert len(xcoms) == 2
    assert all(len(xcom) < 1000 and "content_sha256" in xcom for xcom in xcoms)
    assert api.key not in airflow.log


def test_settled_export(airflow: Airflow, api: Sandbox, s3: LocalS3) -> None:
    """A day that ended long ago has settled at once, and is left alone where it is stored already."""
    before = stored(s3, default_prefix(api))

    assert airflow.run("akinon_settled_export", UNTIL) == ["success"], airflow.log

    key = "date=2026-01-31/20260131T000000Z_20260201T000000Z.jsonl.gz"
    assert stored(s3, default_prefix(api)) == before | {key: api.uuids(UNTIL - DAY, UNTIL)}
    assert f"holds {len(api.uuids(UNTIL - DAY, UNTIL))} matching events" in airflow.log


def test_hourly_export(airflow: Airflow, api: Sandbox, s3: LocalS3) -> None:
    """Hours around midnight in Istanbul land under the dates of Istanbul."""
    midnight = UNTIL - DAY - 3 * HOUR

    assert airflow.run("akinon_hourly_export", midnight, midnight + HOUR) == ["success", "success"], airflow.log

    assert stored(s3, "hourly/") == {
        "date=2026-01-30/20260130T200000Z_20260130T210000Z.jsonl.gz": api.uuids(midnight - HOUR, midnight),
        "date=2026-01-31/20260130T210000Z_20260130T220000Z.jsonl.gz": api.uuids(midnight, midnight + HOUR),
    }


def test_one_users_export(airflow: Airflow, api: Sandbox, s3: LocalS3) -> None:
    """What one user did lands, and a day without it is an object without events."""
    assert airflow.run("akinon_admin_user_export", UNTIL, UNTIL - DAY) == ["success", "success"], airflow.log

    truth = api.uuids(UNTIL - DAY, UNTIL, user=42)
    assert len(truth) == 5
    assert stored(s3, "users/") == {
        "date=2026-01-30/20260130T000000Z_20260131T000000Z_user=42.jsonl.gz": [],
        "date=2026-01-31/20260131T000000Z_20260201T000000Z_user=42.jsonl.gz": truth,
    }


def test_event_lookup(airflow: Airflow, api: Sandbox) -> None:
    """The event that is asked for is looked up, and what is handed on holds no personal data."""
    [uuid] = api.insert([{"timestamp": UNTIL + HOUR, "user": 4711, "remote_addr": "203.0.113.77"}])

    assert airflow.run("akinon_event_lookup", UNTIL, conf={"uuid": uuid}) == ["success"], airflow.log

    [xcom] = airflow.xcoms("akinon_event_lookup")
    assert uuid in xcom
    assert "2026-02-01T01:00:00Z" in xcom
    assert "user4711@example.com" not in xcom
    assert "203.0.113.77" not in xcom
