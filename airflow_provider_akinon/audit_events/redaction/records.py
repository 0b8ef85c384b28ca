"""Takes the credentials out of many records at once: takes them apart, and puts them together.

This module refuses records that would not come back byte by byte, as they are broken, not compact, or hold a field
twice; their fields have to be found by splicing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain

import msgspec

from airflow_provider_akinon.audit_events.redaction.quick_look import are_plain, redacted_values

_BATCH = 80 * 1024
"""Bytes of the records that are redacted at once. More would be no faster, and take more memory."""

_NULL = msgspec.Raw(b"null")
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


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


def redacted_records(lines: list[bytes], fields: Collection[str]) -> list[bytes] | None:
    """Return records without the credentials in ``fields``; None where one of them is refused."""
    try:
        records = [*map(_decode, lines)]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if [*map(_encode, records)] != lines:
        return None
    columns = {field: [record.get(field, _NULL) for record in records] for field in fields}
    looked_at = [field for field, column in columns.items() if not are_plain(column)]
    values: list[bytes] = [*chain.from_iterable(map(columns.__getitem__, looked_at))]
    redacted = redacted_values(values)
    if redacted is values:
        return lines
    rest = iter(redacted)
    for field in looked_at:
        for record, value in zip(records, rest, strict=False):
            if field in record:
                record[field] = msgspec.Raw(value)
    return [*map(_encode, records)]
