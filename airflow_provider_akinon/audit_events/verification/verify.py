"""Verifies an archive: is it complete, and is every byte as it was stored when its window was exported?

Everything is read again: seals, receipts, and the bytes of the objects. Each window gets one finding, and so does
each stretch of time that a series leaves out, or covers twice, and each seal that is not what it should be. A problem
with one key is reported for that key, and all others are still looked at. Neither Akinon's API nor Airflow is asked;
the caller gives public keys and heads that were kept elsewhere. This module changes nothing, calls nothing right that
it has not read, and lets nothing that is in no seal decide what it looks at.

No verification can show what happened before a receipt was sealed, nor, without the newest seal's head, what happened
after that seal.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from airflow_provider_akinon.audit_events.archive import (
    Bucket,
    Inventory,
    Status,
    WindowReceipts,
    seal_key,
    status_of,
)
from airflow_provider_akinon.audit_events.errors import ArchiveError, InvalidInput
from airflow_provider_akinon.audit_events.formats import (
    DistinctUuids,
    added_sums,
    naming_damage,
    stored_lines,
    sum_in_hex,
    uuids_sum,
)
from airflow_provider_akinon.audit_events.in_threads import in_threads
from airflow_provider_akinon.audit_events.model import Window, parse_events
from airflow_provider_akinon.audit_events.seals import (
    Entry,
    PublicKey,
    SealChain,
    SealedTime,
    Vouchers,
    read_chains,
    series_of,
)
from airflow_provider_akinon.audit_events.verification.evidence import (
    Evidence,
    Names,
    entry_of,
    evidence_of,
    names_of,
    which_object,
)
from airflow_provider_akinon.audit_events.verification.report import ChainState, Finding, Problem, Report

_BATCH = 500

Progress = Callable[[int, int], None]
"""A function that is called with the number of windows read so far, and of all windows."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The facts from outside the bucket that the archive is compared with."""

    start: datetime | None = None
    """The start of the time to verify, aware: only windows that end after it; None for all. ``end`` likewise."""
    end: datetime | None = None
    public_keys: Sequence[PublicKey] = ()
    """Ed25519 public keys, one of which must have signed the newest seal; empty to check no signatures."""
    known_heads: Sequence[str] = ()
    """The SHA-256 of seals that must be there. A seal that neither they nor signatures cover does not count, where
    either is given."""

    def __post_init__(self) -> None:
        if self.start is not None and self.end is not None:
            Window(self.start, self.end)
        for head in self.known_heads:
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
    """Read the archive below ``prefix``, and report which windows are right and which are wrong.

    Costs a request per thousand keys, one per seal, one per receipt, and one per object.

    :param prefix: as `folder_prefix` returns it.
    :param progress: called after each window.
    """
    inventory = Inventory.take(bucket, prefix)
    vouchers = Vouchers(expected.public_keys, expected.known_heads)
    chains = dict(read_chains(bucket, inventory, vouchers))
    checker = _Checker(bucket, names_of(inventory, chains.values()), SealedTime(_sealed(chains.values())), expected)
    checked = []
    with in_threads(checker.check, checker.keys, "akinon-verify") as checks:
        for each in checks:
            checked.append(each)
            progress(len(checked), len(checker.keys))
    findings = [each.finding for each in checked if each.finding is not None]
    findings += _of_time([entry for each in checked for entry in each.entries], expected)
    findings += _of_seals(prefix, chains, expected)
    if expected.public_keys and checker.keys and not chains:
        findings.append(Finding(Status.NOT_SIGNED, details=("there is no seal that could be signed",)))
    if not findings:
        detail = (
            "no window is in that time" if checker.keys else "there is neither an object, nor a receipt, nor a seal"
        )
        findings.append(Finding(Status.NOTHING, details=(detail,)))
    states = [_state(bucket, prefix, chain) for chain in chains.values()]
    return Report(
        archive=f"s3://{bucket.name}/{prefix}",
        findings=tuple(sorted(findings, key=_order)),
        chains=tuple(state for state in states if state is not None),
        bytes_read=sum(each.bytes_read for each in checked),
        signatures_checked=bool(expected.public_keys),
    )


def _sealed(chains: Iterable[SealChain]) -> Iterator[Entry]:
    for chain in chains:
        yield from chain.entries(covered=True)


@dataclass(frozen=True, slots=True)
class _Checked:
    """The result of checking one window's keys."""

    finding: Finding | None
    """The finding; None where the window is not asked for."""
    entries: list[Entry]
    """The window's known receipts; those in seals come first."""
    bytes_read: int = 0


class _Checker:
    """Checks one window at a time. Safe to share between threads."""

    def __init__(self, bucket: Bucket, names: Mapping[str, Names], sealed: SealedTime, expected: Expected) -> None:
        self._bucket = bucket
        self._names = names
        self._sealed = sealed
        self._expected = expected
        self.keys = list(names)
        """The key of the first object of each window that is there, or should be."""

    def check(self, key: str) -> _Checked:
        """Return the findings of the window whose first object is ``key``."""
        names = self._names[key]
        held = [(each.chain, each.entry) for each in names.held.values() if each.is_covered]
        if held and not names.unsealed and not any(map(self._asked_for, held)):
            return _Checked(None, held)
        evidence = evidence_of(self._bucket, key, names)
        entries = evidence.entries
        if not self._is_in_scope(evidence, entries):
            return _Checked(None, entries)
        problems = [*evidence.problems]
        of_objects, bytes_read = self._objects(evidence)
        problems += of_objects
        problems += self._seals(evidence, is_right=not problems)
        # Of several problems, an alteration is the worst.
        status = min((each.status for each in problems), key=_BY_WEIGHT.index, default=Status.OK)
        chain, entry = entries[0] if entries else (None, None)
        finding = Finding(
            status,
            # An object that looks like late events, of a window that nothing else tells of, has only its own key.
            key if names.described or key in names.objects else min(names.objects),
            None if entry is None else entry.window,
            None if chain is None else str(chain),
            tuple(each.detail for each in problems),
        )
        return _Checked(finding, entries, bytes_read)

    def _asked_for(self, each: Entry) -> bool:
        return self._expected.covers(each[1].window)

    def _is_in_scope(self, evidence: Evidence, entries: Sequence[Entry]) -> bool:
        """Tell whether a window is to be checked. What its receipts claim counts only if its key says the same."""
        receipts = evidence.receipts.receipts
        by_key = all(sha256 in receipts and receipts[sha256].partition_timezone for sha256 in evidence.names.unsealed)
        return not entries or not by_key or any(map(self._asked_for, entries))

    def _objects(self, evidence: Evidence) -> tuple[list[Problem], int]:
        """Compare a window's objects with their receipts; return what is wrong, and the bytes read."""
        keys = evidence.objects
        problems = evidence.holes()
        bytes_read = 0
        uuids = _Uuids() if len(keys) > 1 and not evidence.problems else None
        with nullcontext() if uuids is None else uuids:
            for key in keys:
                found, size = self._object(key, evidence, uuids)
                problems += found
                bytes_read += size
            if uuids is not None and not problems:
                problems += uuids.problems(evidence.receipts)
        return problems, bytes_read

    def _object(self, key: str, evidence: Evidence, uuids: _Uuids | None) -> tuple[list[Problem], int]:
        """Compare one object with its receipts; return what is wrong, and the bytes read."""
        if problem := evidence.problem_of_object(key):
            return [problem], 0
        receipts = evidence.receipts.of_object(key)
        if not receipts:  # the finding is there already
            return [], 0
        size, which = evidence.names.objects[key], which_object(key)
        stored_of = {sha256: each.object for sha256, each in receipts.items() if each.object is not None}
        try:
            with tempfile.TemporaryFile(prefix="akinon-audit-events-") if uuids else nullcontext() as copy:
                found = self._bucket.hash(key, copy)
                problems = [
                    Problem(
                        Status.ALTERED,
                        f"{which}'s SHA-256 is {found}; by its receipt {sha256} it was {stored.sha256}",
                    )
                    for sha256, stored in stored_of.items()
                    if stored.sha256 != found
                ]
                if uuids is not None and copy is not None and not problems:
                    copy.seek(0)
                    first = next(iter(receipts.values()))
                    with naming_damage(key):
                        # One line too many is enough to show a surplus: what unpacks without end is not unpacked to
                        # its end.
                        number = uuids.add(islice(stored_lines(copy, first.format), first.counts.lines + 1))
                    if number != first.counts.lines:
                        detail = f"{which} has other than the {first.counts.lines} events of its receipt"
                        problems.append(Problem(Status.ALTERED, detail))
        except ArchiveError as error:
            return [Problem(status_of(error), str(error))], 0
        return problems, size

    def _seals(self, evidence: Evidence, *, is_right: bool) -> list[Problem]:
        """Return the problems of receipts that are in no seal that somebody vouches for."""
        names, problems = evidence.names, []
        for sha256 in names.unsealed:
            receipt = evidence.receipts.receipts.get(sha256)
            if sha256 in names.held:
                detail = (
                    f"seal {names.held[sha256].number} holds the receipt {sha256}, and no signature and no head that "
                    "was given covers it"
                )
            else:
                detail = f"no seal holds the receipt {sha256}"
            if receipt is None:
                problems.append(Problem(Status.LEFT_OUT, detail))
            elif self._sealed.holds(*entry_of(evidence.receipts.key, sha256, receipt)):
                late = f"it came late, or is forged: {detail}, though its time is sealed"
                problems.append(Problem(Status.LEFT_OUT, late))
            elif is_right:
                problems.append(Problem(Status.NOT_SEALED, detail))
        return problems


class _Uuids:
    """The uuids of a window's objects. Memory does not grow with them."""

    def __init__(self) -> None:
        self._distinct = DistinctUuids()
        self._sum = 0

    def __enter__(self) -> _Uuids:
        self._distinct.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._distinct.__exit__()

    def add(self, lines: Iterator[bytes]) -> int:
        """Add the uuids of an object's records, and return how many there are."""
        number = 0
        while batch := list(islice(lines, _BATCH)):
            uuids = [event.uuid.encode() for event in parse_events(batch)]
            self._sum = added_sums(self._sum, uuids_sum(uuids))
            # In hex, since whoever wrote the object may have put anything there.
            self._distinct.add(uuid.hex().encode() for uuid in uuids)
            number += len(uuids)
        return number

    def problems(self, receipts: WindowReceipts) -> list[Problem]:
        """Return the problems of the events that were added."""
        problems = []
        _, twin = self._distinct.counted()
        if twin is not None:
            uuid = bytes.fromhex(twin.decode()).decode()
            problems.append(Problem(Status.ALTERED, f"the event {uuid} is stored more than once"))
        if sum_in_hex(self._sum) != receipts.last.window_uuids:
            detail = "its events are not those that the last receipt tells of all of them"
            problems.append(Problem(Status.ALTERED, detail))
        return problems


_BY_WEIGHT = (
    Status.ALTERED,
    Status.MISSING,
    Status.UNREADABLE,
    Status.WITHOUT_RECEIPT,
    Status.LEFT_OUT,
    Status.NOT_SEALED,
)


def _of_time(entries: Sequence[Entry], expected: Expected) -> Iterator[Finding]:
    """Yield the findings of the stretches of time that the windows of a series leave out, or cover twice."""
    for series in series_of(entries):
        name = str(series.chain)
        for stretch in series.gaps(expected.start, expected.end):
            detail = f"no window of its series covers it, of {series.format}"
            yield Finding(Status.GAP, None, stretch, name, (detail,))
        for stretch in series.overlaps(expected.start, expected.end):
            yield Finding(Status.OVERLAP, None, stretch, name, (f"two windows of {series.format} cover it",))


def _of_seals(prefix: str, chains: Mapping[str, SealChain], expected: Expected) -> Iterator[Finding]:
    """Yield the findings of what is wrong with the seals."""
    for folder, chain in chains.items():
        for problem in chain.problems:
            yield Finding(problem.status, problem.key, None, str(chain.name or folder), (problem.detail,))
        yield from _of_listed(prefix, chain, chains)
    known = {stored.sha256 for chain in chains.values() for stored in chain.seals}
    for head in expected.known_heads:
        if head not in known:
            detail = f"no seal is the head {head}: the newest seals were deleted, or it is another archive's"
            yield Finding(Status.HEAD_MISSING, details=(detail,))


def _of_listed(prefix: str, chain: SealChain, chains: Mapping[str, SealChain]) -> Iterator[Finding]:
    """Yield a finding for each chain that this chain's newest seal names, and that is not there as named."""
    newest = chain.newest_covered
    for listed in newest.chains if newest else ():
        name = listed.name
        other = chains.get(name.folder)
        seal = None if other is None else other.seal(max(listed.number, 1))
        if seal is None or listed.head not in (None, seal.sha256):
            key = seal_key(prefix, name.folder, max(listed.number, 1))
            if other is None or all(problem.key != key for problem in other.problems):
                detail = f"a seal of {chain.name} names this seal, and it is not what is there"
                yield Finding(Status.MISSING, key, None, str(name), (detail,))


def _state(bucket: Bucket, prefix: str, chain: SealChain) -> ChainState | None:
    covered = [stored for stored in chain.seals if stored.is_covered]
    if not covered:
        return None
    newest = covered[-1]
    seal = newest.seal
    is_copy = (seal.bucket, seal.prefix) != (bucket.name, prefix)
    return ChainState(
        chain=str(seal.chain),
        number=seal.number,
        head=newest.sha256,
        sealed_until=max(stored.seal.period.end for stored in covered),
        signed_by=seal.signed_by,
        copy_of=f"s3://{seal.bucket}/{seal.prefix}" if is_copy else None,
    )


def _order(finding: Finding) -> tuple[str, datetime, str]:
    start = datetime.min.replace(tzinfo=UTC) if finding.window is None else finding.window.start
    return finding.chain or "", start, finding.key or ""
