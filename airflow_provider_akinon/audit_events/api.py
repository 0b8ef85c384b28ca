"""The Audit Events API over HTTP: one client, the only room that sends requests.

Two endpoints, as Akinon's "Audit Events" document shows them:

- ``GET /api/v1/remote/{remote_id}/data-warehouse/audit-events/``: a page of events, and the ``count`` of all that
  match;
- ``GET /api/v1/remote/{remote_id}/data-warehouse/audit-events/{uuid}/``: one event.

What passes (no answer, 429, 5xx, an answer that is not the API's) is tried again within bounds; what does not
(other 4xx, an untrusted certificate) fails at once. The client refuses to follow the ``next`` and ``previous``
of an answer, or a redirect to another origin: either would hand the key to whoever stands there.
"""

from __future__ import annotations

import json
import math
import time
import uuid as uuids
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

import msgspec
import requests
import tenacity
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError, ProxyError, SSLError
from urllib3.exceptions import TimeoutError as NoAnswerInTime

from airflow_provider_akinon import __version__
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
    UntrustedServer,
)
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.pace import Clock, Pace
from airflow_provider_akinon.audit_events.records import Page, parse_page, parse_record, parse_requested_events
from airflow_provider_akinon.audit_events.settings import Settings
from airflow_provider_akinon.audit_events.window import Window, format_instant, parse_instant

ATTEMPTS = 7
"""Tries of one request before it fails; with the waits between them about half a minute."""
LONGEST_RETRY_AFTER = 300.0
"""Seconds; an API that asks for a longer pause gets it from Airflow's retry, which frees the worker."""
PUSH_BACK = 1.0
"""Seconds to pause where the API says that it is too much, and not for how long."""
CONNECT_TIMEOUT = 10.0
"""Seconds to connect, where the connection's ``timeout`` is not shorter."""

INTEGER_PARAMETERS = ("content_type", "object_id", "user", "limit", "page")
TIME_PARAMETERS = ("timestamp", "timestamp__gt", "timestamp__gte", "timestamp__lt", "timestamp__lte")
PARAMETERS = (*INTEGER_PARAMETERS, *TIME_PARAMETERS, "sort")
"""Every query parameter of the list endpoint."""

_SAME_ORIGIN_REDIRECTS = 3

_PIECE = 1 << 20
_ONCE = urllib3.Retry.from_int(False, redirect=False)

T = TypeVar("T")


class AuditEventsApi:
    """A client of one API and account. Safe to share between threads; close it, or use it in a ``with``.

    ``attempts`` bounds the tries of one request; ``clock`` is what it waits by, the module ``time``.
    """

    def __init__(self, settings: Settings, *, attempts: int = ATTEMPTS, clock: Clock = time) -> None:
        self.settings = settings
        extra = settings.extra
        self._url = f"{settings.base_url}/api/v1/remote/{extra.remote_id}/data-warehouse/audit-events/"
        self._timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT, extra.timeout), read=extra.timeout)
        self._clock = clock
        self._pace = Pace.shared(settings, clock)
        # requests knows about proxies, certificates and the environment: it makes the connection pool. The pool alone
        # sends, as a session would take longer than the rest of this module, keep the API's cookies, and look at
        # redirects.
        session = requests.Session()
        # An auth object, not a header: requests would replace a header by what .netrc says.
        session.auth = _ApiKey(settings.authorization)
        session.headers.update({"Accept": "application/json", "User-Agent": f"airflow-provider-akinon/{__version__}"})
        request = session.prepare_request(requests.Request("GET", self._url))
        # `verify` and the proxies go in here, as the environment would override those of a session.
        sending = session.merge_environment_settings(self._url, dict(extra.proxies or {}), True, extra.verify, None)
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=extra.max_concurrency, pool_block=True)
        pool = adapter.get_connection_with_tls_context(
            request, sending["verify"], proxies=sending["proxies"], cert=sending["cert"]
        )
        adapter.cert_verify(pool, self._url, sending["verify"], sending["cert"])  # type: ignore[no-untyped-call]
        self._pool = cast(urllib3.HTTPConnectionPool, pool)
        # Not its headers: vars() of this client would show the key.
        self._request = request
        # Before a request's path: nothing, or the origin where a proxy is to read it, as for plain http.
        self._before_path = adapter.request_url(request, sending["proxies"]).removesuffix(request.path_url)
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
        return self._get(self._url, _query(params), _object_with("count", "results"))

    def get_event(self, uuid: str | uuids.UUID) -> dict[str, Any]:
        """Return the event with this ``uuid``; takes and raises what `get_record` does."""
        event: dict[str, Any] = json.loads(self.get_record(uuid))
        return event

    def get_record(self, uuid: str | uuids.UUID) -> bytes:
        """Return the record of the event with this ``uuid`` as the API wrote it, on one line.

        :raises InvalidInput: ``uuid`` is not a UUID.
        :raises Rejected: with status 404, where there is no such event.
        :raises ApiError: the API did not give it; see `errors`.
        """
        try:
            canonical = uuids.UUID(str(uuid))
        except ValueError:
            raise InvalidInput(f"uuid={str(uuid)!r} is not a UUID; give an event's 'uuid' field") from None
        return self._get(f"{self._url}{canonical}/", {}, parse_record)

    def _get(self, url: str, params: Mapping[str, str], decode: Callable[[bytes], T]) -> T:
        answer: T = self._retrying(self._try, url, params, decode)
        return answer

    def _try(self, url: str, params: Mapping[str, str], decode: Callable[[bytes], T]) -> T:
        with self._pace.turn():
            response, body = self._send(url, params)
        if response.status != 200:
            refusal = self._refusal(response, body)
            if isinstance(refusal, Throttled) and _is_passing(refusal):
                self._pace.push_back(PUSH_BACK if refusal.retry_after is None else refusal.retry_after)
            raise refusal
        try:
            return decode(body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            kind = response.headers.get("Content-Type", "no content type")
            raise ProtocolError(
                f"{url} answered 200 with something that is not the Audit Events API's JSON "
                f"({kind}, {len(body)} bytes): {error}"
            ) from error

    def _send(self, url: str, params: Mapping[str, str]) -> tuple[BaseHTTPResponse, bytes]:
        """Send one request and return the answer with its body, following only redirects on the same origin."""
        target = f"{url}?{urlencode(params)}" if params else url
        for _ in range(_SAME_ORIGIN_REDIRECTS + 1):
            try:
                response = self._pool.urlopen(
                    "GET",
                    self._before_path + urlunsplit(urlsplit(target)._replace(scheme="", netloc="")),
                    headers=self._request.headers,
                    timeout=self._timeout,
                    retries=_ONCE,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                )
                try:
                    body = self._body(response)
                finally:
                    # Closing one that is not read to its end does not give its place in the pool back.
                    response.close()
                    response.release_conn()
            except HTTPError as error:
                raise _unreachable(self.settings.base_url, error) from error
            location = response.get_redirect_location()
            if not location:
                return response, body
            try:
                target = urljoin(target, location)
                origin = _origin(target)
            except ValueError:
                raise ProtocolError(f"{url} redirects to {location!r}, which is no URL") from None
            if origin != _origin(self._url):
                raise RedirectRefused(
                    f"{url} redirects to {origin}; the key goes to {self.settings.base_url} only. "
                    "If the API has moved, change Host in the connection"
                )
        raise ProtocolError(f"{url} redirects more than {_SAME_ORIGIN_REDIRECTS} times")

    def _body(self, response: BaseHTTPResponse) -> bytes:
        """Return the body, read as it comes, and not for longer than the timeout: it may come in drips."""
        timeout = self.settings.extra.timeout
        deadline = self._clock.monotonic() + timeout
        pieces = []
        while piece := response.read1(_PIECE, decode_content=True):
            pieces.append(piece)
            if self._clock.monotonic() > deadline:
                raise Unreachable(f"{self.settings.base_url} did not finish its answer within {timeout:g} s")
        return b"".join(pieces)

    def _refusal(self, response: BaseHTTPResponse, body: bytes) -> ApiError:
        status = response.status
        detail = self._detail(response, body)
        message = f"The Akinon API answered {status}: {detail}"
        retry_after = _retry_after(response.headers.get("Retry-After"))
        if status == 429 or (status == 503 and retry_after is not None):
            pause = "" if retry_after is None else f" (asks to wait {retry_after:.0f} s)"
            return Throttled(message + pause, status=status, retry_after=retry_after)
        if status >= 500 or status == 408:
            return Unavailable(message, status=status)
        if 400 <= status < 500:
            return Rejected(f"{message} ({self._url})", status=status, detail=detail)
        return ProtocolError(f"{message} ({self._url})")

    def _detail(self, response: BaseHTTPResponse, body: bytes) -> str:
        """Return the API's own message, shortened, and without the key should the API repeat it."""
        try:
            answer = json.loads(body)
        except ValueError:
            kind = response.headers.get("Content-Type", "").partition(";")[0] or "unknown type"
            return f"{response.reason or 'no reason'} (a body of {kind}, not the API's JSON)"
        detail = answer.get("detail") if isinstance(answer, dict) else None
        text = detail if isinstance(detail, str) else json.dumps(answer, ensure_ascii=False)
        return text.replace(self.settings.key, "***")[:500]


def _object_with(*names: str) -> Callable[[bytes], dict[str, Any]]:
    """Return a decoder of a JSON object that has these fields."""

    def decode(body: bytes) -> dict[str, Any]:
        answer = json.loads(body)
        if not isinstance(answer, dict) or not all(name in answer for name in names):
            raise ValueError(f"not an object with {' and '.join(names)}")
        return answer

    return decode


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


def _unreachable(base_url: str, error: HTTPError) -> Unreachable:
    if isinstance(error, SSLError):
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return UntrustedServer(
                f"The TLS certificate of {base_url} does not verify. If it is signed by your own authority, set "
                f"'verify' in the connection's Extra to the path of its CA certificates. ({error})"
            )
        return Unreachable(f"TLS with {base_url} failed; does it speak https on this port? ({error})")
    if isinstance(error, ProxyError):
        return Unreachable(f"The proxy on the way to {base_url} did not connect")
    if isinstance(error, NameResolutionError):
        return Unreachable(f"The host of {base_url} is unknown: its name does not resolve. Check Host")
    if isinstance(error, NewConnectionError):
        return Unreachable(f"{base_url} is not reachable: {error}. Check Host and Port")
    if isinstance(error, NoAnswerInTime):
        return Unreachable(f"{base_url} did not answer in time ({type(error).__name__})")
    return Unreachable(f"The connection to {base_url} broke off ({type(error).__name__}: {error})")


def _retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as seconds or as a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


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
