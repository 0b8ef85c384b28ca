"""Spares Python's garbage collector the objects that were there before a reading.

Airflow brings half a million objects into the process of a task. From time to time Python looks through all of them,
for a fifth of a second in which no thread reads, and finds nothing: they last as long as the process. That is for the
owner of the process to decide: operators do, in the process of their task; reading by itself does not. This module
collects nothing, and forgets nothing: at the end, the collector looks at all objects again.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def sparing_older_objects() -> Iterator[None]:
    """Let the collector pass over the objects that exist now, in the whole process, until the context ends."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
