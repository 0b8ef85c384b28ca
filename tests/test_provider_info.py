"""What Airflow reads of the provider, checked against the Airflow that is installed."""

from __future__ import annotations

import importlib
import json
import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import msgspec
import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_akinon import __version__
from airflow_provider_akinon.audit_events.api import Extra, Settings
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.connection_form import BEHAVIOUR, FIELDS
from airflow_provider_akinon.get_provider_info import get_provider_info
from airflow_provider_akinon.hooks.akinon import AkinonHook

AIRFLOW = Path(airflow.__file__).parent
EXTRA_FIELDS = {field.name: field for field in msgspec.structs.fields(Extra)}


def schema(name: str) -> dict[str, Any]:
    """Return a JSON schema that Airflow ships."""
    found: dict[str, Any] = json.loads((AIRFLOW / name).read_text(encoding="utf-8"))
    return found


def the_entry_point() -> EntryPoint:
    """Return what Airflow finds the provider by."""
    [entry] = [
        entry
        for entry in entry_points(group="apache_airflow_provider")
        if entry.value.startswith("airflow_provider_akinon.")
    ]
    return entry


def test_airflow_s_list_of_providers_links_to_the_documentation() -> None:
    """Without such an address of ours it links to a page on Airflow's own site, which has none of this provider."""
    entry = the_entry_point()
    assert entry.dist
    urls = dict(url.split(", ", 1) for url in entry.dist.metadata.get_all("Project-URL") or [])

    assert urls["Documentation"].startswith("https://")
    assert "://" not in get_provider_info()["description"]


def test_the_metadata_is_valid() -> None:
    """The installed Airflow accepts the metadata; a typo in a required field would be found."""
    jsonschema.validate(get_provider_info(), schema("provider_info.schema.json"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(get_provider_info() | {"name": None}, schema("provider_info.schema.json"))


def test_the_connection_form_is_valid() -> None:
    """Airflow 3 knows every key of the form, down to the fields' schemas; unknown ones would be ignored."""
    known = schema("provider.yaml.schema.json")["properties"]["connection-types"]
    if "conn-fields" not in known["items"]["properties"]:
        pytest.skip("this Airflow builds the form from the hook alone")
    [connection] = connections = get_provider_info()["connection-types"]

    jsonschema.validate(connections, known)

    assert connection.keys() <= known["items"]["properties"].keys()
    of_fields = known["items"]["properties"]["conn-fields"]["additionalProperties"]["properties"]
    for name, field in connection["conn-fields"].items():
        assert field.keys() <= of_fields.keys(), name
        assert field["schema"].keys() <= of_fields["schema"]["properties"].keys(), name


def test_the_entry_point_is_the_distributions() -> None:
    """Airflow refuses a provider whose package name is not its distribution's."""
    entry = the_entry_point()

    assert entry.load() is get_provider_info
    assert entry.dist is not None
    assert get_provider_info()["package-name"] == entry.dist.metadata["Name"]
    assert get_provider_info()["versions"][0] == __version__


def test_the_description_has_no_link_in_its_middle() -> None:
    """Airflow's page of providers loses the space after one."""
    assert "<" not in get_provider_info()["description"]


def _named(value: object) -> set[str]:
    """Return every dotted name of this package that the metadata holds."""
    if isinstance(value, dict):
        return set().union(*[_named(part) for part in value.values()])
    if isinstance(value, list):
        return set().union(*[_named(part) for part in value])
    return {value} if isinstance(value, str) and value.startswith("airflow_provider_akinon.") else set()


def test_everything_named_exists() -> None:
    """Every module and class that the metadata names imports."""
    names = _named(get_provider_info())

    assert "airflow_provider_akinon.hooks.akinon.AkinonHook" in names
    for name in names:
        module, _, last = name.rpartition(".")
        if last[0].isupper():
            assert isinstance(getattr(importlib.import_module(module), last), type)
        else:
            importlib.import_module(name)


def test_every_module_with_an_airflow_class_is_named() -> None:
    """A hook, sensor or transfer that the metadata forgets would not be found by Airflow's tools."""
    package = Path(importlib.import_module("airflow_provider_akinon").__file__ or "").parent
    modules = {
        f"airflow_provider_akinon.{folder.name}.{path.stem}"
        for folder in package.iterdir()
        if folder.name in ("hooks", "operators", "sensors", "transfers", "triggers")
        for path in folder.glob("[!_]*.py")
    }

    assert modules == {name for name in _named(get_provider_info()) if not name.rpartition(".")[2][0].isupper()}


def test_the_form_has_every_field_of_the_extra() -> None:
    """The form shows the fields that the connection takes, no more and no fewer, with the same defaults."""
    assert list(FIELDS) == list(EXTRA_FIELDS)
    for name, field in FIELDS.items():
        assert field["schema"].get("default") == EXTRA_FIELDS[name].default, name


def takes(name: str, value: object) -> bool:
    """Whether the connection takes a value in a field of its extra."""
    try:
        Settings.parse(host="shop.example.com", password="k", extra={name: value})
    except InvalidInput:
        return False
    return True


def test_the_form_takes_the_numbers_that_the_connection_takes() -> None:
    """The form shows the bounds of every number: the connection takes those, and nothing beyond.

    What is greater than zero has zero as its bound, as forms know no other.
    """
    found = set()
    for name, field in FIELDS.items():
        for bound, step in (("minimum", -1), ("maximum", 1)):
            number = field["schema"].get(bound)
            if number is not None:
                found.add((name, bound))
                assert takes(name, number) is (number != 0)
                assert not takes(name, number + step)

    numbers = {name for name, field in FIELDS.items() if field["schema"]["type"][0] in ("integer", "number")}
    assert found == {(name, bound) for name in numbers for bound in ("minimum", "maximum")} - {
        ("requests_per_second", "maximum")
    }


def test_a_form_left_as_it_is_makes_a_working_connection() -> None:
    """What the form stores when only host and key are filled in is the default, on 3 and on 2."""
    for stored in (
        {name: field["schema"].get("default") for name, field in FIELDS.items()},
        dict.fromkeys(FIELDS),
    ):
        assert Settings.parse(host="shop.example.com", password="k", extra=json.dumps(stored)).extra == Extra()


def test_the_metadata_and_the_hook_say_the_same() -> None:
    """Airflow 3 reads the metadata and Airflow 2 the hook; both name one connection type and one behaviour."""
    [connection] = get_provider_info()["connection-types"]

    assert connection["connection-type"] == AkinonHook.conn_type
    assert connection["hook-name"] == AkinonHook.hook_name
    assert connection["ui-field-behaviour"] == BEHAVIOUR
    assert AkinonHook.get_ui_field_behaviour() == {
        "hidden_fields": BEHAVIOUR["hidden-fields"],
        "relabeling": BEHAVIOUR["relabeling"],
        "placeholders": BEHAVIOUR["placeholders"],
    }
    assert issubclass(AkinonHook, BaseHook)


def test_the_standard_fields_of_the_form_fit_the_connection() -> None:
    """The form hides exactly the standard fields that the connection refuses, and never the key's."""
    assert set(BEHAVIOUR["hidden-fields"]) == {"login", "schema"}
    assert BEHAVIOUR["relabeling"]["password"] == "API key"


def test_airflow_2_accepts_the_hooks_form() -> None:
    """The hook's behaviour is valid by the schema that Airflow 2 checks, and the widgets are one per field."""
    if (behaviours := AIRFLOW / "customized_form_field_behaviours.schema.json").exists():
        jsonschema.validate(AkinonHook.get_ui_field_behaviour(), json.loads(behaviours.read_text(encoding="utf-8")))
    form = form_of_airflow_2()
    from wtforms import BooleanField, IntegerField, StringField

    assert [field.name for field in form] == list(EXTRA_FIELDS)
    kinds = {"integer": IntegerField, "number": StringField, "string": StringField, "boolean": BooleanField}
    for name, field in FIELDS.items():
        assert type(form[name]) is kinds[field["schema"]["type"][0]], name
        assert form[name].data == field["schema"].get("default"), name
    # What stands for WTForms in Airflow 3.0 to 3.2 takes no others.
    for name, widget in AkinonHook.get_connection_form_widgets().items():
        assert len(widget.args) == 1, name
        assert widget.kwargs.keys() <= {"validators", "description", "default", "widget"}, name


TYPED: list[tuple[str, str, object]] = [
    ("remote_id", "7", 7),
    ("remote_id", "0", "0"),
    ("auth_scheme", "bare-key", "bare-key"),
    ("timeout", "30.0", 30.0),
    ("timeout", "5", 5),
    ("page_size", "50", 50),
    ("max_concurrency", "8", 8),
    ("requests_per_second", "2.5", 2.5),
    ("requests_per_second", "many", "many"),
    ("verify", "true", True),
    ("verify", "True", True),
    ("verify", "false", "false"),
    ("verify", "/etc/ssl/certs/own.pem", "/etc/ssl/certs/own.pem"),
    ("proxies", '{"https": "http://proxy.example.com:3128"}', '{"https": "http://proxy.example.com:3128"}'),
    ("allow_http", "true", True),
    *((name, "", "") for name in FIELDS if FIELDS[name]["schema"]["type"][0] in ("string", "number")),
    *((name, "", None) for name in FIELDS if FIELDS[name]["schema"]["type"][0] == "integer"),
]
"""What is typed into each field, and what Airflow 2 stores; it leaves out an empty text."""


@pytest.mark.parametrize(("name", "typed", "stored"), TYPED)
def test_airflow_2_stores_no_short_text(name: str, typed: str, stored: object) -> None:
    """Numbers and ``true`` are stored as such: Airflow 3 warns of short text, that it is a secret without a mask.

    Only what Airflow 2 would not show again, zero, stays text; and text that is wrong is left for the connection to
    refuse.
    """
    form = form_of_airflow_2({name: typed})

    assert form.validate(), form.errors
    assert (form[name].data, type(form[name].data)) == (stored, type(stored))


def test_airflow_2s_test_sends_of_a_box_what_the_connection_takes() -> None:
    """A ticked box is sent as ``true``; by default it would be ``y``, which the connection refuses."""
    form = form_of_airflow_2()
    for name, field in FIELDS.items():
        if field["schema"]["type"][0] == "boolean":
            html = str(form[name](class_="form-control"))
            assert re.findall('value="(.*?)"', html) == ["true"]
            assert 'type="checkbox"' in html


def test_the_form_asks_for_no_short_text() -> None:
    """No field's default or help makes anybody store text of fewer than five characters as such."""
    for name, field in FIELDS.items():
        only_text = field["schema"]["type"] == ["string", "null"]
        words = [field["schema"].get("default"), *re.findall("'(.*?)'", field["description"])]
        assert not only_text or all(word is None or len(word) >= 5 for word in words), name


def form_of_airflow_2(typed: dict[str, str] | None = None) -> Any:
    """Return the extra fields as Airflow 2 shows them, or as it reads what was typed."""
    pytest.importorskip("flask_appbuilder", reason="Airflow 3 may come without the form library of Airflow 2")
    from werkzeug.datastructures import MultiDict
    from wtforms import Form

    form = type("ConnectionForm", (Form,), AkinonHook.get_connection_form_widgets())
    return form(MultiDict(typed)) if typed else form()
