"""The window of a task's run: what each kind of run brings, and that nothing is ever guessed."""

from __future__ import annotations

import re
import traceback
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_akinon.audit_events import errors
from airflow_provider_akinon.audit_events.errors import AkinonError, InvalidInput
from airflow_provider_akinon.audit_events.model import Window
from airflow_provider_akinon.task_run import WindowRequest, fail_with, failing_for_good, refuse_future

DAY = timedelta(days=1)


def resolve(
    context: dict[str, Any],
    *,
    start: object = None,
    end: object = None,
    period: timedelta | None = None,
    timezone: str = "UTC",
) -> Window:
    return WindowRequest(start, end, period, timezone).resolve(context)


def at(day: int, hour: int = 0) -> pendulum.DateTime:
    """Return a time in November 2026, as Airflow gives it."""
    return pendulum.datetime(2026, 11, day, hour)


def run(start: datetime | None, end: datetime | None, **other: Any) -> dict[str, Any]:
    """Return the context of a run with a data interval."""
    return {
        "data_interval_start": start,
        "data_interval_end": end,
        "logical_date": start,
        "dag_run": SimpleNamespace(partition_key=None, partition_date=None),
        **other,
    }


@pytest.mark.parametrize(
    "context",
    [
        pytest.param(run(at(20), at(20)), id="daily-scheduled-on-airflow-3"),
        pytest.param(run(at(21), at(21)), id="daily-backfill-or-dags-test"),
        pytest.param(run(at(21, 13), at(21, 13)), id="schedule-none-dags-test"),
    ],
)
def test_an_empty_interval_is_never_an_empty_export(context: dict[str, Any]) -> None:
    """On Airflow 3, ``@daily``, cron strings and timedeltas make runs of no length; the advice names a timetable."""
    with pytest.raises(InvalidInput, match=r"data interval is empty: .* CronDataIntervalTimetable\('0 0 \* \* \*'"):
        resolve(context)


@pytest.mark.parametrize(
    ("context", "window"),
    [
        pytest.param(run(at(20), at(21)), Window(at(20), at(21)), id="scheduled"),
        pytest.param(run(at(14), at(15)), Window(at(14), at(15)), id="backfill"),
        pytest.param(
            run(at(20), at(21), logical_date=at(21), ds="2026-11-21"), Window(at(20), at(21)), id="dags-test"
        ),
        pytest.param(run(at(20, 21), at(21, 21)), Window(at(20, 21), at(21, 21)), id="a-day-of-istanbul"),
        pytest.param(
            {"data_interval_start": at(20), "data_interval_end": at(21)}, Window(at(20), at(21)), id="no-dag-run"
        ),
    ],
)
def test_a_real_interval_is_the_window(context: dict[str, Any], window: Window) -> None:
    """A run with an interval exports the interval, whatever its logical date is."""
    assert resolve(context) == window


PARTITION = {"partition_key": "2026-11-20", "partition_date": at(20)}


@pytest.mark.parametrize(
    "context",
    [
        pytest.param(PARTITION, id="in-the-context"),
        pytest.param({"dag_run": SimpleNamespace(**PARTITION)}, id="on-the-dag-run"),
        pytest.param(run(at(21), at(21), **PARTITION), id="beside-an-empty-interval"),
        pytest.param(run(None, None, **PARTITION), id="beside-no-interval"),
    ],
)
def test_a_partition_with_a_length_is_the_window(context: dict[str, Any]) -> None:
    """A run of ``CronPartitionTimetable`` has a date and no interval: with a period it is a window."""
    assert resolve(context, period=DAY) == Window(at(20), at(21))


def test_a_partition_is_counted_on_its_own_wall_clock() -> None:
    """A day of Berlin in which clocks change has 25 hours."""
    midnight = pendulum.datetime(2026, 10, 25, tz="Europe/Berlin").in_timezone("UTC")

    window = resolve({"partition_date": midnight}, period=DAY, timezone="Europe/Berlin")

    assert window.end - window.start == timedelta(hours=25)


def test_a_partition_without_a_length_is_not_guessed() -> None:
    """A partition is a point in time, so its length must be given."""
    with pytest.raises(
        InvalidInput, match=r"partition_period is missing: .* the partition 2026-11-20T00:00:00\.000Z"
    ):
        resolve(PARTITION)


def test_an_interval_comes_before_a_partition() -> None:
    """Where a run has both, the interval says how long it is."""
    assert resolve(run(at(20), at(21), **PARTITION), period=timedelta(hours=1)) == Window(at(20), at(21))


@pytest.mark.parametrize(
    "context",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"dag_run": None}, id="no-dag-run"),
        pytest.param({"dag_run": SimpleNamespace()}, id="dag-run-of-airflow-2"),
        pytest.param(run(None, None), id="logical-date-null"),
        pytest.param({"partition_key": None, "partition_date": None}, id="partition-timetable-dags-test"),
        pytest.param({"partition_key": "2026-11-20"}, id="a-key-alone"),
        pytest.param({"triggering_asset_events": {}, "run_id": "asset_triggered__1"}, id="asset-triggered"),
    ],
)
@pytest.mark.parametrize("period", [None, DAY])
def test_a_run_without_any_interval_is_refused(context: dict[str, Any], period: timedelta | None) -> None:
    """Runs by hand without a logical date, and those of assets, have no window unless the author gives one."""
    with pytest.raises(InvalidInput, match=r"The run has no data interval, .* CronDataIntervalTimetable"):
        resolve(context, period=period)
    assert resolve(context, period=period, start=at(1), end=at(2)) == Window(at(1), at(2))


@pytest.mark.parametrize("context", [run(at(20), at(21)), run(at(20), at(20)), PARTITION, {}])
def test_what_the_author_gave_comes_first(context: dict[str, Any]) -> None:
    """Both edges given are the window, whatever the run is for; text comes from templates."""
    window = resolve(context, start="2026-11-01T00:00:00+03:00", end=at(2), period=DAY)

    assert window == Window(datetime(2026, 10, 31, 21, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))


@pytest.mark.parametrize(("given", "missing"), [("start", "end"), ("end", "start")])
def test_one_edge_alone_is_refused(given: str, missing: str) -> None:
    """One edge is never completed from the run's interval."""
    with pytest.raises(InvalidInput, match=f"^{missing} is missing; give start and end"):
        resolve(run(at(20), at(21)), **{given: at(20)})  # type: ignore[arg-type]


@pytest.mark.parametrize(("start", "end"), [("", ""), ("None", "None"), (at(20), at(20)), (at(21), at(20))])
def test_wrong_edges_are_refused_and_not_replaced(start: object, end: object) -> None:
    """Edges that a template rendered to nothing do not fall back to the run's interval."""
    with pytest.raises(InvalidInput):
        resolve(run(at(20), at(21)), start=start, end=end)


@pytest.mark.parametrize("context", [run(at(20), at(21)), PARTITION, {}])
def test_a_wrong_time_zone_is_refused_for_every_run(context: dict[str, Any]) -> None:
    """A misspelt zone fails on the first run, not on the first partition."""
    with pytest.raises(InvalidInput, match="partition_timezone='Europe/Atlantis'"):
        resolve(context, period=DAY, timezone="Europe/Atlantis")


def test_a_window_that_has_not_ended_is_refused() -> None:
    """An export of a window that is still open would lack what is still to come."""
    now = datetime.now(UTC)

    refuse_future(Window(now - DAY, now))
    with pytest.raises(InvalidInput, match=r"^end=.* is in the future \(now is "):
        refuse_future(Window(now - DAY, now + timedelta(minutes=1)))


EXAMPLES: list[AkinonError] = [
    errors.InvalidInput("x"),
    errors.ConnectionMissing("x", conn_id="c"),
    errors.Rejected("x", status=403, detail="x"),
    errors.Throttled("x", status=429, retry_after=None),
    errors.Unavailable("x", status=503),
    errors.Unreachable("x"),
    errors.UntrustedServer("x"),
    errors.ProtocolError("x"),
    errors.WrongServer("x", status=403),
    errors.UnreadableRecord("x", uuid=None),
    errors.RedirectRefused("x"),
    errors.UnrequestedEvent("x"),
    errors.IncompleteWindow("x", expected=1, read=0),
    errors.MeaninglessCount("x", expected=1, read=0),
    errors.ForeignObject("x"),
    errors.ObjectAltered("x"),
    errors.SourceChanged("x", changed=1, vanished=0),
    errors.ObjectLocked("x"),
    errors.UnconditionalWrites("x"),
    errors.ObjectUnreadable("x"),
    errors.ObjectChanged("x"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_only_what_another_try_cannot_mend_ends_the_task(error: AkinonError) -> None:
    """A permanent error becomes Airflow's final failure, with the same text; the others stay and are retried."""
    with pytest.raises(AirflowFailException if error.permanent else type(error)) as caught, failing_for_good():
        raise error

    assert str(caught.value) == "x"
    assert error in (caught.value, caught.value.__context__)
    # Once in the log, and with where it came from.
    shown = "".join(traceback.format_exception(caught.value))
    assert len(re.findall(r"^\S+: x$", shown, re.M)) == 1
    assert "raise error" in shown


def test_every_error_has_an_example() -> None:
    """A class added to the tree must be added to the examples above."""
    leaves = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, AkinonError) and "permanent" in dir(value)
    }

    assert leaves - {type(error) for error in EXAMPLES} == {
        errors.AkinonError,
        errors.ApiError,
        errors.ArchiveError,
    }


def test_other_exceptions_pass_untouched() -> None:
    """What is no error of this package is not dressed up as one."""
    with pytest.raises(ZeroDivisionError), failing_for_good():
        raise ZeroDivisionError


def test_a_failure_leaves_what_the_task_would_have_returned() -> None:
    """What others read of the task is there before it fails for good, with the message."""
    pushed: list[dict[str, object]] = []
    instance = SimpleNamespace(xcom_push=lambda **given: pushed.append(given))

    with pytest.raises(AirflowFailException, match="seven changed"):
        fail_with({"ti": instance}, {"changed": 7}, "seven changed")

    assert pushed == [{"key": "return_value", "value": {"changed": 7}}]


def test_a_failure_outside_a_run() -> None:
    """Where there is no task to leave anything to, as in a shell, it fails alike."""
    with pytest.raises(AirflowFailException, match="seven changed"):
        fail_with({}, {"changed": 7}, "seven changed")
