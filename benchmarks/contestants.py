"""Those who read a window of audit events, each written as its users write it, each run in a process of its own.

A contestant is a generator. It imports what it needs and yields; then it reads the window, and yields what it
wrote: only the part between is timed. What comes after is checking. All ask for pages of 100 events, sort by
time, and compress with gzip's level 6, or as much (`ours`); those that read several pages at a time read 8.

``python -m benchmarks.contestants NAME`` reads a `Source` as JSON from its standard input and prints a `Result`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.server import KEY, PATH, digest_of

PAGE = 100
THREADS = 8


@dataclass(frozen=True)
class Source:
    """The window to read, and where."""

    port: int
    start: str
    end: str
    edges: list[str]
    """Timestamps that cut the window into pages; empty but for those in `NEED_EDGES`."""
    s3: dict[str, Any] | None = None
    """The Airflow connection of the S3, for those that write there."""

    @property
    def url(self) -> str:
        """Where the server is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def params(self) -> dict[str, str]:
        """The query that asks for the window."""
        return {
            "timestamp__gte": self.start,
            "timestamp__lt": self.end,
            "sort": "timestamp",
            "limit": str(PAGE),
        }

    @property
    def headers(self) -> dict[str, str]:
        """What authorizes a request."""
        return {"Authorization": f"Token {KEY}"}


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    seconds: float
    cpu: float
    """Seconds of processor that all threads took together; less troubled by who else is on the machine."""
    rss: int
    """The process's peak of resident memory, bytes."""
    lines: int | None
    """Events written, None where nothing is."""
    uuids_sha256: str | None


@dataclass(frozen=True)
class Written:
    """What a contestant wrote, as lines of JSON; None where it writes nothing."""

    lines: Iterable[str | bytes] | None = None
    seconds: float | None = None
    """What to report instead of the time that passed."""


Contestant = Callable[[Source], Generator[Written]]
NOTHING = Written()


def ours(source: Source, *, redact: str | None = "credentials") -> Generator[Written]:
    """Read by ``export_window``, into a local file: all of the operator's work but S3, with its default redaction."""
    from airflow_provider_akinon.audit_events.api import AuditEventsApi, Settings
    from airflow_provider_akinon.audit_events.export import export_window
    from airflow_provider_akinon.audit_events.model import Filters, Window
    from airflow_provider_akinon.audit_events.redaction import Redaction

    yield NOTHING
    extra = {"page_size": PAGE, "max_concurrency": THREADS}
    settings = Settings.parse(host="http://127.0.0.1", port=source.port, password=KEY, extra=extra)
    with (
        AuditEventsApi(settings) as api,
        export_window(api, Window.parse(source.start, source.end), Filters(), Redaction.parse(redact)) as export,
    ):
        yield Written(export.lines())


def ours_to_s3(
    source: Source, *, redact: str | None = "credentials", file_format: str = "jsonl.gz"
) -> Generator[Written]:
    """Run the operator: `ours`, and the file put into S3 as one object."""
    os.environ["AIRFLOW_CONN_S3"] = json.dumps(source.s3)
    os.environ["AIRFLOW_CONN_API"] = json.dumps(
        {
            "conn_type": "akinon",
            "host": source.url,
            "password": KEY,
            "extra": {"page_size": PAGE, "max_concurrency": THREADS},
        }
    )
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

    _load_s3()
    yield NOTHING
    prefix = f"ours-{time.time_ns()}"
    AuditEventsToS3Operator(
        task_id="export",
        akinon_conn_id="api",
        aws_conn_id="s3",
        s3_bucket=BUCKET,
        s3_key_prefix=prefix,
        start=source.start,
        end=source.end,
        redact=redact,
        file_format=file_format,
    ).execute({})
    yield Written(_objects(S3Hook(aws_conn_id="s3"), prefix))


def floor(source: Source) -> Generator[Written]:
    """Fetch the same pages over as many connections, by edges known beforehand; parse nothing, write nothing."""
    import http.client
    from urllib.parse import urlencode

    yield NOTHING
    pages = iter(_slices(source))
    taking = threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", source.port)
        while True:
            with taking:
                window = next(pages, None)
            if window is None:
                break
            connection.request("GET", f"{PATH}?{urlencode(window)}", headers=source.headers)
            response = connection.getresponse()
            if response.status != 200 or not response.read():
                raise RuntimeError(f"The server answered {response.status}")
        connection.close()

    _all_threads(work)
    yield NOTHING


def gzip_once(source: Source) -> Generator[Written]:
    """Compress the same bytes once, in one thread; only that is timed."""
    import gzip
    import http.client
    from urllib.parse import urlencode

    yield NOTHING
    seconds = 0.0
    connection = http.client.HTTPConnection("127.0.0.1", source.port)
    with tempfile.TemporaryFile() as file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) as target:
        for window in _slices(source):
            connection.request("GET", f"{PATH}?{urlencode(window)}", headers=source.headers)
            body = connection.getresponse().read()
            started = time.perf_counter()
            target.write(body)
            seconds += time.perf_counter() - started
    yield Written(seconds=seconds)


def requests_loop(source: Source) -> Generator[Written]:
    """Loop over page numbers with ``requests``, a line of JSON for each event."""
    import gzip

    import requests

    yield NOTHING
    with requests.Session() as session, _temporary_path() as path:
        session.headers.update(source.headers)
        with gzip.open(path, "wt", compresslevel=6) as file:
            number, there = 1, True
            while there:
                response = session.get(source.url + PATH, params={**source.params, "page": str(number)}, timeout=60)
                response.raise_for_status()
                page = response.json()
                for event in page["results"]:
                    file.write(json.dumps(event) + "\n")
                number, there = number + 1, page["next"] is not None
        yield Written(_gzip_lines([path]))


def requests_threads(source: Source) -> Generator[Written]:
    """Read several page numbers at a time with ``requests`` and a pool of threads, written in order."""
    import gzip
    from concurrent.futures import ThreadPoolExecutor

    import requests
    from requests.adapters import HTTPAdapter

    yield NOTHING
    with requests.Session() as session, ThreadPoolExecutor(THREADS) as pool, _temporary_path() as path:
        session.headers.update(source.headers)
        session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))

        def fetch(number: int) -> dict[str, Any]:
            response = session.get(source.url + PATH, params={**source.params, "page": str(number)}, timeout=60)
            response.raise_for_status()
            page: dict[str, Any] = response.json()
            return page

        first = fetch(1)
        with gzip.open(path, "wt", compresslevel=6) as file:
            rest = pool.map(fetch, range(2, -(-first["count"] // PAGE) + 1))
            for page in (first, *rest):
                for event in page["results"]:
                    file.write(json.dumps(event) + "\n")
        yield Written(_gzip_lines([path]))


def http_operator(source: Source) -> Generator[Written]:
    """Use Airflow's HttpOperator with a ``pagination_function``, and ``S3Hook.load_string``."""
    os.environ["AIRFLOW_CONN_API"] = json.dumps({"conn_type": "http", "host": source.url})
    os.environ["AIRFLOW_CONN_S3"] = json.dumps(source.s3)
    import requests
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.http.operators.http import HttpOperator

    _load_s3()
    yield NOTHING
    key = f"http-operator-{time.time_ns()}.jsonl.gz"
    number = 1

    def following(response: requests.Response) -> dict[str, Any] | None:
        nonlocal number
        if response.json()["next"] is None:
            return None
        number += 1
        return {"data": {"page": str(number)}}

    def lines(responses: list[requests.Response]) -> str:
        return "".join(json.dumps(event) + "\n" for response in responses for event in response.json()["results"])

    text = HttpOperator(
        task_id="read",
        http_conn_id="api",
        method="GET",
        endpoint=PATH,
        data=source.params,
        headers=source.headers,
        pagination_function=following,
        response_filter=lines,
    ).execute({})
    hook = S3Hook(aws_conn_id="s3")
    hook.load_string(text, key, BUCKET, compression="gzip")
    yield Written(_objects(hook, key))


def dlt_pages(source: Source) -> Generator[Written]:
    """Use dlt's ``rest_api`` source with its page-number paginator, into a local directory."""
    endpoint = {
        "path": PATH,
        "params": source.params,
        "data_selector": "results",
        "paginator": {"type": "page_number", "base_page": 1, "total_path": None},
        # Beyond the last page lies a 404: the count is of events, and the paginator wants that of pages.
        "response_actions": [{"status_code": 404, "action": "ignore"}],
    }
    return _dlt(source, lambda: [{"name": "events", "endpoint": endpoint}])


def dlt_threads(source: Source) -> Generator[Written]:
    """Use dlt's ``rest_api`` source with a resource that depends on page numbers, parallelized."""
    endpoint = {
        "path": PATH,
        "params": {**source.params, "page": "{resources.pages.number}"},
        "data_selector": "results",
        "paginator": "single_page",
    }

    def resources() -> list[Any]:
        import dlt
        from dlt.sources.helpers import requests

        @dlt.resource(name="pages", selected=False)
        def pages() -> Iterator[Any]:
            params = {**source.params, "limit": "1"}
            count = requests.get(source.url + PATH, params=params, headers=source.headers).json()["count"]
            yield [{"number": number} for number in range(1, max(1, -(-count // PAGE)) + 1)]

        return [pages(), {"name": "events", "endpoint": endpoint, "parallelized": True}]

    return _dlt(source, resources)


def _dlt(source: Source, resources: Callable[[], list[Any]]) -> Generator[Written]:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    os.environ["EXTRACT__WORKERS"] = str(THREADS)
    os.environ["EXTRACT__MAX_PARALLEL_ITEMS"] = str(2 * THREADS)
    import dlt
    from dlt.sources.rest_api import rest_api_source

    yield NOTHING
    with tempfile.TemporaryDirectory() as directory:
        client = {
            "base_url": source.url,
            "auth": {"type": "api_key", "name": "Authorization", "api_key": f"Token {KEY}", "location": "header"},
        }
        # Without nested tables, as an archive wants an event in one row.
        events = rest_api_source({"client": client, "resources": resources()}, name="api", max_table_nesting=0)
        pipeline = dlt.pipeline(
            "benchmark",
            pipelines_dir=f"{directory}/state",
            destination=dlt.destinations.filesystem(bucket_url=f"{directory}/data"),
            dataset_name="archive",
        )
        pipeline.run(events, loader_file_format="jsonl").raise_on_failed_jobs()
        yield Written(_gzip_lines(sorted(Path(directory, "data", "archive", "events").glob("*.jsonl*"))))


CONTESTANTS: dict[str, Contestant] = {
    "ours": ours,
    "ours verbatim": partial(ours, redact=None),  # as none of the others removes anything
    "ours to S3": ours_to_s3,
    "ours verbatim to S3": partial(ours_to_s3, redact=None),
    "ours Parquet to S3": partial(ours_to_s3, file_format="parquet"),
    "floor": floor,
    "gzip once": gzip_once,
    "requests": requests_loop,
    "requests × 8": requests_threads,
    "HttpOperator": http_operator,
    "dlt": dlt_pages,
    "dlt × 8": dlt_threads,
}
ONE_PAGE = ("requests", "HttpOperator", "dlt")
"""The peers that read one page at a time."""
SEVERAL_PAGES = ("requests × 8", "dlt × 8")
"""The peers that read several."""
NEED_EDGES = ("floor", "gzip once")
"""Those that know beforehand where the pages end."""
NEED_S3 = ("ours to S3", "ours verbatim to S3", "ours Parquet to S3", "HttpOperator")
BUCKET = "benchmark"


def _slices(source: Source) -> list[dict[str, str]]:
    """Return the queries of the pages that the edges cut; a few hold more than a page, as timestamps tie."""
    edges = [*source.edges, source.end]
    return [
        {"timestamp__gte": start, "timestamp__lt": end, "sort": "timestamp", "limit": "1000"}
        for start, end in pairwise(edges)
    ]


def _all_threads(work: Callable[[], None]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(THREADS) as pool:
        for running in [pool.submit(work) for _ in range(THREADS)]:
            running.result()


class _temporary_path:  # noqa: N801 - used like a function
    """A path in a directory that goes with the ``with``."""

    def __enter__(self) -> Path:
        self._directory = tempfile.TemporaryDirectory()
        return Path(self._directory.name, "events.jsonl.gz")

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()


def _gzip_lines(paths: Iterable[Path]) -> Iterator[bytes]:
    import gzip

    for path in paths:
        with gzip.open(path) as lines:
            yield from lines


def _load_s3() -> None:
    """Load what Airflow loads of its plugins and of boto3's clients with the first request to S3."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

    S3Hook(aws_conn_id="s3").get_conn()
    get_hook_lineage_collector()


def _objects(hook: Any, prefix: str) -> Iterator[bytes]:
    from airflow_provider_akinon.audit_events.formats import stored_lines
    from airflow_provider_akinon.audit_events.model import Format

    for key in hook.list_keys(BUCKET, prefix=prefix) or []:
        if key.endswith((".jsonl.gz", ".parquet")):  # beside them lie receipts, and what the store was tried with
            with tempfile.TemporaryFile() as file:
                hook.get_conn().download_fileobj(BUCKET, key, file)
                file.seek(0)
                yield from stored_lines(file, Format.PARQUET if key.endswith(".parquet") else Format.JSONL_GZ)
        hook.delete_objects(BUCKET, key)


def peak_memory() -> int:
    """Return the peak of this process's resident memory, bytes.

    From /proc where there is one: ``getrusage`` counts the parent's peak as the child's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Run one contestant and print its result, the last line of its output."""
    source = Source(**json.load(sys.stdin))
    run = CONTESTANTS[sys.argv[1]](source)
    next(run)
    started, cpu = time.perf_counter(), time.process_time()
    written = next(run)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    rss = peak_memory()
    count = digest = None
    if written.lines is not None:
        identities = [json.loads(line)["uuid"] for line in written.lines]
        count, digest = len(identities), digest_of(iter(identities))
    run.close()
    result = Result(seconds if written.seconds is None else written.seconds, cpu, rss, count, digest)
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
