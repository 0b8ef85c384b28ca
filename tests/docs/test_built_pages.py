"""The pages as they are built: what the code generates of them is there, whole, and says what the code does."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element

import msgspec
import pytest

from airflow_provider_akinon.audit_events import errors
from airflow_provider_akinon.audit_events.api import Extra, Settings
from airflow_provider_akinon.audit_events.archive import (
    PROBE_NAME,
    default_prefix,
    folder_of_chain,
    late_key,
    name_of_window,
    parse_receipt_key,
    receipt_schema,
    seal_key,
)
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.model import Filters, Format, Source, Window
from airflow_provider_akinon.audit_events.seals import seal_schema
from airflow_provider_akinon.connection_form import FIELDS
from airflow_provider_akinon.get_provider_info import get_provider_info
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.operators.audit_archive import (
    ReconcileAuditArchiveOperator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
)
from airflow_provider_akinon.sensors.audit_events import AuditEventsSensor
from airflow_provider_akinon.task_run import has_asset_watchers
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from airflow_provider_akinon.triggers.audit_events import AuditEventsArrivedTrigger
from tests.support.paths import DOCS, EXAMPLES, ROOT

pytestmark = [
    pytest.mark.xdist_group("pages"),
    pytest.mark.skipif(not has_asset_watchers(), reason="the documentation is built with Airflow 3"),
]

Pages = Mapping[str, Element]

SHOP = Source(host="shop.example.com", remote_id=1)
DAY = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))

SHELLS = {
    AkinonHook: ("hooks/akinon", "howto/hook"),
    AuditEventsToS3Operator: ("transfers/audit_events_to_s3", "howto/operator"),
    SealAuditArchiveOperator: ("operators/seal_audit_archive", "howto/operator"),
    VerifyAuditArchiveOperator: ("operators/verify_audit_archive", "howto/operator"),
    ReconcileAuditArchiveOperator: ("operators/reconcile_audit_archive", "howto/operator"),
    AuditEventsSensor: ("sensors/audit_events", "howto/sensor"),
    AuditEventsArrivedTrigger: ("triggers/audit_events", "howto/trigger"),
}
"""The page of each class that a DAG uses, and the kind of its anchor."""


def text_of(element: Element) -> str:
    """The words of an element as they were written: with straight quotation marks, which Sphinx curls."""
    text = re.sub(r"\s+", " ", "".join(_pieces(element))).strip()
    return text.translate(str.maketrans("‘’“”", "''\"\""))


def _pieces(element: Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        yield from _pieces(child)
        yield " " if child.tag in ("title", "paragraph") else ""
        yield child.tail or ""


def test_the_whole_changelog_is_a_page(pages: Pages) -> None:
    """The changelog's page has every heading, item and word of CHANGELOG.md, in its order, as such."""
    written = (ROOT / "CHANGELOG.md").read_text()
    page = pages["changelog"]

    plain = re.sub(r"^(#+|-) ", "", written, flags=re.M)
    for markup in (r"\[([^\]]+)\]\(https?://[^)]+\)", r"\*(\w[^*`]+)\*", r"`([^`]+)`"):
        plain = re.sub(markup, r"\1", plain)
    assert text_of(page) == re.sub(r"\s+", " ", plain).strip()
    titles = [text_of(title) for title in page.iter("title")]
    assert titles == [line.lstrip("# ") for line in re.findall(r"^#+ .+$", written, re.M)]
    assert len(list(page.iter("list_item"))) == len(re.findall(r"^- ", written, re.M))
    assert [text_of(each) for each in page.iter("literal")] == [
        re.sub(r"\s+", " ", each) for each in re.findall(r"`([^`]+)`", written)
    ]


@pytest.mark.parametrize("cls", SHELLS)
def test_a_class_and_its_page_lead_to_each_other(pages: Pages, cls: type) -> None:
    """The page of a class begins with the anchor that Airflow's providers use, and its docstring points there."""
    name, kind = SHELLS[cls]
    anchor = f"{kind}:{cls.__name__}"

    assert f"\n        How to use this {kind.rpartition('/')[2]}: :ref:`{anchor}`\n" in cls.__doc__
    section = pages[name].find("section")
    assert section is not None
    assert anchor.lower() in section.get("names", "").replace("\\", "").split()
    linked = {reference.get("refuri", "") for reference in pages["reference"].iter("reference")}
    assert any(each.startswith(f"{name}.xml#") or f"{name}#" in each for each in linked)


def rows_of(page: Element, heading: str) -> list[list[str]]:
    """The cells of the one table of a page whose first column has this heading, without its head."""
    [rows] = all_rows_of(page, heading)
    return rows


def all_rows_of(page: Element, heading: str) -> list[list[list[str]]]:
    tables = [
        [[text_of(cell) for cell in row.findall("entry")] for row in table.iter("row")]
        for table in page.iter("table")
    ]
    return [rows[1:] for rows in tables if rows[0][0] == heading]


@pytest.mark.parametrize("cls", SHELLS)
def test_each_parameter_is_on_its_page(pages: Pages, cls: type) -> None:
    """The page has exactly the parameters of the constructor, each with its default, and says which are templated."""
    page, _ = SHELLS[cls]
    signature = inspect.signature(cls.__init__).parameters  # type: ignore[misc]
    rows = rows_of(pages[page], "Parameter")

    assert [(name, default) for name, default, _ in rows] == [
        (parameter.name, _default(parameter))
        for parameter in signature.values()
        if parameter.name not in NO_PARAMETER
    ]
    assert {name for name, _, text in rows if text.endswith(" Templated.")} == set(
        getattr(cls, "template_fields", ())
    )


@pytest.mark.parametrize("cls", SHELLS)
def test_a_parameter_means_what_its_docstring_says(pages: Pages, cls: type) -> None:
    """Each meaning on the page is that of the docstring, which the reference shows, too."""
    page, _ = SHELLS[cls]
    told = dict(re.findall(r":param (\w+): ((?:.|\n)*?)(?=\n    :|\Z)", cls.__doc__ or ""))

    for name, _, meaning in rows_of(pages[page], "Parameter"):
        plain = re.sub(r"\s+", " ", re.sub(r"\(templated\)|[`*]", "", told[name]))
        assert _letters(meaning.removesuffix(" Templated.")) == _letters(plain), name


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text).lower()


NO_PARAMETER = ("self", "kwargs")


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return "required"
    if parameter.name == "deferrable":
        return "Airflow's [operators] default_deferrable"
    if isinstance(parameter.default, timedelta):
        return repr(parameter.default).removeprefix("datetime.")
    return repr(parameter.default).replace("'", '"')


def test_each_field_of_a_connection_is_on_its_page(pages: Pages) -> None:
    """The connection's page has exactly the extra's fields, each with its label and its default as JSON."""
    rows = rows_of(pages["connections/akinon"], "Field")

    assert [row[:3] for row in rows] == [
        [field.name, FIELDS[field.name]["label"], json.dumps(field.default)]
        for field in msgspec.structs.fields(Extra)
    ]
    assert all(meaning for *_, meaning in rows)


@pytest.mark.parametrize("field", msgspec.structs.fields(Extra), ids=lambda field: field.name)
def test_the_bounds_of_a_field_hold(pages: Pages, field: msgspec.structs.FieldInfo) -> None:
    """What the page says that a number is at least and at most is taken; what lies beyond is refused."""
    [meaning] = [row[3] for row in rows_of(pages["connections/akinon"], "Field") if row[0] == field.name]
    told = re.findall(r"(at least|at most|more than) ([\d,]+)(?=[,.])", meaning.rpartition(". ")[2].lower())
    if not told:
        assert not {"ge", "gt", "le", "lt"} & set(re.findall(r"(\w+)=", str(field.type)))
    for bound, number in told:
        value = int(number.replace(",", ""))
        assert _is_taken(field.name, value) == (bound != "more than")
        assert not _is_taken(field.name, value + (1 if bound == "at most" else -1))


def _is_taken(name: str, value: float) -> bool:
    try:
        Settings.parse(host="shop.example.com", password="key", extra={name: value})
    except InvalidInput:
        return False
    return True


@pytest.mark.parametrize(("number", "schema"), [(0, receipt_schema()), (1, seal_schema())], ids=["receipt", "seal"])
def test_each_field_of_a_document_is_on_the_page(pages: Pages, number: int, schema: dict[str, Any]) -> None:
    """The page has exactly the fields of the JSON Schema, at any depth and in its order, each with its type."""
    rows = all_rows_of(pages["archive-layout"], "Field")[number]

    assert [(name, kind) for name, kind, _ in rows] == list(_fields(schema, schema))
    assert all(meaning.endswith(".") for *_, meaning in rows)


def _fields(schema: dict[str, Any], part: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, field in _resolved(schema, part).get("properties", {}).items():
        yield above + name, " or ".join(_kind(schema, each) for each in field.get("anyOf", [field]))
        for each in field.get("anyOf", [field]):
            yield from _fields(schema, each, f"{above}{name}.")
            yield from _fields(schema, each.get("items", {}), f"{above}{name}[].")


def _resolved(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    return schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part


def _kind(schema: dict[str, Any], part: dict[str, Any]) -> str:
    part = _resolved(schema, part)
    if "enum" in part:
        return "string"
    if part["type"] == "array":
        return f"list of {_kind(schema, part['items'])}s".replace("hashs", "hashes")
    by_length = {64: "hash", 36: "uuid"}
    return "time" if part.get("format") == "date-time" else by_length.get(part.get("maxLength", 0), part["type"])


def test_the_page_has_every_kind_of_key(pages: Pages) -> None:
    """Each function that makes keys has an example of its own on the page."""
    shown = {
        line for block in pages["archive-layout"].iter("literal_block") for line in (block.text or "").splitlines()
    }
    first = f"audit/{name_of_window(DAY, Filters(), UTC, Format.JSONL_GZ)}"

    assert {
        default_prefix(SHOP),
        first,
        f"audit/{name_of_window(DAY, Filters(user=42), UTC, Format.JSONL_GZ)}",
        late_key(first, 1, Format.JSONL_GZ),
        folder_of_chain(SHOP, Filters()),
        seal_key("audit/", folder_of_chain(SHOP, Filters()), 15),
        f"audit/{PROBE_NAME}",
    } <= shown
    assert {first, late_key(first, 1, Format.JSONL_GZ)} <= {
        each.object_key for each in map(parse_receipt_key, shown) if each
    }


PACKAGE = "airflow_provider_akinon"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / PACKAGE).rglob("*.py")
}


def documented(pages: Pages) -> set[str]:
    """The full names of all that the pages describe."""
    return {signature.get("ids", "") for page in pages.values() for signature in page.iter("desc_signature")}


def shells() -> list[str]:
    """The modules that Airflow is told of."""
    info = get_provider_info()
    by_kind = [each for kind in ("hooks", "operators", "sensors", "triggers") for each in info[kind]]
    return [module for each in by_kind for module in each["python-modules"]] + [
        each["python-module"] for each in info["transfers"]
    ]


@pytest.mark.parametrize("module", shells())
def test_the_reference_has_all_that_a_shell_offers(pages: Pages, module: str) -> None:
    """Each name in a shell's ``__all__`` is in the reference, and nothing else of the shell is documented."""
    loaded = importlib.import_module(module)
    names = {f"{module}.{name}" for name in loaded.__all__}
    reference = {signature.get("ids") for signature in pages["reference"].iter("desc_signature")}

    assert names <= reference
    assert {name for name in documented(pages) if name.rpartition(".")[0] == module} == names
    assert {cls.__name__ for cls in SHELLS if cls.__module__ == module} <= set(loaded.__all__)


def test_what_is_documented_is_in_a_face(pages: Pages) -> None:
    """Each documented class or function is one that its module's or room's ``__all__`` names, or an error."""
    seen = set()
    for name in documented(pages):
        module, attribute = name.rpartition(".")[::2]
        if module in MODULES:
            loaded = importlib.import_module(module)
            named = vars(errors) if loaded is errors else getattr(loaded, "__all__", ())
            assert attribute in named, name
            seen.add(module)
    assert {f"{PACKAGE}.audit_events.{room}" for room in ("api", "archive", "seals", "verification")} <= seen


def test_what_the_pages_import_is_documented(pages: Pages) -> None:
    """Each name that a page, README or an example DAG imports from the package is in the reference."""
    texts = [path.read_text() for path in (*DOCS.rglob("*.rst"), ROOT / "README.md", *EXAMPLES.glob("*.py"))]
    imported = set()
    for text in texts:
        for module, listed, several in re.findall(
            rf"from ({PACKAGE}[\w.]*) import (?:(\w[\w, ]*)|\(([^)]*)\))", text
        ):
            imported |= {f"{module}.{name}" for name in re.findall(r"\w+", listed or several)}

    assert len(imported) >= 9
    assert imported <= documented(pages)
