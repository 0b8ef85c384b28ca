"""One step of reading a slice of time: what a page gives, and what is left to read.

The walk goes by time and not by page number. A step asks for the first events of a slice; those before the page's
last millisecond are read, and the next step starts at that millisecond, as the page may have cut through it. So
the API never skips rows, and an event that is inserted behind us cannot shift what is still ahead. Edges lie on
whole milliseconds, since the API may show no more of what its database holds.

A page that holds as many events as the API counts is whole, in whatever order it comes. Where a page is not, its
order must be by time, or there is no walking: the step then reads nothing, and the slice has to be cut.

Page numbers are all there is inside one millisecond that holds more events than a page. The API may order these
differently on each request, so the pages are read again until as many uuids were seen as the API counts.

This module knows neither threads nor the rest of the window, and proves nothing about it: `reading` takes the
steps in order, and `export` compares what was read with the API's counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from airflow_provider_akinon.audit_events.errors import IncompleteWindow, Rejected
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.records import Event, Page, parse_requested_events
from airflow_provider_akinon.audit_events.settings import Settings
from airflow_provider_akinon.audit_events.window import MILLISECOND, Window, floor_to_millisecond

CERTAINTY = 14
"""Pages in random order leave one of n events unseen with a probability of e⁻¹⁴, below one in a million, after
⌈n / page⌉ · (ln n + 14) requests."""

RESTARTS = 500
"""Requests beside these that a millisecond may take while it changes."""


class PagesOfEvents(Protocol):
    """What reading needs of `AuditEventsApi`."""

    settings: Settings

    def page(self, params: dict[str, str]) -> Page:
        """Return one page of events, unchecked."""

    def count(self, window: Window, filters: Filters) -> int:
        """Return how many events of ``window`` match ``filters`` now."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one step read: every event of the front of a slice, and what is left."""

    events: list[Event]
    """The events of the slice before ``rest``, in ``(timestamp, uuid)`` order."""
    count: int
    """How many events the API counted in the slice, these among them."""
    page_size: int
    """How many events the API gives in a page; it may be fewer than were asked for."""
    rest: Window | None = None
    """What is left to read; None where nothing is."""
    ordered: bool = True
    """False where the page was not in the order of time: ``rest`` is the whole slice then, to be cut."""
    requests: int = 1

    @property
    def left(self) -> int:
        """How many events ``rest`` should hold."""
        return self.count - len(self.events)


def read_part(api: PagesOfEvents, window: Window, filters: Filters, *, trust_order: bool = True) -> Part:
    """Read the first events of a slice.

    Without ``trust_order`` a slice is read only where one page holds all of it, or where it lies within one
    millisecond; any other comes back as the rest, to be cut.

    :raises ApiError: the API failed, or gave what was not asked for; see `errors`.
    :raises IncompleteWindow: one millisecond holds more events than could be read for certain.
    """
    count, events = _read_page(api, window, filters)
    size = max(1, len(events))
    # A page without events where some are counted: they vanished between the API's two queries. The closing
    # count tells.
    if count <= len(events) or not events:
        return Part(sorted(events), count, size)
    first = _first_millisecond(window)
    if first == window:
        return _read_millisecond(api, window, filters, events)
    if not trust_order or any(event.timestamp > after.timestamp for event, after in pairwise(events)):
        return Part([], count, size, rest=window, ordered=False)
    edge = floor_to_millisecond(events[-1].timestamp)
    if edge <= window.start:
        millisecond = _read_millisecond(api, first, filters, events)
        return replace(millisecond, count=count, rest=replace(window, start=first.end))
    return Part(
        sorted(event for event in events if event.timestamp < edge), count, size, rest=replace(window, start=edge)
    )


def _read_page(api: PagesOfEvents, window: Window, filters: Filters, number: int = 1) -> tuple[int, list[Event]]:
    """Return the API's count for ``window``, and the checked events of one page, none twice."""
    page = api.page(
        {
            **window.params(),
            **filters.params(),
            "sort": "timestamp",
            "limit": str(api.settings.extra.page_size),
            # The first page needs no number.
            **({"page": str(number)} if number > 1 else {}),
        }
    )
    events = parse_requested_events(page, window, filters)
    return page.count, list({event.uuid: event for event in events}.values())


def _first_millisecond(window: Window) -> Window:
    """Return the part of ``window`` in the millisecond that it starts in.

    Not ``timestamp=``: the API may show milliseconds of what its database holds in microseconds.
    """
    return replace(window, end=min(floor_to_millisecond(window.start) + MILLISECOND, window.end))


def _read_millisecond(api: PagesOfEvents, instant: Window, filters: Filters, known: list[Event]) -> Part:
    """Read a millisecond that holds more than a page, by page numbers, until no event is missing.

    As long as the count does not fall, all that was seen is still there; so where as many were seen as are counted,
    they are all. Where it falls, some of those seen are gone, and others moved to pages that were read: begin anew.
    """
    size, counted = len(known), 0
    # Not what is known: the first page comes again, and some of it may be gone by then.
    seen: dict[str, Event] = {}
    number, pages, requests, most = 0, 1, 0, 1.0
    while requests < most:
        number = number % pages + 1
        requests += 1
        try:
            count, events = _read_page(api, instant, filters, number)
        except Rejected as error:
            if error.status != 404 or number == 1:
                raise
            # The set shrank, so there are fewer pages now: read it from its start.
            seen, number = {}, 0
            continue
        if count < counted:
            seen = {}
        counted = count
        seen.update((event.uuid, event) for event in events)
        if len(seen) == count:
            return Part(sorted(seen.values()), count, size, requests=requests + 1)
        pages = max(1, math.ceil(count / size))
        if requests == 1:
            # Of what there was at first: arrivals without end must not make it endless.
            most = RESTARTS + pages * (math.log(max(1, count)) + CERTAINTY)
    raise IncompleteWindow(
        f"The millisecond {instant} holds {counted} events, of which {len(seen)} were seen in {requests} requests: "
        "the API orders equal timestamps differently each time, or they are still changing. Try again, or raise "
        "page_size in the connection",
        expected=counted,
        read=len(seen),
    )
