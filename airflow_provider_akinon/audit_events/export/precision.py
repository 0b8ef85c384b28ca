"""Finds out how finely the API shows times, which may be less finely than it filters them.

All times that it shows are multiples of the unit that it cuts them to. So the greatest unit that divides all of those
seen is that unit, or a multiple of it: an edge on a multiple of it never separates events whose times look alike. The
unit found can only become finer, with each time that is seen. Units are counted from midnight in UTC; this module
refuses to look for units below a millisecond: all edges may lie on milliseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import datetime, timedelta

from airflow_provider_akinon.audit_events.model import DAY, MILLISECOND, MINUTE, shown_unit

TRIED = tuple(timedelta(milliseconds=number) for number in (1, 10, 100, 1_000, 10_000, 60_000, 600_000, 3_600_000))
"""Units that an API is likely to cut its times to, the finest first."""


class Precision:
    """The precision of one API's times, as far as it is known; shared by the threads that read a window."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unit = DAY
        self._seen = 0
        self._proved: timedelta | None = None

    @property
    def unit(self) -> timedelta:
        """The unit that edges have to lie on: the API's own, or a multiple of it; at least a millisecond."""
        return self._unit

    @property
    def resolution(self) -> timedelta:
        """The most that a shown time may have been cut by; a minute before any was seen, to notice wrong events."""
        return self._unit if self._seen else MINUTE

    @property
    def is_proved(self) -> bool:
        """Whether the unit is the API's own, or the finest that matters."""
        return self._unit in (MILLISECOND, self._proved)

    def note(self, instants: Iterable[datetime]) -> None:
        """Take note of times that the API showed."""
        if self._unit == MILLISECOND:
            return
        with self._lock:
            instants = list(instants)
            self._seen += len(instants)
            unit = shown_unit(instants, self._unit)
            # Edges lie on milliseconds also where times are finer, or no multiples of them.
            self._unit = MILLISECOND if unit % MILLISECOND or not unit else unit

    def prove(self, unit: timedelta) -> None:
        """Take note that the API's own unit is no finer than ``unit``."""
        self._proved = unit
