"""What the system tests share: one whole Airflow with all their DAGs, an API for each purpose, and an S3."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.airflow_installation import AIRFLOW_3, AirflowInstallation
from tests.support.paths import EXAMPLES, ROOT

DAGS = ROOT / "tests" / "system" / "dags"
BUCKET = "audit-archive"
EVENTS = 5_000
DAYS = [datetime(2026, 1, 22, tzinfo=UTC) + timedelta(days=number) for number in range(10)]
"""The days that hold the events to export."""
# With characters that a URL quotes, and long enough not to turn up by chance.
KEY = "right-key-Zx8+Qm/3vT=="
WRONG_KEY = "wrong-key-Pk5+Rw/9uL=="
CARELESS_KEY = "careless-key-Hn2+Bc/7yD=="


@dataclass(frozen=True)
class System:
    """An installation whose own DAGs are switched on, and what it works with."""

    airflow: AirflowInstallation
    s3: LocalS3
    exported: Sandbox
    """The API of `EVENTS` events that are exported, by the connection ``akinon_default`` and with `KEY`."""
    awaited: Sandbox
    """The API that the sensors of ``dags/waiting`` ask."""
    watched: Sandbox
    """The API that the watchers of ``dags/arrivals`` ask. Airflow 2 has none."""
    batches: Path
    """Where the DAGs of ``dags/arrivals`` write down what they are told of, each in a file of its own."""

    @classmethod
    @contextmanager
    def running(cls, s3: LocalS3) -> Iterator[System]:
        """Start it, give it, and stop it. Takes about half a minute."""
        s3.client().create_bucket(Bucket=BUCKET)
        with (
            tempfile.TemporaryDirectory(prefix="system-") as folder,
            Sandbox.start(events=EVENTS, days=10, until=DAYS[-1] + timedelta(days=1), key=KEY) as exported,
            Sandbox.start(events=0) as awaited,
            Sandbox.start(events=0) as watched,
        ):
            dags, batches = Path(folder, "dags"), Path(folder, "batches")
            batches.mkdir()
            _copy_dags(dags)
            right, arrivals = json.loads(exported.connection_json()), json.loads(watched.connection_json())
            connections = {
                "akinon_default": right,
                "akinon_wrong_key": right | {"password": WRONG_KEY},
                "akinon_careless": right | {"password": CARELESS_KEY},
                "akinon_awaited": json.loads(awaited.connection_json()),
                "akinon_watched": arrivals,
                "akinon_refused": arrivals | {"password": "wrong"},
                "aws_default": s3.connection(),
            }
            settings = {
                "AKINON_EXAMPLE_BUCKET": BUCKET,
                "ARRIVALS_SINCE": (datetime.now(UTC) - timedelta(minutes=10)).isoformat(),
                "ARRIVALS_FOLDER": str(batches),
            }
            texts = {conn_id: json.dumps(connection) for conn_id, connection in connections.items()}
            with AirflowInstallation.running(dags, texts, settings) as airflow:
                yield cls(airflow, s3, exported, awaited, watched, batches)


def _copy_dags(target: Path) -> None:
    """Copy the DAG files that the installed line can read."""
    target.mkdir()
    for folder in (EXAMPLES, DAGS, DAGS / "waiting", *([DAGS / "arrivals"] if AIRFLOW_3 else [])):
        for path in folder.glob("*.py"):
            shutil.copy(path, target)
