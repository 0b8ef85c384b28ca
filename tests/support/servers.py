"""What the fixtures that start servers give to tests: their types, and what the servers are started with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from airflow_provider_akinon.sandbox import Sandbox

NARROW_KEY = "narrow-key"
"""A key of the shared APIs that sees only events of a user."""
UNTIL = datetime(2026, 2, 1, tzinfo=UTC)
"""The end of the span that the events of the shared and the hostile APIs cover."""


class Connect(Protocol):
    """Makes ``akinon_default`` a connection to an API, with ``extra`` added and other fields replaced."""

    def __call__(self, api: Sandbox, extra: dict[str, object] | None = None, **fields: object) -> None: ...


class Hostile(Protocol):
    """Starts an API with flags and makes it ``akinon_default``, with the connection's ``extra``."""

    def __call__(self, extra: dict[str, object] | None = None, **flags: object) -> Sandbox: ...
