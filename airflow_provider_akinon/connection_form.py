"""The Akinon connection as Airflow's UI shows it: one description for both ways that Airflow reads it.

Airflow 3 builds the form from the provider's metadata (`FIELDS` and `BEHAVIOUR`), Airflow 2 asks the hook, which
answers with `widgets` and the same behaviour. Names and defaults come from the settings' `Extra`. This module
imports no form library unless Airflow 2 asks for widgets. It asks for no text of less than five characters: Airflow 3
warns in every task that such a text of the extra is a secret that it does not mask.
"""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_akinon.audit_events.api import Extra

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
            "The number in the API's path /api/v1/remote/<remote id>/data-warehouse. Write 'no-remote-id' for the "
            "path without 'remote/…', /api/v1/data-warehouse."
        ),
        # A number field could not take the word. Of several types, Airflow 3 stores a number where one is typed.
        "schema": {"type": ["string", "integer", "null"], "default": _DEFAULT.remote_id},
    },
    "auth_scheme": {
        "label": "Authorization scheme",
        "description": "The word sent before the API key. Write 'bare-key' to send the key alone.",
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
        # Of several types, Airflow 3 reads what is typed as JSON where it can, and stores a boolean.
        "schema": {"type": ["string", "boolean", "null"], "default": _DEFAULT.verify},
    },
    "proxies": {
        "label": "Proxies (JSON)",
        "description": 'Proxies by scheme, such as {"https": "http://proxy.example.com:3128"}.',
        "schema": {"type": ["string", "null"]},
    },
    "secret_headers": {
        "label": "Secret headers (JSON)",
        "description": 'Further HTTP headers, for a WAF in front of the API, such as {"X-WAF-Token": "…"}.',
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "allow_http": {
        "label": "Allow plain http",
        "description": "Let the API key travel unencrypted to a host other than the worker itself.",
        "schema": {"type": ["boolean", "null"], "default": _DEFAULT.allow_http},
    },
}


def widgets() -> dict[str, Any]:
    """Return the extra fields as WTForms fields, for Airflow 2.

    Airflow 3.0 to 3.2 read them too, with fields of their own that take a label and these four options alone.
    """
    from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
    from flask_babel import lazy_gettext
    from wtforms import BooleanField, IntegerField, StringField
    from wtforms.validators import Optional

    # Airflow 2 takes no other kinds, and would drop the whole form.
    kinds = {"integer": IntegerField, "number": StringField, "string": StringField, "boolean": BooleanField}
    fields = {}
    for name, field in FIELDS.items():
        types = field["schema"]["type"]
        fields[name] = kinds[types[0]](
            lazy_gettext(field["label"]),
            validators=[Optional(), *([] if types == ["string", "null"] else [_store_json])],
            description=field["description"],
            default=field["schema"].get("default"),
            widget=_checkbox if types[0] == "boolean" else BS3TextFieldWidget(),
        )
    return fields


def _store_json(_: Any, field: Any) -> None:
    """Let a field store what was typed as JSON has it, where it is a number or ``true``; a validator of WTForms.

    Anything else stays text, for `Settings` to judge, and so do ``0`` and ``false``: where Airflow 2 edits a
    connection, it shows a field's default in their place.
    """
    if isinstance(field.data, bool):
        return
    text = str(field.data)
    try:
        value = json.loads(text.lower())
    except ValueError:
        value = None
    field.data = value if isinstance(value, int | float) and value else text


def _checkbox(field: Any, **attributes: Any) -> Any:
    """Return the HTML of a box. Airflow 2's Test sends its value where it is ticked, and that would be ``y``."""
    from wtforms.widgets import CheckboxInput

    return CheckboxInput()(field, value="true", **attributes)
