"""Verifying an archive: is it complete, and is every byte what was stored when its window was exported?

Everything is read again: seals, receipts, and the bytes of the objects. Each window gets one finding, and so does
each stretch of time without a window, or with two, and each seal that is not what it should be. Neither Akinon's
API nor Airflow is asked; public keys and a head that was kept elsewhere come from whoever asks. This module changes
nothing, and calls nothing right that it has not read.

What no verification can show is what happened before a receipt was sealed, and after the newest seal without its
head.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from itertools import count, islice
from typing import Any

from airflow_provider_akinon.audit_events.bucket import Bucket
from airflow_provider_akinon.audit_events.coverage import gaps
from airflow_provider_akinon.audit_events.encoding import Format, added_sums, sum_in_hex, uuids_sum
from airflow_provider_akinon.audit_events.errors import ArchiveError, InvalidInput, ObjectChanged, ObjectUnreadable
from airflow_provider_akinon.audit_events.inventory import Inventory
from airflow_provider_akinon.audit_events.place import first_and_number
from airflow_provider_akinon.audit_events.receipt import Receipt, parse_receipt, receipt_key
from airflow_provider_akinon.audit_events.records import parse_events
from airflow_provider_akinon.audit_events.seal import ChainName, SealChain, SealedReceipt, StoredSeal
from airflow_provider_akinon.audit_events.sealing import entry_of, overlaps_of, read_chains
from airflow_provider_akinon.audit_events.signing import PublicKey
from airflow_provider_akinon.audit_events.stored import naming_damage, stored_lines
from airflow_provider_akinon.audit_events.stored_window import WindowReceipts, facts_of
from airflow_provider_akinon.audit_events.window import MILLISECOND, Window, format_instant

THREADS = 8
"""Windows that are read at a time."""

_BATCH = 500

Progress = Callable[[int, int], None]
"""Told how many windows were read, of how many."""


class Status(Enum):
    """What was found; see `Finding`."""

    OK = "ok"
    NOT_SEALED = "not sealed"
    LEFT_OUT = "left out of its seal"
    MISSING = "missing"
    ALTERED = "altered"
    UNREADABLE = "unreadable"
    WITHOUT_RECEIPT = "without receipt"
    GAP = "gap"
    OVERLAP = "overlap"
    NOT_SIGNED = "not signed"
    HEAD_MISSING = "head missing"
    NOTHING = "nothing"

    @property
    def is_wrong(self) -> bool:
        """Whether somebody should look into it. What is not sealed yet agrees with its receipt all the same."""
        return self not in (Status.OK, Status.NOT_SEALED)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a window, a stretch of time, or a seal."""

    status: Status
    key: str | None = None
    """Of the object, or of the seal; None for a stretch of time."""
    window: Window | None = None
    """None where it is not known, or it is not about one."""
    chain: str | None = None
    """Source and filters, None where they are not known."""
    details: tuple[str, ...] = ()
    """What is wrong, in words."""

    def __str__(self) -> str:
        about = " ".join(str(each) for each in (self.window, self.key) if each is not None) or self.chain
        return f"{self.status.value}: {about} ({'; '.join(self.details)})"

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for XCom and JSON."""
        return {
            "status": self.status.value,
            "wrong": self.status.is_wrong,
            "window": None if self.window is None else self.window.as_dict(),
            "chain": self.chain,
            "key": self.key,
            "details": list(self.details),
        }


@dataclass(frozen=True, slots=True)
class ChainState:
    """A chain of seals, as it was found."""

    chain: str
    number: int
    """Of the newest seal."""
    head: str
    """The SHA-256 of the newest seal: keep it outside the bucket."""
    sealed_until: datetime
    signed_by: str | None
    """The newest seal's public key, in base64."""

    def as_dict(self) -> dict[str, Any]:
        """Return the state for XCom and JSON."""
        return {
            "chain": self.chain,
            "number": self.number,
            "head": self.head,
            "sealed_until": self.sealed_until.isoformat().replace("+00:00", "Z"),
            "signed_by": self.signed_by,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What verifying an archive found."""

    place: str
    findings: tuple[Finding, ...]
    """By chain and time."""
    chains: tuple[ChainState, ...]
    bytes_read: int
    """Of the objects."""
    signatures_checked: bool

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The findings that somebody should look into."""
        return tuple(finding for finding in self.findings if finding.status.is_wrong)

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each status that there is."""
        numbers = {status.value: sum(each.status is status for each in self.findings) for status in Status}
        return {status: number for status, number in numbers.items() if number}

    def as_dict(self) -> dict[str, Any]:
        """Return the report for machines."""
        return {
            "place": self.place,
            "ok": not self.wrong,
            "counts": self.counts,
            "bytes_read": self.bytes_read,
            "signatures_checked": self.signatures_checked,
            "chains": [each.as_dict() for each in self.chains],
            "findings": [each.as_dict() for each in self.findings],
        }


@dataclass(frozen=True, slots=True)
class Expected:
    """What the archive has to be compared with, from outside the bucket."""

    start: datetime | None = None
    """Only windows that end after it, and time from it on; None for all. ``end`` likewise."""
    end: datetime | None = None
    public_keys: Sequence[PublicKey] = ()
    """One of them has to have signed the newest seal; none where signatures are not to be checked."""
    heads: Sequence[str] = ()
    """SHA-256s of seals that have to be there."""

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None:
            Window(self.start, self.end)
        for head in self.heads:
            if len(head) != 64 or not set(head) <= set("0123456789abcdef"):
                raise InvalidInput(f"head={head!r} is not the SHA-256 of a seal; it has 64 digits of 0-9 and a-f")

    def covers(self, window: Window | None) -> bool:
        """Tell whether a window is asked for; one that is not known always is."""
        if window is None:
            return True
        return (self.end is None or window.start < self.end) and (self.start is None or window.end > self.start)


def verify_archive(
    bucket: Bucket, prefix: str, expected: Expected = Expected(), progress: Progress = lambda _done, _of: None
) -> Report:
    """Read what is archived below ``prefix`` and report what is right and wrong with it.

    Costs a request per thousand keys, one per seal, one per receipt, and one per object.

    :param prefix: as `inventory.folder_prefix` returns it.
    :param progress: told after each window.
    """
    inventory = Inventory.take(bucket, prefix)
    chains = dict(read_chains(bucket, inventory, expected.public_keys))
    checker = _Checker(bucket, inventory, chains, expected)
    checked = []
    with ThreadPoolExecutor(THREADS, "akinon-verify") as pool:
        try:
            for each in pool.map(checker.check, checker.keys):
                checked.append(each)
                progress(len(checked), len(checker.keys))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    findings = [each.finding for each in checked if each.finding is not None]
    findings += _of_time(checked, chains, expected)
    findings += _of_seals(checked, chains, expected)
    if not findings:
        detail = (
            "no window is in that time" if checker.keys else "there is neither an object, nor a receipt, nor a seal"
        )
        findings.append(Finding(Status.NOTHING, details=(detail,)))
    return Report(
        place=f"s3://{bucket.name}/{prefix}",
        findings=tuple(sorted(findings, key=_order)),
        chains=tuple(_state(chain.head, chain) for chain in chains.values() if chain.head is not None),
        bytes_read=sum(each.bytes_read for each in checked),
        signatures_checked=bool(expected.public_keys),
    )


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was found at one object's key."""

    finding: Finding | None
    """None where the window is not asked for."""
    entries: tuple[tuple[ChainName, SealedReceipt], ...]
    """The windows that were exported there, sealed or not, as far as they are known."""
    bytes_read: int = 0


@dataclass(frozen=True, slots=True)
class _Held:
    """A receipt that a seal holds."""

    chain: ChainName
    number: int
    entry: SealedReceipt


@dataclass(slots=True)
class _Keys:
    """What is there of one window, or should be, by names alone."""

    objects: set[str] = field(default_factory=set)
    """The keys of its objects that are there."""
    receipts: list[tuple[str, str]] = field(default_factory=list)
    """The receipts that are there: the key of the object that each lies beside, and its SHA-256."""
    held: dict[str, _Held] = field(default_factory=dict)
    """The receipts that seals hold, by their SHA-256."""

    @property
    def present(self) -> set[str]:
        """The SHA-256 of the receipts that are there."""
        return {sha256 for _, sha256 in self.receipts}

    @property
    def told(self) -> set[str]:
        """The keys of the objects that a receipt or a seal tells of."""
        return {beside for beside, _ in self.receipts} | {each.entry.object for each in self.held.values()}


class _Checker:
    """Checks one window at a time. Safe to share between threads."""

    def __init__(
        self, bucket: Bucket, inventory: Inventory, chains: Mapping[str, SealChain], expected: Expected
    ) -> None:
        self._bucket = bucket
        self._inventory = inventory
        self._chains = chains
        self._expected = expected
        self._windows: defaultdict[str, _Keys] = defaultdict(_Keys)
        for key in inventory.sizes:
            self._windows[first_and_number(key)[0]].objects.add(key)
        for key, receipts in inventory.receipts.items():
            self._windows[first_and_number(key)[0]].receipts += [(key, sha256) for sha256 in receipts]
        for chain in chains.values():
            for stored in chain.seals:
                name = ChainName.of(stored.seal.source, stored.seal.filters)
                for entry in stored.seal.receipts:
                    window = self._windows[first_and_number(entry.object)[0]]
                    window.held[entry.receipt] = _Held(name, stored.seal.number, entry)
        self.keys = sorted(self._windows)
        """Of the first object of every window that is there, or should be."""

    def check(self, key: str) -> _Checked:
        """Return what is found of the window whose first object is ``key``."""
        there = self._windows[key]
        entries = [(each.chain, each.entry) for each in there.held.values()]
        if there.held and there.held.keys() >= there.present and not any(map(self._asked_for, entries)):
            return _Checked(None, tuple(entries))
        receipts, problems = self._receipts(key, there)
        entries += [
            _entry(key, sha256, each) for sha256, each in receipts.receipts.items() if sha256 not in there.held
        ]
        if entries and not any(map(self._asked_for, entries)):
            return _Checked(None, tuple(entries))
        object_problems, bytes_read = self._objects(there, receipts, agree=not problems)
        problems += object_problems
        if not problems:
            problems = self._seals(receipts.receipts, there.held)
        # What was altered is the worst of several.
        status = min((status for status, _ in problems), key=_BY_WEIGHT.index, default=Status.OK)
        chain, entry = entries[0] if entries else (None, None)
        finding = Finding(
            status,
            # What looks like late events of a window of which nothing tells has no name but its own.
            key if there.told or key in there.objects else min(there.objects),
            None if entry is None else entry.window.as_window(),
            None if chain is None else str(chain),
            tuple(detail for _, detail in problems),
        )
        return _Checked(finding, tuple(entries), bytes_read)

    def _asked_for(self, each: tuple[ChainName, SealedReceipt]) -> bool:
        return self._expected.covers(each[1].window.as_window())

    def _receipts(self, key: str, there: _Keys) -> tuple[WindowReceipts, list[_Problem]]:
        """Return a window's receipts that are what they should be, and what is wrong with the others."""
        receipts: dict[str, Receipt] = {}
        problems: list[_Problem] = []
        held = there.held
        for beside, sha256 in sorted(there.receipts):
            place = receipt_key(beside, sha256)
            try:
                receipt = parse_receipt(place, self._bucket.read(place))
            except ObjectChanged:
                raise
            except ArchiveError as error:
                unreadable = isinstance(error, ObjectUnreadable)
                problems.append((Status.UNREADABLE if unreadable else Status.ALTERED, str(error)))
                continue
            if sha256 in held and _entry(key, sha256, receipt) != (held[sha256].chain, held[sha256].entry):
                problems.append((Status.ALTERED, f"seal {held[sha256].number} tells other things of {sha256}"))
            elif contradiction := _contradiction(receipt):
                problems.append((Status.ALTERED, f"the receipt {sha256} contradicts itself: {contradiction}"))
            receipts[sha256] = receipt.without_uuids()
        for sha256, each in held.items():
            if sha256 not in there.present:
                problems.append((Status.MISSING, f"the receipt {sha256} is gone, which seal {each.number} holds"))
        named = {sha256 for receipt in receipts.values() for sha256 in receipt.previous}
        for sha256 in sorted(named - there.present - held.keys()):
            problems.append((Status.MISSING, f"the receipt {sha256} is gone, which a later one names"))
        if len({_what_for(receipt) for receipt in receipts.values()}) > 1:
            problems.append((Status.ALTERED, "its receipts are for different windows, sources, filters or formats"))
        found = WindowReceipts(key, receipts)
        if not problems:
            problems += _disagreements(found)
        if problems:
            problems += [
                (Status.LEFT_OUT, f"the receipt {sha256} is in no seal")
                for sha256 in sorted(there.present - held.keys())
            ]
        return found, problems

    def _objects(self, there: _Keys, receipts: WindowReceipts, *, agree: bool) -> tuple[list[_Problem], int]:
        """Compare a window's objects with their receipts; return what is wrong, and the bytes read.

        :param agree: whether nothing is wrong with the receipts.
        """
        objects = sorted(there.objects | there.told, key=lambda key: first_and_number(key)[1])
        problems = _holes(objects) if there.told else []
        bytes_read = 0
        uuids = _Uuids() if agree and len(objects) > 1 else None
        with nullcontext() if uuids is None else closing(uuids):
            for key in objects:
                found, size = self._object(key, there, receipts.of_object(key), uuids)
                problems += found
                bytes_read += size
            if uuids is not None and not problems:
                problems += uuids.problems(receipts)
        return problems, bytes_read

    def _object(
        self, key: str, there: _Keys, receipts: Mapping[str, Receipt], uuids: _Uuids | None
    ) -> tuple[list[_Problem], int]:
        """Compare one object with its receipts; return what is wrong, and the bytes read."""
        is_late = first_and_number(key)[1] > 0
        which = f"the object {key}" if is_late else "the object"
        if key not in there.objects:
            versions = [
                each.object.version_id for each in receipts.values() if each.object and each.object.version_id
            ]
            hint = f"; its version {versions[0]} may still be there" if versions else ""
            return [(Status.MISSING, f"{which} is gone{hint}")], 0
        if key not in there.told:
            return [(Status.WITHOUT_RECEIPT, f"no receipt tells where {which if is_late else 'it'} comes from")], 0
        if not receipts:  # what is wrong with them is told
            return [], 0
        size = self._inventory.sizes[key]
        told_of = {sha256: each.object for sha256, each in receipts.items() if each.object is not None}
        problems = [
            (Status.ALTERED, f"{which} has {size} bytes; by its receipt {sha256} it had {told.size}")
            for sha256, told in told_of.items()
            if told.size != size
        ]
        if problems:
            return problems, 0
        try:
            with tempfile.TemporaryFile(prefix="akinon-audit-events-") if uuids else nullcontext() as copy:
                found = self._bucket.hash(key, copy)
                problems = [
                    (Status.ALTERED, f"{which}'s SHA-256 is {found}; by its receipt {sha256} it was {told.sha256}")
                    for sha256, told in told_of.items()
                    if told.sha256 != found
                ]
                if uuids is not None and copy is not None and not problems:
                    copy.seek(0)
                    with naming_damage(key):
                        uuids.add(stored_lines(copy, Format(next(iter(receipts.values())).format)))
        except ObjectChanged:
            raise
        except ObjectUnreadable as error:
            return [(Status.UNREADABLE, str(error))], 0
        except ArchiveError as error:
            return [(Status.ALTERED, str(error))], size
        return problems, size

    def _seals(self, receipts: Mapping[str, Receipt], held: Mapping[str, _Held]) -> list[_Problem]:
        """Return what is to be said of receipts that are in order and in no seal."""
        problems: list[_Problem] = []
        for sha256, receipt in receipts.items():
            if sha256 in held:
                continue
            chain = self._chains.get(ChainName.of(receipt.source, receipt.filters).folder)
            reached = None if chain is None else chain.reached
            if reached is None or receipt.window.end > reached:
                problems.append((Status.NOT_SEALED, f"no seal reaches as far; the receipt is {sha256}"))
            else:
                detail = f"it came late, or is forged: the receipt {sha256} is in no seal, though its time is sealed"
                problems.append((Status.LEFT_OUT, detail))
        return problems


class _Uuids:
    """The uuids of a window's objects, in a temporary database on disk: memory does not grow with them."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary one, on disk
        self._database.execute("CREATE TABLE uuids (uuid TEXT NOT NULL)")
        self._sum = 0

    def add(self, lines: Iterator[bytes]) -> None:
        while batch := list(islice(lines, _BATCH)):
            uuids = [event.uuid for event in parse_events(batch)]
            self._sum = added_sums(self._sum, uuids_sum([uuid.encode() for uuid in uuids]))
            self._database.executemany("INSERT INTO uuids VALUES (?)", [(uuid,) for uuid in uuids])

    def problems(self, receipts: WindowReceipts) -> list[_Problem]:
        """Return what is wrong with what was added."""
        twice = "SELECT uuid, count(*) FROM uuids GROUP BY uuid HAVING count(*) > 1 LIMIT 1"
        problems = [
            (Status.ALTERED, f"the event {uuid} is stored {number} times")
            for uuid, number in self._database.execute(twice)
        ]
        if sum_in_hex(self._sum) != receipts.last.window_uuids:
            problems.append((Status.ALTERED, "its events are not those that the last receipt tells of all of them"))
        return problems

    def close(self) -> None:
        self._database.close()


_Problem = tuple[Status, str]

_BY_WEIGHT = (
    Status.ALTERED,
    Status.MISSING,
    Status.UNREADABLE,
    Status.WITHOUT_RECEIPT,
    Status.LEFT_OUT,
    Status.NOT_SEALED,
)


def _entry(first: str, sha256: str, receipt: Receipt) -> tuple[ChainName, SealedReceipt]:
    """Return what a seal says of a receipt, and in which chain; ``first`` is its window's first object."""
    key = first if receipt.object is None else receipt.object.key
    return ChainName.of(receipt.source, receipt.filters), entry_of(key, sha256, receipt)


def _what_for(receipt: Receipt) -> tuple[object, ...]:
    """Return what all receipts of a window have in common."""
    return receipt.window, ChainName.of(receipt.source, receipt.filters), receipt.format


def _contradiction(receipt: Receipt) -> str | None:
    """Return what a receipt says that cannot be, None where it can."""
    counts = receipt.counts
    if counts.lines != counts.uuids or counts.lines > counts.window or counts.vanished > counts.window:
        return (
            f"{counts.lines} events and {counts.uuids} uuids, of {counts.window} of which {counts.vanished} vanished"
        )
    if receipt.object is None and (counts.lines or not (receipt.changed or receipt.vanished)):
        return "it has no object, and records nothing"
    window = receipt.window.as_window()
    for instant in (receipt.first_timestamp, receipt.last_timestamp):
        if (instant is None) is (counts.lines > 0):
            return f"{counts.lines} events, the first of {receipt.first_timestamp}"
        if instant is not None and not window.contains(instant, MILLISECOND):
            return f"an event of {format_instant(instant)} in the window {window}"
    return None


def _holes(objects: Iterable[str]) -> list[_Problem]:
    """Return which of a window's objects are gone without a trace: those whose numbers are left out."""
    numbers = {first_and_number(key)[1] for key in objects}
    gone = max(numbers) + 1 - len(numbers)
    if not gone:
        return []
    lowest = next(number for number in count() if number not in numbers)
    return [(Status.MISSING, f"{gone} objects before number {max(numbers)} are gone, the first of number {lowest}")]


def _disagreements(receipts: WindowReceipts) -> list[_Problem]:
    """Return what a window's receipts say of each other that cannot be."""
    problems: list[_Problem] = []
    for each in receipts.of_objects.values():
        if len({facts_of(receipt) for receipt in each.values()}) > 1:
            problems.append((Status.ALTERED, "the receipts of one object contradict each other"))
    if receipts.receipts:
        counts = receipts.last.counts
        if counts.window != receipts.lines or counts.api_after != counts.window - counts.vanished:
            detail = (
                f"its objects hold {receipts.lines} events; by the last receipt they hold {counts.window}, "
                f"{counts.vanished} vanished, and the API counted {counts.api_after}"
            )
            problems.append((Status.ALTERED, detail))
    return problems


def _of_time(checked: Iterable[_Checked], chains: Mapping[str, SealChain], expected: Expected) -> Iterator[Finding]:
    """Yield the stretches of time that no window covers, or two, for each source and filters."""
    entries: defaultdict[ChainName, list[SealedReceipt]] = defaultdict(list)
    for each in checked:
        for name, entry in each.entries:
            entries[name].append(entry)
    for name, mine in entries.items():
        windows = [entry.window.as_window() for entry in mine]
        chain = chains.get(name.folder)
        ends = [window.end for window in windows] + ([chain.reached] if chain and chain.reached else [])
        start = expected.start or min(window.start for window in windows)
        end = expected.end or max(ends)
        if start < end:
            span = Window(start, end)
            for stretch in gaps(windows, span):
                yield Finding(Status.GAP, None, stretch, str(name), ("no window covers it",))
            for stretch in overlaps_of(mine, span):
                yield Finding(Status.OVERLAP, None, stretch, str(name), ("two windows of one format cover it",))


def _of_seals(checked: Iterable[_Checked], chains: Mapping[str, SealChain], expected: Expected) -> Iterator[Finding]:
    """Yield what is wrong with the seals."""
    for folder, chain in chains.items():
        for problem in chain.problems:
            yield Finding(Status(problem.kind), problem.key, None, chain.name or folder, (problem.detail,))
    known = {stored.sha256 for chain in chains.values() for stored in chain.seals}
    for head in expected.heads:
        if head not in known:
            detail = f"no seal is the head {head}: the newest seals were deleted, or it is another archive's"
            yield Finding(Status.HEAD_MISSING, details=(detail,))
    if expected.public_keys:
        for name in sorted({name for each in checked for name, _ in each.entries}):
            if name.folder not in chains:
                yield Finding(Status.NOT_SIGNED, chain=str(name), details=("there is no seal that could be signed",))


def _state(head: StoredSeal, chain: SealChain) -> ChainState:
    return ChainState(
        chain=str(ChainName.of(head.seal.source, head.seal.filters)),
        number=head.seal.number,
        head=head.sha256,
        sealed_until=chain.reached or head.seal.period.end,
        signed_by=head.seal.signed_by,
    )


def _order(finding: Finding) -> tuple[str, datetime, str]:
    start = datetime.min.replace(tzinfo=UTC) if finding.window is None else finding.window.start
    return finding.chain or "", start, finding.key or ""
