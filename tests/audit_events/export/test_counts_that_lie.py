"""Counts that are not the query's are recognised early and refused; odd but honest histories are not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from datetime import timedelta

import msgspec
import pytest

from airflow_provider_akinon.audit_events.errors import MeaninglessCount
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.records import Page
from airflow_provider_akinon.audit_events.window import Window
from tests.support.adversary import FOREVER, START, AdversarialApi, World, assert_exact

DAY = Window(START, START + timedelta(days=1))
CONSTANT = 60
"""Requests beside twice a window's pages."""

Lie = Callable[[int, Mapping[str, str]], int]
_random = random.Random(1)
LIES: dict[str, Lie] = {
    "ignores every filter": lambda _, __: 1_000_000,
    "capped at 1,000": lambda count, _: min(count, 1000),
    "3 % too high": lambda count, _: math.ceil(count * 1.03),
    "3 % too low": lambda count, _: int(count * 0.97),
    "rounded to tens": lambda count, _: round(count / 10) * 10,
    "one too many": lambda count, _: count + 1,
    "estimated above 1,000": lambda count, _: count if count <= 1000 else count * 11 // 10,
    "ignores the end": lambda count, params: count + 4_000 * (params["timestamp__lt"] < "2025-01-02T00:00:00.000Z"),
    "of the page": lambda count, params: min(count, int(params["limit"])),
    "another each time": lambda count, _: count + _random.randrange(1, 50),
    "always none": lambda _, __: 0,
}


class LyingApi(AdversarialApi):
    """An API whose counts lie."""

    def __init__(self, world: World, lie: Lie) -> None:
        super().__init__(world)
        self._lie = lie

    def _answer(self, params: dict[str, str]) -> Page:
        page = super()._answer(params)
        return msgspec.structs.replace(page, count=self._lie(page.count, params))


WHOLE = {"limit": "1", "timestamp__lt": "2025-01-02T00:00:00.000Z"}
PART = {"limit": "100", "timestamp__lt": "2025-01-01T23:00:00.000Z"}
"""Parameters of requests for the whole window, and for a part of it."""


def refusal(api: AdversarialApi) -> MeaninglessCount | None:
    """Return the error of an export that calls the count a lie, None where the export is exact."""
    try:
        with export_window(api, api.world.window, Filters()) as made:
            assert_exact(api, list(made.lines()))
    except MeaninglessCount as error:
        return error
    return None


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


HONEST: dict[str, World] = {
    "all in one half": World(events=500, window=Window(START, START + timedelta(days=365)), shape="hour"),
    "clamped pages": World(events=3_000, most=20),
    "pages of another size": World(events=3_000, default_page=37),
    "all at once": World(events=950, shape="instant", stable=False),
    "bursts": World(events=3_000, shape="bursts"),
    "at the edges": World(events=1_000, shape="edges", stable=False),
    "arriving": World(events=3_000, arrivals=100),
    "arriving between count and rows": World(events=3_000, arrivals=100, between=True),
    "vanishing": World(events=3_000, departures=100),
    "rows that lack at first": World(events=3_000, lacking=3),
    "records twice": World(events=3_000, repeating="added"),
}


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
