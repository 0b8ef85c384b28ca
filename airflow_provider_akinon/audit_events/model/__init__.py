"""The words that all other rooms use: windows, filters, sources, formats, events."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.model.coverage import gaps, overlaps
from airflow_provider_akinon.audit_events.model.event import (
    MOST_BYTES,
    UUID,
    Event,
    members,
    parse_event,
    parse_events,
    raw_members,
)
from airflow_provider_akinon.audit_events.model.filters import Filters
from airflow_provider_akinon.audit_events.model.format import Format
from airflow_provider_akinon.audit_events.model.given_text import kind_of, require_text
from airflow_provider_akinon.audit_events.model.lone_surrogates import LONE_SURROGATE, STAND_IN, tolerant
from airflow_provider_akinon.audit_events.model.source import ADDRESS_OF_A_HOST, NAME_OF_A_HOST, Source
from airflow_provider_akinon.audit_events.model.unreadable import require_readable
from airflow_provider_akinon.audit_events.model.window import (
    DAY,
    MILLISECOND,
    MINUTE,
    Instant,
    Window,
    floor_to,
    floor_to_millisecond,
    format_instant,
    parse_instant,
    parse_timezone,
    shown_unit,
)

__all__ = [
    "ADDRESS_OF_A_HOST",
    "DAY",
    "LONE_SURROGATE",
    "MILLISECOND",
    "MINUTE",
    "MOST_BYTES",
    "NAME_OF_A_HOST",
    "STAND_IN",
    "UUID",
    "Event",
    "Filters",
    "Format",
    "Instant",
    "Source",
    "Window",
    "floor_to",
    "floor_to_millisecond",
    "format_instant",
    "gaps",
    "kind_of",
    "members",
    "overlaps",
    "parse_event",
    "parse_events",
    "parse_instant",
    "parse_timezone",
    "raw_members",
    "require_readable",
    "require_text",
    "shown_unit",
    "tolerant",
]
