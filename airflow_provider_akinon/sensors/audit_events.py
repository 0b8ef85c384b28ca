"""Wait until a window holds audit events, or has settled.

A thin shell around `watching`: one small request for each poke. The last count, and since when it stands, go on from
poke to poke: a sensor that keeps its worker keeps them itself, a deferred one in its trigger, and a rescheduled one
in Airflow's task state. Where Airflow has no such place, the constructor refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from airflow_provider_akinon.audit_events.errors import AkinonError, InvalidInput
from airflow_provider_akinon.audit_events.model import Filters
from airflow_provider_akinon.audit_events.watching import (
    MAX_LATENESS,
    Awaited,
    Sighting,
    look_at,
    progress_of,
    result_of,
)
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.task_run import Killable, WindowRequest, failing_for_good, has_task_state, killable
from airflow_provider_akinon.triggers.audit_events import AuditEventsTrigger
from airflow_provider_akinon.version_compat import (
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
    PokeReturnValue,
    conf,
)

__all__ = ["AuditEventsSensor"]

_STATE_KEY = "akinon-sighting"
_SAY_AGAIN = timedelta(hours=1)
"""The time for which a poking sensor logs nothing while it sees nothing new."""


class AuditEventsSensor(Killable, BaseSensorOperator):
    """Waits until a window holds enough matching events, and has settled.

    With ``settled_for``, until the window's end has passed and its count has not moved for so long: put it before
    an export, since events become visible late.

    .. seealso::
        How to use this sensor: :ref:`howto/sensor:AuditEventsSensor`

    :param start: the window's start, as an aware datetime or ISO 8601 text with an offset (templated). Without
        ``start`` and ``end``, the window is the run's data interval, or its partition.
    :param end: the window's end, not part of it, as ``start``; it may lie in the future (templated).
    :param filters: any of ``user``, ``content_type`` and ``object_id``, as integers, such as ``{"user": 42}``
        (templated).
    :param min_events: how many events to wait for; None for 1, and with ``settled_for`` for 0, since a quiet day
        settles too.
    :param settled_for: how long the count must not have moved, counted from the window's end at the earliest. In
        ``mode="reschedule"`` it needs Airflow 3.3 or later.
    :param max_lateness: a window that ended longer ago has settled at the first poke, so that a backfill does not
        wait.
    :param partition_period: how long a partition is, where the run is for a partition and has no data interval.
    :param partition_timezone: the IANA time zone of a partition's days.
    :param deferrable: wait in the triggerer, and not on a worker; by default as Airflow's configuration says.
    :param akinon_conn_id: the Akinon connection (templated).
    :returns: ``count`` (events), ``window`` (``start`` and ``end``, ISO 8601 in UTC) and ``settled_at`` (when it was
        found settled, likewise; None without ``settled_for``).
    :raises InvalidInput: ``min_events``, ``settled_for`` or ``max_lateness`` is wrong, when the DAG is parsed.
    :raises AirflowFailException: the parameters are wrong, or the API refuses; trying again does not help.
    :raises AkinonError: the API did not answer; Airflow may retry.
    """

    template_fields = ("start", "end", "filters", "akinon_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"filters": "json"}
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        filters: Mapping[str, Any] | None = None,
        min_events: int | None = None,
        settled_for: timedelta | None = None,
        max_lateness: timedelta = MAX_LATENESS,
        partition_period: timedelta | None = None,
        partition_timezone: str = "UTC",
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        akinon_conn_id: str = AkinonHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.end = end
        self.filters = filters
        self.min_events = (1 if settled_for is None else 0) if min_events is None else min_events
        self.settled_for = settled_for
        self.max_lateness = max_lateness
        self.partition_period = partition_period
        self.partition_timezone = partition_timezone
        self.deferrable = deferrable
        self.akinon_conn_id = akinon_conn_id
        Awaited.check(self.min_events, settled_for, max_lateness)
        if settled_for is not None and self.reschedule and not deferrable and not has_task_state():
            raise InvalidInput(
                "settled_for with mode='reschedule' needs Airflow 3.3 or later, which keeps state between pokes; "
                "use deferrable=True or mode='poke'"
            )
        self._sighting: Sighting | None = None
        self._said: tuple[Sighting, datetime] | None = None

    @killable
    def execute(self, context: Context) -> Any:
        """Wait, here or in the triggerer, and return what was found; see the class."""
        if not self.deferrable:
            return super().execute(context)
        try:
            awaited, sighting, over = self._look(context, None)
        except (AirflowFailException, AkinonError) as error:
            raise self._ending(error) from None
        if over:
            return result_of(awaited, sighting, datetime.now(UTC))
        return self.defer(
            trigger=AuditEventsTrigger.of(
                self.akinon_conn_id, awaited, sighting, self.poke_interval, self._most_seconds_between()
            ),
            method_name=self.execute_complete.__name__,
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow's
        """Return the trigger's result.

        :raises AirflowFailException: the API refuses; trying again does not help.
        :raises AkinonError: the API did not answer.
        """
        if event["status"] == "done":
            return {name: event[name] for name in ("count", "window", "settled_at")}
        raise self._ending((AirflowFailException if event["permanent"] else AkinonError)(event["message"]))

    def _ending(self, error: Exception) -> Exception:
        """Return what ``soft_fail`` and ``never_fail`` make of an error, as Airflow does after a poke."""
        if self.never_fail or (self.soft_fail and isinstance(error, AirflowFailException)):
            return AirflowSkipException(str(error))
        return error

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at the window once."""
        state: Any = context.get("task_state_store") if self.reschedule and self.settled_for is not None else None
        if state is None:
            before = self._sighting
        else:
            noted = state.get(_STATE_KEY)
            before = None if noted is None else Sighting.from_dict(noted)
        awaited, sighting, over = self._look(context, before)
        self._sighting = sighting
        if state is not None and not over:
            state.set(_STATE_KEY, sighting.as_dict())
        elif state is not None:
            state.delete(_STATE_KEY)
        return PokeReturnValue(over, result_of(awaited, sighting, datetime.now(UTC)) if over else None)

    def _look(self, context: Context, before: Sighting | None) -> tuple[Awaited, Sighting, bool]:
        with failing_for_good():
            request = WindowRequest(self.start, self.end, self.partition_period, self.partition_timezone)
            filters = Filters.parse(self.filters)
            awaited = Awaited(request.resolve(context), filters, self.min_events, self.settled_for, self.max_lateness)
            with AkinonHook(self.akinon_conn_id).get_conn() as api:
                # A sensor is rescheduled only where the API has answered.
                api.has_answered = before is not None or bool(context.get("task_reschedule_count"))
                sighting, over = look_at(api, awaited, before, datetime.now(UTC))
        self._report(awaited, sighting, over=over)
        return awaited, sighting, over

    def _report(self, awaited: Awaited, sighting: Sighting, *, over: bool) -> None:
        """Log what was seen: at once where it is news, else once in `_SAY_AGAIN`."""
        now = datetime.now(UTC)
        if over:
            self.log.info("%s holds %d matching events; the waiting is over", awaited.window, sighting.count)
        elif self._said is None or self._said[0] != sighting or now - self._said[1] >= _SAY_AGAIN:
            self._said = (sighting, now)
            again = "later each time" if self.exponential_backoff else f"every {self.poke_interval:g} s"
            self.log.info("%s. Looking again %s, and saying so hourly", progress_of(awaited, sighting, now), again)

    def _most_seconds_between(self) -> float | None:
        """Return the longest interval between pokes, in seconds, where it grows; None where it does not grow."""
        if not self.exponential_backoff:
            return None
        most = self.timeout if self.max_wait is None else self.max_wait
        return most.total_seconds() if isinstance(most, timedelta) else float(most)
