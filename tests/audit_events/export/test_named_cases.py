"""The export at full size, in the cases that an Audit Events API is known, or feared, to bring about."""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_akinon.audit_events.errors import IncompleteWindow, Unavailable
from airflow_provider_akinon.audit_events.export import LOOKAHEAD_SLICES, SLICE_PAGES, Reader, export_window
from airflow_provider_akinon.audit_events.formats import JsonLines
from airflow_provider_akinon.audit_events.model import Window
from tests.support.adversary import FOREVER, MICROSECOND, START, AdversarialApi, World, assert_exact
from tests.support.long import in_ci

DAY = Window(START, START + timedelta(days=1))
YEAR = Window(START, START + timedelta(days=365))
INSTANT = Window(START, START + MICROSECOND)
CHANGING = [
    (200, 100),
    (200, 2_000),
    in_ci(1_000, 100),
    in_ci(1_000, 2_000),
    in_ci(200, 20_000),
    in_ci(1_000, 20_000),
]
"""Requests that each bring a change, and events in the window."""


def export(world: World, **options: Any) -> AdversarialApi:
    """Export a world's window, and assert that it is exact: all events, once, in order, as the API wrote them."""
    api = AdversarialApi(world, **options)
    with export_window(api, world.window, world.filters) as made:
        lines = list(made.lines())
    assert_exact(api, lines)
    assert made.count == len(lines)
    assert api.in_flight <= world.concurrency
    return api


class TestOrder:
    """Equal timestamps, and a `sort` that is not honoured."""

    @pytest.mark.parametrize("milliseconds", [False, True])
    def test_250_equal_timestamps_at_page_100(self, milliseconds: bool) -> None:
        """A timestamp with more events than a page is read whole though the API shuffles them on each request."""
        world = World(events=250, shape="instant", stable=False, milliseconds=milliseconds, concurrency=4)
        assert len(export(world).wanted()) == 250

    def test_1000_equal_timestamps_at_page_20(self) -> None:
        """A timestamp with fifty pages of shuffled events is read whole within the requests it may take."""
        api = export(World(events=1000, shape="instant", stable=False, page_size=20, concurrency=4))
        assert api.requests <= 50 * (7 + 14) + 4

    def test_bursts_between_other_events(self) -> None:
        """Bursts larger than a page lose nothing of themselves, nor of the events around them."""
        export(World(events=3000, shape="bursts", stable=False, page_size=50, concurrency=4))

    @pytest.mark.parametrize("shape", ["spread", "bursts", "second", "hour"])
    @pytest.mark.parametrize("order", ["newest", "random"])
    def test_sort_ignored(self, order: Any, shape: Any) -> None:
        """An API that ignores `sort` and gives the newest first, or no order, costs requests, not events."""
        export(World(events=3000, order=order, stable=False, shape=shape, concurrency=4))


class TestLimit:
    """A `limit` that is not honoured."""

    def test_limit_clamped_to_20(self) -> None:
        """An API that gives 20 where 100 are asked for is read at 20 a page."""
        api = export(World(events=3000, most=20, concurrency=4))
        assert api.requests <= 1.5 * 3000 / 20

    def test_only_the_default_page_size(self) -> None:
        """An API that gives its 20 whatever `limit` says, more or fewer, is read at 20 a page."""
        export(World(events=3000, default_page=20, concurrency=4))
        export(World(events=300, default_page=20, page_size=5, concurrency=4))


class TestTime:
    """Timestamps, and the edges of the window."""

    @pytest.mark.parametrize("shape", ["spread", "millisecond", "second", "bursts", "edges"])
    def test_cut_to_milliseconds(self, shape: Any) -> None:
        """Timestamps shown in milliseconds, while filters compare microseconds, lose no event at any edge."""
        window = Window(START + 500 * MICROSECOND, START + timedelta(minutes=1, microseconds=300))
        export(World(events=2000, window=window, shape=shape, milliseconds=True, stable=False, concurrency=4))

    def test_edges_on_timestamps(self) -> None:
        """An event at the window's start belongs to it, one at its end does not, to the microsecond."""
        world = World(events=200, shape="edges", page_size=10, concurrency=4)
        moments = [row.moment for row in export(world).wanted()]
        around = [row.moment for row in world.history()]
        assert moments[0] == DAY.start
        assert moments[-1] == DAY.end - MICROSECOND
        assert DAY.start - MICROSECOND in around
        assert DAY.end in around

    @pytest.mark.parametrize("events", [0, 1])
    def test_no_event_or_one(self, events: int) -> None:
        """A window with one event, or none, takes a page and the closing count."""
        assert export(World(events=events, concurrency=4)).requests == 2

    def test_all_in_one_second(self) -> None:
        """A year whose events all lie in one second is read whole, in a few requests for each page."""
        api = export(World(events=3000, window=YEAR, shape="second", concurrency=4))
        assert api.requests <= 4 * 30

    def test_all_in_one_millisecond(self) -> None:
        """A year whose events all lie in one millisecond is read whole."""
        api = export(World(events=300, window=YEAR, shape="millisecond", concurrency=4))
        assert api.requests <= 4 * 3

    def test_an_empty_year_with_one_busy_hour(self) -> None:
        """Empty months cost next to no requests."""
        api = export(World(events=5000, window=YEAR, shape="hour", concurrency=4))
        assert api.requests <= 1.5 * 50


class TestChange:
    """Events that arrive, or vanish, while the window is read."""

    @pytest.mark.parametrize(("requests", "events"), CHANGING)
    def test_an_event_arrives_with_each_request(self, requests: int, events: int) -> None:
        """Arrivals anywhere in the window, one with each request, delay the proof until they end."""
        assert len(export(World(events=events, arrivals=requests, concurrency=4)).wanted()) > events

    @pytest.mark.parametrize("place", ["asked", "behind", "ahead"])
    def test_events_arrive_where_it_hurts(self, place: Any) -> None:
        """Arrivals in the slice that is read, or only behind it, or only ahead, are all there in the end."""
        world = World(events=2_000, arrivals=200, arriving=3, place=place, stable=False, concurrency=4)
        assert len(export(world).wanted()) == 2_600

    def test_events_that_arrive_elsewhere_do_not_matter(self) -> None:
        """Arrivals outside the window cost no request."""
        quiet = World(events=2_000)
        assert export(replace(quiet, arrivals=FOREVER, place="outside")).requests == export(quiet).requests

    @pytest.mark.parametrize(("requests", "events"), CHANGING)
    def test_an_event_vanishes_with_each_request(self, requests: int, events: int) -> None:
        """While events are deleted, one with each request, all that survive are there in the end."""
        assert len(export(World(events=events, departures=requests, concurrency=4)).wanted()) < events

    @pytest.mark.parametrize("events", [600, in_ci(2_000)])
    @pytest.mark.parametrize("place", ["window", in_ci("behind"), in_ci("ahead")])
    def test_the_window_never_settles(self, place: Any, events: int) -> None:
        """Arrivals that never end fail the export, which names the remedy, and their pace and the slices that moved.

        Where threads are slow, so many may have come before the window's end was reached that no pace can be named.
        """
        world = World(events=events, arrivals=FOREVER, place=place, concurrency=4)
        api = AdversarialApi(world, most_requests=3_000)
        with pytest.raises(IncompleteWindow) as caught, export_window(api, world.window, world.filters):
            pass
        error = caught.value
        assert error.read >= events
        assert "settled_for" in str(error)
        if "without coming to its end" in str(error):
            assert error.read > 2 * error.expected >= 2 * events
            return
        assert error.expected > error.read
        assert re.search(r"by \+[0-9.]+ events a second", str(error))
        assert error.slices
        for window, count, read in error.slices:
            assert world.window.start <= window.start < window.end <= world.window.end
            assert count != read


class TestFound:
    """Counterexamples that were found, against the engine as it was then."""

    @pytest.mark.parametrize("seed", range(8))
    def test_a_deletion_moves_a_row_to_a_page_already_read(self, seed: int) -> None:
        """Events deleted from a crowded instant must not hide one that survives, nor stand in for it in the count."""
        export(World(seed=seed, window=INSTANT, events=36, page_size=5, departures=3))
        export(World(seed=seed, window=INSTANT, events=36, page_size=5, departures=3, between=True))

    def test_an_event_is_deleted_before_its_page_is_read_again(self) -> None:
        """An event that vanishes before the first page of a crowded instant comes again does not count as seen."""
        for seed in range(60):
            for events in (3, 4, 9):
                export(World(seed=seed, window=INSTANT, events=events, page_size=1, departures=2))

    @pytest.mark.parametrize("seeds", [range(10), in_ci(range(10, 60))])
    @pytest.mark.parametrize("departures", [8, 12])
    @pytest.mark.parametrize("page_size", [2, 3])
    def test_deletions_stand_in_for_events_that_were_passed_over(
        self, page_size: int, departures: int, seeds: range
    ) -> None:
        """Events passed over, as a page without order seemed to have one, are missed though as many vanish later."""
        world = World(window=YEAR, events=20, page_size=page_size, order="random", departures=departures)
        for seed in seeds:
            export(replace(world, seed=seed, place="behind"))
            export(replace(world, seed=seed, place="window"))

    @pytest.mark.parametrize("seed", range(8))
    def test_a_crowded_millisecond_loses_its_last_page(self, seed: int) -> None:
        """A page number past the end, as events were deleted, leaves as many requests as before to read the rest."""
        world = World(
            seed=seed, window=YEAR, events=53, page_size=2, shape="millisecond", departures=19, between=True
        )
        export(world)

    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_the_newest_page_is_one_burst(self, concurrency: int) -> None:
        """A first page of equal timestamps is no sign that the API keeps to the order of time."""
        world = World(events=300, page_size=5, order="newest", shape="bursts", concurrency=concurrency)
        assert len(export(world).wanted()) == 300
        export(World(window=YEAR, events=4, page_size=1, order="newest", concurrency=concurrency))

    def test_a_crowded_millisecond_never_settles(self) -> None:
        """Arrivals without end in one millisecond fail the export, though each makes for more pages to read."""
        world = World(window=INSTANT, events=300, most=20, stable=False, arrivals=FOREVER, place="asked")
        api = AdversarialApi(world, most_requests=3_000)
        with pytest.raises(IncompleteWindow), export_window(api, world.window, world.filters):
            pass

    @pytest.mark.parametrize("place", ["window", "ahead"])
    def test_events_arrive_faster_than_they_are_read(self, place: Any) -> None:
        """Arrivals without end, more with each request than a page holds, fail the export in bounded requests."""
        world = World(events=50, page_size=10, arrivals=FOREVER, arriving=15, place=place)
        api = AdversarialApi(world, most_requests=3_000)
        with pytest.raises(IncompleteWindow), export_window(api, world.window, world.filters):
            pass


class TestConcurrency:
    """Several requests at a time."""

    @pytest.mark.parametrize("arrivals", [0, 100])
    def test_as_many_requests_as_allowed(self, arrivals: int) -> None:
        """As many requests are in flight as the connection allows, and never one more."""
        world = World(events=3_000, page_size=10, arrivals=arrivals, concurrency=4)
        assert export(world, delay=0.005).in_flight == 4

    @pytest.mark.parametrize("where", [(JsonLines, "write"), (os, "pwrite")], ids=["of the export", "of what waits"])
    def test_a_full_disk_ends_the_reading(self, monkeypatch: pytest.MonkeyPatch, where: tuple[Any, str]) -> None:
        """Where a file cannot be written, no thread reads on, though somebody still holds the error."""

        def full(*_: object) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(*where, full)
        with pytest.raises(OSError, match="no space left") as held:
            export(World(events=20_000, page_size=20, concurrency=4))

        for thread in threading.enumerate():
            if thread.name.startswith("akinon-read"):
                thread.join(5)
                assert not thread.is_alive()
        assert held.value.__traceback__ is not None

    def test_an_error_of_the_closing_count_ends_the_export(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the API does not say how many events there are in the end, that is the export's error."""

        def failing(*_: object) -> int:
            raise Unavailable("The Akinon API answered 500", status=500)

        monkeypatch.setattr(AdversarialApi, "count", failing)
        with pytest.raises(Unavailable, match="500"):
            export(World(events=3_000, page_size=20, concurrency=4))

    def test_the_closing_count_comes_last(self) -> None:
        """It is asked for after the answer to the last page, however slowly the events are consumed."""
        world = World(events=3_000, page_size=20, concurrency=4)
        api = AdversarialApi(world)
        reader = Reader(api, world.window, world.filters)
        with reader.read([world.window]) as reading:
            read = sum(stretch.events.count for stretch in reading.stretches())
            assert read == reading.closing_count().events == 3_000
        assert api.asked[-1]["limit"] == "1"
        assert [params["limit"] for params in api.asked].count("1") == 1

    def test_reading_waits_for_its_consumer(self) -> None:
        """What is read ahead of a slow consumer is bounded, whatever the window holds."""
        world = World(events=20_000, page_size=20, concurrency=4)
        api = AdversarialApi(world)
        with Reader(api, world.window, world.filters).read([world.window]) as reading:
            next(reading.stretches())
            requests = -1
            while requests != api.requests:
                requests = api.requests
                time.sleep(0.1)
            in_flight = world.concurrency * world.page_size
            ahead = LOOKAHEAD_SLICES * SLICE_PAGES * in_flight
            assert ahead // 2 < len(api.returned) <= ahead + 2 * in_flight
