"""A window read exactly: steps, several at a time, and the proof that nothing is missing."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.export.arenas import share_arenas
from airflow_provider_akinon.audit_events.export.older_objects import sparing_older_objects
from airflow_provider_akinon.audit_events.export.precision import Precision
from airflow_provider_akinon.audit_events.export.proof import Draft, Encoded, Export, export_window
from airflow_provider_akinon.audit_events.export.reader import LOOKAHEAD_SLICES, SLICE_PAGES, Count, Reader, Stretch
from airflow_provider_akinon.audit_events.export.step import Part

__all__ = [
    "LOOKAHEAD_SLICES",
    "SLICE_PAGES",
    "Count",
    "Draft",
    "Encoded",
    "Export",
    "Part",
    "Precision",
    "Reader",
    "Stretch",
    "export_window",
    "share_arenas",
    "sparing_older_objects",
]
