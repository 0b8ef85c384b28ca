"""How many arenas glibc's malloc has in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from tests.support.paths import ROOT

THREADS = 8
_COUNT = f"""
import ctypes, threading
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


def arenas_after(script: str, environment: Mapping[str, str]) -> int:
    """Return how many arenas serve eight threads that begin after ``script``."""
    mine = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    found = subprocess.run(
        [sys.executable, "-c", script + _COUNT],
        env={**mine, **environment},
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return found.stdout.count("<heap nr=")
