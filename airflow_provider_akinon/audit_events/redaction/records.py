"""Takes the credentials out of many records at once: takes records of the same fields apart, and puts them together.

This module refuses records that are broken, not compact, or hold a field twice; their fields have to be found by
splicing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, groupby, repeat

import msgspec

from airflow_provider_akinon.audit_events.redaction.quick_look import redacted_values
from airflow_provider_akinon.audit_events.redaction.splicing import size_beside

_BATCH = 64 * 1024
"""Bytes of the records that are redacted at once. More would be no faster, and take more memory."""

_decode_many = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode_lines


def batches(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Yield ``lines`` in lists, each of as many as are redacted at once."""
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if batch and size + len(line) > _BATCH:
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def redacted_records(lines: Sequence[bytes], fields: Collection[str]) -> list[bytes] | None:
    """Return records without the credentials in ``fields``; None where one of them is refused."""
    try:
        records = _decode_many(b"\n".join(lines))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if len(records) != len(lines):
        return None
    redacted: list[bytes] = []
    for names, alike in groupby(records, key=tuple):
        columns: list[Sequence[bytes]] = [*zip(*map(dict.values, alike), strict=True)]
        count = len(columns[0]) if columns else 0
        stretch = lines[len(redacted) : len(redacted) + count]
        if not _are_compact(stretch, names, columns):
            return None
        new = _redacted(stretch, names, columns, fields)
        if len(new) != count:  # a value may hold line feeds between its tokens
            return None
        redacted += new
    return redacted


def _are_compact(lines: Sequence[bytes], names: Sequence[str], columns: list[Sequence[bytes]]) -> bool:
    """Tell whether lines hold nothing but these fields, each once and as short as it can be written."""
    size = sum(map(len, chain.from_iterable(columns))) + len(lines) * size_beside(names)
    return bool(columns) and size == sum(map(len, lines))


def _redacted(
    lines: Sequence[bytes], names: Sequence[str], columns: list[Sequence[bytes]], fields: Collection[str]
) -> Sequence[bytes]:
    """Return records of the same fields without credentials. ``columns``: the values of each field."""
    places = [place for place, name in enumerate(names) if name in fields]
    if not places:
        return lines
    values = [*chain.from_iterable(columns[place] for place in places)]
    redacted = redacted_values(values)
    if redacted is values:
        return lines
    for number, place in enumerate(places):
        columns[place] = redacted[number * len(lines) : (number + 1) * len(lines)]
    marks = [f'{"," if number else "{"}"{name}":'.encode() for number, name in enumerate(names)]
    parts = chain.from_iterable((repeat(mark), column) for mark, column in zip(marks, columns, strict=True))
    rows = zip(*parts, repeat(b"}\n", len(lines)), strict=False)
    return b"".join(chain.from_iterable(rows))[:-1].split(b"\n")
