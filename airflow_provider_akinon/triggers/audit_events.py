"""Triggers that wait for a window without a worker, and that announce new events to the watchers of an asset.

Thin shells around `watching`. Requests and the lookup of the connection run in threads of their own, so that the
triggerer's event loop never waits; only the connection's id is serialized. After an error that may pass, a trigger
tries again, a few times in a row and each time later; any other error ends the wait for a window. A trigger that
watches an asset never ends by itself.

Connecting a trigger to an asset (`AssetWatcher`) needs Airflow 3; on Airflow 2 `AuditEventsArrivedTrigger` can be
imported, and says so when it is made.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, TypeVar

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from airflow_provider_akinon.audit_events.api import AuditEventsApi
from airflow_provider_akinon.audit_events.errors import AkinonError, InvalidInput, Throttled
from airflow_provider_akinon.audit_events.model import Filters, Window, format_instant, parse_instant
from airflow_provider_akinon.audit_events.watching import (
    Awaited,
    Batch,
    Cursor,
    Sighting,
    look_at,
    look_for,
    result_of,
)
from airflow_provider_akinon.connections import get_connection
from airflow_provider_akinon.hooks.akinon import AkinonHook, settings_of
from airflow_provider_akinon.task_run import has_asset_watchers
from airflow_provider_akinon.version_compat import BaseEventTrigger

__all__ = ["AuditEventsArrivedTrigger", "AuditEventsTrigger"]

MOST_FAILURES = 5
"""Looks that may fail in a row before a trigger ends: with the pauses between them half a minute."""
FIRST_PAUSE = 2.0
"""Seconds to wait after a failed look; twice as long after each further one."""

LONGEST_TO_HAND_OVER = 10.0
"""Seconds that the triggerer has to store an event, before the event is noted as told."""
PAUSE_AFTER_FAILURE = 300.0
"""Seconds until a watching trigger looks again after an error that does not pass by itself."""


@cache
def _threads(conn_id: str) -> ThreadPoolExecutor:
    """Return the threads that ask a connection's API.

    Not the loop's own, nor those of other connections: an API that hangs must hold up no other triggers.
    """
    return ThreadPoolExecutor(4, f"akinon-trigger-{conn_id}")


T = TypeVar("T")


async def _ask(conn_id: str, question: Callable[[AuditEventsApi], T]) -> T:
    """Return the answer of ``question`` to the connection's API, asked in a thread."""

    def ask() -> T:
        settings = settings_of(get_connection("akinon_conn_id", conn_id))
        # One try of each request: the trigger itself comes again, and keeps no thread while it waits.
        with AuditEventsApi(settings, attempts=1) as api:
            return question(api)

    # Not asyncio's own way to a thread: what Airflow 3.1 asks its supervisor from there goes back to this loop, which
    # only a thread of asgiref's knows.
    return await sync_to_async(ask, thread_sensitive=False, executor=_threads(conn_id))()


async def _ask_patiently(conn_id: str, question: Callable[[AuditEventsApi], T], log: Any) -> T:
    """Return what `_ask` returns, asking again after errors that may pass.

    :raises AkinonError: it is permanent, or the `MOST_FAILURES`-th in a row.
    """

    def say(state: RetryCallState) -> None:
        pause, error = (state.next_action.sleep if state.next_action else 0), _error_of(state)
        failures = state.attempt_number
        log.warning("Looking again in %.0f s, after %d of %d failures: %s", pause, failures, MOST_FAILURES, error)

    retrying = AsyncRetrying(
        stop=stop_after_attempt(MOST_FAILURES),
        retry=retry_if_exception(lambda error: isinstance(error, AkinonError) and not error.permanent),
        wait=_pause,
        before_sleep=say,
        sleep=asyncio.sleep,
        reraise=True,
    )
    answer: T = await retrying(_ask, conn_id, question)
    return answer


def _error_of(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _pause(state: RetryCallState) -> float:
    """Return how long to wait after a failed look: at least as long as the API asks for."""
    error = _error_of(state)
    pause: float = FIRST_PAUSE * 2 ** (state.attempt_number - 1)
    if isinstance(error, Throttled) and error.retry_after is not None:
        return max(pause, error.retry_after)
    return pause


def _look_at_window(api: AuditEventsApi, awaited: Awaited, before: Sighting | None) -> tuple[Sighting, bool]:
    api.has_answered = True  # to the sensor, which looked first
    return look_at(api, awaited, before, datetime.now(UTC))


def _look_for_arrivals(
    api: AuditEventsApi, filters: Filters, since: datetime, cursor: Cursor, overlap: timedelta
) -> tuple[Batch | None, Cursor]:
    api.has_answered = cursor != Cursor(since)
    return look_for(api, filters, since, cursor, overlap, datetime.now(UTC))


class AuditEventsTrigger(BaseTrigger):
    """Waits for what `AuditEventsSensor` waits for.

    Fires once: ``{"status": "done", …}`` with the sensor's result, or ``{"status": "failed", "message": …,
    "permanent": …}``. Started anew elsewhere, it goes on from what it was given; stillness counts from there again.

    :param akinon_conn_id: the Akinon connection.
    :param start: the window's start, ISO 8601 in UTC.
    :param end: the window's end, likewise.
    :param filters: integers by name.
    :param min_events: matching events to wait for.
    :param settled_for: seconds that the count must not have moved, None where that does not matter.
    :param max_lateness: seconds after its end from which on a window has settled at once.
    :param poke_interval: seconds between two looks.
    :param most_seconds_between: where given, the interval doubles with each look, up to it.
    :param sighting: the last sighting, as `Sighting.as_dict` writes it.
    """

    def __init__(
        self,
        *,
        akinon_conn_id: str,
        start: str,
        end: str,
        filters: dict[str, int],
        min_events: int,
        settled_for: float | None,
        max_lateness: float,
        poke_interval: float,
        most_seconds_between: float | None,
        sighting: dict[str, Any],
    ) -> None:
        super().__init__()
        self.akinon_conn_id = akinon_conn_id
        self.start = start
        self.end = end
        self.filters = filters
        self.min_events = min_events
        self.settled_for = settled_for
        self.max_lateness = max_lateness
        self.poke_interval = poke_interval
        self.most_seconds_between = most_seconds_between
        self.sighting = sighting

    @classmethod
    def of(
        cls,
        akinon_conn_id: str,
        awaited: Awaited,
        sighting: Sighting,
        poke_interval: float,
        most_seconds_between: float | None,
    ) -> AuditEventsTrigger:
        """Return the trigger that goes on waiting after ``sighting``."""
        return cls(
            akinon_conn_id=akinon_conn_id,
            **awaited.window.as_dict(),
            filters=awaited.filters.as_dict(),
            min_events=awaited.min_events,
            settled_for=None if awaited.settled_for is None else awaited.settled_for.total_seconds(),
            max_lateness=awaited.max_lateness.total_seconds(),
            poke_interval=poke_interval,
            most_seconds_between=most_seconds_between,
            sighting=sighting.as_dict(),
        )

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments that make the trigger anew; no secret is among them."""
        names = (
            "akinon_conn_id",
            "start",
            "end",
            "filters",
            "min_events",
            "settled_for",
            "max_lateness",
            "poke_interval",
            "most_seconds_between",
            "sighting",
        )
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the waiting is over, or has failed."""
        settled_for = None if self.settled_for is None else timedelta(seconds=self.settled_for)
        awaited = Awaited(
            Window.parse(self.start, self.end),
            Filters.parse(self.filters),
            self.min_events,
            settled_for,
            timedelta(seconds=self.max_lateness),
        )
        sighting = Sighting.from_dict(self.sighting)
        interval = self.poke_interval
        while True:
            await asyncio.sleep(interval)
            if self.most_seconds_between is not None:
                interval = min(2 * interval, self.most_seconds_between)
            look = partial(_look_at_window, awaited=awaited, before=sighting)
            try:
                sighting, over = await _ask_patiently(self.akinon_conn_id, look, self.log)
            except AkinonError as error:
                yield TriggerEvent({"status": "failed", "message": str(error), "permanent": error.permanent})
                return
            self.log.info("%s holds %d matching events", awaited.window, sighting.count)
            if over:
                yield TriggerEvent({"status": "done", **result_of(awaited, sighting, datetime.now(UTC))})
                return


class AuditEventsArrivedTrigger(BaseEventTrigger):
    """Tells of new matching events, for an ``AssetWatcher`` (Airflow 3).

    Each event's payload is ``{"batch_id", "count", "window", "uuids"}``: how many are new, since when, and the first
    20 uuids; no personal data. Use one for an asset: Airflow makes one of equal triggers, and cannot tell then whose
    state is whose. Where two assets watch the same events, ``name`` makes their triggers differ.

    Where Airflow keeps state for assets (3.3), a restarted triggerer goes on where it was: it misses nothing, and
    announces each batch once. Only if it is killed before it notes an announcement does it announce the batch again,
    with the same ``batch_id``. Elsewhere, and where two assets share it, it starts from ``since`` again, and tells
    again of everything since.

    .. seealso::
        How to use this trigger: :ref:`howto/trigger:AuditEventsArrivedTrigger`

    :param since: tell of events from then on: an aware datetime, or ISO 8601 text with an offset.
    :param filters: any of ``user``, ``content_type`` and ``object_id``, as integers.
    :param poll_interval: seconds between two looks; at least 1.
    :param overlap: seconds to look back at each look, for events that become visible late. Later ones are not told
        of.
    :param akinon_conn_id: the Akinon connection.
    :param name: any text that no other such trigger has; None where no other is equal.
    :raises InvalidInput: a parameter is wrong, or this is Airflow 2.
    """

    def __init__(
        self,
        *,
        since: datetime | str,
        filters: Mapping[str, int] | None = None,
        poll_interval: float = 60.0,
        overlap: float = 900.0,
        akinon_conn_id: str = AkinonHook.default_conn_name,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if not has_asset_watchers():
            raise InvalidInput("AuditEventsArrivedTrigger works with an AssetWatcher, which needs Airflow 3")
        self.since = format_instant(parse_instant("since", since))
        self.filters = Filters.parse(filters).as_dict()
        for field, value, least in (("poll_interval", poll_interval, 1), ("overlap", overlap, 0)):
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
                raise InvalidInput(f"{field}={value!r} is not a number of seconds of at least {least}")
        self.poll_interval = float(poll_interval)
        self.overlap = float(overlap)
        if name is not None and not isinstance(name, str):
            raise InvalidInput(f"name={name!r} is no text; give one, or None")
        self.akinon_conn_id = akinon_conn_id
        self.name = name
        self._has_state = True

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments that make the trigger anew; no secret is among them."""
        names = ("since", "filters", "poll_interval", "overlap", "akinon_conn_id", "name")
        return f"{__name__}.{type(self).__name__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, tell, and go on; see `_surely` for errors.

        A batch is noted before it is told, and noted as told only later: an event that was handed to the triggerer
        is not yet in Airflow's database.
        """
        since, filters = parse_instant("since", self.since), Filters.parse(self.filters)
        overlap = timedelta(seconds=self.overlap)
        cursor, untold = await self._surely("Reading the asset's state", lambda: self._recall(since))
        while True:
            if untold is None:
                look = partial(_look_for_arrivals, filters=filters, since=since, cursor=cursor, overlap=overlap)
                batch, cursor = await self._surely(
                    "Looking for new events", partial(_ask_patiently, self.akinon_conn_id, look, self.log)
                )
                if batch is not None:
                    untold = batch.as_dict()
                    await self._note(cursor, untold)
            if untold is not None:
                self.log.info("%d new events, batch %s", untold["count"], untold["batch_id"])
                yield TriggerEvent(untold)
                await asyncio.sleep(max(self.poll_interval, LONGEST_TO_HAND_OVER))
                untold = None
                await self._note(cursor, None)
            else:
                await asyncio.sleep(self.poll_interval)

    async def _surely(self, doing: str, step: Callable[[], Awaitable[T]]) -> T:
        """Return the result of ``step``, trying again however often it fails.

        This trigger must not end: Airflow would start it anew, at once and for ever, whatever ended it. Errors are
        logged: the triggerer's log is the only place that tells of them.
        """
        while True:
            try:
                return await step()
            except Exception as error:
                pause = max(self.poll_interval, PAUSE_AFTER_FAILURE)
                said = str(error) if isinstance(error, AkinonError) else f"{type(error).__name__}: {error}"
                self.log.error("%s failed; trying again in %.0f s: %s", doing, pause, said)
                await asyncio.sleep(pause)

    @property
    def _key(self) -> str:
        identity = json.dumps([self.akinon_conn_id, self.since, self.filters])
        return f"akinon-audit-events-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"

    async def _recall(self, since: datetime) -> tuple[Cursor, dict[str, Any] | None]:
        """Return the cursor, and the batch that may not have been told."""
        noted = await self._with_state(lambda store: store.aget(self._key))
        if noted is None:
            return Cursor(since), None
        return Cursor.from_dict(noted["cursor"]), noted["untold"]

    async def _note(self, cursor: Cursor, untold: dict[str, Any] | None) -> None:
        noted = {"cursor": cursor.as_dict(), "untold": untold}
        await self._surely(
            "Noting in the asset's state", lambda: self._with_state(lambda store: store.aset(self._key, noted))
        )

    async def _with_state(self, use: Callable[[Any], Awaitable[Any]]) -> Any:
        """Return what ``use`` does with the asset's state, None where there is none."""
        store = getattr(self, "asset_state_store", None)
        if store is None or not self._has_state:
            return None
        try:
            return await use(store)
        except ValueError as error:
            # Airflow's own words for a trigger of several assets, or of none anymore; a kind of it is another fault.
            if type(error) is not ValueError:
                raise
            self._has_state = False
            self.log.warning(
                "Several assets share this trigger, since theirs are equal, and Airflow keeps no state for it: it "
                "will tell of everything since %s again. Give each AuditEventsArrivedTrigger a name of its own",
                self.since,
            )
            return None
