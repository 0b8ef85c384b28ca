"""Timestamps that are shown less finely than they are filtered: the export finds out how finely, and stays exact."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.export import Precision, export_window
from airflow_provider_akinon.audit_events.model import DAY, Window, shown_unit
from tests.support.adversary import MICROSECOND, MILLISECOND, START, AdversarialApi, World, assert_exact
from tests.support.examples import SOME_EXAMPLES

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
UNITS = [100 * MILLISECOND, SECOND, MINUTE]
NOON = START + 12 * HOUR


def export(world: World) -> AdversarialApi:
    """Export a world's window, and assert that it is exact."""
    api = AdversarialApi(world)
    with export_window(api, world.window, world.filters) as made:
        assert_exact(api, list(made.lines()))
    return api


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("unit", UNITS, ids=str)
@pytest.mark.parametrize("stable", [True, False])
def test_four_events_a_second_for_an_hour(unit: timedelta, concurrency: int, stable: bool) -> None:
    """An ordinary shop's hour is exact at each precision, with one connection and with eight."""
    hour = Window(NOON, NOON + HOUR)
    export(World(events=4 * 3600, window=hour, unit=unit, concurrency=concurrency, stable=stable))


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_160_events_in_one_second(unit: timedelta, concurrency: int) -> None:
    """More events than a page look as if they came at once, among others and alone."""
    for events, shape in ((160, "second"), (2000, "bursts"), (2000, "second")):
        api = export(World(events=events, shape=shape, unit=unit, concurrency=concurrency))
        assert api.requests <= 4 * max(2, events / 100) + 12


@pytest.mark.parametrize("unit", [10 * MILLISECOND, 5 * SECOND, 10 * SECOND, 15 * MINUTE, HOUR, DAY], ids=str)
@pytest.mark.parametrize("concurrency", [1, 8])
def test_other_units(unit: timedelta, concurrency: int) -> None:
    """No list of units is behind it: each that divides a day is found."""
    window = Window(START, START + max(HOUR, 20 * unit))
    export(World(events=3000, window=window, unit=unit, concurrency=concurrency))


@pytest.mark.parametrize("unit", UNITS, ids=str)
def test_edges_of_the_window_inside_a_unit(unit: timedelta) -> None:
    """A window that starts and ends inside a unit has the events that the filter gives, and no others."""
    start = NOON + 3 * unit / 10
    for events in (5, 3000):
        export(World(events=events, window=Window(start, start + 40 * unit), unit=unit, concurrency=4))
    export(World(events=250, window=Window(start, start + unit / 2), unit=unit, concurrency=4))


def test_whole_times_that_are_whole_by_chance() -> None:
    """An import at midnight looks as if times were shown in days, and is not read as one day by page numbers."""
    api = AdversarialApi(World(events=3000, window=Window(START, START + DAY), concurrency=4))
    moved = [row._replace(moment=START) for row in api._rows[2:400]]
    for row in moved:
        shown = next(
            place for place, token in enumerate(row.tokens) if token.startswith('"20') and token.endswith('Z"')
        )
        index = api._rows.index(next(each for each in api._rows if each.uuid == row.uuid))
        tokens = (*row.tokens[:shown], '"2025-01-01T00:00:00Z"', *row.tokens[shown + 1 :])
        api._rows[index] = row._replace(tokens=tokens)
    api._rows.sort()
    api._counted = list(api._rows)
    with export_window(api, api.world.window, api.world.filters) as made:
        assert_exact(api, list(made.lines()))
    assert max(int(asked.get("page", 1)) for asked in api.asked) <= 5


@settings(max_examples=SOME_EXAMPLES)
@given(
    st.sampled_from([*UNITS, 10 * SECOND, HOUR]),
    st.sampled_from(["spread", "bursts", "second", "instant", "edges", "hour"]),
    st.integers(0, 300),
    st.integers(1, 50),
    st.booleans(),
    st.integers(0, 2**16),
    st.sampled_from([timedelta(), MICROSECOND, 499 * MILLISECOND]),
    st.sampled_from([SECOND, MINUTE, HOUR, DAY]),
)
def test_any_history_at_any_precision(
    unit: timedelta,
    shape: Any,
    events: int,
    page_size: int,
    stable: bool,
    seed: int,
    offset: timedelta,
    span: timedelta,
) -> None:
    """Whatever the history, the window and the page, a coarse display costs requests, not events."""
    window = Window(NOON + offset, NOON + offset + span)
    world = World(
        seed=seed, window=window, shape=shape, events=min(events, 20 * page_size), page_size=page_size, unit=unit
    )
    export(World(**{**vars(world), "stable": stable, "concurrency": 4}))


def test_the_unit_is_what_divides_all_times() -> None:
    """The unit is found from few times, and becomes finer, never coarser."""
    at = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
    assert shown_unit([at]) == 30 * MINUTE
    assert shown_unit([at, at + 7 * SECOND]) == SECOND
    assert shown_unit([at + MILLISECOND]) == MILLISECOND
    assert shown_unit([at + MICROSECOND]) == timedelta(0)
    precision = Precision()
    assert precision.unit == DAY
    for shown, unit in ((at, 30 * MINUTE), (at + SECOND, SECOND), (at, SECOND), (at + MICROSECOND, MILLISECOND)):
        precision.note([shown])
        assert precision.unit == unit
    assert precision.is_proved
