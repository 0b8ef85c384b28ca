"""The arenas that glibc's malloc has after a window was read."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

THREADS = 8
SCRIPT = f"""
import ctypes, threading
from airflow_provider_akinon.audit_events.export import Reader
from airflow_provider_akinon.audit_events.model import Filters, Window
from tests.support.memory_api import MemoryApi
window = Window.parse("2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z")
assert sum(stretch.events.count for stretch in Reader(MemoryApi(), window, Filters()).read([window])) == 0
together = threading.Barrier({THREADS} + 1)
def work():
    kept = bytearray(1000)
    together.wait()
    together.wait()
for _ in range({THREADS}):
    threading.Thread(target=work).start()
together.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
together.wait()
"""


@pytest.mark.parametrize(
    ("environment", "arenas"),
    [({}, 2), ({"MALLOC_ARENA_MAX": "5"}, 5), ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}, 4)],
)
def test_threads_share_arenas(environment: dict[str, str], arenas: int) -> None:
    """However many threads there are; who asks for a number of arenas gets it."""
    mine = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=mine | environment, capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert found.stdout.count("<heap nr=") == arenas
