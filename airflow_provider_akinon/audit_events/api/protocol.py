"""The protocol that reading needs of an API: `client.AuditEventsApi` has it, and so has any stand-in."""

from __future__ import annotations

from typing import Protocol

from airflow_provider_akinon.audit_events.api.pages import Page
from airflow_provider_akinon.audit_events.api.settings import Settings
from airflow_provider_akinon.audit_events.model import Filters, Window


class PagesOfEvents(Protocol):
    """An API that gives pages of events, and counts."""

    settings: Settings

    def page(self, params: dict[str, str]) -> Page:
        """Return one page of events, unchecked."""

    def count(self, window: Window, filters: Filters) -> int:
        """Return how many events of ``window`` match ``filters`` now."""
