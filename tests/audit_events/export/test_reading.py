"""How many threads read at a time, and what is kept of what they read until its turn comes.

All threads where the API makes them wait, fewer where they only wait for each other.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from airflow_provider_akinon.audit_events.export import Count, Part
from airflow_provider_akinon.audit_events.export.reader import _Due, _Frontier, _Shelf, _Slice
from airflow_provider_akinon.audit_events.formats import Block
from airflow_provider_akinon.audit_events.model import Window
from tests.support.memory_api import at
from tests.support.traced import traced_peak

THREADS = 4
EMPTY = Part(events=[], count=0, page_size=100)


@pytest.fixture
def frontier() -> Iterator[_Frontier]:
    """Ten slices for four threads."""
    windows = Window(at("10:00:00"), at("11:00:00")).split(10)
    with tempfile.TemporaryFile() as file:
        yield _Frontier([_Slice(window, _Due(window)) for window in windows], THREADS, 100, _Shelf(file))


def busy(frontier: _Frontier) -> None:
    """Tell of a thread that computed for the whole of a step."""
    frontier.adapt(0.001, 0.001)


def waiting(frontier: _Frontier) -> None:
    """Tell of a thread that waited for nearly the whole of a step."""
    frontier.adapt(0.050, 0.001)


def taken(frontier: _Frontier) -> list[_Slice]:
    """Return the slices that four threads get without waiting for each other; leaves none of them waiting."""
    with ThreadPoolExecutor(THREADS) as pool:
        done, _ = wait([pool.submit(frontier.take) for _ in range(THREADS)], timeout=0.5)
        slices = [slice_ for slice_ in (each.result() for each in done) if slice_ is not None]
        frontier.stop()
    return slices


def test_all_threads_read_where_they_wait_for_the_api(frontier: _Frontier) -> None:
    """Steps that mostly wait leave every thread its slice."""
    for _ in range(50):
        waiting(frontier)

    assert len(taken(frontier)) == THREADS


def test_fewer_threads_read_where_they_wait_for_each_other(frontier: _Frontier) -> None:
    """Steps that mostly compute leave one thread at work, and never none."""
    held = frontier.take()
    for _ in range(50):
        busy(frontier)
    assert held is not None

    assert taken(frontier) == []


def test_one_thread_goes_on_however_busy(frontier: _Frontier) -> None:
    """With one thread left, each slice that it puts back makes room for the next."""
    for left in reversed(range(10)):
        slice_ = frontier.take()
        assert slice_ is not None
        busy(frontier)
        assert frontier.put(slice_, EMPTY, Block.of([]), count_dropped=False, trust_order=True) == (left > 0)
    frontier.close(Count(0, at("11:00:00")))

    assert frontier.take() is None
    assert len(list(frontier.stretches())) == 10


def test_threads_come_back_when_the_api_gets_slow(frontier: _Frontier) -> None:
    """A thread that waited for its turn is woken when the steps of the others come to wait for the API."""
    held = frontier.take()
    for _ in range(50):
        busy(frontier)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(frontier.take)
        for _ in range(50):
            waiting(frontier)
        assert held is not None
        frontier.put(held, EMPTY, Block.of([]), count_dropped=False, trust_order=True)
        first = frontier.take()
        woken, _ = wait([second], timeout=5)
        frontier.stop()
    assert woken
    assert first is not None
    assert second.result() is not first


def test_the_shelf_gives_back_what_was_put() -> None:
    """Blocks come back whole, whatever their size and order, and their places are used again."""

    def block(size: int) -> Block:
        return Block(count=size, data=bytes(4 * size), lines_size=3 * size, first=None, last=None)

    blocks = [block(size) for size in (0, 1, 30_000, 65_536, 200_001, 7)]
    with tempfile.TemporaryFile() as file:
        shelf = _Shelf(file)
        end = 0
        for _ in range(3):
            shelved = [shelf.put(each) for each in blocks]
            assert [shelf.take(each) for each in reversed(shelved)] == blocks[::-1]
            end = end or os.fstat(file.fileno()).st_size
        # The last piece of a place need not be full, so that the file may grow within it.
        assert os.fstat(file.fileno()).st_size < end + 256 * 1024


def test_the_shelf_holds_no_more_than_it_gives_back() -> None:
    """A block goes to the file as it is, and comes back as one piece: each thread would keep what a copy takes."""
    size = 200_000
    block = Block(count=1, data=bytes(size), lines_size=size // 2, first=None, last=None)
    with tempfile.TemporaryFile() as file:
        shelf = _Shelf(file)
        with traced_peak() as put:
            shelved = shelf.put(block)
        with traced_peak() as taken:
            again = shelf.take(shelved)

    assert again == block
    assert put() < size / 10
    assert taken() < size * 1.1
