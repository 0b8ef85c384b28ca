"""The sandbox's events in SQLite: one table, which the server reads through Django and tests read and change.

Knows neither Django nor HTTP. The file is in WAL mode, so that the server and a test can use it at once; every
call opens its own connection and commits at its end. Timestamps are stored as Django stores them in SQLite:
text in UTC, with microseconds where there are any, so that text order is the order of time.
"""

from __future__ import annotations

import json
import sqlite3
import uuid as uuids
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

JSON_FIELDS = ("content", "headers", "post_data", "query_params", "user")
FIELDS = (*JSON_FIELDS, "content_type", "object_id", "remote_addr", "timestamp", "url", "uuid")
"""Every field of an event."""

_COLUMNS = (*FIELDS, "user_pk")
_INSERT = f"INSERT INTO audit_event ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - constants
_TABLE = """
CREATE TABLE audit_event (
  id INTEGER PRIMARY KEY,
  uuid TEXT NOT NULL, timestamp TEXT NOT NULL,
  content_type INTEGER, object_id INTEGER, user_pk INTEGER,
  remote_addr TEXT, url TEXT,
  content TEXT, headers TEXT, post_data TEXT, query_params TEXT, user TEXT
)
"""
_INDEXES = """
CREATE UNIQUE INDEX by_uuid ON audit_event (uuid);
CREATE INDEX by_time ON audit_event (timestamp, uuid);
CREATE INDEX by_user ON audit_event (user_pk, timestamp, uuid);
CREATE INDEX by_content_type ON audit_event (content_type, timestamp, uuid);
CREATE INDEX by_object_id ON audit_event (object_id, timestamp, uuid);
PRAGMA journal_mode = WAL;
"""
BUSY_TIMEOUT = 30.0
"""Seconds that a writer waits for another."""


class Database:
    """The events in the SQLite file ``path``. Safe to share between threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Make the file, with these events.

        :raises sqlite3.OperationalError: the file cannot be made, or has the table already.
        """
        with closing(sqlite3.connect(self.path)) as connection:
            # Nothing to lose yet, so nothing to wait for the disk for.
            connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
            connection.execute(_TABLE)
            connection.executemany(_INSERT, map(_row, events))
            connection.commit()
            connection.executescript(_INDEXES)

    def insert(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Add whole events, all at once."""
        with self._transaction() as connection:
            connection.executemany(_INSERT, map(_row, events))

    def delete(self, uuids: Iterable[str]) -> int:
        """Delete the events with these uuids, all at once; return how many there were."""
        with self._transaction() as connection:
            return connection.executemany(
                "DELETE FROM audit_event WHERE uuid = ?", [(_uuid(uuid),) for uuid in uuids]
            ).rowcount

    def update(self, uuid: str, fields: Mapping[str, Any]) -> None:
        """Change fields of one event.

        :raises KeyError: there is no such event.
        :raises ValueError: an event has no field of that name.
        """
        changes = _encode(fields)
        assignments = ", ".join(f"{column} = ?" for column in changes)
        with self._transaction() as connection:
            statement = f"UPDATE audit_event SET {assignments} WHERE uuid = ?"  # noqa: S608 - known names
            if not connection.execute(statement, (*changes.values(), _uuid(uuid))).rowcount:
                raise KeyError(uuid)

    def uuids(self, start: datetime | None, end: datetime | None, filters: Mapping[str, int | None]) -> list[str]:
        """Return the uuids of ``[start, end)`` that match, in ``(timestamp, uuid)`` order; None stands for any."""
        rows = self._select("uuid", start, end, filters, "ORDER BY timestamp, uuid")
        return [str(uuids.UUID(uuid)) for (uuid,) in rows]

    def count(self, start: datetime | None, end: datetime | None, filters: Mapping[str, int | None]) -> int:
        """Return how many events `uuids` would."""
        [(count,)] = self._select("count(*)", start, end, filters)
        return int(count)

    def _select(
        self,
        what: str,
        start: datetime | None,
        end: datetime | None,
        filters: Mapping[str, int | None],
        order: str = "",
    ) -> list[tuple[Any, ...]]:
        conditions: dict[str, Any] = {
            "timestamp >= ?": start and stored_instant(start),
            "timestamp < ?": end and stored_instant(end),
            "user_pk = ?": filters.get("user"),
            "content_type = ?": filters.get("content_type"),
            "object_id = ?": filters.get("object_id"),
        }
        given = {condition: value for condition, value in conditions.items() if value is not None}
        where = " AND ".join(given) or "true"
        with self._transaction() as connection:
            query = f"SELECT {what} FROM audit_event WHERE {where} {order}"  # noqa: S608 - constants
            return connection.execute(query, list(given.values())).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # Through a URI, as a plain path would make a new file where there is none.
        uri = f"{self.path.resolve().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT)) as connection, connection:
            yield connection


def stored_instant(instant: datetime) -> str:
    """Return an aware datetime as SQLite holds it."""
    return str(instant.astimezone(UTC).replace(tzinfo=None))


def _row(event: Mapping[str, Any]) -> list[Any]:
    columns = _encode(event)
    return [columns[name] for name in _COLUMNS]


def _encode(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that hold these fields."""
    columns: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in FIELDS:
            raise ValueError(f"an event has no field {name!r}; it has {', '.join(FIELDS)}")
        if name in JSON_FIELDS and value is not None:
            columns[name] = json.dumps(value, ensure_ascii=False)
        elif name == "timestamp":
            columns[name] = stored_instant(value)
        elif name == "uuid":
            columns[name] = _uuid(value)
        else:
            columns[name] = value
    if "user" in fields:
        columns["user_pk"] = fields["user"] and fields["user"]["pk"]
    return columns


def _uuid(uuid: str) -> str:
    return uuids.UUID(str(uuid)).hex
