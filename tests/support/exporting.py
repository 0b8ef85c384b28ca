"""What the integration tests share: how they export, and how they look at what landed without the package's help."""

from __future__ import annotations

import gzip
import io
import json
import random
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_akinon.audit_events.archive import PROBE_NAME
from airflow_provider_akinon.audit_events.formats import read_lines
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


class Span(NamedTuple):
    """A window, as the tests think of it."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Stored:
    """An object in S3: its key, its bytes, and what S3 says of it."""

    key: str
    body: bytes
    head: dict[str, Any]

    @property
    def is_receipt(self) -> bool:
        return self.key.rpartition("/")[2].startswith("_")

    @property
    def lines(self) -> list[bytes]:
        return gzip.decompress(self.body).split(b"\n")[:-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events, whatever the format."""
        if self.key.endswith(".parquet"):
            return [json.loads(line) for line in read_lines(io.BytesIO(self.body))]
        lines = self.body.split(b"\n")[:-1] if self.key.endswith(".jsonl") else self.lines
        return [json.loads(line) for line in lines]

    @property
    def uuids(self) -> list[str]:
        return [event["uuid"] for event in self.events]

    @property
    def identity(self) -> tuple[Any, ...]:
        """What changes when somebody writes the object again."""
        return (self.key, self.body, *(self.head.get(name) for name in ("ETag", "LastModified", "VersionId")))


def export(bucket: str, start: Any, end: Any, **arguments: Any) -> dict[str, Any]:
    """Export a window as a task would, and return what goes to XCom.

    Verbatim unless told otherwise, so that what is stored can be compared with the API's own bytes.
    """
    return execute({}, **{"redact": None, "s3_bucket": bucket, "start": start, "end": end, **arguments})


def execute(context: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return AuditEventsToS3Operator(task_id="export", **arguments).execute(context)


def refusal(bucket: str, start: Any, end: Any, **arguments: Any) -> str:
    """Export a window and return the text of the task's final failure."""
    with pytest.raises(AirflowFailException) as caught:
        export(bucket, start, end, **arguments)
    return str(caught.value)


def objects(s3: LocalS3, bucket: str) -> list[Stored]:
    """Return the objects of a bucket that query engines see: not the receipts."""
    return [one for one in everything(s3, bucket) if not one.is_receipt]


def identities(s3: LocalS3, bucket: str) -> list[tuple[Any, ...]]:
    """Return what changes of a bucket when anything at all is written to it, or removed."""
    return [one.identity for one in everything(s3, bucket)]


def all_lines(s3: LocalS3, bucket: str) -> list[bytes]:
    """Return the lines of all objects of a window together, in ``(timestamp, uuid)`` order."""
    found = [(json.loads(line), line) for one in objects(s3, bucket) for line in one.lines]
    found.sort(key=lambda each: (datetime.fromisoformat(each[0]["timestamp"]), each[0]["uuid"]))
    return [line for _, line in found]


def lasting(result: dict[str, Any]) -> dict[str, Any]:
    """Return what a task returns of what is stored, without what it found this time."""
    found = ("added", "same", "user_moved", "changed", "vanished", "not_compared", "new_fields")
    return {name: value for name, value in result.items() if name not in found}


def receipts(s3: LocalS3, bucket: str) -> list[dict[str, Any]]:
    """Return the receipts of a bucket, read, in the order of their keys."""
    return [json.loads(one.body) for one in everything(s3, bucket) if one.is_receipt]


def everything(s3: LocalS3, bucket: str) -> list[Stored]:
    client = s3.client()
    keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    keys = [key for key in keys if key.rpartition("/")[2] != PROBE_NAME]
    found = []
    for key in keys:
        answer = client.get_object(Bucket=bucket, Key=key)
        with answer.pop("Body") as body:
            found.append(Stored(key, body.read(), answer))
    return found


def versions(s3: LocalS3, bucket: str) -> int:
    """Return how many versions a bucket has of what `everything` returns."""
    found = s3.client().list_object_versions(Bucket=bucket).get("Versions", [])
    return sum(each["Key"].rpartition("/")[2] != PROBE_NAME for each in found)


def the_object(s3: LocalS3, bucket: str) -> Stored:
    """Return the only object of a bucket."""
    [stored] = objects(s3, bucket)
    return stored


def spread(span: Span, number: int) -> list[datetime]:
    """Return this many times that cover a window to its very edges, many of them equal."""
    reach = span.end - MICROSECOND - span.start
    times = [span.start + reach * (place - place % 3) // max(1, number - 1) for place in range(number)]
    return [*times[:-1], span.end - MICROSECOND] if number > 1 else times


def bulky(day: Span, first: int, number: int) -> list[dict[str, object]]:
    """Return events of about 300 kB each that do not compress."""
    rng = random.Random(f"{day.start} {first}")
    return [
        {"timestamp": day.start + (first + place) * SECOND, "content": b64encode(rng.randbytes(300_000)).decode()}
        for place in range(number)
    ]


def url_of(api: Sandbox) -> str:
    return api.list_url


def get(api: Sandbox, url: str, **params: str) -> requests.Response:
    """Ask the API without the package."""
    answer = requests.get(url, params=params, headers={"Authorization": f"Token {api.key}"}, timeout=20)
    answer.raise_for_status()
    return answer


def records(api: Sandbox, span: Span, **filters: str) -> list[bytes]:
    """Return the API's own bytes of each record of a window, in ``(timestamp, uuid)`` order."""
    window = {"timestamp__gte": api_time(span.start), "timestamp__lt": api_time(span.end)}
    found: list[bytes] = []
    page = 1
    while True:
        query = {**window, **filters, "sort": "timestamp,uuid", "limit": "200", "page": str(page)}
        answer = get(api, url_of(api), **query)
        found += _slices(answer.content)
        if answer.json()["next"] is None:
            return found
        page += 1


def api_time(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _slices(body: bytes) -> list[bytes]:
    """Return the bytes of each of a page's records, as they came."""
    text = body.decode()
    decoder = json.JSONDecoder()
    found = []
    place = text.index('"results":[') + len('"results":[')
    while text[place] != "]":
        _, end = decoder.raw_decode(text, place)
        found.append(text[place:end].encode())
        place = end + (text[end] == ",")
    return found


def list_requests(api: Sandbox, since: int = 0) -> list[dict[str, Any]]:
    return [entry for entry in api.requests()[since:] if entry["path"].endswith("/audit-events/")]
