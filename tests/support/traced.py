"""What Python allocates, counted byte by byte: unlike a process's memory, it is the same in each run."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def traced_peak() -> Iterator[Callable[[], int]]:
    """Give what returns, after the ``with``, the most bytes that were allocated in it and held at a time."""
    most = 0
    tracemalloc.start()
    try:
        yield lambda: most
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
