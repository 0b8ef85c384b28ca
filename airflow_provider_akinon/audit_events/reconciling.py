"""Reconciling an archive with the API: what came late, what vanished, and what was changed at the source.

A window that was exported is counted again, by one small request: more events than are stored came late, fewer have
vanished. What came late is mended by exporting the window again, as it was exported before; what has vanished stays
stored. Some events, drawn by lot, can be fetched again and compared field by field. ``user`` is what the API knows of
the person today, not what it knew then; its changes are told apart.

A count cannot show that one event vanished while another came late. This module refuses to mirror a loss.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from random import SystemRandom
from typing import Any, Literal, NamedTuple

from airflow_provider_akinon.audit_events.api import AuditEventsApi
from airflow_provider_akinon.audit_events.archive import Archived, archive, naming_damage, stored_lines
from airflow_provider_akinon.audit_events.bucket import Bucket
from airflow_provider_akinon.audit_events.encoding import Format
from airflow_provider_akinon.audit_events.errors import InvalidInput, Rejected, ShrinkRefused
from airflow_provider_akinon.audit_events.export import export_window, source_of
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.inventory import Inventory
from airflow_provider_akinon.audit_events.place import Place
from airflow_provider_akinon.audit_events.receipt import Receipt, Run, heads, parse_receipt, receipt_key
from airflow_provider_akinon.audit_events.redaction import POLICY, Redaction
from airflow_provider_akinon.audit_events.window import Window

THREADS = 8
"""Receipts that are read at a time."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How an event differs at the source from what is stored."""

    uuid: str
    fields: tuple[str, ...]
    """Names of what differs, such as ``url`` or ``user.last_login``; empty where the source has it no longer."""

    @property
    def is_gone(self) -> bool:
        """Whether the source has it no longer."""
        return not self.fields

    @property
    def is_of_the_user_alone(self) -> bool:
        """Whether only what the API knows of the person differs."""
        return bool(self.fields) and all(name.partition(".")[0] == "user" for name in self.fields)


@dataclass(slots=True)
class Reconciled:
    """An exported window, beside what the API says of it now."""

    receipt: Receipt
    counted: int
    """Events that the API counts now."""
    sampled: int = 0
    """Events of it that were fetched again."""
    differences: list[Difference] = field(default_factory=list)
    repair: Literal["done", "refused"] | None = None
    """What came of exporting it again, None without a try."""

    @property
    def window(self) -> Window:
        """The window."""
        return self.receipt.window.as_window()

    @property
    def late(self) -> int:
        """Events that the API counts beyond those that are stored."""
        return max(0, self.counted - self.receipt.counts.lines)

    @property
    def vanished(self) -> int:
        """Events that are stored beyond those that the API counts."""
        return max(0, self.receipt.counts.lines - self.counted)

    @property
    def gone(self) -> list[str]:
        """The uuids of fetched events that the source has no longer."""
        return [each.uuid for each in self.differences if each.is_gone]

    @property
    def changed(self) -> list[Difference]:
        """The fetched events of which more was changed than what the API knows of the person."""
        return [each for each in self.differences if not each.is_gone and not each.is_of_the_user_alone]

    @property
    def has_moved(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.late or self.vanished or self.differences)

    def __str__(self) -> str:
        return (
            f"{self.receipt.object.key}: {self.receipt.counts.lines} events are stored, the API counts {self.counted}"
            f"; of {self.sampled} that were fetched, {len(self.changed)} were changed, {len(self.gone)} are gone"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it for XCom, without anything that an event holds but uuids."""
        users = [each for each in self.differences if each.is_of_the_user_alone]
        return {
            "window": self.window.as_dict(),
            "filters": dict(self.receipt.filters),
            "key": self.receipt.object.key,
            "format": self.receipt.format,
            "redact": redact_of(self.receipt),
            "stored": self.receipt.counts.lines,
            "counted": self.counted,
            "late": self.late,
            "vanished": self.vanished,
            "sampled": self.sampled,
            "changed": [{"uuid": each.uuid, "fields": list(each.fields)} for each in self.changed],
            "gone": self.gone,
            "user_changed": {
                "events": len(users),
                "fields": sorted({name for each in users for name in each.fields}),
            },
            "repair": self.repair,
        }


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Compares what a bucket holds of an API's events with the API."""

    api: AuditEventsApi
    bucket: Bucket
    key: bytes | None = field(default=None, repr=False)
    """Of pseudonyms, where some were made."""

    def exported(self, prefix: str, span: Window) -> list[Receipt]:
        """Return the receipts that count of the API's windows that have time in common with ``span``, in order.

        :param prefix: as `inventory.folder_prefix` returns it.
        :raises InvalidInput: there is none.
        :raises ArchiveError: a receipt was altered.
        """
        source = source_of(self.api.settings)
        found = [
            receipt
            for receipt in self._counting(prefix)
            if f"{receipt.source.host}/remote/{receipt.source.remote_id}" == source
            and receipt.window.start < span.end
            and receipt.window.end > span.start
        ]
        if not found:
            raise InvalidInput(
                f"s3://{self.bucket.name}/{prefix} holds no export of {source} in {span}; check s3_prefix, start and "
                "end"
            )
        return sorted(found, key=_order)

    def recount(self, receipts: Sequence[Receipt]) -> list[Reconciled]:
        """Count the windows of ``receipts`` again, by one request for each window and filters.

        :raises ApiError: the API failed; see `errors`.
        """
        asked = [(receipt.window.as_window(), Filters.parse(receipt.filters)) for receipt in receipts]
        different = list(dict.fromkeys(asked))
        with ThreadPoolExecutor(self.api.settings.extra.max_concurrency, "akinon-recount") as pool:
            counts = dict(zip(different, pool.map(lambda each: self.api.count(*each), different), strict=True))
        return [Reconciled(receipt, counts[each]) for receipt, each in zip(receipts, asked, strict=True)]

    def compare_sample(self, windows: Sequence[Reconciled], number: int) -> None:
        """Fetch some of the stored events again and note in ``windows`` what differs.

        :param number: how many, drawn from all with the same chance each; one request for each.
        :raises InvalidInput: see `redaction`.
        :raises ApiError: the API failed; see `errors`.
        """
        with ThreadPoolExecutor(self.api.settings.extra.max_concurrency, "akinon-sample") as pool:
            for place, numbers in _draw(windows, number).items():
                window = windows[place]
                drawn = list(_drawn(self.bucket, window.receipt, numbers))
                differ = partial(_difference, self.api, self.redaction(window.receipt))
                window.sampled = len(drawn)
                window.differences = [each for each in pool.map(differ, drawn) if each is not None]

    def export_again(self, window: Reconciled, arguments: Mapping[str, Any], run: Run) -> Archived:
        """Export a window again, as it was exported before, and note in it what came of that.

        :param arguments: boto3's upload arguments.
        :raises ShrinkRefused: stored events have vanished at the source; nothing was replaced.
        :raises AkinonError: see `export_window` and `archive`.
        """
        receipt = window.receipt
        filters, format_ = Filters.parse(receipt.filters), Format(receipt.format)
        place = Place(self.bucket.name, receipt.object.key)
        with export_window(self.api, window.window, filters, self.redaction(receipt), format_) as export:
            try:
                archived = archive(export, self.bucket, place, arguments, run, allow_shrink=False)
            except ShrinkRefused:
                window.repair = "refused"
                raise
        window.repair = "done"
        return archived

    def redaction(self, receipt: Receipt) -> Redaction | None:
        """Return the redaction by which a receipt's events were stored.

        :raises InvalidInput: it needs a key that is not this one, or is of another version.
        """
        if self.key is None and receipt.redaction is not None and receipt.redaction["key_id"] is not None:
            raise InvalidInput(
                f"redact_conn_id is missing: {receipt.object.key} has pseudonyms; give the connection whose password "
                "was their key"
            )
        redaction = Redaction.parse(redact_of(receipt), key=self.key)
        told = None if redaction is None else redaction.as_dict()
        if told != receipt.redaction:
            raise InvalidInput(
                f"{receipt.object.key} was redacted by {receipt.redaction}, and here it would be by {told}; give the "
                "connection whose password was the key then (redact_conn_id)"
            )
        return redaction

    def _counting(self, prefix: str) -> Iterable[Receipt]:
        """Return the receipt that counts of each object."""
        inventory = Inventory.take(self.bucket, prefix)
        places = [(sha256, receipt_key(key, sha256)) for key, shas in inventory.receipts.items() for sha256 in shas]
        with ThreadPoolExecutor(THREADS, "akinon-receipts") as pool:
            bodies = pool.map(self.bucket.read, [place for _, place in places])
            receipts = [
                (sha256, parse_receipt(place, body)) for (sha256, place), body in zip(places, bodies, strict=True)
            ]
        return {receipt.object.key: receipt for _, receipt in sorted(heads(receipts), key=_age)}.values()


def redact_of(receipt: Receipt) -> str | dict[str, str] | None:
    """Return a receipt's redaction in the words in which it was asked for."""
    if receipt.redaction is None:
        return None
    return dict(receipt.redaction["paths"]) or POLICY


def _age(each: tuple[str, Receipt]) -> tuple[object, ...]:
    return each[1].verified_at, each[0]


def _order(receipt: Receipt) -> tuple[object, ...]:
    return receipt.window.start, receipt.window.end, receipt.object.key


def _draw(windows: Sequence[Reconciled], number: int) -> dict[int, list[int]]:
    """Return which events to fetch, by the place of their window: the numbers of their lines, ascending."""
    sizes = [each.receipt.counts.lines for each in windows]
    total = sum(sizes)
    draw: defaultdict[int, list[int]] = defaultdict(list)
    place, before = 0, 0
    for drawn in sorted(SystemRandom().sample(range(total), min(number, total))):
        while drawn >= before + sizes[place]:
            before += sizes[place]
            place += 1
        draw[place].append(drawn - before)
    return dict(draw)


def _drawn(bucket: Bucket, receipt: Receipt, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield the stored events on the lines with these numbers.

    :raises ArchiveError: the object is damaged.
    """
    wanted = set(numbers)
    last = max(wanted)
    key = receipt.object.key
    with bucket.open(key) as body, naming_damage(key):
        for number, line in enumerate(stored_lines(body, Format(receipt.format))):
            if number in wanted:
                yield _read(line.decode())
            if number == last:
                return


class _Number(NamedTuple):
    """A number as it is written: Python would hold 1 and true, and 1 and 1.0, for equal, and shorten 1.10."""

    text: str


_read = json.JSONDecoder(parse_int=_Number, parse_float=_Number).decode


def _difference(api: AuditEventsApi, redaction: Redaction | None, stored: dict[str, Any]) -> Difference | None:
    """Return how the source's event differs from the ``stored`` one, None where it does not."""
    try:
        record = api.get_record(stored["uuid"])
    except Rejected as error:
        if error.status != 404:
            raise
        return Difference(stored["uuid"], ())
    now = _read((record if redaction is None else redaction(record)).decode())
    fields = tuple(_differing(stored, now))
    return Difference(stored["uuid"], fields) if fields else None


def _differing(stored: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the fields that differ; those of the user each by itself."""
    for name in sorted(stored.keys() | now.keys()):
        here, there = stored.get(name), now.get(name)
        if name in stored and name in now and here == there:
            continue
        if name == "user" and isinstance(here, dict) and isinstance(there, dict):
            yield from (f"user.{inner}" for inner in _differing(here, there))
        else:
            yield name
