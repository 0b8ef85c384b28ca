"""Is the archive complete and unaltered? This room asks nobody but S3."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.verification.evidence import Evidence, Names, evidence_of, names_of
from airflow_provider_akinon.audit_events.verification.report import ChainState, Finding, Report
from airflow_provider_akinon.audit_events.verification.verify import Expected, Progress, verify_archive

__all__ = [
    "ChainState",
    "Evidence",
    "Expected",
    "Finding",
    "Names",
    "Progress",
    "Report",
    "evidence_of",
    "names_of",
    "verify_archive",
]
