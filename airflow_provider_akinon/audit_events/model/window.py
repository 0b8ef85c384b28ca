"""Windows of time: ``[start, end)``, aware, in UTC, never empty.

Parses what users write and formats what the API, object keys and receipts need. It refuses naive datetimes,
dates without a time, empty and reversed windows; it never guesses a time zone and knows no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Annotated

import msgspec
import pendulum
from pendulum.tz.exceptions import InvalidTimezone

from airflow_provider_akinon.audit_events.errors import InvalidInput

MICROSECOND = timedelta(microseconds=1)
MILLISECOND = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware datetime; in a document, too, it must have a time zone."""


def parse_instant(field: str, value: object) -> datetime:
    """Return ``value`` (an aware datetime, or ISO 8601 text with an offset or ``Z``) as a datetime in UTC.

    ``field`` is the name that an error shows.

    :raises InvalidInput: it is something else, or has no time zone.
    """
    if type(value) is datetime and value.tzinfo is UTC:
        return value
    if isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value.strip())
        except ValueError:
            raise InvalidInput(
                f"{field}={value!r} is not an ISO 8601 date-time; write it like 2026-01-31T00:00:00Z "
                "or 2026-01-31T00:00:00+03:00 (an offset, not the name of a time zone)"
            ) from None
    elif isinstance(value, datetime):
        instant = value
    else:
        raise InvalidInput(f"{field}={value!r} is neither an aware datetime nor ISO 8601 text")
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise InvalidInput(
            f"{field}={str(value)!r} has no time zone; add one, such as 2026-01-31T00:00:00Z "
            "or pendulum.datetime(2026, 1, 31, tz='Europe/Istanbul')"
        )
    try:
        instant = instant.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"{field}={str(value)!r} lies outside the years 1 to 9999 in UTC; give another") from None
    # A plain datetime: pendulum's subclass formats and subtracts differently.
    return datetime.combine(instant.date(), instant.time(), UTC)


def parse_timezone(field: str, value: object) -> tzinfo:
    """Return the IANA time zone called ``value``.

    :raises InvalidInput: there is no such time zone.
    """
    if isinstance(value, str):
        with suppress(InvalidTimezone, ValueError, OSError):
            return pendulum.timezone(value)
    raise InvalidInput(f"{field}={value!r} is not a time zone; use an IANA name such as 'Europe/Istanbul'")


def floor_to_millisecond(instant: datetime) -> datetime:
    """Return the start of the millisecond that ``instant`` lies in."""
    return floor_to(instant, MILLISECOND)


def floor_to(instant: datetime, unit: timedelta) -> datetime:
    """Return the start of the ``unit``, which divides a day and counts from midnight, that ``instant`` lies in."""
    return instant - timedelta(microseconds=microseconds_of_day(instant) % (unit // MICROSECOND))


def microseconds_of_day(instant: datetime) -> int:
    """Return the microseconds since midnight."""
    return ((instant.hour * 60 + instant.minute) * 60 + instant.second) * 1_000_000 + instant.microsecond


def shown_unit(instants: Iterable[datetime], known: timedelta = DAY) -> timedelta:
    """Return the greatest unit that divides all ``instants``, and ``known``; zero where it is below a millisecond."""
    microseconds = math.gcd(known // MICROSECOND, *map(microseconds_of_day, instants))
    return timedelta(microseconds=microseconds) if microseconds >= 1000 else timedelta(0)


def format_instant(instant: datetime) -> str:
    """Return ``instant`` as the API writes it: UTC with ``Z``, milliseconds, or microseconds where it has them.

    ``Z`` and not ``+00:00``: an unencoded ``+`` in a query string arrives as a space.
    """
    digits = "microseconds" if instant.microsecond % 1000 else "milliseconds"
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=digits) + "Z"


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The half-open span ``[start, end)`` of event timestamps; both are aware datetimes in UTC.

    :raises InvalidInput: an edge is naive, or the window is empty or reversed, also in a document that is read.
    """

    start: Instant
    """The first instant of the window, in UTC."""
    end: Instant
    """The first instant after the window, in UTC."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "start", parse_instant("start", self.start))
        msgspec.structs.force_setattr(self, "end", parse_instant("end", self.end))
        if self.start == self.end:
            raise InvalidInput(f"the window is empty: start and end are both {format_instant(self.start)}")
        if self.start > self.end:
            raise InvalidInput(
                f"start={format_instant(self.start)} is after end={format_instant(self.end)}; exchange them"
            )

    def __str__(self) -> str:
        return f"[{format_instant(self.start)}, {format_instant(self.end)})"

    def since(self, start: datetime) -> Window:
        """Return the rest of the window from ``start`` on."""
        return Window(start, self.end)

    def until(self, end: datetime) -> Window:
        """Return the window up to ``end``."""
        return Window(self.start, end)

    @classmethod
    def parse(cls, start: object, end: object) -> Window:
        """Return the window between two instants as `parse_instant` takes them.

        :raises InvalidInput: see `parse_instant` and `Window`.
        """
        return cls(parse_instant("start", start), parse_instant("end", end))

    @classmethod
    def of_period(cls, start: datetime, period: timedelta, timezone: tzinfo) -> Window:
        """Return the window of ``period`` from ``start`` on, whole days counted on ``timezone``'s wall clock.

        One day from midnight on therefore ends at the next midnight, also where clocks change.
        """
        local = pendulum.instance(start).in_timezone(timezone)  # type: ignore[arg-type]  # any tzinfo works
        end = local.add(days=period.days, seconds=period.seconds, microseconds=period.microseconds)
        return cls.parse(local, end)

    def split(self, parts: int, unit: timedelta = MILLISECOND) -> list[Window]:
        """Return at most ``parts`` windows of about equal length that tile this one, cut on whole units.

        ``unit`` is the unit that the API may cut its times to: an edge inside one would separate events whose times
        look alike. Only a window within one unit comes back whole.
        """
        if parts == 1:
            return [self]
        span = self.end - self.start
        cuts = (floor_to(self.start + span * number / parts, unit) for number in range(1, parts))
        # The first whole unit can always be a cut, however short the window is.
        first = floor_to(self.start, unit) + unit
        edges = [self.start, *(min(max(first, cut), self.end) for cut in cuts), self.end]
        return [Window(start, end) for start, end in pairwise(edges) if start < end]

    def date_in(self, timezone: tzinfo) -> str:
        """Return the date of ``start`` in ``timezone``, as ``YYYY-MM-DD``."""
        return self.start.astimezone(timezone).date().isoformat()

    def params(self) -> dict[str, str]:
        """Return the API's query parameters for this window."""
        return {
            "timestamp__gte": format_instant(self.start),
            "timestamp__lt": format_instant(self.end),
        }

    def as_dict(self) -> dict[str, str]:
        """Return ``{"start": …, "end": …}`` as ISO 8601 text in UTC, for XCom and metadata."""
        return {"start": format_instant(self.start), "end": format_instant(self.end)}

    def contains(self, instant: datetime, resolution: timedelta = timedelta(0)) -> bool:
        """Tell whether an event that happened in ``[instant, instant + resolution)`` can lie in the window.

        The API filters by what its database holds, and may show less of it: a timestamp cut to milliseconds
        stands for a whole millisecond.
        """
        return instant < self.end and (self.start <= instant or self.start < instant + resolution)
