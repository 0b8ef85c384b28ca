"""Events as Parquet: typed where they fit, and nothing lost where they do not."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.errors import InvalidInput, ProtocolError
from airflow_provider_akinon.audit_events.formats import parquet, read_lines, write_parquet
from airflow_provider_akinon.audit_events.model import parse_event
from tests.support.traced import traced_peak

WHEN = "2026-01-31T12:30:15.260Z"
FREE = ("user", "content", "headers", "post_data", "query_params")
TYPED = ("content_type", "object_id", "remote_addr", "url")
PLAIN = {
    **dict.fromkeys(FREE, "null"),
    "content_type": "1",
    "object_id": "2",
    "remote_addr": '"a"',
    "url": '"u"',
    "timestamp": f'"{WHEN}"',
    "uuid": '"u-1"',
}
SCHEMA = {
    "timestamp": "timestamp[us, tz=UTC]",
    "uuid": "string",
    "content_type": "int64",
    "object_id": "int64",
    "remote_addr": "string",
    "url": "string",
    "user": "string",
    "content": "string",
    "headers": "string",
    "post_data": "string",
    "query_params": "string",
    "user_pk": "int64",
    "rest": "string",
    "absent": "string",
}


def line_of(*fields: tuple[str, str], without: tuple[str, ...] = ()) -> bytes:
    """Return a record with fields replaced or added, each a name and its value's JSON; a name may come twice."""
    replaced = {name for name, _ in fields}
    plain = [(name, value) for name, value in PLAIN.items() if name not in replaced and name not in without]
    return ("{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in [*plain, *fields]) + "}").encode()


def written(lines: Iterable[bytes]) -> io.BytesIO:
    file = io.BytesIO()
    write_parquet(lines, file)
    return file


def row_of(line: bytes) -> dict[str, object]:
    [row] = pq.read_table(written([line])).to_pylist()
    return row


def meaning(line: bytes) -> object:
    """Return what a record says, with numbers as they are written: 1.10 is not 1.1, nor 1 true."""
    return json.loads(line, parse_int=lambda text: ("number", text), parse_float=lambda text: ("number", text))


_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)
_AWKWARD = [
    "\u2028\u2029\x85",
    "a\r\nb",
    "\\u0041",
    "",
    "çĞİ",
    "{} , : [ ]",
    "\N{GRINNING FACE}",
    "\0",
    ",",
    "\ue000",
]
_NAMES = [*PLAIN, "user_pk", "rest", "absent", "pk", "id", "", "é", "a,b"]
_STRINGS = st.builds(json.dumps, st.text() | st.sampled_from(_AWKWARD), ensure_ascii=st.booleans()) | st.sampled_from(
    ['"\\ud83d"', '"\\ue000 \\uDfff \\\\ud83d"', '"\\ud83d\\ude00\\ude00"', '"\\/"']
)
_KEYS = _STRINGS | st.sampled_from(_NAMES).map(json.dumps)
_VALUES = st.recursive(
    st.sampled_from(["null", "true", "false", "1.10", "1e400", "-0", "-0.0", "9" * 5000, str(2**63), str(-(2**63))])
    | _NUMBERS
    | _STRINGS,
    lambda values: (
        st.lists(values, max_size=4).map(lambda parts: "[" + ",".join(parts) + "]")
        | st.lists(st.tuples(_KEYS, values).map(":".join), max_size=4).map(lambda parts: "{" + ",".join(parts) + "}")
    ),
    max_leaves=8,
)
_STAMPS = st.sampled_from(
    [
        WHEN,
        "2026-01-31T12:30:15Z",
        "2026-01-31T12:30:15.000Z",
        "2026-01-31T12:30:15.260123Z",
        "2026-01-31T12:30:15.260000Z",
        "2026-01-31T12:30:15.2601234567Z",
        "2026-01-31T12:30:15.26Z",
        "2026-01-31T12:30:15.260+00:00",
        "2026-01-31T15:30:15.260+03:00",
        "2026-01-31t12:30:15.260z",
        "2026-01-31 12:30:15.260Z",
        "0001-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.999999Z",
    ]
)


@st.composite
def records(draw: st.DrawFn) -> bytes:
    """Return a record's compact JSON, of any JSON but for its timestamp and uuid, in any order."""
    unknown = draw(st.lists(st.tuples(_KEYS, _VALUES), max_size=4))
    documented = draw(st.lists(st.tuples(st.sampled_from([*FREE, *TYPED]).map(json.dumps), _VALUES), max_size=12))
    uuid = draw(st.sampled_from(['"u-1"', '"123e4567-e89b-12d3-a456-426614174000"', '"\\u0061"', '"é"', '"\\ud83d"']))
    keys = [('"timestamp"', json.dumps(draw(_STAMPS))), ('"uuid"', uuid)]
    fields = draw(st.permutations([*(field for field in unknown + documented if not _is_key(field[0])), *keys]))
    return ("{" + ",".join(map(":".join, fields)) + "}").encode()


def _is_key(name: str) -> bool:
    return json.loads(name) in ("timestamp", "uuid")


@given(st.lists(records(), max_size=3))
def test_whatever_json_a_record_holds_it_can_be_had_back(lines: list[bytes]) -> None:
    """Every field comes back with the value that the API wrote, numbers to the digit, and records in their order."""
    file = written(lines)
    table = pq.read_table(file)

    assert [meaning(line) for line in read_lines(file)] == [meaning(line) for line in lines]
    assert [parse_event(line)[:2] for line in read_lines(file)] == [parse_event(line)[:2] for line in lines]
    assert written(lines).getvalue() == file.getvalue()
    assert all(b"\n" not in line for line in read_lines(file))
    for line, rest in zip(lines, table["rest"].to_pylist(), strict=True):
        assert rest is None or meaning(rest.encode()).items() <= meaning(line).items()


@pytest.mark.parametrize(
    ("name", "value", "column"),
    [
        ("content_type", "12", 12),
        ("content_type", "null", None),
        ("object_id", "0", 0),
        ("object_id", str(2**63 - 1), 2**63 - 1),
        ("object_id", str(-(2**63)), -(2**63)),
        ("remote_addr", '"203.0.113.9"', "203.0.113.9"),
        ("url", '"https:\\/\\/shop\\u002eexample.com/\\u00fc\\n"', "https://shop.example.com/ü\n"),
        ("user", "null", None),
        ("user", '{"pk":1.10,"pk":2}', '{"pk":1.10,"pk":2}'),
        ("content", '"text \\u00fc"', '"text \\u00fc"'),
        ("headers", "[1E400,{}]", "[1E400,{}]"),
        ("post_data", "9" * 30, "9" * 30),
        ("query_params", "false", "false"),
        ("query_params", '"\\ud83d"', '"\\ud83d"'),
    ],
)
def test_a_value_that_fits_stands_in_its_column(name: str, value: str, column: object) -> None:
    """Integers and strings are values, free-form fields are JSON as it was written, null is NULL; no other column."""
    row = row_of(line_of((name, value)))

    assert row[name] == column
    assert (row["rest"], row["absent"]) == (None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content_type", '"12"'),
        ("content_type", "1.0"),
        ("object_id", str(2**63)),
        ("object_id", "9" * 5000),
        ("object_id", "-0"),
        ("object_id", "true"),
        ("object_id", "1e2"),
        ("remote_addr", "5"),
        ("remote_addr", '["a"]'),
        ("url", "{}"),
        ("url", '"\\ud83d"'),
    ],
)
def test_a_value_that_does_not_fit_stands_in_rest(name: str, value: str) -> None:
    """A documented field of another type than its column's is NULL there, and as it was written in ``rest``."""
    row = row_of(line_of((name, value)))

    assert row[name] is None
    assert row["rest"] == f'{{"{name}":{value}}}'
    assert row["absent"] is None


def test_unknown_fields_stand_in_rest() -> None:
    """Every unknown field, in the record's order, also one that is named like a column that is none of the API's."""
    row = row_of(
        line_of(("z", "1.10"), ("user_pk", "5"), ("rest", '"r"'), ("absent", "[]"), ("", "{}"), ("a", "null"))
    )

    assert row["rest"] == '{"z":1.10,"user_pk":5,"rest":"r","absent":[],"":{},"a":null}'
    assert row["user_pk"] is None


def test_a_field_that_is_not_there_is_named() -> None:
    """NULL alone would not tell a field that is null from one that the record lacks."""
    row = row_of(line_of(without=("object_id", "headers")))

    assert row["absent"] == "object_id,headers"
    assert (row["object_id"], row["headers"], row["rest"]) == (None, None, None)


def test_of_a_repeated_key_the_last_counts() -> None:
    """As in every JSON parser: the last value of a documented and of an unknown key, also beside a lone surrogate."""
    for more in ((), (("half", '"\\ud83d"'),)):
        row = row_of(line_of(("object_id", '"x"'), ("object_id", "7"), ("new", "1"), ("new", "2"), *more))

        assert row["object_id"] == 7
        assert json.loads(str(row["rest"]))["new"] == 2
        assert str(row["rest"]).count("new") == 1


@pytest.mark.parametrize(
    ("user", "number"),
    [
        ('{"pk":42,"id":"text"}', 42),
        ('{"pk":42,"id":43}', 42),
        ('{"id":43}', 43),
        ('{"pk":null,"id":43}', 43),
        ('{"pk":42,"first_name":"\\ud83d"}', 42),
        ('{"id":42,"first_name":"\\ud83d"}', 42),
        ("42", 42),
        ('{"pk":"42"}', None),
        ("{}", None),
        ("null", None),
        ('"42"', None),
        ("[42]", None),
        (f'{{"pk":{2**63}}}', None),
    ],
)
def test_the_number_of_the_user_is_a_column(user: str, number: int | None) -> None:
    """``pk``, else ``id``, else a bare number, so that one user's actions can be asked for without parsing JSON."""
    row = row_of(line_of(("user", user)))

    assert row["user_pk"] == number
    assert row["user"] == (None if user == "null" else user)


@pytest.mark.parametrize(
    ("stamp", "plain"),
    [
        ("2026-01-31T12:30:15.260Z", True),
        ("2026-01-31T12:30:15.260123Z", True),
        ("2026-01-31T12:30:15.000Z", True),
        ("2026-01-31T12:30:15Z", False),
        ("2026-01-31T12:30:15.260000Z", False),
        ("2026-01-31T12:30:15.2604Z", False),
        ("2026-01-31T12:30:15.260123456Z", False),
        ("2026-01-31T15:30:15.260+03:00", False),
    ],
)
def test_an_unusual_spelling_of_the_timestamp_is_kept(stamp: str, plain: bool) -> None:
    """The column is the instant; a spelling that cannot be had back from it stands in ``rest``."""
    line = line_of(("timestamp", json.dumps(stamp)))
    row = row_of(line)

    assert row["timestamp"] == parse_event(line).timestamp
    assert row["rest"] == (None if plain else f'{{"timestamp":"{stamp}"}}')


def many(number: int) -> list[bytes]:
    start = datetime(2026, 1, 31, tzinfo=UTC)
    return [
        line_of(
            (
                "timestamp",
                json.dumps((start + timedelta(seconds=count)).isoformat(timespec="milliseconds")[:-6] + "Z"),
            ),
            ("uuid", f'"{number - count:08d}"'),
            ("content", f'"{count}"'),
        )
        for count in range(number)
    ]


@pytest.mark.parametrize(
    ("events", "lines_of_bytes", "groups"),
    [
        (300, 2000, [300, 300, 300, 100]),
        (2000, 70, [70] * 14 + [20]),
        (1000, 1000, [1000]),
        (2000, 0, [1] * 1000),
        (700, 1000, [700, 300]),
    ],
)
def test_row_groups_are_bounded(
    monkeypatch: pytest.MonkeyPatch, events: int, lines_of_bytes: int, groups: list[int]
) -> None:
    """A row group ends with so many events, or with so many bytes, whichever comes first; their order stays."""
    lines = [line.ljust(300) for line in many(1000)]
    monkeypatch.setattr(parquet, "ROW_GROUP_EVENTS", events)
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", lines_of_bytes * 300)
    file = written(iter(lines))
    metadata = pq.read_metadata(file)

    assert [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)] == groups
    assert [meaning(line) for line in read_lines(file)] == [meaning(line) for line in lines]
    assert [parse_event(line)[:2] for line in read_lines(file)] == [parse_event(line)[:2] for line in lines]


def test_one_row_group_is_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines become columns as they come; when a group is written, nothing of it is held while the next one grows."""
    group = 4 << 20
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", group)
    before = pa.total_allocated_bytes()
    columns = []

    def lines() -> Iterator[bytes]:
        for number in range(12_000):
            columns.append(pa.total_allocated_bytes() - before)
            yield line_of(("content", f'"{number:01000d}"'))

    file = io.BytesIO()
    with traced_peak() as peak:
        write_parquet(lines(), file)

    assert pq.read_metadata(file).num_row_groups > 2
    assert max(columns) < 1.5 * group
    assert peak() < group


def test_memory_is_given_back_when_no_row_group_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first one, and after each, the last and shorter one too: what is held then cannot be given back."""
    group = 1 << 20
    monkeypatch.setattr(parquet, "ROW_GROUP_BYTES", group)
    give_back, before = parquet._release, pa.total_allocated_bytes()
    held = []

    def giving_back(module: object) -> None:
        held.append(pa.total_allocated_bytes() - before)
        give_back(module)

    monkeypatch.setattr(parquet, "_release", giving_back)
    file = written(line_of(("content", f'"{number:01000d}"')) for number in range(2500))

    assert len(held) == 1 + pq.read_metadata(file).num_row_groups == 4
    assert max(held) < group / 10


@pytest.mark.parametrize(("asked", "given"), [(None, "system"), ("mimalloc", "mimalloc")])
def test_pyarrow_takes_its_memory_from_the_system(asked: str | None, given: str) -> None:
    """Its own pools keep much of what was in use once. Who asks for one gets it, and the environment stays."""
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    if asked:
        environment["ARROW_DEFAULT_MEMORY_POOL"] = asked
    script = """
import io, os
from airflow_provider_akinon.audit_events.formats import write_parquet
before = dict(os.environ)
write_parquet([], io.BytesIO())
assert dict(os.environ) == before
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""
    found = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )

    assert found.stdout.strip() == given


def test_statistics_lead_past_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row group knows its first and last timestamp; nothing of the JSON is repeated there."""
    monkeypatch.setattr(parquet, "ROW_GROUP_EVENTS", 400)
    lines = many(1000)
    metadata = pq.read_metadata(written(lines))
    stamps = [parse_event(line).timestamp for line in lines]
    columns = [
        {column.path_in_schema: column for column in map(metadata.row_group(number).column, range(len(SCHEMA)))}
        for number in range(metadata.num_row_groups)
    ]

    assert [(group["timestamp"].statistics.min, group["timestamp"].statistics.max) for group in columns] == [
        (stamps[0], stamps[399]),
        (stamps[400], stamps[799]),
        (stamps[800], stamps[999]),
    ]
    assert all(group["object_id"].statistics.has_min_max for group in columns)
    assert {name for group in columns for name in group if group[name].statistics is None} == {
        *FREE,
        "rest",
        "absent",
    }
    assert {group[name].compression for group in columns for name in group} == {"ZSTD"}


def test_no_events_are_a_file_with_the_schema() -> None:
    """A window without events gives Parquet that any query can read, with every column and its type."""
    file = written([])

    assert {field.name: str(field.type) for field in pq.read_schema(file)} == SCHEMA
    assert [field.name for field in pq.read_schema(file) if not field.nullable] == ["timestamp", "uuid"]
    assert pq.read_table(file).num_rows == 0
    assert list(read_lines(file)) == []


def test_the_same_events_give_the_same_bytes_in_another_process() -> None:
    """Not even the order in which Python hashes names changes a byte."""
    lines = [line_of(*((f"new{number}", str(number)) for number in range(20)))]
    code = "import sys; from airflow_provider_akinon.audit_events.formats import write_parquet; "
    code += "write_parquet(sys.stdin.buffer.read().splitlines(), sys.stdout.buffer)"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            input=lines[0],
            capture_output=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]

    assert outputs == [written(lines).getvalue()] * 2


def test_lines_may_end_in_a_line_feed() -> None:
    """As they come from a file; also where a lone surrogate takes the other way through the parser."""
    lines = [line_of(("content", '"x"')), line_of(("content", '"\\ud83d"'), ("new", "1"))]

    assert list(read_lines(written(line + b"\n" for line in lines))) == list(read_lines(written(lines)))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b'{"uuid":"u-1"}',
        b'{"timestamp":"2026-01-31T12:30:15Z"}',
        b'{"uuid":5,"timestamp":"2026-01-31T12:30:15Z"}',
        b'{"uuid":"u-1","timestamp":"2026-01-31T12:30:15"}',
        b'{"uuid":"u-1","timestamp":"0001-01-01T00:00:00+03:00"}',
        b'{"uuid":"u-1","timestamp":"2026-01-31T12:30:15Z","content":NaN}',
        b'{"uuid":"u-1","timestamp":"2026-01-31T12:30:15Z","content":"\\ud83d"',
        line_of(("content", '"\xff"')).replace("ÿ".encode(), b"\xff"),
        line_of(("content", '"\xff\\ud83d"')).replace("ÿ".encode(), b"\xff"),
    ],
)
def test_what_is_no_audit_event_is_refused(line: bytes) -> None:
    """No row is made up for what is no event, nor for text that is not UTF-8."""
    with pytest.raises(ProtocolError):
        written([line])


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is the command that helps."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(InvalidInput, match=r"pip install 'airflow-provider-akinon\[parquet\]'"):
        write_parquet([], io.BytesIO())


def test_the_file_stays_open() -> None:
    """The file belongs to the caller, who uploads it."""
    file = written([line_of()])
    list(read_lines(file))
    next(read_lines(file))

    assert not file.closed
