"""What goes wrong between here and the API is said by name, and never together with the key."""

from __future__ import annotations

import base64
import json
import logging
import pickle
import re
import socket
import ssl
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_akinon.audit_events.errors import (
    AkinonError,
    RedirectRefused,
    Rejected,
    Unreachable,
    UntrustedServer,
)
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import Span, execute, export, objects, spread, the_object
from tests.support.http_server import Answer, Server, free_port
from tests.support.servers import Connect, Hostile
from tests.support.wire import Wire

pytestmark = pytest.mark.xdist_group("discretion")
"""They share an API."""

KEY = "k3y/of+the=shop%7E&more"
FORMS = (
    KEY,
    quote(KEY, safe=""),
    quote_plus(KEY, safe="/"),
    base64.b64encode(KEY.encode()).decode(),
    base64.b64encode(f":{KEY}".encode()).decode(),
)
"""The key, and what it becomes in a URL or a header of another scheme."""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Sandbox]:
    """An API whose key would be found in any output."""
    with Sandbox.start(events=0, key=KEY) as api:
        yield api


@pytest.fixture
def secured(guarded: Sandbox, certificate: Path) -> Iterator[Wire]:
    """The API behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Wire(guarded.url, tls=context) as wire:
        yield wire


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Log everything there is, and return a function that returns all that was logged and printed."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "botocore", "boto3", "requests", "airflow", "airflow.task"):
        caplog.set_level(logging.DEBUG, logger=name)

    def said() -> str:
        out, err = capfd.readouterr()
        assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
        records = "".join(f"{record.getMessage()} {record.args!r}\n{record.exc_text}" for record in caplog.records)
        return caplog.text + records + out + err

    return said


def no_key_in(*texts: str) -> None:
    for text in texts:
        assert [form for form in FORMS if form in text] == []


def all_of(error: BaseException) -> str:
    """Return an exception and all that it hangs on, in every way in which it is shown."""
    texts = ["".join(traceback.format_exception(error))]
    chain: list[BaseException | None] = [error]
    while chain:
        one = chain.pop()
        if one is not None:
            texts += [str(one), repr(one), repr(one.args), repr(vars(one))]
            chain += [one.__cause__, one.__context__]
    return "\n".join(texts)


CASES: dict[str, tuple[dict[str, Any], type[AkinonError], bool, str]] = {
    # what to change in the connection, the error, whether it is final, what the Test button says
    "wrong-key": (
        {"password": f"{KEY}x"},
        Rejected,
        True,
        r"answered 401: Invalid token\. \(.+\)\. The API refuses the key\. Check the API key, and the authorization",
    ),
    "wrong-scheme": (
        {"extra": {"auth_scheme": "Bearer"}},
        Rejected,
        True,
        r"The API refuses the key\. .*scheme: it is another one now",
    ),
    "wrong-remote-id": (
        {"extra": {"remote_id": 2}},
        Rejected,
        True,
        r"answered 404: Not found\. .*has no remote id 2 for this key\. Check the remote id",
    ),
    "unknown-host": (
        {"host": "https://no-such-shop.invalid"},
        Unreachable,
        False,
        r"The host of https://no-such-shop\.invalid is unknown: its name does not resolve\. Check Host",
    ),
    "refused-port": (
        {"host": f"http://127.0.0.1:{free_port()}"},
        Unreachable,
        False,
        r"http://127\.0\.0\.1:\d+ is not reachable: .*refused.*Check Host and Port",
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, guarded: Sandbox, connect: Connect) -> tuple[type[AkinonError], bool, str]:
    """A connection that is wrong, and what should be said of it."""
    request.getfixturevalue("impatient")
    given, error, final, diagnosis = CASES[request.param]
    given = dict(given)
    connect(guarded, given.pop("extra", None), **given)
    return error, final, diagnosis


def check_failure(bucket: str, day: Span, error: type[AkinonError], final: bool, said: Callable[[], str]) -> str:
    """Export, see it fail as it should and tell nobody the key; return what it says."""
    with pytest.raises(AirflowFailException if final else error) as caught:
        export(bucket, *day)
    assert isinstance(caught.value.__context__ if final else caught.value, error)
    assert not isinstance(caught.value, AirflowFailException) or final
    no_key_in(all_of(caught.value), said())
    return str(caught.value)


def test_the_test_button_says_which(case: tuple[type[AkinonError], bool, str], said: Callable[[], str]) -> None:
    """The Test button names what is wrong with the connection, and what to check."""
    working, message = AkinonHook().test_connection()

    assert working is False
    assert re.search(case[2], message), message
    no_key_in(message, said())


def test_the_task_says_which(
    case: tuple[type[AkinonError], bool, str], s3: LocalS3, bucket: str, day: Span, said: Callable[[], str]
) -> None:
    """The task fails with the same reason: for good where a retry is pointless, else so that Airflow retries."""
    error, final, _ = case

    message = check_failure(bucket, day, error, final, said)

    assert re.search(case[2], message), message
    assert objects(s3, bucket) == []


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        (
            {"proxies": {"http": f"socks5://me:{quote(KEY, safe='')}@127.0.0.1:1080"}},
            "it is a SOCKS proxy, for which the package PySocks",
        ),
        (
            {"proxies": {"http": f"http://me:{KEY}@127.0.0.1:3128"}},
            "it is no URL of a proxy; write it like http://user:",
        ),
        (
            {"verify": "/no/such/bundle.pem"},
            "there is no such file here; give true, false or the path of a CA bundle",
        ),
    ],
)
def test_what_no_client_can_use(
    extra: dict[str, object],
    problem: str,
    guarded: Sandbox,
    connect: Connect,
    bucket: str,
    day: Span,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The Test button and the task name the field, and neither shows a password or another library's error."""
    connect(guarded, extra)

    working, message = AkinonHook().test_connection()
    with pytest.raises(AirflowFailException) as caught:
        export(bucket, *day)

    assert not working
    assert str(caught.value) == message
    assert f"Extra {next(iter(extra))} (" in message
    assert f"is wrong: {problem}" in message
    no_key_in(message, all_of(caught.value), caplog.text)


def test_an_untrusted_certificate(
    secured: Wire, guarded: Sandbox, connect: Connect, bucket: str, day: Span, said: Callable[[], str]
) -> None:
    """A certificate that nobody vouches for ends both the test and the task, and no request passes."""
    connect(guarded, host=secured.url)
    before = len(guarded.requests())

    working, message = AkinonHook().test_connection()
    assert working is False
    assert message.startswith(f"TLS: The TLS certificate of {secured.url} does not verify")
    assert "'verify'" in message
    assert check_failure(bucket, day, UntrustedServer, True, said) in message
    no_key_in(message)
    assert secured.requests == []
    assert len(guarded.requests()) == before


def test_a_certificate_of_ones_own(
    secured: Wire, guarded: Sandbox, certificate: Path, connect: Connect, s3: LocalS3, bucket: str, day: Span
) -> None:
    """With the certificate as ``verify`` the same server is read, over TLS."""
    guarded.insert({"timestamp": time} for time in spread(day, 250))
    connect(guarded, {"verify": str(certificate)}, host=secured.url)

    assert AkinonHook().test_connection()[0] is True
    export(bucket, *day)

    assert the_object(s3, bucket).uuids == guarded.uuids(*day)
    assert len(secured.requests) >= 4


@pytest.mark.parametrize("status", [401, 403, 404])
def test_the_test_button_does_not_blame_the_key_for_an_edge(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is not the API's own says nothing about the key, or the remote id of an account."""
    with Server(Answer(status, b"<html>No.</html>", {"Content-Type": "text/html"})) as server:
        connection = {"conn_type": "akinon", "host": server.url, "password": KEY}
        monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", json.dumps(connection))
        working, message = AkinonHook().test_connection()

    assert working is False
    assert "API key" not in message
    assert "refuses the key" not in message
    for place in ("Check Host", "the base URL", "between the workers and the API"):
        assert place in message


def test_plain_http_where_tls_is_meant(
    guarded: Sandbox, s3: LocalS3, connect: Connect, said: Callable[[], str]
) -> None:
    """TLS to a port that speaks plain http is told from a certificate that does not verify."""
    connect(guarded, host=s3.url.replace("http:", "https:"))

    working, message = AkinonHook().test_connection()

    assert working is False
    assert "does not speak https on this port" in message
    no_key_in(message, said())


def test_a_redirect_does_not_get_the_key(hostile: Hostile, bucket: str, day: Span, said: Callable[[], str]) -> None:
    """An answer that leads to another port is refused, and nobody even connects there."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        target = f"http://127.0.0.1:{elsewhere.getsockname()[1]}"
        api = hostile(events=0, key=KEY, redirect_to=target)

        message = check_failure(bucket, day, RedirectRefused, True, said)
        working, diagnosis = AkinonHook().test_connection()

        assert working is False
        for text in (message, diagnosis):
            assert f"redirects to {target}; the key goes to {api.url} only" in text
        elsewhere.settimeout(0.2)
        with pytest.raises(TimeoutError):
            elsewhere.accept()


def test_the_key_is_nowhere_in_a_success(
    guarded: Sandbox, connect: Connect, s3: LocalS3, bucket: str, day: Span, said: Callable[[], str]
) -> None:
    """A working export shows the key in no log, result, object or ``repr``, and cannot be made to by pickling."""
    guarded.insert({"timestamp": time} for time in spread(day, 150))
    connect(guarded)
    hook = AkinonHook()

    working, message = hook.test_connection()
    result = export(bucket, *day)
    stored = the_object(s3, bucket)

    assert (working, message) == (
        True,
        f"Connected to {guarded.url}: the key sees {guarded.count()} audit events of remote id 1",
    )
    api = hook.get_conn()
    reprs = [repr(one) for one in (hook, vars(hook), api, vars(api), hook.settings)]
    no_key_in(said(), message, json.dumps(result), str(stored.head), *reprs, repr(stored.lines))


@pytest.mark.parametrize("scheme", ["default", "bare", "empty"])
def test_the_key_reaches_the_api(connect: Connect, scheme: str) -> None:
    """The key arrives with ``Token`` before it, or alone where the connection says so."""
    extra = {"default": {}, "bare": {"auth_scheme": "none"}, "empty": {"auth_scheme": ""}}[scheme]
    with Sandbox.start(events=5, days=1, key=KEY, bare_key=scheme != "default") as api:
        connect(api, extra)
        assert AkinonHook().test_connection()[0] is True
        assert [entry["authorization"] for entry in api.requests()] == ["right"]


def test_netrc_changes_nothing(
    guarded: Sandbox, connect: Connect, bucket: str, day: Span, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password for the host in ``.netrc`` does not replace the key."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\ndefault login me password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    connect(guarded)
    before = len(guarded.requests())

    export(bucket, *day)

    assert {entry["authorization"] for entry in guarded.requests()[before:]} == {"right"}


def test_a_pickled_error_has_no_key(guarded: Sandbox, connect: Connect) -> None:
    """An error that is pickled takes no key along."""
    connect(guarded, {"remote_id": 2})
    with pytest.raises(Rejected) as caught:
        AkinonHook().list_page()
    assert KEY.encode() not in pickle.dumps(caught.value)


def test_a_wrong_connection_is_not_tried(
    guarded: Sandbox, connect: Connect, bucket: str, day: Span, caplog: pytest.LogCaptureFixture
) -> None:
    """Every wrong field is named at once, without the key, and nothing is sent."""
    connect(guarded, {"verfiy": False, "page_size": 0}, login="me", host="http://shop.example.com")
    before = len(guarded.requests())

    with pytest.raises(AirflowFailException) as caught:
        execute({}, s3_bucket=bucket, start=day.start, end=day.end)

    for problem in ("'verfiy'", "page_size (a number)", "Login (text, 2 long)", "is plain http"):
        assert problem in str(caught.value)
    assert AkinonHook().test_connection() == (False, str(caught.value))
    no_key_in(all_of(caught.value), caplog.text)
    assert len(guarded.requests()) == before
