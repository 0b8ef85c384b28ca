"""An Audit Events API in memory that misbehaves on purpose, and always in the same way for the same seed.

A `World` says everything: the history, the question, and what the API does wrong; its ``repr`` replays a failure.
With one request at a time a replay is exact; with several, threads decide which request meets which event.

What it does wrong, in any mixture: equal timestamps in another order on each request; ``sort`` ignored (newest first,
or no order at all); ``limit`` clamped, or ignored; timestamps shown in milliseconds while filters compare
microseconds; events that arrive or vanish while one reads, also between a request's count and its rows; parameters
ignored; a record twice on a page; a page that lacks a row, once or for good.

What it refuses to do, as counts cannot prove it: let events arrive and vanish in one history (they cancel out
between two requests), let rows be lacking while events vanish (the same), or give a stale count.
"""

from __future__ import annotations

import random
import threading
import time
import uuid as uuids
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from airflow_provider_akinon.audit_events.api import Page, Settings, pace, parse_page
from airflow_provider_akinon.audit_events.errors import Rejected
from airflow_provider_akinon.audit_events.model import Filters, Window, floor_to_millisecond

FOREVER = 10**9
"""For `World.arrivals` and `World.lacking`: never quiet."""
MICROSECOND = timedelta(microseconds=1)
MILLISECOND = timedelta(milliseconds=1)
START = datetime(2025, 1, 1, tzinfo=UTC)

_MIDNIGHT = datetime(1970, 1, 1, tzinfo=UTC)

Shape = Literal["spread", "bursts", "second", "millisecond", "instant", "edges", "hour"]
Location = Literal["window", "asked", "behind", "ahead", "outside"]
WHITE = ("", " ", "\n  ", "\t")
"""White space between a record's tokens; a stored line has none."""


class Row(NamedTuple):
    """An event in the API's database; sorts by ``(moment, uuid)``."""

    moment: datetime
    """What filters compare, in microseconds; a response may show less."""
    uuid: str
    user: int | None
    content_type: int | None
    object_id: int | None
    tokens: tuple[str, ...]
    """The record's JSON, token by token: white space may stand between any two."""

    @property
    def line(self) -> bytes:
        """The record as it has to be stored."""
        return "".join(self.tokens).encode()

    def matches(self, window: Window, filters: Filters) -> bool:
        """Tell whether the row is asked for."""
        asked = filters.as_dict()
        return window.start <= self.moment < window.end and all(getattr(self, name) == asked[name] for name in asked)


@dataclass(frozen=True, kw_only=True)
class World:
    """A history, a question, and how the API behaves. The defaults are an API without faults."""

    seed: int = 0
    window: Window = field(default_factory=lambda: Window(START, START + timedelta(days=1)))
    filters: Filters = field(default_factory=Filters)
    shape: Shape = "spread"
    events: int = 0
    """Events in the window; some more lie around it."""
    page_size: int = 100
    """What the client asks for."""
    concurrency: int = 1

    order: Literal["time", "newest", "random"] = "time"
    stable: bool = True
    """False gives equal timestamps another order on each request."""
    most: int | None = None
    """The largest ``limit`` that is honoured; a larger one is clamped without a word."""
    default_page: int | None = None
    """The page's size whatever ``limit`` says."""
    milliseconds: bool = False
    """Whether timestamps are shown cut to milliseconds."""
    unit: timedelta | None = None
    """What timestamps are shown cut to, where that is not milliseconds."""
    arrivals: int = 0
    """Requests that bring new events before the API is quiet."""
    arriving: int = 1
    """Events that each of them brings."""
    departures: int = 0
    """Requests that each delete an event before the API is quiet."""
    place: Location = "window"
    """Where events arrive or vanish: in the window, in what is asked for, before or after that, or elsewhere."""
    between: bool = False
    """Whether they do so between a request's count and its rows, rather than before it."""
    lacking: int = 0
    """Pages that silently lack a row."""
    repeating: Literal["no", "added", "instead"] = "no"
    """Whether each page has a record twice, beside the others or, on the first few pages, instead of another."""
    ignored: tuple[str, ...] = ()
    """Parameters that are ignored: ``user``, ``content_type``, ``object_id``, ``timestamp``."""

    def shown(self, moment: datetime) -> datetime:
        """Return what is shown of a moment."""
        unit = MILLISECOND if self.milliseconds else self.unit or MICROSECOND
        return moment - (moment - _MIDNIGHT) % unit

    @property
    def page(self) -> int:
        """The size of the API's pages."""
        return self.default_page or min(self.page_size, self.most or self.page_size)

    def history(self) -> list[Row]:
        """Return the events before the first request, in order: those in the window, and four around it."""
        rng = random.Random(self.seed)
        start, end = self.window.start, self.window.end
        around = [start - timedelta(days=1), start - MICROSECOND, end, end + timedelta(days=1)]
        return sorted(_row(rng, moment, self.shown(moment)) for moment in [*self._moments(rng), *around])

    def _moments(self, rng: random.Random) -> Iterator[datetime]:
        """Yield the timestamps of the events in the window."""
        start, end = self.window.start, self.window.end
        somewhere = _between(rng, start, end)
        bursts = [_between(rng, start, end) for _ in range(1 + self.events // (3 * self.page))]
        whole = max(start, floor_to_millisecond(somewhere))
        spans = {"second": timedelta(seconds=1), "millisecond": MILLISECOND, "hour": timedelta(hours=1)}
        for number in range(self.events):
            match self.shape:
                case "spread":
                    yield _between(rng, start, end)
                case "bursts":
                    yield _between(rng, start, end) if number % 5 == 0 else bursts[number % len(bursts)]
                case "instant":
                    yield somewhere
                case "edges":
                    mark = rng.choice((start, whole, somewhere, end)) + rng.choice((-1, 0, 1)) * MICROSECOND
                    yield min(max(start, mark), end - MICROSECOND)
                case _:
                    yield _between(rng, whole, min(end, floor_to_millisecond(somewhere) + spans[self.shape]))


class AdversarialApi:
    """The API of a `World`, with the three things that the export needs of `AuditEventsApi`.

    Requests go at the pace of the real client.

    ``delay`` is what each request takes, in seconds, so that requests overlap; more than ``most_requests`` of them
    are a failure. ``asked`` holds the parameters of each request, ``returned`` the uuids given, and ``in_flight`` is
    the most requests there ever were at once.
    """

    def __init__(self, world: World, *, most_requests: int = 100_000, delay: float = 0.0) -> None:
        self.world = world
        self.settings = Settings.parse(
            host="http://localhost:1",
            password="k",
            extra={"page_size": world.page_size, "max_concurrency": world.concurrency},
        )
        self.asked: list[dict[str, str]] = []
        self.returned: set[str] = set()
        self.in_flight = 0
        self._delay = delay
        self._most_requests = most_requests
        self._going = 0
        self._lock = threading.Lock()
        self._pace = pace.Pace(world.concurrency, None, time)
        self._rng = random.Random(world.seed + 1)
        self._rows = world.history()
        self._counted = list(self._rows)
        self._moves_left = world.arrivals or world.departures
        self._faults_left = 3 if world.repeating == "instead" else world.lacking
        self._hidden = {row.uuid for row in self.wanted()[::7]} if world.lacking == FOREVER else set()

    @property
    def requests(self) -> int:
        """How many requests were made."""
        return len(self.asked)

    def wanted(self) -> list[Row]:
        """Return the rows asked for that existed when the last count was made, ordered as they have to be stored."""
        rows = [row for row in self._counted if row.matches(self.world.window, self.world.filters)]
        return sorted(rows, key=lambda row: (self.world.shown(row.moment), row.uuid))

    def count(self, window: Window, filters: Filters) -> int:
        """Return how many events of ``window`` match, asked for as the real client does."""
        return self.page({**window.params(), **filters.params(), "limit": "1"}).count

    def page(self, params: Mapping[str, str]) -> Page:
        """Return a page.

        :raises Rejected: with status 404, past the last page.
        """
        with self._pace.turn():
            with self._lock:
                self._going += 1
                self.in_flight = max(self.in_flight, self._going)
            try:
                if self._delay:
                    time.sleep(self._delay)
                with self._lock:
                    return self._answer(dict(params))
            finally:
                with self._lock:
                    self._going -= 1

    def _answer(self, params: dict[str, str]) -> Page:
        world = self.world
        self.asked.append(params)
        assert self.requests <= self._most_requests, f"more than {self._most_requests} requests"
        span = Window.parse(params["timestamp__gte"], params["timestamp__lt"])
        if not world.between:
            self._move(span)
        rows = self._matching(span, params)
        count = len(rows)
        if len(self._counted) != len(self._rows):
            self._counted = list(self._rows)
        if world.between:
            self._move(span)
            rows = self._matching(span, params)
        limit = world.default_page or min(int(params["limit"]), world.most or FOREVER)
        number = int(params.get("page", "1"))
        first = (number - 1) * limit
        if number > 1 and first >= count:
            raise Rejected("The Akinon API answered 404: Invalid page.", status=404, detail="Invalid page.")
        page = self._spoil(self._in_order(rows, params)[first : first + limit])
        self.returned.update(row.uuid for row in page)
        white = self._rng.choice(WHITE)
        records = ",".join(white.join(row.tokens) for row in page)
        # Through the client's own decoder, so that what it does to a record's bytes is tested too.
        return parse_page(
            f'{{"count":{count},"next":"http://api.example.org/?page=4","results":[{records}]}}'.encode()
        )

    def _matching(self, span: Window, params: dict[str, str]) -> list[Row]:
        """Return the rows that the parameters ask for, those that are ignored aside."""
        rows = self._rows
        if "timestamp" not in self.world.ignored:
            rows = rows[bisect_left(rows, (span.start,)) : bisect_left(rows, (span.end,))]
        for name in ("user", "content_type", "object_id"):
            if name in params and name not in self.world.ignored:
                rows = [row for row in rows if getattr(row, name) == int(params[name])]
        return rows

    def _in_order(self, rows: list[Row], params: dict[str, str]) -> list[Row]:
        order = self.world.order if params.get("sort") == "timestamp" else "random"
        if order == "random" or not self.world.stable:
            rows = self._rng.sample(rows, len(rows))
            if order != "random":
                rows.sort(key=lambda row: row.moment)
        return rows[::-1] if order == "newest" else rows

    def _spoil(self, page: list[Row]) -> list[Row]:
        """Leave a row out of a page, or repeat one."""
        page = [row for row in page if row.uuid not in self._hidden]
        if page and self.world.repeating == "added":
            place = self._rng.randrange(len(page))
            page.insert(place, page[place])
        elif len(page) > 1 and self._faults_left and self._rng.random() < 0.5:
            self._faults_left -= 1
            place = self._rng.randrange(1, len(page))
            page[place : place + 1] = [page[place - 1]] if self.world.repeating == "instead" else []
        return page

    def _move(self, asked: Window) -> None:
        """Let events arrive or vanish, while the API is not quiet."""
        if not self._moves_left:
            return
        self._moves_left -= 1
        start, end = self._where(asked)
        near = self._rows[bisect_left(self._rows, (start,)) : bisect_left(self._rows, (end,))]
        if self.world.departures:
            if near:
                self._rows.remove(self._rng.choice(near))
            return
        for _ in range(self.world.arriving):
            equal = near and self._rng.random() < 0.3
            moment = self._rng.choice(near).moment if equal else _between(self._rng, start, end)
            insort(self._rows, _row(self._rng, moment, self.world.shown(moment)))

    def _where(self, asked: Window) -> tuple[datetime, datetime]:
        """Return the span in which events arrive or vanish now."""
        whole = self.world.window
        places = {
            "window": (whole.start, whole.end),
            "asked": (asked.start, asked.end),
            "behind": (whole.start, asked.start),
            "ahead": (asked.end, whole.end),
            "outside": (whole.end, whole.end + timedelta(days=1)),
        }
        start, end = places[self.world.place]
        return (start, end) if start < end else places["window"]


def assert_exact(api: AdversarialApi, lines: list[bytes]) -> None:
    """Assert that the lines are the events asked for: all, once, in order, as the API wrote them."""
    wanted = [row.line for row in api.wanted()]
    missing, foreign = set(wanted) - set(lines), set(lines) - set(wanted)
    assert not missing, f"a hole: {len(missing)} of {len(wanted)} events are missing"
    assert not foreign, f"{len(foreign)} lines are not events that were asked for, as the API wrote them"
    assert lines == wanted, "twice, or out of order"


def _between(rng: random.Random, start: datetime, end: datetime) -> datetime:
    """Return a moment in ``[start, end)``."""
    return start + rng.randrange((end - start) // MICROSECOND) * MICROSECOND


def _text(shown: datetime) -> str:
    """Return a moment as Django writes it, with microseconds or milliseconds where it has any."""
    text = shown.replace(tzinfo=None).isoformat()
    return (text if shown.microsecond % 1000 else text[:23]) + "Z"


def _row(rng: random.Random, moment: datetime, shown: datetime) -> Row:
    """Return a row with numbers and text that a careless copy would change."""
    uuid = str(uuids.UUID(int=rng.getrandbits(128), version=4))
    user, content_type, object_id = rng.choice((1, 2, None)), rng.choice((1, 2)), rng.choice((1, 10**30, None))
    fields: list[tuple[str, ...]] = [
        ('"timestamp"', ":", f'"{_text(shown)}"'),
        ('"uuid"', ":", f'"{uuid}"'),
        ('"user"', ":", *_user(rng, user)),
        ('"content_type"', ":", str(content_type)),
        ('"object_id"', ":", "null" if object_id is None else str(object_id)),
        rng.choice(CONTENTS),
    ]
    rng.shuffle(fields)
    tokens = ["{"]
    for entry in fields:
        tokens += [*entry, ","]
    tokens[-1] = "}"
    return Row(moment, uuid, user, content_type, object_id, tuple(tokens))


def _user(rng: random.Random, pk: int | None) -> tuple[str, ...]:
    if pk is None:
        return ("null",)
    nested = ("{", '"email"', ":", '"ş@example.com"', ",", '"pk"', ":", str(pk), "}")
    return rng.choice((nested, (str(pk),)))


CONTENTS: tuple[tuple[str, ...], ...] = (
    ('"content"', ":", "null"),
    ('"content"', ":", "{", '"price"', ":", "1.10", ",", '"big"', ":", "9" * 40, ",", '"tiny"', ":", "-0.0E-7", "}"),
    ('"content"', ":", '"two  spaces, a \\n, a \\u2028, a \u2028, a \\/ and \\"quotes\\": {}"'),
    ('"post_data"', ":", "[", "[", "]", ",", "{", "}", ",", "true", ",", '""', ",", '"\\ud83d\\ude00"', "]"),
)
"""Fields that a parser which reads and writes again would change."""
