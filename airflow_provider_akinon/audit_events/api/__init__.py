"""Akinon's Audit Events API: the connection's settings, the client, and what its answers hold."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.api.advice import account
from airflow_provider_akinon.audit_events.api.client import ATTEMPTS, PARAMETERS, AuditEventsApi
from airflow_provider_akinon.audit_events.api.limits import MOST_HEADER_BYTES, Limits
from airflow_provider_akinon.audit_events.api.pages import Page, parse_page, parse_requested_events
from airflow_provider_akinon.audit_events.api.probing import MOST_REQUESTS, PAUSE, probe, shown_lines
from airflow_provider_akinon.audit_events.api.protocol import PagesOfEvents
from airflow_provider_akinon.audit_events.api.proxies import of_environment, problem_of, secrets_of
from airflow_provider_akinon.audit_events.api.secrecy import derived, holds_key, keeping_secret, without_key
from airflow_provider_akinon.audit_events.api.settings import FORM_PREFIX, Extra, Settings

__all__ = [
    "ATTEMPTS",
    "FORM_PREFIX",
    "MOST_HEADER_BYTES",
    "MOST_REQUESTS",
    "PARAMETERS",
    "PAUSE",
    "AuditEventsApi",
    "Extra",
    "Limits",
    "Page",
    "PagesOfEvents",
    "Settings",
    "account",
    "derived",
    "holds_key",
    "keeping_secret",
    "of_environment",
    "parse_page",
    "parse_requested_events",
    "probe",
    "problem_of",
    "secrets_of",
    "shown_lines",
    "without_key",
]
