"""Makes the sandbox fail as an API of this kind can: on demand, bounded, and random from the seed.

It fails in two places, as in real life. The API itself behaves worse: `urlpatterns` serves a view with other parts
than the plain one's. And something between the API and the client spoils answers: `Network`, a WSGI middleware around
the whole application. Neither is loaded where no flag asks for it.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC
from typing import Any, ClassVar

from django.conf import settings
from django.db.models import F
from django_filters.rest_framework import DjangoFilterBackend, FilterSet

from airflow_provider_akinon.sandbox.api import (
    OPTIONS,
    AuditEvent,
    AuditEventFilter,
    AuditEvents,
    AuditEventSerializer,
    Pages,
    Sort,
    urls,
)
from airflow_provider_akinon.sandbox.database import Database
from airflow_provider_akinon.sandbox.generate import MICROSECOND, Shop
from airflow_provider_akinon.sandbox.options import FAULTS, Options
from airflow_provider_akinon.sandbox.request_log import FAULT, is_list

_PRIME = 2_147_483_647


class TimeFilter(FilterSet):
    """``--ignore-filters``: the time is all that is filtered by."""

    class Meta:
        """The plain API's filters of the time."""

        model = AuditEvent
        fields: ClassVar = {"timestamp": AuditEventFilter.Meta.fields["timestamp"]}


class FixedPages(Pages):
    """``--ignore-limit``: the default page size, whatever is asked for."""

    page_size_query_param: Any = None


class MillisecondSerializer(AuditEventSerializer):
    """``--truncate``: timestamps are shown cut to milliseconds."""

    def to_representation(self, instance: Any) -> dict[str, Any]:
        """Return the event as it is shown."""
        shown: dict[str, Any] = super().to_representation(instance)
        cut = instance.timestamp.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        return {**shown, "timestamp": f"{cut}Z"}


class UnstableSort(Sort):
    """``--unstable-order``: after all other sorting, equal rows come in an order that each request draws anew."""

    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:
        """Return the sorted rows."""
        fields = self.get_ordering(request, queryset, view) or queryset.model._meta.ordering
        return queryset.order_by(*fields, *_shuffle())


class UnstableOrder:
    """``--unstable-order`` with ``--ignore-sort``: the default order, and equal rows in an order drawn anew."""

    def filter_queryset(self, request: Any, queryset: Any, view: Any) -> Any:  # noqa: ARG002 - DRF's signature
        """Return the sorted rows."""
        return queryset.order_by(*queryset.model._meta.ordering, *_shuffle())


def _shuffle() -> list[Any]:
    with _lock:
        factor = _random.randrange(1, _PRIME)
    # Modulo a prime, a multiple permutes the ids.
    return [(F("id") * factor % _PRIME).asc()]


class FaultyAuditEvents(AuditEvents):
    """The two endpoints, as bad as the options ask."""

    serializer_class = MillisecondSerializer if OPTIONS.truncate else AuditEventSerializer
    pagination_class = FixedPages if OPTIONS.ignore_limit else Pages
    filterset_class = TimeFilter if OPTIONS.ignore_filters else AuditEventFilter
    filter_backends: ClassVar[list[Any]] = [DjangoFilterBackend]

    if OPTIONS.unstable_order:
        filter_backends.append(UnstableOrder if OPTIONS.ignore_sort else UnstableSort)
    elif not OPTIONS.ignore_sort:
        filter_backends.append(Sort)

    def list(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Insert and delete what is due, then answer."""
        _change(self)
        return super().list(request, *args, **kwargs)


_lock = threading.Lock()
_random = random.Random(f"faults {OPTIONS.seed}")  # noqa: S311 - made-up faults
_shop = Shop(f"inserted {OPTIONS.seed}")
_database = Database(settings.DATABASES["default"]["NAME"])
_insertions = OPTIONS.insert_while_reading
_deletions = OPTIONS.delete_while_reading


def _change(view: FaultyAuditEvents) -> None:
    """Insert an event into what a list request asks for, and delete one from it, as far as the options say."""
    global _insertions, _deletions
    if not _insertions and not _deletions:
        return
    asked = view.filter_queryset(view.get_queryset())  # refuses a wrong parameter, as the answer itself will
    with _lock:
        if _insertions and (event := _event_in(view.request.query_params)):
            _database.insert([event])
            _insertions -= 1
        if _deletions and (count := asked.count()):
            asked[_random.randrange(count)].delete()
            _deletions -= 1


def _event_in(query: Any) -> dict[str, Any] | None:
    """Return a new event that a valid query asks for; None where its window is empty."""
    form = AuditEventFilter(query).form
    form.is_valid()
    asked = {name: value for name, value in form.cleaned_data.items() if value is not None}
    first, last = [OPTIONS.start], [OPTIONS.until - MICROSECOND]
    for name, bounds, step in (
        ("timestamp", first, 0),
        ("timestamp__gte", first, 0),
        ("timestamp__gt", first, 1),
        ("timestamp", last, 0),
        ("timestamp__lte", last, 0),
        ("timestamp__lt", last, -1),
    ):
        if name in asked:
            bounds.append(asked[name] + step * MICROSECOND)
    # Only the window bounds the time, where it is given: it may reach beyond the generated span.
    earliest = max(first[1:] or first)
    latest = min(last[1:] or last)
    if earliest > latest:
        return None
    instant = earliest + _random.randrange((latest - earliest) // MICROSECOND + 1) * MICROSECOND
    given = {name: int(asked[name]) for name in ("user", "content_type", "object_id") if name in asked}
    return _shop.event(instant, **given)


urlpatterns = urls(FaultyAuditEvents)


# Between the API and the client. ------------------------------------------------------------------------------

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

_ANSWERS = {
    "502": ("502 Bad Gateway", "text/html", {}, b"<html><body><h1>502 Bad Gateway</h1></body></html>\n"),
    "503": (
        "503 Service Unavailable",
        "text/html",
        {"Retry-After": "1"},
        b"<html><body><h1>503 Service Unavailable</h1></body></html>\n",
    ),
    "429": (
        "429 Too Many Requests",
        "application/json",
        {"Retry-After": "1"},
        b'{"detail":"Request was throttled. Expected available in 1 second."}',
    ),
    "html": ("200 OK", "text/html", {}, b"<html><body>Please sign in.</body></html>\n"),
    "empty": ("200 OK", "application/json", {}, b""),
}


class Network:
    """Answers some requests itself, delays others, or spoils the application's answer to them.

    ``stopping`` ends every wait, so that the sandbox stops at once.
    """

    def __init__(self, application: Application, options: Options, stopping: threading.Event) -> None:
        self._application = application
        self._options = options
        self._stopping = stopping
        self._lock = threading.Lock()
        self._random = random.Random(f"network {options.seed}")  # noqa: S311 - made-up faults

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        options = self._options
        if options.latency_ms:
            self._stopping.wait(options.latency_ms / 1000)
        if options.redirect_to and is_list(environ):
            environ[FAULT] = "redirect"
            query = environ["QUERY_STRING"]
            target = options.redirect_to + environ["PATH_INFO"] + (f"?{query}" if query else "")
            return _answer(start_response, "302 Found", "text/html", {"Location": target}, b"")
        kind = self._draw()
        if kind is None:
            return self._application(environ, start_response)
        environ[FAULT] = kind
        if kind in _ANSWERS:
            return _answer(start_response, *_ANSWERS[kind])
        return self._spoil(kind, environ, start_response)

    def _draw(self) -> str | None:
        with self._lock:
            if self._random.random() >= self._options.faults:
                return None
            return self._random.choice(self._options.fault or FAULTS)

    def _spoil(self, kind: str, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Return the application's answer as ``kind`` leaves it."""
        started: list[Any] = []

        def keep(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            started[:] = [status, headers]

        answer = self._application(environ, keep)
        body = b"".join(answer)
        if hasattr(answer, "close"):
            answer.close()
        status, headers = started
        if kind == "truncated":
            body = body[: len(body) // 2]
        others = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start_response(status, [*others, ("Content-Length", str(len(body)))])
        if kind == "reset":
            return _reset(environ, body)
        return {"drip": self._drip, "hang": self._hang}.get(kind, _whole)(body)

    def _drip(self, body: bytes) -> Iterator[bytes]:
        begun = time.monotonic()
        for number in range(len(body)):
            yield body[number : number + 1]
            due = begun + self._options.hang_seconds * (number + 1) / len(body)
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return

    def _hang(self, body: bytes) -> Iterator[bytes]:
        if not self._stopping.wait(self._options.hang_seconds):
            yield body


def _whole(body: bytes) -> Iterator[bytes]:
    yield body


def _reset(environ: dict[str, Any], body: bytes) -> Iterator[bytes]:
    """Yield half of the body, then have the connection reset rather than closed."""
    # waitress gives no other way to the connection than through this bound method.
    channel = environ["waitress.client_disconnected"].__self__
    channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    yield body[: len(body) // 2]


def _answer(
    start_response: StartResponse, status: str, content_type: str, headers: dict[str, str], body: bytes
) -> list[bytes]:
    start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body))), *headers.items()])
    return [body]
