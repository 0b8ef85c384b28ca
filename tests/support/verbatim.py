"""An API of records that are written by hand, byte for byte, since the sandbox writes JSON only as Python does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tests.support.http_server import Answer, Request, page, problem

FILTERS = ("user", "content_type", "object_id")


def answer_verbatim(records: Mapping[str, str], request: Request) -> Answer:
    """Answer with records, each given by its uuid, as they are written, in the order of time.

    What has the same time stays in the order in which it is given here.
    """
    query = request.query
    if not request.path.endswith("/audit-events/"):
        uuid = request.path.rstrip("/").rpartition("/")[2]
        return Answer(body=records[uuid].encode()) if uuid in records else problem(404, {})
    found = sorted((record for record in records.values() if _matches(record, query)), key=_moment)
    limit, number = int(query.get("limit", "20")), int(query.get("page", "1"))
    return page(len(found), *found[(number - 1) * limit : number * limit])


def _matches(record: str, query: Mapping[str, str]) -> bool:
    start, end = (datetime.fromisoformat(query[name]) for name in ("timestamp__gte", "timestamp__lt"))
    fields = _fields(record)
    return start <= _moment(record) < end and all(
        _number(fields.get(name)) == query[name] for name in FILTERS if name in query
    )


def _number(value: Any) -> Any:
    return value.get("pk") if isinstance(value, dict) else value


def _moment(record: str) -> datetime:
    return datetime.fromisoformat(_fields(record)["timestamp"])


def _fields(record: str) -> dict[str, Any]:
    # As text, since Python reads no integer of thousands of digits.
    fields: dict[str, Any] = json.loads(record, parse_int=str)
    return fields
