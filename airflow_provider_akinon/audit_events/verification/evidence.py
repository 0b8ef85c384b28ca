"""The names and the receipts of a window, and the problems with them. No object's bytes are read.

Verifying and sealing judge by the same checks: what verifying calls wrong, sealing does not sign. A key whose content
is wrong, or cannot be read, is a problem of that key's window, and of no other. This module refuses to believe
anything in a document that its key, the seals or the window's other documents contradict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from airflow_provider_akinon.audit_events.archive import (
    Bucket,
    Inventory,
    Receipt,
    Status,
    WindowReceipts,
    facts_of,
    first_and_number,
    read_receipt,
    receipt_key,
    status_of,
)
from airflow_provider_akinon.audit_events.errors import ArchiveError
from airflow_provider_akinon.audit_events.model import MILLISECOND, format_instant, shown_unit
from airflow_provider_akinon.audit_events.seals import ChainName, Entry, SealChain, SealedReceipt
from airflow_provider_akinon.audit_events.verification.report import Problem


@dataclass(frozen=True, slots=True)
class Held:
    """A receipt that a seal holds."""

    chain: ChainName
    number: int
    entry: SealedReceipt
    is_covered: bool
    """Whether somebody vouches for the seal; only then does the receipt count as sealed."""


@dataclass(slots=True)
class Names:
    """The objects and receipts of one window that are there, or should be, by their keys and the seals alone."""

    objects: dict[str, int] = field(default_factory=dict)
    """The size in bytes of each of the window's objects that are there, by its key."""
    receipts: list[tuple[str, str]] = field(default_factory=list)
    """The receipts that are there: the key of the object that each lies beside, and its SHA-256."""
    held: dict[str, Held] = field(default_factory=dict)
    """The receipts that seals hold, by their SHA-256."""

    @property
    def present(self) -> set[str]:
        """The SHA-256 of the receipts that are there."""
        return {sha256 for _, sha256 in self.receipts}

    @property
    def sealed(self) -> set[str]:
        """The SHA-256 of the receipts in seals that somebody vouches for."""
        return {sha256 for sha256, each in self.held.items() if each.is_covered}

    @property
    def unsealed(self) -> list[str]:
        """The SHA-256 of the receipts that are there and not sealed, in order."""
        return sorted(self.present - self.sealed)

    @property
    def described(self) -> set[str]:
        """The keys of the objects that a receipt or a seal tells of."""
        return {beside for beside, _ in self.receipts} | {each.entry.object for each in self.held.values()}


def names_of(inventory: Inventory, chains: Iterable[SealChain]) -> dict[str, Names]:
    """Return the names that are there, or should be, by the key of each window's first object, in order."""
    found: defaultdict[str, Names] = defaultdict(Names)
    for key, size in inventory.sizes.items():
        found[first_and_number(key)[0]].objects[key] = size
    for key, receipts in inventory.receipts.items():
        found[first_and_number(key)[0]].receipts += [(key, sha256) for sha256 in receipts]
    for chain in chains:
        for stored in chain.seals:
            name = stored.seal.chain
            for entry in stored.seal.receipts:
                held = found[first_and_number(entry.object)[0]].held
                if entry.receipt not in held or stored.is_covered:
                    held[entry.receipt] = Held(name, stored.seal.number, entry, stored.is_covered)
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Evidence:
    """A window's readable receipts, and the problems of all its receipts."""

    names: Names
    receipts: WindowReceipts
    problems: tuple[Problem, ...]

    @property
    def entries(self) -> list[Entry]:
        """The known receipts; those in seals that somebody vouches for come first."""
        held = [(each.chain, each.entry) for each in self.names.held.values() if each.is_covered]
        return held + [
            entry_of(self.receipts.key, sha256, receipt)
            for sha256, receipt in self.receipts.receipts.items()
            if sha256 not in self.names.sealed
        ]

    def problem_of_object(self, key: str) -> Problem | None:
        """Return the problem with an object of the window, as far as the listing shows one; else None."""
        receipts = self.receipts.of_object(key)
        hinders = all(each.entry.object != key for each in self.names.held.values())
        which = which_object(key)
        size = self.names.objects.get(key)
        if size is None:
            versions = [each.object.version_id for each in receipts.values() if each.object]
            hint = next((f"; its version {version} may still be there" for version in versions if version), "")
            return Problem(Status.MISSING, f"{which} is gone{hint}", hinders)
        if key not in self.names.described:
            where = which if first_and_number(key)[1] else "it"
            return Problem(
                Status.WITHOUT_RECEIPT, f"no receipt tells where {where} comes from", hinders_sealing=False
            )
        for sha256, each in receipts.items():
            if each.object is not None and each.object.size != size:
                detail = f"{which} has {size} bytes; by its receipt {sha256} it had {each.object.size}"
                return Problem(Status.ALTERED, detail, hinders)
        return None

    @property
    def objects(self) -> list[str]:
        """The keys of the window's objects that are there, or should be, in order."""
        return sorted({*self.names.objects, *self.names.described}, key=lambda key: first_and_number(key)[1])

    def holes(self) -> list[Problem]:
        """Return the problem of objects that are gone without a trace, but for a hole in the numbers."""
        numbers = {first_and_number(key)[1] for key in self.objects}
        if not self.names.described or len(numbers) == max(numbers) + 1:
            return []
        gone = max(numbers) + 1 - len(numbers)
        lowest = next(number for number in count() if number not in numbers)
        detail = f"{gone} objects before number {max(numbers)} are gone, the first of number {lowest}"
        return [Problem(Status.MISSING, detail)]


def which_object(key: str) -> str:
    """Return the name of a window's object in a finding of that window."""
    return f"the object {key}" if first_and_number(key)[1] else "the object"


def evidence_of(bucket: Bucket, key: str, names: Names) -> Evidence:
    """Read the receipts of the window whose first object is ``key``, and say what is wrong with them."""
    receipts: dict[str, Receipt] = {}
    problems: list[Problem] = []
    for beside, sha256 in sorted(names.receipts):
        held = names.held.get(sha256)
        try:
            receipt = read_receipt(bucket, receipt_key(beside, sha256))
        except ArchiveError as error:
            problems.append(Problem(status_of(error), str(error), hinders_sealing=held is None))
            continue
        if held is not None and entry_of(key, sha256, receipt) != (held.chain, held.entry):
            detail = f"seal {held.number} tells other things of {sha256}"
            problems.append(Problem(Status.ALTERED, detail, hinders_sealing=False))
        elif contradiction := _contradiction(receipt):
            detail = f"the receipt {sha256} contradicts itself: {contradiction}"
            problems.append(Problem(Status.ALTERED, detail, hinders_sealing=held is None))
        receipts[sha256] = receipt.without_uuids()
    for sha256, each in names.held.items():
        if sha256 not in names.present:
            detail = f"the receipt {sha256} is gone, which seal {each.number} holds"
            problems.append(Problem(Status.MISSING, detail, hinders_sealing=False))
    named = {sha256 for receipt in receipts.values() for sha256 in receipt.previous}
    for sha256 in sorted(named - names.present - names.held.keys()):
        problems.append(Problem(Status.MISSING, f"the receipt {sha256} is gone, which a later one names"))
    if len({_what_for(receipt) for receipt in receipts.values()}) > 1:
        detail = "its receipts are for different windows, sources, filters or formats"
        problems.append(Problem(Status.ALTERED, detail))
    found = WindowReceipts(key, receipts)
    if not problems:
        problems += _disagreements(found)
    return Evidence(names, found, tuple(problems))


def entry_of(first: str, sha256: str, receipt: Receipt) -> Entry:
    """Return the entry of a receipt in a seal, with its chain; ``first`` is the key of its window's first object."""
    key = first if receipt.object is None else receipt.object.key
    sealed = SealedReceipt(receipt=sha256, object=key, format=receipt.format, window=receipt.window)
    return ChainName(receipt.source, receipt.filters), sealed


def _what_for(receipt: Receipt) -> tuple[object, ...]:
    """Return the fields that all receipts of a window share."""
    return receipt.window, ChainName(receipt.source, receipt.filters), receipt.format


def _contradiction(receipt: Receipt) -> str | None:
    """Return how a receipt contradicts itself; None if it does not."""
    counts = receipt.counts
    if counts.lines != counts.uuids or counts.lines > counts.window or counts.vanished > counts.window:
        return (
            f"{counts.lines} events and {counts.uuids} uuids, of {counts.window} of which {counts.vanished} vanished"
        )
    if receipt.object is None and (counts.lines or not (receipt.changed or receipt.vanished)):
        return "it has no object, and records nothing"
    window = receipt.window
    shown = [instant for instant in (receipt.first_timestamp, receipt.last_timestamp) if instant is not None]
    unit = max(MILLISECOND, shown_unit(shown))
    for instant in (receipt.first_timestamp, receipt.last_timestamp):
        if (instant is None) is (counts.lines > 0):
            return f"{counts.lines} events, the first of {receipt.first_timestamp}"
        if instant is not None and not window.contains(instant, unit):
            return f"an event of {format_instant(instant)} in the window {window}"
    return None


def _disagreements(receipts: WindowReceipts) -> list[Problem]:
    """Return how a window's receipts contradict each other."""
    problems = [
        Problem(Status.ALTERED, "the receipts of one object contradict each other")
        for each in receipts.of_objects.values()
        if len({facts_of(receipt) for receipt in each.values()}) > 1
    ]
    if receipts.receipts:
        counts = receipts.last.counts
        if counts.window != receipts.lines or counts.api_after != counts.window - counts.vanished:
            detail = (
                f"its objects hold {receipts.lines} events; by the last receipt they hold {counts.window}, "
                f"{counts.vanished} vanished, and the API counted {counts.api_after}"
            )
            problems.append(Problem(Status.ALTERED, detail))
    return problems
