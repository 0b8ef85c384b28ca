"""Run a DAG of a folder once or several times in this process, and say how each run ended.

``python -m airflow_provider_akinon.sandbox.dag_run FOLDER DAG_ID DATE... [--conf JSON]`` works alike on Airflow 3
and 2: it migrates the metadata database of ``AIRFLOW_HOME``, which should be one made for the purpose, and calls
``dag.test()``. A DAG with ``CronDataIntervalTimetable`` runs for the interval that ends at the date. Prints a line
of JSON for each run on standard output, everything else on standard error; exits 0 only where all succeeded.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import Any


def main() -> int:
    """Run what the command line asks for and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_akinon.sandbox.dag_run")
    parser.add_argument("folder", type=Path, help="of DAG files")
    parser.add_argument("dag_id")
    parser.add_argument("dates", nargs="+", type=datetime.fromisoformat, help="the logical dates of the runs")
    parser.add_argument("--conf", type=json.loads, default=None, help="the runs' conf, as JSON")
    arguments = parser.parse_args()
    os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(arguments.folder.resolve())
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    results = sys.stdout
    with redirect_stdout(sys.stderr):
        migrate()
        dag = load(arguments.folder, arguments.dag_id)
        states = []
        for date in arguments.dates:
            states.append(run(dag, date, arguments.conf))
            print(json.dumps({"date": date.isoformat(), "state": states[-1]}), file=results, flush=True)
    return 0 if set(states) == {"success"} else 1


def migrate() -> None:
    """Make the metadata database of ``AIRFLOW_HOME``."""
    # Airflow reads its configuration on import, so it is imported only now.
    from airflow.utils.db import initdb

    initdb()


def load(folder: Path, dag_id: str) -> Any:
    """Return a DAG of a folder.

    :raises SystemExit: the folder has no such DAG; the message says what it has, and what does not import.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 2
        from airflow.models import DagBag

    bag = DagBag(str(folder.resolve()))
    if dag_id not in bag.dags:
        errors = "".join(f"\n{file} does not import: {error}" for file, error in bag.import_errors.items())
        raise SystemExit(f"{folder} has no DAG {dag_id!r}; it has {', '.join(sorted(bag.dags))}{errors}")
    if is_airflow_2():  # which looks for the outlets of a task in the database
        bag.sync_to_db()  # type: ignore[attr-defined]
    return bag.dags[dag_id]


def run(dag: Any, date: datetime, conf: dict[str, Any] | None) -> str:
    """Run a DAG for a logical date, and return the state in which the run ended."""
    argument = "execution_date" if is_airflow_2() else "logical_date"
    state = dag.test(**{argument: date}, run_conf=conf).state
    return str(getattr(state, "value", state))


def is_airflow_2() -> bool:
    """Tell which of the two lines this is."""
    from airflow import __version__

    return __version__.startswith("2.")


if __name__ == "__main__":
    sys.exit(main())
