"""A PostgreSQL server of its own for an Airflow installation, in a directory of its own.

It listens on a Unix socket in that directory and nowhere else, and keeps nothing safe: a crash of the machine may
lose the last writes. As root it runs as the user ``postgres``, since PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

START_TIMEOUT = 60.0
"""Seconds to wait until the server answers."""
STOP_TIMEOUT = 30.0
"""Seconds to wait for it to stop, before it is killed."""

MISSING = "PostgreSQL is not installed: apt-get install postgresql"


@dataclass(frozen=True, slots=True)
class PostgreSQL:
    """A running server: where its programs and its socket are."""

    programs: Path
    socket: Path

    @staticmethod
    def require() -> None:
        """Do nothing where PostgreSQL is installed.

        :raises FileNotFoundError: it is not; the message says what to do.
        """
        _programs()
        _user()

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[PostgreSQL]:
        """Start a server, give it, stop it, and remove its files.

        :raises FileNotFoundError: PostgreSQL is not installed.
        :raises RuntimeError: it did not start; the message holds what it printed.
        """
        programs = _programs()
        user = _user()
        with ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pg-")))
            if "user" in user:
                os.chown(directory, user["user"], user["group"])
            common: dict[str, Any] = {"cwd": directory, "stdin": subprocess.DEVNULL, **user}
            cluster = ["-D", "data", "-U", "airflow", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
            made = subprocess.run(
                [programs / "initdb", *cluster],
                capture_output=True,
                text=True,
                timeout=START_TIMEOUT,
                **common,
            )
            if made.returncode:
                raise RuntimeError(f"PostgreSQL's initdb failed:\n{made.stdout}{made.stderr}")
            settings = {"listen_addresses": "", "unix_socket_directories": str(directory), "fsync": "off"}
            options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
            log = stack.enter_context((directory / "log").open("w+"))
            server = subprocess.Popen(
                [programs / "postgres", "-D", "data", *options],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **common,
            )
            stack.callback(_stop, server)
            database = cls(programs, directory)
            database._wait(server, Path(log.name))
            yield database

    def url(self) -> str:
        """Return the database's URL, for Airflow's ``[database] sql_alchemy_conn``."""
        return f"postgresql+psycopg2://airflow@/postgres?host={self.socket}"

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a SELECT."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    def execute(self, statement: str, *values: object) -> None:
        """Run a statement that changes something."""
        with closing(self._connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, values)

    def dump(self) -> str:
        """Return all that the database holds, as SQL."""
        command = [self.programs / "pg_dump", "-h", self.socket, "-U", "airflow", "postgres"]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def _connect(self) -> Any:
        return psycopg2.connect(host=str(self.socket), user="airflow", dbname="postgres", connect_timeout=10)

    def _wait(self, server: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and server.poll() is None:
            try:
                self._connect().close()
            except psycopg2.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"PostgreSQL did not start. It printed:\n{log.read_text()}")


def _programs() -> Path:
    """Return the folder of PostgreSQL's programs; Debian does not put them on PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    path = os.pathsep.join([*map(str, reversed(folders)), os.environ.get("PATH", os.defpath)])
    initdb = shutil.which("initdb", path=path)
    if initdb is None:
        raise FileNotFoundError(MISSING)
    return Path(initdb).parent


def _user() -> dict[str, Any]:
    """Return the user to run as, in the form of `subprocess`'s arguments."""
    if os.geteuid() != 0:
        return {}
    try:
        postgres = pwd.getpwnam("postgres")
    except KeyError:
        # PostgreSQL does not run as root.
        raise FileNotFoundError(f"{MISSING} (there is no user 'postgres')") from None
    return {"user": postgres.pw_uid, "group": postgres.pw_gid, "extra_groups": []}


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown": it does not wait for clients
    try:
        server.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
