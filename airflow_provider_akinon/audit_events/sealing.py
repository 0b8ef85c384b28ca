"""Seals an archive: adds a new seal to each chain, for the receipts that no seal holds yet.

It seals what is there, by the same checks as `verification`: the receipts of each window are read, and have to agree
with each other and with what S3 lists of their objects; only `verification` reads the objects' bytes. A problem with
what earlier seals hold does not hinder the next seal, or one erasure would end sealing for ever; the seal names what
is lost of it, and gaps and overlaps. Receipts that came late, of windows in time that was sealed before, are added,
and named. This module refuses to go on with a chain that is broken, was written elsewhere, or lacks a head that is
known from elsewhere, and to seal a receipt that verifying would call wrong.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from airflow_provider_akinon import __version__
from airflow_provider_akinon.audit_events.archive import (
    Bucket,
    Inventory,
    Run,
    arguments_of_documents,
    receipt_key,
    require_conditional_writes,
    seal_key,
)
from airflow_provider_akinon.audit_events.errors import ArchiveError, ObjectChanged
from airflow_provider_akinon.audit_events.in_threads import in_threads
from airflow_provider_akinon.audit_events.model import Window, gaps
from airflow_provider_akinon.audit_events.seals import (
    MOST_OF_A_SEAL,
    SEAL_SCHEMA,
    ChainName,
    ListedChain,
    PrivateKey,
    Seal,
    SealChain,
    SealedReceipt,
    SealedTime,
    StoredSeal,
    read_chains,
    series_of,
)
from airflow_provider_akinon.audit_events.verification import Evidence, Names, evidence_of, names_of


@dataclass(frozen=True, slots=True)
class SealResult:
    """The result of sealing for one chain."""

    chain: ChainName
    head: StoredSeal
    """The newest seal: the one that was written, or, where nothing was left to seal, the one that was there."""
    written: bool

    @property
    def late(self) -> tuple[SealedReceipt, ...]:
        """The receipts in the written seal whose windows begin in time that was sealed before, expected or not."""
        added = set(self.head.seal.additions) if self.written else set()
        return tuple(entry for entry in self.head.seal.receipts if entry.receipt in added)


def seal_archive(
    bucket: Bucket,
    prefix: str,
    period: Window,
    run: Run,
    *,
    key: PrivateKey | None = None,
    known_heads: Collection[str] = (),
    arguments: Mapping[str, Any] | None = None,
) -> list[SealResult]:
    """Seal the windows below ``prefix`` that end in ``period`` or before, and return the result for each chain.

    :param prefix: as `folder_prefix` returns it.
    :param run: the task, for the seal.
    :param key: the key that signs the seals, None for seals without signature.
    :param known_heads: the SHA-256 of seals that are known from elsewhere, and have to be there. With a key, the
        newest seal has to be signed by it, or be one of these; in a copy of an archive, it has to be one of these.
    :param arguments: boto3's upload arguments, for the seals.
    :raises ArchiveError: there is no receipt, one that no seal holds is wrong, a seal is missing or was altered, or a
        known head is not there. Nothing is sealed then.
    :raises ObjectChanged: an export, or another sealing, is at work.
    """
    inventory = _inventory(bucket, prefix)
    chains = _whole_chains(bucket, inventory, known_heads)
    for head in (chain.head for chain in chains.values() if chain.head is not None):
        if head.sha256 not in known_heads:
            _require_ours(bucket, prefix, head, key)
    unsealed = _unsealed(bucket, names_of(inventory, chains.values()))
    sealing = _Sealing(bucket, inventory, period, run, chains, unsealed)
    results = []
    for name in sealing.names:
        chain = sealing.chain(name)
        if sealing.is_due(name):
            written = _store(bucket, sealing.next_seal(name).signed(key), arguments or {})
            results.append(SealResult(name, written, written=True))
        elif chain.head is not None:
            results.append(SealResult(name, chain.head, written=False))
    return sorted(results, key=lambda result: result.chain)


@dataclass(frozen=True)
class _Sealing:
    """The archive before anything is sealed; makes the new seals, which describe it."""

    bucket: Bucket
    inventory: Inventory
    period: Window
    run: Run
    chains: Mapping[ChainName, SealChain]
    """The chains that have a seal."""
    unsealed: Mapping[ChainName, list[SealedReceipt]]
    """The receipts that no seal holds, by chain, whatever their time."""

    @cached_property
    def due(self) -> dict[ChainName, list[SealedReceipt]]:
        """The receipts that the next seals hold, in order."""
        end = self.period.end
        due = {name: [each for each in mine if each.window.end <= end] for name, mine in self.unsealed.items()}
        return {name: sorted(mine, key=_order) for name, mine in due.items() if mine}

    @cached_property
    def names(self) -> list[ChainName]:
        """The chains, those that have no seal yet first.

        The seals of the others name them; so a task that is killed in between has named no chain that is not there.
        """
        return sorted({*self.chains, *self.due}, key=lambda each: (each in self.chains, each))

    @cached_property
    def _listed(self) -> list[ListedChain]:
        return [_listed(name, self.chains.get(name)) for name in sorted(self.names)]

    def _others(self, name: ChainName) -> list[ListedChain]:
        """Return the other chains, as a seal lists them."""
        return [each for each in self._listed if each.name != name]

    def chain(self, name: ChainName) -> SealChain:
        """Return the seals of a chain, which may be none."""
        return self.chains.get(name, SealChain((), ()))

    def is_due(self, name: ChainName) -> bool:
        """Tell whether a seal would say anything new, be it only a later period or chains that no seal names yet."""
        if name in self.due:
            return True
        chain = self.chain(name)
        if chain.head is None or chain.reached is None:
            return False
        named = {each.name for each in chain.head.seal.chains}
        return self.period.end > chain.reached or named != {each.name for each in self._others(name)}

    def next_seal(self, name: ChainName) -> Seal:
        """Return the seal that goes on with a chain, without a signature."""
        chain, due = self.chain(name), self.due.get(name, [])
        unsealed = ((name, entry) for entry in self.unsealed.get(name, ()))
        series = series_of([*chain.entries(), *unsealed])
        gaps_there = (each for one in series for each in one.gaps(end=self.period.end))
        overlaps_there = (each for one in series for each in one.overlaps(end=self.period.end))
        return Seal(
            schema=SEAL_SCHEMA,
            bucket=self.bucket.name,
            prefix=self.inventory.prefix,
            source=name.source,
            filters=name.filters,
            number=len(chain.seals) + 1,
            previous=chain.head.sha256 if chain.head else None,
            period=self.period,
            receipts=due,
            additions=_additions(name, chain, due),
            gaps=_news(gaps_there, (span for one in chain.seals for span in one.seal.gaps)),
            overlaps=_news(overlaps_there, (span for one in chain.seals for span in one.seal.overlaps)),
            losses=_losses(self.inventory, chain),
            chains=self._others(name),
            provider_version=__version__,
            run=self.run,
            sealed_at=datetime.now(UTC),
            signed_by=None,
            signature=None,
        )


def _inventory(bucket: Bucket, prefix: str) -> Inventory:
    inventory = Inventory.take(bucket, prefix)
    if not inventory.receipts:
        raise ArchiveError(
            f"There is no receipt below s3://{bucket.name}/{prefix}: nothing to seal. Check s3_key_prefix"
        )
    return inventory


def _whole_chains(bucket: Bucket, inventory: Inventory, known_heads: Collection[str]) -> dict[ChainName, SealChain]:
    """Return the chains by their names.

    :raises ArchiveError: one is broken, or a known head is not there.
    """
    chains = {}
    for folder, chain in read_chains(bucket, inventory):
        for problem in chain.problems:
            raise ArchiveError(
                f"The chain of seals {folder} is broken, so nothing was sealed: {problem.detail} ({problem.key}). "
                "Restore the seal from its version, and ask who did it; or keep the folder elsewhere, and begin anew"
            )
        if chain.head is not None:
            chains[chain.head.seal.chain] = chain
    seals = {stored.sha256 for chain in chains.values() for stored in chain.seals}
    for head in known_heads:
        if head not in seals:
            raise ArchiveError(
                f"No seal below s3://{bucket.name}/{inventory.prefix} is the known head {head}: the newest seals "
                "were deleted, or it is the head of another archive. Nothing was sealed"
            )
    return chains


def _require_ours(bucket: Bucket, prefix: str, head: StoredSeal, key: PrivateKey | None) -> None:
    """Make sure that the next seal does not vouch for seals of somebody else, or of another archive.

    :raises ArchiveError: the newest seal of a chain was written elsewhere, or by another key.
    """
    if (head.seal.bucket, head.seal.prefix) != (bucket.name, prefix):
        raise ArchiveError(
            f"The newest seal {head.key} was written for s3://{head.seal.bucket}/{head.seal.prefix}: this is a copy "
            "of that archive, or one that somebody put in place of yours. Nothing was sealed. To go on with a copy, "
            f"give the head that was returned then in known_heads. It should be {head.sha256}"
        )
    if key is not None and not head.seal.is_signed_by(key.public):
        raise ArchiveError(
            f"The newest seal {head.key} is not signed by the key in seal_key_conn_id, and a signature on the next "
            "one would vouch for it. Nothing was sealed. If it is yours, because you sign from now on, or with a "
            f"new key, give the head that was returned then in known_heads. It should be {head.sha256}"
        )


def _unsealed(bucket: Bucket, names: Mapping[str, Names]) -> dict[ChainName, list[SealedReceipt]]:
    """Return the receipts that no seal holds, by chain.

    :raises ArchiveError: verifying would call one wrong.
    :raises ObjectChanged: S3 does not list the object of one as it should be.
    """
    new = [key for key, each in names.items() if each.unsealed]

    def look(key: str) -> Evidence:
        return evidence_of(bucket, key, names[key])

    found: defaultdict[ChainName, list[SealedReceipt]] = defaultdict(list)
    with in_threads(look, new, "akinon-receipts") as looked:
        for key, evidence in zip(new, looked, strict=True):
            _require_right(f"s3://{bucket.name}/{key}", evidence)
            unsealed = set(evidence.names.unsealed)
            for chain, entry in evidence.entries:
                if entry.receipt in unsealed:
                    found[chain].append(entry)
    return dict(found)


def _require_right(window: str, evidence: Evidence) -> None:
    """Make sure that nothing is wrong with a window's receipts that no seal holds yet.

    :raises ArchiveError: something is.
    :raises ObjectChanged: S3 does not list an object as it should be.
    """
    advice = "Nothing was sealed. Verify the archive, restore what was altered from its version, and ask who did it"
    for problem in [*evidence.problems, *evidence.holes()]:
        if problem.hinders_sealing:
            raise ArchiveError(f"{window}: {problem.detail}. {advice}")
    for key in evidence.objects:
        lacking = evidence.problem_of_object(key)
        if lacking is not None and lacking.hinders_sealing:
            raise ObjectChanged(f"{window}: {lacking.detail}. {advice}")


def _listed(name: ChainName, chain: SealChain | None) -> ListedChain:
    head = None if chain is None else chain.head
    return ListedChain(
        source=name.source,
        filters=name.filters,
        number=0 if head is None else head.seal.number,
        head=None if head is None else head.sha256,
    )


def _additions(name: ChainName, chain: SealChain, due: Iterable[SealedReceipt]) -> list[str]:
    sealed = SealedTime(chain.entries())
    return [entry.receipt for entry in due if sealed.holds(name, entry)]


def _news(found: Iterable[Window], named: Iterable[Window]) -> list[Window]:
    """Return the parts of stretches of time that no earlier seal names."""
    known = list(named)
    return [part for each in found for part in gaps(known, each)]


def _losses(inventory: Inventory, chain: SealChain) -> list[str]:
    """Return the keys that the chain's seals hold and that are not there, as far as no seal says so yet."""
    named = {key for stored in chain.seals for key in stored.seal.losses}
    there = {sha256 for receipts in inventory.receipts.values() for sha256 in receipts}
    gone = set()
    for _, entry in chain.entries():
        if entry.receipt not in there:
            gone.add(receipt_key(entry.object, entry.receipt))
        if entry.object not in inventory.sizes:
            gone.add(entry.object)
    return sorted(gone - named)


def _order(entry: SealedReceipt) -> tuple[object, ...]:
    return entry.window.start, entry.window.end, entry.object, entry.receipt


def _store(bucket: Bucket, seal: Seal, arguments: Mapping[str, Any]) -> StoredSeal:
    require_conditional_writes(bucket, seal.prefix, arguments)
    key = seal_key(seal.prefix, seal.chain.folder, seal.number)
    encoded = seal.encode()
    if len(encoded) > MOST_OF_A_SEAL:
        raise ArchiveError(
            f"{key} would have {len(encoded)} bytes, and a seal has at most {MOST_OF_A_SEAL}. Nothing was sealed of "
            "this chain. Seal a shorter period first (start, end)"
        )
    bucket.create(key, encoded, arguments_of_documents(arguments))
    return StoredSeal(key, hashlib.sha256(encoded).hexdigest(), seal)
