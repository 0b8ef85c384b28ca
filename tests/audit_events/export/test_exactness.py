"""The export is exact or fails, whatever the API does: properties, checked against random misbehaving APIs.

A failure shows its `World`, which replays it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.errors import AkinonError, IncompleteWindow, UnrequestedEvent
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters, Window
from tests.support.adversary import FOREVER, MICROSECOND, MILLISECOND, START, AdversarialApi, World, assert_exact
from tests.support.examples import SOME_EXAMPLES

thorough = settings(max_examples=SOME_EXAMPLES)
# Where each example takes all the requests that mending may take.
costly = settings(max_examples=max(10, SOME_EXAMPLES // 20))

SPANS = [
    timedelta(days=365),
    timedelta(days=1),
    timedelta(seconds=2),
    3 * MILLISECOND,
    700 * MICROSECOND,
    MICROSECOND,
]
OFFSETS = [timedelta(), MICROSECOND, 500 * MICROSECOND, timedelta(microseconds=123_999)]
FILTERS = [Filters(), Filters(), Filters(user=1), Filters(content_type=2, object_id=10**30), Filters(1, 1, 1)]

ORDER = st.fixed_dictionaries({"order": st.sampled_from(["newest", "random"]), "stable": st.booleans()})
UNSTABLE = st.just({"stable": False})
CLAMPED = st.fixed_dictionaries({"most": st.integers(3, 20)})
LIMIT_IGNORED = st.fixed_dictionaries({"default_page": st.integers(3, 20)})
MILLISECONDS = st.just({"milliseconds": True})
REPEATING = st.just({"repeating": "added"})
PLACES = st.sampled_from(["window", "asked", "behind", "ahead", "outside"])
ARRIVALS = st.fixed_dictionaries(
    {"arrivals": st.integers(1, 60), "arriving": st.integers(1, 3), "place": PLACES, "between": st.booleans()}
)
DEPARTURES = st.fixed_dictionaries({"departures": st.integers(1, 60), "place": PLACES, "between": st.booleans()})
LACKING = st.one_of(
    st.fixed_dictionaries({"lacking": st.integers(1, 3)}),
    st.just({"repeating": "instead"}),
)
NAMES_IGNORED = st.fixed_dictionaries(
    {
        "filters": st.sampled_from([Filters(user=1), Filters(content_type=2, object_id=10**30), Filters(1, 1, 1)]),
        "ignored": st.sampled_from([("user",), ("object_id",), ("content_type", "object_id")]),
    }
)
NEVER_QUIET = st.fixed_dictionaries({"arrivals": st.just(FOREVER), "place": PLACES, "between": st.booleans()})


@st.composite
def worlds(draw: st.DrawFn, *behaviours: st.SearchStrategy[dict[str, Any]]) -> World:
    """Draw a history and a question, for an API of all these behaviours."""
    start = START + draw(st.sampled_from(OFFSETS))
    page_size = draw(st.integers(1, 50))
    events = draw(st.integers(0, min(400, 40 * page_size)) | st.integers(0, 3))
    world = World(
        seed=draw(st.integers(0, 2**16)),
        window=Window(start, start + draw(st.sampled_from(SPANS))),
        filters=draw(st.sampled_from(FILTERS)),
        shape=draw(st.sampled_from(["spread", "bursts", "second", "millisecond", "instant", "edges", "hour"])),
        events=events,
        page_size=page_size,
        concurrency=draw(st.sampled_from([1, 4])),
    )
    for behaviour in behaviours:
        world = replace(world, **draw(behaviour))
    return world


def some(*behaviours: st.SearchStrategy[dict[str, Any]]) -> list[st.SearchStrategy[dict[str, Any]]]:
    """Return strategies that each add a behaviour or leave it out."""
    return [st.just({}) | behaviour for behaviour in behaviours]


def most_requests(world: World) -> int:
    """Return a bound of the requests that an export may take.

    A first reading takes for each page two steps and, in a crowded millisecond, its repeated reading; and where the
    order cannot be trusted, two slices at each of the 36 halvings from a year to a millisecond. Mending takes four
    times as much, 1,500 requests, and one last round.
    """
    ever = world.events + 4 + min(world.arrivals, 300) * world.arriving
    pages = math.ceil(ever / min(world.page, ever)) + 1
    in_order = world.order == "time" and world.repeating == "no" and not (world.departures or world.lacking)
    return 2_000 + 6 * math.ceil(pages * (2 + math.log(ever) + 14 + (0 if in_order else 2 * 36)))


@dataclass
class Outcome:
    """What an export came to: the lines, or the error."""

    api: AdversarialApi
    lines: list[bytes]
    error: AkinonError | None = None


@contextmanager
def shown(world: World) -> Iterator[None]:
    """Show the world with whatever fails in it; hypothesis cannot replay what threads make flaky."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"In {world!r}")
        raise


def export(world: World) -> Outcome:
    """Export a world's window, in bounded requests; any error but the package's own passes through."""
    api = AdversarialApi(world, most_requests=most_requests(world))
    try:
        with export_window(api, world.window, world.filters) as made:
            outcome = Outcome(api, list(made.lines()))
            assert made.count == len(outcome.lines)
    except AkinonError as error:
        outcome = Outcome(api, [], error)
    assert api.in_flight <= world.concurrency
    return outcome


@thorough
@given(
    worlds(
        *some(ORDER, CLAMPED | LIMIT_IGNORED, MILLISECONDS, UNSTABLE, REPEATING, ARRIVALS, LACKING),
        *some(NAMES_IGNORED),
    )
)
def test_all_events_or_an_error(world: World) -> None:
    """Of a history that only grows, an export holds every event exactly as it is, or fails with an own error."""
    with shown(world):
        outcome = export(world)
        if outcome.error is None:
            assert_exact(outcome.api, outcome.lines)


@thorough
@given(worlds(*some(ORDER, CLAMPED | LIMIT_IGNORED, MILLISECONDS, UNSTABLE, REPEATING), DEPARTURES))
def test_all_that_survive_or_an_error(world: World) -> None:
    """While events are deleted, an export holds all that survive and nothing the API did not give, or fails."""
    with shown(world):
        outcome = export(world)
        if outcome.error is None:
            assert_exact(outcome.api, outcome.lines)


@thorough
@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(st.just({}), id="no_faults"),
        pytest.param(UNSTABLE, id="equal_timestamps_in_changing_order"),
        pytest.param(ORDER, id="sort_ignored"),
        pytest.param(CLAMPED, id="limit_clamped"),
        pytest.param(LIMIT_IGNORED, id="limit_ignored"),
        pytest.param(MILLISECONDS, id="cut_to_milliseconds"),
        pytest.param(ARRIVALS, id="arrivals"),
        pytest.param(DEPARTURES, id="deletions"),
        pytest.param(REPEATING, id="a_record_twice_on_a_page"),
        pytest.param(LACKING, id="pages_that_lack_a_row_at_first"),
    ],
)
@given(data=st.data())
def test_a_single_fault_that_ends_is_overcome(
    behaviour: st.SearchStrategy[dict[str, Any]], data: st.DataObject
) -> None:
    """An API with one fault, quiet in the end, costs requests, not the export."""
    world = data.draw(worlds(behaviour))
    with shown(world):
        outcome = export(world)
        if outcome.error is not None:
            raise outcome.error
        assert_exact(outcome.api, outcome.lines)


@thorough
@given(worlds(*some(CLAMPED, UNSTABLE), NAMES_IGNORED))
def test_ignored_filters_are_noticed(world: World) -> None:
    """Where the API ignores a filter and gives an event that was not asked for, the export fails and says so."""
    kept = {name: value for name, value in world.filters.as_dict().items() if name not in world.ignored}
    given_ = [row for row in world.history() if row.matches(world.window, Filters.parse(kept))]
    with shown(world):
        outcome = export(world)
        if all(row.matches(world.window, world.filters) for row in given_):
            assert_exact(outcome.api, outcome.lines)
        else:
            assert isinstance(outcome.error, UnrequestedEvent)


@thorough
@given(worlds(*some(CLAMPED, UNSTABLE), st.just({"ignored": ("timestamp",)})))
def test_ignored_times_are_noticed(world: World) -> None:
    """Where the API ignores the window and gives an event outside it, the export fails and says so."""
    # An event before a start within a millisecond may look like one after it; so start on a whole one.
    world = replace(world, window=world.window.since(START))
    everything = Window(START - timedelta(days=1000), START + timedelta(days=1000))
    given_ = [row for row in world.history() if row.matches(everything, world.filters)]
    with shown(world):
        outcome = export(world)
        if all(row.matches(world.window, world.filters) for row in given_):
            # A part of the window is asked for at times, and answered with events of another part.
            if outcome.error is None:
                assert_exact(outcome.api, outcome.lines)
            else:
                assert isinstance(outcome.error, UnrequestedEvent)
        else:
            assert isinstance(outcome.error, UnrequestedEvent)


@costly
@given(worlds(*some(UNSTABLE, MILLISECONDS), NEVER_QUIET))
def test_a_window_that_never_settles_fails_in_bounded_requests(world: World) -> None:
    """While events of the window keep arriving, the export fails in bounded requests, with IncompleteWindow."""
    # Events must not arrive faster than they are read.
    world = replace(world, page_size=max(world.page_size, 8), events=min(world.events, 60))
    with shown(world):
        outcome = export(world)
        if outcome.error is None:
            # Not a one of them need be asked for, and a page may show what came after its own count.
            assert world.filters.as_dict() or world.place == "outside" or world.between
            assert_exact(outcome.api, outcome.lines)
        else:
            assert isinstance(outcome.error, IncompleteWindow)
            assert outcome.error.expected != outcome.error.read


@costly
@given(worlds(*some(ORDER, CLAMPED, MILLISECONDS), st.just({"lacking": FOREVER})))
def test_a_row_that_is_never_given_is_missed(world: World) -> None:
    """Where the API counts an event that it never gives, the export fails in bounded requests."""
    with shown(world):
        outcome = export(world)
        if outcome.api.wanted():
            assert isinstance(outcome.error, IncompleteWindow)
        else:
            assert_exact(outcome.api, outcome.lines)


@thorough
@given(st.integers(0, 2**16), st.integers(0, 400), st.integers(10, 50), st.sampled_from([1, 4]))
def test_a_faultless_api_is_asked_for_little_more_than_its_pages(
    seed: int, events: int, page_size: int, concurrency: int
) -> None:
    """Without faults an export takes a request for each page, one to close, and some to share the work."""
    world = World(seed=seed, events=events, page_size=page_size, concurrency=concurrency)
    with shown(world):
        outcome = export(world)
        assert_exact(outcome.api, outcome.lines)
        pages = math.ceil(events / page_size)
        assert outcome.api.requests <= 2 + 1.5 * pages + 2 * (concurrency - 1)
