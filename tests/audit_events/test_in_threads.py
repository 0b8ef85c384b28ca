"""Calls in threads: in order, some at a time, and none that nobody waits for any more."""

from __future__ import annotations

import threading
import time

import pytest

from airflow_provider_akinon.audit_events.in_threads import in_threads


def test_results_come_in_order() -> None:
    """However long each call takes."""

    def call(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number * number

    with in_threads(call, range(50), "test", 4) as results:
        assert list(results) == [number * number for number in range(50)]


@pytest.mark.parametrize("threads", [1, 3])
def test_so_many_at_a_time(threads: int) -> None:
    """All threads are at work, and no more than were asked for."""
    together = threading.Barrier(threads)
    lock, going, most = threading.Lock(), 0, 0

    def call(_: int) -> None:
        nonlocal going, most
        with lock:
            going += 1
            most = max(most, going)
        together.wait(10)
        with lock:
            going -= 1

    with in_threads(call, range(6), "test", threads) as results:
        assert list(results) == [None] * 6
    assert most == threads


def test_an_error_is_raised_where_its_result_is_due() -> None:
    """The results before it are there, also where it came first."""
    failed = threading.Event()

    def call(number: int) -> int:
        if number == 3:
            failed.set()
            raise ValueError(number)
        failed.wait(10)
        return number

    with in_threads(call, range(10), "test", 4) as results:
        assert [next(results), next(results), next(results)] == [0, 1, 2]
        with pytest.raises(ValueError, match="3"):
            next(results)


def test_nothing_is_waited_for_or_begun_afterwards() -> None:
    """Whoever leaves does so while a call is under way, and no other call begins."""
    begun, release = [], threading.Event()

    def call(number: int) -> None:
        begun.append(number)
        release.wait(10)

    with in_threads(call, range(100), "test", 2):
        while len(begun) < 2:
            time.sleep(0.001)
    threads = [each for each in threading.enumerate() if each.name.startswith("test-")]
    assert len(threads) == 2
    assert all(each.daemon for each in threads)
    release.set()
    for each in threads:
        each.join(10)
    assert begun == [0, 1]


def test_nothing_to_call() -> None:
    """No value, no thread and no result."""
    with in_threads(len, [], "test", 4) as results:
        assert list(results) == []
