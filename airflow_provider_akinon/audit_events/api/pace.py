"""Limits the requests to one API: how many at a time, how many a second, and none while the API asks for a pause.

All clients of an API and key in a process share one pace, so that its limits hold for the process. When the API
pushes back, every thread pauses, and half as many requests go at a time from then on; each answer lets the number
grow again, slowly. This module sends nothing and knows no HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakValueDictionary

from airflow_provider_akinon.audit_events.api.settings import Settings

GROWTH = 0.05
"""Requests at a time that each answer adds after a push-back: 20 answers for one more."""


class Clock(Protocol):
    """The part of the module ``time`` that is used here; tests bring a clock of their own."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


class Pace:
    """The pace of the requests to one API. Safe to share between threads."""

    def __init__(self, most_at_a_time: int, per_second: float | None, clock: Clock) -> None:
        self._most = most_at_a_time
        self._gap = 1 / per_second if per_second else 0.0
        self._clock = clock
        self._changed = threading.Condition()
        self._allowed = float(most_at_a_time)
        self._going = 0
        self._next_turn = clock.monotonic()
        self._paused_until = self._next_turn

    @classmethod
    def shared(cls, settings: Settings, clock: Clock) -> Pace:
        """Return the pace of a connection's API and key in this process."""
        extra = settings.extra
        identity = (settings.base_url, settings.key, extra.max_concurrency, extra.requests_per_second, clock)
        with _lock:
            pace = _shared.get(identity)
            if pace is None:
                pace = _shared[identity] = cls(extra.max_concurrency, extra.requests_per_second, clock)
            return pace

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until a request may go, and keep its place until it has been answered."""
        with self._changed:
            while self._going >= int(self._allowed):
                self._changed.wait()
            self._going += 1
        try:
            while (wait := self._reserve()) > 0:
                self._clock.sleep(wait)
            yield
        finally:
            with self._changed:
                self._going -= 1
                self._allowed = min(self._most, self._allowed + GROWTH)
                self._changed.notify_all()

    def push_back(self, seconds: float) -> None:
        """Pause all requests for ``seconds``, and let half as many go at a time afterwards."""
        with self._changed:
            now = self._clock.monotonic()
            # Requests that were under way together are pushed back together: that counts once.
            if now >= self._paused_until:
                self._allowed = max(1.0, self._allowed / 2)
            self._paused_until = max(self._paused_until, now + seconds)

    def _reserve(self) -> float:
        """Return 0 where a request may go now, else the seconds until it is worth asking again."""
        with self._changed:
            now = self._clock.monotonic()
            ready = max(self._paused_until, self._next_turn)
            if ready > now:
                return ready - now
            self._next_turn = now + self._gap
            return 0.0


_lock = threading.Lock()
_shared: WeakValueDictionary[tuple[object, ...], Pace] = WeakValueDictionary()
