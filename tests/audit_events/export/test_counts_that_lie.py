"""Counts that are not the query's are recognised early and refused; odd but honest histories are not."""

from __future__ import annotations

import math

import pytest

from airflow_provider_akinon.audit_events.errors import MeaninglessCount
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters
from tests.support.adversary import FOREVER, AdversarialApi, World, assert_exact
from tests.support.lying_api import CONSTANT, DAY, HONEST, LIES, Lie, LyingApi, refusal

WHOLE = {"limit": "1", "timestamp__lt": "2025-01-02T00:00:00.000Z"}
PART = {"limit": "100", "timestamp__lt": "2025-01-01T23:00:00.000Z"}
"""Parameters of requests for the whole window, and for a part of it."""


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("events", [300, 1_500, 10_000])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_refused_early(lie: Lie, events: int, concurrency: int) -> None:
    """Each way to lie is named as such, within twice the window's pages; or it did not touch this window."""
    api = LyingApi(World(events=events, concurrency=concurrency), lie)
    error = refusal(api)
    if error is None:
        assert lie(events, WHOLE) == events
    else:
        assert "The API's count is not the window's" in str(error)
        assert error.expected != error.read
    assert api.requests <= 2 * events / 100 + CONSTANT


@pytest.mark.parametrize("shape", ["instant", "second", "bursts", "hour"])
@pytest.mark.parametrize("events", [0, 1, 30, 250])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_about_a_small_or_crowded_window(lie: Lie, events: int, shape: str) -> None:
    """So it is where the window holds less than a page, one event, none, or all of them at once."""
    api = LyingApi(World(events=events, shape=shape, concurrency=4), lie)
    told = [lie(number, params) for number in range(events + 1) for params in (WHOLE, PART)]
    honest = told == [number for number in range(events + 1) for _ in (WHOLE, PART)]
    assert (refusal(api) is None) or not honest
    assert api.requests <= 2 * events / 100 + CONSTANT


@pytest.mark.parametrize("order", ["newest", "random"])
def test_a_lie_of_an_api_without_order(order: str) -> None:
    """Where the order of time is not kept either, there is no more to read than to find that out."""
    api = LyingApi(World(events=300, order=order, concurrency=4), LIES["ignores every filter"])
    with pytest.raises(MeaninglessCount), export_window(api, DAY, Filters()):
        pass
    assert api.requests <= CONSTANT


@pytest.mark.parametrize("cap", [100, 1000])
@pytest.mark.parametrize("shape", ["instant", "second", "spread"])
def test_a_cap_that_full_pages_reach(cap: int, shape: str) -> None:
    """A count that is capped at what full pages hold looks right on all of them: what comes after them tells."""
    api = LyingApi(World(events=1500, shape=shape), lambda count, _: min(count, cap))
    with pytest.raises(MeaninglessCount), export_window(api, DAY, Filters()):
        pass
    assert api.requests <= 2 * 1500 / 100 + CONSTANT


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("world", HONEST.values(), ids=HONEST)
def test_what_is_odd_and_honest_is_exported(world: World, concurrency: int) -> None:
    """No honest history is refused; one that does not move costs at most twice its pages, and a few requests."""
    api = AdversarialApi(World(**{**vars(world), "concurrency": concurrency}))
    with export_window(api, world.window, Filters()) as made:
        assert_exact(api, list(made.lines()))
    if not (world.arrivals or world.departures or world.lacking) and world.stable:
        assert api.requests <= 2 * math.ceil(world.events / world.page) + CONSTANT


def test_rows_that_are_never_given_are_refused_early() -> None:
    """Where rows are hidden and counted, the count is not of what is given: found with the first page."""
    api = AdversarialApi(World(events=3_000, lacking=FOREVER, concurrency=4))
    with pytest.raises(MeaninglessCount), export_window(api, DAY, Filters()):
        pass
    assert api.requests <= CONSTANT
