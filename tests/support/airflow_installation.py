"""A whole Airflow of the line that is installed, for system tests: real processes, PostgreSQL, an ``AIRFLOW_HOME``.

On Airflow 3: API server, scheduler, DAG processor and triggerer. On Airflow 2.11: scheduler and triggerer. With the
UI: a webserver on Airflow 2.11, and no triggerer. DAGs are switched off until `AirflowInstallation.switch_on`, unless
their files say otherwise. All of it lives in temporary directories and on free ports of 127.0.0.1, knows none of the
machine's Airflow settings, and is stopped by its pid at the end, however the end comes. It refuses to wait without a
bound, or for processes that have died: the error then holds the ends of their logs.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
import requests

from tests.support.postgresql import PostgreSQL

AIRFLOW_3 = not version("apache-airflow").startswith("2.")

START_TIMEOUT = 180.0
"""Seconds to wait for a process to be up. Airflow takes 20 s of a free core, and cores are not always free."""
CLI_TIMEOUT = 300.0
"""Seconds that one command may take."""
RUN_TIMEOUT = 300.0
"""Seconds that a DAG run may take."""
STOP_TIMEOUT = 30.0
"""Seconds to wait for a process to stop, before it is killed."""

PARSE_INTERVAL = "3600"
"""Seconds until a DAG file is read again, which takes a second of a core; they do not change."""

COMMANDS = """
import contextlib, io, json, sys
from airflow.__main__ import main
outputs = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["airflow", *arguments]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        main()
    outputs.append(output.getvalue())
print(json.dumps(outputs))
"""

T = TypeVar("T")


class Run(NamedTuple):
    """A DAG run, as the metadata database has it."""

    run_id: str
    state: str
    interval_start: datetime | None
    started: datetime | None
    ended: datetime | None


@dataclass
class AirflowInstallation:
    """A running Airflow, which `running` makes."""

    home: Path
    """``AIRFLOW_HOME``, with the processes' logs in ``processes/<name>.log``."""
    database: PostgreSQL
    environment: dict[str, str]
    """Of every process and command."""
    api: str
    """The URL of the API server, or of the webserver on Airflow 2.11, where it is asked for."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """Those that `start` started and `kill` did not end, by name."""

    @classmethod
    @contextmanager
    def running(
        cls,
        dags: Path,
        connections: Mapping[str, str],
        settings: Mapping[str, str] | None = None,
        *,
        ui: bool = False,
    ) -> Iterator[AirflowInstallation]:
        """Start an installation, give it, and stop it. Takes about half a minute.

        :param dags: the folder of DAG files.
        :param connections: JSON or URI by connection id.
        :param settings: more environment variables, for Airflow's settings or for the DAGs.
        :param ui: have the UI, and no triggerer.
        :raises AssertionError: a process did not start; the message holds the ends of the logs.
        """
        with (
            PostgreSQL.start() as database,
            tempfile.TemporaryDirectory(prefix="airflow-", ignore_cleanup_errors=True) as home,
        ):
            port = _free_port()
            environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))},
                **_settings(dags, Path(home), database, port),
                **{f"AIRFLOW_CONN_{conn_id.upper()}": value for conn_id, value in connections.items()},
                **(settings or {}),
            }
            installation = cls(Path(home), database, environment, f"http://127.0.0.1:{port}")
            try:
                installation.cli("db", "migrate")
                for name in _processes(ui):
                    installation.start(name)
                # Last, as tasks that find no API server fail.
                if AIRFLOW_3 or ui:
                    installation.wait_for("the API server to be healthy", installation._healthy, START_TIMEOUT)
                installation.start("scheduler")
                yield installation
            finally:
                installation._stop()

    def cli(self, *arguments: str) -> str:
        """Run ``airflow`` with these arguments and return what it printed on standard output.

        :raises AssertionError: it failed; the message holds all that it printed.
        """
        [printed] = self.commands(arguments)
        return printed

    def commands(self, *commands: Sequence[str]) -> list[str]:
        """Run ``airflow`` with each of these lists of arguments, in one process, and return what each printed.

        :raises AssertionError: one failed; the message holds all that they printed.
        """
        return json.loads(self.python("-c", COMMANDS, json.dumps(commands)).splitlines()[-1])

    def python(self, *arguments: str) -> str:
        """Run Python with these arguments as `cli` runs ``airflow``."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLI_TIMEOUT,
        )
        assert done.returncode == 0, f"python {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def rest(self, method: str, path: str, body: object = None) -> Any:
        """Ask the API server, as an administrator, and return the JSON of its answer. Airflow 3 only.

        :raises AssertionError: the answer is an error; the message holds it.
        """
        token = requests.get(f"{self.api}/auth/token", timeout=60).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        answer = requests.request(method, self.api + path, json=body, headers=headers, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def start(self, name: str) -> None:
        """Start a process by the name of its ``airflow`` command."""
        skip = ["--skip-serve-logs"] if name in ("scheduler", "triggerer") else []
        log = self.home / "processes" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", name, *skip],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def kill(self, name: str, signal_number: int = signal.SIGTERM) -> None:
        """End a process by a signal, and wait until it is gone; `start` starts it again.

        SIGKILL goes to its children too, at once, as when a machine is lost; any other signal to the process alone,
        which is left `STOP_TIMEOUT` to see to its children.
        """
        process = self.processes.pop(name)
        if signal_number != signal.SIGKILL:
            process.send_signal(signal_number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT)
        _kill_session(process.pid)
        process.wait()

    def wait_for(self, what: str, look: Callable[[], T], timeout: float) -> T:
        """Call ``look`` until it returns something true, and return that.

        :raises AssertionError: that took longer than ``timeout`` seconds, or a process has died.
        """
        deadline = time.monotonic() + timeout
        while not (found := look()):
            for name, process in list(self.processes.items()):
                # One that `kill` ended, for another thread, is no longer among them.
                ended = process.poll() is not None and self.processes.get(name) is process
                assert not ended, f"The {name} ended ({process.returncode})\n{self.log_tails()}"
            assert time.monotonic() < deadline, f"Waited {timeout:g} s for {what}\n{self.log_tails()}"
            time.sleep(0.5)
        return found

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until Airflow has read the DAG from its file.

        :raises AssertionError: see `wait_for`.
        """
        statement = "SELECT 1 FROM serialized_dag WHERE dag_id = %s"
        self.wait_for(f"the DAG {dag_id}", lambda: self.database.query(statement, dag_id), START_TIMEOUT)

    def switch_on(self, dag_id: str) -> None:
        """Wait for a DAG, and switch it on."""
        self.wait_for_dag(dag_id)
        self.database.execute("UPDATE dag SET is_paused = false WHERE dag_id = %s", dag_id)

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = RUN_TIMEOUT) -> Run:
        """Wait until a run has ended, in whatever state, and return it.

        :raises AssertionError: see `wait_for`.
        """

        def ended() -> Run | None:
            found = [run for run in self.runs(dag_id) if run.run_id == run_id]
            return found[0] if found and found[0].state in ("success", "failed") else None

        return self.wait_for(f"the run {run_id} of {dag_id} to end", ended, timeout)

    def runs(self, dag_id: str) -> list[Run]:
        """Return the runs of a DAG, by data interval.

        From the database, which both lines have alike; the REST API of 2.11 would need a web server, and a command
        takes seconds.
        """
        statement = (
            "SELECT run_id, state, data_interval_start, start_date, end_date FROM dag_run WHERE dag_id = %s "
            "ORDER BY data_interval_start, id"
        )
        return [Run(*row) for row in self.database.query(statement, dag_id)]

    def logs(self) -> dict[Path, str]:
        """Return every log of processes and tasks by its path below the home."""
        paths = [path for path in self.home.rglob("*") if path.is_file() and path.suffix in (".log", ".out", ".err")]
        return {path.relative_to(self.home): path.read_text(errors="replace") for path in sorted(paths)}

    def log_tails(self, characters: int = 3000) -> str:
        """Return the ends of all logs, the latest last, for an error message."""
        latest = sorted(self.logs().items(), key=lambda entry: (self.home / entry[0]).stat().st_mtime)
        return "\n".join(f"--- {path}\n{text[-characters:]}" for path, text in latest[-12:])

    def _healthy(self) -> bool:
        try:
            path = "/api/v2/monitor/health" if AIRFLOW_3 else "/health"
            return requests.get(self.api + path, timeout=10).ok
        except requests.RequestException:
            return False

    def _stop(self) -> None:
        # All at once, since each takes its time; then one by one.
        for process in self.processes.values():
            process.terminate()
        for name in reversed(list(self.processes)):
            self.kill(name)


def _processes(ui: bool) -> tuple[str, ...]:
    """Return those beside the scheduler, which is started last."""
    last = () if ui else ("triggerer",)
    if AIRFLOW_3:
        return ("api-server", "dag-processor", *last)
    return ("webserver",) if ui else last


def _settings(dags: Path, home: Path, database: PostgreSQL, port: int) -> dict[str, str]:
    secrets = {name: base64.urlsafe_b64encode(os.urandom(32)).decode() for name in ("fernet", "jwt", "session")}
    of_both = {
        "AIRFLOW_HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags.resolve()),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": secrets["fernet"],
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.url(),
        "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        # A triggerer that was killed is taken for dead sooner than in half a minute.
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    if not AIRFLOW_3:
        return of_both | {
            "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": PARSE_INTERVAL,
            "AIRFLOW__WEBSERVER__SECRET_KEY": secrets["session"],
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(port),
            "AIRFLOW__WEBSERVER__WORKERS": "1",
        }
    return of_both | {
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__SECRET_KEY": secrets["session"],
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets["jwt"],
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": PARSE_INTERVAL,
    }


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _kill_session(leader: int) -> None:
    """Kill every process of a session: Airflow's children leave the process group, but not the session."""
    while members := [process for process in psutil.process_iter() if _is_alive_in(leader, process)]:
        for process in members:
            process.send_signal(signal.SIGKILL)
        psutil.wait_procs(members, timeout=1)


def _is_alive_in(leader: int, process: psutil.Process) -> bool:
    try:
        return os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
