"""A sealed archive in memory, made by the package itself from a source in memory, and what an attacker makes of it.

Two series of twelve days, of everything and of one format each, JSON Lines and Parquet side by side: two periods of
four days are sealed and signed, the last four days are not. One sealed day has late events that the second seal
holds, one a record of changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from airflow_provider_akinon.audit_events.archive import Bucket, Location, first_and_number
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.model import Filters, Format, Window, parse_timezone
from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.audit_events.sealing import SealResult, seal_archive
from airflow_provider_akinon.audit_events.storing import Archived, Target, archive
from airflow_provider_akinon.audit_events.verification import Expected, Report, verify_archive
from tests.support.changing_source import ChangingApi, Event
from tests.support.memory_bucket import MemoryBucket
from tests.support.sealed import KEY, NOBODY, Files, memory_bucket_with

START = datetime(2025, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PERIOD, PERIODS, SEALED_PERIODS = 4, 3, 2
"""Days of a period, and how many there are."""
SEALED_END = START + SEALED_PERIODS * PERIOD * DAY
PREFIX = "logs/"
FORMATS = (Format.JSONL_GZ, Format.PARQUET)
EVERYTHING = Filters()


def day(number: int, days: int = 1) -> Window:
    return Window(START + number * DAY, START + (number + days) * DAY)


@dataclass
class Shop:
    """A source in memory, and how its windows are exported: by a time zone and a policy of redaction."""

    host: str = "http://localhost:1"
    zone: str = "UTC"
    redaction: Redaction | None = None
    numbers: int = 0
    """The events that happened so far."""

    def __post_init__(self) -> None:
        self.api = ChangingApi(page_size=100, host=self.host)

    def happen(self, *moments: datetime) -> None:
        """Let an event happen at each moment."""
        for moment in moments:
            self.numbers += 1
            event = Event.of(self.numbers, moment)
            self.api.events[event.uuid] = event

    def export(
        self,
        bucket: Bucket,
        window: Window,
        format_: Format = Format.JSONL_GZ,
        *,
        filters: Filters = EVERYTHING,
        prefix: str = PREFIX,
    ) -> Archived:
        """Export a window as a task would."""
        zone = parse_timezone("zone", self.zone)
        place = Location.of_window(bucket.name, prefix, window, filters, zone, format_)
        target = Target.look(bucket, place, format_, self.zone)
        with export_window(self.api, window, filters, self.redaction, format_) as export:
            return archive(export, target, {}, NOBODY)


def seal(bucket: Bucket, period: Window, **arguments: Any) -> list[SealResult]:
    """Seal an archive, signed unless told otherwise."""
    return seal_archive(bucket, PREFIX, period, NOBODY, **{"key": KEY, **arguments})


def verify(files: Mapping[str, bytes] | Bucket, **expected: Any) -> Report:
    """Verify an archive, with the public key unless told otherwise."""
    bucket = files if isinstance(files, Bucket) else memory_bucket_with(files)
    return verify_archive(bucket, PREFIX, Expected(**{"public_keys": [KEY.public], **expected}))


@dataclass(frozen=True)
class Sealed:
    """An archive, and what was kept outside the bucket."""

    files: Files = field(repr=False)
    heads: tuple[str, ...]
    """Of the chain, the oldest first."""
    chain: str

    def document(self, key: str) -> dict[str, Any]:
        return dict(json.loads(self.files[key]))

    @property
    def seals(self) -> list[str]:
        return sorted(key for key in self.files if "/_seals/" in key)

    @property
    def receipts(self) -> list[str]:
        return sorted(key for key in self.files if key.endswith(".receipt.json"))

    @property
    def objects(self) -> list[str]:
        return sorted(self.files.keys() - set(self.receipts) - set(self.seals))

    @property
    def held(self) -> dict[str, str]:
        """The key of the first object of the window of each key that a seal holds, by that key."""
        held = [entry for key in self.seals for entry in self.document(key)["receipts"]]
        by_receipt = {key.split(".")[-3]: key for key in self.receipts}
        keys = {by_receipt[entry["receipt"]]: entry["object"] for entry in held}
        return {
            key: first_and_number(name)[0] for key, name in [*keys.items(), *((name, name) for name in keys.values())]
        }


@cache
def sealed_archive() -> Sealed:
    """Make the archive, the first time; see the module."""
    shop = Shop()
    memory = MemoryBucket("audit")
    bucket = Bucket(memory, "audit")
    often = timedelta(hours=5)
    shop.happen(*(START + number * often for number in range(PERIOD * PERIODS * DAY // often)))
    heads = []
    for number in range(PERIODS):
        for each in range(number * PERIOD, (number + 1) * PERIOD):
            for format_ in FORMATS:
                shop.export(bucket, day(each), format_)
        if number == 1:
            shop.happen(day(2).start + timedelta(minutes=7))
            assert shop.export(bucket, day(2)).added == 1
            gone, changed = list(shop.api.within(day(5)))[:2]
            del shop.api.events[gone]
            shop.api.events[changed] = shop.api.events[changed].having(url="/other/")
            assert shop.export(bucket, day(5)).source_changed
        if number < SEALED_PERIODS:
            [sealing] = seal(bucket, day(number * PERIOD, PERIOD))
            heads.append(sealing.head.sha256)
    files = {key: stored.body for key, stored in memory.objects.items()}
    return Sealed(files, tuple(heads), str(shop.api.settings.source))
