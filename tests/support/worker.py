"""Exports in processes of their own, as Airflow's workers run them: to be killed, or to meet each other.

They are forked, since importing Airflow alone takes longer than an export.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from tests.support import quick_clients  # noqa: F401 - it is enough to import it
from tests.support.forking import fork


class Worker:
    """An export in a process that has this environment in place of its own."""

    def __init__(self, environment: Mapping[str, str], bucket: str, start: datetime, end: datetime) -> None:
        arguments = {"redact": None, "s3_bucket": bucket, "start": start.isoformat(), "end": end.isoformat()}
        self._process = fork(_export, arguments, environment=environment)

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


def _export(arguments: dict[str, Any]) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    AuditEventsToS3Operator(task_id="export", **arguments).execute({})
