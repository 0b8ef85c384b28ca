"""Each example DAG runs in an Airflow of its own, against a real API and a real S3, and what lands is exact."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from tests.support.dag_runs import DagRuns
from tests.support.servers import UNTIL

BUCKET = "example-archive"
SEALED = "sealed-archive"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)

pytestmark = pytest.mark.xdist_group("airflow")
"""They run in one Airflow, in this order: some look at what others stored."""


@pytest.fixture(scope="module")
def api() -> Iterator[Sandbox]:
    """Two days of events, a few of them of the user that one of the examples exports."""
    with Sandbox.start(events=1_500, days=2, until=UNTIL) as api:
        api.insert({"timestamp": UNTIL - DAY + place * HOUR, "user": 42} for place in range(5))
        yield api


@dataclass(frozen=True)
class Airflow:
    """The Airflow that the examples run in, and the environment that they find there."""

    runs: DagRuns
    environment: dict[str, str]

    def run(
        self,
        dag_id: str,
        *dates: datetime,
        conf: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
    ) -> list[str]:
        """Run a DAG for each logical date, and return the states in which the runs ended."""
        return self.runs.run(dag_id, *dates, conf=conf, environment=self.environment | (environment or {}))

    @property
    def log(self) -> str:
        return self.runs.log


@pytest.fixture(scope="module")
def example(airflow: DagRuns, api: Sandbox, s3: LocalS3) -> Airflow:
    s3.client().create_bucket(Bucket=BUCKET)
    return Airflow(
        airflow,
        {
            "AIRFLOW_CONN_AKINON_DEFAULT": api.connection_json(),
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(s3.connection()),
            "AKINON_EXAMPLE_BUCKET": BUCKET,
        },
    )


def stored(s3: LocalS3, prefix: str) -> dict[str, list[str]]:
    """Return the uuids in each object below a prefix, by what follows it in the key."""
    client = s3.client()
    found = {}
    for entry in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []):
        if entry["Key"].rpartition("/")[2].startswith("_"):
            continue
        with client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"] as body:
            lines = gzip.decompress(body.read()).splitlines()
        found[entry["Key"].removeprefix(prefix)] = [json.loads(line)["uuid"] for line in lines]
    return found


def default_prefix(api: Sandbox) -> str:
    return f"akinon/audit-events/{api.url.removeprefix('http://').replace(':', '_3A')}/remote/1/"


def test_daily_export(example: Airflow, api: Sandbox, s3: LocalS3) -> None:
    """Two days land as two objects that hold the API's events; only a small result goes to XCom, and no key."""
    assert example.run("akinon_daily_export", UNTIL - DAY, UNTIL) == ["success", "success"], example.log

    objects = stored(s3, default_prefix(api))
    assert objects == {
        "date=2026-01-30/20260130T000000Z_20260131T000000Z.jsonl.gz": api.uuids(UNTIL - 2 * DAY, UNTIL - DAY),
        "date=2026-01-31/20260131T000000Z_20260201T000000Z.jsonl.gz": api.uuids(UNTIL - DAY, UNTIL),
    }
    assert all(objects.values())
    xcoms = example.runs.xcoms("akinon_daily_export")
    assert len(xcoms) == 2
    # A thousand characters, and half as many for the one object in its list.
    assert all(len(xcom) < 1500 and "content_sha256" in xcom for xcom in xcoms)
    assert api.key not in example.log


def test_settled_export(example: Airflow, api: Sandbox, s3: LocalS3) -> None:
    """A day that ended long ago has settled at once, and is left alone where it is stored already."""
    before = stored(s3, default_prefix(api))

    assert example.run("akinon_settled_export", UNTIL) == ["success"], example.log

    key = "date=2026-01-31/20260131T000000Z_20260201T000000Z.jsonl.gz"
    assert stored(s3, default_prefix(api)) == before | {key: api.uuids(UNTIL - DAY, UNTIL)}
    assert f"holds {len(api.uuids(UNTIL - DAY, UNTIL))} matching events" in example.log


def test_hourly_export(example: Airflow, api: Sandbox, s3: LocalS3) -> None:
    """Hours around midnight in Istanbul land under the dates of Istanbul."""
    midnight = UNTIL - DAY - 3 * HOUR

    assert example.run("akinon_hourly_export", midnight, midnight + HOUR) == ["success", "success"], example.log

    assert stored(s3, "hourly/") == {
        "date=2026-01-30/20260130T200000Z_20260130T210000Z.jsonl.gz": api.uuids(midnight - HOUR, midnight),
        "date=2026-01-31/20260130T210000Z_20260130T220000Z.jsonl.gz": api.uuids(midnight, midnight + HOUR),
    }


def test_one_users_export(example: Airflow, api: Sandbox, s3: LocalS3) -> None:
    """What one user did lands, and a day without it is an object without events."""
    assert example.run("akinon_admin_user_export", UNTIL, UNTIL - DAY) == ["success", "success"], example.log

    truth = api.uuids(UNTIL - DAY, UNTIL, user=42)
    assert len(truth) == 5
    assert stored(s3, "users/") == {
        "date=2026-01-30/20260130T000000Z_20260131T000000Z_user=42.jsonl.gz": [],
        "date=2026-01-31/20260131T000000Z_20260201T000000Z_user=42.jsonl.gz": truth,
    }


def test_event_lookup(example: Airflow, api: Sandbox) -> None:
    """The event that is asked for is looked up, and what is handed on holds no personal data."""
    [uuid] = api.insert([{"timestamp": UNTIL + HOUR, "user": 4711, "remote_addr": "203.0.113.77"}])

    assert example.run("akinon_event_lookup", UNTIL, conf={"uuid": uuid}) == ["success"], example.log

    [xcom] = example.runs.xcoms("akinon_event_lookup")
    assert uuid in xcom
    assert "2026-02-01T01:00:00Z" in xcom
    assert "user4711@example.com" not in xcom
    assert "203.0.113.77" not in xcom


def day_key(day: datetime) -> str:
    """Return what follows the prefix in the key of a day's export."""
    return f"date={day:%Y-%m-%d}/{day:%Y%m%dT%H%M%SZ}_{day + DAY:%Y%m%dT%H%M%SZ}.jsonl.gz"


def late_key(day: datetime) -> str:
    """Return what follows the prefix in the key of a day's late events."""
    return day_key(day).replace(".jsonl.gz", ".late-1.jsonl.gz")


@pytest.fixture
def export(example: Airflow, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that exports a window in this process, which takes less time than a run."""
    for name, value in example.environment.items():
        monkeypatch.setenv(name, value)

    def export(start: datetime, end: datetime, bucket: str = BUCKET) -> None:
        AuditEventsToS3Operator(task_id="export", s3_bucket=bucket, start=start, end=end).execute({})

    return export


def contents(s3: LocalS3, bucket: str, extension: str) -> dict[str, bytes]:
    """Return the bytes of a bucket's objects whose keys end like this, in the order of their keys."""
    client = s3.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    found = {}
    for key in [entry["Key"] for page in pages for entry in page["Contents"] if entry["Key"].endswith(extension)]:
        with client.get_object(Bucket=bucket, Key=key)["Body"] as body:
            found[key] = body.read()
    return found


@dataclass(frozen=True)
class SealKey:
    """The key that the examples seal with, and the environment in which they find it."""

    secret: str
    public: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AIRFLOW_CONN_AKINON_SEAL": json.dumps({"conn_type": "generic", "password": self.secret}),
            "AIRFLOW_VAR_AKINON_SEAL_PUBLIC_KEY": self.public,
        }


@pytest.fixture(scope="module")
def seal_key() -> SealKey:
    private = Ed25519PrivateKey.generate()
    secret, public = private.private_bytes_raw(), private.public_key().public_bytes_raw()
    return SealKey(b64encode(secret).decode(), b64encode(public).decode())


def sealed_windows(s3: LocalS3, bucket: str) -> list[list[str]]:
    """Return the starts of the windows that each seal holds, in the order of the seals' numbers."""
    seals = map(json.loads, contents(s3, bucket, ".seal.json").values())
    return [[entry["window"]["start"] for entry in seal["receipts"]] for seal in seals]


def test_weekly_reconcile_mends(
    example: Airflow, api: Sandbox, s3: LocalS3, export: Callable[..., None], seal_key: SealKey
) -> None:
    """Late events land beside their windows and are sealed; a week without any is a success as well."""
    monday = datetime(2025, 6, 2, 4, tzinfo=UTC)
    days = [datetime(2025, 5, day, tzinfo=UTC) for day in (10, 20, 30)]
    for day in days:
        api.insert({"timestamp": day + place * HOUR} for place in range(5))
        export(day, day + DAY)
    weekly = partial(example.run, "akinon_weekly_reconcile", environment=seal_key.environment)
    assert weekly(monday) == ["success"], example.log
    api.insert({"timestamp": day + 20 * HOUR} for day in days[:2])

    assert weekly(monday, monday + 7 * DAY) == ["success", "success"], example.log

    objects = stored(s3, default_prefix(api))
    assert [len(objects[day_key(day)]) for day in days] == [5, 5, 5]
    late = [objects.get(late_key(day), []) for day in days]
    assert [len(each) for each in late] == [1, 1, 0]
    # They are the latest of their day.
    assert [objects[day_key(day)] + each for day, each in zip(days, late, strict=True)] == [
        api.uuids(day, day + DAY) for day in days
    ]
    receipts = "".join(contents(s3, BUCKET, ".receipt.json"))
    assert [receipts.count(f"_{day:%Y%m%dT%H%M%SZ}_") for day in days] == [2, 2, 1]
    # The week after, nothing was left to mend.
    assert set(re.findall(r"Counted 3 windows .*: (\d) windows have late events", example.log)) == {"2", "0"}
    starts = [f"{day:%Y-%m-%dT%H:%M:%S}Z" for day in days]
    assert sealed_windows(s3, BUCKET) == [starts, starts[:2]]
    assert api.key not in example.log
    assert seal_key.secret not in "".join([example.log, *example.runs.xcoms("akinon_weekly_reconcile")])


def test_weekly_reconcile_alerts(
    example: Airflow, api: Sandbox, s3: LocalS3, export: Callable[..., None], seal_key: SealKey
) -> None:
    """Where the source has lost or changed events, the run fails and says where; late events are still sealed."""
    monday = datetime(2025, 9, 1, 4, tzinfo=UTC)
    late, lost, changed = days = [datetime(2025, 8, day, tzinfo=UTC) for day in (5, 15, 25)]
    for day in days:
        api.insert({"timestamp": day + place * HOUR} for place in range(5))
        export(day, day + DAY)
    before = stored(s3, default_prefix(api))
    came_late = api.insert([{"timestamp": late + 20 * HOUR}])
    api.delete(before[day_key(lost)][:1])
    api.update(before[day_key(changed)][2], url="https://shop.example.com/planted/")

    assert example.run("akinon_weekly_reconcile", monday, environment=seal_key.environment) == ["failed"]

    assert f"{day_key(lost)}: 1 vanished; of 5 that were fetched, 1 are gone, 0 were changed" in example.log
    assert f"{day_key(changed)}: 0 vanished; of 5 that were fetched, 0 are gone, 1 were changed" in example.log
    assert f"{day_key(late)}: 0 vanished" not in example.log
    objects = stored(s3, default_prefix(api))
    assert objects == before | {late_key(late): came_late}
    receipts = [json.loads(body) for body in contents(s3, BUCKET, ".receipt.json").values()]
    assert [one["vanished"] for one in receipts if one["object"] is None] == [before[day_key(lost)][:1]]
    assert "planted" not in "".join([example.log, *example.runs.xcoms("akinon_weekly_reconcile")])
    # The days themselves, the late event, and the record of the lost one.
    starts = [f"{day:%Y-%m-%dT%H:%M:%S}Z" for day in (late, late, lost, lost, changed)]
    assert sorted(sealed_windows(s3, BUCKET)[-1]) == starts
    # The run would have failed by the export alone.
    assert example.runs.states("akinon_weekly_reconcile", "require_mended")[-1] == "upstream_failed"


def test_monthly_seal(example: Airflow, s3: LocalS3, export: Callable[..., None], seal_key: SealKey) -> None:
    """Two months are sealed, one upon the other, and verified; what was altered or deleted fails the run."""
    client = s3.client()
    client.create_bucket(Bucket=SEALED)
    example.runs.forget("akinon_seal_heads")  # of another bucket
    environment = {"AKINON_EXAMPLE_BUCKET": SEALED, **seal_key.environment}
    february, march, april = (datetime(2025, month, 1, tzinfo=UTC) for month in (2, 3, 4))
    middle = datetime(2025, 2, 15, tzinfo=UTC)
    for start, end in pairwise([february, middle, march, april, april + DAY]):
        export(start, end, SEALED)
    noon = 12 * HOUR

    sealed = example.run("akinon_monthly_seal", march + noon, april + noon, environment=environment)
    assert sealed == ["success", "success"], example.log

    seals = contents(s3, SEALED, ".seal.json")
    told = [
        (seal["number"], len(seal["receipts"]), seal["gaps"], seal["signed_by"])
        for seal in map(json.loads, seals.values())
    ]
    assert told == [(1, 2, [], seal_key.public), (2, 1, [], seal_key.public)]
    assert seal_key.secret not in "".join([example.log, *example.runs.xcoms("akinon_monthly_seal")])

    # A byte of an object is altered.
    key, body = next(iter(contents(s3, SEALED, ".jsonl.gz").items()))
    client.put_object(Bucket=SEALED, Key=key, Body=bytes([*body[:-1], body[-1] ^ 1]))
    assert example.run("akinon_monthly_seal", april + noon, environment=environment) == ["failed"]
    wrong = f"The audit archive needs a look: 1 findings are wrong in s3://{SEALED}/akinon/audit-events/: altered: "
    assert any(wrong in line and key in line for line in example.log.splitlines()), example.log
    client.put_object(Bucket=SEALED, Key=key, Body=body)

    # The newest seal is deleted, which only a head that was kept elsewhere can show.
    newest, body = list(seals.items())[-1]
    client.delete_object(Bucket=SEALED, Key=newest)
    assert example.run("akinon_monthly_seal", april + noon, environment=environment) == ["failed"]
    head = hashlib.sha256(body).hexdigest()
    assert re.search(f"The audit archive needs a look: No seal below .* is the known head {head}", example.log)
    assert contents(s3, SEALED, ".seal.json").keys() == seals.keys() - {newest}
