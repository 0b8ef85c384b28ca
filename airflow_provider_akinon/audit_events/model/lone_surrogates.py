"""Decodes JSON with escaped lone surrogates (halves of characters), which msgspec refuses and Python's decoder takes.

Each such escape is replaced by another one of the same length before decoding, and put back afterwards. This module
changes no other byte.
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
    """Return what ``decode`` makes of a record, without its lone surrogates where it fails with them.

    If ``decode`` returns bytes, these have them again.
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
