"""Verifying a year of daily windows: the requests of S3, and the time.

``python -m benchmarks.verification`` exports the windows from an API in memory to a real S3 on this machine, seals
them month by month, and verifies them. The requests are exact. The time stands beside that of reading the same keys
once, one after the other, with nothing compared.
"""

from __future__ import annotations

import argparse
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from airflow_provider_akinon.audit_events.api import Page, Settings, parse_page
from airflow_provider_akinon.audit_events.archive import Bucket, Location, Run, Status
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters, Format, Window, format_instant, parse_instant
from airflow_provider_akinon.audit_events.sealing import seal_archive
from airflow_provider_akinon.audit_events.seals import PrivateKey
from airflow_provider_akinon.audit_events.storing import Target, archive
from airflow_provider_akinon.audit_events.verification import Expected, verify_archive
from airflow_provider_akinon.sandbox.s3 import LocalS3
from benchmarks.parquet import templates

START = datetime(2025, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
UNUSED = "k"
PREFIX = "akinon/audit-events/"
RUN = Run(dag_id=None, task_id=None, run_id=None, map_index=None, try_number=None)
KEY = PrivateKey.parse("key", b64encode(bytes(range(32))).decode())


class Days:
    """An API in memory with as many events in each day, one after the other from midnight on."""

    settings = Settings.parse(host="shop.example.com", password=UNUSED, extra={"page_size": 1000})
    step = timedelta(seconds=10)

    def __init__(self, events: int) -> None:
        self._events = events
        self._parts = templates()

    def page(self, params: Mapping[str, str]) -> Page:
        """Return the first events of the window that is asked for, which lies in one day."""
        start, end = (parse_instant(name, params[name]) for name in ("timestamp__gte", "timestamp__lt"))
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
        numbers = range(-(-(start - midnight) // self.step), min(self._events, -(-(end - midnight) // self.step)))
        lines = [self._line(midnight, number) for number in numbers[: int(params["limit"])]]
        return parse_page(b'{"count":%d,"results":[%b]}' % (len(numbers), b",".join(lines)))

    def count(self, window: Window, filters: Filters) -> int:
        """Return how many events ``window`` holds."""
        return self.page({**window.params(), **filters.params(), "limit": "1"}).count

    def _line(self, midnight: datetime, number: int) -> bytes:
        before, between, after = self._parts[(number + midnight.toordinal() * self._events) % len(self._parts)]
        uuid = b"%08x-0000-4000-8000-%012x" % (midnight.toordinal(), number)
        return before + format_instant(midnight + number * self.step).encode() + between + uuid + after


def fill(bucket: Bucket, days: int, events: int) -> str:
    """Export and seal ``days`` windows, a seal each month; return the head."""
    api = Days(events)
    head, sealed = "", START
    for number in range(days):
        window = Window(START + number * DAY, START + (number + 1) * DAY)
        location = Location(bucket.name, f"{PREFIX}shop.example.com/remote/1/{window.date_in(UTC)}.jsonl.gz")
        target = Target.look(bucket, location, Format.JSONL_GZ, None)
        with export_window(api, window, Filters()) as export:
            archive(export, target, {}, RUN)
        if window.end.day == 1 or number == days - 1:
            [sealing] = seal_archive(bucket, PREFIX, Window(sealed, window.end), RUN, key=KEY)
            head, sealed = sealing.head.sha256, window.end
    return head


def main() -> None:
    """Build the archive, verify it, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verification", description=__doc__)
    parser.add_argument("--days", type=int, default=365, help="windows (365)")
    parser.add_argument("--events", type=int, default=2000, help="events in each, of about 1.3 KB (2000)")
    options = parser.parse_args()
    with LocalS3.start() as s3:
        client = s3.client()
        client.create_bucket(Bucket="archive")
        bucket = Bucket(client, "archive")
        head = fill(bucket, options.days, options.events)
        requests: Counter[str] = Counter()
        client.meta.events.register("before-send.s3", lambda event_name, **_: requests.update([event_name]))
        began = time.perf_counter()
        report = verify_archive(bucket, PREFIX, Expected(public_keys=[KEY.public], known_heads=[head]))
        took = time.perf_counter() - began
        made = dict(requests)
        began = time.perf_counter()
        read = sum(len(bucket.read(key)) for key in bucket.keys(PREFIX))
        once = time.perf_counter() - began
    if report.counts != {Status.OK.value: options.days}:
        raise SystemExit(f"It does not verify: {report.counts}")
    print(f"{options.days} windows, {report.chains[0].number} seals, {report.bytes_read / 1e6:.1f} MB of objects")
    for name, number in sorted(made.items()):
        print(f"{number:>6} {name.rpartition('.')[2]}")
    print(f"{sum(made.values()):>6} requests in {took:.1f} s")
    print(f"{took / once:.2f} × the time to read the same {read / 1e6:.1f} MB one key after the other ({once:.1f} s)")


if __name__ == "__main__":
    main()
