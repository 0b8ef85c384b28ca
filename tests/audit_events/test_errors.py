"""The error tree: what the docstring draws is what the classes are."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from airflow_provider_akinon.audit_events import errors
from airflow_provider_akinon.audit_events.errors import AkinonError, Throttled

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
}


def drawn() -> dict[str, tuple[str | None, bool]]:
    """Return each class of the drawing with its parent and whether it is called permanent."""
    path: list[str] = []
    tree: dict[str, tuple[str | None, bool]] = {}
    for line in (errors.__doc__ or "").splitlines():
        branch = re.match(r"    (?P<indent>[│ ]*)(?P<fork>[├└]── )?(?P<name>[A-Z]\w+)\b(?P<rest>.*)", line)
        if branch is None:
            continue
        depth = len(branch["indent"]) // 4 + bool(branch["fork"])
        path[depth:] = [branch["name"]]
        tree[branch["name"]] = (path[depth - 1] if depth else None, branch["rest"].endswith("permanent"))
    return tree


def test_the_drawing_is_read() -> None:
    """The reader of the drawing finds the root and a leaf of three levels; else the next test would prove nothing."""
    assert drawn()["AkinonError"] == (None, False)
    assert drawn()["UntrustedServer"] == ("Unreachable", True)


def test_the_drawn_tree_is_the_real_one() -> None:
    """Every class is drawn below its base class, and marked permanent where it is."""
    real = {
        name: (
            next((base.__name__ for base in class_.__bases__ if base.__name__ in CLASSES), None),
            class_.permanent,
        )
        for name, class_ in CLASSES.items()
    }

    assert drawn() == real


@pytest.mark.parametrize("class_", CLASSES.values(), ids=CLASSES)
def test_one_except_clause_catches_all(class_: type[Exception]) -> None:
    """Every error is an `AkinonError` with a docstring, and says whether trying again is pointless."""
    assert issubclass(class_, AkinonError)
    assert class_.__doc__
    assert isinstance(class_.permanent, bool)


def test_wrong_input_is_a_value_error() -> None:
    """Callers who know nothing of this package may catch wrong input as Python has it."""
    assert issubclass(errors.InvalidInput, ValueError)


def test_errors_carry_their_data() -> None:
    """What a handler needs is an attribute, not text to be parsed."""
    rejected = errors.Rejected("no", status=403, detail="No access.")
    throttled = errors.Throttled("slow down", status=429, retry_after=7.0)
    changed = errors.SourceChanged("not as stored", changed=3, vanished=2)
    incomplete = errors.IncompleteWindow("not proved", expected=3, read=2)

    assert (str(rejected), rejected.status, rejected.detail) == ("no", 403, "No access.")
    assert (throttled.status, throttled.retry_after) == (429, 7.0)
    assert (changed.changed, changed.vanished) == (3, 2)
    assert (incomplete.expected, incomplete.read) == (3, 2)


def test_an_error_survives_the_way_to_another_process() -> None:
    """Pickled and back, an error has its message and its data."""
    error = pickle.loads(pickle.dumps(Throttled("slow down", status=429, retry_after=7.5)))

    assert (type(error), str(error), error.status, error.retry_after) == (Throttled, "slow down", 429, 7.5)
