"""The receipts of a window together: which object each is for, and which is the newest.

Nothing is written here, and no object is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow_provider_akinon.audit_events.archive.bucket import Bucket
from airflow_provider_akinon.audit_events.archive.layout import first_and_number
from airflow_provider_akinon.audit_events.archive.receipt import (
    MOST_OF_A_RECEIPT,
    Receipt,
    newest_receipts,
    parse_receipt,
)


def read_receipt(bucket: Bucket, key: str) -> Receipt:
    """Return the receipt that lies at ``key``.

    :raises ArchiveError: see `parse_receipt`; or it has more bytes than any receipt.
    """
    return parse_receipt(key, bucket.read(key, MOST_OF_A_RECEIPT))


@dataclass(frozen=True)
class WindowReceipts:
    """The receipts of a window by their SHA-256, without the uuids that they record."""

    key: str
    """The key of the window's first object."""
    receipts: Mapping[str, Receipt]

    @cached_property
    def newest(self) -> list[str]:
        """The SHA-256, in order, of the receipts that no other receipt names as the one before it."""
        return newest_receipts(self.receipts)

    @property
    def last(self) -> Receipt:
        """The newest receipt; of several, the one of the most events, since workers' clocks differ."""
        several = (self.receipts[sha256] for sha256 in self.newest)
        return max(several, key=lambda receipt: (receipt.counts.window, receipt.verified_at))

    @cached_property
    def of_objects(self) -> dict[int, dict[str, Receipt]]:
        """The receipts of each object that has some, by its number and their SHA-256, the earliest first."""
        found: dict[int, dict[str, Receipt]] = {}
        for sha256, receipt in sorted(self.receipts.items(), key=lambda each: (each[1].verified_at, each[0])):
            if receipt.object is not None:
                found.setdefault(first_and_number(receipt.object.key)[1], {})[sha256] = receipt
        return dict(sorted(found.items()))

    def of_object(self, key: str) -> dict[str, Receipt]:
        """Return the receipts of one object by their SHA-256."""
        return {
            sha256: each
            for sha256, each in self.receipts.items()
            if each.object is not None and each.object.key == key
        }

    def versions(self) -> set[int]:
        """Return the versions of the policy by which the objects were redacted."""
        return {receipt.redaction.version for receipt in self.receipts.values() if receipt.redaction}

    @property
    def lines(self) -> int:
        """The number of events in all objects."""
        return sum(next(iter(each.values())).counts.lines for each in self.of_objects.values())

    def having(self, sha256: str, receipt: Receipt) -> WindowReceipts:
        """Return these receipts and one more."""
        return WindowReceipts(self.key, {**self.receipts, sha256: receipt.without_uuids()})


def facts_of(receipt: Receipt) -> tuple[Any, ...]:
    """Return the fields that all receipts of an object share: they differ only in run, times and the API's counts."""
    stored = receipt.object
    return (
        None if stored is None else (stored.key, stored.size, stored.sha256, stored.content_sha256),
        receipt.counts.lines,
        receipt.counts.uuids,
        receipt.uuids_sha256,
        receipt.window_uuids,
    )
