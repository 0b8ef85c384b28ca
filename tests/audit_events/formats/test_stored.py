"""Stored objects read back: the same records from every format, and damage that is named rather than read."""

from __future__ import annotations

import gzip
import io
import json
from typing import IO

import pytest

from airflow_provider_akinon.audit_events.errors import ArchiveError, InvalidInput
from airflow_provider_akinon.audit_events.formats import naming_damage, stored_lines, write_parquet
from airflow_provider_akinon.audit_events.model import Format

LINES = [
    b'{"uuid":"%d","timestamp":"2026-01-31T00:00:%02d.000Z","content":{"n":1.10,"t":"\\n"}}' % (place, place % 60)
    for place in range(60)
]


class Stream(io.RawIOBase):
    """As S3 gives an object: bytes that come once, and no way back."""

    def __init__(self, body: bytes) -> None:
        self._body = io.BytesIO(body)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        piece = self._body.read(min(len(buffer), 1000))
        buffer[: len(piece)] = piece
        return len(piece)


def stored(format_: Format, lines: list[bytes]) -> bytes:
    """Return an object of these lines."""
    content = b"".join(line + b"\n" for line in lines)
    if format_ is Format.PARQUET:
        file = io.BytesIO()
        write_parquet(iter(lines), file)
        return file.getvalue()
    return gzip.compress(content) if format_ is Format.JSONL_GZ else content


@pytest.mark.parametrize("format_", Format)
@pytest.mark.parametrize("lines", [[], LINES], ids=["empty", "full"])
@pytest.mark.parametrize("seekable", [True, False])
def test_records_come_back(format_: Format, lines: list[bytes], seekable: bool) -> None:
    """Every format gives its records back, one by one and in order, from a file as from a stream."""
    body = stored(format_, lines)
    file: IO[bytes] = io.BytesIO(body) if seekable else io.BufferedReader(Stream(body))  # type: ignore[assignment]

    found = list(stored_lines(file, format_))

    assert [json.loads(line) for line in found] == [json.loads(line) for line in lines]
    assert format_ is Format.PARQUET or found == lines


@pytest.mark.parametrize(
    ("format_", "damage"),
    [
        *[(Format.JSONL_GZ, damage) for damage in ("cut off", "a byte", "something else")],
        *[(Format.PARQUET, damage) for damage in ("cut off", "a byte", "something else", "empty")],
    ],
)
def test_damage_is_named(format_: Format, damage: str) -> None:
    """An object that does not read as it was written is an error that names it, and no fewer events."""
    body = stored(format_, LINES)
    middle = len(body) // 2
    bad = {
        "cut off": body[:-9],
        "a byte": body[:middle] + bytes([body[middle] ^ 255]) + body[middle + 1 :],
        "empty": b"",
        "something else": b"no archive at all",
    }[damage]

    with (
        pytest.raises(ArchiveError, match=r"^a/b\.x is damaged: (?s:.*) Nothing was written") as caught,
        naming_damage("a/b.x"),
    ):
        list(stored_lines(io.BytesIO(bad), format_))

    assert caught.value.permanent


def test_what_is_no_damage_passes() -> None:
    """A library that is missing, or a mistake elsewhere, is not blamed on the object."""
    with pytest.raises(InvalidInput, match="install it"), naming_damage("a"):
        raise InvalidInput("install it")
    for error in (KeyError("x"), OSError(28, "No space left on device"), TimeoutError("timed out")):
        with pytest.raises(type(error)) as caught, naming_damage("a"):
            raise error
        assert caught.value is error
