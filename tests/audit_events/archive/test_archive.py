"""The archive: one key for one window, what an object says of itself, and evidence that is not overwritten."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.archive import StoredExport, metadata_of, require_superset
from airflow_provider_akinon.audit_events.bucket import Head
from airflow_provider_akinon.audit_events.encoding import Block, Format, JsonLines
from airflow_provider_akinon.audit_events.errors import ForeignObject, InvalidInput, ShrinkRefused
from airflow_provider_akinon.audit_events.export import Draft, Export
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.place import Place, default_prefix
from airflow_provider_akinon.audit_events.records import parse_event
from airflow_provider_akinon.audit_events.window import Window, parse_timezone

ISTANBUL = parse_timezone("timezone", "Europe/Istanbul")
MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
DAY = Window(MIDNIGHT, MIDNIGHT + timedelta(days=1))
SOURCE = "shop.example.com/remote/1"
PLACE = Place("audit", "a.jsonl.gz")


def export_of(
    names: Iterable[tuple[int, str]], *, window: Window = DAY, filters: Filters | None = None, source: str = SOURCE
) -> Export:
    """Return an export of events with these seconds and uuids."""
    file = io.BytesIO()
    with JsonLines(file) as lines:
        records = [
            json.dumps({"uuid": uuid, "timestamp": (MIDNIGHT + timedelta(seconds=at)).isoformat()}).encode()
            for at, uuid in names
        ]
        lines.write(Block.of([parse_event(record) for record in records]))
    file.seek(0)
    return Export(
        window=window,
        filters=filters or Filters(),
        source=source,
        redaction=None,
        format=Format.JSONL_GZ,
        count=lines.count,
        count_before=lines.count,
        proved_at=DAY.end,
        file=file,
        size=lines.size,
        sha256=lines.sha256,
        written=lines,
        draft=Draft(file, Format.JSONL_GZ, lines, []),
    )


def head_of(metadata: dict[str, str], size: int = 1) -> Head:
    return Head(size, metadata, version_id="v1", etag="e1", retained=None)


def stored_as(export: Export) -> tuple[StoredExport, io.BytesIO]:
    """Return what S3 gives back of an export: its metadata, read, and its bytes."""
    body = io.BytesIO(export.file.read())
    export.file.seek(0)
    return StoredExport.read(PLACE, head_of(metadata_of(export), len(body.getvalue())), export), body


def test_a_window_has_its_place_by_date() -> None:
    """The key is Hive style by the start's date, and names the window, and the filters where there are any."""
    assert Place.of_window("audit", "logs", DAY, Filters(), UTC) == Place(
        "audit", "logs/date=2026-01-31/20260131T000000Z_20260201T000000Z.jsonl.gz"
    )
    assert Place.of_window("audit", "/logs/", DAY, Filters(user=42, object_id=7), UTC).key == (
        "logs/date=2026-01-31/20260131T000000Z_20260201T000000Z_user=42_object_id=7.jsonl.gz"
    )
    sliver = Window(MIDNIGHT, MIDNIGHT + timedelta(microseconds=50))
    assert Place.of_window("audit", "", sliver, Filters(), UTC).key == (
        "date=2026-01-31/20260131T000000Z_20260131T000000.000050Z.jsonl.gz"
    )
    assert str(Place.of_window("audit", "", DAY, Filters(), UTC)) == (
        "s3://audit/date=2026-01-31/20260131T000000Z_20260201T000000Z.jsonl.gz"
    )


def test_the_date_is_the_one_on_the_partitions_wall_clock() -> None:
    """A day of Istanbul lies under its own date, though it starts on the day before in UTC."""
    day = Window.of_period(datetime(2026, 1, 30, 21, tzinfo=UTC), timedelta(days=1), ISTANBUL)

    assert Place.of_window("audit", "", day, Filters(), ISTANBUL).key == (
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
        Place.of_window("audit", "p", window, filters, timezone).key
        for window, filters, timezone in product(windows, asked, (UTC, ISTANBUL))
    }
    for timezone in (UTC, ISTANBUL):
        own = {Place.of_window("audit", "p", *pair, timezone).key for pair in product(windows, asked)}
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
        same_key = Place.of_window("b", "p", *left, UTC) == Place.of_window("b", "p", *right, UTC)
        assert same_key == (left == right)


@pytest.mark.parametrize(
    ("bucket", "key", "place"),
    [
        ("audit", "a/b.jsonl.gz", Place("audit", "a/b.jsonl.gz")),
        (None, "s3://audit/a/b.jsonl.gz", Place("audit", "a/b.jsonl.gz")),
        ("", "s3://audit/b", Place("audit", "b")),
    ],
)
def test_a_whole_key_or_url_is_a_place(bucket: str | None, key: str, place: Place) -> None:
    """A key beside its bucket, or a URL alone, is used as it is."""
    assert Place.of_key(bucket, key) == place


@pytest.mark.parametrize(
    ("bucket", "key", "problem"),
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
def test_an_ambiguous_or_partial_key_is_refused(bucket: str | None, key: str, problem: str) -> None:
    """A bucket that is missing or given twice, and a key that names a folder, are wrong input."""
    with pytest.raises(InvalidInput, match=problem):
        Place.of_key(bucket, key)


@pytest.mark.parametrize("bucket", [None, ""])
def test_a_window_needs_a_bucket(bucket: str | None) -> None:
    """Without a bucket there is no place."""
    with pytest.raises(InvalidInput, match="s3_bucket is missing"):
        Place.of_window(bucket, "p", DAY, Filters(), UTC)


@pytest.mark.parametrize(
    ("source", "prefix"),
    [
        (SOURCE, "akinon/audit-events/shop.example.com/remote/1"),
        ("shop.example.com:8443/remote/2", "akinon/audit-events/shop.example.com_8443/remote/2"),
        ("[::1]:8000/remote/1", "akinon/audit-events/___1__8000/remote/1"),
    ],
)
def test_the_default_prefix_names_the_source_in_safe_characters(source: str, prefix: str) -> None:
    """The prefix holds host, port and remote id, in characters that every S3 tool takes."""
    assert default_prefix(source) == prefix


def test_an_object_says_what_it_is_an_export_of() -> None:
    """Count, hashes, source, window and filters are in the metadata, as ASCII text, and read back."""
    export = export_of([(1, "a"), (2, "b")], filters=Filters(user=42))

    metadata = metadata_of(export)

    assert metadata == {
        "akinon-count": "2",
        "akinon-sha256": export.sha256,
        "akinon-content-sha256": export.written.content_sha256,
        "akinon-uuids-sha256": export.written.uuids_sha256,
        "akinon-source": SOURCE,
        "akinon-window": "2026-01-31T00:00:00.000Z/2026-02-01T00:00:00.000Z",
        "akinon-filters": '{"user": 42}',
        "akinon-format": "jsonl.gz",
    }
    assert StoredExport.read(PLACE, head_of(metadata, 99), export) == StoredExport(
        place=PLACE,
        size=99,
        count=2,
        sha256=export.sha256,
        content_sha256=export.written.content_sha256,
        uuids_sha256=export.written.uuids_sha256,
        version_id="v1",
        etag="e1",
    )


def test_metadata_survives_what_stores_do_to_names() -> None:
    """S3 and its likes change the case of metadata names, and users add names of their own."""
    export = export_of([(1, "a")])
    metadata = {name.title(): value for name, value in metadata_of(export).items()} | {"team": "security"}

    assert StoredExport.read(PLACE, head_of(metadata), export).count == 1


@pytest.mark.parametrize(
    ("other", "held"),
    [
        ({"window": Window(DAY.start, DAY.end + timedelta(hours=1))}, "is an export with the window 2026-01-31T"),
        ({"filters": Filters(user=42)}, 'is an export with the filters {"user": 42}'),
        ({"source": "shop.example.com/remote/2"}, "is an export with the source shop.example.com/remote/2"),
    ],
)
def test_an_export_of_something_else_is_foreign(other: dict[str, Any], held: str) -> None:
    """An object of another window, other filters or another account is never taken for this export's."""
    with pytest.raises(ForeignObject) as caught:
        StoredExport.read(PLACE, head_of(metadata_of(export_of([(1, "a")], **other))), export_of([(1, "a")]))

    assert f"{PLACE} {held}" in str(caught.value)
    assert "Nothing was replaced" in str(caught.value)


@pytest.mark.parametrize("metadata", [{}, {"window": "x", "count": "1"}, {"akinon-": ""}])
def test_an_object_of_somebody_else_is_foreign(metadata: dict[str, str]) -> None:
    """An object without our metadata is no export of ours, even where it is empty."""
    with pytest.raises(ForeignObject, match="is no export of ours"):
        StoredExport.read(PLACE, head_of(metadata, 0), export_of([]))


@pytest.mark.parametrize("name", ["count", "sha256", "content-sha256", "uuids-sha256"])
def test_incomplete_metadata_is_foreign(name: str) -> None:
    """An object whose metadata lost a figure cannot be compared, so it is not replaced."""
    export = export_of([(1, "a")])
    metadata = metadata_of(export)
    del metadata[f"akinon-{name}"]

    with pytest.raises(ForeignObject, match="incomplete metadata"):
        StoredExport.read(PLACE, head_of(metadata), export)


def test_a_count_that_is_no_number_is_foreign() -> None:
    """Metadata that somebody edited is not trusted."""
    export = export_of([(1, "a")])

    with pytest.raises(ForeignObject, match="incomplete metadata"):
        StoredExport.read(PLACE, head_of(metadata_of(export) | {"akinon-count": "many"}), export)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ([], []),
        ([], [(1, "a")]),
        ([(1, "a")], [(1, "a")]),
        ([(2, "b")], [(1, "a"), (2, "a"), (2, "b"), (2, "c"), (3, "d")]),
        ([(1, "a"), (3, "c")], [(1, "a"), (2, "b"), (3, "c")]),
    ],
)
def test_an_export_may_replace_what_it_contains(stored: list[tuple[int, str]], read: list[tuple[int, str]]) -> None:
    """Where every stored event is still there, the object may be replaced; the export can be uploaded then."""
    export = export_of(read)

    require_superset(*stored_as(export_of(stored)), export)

    assert export.file.tell() == 0


@pytest.mark.parametrize(
    ("stored", "read", "missing", "example"),
    [
        ([(1, "a")], [], 1, "a"),
        ([(1, "a"), (2, "b"), (3, "c")], [(2, "b")], 2, "a"),
        ([(1, "a"), (2, "b")], [(1, "a"), (3, "c"), (4, "d")], 1, "b"),
        ([(1, "b")], [(1, "a"), (1, "c")], 1, "b"),
        ([(1, "a")], [(2, "a")], 1, "a"),
        ([(1, "a"), (9, "z")], [(1, "a"), (2, "b"), (3, "c")], 1, "z"),
    ],
)
def test_evidence_is_not_lost(
    stored: list[tuple[int, str]], read: list[tuple[int, str]], missing: int, example: str
) -> None:
    """A stored event that is no longer returned stops the replacement, also where more events came than went."""
    export = export_of(read)

    with pytest.raises(ShrinkRefused) as caught:
        require_superset(*stored_as(export_of(stored)), export)

    assert (caught.value.stored, caught.value.read) == (len(stored), len(read))
    assert f"{missing} of the stored ones are no longer among them, such as {example}." in str(caught.value)
    assert "allow_shrink=True" in str(caught.value)


EVENT_NAMES = st.sets(st.tuples(st.integers(0, 6), st.sampled_from("abcd")), max_size=20)


@given(EVENT_NAMES, EVENT_NAMES)
def test_the_comparison_agrees_with_sets(stored: set[tuple[int, str]], read: set[tuple[int, str]]) -> None:
    """The streaming comparison finds exactly the events that a set difference finds."""
    compared = (*stored_as(export_of(sorted(stored))), export_of(sorted(read)))

    if stored <= read:
        require_superset(*compared)
    else:
        with pytest.raises(ShrinkRefused, match=f": {len(stored - read)} of the stored ones"):
            require_superset(*compared)
