"""`Bucket` against a real S3."""

from __future__ import annotations

import tempfile
import tracemalloc

from airflow_provider_akinon.audit_events.archive import Bucket
from airflow_provider_akinon.sandbox.s3 import LocalS3

MIB = 1 << 20


def test_a_large_upload_takes_little_memory(s3: LocalS3, bucket: str) -> None:
    """An object goes up in parts, few of which are in memory at a time, and lands whole."""
    mine = Bucket(s3.client(), bucket)
    with tempfile.TemporaryFile() as file:
        file.truncate(100 * MIB)
        tracemalloc.start()
        try:
            mine.upload("large.jsonl", file, {})
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert peak < 24 * MIB
    assert [*mine.entries("")] == [("large.jsonl", 100 * MIB)]
