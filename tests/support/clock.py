"""A clock under control."""

from __future__ import annotations

import time

LONG = 20.0
"""Seconds after which a test is wrong, rather than slow: the least that a test may bound by the real clock."""


class FakeClock:
    """A clock that waits in no time, and remembers how long."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.waits.append(seconds)
        self.now += seconds


class HastyClock:
    """The clock, for who does not wait by it: each wait is over in a moment."""

    monotonic = staticmethod(time.monotonic)

    def sleep(self, _: float, /) -> None:
        time.sleep(0.001)


class RunningClock(FakeClock):
    """A clock that goes on by ``tick`` seconds each time somebody looks at it."""

    def __init__(self, tick: float) -> None:
        super().__init__()
        self.tick = tick

    def monotonic(self) -> float:
        self.now += self.tick
        return self.now
