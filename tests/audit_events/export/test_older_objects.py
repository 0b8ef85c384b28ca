"""The collector passes over what was there before, and only until the context ends."""

from __future__ import annotations

import gc
import weakref

import pytest

from airflow_provider_akinon.audit_events.export import sparing_older_objects


class Loop:
    """An object that only the collector can end, as it holds itself."""

    def __init__(self) -> None:
        self.own = self


def test_older_objects_are_spared_until_the_end() -> None:
    """What is new is collected meanwhile; what was there before is collected afterwards."""
    old = weakref.ref(Loop())
    with sparing_older_objects():
        new = weakref.ref(Loop())
        gc.collect()
        assert old() is not None
        assert new() is None
    gc.collect()
    assert old() is None


def test_an_error_ends_it_too() -> None:
    """Nothing stays spared after a reading that failed."""
    with pytest.raises(OSError, match="full"), sparing_older_objects():
        raise OSError("the disk is full")

    assert gc.get_freeze_count() == 0
