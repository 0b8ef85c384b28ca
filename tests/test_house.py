"""What holds for each function of the package, whatever its room: it is short, and has few ways through it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PACKAGE = ROOT / "airflow_provider_akinon"
MOST_LINES = 40
"""Lines of a function, from its ``def`` to its last, with its docstring and the functions in it."""
MOST_BRANCHES = 15
"""Places in a function where there are two ways to go on. Ruff knows of none inside an expression."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_FORKS = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


def functions_of(node: ast.AST, around: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Yield the functions and methods of a file with their names; those in others belong to these."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, _FUNCTIONS):
            yield around + inner.name, inner
        else:
            yield from functions_of(inner, f"{around}{inner.name}." if isinstance(inner, ast.ClassDef) else around)


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno
    return function.end_lineno - function.lineno + 1


def branches_of(function: ast.AST) -> int:
    """Return how often a function branches: of an ``and`` or ``or`` each operand after the first does."""
    return sum(
        isinstance(node, _FORKS)
        + (len(node.values) - 1 if isinstance(node, ast.BoolOp) else 0)
        + (len(node.ifs) if isinstance(node, ast.comprehension) else 0)
        for node in ast.walk(function)
    )


def findings_in(file: Path, most_lines: int = MOST_LINES, most_branches: int = MOST_BRANCHES) -> list[str]:
    """Return the functions of a file that are too long or have too many branches."""
    return [
        f"{file.relative_to(ROOT)}:{function.lineno} {name}: {lines} lines, {branches} branches"
        for name, function in functions_of(ast.parse(file.read_text(encoding="utf-8")))
        for lines, branches in [(lines_of(function), branches_of(function))]
        if lines > most_lines or branches > most_branches
    ]


def test_no_function_is_a_knot() -> None:
    """None has over 40 lines, or over 15 branches; building a command line is no exception."""
    files = sorted(PACKAGE.rglob("*.py"))
    knots = [each for file in files for each in findings_in(file)]

    assert not knots, "\n".join(knots)
    # Those that are nearly so are found: the counting itself counts.
    assert len([each for file in files for each in findings_in(file, 30, 10)]) > 10


@pytest.mark.parametrize(
    ("source", "branches"),
    [
        ("if a:\n  pass\nelif b:\n  pass\nelse:\n  pass", 2),
        ("for a in b:\n  pass\nelse:\n  pass", 1),
        ("while a:\n  pass", 1),
        ("try:\n  pass\nexcept A:\n  pass\nexcept B:\n  pass\nfinally:\n  pass", 2),
        ("a and b and c or d", 3),
        ("[a for a in b if c if d]", 2),
        ("a if b else c", 1),
        ("match a:\n  case 1:\n    pass\n  case _:\n    pass", 2),
        ("def inner():\n  if a:\n    pass", 1),
        ("with a:\n  b = lambda: c or d", 1),
    ],
)
def test_what_counts_as_a_branch(source: str, branches: int) -> None:
    """Each way to fork is counted, once, also inside an expression or an inner function."""
    assert branches_of(ast.parse(source)) == branches
