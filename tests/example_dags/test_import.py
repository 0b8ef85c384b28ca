"""The example DAGs load, on whichever Airflow runs the tests, without an error or a warning."""

from __future__ import annotations

import re
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.paths import EXAMPLES

pytestmark = pytest.mark.xdist_group("bag")
"""They look at DAGs that are loaded once."""

ALL = sorted(path.stem for path in EXAMPLES.glob("*.py"))
ON_AIRFLOW_3_ONLY = ["akinon_change_alert"]
AIRFLOW_3 = not version("apache-airflow").startswith("2.")
NAMES = [name for name in ALL if AIRFLOW_3 or name not in ON_AIRFLOW_3_ONLY]


@pytest.fixture(scope="module")
def bag():
    with warnings.catch_warnings():
        # Airflow 2.11 warns of itself while it loads; a test below looks at what was warned of.
        warnings.simplefilter("always")
        try:
            from airflow.dag_processing.dagbag import DagBag
        except ImportError:  # Airflow 2.11
            from airflow.models.dagbag import DagBag

            return DagBag(dag_folder=str(EXAMPLES), include_examples=False)
        return DagBag(dag_folder=str(EXAMPLES))


def test_all_load(bag):
    """Every file gives one DAG, named after it; only what says that it needs Airflow 3 does not import elsewhere."""
    assert sorted(Path(file).stem for file in bag.import_errors) == sorted({*ALL} - {*NAMES})
    assert sorted(bag.dags) == NAMES


def test_none_warns(bag):
    """No example, and no module of the provider that it loads, makes Airflow or Python warn of deprecations."""
    said = [line for lines in bag.captured_warnings.values() for line in lines]
    assert [line for line in said if "example_dags/" in line or "airflow_provider_akinon/" in line] == []


@pytest.mark.parametrize("name", NAMES)
def test_shows_what_it_is(bag, name):
    """Each example has tasks, the tags that Airflow's list filters by, and documentation for its page."""
    dag = bag.dags[name]
    assert dag.tasks
    assert {"akinon", "example"} <= set(dag.tags)
    assert dag.doc_md
    assert dag.doc_md.strip().startswith("# ")


@pytest.mark.parametrize("name", NAMES)
def test_does_not_start_by_itself_over_years(bag, name):
    """No example catches up on all intervals since its start date the moment somebody switches it on."""
    assert bag.dags[name].catchup is False


@pytest.mark.parametrize("name", ALL)
def test_has_a_region_for_the_docs(name):
    """The file marks, under its own name, the region that the documentation includes."""
    text = (EXAMPLES / f"{name}.py").read_text()
    assert re.findall(r"^# \[(START|END) (\w+)\]$", text, re.M) == [("START", name), ("END", name)]
