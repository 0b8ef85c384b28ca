"""The Akinon connection, and what a DAG author asks of the Audit Events API.

A thin shell around `airflow_provider_akinon.audit_events`: it reads the connection, keeps the key out of the logs,
and hands on. It refuses to work with a connection that is not wholly right.
"""

from __future__ import annotations

import json
import uuid as uuids
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from typing import Any

from airflow_provider_akinon.audit_events.api import (
    AuditEventsApi,
    Settings,
    account_name,
    derived_forms,
    proxy_of_environment,
    secrets_of_proxy,
)
from airflow_provider_akinon.audit_events.errors import AkinonError, ProtocolError, UntrustedServer, WrongServer
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters, Window
from airflow_provider_akinon.connection_form import BEHAVIOUR, widgets
from airflow_provider_akinon.connections import get_connection
from airflow_provider_akinon.version_compat import BaseHook, Connection, mask_secret

__all__ = ["AkinonHook"]

LEAST_MASKED = 5
"""The least length, in characters, of a text that Airflow masks."""


def settings_of(connection: Connection) -> Settings:
    """Return the checked settings of a connection, with its secrets masked in logs from now on.

    Not for an event loop's thread: on Airflow 3, masking tells the supervisor, and waits for it.

    :raises InvalidInput: naming every field of the connection that is missing or wrong.
    """
    # Before anything can fail: an error about another field must not find the key unmasked.
    if connection.password:
        _mask(connection.password)
    settings = Settings.parse(
        host=connection.host,
        port=connection.port,
        login=connection.login,
        password=connection.password,
        schema=connection.schema,
        extra=connection.extra,
    )
    of_workers = proxy_of_environment(settings.base_url, settings.extra.proxies) or ""
    _mask(*settings.secrets, settings.authorization, *secrets_of_proxy(of_workers))
    return settings


def _mask(*secrets: str) -> None:
    """Mask secrets in logs, in every form that somebody may write them in."""
    for secret in secrets:
        # Airflow warns of each text that is too short to be masked: one warning of a short key is enough.
        for form in [secret, *(form for form in derived_forms(secret)[1:] if len(form) >= LEAST_MASKED)]:
            mask_secret(form)


class AkinonHook(BaseHook):
    """Reads the audit log of an Akinon Commerce shop.

    .. seealso::
        How to use this hook: :ref:`howto/hook:AkinonHook`

    :param akinon_conn_id: the connection. Host and API key (as the password) are required; the extra's fields are
        those of `airflow_provider_akinon.audit_events.api.Extra`.
    """

    conn_name_attr = "akinon_conn_id"
    default_conn_name = "akinon_default"
    conn_type = "akinon"
    hook_name = "Akinon Commerce"

    def __init__(self, akinon_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.akinon_conn_id = akinon_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields; Airflow 2 asks for them, Airflow 3 reads the provider's metadata."""
        return widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form shows the standard fields; see `get_connection_form_widgets`."""
        return {name.replace("-", "_"): value for name, value in BEHAVIOUR.items()}

    @cached_property
    def settings(self) -> Settings:
        """The checked connection.

        :raises InvalidInput: naming every field of the connection that is missing or wrong.
        :raises ConnectionMissing: Airflow has no connection of this id, as far as it can see now.
        """
        return settings_of(get_connection("akinon_conn_id", self.akinon_conn_id))

    @cached_property
    def _api(self) -> AuditEventsApi:
        return AuditEventsApi(self.settings)

    def get_conn(self) -> AuditEventsApi:
        """Return the client of the connection's API; the same one each time.

        :raises InvalidInput: see `settings`.
        """
        return self._api

    def iter_events(
        self, start: datetime | str, end: datetime | str, filters: Mapping[str, int] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yield the events of ``[start, end)``, each once, by timestamp and uuid.

        The window is read to local disk and proved complete before the first event is given.

        :param start: an aware datetime or ISO 8601 text with an offset.
        :param end: as ``start``; not part of the window.
        :param filters: any of ``user``, ``content_type`` and ``object_id``, as integers.
        :raises InvalidInput: a parameter is wrong.
        :raises ApiError: the API failed; see `airflow_provider_akinon.audit_events.errors`.
        :raises IncompleteWindow: the numbers do not prove that every event was read.
        """
        with export_window(self.get_conn(), Window.parse(start, end), Filters.parse(filters)) as export:
            for line in export.lines():
                yield json.loads(line)

    def count(self, start: datetime | str, end: datetime | str, filters: Mapping[str, int] | None = None) -> int:
        """Return how many events ``[start, end)`` holds now, by one small request.

        Takes and raises what `iter_events` does.
        """
        return self.get_conn().count(Window.parse(start, end), Filters.parse(filters))

    def get_event(self, uuid: str | uuids.UUID) -> dict[str, Any]:
        """Return the event with this uuid.

        :raises InvalidInput: ``uuid`` is not a UUID.
        :raises Rejected: with ``status`` 404, where there is no such event.
        :raises ApiError: the API failed; see `airflow_provider_akinon.audit_events.errors`.
        """
        return self.get_conn().get_event(uuid)

    def list_page(self, **params: object) -> dict[str, Any]:
        """Return one page as the API gives it: ``count``, ``next``, ``previous`` and ``results``.

        :param params: the list endpoint's own: ``content_type``, ``object_id``, ``user``, ``limit`` and ``page`` as
            integers; ``timestamp``, ``timestamp__gt``, ``timestamp__gte``, ``timestamp__lt`` and ``timestamp__lte``
            as aware datetimes or ISO 8601 text; ``sort``, the name of a field, descending with a leading ``-``.
        :raises InvalidInput: a parameter is unknown, empty or of another type; the API would ignore it in silence.
        :raises ApiError: the API failed; see `airflow_provider_akinon.audit_events.errors`.
        """
        return self.get_conn().list_page(**params)

    def test_connection(self) -> tuple[bool, str]:
        """Ask the API for one event, once, and return the outcome for the connection form's Test button."""
        try:
            settings = self.settings
        except AkinonError as error:
            return False, str(error)
        try:
            with AuditEventsApi(settings, attempts=1) as api:
                count = api.page({"limit": "1"}).count
        except AkinonError as error:
            return False, _diagnosis(error, settings)
        name = account_name(settings)
        return True, f"Connected to {settings.base_url}: the key sees {count} audit events of {name}"


def _diagnosis(error: AkinonError, settings: Settings) -> str:
    if isinstance(error, UntrustedServer):
        return f"TLS: {error}"
    if isinstance(error, ProtocolError) and not isinstance(error, WrongServer):
        return f"{settings.base_url} does not answer like the Akinon API. Check Host. ({error})"
    return str(error)
