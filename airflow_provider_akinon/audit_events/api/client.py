"""The client of the Audit Events API: it sends requests by its `transport`, and interprets the answers.

Two endpoints, as Akinon's "Audit Events" document shows them, below ``/api/v1/remote/{remote_id}/data-warehouse/`` of
Omnitron's host or ``/api/v1/data-warehouse/`` of a Commerce host:

- ``GET …/audit-events/``: a page of events, and the ``count`` of all that match;
- ``GET …/audit-events/{uuid}/``: one event.

A request that fails in a way that may pass (no answer, 429, 5xx, an answer that is not the API's) is tried again
within bounds; any other failure (the API's own 4xx, an untrusted certificate) is raised at once. A 4xx that is not
the API's own comes from an edge before the API: once the API has answered, it is held to pass; before that, to be
permanent, since something else answers at this host. The client refuses to follow the ``next`` and ``previous`` of an
answer, or a redirect to another origin: either would hand the key to whoever stands there. It trusts nothing that an
answer says: its errors show the API's text on one line, cut, and without the key.
"""

from __future__ import annotations

import json
import re
import time
import uuid as uuids
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec
import tenacity

from airflow_provider_akinon.audit_events.api.advice import on_refusal
from airflow_provider_akinon.audit_events.api.limits import Limits
from airflow_provider_akinon.audit_events.api.pace import Clock, Pace
from airflow_provider_akinon.audit_events.api.pages import (
    Page,
    parse_page,
    parse_record,
    parse_requested_events,
    without_mark,
)
from airflow_provider_akinon.audit_events.api.proxies import proxy_of_environment, secrets_of_proxy
from airflow_provider_akinon.audit_events.api.secrecy import Secrets, holds_key, keeping_secret
from airflow_provider_akinon.audit_events.api.settings import Settings
from airflow_provider_akinon.audit_events.api.transport import Answer, Transport
from airflow_provider_akinon.audit_events.errors import (
    AkinonError,
    ApiError,
    InvalidInput,
    ProtocolError,
    RedirectRefused,
    Rejected,
    Throttled,
    Unavailable,
    UnreadableRecord,
    WrongServer,
)
from airflow_provider_akinon.audit_events.foreign_text import shown
from airflow_provider_akinon.audit_events.model import Filters, Window, format_instant, parse_instant

ATTEMPTS = 7
"""Tries of one request before it fails; with the waits between them about half a minute."""
LONGEST_RETRY_AFTER = 300.0
"""The longest pause, in seconds, that is waited for here; a longer one is left to Airflow's retry, which frees the
worker."""
MOST_RETRY_AFTER = 86_400.0
"""The longest pause, in seconds, that an error reports; a longer one that the API asks for is reported as this
one."""
PUSH_BACK = 1.0
"""Seconds to pause where the API asks to slow down and does not say for how long."""

INTEGER_PARAMETERS = ("content_type", "object_id", "user", "limit", "page")
TIME_PARAMETERS = ("timestamp", "timestamp__gt", "timestamp__gte", "timestamp__lt", "timestamp__lte")
PARAMETERS = (*INTEGER_PARAMETERS, *TIME_PARAMETERS, "sort")
"""Every query parameter of the list endpoint."""

_SAME_ORIGIN_REDIRECTS = 3
_LONGEST_LOCATION = 2000

_MOST_DETAIL = 500
_MOST_PARSED = 1 << 20
"""The most bytes of a refusal that is searched for the API's message: as JSON, they may take twenty times as much."""

T = TypeVar("T")


class AuditEventsApi:
    """A client of one API and account. Safe to share between threads; close it, or use it in a ``with``.

    ``attempts`` bounds the tries of one request; ``clock`` is the clock that it waits by, the module ``time`` by
    default.
    """

    has_answered: bool
    """Whether the API itself has answered in this task, through this client or, as its owner says, through another
    one. If it has, a refusal by an edge before it may pass."""

    def __init__(self, settings: Settings, *, attempts: int = ATTEMPTS, clock: Clock = time) -> None:
        self.settings = settings
        self.has_answered = False
        self._url = f"{settings.base_url}{settings.api_path}audit-events/"
        self._clock = clock
        self._pace = Pace.shared(settings, clock)
        self._transport = Transport(self._url, settings)
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
        self._transport.close()

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
            answer = self._send(url, params)
        if answer.status != 200:
            refusal = self._refusal(url, answer)
            if isinstance(refusal, Throttled) and _is_passing(refusal):
                self._pace.push_back(PUSH_BACK if refusal.retry_after is None else refusal.retry_after)
            raise refusal
        try:
            decoded = decode(answer.body)
            self.has_answered = True
            return decoded
        except UnreadableRecord as error:
            asked = [params[name] for name in ("timestamp__gte", "timestamp__lt") if name in params]
            raise error.asked_for(f"[{', '.join(asked)})" if asked else url) from error
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            kind = shown(answer.headers.get("Content-Type", "no content type"))
            raise ProtocolError(
                f"{url} answered 200 with something that is not the Audit Events API's JSON "
                f"({kind}, {len(answer.body)} bytes): {shown(str(error))}"
            ) from error

    def _send(self, url: str, params: Mapping[str, str]) -> Answer:
        """Send one request and return its answer, following only redirects on the same origin."""
        target = f"{url}?{urlencode(params)}" if params else url
        limits = Limits(self.settings.base_url, self.settings.extra.timeout, self._clock.monotonic)
        for _ in range(_SAME_ORIGIN_REDIRECTS + 1):
            answer = self._transport.get(target, limits)
            if not answer.location:
                return answer
            target = self._redirected(url, target, answer.location)
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

    def _refusal(self, url: str, answer: Answer) -> ApiError:
        status = answer.status
        own = _detail(answer.body)
        # A server error in JSON may be a gateway's.
        self.has_answered |= own is not None and status < 500
        detail = own or _not_the_apis(answer)
        message = f"The Akinon API answered {status}: {detail}"
        retry_after = _retry_after(answer.headers.get("Retry-After"))
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


def _detail(body: bytes) -> str | None:
    """Return the API's own message, shortened; None where the body is not JSON as the API writes refusals."""
    try:
        answer = json.loads(without_mark(body) if len(body) <= _MOST_PARSED else b"")
        # A number or a word of plain text would be JSON too.
        if not isinstance(answer, dict | list):
            return None
        detail = answer.get("detail") if isinstance(answer, dict) else None
        return shown(detail if isinstance(detail, str) else json.dumps(answer, ensure_ascii=False), _MOST_DETAIL)
    except (ValueError, RecursionError):
        return None


def _not_the_apis(answer: Answer) -> str:
    kind = answer.headers.get("Content-Type", "").partition(";")[0] or "unknown type"
    return f"{shown(answer.reason or 'no reason')} (a body of {shown(kind)}, not the API's JSON)"


def _listed(body: bytes) -> dict[str, Any]:
    """Return a page as the API wrote it, after checking its fields."""
    parse_page(body)
    listed: dict[str, Any] = json.loads(without_mark(body))
    return listed


def _event(body: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(parse_record(body))
    return event


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
