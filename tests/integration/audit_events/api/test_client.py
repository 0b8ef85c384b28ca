"""The client over real HTTP: what leaves it, what it makes of answers, and whom it gives the key."""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import urllib3.exceptions

from airflow_provider_akinon import __version__
from airflow_provider_akinon.audit_events.api import ATTEMPTS, PARAMETERS, AuditEventsApi, Settings
from airflow_provider_akinon.audit_events.errors import (
    AkinonError,
    InvalidInput,
    ProtocolError,
    RedirectRefused,
    Rejected,
    Throttled,
    Unavailable,
    Unreachable,
    UnreadableRecord,
    UnrequestedEvent,
    UntrustedServer,
    WrongServer,
)
from airflow_provider_akinon.audit_events.model import Filters, Window
from tests.support.clock import FakeClock, RunningClock
from tests.support.http_server import HTML, Answer, Server, free_port, page, problem

KEY = "s3cr3t-K3y.0123456789"
LIST = "/api/v1/remote/1/data-warehouse/audit-events/"
UUID_ = "123e4567-e89b-12d3-a456-426614174000"
WINDOW = Window.parse("2026-01-31T00:00:00+03:00", "2026-02-01T00:00:00+03:00")
RECORD = f'{{"uuid": "{UUID_}", "timestamp": "2026-01-31T12:00:00Z"}}'
"""A record in `WINDOW`."""


@contextmanager
def client(
    url: str, *, attempts: int = ATTEMPTS, clock: Any = None, key: str = KEY, **extra: object
) -> Iterator[AuditEventsApi]:
    settings = Settings.parse(host=url, password=key, extra=extra)
    with AuditEventsApi(settings, attempts=attempts, clock=clock or FakeClock()) as api:
        yield api


def texts_of(error: BaseException) -> str:
    """Return every text that a log could hold of an exception and of those behind it."""
    texts = traceback.format_exception(error)
    behind: BaseException | None = error
    while behind is not None:
        texts += [str(behind), repr(behind), repr(vars(behind))]
        behind = behind.__cause__ or behind.__context__
    return "\n".join(texts)


def failure(api: AuditEventsApi, call: Callable[[AuditEventsApi], object] | None = None) -> AkinonError:
    """Return the error of a call, by default of `page`, whose every text is free of the key."""
    with pytest.raises(AkinonError) as caught:
        (call or (lambda api: api.page({"limit": "1"})))(api)
    assert KEY not in texts_of(caught.value)
    return caught.value


@pytest.fixture(autouse=True)
def _no_key_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test does, no log record of any logger, at any level, holds the key."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        assert KEY not in record.getMessage() + repr(vars(record))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, .netrc or CA bundle of this machine takes part, unless a test says so."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")


# What is sent


@pytest.mark.parametrize(
    ("scheme", "authorization"),
    [("Token", f"Token {KEY}"), ("none", KEY), ("", KEY), ("Bearer", f"Bearer {KEY}")],
)
def test_the_key_travels_as_the_connection_says(scheme: str, authorization: str) -> None:
    """One Authorization header, with exactly the word of the connection, or with the bare key."""
    with Server() as server, client(server.url, auth_scheme=scheme) as api:
        api.page({})

    assert server.requests[0].authorizations == [authorization]


def test_headers_of_the_connection_are_sent_and_kept_secret(caplog: pytest.LogCaptureFixture) -> None:
    """A header for a WAF goes with every request; where its value comes back, it is in no error and no log."""
    headers = {"X-WAF-Token": "w4f-t0ken/1", "User-Agent": "shop-exporter"}
    echo = problem(403, {"detail": "Blocked: w4f-t0ken/1, w4f-t0ken%2F1."})
    with Server(page(5), echo) as server, client(server.url, secret_headers=headers) as api:
        api.page({})
        error = failure(api)

    for request in server.requests:
        assert headers.items() <= dict(request.headers).items()
        assert request.authorizations == [f"Token {KEY}"]
    assert "Blocked: ***, ***." in str(error)
    assert "w4f-t0ken" not in texts_of(error) + caplog.text


@pytest.mark.parametrize("entry", ["machine 127.0.0.1", "default"])
def test_a_netrc_changes_nothing(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .netrc with a password for the API's host does not replace the key, nor join it."""
    (tmp_path / "netrc").write_text(f"{entry} login somebody password else\n", encoding="utf-8")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    with Server() as server, client(server.url) as api:
        api.page({})
        api.list_page()

    assert [request.authorizations for request in server.requests] == [[f"Token {KEY}"]] * 2


def test_the_list_is_asked_in_its_documented_path() -> None:
    """Host, remote id and parameters make the documented URL; the client says who it is and what it reads."""
    with Server() as server, client(server.url, remote_id=7) as api:
        api.page({"limit": "50", "timestamp__gte": "2026-01-31T00:00:00.000Z"})

    [request] = server.requests
    assert request.method == "GET"
    assert urlsplit(request.target).path == "/api/v1/remote/7/data-warehouse/audit-events/"
    assert request.query == {"limit": "50", "timestamp__gte": "2026-01-31T00:00:00.000Z"}
    headers = dict(request.headers)
    assert headers["Accept"] == "application/json"
    assert headers["User-Agent"] == f"airflow-provider-akinon/{__version__}"
    assert "Cookie" not in headers


def test_a_count_is_one_small_request() -> None:
    """The count of a window asks for the window, the filters and a single record, in UTC without a plus sign."""
    with Server(page(1234)) as server, client(server.url) as api:
        assert api.count(WINDOW, Filters(user=42)) == 1234

    [request] = server.requests
    assert request.query == {
        "timestamp__gte": "2026-01-30T21:00:00.000Z",
        "timestamp__lt": "2026-01-31T21:00:00.000Z",
        "user": "42",
        "limit": "1",
    }


@pytest.mark.parametrize(
    ("window", "filters"),
    [(Window(WINDOW.end, WINDOW.end + timedelta(days=1)), Filters()), (WINDOW, Filters(user=42))],
    ids=["window-ignored", "filter-ignored"],
)
def test_a_count_of_something_else_is_refused(window: Window, filters: Filters) -> None:
    """An API that ignores the window or a filter counts other events; the one it shows gives it away."""
    with Server(page(1234, RECORD)) as server, client(server.url) as api:
        assert isinstance(failure(api, lambda api: api.count(window, filters)), UnrequestedEvent)
        assert api.count(WINDOW, Filters()) == 1234


def test_every_documented_parameter_can_be_sent() -> None:
    """Integers, times in any zone and an order arrive as the API takes them."""
    istanbul = datetime(2026, 1, 31, tzinfo=ZoneInfo("Europe/Istanbul"))
    given = {
        "content_type": 3,
        "object_id": -7,
        "user": 10**20,
        "limit": 50,
        "page": 2,
        "timestamp": istanbul,
        "timestamp__gt": "2026-01-31T00:00:00+03:00",
        "timestamp__gte": istanbul + timedelta(microseconds=1),
        "timestamp__lt": "2026-02-01T00:00:00Z",
        "timestamp__lte": istanbul + timedelta(milliseconds=1),
        "sort": "-timestamp",
    }
    assert given.keys() == set(PARAMETERS)

    with Server() as server, client(server.url) as api:
        api.list_page(**given)

    assert server.requests[0].query == {
        "content_type": "3",
        "object_id": "-7",
        "user": "100000000000000000000",
        "limit": "50",
        "page": "2",
        "timestamp": "2026-01-30T21:00:00.000Z",
        "timestamp__gt": "2026-01-30T21:00:00.000Z",
        "timestamp__gte": "2026-01-30T21:00:00.000001Z",
        "timestamp__lt": "2026-02-01T00:00:00.000Z",
        "timestamp__lte": "2026-01-30T21:00:00.001Z",
        "sort": "-timestamp",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_id", 1),
        ("offset", 0),
        ("ordering", "timestamp"),
        ("user", None),
        ("user", ""),
        ("user", "42"),
        ("user", True),
        ("limit", 1.5),
        ("sort", ""),
        ("sort", "-"),
        ("sort", None),
        ("timestamp__gte", ""),
        ("timestamp__gte", "2026-01-31"),
        ("timestamp__lt", datetime(2026, 1, 31)),  # noqa: DTZ001 - naive on purpose
        ("timestamp__lt", None),
    ],
)
def test_a_parameter_that_the_api_would_ignore_is_not_sent(name: str, value: object) -> None:
    """Unknown names, empty values and other types are wrong input, and no request is made."""
    with Server() as server, client(server.url) as api:
        error = failure(api, lambda api: api.list_page(**{name: value}))

    assert isinstance(error, InvalidInput)
    assert name in str(error)
    assert server.requests == []


@pytest.mark.parametrize("uuid", [UUID_, UUID_.upper(), UUID(UUID_), UUID_.replace("-", "")])
def test_one_event_is_asked_by_its_uuid(uuid: str | UUID) -> None:
    """However a UUID is written, the path holds its canonical form."""
    body = f'{{"uuid": "{UUID_}", "timestamp": "2026-01-31T00:00:00Z", "object_id": 1}}'.encode()
    with Server(Answer(body=body)) as server, client(server.url) as api:
        assert api.get_event(uuid) == {"uuid": UUID_, "timestamp": "2026-01-31T00:00:00Z", "object_id": 1}

    assert [request.target for request in server.requests] == [f"{LIST}{UUID_}/"]


@pytest.mark.parametrize("uuid", ["", "1", "../../other/", f"{UUID_}/../..", f"{UUID_}?user="])
def test_what_is_no_uuid_is_not_asked(uuid: str) -> None:
    """A path cannot be smuggled in: what is no UUID is wrong input, and no request is made."""
    with Server() as server, client(server.url) as api:
        assert isinstance(failure(api, lambda api: api.get_event(uuid)), InvalidInput)

    assert server.requests == []


# What comes back


def test_records_come_as_the_api_wrote_them() -> None:
    """The records of a page are the API's own bytes, digits and all, but for white space between tokens."""
    records = ['{"uuid":  "a", "price": 1.10, "huge": 123456789012345678901234567890}', '{"b": "\u2028", "a": []}']
    with Server(page(2, *records)) as server, client(server.url) as api:
        got = api.page({})

    assert got.count == 2
    assert [bytes(record).decode() for record in got.results] == [
        '{"uuid":"a","price":1.10,"huge":123456789012345678901234567890}',
        '{"b":"\u2028","a":[]}',
    ]


def test_next_is_given_and_never_followed() -> None:
    """``next`` and ``previous`` of an answer are handed on as they are, and nobody asks for them."""
    with Server() as elsewhere, Server() as server, client(server.url) as api:
        server.answers = [page(3, RECORD, next=f"{elsewhere.url}/?page=2", previous=f"{server.url}/?page=0")]
        listed = api.list_page(page=1)
        api.page({"page": "1"})
        api.count(WINDOW, Filters())

    assert listed == {
        "count": 3,
        "next": f"{elsewhere.url}/?page=2",
        "previous": f"{server.url}/?page=0",
        "results": [{"uuid": UUID_, "timestamp": "2026-01-31T12:00:00Z"}],
    }
    assert elsewhere.requests == []
    assert {urlsplit(request.target).path for request in server.requests} == {LIST}
    assert len(server.requests) == 3


def test_a_compressed_answer_is_read() -> None:
    """The server may compress what it sends."""
    body = gzip.compress(page(5).body)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    with Server(Answer(body=body, headers=headers)) as server, client(server.url) as api:
        assert api.page({}).count == 5

    assert "gzip" in dict(server.requests[0].headers)["Accept-Encoding"]


def test_a_client_may_be_shared_between_threads() -> None:
    """Calls from many threads each get their own answer."""
    answers: list[int] = []
    with Server(*[page(number) for number in range(1, 41)]) as server, client(server.url) as api:
        threads = [
            threading.Thread(target=lambda: answers.extend(api.page({}).count for _ in range(5))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(answers) == list(range(1, 41))
    assert len(server.requests) == 40


# Refusals


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (400, {"timestamp__gte": ["Enter a valid date/time."]}, '{"timestamp__gte": ["Enter a valid date/time."]}'),
        (401, {"detail": "Invalid token."}, "Invalid token."),
        (403, {"detail": "You do not have permission."}, "You do not have permission."),
        (404, {"detail": "Invalid page."}, "Invalid page."),
        (404, {"detail": "Aradığınız sayfa bulunamadı."}, "Aradığınız sayfa bulunamadı."),
        (405, {"detail": ["odd"]}, '{"detail": ["odd"]}'),
        (410, ["gone"], '["gone"]'),
    ],
)
def test_a_refusal_fails_at_once_with_the_apis_own_message(status: int, body: object, detail: str) -> None:
    """What another try cannot mend is asked once; status and message are data, and the message names the URL."""
    clock = FakeClock()
    with Server(problem(status, body)) as server, client(server.url, clock=clock) as api:
        error = failure(api)

    assert isinstance(error, Rejected)
    assert (error.status, error.detail, error.permanent) == (status, detail, True)
    assert str(error).startswith(f"The Akinon API answered {status}: {detail} ({server.url}{LIST})")
    assert len(server.requests) == 1
    assert clock.waits == []


EDGES = {
    "html": Answer(403, b"<html>" + b"x" * 10_000, {"Content-Type": "text/html; charset=utf-8"}),
    "text": Answer(401, b"Unauthorized", {"Content-Type": "text/plain"}),
    "a-number": Answer(404, b"404", {"Content-Type": "text/plain"}),
    "a-word": Answer(403, b'"Forbidden"', {"Content-Type": "application/json"}),
    "empty": Answer(404, b"", {}),
    "cut": Answer(400, b'{"detail": "Inv', {"Content-Type": "application/json"}),
}
"""Refusals of what stands before the API."""


@pytest.mark.parametrize("answer", EDGES.values(), ids=EDGES)
def test_a_refusal_of_something_else_is_final_before_the_api_has_answered(answer: Answer) -> None:
    """A page of some other server is asked once, names what to check, and is shown as what it is, not whole."""
    with Server(answer) as server, client(server.url) as api:
        error = failure(api)

    assert isinstance(error, WrongServer)
    assert (error.status, error.permanent, len(server.requests)) == (answer.status, True, 1)
    assert re.search(r"\(a body of [a-z/ ]+, not the API's JSON\)", str(error))
    for place in ("Check Host", "the base URL", "between the workers and the API", server.url):
        assert place in str(error)
    assert len(str(error)) < 600


@pytest.mark.parametrize(
    "first", [page(5), problem(429, {"detail": "Slow down."}, Retry_After="0")], ids=["page", "429"]
)
@pytest.mark.parametrize("answer", EDGES.values(), ids=EDGES)
def test_a_refusal_of_something_else_passes_once_the_api_has_answered(answer: Answer, first: Answer) -> None:
    """An edge in a deploy is waited for, as a 502 is; where it stays, another try of the task may succeed."""
    clock = FakeClock()
    with Server(first, answer, answer, page(6)) as server, client(server.url, clock=clock) as api:
        api.page({})
        assert first.status == 429 or api.page({}).count == 6
        server.answers[:] = [answer]
        error = failure(api)

    assert type(error) is ProtocolError
    assert not error.permanent
    assert "The API has answered in this task" in str(error)
    assert len(server.requests) == 4 + ATTEMPTS


def test_the_apis_own_refusal_is_final_at_any_time() -> None:
    """A JSON refusal after a page is asked once, and is told from an edge's."""
    with Server(page(5), problem(403, {"detail": "Gone."})) as server, client(server.url) as api:
        api.page({})
        assert isinstance(failure(api), Rejected)

    assert len(server.requests) == 2


def test_an_edges_404_is_no_event_that_is_gone() -> None:
    """Only the API itself can say that an event is not there."""
    with Server(page(5), EDGES["a-number"]) as server, client(server.url) as api:
        api.page({})
        assert isinstance(failure(api, lambda api: api.get_record(UUID_)), ProtocolError)


def test_a_mark_before_the_json_is_skipped() -> None:
    """A byte order mark before a page, an event and a refusal changes nothing."""
    mark = b"\xef\xbb\xbf"
    whole, event = page(1, RECORD), Answer(body=mark + RECORD.encode())
    refusal = Answer(403, mark + b'{"detail": "No."}')
    marked = replace(whole, body=mark + whole.body)
    with Server(marked, marked, event, event, refusal) as server, client(server.url) as api:
        assert api.count(WINDOW, Filters()) == 1
        assert api.list_page(limit=1)["results"] == [json.loads(RECORD)]
        assert api.get_event(UUID_)["uuid"] == UUID_
        assert api.get_record(UUID_) == RECORD.replace(" ", "").encode()
        assert cast(Rejected, failure(api)).detail == "No."


DEEP = "[" * 20_000 + "]" * 20_000
UNREADABLE = {
    "deep-lists": (DEEP, "it is nested too deeply"),
    "deep-objects": ('{"uuid":' * 20_000 + "1" + "}" * 20_000, "it is nested too deeply"),
    "NaN": ("NaN", "JSON is malformed"),
    "-Infinity": ('{"a": [1, -Infinity]}', "JSON is malformed"),
    "unquoted": ("{a: 1}", "JSON is malformed"),
}


@pytest.mark.parametrize(("value", "why"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_record_that_cannot_be_read_names_itself(value: str, why: str) -> None:
    """Where one record of a whole page, or the only one, is no JSON, the error names it and its window."""
    other = '{"uuid": "x", "content": "{\\"uuid\\": [", "timestamp": "y"}'
    record = f'{{"content": {value}, "uuid" : "{UUID_}", "timestamp": "2026-01-31T12:00:00Z", "url": "]}}"}}'
    nameless = record.replace('"uuid" :', '"id":')
    with Server(page(3, other, record, other)) as server, client(server.url) as api:
        error = failure(api, lambda api: api.count(WINDOW, Filters()))
        assert isinstance(error, UnreadableRecord)
        assert (error.uuid, error.permanent, len(server.requests)) == (UUID_, True, 1)
        for part in (f"event {UUID_} of 2026-01-31T12:00:00Z, number 2 of its page", why, "Tell Akinon"):
            assert part in str(error)
        assert "[2026-01-30T21:00:00.000Z, 2026-01-31T21:00:00.000Z)" in str(error)
        server.answers[:] = [page(2, other, nameless)]
        error = failure(api, lambda api: api.count(WINDOW, Filters()))
        assert cast(UnreadableRecord, error).uuid is None
        assert "a record without a uuid of 2026-01-31T12:00:00Z, number 2 of its page" in str(error)
        server.answers[:] = [Answer(body=record.encode())]
        error = failure(api, lambda api: api.get_record(UUID_))
        assert cast(UnreadableRecord, error).uuid == UUID_


@pytest.mark.parametrize("record", ['{"timestamp": "2026-01-31T12:00:00Z"}', "5", f'{{"uuid": "{UUID_}"}}'])
def test_a_record_that_is_no_event_names_itself(record: str) -> None:
    """So does one that is JSON, and lacks what makes it an event."""
    with Server(page(2, RECORD, record)) as server, client(server.url) as api:
        error = failure(api, lambda api: api.count(WINDOW, Filters()))

    assert isinstance(error, UnreadableRecord)
    assert f"event {UUID_}" in str(error) if "uuid" in record else "a record without a uuid" in str(error)
    assert "number 2 of its page" in str(error)
    assert "[2026-01-30T21:00:00.000Z, 2026-01-31T21:00:00.000Z)" in str(error)


@pytest.mark.parametrize("timestamp", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+03:00"])
def test_a_time_that_utc_does_not_have_names_its_event(timestamp: str) -> None:
    """It can be in no window."""
    record = f'{{"uuid": "{UUID_}", "timestamp": "{timestamp}"}}'
    with Server(page(2, RECORD, record)) as server, client(server.url, attempts=1) as api:
        error = failure(api, lambda api: api.count(WINDOW, Filters()))

    assert isinstance(error, ProtocolError)
    assert f"Event {UUID_} has the timestamp {timestamp.replace('T', ' ')}, which UTC has not" in str(error)


def test_an_answer_that_broke_off_is_no_record_that_cannot_be_read() -> None:
    """What is not whole may have been cut on the way: it is asked for again."""
    whole = page(1, f'{{"uuid": "{UUID_}", "content": NaN}}').body
    with Server(Answer(body=whole[:-1]), page(5)) as server, client(server.url) as api:
        assert api.page({}).count == 5


@pytest.mark.parametrize("status", [400, 401, 429, 500])
def test_a_key_that_the_api_repeats_is_not_shown(status: int) -> None:
    """An API that quotes the header in its message does not bring the key into ours."""
    answer = problem(status, {"detail": f"Invalid token header: Token {KEY}"})
    with Server(answer) as server, client(server.url, attempts=1) as api:
        error = failure(api)  # which looks for the key

    assert "Invalid token header: Token ***" in str(error)


def test_a_long_message_is_cut() -> None:
    """An answer of megabytes does not become a message of megabytes."""
    with Server(problem(400, {"detail": "x" * 100_000})) as server, client(server.url) as api:
        assert 100 < len(str(failure(api))) < 1000


# What passes


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        (lambda: "7", 7, 8),
        (lambda: "0", 0, 1),
        (lambda: "300", 300, 301),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True), 88, 91),
        (lambda: format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True), 0, 1),
    ],
    ids=["seconds", "zero", "longest", "date", "past-date"],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_api_says_how_long_to_wait(status: int, header: Callable[[], str], least: float, most: float) -> None:
    """Retry-After is obeyed, as seconds and as a date, and the request is made again."""
    clock = FakeClock()
    refusal = problem(status, {"detail": "Request was throttled."}, Retry_After=header())
    with Server(refusal, page(5)) as server, client(server.url, clock=clock) as api:
        assert api.page({"limit": "3"}).count == 5

    assert least <= sum(clock.waits) <= most
    assert [request.query for request in server.requests] == [{"limit": "3"}] * 2


@pytest.mark.parametrize(
    "retry_after",
    [
        "soon",
        "nan",
        "inf",
        "",
        "Tue, 99 Foo 2026",
        "1,5",
        "-5",
        "1e2",
        "1_0",
        "Sat, 31 Jan 2026 00:00:00 +99999999999999",
    ],
)
def test_a_retry_after_that_says_nothing_is_a_short_wait(retry_after: str) -> None:
    """A header that is neither seconds nor a date does not break the client, and does not stop it for long."""
    clock = FakeClock()
    with (
        Server(problem(429, {}, Retry_After=retry_after), page(5)) as server,
        client(server.url, clock=clock) as api,
    ):
        assert api.page({}).count == 5

    assert 0.2 < sum(clock.waits) < 5


@pytest.mark.parametrize(
    "header",
    [lambda: "301", lambda: "86400", lambda: format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)],
    ids=["just-over", "a-day", "date"],
)
def test_a_pause_of_more_than_five_minutes_is_left_to_airflow(header: Callable[[], str]) -> None:
    """A worker does not sleep for an hour: the try fails, says how long the API asks for, and may be retried."""
    clock = FakeClock()
    refusal = problem(429, {"detail": "Request was throttled."}, Retry_After=header())
    with Server(refusal) as server, client(server.url, clock=clock) as api:
        error = failure(api)

    assert isinstance(error, Throttled)
    assert error.retry_after is not None
    assert error.retry_after > 300
    assert (error.status, error.permanent) == (429, False)
    assert "asks to wait" in str(error)
    assert len(server.requests) == 1
    assert sum(clock.waits) < 1


def test_throttling_without_end_fails_as_throttling() -> None:
    """After the last try the error says what it was, with the API's message and pause."""
    clock = FakeClock()
    refusal = problem(429, {"detail": "Request was throttled. Expected available in 2 seconds."}, Retry_After="2")
    with Server(refusal) as server, client(server.url, attempts=3, clock=clock) as api:
        error = failure(api)

    assert isinstance(error, Throttled)
    assert (error.status, error.retry_after) == (429, 2.0)
    assert "Request was throttled. Expected available in 2 seconds." in str(error)
    assert len(server.requests) == 3
    assert sum(clock.waits) >= 4


CUT = Answer(body=page(5).body[:30])
SHORT = Answer(body=page(5).body, claimed_length=1000)
PASSING: list[tuple[str, Answer, type[AkinonError], str]] = [
    ("500", problem(500, {"detail": "Server error."}), Unavailable, "answered 500: Server error."),
    ("502-html", Answer(502, HTML.body, HTML.headers), Unavailable, "answered 502: Bad Gateway (a body of text/html"),
    ("503", Answer(503, b"", {}), Unavailable, "answered 503: Service Unavailable (a body of unknown type"),
    ("504-html", Answer(504, HTML.body, HTML.headers), Unavailable, "answered 504: Gateway Timeout"),
    ("408", problem(408, {}), Unavailable, "answered 408"),
    ("cut-json", CUT, ProtocolError, "answered 200 with something that is not the Audit Events API's JSON"),
    ("200-html", HTML, ProtocolError, "(text/html; charset=utf-8, 24 bytes)"),
    ("empty", Answer(body=b""), ProtocolError, "0 bytes"),
    ("no-count", Answer(body=b'{"results": []}'), ProtocolError, "count"),
    ("no-results", Answer(body=b'{"count": 1}'), ProtocolError, "results"),
    ("a-list", Answer(body=b"[]"), ProtocolError, "not the Audit Events API's JSON"),
    ("304", Answer(304, b"", {}), ProtocolError, "answered 304"),
    ("302-to-nowhere", Answer(302, b"", {}), ProtocolError, "answered 302"),
    ("hung-up", Answer(hang_up=True), Unreachable, "broke off"),
    ("short-body", SHORT, Unreachable, "broke off"),
    (
        "broken-gzip",
        Answer(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
        Unreachable,
        "broke off",
    ),
]
NAMES = [name for name, *_ in PASSING]


@pytest.mark.parametrize("answer", [answer for _, answer, _, _ in PASSING], ids=NAMES)
def test_what_passes_is_tried_again(answer: Answer) -> None:
    """A fault that is over after two tries is not seen by the caller, who waited a little in between."""
    clock = FakeClock()
    with Server(answer, answer, page(5)) as server, client(server.url, clock=clock) as api:
        assert api.list_page(limit=3)["count"] == 5

    assert [request.query for request in server.requests] == [{"limit": "3"}] * 3
    assert 0.5 < sum(clock.waits) < 10


@pytest.mark.parametrize(("answer", "kind", "message"), [case[1:] for case in PASSING], ids=NAMES)
def test_what_does_not_pass_fails_with_its_own_error(answer: Answer, kind: type[AkinonError], message: str) -> None:
    """A fault that stays ends after the allowed tries, in an error of its kind that a later try may mend."""
    with Server(answer) as server, client(server.url, attempts=3) as api:
        for call in (lambda api: api.page({}), lambda api: api.list_page(), lambda api: api.count(WINDOW, Filters())):
            error = failure(api, call)
            assert type(error) is kind
            assert message in str(error)
            assert server.url in str(error) or isinstance(error, Unavailable)
            assert not error.permanent

    assert len(server.requests) == 9


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"detail": "x"}', b'{"uuid": "a"}', b"<html>"])
def test_one_event_that_is_none_fails(body: bytes) -> None:
    """An answer without uuid and timestamp is not handed on as an event."""
    with Server(Answer(body=body)) as server, client(server.url, attempts=1) as api:
        error = failure(api, lambda api: api.get_event(UUID_))

    assert isinstance(error, ProtocolError)


@pytest.mark.parametrize(
    "body",
    [
        b'{"count": -1, "results": []}',
        b'{"count": "5", "results": []}',
        b'{"count": null, "results": []}',
        b'{"count": 1.5, "results": []}',
        b'{"count": 1, "results": null}',
        b'{"count": 1, "results": {}}',
    ],
)
def test_a_count_must_be_a_count(body: bytes) -> None:
    """Completeness rests on the count, so an odd one is no answer."""
    with Server(Answer(body=body)) as server, client(server.url, attempts=1) as api:
        assert isinstance(failure(api), ProtocolError)


def test_the_waits_grow_and_end_within_about_half_a_minute() -> None:
    """By default seven tries, whose waits grow and add up to half a minute or so; nobody hammers a sick server."""
    clock = FakeClock()
    with Server(problem(500, {})) as server, client(server.url, clock=clock) as api:
        failure(api)

    waits = [wait for wait in clock.waits if wait]
    assert len(server.requests) == ATTEMPTS == 7
    assert waits == sorted(waits)
    assert 15 < sum(waits) < 60


def test_the_status_of_a_fault_is_data() -> None:
    """A handler reads the status off the error."""
    with Server(problem(502, {})) as server, client(server.url, attempts=1) as api:
        error = failure(api)

    assert isinstance(error, Unavailable)
    assert error.status == 502


def test_an_answer_that_does_not_come_ends_in_time() -> None:
    """The connection's timeout bounds the wait for an answer."""
    with Server(Answer(delay=60)) as server, client(server.url, attempts=1, timeout=0.2) as api:
        error = failure(api)
        assert server.answered == 0

    assert type(error) is Unreachable
    assert f"{server.url} did not answer in time" in str(error)


def test_an_answer_in_drips_ends_in_time() -> None:
    """A byte now and then does not keep a worker for hours: after the timeout, the next byte is the last one."""
    slow = Answer(body=page(5).body, drip=0.02)
    with Server(slow) as server, client(server.url, attempts=1, timeout=5, clock=RunningClock(0.2)) as api:
        error = failure(api)
        assert server.answered == 0

    assert type(error) is Unreachable
    assert "a whole answer may take 5 s" in str(error)
    assert "raise 'timeout' in the connection" in str(error)


def test_an_answer_that_is_given_up_does_not_block_the_next() -> None:
    """Where one request goes at a time, the next try has the place of the one that was given up."""
    slow = Answer(body=page(5).body, drip=0.05)
    with (
        Server(slow, page(7)) as server,
        client(server.url, attempts=2, timeout=0.3, clock=time, max_concurrency=1) as api,
    ):
        assert api.page({}).count == 7


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_same_origin_is_followed(status: int) -> None:
    """A path that moved on the API's own server is followed, with the key, and with the query it names."""
    moved = Answer(status, b"", {"Location": "/api/v2/list/?page=2"})
    with Server(moved, page(5)) as server, client(server.url) as api:
        assert api.page({"limit": "3"}).count == 5

    assert [request.target for request in server.requests] == [f"{LIST}?limit=3", "/api/v2/list/?page=2"]
    assert [request.authorizations for request in server.requests] == [[f"Token {KEY}"]] * 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize(
    "elsewhere", ["http://127.0.0.1:{other}{path}", "//127.0.0.1:{other}/", "http://127.0.0.1:{other}/?k=" + KEY]
)
def test_the_key_never_goes_to_another_port(status: int, elsewhere: str) -> None:
    """Another port is another server: it is told in the error, by origin only, and never asked."""
    with Server() as other, Server() as server, client(server.url) as api:
        server.answers = [Answer(status, b"", {"Location": elsewhere.format(other=other.port, path=LIST)})]
        error = failure(api)

    assert isinstance(error, RedirectRefused)
    assert error.permanent
    assert f"redirects to http://127.0.0.1:{other.port}; the key goes to {server.url} only" in str(error)
    assert other.requests == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/",
        "https://127.0.0.1:{port}/",
        "http://127.0.0.1/",
        "http://shop.invalid/",
        "http://user@shop.invalid:{port}/",
        "http://127.0.0.1:{port}@shop.invalid/",
        "ftp://127.0.0.1:{port}/",
    ],
)
def test_the_key_never_goes_to_another_host_or_scheme(location: str) -> None:
    """Another name of the same machine, another scheme, and tricks with user names are other origins."""
    with Server() as server, client(server.url) as api:
        server.answers = [Answer(302, b"", {"Location": location.format(port=server.port)})]
        error = failure(api)

    assert isinstance(error, RedirectRefused)
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", ["http://[::1", "http://127.0.0.1:99999/", "http://127.0.0.1:x/"])
def test_a_redirect_to_nonsense_is_an_answer_of_somebody_else(location: str) -> None:
    """A Location that is no URL is named in the error; nobody is asked again, and it may pass."""
    with Server(Answer(302, b"", {"Location": location})) as server, client(server.url, attempts=1) as api:
        error = failure(api)

    assert type(error) is ProtocolError
    assert f"redirects to {location!r}, which is no URL" in str(error)
    assert not error.permanent
    assert len(server.requests) == 1


def test_a_redirect_in_a_circle_ends() -> None:
    """A server that redirects to itself is asked a few times and no more."""
    with Server(Answer(302, b"", {"Location": LIST})) as server, client(server.url, attempts=1) as api:
        error = failure(api)

    assert type(error) is ProtocolError
    assert "redirects more than 3 times" in str(error)
    assert len(server.requests) == 4


# No answer at all


def test_a_refused_connection_says_so() -> None:
    """Where nobody listens, host and port are named, and the try may be repeated later."""
    clock = FakeClock()
    url = f"http://127.0.0.1:{free_port()}"
    with client(url, attempts=3, clock=clock) as api:
        error = failure(api)

    assert type(error) is Unreachable
    assert f"{url} is not reachable" in str(error)
    assert "Check Host and Port" in str(error)
    assert len([wait for wait in clock.waits if wait]) == 2


def test_an_unknown_host_says_so() -> None:
    """A name that does not resolve is told from a server that does not answer."""
    with client("https://nonexistent.invalid", attempts=1) as api:
        error = failure(api)

    assert type(error) is Unreachable
    assert "The host of https://nonexistent.invalid is unknown" in str(error)


def test_an_untrusted_certificate_gets_no_key(certificate: Path) -> None:
    """A certificate that does not verify is a permanent error that says what to do; the server gets no request."""
    clock = FakeClock()
    with Server(certificate=certificate) as server, client(server.url, clock=clock) as api:
        error = failure(api)

    assert isinstance(error, UntrustedServer)
    assert error.permanent
    assert f"The TLS certificate of {server.url} does not verify" in str(error)
    assert "'verify'" in str(error)
    assert server.requests == []
    assert clock.waits == []


def test_a_certificate_of_ones_own_authority_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``verify`` names the authority's file, and no bundle in the environment overrides it."""
    (tmp_path / "other.pem").write_text("", encoding="utf-8")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))

    with Server(page(5), certificate=certificate) as server, client(server.url, verify=str(certificate)) as api:
        assert api.page({}).count == 5

    assert server.requests[0].authorizations == [f"Token {KEY}"]


@pytest.mark.filterwarnings("default::urllib3.exceptions.InsecureRequestWarning")
def test_verification_can_be_switched_off(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``verify: false`` means it, also where the environment names a bundle; urllib3 warns of it."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.with_name("missing.pem")))

    with (
        Server(page(5), certificate=certificate) as server,
        client(server.url, verify=False) as api,
        pytest.warns(urllib3.exceptions.InsecureRequestWarning),
    ):
        assert api.page({}).count == 5


def test_https_with_a_server_that_speaks_http_says_so() -> None:
    """The wrong scheme is told apart from an untrusted certificate, and from a server that is not there."""
    with Server() as server, client(f"https://127.0.0.1:{server.port}", attempts=1) as api:
        error = failure(api)

    assert type(error) is Unreachable
    assert "does not speak https on this port" in str(error)
    assert "begin Host with http://" in str(error)


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
def test_a_server_that_hangs_up_on_a_handshake_says_so(reset: bool) -> None:
    """Servers of plain http also hang up without a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(65536)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with client(f"https://127.0.0.1:{listener.getsockname()[1]}", attempts=1) as api:
            error = failure(api)
        thread.join()

    assert type(error) is Unreachable
    assert "may not speak https on this port" in str(error)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "The API refuses the key. Check the API key, and the authorization scheme"),
        (403, "The API refuses the key. Check the API key, and the authorization scheme"),
        (404, "has no remote id 1 for this key. Check the remote id"),
    ],
)
def test_a_refusal_says_what_to_check(status: int, advice: str) -> None:
    """Each refusal carries what to check, but where something else than the API answers, not the key."""
    with Server(problem(status, {"detail": "No."})) as server, client(server.url, attempts=1) as api:
        assert advice in str(failure(api))
        of_event = failure(api, lambda api: api.get_event(UUID(int=1)))
        assert ("Check the uuid, and the remote id" if status == 404 else advice) in str(of_event)
    edge = Answer(status, b"<html>Denied</html>", {"Content-Type": "text/html"})
    with Server(edge) as server, client(server.url, attempts=1) as api:
        error = failure(api)
    assert "Check Host, the base URL" in str(error)
    assert "Check the API key" not in str(error)


# Proxies


def test_the_connections_proxy_is_used() -> None:
    """A request for a host that only the proxy knows goes to the proxy."""
    with Server(page(5)) as proxy, client("http://shop.invalid", allow_http=True, proxies={"http": proxy.url}) as api:
        assert api.page({"limit": "1"}).count == 5

    assert [request.target for request in proxy.requests] == [f"http://shop.invalid{LIST}?limit=1"]


def test_the_connections_proxy_comes_before_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the worker's environment does not replace the one in the connection."""
    with Server() as environments, Server(page(5)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", environments.url)
        with client("http://shop.invalid", allow_http=True, proxies={"http": proxy.url}) as api:
            assert api.page({}).count == 5

    assert environments.requests == []
    assert len(proxy.requests) == 1


def test_a_proxy_of_a_tls_connection_sees_no_key() -> None:
    """The proxy is asked for a tunnel only; where it refuses, the error says that it was the proxy."""
    refuse = Answer(403, b"no", {})
    with Server(refuse) as proxy, client("https://shop.invalid", attempts=1, proxies={"https": proxy.url}) as api:
        error = failure(api)

    assert type(error) is Unreachable
    assert "The proxy on the way to https://shop.invalid did not connect" in str(error)
    [request] = proxy.requests
    assert (request.method, request.target) == ("CONNECT", "shop.invalid:443")
    assert KEY not in repr(request.headers)


def test_a_proxy_that_refuses_its_password_says_so() -> None:
    """A 407 of the proxy names the proxy's field, and is not taken for an answer of the API's."""
    with Server(Answer(407, b"who?", {})) as proxy:
        given = proxy.url.replace("//", "//me:pr0xy-pass@")
        with client("https://shop.invalid", attempts=1, proxies={"https": given}) as api:
            error = failure(api)

    assert "refuses its user name or password (407). Check 'proxies'" in str(error)
    assert "pr0xy-pass" not in texts_of(error)
    assert [each for each in proxy.requests[0].headers if each[0] == "Proxy-Authorization"] == [
        ("Proxy-Authorization", "Basic bWU6cHIweHktcGFzcw==")
    ]


def test_a_proxy_of_an_unknown_name_says_so() -> None:
    """It is the proxy's name that does not resolve, not the API's."""
    with client("https://shop.invalid", attempts=1, proxies={"https": "http://me:pr0xy-pass@proxy.invalid"}) as api:
        error = failure(api)

    assert "The proxy on the way to https://shop.invalid is unknown: its name does not resolve" in str(error)
    assert "pr0xy-pass" not in texts_of(error)


@pytest.mark.parametrize("echoed", ["pr0xy-pass", "bWU6cHIweHktcGFzcw==", "PR0XY-PASS"])
def test_a_proxys_password_that_comes_back_is_in_no_error(echoed: str) -> None:
    """What answers in place of the API may quote the request to the proxy: its password goes as the key does."""
    with Server(problem(400, {"detail": f"You sent {echoed}."})) as proxy:
        given = proxy.url.replace("//", "//me:pr0xy-pass@")
        with client("http://shop.invalid", attempts=1, allow_http=True, proxies={"http": given}) as api:
            error = failure(api)

    assert "You sent ***." in str(error)
    assert echoed not in texts_of(error)


def test_the_password_of_a_proxy_is_in_no_error() -> None:
    """A proxy that does not answer is told without its URL, which can hold a password."""
    proxy = f"http://me:pr0xy-pass@127.0.0.1:{free_port()}"
    with client("https://shop.invalid", attempts=1, proxies={"https": proxy}) as api:
        error = failure(api)

    assert "pr0xy-pass" not in texts_of(error)


# Pace


@pytest.mark.parametrize("threads", [1, 4])
def test_requests_per_second_is_kept_by_all_threads_together(threads: int) -> None:
    """However many threads ask, requests leave no faster than the connection says."""
    with Server() as server, client(server.url, clock=time, requests_per_second=25) as api:
        workers = [
            threading.Thread(target=lambda: [api.page({}) for _ in range(12 // threads)]) for _ in range(threads)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    times = sorted(request.at for request in server.requests)
    assert len(times) == 12
    assert times[-1] - times[0] >= 11 / 25 * 0.9


def test_without_a_limit_nobody_waits() -> None:
    """No ``requests_per_second``, no wait."""
    clock = FakeClock()
    with Server() as server, client(server.url, clock=clock) as api:
        for _ in range(10):
            api.page({})

    assert sum(clock.waits) == 0


def test_no_more_requests_at_a_time_than_the_connection_allows() -> None:
    """``max_concurrency`` bounds what is in flight to one API, whatever the number of threads and clients."""
    with (
        Server(Answer(delay=0.1)) as server,
        client(server.url, clock=time, max_concurrency=2) as one,
        client(server.url, clock=time, max_concurrency=2) as other,
    ):
        workers = [threading.Thread(target=api.page, args=({},)) for api in (one, other) * 3]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    times = sorted(request.at for request in server.requests)
    assert all(later - earlier > 0.08 for earlier, later in zip(times, times[2:], strict=False))


# The key


def test_no_text_of_the_client_holds_the_key(caplog: pytest.LogCaptureFixture) -> None:
    """The client and its settings may be logged, at any level; the log that the other tests search is not empty."""
    with Server() as server, client(server.url) as api:
        api.page({"limit": "1"})
        logging.getLogger("test").debug("%r %s %r", api, api.settings, vars(api))

    assert KEY not in f"{api!r} {api}"
    assert re.search(r'"GET /api/v1/remote/1/data-warehouse/audit-events/\?limit=1 HTTP/1.1" 200', caplog.text)


def test_a_closed_client_holds_no_connection() -> None:
    """Leaving the ``with`` closes what is open; pytest makes an error of a socket that is left."""
    with Server() as server:
        settings = Settings.parse(host=server.url, password=KEY)
        api = AuditEventsApi(settings)
        api.page({})
        api.close()
        api.close()

    assert len(server.requests) == 1
