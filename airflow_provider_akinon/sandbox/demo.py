"""The demo: three days of audit events from a sandbox API into a real S3, through Airflow, each object checked.

``python -m airflow_provider_akinon.sandbox.demo`` from a checkout: runs the daily example DAG for three data
intervals in an AIRFLOW_HOME of its own, shows what landed, compares every object with the API's database, and runs
one interval again to see that nothing is written, although the API by then knows other things of the users. Exits 0
only where all of it held, and stops all that it started, also on Ctrl-C. It uses no Airflow, connection or bucket
that you have.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from airflow_provider_akinon.audit_events.archive import RECEIPT_SUFFIX
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3

BUCKET = "audit-archive"
DAG_ID = "akinon_daily_export"
DAYS = 3
AIRFLOW_TIMEOUT = 600.0
"""Seconds that Airflow may take for all runs."""


def main() -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_akinon.sandbox.demo", description=__doc__)
    parser.add_argument("--dags", type=Path, default=Path("example_dags"), help="folder of the example DAGs")
    parser.add_argument("--home", type=Path, default=Path(".demo"), help="folder for Airflow's files and log")
    parser.add_argument("--events", type=int, default=20_000, help="in the three days")
    arguments = parser.parse_args()
    if not arguments.dags.is_dir():
        parser.error(f"--dags {arguments.dags} is no folder; run the demo from a checkout")
    signal.signal(signal.SIGTERM, _interrupt)
    until = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [until - timedelta(days=number) for number in range(DAYS, 0, -1)]

    _say("Starting the sandbox API and SeaweedFS")
    with Sandbox.start(events=arguments.events, days=DAYS, until=until) as sandbox, LocalS3.start() as s3:
        s3.client().create_bucket(Bucket=BUCKET)
        _say(f"The API at {sandbox.url} holds {sandbox.count()} audit events of {DAYS} days")
        airflow = Airflow(arguments.dags, arguments.home, sandbox, s3)
        airflow.run(days)
        stored = [_stored(s3, day) for day in days]
        _show(stored)
        wrong = [object_.key for object_ in stored if object_.uuids != _truth(sandbox, object_.day)]
        event = next(event for event in stored[0].events if event["user"])
        before = _listing(s3)
        _say("Running the first day again")
        airflow.run(days[:1])
        written = _listing(s3) != before
        then, now = (each["user"]["last_login"] for each in (event, _event(sandbox, event["uuid"])))

    print()
    print(f"The last login of user {event['user']['pk']}, as one and the same event shows it")
    print(f"  in the archive {then}")
    print(f"  in the API     {now}")
    print()
    print(
        f"Events equal those in the API's database: {'no: ' + ', '.join(wrong) if wrong else 'yes, in each object'}"
    )
    print(f"The users moved until the second run:     {'no' if then == now else 'yes'}")
    print(f"The second run wrote anything:            {'yes' if written else 'no, what is stored stays as it is'}")
    return 1 if wrong or written or then == now else 0


@dataclass(frozen=True)
class Airflow:
    """An Airflow of the demo's own, in a folder of its own."""

    dags: Path
    home: Path
    sandbox: Sandbox
    s3: LocalS3

    def run(self, days: list[datetime]) -> None:
        """Run the DAG for each of ``days``, showing how it goes.

        :raises SystemExit: a run failed.
        """
        self.home.mkdir(exist_ok=True)
        log = self.home / "airflow.log"
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str((self.home / "airflow").resolve()),
            "AIRFLOW_CONN_AKINON_DEFAULT": self.sandbox.connection_json(),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(self.s3.connection()),
            "AKINON_EXAMPLE_BUCKET": BUCKET,
        }
        # A run of the timetable is for the interval that ends at its date.
        dates = [(day + timedelta(days=1)).isoformat() for day in days]
        module = "airflow_provider_akinon.sandbox.dag_run"
        command = [sys.executable, "-m", module, str(self.dags), DAG_ID, *dates]
        began = time.monotonic()
        with log.open("a") as output:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=output, text=True)  # noqa: S603 - our own module
            with process:
                try:
                    assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
                    for line, day in zip(process.stdout, days, strict=False):
                        state = json.loads(line)["state"]
                        _say(f"{DAG_ID} for {day:%Y-%m-%d}: {state}, {time.monotonic() - began:.0f} s")
                    status = process.wait(AIRFLOW_TIMEOUT)
                finally:
                    process.kill()
        if status:
            raise SystemExit(f"Airflow failed; see {log}")


@dataclass(frozen=True)
class StoredObject:
    """The object that lies in the bucket for a day."""

    day: datetime
    key: str
    size: int
    sha256: str
    events: list[dict[str, Any]]

    @property
    def uuids(self) -> list[str]:
        """The events' uuids, in the object's order."""
        return [event["uuid"] for event in self.events]


def _stored(s3: LocalS3, day: datetime) -> StoredObject:
    keys = [key for key in _listing(s3) if f"/date={day:%Y-%m-%d}/" in key]
    if [key.endswith(RECEIPT_SUFFIX) for key in keys] != [False, True]:
        raise SystemExit(f"There should be one object and its receipt for {day:%Y-%m-%d}, and there are {keys}")
    body = s3.client().get_object(Bucket=BUCKET, Key=keys[0])["Body"].read()
    events = [json.loads(line) for line in gzip.decompress(body).splitlines()]
    return StoredObject(day, keys[0], len(body), hashlib.sha256(body).hexdigest(), events)


def _listing(s3: LocalS3) -> dict[str, tuple[Any, ...]]:
    """Return a mark of each object, by key in order, that changes if the object is written."""
    listing: list[dict[str, Any]] = s3.client().list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {entry["Key"]: (entry["ETag"], entry["LastModified"]) for entry in listing}


def _event(sandbox: Sandbox, uuid: str) -> dict[str, Any]:
    """Return an event as the API gives it now."""
    path = f"{urlsplit(sandbox.list_url).path}{uuid}/"
    with closing(http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=20)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Token {sandbox.key}"})
        event: dict[str, Any] = json.loads(connection.getresponse().read())
    return event


def _truth(sandbox: Sandbox, day: datetime) -> list[str]:
    return sandbox.uuids(day, day + timedelta(days=1))


def _show(stored: list[StoredObject]) -> None:
    print()
    print(f"{'events':>8} {'bytes':>10}  {'sha256':<16}  key")
    for object_ in stored:
        print(f"{len(object_.uuids):>8} {object_.size:>10}  {object_.sha256[:16]}  {object_.key}")
    print()


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {text}", flush=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted; everything that was started has been stopped")
