"""Waiting for a window to settle, and for events to arrive."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.watching.arrivals import MOST_UUIDS, Batch, Cursor, look_for
from airflow_provider_akinon.audit_events.watching.settling import (
    MAX_LATENESS,
    Awaited,
    Sighting,
    look_at,
    progress_of,
    result_of,
)

__all__ = [
    "MAX_LATENESS",
    "MOST_UUIDS",
    "Awaited",
    "Batch",
    "Cursor",
    "Sighting",
    "look_at",
    "look_for",
    "progress_of",
    "result_of",
]
