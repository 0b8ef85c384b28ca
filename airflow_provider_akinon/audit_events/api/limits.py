"""Limits one request, however the API answers: in seconds from its start to the end of its answer, and in bytes.

The deadline holds for all of it: connection, status lines, headers, body, and redirects, since each read gives the
socket no more time than is left. So no API can hold up a worker with a byte now and then, an answer without end, or a
small answer that unpacks to a large one: what exceeds the limits is neither read nor unpacked. This module sends
nothing.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from airflow_provider_akinon.audit_events.errors import ProtocolError, Unreachable
from airflow_provider_akinon.audit_events.model import MOST_BYTES

MOST_HEADER_BYTES = 128 * 1024
"""The most bytes of all headers and status lines in a request, with those of redirects and of interim answers."""

PIECE = 1 << 20
"""The bytes of an answer that are read, or unpacked, at a time."""


class Limits:
    """The time and bytes that one request has left. ``now`` gives seconds that only grow."""

    def __init__(self, base_url: str, timeout: float, now: Callable[[], float]) -> None:
        self._base_url = base_url
        self._timeout = timeout
        self._now = now
        self._deadline = now() + timeout
        self._headers = MOST_HEADER_BYTES
        self._body = self._unpacked = MOST_BYTES

    def seconds(self) -> float:
        """Return how much time is left.

        :raises Unreachable: none is.
        """
        left = self._deadline - self._now()
        if left <= 0:
            raise self.late()
        return left

    def late(self) -> Unreachable:
        """Return the error of an answer that is not there in time."""
        return Unreachable(
            f"{self._base_url} did not answer in time: a whole answer may take {self._timeout:g} s. If the API needs "
            "longer, raise 'timeout' in the connection, or lower page_size"
        )

    def take_headers(self, size: int) -> None:
        """Note bytes that were read before a body.

        :raises ProtocolError: they are too many.
        """
        self._headers -= size
        if self._headers < 0:
            raise ProtocolError(
                f"{self._base_url} sends headers of more than {MOST_HEADER_BYTES // 1024} KiB: the Audit Events API "
                "does not. Check Host"
            )

    def take_body(self, size: int) -> None:
        """Note bytes of a body as it came.

        :raises ProtocolError: they are too many.
        """
        self._body -= size
        if self._body < 0:
            raise self._too_large()

    def unpacked(self, pieces: Iterable[bytes], *, gzipped: bool) -> bytes:
        """Return a body that comes in ``pieces``, unpacked where it is ``gzipped``.

        :raises zlib.error: it is not what gzip writes.
        :raises ProtocolError: it is too large.
        """
        body: list[bytes] = []
        for piece in _gunzipped(pieces) if gzipped else pieces:
            self._unpacked -= len(piece)
            if self._unpacked < 0:
                raise self._too_large()
            if piece:
                body.append(piece)
            self.seconds()  # much may unpack to nothing, so look at the time here, too
        return b"".join(body)

    def _too_large(self) -> ProtocolError:
        return ProtocolError(
            f"{self._base_url} sends an answer of more than {MOST_BYTES // 1024**2} MiB. Check Host, or lower "
            "page_size in the connection"
        )


class Source(Protocol):
    """The part of a socket that this module uses."""

    def settimeout(self, value: float | None, /) -> None:
        """Let each call wait for at most so many seconds."""


class LimitedReading(io.RawIOBase):
    """Reads from ``raw``, which reads from ``source``, within the limits of a request."""

    def __init__(self, raw: io.RawIOBase, source: Source, limits: Limits) -> None:
        self._raw = raw
        self._source = source
        self._limits = limits
        self.in_body = False
        """Whether the headers have been read."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Read once into ``buffer``.

        :raises Unreachable: the time is over.
        :raises ProtocolError: too much was read.
        """
        self._source.settimeout(self._limits.seconds())
        try:
            size: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            raise self._limits.late() from None
        (self._limits.take_body if self.in_body else self._limits.take_headers)(size or 0)
        return size

    def close(self) -> None:
        """Close ``raw`` too."""
        self._raw.close()
        super().close()


def _gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what gzip packed, in pieces that are never large, however well they were packed."""
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    begun = False
    for piece in pieces:
        while piece:
            if unpacking.eof:
                unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
            yield unpacking.decompress(piece, PIECE)
            begun = True
            piece = unpacking.unused_data if unpacking.eof else unpacking.unconsumed_tail
    # What zlib still holds back: its output buffer was full when its input ended.
    while begun and not unpacking.eof:
        rest = unpacking.decompress(b"", PIECE)
        if not rest:
            raise zlib.error("it ends in the middle")
        yield rest
