"""What the sandbox's tests share: one plain sandbox, and a way to start others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_akinon.sandbox import Sandbox
from tests.support.sandbox_client import FLAGS, Client


@pytest.fixture(scope="session")
def plain() -> Iterator[Sandbox]:
    """A sandbox without faults; a test that changes its events puts them outside ``[START, END)``.

    Its users are frozen, as those of `FLAGS` are: tests compare what one request gives with what another does.
    """
    with Sandbox.start(**FLAGS, narrow_key="narrow") as sandbox:
        yield sandbox


@pytest.fixture
def client(plain: Sandbox) -> Iterator[Client]:
    with closing(Client(plain)) as client:
        yield client


@pytest.fixture
def faulty() -> Iterator[Callable[..., tuple[Sandbox, Client]]]:
    """Starts a sandbox with flags, and gives it with a client; both end with the test."""
    started: list[tuple[Sandbox, Client]] = []

    def start(**flags: Any) -> tuple[Sandbox, Client]:
        sandbox = Sandbox.start(**{**FLAGS, **flags})
        started.append((sandbox, Client(sandbox)))
        return started[-1]

    yield start
    for sandbox, client in started:
        client.close()
        assert sandbox.stop() == 0
