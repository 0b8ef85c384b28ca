"""Tasks that are ended in the middle of something that takes for ever, each in a process of its own.

``python -m tests.support.interrupted`` prints how long each phase took to end after its ``execution_timeout``, and
after a kill. What the API refuses is refused for 200 seconds; what S3 is asked for never comes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import boto3
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import AirflowTaskTimeout
from botocore.config import Config

from airflow_provider_akinon.audit_events.model import format_instant, parse_instant
from airflow_provider_akinon.operators.audit_archive import (
    ReconcileAuditArchiveOperator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
)
from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from airflow_provider_akinon.task_run import ends_killed_tasks
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from tests.support.forking import fork
from tests.support.http_server import Answer, RawServer, Request, Server, page, problem
from tests.support.memory_bucket import MemoryBucket

START = datetime(2026, 1, 31, tzinfo=UTC)
WINDOW = {"start": "2026-01-31T00:00:00Z", "end": "2026-02-01T00:00:00Z"}
STORED = {"s3_bucket": "audit", "s3_key_prefix": "logs", **WINDOW}
EVENTS = 3000
UPLOAD_TIMEOUT = 3.0
"""Seconds that a request of the upload waits for its answer."""
HANGING = "hanging"
"""The file that tells that S3 was asked for what never comes."""
PATIENCE = 60.0
"""Seconds after which something is wrong, rather than slow."""


@dataclass(frozen=True)
class Phase:
    """What a task does when it is ended."""

    task: Callable[[], Any]
    stuck: Callable[[Asked], bool] = lambda _: False
    """Tells whether the API refuses a request."""
    hanging: str | None = None
    """The method of S3's client that never answers."""
    hanging_key: str = ""
    """What the key ends in that it never answers for."""
    miscounts: bool = False
    """Whether the API counts an event more than it gives."""
    before: Callable[[], Any] = lambda: None
    """What is exported before, undisturbed."""
    seconds: float = 2.0
    """Within how many it has to end."""

    def is_reached(self, shop: Shop, notes: Path) -> bool:
        """Tell whether the task is where it would stay for ever."""
        return shop.refused > 0 or (notes / HANGING).exists() or (self is BETWEEN and shop.asked == 1)


@dataclass(frozen=True)
class Asked:
    """A request to the API."""

    number: int
    """How many came before it, of those that the task made."""
    query: dict[str, str]
    recounted: bool
    """Whether a part of the window was counted before."""

    @property
    def counts(self) -> bool:
        return self.query.get("limit") == "1"

    @property
    def is_whole(self) -> bool:
        return self.query["timestamp__gte"].startswith("2026-01-31T00:00:00") and self.query[
            "timestamp__lt"
        ].startswith("2026-02-01")


def export(**arguments: Any) -> Any:
    return AuditEventsToS3Operator(task_id="export", **{**STORED, **arguments})


def stored() -> None:
    export().execute({})


def sealed() -> None:
    stored()
    SealAuditArchiveOperator(task_id="seal", **STORED).execute({})


def sensor(**arguments: Any) -> Any:
    return AuditEventsSensor(task_id="wait", min_events=EVENTS + 1, **WINDOW, **arguments)


def reconcile(**arguments: Any) -> Any:
    return ReconcileAuditArchiveOperator(task_id="reconcile", **STORED, **arguments)


def verify() -> Any:
    return VerifyAuditArchiveOperator(task_id="verify", s3_bucket="audit", s3_key_prefix="logs")


BETWEEN = Phase(lambda: sensor(poke_interval=100.0))
PHASES = {
    "export: looking at the bucket": Phase(export, hanging="head_bucket"),
    "export: comparing with what is stored": Phase(export, hanging="get_object", before=stored),
    "export: reading": Phase(export, stuck=lambda asked: asked.number > 3),
    "export: counting the slices again": Phase(
        export, stuck=lambda asked: asked.counts and not asked.is_whole, miscounts=True
    ),
    "export: reading slices again": Phase(
        export, stuck=lambda asked: asked.recounted and not asked.counts, miscounts=True
    ),
    "export: counting the window": Phase(export, stuck=lambda asked: asked.counts),
    "export: uploading": Phase(export, hanging="upload_fileobj", seconds=UPLOAD_TIMEOUT + 2),
    "export: writing the receipt": Phase(export, hanging="put_object"),
    "sensor: looking": Phase(sensor, stuck=lambda _: True),
    "sensor: looking, before it defers": Phase(lambda: sensor(deferrable=True), stuck=lambda _: True),
    "sensor: between two looks": BETWEEN,
    "seal: reading receipts": Phase(
        lambda: SealAuditArchiveOperator(task_id="seal", **STORED), hanging="get_object", before=stored
    ),
    "verify: listing": Phase(verify, hanging="get_paginator", before=sealed),
    "verify: reading seals": Phase(verify, hanging="get_object", hanging_key=".json", before=sealed),
    "verify: reading objects": Phase(verify, hanging="get_object", hanging_key=".jsonl.gz", before=sealed),
    "reconcile: reading receipts": Phase(reconcile, hanging="get_object", before=stored),
    "reconcile: counting again": Phase(reconcile, stuck=lambda asked: asked.counts, before=stored),
    "reconcile: fetching a sample": Phase(
        lambda: reconcile(sample=8), stuck=lambda asked: not asked.query, before=stored
    ),
    "reconcile: exporting again": Phase(
        lambda: reconcile(repair=True),
        stuck=lambda asked: bool(asked.query) and not asked.counts,
        before=stored,
        miscounts=True,
    ),
}


class Shop:
    """A shop with an event each 20 seconds; while a task is ended, one more than it gives."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self.disturbed = False
        self.asked = 0
        self.refused = 0
        self.recounted = False

    def answer(self, request: Request) -> Answer:
        asked = Asked(self.asked, request.query if "?" in request.target else {}, self.recounted)
        if self.disturbed:
            self.asked += 1
            self.recounted |= asked.counts and not asked.is_whole
            if self.phase.stuck(asked):
                self.refused += 1
                return problem(429, {"detail": "Slow down."}, Retry_After="200")
        if not asked.query:
            return problem(404, {"detail": "Not found."})
        start, end = (parse_instant(name, asked.query[name]) for name in ("timestamp__gte", "timestamp__lt"))
        moments = [START + timedelta(seconds=20 * place) for place in range(EVENTS)]
        found = [each for each in moments if start <= each < end]
        given = found[: int(asked.query["limit"])]
        return page(len(found) + (self.disturbed and self.phase.miscounts and asked.counts), *map(_record, given))


def _record(moment: datetime) -> str:
    uuid = uuid5(NAMESPACE_OID, moment.isoformat())
    return json.dumps({"uuid": str(uuid), "timestamp": format_instant(moment)})


@dataclass(frozen=True)
class Ending:
    """How a task ended."""

    seconds: float
    """From its end's cause until its process was gone."""
    by: str
    """The name of the exception that left ``execute``."""
    was_stuck: bool
    """Whether it was in the phase that was meant."""
    requests_later: int
    """Requests that the API got after the process was gone."""


def end(phase: Phase, way: str) -> Ending:
    """Run the phase's task, and end it by its ``execution_timeout`` (``timeout``), or by a ``kill``."""
    shop = Shop(phase)
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(shop.answer) as server,
        RawServer(lambda: [600.0]) as silence,
    ):
        notes = Path(folder)
        connection = {"conn_type": "akinon", "host": server.url, "password": "k", "extra": {"page_size": 1000}}
        environment = {"AIRFLOW_CONN_AKINON_DEFAULT": json.dumps(connection)}
        name = next(name for name, each in PHASES.items() if each is phase)
        process = fork(_run, name, way, folder, silence.url, environment=environment)
        try:
            while not (notes / "begins").exists():
                assert process.is_alive()
                time.sleep(0.01)
            shop.disturbed = True
            (notes / "go").touch()
            until = time.monotonic() + PATIENCE
            while (
                not (was_stuck := phase.is_reached(shop, notes)) and time.monotonic() < until and process.is_alive()
            ):
                time.sleep(0.01)
            time.sleep(0.2)
            ended = time.monotonic()
            os.kill(process.pid or 0, signal.SIGALRM)
            process.join(PATIENCE)
            gone = time.monotonic()
            assert not process.is_alive()
        finally:
            process.kill()
        asked = shop.asked
        time.sleep(0.1)
        return Ending(gone - ended, (notes / "ended").read_text(), was_stuck, shop.asked - asked)


def _run(name: str, way: str, folder: str, silence: str) -> None:
    phase, notes = PHASES[name], Path(folder)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    bucket = MemoryBucket()
    S3Hook.get_conn = lambda _: bucket  # type: ignore[method-assign,assignment,misc,return-value]
    phase.before()
    task = phase.task()
    (notes / "begins").touch()
    while not (notes / "go").exists():
        time.sleep(0.01)
    if phase.hanging:
        _hang(bucket, phase, notes / HANGING, silence)
    _listen(task, way)
    try:
        task.execute({"ti": SimpleNamespace(xcom_push=lambda **_: None)})
        by = "nothing"
    except BaseException as error:
        by = type(error).__name__
    (notes / "ended").write_text(by)


def _hang(bucket: Any, phase: Phase, note: Path, silence: str) -> None:
    """Let a method of S3's client never answer, for some keys."""
    answers = getattr(bucket, phase.hanging or "")

    def hang(*arguments: Any, **named: Any) -> Any:
        if not named.get("Key", "").endswith(phase.hanging_key):
            return answers(*arguments, **named)
        note.touch()
        if phase.hanging == "upload_fileobj":
            client = boto3.client(
                "s3",
                region_name="eu-west-1",
                aws_access_key_id="a",
                aws_secret_access_key="b",
                endpoint_url=silence,
                config=Config(read_timeout=UPLOAD_TIMEOUT),
            )
            return client.upload_fileobj(*arguments, **named)
        time.sleep(600)
        return None

    setattr(bucket, phase.hanging or "", hang)


def _listen(task: Any, way: str) -> None:
    """Let a signal end ``task`` as Airflow does: by its timer's exception, or by telling the task."""

    def at_timeout(*_: object) -> None:
        raise AirflowTaskTimeout("Timeout")

    def at_kill(*_: object) -> None:
        task.on_kill()
        if ends_killed_tasks():
            raise SystemExit("Task received SIGTERM signal")

    signal.signal(signal.SIGALRM, at_timeout if way == "timeout" else at_kill)


def main() -> None:
    """Print the table."""
    print(f"{'phase':<40}{'timeout':>10}{'kill':>10}")
    for name, phase in PHASES.items():
        seconds = [end(phase, way).seconds for way in ("timeout", "kill")]
        print(f"{name:<40}" + "".join(f"{each:>8.2f} s" for each in seconds))


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        sys.exit(main())
