"""Serves operators and sensors: finds the window of the task's run, and tells which errors end the task for good.

The window is the one that the author gave, else the one that the run is for. It is never guessed: on Airflow 3 most
schedules make runs without a data interval, and an export over such a run would be an empty file for every day.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, NoReturn, TypeVar, cast

from airflow_provider_akinon.audit_events.archive import Run
from airflow_provider_akinon.audit_events.errors import AkinonError, InvalidInput
from airflow_provider_akinon.audit_events.model import Window, format_instant, parse_timezone
from airflow_provider_akinon.version_compat import AIRFLOW, AirflowFailException

_ADVICE = (
    "Schedule the DAG with CronDataIntervalTimetable('0 0 * * *', timezone='UTC') (from airflow.sdk; before "
    "Airflow 3.2 from airflow.timetables.interval), or give the task a start and an end"
)


def has_asset_watchers() -> bool:
    """Tell whether this Airflow can connect a trigger to an asset."""
    return AIRFLOW >= (3, 0)


def ends_killed_tasks() -> bool:
    """Tell whether this Airflow itself ends a task after telling it that it is killed."""
    return AIRFLOW < (3, 0)


def has_task_state() -> bool:
    """Tell whether this Airflow keeps state for a task between two pokes."""
    return AIRFLOW >= (3, 3)


class Killable:
    """A mixin for operators, used with `killable`: it ends `execute` when the task is killed.

    Airflow 3 tells a task that it is killed, and then waits for it; five seconds later it is killed without a word.
    """

    _executing = False

    def on_kill(self) -> None:
        """End `execute`, wherever it is.

        :raises SystemExit: `execute` is at work. Airflow tries such a task again, where it has tries left.
        """
        # After a timeout, it has ended already.
        if self._executing and not ends_killed_tasks():
            raise SystemExit(128 + signal.SIGTERM)


_Execute = TypeVar("_Execute", bound=Callable[..., Any])


def killable(execute: _Execute) -> _Execute:
    """Return ``execute``, the method of a `Killable`, so that a kill ends it."""

    @wraps(execute)
    def noted(self: Killable, *args: Any, **kwargs: Any) -> Any:
        self._executing = True
        try:
            return execute(self, *args, **kwargs)
        finally:
            self._executing = False

    return cast(_Execute, noted)


@contextmanager
def failing_for_good() -> Iterator[None]:
    """Turn the errors that another try cannot mend into ``AirflowFailException``; let the others pass."""
    try:
        yield
    except AkinonError as error:
        if not error.permanent:
            raise
        # Airflow would log the cause of the error first, which has the same words. The traceback stays.
        raise AirflowFailException(str(error)).with_traceback(error.__traceback__) from None


def fail_with(context: Mapping[str, Any], result: object, message: str) -> NoReturn:
    """Fail the task for good, and leave its result in XCom for other tasks."""
    if "ti" in context:
        context["ti"].xcom_push(key="return_value", value=result)
    raise AirflowFailException(message)


@dataclass(frozen=True, slots=True)
class WindowRequest:
    """The window that an author asked for: both edges or none, and the length of a partition."""

    start: object
    end: object
    partition_period: timedelta | None
    partition_timezone: str

    def resolve(self, context: Mapping[str, Any]) -> Window:
        """Return the window: the given edges, else the run's data interval, else its partition.

        :param context: the task's context.
        :raises InvalidInput: there is no window, or it is empty, reversed or without a time zone.
        """
        timezone = parse_timezone("partition_timezone", self.partition_timezone)
        if self.start is not None or self.end is not None:
            if self.start is None or self.end is None:
                missing = "start" if self.start is None else "end"
                raise InvalidInput(f"{missing} is missing; give start and end, or neither for the run's interval")
            return Window.parse(self.start, self.end)
        start, end = context.get("data_interval_start"), context.get("data_interval_end")
        if start is not None and end is not None and start != end:
            return Window.parse(start, end)
        partition = _partition_date(context)
        if partition is not None:
            if self.partition_period is None:
                raise InvalidInput(
                    f"partition_period is missing: the run is for the partition {format_instant(partition)}, which "
                    "is a point in time; give its length, such as timedelta(days=1)"
                )
            return Window.of_period(partition, self.partition_period, timezone)
        if start is not None and start == end:
            raise InvalidInput(
                f"The run's data interval is empty: it starts and ends at {format_instant(start)}. On Airflow 3, "
                f"'@daily', cron strings and timedeltas make such runs. {_ADVICE}"
            )
        raise InvalidInput(
            "The run has no data interval, as it was triggered by hand, by the API without a logical date, or by "
            f"an asset. {_ADVICE}"
        )


def refuse_future(window: Window) -> None:
    """Make sure that ``window`` has ended by this machine's clock.

    :raises InvalidInput: it has not; an export now would lack what is still to come.
    """
    now = datetime.now(UTC)
    if window.end > now:
        raise InvalidInput(
            f"end={format_instant(window.end)} is in the future (now is {format_instant(now)}): events of the window "
            "are still to come. Give an end that has passed, or wait for it"
        )


def run_of(context: Mapping[str, Any]) -> Run:
    """Return the task, for a receipt or a seal."""
    instance = context.get("ti")
    return Run(
        dag_id=getattr(instance, "dag_id", None),
        task_id=getattr(instance, "task_id", None),
        run_id=context.get("run_id"),
        map_index=getattr(instance, "map_index", None),
        try_number=getattr(instance, "try_number", None),
    )


def _partition_date(context: Mapping[str, Any]) -> datetime | None:
    # Airflow 3.2 and later; a run elsewhere has none.
    date = context.get("partition_date")
    return date if isinstance(date, datetime) else getattr(context.get("dag_run"), "partition_date", None)
