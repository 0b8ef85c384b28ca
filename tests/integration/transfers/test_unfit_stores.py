"""Stores that do not honour ``If-None-Match: *``: found out before anything is read, as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from airflow_provider_akinon.audit_events.archive import PROBE_NAME
from airflow_provider_akinon.operators.audit_archive import (
    ReconcileAuditArchiveOperator,
    SealAuditArchiveOperator,
    VerifyAuditArchiveOperator,
)
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import (
    SECOND,
    Span,
    bulky,
    everything,
    export,
    identities,
    list_requests,
    refusal,
    spread,
)
from tests.support.servers import Connect
from tests.support.unfit_store import KINDS, UnfitStore


@contextmanager
def unfit(s3: LocalS3, kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[UnfitStore]:
    """Lead `aws_default` to a store of a kind."""
    with UnfitStore(s3, kind) as store:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(replace(s3, url=store.url).connection()))
        yield store


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "ignores in parts"])
def test_nothing_is_read_where_a_store_is_unfit(
    shop: Sandbox,
    s3: LocalS3,
    connect: Connect,
    bucket: str,
    day: Span,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """The task fails for good, with what to change, before it asks the API for anything; no window is written."""
    connect(shop)
    shop.insert({"timestamp": time} for time in spread(day, 3))
    asked = len(shop.requests())

    with unfit(s3, kind, monkeypatch):
        problem = refusal(bucket, *day)

    assert "does not honour 'If-None-Match: *'" in problem
    assert "conditional_writes=False" in problem
    assert list_requests(shop, asked) == []
    assert everything(s3, bucket) == []


@pytest.mark.parametrize("kind", KINDS)
def test_all_work_goes_on_without_the_header(
    shop: Sandbox,
    s3: LocalS3,
    connect: Connect,
    bucket: str,
    day: Span,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    """With conditional_writes=False late events, a repair and a seal pass and verify, and no header is sent."""
    connect(shop)
    shop.insert({"timestamp": time} for time in spread(day, 3))
    given = {"conditional_writes": False}
    span = {"start": day.start, "end": day.end, "s3_bucket": bucket}

    with unfit(s3, kind, monkeypatch) as store:
        export(bucket, *day, **given)
        before = identities(s3, bucket)
        assert export(bucket, *day, **given)["added"] == 0
        assert identities(s3, bucket) == before
        shop.insert([{"timestamp": day.start + SECOND}])
        assert export(bucket, *day, **given)["added"] == 1
        shop.insert([{"timestamp": day.start + 2 * SECOND}])
        [repaired] = ReconcileAuditArchiveOperator(
            task_id="reconcile", repair=True, redact=None, **span, **given
        ).execute({})
        SealAuditArchiveOperator(task_id="seal", **span, **given).execute({})
        verified = VerifyAuditArchiveOperator(task_id="verify", **span).execute({})

    assert repaired["added"] == 1
    assert verified["counts"] == {"ok": 1}
    assert not any("conditional" in action for action in store.passed)
    assert store.denied == []


def test_sealing_finds_out_too(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seal is not written either where another task could replace it, and a repair asks before it reads."""
    connect(shop)
    shop.insert({"timestamp": time} for time in spread(day, 3))
    export(bucket, *day)
    shop.insert([{"timestamp": day.start + SECOND}])
    before = identities(s3, bucket)
    span = {"start": day.start, "end": day.end, "s3_bucket": bucket}

    with unfit(s3, "ignores", monkeypatch):
        for task in (
            SealAuditArchiveOperator(task_id="seal", **span),
            ReconcileAuditArchiveOperator(task_id="reconcile", repair=True, redact=None, **span),
        ):
            with pytest.raises(Exception, match="does not honour 'If-None-Match"):
                task.execute({})

    assert identities(s3, bucket) == before


def test_a_large_export_comes_in_one_request_where_parts_are_not_refused(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that honours the header, but not where parts are put together, gets no object in parts."""
    connect(shop, {"page_size": 10})
    shop.insert(bulky(day, 0, 40))

    with unfit(s3, "ignores in parts", monkeypatch) as store:
        result = export(bucket, *day)

    assert result["bytes"] > 8 * 1024 * 1024
    assert not result["key"].endswith(PROBE_NAME)
    [stored] = s3.client().list_objects_v2(Bucket=bucket, Prefix=result["key"])["Contents"]
    assert "-" not in stored["ETag"], "an object that came in parts has their number in its ETag"
    # Two that asked, one that asked of parts, the object, and its receipt.
    assert sum("conditional" in action for action in store.passed) == 5
