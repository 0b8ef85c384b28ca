"""Reconciles an archive with the API: finds events that came late, vanished, or were changed at the source.

Each exported window is counted again, by one small request. A count that differs from its last receipt's shows that
events came late, or vanished. Exporting it again stores what came late, and records what vanished or was changed.
Some events, drawn by lot, can be fetched again and compared field by field. ``user`` is what the API knows of the
person today, not what it knew then; its changes are counted apart.

A count cannot show that one event vanished while another came late.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from random import SystemRandom
from typing import Any

from airflow_provider_akinon.audit_events.api import AuditEventsApi
from airflow_provider_akinon.audit_events.archive import (
    Bucket,
    Inventory,
    Location,
    Receipt,
    Run,
    WindowReceipts,
    first_and_number,
    read_receipt,
    receipt_key,
    require_conditional_writes,
)
from airflow_provider_akinon.audit_events.errors import InvalidInput, Rejected, SourceChanged
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.foreign_text import shown
from airflow_provider_akinon.audit_events.formats import naming_damage, stored_lines
from airflow_provider_akinon.audit_events.in_threads import in_threads
from airflow_provider_akinon.audit_events.model import Window, parse_event
from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.audit_events.storing import (
    Archived,
    Compared,
    Target,
    Verdict,
    archive,
    compare,
    policy_of,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """The result of fetching some events of a window again."""

    number: int = 0
    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The fields that changed, by the event's uuid."""
    gone: Sequence[str] = ()
    """The uuids of events that the source has no longer."""
    user_moved: int = 0
    """Events that differ only in ``user``: what the API knows of the person today."""

    @classmethod
    def of(cls, found: Sequence[tuple[str, Compared | None]]) -> Sample:
        """Return the sample of events, each given by its uuid and how it differs; None where the source lacks it."""
        compared = [(uuid, each) for uuid, each in found if each is not None]
        return cls(
            number=len(found),
            changed={uuid: each.fields for uuid, each in compared if each.fields},
            gone=[uuid for uuid, each in found if each is None],
            user_moved=sum(each.verdict is Verdict.USER_MOVED for _, each in compared),
        )


@dataclass(frozen=True, slots=True)
class Reconciled:
    """An exported window, and what the API says of it now."""

    stored: WindowReceipts
    counted: int
    """The number of events that the API counts now."""
    sample: Sample = field(default_factory=Sample)
    repaired: Archived | None = None
    """The result of exporting the window again; None where it was not exported again."""

    @property
    def receipt(self) -> Receipt:
        """The window's last receipt."""
        return self.stored.last

    @property
    def window(self) -> Window:
        """The window."""
        return self.receipt.window

    @property
    def late(self) -> int:
        """The number of events that the API counts beyond the count of the last receipt."""
        return max(0, self.counted - self.receipt.counts.api_after)

    @property
    def vanished(self) -> int:
        """The number of events by which the API's count falls short of that of the last receipt."""
        return max(0, self.receipt.counts.api_after - self.counted)

    @property
    def source_changed(self) -> SourceChanged | None:
        """The error that names the changes at the source that exporting the window again showed; None without any."""
        return None if self.repaired is None else self.repaired.source_changed

    @property
    def has_moved(self) -> bool:
        """Whether anything differs, so that there is something to tell."""
        sample = self.sample
        return bool(self.late or self.vanished or sample.changed or sample.gone or sample.user_moved)

    def __str__(self) -> str:
        key = shown(self.stored.key, None)
        return (
            f"{key}: {self.stored.lines} events are stored, {self.receipt.counts.vanished} of them are "
            f"known to have vanished, and the API counts {self.counted}; of {self.sample.number} that were fetched, "
            f"{len(self.sample.changed)} were changed, {len(self.sample.gone)} are gone"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for XCom, without anything that an event holds but uuids."""
        return {
            "window": self.window.as_dict(),
            "filters": self.receipt.filters.as_dict(),
            "key": shown(self.stored.key, None),
            "format": self.receipt.format.value,
            "partition_timezone": self.receipt.partition_timezone,
            "stored": self.stored.lines,
            "counted": self.counted,
            "late": self.late,
            "vanished": self.vanished,
            "sampled": self.sample.number,
            "changed": [
                {"uuid": uuid, "fields": [shown(name) for name in fields]}
                for uuid, fields in self.sample.changed.items()
            ],
            "gone": list(self.sample.gone),
            "user_moved": self.sample.user_moved,
            "added": None if self.repaired is None else self.repaired.added,
        }


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compares the stored events of an API with the API."""

    api: AuditEventsApi
    bucket: Bucket
    redaction: Redaction | None = None
    """The policy by which the events were stored. The caller gives it: no document of the bucket decides it."""

    def exported(self, prefix: str, span: Window) -> list[WindowReceipts]:
        """Return the receipts of the API's windows that have time in common with ``span``, in order.

        :param prefix: as `folder_prefix` returns it.
        :raises InvalidInput: there is none.
        :raises ArchiveError: a receipt was altered.
        """
        source = self.api.settings.source
        found = [
            each
            for each in self._windows(prefix)
            if each.last.source == source and each.last.window.start < span.end and each.last.window.end > span.start
        ]
        if not found:
            raise InvalidInput(
                f"s3://{self.bucket.name}/{prefix} holds no export of {source} in {span}; check s3_key_prefix, start "
                "and end"
            )
        return sorted(found, key=_order)

    def recount(self, windows: Sequence[WindowReceipts]) -> list[Reconciled]:
        """Count windows again, by one request for each window and filters.

        :raises ApiError: the API failed; see `errors`.
        """
        asked = [(each.last.window, each.last.filters) for each in windows]
        different = list(dict.fromkeys(asked))
        threads = self.api.settings.extra.max_concurrency
        with in_threads(lambda each: self.api.count(*each), different, "akinon-recount", threads) as counted:
            counts = dict(zip(different, counted, strict=True))
        return [Reconciled(stored, counts[each]) for stored, each in zip(windows, asked, strict=True)]

    def compare_sample(self, windows: Sequence[Reconciled], number: int) -> list[Reconciled]:
        """Fetch some of the stored events again and return ``windows`` with what differs.

        :param number: how many, drawn from all with the same chance each; one request for each.
        :raises InvalidInput: see `require_policy`.
        :raises ApiError: the API failed; see `errors`.
        """
        draw = _draw(windows, number)
        return [
            replace(window, sample=self._sample(window, draw[index])) if index in draw else window
            for index, window in enumerate(windows)
        ]

    def _sample(self, window: Reconciled, numbers: Collection[int]) -> Sample:
        drawn = list(_drawn(self.bucket, window.stored, numbers))
        self.require_policy(window.receipt)
        version = None if self.redaction is None else self.redaction.as_dict()["version"]
        is_newer = bool(window.stored.versions() - {version})
        fetch = partial(_compared, self.api, self.redaction, is_newer=is_newer)
        with in_threads(fetch, drawn, "akinon-sample", self.api.settings.extra.max_concurrency) as fetched:
            return Sample.of([(uuid, compared) for (uuid, _), compared in zip(drawn, fetched, strict=True)])

    def export_again(self, window: Reconciled, arguments: Mapping[str, Any], run: Run) -> Archived:
        """Export a window again, as it was exported before, and return the result.

        :param arguments: boto3's upload arguments.
        :raises AkinonError: see `export_window` and `archive`.
        """
        receipt = window.receipt
        location = Location(self.bucket.name, window.stored.key)
        target = Target.look(self.bucket, location, receipt.format, receipt.partition_timezone)
        require_conditional_writes(self.bucket, location.folder, arguments)
        with export_window(self.api, window.window, receipt.filters, self.redaction, receipt.format) as export:
            return archive(export, target, arguments, run)

    def require_policy(self, receipt: Receipt) -> None:
        """Make sure that a receipt's events were stored by the policy of this reconciling.

        :raises InvalidInput: they were not; both are named.
        """
        asked = None if self.redaction is None else self.redaction.as_dict()
        if policy_of(asked) != policy_of(receipt.policy()):
            raise InvalidInput(
                f"{_name(receipt)} was redacted by {receipt.policy()}, and here it would be by {asked}. Give the "
                "policy of then (redact, redact_key_conn_id), or the s3_key_prefix of what was stored by this one"
            )

    def _windows(self, prefix: str) -> list[WindowReceipts]:
        """Return the receipts of each window below a prefix."""
        inventory = Inventory.take(self.bucket, prefix)
        names = [(key, sha256) for key, receipts in inventory.receipts.items() for sha256 in receipts]
        windows: defaultdict[str, dict[str, Receipt]] = defaultdict(dict)

        def read(key: str) -> Receipt:
            return read_receipt(self.bucket, key).without_uuids()

        keys = [receipt_key(*each) for each in names]
        with in_threads(read, keys, "akinon-receipts") as receipts:
            for (key, sha256), receipt in zip(names, receipts, strict=True):
                windows[first_and_number(key)[0]][sha256] = receipt
        return [WindowReceipts(key, receipts) for key, receipts in windows.items()]


def _name(receipt: Receipt) -> str:
    return f"The window {receipt.window}" if receipt.object is None else receipt.object.key


def _order(each: WindowReceipts) -> tuple[object, ...]:
    return each.last.window.start, each.last.window.end, each.key


def _draw(windows: Sequence[Reconciled], number: int) -> dict[int, list[int]]:
    """Return the events to fetch: by the index of their window, the numbers of their lines, ascending."""
    sizes = [each.stored.lines for each in windows]
    total = sum(sizes)
    draw: defaultdict[int, list[int]] = defaultdict(list)
    index, before = 0, 0
    for drawn in sorted(SystemRandom().sample(range(total), min(number, total))):
        while drawn >= before + sizes[index]:
            before += sizes[index]
            index += 1
        draw[index].append(drawn - before)
    return dict(draw)


def _drawn(bucket: Bucket, stored: WindowReceipts, numbers: Collection[int]) -> Iterator[tuple[str, bytes]]:
    """Yield uuid and record of the stored events with these numbers, counted through all of a window's objects.

    :raises ArchiveError: an object is damaged.
    """
    first = 0
    for receipts in stored.of_objects.values():
        receipt = next(iter(receipts.values()))
        mine = {number - first for number in numbers if first <= number < first + receipt.counts.lines}
        if receipt.object is not None and mine:
            with bucket.open(receipt.object.key) as body, naming_damage(receipt.object.key):
                lines = islice(stored_lines(body, receipt.format), max(mine) + 1)
                for number, line in enumerate(lines):
                    if number in mine:
                        yield parse_event(line).uuid, line
        first += receipt.counts.lines


def _compared(
    api: AuditEventsApi, redaction: Redaction | None, drawn: tuple[str, bytes], *, is_newer: bool
) -> Compared | None:
    """Return how the source's event differs from the stored one, None where the source has it no longer.

    :param is_newer: whether events may have been stored by another version of the policy.
    """
    uuid, stored = drawn
    try:
        record = api.get_record(uuid)
    except Rejected as error:
        if error.status != 404:
            raise
        return None
    if redaction is None:
        return compare(stored, record)
    return compare(redaction(stored) if is_newer else stored, redaction(record), marks=is_newer)
