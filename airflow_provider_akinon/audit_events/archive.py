"""The archive in S3: where a window's object lies, what it says of itself, and when it may be replaced.

The stored object is evidence. An export replaces it only where every stored event is still among those read, and
leaves it alone where the content is the same. It refuses to replace an object that is not an export of the same
window, source and filters. This module decides; it sends nothing to S3.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import IO

from airflow_provider_akinon.audit_events.errors import ForeignObject, InvalidInput, ShrinkRefused
from airflow_provider_akinon.audit_events.export import Export
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.records import Event, parse_event
from airflow_provider_akinon.audit_events.window import Window

EXTENSION = ".jsonl.gz"
METADATA_PREFIX = "akinon-"


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
    def of_window(cls, bucket: str | None, prefix: str, window: Window, filters: Filters, timezone: tzinfo) -> Place:
        """Return the place of ``window`` below ``prefix``, in Hive style by its date in ``timezone``.

        Different windows and different filters have different keys.

        :raises InvalidInput: the bucket is missing.
        """
        if not bucket:
            raise InvalidInput("s3_bucket is missing; give the bucket that the export goes to")
        span = f"{_compact(window.start)}_{_compact(window.end)}"
        asked = "".join(f"_{name}={value}" for name, value in filters.as_dict().items())
        name = f"date={window.date_in(timezone)}/{span}{asked}{EXTENSION}"
        return cls(bucket, f"{prefix.strip('/')}/{name}".lstrip("/"))


def default_prefix(source: str) -> str:
    """Return the prefix for the exports of a source, such as ``akinon/audit-events/shop.example.com/remote/1``."""
    return "akinon/audit-events/" + re.sub(r"[^A-Za-z0-9./-]", "_", source)


def _compact(instant: datetime) -> str:
    text = instant.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
    fraction = f".{instant.microsecond:06d}" if instant.microsecond else ""
    return f"{text}{fraction}Z"


def metadata_of(export: Export) -> dict[str, str]:
    """Return the object's metadata: what identifies its content, and what it is an export of."""
    values = {
        "count": str(export.count),
        "sha256": export.sha256,
        "content-sha256": export.content_sha256,
        "uuids-sha256": export.uuids_sha256,
        **_identity(export),
    }
    return {METADATA_PREFIX + name: value for name, value in values.items()}


def _identity(export: Export) -> dict[str, str]:
    return {
        "source": export.source,
        "window": "/".join(export.window.as_dict().values()),
        "filters": json.dumps(export.filters.as_dict()),
    }


@dataclass(frozen=True, slots=True)
class StoredExport:
    """What the metadata of a stored object says of it."""

    place: Place
    size: int
    count: int
    sha256: str
    content_sha256: str
    uuids_sha256: str

    @classmethod
    def read(cls, place: Place, size: int, metadata: Mapping[str, str], export: Export) -> StoredExport:
        """Return what is stored at ``place``, which ``export`` is about to go to.

        :raises ForeignObject: it is not an export of the same window, source and filters.
        """
        found = {
            name.lower().removeprefix(METADATA_PREFIX): value
            for name, value in metadata.items()
            if name.lower().startswith(METADATA_PREFIX)
        }
        for name, value in _identity(export).items():
            if found.get(name) != value:
                held = f"is an export with the {name} {found[name]}" if name in found else "is no export of ours"
                raise ForeignObject(
                    f"{place} {held}, and this one has the {name} {value}. Nothing was replaced: "
                    "choose a key that differs per window, source and filters (s3_prefix does), or move the object"
                )
        try:
            return cls(
                place=place,
                size=size,
                count=int(found["count"]),
                sha256=found["sha256"],
                content_sha256=found["content-sha256"],
                uuids_sha256=found["uuids-sha256"],
            )
        except (KeyError, ValueError) as error:
            raise ForeignObject(
                f"{place} has incomplete metadata ({error}). Nothing was replaced: move the object"
            ) from error


def require_superset(stored: StoredExport, stored_file: IO[bytes], export: Export) -> None:
    """Make sure that every stored event is still among those of ``export``.

    Both are in the order of ``(timestamp, uuid)``, so they are compared as they stream by.

    :raises ShrinkRefused: the export lacks events that are stored.
    """
    missing, example = 0, ""
    with gzip.open(stored_file) as stored_lines:
        for uuid in _missing(map(parse_event, stored_lines), map(parse_event, export.lines())):
            missing += 1
            example = example or uuid
    if missing:
        raise ShrinkRefused(
            f"{stored.place} holds {stored.count} events, and the API now returns {export.count} for the window "
            f"{export.window}: {missing} of the stored ones are no longer among them, such as {example}. Their "
            "retention may have passed, the key may see less, or it is another account. Nothing was replaced; "
            "allow_shrink=True replaces it all the same",
            stored=stored.count,
            read=export.count,
        )


def _missing(stored: Iterable[Event], read: Iterable[Event]) -> Iterator[str]:
    """Yield the uuids of ``stored`` that ``read`` lacks; both ascend."""
    remaining = iter(read)
    candidate = next(remaining, None)
    for event in stored:
        while candidate is not None and candidate[:2] < event[:2]:
            candidate = next(remaining, None)
        if candidate is None or candidate[:2] != event[:2]:
            yield event.uuid
