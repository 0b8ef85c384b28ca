"""An API that attacks whoever asks it: each request ends in time and in bounds, with an error that tells no key."""

from __future__ import annotations

import asyncio
import base64
import gc
import gzip
import json
import logging
import re
import time
import traceback
import tracemalloc
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import chain, repeat
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.api import AuditEventsApi, Limits, Settings, transport
from airflow_provider_akinon.audit_events.errors import (
    AkinonError,
    ProtocolError,
    RedirectRefused,
    Throttled,
    Unreachable,
    UnrequestedEvent,
    WrongServer,
)
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters, Window
from airflow_provider_akinon.audit_events.watching import Awaited, Sighting
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.triggers import audit_events as triggers
from airflow_provider_akinon.triggers.audit_events import AuditEventsTrigger
from tests.support.clock import LONG
from tests.support.examples import OTHER_EXAMPLES
from tests.support.http_server import RawServer

KEY = 'K3y/s3cr3t+"0123\\45=6789'
TIMEOUT = 0.4
"""Seconds, of each request."""
WINDOW = Window.parse("2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z")
UUID = "123e4567-e89b-12d3-a456-426614174000"
RECORD = f'{{"uuid":"{UUID}","timestamp":"2026-01-31T12:00:00Z","user":42}}'
PAGE = f'{{"count":1,"next":null,"results":[{RECORD}]}}'.encode()

Outcome = AkinonError | dict[str, Any] | tuple[bool, str] | int | list[bytes]
Answer = Callable[[], Iterator[bytes | float]]

FORMS = {
    "plain": KEY,
    "quoted": quote(KEY, safe=""),
    "quoted-plus": quote_plus(KEY).lower(),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64-header": base64.b64encode(f"Token {KEY}".encode()).decode(),
    "json": json.dumps(KEY)[1:-1],
    "repr": repr(KEY)[1:-1],
    "hex": KEY.encode().hex().upper(),
}
CORES = [
    form[:-4].lower() if name.startswith("base64") else form.lower() for name, form in FORMS.items()
]  # what follows in Base64 depends on what stands behind the key
DOES_NOT_PRINT = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def settings_for(server: RawServer, **extra: object) -> Settings:
    return Settings.parse(host=server.url, password=KEY, extra={"timeout": TIMEOUT, **extra})


def page(server: RawServer, **extra: object) -> Outcome:
    with AuditEventsApi(settings_for(server, **extra), attempts=1) as api:
        return api.page({"limit": "1"}).count


def count(server: RawServer) -> Outcome:
    with AuditEventsApi(settings_for(server), attempts=1) as api:
        return api.count(WINDOW, Filters(user=42))


def export(server: RawServer) -> Outcome:
    with (
        AuditEventsApi(settings_for(server), attempts=1) as api,
        export_window(api, WINDOW, Filters(user=42)) as exported,
    ):
        return list(exported.lines())


def connected(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {"timeout": TIMEOUT}
    connection = {"conn_type": "akinon", "host": server.url, "password": KEY, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", json.dumps(connection))


def test_button(server: RawServer) -> Outcome:
    with pytest.MonkeyPatch.context() as monkeypatch:
        connected(server, monkeypatch)
        return AkinonHook().test_connection()


test_button.__test__ = False  # type: ignore[attr-defined]


def trigger(server: RawServer) -> Outcome:
    """Let a trigger look once, and return the payload of its event."""

    async def run() -> Outcome:
        awaited = Awaited(WINDOW, Filters(user=42), 1)
        waiting = AuditEventsTrigger.of("akinon_default", awaited, Sighting(0, WINDOW.end), 0.01, None)
        try:
            async with asyncio.timeout(LONG):
                async for event in waiting.run():
                    return dict(event.payload)
        except TimeoutError:
            # A right answer that there is no event is one to wait on.
            assert count(server) == 0
            return 0
        raise AssertionError("it never fired")

    with pytest.MonkeyPatch.context() as monkeypatch:
        connected(server, monkeypatch)
        monkeypatch.setattr(triggers, "MOST_FAILURES", 1)
        return asyncio.run(run())


WAYS: list[Callable[[RawServer], Outcome]] = [page, count, export, test_button, trigger]


def texts_of(outcome: Outcome) -> list[str]:
    """Return every text that a log, a task's failure or an event could hold of an outcome."""
    if not isinstance(outcome, AkinonError):
        return [str(outcome)]
    texts = [*map(str.rstrip, "".join(traceback.format_exception_only(outcome)).splitlines())]
    behind: BaseException | None = outcome
    while behind is not None:
        texts += [str(behind), repr(behind), repr(vars(behind)), *map(str, vars(behind).values())]
        behind = behind.__cause__ or behind.__context__
    return texts


def require_discreet(texts: list[str]) -> None:
    """Make sure that no text holds a form of the key, or what does not print."""
    for text in texts:
        assert not [name for name, core in zip(FORMS, CORES, strict=True) if core in text.lower()], text
        assert not {character for character in text if unicodedata.category(character) in DOES_NOT_PRINT}, repr(text)
        assert len(text) < 3000


@contextmanager
def logged() -> Iterator[list[str]]:
    """Give the texts that any logger logs at any level."""
    texts: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(self.format(record) if record.exc_info is None else record.getMessage())
            if record.exc_info and record.exc_info[1]:
                texts.extend(traceback.format_exception_only(record.exc_info[1])[0].splitlines())

    handler, root = Collecting(logging.DEBUG), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield texts
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def outcome_of(way: Callable[[RawServer], Outcome], answer: Answer) -> Outcome:
    """Ask a server that gives this answer, and return what came of it, in time and discreetly."""
    with RawServer(answer) as server, logged() as texts:
        began = time.monotonic()
        outcome: Outcome
        try:
            outcome = way(server)
        except AkinonError as error:
            outcome = error
        assert time.monotonic() - began < LONG
    require_discreet([*texts_of(outcome), *texts])
    return outcome


def failure(answer: Answer, way: Callable[[RawServer], Outcome] = page) -> AkinonError:
    outcome = outcome_of(way, answer)
    assert isinstance(outcome, AkinonError), outcome
    return outcome


def head(*headers: str, status: str = "200 OK") -> bytes:
    # Closed as said: another request on it would find out only when it is sent.
    return "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *headers, "", ""]).encode(
        "utf-8", "surrogateescape"
    )


def whole(body: bytes, *headers: str, status: str = "200 OK") -> Answer:
    return lambda: iter([head(*headers, f"Content-Length: {len(body)}", status=status), body])


def drips(data: bytes, pause: float = 0.02) -> Iterator[bytes | float]:
    for byte in data:
        yield bytes([byte])
        yield pause


# Time. ----------------------------------------------------------------------------------------------------------


SLOW: dict[str, Answer] = {
    "status-line": lambda: chain(drips(b"HTTP/1.1 200 " + b"O" * 5000)),
    "headers": lambda: chain([head()[:-2]], drips(b"A: b\r\n" * 1000)),
    "a-header": lambda: chain([head()[:-2], b"A: "], drips(b"b" * 5000)),
    "continue": lambda: chain.from_iterable(drips(b"HTTP/1.1 100 Continue\r\n\r\n") for _ in range(1000)),
    "body": lambda: chain([head("Content-Length: 5000")], drips(b" " * 5000)),
    "chunks": lambda: chain([head("Transfer-Encoding: chunked")], drips(b"1\r\n \r\n" * 5000)),
    "chunk-size": lambda: chain([head("Transfer-Encoding: chunked")], drips(b"0" * 5000)),
    "trailers": lambda: chain([head("Transfer-Encoding: chunked"), b"0\r\n"], drips(b"A: b\r\n" * 5000)),
    "gzip": lambda: chain(
        [head("Content-Encoding: gzip", "Content-Length: 50000")], drips(gzip.compress(b"", mtime=0) * 500)
    ),
    "silence": lambda: repeat(0.02),
    "redirect": lambda: chain([0.2, head("Location: /x", "Content-Length: 0", status="302 Found")]),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_answer_ends_in_time(name: str) -> None:
    """A byte now and then, wherever in the answer, keeps nobody for longer than the connection's ``timeout``."""
    began = time.monotonic()

    error = failure(SLOW[name])

    assert type(error) is Unreachable
    assert f"a whole answer may take {TIMEOUT:g} s" in str(error)
    assert "raise 'timeout' in the connection" in str(error)
    assert time.monotonic() - began < LONG


@pytest.mark.parametrize("host", ["https://127.0.0.1:{port}", "https://shop.invalid"], ids=["server", "proxy"])
def test_a_handshake_ends_in_time(host: str) -> None:
    """A server that says nothing to TLS, and a proxy that opens its tunnel in drips, keep nobody either."""
    began = time.monotonic()
    with RawServer(SLOW["headers"]) as server:
        extra = {"timeout": TIMEOUT, "proxies": {"https": server.url} if "shop" in host else {}}
        given = Settings.parse(host=host.format(port=server.port), password=KEY, extra=extra)
        with AuditEventsApi(given, attempts=1) as api, pytest.raises(Unreachable, match="did not answer in time"):
            api.page({})

    assert time.monotonic() - began < LONG


# Size. ----------------------------------------------------------------------------------------------------------


def bomb(megabytes: int) -> bytes:
    """Return gzip of this many megabytes of white space, a thousandth of it."""
    packing = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    # After a full flush the same text gives the same bytes; the end does not matter.
    first, again = (packing.compress(b" " * (1 << 20)) + packing.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * (megabytes - 1)


@contextmanager
def peak() -> Iterator[list[int]]:
    """Give the most bytes that Python held inside of the ``with``."""
    most: list[int] = []
    tracemalloc.start()
    try:
        yield most
    finally:
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


def test_a_small_answer_that_unpacks_to_gigabytes() -> None:
    """Four megabytes that are 4 GB of white space are not unpacked further than an answer may be large."""
    packed = bomb(4200)
    assert len(packed) < 6 << 20
    with (
        RawServer(whole(packed, "Content-Encoding: gzip")) as server,
        peak() as most,
        pytest.raises(ProtocolError, match=r"an answer of more than 256 MiB.*lower page_size"),
    ):
        page(server, timeout=60)

    assert most[0] < 400 << 20


def test_a_gigabyte_of_empty_members_ends() -> None:
    """Gzip that unpacks to nothing, for ever, ends with the time."""
    packed = gzip.compress(b"", mtime=0) * 10_000

    error = failure(lambda: chain([head("Content-Encoding: gzip")], repeat(packed)))

    assert type(error) in (Unreachable, ProtocolError)


LARGE: dict[str, tuple[Answer, str]] = {
    "continue": (lambda: repeat(b"HTTP/1.1 100 Continue\r\n\r\n" * 100), "headers of more than 128 KiB"),
    "continue-with-headers": (
        lambda: repeat(b"HTTP/1.1 100 Continue\r\n" + b"A: b\r\n" * 50 + b"\r\n"),
        "headers of more than 128 KiB",
    ),
    "headers": (
        lambda: chain([head()[:-2]], repeat(b"A: " + b"b" * 60_000 + b"\r\n", 4), [b"\r\n"]),
        "headers of more than 128 KiB",
    ),
    "redirects": (
        lambda: iter([head("Location: /x", "Content-Length: 0", "A: " + "b" * 50_000, status="302 Found")]),
        "headers of more than 128 KiB",
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_headers_without_end(name: str) -> None:
    """Responses before the response, headers and redirects have one small limit together."""
    answer, says = LARGE[name]
    with RawServer(answer) as server, peak() as most, pytest.raises(ProtocolError, match=says):
        page(server, timeout=LONG)

    assert most[0] < 8 << 20


def test_a_body_without_end() -> None:
    """A body that never ends is read up to the limit, and no further."""
    answer: Answer = lambda: chain([head()], repeat(b" " * (1 << 20)))  # noqa: E731
    with RawServer(answer) as server, pytest.raises(ProtocolError, match="an answer of more than 256 MiB"):
        page(server, timeout=60)


def test_a_page_of_numbers_is_no_page() -> None:
    """Millions of items of two bytes are not made millions of objects before they are refused."""
    body = b'{"count":1,"results":[' + b"0," * 20_000_000 + b"0]}"
    with (
        RawServer(whole(body)) as server,
        peak() as most,
        pytest.raises(ProtocolError, match="not the Audit Events API's JSON"),
    ):
        page(server, timeout=60)

    assert most[0] < 400 << 20


def test_a_large_refusal_is_not_taken_apart() -> None:
    """A refusal of megabytes is told without what it says."""
    body = b"[" + b"[]," * 5_000_000 + b"[]]"
    with (
        RawServer(whole(body, status="400 Bad")) as server,
        peak() as most,
        pytest.raises(WrongServer, match="not the API's JSON"),
    ):
        page(server, timeout=60)

    assert most[0] < 100 << 20


def test_a_large_user_is_not_taken_apart() -> None:
    """A user of megabytes is refused before it is made objects, to be compared with a filter."""
    body = b'{"count":1,"results":[{"uuid":"%b","timestamp":"2026-01-31T12:00:00Z","user":[%b[]]}]}'
    body %= (UUID.encode(), b"[]," * 5_000_000)
    with (
        RawServer(whole(body)) as server,
        peak() as most,
        AuditEventsApi(settings_for(server, timeout=60), attempts=1) as api,
        pytest.raises(ProtocolError, match="it is too large"),
    ):
        api.count(WINDOW, Filters(user=42))

    assert most[0] < 200 << 20


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd", "\x85\u202e" + KEY])
def test_a_coding_that_was_not_asked_for(coding: str) -> None:
    """What was packed otherwise than asked is not unpacked at all."""
    error = failure(whole(PAGE, f"Content-Encoding: {coding}"))

    assert type(error) is ProtocolError
    assert "not asked for" in str(error)


# The key, and what does not print. -------------------------------------------------------------------------------


PLACES: dict[str, Callable[[str], Answer]] = {
    "reason": lambda text: whole(b"<p>", status=f"500 {text}"),
    "reason-of-a-refusal": lambda text: whole(b"<p>", status=f"404 {text}"),
    "status-line": lambda text: lambda: iter([f"HTTP/1.1 {text}\r\n\r\n".encode("utf-8", "surrogateescape")]),
    "version": lambda text: lambda: iter([f"{text} 200 OK\r\n\r\n".encode("utf-8", "surrogateescape")]),
    "content-type": lambda text: whole(b"<p>", f"Content-Type: {text}"),
    "content-type-of-a-refusal": lambda text: whole(b"<p>", f"Content-Type: {text}", status="403 No"),
    "content-length": lambda text: lambda: iter([head("Content-Length: 5", f"Content-Length: {text}"), PAGE]),
    "content-encoding": lambda text: whole(PAGE, f"Content-Encoding: {text}"),
    "transfer-encoding": lambda text: whole(PAGE, f"Transfer-Encoding: {text}"),
    "chunk-size": lambda text: lambda: iter([head("Transfer-Encoding: chunked"), text.encode(), b"\r\n"]),
    "location": lambda text: whole(b"", f"Location: {text}", status="302 Found"),
    "location-query": lambda text: whole(b"", f"Location: /?k={text}", status="307 Found"),
    "location-elsewhere": lambda text: whole(b"", f"Location: http://{text}.example.com/", status="302 Found"),
    "location-no-url": lambda text: whole(b"", f"Location: http://[{text}/", status="302 Found"),
    "retry-after": lambda text: whole(b"{}", f"Retry-After: {text}", status="429 No"),
    "no-header": lambda text: lambda: iter([head("A: b", text, "C: d"), PAGE]),
    "header-name": lambda text: lambda: iter([head(f"{text} x: b"), PAGE]),
    "detail": lambda text: whole(json.dumps({"detail": text}).encode(), status="401 No"),
    "detail-at-a-cut": lambda text: whole(json.dumps({"detail": "x" * 480 + text}).encode(), status="401 No"),
    "body": lambda text: whole(json.dumps([{text: text}]).encode(), status="500 No"),
    "body-as-it-is": lambda text: whole(json.dumps([{text: text}], ensure_ascii=False).encode(), status="400 No"),
    "page": lambda text: whole(text.encode("utf-8", "replace")),
    "count": lambda text: whole(json.dumps({"count": text, "results": []}).encode()),
    "uuid": lambda text: whole(record_page(uuid=text)),
    "uuid-at-a-cut": lambda text: whole(record_page(uuid="x" * 185 + text)),
    "timestamp": lambda text: whole(record_page(timestamp=text)),
    "user": lambda text: whole(record_page(user={"pk": text})),
    "user-at-a-cut": lambda text: whole(record_page(user="x" * 170 + text)),
}


def record_page(**fields: object) -> bytes:
    record = {"uuid": UUID, "timestamp": "2026-01-31T12:00:00Z", "user": 42, **fields}
    return json.dumps({"count": 1, "results": [record]}).encode()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", PLACES)
def test_the_key_comes_back(place: str, form: str) -> None:
    """Wherever the API repeats the key, and however it writes it, nobody reads it in an error or a log."""
    outcome = outcome_of(count, PLACES[place](FORMS[form]))

    # The page is whole, whatever it says of how it was transferred.
    assert isinstance(outcome, AkinonError) or (place, outcome) == ("transfer-encoding", 1)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("place", ["detail", "user", "uuid", "content-type"])
def test_no_way_shows_the_key(way: Callable[[RawServer], Outcome], place: str) -> None:
    """The client, the export, the form's button and a trigger are as discreet."""
    outcome_of(way, PLACES[place](FORMS["plain"] + "\u202e\x1b[2J" * (place != "content-type")))


ODD = "\x1b[2J\x07\x85\u2028\u2029\u202e\u2066\ufeff\u200b\ue000\U000e0001"


@pytest.mark.parametrize("place", PLACES)
def test_what_does_not_print_is_escaped(place: str) -> None:
    """Escapes of a terminal, line separators and marks of direction reach no error and no log."""
    outcome_of(count, PLACES[place](f"a{ODD}b"))


@pytest.mark.parametrize("place", PLACES)
def test_long_text_is_cut(place: str) -> None:
    """However much the API says, and wherever, an error of it stays a few lines."""
    outcome = outcome_of(count, PLACES[place]("x" * 5000))

    assert isinstance(outcome, int) or all(len(text) < 1500 for text in texts_of(outcome))


def test_a_message_of_the_api_stays_readable() -> None:
    """What prints is shown as it is, what does not by its number."""
    error = failure(PLACES["detail"]("Geçersiz \x1b[31mkey \u202e"))
    assert "401: Geçersiz \\x1b[31mkey \\u202e (" in str(error)


def test_a_redirect_that_holds_the_key_is_not_followed() -> None:
    """A redirect on the same origin whose URL holds the key would bring it into logs: nobody asks there."""
    answer = PLACES["location-query"](FORMS["quoted"])
    with RawServer(answer) as server, pytest.raises(ProtocolError, match="a URL that holds the key"):
        page(server)

    assert len(server.requests) == 1


def test_a_redirect_to_a_host_that_does_not_print() -> None:
    """The name of another host is shown escaped, and without the key."""
    error = failure(whole(b"", f"Location: http://{KEY.split('/')[0]}.{ODD[-3:]}.example.com/", status="302 Found"))
    assert isinstance(error, RedirectRefused | ProtocolError)


def test_headers_that_are_none() -> None:
    """A line among the headers that is none is refused, and reaches no log."""
    with logged() as texts:
        error = failure(PLACES["no-header"](KEY))

    assert type(error) is ProtocolError
    assert "headers that are none" in str(error)
    assert "parse headers" not in " ".join(texts)


# UUIDs. ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uuid",
    [
        "",
        "a",
        UUID + "\n",
        "\n" + UUID,
        UUID.replace("-", ""),
        f"{{{UUID}}}",
        f"urn:uuid:{UUID}",
        UUID[:-1] + "g",
        UUID[:-1] + "\u0661",
        UUID.replace("-", "\u2010"),
        UUID[1:],
        "x" * 200_000,
        "\ud83d" * 36,
    ],
    ids=lambda uuid: repr(uuid[:40]),
)
@pytest.mark.parametrize("way", [count, export], ids=["count", "export"])
def test_a_uuid_that_is_none(way: Callable[[RawServer], Outcome], uuid: str) -> None:
    """Only the usual form of 36 characters identifies an event; anything else is shown, short, and refused."""
    error = failure(whole(record_page(uuid=uuid)), way)

    assert type(error) is ProtocolError
    assert "is not a UUID of 36 characters" in str(error)
    assert len(str(error)) < 500


def test_a_uuid_in_either_case() -> None:
    """Letters of both cases are hex digits."""
    assert outcome_of(count, whole(record_page(uuid=UUID.upper()))) == 1


@pytest.mark.parametrize("again", [UUID, UUID.upper()], ids=["same", "other-case"])
def test_the_same_uuid_with_another_timestamp(again: str) -> None:
    """Three events with one uuid are no three events: the export fails, however the counts agree."""
    records = [
        {"uuid": UUID, "timestamp": "2026-01-31T12:00:00.000Z"},
        {"uuid": again, "timestamp": "2026-01-31T13:00:00.000Z"},
    ]
    windows: list[bytes] = []

    def answer() -> Iterator[bytes]:
        start, end = re.findall(rb"timestamp__(?:gte|lt)=([^& ]+)", server.requests[-1])
        windows.append(start)
        edges = [at.decode().replace("%3A", ":")[:23] for at in (start, end)]
        found = [one for one in records if edges[0] <= one["timestamp"][:23] < edges[1]]
        body = json.dumps({"count": len(found), "results": found[:1]}).encode()
        yield from whole(body)()

    def read(server: RawServer) -> Outcome:
        extra = {"page_size": 1, "max_concurrency": 1, "timeout": 10}
        with (
            AuditEventsApi(settings_for(server, **extra), attempts=1) as api,
            export_window(api, WINDOW, Filters()) as exported,
        ):
            return list(exported.lines())

    with RawServer(answer) as server, pytest.raises(ProtocolError, match="2 events with 1 different uuids") as caught:
        read(server)

    assert UUID in str(caught.value)
    assert len(windows) > 2


# Numbers. -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["1" + "0" * 400, "-1", "1e3", "true", "1.0", "1E400", str(2**53 + 1), str(2**64), "-0.0", '"1"', "null"]
)
@pytest.mark.parametrize("listed", [False, True], ids=["page", "list_page"])
def test_a_count_that_is_none(text: str, listed: bool) -> None:
    """A count is an integer that every reader of JSON can hold."""

    def ask(server: RawServer) -> Outcome:
        with AuditEventsApi(settings_for(server), attempts=1) as api:
            return dict(api.list_page(limit=1)) if listed else api.page({"limit": "1"}).count

    error = failure(whole(b'{"count": %b, "results": []}' % text.encode()), ask)

    assert type(error) is ProtocolError


@pytest.mark.parametrize("number", [0, 2**53])
def test_a_count_at_its_bounds(number: int) -> None:
    """The smallest and the largest are counts."""
    assert outcome_of(page, whole(b'{"count": %d, "results": []}' % number)) == number


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("9" * 20, 86400.0),
        ("9" * 400, 86400.0),
        ("86401", 86400.0),
        ("301", 301.0),
        (format_datetime(datetime(9999, 12, 31, tzinfo=UTC), usegmt=True), 86400.0),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 86400.0),
        (format_datetime(datetime(1776, 1, 1, tzinfo=UTC), usegmt=True), 0.0),
        ("-1", None),
        ("-" + "9" * 20, None),
        ("nan", None),
        ("inf", None),
        ("1e3", None),
        ("0x10", None),
        ("\u0663", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("Sat, 31 Jan 2026 00:00:00 +" + "9" * 30, None),
        ("Sat, 31 Jan 2026 99:99:99 GMT", None),
        (",", None),
    ],
)
def test_a_pause_that_is_asked_for(header: str, seconds: float | None) -> None:
    """At most a day is told, however much is asked for; nonsense says nothing."""
    error = failure(whole(b"{}", f"Retry-After: {header}", status="429 Too Many Requests"))

    assert isinstance(error, Throttled)
    assert error.retry_after == seconds


# Records. -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user", ["1" + "0" * 5000, "[" * 200_000 + "]" * 200_000, '"' + "x" * 100_000 + '"', '{"pk":"\\ud83d"}', "1e999"]
)
def test_a_user_that_is_none(user: str) -> None:
    """A field that is compared with a filter and is no such field is refused, and shown short."""
    record = f'{{"uuid":"{UUID}","timestamp":"2026-01-31T12:00:00Z","user":{user}}}'
    error = failure(whole(f'{{"count":1,"results":[{record}]}}'.encode()), count)

    assert isinstance(error, ProtocolError | UnrequestedEvent)


@pytest.mark.parametrize("body", [b"[" * 500_000, b'{"a":' * 500_000], ids=["lists", "objects"])
@pytest.mark.parametrize("status", ["200 OK", "400 Bad"])
def test_an_answer_of_brackets(body: bytes, status: str) -> None:
    """JSON that is nested without end is no answer, and breaks nothing."""
    assert isinstance(failure(whole(body, status=status)), ProtocolError)


# Anything. ------------------------------------------------------------------------------------------------------


ODDITIES = st.one_of(
    st.sampled_from([*FORMS.values(), ODD, f"{ODD}{KEY}", "\x00", "%0d%0a", "..", "://", "[", "9" * 400, "é"]),
    st.text(max_size=20),
    st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp"]), max_size=10),
)
TEXTS = st.lists(ODDITIES, max_size=3).map("".join)
HEADERS = st.one_of(
    st.tuples(
        st.sampled_from(
            ["Content-Type", "Content-Encoding", "Transfer-Encoding", "Location", "Retry-After", "Set-Cookie", "A"]
        ),
        st.one_of(TEXTS, st.sampled_from(["gzip", "chunked", "/", "//x", "/?", "0", "5", "application/json"])),
    ).map(": ".join),
    TEXTS,
)
BODIES = st.one_of(
    st.just(PAGE),
    st.just(json.dumps({"count": 0, "results": []}).encode()),
    st.builds(lambda text, name: record_page(**{name: text}), TEXTS, st.sampled_from(["uuid", "user", "timestamp"])),
    st.builds(lambda text: json.dumps({"detail": text}).encode(), TEXTS),
    st.builds(
        lambda text, record: json.dumps({"count": text, "results": [record]}).encode(),
        st.one_of(TEXTS, st.integers(), st.floats(), st.booleans(), st.none()),
        st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3)),
    ),
    st.binary(max_size=200),
    st.just(bomb(300)),
)


@st.composite
def answers(draw: Callable[..., Any]) -> Answer:
    """Return an answer that may be right or wrong in each of its parts, and in how fast it comes."""
    body = draw(BODIES)
    body = draw(st.sampled_from([body, body, gzip.compress(body), body[: len(body) // 2]]))
    status = draw(
        st.one_of(
            st.just("200 OK"),
            st.builds(
                "{} {}".format, st.sampled_from([100, 103, 204, 302, 307, 400, 404, 429, 500, 503, 999]), TEXTS
            ),
            TEXTS,
        )
    )
    length = draw(st.sampled_from([None, len(body), len(body), len(body) + 1, -1, 10**30, 0]))
    headers = draw(st.lists(HEADERS, max_size=4)) + ([] if length is None else [f"Content-Length: {length}"])
    start = head(*headers, status=status)
    before = draw(st.sampled_from([0, 0, 1, 3, 100_000])) * b"HTTP/1.1 100 Continue\r\n\r\n"
    if draw(st.integers(0, 5)) == 0:
        return lambda: chain(drips(before[:100] + start + body[:2000]))
    return lambda: iter([before + start, body])


@settings(max_examples=OTHER_EXAMPLES)
@given(answer=answers(), way=st.sampled_from(WAYS))
def test_whatever_it_answers(answer: Answer, way: Callable[[RawServer], Outcome]) -> None:
    """Any answer at all ends in time, as a right answer or an error of this package that shows no key."""
    outcome = outcome_of(way, answer)

    if isinstance(outcome, int):
        assert 0 <= outcome <= 2**53
    elif isinstance(outcome, list):
        assert outcome in ([], [RECORD.encode()], [re.sub(rb" ", b"", RECORD.encode())])


def test_a_connection_that_comes_too_late_is_closed() -> None:
    """Where the time is over as soon as the server is reached, nothing is left open; a socket that is, warns."""
    with RawServer(lambda: iter([])) as server:
        parsed = settings_for(server)
        left = iter([TIMEOUT, TIMEOUT])
        # The request has begun, and is about to be sent.
        limits = Limits(parsed.base_url, TIMEOUT, lambda: next(left, 3 * TIMEOUT))
        with closing(transport.Transport(f"{server.url}/", parsed)) as sender:
            with pytest.raises(Unreachable, match="did not answer in time"):
                sender.get(f"{server.url}/", limits)
            assert server.requests == []
        gc.collect()
