"""Stores a proved export in the archive, beside what is stored there already."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.storing.comparison import VANISHED, Comparison, Numbers, comparing
from airflow_provider_akinon.audit_events.storing.differences import DOCUMENTED, SAME, Compared, Verdict, compare
from airflow_provider_akinon.audit_events.storing.store import ANOTHER_ACCOUNT, Archived, archive
from airflow_provider_akinon.audit_events.storing.stored_window import StoredWindow, Target, policy_of
from airflow_provider_akinon.audit_events.storing.upload_arguments import MOST_METADATA, parse_upload_arguments

__all__ = [
    "ANOTHER_ACCOUNT",
    "DOCUMENTED",
    "MOST_METADATA",
    "SAME",
    "VANISHED",
    "Archived",
    "Compared",
    "Comparison",
    "Numbers",
    "StoredWindow",
    "Target",
    "Verdict",
    "archive",
    "compare",
    "comparing",
    "parse_upload_arguments",
    "policy_of",
]
