"""Counts the distinct uuids of a file or of several, one by one, and makes a sum that identifies a set of uuids.

The same uuid may come again with another timestamp, so the order of events does not show it. Memory is bounded: all
but a few thousand uuids wait on disk. This module refuses no uuid; it only counts.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

_RUN = 8_192
"""Uuids that are sorted at a time; all others of a file wait on disk."""
_RUN_PIECE = 2 * 1024
"""Bytes that are read of a run at a time, where the runs are few."""
_MERGED = 128 * 1024
"""Bytes that are read of all runs at a time, where they are many."""
_LEAST_PIECE = 128


class DistinctUuids:
    """Counts distinct uuids, in whatever case they are written. Use it in a ``with``; memory does not grow with them.

    They are sorted in runs, which go to a file where there are many, and are merged to be counted.
    """

    def __init__(self) -> None:
        self._run: list[bytes] = []
        self._places: list[tuple[int, int]] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> DistinctUuids:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, uuids: Iterable[bytes]) -> None:
        """Take uuids, none of which holds a line break."""
        self._run.extend(uuids)
        if len(self._run) >= _RUN:
            self._put_aside()

    def counted(self) -> tuple[int, bytes | None]:
        """Return the number of distinct uuids, and a uuid that came more than once; None where none did."""
        self._run.sort()
        number, twin, before = 0, None, None
        piece = max(_LEAST_PIECE, min(_RUN_PIECE, _MERGED // max(1, len(self._places))))
        for uuid in heapq.merge(self._run, *(self._read(start, size, piece) for start, size in self._places)):
            if uuid == before:
                twin = uuid
            else:
                number, before = number + 1, uuid
        return number, twin

    def _put_aside(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="akinon-audit-events-")  # noqa: SIM115 - closed by __exit__
        self._run.sort()
        start = self._file.tell()
        self._file.write(b"\n".join([*self._run, b""]))
        self._file.flush()
        self._places.append((start, self._file.tell() - start))
        self._run.clear()

    def _read(self, start: int, size: int, most: int) -> Iterator[bytes]:
        assert self._file is not None  # noqa: S101 - where there is a place, there is a file
        rest, end = b"", start + size
        while start < end:
            piece = os.pread(self._file.fileno(), min(most, end - start), start)
            if not piece:
                raise OSError("a temporary file was cut")
            start += len(piece)
            *uuids, rest = (rest + piece).split(b"\n")
            yield from uuids


_SUMS = 1 << 256


def uuids_sum(uuids: Iterable[bytes]) -> int:
    """Return the sum of the uuids' SHA-256, modulo 2^256, which identifies a set of uuids in whatever order."""
    return sum(int.from_bytes(hashlib.sha256(uuid).digest()) for uuid in uuids) % _SUMS


def added_sums(*sums: int) -> int:
    """Return the sum of uuids that several sets hold together."""
    return sum(sums) % _SUMS


def sum_in_hex(uuids_sum: int) -> str:
    """Return a sum of uuids as receipts hold it."""
    return f"{uuids_sum:064x}"
