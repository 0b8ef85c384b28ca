"""Reading a slice of time: every event in it, once, in ``(timestamp, uuid)`` order.

The walk goes by time and not by page number. Each request asks for the events from the last seen timestamp on,
so nothing is skipped by an offset, and an event that is inserted behind us cannot shift what is still ahead. The
last timestamp of a page is read again with the next one, as the page may have cut through it.

Page numbers are all there is inside one instant that holds more events than a page. The API may order these
differently on each request, so the pages are read again until as many uuids were seen as the API counts.

This module proves nothing about the whole window: `export` compares the events read with a closing count.
It refuses an order that is not by time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

from airflow_provider_akinon.audit_events.api import AuditEventsApi
from airflow_provider_akinon.audit_events.encoding import Event, parse_requested_event
from airflow_provider_akinon.audit_events.errors import IncompleteWindow, ProtocolError, Rejected
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.window import MILLISECOND, Window


def read_slice(api: AuditEventsApi, window: Window, filters: Filters) -> Iterator[Event]:
    """Yield the events of ``window`` that match ``filters``, in ``(timestamp, uuid)`` order.

    :raises ApiError: the API failed, or gave what was not asked for; see `errors`.
    :raises IncompleteWindow: one instant holds more events than could be read for certain.
    """
    rest: Window | None = window
    while rest is not None:
        count, events = _read_page(api, rest, filters)
        if count <= len(events):
            yield from sorted(events)
            return
        _require_progress(events, count, rest)
        last = events[-1].timestamp
        if last > rest.start:
            yield from sorted(event for event in events if event.timestamp < last)
            rest = _after(rest, last)
        else:
            instant = _instant(rest)
            yield from _read_instant(api, instant, filters)
            rest = _after(rest, instant.end)


def _read_page(api: AuditEventsApi, window: Window, filters: Filters, number: int = 1) -> tuple[int, list[Event]]:
    """Return the API's count for ``window``, and the checked events of one page."""
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
    return page.count, [parse_requested_event(record, window, filters) for record in page.results]


def _require_progress(events: list[Event], count: int, window: Window) -> None:
    if not events:
        raise ProtocolError(f"The API counts {count} events in {window}, and returned a page without any")
    if any(event.timestamp > after.timestamp for event, after in pairwise(events)):
        raise ProtocolError(
            f"The API ignores sort=timestamp: a page of {window} is not in the order of time, "
            "so its events cannot be walked through"
        )


def _after(window: Window, start: datetime) -> Window | None:
    return replace(window, start=start) if start < window.end else None


def _instant(window: Window) -> Window:
    """Return the rest of the millisecond that ``window`` starts in, as far as it lies in the window.

    Not ``timestamp=``: the API may show milliseconds of what its database holds in microseconds.
    """
    start = window.start
    next_millisecond = start - timedelta(microseconds=start.microsecond % 1000) + MILLISECOND
    return replace(window, end=min(next_millisecond, window.end))


def _read_instant(api: AuditEventsApi, instant: Window, filters: Filters) -> list[Event]:
    """Return the events of an instant that holds more than a page, read by page numbers until none is missing.

    With pages in random order, reading n events takes about n·(ln n + c) draws to miss one with a probability of
    e⁻ᶜ; c = 14 leaves less than one in a million.
    """
    seen: dict[str, Event] = {}
    requests, number, pages, count = 0, 1, 1, 0
    while requests < pages * (math.log(count + 1) + 14):
        requests += 1
        try:
            count, events = _read_page(api, instant, filters, number)
        except Rejected as error:
            if error.status != 404 or number == 1:
                raise
            # The set shrank, so there are fewer pages now: read it from its start.
            seen, number = {}, 1
            continue
        seen.update((event.uuid, event) for event in events)
        if len(seen) == count:
            return sorted(seen.values())
        if number == 1:
            pages = math.ceil(count / max(1, len(events)))
        number = number % pages + 1
    raise IncompleteWindow(
        f"The instant {instant} holds {count} events, of which {len(seen)} were seen in {requests} requests: "
        "the API orders equal timestamps differently each time. Try again, or raise page_size in the connection",
        expected=count,
        read=len(seen),
    )
