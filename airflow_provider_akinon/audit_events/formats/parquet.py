"""Events as Parquet: a typed column for each documented field, and one for all that fits none.

The column ``rest`` holds, as one JSON object, every field that is not documented and every documented one whose value
does not fit its column, such as an integer beyond 64 bits, each value as the API wrote it. So a change at Akinon
neither fails nor loses anything. SQL NULL is JSON ``null``, or a value in ``rest``, or a field that is named in the
column ``absent``. `read_lines` gives the records back: the same JSON but for the order of keys, and of a repeated key
the last, which is the one that counts. The same events give the same bytes in one environment. Memory grows with the
events by what pyarrow notes of each row group for the end of the file, some 13 KB of 4 MiB of lines.

pyarrow belongs to the extra ``parquet`` and is imported where it is used. This module refuses text that is not UTF-8.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import IO, Any

import msgspec

from airflow_provider_akinon.audit_events.errors import InvalidInput, ProtocolError
from airflow_provider_akinon.audit_events.model import format_instant, members, parse_event

ROW_GROUP_BYTES = 4 * 1024 * 1024
"""Bytes of lines after which a row group ends; as much is held in memory at a time."""
ROW_GROUP_EVENTS = 50_000
"""Events after which a row group ends, where they are small."""

_BATCH_EVENTS = 200
_READ_EVENTS = 200
_BUFFER = 64 * 1024
_POOL = "ARROW_DEFAULT_MEMORY_POOL"
_PAGE_BYTES = 128 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64 = range(-(2**63), 2**63)

# A timestamp as `format_instant` writes it, which can be had back from the instant.
_PLAIN_INSTANT = re.compile(rb'"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}([0-9]{3}(?<!000))?Z"')

_decode_string = msgspec.json.Decoder(str).decode


def write_parquet(lines: Iterable[bytes], file: IO[bytes]) -> None:
    """Write events, each a record's compact JSON, to ``file`` in the order in which they come; there may be none.

    :raises InvalidInput: pyarrow is not installed.
    :raises ProtocolError: a line is no audit event, or not UTF-8.
    """
    pa, pq = load_pyarrow()
    schema = _schema(pa)
    _release(pa)  # what reading the events left
    with pq.ParquetWriter(
        file,
        schema,
        compression="zstd",  # half of what snappy leaves of such text; Athena, Spark 3 and DuckDB read it
        compression_level=3,
        use_dictionary=["content_type", "remote_addr", "user", "user_pk", "rest", "absent"],  # whose values recur
        # The least and the greatest of these lead a reader past a row group; of JSON they would be dead weight.
        write_statistics=["timestamp", "uuid", "content_type", "object_id", "remote_addr", "url", "user_pk"],
        data_page_size=_PAGE_BYTES,  # a reader holds some of each column
        store_schema=False,  # Parquet's own types say all there is
    ) as writer:
        for row_group in _row_groups(pa, schema, lines):
            writer.write_table(row_group)
            del row_group  # or it would be held while the next one grows
            _release(pa)


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield each event's record of a seekable file as JSON on one line, without a line break, in the file's order.

    :raises InvalidInput: pyarrow is not installed.
    """
    for batch in _read(file):
        columns = [_written(batch.column(name), value_of) for name, value_of in _COLUMNS.items()]
        uuids = map(msgspec.json.encode, batch.column("uuid").to_pylist())
        instants = [b'"%b"' % format_instant(instant).encode() for instant in _instants(batch)]
        odd = zip(*(batch.column(name).to_pylist() for name in ("rest", "absent")), strict=True)
        yield from map(_line, zip(instants, uuids, *columns, strict=True), odd)


def load_pyarrow() -> tuple[Any, Any]:
    """Return pyarrow. Where it is loaded here, it takes its memory from the system: its own pools keep much of it.

    Only the environment can tell it so, and only before it is loaded.

    :raises InvalidInput: it is not installed.
    """
    is_told = _POOL in os.environ or "pyarrow" in sys.modules
    if not is_told:
        os.environ[_POOL] = "system"
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        message = "file_format='parquet' needs the extra: pip install 'airflow-provider-akinon[parquet]'"
        raise InvalidInput(message) from error
    finally:
        if not is_told:
            os.environ.pop(_POOL, None)
    return pyarrow, pyarrow.parquet


def _integer(value: bytes) -> int | None:
    try:
        number = int(value)
    except ValueError:  # no integer, or one of thousands of digits
        return None
    return number if number in _INT64 and b"%d" % number == value else None  # -0 is not 0


def _text(value: bytes) -> str | None:
    try:
        return _decode_string(value)
    except msgspec.DecodeError:  # no string, or one with a lone surrogate
        return None


# The columns of documented fields, each with the function from a field's value to the column's: None if it does not
# fit.
_COLUMNS: dict[str, Callable[[bytes], object]] = {
    "content_type": _integer,
    "object_id": _integer,
    "remote_addr": _text,
    "url": _text,
    **dict.fromkeys(("user", "content", "headers", "post_data", "query_params"), bytes),
}
_DOCUMENTED = {"timestamp", "uuid", *_COLUMNS}


def _schema(pa: Any) -> Any:
    documented = {name: pa.int64() if value_of is _integer else pa.string() for name, value_of in _COLUMNS.items()}
    keys = {"timestamp": pa.timestamp("us", tz="UTC"), "uuid": pa.string()}
    more = {"user_pk": pa.int64(), "rest": pa.string(), "absent": pa.string()}
    columns = (keys | documented | more).items()
    return pa.schema([pa.field(name, type_, nullable=name not in keys) for name, type_ in columns])


def _row_groups(pa: Any, schema: Any, lines: Iterable[bytes]) -> Iterator[Any]:
    """Yield the lines as tables, each of a row group. They become columns as they come, and are not held as well."""
    batches: list[Any] = []
    rows: list[list[object]] = []
    size = events = 0
    for line in lines:
        rows.append(_row(line))
        size, events = size + len(line), events + 1
        is_full = size >= ROW_GROUP_BYTES or events >= ROW_GROUP_EVENTS
        if is_full or len(rows) >= _BATCH_EVENTS:
            batches.append(_batch(pa, schema, rows))
            rows = []
        if is_full:
            yield _table(pa, schema, batches)
            size = events = 0
    if rows:
        batches.append(_batch(pa, schema, rows))
    if batches:
        yield _table(pa, schema, batches)


def _table(pa: Any, schema: Any, batches: list[Any]) -> Any:
    """Return the batches as a table, and hold them no longer: who drops it gives their memory back."""
    table = pa.Table.from_batches(batches, schema)
    batches.clear()
    return table


def _batch(pa: Any, schema: Any, rows: list[list[object]]) -> Any:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _release(pa: Any) -> None:
    """Give memory back to the system that pyarrow, or anything else in this process, no longer uses."""
    pa.default_memory_pool().release_unused()
    pa.system_memory_pool().release_unused()


def _read(file: IO[bytes]) -> Iterator[Any]:
    pa, pq = load_pyarrow()
    _release(pa)
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as stored:
        yield from stored.iter_batches(_READ_EVENTS, use_threads=False)


def _instants(batch: Any) -> list[datetime]:
    microseconds = batch.column("timestamp").view("int64").to_pylist()  # to cast loads 10 MiB of pyarrow
    return [_EPOCH + timedelta(microseconds=number) for number in microseconds]


def _row(line: bytes) -> list[object]:
    """Return the values of an event's columns, in the order of the schema."""
    timestamp, uuid, _ = parse_event(line)
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError(f"Event {uuid} is not UTF-8, and Parquet holds no other text: {error}") from None
    fields = members(line)
    rest, absent = {}, []
    if not _PLAIN_INSTANT.fullmatch(fields["timestamp"]):
        rest["timestamp"] = fields["timestamp"]
    if fields["uuid"] != msgspec.json.encode(uuid):
        rest["uuid"] = fields["uuid"]
    row: list[object] = [timestamp, uuid]
    for name, value_of in _COLUMNS.items():
        field = fields.get(name)
        value = None
        if field is None:
            absent.append(name)
        elif field != b"null":
            value = value_of(field)
            if value is None:
                rest[name] = field
        row.append(value)
    if len(fields) + len(absent) > len(_DOCUMENTED):
        rest |= {name: field for name, field in fields.items() if name not in _DOCUMENTED}
    row += _user_pk(fields.get("user", b"null")), _object(rest) if rest else None, ",".join(absent) or None
    return row


@lru_cache(maxsize=64)  # the same few people do most of the work
def _user_pk(user: bytes) -> int | None:
    """Return the number of an event's user: its ``pk``, else its ``id``, else what stands for the whole user."""
    if not user.startswith(b"{"):
        return _integer(user)
    fields = members(user)
    numbers = [_integer(fields.get(name, b"")) for name in ("pk", "id")]
    return numbers[1] if numbers[0] is None else numbers[0]


_NAMES = ("timestamp", "uuid", *_COLUMNS)
_PLAIN_LINE = b"{" + b",".join(b'"%b":%%b' % name.encode() for name in _NAMES) + b"}"


def _written(column: Any, value_of: Callable[[bytes], object]) -> list[bytes]:
    """Return the values of a documented field's column as JSON."""
    if value_of is bytes:
        return [b"null" if value is None else value for value in column.view("binary").to_pylist()]
    return [msgspec.json.encode(value) for value in column.to_pylist()]


def _line(values: tuple[bytes, ...], odd: tuple[str | None, str | None]) -> bytes:
    """Return the record of a row: the inverse of `_row`.

    :param values: of the documented fields, as JSON.
    :param odd: ``rest`` and ``absent``.
    """
    rest, absent = odd
    if rest is None and absent is None:
        return _PLAIN_LINE % values
    gone = (absent or "").split(",")
    fields = {name: value for name, value in zip(_NAMES, values, strict=True) if name not in gone}
    return _object(fields | members((rest or "{}").encode()))


def _object(fields: dict[str, bytes]) -> bytes:
    return b"{" + b",".join([json.dumps(name).encode() + b":" + value for name, value in fields.items()]) + b"}"
