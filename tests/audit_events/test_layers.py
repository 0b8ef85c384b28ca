"""The house has floors: the protocol knows no Airflow, and each room imports only rooms below it, by their faces."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import airflow_provider_akinon
from airflow_provider_akinon import audit_events
from tests.support.paths import ROOT

PACKAGE = Path(airflow_provider_akinon.__file__).parent
HOUSE = PACKAGE / "audit_events"
PROTOCOL = audit_events.__name__
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in HOUSE.rglob("*.py")
    if path.parent != HOUSE or path.stem != "__init__"
}

ARROWS = {
    "foreign_text": set[str](),
    "in_threads": set[str](),
    "errors": {"foreign_text"},
    "model": {"errors", "foreign_text"},
    "redaction": {"errors"},
    "api": {"errors", "foreign_text", "model"},
    "formats": {"errors", "model"},
    "archive": {"errors", "model"},
    "export": {"api", "errors", "formats", "in_threads", "model", "redaction"},
    "seals": {"archive", "errors", "in_threads", "model"},
    "storing": {"archive", "errors", "export", "foreign_text", "formats", "model", "redaction"},
    "verification": {"archive", "errors", "foreign_text", "formats", "in_threads", "model", "seals"},
    "sealing": {"archive", "errors", "in_threads", "model", "seals", "verification"},
    "reconciling": {
        "api",
        "archive",
        "errors",
        "export",
        "foreign_text",
        "formats",
        "in_threads",
        "model",
        "redaction",
        "storing",
    },
    "watching": {"api", "errors", "export", "model"},
}
"""What each room may import, and imports. Verification knows neither the API nor what writes."""

IMPORT_ALL = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


class Import(NamedTuple):
    """A name, and the module that it is imported from; of a whole module no name."""

    module: str
    name: str | None

    @property
    def room(self) -> str | None:
        """The room that is imported, None where it is none of the house."""
        whole = f"{self.module}.{self.name}" if self.module == PROTOCOL else self.module
        return whole.removeprefix(f"{PROTOCOL}.").partition(".")[0] if whole.startswith(f"{PROTOCOL}.") else None


@cache
def imports_of(path: Path) -> list[Import]:
    """Return everything that a file imports, at its top, inside a function, or for a type checker alone."""
    found: list[Import] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += (Import(alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively, which this test does not follow"
            found += (Import(node.module or "", alias.name) for alias in node.names)
    return found


def modules_of(path: Path) -> set[str]:
    """Return the modules that a file imports, or imports from."""
    return {each.module for each in imports_of(path)}


def room_of(path: Path) -> str:
    """Return the room of a file of the house."""
    return path.relative_to(HOUSE).parts[0].removesuffix(".py")


def test_the_protocol_runs_without_airflow() -> None:
    """A fresh interpreter that imports every module of the protocol has imported neither Airflow nor boto3.

    botocore is there for its errors.
    """
    assert {room_of(path) for path in MODULES.values()} == ARROWS.keys()

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
        modules = modules_of(path)
        assert not {module for module in modules if module.partition(".")[0] == "airflow"}, name
        own = {module for module in modules if module.startswith("airflow_provider_akinon.")}
        assert all(module.startswith(PROTOCOL) for module in own), name


def test_rooms_import_only_what_they_may() -> None:
    """The arrows between rooms are those that are drawn here, and they make no circle."""
    drawn: dict[str, set[str]] = {room: set() for room in ARROWS}
    for path in MODULES.values():
        drawn[room_of(path)] |= {each.room for each in imports_of(path) if each.room} - {room_of(path)}

    assert drawn == ARROWS
    TopologicalSorter(ARROWS).prepare()  # raises CycleError where there is a circle


@pytest.mark.parametrize("folder", ["airflow_provider_akinon", "tests", "benchmarks", "example_dags"])
def test_a_room_is_entered_by_its_face(folder: str) -> None:
    """Outside a room only names of its face are imported; tests may also look at what is private in it."""
    faces = {room: importlib.import_module(f"{PROTOCOL}.{room}") for room in ARROWS if (HOUSE / room).is_dir()}
    for path in (ROOT / folder).rglob("*.py"):
        here = room_of(path) if path.is_relative_to(HOUSE) else None
        for each in imports_of(path):
            if each.room not in faces or each.room == here:
                continue
            inside = each.module != f"{PROTOCOL}.{each.room}"
            if folder == "tests" and inside and (each.name or "").startswith("_"):
                continue
            assert not inside, f"{path} imports from {each.module}"
            is_module = (HOUSE / each.room / f"{each.name}.py").exists()
            assert each.name in faces[each.room].__all__ or (folder == "tests" and is_module), f"{path}: {each}"


def test_faces_name_what_is_used() -> None:
    """What no other room, shell, test or page uses is not in a face."""
    used = {
        (each.room, each.name)
        for folder in ("airflow_provider_akinon", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for each in imports_of(path)
        if not (path.is_relative_to(HOUSE) and room_of(path) == each.room)
    }
    pages = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.rst"))
    for room in ARROWS:
        face = importlib.import_module(f"{PROTOCOL}.{room}")
        for name in getattr(face, "__all__", ()):
            assert hasattr(face, name)
            assert (room, name) in used or f"{PROTOCOL}.{room}.{name}" in pages, f"{room}.{name} is used nowhere"


def test_the_house_has_a_map() -> None:
    """The docstring of the house says of each room what it is for."""
    named = re.findall(r"^- `(\w+)`|(?<=\. )`(\w+)`:", audit_events.__doc__ or "", re.M)

    assert sorted(filter(None, (name for pair in named for name in pair))) == sorted(ARROWS)


def test_one_module_knows_the_keys() -> None:
    """No module but `layout` writes or reads a piece of a key."""
    pieces = re.compile(r"date=|\.late-|_seals|\.receipt\.json|\.seal\.json|_creates-once")
    knowing = set()
    for path in PACKAGE.rglob("*.py"):
        if "sandbox" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        strings = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        said = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, _DOCUMENTED)}
        if any(pieces.search(text) and not _is_prose(text) for text in strings - said):
            knowing.add(path.relative_to(HOUSE).as_posix() if path.is_relative_to(HOUSE) else path.name)

    assert knowing == {"archive/layout.py"}


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def _is_prose(text: str) -> bool:
    """Tell whether a string is a sentence, in which a key may be named."""
    return text.count(" ") > 2


def test_one_room_sends_http() -> None:
    """Only the transport imports an HTTP library: the key has one way out. `proxies` reads URLs as it does."""
    senders = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "sandbox" not in path.parts
        and {module.partition(".")[0] for module in modules_of(path)}
        & {"requests", "urllib3", "httpx", "aiohttp", "http"}
    }

    assert senders == {"audit_events/api/transport.py", "audit_events/api/proxies.py"}
    read_by = {module for module in modules_of(HOUSE / "api/proxies.py") if module.startswith(("req", "urllib3"))}
    assert read_by == {"requests.utils", "urllib3.util"}


def test_one_module_knows_where_airflow_has_what() -> None:
    """What lies elsewhere from version to version is imported by `version_compat` alone; the rest lies still."""
    still = {
        "airflow.providers.amazon.aws.hooks.s3",
        "airflow.providers.common.compat.lineage.hook",
        "airflow.triggers.base",
    }
    named = {
        (path.relative_to(PACKAGE).as_posix(), module)
        for path in PACKAGE.rglob("*.py")
        if "sandbox" not in path.parts and path.stem != "version_compat"
        for module in modules_of(path)
        if module.partition(".")[0] == "airflow"
    }

    assert {(path, name) for path, name in named if name not in still} == set()
    assert len(named) > 3, "the reader of imports found none"
