"""Run the benchmark: every contestant in every case, the results in a table, their ratios, and a plot.

The machine's noise is the same for all that run side by side, so contestants take turns within a case, and ratios
say more than seconds. A contestant that has taken `ENOUGH` seconds in a case is not run again in it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contestants import BUCKET, CONTESTANTS, NEED_EDGES, NEED_S3, ONE_PAGE, PAGE, SEVERAL_PAGES, THREADS

ENOUGH = 25.0
"""Seconds of one contestant in one case, after which it is not run again."""
TIMEOUT = 1800.0
"""Seconds until a run is given up."""
BARE = ("ours", "ours verbatim", "ours to S3", "ours verbatim to S3", "ours Parquet to S3", "floor", "gzip once")
"""The contestants of the cases where all others would take too long."""

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"


@dataclass(frozen=True)
class Case:
    """What the server holds, and how slowly it answers."""

    events: int
    latency_ms: float
    skip_us: float = 0.0
    """Microseconds that each row costs that OFFSET skips."""
    contestants: tuple[str, ...] = tuple(CONTESTANTS)

    def __str__(self) -> str:
        skip = f" + {self.skip_us:g} µs per skipped row" if self.skip_us else ""
        return f"{self.events:,} events, {self.latency_ms:g} ms a request{skip}"


CASES = (
    Case(20_000, 0),
    Case(20_000, 50),
    Case(20_000, 50, 20),
    Case(100_000, 0),
    Case(100_000, 50),
    Case(1_000_000, 0, contestants=BARE),
    Case(1_000_000, 50, contestants=BARE),
)


@dataclass
class Row:
    """What a contestant came to in a case."""

    case: Case
    contestant: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    empty_rss: int = 0
    """Peak memory of a run over an empty window, bytes."""

    @property
    def seconds(self) -> float:
        """The median of the runs' seconds."""
        return float(statistics.median(run["seconds"] for run in self.runs))

    @property
    def cpu(self) -> float:
        """The median of the seconds of processor that the runs took."""
        return float(statistics.median(run["cpu"] for run in self.runs))

    @property
    def memory(self) -> float:
        """Peak memory beyond that of an empty window, MiB, the median of the runs."""
        return float(statistics.median(run["rss"] for run in self.runs) - self.empty_rss) / 2**20

    @property
    def requests_share(self) -> float:
        """Requests sent for each page that the events fill."""
        return float(self.runs[-1]["requests"]) / math.ceil(self.case.events / PAGE)

    @property
    def exact(self) -> str:
        """Whether every run wrote each event once, and no other."""
        verdicts = {run["exact"] for run in self.runs}
        return "–" if verdicts == {None} else "yes" if verdicts == {True} else "NO"


_empty_rss: dict[str, int] = {}
"""What each contestant's run over an empty window needs, measured once."""


class Server:
    """The fake API, in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.about = self.get("/about")
        self.edges: list[str] = self.get(f"/edges?rows={PAGE}")

    @classmethod
    @contextmanager
    def start(cls, events: int, bursts: int = 0, late: int = 0) -> Iterator[Server]:
        """Start a server of so many events, give it once it answers, and stop it."""
        numbers = [f"--events={events}", f"--bursts={bursts}", f"--late={late}"]
        command = [sys.executable, "-m", "benchmarks.server", *numbers]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)  # noqa: S603 - our own
        try:
            assert process.stdout is not None  # noqa: S101 - a pipe was asked for
            yield cls(int(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait()

    def get(self, path: str) -> Any:
        """Return the JSON at ``path``."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return json.load(answer)


def run(name: str, server: Server, case: Case, s3: dict[str, Any] | None, *, empty: bool = False) -> dict[str, Any]:
    """Run a contestant once, in a process of its own, and return its result with what the server counted."""
    unstable = "&unstable=1" if server.about["unstable"] else ""
    # What is compressed once is fetched one page after the other, untimed: nothing is gained by waiting for it.
    latency = 0 if name == "gzip once" else case.latency_ms
    server.get(f"/reset?latency_ms={latency}&skip_us={case.skip_us}{unstable}")
    # The empty window lies where no event does: in the year before.
    window = {"start": "2024-09-01T00:00:00Z", "end": "2024-10-01T00:00:00Z", "edges": []}
    if not empty:
        edges = server.edges if name in NEED_EDGES else []
        window = {"start": server.about["start"], "end": server.about["end"], "edges": edges}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as home:
        process = subprocess.Popen(  # noqa: S603 - our own
            [sys.executable, "-W", "ignore", "-m", "benchmarks.contestants", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=HERE.parent,
            env={**os.environ, "AIRFLOW_HOME": home, "HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
        )
        try:
            output, errors = process.communicate(json.dumps({"port": server.port, "s3": s3, **window}), TIMEOUT)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise RuntimeError(f"{name} failed:\n{errors[-3000:]}")
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    result.update(server.get("/stats"))
    result["exact"] = None
    if result["lines"] is not None and not empty:
        right = server.about["events"], server.about["uuids_sha256"]
        result["exact"] = (result["lines"], result["uuids_sha256"]) == right
    return result


def run_case(case: Case, server: Server, names: list[str], repeat: int, s3: dict[str, Any] | None) -> list[Row]:
    """Run every contestant of a case, in turns."""
    rows = [Row(case, name) for name in names if name in case.contestants]
    for row in rows:
        if row.contestant not in _empty_rss:
            _empty_rss[row.contestant] = run(row.contestant, server, Case(0, 0), s3, empty=True)["rss"]
        row.empty_rss = _empty_rss[row.contestant]
    for number in range(repeat):
        for row in rows:
            if number and sum(one["seconds"] for one in row.runs) > ENOUGH:
                continue
            row.runs.append(run(row.contestant, server, case, s3))
            print(f"  {row.contestant:22}{row.runs[-1]['seconds']:9.2f} s", file=sys.stderr, flush=True)
    return rows


def table(rows: Iterable[Row]) -> str:
    """Return the rows of one case as a table of text: the default first, verbatim beside it, then the others."""
    lines = [
        f"{'':22}{'runs':>5}{'seconds':>9}{'CPU s':>8}{'events/s':>10}{'requests':>10}{'÷ pages':>9}{'skipped':>13}"
        f"{'memory MiB':>12}{'+ empty':>9}{'exact':>7}"
    ]
    for row in rows:
        last = row.runs[-1]
        lines.append(
            f"{row.contestant:22}{len(row.runs):5}{row.seconds:9.2f}{row.cpu:8.2f}"
            f"{row.case.events / row.seconds:10,.0f}"
            f"{last['requests']:10,}{row.requests_share:9.3f}{last['rows_skipped']:13,}"
            f"{row.memory:12.1f}{row.empty_rss / 2**20:9.0f}{row.exact:>7}"
        )
    return "\n".join(lines)


def ratios(rows: list[Row]) -> dict[str, float]:
    """Return how the contestants of one case compare; those that were not run are left out."""
    seconds = {row.contestant: row.seconds for row in rows}
    found: dict[str, float] = {}
    ours = seconds.get("ours")
    if ours is None:
        return found
    if "floor" in seconds:
        found["ours ÷ floor"] = ours / seconds["floor"]
    if "floor" in seconds and "gzip once" in seconds:
        found["ours ÷ max(floor, gzip once)"] = ours / max(seconds["floor"], seconds["gzip once"])
    for title, peers in (("one-page", ONE_PAGE), ("several-pages", SEVERAL_PAGES)):
        if run_ := [seconds[name] for name in peers if name in seconds]:
            found[f"best {title} peer ÷ ours"] = min(run_) / ours
    cpu = {row.contestant: row.cpu for row in rows}
    for name in ("ours", "ours to S3"):
        verbatim = name.replace("ours", "ours verbatim")
        if name in seconds and verbatim in seconds:
            found[f"{name} ÷ verbatim"] = seconds[name] / seconds[verbatim]
        if name in cpu and "requests" in cpu:
            found[f"{name} ÷ requests, processor"] = cpu[name] / cpu["requests"]
    if "ours to S3" in seconds and "floor" in seconds:
        found["ours to S3 ÷ floor"] = seconds["ours to S3"] / seconds["floor"]
    if "ours to S3" in seconds and "ours Parquet to S3" in seconds:
        found["Parquet ÷ jsonl.gz, to S3"] = seconds["ours Parquet to S3"] / seconds["ours to S3"]
    if "ours to S3" in seconds and "HttpOperator" in seconds:
        found["HttpOperator ÷ ours to S3"] = seconds["HttpOperator"] / seconds["ours to S3"]
    return found


def about_server(rows: list[Row]) -> str:
    """Return what the server could do, and whether it was in the way."""
    floor = next((row for row in rows if row.contestant == "floor"), None)
    if floor is None or floor.case.latency_ms:
        return ""
    last = floor.runs[-1]
    rate = last["requests"] / last["cpu_seconds"]
    return (
        f"The server spent {last['cpu_seconds']:.2f} s of CPU on the floor's {last['requests']:,} requests: it could "
        f"answer {rate:,.0f} a second, {rate * PAGE:,.0f} events, if nobody else needed a processor."
    )


def machine() -> str:
    """Return what the figures were measured on."""
    return f"Python {platform.python_version()}, {os.cpu_count()} processors, {platform.machine()}"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help=f"comma-separated contestants, of: {', '.join(CONTESTANTS)}")
    parser.add_argument("--events", type=int, help="only cases of so many events")
    parser.add_argument("--latency", type=float, help="only cases of this latency, ms")
    parser.add_argument("--skip-us", type=float, help="only cases of this cost of a skipped row, µs")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each contestant in each case (3)")
    parser.add_argument("--bursts", type=int, default=0, help="times 250 events share a timestamp (0)")
    parser.add_argument("--unstable", action="store_true", help="order equal timestamps differently on each request")
    parser.add_argument("--quick", action="store_true", help="leave out what takes minutes")
    args = parser.parse_args()
    print(machine())
    cases = [
        case
        for case in CASES
        if args.events in (None, case.events)
        and args.latency in (None, case.latency_ms)
        and args.skip_us in (None, case.skip_us)
        and not (args.quick and case.events > 100_000)
    ]
    if not cases and args.events:
        # Not one of the standard cases: the one that was asked for.
        cases = [Case(args.events, args.latency or 0, args.skip_us or 0)]
    names = args.only.split(",") if args.only else list(CONTESTANTS)
    if unknown := set(names) - set(CONTESTANTS):
        parser.error(f"there is no contestant {', '.join(unknown)}; there are: {', '.join(CONTESTANTS)}")
    rows: list[Row] = []
    with ExitStack() as stack:
        s3 = _start_s3(stack) if any(name in NEED_S3 for name in names) else None
        for events in sorted({case.events for case in cases}):
            with Server.start(events, args.bursts) as server:
                server.about["unstable"] = args.unstable
                for case in (case for case in cases if case.events == events):
                    slow = case.events * case.latency_ms > 20_000 * 50
                    skip = ONE_PAGE if args.quick and slow else ()
                    print(f"\n{case}", flush=True)
                    done = run_case(case, server, [name for name in names if name not in skip], args.repeat, s3)
                    rows += done
                    write(rows)
                    print(table(done))
                    for title, ratio in ratios(done).items():
                        print(f"{title:32}{ratio:7.2f}")
                    print(about_server(done), flush=True)
    if len(rows) == sum(len(case.contestants) for case in CASES):
        # In a process of its own: it is not needed where only a part was run.
        subprocess.run([sys.executable, "-m", "benchmarks.plot"], check=True, cwd=HERE.parent)
        print("Drew docs/_static/benchmark.svg")
    else:
        print(f"Wrote {RESULTS.relative_to(HERE.parent)}; it is a part, so draw it with: python -m benchmarks.plot")


def write(rows: list[Row]) -> None:
    """Write the results as JSON, which `benchmarks.plot` draws."""
    results = [
        {**asdict(row), "seconds": row.seconds, "cpu": row.cpu, "memory_mib": row.memory, "exact": row.exact}
        for row in rows
    ]
    for result in results:
        del result["case"]["contestants"]
    answer = {"machine": machine(), "page": PAGE, "threads": THREADS, "results": results}
    RESULTS.write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n")


def _start_s3(stack: ExitStack) -> dict[str, Any]:
    from airflow_provider_akinon.sandbox.s3 import LocalS3

    s3 = stack.enter_context(LocalS3.start())
    s3.client().create_bucket(Bucket=BUCKET)
    return s3.connection()


if __name__ == "__main__":
    # Either way of being stopped stops what was started.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
