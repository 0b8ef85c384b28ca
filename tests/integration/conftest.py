"""What the integration tests share: an API that each test fills itself, and a way to start worse ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_akinon.audit_events.api import AuditEventsApi
from airflow_provider_akinon.hooks import akinon
from airflow_provider_akinon.sandbox import Sandbox
from tests.support.clock import HastyClock
from tests.support.exporting import DAY, Span
from tests.support.http_server import write_certificate
from tests.support.servers import NARROW_KEY, UNTIL, Connect, Hostile

_days = itertools.count()


@pytest.fixture(scope="session")
def shop() -> Iterator[Sandbox]:
    """An API without events. A test brings its own, into a `day` of its own.

    Its users are frozen, as those of `hostile` are: tests compare stored bytes with a second reading.
    """
    with Sandbox.start(events=0, narrow_key=NARROW_KEY, freeze_users=True) as api:
        yield api


@pytest.fixture
def day() -> Span:
    """A day of UTC that no other test uses, nor the days beside it."""
    start = datetime(2022, 1, 1, tzinfo=UTC) + 3 * DAY * next(_days)
    return Span(start, start + DAY)


@pytest.fixture
def hostile(connect: Connect) -> Iterator[Hostile]:
    """Starts worse APIs, which end with the test."""
    with ExitStack() as stack:

        def start(extra: dict[str, object] | None = None, **flags: Any) -> Sandbox:
            given = {"events": 900, "days": 2, "until": UNTIL, "freeze_users": True, **flags}
            api = stack.enter_context(Sandbox.start(**given))
            connect(api, extra)
            return api

        yield start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook's client tries again as often as it does, without the half minute of waiting in between."""
    monkeypatch.setattr(akinon, "AuditEventsApi", partial(AuditEventsApi, clock=HastyClock()))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody signed but itself, and its private key, in one file."""
    return write_certificate(tmp_path_factory.mktemp("tls") / "self-signed.pem")
