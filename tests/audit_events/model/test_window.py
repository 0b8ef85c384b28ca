"""Windows: what users may write, what the API and the keys get, and days on a wall clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.model import (
    MILLISECOND,
    Window,
    floor_to_millisecond,
    format_instant,
    parse_instant,
    parse_timezone,
)

DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


class Nowhere(tzinfo):
    """A time zone that knows no offset, which makes a datetime as naive as none does."""

    def utcoffset(self, _: datetime | None, /) -> None:
        return None

    dst = tzname = utcoffset


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-30T21:00:00Z",
        "2026-01-31T00:00:00+03:00",
        "  2026-01-31 00:00:00.000+03:00\n",
        "20260130T210000Z",
        datetime(2026, 1, 30, 21, tzinfo=UTC),
        datetime(2026, 1, 31, tzinfo=ZoneInfo("Europe/Istanbul")),
        datetime(2026, 1, 30, 16, tzinfo=timezone(timedelta(hours=-5))),
        pendulum.datetime(2026, 1, 31, tz="Europe/Istanbul"),
    ],
)
def test_every_way_to_write_an_instant_is_the_same_plain_datetime_in_utc(written: object) -> None:
    """Text with an offset and aware datetimes, pendulum's too, become one plain datetime in UTC."""
    instant = parse_instant("start", written)

    assert instant == datetime(2026, 1, 30, 21, tzinfo=UTC)
    assert type(instant) is datetime
    assert instant.tzinfo is UTC


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-31T00:00:00",
        "2026-01-31",
        datetime(2026, 1, 31),  # noqa: DTZ001 - naive on purpose
        pendulum.naive(2026, 1, 31),
        datetime(2026, 1, 31, tzinfo=Nowhere()),
    ],
)
def test_a_time_zone_is_never_guessed(written: object) -> None:
    """A naive datetime or text is refused, and the message names the field and says what to add."""
    with pytest.raises(InvalidInput, match=r"^end='2026-01-31.*' has no time zone; add one, such as 2026-01-31T"):
        parse_instant("end", written)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "None",
        "yesterday",
        "2026-02-30T00:00:00Z",
        "2026-01-31T00:00:00 Europe/Istanbul",
        "{{ data_interval_start }}",
        1767225600,
        1767225600.0,
        True,
        date(2026, 1, 31),
        None,
    ],
)
def test_what_is_no_instant_is_refused_with_field_and_value(written: object) -> None:
    """Anything else is refused by a message that holds the field's name and the value."""
    with pytest.raises(InvalidInput) as caught:
        parse_instant("start", written)

    assert str(caught.value).startswith(f"start={written!r} ")


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+03:00", "9999-12-31T23:59:59-05:00"])
def test_an_instant_beyond_the_calendar_is_refused(written: str) -> None:
    """An instant that has no place in UTC's years 1 to 9999 is wrong input, not a crash."""
    with pytest.raises(InvalidInput):
        parse_instant("start", written)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (datetime(2026, 1, 31, tzinfo=UTC), "2026-01-31T00:00:00.000Z"),
        (datetime(2026, 1, 31, 12, 30, 15, 260_000, tzinfo=UTC), "2026-01-31T12:30:15.260Z"),
        (datetime(2026, 1, 31, 12, 30, 15, 260_001, tzinfo=UTC), "2026-01-31T12:30:15.260001Z"),
        (datetime(2026, 1, 31, tzinfo=ZoneInfo("Europe/Istanbul")), "2026-01-30T21:00:00.000Z"),
        (pendulum.datetime(2026, 1, 31, tz="Europe/Istanbul"), "2026-01-30T21:00:00.000Z"),
    ],
)
def test_an_instant_is_written_as_the_api_writes_it(instant: datetime, text: str) -> None:
    """UTC with ``Z``, three digits, or six where there are microseconds; no ``+`` that a URL could spoil."""
    assert format_instant(instant) == text


@given(INSTANTS)
def test_what_is_written_reads_back_as_the_same_instant(instant: datetime) -> None:
    """No microsecond is lost between a window and the query that asks for it."""
    assert parse_instant("start", format_instant(instant)) == instant


@given(INSTANTS)
def test_an_instant_lies_in_the_millisecond_that_it_is_floored_to(instant: datetime) -> None:
    """The floor is a whole millisecond, at most one before."""
    floor = floor_to_millisecond(instant)

    assert floor.microsecond % 1000 == 0
    assert floor <= instant < floor + MILLISECOND


@pytest.mark.parametrize("name", ["UTC", "Europe/Istanbul", "America/New_York"])
def test_a_time_zone_goes_by_its_iana_name(name: str) -> None:
    """An IANA name gives that zone's own offsets."""
    instant = datetime(2026, 7, 1, tzinfo=UTC)

    assert (
        instant.astimezone(parse_timezone("timezone", name)).utcoffset()
        == instant.astimezone(ZoneInfo(name)).utcoffset()
    )


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Europe/Atlantis",
        "../etc/passwd",
        "+03:00",
        "Europe/Istanbul\0",
        3,
        None,
        UTC,
        "Europe",
    ],
)
def test_an_unknown_time_zone_is_refused(name: object) -> None:
    """A name that is no IANA zone is refused by a message with the field and the value."""
    with pytest.raises(InvalidInput) as caught:
        parse_timezone("partition_timezone", name)

    assert str(caught.value).startswith(f"partition_timezone={name!r} is not a time zone")


def test_a_window_is_held_in_utc_and_shown_half_open() -> None:
    """However its edges are written, a window is the same value, with the same text, query and dict."""
    window = Window.parse("2026-01-31T00:00:00+03:00", pendulum.datetime(2026, 2, 1, tz="Europe/Istanbul"))

    assert window == Window(datetime(2026, 1, 30, 21, tzinfo=UTC), datetime(2026, 1, 31, 21, tzinfo=UTC))
    assert hash(window) == hash(Window.parse("2026-01-30T21:00:00Z", "2026-01-31T21:00:00Z"))
    assert str(window) == "[2026-01-30T21:00:00.000Z, 2026-01-31T21:00:00.000Z)"
    assert window.params() == {
        "timestamp__gte": "2026-01-30T21:00:00.000Z",
        "timestamp__lt": "2026-01-31T21:00:00.000Z",
    }
    assert window.as_dict() == {"start": "2026-01-30T21:00:00.000Z", "end": "2026-01-31T21:00:00.000Z"}
    assert window.date_in(parse_timezone("timezone", "Europe/Istanbul")) == "2026-01-31"
    assert window.date_in(UTC) == "2026-01-30"


def test_an_empty_window_is_refused() -> None:
    """A window that starts where it ends, in whatever zone that is written, is no window."""
    with pytest.raises(InvalidInput, match=r"window is empty: start and end are both 2026-01-30T21:00:00\.000Z"):
        Window.parse("2026-01-30T21:00:00Z", "2026-01-31T00:00:00+03:00")


def test_a_reversed_window_is_refused() -> None:
    """A start after the end is refused, naming both."""
    with pytest.raises(
        InvalidInput, match=r"start=2026-02-01T00:00:00\.000Z is after end=2026-01-31T00:00:00\.000Z; exchange"
    ):
        Window.parse("2026-02-01T00:00:00Z", "2026-01-31T00:00:00Z")


@pytest.mark.parametrize(
    ("start", "end", "field"), [("2026-01-31", "2026-02-01T00:00:00Z", "start"), (UTC, 1, "start")]
)
def test_a_wrong_edge_is_named(start: object, end: object, field: str) -> None:
    """The message about a window's edge says which edge."""
    with pytest.raises(InvalidInput, match=f"^{field}="):
        Window.parse(start, end)


def test_the_constructor_checks_as_parse_does() -> None:
    """There is no way to a naive or empty window around `Window.parse`."""
    with pytest.raises(InvalidInput, match="no time zone"):
        Window(datetime(2026, 1, 31), datetime(2026, 2, 1, tzinfo=UTC))  # noqa: DTZ001 - naive on purpose
    with pytest.raises(InvalidInput, match="empty"):
        Window(datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 1, 31, tzinfo=UTC))


@pytest.mark.parametrize(
    ("zone", "year", "days", "odd"),
    [
        # Istanbul has kept one offset since the autumn of 2016, which left that year with a short day only.
        ("Europe/Istanbul", 2026, 365, {}),
        ("Europe/Istanbul", 2016, 366, {"2016-03-27": 23}),
        ("Europe/Berlin", 2026, 365, {"2026-03-29": 23, "2026-10-25": 25}),
        ("UTC", 2026, 365, {}),
    ],
)
def test_days_on_a_wall_clock_tile_a_year(zone: str, year: int, days: int, odd: dict[str, int]) -> None:
    """One day after another from midnight on tiles the year exactly, with 23 and 25 hours where clocks change."""
    timezone_ = parse_timezone("timezone", zone)
    start = datetime(year, 1, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)  # a partition's date comes in UTC

    windows = [Window.of_period(start, DAY, timezone_)]
    while len(windows) < days:
        windows.append(Window.of_period(windows[-1].end, DAY, timezone_))

    assert all(before.end == after.start for before, after in pairwise(windows))
    assert windows[-1].end == datetime(year + 1, 1, 1, tzinfo=ZoneInfo(zone))
    assert {window.start.astimezone(ZoneInfo(zone)).hour for window in windows} == {0}
    assert [window.date_in(timezone_) for window in windows] == [
        (date(year, 1, 1) + DAY * number).isoformat() for number in range(days)
    ]
    hours = {window.date_in(timezone_): (window.end - window.start) / timedelta(hours=1) for window in windows}
    assert {day: length for day, length in hours.items() if length != 24} == odd


def test_hours_keep_their_length_where_clocks_change() -> None:
    """Hourly partitions of Berlin's 25-hour day are 25 windows of one hour each, one after another."""
    berlin = parse_timezone("timezone", "Europe/Berlin")
    day = Window.of_period(datetime(2026, 10, 24, 22, tzinfo=UTC), DAY, berlin)

    hours = [Window.of_period(day.start + timedelta(hours=n), timedelta(hours=1), berlin) for n in range(25)]

    assert all(hour.end - hour.start == timedelta(hours=1) for hour in hours)
    assert (hours[0].start, hours[-1].end) == (day.start, day.end)


@pytest.mark.parametrize("period", [timedelta(0), -DAY])
def test_a_period_has_a_length(period: timedelta) -> None:
    """A period of nothing, or backwards, makes no window."""
    with pytest.raises(InvalidInput):
        Window.of_period(datetime(2026, 1, 31, tzinfo=UTC), period, UTC)


@given(INSTANTS, st.timedeltas(MICROSECOND, timedelta(days=40)), st.integers(1, 50))
def test_parts_tile_their_window_on_whole_milliseconds(start: datetime, span: timedelta, parts: int) -> None:
    """The parts of a window cover it without gap or overlap, and are cut on whole milliseconds only."""
    window = Window(start, start + span)

    pieces = window.split(parts)

    assert 1 <= len(pieces) <= parts
    assert (pieces[0].start, pieces[-1].end) == (window.start, window.end)
    assert all(before.end == after.start for before, after in pairwise(pieces))
    assert all(piece.start.microsecond % 1000 == 0 for piece in pieces[1:])
    if span > parts * 3 * MILLISECOND:
        assert len(pieces) == parts
        assert max(abs((piece.end - piece.start) - span / parts) for piece in pieces) <= 2 * MILLISECOND


START = datetime(2026, 1, 31, 0, 0, 0, 500, tzinfo=UTC)
END = datetime(2026, 2, 1, 0, 0, 0, 500, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "resolution", "inside"),
    [
        (START, timedelta(0), True),
        (START - MICROSECOND, timedelta(0), False),
        (END - MICROSECOND, timedelta(0), True),
        (END, timedelta(0), False),
        # Shown as .000, the event may have happened at .0005 in truth; shown as the millisecond before, not.
        (START - timedelta(microseconds=500), MILLISECOND, True),
        (START - MILLISECOND, MILLISECOND, False),
        (START - MILLISECOND + MICROSECOND, MILLISECOND, True),
        (END - timedelta(microseconds=500), MILLISECOND, True),
        (END, MILLISECOND, False),
    ],
)
def test_a_window_contains_what_may_have_happened_in_it(
    instant: datetime, resolution: timedelta, inside: bool
) -> None:
    """The start belongs to the window and the end does not, also where a timestamp stands for a whole millisecond."""
    assert Window(START, END).contains(instant, resolution) is inside
