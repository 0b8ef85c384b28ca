"""The Audit Events API over HTTP: one client, the only room that sends requests.

Two endpoints, as Akinon's "Audit Events" document shows them, below ``/api/v1/remote/{remote_id}/data-warehouse/`` of
Omnitron's host or ``/api/v1/data-warehouse/`` of a Commerce host:

- ``GET …/audit-events/``: a page of events, and the ``count`` of all that match;
- ``GET …/audit-events/{uuid}/``: one event.

What passes (no answer, 429, 5xx, an answer that is not the API's) is tried again within bounds; what does not
(the API's own 4xx, an untrusted certificate) fails at once. A 4xx that is not the API's own is the page of an edge:
it passes once the API has answered, and before, it is what answers at this host, for good. The client refuses to
follow the ``next`` and ``previous`` of an answer, or a redirect to another origin: either would hand the key to
whoever stands there. It trusts nothing that an answer says: a request has limits of time and size, and its errors
show what the API wrote without the key, on one line, and cut.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import ssl
import time
import uuid as uuids
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from socket import socket
from typing import Any, TypeVar, cast
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import msgspec
import requests
import tenacity
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as NoAnswerInTime

from airflow_provider_akinon import __version__
from airflow_provider_akinon.audit_events.api.advice import on_refusal
from airflow_provider_akinon.audit_events.api.limits import LimitedReading, Limits
from airflow_provider_akinon.audit_events.api.pace import Clock, Pace
from airflow_provider_akinon.audit_events.api.pages import (
    Page,
    parse_page,
    parse_record,
    parse_requested_events,
    without_mark,
)
from airflow_provider_akinon.audit_events.api.proxies import (
    EXAMPLE,
    problem_of_proxy,
    proxy_of_environment,
    secrets_of_proxy,
)
from airflow_provider_akinon.audit_events.api.secrecy import Secrets, holds_key, keeping_secret
from airflow_provider_akinon.audit_events.api.settings import Extra, Settings, problem_of_bundle
from airflow_provider_akinon.audit_events.errors import (
    AkinonError,
    ApiError,
    InvalidInput,
    ProtocolError,
    RedirectRefused,
    Rejected,
    Throttled,
    Unavailable,
    Unreachable,
    UnreadableRecord,
    UntrustedServer,
    WrongServer,
)
from airflow_provider_akinon.audit_events.foreign_text import shown
from airflow_provider_akinon.audit_events.model import Filters, Window, format_instant, parse_instant

ATTEMPTS = 7
"""Tries of one request before it fails; with the waits between them about half a minute."""
LONGEST_RETRY_AFTER = 300.0
"""Seconds; an API that asks for a longer pause gets it from Airflow's retry, which frees the worker."""
MOST_RETRY_AFTER = 86_400.0
"""Seconds; a longer pause that an API asks for is told as this one."""
PUSH_BACK = 1.0
"""Seconds to pause where the API says that it is too much, and not for how long."""
CONNECT_TIMEOUT = 10.0
"""Seconds to connect, where the connection's ``timeout`` is not shorter."""

INTEGER_PARAMETERS = ("content_type", "object_id", "user", "limit", "page")
TIME_PARAMETERS = ("timestamp", "timestamp__gt", "timestamp__gte", "timestamp__lt", "timestamp__lte")
PARAMETERS = (*INTEGER_PARAMETERS, *TIME_PARAMETERS, "sort")
"""Every query parameter of the list endpoint."""

_SAME_ORIGIN_REDIRECTS = 3
_LONGEST_LOCATION = 2000

_PIECE = 1 << 20
_MOST_DETAIL = 500
_MOST_PARSED = 1 << 20
"""Bytes of a refusal that are looked into for the API's message: as JSON, they may take twenty times as much."""
_ONCE = urllib3.Retry.from_int(False, redirect=False)

T = TypeVar("T")


class AuditEventsApi:
    """A client of one API and account. Safe to share between threads; close it, or use it in a ``with``.

    ``attempts`` bounds the tries of one request; ``clock`` is what it waits by, the module ``time``.
    """

    has_answered: bool
    """Whether the API itself has answered in this task, through this client or, as its owner says, another one: it is
    there, and an edge that stands before it may refuse for a while."""

    def __init__(self, settings: Settings, *, attempts: int = ATTEMPTS, clock: Clock = time) -> None:
        self.settings = settings
        self.has_answered = False
        self._url = f"{settings.base_url}{settings.api_path}audit-events/"
        self._clock = clock
        self._pace = Pace.shared(settings, clock)
        # The request, not its headers: vars() of this client would show the key.
        self._request, self._pool, self._before_path = _transport(self._url, settings)
        of_workers = proxy_of_environment(self._url, settings.extra.proxies) or ""
        self._secrets = Secrets((*settings.secrets, *secrets_of_proxy(of_workers)))
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            retry=tenacity.retry_if_exception(_is_passing),
            wait=_wait,
            sleep=clock.sleep,
            reraise=True,
        )

    def __enter__(self) -> AuditEventsApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def page(self, params: Mapping[str, str]) -> Page:
        """Return the page of events that ``params`` ask for, unchecked.

        :raises ApiError: the API did not give it; see `errors`.
        """
        return self._get(self._url, params, parse_page)

    def count(self, window: Window, filters: Filters) -> int:
        """Return how many events of ``window`` match ``filters`` now, by one small request.

        :raises ApiError: the API did not say, or counts what was not asked for; see `errors`.
        """
        page = self.page({**window.params(), **filters.params(), "limit": "1"})
        # The event that comes with the count tells whether the API heeds the filters.
        with keeping_secret(*self._secrets):
            parse_requested_events(page, window, filters)
        return page.count

    def list_page(self, **params: object) -> dict[str, Any]:
        """Return one page as the API gives it: ``count``, ``next``, ``previous``, ``results``.

        Takes the parameters of the list endpoint: the integers ``content_type``, ``object_id``, ``user``,
        ``limit`` and ``page``; ``timestamp``, ``timestamp__gt``, ``timestamp__gte``, ``timestamp__lt`` and
        ``timestamp__lte`` as aware datetimes or ISO 8601 text; ``sort``, a field's name, descending with a
        leading ``-``.

        :raises InvalidInput: a parameter is unknown, empty or of another type.
        :raises ApiError: the API did not give the page; see `errors`.
        """
        return self._get(self._url, _query(params), _listed)

    def get_event(self, uuid: str | uuids.UUID) -> dict[str, Any]:
        """Return the event with this ``uuid``; takes and raises what `get_record` does."""
        return self._get(self._url_of(uuid), {}, _event)

    def get_record(self, uuid: str | uuids.UUID) -> bytes:
        """Return the record of the event with this ``uuid`` as the API wrote it, on one line.

        :raises InvalidInput: ``uuid`` is not a UUID.
        :raises Rejected: with status 404, where there is no such event.
        :raises ApiError: the API did not give it; see `errors`.
        """
        return self._get(self._url_of(uuid), {}, parse_record)

    def _url_of(self, uuid: str | uuids.UUID) -> str:
        try:
            return f"{self._url}{uuids.UUID(str(uuid))}/"
        except ValueError:
            raise InvalidInput(f"uuid={str(uuid)!r} is not a UUID; give an event's 'uuid' field") from None

    def _get(self, url: str, params: Mapping[str, str], decode: Callable[[bytes], T]) -> T:
        with keeping_secret(*self._secrets):
            answer: T = self._retrying(self._try, url, params, decode)
        return answer

    def _try(self, url: str, params: Mapping[str, str], decode: Callable[[bytes], T]) -> T:
        with self._pace.turn():
            response, body = self._send(url, params)
        if response.status != 200:
            refusal = self._refusal(url, response, body)
            if isinstance(refusal, Throttled) and _is_passing(refusal):
                self._pace.push_back(PUSH_BACK if refusal.retry_after is None else refusal.retry_after)
            raise refusal
        try:
            decoded = decode(body)
            self.has_answered = True
            return decoded
        except UnreadableRecord as error:
            asked = [params[name] for name in ("timestamp__gte", "timestamp__lt") if name in params]
            raise error.asked_for(f"[{', '.join(asked)})" if asked else url) from error
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            kind = shown(response.headers.get("Content-Type", "no content type"))
            raise ProtocolError(
                f"{url} answered 200 with something that is not the Audit Events API's JSON "
                f"({kind}, {len(body)} bytes): {shown(str(error))}"
            ) from error

    def _send(self, url: str, params: Mapping[str, str]) -> tuple[BaseHTTPResponse, bytes]:
        """Send one request and return the answer with its body, following only redirects on the same origin."""
        target = f"{url}?{urlencode(params)}" if params else url
        limits = Limits(self.settings.base_url, self.settings.extra.timeout, self._clock.monotonic)
        _limits.set(limits)
        for _ in range(_SAME_ORIGIN_REDIRECTS + 1):
            seconds = limits.seconds()
            try:
                response = self._pool.urlopen(
                    "GET",
                    self._before_path + urlunsplit(urlsplit(target)._replace(scheme="", netloc="")),
                    headers=self._request.headers,
                    timeout=urllib3.Timeout(connect=min(CONNECT_TIMEOUT, seconds), read=seconds),
                    retries=_ONCE,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                )
                try:
                    body = self._body(response, limits)
                finally:
                    # Closing one that is not read to its end does not give its place in the pool back.
                    response.close()
                    response.release_conn()
            except HTTPError as error:
                raise _unreachable(self.settings, error) from error
            location = response.get_redirect_location()
            if not location:
                return response, body
            target = self._redirected(url, target, location)
        raise ProtocolError(f"{url} redirects more than {_SAME_ORIGIN_REDIRECTS} times")

    def _redirected(self, url: str, target: str, location: str) -> str:
        """Return where ``target`` redirects to."""
        if len(location) > _LONGEST_LOCATION:
            raise ProtocolError(f"{url} redirects to a URL of {len(location)} characters: '{shown(location)}'")
        try:
            target = urljoin(target, location)
            origin = _origin(target)
        except ValueError:
            raise ProtocolError(f"{url} redirects to '{shown(location)}', which is no URL") from None
        if origin != _origin(self._url):
            raise RedirectRefused(
                f"{url} redirects to {shown(origin)}; the key goes to {self.settings.base_url} only. "
                "If the API has moved, change Host in the connection"
            )
        if any(holds_key(target, secret) for secret in self._secrets):
            raise ProtocolError(f"{url} redirects to a URL that holds the key, which logs on the way would keep")
        return target

    def _body(self, response: BaseHTTPResponse, limits: Limits) -> bytes:
        """Return the body, read as it comes, and no more of it than may be."""
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in _CODINGS:
            raise ProtocolError(
                f"{self.settings.base_url} sends an answer in the coding '{shown(coding)}', which was not asked for"
            )
        try:
            return limits.unpacked(_pieces(response), gzipped=_CODINGS[coding])
        except zlib.error as error:
            raise Unreachable(f"The answer of {self.settings.base_url} broke off, or is no gzip: {error}") from error

    def _refusal(self, url: str, response: BaseHTTPResponse, body: bytes) -> ApiError:
        status = response.status
        own = _detail(body)
        # A server error in JSON may be a gateway's.
        self.has_answered |= own is not None and status < 500
        detail = own or _not_the_apis(response)
        message = f"The Akinon API answered {status}: {detail}"
        retry_after = _retry_after(response.headers.get("Retry-After"))
        if status == 429 or (status == 503 and retry_after is not None):
            pause = "" if retry_after is None else f" (asks to wait {retry_after:.0f} s)"
            return Throttled(message + pause, status=status, retry_after=retry_after)
        if status >= 500 or status == 408:
            return Unavailable(message, status=status)
        if not 400 <= status < 500:
            return ProtocolError(f"{message} ({self._url})")
        if own is None and status != 407:  # which is a proxy's, whatever it says
            return self._foreign_refusal(status, detail)
        advice = on_refusal(self.settings, status, of_event=url != self._url)
        text = f"{message} ({url})" + (f". {advice}" if advice else "")
        return Rejected(text, status=status, detail=detail)

    def _foreign_refusal(self, status: int, detail: str) -> ProtocolError:
        """Return the error of a refusal that is not the API's own."""
        said = f"Not the Akinon API, but something before it, answered {status}: {detail} ({self._url})"
        if self.has_answered:
            return ProtocolError(f"{said}. The API has answered in this task, so this may pass, as in a deploy")
        return WrongServer(
            f"{said}. Check Host, the base URL (the remote id, or 'none' for the path without remote/…), and what "
            "stands between the workers and the API: a firewall, a proxy, a list of allowed addresses",
            status=status,
        )


def _transport(url: str, settings: Settings) -> tuple[requests.PreparedRequest, urllib3.HTTPConnectionPool, str]:
    """Return the request without its parameters, what sends it, and what stands before its path.

    The last is nothing, or the origin where a proxy is to read it, as for plain http.

    :raises InvalidInput: what the connection or the environment says of proxies or certificates cannot be used.
    """
    extra = settings.extra
    # requests knows about proxies, certificates and the environment: it makes the connection pool. The pool alone
    # sends, as a session would take longer than the rest of this module, keep the API's cookies, and look at
    # redirects.
    session = requests.Session()
    # An auth object, not a header: requests would replace a header by what .netrc says.
    session.auth = _ApiKey(settings.authorization)
    session.headers.update(
        {
            "Accept": "application/json",
            # What `limits` unpacks by itself, and never further than it may.
            "Accept-Encoding": "gzip",
            "User-Agent": f"airflow-provider-akinon/{__version__}",
        }
    )
    session.headers.update(extra.secret_headers or {})
    _require_usable_environment(url, extra)
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=extra.max_concurrency, pool_block=True)
    try:
        request = session.prepare_request(requests.Request("GET", url))
        # `verify` and the proxies go in here, as the environment would override those of a session.
        sending = session.merge_environment_settings(url, dict(extra.proxies or {}), True, extra.verify, None)
        pool = adapter.get_connection_with_tls_context(
            request, sending["verify"], proxies=sending["proxies"], cert=sending["cert"]
        )
        adapter.cert_verify(pool, url, sending["verify"], sending["cert"])  # type: ignore[no-untyped-call]
        before_path = adapter.request_url(request, sending["proxies"]).removesuffix(request.path_url)
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:
        # Their words hold URLs, with a part of a password where it has a character that URLs do not.
        raise InvalidInput(
            f"No client can be made for {settings.base_url} ({type(error).__name__}): check Host, and 'proxies' and "
            "'verify' in the connection's Extra, and HTTPS_PROXY and REQUESTS_CA_BUNDLE where tasks run"
        ) from None
    found = cast(urllib3.HTTPConnectionPool, pool)
    # Whatever kind of connection it would make: to a server, through TLS, by a proxy of either kind.
    kind = cast(type[Any], found.ConnectionCls)
    found.ConnectionCls = type("LimitedConnection", (_LimitedConnection, kind), {})
    return request, found, before_path


def _require_usable_environment(url: str, extra: Extra) -> None:
    """Make sure that what the environment says of proxies and certificates can be used, where it is."""
    proxy = proxy_of_environment(url, extra.proxies)
    if proxy and (problem := problem_of_proxy(proxy)):
        raise InvalidInput(
            f"The proxy that the environment gives (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) is not usable: {problem}; "
            f"or give 'proxies' in the connection's Extra, like {EXAMPLE}"
        )
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        path = os.environ.get(name)
        if path and extra.verify is True and url.startswith("https:"):
            if problem := problem_of_bundle(path):
                raise InvalidInput(f"{name} in the environment is not usable: {problem}")
            return


_CODINGS = {"identity": False, "": False, "gzip": True, "x-gzip": True}
"""Content codings, and whether they are gzip."""

_limits: ContextVar[Limits] = ContextVar("limits")
"""Those of the request that this thread makes; urllib3 hands nothing on to its connections."""


class _LimitedResponse(http.client.HTTPResponse):
    """An answer that is read within the limits of its request, from the first byte of its status line on."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reading = LimitedReading(self.fp.detach(), sock, _limits.get())
        self.fp = io.BufferedReader(self._reading)

    def begin(self) -> None:
        """Read up to the body; headers that do not read as such are refused here, where nobody logs them.

        :raises ProtocolError: they do not, or are too many.
        """
        super().begin()
        self._reading.in_body = True
        rest = self.headers.get_payload()
        if self.headers.defects or rest:
            raise ProtocolError("The API sends headers that are none. Check Host")


class _LimitedConnection(HTTPConnection):
    """A connection whose answers, and whose handshake, keep to the limits of their request."""

    response_class = _LimitedResponse
    _is_reached = False

    def connect(self) -> None:
        """Connect, and tell a handshake that fails from a server that is not there.

        :raises SSLError: a server that was reached did not shake hands, as one that speaks plain http.
        """
        self._is_reached = False
        try:
            super().connect()
        except OSError as error:
            # Through a proxy, it may be the tunnel that failed.
            if not self._is_reached or self.proxy is not None or isinstance(error, ssl.SSLError):
                raise
            raise SSLError(f"no handshake: {type(error).__name__}") from error

    def _new_conn(self) -> socket:
        sock = super()._new_conn()
        self._is_reached = True
        # What follows may be a handshake, which the time to connect is not for alone.
        sock.settimeout(_limits.get().seconds())
        return sock


def _pieces(response: BaseHTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(_PIECE, decode_content=False):
        yield piece


def _detail(body: bytes) -> str | None:
    """Return the API's own message, shortened; None where the body is not JSON as the API refuses with."""
    try:
        answer = json.loads(without_mark(body) if len(body) <= _MOST_PARSED else b"")
        # A number or a word of plain text would be JSON too.
        if not isinstance(answer, dict | list):
            return None
        detail = answer.get("detail") if isinstance(answer, dict) else None
        return shown(detail if isinstance(detail, str) else json.dumps(answer, ensure_ascii=False), _MOST_DETAIL)
    except (ValueError, RecursionError):
        return None


def _not_the_apis(response: BaseHTTPResponse) -> str:
    kind = response.headers.get("Content-Type", "").partition(";")[0] or "unknown type"
    return f"{shown(response.reason or 'no reason')} (a body of {shown(kind)}, not the API's JSON)"


def _listed(body: bytes) -> dict[str, Any]:
    """Return a page as the API gives it, which has what a page has to have."""
    parse_page(body)
    listed: dict[str, Any] = json.loads(without_mark(body))
    return listed


def _event(body: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(parse_record(body))
    return event


class _ApiKey(AuthBase):
    """Adds the Authorization header."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._authorization
        return request


def _query(params: Mapping[str, object]) -> dict[str, str]:
    """Return checked query parameters; the API would ignore a wrong name or an empty value without a word."""
    query: dict[str, str] = {}
    for name, value in params.items():
        if name not in PARAMETERS:
            raise InvalidInput(f"{name!r} is no parameter of the list endpoint; it has {', '.join(PARAMETERS)}")
        if name in TIME_PARAMETERS:
            query[name] = format_instant(parse_instant(name, value))
        elif name == "sort":
            if not isinstance(value, str) or not value.strip("-"):
                raise InvalidInput(f"sort={value!r} is not the name of a field; write it like '-timestamp'")
            query[name] = value
        elif isinstance(value, int) and not isinstance(value, bool):
            query[name] = str(value)
        else:
            raise InvalidInput(f"{name}={value!r} is not an integer; give one, or leave it out")
    return query


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _unreachable(settings: Settings, error: HTTPError) -> Unreachable:
    base_url, timeout = settings.base_url, settings.extra.timeout
    said = f"{type(error).__name__}: {shown(str(error))}"
    if isinstance(error, SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return UntrustedServer(
                f"The TLS certificate of {base_url} does not verify. If it is signed by your own authority, set "
                f"'verify' in the connection's Extra to the path of its CA certificates. ({shown(str(error))})"
            )
        sure = any(reason in str(error) for reason in _PLAIN_HTTP)
        late = "did not answer in time, and " if "TimeoutError" in str(error) else ""
        return Unreachable(
            f"{base_url} {late}{'does not' if sure else 'may not'} speak https on this port: no TLS handshake with "
            "it was possible. Check Port; where it is a port for plain http, such as that of a gateway on this host, "
            f"begin Host with http:// ({shown(str(error))})"
        )
    if isinstance(error, ProxyError):
        return Unreachable(f"The proxy on the way to {base_url} {_proxy_failure(error.original_error)}")
    if isinstance(error, NameResolutionError):
        return Unreachable(f"The host of {base_url} is unknown: its name does not resolve. Check Host")
    if isinstance(error, NewConnectionError):
        return Unreachable(f"{base_url} is not reachable: {shown(str(error))}. Check Host and Port")
    if isinstance(error, ConnectTimeoutError):
        return Unreachable(
            f"{base_url} did not answer in time: no connection within {min(CONNECT_TIMEOUT, timeout):g} s. Check "
            "Host and Port"
        )
    if isinstance(error, NoAnswerInTime):
        return Unreachable(f"{base_url} did not answer in time ({said})")
    return Unreachable(f"The connection to {base_url} broke off ({said})")


_PLAIN_HTTP = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "UNKNOWN_PROTOCOL", "RECORD_LAYER")
"""What OpenSSL says where the other side answers a handshake with text."""


def _proxy_failure(error: Exception) -> str:
    """Return what a proxy did not do, and what to change. The error's own words hold the proxy's URL."""
    if "Tunnel connection failed: 407" in str(error):
        return "refuses its user name or password (407). Check 'proxies' in the connection's Extra, or HTTPS_PROXY"
    if isinstance(error, NameResolutionError):
        return "is unknown: its name does not resolve. Check 'proxies' in the connection's Extra, or HTTPS_PROXY"
    if isinstance(error, SSLError):
        return "speaks no TLS, or its certificate does not verify. Most proxies are reached by http://"
    return "did not connect. Check 'proxies' in the connection's Extra, or HTTPS_PROXY, and what the proxy allows"


_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def _retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as seconds or as a date; None where it is neither.

    They are at most `MOST_RETRY_AFTER`.
    """
    if header is None:
        return None
    if _SECONDS.fullmatch(header.strip()):
        return min(float(header), MOST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(header)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):  # the library's own, of dates that are none
        return None
    return min(max(0.0, seconds), MOST_RETRY_AFTER)


def _is_passing(error: BaseException) -> bool:
    """Tell whether the same request may succeed soon enough to wait for it here."""
    if isinstance(error, Throttled) and (error.retry_after or 0) > LONGEST_RETRY_AFTER:
        return False
    return isinstance(error, AkinonError) and not error.permanent


def _wait(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, Throttled) and error.retry_after is not None:
        return 0.0  # the pace makes everybody wait
    return _backoff(state)


_backoff = tenacity.wait_exponential(multiplier=0.5, max=30) + tenacity.wait_random(0, 0.5)
