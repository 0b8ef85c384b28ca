"""A source of audit events that changes as real ones do, and worse, behind an API in memory.

What is expected of the comparison with what is stored is written here a second time, over values and not over bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal
from uuid import UUID

from airflow_provider_akinon.audit_events.api import Page, Settings, parse_page
from airflow_provider_akinon.audit_events.errors import Rejected
from airflow_provider_akinon.audit_events.model import Filters, Window

REMOVED = "[redacted]"
DOCUMENTED = ("content_type", "content", "headers", "object_id", "post_data", "remote_addr", "url", "user")
_LOCAL = timezone(timedelta(hours=3))


@dataclass(frozen=True, slots=True)
class Style:
    """How the source writes its records at a time."""

    digits: Literal["as many as it has", "three", "six"] = "as many as it has"
    zone: Literal["Z", "+00:00", "+03:00"] = "Z"
    backwards: bool = False
    """Whether the keys come in another order."""

    def timestamp(self, moment: datetime) -> str:
        local = moment.astimezone(_LOCAL if self.zone == "+03:00" else UTC).replace(tzinfo=None)
        spec = {"as many as it has": "auto", "three": "milliseconds", "six": "microseconds"}[self.digits]
        return local.isoformat(timespec=spec) + self.zone

    def line(self, event: Event, *, redacted: bool = False) -> bytes:
        """Return the record of an event, as the API gives it, or as it is stored."""
        record = {"uuid": event.uuid, "timestamp": self.timestamp(event.moment), **event.fields}
        return _text(self._ordered(redact(record) if redacted else record))

    def _ordered(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        names = reversed(value) if self.backwards else iter(value)
        return {name: self._ordered(value[name]) for name in names}


@dataclass(frozen=True, slots=True)
class Event:
    """An event in the source's database."""

    uuid: str
    moment: datetime
    fields: Mapping[str, Any]

    @classmethod
    def of(cls, number: int, moment: datetime) -> Event:
        """Return the event of a number, as it first is."""
        user = (None, 7, {"pk": 7, "email": "ş@example.com", "last_login": 0})[number % 3]
        return cls(
            # Neither in the order of numbers nor of time.
            str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128, version=4)),
            moment,
            {
                "url": f"/orders/{number}/",
                "user": user,
                "post_data": {"amount": number, "password": "a"},
                "object_id": None,
            },
        )

    def having(self, **fields: Any) -> Event:
        return replace(self, fields={**self.fields, **fields})

    def without(self, name: str) -> Event:
        return replace(self, fields={other: value for other, value in self.fields.items() if other != name})


def redact(value: Any) -> Any:
    """Return a value without what is called a password."""
    if not isinstance(value, dict):
        return value
    return {name: REMOVED if name == "password" else redact(each) for name, each in value.items()}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What comparing a stored event with the source's has to come to."""

    kind: Literal["same", "user_moved", "changed", "not_compared", "vanished"]
    fields: frozenset[str] = frozenset()
    has_new_fields: bool = False


def compared(stored: Event, then: Style, now: Event | None, style: Style, *, redacted: bool, marks: bool) -> Verdict:
    """Return what comparing has to come to; ``now`` is None where the source has the event no longer."""
    if now is None:
        return Verdict("vanished")
    changed, moved, unknown, new = set(), False, False, False
    if not _is_same_instant(then.timestamp(stored.moment), style.timestamp(now.moment)):
        changed.add("timestamp")
    here, there = (redact(each.fields) if redacted else each.fields for each in (stored, now))
    for name in here.keys() | there.keys():
        if name in here and name in there and here[name] == there[name]:
            continue
        if name not in here and name not in DOCUMENTED:
            new = True
        elif marks and REMOVED in f"{here.get(name)}{there.get(name)}":
            unknown = True
        elif name == "user" and _pk(here.get(name)) == _pk(there.get(name)):
            moved = True
        else:
            changed.add("user.pk" if name == "user" else name)
    if changed:
        return Verdict("changed", frozenset(changed), new)
    return Verdict("not_compared" if unknown else "user_moved" if moved else "same", has_new_fields=new)


def _is_same_instant(one: str, other: str) -> bool:
    least = min(_digits(one), _digits(other))
    instants = [datetime.fromisoformat(text).astimezone(UTC) for text in (one, other)]
    step = 10 ** (6 - least)
    first, second = (each.replace(microsecond=each.microsecond // step * step) for each in instants)
    return first == second


def _digits(text: str) -> int:
    return len(text[20:].rstrip("Z").partition("+")[0]) if text[19:20] == "." else 0


def _pk(user: Any) -> Any:
    return user["pk"] if isinstance(user, dict) else user


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass
class ChangingApi:
    """The API of one source, as the export needs it. Change `events` and `style` at any time."""

    page_size: int
    events: dict[str, Event] = field(default_factory=dict)
    style: Style = field(default_factory=Style)
    host: str = "http://localhost:1"

    def __post_init__(self) -> None:
        extra = {"page_size": self.page_size, "max_concurrency": 1}
        self.settings = Settings.parse(host=self.host, password="k", extra=extra)

    def within(self, window: Window, user: int | None = None) -> dict[str, Event]:
        """Return the events of a window by their uuids, in order: all, or a user's."""
        found = [
            event
            for event in self.events.values()
            if window.contains(event.moment) and user in (None, _pk(event.fields["user"]))
        ]
        return {event.uuid: event for event in sorted(found, key=lambda event: (event.moment, event.uuid))}

    def count(self, window: Window, filters: Filters) -> int:
        return len(self.within(window, filters.as_dict().get("user")))

    def page(self, params: Mapping[str, str]) -> Page:
        window = Window.parse(params["timestamp__gte"], params["timestamp__lt"])
        found = list(self.within(window, int(params["user"]) if "user" in params else None).values())
        limit, number = int(params["limit"]), int(params.get("page", "1"))
        shown = found[(number - 1) * limit : number * limit]
        if number > 1 and not shown:
            raise Rejected("The Akinon API answered 404: Invalid page.", status=404, detail="Invalid page.")
        records = b",".join(self.style.line(event) for event in shown)
        return parse_page(b'{"count":%d,"results":[%b]}' % (len(found), records))
