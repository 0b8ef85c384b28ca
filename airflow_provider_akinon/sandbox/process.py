"""The sandbox as a process of its own, for tests: start it, ask for the truth, change it, stop it.

Imports no Django, so that a caller's own Django, or none, is left alone. It talks to the process by its command
line and its SQLite file only.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from airflow_provider_akinon.sandbox.connection import connection_json, connection_uri, list_path
from airflow_provider_akinon.sandbox.database import Database
from airflow_provider_akinon.sandbox.generate import Shop

STARTUP_TIMEOUT = 60.0
"""Seconds to wait for a sandbox to answer, events included."""
STOP_TIMEOUT = 15.0
"""Seconds to wait for it to stop, before it is killed."""


class Sandbox:
    """A running sandbox, which `start` makes. Stop it, or use it in a ``with``.

    Edges of windows are aware datetimes or ISO 8601 text with an offset; a window is half-open, and None leaves
    its side open. Filters left None match any event. All methods are safe to call while the API is read.
    """

    def __init__(self, process: subprocess.Popen[bytes], console: IO[bytes], facts: Mapping[str, Any]) -> None:
        self._process = process
        self._console = console
        self._database = Database(Path(facts["database"]))
        self._log = Path(facts["log"])
        self._shop = Shop(f"given {facts['seed']}")
        self.url: str = facts["url"]
        """Scheme, host and port."""
        self.key: str = facts["key"]
        """The API key."""
        self.remote_id: int | None = facts["remote_id"]
        """The number in the path; None where the path has no ``remote/…``."""
        self.list_url = self.url + list_path(self.remote_id)
        """The list endpoint; an event's lies below it."""

    @classmethod
    def start(cls, *, startup_timeout: float = STARTUP_TIMEOUT, **flags: object) -> Sandbox:
        """Start a sandbox and return when it answers.

        Takes every flag of the command line by its name, with ``_`` for ``-``: ``events=5_000``,
        ``until="2026-01-31T00:00:00Z"`` or an aware datetime, ``truncate=True``, ``fault=["502", "reset"]``. The
        port is a free one where none is given.

        :raises RuntimeError: it did not start; the message holds what it said.
        """
        command = [sys.executable, "-m", "airflow_provider_akinon.sandbox", "--supervised"]
        for name, value in {"port": 0, **flags}.items():
            command += _arguments(name, value)
        console = tempfile.TemporaryFile()  # noqa: SIM115 - `stop` closes it
        process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=console
        )
        line = b""
        try:
            line = _read_line(process, time.monotonic() + startup_timeout)
            return cls(process, console, json.loads(line))
        except BaseException as error:
            status = _end(process)
            console.seek(0)
            said = (line + console.read()).decode(errors="replace").strip()
            console.close()
            if isinstance(error, (TimeoutError, ValueError)):
                late = f"within {startup_timeout:g} s" if isinstance(error, TimeoutError) else f"(status {status})"
                raise RuntimeError(f"The sandbox did not start {late}. It said:\n{said or '(nothing)'}") from error
            raise

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Stop the process, which removes its temporary files; return its exit status, 0 unless it was killed."""
        status = _end(self._process)
        self._console.close()
        return status

    def connection_json(self) -> str:
        """Return an Airflow connection to this sandbox as JSON, for ``AIRFLOW_CONN_AKINON_DEFAULT``."""
        return connection_json(self.url, self.key, self.remote_id)

    def connection_uri(self) -> str:
        """Return an Airflow connection to this sandbox as a URI, for ``AIRFLOW_CONN_AKINON_DEFAULT``."""
        return connection_uri(self.url, self.key, self.remote_id)

    def uuids(
        self,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        *,
        user: int | None = None,
        content_type: int | None = None,
        object_id: int | None = None,
    ) -> list[str]:
        """Return the uuids of the window's events, in ``(timestamp, uuid)`` order: the truth, not an answer."""
        filters = {"user": user, "content_type": content_type, "object_id": object_id}
        return self._database.uuids(_instant(start), _instant(end), filters)

    def count(
        self,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        *,
        user: int | None = None,
        content_type: int | None = None,
        object_id: int | None = None,
    ) -> int:
        """Return how many events the window holds: the truth, not an answer."""
        filters = {"user": user, "content_type": content_type, "object_id": object_id}
        return self._database.count(_instant(start), _instant(end), filters)

    def insert(self, events: Iterable[Mapping[str, Any]]) -> list[str]:
        """Add events, all visible at once; return their uuids.

        An event needs its ``timestamp``; fields that are not given are made up. ``user`` is a mapping with ``pk``,
        a ``pk`` alone, or None.

        :raises ValueError: an event has no timestamp, or a field that events do not have.
        """
        whole = [self._event(**event) for event in events]
        self._database.insert(whole)
        return [event["uuid"] for event in whole]

    def _event(self, timestamp: datetime | str | None = None, **fields: Any) -> dict[str, Any]:
        instant = _instant(timestamp)
        if instant is None:
            raise ValueError("an event to insert needs a 'timestamp'")
        return self._shop.event(instant, **fields)

    def delete(self, uuids: Iterable[str]) -> int:
        """Delete events, all at once; return how many there were."""
        return self._database.delete(uuids)

    def update(self, uuid: str, **fields: Any) -> None:
        """Change fields of one event.

        :raises KeyError: there is no such event.
        :raises ValueError: events have no field of that name.
        """
        if "timestamp" in fields:
            fields["timestamp"] = _instant(fields["timestamp"])
        self._database.update(uuid, fields)

    def requests(self) -> list[dict[str, Any]]:
        """Return the request log so far, in the order in which answers were sent.

        Each entry has ``time``, ``method``, ``path``, ``query``, ``status``, ``host``, ``authorization`` (right,
        wrong or absent), ``rows_skipped``, ``rows_given``, ``fault`` and ``seconds``.
        """
        # A line is whole once its line feed is written.
        lines = self._log.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]


def _arguments(name: str, value: object) -> list[str]:
    """Return the command line's form of a keyword."""
    flag = "--" + name.replace("_", "-")
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    if isinstance(value, (list, tuple)):
        return [argument for item in value for argument in _arguments(name, item)]
    # With =, so that a value may begin with a dash.
    return [f"{flag}={value.isoformat() if isinstance(value, datetime) else value}"]


def _instant(value: datetime | str | None) -> datetime | None:
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    if instant is not None and instant.tzinfo is None:
        raise ValueError(f"{value!r} has no time zone; write it like 2026-01-31T00:00:00Z")
    return instant and instant.astimezone(UTC)


def _read_line(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return the first line of a process's output, or all of it where it ends before."""
    assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        part = os.read(process.stdout.fileno(), 65536)
        if not part:
            break
        line += part
    return line


def _end(process: subprocess.Popen[bytes]) -> int:
    """Stop a process, by force where it does not stop by itself; return its exit status."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
    with process:  # closes the pipes, and waits
        pass
    return process.returncode
