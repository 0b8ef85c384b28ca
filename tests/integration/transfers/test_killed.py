"""A worker that is killed in the middle of an upload leaves the bucket as it was, and the retry completes."""

from __future__ import annotations

import json
import signal

import pytest

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import Span, all_lines, bulky, export, objects, records
from tests.support.long import in_ci
from tests.support.servers import Connect
from tests.support.wire import Wire
from tests.support.worker import Worker


@pytest.mark.parametrize(
    ("number", "stall_after", "before"),
    [
        pytest.param(6, 600_000, 2, id="one-put-beside-an-older-object"),
        in_ci(30, 2_000_000, 0, id="multipart-nothing-there"),
        in_ci(32, 8_700_000, 2, id="multipart-beside-an-older-object"),
    ],
)
def test_a_kill_in_the_middle_of_an_upload(
    shop: Sandbox,
    s3: LocalS3,
    connect: Connect,
    bucket: str,
    day: Span,
    number: int,
    stall_after: int,
    before: int,
) -> None:
    """SIGKILL while parts are on their way: the first object, or none, is there; the retry lands exactly."""
    connect(shop, {"page_size": 10})
    if before:
        shop.insert(bulky(day, 0, before))
        export(bucket, *day)
    old = [one.identity for one in objects(s3, bucket)]
    shop.insert(bulky(day, before, number - before))
    connection = s3.connection()
    with Wire(s3.url, stall_after=stall_after) as wire:
        connection["extra"]["endpoint_url"] = wire.url
        process = Worker({"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection)}, bucket, *day)
        try:
            assert wire.stalled.wait(60)
            assert process.is_alive
        finally:
            process.kill()
            assert process.wait(10) == -signal.SIGKILL
        assert any("uploads" in line or "uploadId" in line for line in wire.requests) is (number >= 30)
        assert [one.identity for one in objects(s3, bucket)] == old
    # What was under way is cut off now.
    assert [one.identity for one in objects(s3, bucket)] == old

    assert export(bucket, *day)["count"] == number
    assert all_lines(s3, bucket) == records(shop, day)
    assert [one.identity for one in objects(s3, bucket)][: len(old)] == old
    assert len(objects(s3, bucket)) == len(old) + 1
