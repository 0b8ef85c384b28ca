"""The Akinon connection as Airflow's UI shows it: one description for both ways that Airflow reads it.

Airflow 3 builds the form from the provider's metadata (`FIELDS` and `BEHAVIOUR`), Airflow 2 asks the hook, which
answers with `widgets` and the same behaviour. All of a field comes from the settings' `Extra`: its name, label, help,
types, bounds and default. This module imports no form library unless Airflow 2 asks for widgets. It asks for no text
of less than five characters: Airflow 3 warns in every task that such a text of the extra is a secret that it does not
mask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from airflow_provider_akinon.audit_events.api import Extra

BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["login", "schema"],
    "relabeling": {"password": "API key"},
    "placeholders": {"host": "shop.example.com", "port": "443", "password": "the key alone"},
}

_TYPES = ("string", "integer", "number", "boolean", "null")
"""The types of fields. Of several, Airflow 3 takes the first for the field, and stores typed text as the JSON value
that it spells, where it spells one."""


def _field(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field of the form, by the JSON schema that the settings have of it."""
    kinds = schema.get("anyOf", [schema])
    written = [msgspec.json.schema(type(example)) for example in schema.get("examples", ())]
    # A field may be left empty, and what is an object is typed as text.
    types = {"null", *("string" if kind["type"] == "object" else kind["type"] for kind in [*kinds, *written])}
    bounds = {} if "string" in types else kinds[0]
    shown = {
        "type": [name for name in _TYPES if name in types],
        "minimum": bounds.get("minimum", bounds.get("exclusiveMinimum")),
        "maximum": bounds.get("maximum"),
        "format": schema.get("format"),
        "default": schema["default"],
    }
    return {
        "label": schema["title"],
        "description": schema["description"],
        "schema": {name: value for name, value in shown.items() if value is not None},
    }


FIELDS: dict[str, dict[str, Any]] = {
    name: _field(schema) for name, schema in msgspec.json.schema(Extra)["$defs"]["Extra"]["properties"].items()
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
    """Let a field store a typed number, or ``true``, as the JSON value and not as text; a validator of WTForms.

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
