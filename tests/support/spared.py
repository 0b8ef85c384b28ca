"""How many objects Python's garbage collector passes over while a window is read."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from airflow_provider_akinon.audit_events.export import reader


def spared_at_each_step(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that takes their number at each step of a reading from now on."""
    spared: list[int] = []
    read_part = reader.read_part

    def noted(*args: Any, **options: Any) -> Any:
        spared.append(gc.get_freeze_count())
        return read_part(*args, **options)

    monkeypatch.setattr(reader, "read_part", noted)
    return spared
