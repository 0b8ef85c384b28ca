"""A small, well-behaved Audit Events API in memory, for what is tested with time under control."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from uuid import NAMESPACE_OID, uuid5

from airflow_provider_akinon.audit_events.api import Page, Settings, parse_page
from airflow_provider_akinon.audit_events.model import Filters, Window, format_instant, parse_instant


class MemoryApi:
    """Holds events as ``(timestamp, uuid)``; add to `events` at any time. ``asked`` has each request's parameters."""

    settings = Settings.parse(host="http://localhost:1", password="k", extra={"max_concurrency": 2})

    def __init__(self) -> None:
        self.events: list[tuple[datetime, str]] = []
        self.asked: list[dict[str, str]] = []

    def page(self, params: Mapping[str, str]) -> Page:
        self.asked.append(dict(params))
        window = Window.parse(params["timestamp__gte"], params["timestamp__lt"])
        found = sorted(event for event in self.events if window.contains(event[0]))
        records = [{"uuid": uuid, "timestamp": format_instant(at)} for at, uuid in found[: int(params["limit"])]]
        return parse_page(json.dumps({"count": len(found), "results": records}).encode())

    def count(self, window: Window, filters: Filters) -> int:
        return self.page({**window.params(), **filters.params(), "limit": "1"}).count


def named(name: str) -> str:
    """Return the uuid of an event that a test gives a name."""
    return str(uuid5(NAMESPACE_OID, name))


def at(text: str) -> datetime:
    """Return the instant of a clock time on 31 January 2026, UTC."""
    return parse_instant("at", f"2026-01-31T{text}Z")
