"""Sandboxes in a fifth of their time: to import this module lets `Sandbox.start` fork them.

Most of their start is the import of Django. They are the real ones, each a process of its own. What a command line
starts, and the tests of the sandbox's own process, are not touched.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from multiprocessing.connection import Connection
from types import SimpleNamespace, TracebackType
from typing import IO

from airflow_provider_akinon.sandbox import process
from airflow_provider_akinon.sandbox.__main__ import main
from tests.support.forking import fork

_MODULE = ["-m", "airflow_provider_akinon.sandbox"]


class Forked:
    """As much of `subprocess.Popen` as `Sandbox` uses, for its command only."""

    def __init__(self, command: Sequence[str], *, stdin: int, stdout: int, stderr: IO[bytes]) -> None:
        assert stdin == stdout == subprocess.PIPE
        assert command[1:3] == _MODULE
        their_stdin, our_stdin = os.pipe()
        our_stdout, their_stdout = os.pipe()
        self.stdin = os.fdopen(our_stdin, "wb")
        self.stdout = os.fdopen(our_stdout, "rb")
        with (
            closing(Connection(their_stdin, writable=False)) as first,
            closing(Connection(their_stdout, readable=False)) as second,
            closing(Connection(os.dup(stderr.fileno()))) as third,
        ):
            self._process = fork(_run, command[3:], streams={0: first, 1: second, 2: third})
        self.terminate = self._process.terminate
        self.kill = self._process.kill

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired("sandbox", timeout or 0)
        return status

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stdin.close()
        self.stdout.close()
        self.wait()


def _run(arguments: list[str]) -> None:
    sys.argv = ["sandbox", *arguments]
    sys.exit(main())


process.subprocess = SimpleNamespace(  # type: ignore[assignment]
    Popen=Forked, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
)
