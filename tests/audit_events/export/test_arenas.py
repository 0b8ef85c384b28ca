"""The threads that read share what malloc keeps, where nobody says otherwise."""

from __future__ import annotations

import pytest

from tests.support.arenas import THREADS, arenas_after

SHARE = """
from airflow_provider_akinon.audit_events.export import share_arenas
share_arenas()
"""


@pytest.mark.parametrize(
    ("environment", "arenas"),
    [({}, 2), ({"MALLOC_ARENA_MAX": "5"}, 5), ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}, 4)],
)
def test_threads_share_arenas(environment: dict[str, str], arenas: int) -> None:
    """However many threads there are; who asks for a number of arenas gets it."""
    assert arenas_after(SHARE, environment) == arenas < arenas_after("", {}) <= THREADS + 1
