"""A year of an honest archive, with all that happens in one, sealed and verified each month: nothing is ever wrong.

In it are exports that somebody asked for once, a shop that began late and one that closed, windows exported again,
keys and policies of redaction that changed, a format switched in the middle, two formats side by side, and days of
Istanbul, which straddle the months of UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pendulum
import pytest

from airflow_provider_akinon.audit_events.archive import Bucket, default_prefix
from airflow_provider_akinon.audit_events.model import Filters, Format, Window
from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.audit_events.sealing import SealResult, seal_archive
from airflow_provider_akinon.audit_events.seals import PrivateKey
from airflow_provider_akinon.audit_events.verification import Expected, Report, verify_archive
from tests.support.memory_archive import DAY, Shop
from tests.support.memory_bucket import MemoryBucket
from tests.support.sealed import ANOTHER_KEY, KEY, NOBODY

YEAR = 2025
PREFIX = "akinon/audit-events/"


@dataclass
class OpenShop(Shop):
    """A shop, with the months in which it began and closed."""

    first: int = 1
    last: int = 12

    def days(self, month: int) -> list[Window]:
        """Return the windows of a month's days on the shop's calendar."""
        start = pendulum.datetime(YEAR, month, 1, tz=self.zone)
        return [Window(start.add(days=number), start.add(days=number + 1)) for number in range(start.days_in_month)]

    def export_to(
        self, bucket: Bucket, window: Window, format_: Format = Format.JSONL_GZ, *, user: int | None = None
    ) -> bool:
        """Export a window to where its source lies by default, and tell whether anything was written."""
        filters = Filters() if user is None else Filters.parse({"user": user})
        prefix = default_prefix(self.api.settings.source)
        return self.export(bucket, window, format_, filters=filters, prefix=prefix).written


@dataclass
class Archive:
    """The archive of all shops, and what its operator keeps outside of it."""

    bucket: Bucket
    key: PrivateKey = KEY
    keys: list[PrivateKey] = field(default_factory=lambda: [KEY])
    heads: list[str] = field(default_factory=list)

    def seal(self, month: int) -> list[SealResult]:
        """Seal a month of UTC at noon of the next one's first day, and keep the heads."""
        start = pendulum.datetime(YEAR, month, 1)
        period = Window(start, start.add(months=1))
        sealings = seal_archive(self.bucket, PREFIX, period, NOBODY, key=self.key, known_heads=self.heads)
        self.heads = [each.head.sha256 for each in sealings]
        return sealings

    def verify(self, **asked: Any) -> Report:
        public = [key.public for key in self.keys]
        return verify_archive(self.bucket, PREFIX, Expected(public_keys=public, known_heads=self.heads, **asked))

    def is_right(self, **asked: Any) -> bool:
        report = self.verify(**asked)
        assert report.wrong == (), [str(each) for each in report.wrong]
        return True


@pytest.mark.long
def test_an_honest_year() -> None:
    """Verifying has not one false finding: neither after a month was sealed, nor while the next one is exported."""
    memory = MemoryBucket("audit")
    kept = Archive(Bucket(memory, "audit"))
    old = OpenShop("https://old.example.com", last=6, redaction=Redaction())
    plain = OpenShop("https://plain.example.com")
    istanbul = OpenShop("https://istanbul.example.com:8443", zone="Europe/Istanbul")
    late = OpenShop("https://late.example.com", first=9)
    shops = (old, plain, istanbul, late)
    for month in range(1, 13):
        if month == 10:
            plain.redaction = Redaction()  # what is stored keeps its own
        for shop in shops:
            if not shop.first <= month <= shop.last:
                continue
            for number, window in enumerate(shop.days(month)):
                shop.happen(window.start, window.start + DAY / 3, window.end - timedelta(microseconds=1))
                # One switches its format on a day within a month; one keeps two side by side.
                switched = shop is plain and (month, number) >= (5, 14)
                shop.export_to(kept.bucket, window, Format.JSONL if switched else Format.JSONL_GZ)
                if shop is istanbul:
                    shop.export_to(kept.bucket, window, Format.PARQUET)
        if month in (2, 8):  # somebody asked for a user of one day, once
            plain.export_to(kept.bucket, plain.days(month)[9], Format.JSONL, user=7)
            plain.export_to(kept.bucket, plain.days(month)[3], user=7)
        assert month == 1 or kept.is_right()  # not sealed is not wrong

        if month == 7:
            kept.key = ANOTHER_KEY  # the old head vouches for the old key
            kept.keys.append(ANOTHER_KEY)
        kept.seal(month)
        assert kept.is_right()

        # The weekly run: late events of earlier months, mended, and sealed at once.
        for shop in shops:
            if shop.first <= month <= shop.last:
                again = shop.days(month)[number % 20]
                shop.happen(again.start + DAY / 7)
                gz = shop is not plain or (month, number % 20) < (5, 14)
                assert shop.export_to(kept.bucket, again, Format.JSONL_GZ if gz else Format.JSONL)
                if shop is istanbul:
                    assert shop.export_to(kept.bucket, again, Format.PARQUET)
        assert {each.status.value for each in kept.verify().wrong} <= {"left out of its seal"}
        assert all(sealing.late for sealing in kept.seal(month) if sealing.written)
        assert kept.is_right()
    for start, end in ((1, 2), (3, 4), (5, 9), (9, 12)):
        assert kept.is_right(start=datetime(YEAR, start, 1, tzinfo=UTC), end=datetime(YEAR, end, 1, tzinfo=UTC))
    assert kept.is_right(start=datetime(YEAR - 1, 1, 1, tzinfo=UTC))
    report = kept.verify()
    assert report.counts.keys() == {"ok"}
    # The chain of what was asked for once in each of two months is one more.
    assert len(report.chains) == len(shops) + 1
