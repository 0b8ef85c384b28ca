"""Half a character in JSON: an escaped lone surrogate, which Python's own decoder takes and msgspec does not.

Such an escape is replaced by another of the same length, decoded, and put back. This module changes no other byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar, cast

import msgspec

T = TypeVar("T")

LONE_SURROGATE = re.compile(rb"\\u(?:[dD][89a-fA-F][0-9a-fA-F]{2}|e000)")
STAND_IN = rb"\ue000"


def tolerant(decode: Callable[[bytes], T], record: bytes) -> T:
    """Return what ``decode`` makes of a record, where need be without its halves of characters.

    Bytes that it returns have them again.
    """
    try:
        return decode(record)
    except msgspec.DecodeError:
        halves = LONE_SURROGATE.findall(record)
        if not halves:
            raise
        decoded = decode(LONE_SURROGATE.sub(lambda _: STAND_IN, record))
        if isinstance(decoded, bytes):
            given = iter(halves)
            return cast(T, LONE_SURROGATE.sub(lambda _: next(given), decoded))
        return decoded
