"""An archive that was exported and sealed for real, once, and buckets with copies of it that tests may damage.

Five periods of five days: each of the first four is sealed, the last one is not yet. Two days have a second object
for late events: one whose first object the first seal holds and whose second the third seal does, and one that no
seal holds. Of one more day each, in a sealed period and in the last, an event was changed at the source and another
has vanished, which a receipt without an object records. One day has no events.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from airflow_provider_akinon.audit_events.api import AuditEventsApi, Settings
from airflow_provider_akinon.audit_events.archive import PROBE_NAME, Bucket, Location, Run, Status, default_prefix
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters, Format, Window
from airflow_provider_akinon.audit_events.sealing import SealResult, seal_archive
from airflow_provider_akinon.audit_events.seals import PrivateKey, Seal
from airflow_provider_akinon.audit_events.storing import Archived, Target, archive
from airflow_provider_akinon.audit_events.verification import Expected, Report, verify_archive
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import DAY, SECOND
from tests.support.memory_bucket import MemoryBucket

START = datetime(2025, 3, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
LENGTH = 5
"""Days of a period."""
DAYS = range(5 * LENGTH)
SEALED = range(4 * LENGTH)
REPEATED, REPEATED_LATER, EMPTY = 2, 22, 7
"""The days with late events, sealed and not, and the day without events."""
RECORDED, RECORDED_LATER = 12, 21
"""The days with a record of changes, sealed and not."""
PREFIX = "akinon/audit-events/"
EVERYTHING = Filters()
NOBODY = Run(dag_id=None, task_id=None, run_id=None, map_index=None, try_number=None)

PRIVATE_PEM, _ANOTHER_PEM = (
    Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for _ in range(2)
)
KEY, ANOTHER_KEY = (PrivateKey.parse("key", pem) for pem in (PRIVATE_PEM, _ANOTHER_PEM))

Files = dict[str, bytes]


@dataclass(frozen=True)
class Archive:
    """Every key of an archive with its bytes, and what was kept outside the bucket."""

    files: Files = field(repr=False)
    heads: tuple[str, ...]
    """Of the seals, the oldest first."""
    chain: str
    bucket: str
    """The name of the bucket that it was written in."""

    def objects(self, day: int) -> list[str]:
        """Return the keys of a day's objects, in their order."""
        found = [key for key in self.files if f"/date={date_of(day)}/{date_of(day).replace('-', '')}T" in key]
        return sorted(found, key=lambda key: (".late-" in key, key))

    def object(self, day: int) -> str:
        """Return the key of a day's first object."""
        return self.objects(day)[0]

    def late(self, day: int) -> str:
        """Return the key of a day's late events."""
        [_, key] = self.objects(day)
        return key

    def receipts(self, day: int) -> list[str]:
        """Return the keys of a day's receipts, in their order."""
        found = [key for key in self.files if f"/date={date_of(day)}/_" in key]
        return sorted(found, key=lambda key: len(self.document(key)["previous"]))

    def receipt(self, day: int) -> str:
        """Return the key of the newest receipt of a day."""
        return self.receipts(day)[-1]

    def seal(self, number: int) -> str:
        """Return the key of a seal."""
        [key] = [key for key in self.files if key.endswith(f"/_{number:06d}.seal.json")]
        return key

    def document(self, key: str) -> dict[str, Any]:
        """Return a receipt or a seal, read."""
        return dict(json.loads(self.files[key]))

    def of_days(self, days: Iterable[int]) -> Files:
        """Return what was exported of these days."""
        dates = tuple(f"/date={date_of(day)}/" for day in days)
        return {key: body for key, body in self.files.items() if any(date in key for date in dates)}


def date_of(day: int) -> str:
    return (START + day * DAY).date().isoformat()


def window_of(day: int, days: int = 1) -> Window:
    return Window(START + day * DAY, START + (day + days) * DAY)


def edges(window: Window) -> tuple[datetime, datetime]:
    return window.start, window.end


def days_of(period: int) -> range:
    """Return the days of a period, the first being 1."""
    return DAYS[LENGTH * (period - 1) : LENGTH * period]


def period_of(number: int) -> Window:
    """Return the window of a period, the first being 1."""
    return window_of(days_of(number)[0], LENGTH)


@cache
def archive_of(s3: LocalS3, shop: Sandbox) -> Archive:
    """Export and seal the archive, the first time; see the module."""
    shop.insert(
        {"timestamp": START + day * DAY + n * 7200 * SECOND} for day in DAYS if day != EMPTY for n in range(12)
    )
    bucket = Bucket(s3.client(), new_bucket(s3))
    heads = []
    with api_of(shop) as api:
        for number in range(1, 6):
            for day in days_of(number):
                export_to(bucket, api, window_of(day))
            for again in {3: [REPEATED], 5: [REPEATED_LATER]}.get(number, []):
                shop.insert([{"timestamp": START + again * DAY + SECOND}])
                assert export_to(bucket, api, window_of(again)).added == 1
            for again in {3: [RECORDED], 5: [RECORDED_LATER]}.get(number, []):
                changed, lost = shop.uuids(*edges(window_of(again)))[2:4]
                shop.update(changed, url="https://shop.example.com/other/")
                shop.delete([lost])
                assert export_to(bucket, api, window_of(again)).written
            if days_of(number)[0] in SEALED:
                heads.append(seal(bucket, period_of(number)).head.sha256)
        chain = str(api.settings.source)
    return Archive(files_of(s3, bucket.name), tuple(heads), chain, bucket.name)


def api_of(shop: Sandbox) -> AuditEventsApi:
    """Return a client of the sandbox."""
    return AuditEventsApi(Settings.parse(host=shop.url, password=shop.key, extra={"remote_id": shop.remote_id}))


def export_to(
    bucket: Bucket,
    api: AuditEventsApi,
    window: Window,
    filters: Filters = EVERYTHING,
    file_format: Format = Format.JSONL_GZ,
) -> Archived:
    """Export a window to where the operator would."""
    place = Location.of_window(bucket.name, default_prefix(api.settings.source), window, filters, UTC, file_format)
    target = Target.look(bucket, place, file_format, "UTC")
    with export_window(api, window, filters, file_format=file_format) as export:
        return archive(export, target, {}, NOBODY)


def seal(bucket: Bucket, period: Window, **arguments: Any) -> SealResult:
    """Seal an archive with one chain, signed unless told otherwise."""
    [sealing] = seal_archive(bucket, PREFIX, period, NOBODY, **{"key": KEY, **arguments})
    return sealing


def new_bucket(s3: LocalS3) -> str:
    name = f"sealed-{uuid4().hex}"
    s3.client().create_bucket(Bucket=name)
    return name


def files_of(s3: LocalS3, bucket: str) -> Files:
    """Return every key of a bucket with its bytes, but what the store is tried with."""
    client, bucket_ = s3.client(), Bucket(s3.client(), bucket)
    listed = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
    keys = [key for key in listed if not key.endswith(PROBE_NAME)]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(keys, pool.map(lambda key: bucket_.read(key, 1 << 20), keys), strict=True))


def put(s3: LocalS3, bucket: str, files: Mapping[str, bytes]) -> None:
    client = s3.client()

    def put_one(file: tuple[str, bytes]) -> None:
        client.put_object(Bucket=bucket, Key=file[0], Body=file[1])

    first, *others = files.items()
    # Alone: the server makes room for a new bucket then, and several at once would wait a second for that.
    put_one(first)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put_one, others))


def new_bucket_with(s3: LocalS3, files: Mapping[str, bytes]) -> Bucket:
    """Return a new bucket that holds these files."""
    name = new_bucket(s3)
    put(s3, name, files)
    return Bucket(s3.client(), name)


def memory_bucket_with(files: Mapping[str, bytes]) -> Bucket:
    """Return a bucket in memory that holds these files: to be read many times, in many variants."""
    memory = MemoryBucket.holding(files)
    return Bucket(memory, memory.name)


def bucket_with(s3: LocalS3, files: Mapping[str, bytes]) -> Bucket:
    """Return a bucket that holds these files and no others, until this is called again.

    It is the same one each time, for speed: what differs from what lies there is written, and the rest deleted.
    """
    client, name = s3.client(), _bench(s3)
    there = {
        entry["Key"]: entry["ETag"].strip('"') for entry in client.list_objects_v2(Bucket=name).get("Contents", [])
    }
    differing = {key: body for key, body in files.items() if there.get(key) != hashlib.md5(body).hexdigest()}
    for key in there.keys() - files.keys():
        client.delete_object(Bucket=name, Key=key)
    if differing:
        put(s3, name, differing)
    return Bucket(client, name)


@cache
def _bench(s3: LocalS3) -> str:
    return new_bucket(s3)


def verify(bucket: Bucket, *, signed_by: PrivateKey | None = KEY, **expected: Any) -> Report:
    """Verify an archive, with the public key unless told otherwise."""
    keys = [] if signed_by is None else [signed_by.public]
    return verify_archive(bucket, PREFIX, Expected(public_keys=keys, **expected))


Found = tuple[Status, str | Window | None]


def wrong(report: Report) -> set[Found]:
    """Return what is wrong: each status with the key that it is about, else the window, else the chain."""
    found = [(each.status, each.key or each.window or each.chain) for each in report.wrong]
    assert len(found) == len(set(found))
    assert all(each.details and each.details[0] for each in report.wrong)
    return set(found)


def right(report: Report) -> dict[str, Status]:
    """Return the status of each key with which nothing is wrong."""
    return {each.key or "": each.status for each in report.findings if not each.status.is_wrong}


def renamed(receipt: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the rightful key and the bytes of an object's receipt that somebody wrote."""
    return beside(receipt["object"]["key"], receipt)


def beside(key: str, receipt: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the key and the bytes of a receipt that lies beside an object."""
    return named_by_bytes(key, json.dumps(receipt, indent=2).encode())


def named_by_bytes(key: str, body: bytes) -> tuple[str, bytes]:
    """Return the key that bytes have as a receipt beside an object, and the bytes."""
    folder, slash, name = key.rpartition("/")
    return f"{folder}{slash}_{name}.{hashlib.sha256(body).hexdigest()}.receipt.json", body


def rewritten(body: bytes, key: PrivateKey | None = None, **fields: Any) -> bytes:
    """Return a seal with other fields, signed anew, or by nobody."""
    changed = msgspec.structs.replace(msgspec.json.decode(body, type=Seal), **fields)
    return msgspec.structs.replace(changed, signed_by=None, signature=None).signed(key).encode()
