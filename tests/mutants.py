"""Break the code in thirty places, one at a time, and see whether the tests notice: ``python -m tests.mutants``.

A place is found in the syntax of the package: a comparison off by one or turned round, ``and`` for ``or``, a lost
``not``, ``+`` for ``-``, a number one too large, a condition turned round, a lost return value, an error that is
not raised. Which places are drawn depends on the seed and on the code there, and not on where in a file it stands.
Every module of the package has its turn before one has a second; the sandbox counts as one.

A mutant lives in a copy of the package and its tests, and never here. The tests nearest to it run first; where these
pass, the same on another Airflow, which may be named; then the wider ones. It is killed where a test fails that
passes without it, also by hanging; only tests that `make test` runs count. Exits 0 where all were killed, 1 where one
lives, and 2 where the tests fail without a mutant.

What a reader alone would see is left alone: text, logs, annotations. So are assertions, the large numbers that a
module names at its top as a measure of patience or size, and what is in `LEFT_OUT`.
"""

from __future__ import annotations

import argparse
import ast
import copy
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain, groupby, zip_longest
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support.paths import ROOT

PACKAGE = "airflow_provider_akinon"
SEED = "akinon"
NUMBER = 30
EXAMPLES = "25"
"""Examples of the properties that say how many they try; the suite's own number finds no more of this kind."""
TEST_BOUND = 240
"""Seconds of one test, after which it hangs."""
RUN_BOUND = 1800.0
"""Seconds of all tests of a mutant together, after which they hang."""
HERE = Path(sys.executable)
LEFT_OUT = ("sandbox/demo",)
"""No test runs the demo, which checks itself."""

_UNIT = "tests/audit_events"
_WHOLE = "tests/integration"

NEAREST = {
    "__main__": [f"{_WHOLE}/test_verify_command.py", f"{_WHOLE}/test_probe_command.py"],
    "archive_access": [f"{_WHOLE}/transfers/test_keeping.py", f"{_WHOLE}/operators/test_sealing.py"],
    "connection_form": ["tests/test_provider_info.py"],
    "connections": ["tests/test_hook.py", "tests/test_shells.py"],
    "get_provider_info": ["tests/test_provider_info.py"],
    "hooks/akinon": [
        "tests/test_hook.py",
        f"{_WHOLE}/test_discretion.py",
        f"{_WHOLE}/audit_events/api/test_requests.py",
    ],
    "operators/audit_archive": [f"{_WHOLE}/operators"],
    "sensors/audit_events": ["tests/test_shells.py", f"{_WHOLE}/sensors"],
    "task_run": ["tests/test_task_run.py"],
    "transfers/audit_events_to_s3": ["tests/test_shells.py", f"{_WHOLE}/transfers/test_exports.py"],
    "triggers/audit_events": [f"{_WHOLE}/triggers"],
    "version_compat": ["tests/test_shells.py"],
    "audit_events/api/advice": [f"{_WHOLE}/audit_events/api", f"{_WHOLE}/test_discretion.py"],
    "audit_events/api/client": [f"{_WHOLE}/audit_events/api"],
    "audit_events/api/limits": [f"{_UNIT}/api/test_limits.py"],
    "audit_events/api/pace": [f"{_WHOLE}/audit_events/api/test_client.py"],
    "audit_events/api/pages": [f"{_UNIT}/formats/test_jsonl.py", f"{_WHOLE}/audit_events/api"],
    "audit_events/api/probing": [f"{_WHOLE}/test_probe_command.py"],
    "audit_events/api/proxies": [f"{_UNIT}/api/test_proxies.py"],
    "audit_events/api/secrecy": [f"{_UNIT}/api/test_secrecy.py"],
    "audit_events/api/secret_headers": [f"{_UNIT}/api/test_settings.py"],
    "audit_events/api/settings": [f"{_UNIT}/api/test_settings.py"],
    "audit_events/api/transport": [f"{_WHOLE}/audit_events/api"],
    "audit_events/archive/bucket": [f"{_WHOLE}/transfers/test_keeping.py", f"{_WHOLE}/audit_events/verification"],
    "audit_events/archive/conditional_writes": [f"{_UNIT}/archive/test_conditional_writes.py"],
    "audit_events/archive/inventory": [f"{_WHOLE}/operators/test_sealing.py"],
    "audit_events/archive/layout": [f"{_UNIT}/archive/test_layout.py"],
    "audit_events/archive/receipt": [f"{_UNIT}/archive/test_receipt.py"],
    "audit_events/archive/status": [f"{_UNIT}/verification/test_attacks.py", f"{_UNIT}/seals/test_seal.py"],
    "audit_events/archive/window_receipts": [f"{_UNIT}/storing/test_history.py"],
    "audit_events/errors": [f"{_UNIT}/test_errors.py"],
    "audit_events/export/arenas": [f"{_UNIT}/export/test_arenas.py"],
    "audit_events/export/precision": [f"{_UNIT}/export/test_precision.py"],
    "audit_events/export/proof": [f"{_UNIT}/export"],
    "audit_events/export/reader": [f"{_UNIT}/export"],
    "audit_events/export/step": [f"{_UNIT}/export"],
    "audit_events/foreign_text": [f"{_UNIT}/model/test_foreign_text.py"],
    "audit_events/in_threads": [f"{_UNIT}/test_in_threads.py"],
    "audit_events/formats/jsonl": [f"{_UNIT}/formats/test_jsonl.py"],
    "audit_events/formats/parquet": [f"{_UNIT}/formats/test_parquet.py"],
    "audit_events/formats/stored": [f"{_UNIT}/storing/test_history.py"],
    "audit_events/formats/uuids": [f"{_UNIT}/formats/test_jsonl.py"],
    "audit_events/model/coverage": [f"{_UNIT}/model/test_coverage.py"],
    "audit_events/model/event": [
        f"{_UNIT}/formats/test_jsonl.py",
        f"{_UNIT}/formats/test_parquet.py",
        f"{_WHOLE}/audit_events/api/test_client.py",
    ],
    "audit_events/model/filters": [f"{_UNIT}/model/test_filters.py"],
    "audit_events/model/format": [f"{_UNIT}/archive/test_layout.py", "tests/test_shells.py"],
    "audit_events/model/given_text": ["tests/test_shells.py"],
    "audit_events/model/lone_surrogates": [f"{_UNIT}/formats/test_jsonl.py", f"{_UNIT}/formats/test_parquet.py"],
    "audit_events/model/unreadable": [f"{_WHOLE}/audit_events/api"],
    "audit_events/model/window": [f"{_UNIT}/model"],
    "audit_events/reconciling": [f"{_WHOLE}/operators/test_reconciling.py"],
    "audit_events/redaction/credential_names": [f"{_UNIT}/redaction"],
    "audit_events/redaction/credential_search": [f"{_UNIT}/redaction"],
    "audit_events/redaction/loose_text": [f"{_UNIT}/redaction"],
    "audit_events/redaction/paths": [f"{_UNIT}/redaction"],
    "audit_events/redaction/policy": [f"{_UNIT}/redaction"],
    "audit_events/redaction/quick_look": [f"{_UNIT}/redaction"],
    "audit_events/redaction/records": [f"{_UNIT}/redaction"],
    "audit_events/redaction/splicing": [f"{_UNIT}/redaction"],
    "audit_events/sealing": [f"{_WHOLE}/operators/test_sealing.py"],
    "audit_events/seals/chain": [f"{_UNIT}/seals/test_seal.py"],
    "audit_events/seals/document": [f"{_UNIT}/seals/test_seal.py"],
    "audit_events/seals/keys": [f"{_UNIT}/seals"],
    "audit_events/seals/series": [f"{_UNIT}/verification/test_attacks.py"],
    "audit_events/storing/comparison": [f"{_UNIT}/storing/test_comparison.py"],
    "audit_events/storing/differences": [f"{_UNIT}/storing/test_differences.py"],
    "audit_events/storing/store": [f"{_UNIT}/archive/test_layout.py", f"{_UNIT}/storing/test_history.py"],
    "audit_events/storing/stored_window": [f"{_UNIT}/storing/test_history.py"],
    "audit_events/storing/upload_arguments": [f"{_UNIT}/storing/test_upload_arguments.py"],
    "audit_events/verification/evidence": [
        f"{_UNIT}/verification/test_attacks.py",
        f"{_WHOLE}/audit_events/verification",
    ],
    "audit_events/verification/report": [f"{_UNIT}/verification/test_attacks.py", f"{_WHOLE}/test_verify_command.py"],
    "audit_events/verification/verify": [f"{_WHOLE}/audit_events/verification"],
    "audit_events/watching/arrivals": [f"{_UNIT}/watching/test_arrivals.py"],
    "audit_events/watching/settling": [f"{_UNIT}/watching/test_settling.py"],
}
"""The tests that look at a module itself; at one of the sandbox `OF_THE_SANDBOX`, at any other `WIDER`."""

OF_THE_SANDBOX = [f"{_WHOLE}/sandbox"]

WIDER = [
    "tests/test_task_run.py",
    "tests/test_shells.py",
    "tests/test_provider_info.py",
    _UNIT,
    f"{_WHOLE}/transfers",
    f"{_WHOLE}/operators",
    f"{_WHOLE}/audit_events",
    f"{_WHOLE}/test_verify_command.py",
    f"{_WHOLE}/test_discretion.py",
    f"{_WHOLE}/sensors",
    f"{_WHOLE}/triggers",
    "tests/example_dags",
]
"""Where a mutant lived in the nearest tests, these tell: all but those of the documentation, and whole systems."""


@dataclass(frozen=True)
class Equivalent:
    """A change that no test can see, as the code still does what it is there for."""

    module: str
    scope: str
    before: str
    after: str
    why: str


EQUIVALENT = (
    Equivalent(
        "sandbox/generate",
        "Shop.__init__",
        "_FIRST_USER + number",
        "_FIRST_USER - number",
        "the numbers of made-up people run down instead of up; they stay different, and nobody else knows them",
    ),
)
"""These are not drawn. One that fits no place in the code anymore is an error."""


@dataclass(frozen=True)
class Point:
    """A place in the code, and what to write there."""

    module: str
    """Its path in the package, without ``.py``."""
    line: int
    scope: str
    """The names of the classes and functions around it."""
    kind: str
    start: int
    """Where in the file's bytes it begins."""
    end: int
    text: str
    """What to write from ``start`` to ``end``."""
    before: str
    """What a reader sees change, and into what."""
    after: str
    number: int = 1
    """Which of its line's points it is."""

    @property
    def name(self) -> str:
        """What ``--mutant`` takes."""
        return f"{self.module}:{self.line}.{self.number}"

    @property
    def identity(self) -> tuple[str, ...]:
        """What stays as it is when lines move."""
        return self.module, self.scope, self.before, self.after

    def __str__(self) -> str:
        return f"{self.name:<34} {' -> '.join(_shortened(self.before, self.after))}"


def _shortened(before: str, after: str) -> tuple[str, ...]:
    """Return two texts without most of what they have in common at their ends, nor the length of messages."""
    alike = [one == other for one, other in zip(before, after, strict=False)]
    head = max(0, (*alike, False).index(False) - 40)
    alike = [one == other for one, other in zip(reversed(before), reversed(after), strict=False)]
    tail = max(0, (*alike, False).index(False) - 30)
    tail = min(tail, len(before) - head, len(after) - head)
    cut = (text[head : len(text) - tail] for text in (before, after))
    return tuple(
        ("…" if head else "") + (text[:99] + "…" if len(text) > 100 else text + ("…" if tail else "")) for text in cut
    )


# What may be broken


_OFF_BY_ONE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_TURNED = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_SIGNS = {ast.Add: ast.Sub, ast.Sub: ast.Add}
_NOT_LOOKED_AT = (ast.Assert, ast.JoinedStr, ast.arg, ast.pattern)
_FOR_READERS = ("__repr__", "__str__", "print")


class _Finder(ast.NodeVisitor):
    """Collects the points of a module."""

    def __init__(self, module: str, source: str) -> None:
        self.module = module
        self.source = source.encode()
        self.points: list[Point] = []
        self._lines = [0]
        for line in self.source.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._scope: list[str] = []
        self._around: list[ast.AST] = []
        self.visit(ast.parse(source))

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, _NOT_LOOKED_AT):
            return
        self._around.append(node)
        super().visit(node)
        self._around.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        # A thousand named at the top is a measure, and no border that anything could be told from.
        is_measure = not self._scope and isinstance(node.value, ast.Constant) and _is_large(node.value.value)
        if ast.unparse(node.targets[0]) != "__all__" and not is_measure:
            self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # Bounds stand in annotations, and are no mere annotations.
        for inner in ast.walk(node.annotation):
            if isinstance(inner, ast.Call):
                self.visit(inner)
        if node.value:
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func)
        if called not in _FOR_READERS and not re.match(r"(self\.)?_?log(ger)?\.", called):
            self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if not any(ast.unparse(base) == "Protocol" for base in node.bases):
            self._inside(node.name, node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name not in _FOR_READERS:
            defaults = (default for default in node.args.kw_defaults if default)
            self._inside(node.name, [*node.args.defaults, *defaults, *node.body])

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the library's word

    def _inside(self, name: str, nodes: Iterable[ast.AST]) -> None:
        self._scope.append(name)
        for node in nodes:
            self.visit(node)
        self._scope.pop()

    def visit_If(self, node: ast.If) -> None:
        if re.search(r"\bTYPE_CHECKING$|^__name__ ==", ast.unparse(node.test)):
            return
        self._turn(node.test, "if ")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        if not any(isinstance(branch, ast.JoinedStr) for branch in (node.body, node.orelse)):
            self._turn(node.test, "if ")
            self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._turn(test, "if ")
        self.generic_visit(node)

    def _turn(self, test: ast.expr, word: str) -> None:
        # A turned comparison or a lost `not` is a point of its own, and the same.
        turned = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        if isinstance(test, ast.Compare) and len(test.ops) == 1:
            turned = type(test.ops[0]) in _TURNED
        if not turned:
            before = self._text(test)
            self._add("condition", test, f"(not ({before}))", f"{word}{before}", f"{word}not ({before})")

    def visit_Raise(self, node: ast.Raise) -> None:
        self._add("raise", node, "pass", self._text(node), "pass")

    def visit_Return(self, node: ast.Return) -> None:
        value = node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, bool):
            self._add("return", node, f"return {not value.value}")
        elif value is not None and ast.unparse(value) != "None":
            self._add("return", node, "return None")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for place, operator in enumerate(node.ops):
            other = copy.deepcopy(node)
            other.ops[place] = (_OFF_BY_ONE | _TURNED)[type(operator)]()
            self._replace("comparison", node, other)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._replace(
            "and/or", node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        )
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            self._replace("not", node, node.operand)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if type(node.op) in _SIGNS and not (_is_text(node.left) or _is_text(node.right)):
            self._replace("sign", node, ast.BinOp(node.left, _SIGNS[type(node.op)](), node.right))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if type(node.value) is int:
            self._add("number", node, str(node.value + 1))

    def _replace(self, kind: str, node: ast.expr, other: ast.expr) -> None:
        text = ast.unparse(ast.fix_missing_locations(other))
        self._add(kind, node, f"({text})", None, text)

    def _add(self, kind: str, node: ast.AST, text: str, before: str | None = None, after: str | None = None) -> None:
        start, end = self._span(node)
        if after is None:
            shown = self._holder(node) if kind == "number" else node
            left, right = self._span(shown)
            after = (self.source[left:start] + text.encode() + self.source[end:right]).decode()
            before = self._text(shown)
        self.points.append(
            Point(
                self.module,
                node.lineno,  # type: ignore[attr-defined]  # statements and expressions have one
                ".".join(self._scope),
                kind,
                start,
                end,
                text,
                " ".join((before or self._text(node)).split()),
                " ".join(after.split()),
            )
        )

    def _holder(self, number: ast.AST) -> ast.AST:
        """Return what a number stands in, as alone it says little; itself, where that is a whole function."""
        holder = next((one for one in self._around[-2::-1] if hasattr(one, "lineno")), number)
        return number if isinstance(holder, ast.stmt) and hasattr(holder, "body") else holder

    def _text(self, node: ast.AST) -> str:
        start, end = self._span(node)
        return self.source[start:end].decode()

    def _span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.stmt | ast.expr | ast.keyword)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return (
            self._lines[node.lineno - 1] + node.col_offset,
            self._lines[node.end_lineno - 1] + node.end_col_offset,
        )


def _is_large(value: object) -> bool:
    return isinstance(value, int) and value >= 100


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and not isinstance(node.value, int))


def find_points(root: Path) -> list[Point]:
    """Return every point of the package below ``root`` that is not known to be equivalent, in order."""
    found: list[Point] = []
    for path in sorted((root / PACKAGE).rglob("*.py")):
        module = path.relative_to(root / PACKAGE).with_suffix("").as_posix()
        if module not in LEFT_OUT:
            found += _Finder(module, path.read_text(encoding="utf-8")).points
    numbered = []
    for _, points in groupby(
        sorted(found, key=lambda point: (point.module, point.line)), lambda p: (p.module, p.line)
    ):
        of_line = sorted(points, key=lambda point: (point.start, -point.end))
        numbered += [replace(point, number=number) for number, point in enumerate(of_line, 1)]
    known = {(one.module, one.scope, one.before, one.after) for one in EQUIVALENT}
    if stale := known - {point.identity for point in numbered}:
        raise SystemExit(f"EQUIVALENT has what is no point of the code: {sorted(stale)}")
    return [point for point in numbered if point.identity not in known]


# What is broken


def draw(points: Iterable[Point], seed: str, number: int) -> list[Point]:
    """Return so many points, spread over modules and kinds of change; the same for the same code."""
    groups: dict[str, list[Point]] = defaultdict(list)
    for point in points:
        groups["sandbox" if point.module.startswith("sandbox/") else point.module].append(point)
    columns = [_mixed(groups[name], seed, name) for name in sorted(groups, key=lambda name: _lot(seed, name))]
    rounds = chain.from_iterable(zip_longest(*columns))
    return sorted([point for point in rounds if point][:number], key=lambda point: (point.module, point.start))


def _mixed(points: list[Point], seed: str, group: str) -> list[Point]:
    """Return points in the order of their lots, with those first that are the first of their kind."""
    kinds: dict[str, list[Point]] = defaultdict(list)
    for point in sorted(points, key=lambda point: (_lot(seed, *point.identity), point.start)):
        kinds[point.kind].append(point)
    columns = [kinds[kind] for kind in sorted(kinds, key=lambda kind: _lot(seed, group, kind))]
    return [point for point in chain.from_iterable(zip_longest(*columns)) if point]


def _lot(*names: str) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


# What notices


@dataclass(frozen=True)
class Outcome:
    """What the tests said of a mutant."""

    status: str
    """``killed``, ``timed out`` or ``lived``."""
    by: str = ""
    """The test that failed first."""


@dataclass
class Tests:
    """Runs tests on copies of the tree, and trusts no failure that has nothing to do with the mutant."""

    folder: Path
    bound: int
    others: Sequence[Path] = ()
    """Pythons of other environments, where the nearest tests may see what they cannot see here."""
    sound: dict[tuple[Path, str], bool] = field(default_factory=dict)
    """Of tests that failed with a mutant, whether they pass without one."""

    def require_copies(self) -> None:
        """Make sure that what is tested is the copy."""
        with self._tree(None) as tree:
            for python in (HERE, *self.others):
                _, said = _output(tree, python, ["-c", f"import {PACKAGE} as package; print(package.__file__)"])
                if not Path(said.strip()).is_relative_to(tree):
                    raise UnsoundTests(f"{python} imports the package from elsewhere than the copy: {said.strip()}")

    def judge(self, point: Point) -> Outcome:
        """Return what the tests say of a mutant: the nearest ones, these elsewhere, the wider ones."""
        nearest, wider = nearest_and_wider(point.module)
        with self._tree(point) as tree:
            for python, tests in ((HERE, nearest), *((other, nearest) for other in self.others), (HERE, wider)):
                outcome = self._run(tree, python, tests)
                if outcome.status != "lived":
                    self._require_sound(python, outcome.by, tests)
                    return outcome
        return outcome

    def _require_sound(self, python: Path, test: str, tests: list[str]) -> None:
        """Make sure that a test passes without a mutant; without one that has a name, that all can be collected."""
        if (python, test) not in self.sound:
            with self._tree(None) as tree:
                outcome = self._run(tree, python, [test] if test else ["--collect-only", *tests])
                self.sound[python, test] = outcome.status == "lived"
        if not self.sound[python, test]:
            raise UnsoundTests(f"{test or tests} fails without any mutant: mend that first")

    @contextmanager
    def _tree(self, point: Point | None) -> Iterator[Path]:
        """Give a copy of the source tree that has the mutant in it, for as long as it is needed."""
        tree = Path(tempfile.mkdtemp(dir=self.folder))
        ignored = shutil.ignore_patterns(".*", "__pycache__", "_build", "dist", "benchmarks")
        shutil.copytree(ROOT, tree, ignore=ignored, dirs_exist_ok=True)
        (tree / ".tmp").mkdir()
        if point:
            path = tree / PACKAGE / f"{point.module}.py"
            source = path.read_bytes()
            path.write_bytes(source[: point.start] + point.text.encode() + source[point.end :])
        try:
            yield tree
        finally:
            shutil.rmtree(tree, ignore_errors=True)  # what was killed may still write for a moment

    def _run(self, tree: Path, python: Path, arguments: list[str]) -> Outcome:
        """Run tests in a copy until one fails."""
        options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not system and not long", f"--timeout={self.bound}"]
        status, said = _output(tree, python, ["-m", "pytest", *options, *arguments])
        if status is None:
            return Outcome("timed out")
        if status == 0:
            return Outcome("lived")
        if status == 5:
            raise UnsoundTests(f"{arguments} hold no test")
        failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said, re.M)
        hung = "Failed: Timeout" in said or "+ Timeout +" in said
        return Outcome("timed out" if hung else "killed", failed[1] if failed else "")


class UnsoundTests(Exception):
    """The tests say nothing of a mutant, as they fail, or hold nothing, without it."""


def nearest_and_wider(module: str) -> tuple[list[str], list[str]]:
    """Return the nearest tests of a module and the wider ones, neither empty unless the other is all there is."""
    nearest = OF_THE_SANDBOX if module.startswith("sandbox/") else NEAREST.get(module, [])
    return nearest, [path for path in WIDER if path not in nearest]


def _output(tree: Path, python: Path, arguments: list[str]) -> tuple[int | None, str]:
    """Run a Python in a copy of the tree; return its status, None where it took too long, and what it printed.

    Nothing that it started outlives it, nor is anything left of its files but the copy.
    """
    inherited = os.environ.get("PYTHONPATH")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(tree), inherited])),
        "AIRFLOW_HOME": str(tree / ".airflow"),
        "AKINON_EXAMPLES": EXAMPLES,
        "TMPDIR": str(tree / ".tmp"),
    }
    with tempfile.TemporaryFile() as console:
        process = subprocess.Popen(
            [python, *arguments],
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(RUN_BOUND)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end_all_of(tree)
            process.wait()
        console.seek(0)
        return status, console.read().decode(errors="replace")


def _end_all_of(tree: Path) -> None:
    """End every process that works in a copy of the tree: servers outlive a test that is killed."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(str(tree) in text for text in (*process.cmdline(), *process.environ().values())):
                process.kill()


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    points = find_points(ROOT)
    if options.module:
        points = [point for point in points if point.module in options.module]
    if options.mutant:
        chosen = [p for p in points if {p.name, p.name.rpartition(".")[0]} & set(options.mutant)]
    else:
        chosen = draw(points, options.seed, options.number)
    if not chosen:
        parser.error("there is no such place; --list --number 9999 shows all that there are")
    if options.list:
        print(*chosen, sep="\n")
        return 0
    try:
        return _run_all(chosen, options.bound, options.also)
    except UnsoundTests as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--number", type=int, default=NUMBER, help="of mutants; %(default)s by default")
    parser.add_argument("--seed", default=SEED, help="any word; another draws other places")
    parser.add_argument("--list", action="store_true", help="show the places, and run nothing")
    parser.add_argument(
        "--module",
        action="append",
        metavar="NAME",
        help="draw from this one, such as audit_events/window; repeatable",
    )
    parser.add_argument(
        "--mutant", action="append", metavar="NAME:LINE[.N]", help="break just this place, or this line; repeatable"
    )
    parser.add_argument("--bound", type=int, default=TEST_BOUND, help="seconds of one test; %(default)s by default")
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        type=lambda text: Path(text).absolute(),
        metavar="PYTHON",
        help="of another environment, which runs the nearest tests too where a mutant lived; repeatable",
    )
    return parser


def _run_all(points: list[Point], bound: int, others: list[Path]) -> int:
    """Run the tests on each mutant, and say what came of them."""
    outcomes: list[tuple[Point, Outcome, float]] = []
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        tests = Tests(Path(folder), bound, others)
        tests.require_copies()
        for point in points:
            print(point, end="", flush=True)
            started = time.monotonic()
            outcome = tests.judge(point)
            seconds = time.monotonic() - started
            print(f"\n{'':4}{outcome.status} {'by ' if outcome.by else ''}{outcome.by} ({seconds:.0f} s)", flush=True)
            outcomes.append((point, outcome, seconds))
    print(*_table(outcomes), sep="\n")
    return 1 if any(outcome.status == "lived" for _, outcome, _ in outcomes) else 0


def _table(outcomes: list[tuple[Point, Outcome, float]]) -> Iterator[str]:
    """Yield what came of the mutants of each module, those that live, and the sums."""
    yield f"\n{'module':<36}{'mutants':>8}{'killed':>8}{'hung':>8}{'lived':>8}{'seconds':>9}"
    for module, group in groupby(outcomes, lambda one: one[0].module):
        of_module = list(group)
        statuses = Counter(outcome.status for _, outcome, _ in of_module)
        numbers = (len(of_module), statuses["killed"], statuses["timed out"], statuses["lived"])
        seconds = sum(seconds for _, _, seconds in of_module)
        yield f"{module:<36}" + "".join(f"{number:>8}" for number in numbers) + f"{seconds:>9.0f}"
    yield ""
    lived = [point for point, outcome, _ in outcomes if outcome.status == "lived"]
    yield from (f"LIVED {point}" for point in lived)
    yield f"{len(outcomes)} mutants: {len(outcomes) - len(lived)} killed, {len(lived)} lived"


if __name__ == "__main__":
    sys.exit(main())
