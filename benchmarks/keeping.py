"""What it costs to export a window that is stored already, beside its first export.

``python -m benchmarks.keeping`` exports a window from the benchmark's own server to a real S3 on this machine, with
the default redaction, and then again: with nothing new, with every user moved, and with some late events. All take
turns, format by format, each export in a process of its own that has imported what it needs. Read the ratios: the
seconds are this machine's, and SeaweedFS takes its share of them. Memory is that of the whole process at its peak,
above that of an export over a stored window without events.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.__main__ import HERE, TIMEOUT, Server, machine
from benchmarks.contestants import PAGE, THREADS, peak_memory
from benchmarks.server import KEY

BUCKET = "keeping"
FIRST = "first export"
EMPTY = "empty window"
AGAIN = ("nothing new", "all users moved", "late events")
FORMATS = ("jsonl.gz", "jsonl", "parquet")
EMPTY_WINDOW = ("2024-09-01T00:00:00Z", "2024-10-01T00:00:00Z")
"""A year before the server's events."""


@dataclass(frozen=True)
class Source:
    """The window to export, and where to."""

    port: int
    start: str
    end: str
    key: str
    format: str
    s3: dict[str, Any]
    """The arguments of boto3's client."""


@dataclass(frozen=True)
class Result:
    """What an export came to."""

    seconds: float
    cpu: float
    """Seconds of processor of all threads together."""
    rss: int
    """The process's peak of resident memory, bytes."""
    added: int
    same: int
    user_moved: int
    differing: int
    """Events that changed or vanished, or were not compared: there are none."""


def export(source: Source) -> Result:
    """Export as the operator does, but for Airflow."""
    import boto3

    from airflow_provider_akinon.audit_events.api import AuditEventsApi, Settings
    from airflow_provider_akinon.audit_events.archive import Bucket, Location, Run
    from airflow_provider_akinon.audit_events.export import export_window, share_arenas
    from airflow_provider_akinon.audit_events.formats import load_pyarrow
    from airflow_provider_akinon.audit_events.model import Filters, Format, Window
    from airflow_provider_akinon.audit_events.redaction import Redaction
    from airflow_provider_akinon.audit_events.storing import Target, archive

    share_arenas()
    settings = Settings.parse(
        host="http://127.0.0.1",
        port=source.port,
        password=KEY,
        extra={"page_size": PAGE, "max_concurrency": THREADS},
    )
    bucket, location = Bucket(boto3.client("s3", **source.s3), BUCKET), Location(BUCKET, source.key)
    window, format_ = Window.parse(source.start, source.end), Format.parse(source.format)
    run = Run(dag_id=None, task_id=None, run_id=None, map_index=None, try_number=None)
    if format_ is Format.PARQUET:
        load_pyarrow()  # not to be timed
    started, cpu = time.perf_counter(), time.process_time()
    target = Target.look(bucket, location, format_, None)
    with AuditEventsApi(settings) as api, export_window(api, window, Filters(), Redaction(), format_) as read:
        archived = archive(read, target, {}, run)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    numbers = archived.numbers
    differing = numbers.changed + numbers.vanished + numbers.not_compared + numbers.new_fields
    return Result(seconds, cpu, peak_memory(), archived.added, numbers.same, numbers.user_moved, differing)


class Comparing:
    """Exports from one server to one S3, and keeps what each came to."""

    def __init__(self, server: Server, s3: dict[str, Any], events: int, late: int, formats: Sequence[str]) -> None:
        self.results: defaultdict[tuple[str, str], list[Result]] = defaultdict(list)
        """By format and step."""
        self._server = server
        self._s3 = s3
        self._events = events
        self._late = late
        self._formats = formats

    def take_turn(self, latency_ms: float) -> None:
        """Run every step of every format once."""
        for format_ in self._formats:
            key = f"turn-{time.time_ns()}/window"
            for step in (FIRST, *AGAIN):
                late, moved = step == AGAIN[2], step == AGAIN[1]
                self._server.get(f"/reset?latency_ms={latency_ms}&late={late:d}&moved={moved:d}")
                window = self._server.about["start"], self._server.about["end"]
                result = self._run(*window, key, format_)
                self._check(step, result)
                self.results[format_, step].append(result)
            empty = [self._run(*EMPTY_WINDOW, f"{key}-empty", format_) for _ in range(2)]
            self.results[format_, EMPTY].append(empty[1])

    def _run(self, start: str, end: str, key: str, format_: str) -> Result:
        source = Source(self._server.port, start, end, f"{key}.{format_}", format_, self._s3)
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.keeping", "--child"],
            input=json.dumps(asdict(source)),
            capture_output=True,
            text=True,
            cwd=HERE.parent,
            timeout=TIMEOUT,
            check=False,
        )
        if process.returncode:
            raise RuntimeError(f"The export failed:\n{process.stderr[-3000:]}")
        return Result(**json.loads(process.stdout))

    def _check(self, step: str, result: Result) -> None:
        """Make sure that an export did what its figures are to stand for."""
        added = {FIRST: self._events, AGAIN[2]: self._late}.get(step, 0)
        compared = 0 if step == FIRST else self._events
        right = (result.added, result.same + result.user_moved, result.differing) == (added, compared, 0)
        if not right or (result.user_moved > self._events / 2) != (step == AGAIN[1]):
            raise RuntimeError(f"{step}: {result} is not what it should be")

    def median(self, format_: str, step: str, figure: str) -> float:
        """Return the median of a figure of a step's runs."""
        return float(statistics.median(getattr(result, figure) for result in self.results[format_, step]))

    def table(self) -> str:
        """Return the figures as a table."""
        lines = [f"{'':<28}{'seconds':>9}{'ratio':>7}{'cpu':>8}{'MiB beside an empty window':>29}"]
        for format_ in self._formats:
            first, empty = self.median(format_, FIRST, "seconds"), self.median(format_, EMPTY, "rss")
            for step in (FIRST, *AGAIN):
                seconds, cpu, rss = (self.median(format_, step, name) for name in ("seconds", "cpu", "rss"))
                lines.append(
                    f"{format_:<10}{step:<18}{seconds:>9.2f}{seconds / first:>7.2f}{cpu:>8.2f}"
                    f"{(rss - empty) / 2**20:>29.1f}"
                )
        return "\n".join(lines)


def main() -> None:
    """Run all of it, and print the figures."""
    from airflow_provider_akinon.sandbox.s3 import LocalS3

    parser = argparse.ArgumentParser(prog="python -m benchmarks.keeping", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000, help="in the window (100000)")
    parser.add_argument("--late", type=int, default=1000, help="that come after the first export (1000)")
    parser.add_argument("--latency", type=float, default=50, help="of each answer, ms (50)")
    parser.add_argument("--repeat", type=int, default=3, help="turns; the medians are printed (3)")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS, help="(all)")
    options = parser.parse_args()
    print(machine(), flush=True)
    with LocalS3.start() as s3, Server.start(options.events, late=options.late) as server:
        s3.client().create_bucket(Bucket=BUCKET)
        client = {
            "endpoint_url": s3.url,
            "aws_access_key_id": s3.access_key,
            "aws_secret_access_key": s3.secret_key,
            "region_name": "us-east-1",
        }
        comparing = Comparing(server, client, options.events, options.late, options.formats)
        for _ in range(options.repeat):
            comparing.take_turn(options.latency)
    print(f"{options.events:,} events, {options.latency:g} ms a request, {THREADS} connections")
    print(comparing.table())


if __name__ == "__main__":
    if sys.argv[1:] == ["--child"]:
        print(json.dumps(asdict(export(Source(**json.load(sys.stdin))))))
    else:
        main()
