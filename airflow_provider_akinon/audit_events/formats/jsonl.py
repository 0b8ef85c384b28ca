"""Writes events as they are stored: JSON Lines, each line the record as the API wrote it, usually through gzip.

The same events give the same bytes (the gzip header holds no time and no name), in one environment: another version
of zlib-ng may compress differently, so the SHA-256 of the uncompressed content is the lasting identity. This module
refuses events that do not strictly ascend by timestamp and uuid: nothing is written twice, or out of order. The uuids
of the written events are counted one by one, since the same one may come again with another timestamp.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from mmap import mmap
from typing import IO, cast

from zlib_ng import zlib_ng

from airflow_provider_akinon.audit_events.errors import ProtocolError
from airflow_provider_akinon.audit_events.formats.uuids import DistinctUuids, added_sums, uuids_sum
from airflow_provider_akinon.audit_events.model import Event, Format, format_instant

_UNPACKED = 128 * 1024
"""Bytes that are unpacked at a time."""
_GZIP_LEVELS = {Format.JSONL_GZ: 5, Format.PARQUET: 2}
"""The compression levels of the lines, by zlib-ng: its 5 makes events as small as zlib's 6, within 2 %, in half the
time. Lines that become Parquet are only spooled, hence the low level."""

_BLOCK = 1024 * 1024
"""Bytes that are compressed at a time. With smaller blocks, the thread would mostly wait for its turn among the
threads that read."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some events as they will be stored, in order; in one piece of memory, since a block may wait for its turn."""

    count: int
    data: bytes
    """The lines of all events, followed by the uuids of all events; each has a line feed at its end."""
    lines_size: int
    """The size of the lines in bytes."""
    first: tuple[datetime, str] | None
    """Timestamp and uuid of the first event, None where there is none; ``last`` likewise."""
    last: tuple[datetime, str] | None

    @classmethod
    def of(cls, events: Sequence[Event], redact: Callable[[list[bytes]], list[bytes]] | None = None) -> Block:
        """Return the block of ``events``; if ``redact`` is given, it redacts their lines.

        :raises ProtocolError: they do not strictly ascend by timestamp and uuid.
        """
        keys = [event[:2] for event in events]
        for before, after in pairwise(keys):
            _require_ascent(before, after)
        lines = [event.line for event in events]
        if redact:
            lines = redact(lines)
        return cls(
            count=len(events),
            data=b"\n".join([*lines, *(event.uuid.encode() for event in events), b""]),
            lines_size=sum(map(len, lines)) + len(lines),
            first=keys[0] if keys else None,
            last=keys[-1] if keys else None,
        )

    @property
    def lines(self) -> memoryview:
        """Each event's line, with a line feed at its end."""
        return memoryview(self.data)[: self.lines_size]

    @property
    def uuids(self) -> bytes:
        """Each event's uuid, with a line feed at its end."""
        return self.data[self.lines_size :]


def _require_ascent(before: tuple[datetime, str], after: tuple[datetime, str]) -> None:
    if after <= before:
        raise ProtocolError(
            f"The API gave event {after[1]} of {format_instant(after[0])} after event {before[1]} of "
            f"{format_instant(before[0])}: twice, or out of order"
        )


@contextmanager
def unpacked_lines(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give the lines of a file that went through gzip, each with its line break.

    The pieces are larger than gzip's own, and Python has nothing to do between two lines: that halves the time. It is
    zlib that unpacks them, and zlib-ng that packed them, so that no error of one is hidden by the other.
    """
    with gzip.open(file) as unpacked, io.BufferedReader(cast(io.RawIOBase, unpacked), _UNPACKED) as lines:
        yield cast(IO[bytes], lines)


class JsonLines:
    """Writes events to ``file`` as JSON Lines, and keeps what identifies them.

    The lines go through gzip, except for `Format.JSONL`. Compression has a thread of its own: zlib-ng lets other
    Python threads run. Use it in a ``with``: the figures are final after it. Memory does not grow with the events.
    """

    def __init__(self, file: IO[bytes], file_format: Format = Format.JSONL_GZ) -> None:
        self.count = 0
        self.first: tuple[datetime, str] | None = None
        """Timestamp and uuid of the first event, None where there is none; ``last`` likewise."""
        self.last: tuple[datetime, str] | None = None
        self.uuids_sum = 0
        """See `uuids_sum`."""
        self.distinct = 0
        """The number of different uuids among the events, counted one by one."""
        self.twin: str | None = None
        """A uuid that more than one event has, in lower case; None where none does."""
        self._distinct = DistinctUuids()
        self._uuids = hashlib.sha256()
        self._content = hashlib.sha256()
        self._stored = _Hashed(file)
        level = _GZIP_LEVELS.get(file_format)
        self._gzip = None if level is None else zlib_ng.compressobj(level=level, wbits=16 + zlib_ng.MAX_WBITS)
        # One is filled while the other is compressed. They are mapped, not allocated: glibc keeps up to twice the
        # largest piece that was ever freed, for each thread.
        self._filling, self._other = mmap(-1, _BLOCK), mmap(-1, _BLOCK)
        self._filled = 0
        self._thread = ThreadPoolExecutor(1, "akinon-gzip")
        self._compressing: Future[None] | None = None

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with self._thread, self._distinct:
                if kind is None:
                    self._hand_over(last=True)
                    self.distinct, twin = self._distinct.counted()
                    self.twin = None if twin is None else twin.decode()
                    self._wait()
        finally:
            # Only the figures are wanted from here on, as long as the export lasts.
            del self._filling, self._other, self._gzip, self._distinct

    def write(self, block: Block) -> None:
        """Append events.

        :raises ProtocolError: they do not follow those that were written, by timestamp and uuid.
        """
        if block.first is None:
            return
        if self.last is not None:
            _require_ascent(self.last, block.first)
        self.first = self.first or block.first
        self.last = block.last
        self.count += block.count
        uuids = block.uuids
        self._uuids.update(uuids)
        self.uuids_sum = added_sums(self.uuids_sum, uuids_sum(uuids.split()))
        self._distinct.add(uuids.lower().split())
        self._fill(block.lines)

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return self._stored.size

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, in hex."""
        return self._stored.sha256.hexdigest()

    @property
    def content_sha256(self) -> str:
        """The SHA-256 of the uncompressed lines, in hex."""
        return self._content.hexdigest()

    @property
    def uuids_sha256(self) -> str:
        """The SHA-256 of the events' uuids in the file's order, each followed by a line feed, in hex."""
        return self._uuids.hexdigest()

    def _fill(self, lines: memoryview) -> None:
        """Append bytes to the block that is filled. All blocks are of one size, however the events come.

        A compressor may give other bytes for other blocks.
        """
        while lines:
            piece, lines = lines[: _BLOCK - self._filled], lines[_BLOCK - self._filled :]
            self._filling[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            if self._filled == _BLOCK:
                self._hand_over()

    def _hand_over(self, *, last: bool = False) -> None:
        """Let the thread compress the filled block, once it has compressed the one before, which is filled next."""
        self._wait()
        self._compressing = self._thread.submit(self._compress, self._filling, self._filled, last)
        self._filling, self._other, self._filled = self._other, self._filling, 0

    def _compress(self, filled: mmap, size: int, last: bool) -> None:
        if size:
            with memoryview(filled)[:size] as block:
                self._content.update(block)
                self._stored.write(self._gzip.compress(block) if self._gzip else block)
        if last and self._gzip:
            self._stored.write(self._gzip.flush())

    def _wait(self) -> None:
        """Wait until nothing is left to compress; raises the thread's error."""
        if self._compressing is not None:
            self._compressing.result()


class _Hashed:
    """Passes writes on to a file, counting and hashing them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        self.size += len(data)
        self.sha256.update(data)
        return self._file.write(data)
