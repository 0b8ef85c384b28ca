"""The house has floors: the protocol knows no Airflow, and no module imports one that imports it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import airflow_provider_akinon
from airflow_provider_akinon import audit_events

PACKAGE = Path(airflow_provider_akinon.__file__).parent
PROTOCOL = audit_events.__name__
MODULES = {f"{PROTOCOL}.{path.stem}": path for path in Path(audit_events.__file__).parent.glob("[!_]*.py")}

IMPORT_ALL = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


class RunTimeOnly(ast.NodeTransformer):
    """Leaves out what only a type checker imports; it joins no modules when they run."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)


def imports_of(path: Path) -> set[str]:
    """Return every module that a file may import when it runs, at its top or inside a function."""
    names = set()
    for node in ast.walk(RunTimeOnly().visit(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively, which this test does not follow"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_the_protocol_runs_without_airflow() -> None:
    """A fresh interpreter that imports every module of the protocol has imported neither Airflow nor boto3.

    botocore is there for its errors.
    """
    assert {"api", "archive", "encoding", "errors", "export", "filters", "settings", "window"} <= {
        path.stem for path in MODULES.values()
    }

    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL, *MODULES],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=PACKAGE.parent,
    )

    assert answer.returncode == 0, answer.stderr
    loaded = set(json.loads(answer.stdout))
    assert "airflow_provider_akinon" in loaded
    assert not loaded & {"airflow", "boto3", "pyarrow", "flask", "django"}


def test_the_protocol_names_no_airflow() -> None:
    """No module of the protocol imports Airflow or one of the Airflow shells, not even inside a function."""
    for name, path in MODULES.items():
        own = {module for module in imports_of(path) if module.startswith("airflow_provider_akinon.")}
        assert not {module for module in imports_of(path) if module.partition(".")[0] == "airflow"}, name
        assert all(module.startswith(PROTOCOL) or module.endswith("__version__") for module in own), name


def test_the_protocol_has_no_cycle() -> None:
    """The modules of the protocol can be put in an order in which each imports earlier ones only."""
    graph = {name: imports_of(path) & MODULES.keys() for name, path in MODULES.items()}

    order = list(TopologicalSorter(graph).static_order())  # raises CycleError where there is a cycle

    assert order.index(f"{PROTOCOL}.errors") < order.index(f"{PROTOCOL}.window") < order.index(f"{PROTOCOL}.export")


def test_the_room_has_a_map() -> None:
    """The docstring of the room says of each module where it belongs."""
    named = re.findall(r"`(\w+)`", (audit_events.__doc__ or "").partition("Nothing here imports")[0])

    assert sorted(set(named)) == sorted(path.stem for path in MODULES.values())


def test_one_room_sends_http() -> None:
    """Only `api` imports the HTTP client, so that the key has one way out; `proxies` reads URLs as it does."""
    senders = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "sandbox" not in path.parts
        and {name.partition(".")[0] for name in imports_of(path)}
        & {"requests", "urllib3", "httpx", "aiohttp", "http"}
    }

    assert senders == {"audit_events/api.py", "audit_events/proxies.py"}
    read_by = {
        name for name in imports_of(PACKAGE / "audit_events/proxies.py") if name.startswith(("req", "urllib3"))
    }
    assert {".".join(name.split(".")[:2]) for name in read_by} == {
        "requests.utils",
        "urllib3.util",
    }


def test_one_module_knows_where_airflow_has_what() -> None:
    """What lies elsewhere from version to version is imported by `version_compat` alone; the rest lies still."""
    still = {
        "airflow.providers.amazon.aws.hooks.s3",
        "airflow.providers.common.compat.lineage.hook",
        "airflow.triggers.base",
    }
    named = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        if "sandbox" not in path.parts and path.stem != "version_compat"
        for name in imports_of(path)
        if name.partition(".")[0] == "airflow"
    }

    assert {(path, name) for path, name in named if not any(name.startswith(each) for each in still)} == set()
    assert len(named) > 3, "the reader of imports found none"
