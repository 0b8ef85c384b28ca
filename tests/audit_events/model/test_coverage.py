"""What windows leave out and what they cover twice, by example and against counting hours one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.model import Window, gaps, overlaps

START = datetime(2026, 1, 31, tzinfo=UTC)
HOUR = timedelta(hours=1)

Hours = tuple[int, int]


def window(hours: Hours) -> Window:
    return Window(START + hours[0] * HOUR, START + hours[1] * HOUR)


def hours(windows: list[Window]) -> list[Hours]:
    return [((each.start - START) // HOUR, (each.end - START) // HOUR) for each in windows]


@pytest.mark.parametrize(
    ("windows", "left_out"),
    [
        ([], [(0, 24)]),
        ([(0, 24)], []),
        ([(-5, 30)], []),
        ([(0, 12), (12, 24)], []),
        ([(12, 24), (0, 12)], []),
        ([(0, 11), (12, 24)], [(11, 12)]),
        ([(2, 3), (5, 20)], [(0, 2), (3, 5), (20, 24)]),
        ([(0, 20), (2, 3), (20, 24)], []),
        ([(0, 20), (2, 3), (21, 24)], [(20, 21)]),
        ([(-5, 0), (24, 30)], [(0, 24)]),
        ([(-5, -2), (30, 31)], [(0, 24)]),
        ([(23, 30)], [(0, 23)]),
    ],
)
def test_gaps(windows: list[Hours], left_out: list[Hours]) -> None:
    """What no window covers between the edges is given in order; windows outside do not matter."""
    assert hours(gaps(map(window, windows), window((0, 24)))) == left_out


@pytest.mark.parametrize(
    ("windows", "twice"),
    [
        ([], []),
        ([(0, 24)], []),
        ([(0, 12), (12, 24)], []),
        ([(0, 13), (12, 24)], [(12, 13)]),
        ([(12, 24), (0, 13)], [(12, 13)]),
        ([(0, 24), (3, 4)], [(3, 4)]),
        ([(0, 24), (3, 4), (6, 30)], [(3, 4), (6, 24)]),
        ([(0, 24), (0, 24)], [(0, 24)]),
        ([(-9, 3), (-5, 2)], [(0, 2)]),
        ([(-9, -3), (-5, -2)], []),
        ([(20, 40), (22, 30)], [(22, 24)]),
        ([(24, 40), (26, 30)], []),
    ],
)
def test_overlaps(windows: list[Hours], twice: list[Hours]) -> None:
    """What two windows cover between the edges is given in order, also where one lies in the other."""
    assert hours(overlaps(map(window, windows), window((0, 24)))) == twice


HOURS = st.tuples(st.integers(-3, 27), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(HOURS, max_size=8))
def test_hour_by_hour(windows: list[Hours]) -> None:
    """An hour lies in a gap where no window covers it, and in an overlap where more than one does."""
    covering = [sum(start <= hour < end for start, end in windows) for hour in range(24)]
    left_out = hours(gaps(map(window, windows), window((0, 24))))
    twice = hours(overlaps(map(window, windows), window((0, 24))))

    for hour in range(24):
        assert any(start <= hour < end for start, end in left_out) == (covering[hour] == 0)
        assert any(start <= hour < end for start, end in twice) == (covering[hour] > 1)
    assert all(0 <= start < end <= 24 for start, end in [*left_out, *twice])
    assert all(one[1] < other[0] for one, other in pairwise(left_out))
    assert [start for start, _ in twice] == sorted(start for start, _ in twice)
