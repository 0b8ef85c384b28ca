"""Converting events to Parquet: its speed, its memory and its size.

``python benchmarks/parquet.py EVENTS`` prints one line of JSON. The events are the sandbox's, made as they are read
and not counted in the time; the first ones come again under other timestamps and uuids, as often as it takes. The
memory is the process's peak above what it was after a file without events.
"""

from __future__ import annotations

import gzip
import json
import re
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice

from airflow_provider_akinon.audit_events.formats import read_lines, write_parquet
from airflow_provider_akinon.audit_events.model import format_instant
from airflow_provider_akinon.sandbox.generate import Shop

DISTINCT = 20_000  # more than a row group holds
START = datetime(2026, 1, 1, tzinfo=UTC)


def templates() -> list[tuple[bytes, bytes, bytes]]:
    """Return lines as the API writes them, cut at their timestamp and at their uuid."""
    cut = re.compile(rb'(.*"timestamp":")[^"]*(".*"uuid":")[^"]*(".*)')
    lines = []
    for event in Shop(1).history(DISTINCT, START, START + timedelta(days=1)):
        line = json.dumps({**event, "timestamp": ""}, ensure_ascii=False, separators=(",", ":")).encode()
        lines.append(cut.fullmatch(line).groups())
    return lines


def lines(events: int, parts: list[tuple[bytes, bytes, bytes]]) -> Iterator[bytes]:
    """Yield this many lines, in the order of time."""
    for number, (before, between, after) in enumerate(islice(cycle(parts), events)):
        instant = format_instant(START + number * timedelta(microseconds=1237)).encode()
        uuid = b"%08x-0000-4000-8000-%012x" % (number * 2654435761 % 2**32, number)
        yield before + instant + between + uuid + after


def peak() -> int:
    """Return the most memory that the process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(events: int) -> dict[str, float]:
    """Return the figures for this many events."""
    parts = templates()
    with tempfile.TemporaryFile() as empty:
        write_parquet([], empty)
    before = peak()
    with tempfile.TemporaryFile() as file:
        began = time.perf_counter()
        write_parquet(lines(events, parts), file)
        writing = time.perf_counter() - began
        memory, size = peak() - before, file.tell()
        began = time.perf_counter()
        for _ in lines(events, parts):
            pass
        writing -= time.perf_counter() - began
        began = time.perf_counter()
        count = sum(1 for _ in read_lines(file))
        reading = time.perf_counter() - began
    with tempfile.TemporaryFile() as file:
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) as compressed:
            plain = sum(compressed.write(line + b"\n") for line in lines(events, parts))
        gzipped = file.tell()
    assert count == events, count  # noqa: S101 - else these figures are of something else
    return {
        "events": events,
        "bytes_per_event": round(plain / events),
        "seconds": round(writing, 2),
        "events_per_second": round(events / writing),
        "peak_mib_above_empty": round(memory / 2**20, 1),
        "reading_seconds": round(reading, 2),
        "size": size,
        "of_jsonl_gz": round(size / gzipped, 3),
        "peak_mib_above_empty_after_reading": round((peak() - before) / 2**20, 1),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
