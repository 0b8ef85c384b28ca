"""Run the matrix's DAGs with the Airflow of the Python that runs this: ``python in_place.py DATE``.

Prints one line of JSON at the end: the versions, and how each DAG's run ended.
"""

import json
import os
import platform
import sys
from contextlib import redirect_stdout
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

NAMES = ("export", "poked", "deferred", "sealed")
VERSIONS = {
    "airflow": "apache-airflow",
    "amazon": "apache-airflow-providers-amazon",
    "common-compat": "apache-airflow-providers-common-compat",
    "boto3": "boto3",
}
DAGS = Path(__file__).parent / "dags"


def main() -> None:
    os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(DAGS)
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    date = datetime.fromisoformat(sys.argv[1])
    # Airflow reads its configuration on import, so it is imported only now.
    from airflow_provider_akinon.sandbox.dag_run import load, migrate, run

    with redirect_stdout(sys.stderr):
        migrate()
        states = {name: run(load(DAGS, name), date, None) for name in NAMES}
    if not Path(os.environ["MATRIX_RESUMED"]).exists():
        states["deferred"] = "never deferred"
    versions = {name: version(package) for name, package in VERSIONS.items()}
    print(json.dumps({"versions": versions | {"python": platform.python_version()}, "states": states}))


if __name__ == "__main__":
    main()
