"""Limits the number of arenas that glibc's malloc takes memory from.

By default, malloc gives each thread an arena of its own, and keeps the free end of each arena when its thread has
ended: a megabyte or more for each connection, which can neither be given back to the system nor be used by another
thread. The threads of a reading take turns in Python, so few arenas serve them as well as many. That is for the owner
of the process to decide: operators do, in the process of their task; reading by itself does not. This module
overrides no setting of the environment, and does nothing where malloc is not glibc's.
"""

from __future__ import annotations

import ctypes
import os

ARENAS = 2
"""The number of arenas: the main thread's, and one for all other threads."""

_M_ARENA_MAX = -8  # of glibc's malloc.h


def share_arenas() -> None:
    """Let threads that begin from here on share arenas. It holds for the whole process, to its end.

    Where ``MALLOC_ARENA_MAX`` or the tunable of that name is set, that setting holds instead.
    """
    if "MALLOC_ARENA_MAX" in os.environ or "glibc.malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another system's malloc
        return
    mallopt(_M_ARENA_MAX, ARENAS)
