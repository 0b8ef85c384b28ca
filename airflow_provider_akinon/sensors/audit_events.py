"""Wait until a window holds audit events.

A thin shell around the API's ``count``: one small request for each poke. It keeps nothing between pokes, so that
``mode="reschedule"`` works as ``poke`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.common.compat.sdk import BaseSensorOperator

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.task_run import WindowRequest, failing_for_good


class AuditEventsSensor(BaseSensorOperator):
    """Waits until a window holds at least ``min_events`` audit events that match the filters.

    :param start: the window's start, as an aware datetime or ISO 8601 text with an offset (templated). Without
        ``start`` and ``end``, the window is the run's data interval, or its partition.
    :param end: the window's end, not part of it, as ``start``; it may lie in the future (templated).
    :param filters: any of ``user``, ``content_type`` and ``object_id``, as integers (templated).
    :param min_events: how many events to wait for; at least 1.
    :param partition_period: how long a partition is, where the run is for a partition and has no data interval.
    :param partition_timezone: the IANA time zone of a partition's days.
    :param akinon_conn_id: the Akinon connection.
    :raises AirflowFailException: the parameters are wrong, or the API refuses; trying again does not help.
    :raises AkinonError: the API did not answer; Airflow may retry.
    """

    template_fields = ("start", "end", "filters")
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        start: object = None,
        end: object = None,
        filters: Mapping[str, Any] | None = None,
        min_events: int = 1,
        partition_period: timedelta | None = None,
        partition_timezone: str = "UTC",
        akinon_conn_id: str = AkinonHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(min_events, int) or isinstance(min_events, bool) or min_events < 1:
            raise InvalidInput(f"min_events={min_events!r} is not an integer of at least 1")
        self.start = start
        self.end = end
        self.filters = filters
        self.min_events = min_events
        self.partition_period = partition_period
        self.partition_timezone = partition_timezone
        self.akinon_conn_id = akinon_conn_id

    def poke(self, context: Any) -> bool:
        """Tell whether the window holds enough events now."""
        with failing_for_good():
            request = WindowRequest(self.start, self.end, self.partition_period, self.partition_timezone)
            window = request.resolve(context)
            filters = Filters.parse(self.filters)
            with AkinonHook(self.akinon_conn_id).get_conn() as api:
                count = api.count(window, filters)
            self.log.info("%s holds %d matching events; waiting for %d", window, count, self.min_events)
            return count >= self.min_events
