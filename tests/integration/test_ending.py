"""A task that is ended ends: soon, wherever it is, and without a request more."""

from __future__ import annotations

import pytest

from tests.support.interrupted import PHASES, end
from tests.support.long import in_ci

WAYS = {"timeout": "AirflowTaskTimeout", "kill": "SystemExit"}

KILLED = ["export: reading", "sensor: between two looks", "verify: reading objects", "reconcile: counting again"]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, "timeout") for name in PHASES),
        *(in_ci(name, "kill") for name in PHASES if name not in KILLED),
        *((name, "kill") for name in KILLED),
    ],
)
def test_a_task_ends_wherever_it_is(name: str, way: str) -> None:
    """An ``execution_timeout`` or a kill ends each phase, threads that sleep through their retries and all."""
    ending = end(PHASES[name], way)

    assert ending.was_stuck
    assert ending.by == WAYS[way]
    assert ending.seconds < PHASES[name].seconds
    assert ending.requests_later == 0
