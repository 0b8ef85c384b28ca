"""The queries of the documentation run as they stand there, over a real S3, and answer what the events say."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pyarrow.parquet as pq
import pytest

from airflow_provider_akinon.audit_events.archive import Location, receipt_key
from airflow_provider_akinon.audit_events.formats import write_parquet
from airflow_provider_akinon.audit_events.model import Format
from airflow_provider_akinon.sandbox.generate import Shop
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.paths import DOCS

PAGE = (DOCS / "querying.rst").read_text()
PREFIX = "s3://audit-archive/akinon/audit-events/shop.example.com/remote/1"
FORMATS = ("jsonl.gz", "jsonl", "parquet")
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 3
USER, CONTENT_TYPE, OBJECT = 42, 21, 1234
UUID = "123e4567-e89b-12d3-a456-426614174000"


def blocks(title: str, language: str) -> list[str]:
    """Return the code of a section of the page."""
    section = re.split(rf"^{title}\n-+\n", PAGE, flags=re.M)[1]
    section = re.split(r"^.+\n-{3,}\n", section, flags=re.M)[0]
    found = re.findall(rf"^\.\. code-block:: {language}\n(?:   :force:\n)?\n((?:   .*\n|\n)+)", section, re.M)
    return [re.sub(r"^   ", "", block, flags=re.M).strip() for block in found]


def wanted() -> list[dict[str, Any]]:
    """Return events as the API may give them: ordinary ones, those asked for, and such that break a guessed type."""
    shop = Shop(7)
    events = list(shop.history(2000, START, START + timedelta(days=DAYS)))
    for number in range(30):
        at = START + timedelta(hours=number * 2, microseconds=number)
        events.append(shop.event(at, user=USER))
        events.append(shop.event(at, content_type=CONTENT_TYPE, object_id=OBJECT))
        events.append(shop.event(at, user=USER, content_type=CONTENT_TYPE, object_id=OBJECT, new={"field": 1}))
    last = START + timedelta(days=DAYS, seconds=-1)
    odd: list[dict[str, Any]] = [
        {"object_id": 10**30, "content_type": "text"},
        {"url": 5, "remote_addr": ["a"], "user": "text", "user_pk": 42},
        {"user": [1], "object_id": None, "content_type": None},
        {"content": "a\r\nb\u2028c", "headers": [1.10, {}], "uuid": UUID},
    ]
    events += [shop.event(last + timedelta(milliseconds=number), **fields) for number, fields in enumerate(odd)]
    return sorted(events, key=lambda event: (event["timestamp"], event["uuid"]))


EVENTS = wanted()


def line_of(event: dict[str, Any]) -> bytes:
    stamp = event["timestamp"].isoformat().replace("+00:00", "Z")
    return json.dumps({**event, "timestamp": stamp}, ensure_ascii=False, separators=(",", ":")).encode()


def encoded(extension: str, lines: list[bytes]) -> bytes:
    if extension == "parquet":
        file = io.BytesIO()
        write_parquet(lines, file)
        return file.getvalue()
    plain = b"".join(line + b"\n" for line in lines)
    return gzip.compress(plain) if extension == "jsonl.gz" else plain


@pytest.fixture(scope="module")
def archive(s3: LocalS3) -> str:
    """A bucket with the events in all formats: two objects a day, one with late events, and a day without events.

    Each object has a receipt, and each day a record of changes.
    """
    client, bucket = s3.client(), f"audit-{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    for number in range(DAYS + 1):
        day = START + timedelta(days=number)
        name = f"{day:%Y%m%dT%H%M%SZ}_{day + timedelta(days=1):%Y%m%dT%H%M%SZ}"
        lines = [line_of(event) for event in EVENTS if event["timestamp"].date() == day.date()]
        for extension in FORMATS:
            first = Location(bucket, f"prefix/date={day:%Y-%m-%d}/{name}.{extension}")
            # Every seventh event came late.
            late = first.late(1, Format(extension))
            stored = {first: [line for place, line in enumerate(lines) if place % 7], late: lines[::7]}
            for place, mine in stored.items():
                if mine or place == first:
                    client.put_object(Bucket=bucket, Key=place.key, Body=encoded(extension, mine))
            # The worst content that a receipt may have, and the worst names: those of receipts, and one more.
            names = [receipt_key(place.key, "0" * 64) for place in stored] + [receipt_key(first.key, "f" * 64)]
            for receipt in [*names, first.key.replace(name, f"_{name}")]:
                client.put_object(Bucket=bucket, Key=receipt, Body=b'{"uuid": "receipt"}\n')
    return f"s3://{bucket}/prefix"


@pytest.fixture
def duck(s3: LocalS3, archive: str) -> Iterator[Any]:
    """DuckDB, set up as the page says, and with the credentials of this S3."""
    names: dict[str, Any] = {}
    [code] = blocks("DuckDB", "python")
    exec(code, names)
    with names["connection"] as connection:
        connection.execute(statement("CREATE SECRET", archive))
        connection.execute(
            f"CREATE SECRET here (TYPE s3, SCOPE '{archive}', KEY_ID '{s3.access_key}', SECRET '{s3.secret_key}', "
            f"ENDPOINT '{s3.url.removeprefix('http://')}', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')"
        )
        yield connection


@pytest.fixture(params=FORMATS)
def view(request: pytest.FixtureRequest, duck: Any, archive: str) -> Any:
    """DuckDB with the page's view of one format."""
    duck.execute(statement("CREATE OR REPLACE VIEW", archive, f"*.{request.param}'"))
    return duck


def statement(start: str, archive: str, holds: str = "") -> str:
    """Return the page's one block of SQL that begins so, of the test's archive."""
    [block] = [block for block in blocks("DuckDB", "sql") if block.startswith(start) and holds in block]
    return block.replace(PREFIX, archive)


def answer(connection: Any, sql: str) -> list[dict[str, Any]]:
    found = connection.execute(sql)
    columns = [column[0] for column in found.description]
    return [dict(zip(columns, row, strict=True)) for row in found.fetchall()]


def key(event: dict[str, Any]) -> tuple[datetime, str]:
    return event["timestamp"], event["uuid"]


def test_events_per_day(view: Any, archive: str) -> None:
    """Every event counts once, on its day, in every format; receipts and the empty day do not."""
    found = {row["day"]: row["events"] for row in answer(view, statement("SELECT timestamp::DATE", archive))}

    assert found == Counter(event["timestamp"].date() for event in EVENTS)
    assert len(found) == DAYS
    assert min(found) == date(2026, 1, 1)


def test_what_one_user_did(view: Any, archive: str) -> None:
    """Exactly the user's events, in order, with what was sent."""
    events = [event for event in EVENTS if isinstance(event["user"], dict) and event["user"]["pk"] == USER]
    found = answer(view, statement("SELECT timestamp, uuid, remote_addr", archive))

    assert [key(row) for row in found] == [key(event) for event in events]
    assert len(found) == 60
    assert [(row["remote_addr"], row["url"]) for row in found] == [
        (event["remote_addr"], event["url"]) for event in events
    ]
    assert [json.loads(row["post_data"] or "null") for row in found] == [event["post_data"] for event in events]


def test_who_changed_an_object(view: Any, archive: str) -> None:
    """Exactly the object's events, in order, each with its user, or none."""
    events = [event for event in EVENTS if (event["content_type"], event["object_id"]) == (CONTENT_TYPE, OBJECT)]
    found = answer(view, statement("SELECT timestamp, uuid, user_pk", archive))

    assert [key(row) for row in found] == [key(event) for event in events]
    assert len(found) == 60
    assert [(row["user_pk"], row["username"]) for row in found] == [
        (event["user"]["pk"], event["user"]["username"]) if event["user"] else (None, None) for event in events
    ]


def test_whole_records(duck: Any, archive: str) -> None:
    """A record comes back as it is stored."""
    [row] = answer(duck, statement("SELECT json AS record", archive))
    [event] = [event for event in EVENTS if event["uuid"] == UUID]

    assert row["record"].encode() == line_of(event)


def test_nothing_is_left_out(view: Any) -> None:
    """The view has every event, also those with values that no column's type takes, and every free-form value."""
    rows = view.execute(
        'SELECT timestamp, uuid, "user", content, headers, post_data, query_params FROM audit_events ORDER BY 1, 2'
    ).fetchall()

    assert [row[:2] for row in rows] == [key(event) for event in EVENTS]
    for place, name in enumerate(("user", "content", "headers", "post_data", "query_params"), start=2):
        assert [json.loads(row[place] or "null") for row in rows] == [event[name] for event in EVENTS]


def test_a_folder_is_a_date(view: Any) -> None:
    """The view can be asked for some folders only."""
    [(events,)] = view.execute("SELECT count(*) FROM audit_events WHERE date >= '2026-01-02'").fetchall()

    assert events == sum(event["timestamp"].date() >= date(2026, 1, 2) for event in EVENTS)


def test_a_value_that_does_not_fit_is_found_in_rest(duck: Any, archive: str) -> None:
    """The condition on ``rest`` that the page shows finds what the column does not hold."""
    [condition] = re.findall(r"``WHERE object_id = 1234 (OR .+?)``", PAGE)
    rows = duck.execute(
        f"SELECT rest->>'object_id' FROM '{archive}/*/[0-9]*.parquet' WHERE object_id IS NULL AND ({condition[3:]})"
    ).fetchall()

    assert rows == [(str(10**30),)]


def test_nothing_is_guessed_or_dropped() -> None:
    """No query ignores errors; each reads its own format, and only names that start with a digit."""
    sql = "\n".join(blocks("DuckDB", "sql"))
    locations = re.findall(rf"'{PREFIX}(.*)'", sql)

    assert "ignore_errors" not in sql
    assert sorted(set(locations)) == [f"/*/[0-9]*.{extension}" for extension in sorted(FORMATS)]


def test_the_columns_are_those_of_the_files() -> None:
    """The page's table and Athena's have exactly the columns of a file, each with its type, in order."""
    file = io.BytesIO()
    write_parquet([], file)
    schema = [(field.name, str(field.type).partition("[")[0]) for field in pq.read_schema(file)]
    athena = {"int64": "bigint"}
    page = {"int64": "64-bit integer"}
    [ddl] = [block for block in blocks("Athena", "sql") if "STORED AS PARQUET" in block]
    table = re.findall(r"^   \* - ``(\w+)``\n     - (.+)$", PAGE, re.M)

    assert re.findall(r"^  `(\w+)` (\w+),?$", ddl, re.M) == [(name, athena.get(kind, kind)) for name, kind in schema]
    assert table == [(name, page.get(kind, kind)) for name, kind in schema]
