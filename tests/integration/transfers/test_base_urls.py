"""The base URL without a remote id, from the connection to the archive's seals."""

from __future__ import annotations

from uuid import UUID

from airflow_provider_akinon.audit_events.archive import Bucket
from airflow_provider_akinon.audit_events.verification import Expected, verify_archive
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.operators.audit_archive import ReconcileAuditArchiveOperator, SealAuditArchiveOperator
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import DAY, export, receipts, the_object
from tests.support.servers import UNTIL, Connect, Hostile


def test_a_commerce_hosts_base_url_works_everywhere(hostile: Hostile, s3: LocalS3, bucket: str) -> None:
    """With ``none``, list, detail, Test and export work, and what is stored says that it is of no remote id."""
    api = hostile(remote_id="none")
    hook, host = AkinonHook(), api.url.removeprefix("http://")

    assert hook.test_connection() == (
        True,
        f"Connected to {api.url}: the key sees 900 audit events of /api/v1/data-warehouse/",
    )
    [event] = hook.list_page(limit=1)["results"]
    assert hook.get_event(UUID(event["uuid"]))["uuid"] == event["uuid"]
    day = (UNTIL - DAY, UNTIL)
    export(bucket, *day)
    stored = the_object(s3, bucket)
    assert stored.uuids == api.uuids(*day)
    prefix = f"akinon/audit-events/{host.replace(':', '_3A')}/remote/none"
    assert stored.key.startswith(f"{prefix}/date=")
    assert stored.head["Metadata"]["akinon-source"] == f"{host}/remote/none"
    assert [receipt["source"] for receipt in receipts(s3, bucket)] == [{"host": host, "remote_id": None}]

    where = {"s3_bucket": bucket, "s3_key_prefix": prefix}
    ReconcileAuditArchiveOperator(task_id="again", start=day[0], end=day[1], **where).execute({})
    SealAuditArchiveOperator(task_id="seal", start=day[0], end=day[1], **where).execute({})
    report = verify_archive(Bucket(s3.client(), bucket), f"{prefix}/", Expected(public_keys=[]))
    assert not report.wrong
    assert {finding.chain for finding in report.findings if finding.chain} == {f"{host}/remote/none"}


def test_another_base_url_is_another_source(hostile: Hostile, connect: Connect) -> None:
    """Where the connection and the API differ in the path, Test names the path, and what to write."""
    api = hostile(remote_id="none")
    connect(api, {"remote_id": 1})
    working, message = AkinonHook().test_connection()
    assert not working
    assert "or 'none' where that has no remote/…" in message

    connect(hostile(events=1), {"remote_id": "none"})
    working, message = AkinonHook().test_connection()
    assert not working
    assert "has no /api/v1/data-warehouse/ for this key" in message
