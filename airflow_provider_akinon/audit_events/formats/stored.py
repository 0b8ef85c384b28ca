"""Reads stored objects back: yields the records of an object in its order, whatever its format.

This module refuses to take damaged bytes for events.
"""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from shutil import copyfileobj
from typing import IO, cast

from airflow_provider_akinon.audit_events.errors import ArchiveError, InvalidInput, ProtocolError
from airflow_provider_akinon.audit_events.formats.jsonl import unpacked_lines
from airflow_provider_akinon.audit_events.formats.parquet import read_lines
from airflow_provider_akinon.audit_events.model import MOST_BYTES, Format

MOST_OF_A_LINE = MOST_BYTES
"""The most bytes of an unpacked record: as many as an answer of the API may have."""


def stored_lines(file: IO[bytes], file_format: Format) -> Iterator[bytes]:
    """Yield the record of each event of a stored object, without a line break, in the object's order."""
    match file_format:
        case Format.JSONL:
            yield from _lines(file if file.seekable() else _buffered(file))
        case Format.JSONL_GZ:
            with unpacked_lines(file) as lines:
                yield from _lines(lines)
        case Format.PARQUET:
            if file.seekable():
                yield from read_lines(file)
            else:  # the index of Parquet is at its end
                with tempfile.TemporaryFile(prefix="akinon-audit-events-") as copy:
                    copyfileobj(file, copy)
                    yield from read_lines(copy)


def _buffered(stream: IO[bytes]) -> IO[bytes]:
    """Return a stream of S3, which yields pieces, as a file that yields lines."""
    return cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, stream)))


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield lines as they come; an endless line is not read into memory.

    :raises ProtocolError: a line is longer than any record.
    """
    while line := file.readline(MOST_OF_A_LINE + 1):
        if len(line) > MOST_OF_A_LINE:
            raise ProtocolError(f"a line of more than {MOST_OF_A_LINE} bytes")
        yield line.removesuffix(b"\n")


@contextmanager
def naming_damage(key: str) -> Iterator[None]:
    """Make errors say which object does not read as it was written.

    :raises ArchiveError: the object is cut off, or its bytes were changed.
    """
    try:
        yield
    except InvalidInput:  # what is wrong is not the object
        raise
    except (EOFError, OSError, zlib.error, ProtocolError, ValueError) as error:
        # pyarrow and gzip raise OSError as well, but not of a disk or a network.
        if isinstance(error, OSError) and (error.errno is not None or isinstance(error, TimeoutError)):
            raise
        raise ArchiveError(
            f"{key} is damaged: it does not read as it was written ({error}). Nothing was written. Verify the "
            "archive, and restore the object from its version"
        ) from error
