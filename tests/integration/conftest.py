"""What the integration tests share: an API that each test fills itself, and a way to start worse ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from exporting import DAY, Span

from airflow_provider_akinon.audit_events import api as api_module
from airflow_provider_akinon.sandbox import Sandbox

NARROW_KEY = "narrow-key"
UNTIL = datetime(2026, 2, 1, tzinfo=UTC)

_days = itertools.count()


@pytest.fixture(scope="session")
def shop() -> Iterator[Sandbox]:
    """An API without events. A test brings its own, into a `day` of its own."""
    with Sandbox.start(events=0, narrow_key=NARROW_KEY) as api:
        yield api


@pytest.fixture
def day() -> Span:
    """A day of UTC that no other test uses, nor the days beside it."""
    start = datetime(2022, 1, 1, tzinfo=UTC) + 3 * DAY * next(_days)
    return Span(start, start + DAY)


@pytest.fixture
def hostile(connect: Callable[..., None]) -> Iterator[Callable[..., Sandbox]]:
    """Starts an API with flags and makes it ``akinon_default``, with the connection's ``extra``."""
    with ExitStack() as stack:

        def start(extra: dict[str, object] | None = None, **flags: Any) -> Sandbox:
            api = stack.enter_context(Sandbox.start(**{"events": 900, "days": 2, "until": UNTIL, **flags}))
            connect(api, extra)
            return api

        yield start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client tries again as often as it does, without the half minute of waiting in between."""
    monkeypatch.setattr(api_module, "_backoff", lambda _: 0.0)
