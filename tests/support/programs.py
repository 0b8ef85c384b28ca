"""Tests that need a program which is not there: skipped by hand, and failed where CI is set."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


def require(*programs: Callable[[], object]) -> None:
    """Call what looks for a program, and raises FileNotFoundError where it is missing."""
    try:
        for look in programs:
            look()
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))
