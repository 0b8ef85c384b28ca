"""Exports in processes of their own, as Airflow's workers run them: to be killed, or to meet each other.

They are forked from one process that has imported Airflow already, which alone takes longer than an export.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from multiprocessing.context import ForkServerContext
from typing import Any

from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from tests.support import quick_clients  # noqa: F401 - it is enough to import it


class Worker:
    """An export in a process that has this environment in place of its own."""

    def __init__(self, environment: Mapping[str, str], bucket: str, start: datetime, end: datetime) -> None:
        arguments = {"redact": None, "s3_bucket": bucket, "start": start.isoformat(), "end": end.isoformat()}
        # A child of the first one knows the environment of then only.
        whole = {**os.environ, **environment}
        self._process = _context().Process(target=_export, args=(whole, arguments))
        self._process.start()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()

    def wait(self, timeout: float) -> int | None:
        """Return the exit status, of a process that a signal ended its negative number; None where it goes on."""
        self._process.join(timeout)
        return self._process.exitcode


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _export(environment: Mapping[str, str], arguments: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    AuditEventsToS3Operator(task_id="export", **arguments).execute({})
