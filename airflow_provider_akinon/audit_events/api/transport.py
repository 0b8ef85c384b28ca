"""Sends requests to the API over HTTP; no other module sends any.

A request is a GET with the connection's headers. `requests` knows about proxies, certificates and the environment, so
a subclass of its adapter makes the pool of connections, by the methods that it has for subclasses. The pool alone
sends: a session would take longer than the rest of a request, keep the API's cookies, and look at redirects. Each
connection keeps to the limits of its request (see `limits`), from the first byte of a status line on. What goes wrong
on the way is an `Unreachable`, which says what to check.

This module follows no redirect, tries nothing again, unpacks nothing that was not asked for, and refuses invalid
headers, and proxies or certificates that cannot be used.
"""

from __future__ import annotations

import http.client
import io
import os
import ssl
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from socket import socket
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit, urlunsplit

import requests
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
from airflow_provider_akinon.audit_events.api.limits import PIECE, LimitedReading, Limits
from airflow_provider_akinon.audit_events.api.proxies import EXAMPLE, problem_of_proxy, proxy_of_environment
from airflow_provider_akinon.audit_events.api.settings import Extra, Settings, problem_of_bundle
from airflow_provider_akinon.audit_events.errors import InvalidInput, ProtocolError, Unreachable, UntrustedServer
from airflow_provider_akinon.audit_events.foreign_text import shown

CONNECT_TIMEOUT = 10.0
"""Seconds to connect, where the connection's ``timeout`` is not shorter."""

_ONCE = urllib3.Retry(total=False, redirect=False)


class Answer(NamedTuple):
    """The complete answer to a request."""

    status: int
    reason: str | None
    headers: Mapping[str, str]
    body: bytes
    location: str | None
    """The location that the answer redirects to; None where it does not redirect."""


class Transport(HTTPAdapter):
    """Sends requests to one API with the key of one account. Safe to share between threads.

    :param url: the URL that all requests begin with, up to their parameters.
    :raises InvalidInput: the proxies or certificates of the connection or the environment cannot be used.
    """

    def __init__(self, url: str, settings: Settings) -> None:
        extra = settings.extra
        super().__init__(pool_connections=1, pool_maxsize=extra.max_concurrency, pool_block=True)
        _require_usable_environment(url, extra)
        self._settings = settings
        try:
            session = _session(settings)
            # A request, not its headers: vars() of this would show the key.
            self._request = session.prepare_request(requests.Request("GET", url))
            # `verify` and the proxies go in here, as the environment would override those of a session.
            way = session.merge_environment_settings(
                url, dict(extra.proxies or {}), stream=True, verify=extra.verify, cert=None
            )
            verify, cert, proxies = way["verify"], way["cert"], way["proxies"]
            self._pool = self.get_connection_with_tls_context(self._request, verify, proxies, cert)
            self.cert_verify(self._pool, url, verify, cert)  # type: ignore[no-untyped-call]
            # Empty, or the origin where a proxy has to read it, as for plain http.
            self._before_path = self.request_url(self._request, proxies).removesuffix(self._request.path_url)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            # Their words hold URLs, with a part of a password where it has a character that URLs do not.
            raise InvalidInput(
                f"No client can be made for {settings.base_url} ({type(error).__name__}): check Host, and 'proxies' "
                "and 'verify' in the connection's Extra, and HTTPS_PROXY and REQUESTS_CA_BUNDLE where tasks run"
            ) from None

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> urllib3.HTTPConnectionPool:
        """Return the pool for a request, whose connections keep to limits; a method of `requests`' adapters."""
        pool = super().get_connection_with_tls_context(request, verify, proxies, cert)
        found = cast(urllib3.HTTPConnectionPool, pool)
        # Whatever kind of connection it would make: to a server, through TLS, by a proxy of either kind.
        kind = cast(type[Any], found.ConnectionCls)
        if not issubclass(kind, _LimitedConnection):
            found.ConnectionCls = type("LimitedConnection", (_LimitedConnection, kind), {})
        return found

    def get(self, url: str, limits: Limits) -> Answer:
        """Send a request within its limits and return the answer.

        :raises Unreachable: no answer came in time, or it broke off.
        :raises ProtocolError: it is too large, is in a coding that was not asked for, or has invalid headers.
        """
        seconds = limits.seconds()
        _limits.set(limits)
        try:
            response = self._pool.urlopen(
                "GET",
                self._before_path + urlunsplit(urlsplit(url)._replace(scheme="", netloc="")),
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
                # Closing an answer that was not read to its end does not give back its place in the pool.
                response.close()
                response.release_conn()
        except HTTPError as error:
            raise _unreachable(self._settings, error) from error
        location = response.get_redirect_location() or None
        return Answer(response.status, response.reason, response.headers, body, location)

    def _body(self, response: BaseHTTPResponse, limits: Limits) -> bytes:
        """Return the body; read it as it comes, and no more of it than the limits allow."""
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding not in _CODINGS:
            raise ProtocolError(
                f"{self._settings.base_url} sends an answer in the coding '{shown(coding)}', which was not asked for"
            )
        try:
            return limits.unpacked(_pieces(response), gzipped=_CODINGS[coding])
        except zlib.error as error:
            raise Unreachable(f"The answer of {self._settings.base_url} broke off, or is no gzip: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()
        super().close()


def _session(settings: Settings) -> requests.Session:
    """Return a session that prepares the request and reads the environment; it sends nothing."""
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
    session.headers.update(settings.extra.secret_headers or {})
    return session


class _ApiKey(AuthBase):
    """Adds the Authorization header."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._authorization
        return request


def _require_usable_environment(url: str, extra: Extra) -> None:
    """Make sure that the proxies and certificates of the environment can be used, if the client would use them."""
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
"""The limits of the request that this thread makes; urllib3 hands nothing on to its connections."""


class _LimitedResponse(http.client.HTTPResponse):
    """An answer that is read within the limits of its request, from the first byte of its status line on."""

    def __init__(self, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reading = LimitedReading(self.fp.detach(), sock, _limits.get())
        self.fp = io.BufferedReader(self._reading)

    def begin(self) -> None:
        """Read up to the body; refuse invalid headers here, where nobody logs them.

        :raises ProtocolError: the headers are invalid, or too many.
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
        """Connect, and tell a failed handshake from a server that is not there.

        :raises SSLError: the server was reached and the handshake failed, as with a server that speaks plain http.
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
        with ExitStack() as stack:
            # Nobody else knows of the socket yet, so nobody else would close it.
            stack.callback(sock.close)
            # A handshake may follow, which may take all of the request's time, not only the time to connect.
            sock.settimeout(_limits.get().seconds())
            stack.pop_all()
        return sock


def _pieces(response: BaseHTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(PIECE, decode_content=False):
        yield piece


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
"""The reasons that OpenSSL gives where the other side answers a handshake with text."""


def _proxy_failure(error: Exception) -> str:
    """Return how a proxy failed, and what to change. The error's own words hold the proxy's URL."""
    if "Tunnel connection failed: 407" in str(error):
        return "refuses its user name or password (407). Check 'proxies' in the connection's Extra, or HTTPS_PROXY"
    if isinstance(error, NameResolutionError):
        return "is unknown: its name does not resolve. Check 'proxies' in the connection's Extra, or HTTPS_PROXY"
    if isinstance(error, SSLError):
        return "speaks no TLS, or its certificate does not verify. Most proxies are reached by http://"
    return "did not connect. Check 'proxies' in the connection's Extra, or HTTPS_PROXY, and what the proxy allows"
