"""The pages as they are built: what the code generates of them is there, whole, and says what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import Element

import pytest

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
from tests.support.paths import ROOT

pytestmark = [
    pytest.mark.xdist_group("pages"),
    pytest.mark.skipif(not has_asset_watchers(), reason="the documentation is built with Airflow 3"),
]

Pages = Mapping[str, Element]

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
