"""A task's timeout, or a kill, ends each phase of a task at once, whatever it waits for.

What Airflow does after ``execution_timeout`` is a signal whose handler raises in the main thread. So does this. What
is waited for here never comes: calls of the API, or requests to S3, that block the thread that makes them, as a try
that sleeps before the next one does. Run it with ``-s`` to see how long each phase took to end.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_akinon.audit_events.api import AuditEventsApi
from airflow_provider_akinon.operators.audit_archive import (
    ReconcileAuditEventsOperator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
)
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from tests.support.exporting import SECOND, Span, spread
from tests.support.servers import Connect

SOON = 2.0
"""Seconds within which a phase has to end."""
LONG = 30.0
"""Seconds that what is waited for takes."""


class Interrupted(BaseException):
    """What the signal raises, as Airflow's AirflowTaskTimeout is no Exception."""


class Hanging:
    """What the main thread, or threads of its, wait for; interrupts the main thread once that has begun."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.interrupted_at = 0.0
        self._begun = threading.Event()
        threading.Thread(target=self._interrupt, daemon=True).start()

    def hang(self, *_: object, **__: object) -> None:
        """Wait in the calling thread; not after the test, since clients of S3 are shared."""
        if self.over.is_set():
            return
        self._begun.set()
        self.over.wait(LONG)
        raise AssertionError("nobody was interrupted")

    def _interrupt(self) -> None:
        if self._begun.wait(LONG):
            time.sleep(0.2)
            self.interrupted_at = time.monotonic()
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    def interrupt(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupt)
    hanging = Hanging()
    yield hanging
    hanging.over.set()
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def client(s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client of S3 that this test's tasks use."""
    client = s3.client()
    monkeypatch.setattr(S3Hook, "get_conn", lambda _: client)
    return client


@pytest.fixture
def stored(shop: Sandbox, connect: Connect, day: Span, bucket: str) -> Span:
    """A day whose events are exported, and one of its events changed since."""
    connect(shop)
    uuids = shop.insert({"timestamp": time} for time in spread(day, 300))
    export(bucket, day).execute({})
    shop.update(uuids[0], url="https://shop.example.com/elsewhere/")
    return day


def export(bucket: str, day: Span) -> AuditEventsToS3Operator:
    return AuditEventsToS3Operator(task_id="export", s3_bucket=bucket, start=day.start, end=day.end)


def reconcile(bucket: str, day: Span, **arguments: Any) -> ReconcileAuditEventsOperator:
    return ReconcileAuditEventsOperator(
        task_id="reconcile", s3_bucket=bucket, start=day.start, end=day.end, **arguments
    )


def seal(bucket: str, day: Span) -> SealAuditArchiveOperator:
    return SealAuditArchiveOperator(task_id="seal", s3_bucket=bucket, start=day.start, end=day.end)


def verify(bucket: str, _: Span) -> VerifyAuditArchiveOperator:
    return VerifyAuditArchiveOperator(task_id="verify", s3_bucket=bucket)


def sensor(_: str, day: Span) -> AuditEventsSensor:
    return AuditEventsSensor(task_id="sense", start=day.start, end=day.end, settled_for=timedelta(minutes=30))


def api_hangs(method: str, *, in_thread: str = "") -> Callable[[Any, pytest.MonkeyPatch, Hanging], None]:
    """Return what lets a method of the API's client hang, in threads of one name only where one is given."""

    def prepare(_: Any, monkeypatch: pytest.MonkeyPatch, hanging: Hanging) -> None:
        asked = getattr(AuditEventsApi, method)

        def ask(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread().name.startswith(in_thread):
                hanging.hang()
            return asked(*args, **kwargs)

        monkeypatch.setattr(AuditEventsApi, method, ask)

    return prepare


def s3_hangs(operation: str) -> Callable[[Any, pytest.MonkeyPatch, Hanging], None]:
    """Return what lets an operation of S3 hang."""
    return lambda client, _, hanging: client.meta.events.register(f"before-send.s3.{operation}", hanging.hang)


PHASES = {
    "export: reading": (export, api_hangs("page")),
    "export: counting again": (export, api_hangs("count", in_thread="akinon-count")),
    "export: looking at what is stored": (export, s3_hangs("ListObjectsV2")),
    "export: comparing with what is stored": (export, s3_hangs("GetObject")),
    "export: recording changes": (export, s3_hangs("PutObject")),
    "sensor": (sensor, api_hangs("count")),
    "verify: listing": (verify, s3_hangs("ListObjectsV2")),
    "verify: reading": (verify, s3_hangs("GetObject")),
    "seal: reading": (seal, s3_hangs("GetObject")),
    "seal: writing": (seal, s3_hangs("PutObject")),
    "reconcile: reading receipts": (reconcile, s3_hangs("GetObject")),
    "reconcile: counting": (reconcile, api_hangs("count")),
    "reconcile: fetching a sample": (partial(reconcile, sample=50), api_hangs("get_record")),
}


@contextmanager
def growing(shop: Sandbox, day: Span, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let an event arrive with each page of a reading, so that the window is counted again."""
    page = AuditEventsApi.page

    def ask(*args: Any, **kwargs: Any) -> Any:
        answer = page(*args, **kwargs)
        shop.insert([{"timestamp": day.start + SECOND}])
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(AuditEventsApi, "page", ask)
        yield


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_ends_at_once(
    phase: str,
    stored: Span,
    bucket: str,
    shop: Sandbox,
    client: Any,
    hanging: Hanging,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The task ends within two seconds, and no thread is left that its process would wait for."""
    make, prepare = PHASES[phase]
    operator = make(bucket, stored)
    with growing(shop, stored, monkeypatch) if "again" in phase else monkeypatch.context():
        prepare(client, monkeypatch, hanging)

        with pytest.raises(Interrupted):
            operator.execute({})

    took = time.monotonic() - hanging.interrupted_at
    print(f"{phase:40} {took:5.2f} s")
    assert took < SOON
    waited_for = [each.name for each in threading.enumerate() if not each.daemon and "akinon-" in each.name]
    assert waited_for == []
