"""The archive: one key for one window, late events beside it, and what an export shows of the source."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.archive import (
    MOST_OF_A_KEY,
    Location,
    WindowReceipts,
    default_prefix,
    first_and_number,
    late_key,
    receipt_key,
    stem_of,
)
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.formats import added_sums, uuids_sum
from airflow_provider_akinon.audit_events.model import Filters, Format, Window, parse_timezone
from airflow_provider_akinon.audit_events.storing import Archived, Numbers, StoredWindow

ISTANBUL = parse_timezone("timezone", "Europe/Istanbul")
MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
DAY = Window(MIDNIGHT, MIDNIGHT + timedelta(days=1))
SOURCE = "shop.example.com/remote/1"
LOCATION = Location("audit", "a.jsonl.gz")


def test_a_window_has_its_place_by_date() -> None:
    """The key is Hive style by the start's date, and names the window, and the filters where there are any."""
    assert Location.of_window("audit", "logs", DAY, Filters(), UTC) == Location(
        "audit", "logs/date=2026-01-31/20260131T000000Z_20260201T000000Z.jsonl.gz"
    )
    assert Location.of_window("audit", "/logs/", DAY, Filters(user=42, object_id=7), UTC).key == (
        "logs/date=2026-01-31/20260131T000000Z_20260201T000000Z_user=42_object_id=7.jsonl.gz"
    )
    sliver = Window(MIDNIGHT, MIDNIGHT + timedelta(microseconds=50))
    assert Location.of_window("audit", "", sliver, Filters(), UTC).key == (
        "date=2026-01-31/20260131T000000Z_20260131T000000.000050Z.jsonl.gz"
    )
    assert str(Location.of_window("audit", "", DAY, Filters(), UTC)) == (
        "s3://audit/date=2026-01-31/20260131T000000Z_20260201T000000Z.jsonl.gz"
    )


def test_the_date_is_the_one_on_the_partitions_wall_clock() -> None:
    """A day of Istanbul lies under its own date, though it starts on the day before in UTC."""
    day = Window.of_period(datetime(2026, 1, 30, 21, tzinfo=UTC), timedelta(days=1), ISTANBUL)

    assert Location.of_window("audit", "", day, Filters(), ISTANBUL).key == (
        "date=2026-01-31/20260130T210000Z_20260131T210000Z.jsonl.gz"
    )


def test_what_people_export_has_keys_of_its_own() -> None:
    """Hours, days of two time zones, a month, slivers and filters: no two windows or filters share a key."""
    hours = [Window(MIDNIGHT + timedelta(hours=hour), MIDNIGHT + timedelta(hours=hour + 1)) for hour in range(24)]
    istanbul = Window.of_period(MIDNIGHT - timedelta(hours=3), timedelta(days=1), ISTANBUL)
    month = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    slivers = [Window(MIDNIGHT, MIDNIGHT + timedelta(microseconds=length)) for length in (1, 10, 1000, 1001)]
    windows = [DAY, istanbul, month, *hours, *slivers]
    asked = [Filters(*values) for values in product((None, 1, 11), (None, 1), (None, 1, -1))]

    keys = {
        Location.of_window("audit", "p", window, filters, timezone).key
        for window, filters, timezone in product(windows, asked, (UTC, ISTANBUL))
    }
    for timezone in (UTC, ISTANBUL):
        own = {Location.of_window("audit", "p", *pair, timezone).key for pair in product(windows, asked)}
        assert len(own) == len(windows) * len(asked)
    assert all(re.fullmatch(r"p/date=2026-0\d-\d\d/[0-9TZ_.]+(_[a-z_]+=-?\d+)*\.jsonl\.gz", key) for key in keys)


INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
WINDOWS = st.builds(
    lambda start, span: Window(start, start + span),
    INSTANTS,
    st.timedeltas(timedelta(microseconds=1), timedelta(days=400)),
)
FILTERS = st.builds(Filters, *[st.none() | st.integers(-20, 20)] * 3)


@given(WINDOWS, WINDOWS, FILTERS, FILTERS)
def test_a_key_names_exactly_one_window_and_filters(one: Window, other: Window, f: Filters, g: Filters) -> None:
    """Keys are equal where windows and filters are, and nowhere else."""
    for left, right in [((one, f), (one, f)), ((one, f), (one, g)), ((one, f), (other, f)), ((one, f), (other, g))]:
        same_key = Location.of_window("b", "p", *left, UTC) == Location.of_window("b", "p", *right, UTC)
        assert same_key == (left == right)


@pytest.mark.parametrize(
    ("where", "key", "location"),
    [
        ("audit", "a/b.jsonl.gz", Location("audit", "a/b.jsonl.gz")),
        (None, "s3://audit/a/b.jsonl.gz", Location("audit", "a/b.jsonl.gz")),
        ("", "s3://audit/b", Location("audit", "b")),
    ],
)
def test_a_whole_key_or_url_is_a_place(where: str | None, key: str, location: Location) -> None:
    """A key beside its bucket, or a URL alone, is used as it is."""
    assert Location.of_key(where, key) == location


@pytest.mark.parametrize(
    ("where", "key", "problem"),
    [
        ("audit", "s3://audit/b", "names its bucket, and so does s3_bucket='audit'"),
        (None, "b", "s3_bucket is missing"),
        ("", "b", "s3_bucket is missing"),
        (None, "s3:///b", "s3_bucket is missing"),
        ("audit", "", "is not a whole key"),
        ("audit", "folder/", "is not a whole key"),
        (None, "s3://audit", "is not a whole key"),
        (None, "s3://audit/", "is not a whole key"),
    ],
)
def test_an_ambiguous_or_partial_key_is_refused(where: str | None, key: str, problem: str) -> None:
    """A bucket that is missing or given twice, and a key that names a folder, are wrong input."""
    with pytest.raises(InvalidInput, match=problem):
        Location.of_key(where, key)


@pytest.mark.parametrize("where", [None, ""])
def test_a_window_needs_a_bucket(where: str | None) -> None:
    """Without a bucket there is no location."""
    with pytest.raises(InvalidInput, match="s3_bucket is missing"):
        Location.of_window(where, "p", DAY, Filters(), UTC)


@pytest.mark.parametrize(
    ("source", "prefix"),
    [
        (SOURCE, "akinon/audit-events/shop.example.com/remote/1"),
        ("shop.example.com:8443/remote/2", "akinon/audit-events/shop.example.com_3A8443/remote/2"),
        ("[::1]:8000/remote/1", "akinon/audit-events/_5B_3A_3A1_5D_3A8000/remote/1"),
    ],
)
def test_the_default_prefix_names_the_source_in_safe_characters(source: str, prefix: str) -> None:
    """The prefix holds host, port and remote id, in characters that every S3 tool takes."""
    assert default_prefix(source) == prefix


@pytest.mark.parametrize(
    ("key", "format_", "late"),
    [
        ("p/a.jsonl.gz", Format.JSONL_GZ, "p/a.late-1.jsonl.gz"),
        ("p/a.jsonl", Format.JSONL, "p/a.late-1.jsonl"),
        ("p/a.parquet", Format.PARQUET, "p/a.late-1.parquet"),
        ("p/a.gz", Format.JSONL_GZ, "p/a.gz.late-1"),
        ("p/a.jsonl.gz", Format.PARQUET, "p/a.jsonl.gz.late-1"),
        ("p.jsonl.gz/a", Format.JSONL_GZ, "p.jsonl.gz/a.late-1"),
    ],
)
def test_late_events_lie_beside_the_first_object(key: str, format_: Format, late: str) -> None:
    """The number stands before the format's extension, or ends a key without it; number 0 is the first object."""
    location = Location("audit", key)

    assert location.late(1, format_) == Location("audit", late)
    assert location.late(0, format_) == location
    assert late_key(key, 12, format_) == late.replace("late-1", "late-12")
    assert late.startswith(stem_of(key, format_))


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("p/a.late-1.jsonl.gz", ("p/a.jsonl.gz", 1)),
        ("p/a.late-12.parquet", ("p/a.parquet", 12)),
        ("p/a.late-3", ("p/a", 3)),
        ("p/a.gz.late-3", ("p/a.gz", 3)),
        ("p/a.late-1.late-2.jsonl", ("p/a.late-1.jsonl", 2)),
        ("p/a.late-0.jsonl", ("p/a.late-0.jsonl", 0)),
        ("p/a.late-01.jsonl", ("p/a.late-01.jsonl", 0)),
        ("p/a.late-1.csv", ("p/a.late-1.csv", 0)),
        ("p/a.late-x.jsonl", ("p/a.late-x.jsonl", 0)),
        ("p/a.late-1.jsonl\n", ("p/a.late-1.jsonl\n", 0)),
        ("p/a.jsonl.gz", ("p/a.jsonl.gz", 0)),
        (".late-1", (".late-1", 0)),
    ],
)
def test_a_key_tells_its_window(key: str, told: tuple[str, int]) -> None:
    """From the key of late events comes that of the window's first object; any other key is its own."""
    assert first_and_number(key) == told


@given(st.text("ab./_", min_size=1, max_size=6), st.sampled_from(Format), st.integers(1, 2000), st.booleans())
def test_keys_of_late_events_come_back(stem: str, format_: Format, number: int, extended: bool) -> None:
    """Whatever a window's key is, the keys of its late events lead back to it."""
    key = stem + f".{format_.value}" * extended

    assert first_and_number(late_key(key, number, format_)) == (key, number)


@pytest.mark.parametrize("key", ["a.late-1.jsonl.gz", "a.late-12.parquet", "b/a.late-3", "a.late-1.late-1.jsonl"])
def test_a_key_that_is_named_like_late_events_is_refused(key: str) -> None:
    """An author's key may not be one of another window's late events, beside its bucket or in a URL."""
    for bucket, given_ in (("audit", key), (None, f"s3://audit/{key}")):
        with pytest.raises(InvalidInput, match="is a name for late events of another export"):
            Location.of_key(bucket, given_)


@given(WINDOWS, FILTERS, st.sampled_from(Format))
def test_no_window_is_named_like_late_events(window: Window, filters: Filters, format_: Format) -> None:
    """No key that is made of a window and filters is one of late events."""
    key = Location.of_window("b", "p", window, filters, UTC, format_).key

    assert first_and_number(key) == (key, 0)


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        (
            Numbers(same=9, changed=2, vanished=1),
            "gives 2 of the 12 stored events of s3://audit/a.jsonl.gz other",
        ),
        (Numbers(same=9, vanished=1, new=3), "gives 0 of the 10 stored events of s3://audit/a.jsonl.gz otherwise"),
    ],
)
def test_changes_at_the_source_are_told(numbers: Numbers, told: str) -> None:
    """The error holds the numbers of changed and vanished events, and says how to let them pass."""
    stored = StoredWindow(LOCATION, Format.JSONL_GZ, (), WindowReceipts(LOCATION.key, {}))

    problem = Archived(stored, numbers, numbers.new, written=True).source_changed

    assert problem is not None
    assert (problem.changed, problem.vanished) == (numbers.changed, numbers.vanished)
    assert told in str(problem)
    assert f"by now, and {numbers.vanished} no longer. What is stored stays, {numbers.new} new" in str(problem)
    assert "on_source_change='warn'" in str(problem)
    assert problem.permanent


def test_what_is_no_change_at_the_source() -> None:
    """Users that moved, new events, new fields and what was not compared are nothing that was changed."""
    stored = StoredWindow(LOCATION, Format.JSONL_GZ, (), WindowReceipts(LOCATION.key, {}))
    numbers = Numbers(same=1, user_moved=2, new=3, not_compared=4, new_fields=5)

    assert Archived(stored, numbers, 3, written=True).source_changed is None


@given(st.lists(st.binary(max_size=8), unique=True), st.data())
def test_a_sum_of_uuids_knows_no_order(uuids: list[bytes], data: st.DataObject) -> None:
    """The digest of a window's uuids is the same in every order, and however they are parted into objects."""
    other = data.draw(st.permutations(uuids))
    cut = data.draw(st.integers(0, len(uuids)))

    assert uuids_sum(uuids) == uuids_sum(other) == added_sums(uuids_sum(other[:cut]), uuids_sum(other[cut:]))
    assert uuids_sum(uuids) != uuids_sum([*uuids, b"one more"])
    assert 0 <= uuids_sum(uuids) < 2**256


@pytest.mark.parametrize("letter", ["a", "ş"])
def test_a_key_leaves_room_for_its_receipts(letter: str) -> None:
    """A key so long that its late events' receipts would have none is refused before anything is read."""
    size = len(letter.encode())
    longest = "p/" + letter * ((MOST_OF_A_KEY - 11) // size) + ".jsonl.gz"

    location = Location.of_key("b", longest)
    assert len(receipt_key(location.late(9999, Format.JSONL_GZ).key, "0" * 64).encode()) <= 1024
    with pytest.raises(InvalidInput, match=r"s3_key makes a key of \d+ bytes .* it may have 930"):
        Location.of_key("b", letter * 12 + longest)
    with pytest.raises(InvalidInput, match=r"s3_key_prefix makes a key of \d+ bytes"):
        Location.of_window("b", letter * (900 // size), DAY, Filters(), UTC)
