"""The Akinon connection as Airflow's UI shows it: one description for both ways that Airflow reads it.

Airflow 3 builds the form from the provider's metadata (`FIELDS` and `BEHAVIOUR`), Airflow 2 asks the hook, which
answers with `widgets` and the same behaviour. Names and defaults come from the settings' `Extra`. This module
imports no form library unless Airflow 2 asks for widgets.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_akinon.audit_events.settings import Extra

_DEFAULT = Extra()

BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "schema"],
    "relabeling": {"password": "API key"},
    "placeholders": {"host": "shop.example.com", "port": "443", "password": "the key alone"},
}

FIELDS: dict[str, dict[str, Any]] = {
    "remote_id": {
        "label": "Remote id",
        "description": (
            "The number in the API's path /api/v1/remote/<remote id>/data-warehouse. Write 'none' for the path "
            "without 'remote/…', /api/v1/data-warehouse."
        ),
        # Text, as a number field could not take the word.
        "schema": {"type": ["string", "null"], "default": str(_DEFAULT.remote_id)},
    },
    "auth_scheme": {
        "label": "Authorization scheme",
        "description": "The word sent before the API key. Write 'none' to send the bare key.",
        "schema": {"type": ["string", "null"], "default": _DEFAULT.auth_scheme},
    },
    "timeout": {
        "label": "Timeout (seconds)",
        "description": "How long to wait for the API to connect and to answer.",
        "schema": {"type": ["number", "null"], "minimum": 0, "maximum": 3600, "default": _DEFAULT.timeout},
    },
    "page_size": {
        "label": "Page size",
        "description": "Events asked for in one request. The API may give fewer.",
        "schema": {"type": ["integer", "null"], "minimum": 1, "default": _DEFAULT.page_size},
    },
    "max_concurrency": {
        "label": "Concurrent requests",
        "description": "Most requests that one process has in flight at a time.",
        "schema": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": 64,
            "default": _DEFAULT.max_concurrency,
        },
    },
    "requests_per_second": {
        "label": "Requests per second",
        "description": "Most requests a second. Left empty, there is no limit but what the API asks for.",
        "schema": {"type": ["number", "null"], "minimum": 0},
    },
    "verify": {
        "label": "Verify TLS",
        "description": "true, false, or the path of a file of CA certificates on the workers.",
        "schema": {"type": ["string", "null"], "default": "true"},
    },
    "proxies": {
        "label": "Proxies (JSON)",
        "description": 'Proxies by scheme, such as {"https": "http://proxy.example.com:3128"}.',
        "schema": {"type": ["string", "null"]},
    },
    "allow_http": {
        "label": "Allow plain http",
        "description": "Let the API key travel unencrypted to a host other than the worker itself.",
        "schema": {"type": ["boolean", "null"], "default": _DEFAULT.allow_http},
    },
}


def widgets() -> dict[str, Any]:
    """Return the extra fields as WTForms fields, for Airflow 2."""
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import Optional

    # Airflow 2 takes no other kinds, and would drop the whole form. `Settings` reads numbers from text.
    kinds = {"integer": IntegerField, "number": StringField, "string": StringField, "boolean": BooleanField}
    fields = {}
    for name, field in FIELDS.items():
        kind = kinds[field["schema"]["type"][0]]
        options = {} if kind is BooleanField else {"widget": BS3TextFieldWidget(), "validators": [Optional()]}
        fields[name] = kind(
            lazy_gettext(field["label"]),
            description=field["description"],
            default=field["schema"].get("default"),
            **options,
        )
    return fields
