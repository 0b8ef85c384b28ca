"""Compares the stored events of a window with those that the API gives now, one by one, by their uuids.

Both sides come in the order of timestamp and uuid, so that most events meet as they stream by. Those that do not,
because they are new, or vanished, or because the source writes their timestamps in another way today, wait in files,
and a database on disk brings them together. Memory grows neither with the events nor with what changed of them. This
module reads what it is given, and writes nothing but temporary files.
"""

from __future__ import annotations

import heapq
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import groupby, islice, repeat
from typing import IO

from airflow_provider_akinon.audit_events.model import Event, parse_event, parse_events
from airflow_provider_akinon.audit_events.storing.differences import Verdict, compare

VANISHED = ""
"""Stands in place of a changed field's name where the whole event is no longer returned."""

_BATCH = 500
_CACHE_KIB = 2048
_TABLES = """
PRAGMA journal_mode = OFF;
CREATE TABLE stored (uuid TEXT NOT NULL, offset INTEGER NOT NULL, object INTEGER NOT NULL);
CREATE TABLE read (uuid TEXT NOT NULL, offset INTEGER NOT NULL);
CREATE TABLE difference (uuid TEXT NOT NULL, field TEXT NOT NULL);
CREATE TABLE recorded (uuid TEXT NOT NULL, field TEXT NOT NULL);
"""

StoredLine = tuple[bytes, int]
"""A record, and the number of its object."""


@dataclass(slots=True)
class Numbers:
    """The numbers of events by the results of their comparison."""

    same: int = 0
    user_moved: int = 0
    """Events that differ only in ``user``: what the API knows of the person today."""
    changed: int = 0
    vanished: int = 0
    """Events that are stored, and no longer returned."""
    new: int = 0
    """Events that are returned, and not stored."""
    not_compared: int = 0
    """Events that could not be compared, as where one side of a differing field was redacted by another version of
    the policy."""
    new_fields: int = 0
    """Events, whatever else they are, that have undocumented fields which are not stored."""

    @property
    def stored(self) -> int:
        """The number of events that are stored."""
        return self.same + self.user_moved + self.changed + self.vanished + self.not_compared

    @property
    def returned(self) -> int:
        """The number of stored events that are returned."""
        return self.stored - self.vanished


@dataclass(frozen=True, slots=True)
class Difference:
    """An event that has changed, or that the API no longer returns."""

    uuid: str
    fields: tuple[str, ...]
    """The fields that changed, in alphabetical order; empty where the event has vanished."""


class Comparison:
    """A window's stored events beside those that were read; `comparing` makes one."""

    def __init__(self, database: sqlite3.Connection, *, marks: bool) -> None:
        self.numbers = Numbers()
        self.unproved: dict[int, str] = {}
        """The objects that have an event that changed, vanished, or could not be compared: by the object's number,
        the uuid of one such event."""
        self._marks = marks
        self._stored = _Table(database, "stored", 3)
        self._read = _Table(database, "read", 2)
        self._differences = _Table(database, "difference", 2)
        self._recorded = _Table(database, "recorded", 2)
        self._database = database
        self._lines = _Spool()

    def new_lines(self) -> Iterator[bytes]:
        """Yield the records that were read and are not stored, in the order in which they were read."""
        for (offset,) in self._database.execute("SELECT offset FROM read ORDER BY offset"):
            yield self._lines.at(offset)

    def not_recorded(self) -> Iterator[Difference]:
        """Yield the events that changed or vanished and are not recorded yet, in the order of their uuids."""
        rows = self._database.execute("SELECT * FROM difference EXCEPT SELECT * FROM recorded ORDER BY 1, 2")
        for uuid, group in groupby(rows, lambda row: str(row[0])):
            yield Difference(uuid, tuple(field for _, field in group if field != VANISHED))

    def run(self, stored: Iterator[StoredLine], read: Iterator[bytes], recorded: Iterable[tuple[str, str]]) -> None:
        """Compare both sides."""
        for each in recorded:
            self._recorded.add(each)
        self._recorded.flush()
        self._join(stored, read)
        self._settle()
        self.numbers.new = self._read.count()
        self._differences.flush()

    def _join(self, stored: Iterator[StoredLine], read: Iterator[bytes]) -> None:
        """Compare the events that meet, and put the others aside. Events of the same bytes are not even parsed."""
        here, there = next(stored, None), next(read, None)
        while here is not None and there is not None:
            line, number = here
            if line == there:
                self.numbers.same += 1
                here, there = next(stored, None), next(read, None)
                continue
            mine, theirs = parse_event(line), parse_event(there)
            if mine.uuid == theirs.uuid:
                self._meet(line, there, mine.uuid, number)
                here, there = next(stored, None), next(read, None)
            elif mine[:2] < theirs[:2]:
                self._put_aside(mine, number)
                here = next(stored, None)
            else:
                self._put_aside(theirs)
                there = next(read, None)
        while here is not None:
            self._put_aside(parse_event(here[0]), here[1])
            here = next(stored, None)
        while there is not None:
            self._put_aside(parse_event(there))
            there = next(read, None)
        self._stored.flush()
        self._read.flush()

    def _put_aside(self, event: Event, number: int | None = None) -> None:
        """Keep an event for later: a stored one with the number of its object, or one that was read."""
        offset = self._lines.add(event.line)
        if number is None:
            self._read.add((event.uuid, offset))
        else:
            self._stored.add((event.uuid, offset, number))

    def _settle(self) -> None:
        """Compare the events put aside. A stored one without a partner has vanished; a read one is new."""
        if not self._stored.count():
            return
        self._database.executescript("CREATE INDEX a ON stored (uuid); CREATE INDEX b ON read (uuid)")
        pairs = "SELECT stored.offset, read.offset, stored.uuid, object FROM stored JOIN read USING (uuid)"
        for here, there, uuid, number in self._database.execute(pairs):
            self._meet(self._lines.at(here), self._lines.at(there), uuid, number)
        gone = "SELECT uuid, object FROM stored WHERE uuid NOT IN (SELECT uuid FROM read)"
        for uuid, number in self._database.execute(gone):
            self.numbers.vanished += 1
            self.unproved[number] = uuid
            self._differences.add((uuid, VANISHED))
        self._differences.flush()
        self._database.execute("DELETE FROM read WHERE uuid IN (SELECT uuid FROM stored)")

    def _meet(self, stored: bytes, now: bytes, uuid: str, number: int) -> None:
        found = compare(stored, now, marks=self._marks)
        name = found.verdict.value
        setattr(self.numbers, name, getattr(self.numbers, name) + 1)
        self.numbers.new_fields += found.has_new_fields
        if found.verdict in (Verdict.CHANGED, Verdict.NOT_COMPARED):
            self.unproved[number] = uuid
        for each in found.fields:
            self._differences.add((uuid, each))

    def close(self) -> None:
        """Remove the temporary files."""
        self._lines.close()


@contextmanager
def comparing(
    stored: Sequence[Iterable[bytes]],
    read: Iterable[bytes],
    recorded: Iterable[tuple[str, str]] = (),
    *,
    redact: Callable[[bytes], bytes] | None = None,
) -> Iterator[Comparison]:
    """Compare the records of a window's objects with those that were read, and give the result.

    :param stored: the records of each object, each in the order of timestamp and uuid.
    :param read: the records that the API gives now, in that order.
    :param recorded: uuid and field of each change that is recorded already; `VANISHED` for a vanished event.
    :param redact: redacts by the version of the policy that redacted the records that were read; None where it
        redacted all stored records, too.
    """
    with closing(sqlite3.connect("")) as database:  # a temporary one, on disk
        database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        database.executescript(_TABLES)
        comparison = Comparison(database, marks=redact is not None)
        with closing(comparison):
            sides = [_redacted(lines, redact) for lines in stored]
            comparison.run(_in_order(sides), iter(read), recorded)
            yield comparison


def _redacted(lines: Iterable[bytes], redact: Callable[[bytes], bytes] | None) -> Iterable[bytes]:
    return lines if redact is None else map(redact, lines)


def _in_order(sides: Sequence[Iterable[bytes]]) -> Iterator[StoredLine]:
    """Yield the records of all objects in the order of timestamp and uuid; a single object has it already."""
    if len(sides) == 1:
        return zip(sides[0], repeat(0))
    events = heapq.merge(*(_numbered(number, lines) for number, lines in enumerate(sides)))
    return ((event.line, number) for event, number in events)


def _numbered(number: int, lines: Iterable[bytes]) -> Iterator[tuple[Event, int]]:
    remaining = iter(lines)
    while batch := list(islice(remaining, _BATCH)):
        yield from zip(parse_events(batch), repeat(number))


class _Table:
    """Rows on their way into a table, some at a time."""

    def __init__(self, database: sqlite3.Connection, name: str, columns: int) -> None:
        self._database = database
        self._insert = f"INSERT INTO {name} VALUES ({', '.join('?' * columns)})"  # noqa: S608 - constants
        self._count = f"SELECT count(*) FROM {name}"  # noqa: S608 - constants
        self._rows: list[tuple[object, ...]] = []

    def add(self, row: tuple[object, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        self._database.executemany(self._insert, self._rows)
        self._rows.clear()

    def count(self) -> int:
        return int(self._database.execute(self._count).fetchone()[0])


class _Spool:
    """Lines in a temporary file."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="akinon-audit-events-")  # noqa: SIM115 - `close` closes
        self._end = 0

    def add(self, line: bytes) -> int:
        """Append a line and return its offset. Not to be called after `at`."""
        offset = self._end
        self._end += self._file.write(line + b"\n")
        return offset

    def at(self, offset: int) -> bytes:
        self._file.seek(offset)
        return self._file.readline().removesuffix(b"\n")

    def close(self) -> None:
        self._file.close()
