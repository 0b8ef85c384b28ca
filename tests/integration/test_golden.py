"""What the archive stores, byte for byte, in files: a change of it shows in the diff of the commit that makes it."""

from __future__ import annotations

import gzip
import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from airflow_provider_akinon.operators.audit_archive import SealAuditArchiveOperator
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import Stored, everything, execute
from tests.support.golden import COMMAND, RENEW, Rendering, compare
from tests.support.http_server import Server
from tests.support.paths import GOLDEN
from tests.support.verbatim import answer_verbatim

FORMATS = ("jsonl.gz", "jsonl", "parquet")
PATHS = {"user.email": "hmac", "user.phone": "mask", "user.avatar": "drop", "content.list[*].name": "mask"}
KEYS = {"PSEUDONYMS": "the-key-of-all-pseudonyms", "SEAL": b64encode(bytes(range(32))).decode()}
"""What the passwords of connections are: a key of pseudonyms, and a bare private key of Ed25519."""

# Each on some {day} of March 2025.
RECORDS = (
    # As the API writes most of them, with white space and credentials.
    """{
        "uuid": "10000000-0000-4000-8000-0000000000{day}", "timestamp": "2025-03-{day}T08:00:00.000Z",
        "user": {"pk": 7, "email": "ayse@example.com", "phone": "+905550000007", "avatar": "a.png"},
        "content_type": 12, "object_id": 1001, "content": {"list": [{"name": "Ayşe", "price": "1.10"}]},
        "headers": {"Authorization": "Token abcdef", "Cookie": "sessionid=abcdef", "Accept": "*/*"},
        "post_data": {"password": "hunter2", "size": 1}, "query_params": {"access_token": "abcdef", "page": "2"},
        "remote_addr": "203.0.113.7", "url": "https://shop.example.com/orders/?token=abcdef&page=2"
    }""",
    # Two of one instant, given in the wrong order: by a number for a user, and by nobody.
    '{"uuid":"30000000-0000-4000-8000-0000000000{day}","timestamp":"2025-03-{day}T09:00:00.118Z","user":7,'
    '"content_type":12,"object_id":null,"content":"","headers":{},"post_data":null,"query_params":[],'
    '"remote_addr":null,"url":"/"}',
    '{"timestamp":"2025-03-{day}T09:00:00.118Z","uuid":"20000000-0000-4000-8000-0000000000{day}","user":null}',
    # Integers beyond 64 bits, decimals as they are written, and fields that nobody documents.
    '{"uuid":"40000000-0000-4000-8000-0000000000{day}","timestamp":"2025-03-{day}T10:00:00.000001Z",'
    '"user":{"id":8},"content_type":12.0,"object_id":123456789012345678901234567890,'
    '"content":{"price":1.10,"zero":-0.0,"large":1e400,"huge":' + "1" * 70 + '},"site":3.10,"é":null}',
    # Characters raw and escaped, half of one, and a line break that is none of JSON's.
    '{"uuid":"50000000-0000-4000-8000-0000000000{day}","timestamp":"2025-03-{day}T11:00:00.000Z",'
    '"user":{"pk":7,"email":"\\u015eule@example.com","phone":null},'
    '"content":"ş \\u015f \\/ \\ud83d \\n \\u2028 \u2028 😀","url":"/\\ud800"}',
    # Names twice, in an order of their own, and a time elsewhere.
    '{"url":"/first","user":{"pk":7,"email":"x@example.com","pk":8},"content":{"b":1,"a":2,"b":3},'
    '"timestamp":"2025-03-{day}T23:59:59.999999+03:00","uuid":"60000000-0000-4000-8000-0000000000{day}",'
    '"object_id":-1,"content_type":13,"url":"/second"}',
)
LATE = (
    '{"uuid":"70000000-0000-4000-8000-0000000000{day}","timestamp":"2025-03-{day}T08:30:00.000Z",'
    '"user":{"pk":7},"content":"late"}'
)


class Archive:
    """An API, a bucket, and what each step wrote there."""

    def __init__(self, s3: LocalS3, bucket: str, api: Server) -> None:
        self.steps: dict[str, list[Stored]] = {}
        self.records: dict[str, str] = {}
        api.answers[:] = [partial(answer_verbatim, self.records)]
        self._s3, self._bucket, self._port = s3, bucket, api.port
        self._stored: list[Stored] = []

    def add(self, day: int, *records: str) -> None:
        """Let events happen."""
        for record in records:
            written = record.replace("{day}", f"{day:02}")
            self.records[json.loads(written)["uuid"]] = written

    def change(self, day: int, number: int, old: str, new: str) -> None:
        """Let the source give one of a day's events otherwise from now on."""
        uuid = _uuid(day, number)
        assert old in self.records[uuid]
        self.records[uuid] = self.records[uuid].replace(old, new)

    def lose(self, day: int, number: int) -> None:
        """Let the source no longer give one of a day's events."""
        del self.records[_uuid(day, number)]

    def export(self, step: str, start: str, end: str, **arguments: Any) -> None:
        """Export a window of March 2025."""
        with self._step(step):
            execute(self._context("export"), s3_bucket=self._bucket, **_span(start, end), **arguments)

    def seal(self, step: str, start: str, end: str, **arguments: Any) -> None:
        """Seal a period of March 2025."""
        task = SealAuditArchiveOperator(task_id="seal", s3_bucket=self._bucket, **_span(start, end), **arguments)
        with self._step(step):
            task.execute(self._context("seal"))

    def rendered(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each golden file with its text."""
        rendering = Rendering(self.steps, self._port)
        keys = sorted(map(rendering.key, self._stored))
        yield "keys.txt", "".join(key + "\n" for key in keys)
        for step, written in self.steps.items():
            yield f"{step}.txt", rendering.step(written)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        assert name not in self.steps
        yield
        before = {one.identity for one in self._stored}
        self._stored = everything(self._s3, self._bucket)
        self.steps[name] = [one for one in self._stored if one.identity not in before]

    def _context(self, task: str) -> dict[str, Any]:
        """Return the context of a task's try; the first step has none, as where no Airflow runs it."""
        if not self.steps:
            return {}
        task_instance = SimpleNamespace(dag_id="golden", task_id=task, map_index=-1, try_number=2)
        return {"ti": task_instance, "run_id": "scheduled__2025-03-10T00:00:00+00:00"}


def _uuid(day: int, number: int) -> str:
    return f"{number}0000000-0000-4000-8000-0000000000{day:02}"


def _span(start: str, end: str) -> dict[str, str]:
    return {name: f"2025-03-{edge}" for name, edge in (("start", start), ("end", end))}


MIDNIGHT = "T00:00:00Z"


def day(number: int) -> tuple[str, str]:
    return f"{number:02}{MIDNIGHT}", f"{number + 1:02}{MIDNIGHT}"


def plain(archive: Archive) -> None:
    """Every feature, in a bucket without versions."""
    for number in (1, 2, 3, 5, 6):
        archive.add(number, *RECORDS)
    for format_ in FORMATS:
        archive.export(f"verbatim.{format_}", *day(1), file_format=format_, redact=None)
        archive.export(f"credentials.{format_}", *day(2), file_format=format_)
        archive.export(
            f"paths.{format_}", *day(3), file_format=format_, redact=PATHS, redact_key_conn_id="pseudonyms"
        )
        archive.export(f"empty.{format_}", *day(4), file_format=format_)
    archive.export("filter", *day(1), filters={"user": 7})
    archive.export("filters", *day(4), filters={"user": 7, "content_type": 12, "object_id": 1001})
    archive.export("nothing-new", *day(2))
    archive.seal("first-seal", f"01{MIDNIGHT}", f"05{MIDNIGHT}", seal_key_conn_id="seal")
    archive.add(2, LATE)
    for format_ in FORMATS:
        archive.export(f"late.{format_}", *day(2), file_format=format_)
    archive.change(3, 3, '"object_id":null', '"object_id":1')
    archive.change(3, 5, '"pk":7', '"pk":8')
    archive.change(3, 4, '{"id":8}', '{"id":8,"last_login":null}')
    archive.lose(3, 2)
    again = {"redact": PATHS, "redact_key_conn_id": "pseudonyms", "on_source_change": "warn"}
    archive.export("changed-and-vanished", *day(3), **again)
    archive.export("nothing-new-changed", *day(3), **again)
    stated = {"Metadata": {"team": "security"}, "CacheControl": "no-store"}
    archive.export("stated-to-s3", *day(5), extra_args=stated)
    # What the day before covers too; the rest of this day is a gap.
    archive.export("odd-edges", "05T22:30:00.25Z", "06T10:30:00.000001Z", partition_timezone="Europe/Istanbul")
    archive.export("own-key", *day(6), s3_key="akinon/audit-events/elsewhere.gz", filters={"user": 8})
    archive.seal("second-seal", f"05{MIDNIGHT}", f"07{MIDNIGHT}", seal_key_conn_id="seal")


def versioned(archive: Archive) -> None:
    """A window that is exported again for a late event, in a bucket that keeps versions; the seal is not signed."""
    archive.add(1, *RECORDS)
    archive.export("first", *day(1))
    archive.seal("seal", *day(1))
    archive.add(1, LATE)
    archive.export("late", *day(1))


@pytest.fixture
def client(s3: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client of S3 that tasks and tests share: to make one takes longer than all else that they do."""
    client = s3.client()
    monkeypatch.setattr(S3Hook, "get_conn", lambda _: client)
    monkeypatch.setattr(LocalS3, "client", lambda _: client)
    return client


@pytest.fixture
def buckets(client: Any, bucket: str) -> dict[str, str]:
    """A bucket for each scenario."""
    keeping = f"{bucket}-versions"
    client.create_bucket(Bucket=keeping)
    client.put_bucket_versioning(Bucket=keeping, VersioningConfiguration={"Status": "Enabled"})
    return {"plain": bucket, "versioned": keeping}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An API that ``akinon_default`` leads to, and the connections with keys."""
    for name, password in KEYS.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps({"conn_type": "generic", "password": password}))
    with Server() as server:
        connection = {"conn_type": "akinon", "host": server.url, "password": "key", "extra": {"remote_id": 3}}
        monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", json.dumps(connection))
        yield server


def test_what_the_archive_stores(s3: LocalS3, buckets: dict[str, str], api: Server) -> None:
    """Keys, objects, what S3 is told of them, receipts and seals are as the golden files have them."""
    rendered = {}
    for scenario in (plain, versioned):
        archive = Archive(s3, buckets[scenario.__name__], api)
        scenario(archive)
        rendered |= {f"{scenario.__name__}/{name}": text for name, text in archive.rendered()}

    compare(rendered, GOLDEN)


# The rendering and the comparison themselves.


def test_what_masks_do_not_hide() -> None:
    """A hash of other bytes than were written, the size of others, and each byte between fields still show."""
    written = Stored("a.gz", gzip.compress(b"a\n"), {})
    sha256, size = hashlib.sha256(written.body).hexdigest(), len(written.body)

    def shown(sha256: str, size: int, space: str = " ") -> str:
        document = Stored("_a.json", f'{{"sha256":{space}"{sha256}", "size": {size}}}'.encode(), {})
        rendering = Rendering({"first": [written], "second": [document]}, port=1)
        return rendering.step([document]).partition("----\n")[2].partition("\n")[0]

    right = '{"sha256": "<sha256 of a.gz, written in first>", "size": "<size of these bytes>"}'
    assert shown(sha256, size) == right
    assert shown(sha256, size, "  ") == right.replace(": ", ":  ", 1)
    assert shown(sha256, size + 1) == right.replace("<size", "<not the size")
    assert "<sha256 of nothing that was written>" in shown("0" * 64, size)


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of golden files with which nobody renews anything."""
    monkeypatch.delenv(RENEW, raising=False)
    monkeypatch.delenv("CI", raising=False)
    folder = tmp_path / "golden"
    (folder / "there").mkdir(parents=True)
    (folder / "there/a.txt").write_bytes("one\ntwo \u2028\n".encode())
    return folder


@pytest.mark.parametrize(
    ("rendered", "lines"),
    [
        ({"there/a.txt": "one\ntwo\u2028\n"}, ["--- golden/there/a.txt", "-two \u2028", "+two\u2028"]),
        ({"there/a.txt": "one\ntwo \u2028\n", "new.txt": "three\n"}, ["--- nothing", "+++ stored/new.txt", "+three"]),
        ({}, ["--- golden/there/a.txt", "+++ nothing", "-one"]),
    ],
)
def test_each_difference_fails(golden: Path, rendered: dict[str, str], lines: list[str]) -> None:
    """A changed, a new and a lost file are shown as unified diffs, with the command that renews them."""
    with pytest.raises(pytest.fail.Exception) as caught:
        compare(rendered, golden)

    shown = str(caught.value).split("\n")
    assert [line for line in lines if line not in shown] == []
    assert f"'{COMMAND}' renews" in shown[-1]


def test_renewing(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rendered is written and what is not goes, so that the next comparison passes."""
    rendered = {"b.txt": "three \r\n"}
    monkeypatch.setenv(RENEW, "1")

    compare(rendered, golden)

    monkeypatch.delenv(RENEW)
    compare(rendered, golden)
    assert [path.name for path in golden.rglob("*.txt")] == ["b.txt"]


def test_renewing_is_refused_in_ci(golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where CI is set, nothing is written and the test fails."""
    monkeypatch.setenv(RENEW, "1")
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="refused in CI"):
        compare({}, golden)

    assert [path.name for path in golden.rglob("*.txt")] == ["a.txt"]
