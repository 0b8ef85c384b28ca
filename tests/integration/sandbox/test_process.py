"""The sandbox as a command and as a Python object: start, truth, changes, stop, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import requests
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.options import parse
from tests.support.commands import needs
from tests.support.sandbox_client import END, Client

COMMAND = [sys.executable, "-m", "airflow_provider_akinon.sandbox"]


@pytest.fixture
def by_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start sandboxes as users do, and not forked."""
    monkeypatch.setattr("airflow_provider_akinon.sandbox.process.subprocess", subprocess)


def test_it_imports_no_django_and_no_airflow() -> None:
    """A caller's process gets the Python API without Django, REST framework or Airflow."""
    code = (
        "import sys, airflow_provider_akinon.sandbox;"
        "print([name for name in ('django', 'rest_framework', 'waitress', 'airflow') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_same_seed_gives_the_same_events(tmp_path: Path) -> None:
    """Two runs with the same seed, span and number hold the same rows; another seed gives others."""

    def rows(name: str, seed: int) -> list[tuple[object, ...]]:
        path = tmp_path / name
        with Sandbox.start(events=400, days=5, until=END, seed=seed, database=path):
            pass
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute("SELECT * FROM audit_event ORDER BY id").fetchall()

    first, again, other = rows("a", 1), rows("b", 1), rows("c", 2)
    assert len(first) == 400
    assert first == again
    assert not {row[1] for row in first} & {row[1] for row in other}


def test_truth_agrees_with_the_api(plain: Sandbox, client: Client) -> None:
    """`uuids` and `count` take text and datetimes, half-open windows and every filter, as the API does."""
    day = {"timestamp__gte": "2026-01-22T00:00:00Z", "timestamp__lt": "2026-01-23T00:00:00Z"}
    edges = (datetime(2026, 1, 22, tzinfo=UTC), "2026-01-23T03:00:00+03:00")
    for filters in ({}, {"user": 1001}, {"content_type": 12}, {"user": 1001, "content_type": 12}):
        answer = client.list(sort="timestamp,uuid", limit=200, **day, **filters).json()
        assert plain.count(*edges, **filters) == answer["count"] > 0
        assert plain.uuids(*edges, **filters)[:200] == [event["uuid"] for event in answer["results"]]
    with pytest.raises(ValueError, match="no time zone"):
        plain.count("2026-01-22")


def test_changes_are_visible_at_once(plain: Sandbox, client: Client) -> None:
    """Inserted, changed and deleted events show in the next answer."""
    moment = datetime(2025, 8, 1, tzinfo=UTC)
    window = {"timestamp__gte": moment.isoformat(), "timestamp__lt": (moment + timedelta(days=1)).isoformat()}
    given = plain.insert(
        [{"timestamp": moment, "user": 5}, {"timestamp": "2025-08-01T01:00:00Z", "user": None, "object_id": 9}]
    )
    events = client.results(sort="timestamp", **window)
    assert [event["uuid"] for event in events] == given == plain.uuids(moment, moment + timedelta(days=1))
    assert events[0]["user"]["pk"] == 5
    assert (events[1]["user"], events[1]["object_id"]) == (None, 9)

    plain.update(given[0], user={"pk": 6, "email": "x@example.com"}, timestamp="2025-08-01T02:00:00Z")
    changed = client.results(user=6, **window)
    assert [(event["uuid"], event["user"]["email"]) for event in changed] == [(given[0], "x@example.com")]
    assert changed[0]["timestamp"] == "2025-08-01T02:00:00Z"

    assert plain.delete([given[0], given[0]]) == 1
    assert client.list(**window).json()["count"] == 1
    plain.delete(given)
    with pytest.raises(KeyError):
        plain.update(given[0], url="x")
    with pytest.raises(ValueError, match="no field 'colour'"):
        plain.insert([{"timestamp": moment, "colour": "red"}])
    with pytest.raises(ValueError, match="needs a 'timestamp'"):
        plain.insert([{"user": 5}])


def test_reading_and_writing_at_once(plain: Sandbox) -> None:
    """Writers and concurrent readers do not lock each other out, and no line of the log is lost or torn."""
    before = len(plain.requests())
    failures: list[object] = []

    def read() -> None:
        with closing(Client(plain)) as client:
            failures.extend(r for r in (client.list(limit=20) for _ in range(25)) if r.status_code != 200)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    given = [uuid for _ in range(40) for uuid in plain.insert([{"timestamp": "2025-09-01T00:00:00Z"}] * 3)]
    for thread in threads:
        thread.join()
    assert failures == []
    assert plain.delete(given) == 120
    assert len(plain.requests()) - before == 150


def test_the_connection_is_one_that_airflow_reads(plain: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both forms of the connection give Airflow the host, the key and the remote id."""
    monkeypatch.setenv("AIRFLOW_CONN_BY_JSON", plain.connection_json())
    monkeypatch.setenv("AIRFLOW_CONN_BY_URI", plain.connection_uri())
    for name in ("by_json", "by_uri"):
        found = BaseHook.get_connection(name)
        assert (found.conn_type, found.host, found.password) == ("akinon", plain.url, plain.key)
        assert found.extra_dejson == {"remote_id": 1}


def children() -> set[psutil.Process]:
    """Return the processes that this one has started, and that go on."""
    return {child for child in psutil.Process().children() if child.is_running()}


@pytest.mark.usefixtures("by_its_command")
def test_stopping_leaves_no_process_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the end of the `with`, the process has ended with status 0 and its temporary directory is gone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = children()
    with Sandbox.start(events=20) as sandbox:
        assert sandbox.count() == 20
        assert len(children() - before) == 1
        assert list(tmp_path.iterdir())
    assert children() == before
    assert list(tmp_path.iterdir()) == []
    assert sandbox.stop() == 0, "stopping twice does nothing"


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """A caller that is killed takes its sandbox along, temporary files included."""
    code = (
        "import os, pathlib, signal; from airflow_provider_akinon.sandbox import Sandbox;"
        "s = Sandbox.start(events=20);"
        "assert list(pathlib.Path(os.environ['TMPDIR']).iterdir());"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    caller = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    deadline = time.monotonic() + 10
    while list(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert caller.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [], "the sandbox goes on"


@pytest.mark.usefixtures("by_its_command")
def test_a_failure_to_start_says_why() -> None:
    """What the process said about its failure is in the error."""
    with pytest.raises(RuntimeError, match=r"(?s)status 2.*--events: '-3' is not a whole number of 0 or more"):
        Sandbox.start(events=-3)
    with pytest.raises(RuntimeError, match="unrecognized arguments: --evnets=3"):
        Sandbox.start(evnets=3)
    with pytest.raises(RuntimeError, match=r"did not start within 0\.01 s"):
        Sandbox.start(startup_timeout=0.01)


@needs("curl")
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_how_to_use_it_and_stops_cleanly(tmp_path: Path, signal_: signal.Signals) -> None:
    """The console shows a URL, a key, a command and a connection that work; a signal ends it with status 0."""
    log, database = tmp_path / "log.jsonl", tmp_path / "events.sqlite3"
    command = [*COMMAND, "--port=0", "--events=50", f"--until={END}", f"--log={log}", f"--database={database}"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout
        lines = [line.strip() for line in iter(process.stdout.readline, "Ctrl-C stops it.\n")]
        [url, key] = [line.split()[1] for line in lines if line.startswith(("URL", "Key"))]
        assert requests.get(url, timeout=20).status_code == 401
        [curl] = [line for line in lines if line.startswith("curl")]
        assert json.loads(_bash(f"{curl} --silent"))["count"] == 50
        [export] = [line for line in lines if line.startswith("export")]
        connection = json.loads(_bash(f'{export}; printf %s "$AIRFLOW_CONN_AKINON_DEFAULT"'))
        assert url.startswith(connection["host"])
        assert connection["password"] == key == "sandbox-key"
        process.send_signal(signal_)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert err.splitlines() == ["401 GET /" + url.split("/", 3)[3]]
    assert out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.sqlite3", "log.jsonl"]
    assert [json.loads(line)["status"] for line in log.read_text().splitlines()] == [401, 200]


def _bash(command: str) -> str:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    """A taken port is named, with what to do, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = subprocess.run([*COMMAND, f"--port={port}"], capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert answer.stderr.startswith(
        f"The sandbox did not start: cannot listen on --host 127.0.0.1 --port {port} (Address already in use); give"
    )
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--events", "many"], "argument --events: 'many' is not a whole number of 0 or more"),
        (["--days", "0"], "argument --days: '0' is not a whole number from 1 to 36500"),
        (["--port", "65536"], "argument --port: '65536' is not a whole number from 0 to 65535"),
        (
            ["--until", "2026-01-31T00:00:00"],
            "argument --until: '2026-01-31T00:00:00' is not an ISO 8601 date-time with",
        ),
        (["--key", "a b"], "argument --key: 'a b' cannot stand in a header"),
        (["--narrow-key", "sandbox-key"], "--narrow-key is the same as --key; give another"),
        (["--throttle", "fast"], "argument --throttle: 'fast' is not a rate; write it like 5/s, 100/min"),
        (["--faults", "2"], "argument --faults: '2' is not a number from 0 to 1"),
        (["--faults", "nan"], "argument --faults: 'nan' is not a number from 0 to 1"),
        (["--fault", "502"], "--fault 502 needs --faults RATE"),
        (["--fault", "503", "--fault", "nonsense"], "argument --fault: invalid choice: 'nonsense'"),
        (["--redirect-to", "example.com"], "argument --redirect-to: 'example.com' is not where a server is"),
        (["--database", "."], "--database . exists already; remove it, or name a new file"),
        (["--log", "no/such/place"], "--log no/such/place lies in a directory that does not exist"),
        (["--trunc"], "unrecognized arguments: --trunc"),
    ],
)
def test_a_wrong_argument_names_flag_and_value(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Each wrong argument ends with status 2, and a message that names the flag, the value and the remedy."""
    with pytest.raises(SystemExit) as stopped:
        parse(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
