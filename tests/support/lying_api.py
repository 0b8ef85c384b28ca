"""Counts that are not the query's, honest histories that look odd, and how many requests an export makes of each.

``python -m tests.support.lying_api`` prints the table.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from datetime import timedelta

import msgspec

from airflow_provider_akinon.audit_events.api import Page
from airflow_provider_akinon.audit_events.errors import MeaninglessCount
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Window
from tests.support.adversary import MICROSECOND, START, AdversarialApi, World, assert_exact

DAY = Window(START, START + timedelta(days=1))
YEAR = Window(START, START + timedelta(days=365))
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
    "capped at a page": lambda count, _: min(count, 100),
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


def refusal(api: AdversarialApi) -> MeaninglessCount | None:
    """Return the error of an export that calls the count a lie, None where the export is exact."""
    try:
        with export_window(api, api.world.window, api.world.filters) as made:
            assert_exact(api, list(made.lines()))
    except MeaninglessCount as error:
        return error
    return None


HONEST: dict[str, World] = {
    "all in one half": World(events=500, window=YEAR, shape="hour"),
    "clamped pages": World(events=3_000, most=20),
    "no more than a page": World(events=100),
    "two full pages at once": World(events=200, shape="instant", stable=False),
    "pages of another size": World(events=3_000, default_page=37),
    "all at once": World(events=950, shape="instant", stable=False),
    "bursts": World(events=3_000, shape="bursts"),
    "at the edges": World(events=1_000, shape="edges", stable=False),
    "arriving": World(events=3_000, arrivals=100),
    "arriving until the first page is full": World(events=0, page_size=2, arrivals=2, arriving=2, window=YEAR),
    "arriving between count and rows": World(events=3_000, arrivals=100, between=True),
    "vanishing": World(events=3_000, departures=100),
    "swapped at the edges of pages": World(
        seed=239,
        window=Window(START + 123_999 * MICROSECOND, START + 124_699 * MICROSECOND),
        events=302,
        shape="second",
        page_size=47,
        order="newest",
        stable=False,
    ),
    "all gone between count and rows": World(
        events=2, page_size=1, window=Window(START, START + 700 * MICROSECOND), departures=2, between=True
    ),
    "rows that lack at first": World(events=3_000, lacking=3),
    "records twice": World(events=3_000, repeating="added"),
}


def main() -> None:
    """Print how many requests an export makes of each, and what it comes to."""
    print(f"{'':36} {'events':>7} {'pages':>6} {'requests':>9}  outcome")
    for name, lie in LIES.items():
        for events in (300, 2_500):
            _print(name, LyingApi(World(events=events, concurrency=4), lie))
    for name, world in HONEST.items():
        _print(name, AdversarialApi(World(**{**vars(world), "concurrency": 4})))


def _print(name: str, api: AdversarialApi) -> None:
    outcome = "refused" if refusal(api) else "exact"
    events, pages = api.world.events, math.ceil(api.world.events / api.world.page)
    print(f"{name:36} {events:7} {pages:6} {api.requests:9}  {outcome}")


if __name__ == "__main__":
    main()
