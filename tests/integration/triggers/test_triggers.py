"""The triggers in an event loop of their own: how often they ask, what they say, and that they never hold it up."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.model import Filters, Window
from airflow_provider_akinon.audit_events.watching import Awaited, Sighting
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.task_run import has_asset_watchers
from airflow_provider_akinon.triggers import audit_events as triggers
from airflow_provider_akinon.triggers.audit_events import AuditEventsArrivedTrigger, AuditEventsTrigger
from tests.support.clock import LONG
from tests.support.http_server import HTML, Answer, Server, page, problem
from tests.support.servers import Connect

pytestmark = pytest.mark.xdist_group("triggers")
"""They share an API."""

KEY = "stub-key-Zx8+Qm/3vT=="
DAY = Window.parse("2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z")
FOUND = page(7, '{"uuid": "123e4567-e89b-12d3-a456-426614174000", "timestamp": "2026-01-05T10:00:00.000Z"}')

on_3 = pytest.mark.skipif(not has_asset_watchers(), reason="Airflow 2 has no asset watchers")
on_2 = pytest.mark.skipif(has_asset_watchers(), reason="this is how Airflow 2 refuses")


@contextmanager
def silence() -> Iterator[tuple[int, list[socket.socket]]]:
    """Accept connections, and never answer; give the port, and the connections so far."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:

        def accept() -> None:
            while True:
                try:
                    connections.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], connections
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def is_waiting(connection: socket.socket) -> bool:
    """Tell whether the other side keeps a connection open; what it has sent is taken off."""
    try:
        return bool(connection.recv(65_536, socket.MSG_DONTWAIT))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def connect_to(port: int, monkeypatch: pytest.MonkeyPatch, conn_id: str = "akinon_default", **extra: Any) -> None:
    connection = {"conn_type": "akinon", "host": f"http://127.0.0.1:{port}", "password": KEY, "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))


def waiting_trigger(**changes: Any) -> AuditEventsTrigger:
    """Return a trigger that waits for the first event of a day, and looks all the time."""
    awaited = Awaited(DAY, Filters.parse({"user": 42}), 1)
    sighting = Sighting(0, datetime(2026, 1, 6, tzinfo=UTC))
    trigger = AuditEventsTrigger.of("akinon_default", awaited, sighting, 0.01, None)
    for name, value in changes.items():
        assert hasattr(trigger, name)
        setattr(trigger, name, value)
    return trigger


def fire(trigger: AuditEventsTrigger) -> list[dict[str, Any]]:
    """Run a trigger to its end, and return the payloads of its events."""

    async def run() -> list[dict[str, Any]]:
        async with asyncio.timeout(LONG):
            return [event.payload async for event in trigger.run()]

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses after failures are as many as ever, and short."""
    monkeypatch.setattr(triggers, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(triggers, "LONGEST_TO_HAND_OVER", 0.05)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was logged so far; the two lines of Airflow log in ways of their own."""

    def logged() -> str:
        shown = capfd.readouterr()
        return shown.out + shown.err or caplog.text

    return logged


def test_an_edges_page_is_looked_over_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sensor's own look was answered: what refuses then, and is not the API, is waited for as a 502 is."""
    edge = Answer(403, b"Forbidden", {"Content-Type": "text/plain"})
    record = f'{{"uuid": "{uuid4()}", "timestamp": "{DAY.start.isoformat()}", "user": {{"pk": 42}}}}'
    with Server(edge, edge, page(1, record)) as server:
        connect_to(server.port, monkeypatch)
        assert [payload["status"] for payload in fire(waiting_trigger())] == ["done"]
        server.answers[:] = [edge]
        [payload] = fire(waiting_trigger())

    assert (payload["status"], payload["permanent"]) == ("failed", False)


# Waiting for a window. ----------------------------------------------------------------------------------------


def test_a_waiting_trigger_can_be_made_anew() -> None:
    """What is serialized is JSON, holds no secret, and makes an equal trigger."""
    awaited = Awaited(DAY, Filters.parse({"user": 42}), 3, timedelta(minutes=30), timedelta(hours=6))
    trigger = AuditEventsTrigger.of("akinon_default", awaited, Sighting(2, DAY.end), 60.0, 600.0)
    path, arguments = trigger.serialize()

    assert path == "airflow_provider_akinon.triggers.audit_events.AuditEventsTrigger"
    assert arguments == {
        "akinon_conn_id": "akinon_default",
        "start": "2026-01-05T00:00:00.000Z",
        "end": "2026-01-06T00:00:00.000Z",
        "filters": {"user": 42},
        "min_events": 3,
        "settled_for": 1800.0,
        "max_lateness": 21600.0,
        "poke_interval": 60.0,
        "most_seconds_between": 600.0,
        "sighting": {"count": 2, "since": "2026-01-06T00:00:00.000Z"},
    }
    assert AuditEventsTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)


@pytest.mark.parametrize(
    ("answer", "requests", "permanent", "says"),
    [
        (problem(401, {"detail": "Invalid token."}), 1, True, "401: Invalid token."),
        (problem(403, {"detail": "No."}), 1, True, "403: No."),
        (problem(302, {}, Location="http://example.com/"), 1, True, "redirects to http://example.com"),
        (problem(500, {}), 5, False, "500"),
        (problem(503, {}, Retry_After="0"), 5, False, "503"),
        (HTML, 5, False, "text/html"),
    ],
    ids=["401", "403", "redirect", "500", "503", "html"],
)
def test_a_waiting_trigger_gives_up(
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    requests: int,
    permanent: bool,
    says: str,
) -> None:
    """What does not pass ends the waiting after one request, what may pass after five; one event says why."""
    with Server(answer) as api:
        connect_to(api.port, monkeypatch)
        [event] = fire(waiting_trigger())

    assert (event["status"], event["permanent"]) == ("failed", permanent)
    assert says in event["message"]
    assert KEY not in event["message"]
    assert len(api.requests) == requests


def test_a_waiting_trigger_outlives_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four failures in a row do not end the waiting, each pause is twice the last, and a good answer starts anew."""
    monkeypatch.setattr(triggers, "FIRST_PAUSE", 0.05)
    bad, empty, found = problem(500, {}), page(), FOUND
    with Server(*[bad] * 4, empty, *[bad] * 4, found) as api:
        connect_to(api.port, monkeypatch)
        # The canned event is nobody's.
        [event] = fire(waiting_trigger(filters={}))

    assert event == {"status": "done", "count": 7, "window": DAY.as_dict(), "settled_at": None}
    assert len(api.requests) == 10
    gaps = [after.at - before.at for before, after in pairwise(api.requests)]
    for run in (gaps[:4], gaps[5:]):
        assert [gap >= 0.05 * 2**number for number, gap in enumerate(run)] == [True] * 4


def test_a_waiting_trigger_waits_as_long_as_the_api_asks(
    monkeypatch: pytest.MonkeyPatch, log: Callable[[], str]
) -> None:
    """After 429 the next request comes no sooner than the API said, and the trigger itself waits: no thread does."""
    with Server(problem(429, {}, Retry_After="1"), FOUND) as api:
        connect_to(api.port, monkeypatch)
        [event] = fire(waiting_trigger(filters={}))

    assert event["status"] == "done"
    first, second = (request.at for request in api.requests)
    assert second - first >= 1
    assert "Looking again in 1 s, after 1 of 5 failures: The Akinon API answered 429: {} (asks to wait 1 s)" in log()


def test_the_interval_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a growing interval each look comes twice as late as the one before, up to the most."""
    with Server(*[page()] * 9, FOUND) as api:
        connect_to(api.port, monkeypatch)
        begun = time.monotonic()
        fire(waiting_trigger(filters={}, poke_interval=0.1, most_seconds_between=0.3))

    gaps = [later - earlier for earlier, later in pairwise([begun, *(request.at for request in api.requests)])]
    assert len(gaps) == 10
    for gap, least in zip(gaps, (0.1, 0.2, *[0.3] * 8), strict=True):
        assert least - 0.02 <= gap < LONG  # without a most, the last would be 51 s


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection ends the waiting with an error that may pass."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    connect_to(port, monkeypatch)
    [event] = fire(waiting_trigger())

    assert (event["status"], event["permanent"]) == ("failed", False)
    assert f"127.0.0.1:{port}" in event["message"]


def test_a_wrong_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is not right ends the waiting for good, and the message names the field."""
    monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", json.dumps({"conn_type": "akinon", "host": "shop.example.com"}))
    [event] = fire(waiting_trigger())

    assert (event["status"], event["permanent"]) == ("failed", True)
    assert "Password" in event["message"]


def test_a_missing_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there may come: the waiting is tried again, and the message names argument and id."""
    monkeypatch.delenv("AIRFLOW_CONN_AKINON_DEFAULT", raising=False)
    [event] = fire(waiting_trigger())

    assert (event["status"], event["permanent"]) == ("failed", False)
    assert "akinon_conn_id='akinon_default': Airflow has no connection of this id" in event["message"]


def test_a_hanging_api_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the API is silent, the event loop turns; the fifth silence in a row ends the waiting."""

    async def tick(connections: list[socket.socket], waiting: set[int]) -> None:
        while True:
            await asyncio.sleep(0.01)
            waiting |= {number for number, connection in enumerate(connections) if is_waiting(connection)}

    async def run(connections: list[socket.socket]) -> tuple[list[Any], set[int]]:
        waiting: set[int] = set()
        ticking = asyncio.create_task(tick(connections, waiting))
        async with asyncio.timeout(LONG):
            events = [event.payload async for event in waiting_trigger().run()]
        ticking.cancel()
        return events, waiting

    with silence() as (port, connections):
        connect_to(port, monkeypatch, timeout=0.5)
        [event], waiting = asyncio.run(run(connections))

    assert (event["status"], event["permanent"]) == ("failed", False)
    assert len(connections) == 5
    # A loop that waits itself turns again once the connection is closed.
    assert waiting == set(range(5))


def test_a_cancelled_wait_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is cancelled while the API is silent ends then, and not when the request does."""

    async def run(connections: list[socket.socket]) -> float:
        async def fire_all() -> None:
            async for _ in waiting_trigger().run():
                pass

        running = asyncio.create_task(fire_all())
        async with asyncio.timeout(LONG):
            while not connections:
                await asyncio.sleep(0.01)
        cancelled = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return time.monotonic() - cancelled

    with silence() as (port, connections):
        connect_to(port, monkeypatch, timeout=LONG)
        assert asyncio.run(run(connections)) < LONG / 2


# Telling of new events. ---------------------------------------------------------------------------------------


class State:
    """Stands for the asset's state, which Airflow keeps in its database: JSON by name.

    ``lost_after`` is called with each value that has been kept, to end the world there.
    """

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.lost_after: Callable[[Any], bool] = lambda _: False

    async def aget(self, key: str) -> Any:
        return json.loads(self.kept[key]) if key in self.kept else None

    async def aset(self, key: str, value: Any) -> None:
        self.kept[key] = json.dumps(value)
        if self.lost_after(value):
            raise KilledError


class KilledError(BaseException):
    """The process is gone."""


class Watcher:
    """A trigger at work, as a triggerer runs it; `kill` it, and make another with the same state."""

    def __init__(self, state: State | None, **arguments: Any) -> None:
        self.trigger = AuditEventsArrivedTrigger(**{"since": SINCE, "poll_interval": 1, **arguments})
        self.trigger.poll_interval = 0.05
        if state is not None:
            self.trigger.asset_state_store = state
        self._run: AsyncIterator[Any] = self.trigger.run()

    async def next(self, patience: float = LONG) -> dict[str, Any]:
        """Return the next batch; TimeoutError where none comes in time, and the run is over then."""
        async with asyncio.timeout(patience):
            return (await anext(self._run)).payload

    async def says_nothing(self) -> bool:
        """Tell whether ten looks bring nothing; the run is over then."""
        try:
            await self.next(0.5)
        except TimeoutError:
            return True
        return False

    async def kill(self) -> None:
        """End the run where it stands: between an event and what follows it."""
        await self._run.aclose()


SINCE = "2026-01-05T00:00:00Z"
"""Where the watchers of these tests begin; the shared sandbox has nothing to do with them."""


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    with Sandbox.start(events=0) as api:
        yield api


@pytest.fixture
def shop(api: Sandbox, connect: Connect) -> Iterator[Sandbox]:
    """An API without events, until the test adds some."""
    connect(api)
    yield api
    api.delete(api.uuids())


def add(shop: Sandbox, number: int) -> list[str]:
    """Add events that have just happened."""
    now = datetime.now(UTC) - timedelta(seconds=1)
    return shop.insert({"timestamp": now + timedelta(milliseconds=place)} for place in range(number))


@on_3
def test_a_watching_trigger_can_be_made_anew() -> None:
    """What is serialized is JSON, holds no secret, and makes an equal trigger, whatever form ``since`` had."""
    trigger = AuditEventsArrivedTrigger(
        since=DAY.start, filters={"user": 42}, poll_interval=60, akinon_conn_id="shop"
    )
    path, arguments = trigger.serialize()

    assert path == "airflow_provider_akinon.triggers.audit_events.AuditEventsArrivedTrigger"
    assert arguments == {
        "since": "2026-01-05T00:00:00.000Z",
        "filters": {"user": 42},
        "poll_interval": 60.0,
        "overlap": 900.0,
        "name": None,
        "akinon_conn_id": "shop",
    }
    assert AuditEventsArrivedTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)
    assert AuditEventsArrivedTrigger(**arguments | {"since": "2026-01-05T03:00:00+03:00"}).serialize()[1] == arguments


@on_3
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"since": "2026-01-05"}, "since"),
        ({"since": datetime(2026, 1, 5)}, "since"),  # noqa: DTZ001 - that is what is refused
        ({"poll_interval": 0.5}, "poll_interval=0.5"),
        ({"poll_interval": True}, "poll_interval=True"),
        ({"overlap": -1}, "overlap=-1"),
        ({"overlap": timedelta(minutes=1)}, "overlap="),
        ({"filters": {"colour": 1}}, "colour"),
        ({"filters": {"user": ""}}, "user"),
    ],
)
def test_a_watching_trigger_refuses(arguments: dict[str, Any], says: str) -> None:
    """A wrong parameter is named when the DAG is parsed."""
    with pytest.raises(InvalidInput, match=says):
        AuditEventsArrivedTrigger(**{"since": SINCE, **arguments})


@on_2
def test_watching_needs_airflow_3() -> None:
    """On Airflow 2 the trigger says what it needs when it is made."""
    with pytest.raises(InvalidInput, match="needs Airflow 3"):
        AuditEventsArrivedTrigger(since=SINCE)


@on_3
def test_each_batch_is_told_once(shop: Sandbox) -> None:
    """Each batch is told of once, with its count and uuids; a new trigger with the same state goes on after it."""

    async def run() -> None:
        state = State()
        watcher = Watcher(state)
        for number in (3, 25):
            uuids = add(shop, number)
            batch = await watcher.next()
            assert (batch["count"], batch["uuids"]) == (number, uuids[:20])
            assert set(batch) == {"batch_id", "count", "window", "uuids"}
        assert await watcher.says_nothing()

        watcher = Watcher(state)
        uuids = add(shop, 2)
        assert (await watcher.next())["uuids"] == uuids

    asyncio.run(run())


@on_3
def test_a_kill_after_the_telling(shop: Sandbox) -> None:
    """Who is killed before noting that a batch was told leaves it to be told again, as the same; then no more."""

    async def run() -> None:
        state = State()
        watcher = Watcher(state)
        add(shop, 3)
        told = await watcher.next()
        await watcher.kill()
        # What comes in between is another batch, or the first would not be the same.
        more = add(shop, 2)

        watcher = Watcher(state)
        assert await watcher.next() == told
        assert (await watcher.next())["uuids"] == more
        assert await watcher.says_nothing()
        assert await Watcher(state).says_nothing()

    asyncio.run(run())


@on_3
def test_a_kill_before_the_telling(shop: Sandbox) -> None:
    """Who is killed after noting a batch and before telling it leaves it to be told, once."""

    async def run() -> None:
        state = State()
        state.lost_after = lambda noted: noted["untold"] is not None
        uuids = add(shop, 3)
        with pytest.raises(KilledError):
            await Watcher(state).next()
        state.lost_after = lambda _: False

        watcher = Watcher(state)
        assert (await watcher.next())["uuids"] == uuids
        assert await watcher.says_nothing()
        assert await Watcher(state).says_nothing()

    asyncio.run(run())


@on_3
def test_without_state_it_tells_again(shop: Sandbox) -> None:
    """Where Airflow keeps no state, a new trigger misses nothing: it tells of all since the start as one batch."""

    async def run() -> None:
        first = add(shop, 2)
        watcher = Watcher(None)
        assert (await watcher.next())["uuids"] == first
        second = add(shop, 1)
        assert (await watcher.next())["uuids"] == second
        assert await watcher.says_nothing()

        assert (await Watcher(None).next())["uuids"] == first + second

    asyncio.run(run())


@on_3
def test_two_watchers_have_two_states(shop: Sandbox) -> None:
    """Triggers that watch for different things do not take each other's state for theirs."""

    async def run() -> None:
        state = State()
        shop.insert({"timestamp": datetime.now(UTC), "user": user} for user in (7, 8))
        for user in (7, 8):
            batch = await Watcher(state, filters={"user": user}).next()
            assert batch["uuids"] == shop.uuids(user=user)

    asyncio.run(run())


@on_3
@pytest.mark.parametrize(("status", "requests"), [(401, 1), (500, 5)])
def test_a_watching_trigger_waits_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, status: int, requests: int
) -> None:
    """After an error that does not pass, or five in a row, it asks nothing for minutes, and does not end."""
    with Server(problem(status, {"detail": "Invalid token."})) as api:
        connect_to(api.port, monkeypatch)
        with pytest.raises(asyncio.TimeoutError):
            asyncio.run(asyncio.wait_for(Watcher(State()).next(), 1.5))

    assert len(api.requests) == requests


@on_3
def test_a_watching_trigger_outlives_a_refusal(monkeypatch: pytest.MonkeyPatch, shop: Sandbox) -> None:
    """Once the key is right again, it tells of what came meanwhile."""
    monkeypatch.setattr(triggers, "PAUSE_AFTER_FAILURE", 0.05)

    async def run() -> None:
        right = shop.connection_json()
        monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", json.dumps(json.loads(right) | {"password": "wrong"}))
        uuids = add(shop, 2)
        batch = asyncio.create_task(Watcher(State()).next())
        await asyncio.sleep(0.5)
        assert not batch.done()
        monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", right)
        assert (await batch)["uuids"] == uuids

    asyncio.run(run())


class Shared(State):
    """The state of a trigger that two assets share, as Airflow gives it."""

    async def aget(self, _: str) -> Any:
        raise ValueError("Task has 2 concrete inlets and outlets")

    aset = aget  # type: ignore[assignment]


@on_3
def test_a_trigger_of_two_assets_tells_without_state(shop: Sandbox, log: Callable[[], str]) -> None:
    """It tells each batch once, says once that it keeps no state, and what to do."""

    async def run() -> None:
        watcher = Watcher(Shared())
        for number in (2, 3):
            uuids = add(shop, number)
            assert (await watcher.next())["uuids"] == uuids
        assert await watcher.says_nothing()

    asyncio.run(run())
    assert log().count("Several assets share this trigger") == 1


@on_3
def test_a_name_makes_triggers_differ(shop: Sandbox) -> None:
    """Airflow compares what is serialized; a name given later leaves the state where it is."""
    triggers_ = [AuditEventsArrivedTrigger(since=SINCE, name=name) for name in (None, "one", "two")]
    assert len({json.dumps(each.serialize()) for each in triggers_}) == 3

    async def run() -> None:
        state = State()
        add(shop, 2)
        first = Watcher(state)
        assert (await first.next())["count"] == 2
        assert await first.says_nothing()
        assert await Watcher(state, name="one").says_nothing()

    asyncio.run(run())


class Failing(State):
    """A state that fails ``times`` times with ``error``, at each of its uses."""

    def __init__(self, error: Exception, times: int) -> None:
        super().__init__()
        self.error = error
        self.left = {"aget": times, "aset": times}

    def _fail(self, use: str) -> None:
        if self.left[use]:
            self.left[use] -= 1
            raise self.error

    async def aget(self, key: str) -> Any:
        self._fail("aget")
        return await super().aget(key)

    async def aset(self, key: str, value: Any) -> None:
        self._fail("aset")
        await super().aset(key, value)


@on_3
@pytest.mark.parametrize(
    "error", [RuntimeError("no database"), json.JSONDecodeError("no JSON", "", 0), OSError(5, "I/O")]
)
def test_a_watching_trigger_outlives_its_state(
    monkeypatch: pytest.MonkeyPatch, shop: Sandbox, log: Callable[[], str], error: Exception
) -> None:
    """A state store that fails is waited for, and no batch is lost or told twice."""
    monkeypatch.setattr(triggers, "PAUSE_AFTER_FAILURE", 0.05)

    async def run() -> None:
        state = Failing(error, 3)
        uuids = add(shop, 2)
        watcher = Watcher(state)
        assert (await watcher.next())["uuids"] == uuids
        assert await watcher.says_nothing()
        assert state.left == {"aget": 0, "aset": 0}
        assert await Watcher(state).says_nothing()

    asyncio.run(run())
    assert log().count(f"trying again in 0 s: {type(error).__name__}: {error}") == 6


@on_3
def test_a_watching_trigger_outlives_a_missing_connection(
    monkeypatch: pytest.MonkeyPatch, log: Callable[[], str]
) -> None:
    """An unknown connection id neither ends it nor makes it spin."""
    monkeypatch.delenv("AIRFLOW_CONN_AKINON_DEFAULT", raising=False)
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(Watcher(State(), akinon_conn_id="not_there").next(), 1.5))

    assert len(re.findall(r"trying again in 300 s: .*not_there", log())) == 1
