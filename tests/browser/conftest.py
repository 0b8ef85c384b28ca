"""The Airflow whose UI the browser tests use, an API and an S3 behind it, and the form in a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.airflow_installation import AIRFLOW_3, AirflowInstallation
from tests.support.connection_form import ConnectionForm, chromium
from tests.support.paths import ROOT
from tests.support.postgresql import PostgreSQL
from tests.support.programs import require

KEY = "right-key-Zx8+Qm/3vT=="
EVENTS = 200
UNTIL = datetime(2026, 1, 3, tzinfo=UTC)
DAGS = ROOT / "tests" / "browser" / "dags"
PICTURES = ROOT / ".pictures" / ("airflow-3" if AIRFLOW_3 else "airflow-2")


@dataclass(frozen=True)
class Stored:
    """A connection as Airflow's database has it, decrypted."""

    host: str | None
    port: int | None
    password: str | None
    extra: dict[str, Any]


@dataclass(frozen=True)
class World:
    """A running Airflow with its UI, and what is behind it."""

    airflow: AirflowInstallation
    sandbox: Sandbox
    form: ConnectionForm

    def address(self) -> dict[str, str]:
        """Return the fields that a person has to fill in, with the right key."""
        host, _, port = self.sandbox.url.rpartition(":")
        return {"host": host, "port": port, "password": KEY}

    def stored(self, conn_id: str) -> Stored:
        """Return what was saved."""
        statement = "SELECT host, port, password, extra FROM connection WHERE conn_id = %s"
        [(host, port, *secrets)] = self.airflow.database.query(statement, conn_id)
        fernet = Fernet(self.airflow.environment["AIRFLOW__CORE__FERNET_KEY"])
        password, extra = [text and fernet.decrypt(text.encode()).decode() for text in secrets]
        return Stored(host, port, password, json.loads(extra or "{}"))


@pytest.fixture(scope="session")
def programs() -> None:
    """Skips the tests where PostgreSQL or Chromium is missing; where CI is set, they fail."""
    require(PostgreSQL.require, chromium)


@pytest.fixture(scope="session")
def world(
    programs: None,  # noqa: ARG001 - needed first
    s3: LocalS3,
) -> Iterator[World]:
    """One installation and one browser for all tests."""
    bucket = f"audit-{uuid4().hex}"
    s3.client().create_bucket(Bucket=bucket)
    connection = s3.connection()
    # It holds a short text, of which Airflow warns, and goes without saying for an IP address.
    del connection["extra"]["config_kwargs"]
    connections = {"aws_default": json.dumps(connection)}
    with (
        Sandbox.start(events=EVENTS, days=2, until=UNTIL, key=KEY) as sandbox,
        AirflowInstallation.running(DAGS, connections, {"BROWSER_BUCKET": bucket}, ui=True) as airflow,
        ConnectionForm.opened(airflow, PICTURES) as form,
    ):
        yield World(airflow, sandbox, form)
