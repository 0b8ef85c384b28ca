"""Akinon's Audit Events API: the connection's settings, the client, and what its answers hold."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.api.advice import account_name
from airflow_provider_akinon.audit_events.api.client import ATTEMPTS, PARAMETERS, AuditEventsApi
from airflow_provider_akinon.audit_events.api.limits import MOST_HEADER_BYTES, Limits
from airflow_provider_akinon.audit_events.api.pages import Page, parse_page, parse_requested_events
from airflow_provider_akinon.audit_events.api.probing import probe, table_of
from airflow_provider_akinon.audit_events.api.protocol import PagesOfEvents
from airflow_provider_akinon.audit_events.api.proxies import problem_of_proxy, proxy_of_environment, secrets_of_proxy
from airflow_provider_akinon.audit_events.api.secrecy import derived_forms, holds_key, keeping_secret, without_key
from airflow_provider_akinon.audit_events.api.settings import FORM_PREFIX, Extra, Settings

__all__ = [
    "ATTEMPTS",
    "FORM_PREFIX",
    "MOST_HEADER_BYTES",
    "PARAMETERS",
    "AuditEventsApi",
    "Extra",
    "Limits",
    "Page",
    "PagesOfEvents",
    "Settings",
    "account_name",
    "derived_forms",
    "holds_key",
    "keeping_secret",
    "parse_page",
    "parse_requested_events",
    "probe",
    "problem_of_proxy",
    "proxy_of_environment",
    "secrets_of_proxy",
    "table_of",
    "without_key",
]
