"""Cases that run in CI only, beside one of their kind that always runs."""

from __future__ import annotations

from typing import Any

import pytest


def in_ci(*values: Any, id: str | None = None) -> Any:  # noqa: A002 - pytest's own word
    """Return a case of a parametrized test that is ``long``: `make test` leaves it to CI."""
    return pytest.param(*values, id=id, marks=pytest.mark.long)
