"""The benchmarks start: what they measure with is still called so. What they measure, no test asserts."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

DRAWS = "plot"
"""Needs what only the benchmark's environment has."""
NAMES = sorted({path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py")} - {DRAWS})


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_starts(name: str) -> None:
    """Each imports all that it takes from the package and the tests."""
    importlib.import_module(f"benchmarks.{name}")


@pytest.mark.parametrize("arguments", [["benchmarks"], ["benchmarks.keeping"], ["benchmarks.verification"]])
def test_a_benchmark_tells_what_it_does(arguments: list[str]) -> None:
    """Each that has options tells them."""
    answer = subprocess.run(
        [sys.executable, "-m", *arguments, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert "usage:" in answer.stdout
