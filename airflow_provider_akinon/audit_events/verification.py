"""Verifying an archive: is it complete, and is every byte what was stored when its window was exported?

Everything is read again: seals, receipts, and the bytes of the objects. Each window gets one finding, and so does
each stretch of time without a window, or with two, and each seal that is not what it should be. Neither Akinon's
API nor Airflow is asked; public keys and a head that was kept elsewhere come from whoever asks. This module changes
nothing, and calls nothing right that it has not read.

What no verification can show is what happened before a receipt was sealed, and after the newest seal without its
head.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from airflow_provider_akinon.audit_events.bucket import Bucket
from airflow_provider_akinon.audit_events.coverage import gaps
from airflow_provider_akinon.audit_events.errors import ArchiveError, InvalidInput, ObjectChanged, ObjectUnreadable
from airflow_provider_akinon.audit_events.inventory import Inventory
from airflow_provider_akinon.audit_events.receipt import Receipt, heads, parse_receipt, receipt_key
from airflow_provider_akinon.audit_events.seal import ChainName, SealChain, SealedReceipt, StoredSeal
from airflow_provider_akinon.audit_events.sealing import entry_of, overlaps_of, read_chains
from airflow_provider_akinon.audit_events.signing import PublicKey
from airflow_provider_akinon.audit_events.window import MILLISECOND, Window, format_instant

THREADS = 8
"""Windows that are read at a time."""

_PIECE = 1 << 20

Progress = Callable[[int, int], None]
"""Told how many windows were read, of how many."""


class Status(Enum):
    """What was found; see `Finding`."""

    OK = "ok"
    NOT_SEALED = "not sealed"
    SUPERSEDED = "superseded, not yet sealed"
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


class _Checker:
    """Checks what is at one object's key at a time. Safe to share between threads."""

    def __init__(
        self, bucket: Bucket, inventory: Inventory, chains: Mapping[str, SealChain], expected: Expected
    ) -> None:
        self._bucket = bucket
        self._inventory = inventory
        self._chains = chains
        self._expected = expected
        self._held: defaultdict[str, dict[str, _Held]] = defaultdict(dict)
        for chain in chains.values():
            for stored in chain.seals:
                name = ChainName.of(stored.seal.source, stored.seal.filters)
                for entry in stored.seal.receipts:
                    self._held[entry.object][entry.receipt] = _Held(name, stored.seal.number, entry)
        self.keys = sorted({*inventory.sizes, *inventory.receipts, *self._held})
        """Of every object that is there, or should be."""

    def check(self, key: str) -> _Checked:
        """Return what is found at ``key``."""
        held = self._held.get(key, {})
        present = self._inventory.receipts.get(key, ())
        entries = [(each.chain, each.entry) for each in held.values()]
        if held and held.keys() >= set(present) and not any(map(self._asked_for, entries)):
            return _Checked(None, tuple(entries))
        receipts, problems = self._receipts(key, present, held)
        entries += [_entry(*each) for each in receipts.items() if each[0] not in held]
        if entries and not any(map(self._asked_for, entries)):
            return _Checked(None, tuple(entries))
        bytes_read = 0
        if receipts or present or held:
            object_problems, bytes_read = self._object(key, heads(receipts.items()))
            problems += object_problems
        else:
            problems.append((Status.WITHOUT_RECEIPT, "no receipt tells where it comes from"))
        if not problems:
            problems = self._seals(receipts, held)
        # What was altered is the worst of several.
        status = min((status for status, _ in problems), key=_BY_WEIGHT.index, default=Status.OK)
        chain, entry = entries[0] if entries else (None, None)
        finding = Finding(
            status,
            key,
            None if entry is None else entry.window.as_window(),
            None if chain is None else str(chain),
            tuple(detail for _, detail in problems),
        )
        return _Checked(finding, tuple(entries), bytes_read)

    def _asked_for(self, each: tuple[ChainName, SealedReceipt]) -> bool:
        return self._expected.covers(each[1].window.as_window())

    def _receipts(
        self, key: str, present: Sequence[str], held: Mapping[str, _Held]
    ) -> tuple[dict[str, Receipt], list[_Problem]]:
        """Return the receipts at ``key`` that are what they should be, and what is wrong with the others."""
        receipts: dict[str, Receipt] = {}
        problems: list[_Problem] = []
        for sha256 in present:
            place = receipt_key(key, sha256)
            try:
                receipt = parse_receipt(place, self._bucket.read(place))
            except ObjectChanged:
                raise
            except ArchiveError as error:
                unreadable = isinstance(error, ObjectUnreadable)
                problems.append((Status.UNREADABLE if unreadable else Status.ALTERED, str(error)))
                continue
            if sha256 in held and _entry(sha256, receipt) != (held[sha256].chain, held[sha256].entry):
                problems.append((Status.ALTERED, f"seal {held[sha256].number} tells other things of {sha256}"))
            elif contradiction := _contradiction(receipt):
                problems.append((Status.ALTERED, f"the receipt {sha256} contradicts itself: {contradiction}"))
            receipts[sha256] = receipt
        for sha256, each in held.items():
            if sha256 not in present:
                problems.append((Status.MISSING, f"the receipt {sha256} is gone, which seal {each.number} holds"))
        superseded = {sha256 for receipt in receipts.values() for sha256 in receipt.supersedes}
        for sha256 in sorted(superseded - set(present) - held.keys()):
            problems.append((Status.MISSING, f"the receipt {sha256} is gone, which another one supersedes"))
        if len({_what_for(receipt) for receipt in receipts.values()}) > 1:
            problems.append((Status.ALTERED, "its receipts are for different windows, sources, filters or formats"))
        if problems:
            problems += [
                (Status.LEFT_OUT, f"the receipt {sha256} is in no seal") for sha256 in present if sha256 not in held
            ]
        return receipts, problems

    def _object(self, key: str, counting: Sequence[tuple[str, Receipt]]) -> tuple[list[_Problem], int]:
        """Compare the object at ``key`` with the receipts that count; return what is wrong, and the bytes read."""
        size = self._inventory.sizes.get(key)
        if size is None:
            versions = [receipt.object.version_id for _, receipt in counting if receipt.object.version_id]
            hint = f"; its version {versions[0]} may still be there" if versions else ""
            return [(Status.MISSING, f"the object is gone{hint}")], 0
        if not counting:
            return [], 0
        problems: list[_Problem] = []
        for sha256, receipt in counting:
            if size != receipt.object.size:
                detail = f"the object has {size} bytes; by its receipt {sha256} it had {receipt.object.size}"
                problems.append((Status.ALTERED, detail))
        if problems:
            return problems, 0
        try:
            found = _sha256(self._bucket, key)
        except ObjectUnreadable as error:
            return [(Status.UNREADABLE, str(error))], 0
        for sha256, receipt in counting:
            if found != receipt.object.sha256:
                detail = f"the object's SHA-256 is {found}; by its receipt {sha256} it was {receipt.object.sha256}"
                problems.append((Status.ALTERED, detail))
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
            elif held:
                detail = f"a late export, or a forged one: the receipt {sha256} is in no seal, those before it are"
                problems.append((Status.SUPERSEDED, detail))
            else:
                detail = f"exported late, or forged: the receipt {sha256} is in no seal, though its time is sealed"
                problems.append((Status.LEFT_OUT, detail))
        return problems


_Problem = tuple[Status, str]

_BY_WEIGHT = (
    Status.ALTERED,
    Status.MISSING,
    Status.UNREADABLE,
    Status.WITHOUT_RECEIPT,
    Status.LEFT_OUT,
    Status.SUPERSEDED,
    Status.NOT_SEALED,
)


def _entry(sha256: str, receipt: Receipt) -> tuple[ChainName, SealedReceipt]:
    return ChainName.of(receipt.source, receipt.filters), entry_of(sha256, receipt)


def _what_for(receipt: Receipt) -> tuple[object, ...]:
    """Return what all receipts of an object have in common."""
    return receipt.window, ChainName.of(receipt.source, receipt.filters), receipt.format


def _contradiction(receipt: Receipt) -> str | None:
    """Return what a receipt says that cannot be, None where it can."""
    counts = receipt.counts
    if not counts.lines == counts.uuids == counts.api_after:
        return f"{counts.lines} events, {counts.uuids} uuids, and the API counted {counts.api_after}"
    window = receipt.window.as_window()
    for instant in (receipt.first_timestamp, receipt.last_timestamp):
        if (instant is None) is (counts.lines > 0):
            return f"{counts.lines} events, the first of {receipt.first_timestamp}"
        if instant is not None and not window.contains(instant, MILLISECOND):
            return f"an event of {format_instant(instant)} in the window {window}"
    return None


def _sha256(bucket: Bucket, key: str) -> str:
    found = hashlib.sha256()
    with closing(bucket.open(key)) as body:
        while piece := body.read(_PIECE):
            found.update(piece)
    return found.hexdigest()


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
                yield Finding(Status.OVERLAP, None, stretch, str(name), ("two objects of one format cover it",))


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
