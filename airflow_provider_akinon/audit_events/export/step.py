"""Takes one step of reading a slice of time: returns the events of a page, and the rest of the slice.

The walk goes by time and not by page number. A step asks for the first events of a slice; those before the page's
last instant are read, and the next step starts at that instant, as the page may have cut through it. So the API never
skips rows, and an event that is inserted behind us cannot shift what is still ahead. An instant is a unit of
`precision`: a millisecond, or the unit that the API cuts its times to, since its database may hold finer times than
it shows.

A page that holds as many events as the API counts is whole, and its order does not matter. Any other page has to be
in the order of time, so that the walk can go on from it: if it is not, the step reads nothing, and the slice has to
be cut.

Inside one instant that holds more events than a page, only page numbers lead on. The API may order these events
differently on each request, so the pages are read again until as many uuids were seen as the API counts.

All this relies on the API counting what was asked for. An answer that contradicts itself is asked for again; if it
does so each time, the reading ends, since no number of requests would prove anything.

This module knows neither threads nor the rest of the window, and proves nothing about it: `reader` takes the
steps in order, and `proof` compares what was read with the API's counts.
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import timedelta

from airflow_provider_akinon.audit_events.api import PagesOfEvents, parse_requested_events
from airflow_provider_akinon.audit_events.errors import IncompleteWindow, MeaninglessCount, Rejected
from airflow_provider_akinon.audit_events.export.precision import TRIED, Precision
from airflow_provider_akinon.audit_events.model import MILLISECOND, Event, Filters, Window, floor_to

CERTAINTY = 14
"""Pages in random order leave one of n events unseen with a probability of e⁻¹⁴, below one in a million, after
⌈n / page⌉ · (ln n + 14) requests."""

RESTARTS = 500
"""Requests beyond those of `CERTAINTY` that an instant may take while it changes."""
TIMES = 4
"""The number of answers that have to contradict themselves in the same way, before the API is held to be at fault."""


@dataclass(frozen=True, slots=True)
class Part:
    """The result of one step: every event of the front of a slice, and the rest of the slice."""

    events: list[Event]
    """The events of the slice before ``rest``, in ``(timestamp, uuid)`` order."""
    count: int
    """The API's count of the events in the slice, including those in ``events``."""
    page_size: int
    """The number of events that the API gives in a page; it may be fewer than were asked for."""
    rest: Window | None = None
    """The window that is left to read; None where nothing is left."""
    ordered: bool = True
    """False where the page is not in the order of time, or that order is not trusted; ``rest`` is then the whole
    slice, to be cut."""
    requests: int = 1
    unit: timedelta = MILLISECOND
    """The unit of time that the edges of slices have to lie on."""

    @property
    def left(self) -> int:
        """The number of events that ``rest`` should hold."""
        return self.count - len(self.events)


@dataclass(frozen=True, slots=True)
class _Answer:
    """One page: the API's count, and the events that it gives, none of them twice."""

    count: int
    events: list[Event]

    def contradicts_itself(self, number: int | None, size: int) -> bool:
        """Tell whether page ``number`` has more or fewer events than by its count, at ``size`` events a page.

        Without a number, nobody knows the size yet: tell whether it has more events than it counts, or none of them.
        """
        given = len(self.events)
        if number is None:
            return given > self.count or (self.count > 0 and not given)
        return given != min(size, max(0, self.count - (number - 1) * size))

    @property
    def uuids(self) -> frozenset[str]:
        return frozenset(event.uuid for event in self.events)


def read_part(
    api: PagesOfEvents, window: Window, filters: Filters, precision: Precision, *, trust_order: bool = True
) -> Part:
    """Read the first events of a slice.

    Without ``trust_order`` a slice is read only where one page holds all of it, or where it lies within one
    instant; any other comes back as the rest, to be cut.

    :raises ApiError: the API failed, or gave what was not asked for; see `errors`.
    :raises IncompleteWindow: one instant holds more events than could be read for certain.
    :raises MeaninglessCount: the API does not count what it gives.
    """
    return _Step(api, filters, precision).read(window, trust_order=trust_order)


def require_meaning(
    api: PagesOfEvents, window: Window, filters: Filters, precision: Precision, *, page_size: int
) -> int:
    """Make sure that the API counts what it gives of a window that holds less than a page; return the requests taken.

    While the window changes, or if it fills a page by now, nothing is proved.

    :raises MeaninglessCount: the API gives the same events each time, and never as many as it counts.
    """
    step = _Step(api, filters, precision)
    answers: list[_Answer] = []
    while len(answers) < TIMES:
        answers.append(step.ask(window))
        given = len(answers[-1].events)
        if answers[-1].count == given or given >= page_size:
            return step.requests
    if len({answer.uuids for answer in answers}) == 1:
        raise meaningless(window, answers[-1].count, given)
    return step.requests


def meaningless(window: Window, count: int, read: int) -> MeaninglessCount:
    """Return the error of a count that is not the window's, as the events that were read show."""
    return MeaninglessCount(
        f"The API's count is not the window's: it counts {count} events in {window} and gives {read}, again and "
        "again. A count that ignores a filter, is capped or estimated, or is of another table proves nothing, so "
        "nothing was written. Tell Akinon; where you asked for filters, export without them",
        expected=count,
        read=read,
    )


class _Step:
    """One step through a slice, and the requests that it takes."""

    def __init__(self, api: PagesOfEvents, filters: Filters, precision: Precision) -> None:
        self._api = api
        self._filters = filters
        self._precision = precision
        self._limit = api.settings.extra.page_size
        self._size = 0
        """The most events that a page has held so far."""
        self.requests = 0

    def read(self, window: Window, *, trust_order: bool) -> Part:
        """See `read_part`."""
        answer = self._ask_sensibly(window)
        if answer.count == len(answer.events) >= self._limit:
            answer = replace(answer, count=self._count_at_the_end(window, 2, answer.count, answer.uuids))
        count, events = answer.count, answer.events
        if count <= len(events) or not events:
            # If none came, or more than were counted, events changed between the API's two queries. The closing count
            # tells.
            return self._part(sorted(events), count, len(events))
        times = [event.timestamp for event in events]
        disordered = times != sorted(times)
        while True:
            unit = self._precision.unit
            # Not ``timestamp=``: the API may show less of it than its database holds.
            first = window.until(min(floor_to(window.start, unit) + unit, window.end))
            edge = floor_to(events[-1].timestamp, unit)
            if first != window and (disordered or not trust_order):
                return replace(self._part([], count, len(events), window), ordered=False)
            if first != window and edge > window.start:
                before = sorted(event for event in events if event.timestamp < edge)
                return replace(self._part(before, count, len(events), window.since(edge)), unit=unit)
            instant = self._instant(first, unit)
            if instant is not None:
                break
        read = self._read_instant(instant)
        rest = None if first == window else window.since(first.end)
        return self._part(read, count if rest else len(read), len(events), rest)

    def ask(self, window: Window, number: int = 1) -> _Answer:
        """Return one page; each of its events lies in the window and matches the filters."""
        self.requests += 1
        page = self._api.page(
            {
                **window.params(),
                **self._filters.params(),
                "sort": "timestamp",
                "limit": str(self._limit),
                # The first page needs no number.
                **({"page": str(number)} if number > 1 else {}),
            }
        )
        events = parse_requested_events(page, window, self._filters, self._precision.resolution)
        self._precision.note(event.timestamp for event in events)
        answer = _Answer(page.count, list({event.uuid: event for event in events}.values()))
        self._size = max(self._size, len(answer.events))
        return answer

    def _ask_sensibly(self, window: Window, number: int | None = None) -> _Answer:
        """Return a page, asked for again while it contradicts itself.

        :param number: the page's; None for the first where nobody knows yet how many events a page holds.
        :raises MeaninglessCount: it does so each time, with the same events.
        """
        answers: list[_Answer] = []
        while len(answers) < TIMES:
            answer = self._ask_for(window, number or 1)
            if answer is None or (answers and number):
                # There may be fewer pages by now, or they hold more than the first showed.
                now = self.ask(window)
                answer = answer or _Answer(now.count, [])
            if not answer.contradicts_itself(number, self._size):
                return answer
            answers.append(answer)
        last = answers[-1]
        if len({each.uuids for each in answers}) == 1:
            raise meaningless(window, last.count, ((number or 1) - 1) * self._size + len(last.events))
        return last

    def _count_at_the_end(self, window: Window, number: int, count: int, seen: Set[str]) -> int:
        """Look for events after the last page, once all counted ones were ``seen``; return the API's count now.

        The API may cap its count at the number of events that full pages hold.

        :raises MeaninglessCount: there are more, each time.
        """
        more: Set[str] = frozenset()
        for _ in range(TIMES):
            answer = self._ask_for(window, number)
            if answer is None:
                return count
            more = answer.uuids - seen
            if answer.count != count or not more:
                return answer.count
        raise meaningless(window, count, len(seen) + len(more))

    def _ask_for(self, window: Window, number: int) -> _Answer | None:
        """Return a page; None where there is no page of that number."""
        try:
            return self.ask(window, number)
        except Rejected as error:
            if error.status != 404 or number == 1:
                raise
            return None

    def _part(self, events: list[Event], count: int, size: int, rest: Window | None = None) -> Part:
        return Part(events, count, max(1, size), rest, requests=self.requests, unit=self._precision.unit)

    def _instant(self, crowded: Window, unit: timedelta) -> Window | None:
        """Return the part of a ``crowded`` unit that holds all of its events, to be read by page numbers.

        Return None where the API's unit turns out to be finer. A few times may be multiples of a greater unit by
        chance, so finer units are tried: the API's own unit is greater than a finer one if the API still shows
        events, at the same times, after the end of the finer one.
        """
        if self._precision.is_proved:
            return crowded
        for finer in TRIED:
            start = floor_to(crowded.start, finer) + finer
            if finer >= unit or start >= crowded.end:
                break
            answer = self._ask_sensibly(crowded.since(start))
            if not answer.events:
                return crowded.until(start)
            if self._precision.unit < unit:
                return None
        if finer >= unit:
            self._precision.prove(unit)
        return crowded

    def _read_instant(self, instant: Window) -> list[Event]:
        """Read an instant that holds more than a page, by page numbers, until no event is missing.

        As long as the count does not fall, all events seen are still there; so once as many were seen as are counted,
        they are all. Where the count falls, some events seen are gone, and others moved to pages that were read
        already: begin anew.
        """
        begun, counted = self.requests, 0
        # Empty at first: the first page is read again, since some of its events may be gone by then.
        seen: dict[str, Event] = {}
        number, pages, most = 0, 1, 0.0
        while self.requests - begun < max(most, RESTARTS):
            number = number % pages + 1
            answer = self._ask_sensibly(instant, number)
            if answer.count < counted:
                seen = {}
            counted = answer.count
            seen.update((event.uuid, event) for event in answer.events)
            pages = max(1, math.ceil(counted / self._size))
            if len(seen) == counted:
                is_open = counted == pages * self._size
                after = self._count_at_the_end(instant, pages + 1, counted, seen.keys()) if is_open else counted
                if after == counted:
                    return sorted(seen.values())
            # By the count at first: endless arrivals must not make the reading endless.
            most = most or RESTARTS + pages * (math.log(max(1, counted)) + CERTAINTY)
        raise IncompleteWindow(
            f"{instant} holds {counted} events that look as if they came at once, of which {len(seen)} were seen in "
            f"{self.requests - begun} requests: the API orders equal timestamps differently each time, or they are "
            "still changing. Try again, or raise page_size in the connection",
            expected=counted,
            read=len(seen),
        )
