"""What the tests stand on: real processes, started once for all tests that share them, and stopped at the end.

Nothing here is a mock. The API is the sandbox's, the S3 is SeaweedFS, and connections come from the environment,
as users may give them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support import quick_clients, quick_sandboxes  # noqa: F401 - it is enough to import them
from tests.support.dag_runs import DagRuns
from tests.support.examples import OTHER_EXAMPLES
from tests.support.paths import EXAMPLES
from tests.support.servers import NARROW_KEY, UNTIL, Connect

settings.register_profile(
    "examples",
    max_examples=OTHER_EXAMPLES,
    deadline=None,  # threads, compression and busy machines make some examples slow
    derandomize=False,  # also where CI is set: each run tries others
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("examples")

# Before anything imports Airflow, which reads them then.
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "False")
# Airflow 2 warns without it, in whichever test happens to be the first; Airflow 3 always does so.
os.environ.setdefault("AIRFLOW__METRICS__TIMER_UNIT_CONSISTENCY", "True")


REAL_PARTS = ("integration", "docs", "example_dags", "system", "browser")
"""The folders whose tests start servers. All others are of units, and start none."""


@pytest.fixture(autouse=True)
def no_server_for_units(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the tests of units to it, so that they stay quick wherever they run."""
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    if folder in REAL_PARTS:
        return

    def listen(*_: object) -> None:
        raise AssertionError(f"a test in tests/{folder} starts a server; it belongs into tests/integration")

    monkeypatch.setattr("socket.socket.listen", listen)
    parameters = getattr(request.node, "callspec", None)
    fixtures = set(request.fixturenames) - set(parameters.params if parameters else ())
    assert not fixtures & {"s3", "sandbox", "bucket", "airflow"}


@pytest.fixture(scope="session")
def s3() -> Iterator[LocalS3]:
    with ExitStack() as stack:
        # One after the other: processes that start one at once may find the same ports free.
        with Path(tempfile.gettempdir(), "akinon-tests-s3.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            server = stack.enter_context(LocalS3.start())
        yield server


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A plain API with 3,000 events in the ten days before `UNTIL`. Do not change its events; start your own.

    Its users are frozen, as tests compare stored bytes with a second reading.
    """
    with Sandbox.start(events=3_000, days=10, until=UNTIL, narrow_key=NARROW_KEY, freeze_users=True) as api:
        yield api


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagRuns]:
    """An Airflow that runs the example DAGs, and those whose files a test adds to its folder of DAGs.

    It takes a while to start: tests that use it bear the mark ``xdist_group("airflow")``, which brings them together.
    """
    home = tmp_path_factory.mktemp("airflow")
    shutil.copytree(EXAMPLES, home / "dags")
    with DagRuns.starting(home, home / "dags") as runs:
        yield runs


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Return a function that makes ``akinon_default`` a connection to a sandbox, with fields replaced."""

    def connect(api: Sandbox, extra: dict[str, object] | None = None, **fields: object) -> None:
        connection = json.loads(api.connection_json()) | fields
        connection["extra"] = {**(connection.get("extra") or {}), **(extra or {})}
        monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", json.dumps(connection))

    return connect


@pytest.fixture
def bucket(s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new, empty bucket that ``aws_default`` leads to."""
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(s3.connection()))
    name = f"audit-{uuid4().hex}"
    s3.client().create_bucket(Bucket=name)
    return name
