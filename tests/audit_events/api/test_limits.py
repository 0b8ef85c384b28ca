"""What a request may take: its time and its bytes, of what comes and of what that unpacks to."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.api import MOST_HEADER_BYTES, Limits
from airflow_provider_akinon.audit_events.errors import ProtocolError, Unreachable
from airflow_provider_akinon.audit_events.model import MOST_BYTES
from tests.support.clock import FakeClock

URL = "https://shop.example.com"


def limits(clock: FakeClock | None = None) -> Limits:
    return Limits(URL, 30.0, (clock or FakeClock()).monotonic)


@given(st.lists(st.binary(max_size=3000), max_size=4), st.integers(1, 500))
def test_gzip_is_unpacked(contents: list[bytes], size: int) -> None:
    """However many members there are and however they are cut on the way, all of their content comes."""
    packed = b"".join(map(gzip.compress, contents))
    pieces = [packed[start : start + size] for start in range(0, len(packed), size)]

    assert limits().unpacked(pieces, gzipped=True) == b"".join(contents)
    assert limits().unpacked(pieces, gzipped=False) == packed


@given(st.binary(min_size=1, max_size=300), st.data())
def test_gzip_that_breaks_off_is_told(content: bytes, data: st.DataObject) -> None:
    """A member that is not whole, or none, is an error and not a shorter body."""
    packed = gzip.compress(content)
    cut = data.draw(st.integers(1, len(packed) - 1))

    with pytest.raises(zlib.error):
        limits().unpacked([packed[:cut]], gzipped=True)
    with pytest.raises(zlib.error):
        limits().unpacked([packed, b"trailing"], gzipped=True)


def test_long_content_comes_whole() -> None:
    """Content of several megabytes, whose last bytes unpack after the last that came, is all there."""
    content = b"a" * 5_000_001
    assert limits().unpacked([gzip.compress(content)], gzipped=True) == content


def test_no_more_is_unpacked_than_may_be() -> None:
    """Reading stops at the limit: what comes after it is not asked for."""
    asked = 0
    zeros = gzip.compress(b"\0" * (64 << 20))

    def pieces() -> object:
        nonlocal asked
        while True:
            asked += 1
            yield zeros

    with pytest.raises(ProtocolError, match=r"more than 256 MiB.*page_size"):
        limits().unpacked(pieces(), gzipped=True)  # type: ignore[arg-type]

    assert asked == MOST_BYTES // (64 << 20) + 1


def test_a_small_piece_that_unpacks_to_much() -> None:
    """What one piece unpacks to is never in memory at once beyond the limit."""
    packing = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    packed = b"".join([packing.compress(b" " * (1 << 20)) for _ in range(500)]) + packing.flush()
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError, match="more than 256 MiB"):
            limits().unpacked([packed], gzipped=True)
        assert tracemalloc.get_traced_memory()[1] < 400 << 20
    finally:
        tracemalloc.stop()


def test_bytes_are_counted_over_the_whole_request() -> None:
    """Headers and bodies have a limit each, which all answers of a request share."""
    one = limits()
    one.take_headers(MOST_HEADER_BYTES)
    one.take_body(MOST_BYTES)
    with pytest.raises(ProtocolError, match="headers of more than 128 KiB"):
        one.take_headers(1)
    with pytest.raises(ProtocolError, match="an answer of more than 256 MiB"):
        one.take_body(1)


def test_the_time_is_that_of_the_whole_request() -> None:
    """What is left shrinks to nothing, and then the error names what to change."""
    clock = FakeClock()
    one = limits(clock)
    clock.now = 29.0
    assert one.seconds() == 1.0
    clock.now = 30.0
    with pytest.raises(Unreachable, match=r"a whole answer may take 30 s.*raise 'timeout' in the connection"):
        one.seconds()
    with pytest.raises(Unreachable):
        one.unpacked([b""], gzipped=False)
