"""Checks that a parameter is text, whether an author gave it or a template.

With ``render_template_as_native_obj``, Airflow turns a template's text that looks like a number into one: ``2026_01``
becomes 202601, and nobody can tell what was meant. This module refuses to guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_akinon.audit_events.errors import InvalidInput


def require_text(field: str, value: object) -> str:
    """Return ``value`` if it is text.

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
"""The kinds of values by their types; bool comes before int, since a bool is an int too."""
