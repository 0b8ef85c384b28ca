"""Where a window's object lies in S3: one window with its filters and format always at one key, and no other there.

This module knows names only; it neither sends nor looks anything up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from airflow_provider_akinon.audit_events.encoding import Format
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.window import Window


@dataclass(frozen=True, slots=True)
class Place:
    """Bucket and key of an object."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @classmethod
    def of_key(cls, bucket: str | None, key: str) -> Place:
        """Return the place of a whole key, or of an ``s3://bucket/key`` URL without a bucket beside it.

        :raises InvalidInput: the bucket is missing, or given twice, or the key is empty or a folder.
        """
        if key.startswith("s3://"):
            if bucket:
                raise InvalidInput(
                    f"s3_key={key!r} names its bucket, and so does s3_bucket={bucket!r}; give one of them"
                )
            bucket, _, key = key.removeprefix("s3://").partition("/")
        if not bucket:
            raise InvalidInput(f"s3_bucket is missing for s3_key={key!r}; give it, or an s3://bucket/key URL")
        if not key or key.endswith("/"):
            raise InvalidInput(f"s3_key={key!r} is not a whole key; add a file name, or use s3_prefix")
        return cls(bucket, key)

    @classmethod
    def of_window(
        cls,
        bucket: str | None,
        prefix: str,
        window: Window,
        filters: Filters,
        timezone: tzinfo,
        format: Format = Format.JSONL_GZ,  # noqa: A002 - the field's own word
    ) -> Place:
        """Return the place of ``window`` below ``prefix``, in Hive style by its date in ``timezone``.

        Different windows and different filters have different keys.

        :raises InvalidInput: the bucket is missing.
        """
        if not bucket:
            raise InvalidInput("s3_bucket is missing; give the bucket that the export goes to")
        span = f"{_compact(window.start)}_{_compact(window.end)}"
        asked = "".join(f"_{name}={value}" for name, value in filters.as_dict().items())
        name = f"date={window.date_in(timezone)}/{span}{asked}.{format.value}"
        return cls(bucket, f"{prefix.strip('/')}/{name}".lstrip("/"))


DEFAULT_PREFIX = "akinon/audit-events"
"""What the keys of all sources begin with by default."""


def default_prefix(source: str) -> str:
    """Return the prefix for the exports of a source, such as ``akinon/audit-events/shop.example.com/remote/1``."""
    return f"{DEFAULT_PREFIX}/" + re.sub(r"[^A-Za-z0-9./-]", "_", source)


def _compact(instant: datetime) -> str:
    text = instant.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
    fraction = f".{instant.microsecond:06d}" if instant.microsecond else ""
    return f"{text}{fraction}Z"
