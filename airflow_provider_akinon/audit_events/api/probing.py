"""Looks at an account's API by a few small requests: does it do all that this package relies on?

It reads only, waits between two requests, and makes at most `MOST_REQUESTS` of them. Its findings hold numbers, names
of fields and statuses, and neither a value of an event nor the key: they may go into a bug report. This module
refuses to judge an account as a whole; each line says what follows for the export.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from airflow_provider_akinon.audit_events.api.client import AuditEventsApi
from airflow_provider_akinon.audit_events.api.pace import Clock
from airflow_provider_akinon.audit_events.api.settings import Settings
from airflow_provider_akinon.audit_events.errors import AkinonError, ApiError, ProtocolError, Rejected
from airflow_provider_akinon.audit_events.model import MILLISECOND, floor_to, parse_instant, shown_unit

MOST_REQUESTS = 40
PAUSE = 0.5
"""Seconds between two requests."""
_SAMPLE = 50
_LAST_YEAR = 9998
_MICROSECOND = timedelta(microseconds=1)

_Shown = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """A finding about one thing."""

    about: str
    found: str
    follows: str
    """The consequence for the export."""
    is_bad: bool = False
    """Whether an export can fail because of it."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """The findings of a probe, and the number of requests that it made."""

    lines: list[Line]
    requests: int

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return asdict(self)


def probe(settings: Settings, *, clock: Clock = time, pause: float = PAUSE) -> ProbeReport:
    """Look at the API of ``settings``. A refusal is a finding too."""
    asking = _Asking(clock, pause)
    lines: list[Line] = []
    try:
        working = _base_urls(settings, asking, lines)
        if working is None:
            return ProbeReport(lines, asking.requests)
        with AuditEventsApi(working, attempts=1, clock=clock) as api:
            look = _Look(api, asking)
            for check in (look.recent, look.old, *look.checks):
                _checked(check, lines)
    except _Spent:
        lines.append(Line("requests", f"all {MOST_REQUESTS} are used", "what is not shown was not looked at"))
    return ProbeReport(lines, asking.requests)


def _checked(check: Callable[[], Iterator[Line]], lines: list[Line]) -> None:
    try:
        lines.extend(check())
    except AkinonError as error:
        name = check.__name__.strip("_").replace("_", " ")
        lines.append(Line(name, f"not found out: {_kind(error)}", "look again later, or ask Akinon", is_bad=True))


class _Spent(Exception):
    """No request is left."""


class _Asking:
    """Asks with pauses, and counts."""

    def __init__(self, clock: Clock, pause: float) -> None:
        self._clock = clock
        self._pause = pause
        self.requests = 0

    def __call__(self, ask: Callable[..., Any], *args: object, **params: object) -> Any:
        if self.requests == MOST_REQUESTS:
            raise _Spent
        if self.requests:
            self._clock.sleep(self._pause)
        self.requests += 1
        return ask(*args, **params)


def _kind(error: AkinonError) -> str:
    """Return the kind of an error without its message, which may hold anything."""
    status = getattr(error, "status", None)
    return f"{type(error).__name__}{'' if status is None else f' {status}'}"


def _base_urls(settings: Settings, asking: _Asking, lines: list[Line]) -> Settings | None:
    """Try both base URLs with both ways to send the key; return the first settings that work."""
    extra = settings.extra
    given = extra.remote_id
    schemes = list(dict.fromkeys([extra.auth_scheme, "Token", "none"]))
    working = None
    for remote_id in (given, 1 if given is None else None):
        for scheme in schemes:
            tried = replace(settings, extra=msgspec.structs.replace(extra, remote_id=remote_id, auth_scheme=scheme))
            with AuditEventsApi(tried, attempts=1) as api:
                try:
                    asking(api.list_page, limit=1)
                    found = "answers"
                    working = working or tried
                except ApiError as error:
                    found = _kind(error)
            names = f"remote_id {'none' if remote_id is None else remote_id}, auth_scheme {scheme or 'none'}"
            is_given = (remote_id, scheme) == (given, extra.auth_scheme)
            follows = "the connection says so" if is_given else "the connection could say so" * (found == "answers")
            lines.append(
                Line(
                    "base URL and key",
                    f"{tried.api_path}, {names}: {found}",
                    follows or "do not use it",
                    is_bad=is_given and found != "answers",
                )
            )
    return working


class _Look:
    """The checks, each of which asks a few times; the first two find events for the others."""

    def __init__(self, api: AuditEventsApi, asking: _Asking) -> None:
        self._api = api
        self._asking = asking
        self._newest: list[_Shown] = []
        self._oldest: list[_Shown] = []
        self._total = 0

    @property
    def checks(self) -> tuple[Callable[[], Iterator[Line]], ...]:
        """The checks that need the events that `recent` and `old` found."""
        return (
            self.limits,
            self.page_numbers,
            self.times,
            self.time_filters,
            self.finer_times,
            self.counts,
            self.other_filters,
            self.users,
            self.refusals,
            self.late_events,
        )

    def recent(self) -> Iterator[Line]:
        """Find the newest events."""
        page = self._list(sort="-timestamp", limit=_SAMPLE)
        self._newest, self._total = page["results"], page["count"]
        yield Line("events", f"{self._total} in all", "what the key may see" if self._total else "nothing to look at")
        if page.get("next"):
            same = str(page["next"]).startswith(f"{self._api.settings.base_url}/")
            yield Line("next", f"points to {'the same' if same else 'another'} origin", "it is never followed")

    def old(self) -> Iterator[Line]:
        """Find the oldest events, and see whether the API sorts by time."""
        self._oldest = self._list(sort="timestamp", limit=_SAMPLE)["results"]
        up, down = _times(self._oldest), _times(self._newest)
        heeded = up == sorted(up) and down == sorted(down, reverse=True) and (len(up) < 2 or up[0] <= down[-1])
        yield Line(
            "sort",
            "is heeded" if heeded else "is ignored",
            "a window is walked by time" if heeded else "windows are cut until a page holds a slice: more requests",
        )

    def limits(self) -> Iterator[Line]:
        """See how large a page is."""
        sizes = {limit: len(self._list(limit=limit)["results"]) for limit in (3, 500)}
        default = len(self._list()["results"])
        heeded = sizes[3] == min(3, self._total)
        asked = self._api.settings.extra.page_size
        yield Line(
            "limit",
            f"{'is heeded' if heeded else 'is ignored'}; {default} by default, {sizes[500]} for 500",
            f"page_size is {asked}"
            if sizes[500] >= min(asked, self._total)
            else f"pages hold {sizes[500]}, not {asked}",
        )

    def page_numbers(self) -> Iterator[Line]:
        """See whether pages follow each other."""
        first, second = (self._list(sort="timestamp", limit=3, page=number)["results"] for number in (1, 2))
        twice = {str(event.get("uuid")) for event in first} & {str(event.get("uuid")) for event in second}
        yield Line(
            "page",
            "pages share events" if twice else "pages follow each other",
            "equal times take more requests" if twice else "equal times are read by page numbers",
            bool(twice),
        )

    def times(self) -> Iterator[Line]:
        """See how times are written."""
        written = [str(event.get("timestamp")) for event in (*self._newest, *self._oldest)]
        if not written:
            return
        digits = sorted(
            {len(text[20:].rstrip("Z").partition("+")[0]) if text[19:20] == "." else 0 for text in written}
        )
        zones = "UTC (Z)" if all(text.endswith("Z") for text in written) else "an offset"
        unit = shown_unit(_times([*self._newest, *self._oldest]))
        yield Line(
            "times",
            f"{' or '.join(map(str, digits))} digits of a second, {zones}; multiples of {unit or 'a microsecond'}",
            "edges lie on these, or finer ones where events show them",
        )

    def time_filters(self) -> Iterator[Line]:
        """See whether each filter of the time counts what it should: below and above an instant lie all events."""
        if not self._newest:
            return
        instant = _times(self._newest)[len(self._newest) // 2]
        for above, below in (("timestamp__gte", "timestamp__lt"), ("timestamp__gt", "timestamp__lte")):
            counts = [self._list(**{name: instant, "limit": 1})["count"] for name in (above, below)]
            # Events may have come meanwhile.
            heeded = 0 <= sum(counts) - self._total <= max(10, self._total // 1000) and counts[1] < self._total + 1
            heeded &= counts != [self._total, self._total] or self._total == 0
            yield Line(
                f"{above} and {below}",
                "count what they should" if heeded else "do not add up to all events",
                "counts prove a window" if heeded else "no window can be proved: tell Akinon",
                not heeded,
            )
        exact = self._list(timestamp=instant, limit=1)["count"]
        yield Line("timestamp", f"{exact} of an instant that is shown", "it is not used by the export")

    def finer_times(self) -> Iterator[Line]:
        """See whether filters compare more than is shown."""
        if not self._newest:
            return
        shown = _times(self._newest)[0]
        unit = max(MILLISECOND, shown_unit(_times([*self._newest, *self._oldest])))
        start, end = shown + _MICROSECOND, floor_to(shown, unit) + unit
        beyond = self._list(timestamp__gte=start, timestamp__lt=end, limit=1)["count"] if start < end else 0
        here = self._list(timestamp__gte=shown, timestamp__lt=start, limit=1)["count"]
        if beyond and not here:
            found, follows = "times are cut in what is shown", "edges lie on whole units of what is shown"
        elif here:
            found, follows = "filters take microseconds, and times are shown whole", "windows may have any edge"
        else:
            found, follows = "filters take no microseconds", "give windows edges on whole milliseconds"
        yield Line("microseconds", found, follows, not (here or beyond))

    def counts(self) -> Iterator[Line]:
        """See whether the count is the number of events that the API gives."""
        if len(self._newest) < 2:
            return
        # Not the first: an instant may go on beyond the page.
        times = sorted(set(_times(self._newest)))
        page = self._list(
            timestamp__gte=times[len(times) // 2], timestamp__lt=times[-1], limit=_SAMPLE, sort="timestamp"
        )
        given, count = len(page["results"]), page["count"]
        right = given == count
        yield Line(
            "count",
            f"{count} for {given} events of a small window",
            "counts prove a window" if right else "no window can be proved where this stays so",
            not right and given < 20,
        )

    def other_filters(self) -> Iterator[Line]:
        """See whether the other filters are heeded: nobody has such a number."""
        for name in ("user", "content_type", "object_id"):
            count = self._list(**{name: 2_147_483_646, "limit": 1})["count"]
            heeded = count == 0 or count < self._total
            yield Line(
                name,
                "is heeded" if heeded else "is ignored",
                f"filters={{'{name}': …}} works" if heeded else "an export with it fails",
                not heeded,
            )

    def users(self) -> Iterator[Line]:
        """See whether a user is read at the moment of the request."""
        known = next((event for event in self._newest if isinstance(event.get("user"), Mapping)), None)
        if known is None:
            return
        later = self._asking(self._api.get_event, str(known.get("uuid")))
        moved = sorted(name for name in known if known[name] != later.get(name))
        live = "user" in moved
        others = [name for name in moved if name != "user"]
        yield Line(
            "the user in an event",
            "is read live: it moved between two requests" if live else "did not move between two requests",
            "a moved user is no change of the event",
        )
        if others:
            yield Line(
                "events", f"differ in {', '.join(others)} a moment later", "a later export says so", is_bad=True
            )

    def refusals(self) -> Iterator[Line]:
        """See how the API refuses."""
        far = {"limit": "1", "page": "1000000"}
        for about, ask in (
            ("a page past the end", lambda: self._api.page(far)),
            ("a time that is none", lambda: self._api.page({"limit": "1", "timestamp__gte": "no time"})),
        ):
            try:
                self._asking(ask)
                yield Line(about, "is answered as if it were nothing", "only right parameters are sent")
            except ApiError as error:
                own = isinstance(error, Rejected)
                yield Line(
                    about, _kind(error), "told from an edge's page" if own else "taken for an edge's page", not own
                )

    def late_events(self) -> Iterator[Line]:
        """See how old the newest event is, and whether time that has passed still fills."""
        if not self._newest:
            return
        now = datetime.now(UTC)
        age = now - max(_times(self._newest))
        window = {"timestamp__gte": now - timedelta(hours=1), "timestamp__lt": now - timedelta(minutes=1), "limit": 1}
        before, after = (self._list(**window)["count"] for _ in range(2))
        yield Line(
            "late events",
            f"the newest is {age.total_seconds():.0f} s old; the past hour grew by {after - before} meanwhile",
            "wait with settled_for, and reconcile later",
        )

    def _list(self, **params: Any) -> dict[str, Any]:
        page: dict[str, Any] = self._asking(self._api.list_page, **params)
        if not all(isinstance(event, Mapping) for event in page["results"]):
            raise ProtocolError("results holds what is no event")
        return page


def _times(events: list[_Shown]) -> list[datetime]:
    instants = [parse_instant("timestamp", event.get("timestamp")) for event in events]
    if any(instant.year > _LAST_YEAR for instant in instants):
        raise ProtocolError("an event lies at the end of all time")
    return instants


def table_of(report: ProbeReport) -> Iterator[str]:
    """Yield a table for people."""
    for line in report.lines:
        yield f"{'!' if line.is_bad else ' '} {line.about:<32} {line.found}"
        yield f"{'':34} → {line.follows}"
    yield f"{report.requests} requests; it holds no key, no host and no value of an event."
