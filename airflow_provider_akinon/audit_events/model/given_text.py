"""Text that an author gave, or that a template gave in its place: checked to be text.

With ``render_template_as_native_obj``, a template that looks like a number becomes one: ``2026_01`` is 202601 then,
and nobody can tell what was meant. This module refuses to guess it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_akinon.audit_events.errors import InvalidInput


def require_text(field: str, value: object) -> str:
    """Return ``value``, which is text.

    :raises InvalidInput: it is something else, or nothing but white space.
    """
    if not isinstance(value, str):
        raise InvalidInput(
            f"{field}={value!r} is {kind_of(value)}; give text. Where a template gave it, "
            "render_template_as_native_obj made it that: leave this option off, or give the template a text beside it"
        )
    if not value.strip():
        raise InvalidInput(f"{field} is empty; give text")
    return value


def kind_of(value: object) -> str:
    """Return what sort of value this is, for errors."""
    return next((name for types, name in _KINDS if isinstance(value, types)), "no text")


_KINDS: tuple[tuple[Any, str], ...] = (
    (type(None), "None"),
    (bool, "true or false"),
    (int | float, "a number"),
    (str, "text"),
    (bytes, "bytes"),
    (Mapping, "a mapping"),
    (list | tuple | set, "a list"),
)
"""In this order: a bool is an int too."""
