"""Runs of DAGs in one Airflow, which is started once for all of them.

As a module it is that Airflow: it takes a line of JSON for each DAG on standard input, and answers with the states
of its runs. Everything else that it prints is its log.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stdout
from datetime import datetime
from pathlib import Path

from airflow_provider_akinon.sandbox import dag_run
from tests.support import quick_clients  # noqa: F401 - it is enough to import it

TIMEOUT = 180.0
"""Seconds to wait for the process to end."""


class DagRuns:
    """An Airflow with a home, a database and a process of its own."""

    def __init__(self, process: subprocess.Popen[str], home: Path, dags: Path) -> None:
        self._process = process
        self._log_begin = 0
        self.home = home
        self.dags = dags
        """The folder of DAG files."""

    @classmethod
    @contextmanager
    def starting(cls, home: Path, dags: Path) -> Iterator[DagRuns]:
        """Start it, and stop it at the end."""
        of_airflow = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags.resolve()),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        }
        with (
            (home / "log").open("w") as log,
            subprocess.Popen(
                [sys.executable, "-m", __name__],
                env={**os.environ, **of_airflow},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                yield cls(process, home, dags)
                assert process.stdin is not None
                process.stdin.close()
                process.wait(TIMEOUT)
            finally:
                process.kill()

    def run(
        self,
        dag_id: str,
        *dates: datetime,
        environment: Mapping[str, str],
        conf: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Run a DAG for each logical date, and return the states in which the runs ended.

        :param environment: what the DAG and its tasks find in their environment, connections for example.
        """
        self._log_begin = (self.home / "log").stat().st_size
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {
            "folder": str(self.dags),
            "dag_id": dag_id,
            "dates": [date.isoformat() for date in dates],
            "conf": conf,
            "environment": {**environment},
        }
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, self.log
        states: list[str] = json.loads(answer)
        return states

    def xcoms(self, dag_id: str) -> list[str]:
        """Return all that the DAG's tasks handed on, as the metadata database holds it."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            rows = database.execute("SELECT value FROM xcom WHERE dag_id = ?", [dag_id]).fetchall()
        return [value.decode() if isinstance(value, bytes) else value for (value,) in rows]

    def states(self, dag_id: str, task_id: str) -> list[str]:
        """Return the states in which a task ended, in the order of its runs."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            asked = "SELECT state FROM task_instance WHERE dag_id = ? AND task_id = ? ORDER BY end_date"
            return [state for (state,) in database.execute(asked, [dag_id, task_id])]

    def forget(self, variable: str) -> None:
        """Remove a Variable that a DAG has set."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database, database:
            database.execute("DELETE FROM variable WHERE key = ?", [variable])

    @property
    def log(self) -> str:
        """What was logged since the last run began."""
        return (self.home / "log").read_bytes()[self._log_begin :].decode()


def serve() -> None:
    """Run what is asked for, until standard input ends."""
    results = sys.stdout
    before = dict(os.environ)
    with redirect_stdout(sys.stderr):
        dag_run.migrate()
        for line in sys.stdin:
            asked = json.loads(line)
            os.environ.update(asked["environment"])
            dag = dag_run.load(Path(asked["folder"]), asked["dag_id"])
            states = [dag_run.run(dag, datetime.fromisoformat(date), asked["conf"]) for date in asked["dates"]]
            os.environ.clear()
            os.environ.update(before)
            print(json.dumps(states), file=results, flush=True)


if __name__ == "__main__":
    serve()
