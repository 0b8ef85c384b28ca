"""Removes credentials, and whatever else the user names, from records before they are stored."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.redaction.credential_names import harmless, is_credential
from airflow_provider_akinon.audit_events.redaction.loose_text import REDACTED
from airflow_provider_akinon.audit_events.redaction.policy import FIELDS, HMAC_MARK, VERSION, Redaction
from airflow_provider_akinon.audit_events.redaction.splicing import members_of

__all__ = [
    "FIELDS",
    "HMAC_MARK",
    "REDACTED",
    "VERSION",
    "Redaction",
    "harmless",
    "is_credential",
    "members_of",
]
