"""The stored bytes: a record is what the API wrote, and the same events give the same file."""

from __future__ import annotations

import gc
import gzip
import hashlib
import io
import json
import random
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.api import Page, parse_page, parse_requested_events
from airflow_provider_akinon.audit_events.errors import ProtocolError, UnrequestedEvent
from airflow_provider_akinon.audit_events.formats import Block, DistinctUuids, JsonLines, uuids
from airflow_provider_akinon.audit_events.model import Event, Filters, Format, Window, parse_event
from tests.support.traced import traced_peak

UUID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
WHEN = "2026-01-31T12:30:15.260Z"
DAY = Window.parse("2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z")


def encode(events: Iterable[Event]) -> tuple[bytes, JsonLines]:
    file = io.BytesIO()
    with JsonLines(file) as lines:
        lines.write(Block.of(list(events)))
    return file.getvalue(), lines


def requested(record: bytes, window: Window = DAY, filters: Filters | None = None) -> Event:
    page = parse_page(b'{"count": 1, "results": [' + record + b"]}")
    [event] = parse_requested_events(page, window, filters or Filters())
    return event


def record_of(**fields: object) -> bytes:
    return json.dumps({"uuid": UUID, "timestamp": WHEN, **fields}).encode()


# JSON as text, a list of tokens, so that it can be written with and without white space between them.
Tokens = list[str]

_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
_STRINGS = st.builds(
    lambda text, escaped: json.dumps(text, ensure_ascii=escaped),
    st.text()
    | st.sampled_from(["\u2028\u2029\x85", "a\r\nb", "\\u0041", "", "çĞİ", "{} , : [ ]", "\N{GRINNING FACE}"]),
    st.booleans(),
)
_SCALARS: st.SearchStrategy[Tokens] = (_NUMBERS | _STRINGS | st.sampled_from(["null", "true", "false"])).map(
    lambda token: [token]
)


def _separated(parts: list[Tokens]) -> Tokens:
    return [token for part in parts for token in (",", *part)][1:]


def _object(items: list[tuple[str, Tokens]]) -> Tokens:
    return ["{", *_separated([[key, ":", *value] for key, value in items]), "}"]


_VALUES = st.recursive(
    _SCALARS,
    lambda values: (
        st.lists(values, max_size=4).map(lambda parts: ["[", *_separated(parts), "]"])
        | st.lists(st.tuples(_STRINGS, values), max_size=4).map(_object)
    ),
    max_leaves=8,
)


@st.composite
def records(draw: Callable[..., object]) -> tuple[bytes, bytes]:
    """Return a record as an API may write it, and without the white space between its tokens."""
    fields = draw(
        st.lists(st.tuples(_STRINGS.filter(lambda key: json.loads(key) not in ("uuid", "timestamp")), _VALUES))
    )
    items = draw(st.permutations([*fields, ('"uuid"', [f'"{UUID}"']), ('"timestamp"', [json.dumps(WHEN)])]))  # type: ignore[misc]
    tokens = _object(items)  # type: ignore[arg-type]
    spaces = draw(st.lists(st.sampled_from(["", "", " ", "\n", "\r\n", "\t", "    "]), min_size=1, max_size=9))
    spaced = "".join(token + spaces[number % len(spaces)] for number, token in enumerate(tokens))  # type: ignore[arg-type,index]
    return spaced.encode(), "".join(tokens).encode()


@given(records())
def test_a_record_is_stored_as_the_api_wrote_it(record: tuple[bytes, bytes]) -> None:
    """Whatever JSON a record holds, its line has every byte of it but the white space between tokens."""
    written, compact = record

    stored, _ = encode([requested(written)])

    assert gzip.decompress(stored) == compact + b"\n"


@pytest.mark.parametrize(
    "value",
    [
        "123456789012345678901234567890",
        "1.10",
        "-0.0",
        "1E400",
        '"a\u2028b\u2029c\x85d"',
        '"tab\\there, quote \\" and \\u00fc"',
        '{"b": 1, "a": {"z": [], "b": 2}, "b": 3}'.replace(" ", ""),
        '"' + "x" * 100_000 + '"',
        '"\\ud83d"',
        '"\\ue000 \\udfff \\\\ud83d"',
    ],
    ids=lambda value: value[:24],
)
def test_what_parsers_like_to_change_stays(value: str) -> None:
    """Huge integers, trailing zeros, line separators, escapes, repeated and unsorted keys stay on one line."""
    record = f'{{"post_data":{value},"uuid":"u-1","timestamp":"{WHEN}","new":0}}'.encode()

    stored, _ = encode([parse_event(record)])

    assert gzip.decompress(stored).split(b"\n") == [record, b""]


def events(number: int, *, noise: int = 0) -> list[Event]:
    """Return events of ascending timestamps; with ``noise`` bytes each that do not compress."""
    source = random.Random(1)
    start = datetime(2026, 1, 31, tzinfo=UTC)
    return [
        parse_event(
            record_of(
                uuid=f"{count:08d}",
                timestamp=(start + timedelta(milliseconds=count)).isoformat(),
                content=source.randbytes(noise).hex(),
            )
        )
        for count in range(number)
    ]


def test_the_same_events_give_the_same_bytes_however_they_come() -> None:
    """One batch, many batches, another time and a file with a name give the same file, byte for byte."""
    many = events(3000, noise=500)
    at_once, _ = encode(many)

    with tempfile.NamedTemporaryFile(suffix=".jsonl.gz") as named:
        with JsonLines(named) as lines:  # type: ignore[arg-type]
            for start in range(0, len(many), 7):
                lines.write(Block.of(many[start : start + 7]))
        named.flush()
        in_batches = Path(named.name).read_bytes()

    assert in_batches == at_once
    assert gzip.decompress(at_once) == b"".join(event.line + b"\n" for event in many)


@pytest.mark.parametrize("format_", [Format.JSONL_GZ, Format.JSONL])
def test_what_waits_to_be_compressed_is_bounded(format_: Format) -> None:
    """Beside two mebibytes that are mapped once, writing holds no bytes of events, however many come at a time."""
    many = [event._replace(line=event.line + b" " * 1400) for event in events(4000)]
    whole = Block.of(many)
    small = [Block.of(many[start : start + 100]) for start in range(0, len(many), 100)]
    assert len(whole.data) > 5 << 20

    for blocks in ([whole], small):
        with tempfile.TemporaryFile() as file, traced_peak() as peak, JsonLines(file, format_) as lines:
            for block in blocks:
                lines.write(block)
        assert lines.count == len(many)
        assert peak() < 3 << 18


def test_a_block_holds_its_events_once() -> None:
    """What redaction leaves as it is goes from the events into the block, with no copy on the way."""
    many = events(200, noise=700)
    with traced_peak() as peak:
        block = Block.of(many, lambda line: line)

    assert bytes(block.lines) == b"".join(event.line + b"\n" for event in many)
    assert block.uuids == b"".join(event.uuid.encode() + b"\n" for event in many)
    assert peak() < 1.3 * len(block.data)


def test_the_gzip_header_holds_no_time_and_no_name() -> None:
    """The header's flags, time and operating system say nothing that differs from run to run."""
    stored, _ = encode(events(1))

    assert stored[:4] == b"\x1f\x8b\x08\x00"  # gzip, deflate, and no name or comment
    assert stored[4:8] == b"\0\0\0\0"  # no time


def encode_blocks(blocks: list[list[Event]]) -> bytes:
    file = io.BytesIO()
    with JsonLines(file) as lines:
        for block in blocks:
            lines.write(Block.of(block))
    return file.getvalue()


@pytest.mark.parametrize("order", [[1, 0], [0, 0], [0, 2, 1]], ids=["reversed", "twice", "out-of-order"])
@pytest.mark.parametrize("at_a_time", [1, 3], ids=["one-by-one", "at-once"])
def test_only_ascending_events_are_written(order: list[int], at_a_time: int) -> None:
    """An event that comes twice or out of order is refused, within one block and from one to the next."""
    given = [events(3)[place] for place in order]
    blocks = [given[start : start + at_a_time] for start in range(0, len(given), at_a_time)]

    with pytest.raises(ProtocolError, match="twice, or out of order"):
        encode_blocks([part for block in blocks for part in (block, [])])


def test_an_empty_block_changes_nothing() -> None:
    """Stretches without events leave no trace, not even in the order."""
    assert encode_blocks([[], events(2)[:1], [], events(2)[1:], []]) == encode(events(2))[0]


@pytest.mark.parametrize("number", [0, 1, 1000])
def test_the_figures_are_those_of_the_file(number: int) -> None:
    """Count, size and the three SHA-256 are what anyone computes from the file, also of an empty one."""
    written = events(number)
    stored, lines = encode(written)
    content = gzip.decompress(stored)

    assert content.count(b"\n") == number == lines.count
    assert lines.size == len(stored)
    assert lines.sha256 == hashlib.sha256(stored).hexdigest()
    assert lines.content_sha256 == hashlib.sha256(content).hexdigest()
    assert (
        lines.uuids_sha256 == hashlib.sha256(b"".join(event.uuid.encode() + b"\n" for event in written)).hexdigest()
    )


def test_a_failure_while_writing_passes_on_and_leaves_nothing_running() -> None:
    """The error of the reader comes out as it is, and no late write hits the closed file."""
    with (  # noqa: PT012 - the whole export fails
        pytest.raises(ZeroDivisionError),
        tempfile.TemporaryFile() as file,
        JsonLines(file) as lines,
    ):
        lines.write(Block.of(events(100, noise=500)))
        raise ZeroDivisionError

    gc.collect()  # pytest makes an error of one that is raised here


def test_a_disk_that_fails_is_told() -> None:
    """An error of the file is raised by the writer, not lost."""

    class FullDisk(io.RawIOBase):
        def write(self, _data: object) -> int:
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"), JsonLines(FullDisk()) as lines:  # type: ignore[arg-type]
        lines.write(Block.of(events(2000, noise=500)))


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"uuid": "u-1"',
        b'{"uuid": "u-1"}',
        b'{"timestamp": "2026-01-31T12:30:15Z"}',
        b'{"uuid": null, "timestamp": "2026-01-31T12:30:15Z"}',
        b'{"uuid": 5, "timestamp": "2026-01-31T12:30:15Z"}',
        b'{"uuid": "u-1", "timestamp": null}',
        b'{"uuid": "u-1", "timestamp": 1769862615}',
        b'{"uuid": "u-1", "timestamp": "2026-01-31"}',
        b'{"uuid": "u-1", "timestamp": "yesterday"}',
        b'{"uuid": "u-1", "timestamp": "2026-01-31T12:30:15"}',
        b'{"uuid": "u-1", "timestamp": "2026-02-30T12:30:15Z"}',
        b'{"uuid": "u-1", "timestamp": "2026-01-31T12:30:15Z", "content": NaN}',
        b'{"uuid": "u-1", "timestamp": "2026-01-31T12:30:15Z"} {}',
    ],
)
def test_what_is_no_audit_event_is_refused(record: bytes) -> None:
    """A record without a uuid and a timestamp with a time zone is not stored as if it were an event."""
    with pytest.raises(ProtocolError):
        parse_event(record)
    with pytest.raises(ProtocolError):
        parse_requested_events(Page(1, [msgspec.Raw(record)]), DAY, Filters())


def test_events_sort_by_timestamp_and_then_uuid() -> None:
    """An offset is only a way to write an instant; equal instants go by uuid."""
    late = parse_event(record_of(uuid="a", timestamp="2026-01-31T12:00:00.001Z"))
    second = parse_event(record_of(uuid="c", timestamp="2026-01-31T12:00:00Z"))
    first = parse_event(record_of(uuid="b", timestamp="2026-01-31T15:00:00+03:00"))

    assert sorted([late, second, first]) == [first, second, late]
    assert first.timestamp == second.timestamp


@pytest.mark.parametrize(
    ("timestamp", "inside"),
    [
        ("2026-01-31T00:00:00Z", True),
        ("2026-01-31T02:59:59.999+03:00", False),
        ("2026-01-31T23:59:59.999999Z", True),
        ("2026-02-01T00:00:00.000Z", False),
        ("2026-01-30T23:59:59.999Z", False),
        ("2026-01-30T23:59:59.999999Z", False),
    ],
)
def test_an_event_outside_the_window_is_refused(timestamp: str, inside: bool) -> None:
    """What was not asked for is not stored: the API may have ignored the window."""
    record = record_of(timestamp=timestamp)

    if inside:
        assert requested(record).line == json.dumps(json.loads(record), separators=(",", ":")).encode()
    else:
        with pytest.raises(
            UnrequestedEvent, match=rf"event {UUID} of 2026-0.*, outside the window \[2026-01-31T00:00"
        ):
            requested(record)


@pytest.mark.parametrize(
    ("timestamp", "inside"),
    [
        ("2026-01-31T12:30:15.260Z", True),
        ("2026-01-31T12:30:15.26Z", True),
        ("2026-01-31T12:30:15.259Z", False),
        ("2026-01-31T12:30:15.260000Z", True),
        ("2026-01-31T12:30:15.260499Z", False),
        ("2026-01-31T12:30:15.260500Z", True),
        ("2026-01-31T12:30:15.261Z", False),
    ],
)
def test_a_timestamp_cut_to_milliseconds_may_lie_inside(timestamp: str, inside: bool) -> None:
    """A whole millisecond may have been cut to it, however it is written; where a time is finer, nothing was cut."""
    window = Window.parse("2026-01-31T12:30:15.260500Z", "2026-01-31T12:30:15.260900Z")

    if inside:
        assert requested(record_of(timestamp=timestamp), window).uuid == UUID
    else:
        with pytest.raises(UnrequestedEvent):
            requested(record_of(timestamp=timestamp), window)


def test_an_event_that_the_filters_exclude_is_refused() -> None:
    """Each filter is compared with the record, whose other fields are not even parsed."""
    record = record_of(user={"pk": 42, "id": "text"}, content_type=3, object_id=7, content={"user": 1})

    assert requested(record, filters=Filters(user=42, content_type=3, object_id=7)).uuid == UUID
    for filters, difference in [
        (Filters(user=1), "user is 42, asked for 1"),
        (Filters(user=42, content_type=4), "content_type is 3, asked for 4"),
        (Filters(object_id=8), "object_id is 7, asked for 8"),
    ]:
        with pytest.raises(UnrequestedEvent, match=difference):
            requested(record, filters=filters)


def test_a_record_without_the_filtered_field_is_refused() -> None:
    """An anonymous event is nobody's: it does not match a filter by user."""
    for record in (record_of(), record_of(user=None)):
        with pytest.raises(UnrequestedEvent, match="user is None, asked for 42"):
            requested(record, filters=Filters(user=42))


@given(st.lists(st.integers(0, 400_000), max_size=40), st.integers(0, 210_000))
@settings(max_examples=10)
def test_distinct_uuids_are_counted(some: list[int], many: int) -> None:
    """However many there are, in whatever order and case, each is counted once, and one that came twice is told."""
    numbers = [*range(many), *some]
    random.Random(many).shuffle(numbers)
    with DistinctUuids() as distinct:
        for start in range(0, len(numbers), 7_000):
            distinct.add(b"%08x" % number for number in numbers[start : start + 7_000])
        found, twin = distinct.counted()

    assert found == len(set(numbers))
    assert (twin is None) == (found == len(numbers))
    assert twin is None or numbers.count(int(twin, 16)) > 1


def test_many_uuids_are_counted_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The more runs there are to merge, the less is read of each at a time."""
    monkeypatch.setattr(uuids, "_RUN", 64)
    number = 64 * 500
    shuffled = [f"{UUID[:28]}{count:08x}".encode() for count in range(number)]
    random.Random(1).shuffle(shuffled)
    with DistinctUuids() as distinct:
        for start in range(0, number, 64):
            distinct.add(shuffled[start : start + 64])
        with traced_peak() as peak:
            found = distinct.counted()

    assert found == (number, None)
    assert peak() < 1 << 20


def test_a_file_tells_how_many_uuids_it_has() -> None:
    """Events of one uuid with several timestamps, or in both cases, are several lines and one uuid."""
    stamps = ["2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z", "2026-01-31T14:00:00Z"]
    other = UUID.replace("6", "7")
    given = zip(stamps, [UUID, other, UUID.upper()], strict=True)
    _, lines = encode([parse_event(record_of(uuid=uuid, timestamp=stamp)) for stamp, uuid in given])

    assert (lines.count, lines.distinct, lines.twin) == (3, 2, UUID)


def test_a_uuid_is_as_the_api_wrote_it() -> None:
    """A UUID in capitals is one, and is stored as it is."""
    assert requested(record_of(uuid=UUID.upper())).uuid == UUID.upper()
    with pytest.raises(ProtocolError, match=r"uuid 'u\\x0a1' is not a UUID of 36 characters"):
        requested(record_of(uuid="u\n1"))


def test_a_page_that_is_not_utf_8_is_refused() -> None:
    """Bytes that no reader of JSON could take later are not stored as if they were a record."""
    with pytest.raises(UnicodeDecodeError):
        parse_page(b'{"count": 1, "results": [{"uuid": "a", "content": "\xff"}]}')


def test_a_page_with_half_a_character_is_split_into_the_records_that_were_sent() -> None:
    """Escapes that are a lone surrogate stay where they are, in the right record, and no other byte changes."""
    given = [
        f'{{"uuid":"{name}","timestamp":"{WHEN}","content":{content}}}'.encode()
        for name, content in [
            (UUID[:-1] + "a", '"\\ud83d x"'),
            (UUID[:-1] + "b", "{}"),
            (UUID[:-1] + "c", '{"\\\\ud83d":"\\uDC00\\ue000"}'),
        ]
    ]
    page = parse_page(b'{"count": 3, "next": "\\ud83d", "results": [' + b" , ".join(given) + b"]}")

    assert page.count == 3
    assert [bytes(record) for record in page.results] == given
    assert [event.line for event in parse_requested_events(page, DAY, Filters())] == given
