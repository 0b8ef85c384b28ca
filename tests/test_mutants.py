"""The script that breaks the code: what it draws, and that its tables name what there is."""

from __future__ import annotations

from tests import mutants
from tests.mutants import Point, draw, find_points, nearest_and_wider
from tests.support.paths import ROOT

POINTS = find_points(ROOT)
PACKAGE = ROOT / mutants.PACKAGE


def broken(point: Point) -> str:
    """Return the source of a mutant's module."""
    source = (PACKAGE / f"{point.module}.py").read_bytes()
    return (source[: point.start] + point.text.encode() + source[point.end :]).decode()


def test_thirty_mutants_are_spread_over_thirty_modules() -> None:
    """No module has two mutants before every one has one, and a second draw is the same as the first."""
    drawn = draw(POINTS, mutants.SEED, mutants.NUMBER)

    assert len({point.module for point in drawn}) == len(drawn) == 30
    assert draw(reversed(POINTS), mutants.SEED, mutants.NUMBER) == drawn
    assert draw(POINTS, "another", mutants.NUMBER) != drawn


def test_a_mutant_is_python_and_not_what_was_there() -> None:
    """Each mutant compiles, and differs from the code."""
    for point in draw(POINTS, mutants.SEED, 300):
        assert broken(point) != (PACKAGE / f"{point.module}.py").read_text(encoding="utf-8")
        compile(broken(point), point.module, "exec")


def test_every_module_with_mutants_has_tests_of_its_own() -> None:
    """The table of tests names each module but those of the sandbox, and tests that exist."""
    modules = {point.module for point in POINTS}

    assert {module for module in modules if not module.startswith("sandbox/")} == mutants.NEAREST.keys()
    for module in modules:
        nearest, wider = nearest_and_wider(module)
        assert nearest
        assert [path for path in nearest + wider if not (ROOT / path).exists()] == []


def test_what_is_equivalent_says_why_and_is_not_drawn() -> None:
    """Each change that is left out has its reason, and none of them is among the points."""
    identities = {point.identity for point in POINTS}

    for one in mutants.EQUIVALENT:
        assert one.why
        assert (one.module, one.scope, one.before, one.after) not in identities
