"""The one installation that the system tests of an Airflow line share, and what goes on in it beside them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.backfilling import Backfill, Backfilling
from tests.support.postgresql import MISSING, PostgreSQL
from tests.support.programs import require
from tests.support.system import System


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the very end what was skipped because PostgreSQL is missing."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if MISSING in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"Warning: {len(skipped)} tests were skipped. {MISSING}", yellow=True, bold=True)


@pytest.fixture(scope="session")
def postgresql() -> None:
    """Skips the tests where PostgreSQL is missing; where CI is set, they fail."""
    require(PostgreSQL.require)


@pytest.fixture(scope="session")
def running(
    postgresql: None,  # noqa: ARG001 - needed first
    s3: LocalS3,
    request: pytest.FixtureRequest,
) -> Iterator[tuple[System, Future[list[Backfill]] | None]]:
    """The installation, and the backfills, which go on while other tests wait; None where no test asks for them."""
    wanted = any("backfills" in item.fixturenames for item in request.session.items)
    with ThreadPoolExecutor(1) as thread, System.running(s3) as system:
        yield system, thread.submit(Backfilling(system).run) if wanted else None


@pytest.fixture(scope="session")
def system(running: tuple[System, Future[list[Backfill]] | None]) -> System:
    """The installation. A test may kill its triggerer, if it starts it again; it shares it with all others."""
    return running[0]


@pytest.fixture(scope="session")
def backfills(running: tuple[System, Future[list[Backfill]] | None]) -> list[Backfill]:
    """The backfills of all days: the first, and the second, of all of them again."""
    assert running[1] is not None
    return running[1].result()
