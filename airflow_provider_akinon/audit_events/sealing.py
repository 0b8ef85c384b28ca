"""Sealing an archive: a new seal on each chain, for the receipts that no seal holds yet.

What is sealed is what is there: each receipt is read, and fits the size of its object as S3 lists it; the bytes of
the objects are `verification`'s to read. Receipts that came late, of windows that were sealed before, are added. Gaps
and overlaps are named, in the seal itself, and do not hinder it. This module refuses to go on with a chain that is
broken, or lacks a head that is known from elsewhere, and to seal a receipt that was altered.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_akinon import __version__
from airflow_provider_akinon.audit_events.bucket import Bucket
from airflow_provider_akinon.audit_events.coverage import gaps, overlaps
from airflow_provider_akinon.audit_events.errors import ArchiveError, ObjectChanged
from airflow_provider_akinon.audit_events.inventory import Inventory
from airflow_provider_akinon.audit_events.place import first_and_number
from airflow_provider_akinon.audit_events.receipt import (
    CONTENT_TYPE,
    NOT_FOR_RECEIPTS,
    Receipt,
    Run,
    Span,
    parse_receipt,
    receipt_key,
)
from airflow_provider_akinon.audit_events.seal import (
    SCHEMA,
    ChainName,
    Seal,
    SealChain,
    SealedReceipt,
    StoredSeal,
    seal_key,
)
from airflow_provider_akinon.audit_events.signing import PrivateKey, PublicKey
from airflow_provider_akinon.audit_events.window import Window

THREADS = 8
"""Small objects that are read at a time."""


@dataclass(frozen=True, slots=True)
class Sealing:
    """What sealing came to for one chain."""

    chain: ChainName
    head: StoredSeal
    """The newest seal: the one that was written, else the one that was there and leaves nothing to seal."""
    written: bool
    late: tuple[SealedReceipt, ...]
    """The receipts in the written seal whose windows end in time that was sealed before, expected or not."""


def seal_archive(
    bucket: Bucket,
    prefix: str,
    period: Window,
    run: Run,
    *,
    key: PrivateKey | None = None,
    known_heads: Collection[str] = (),
    arguments: Mapping[str, Any] | None = None,
) -> list[Sealing]:
    """Seal the windows below ``prefix`` that end in ``period`` or before, and return what came of each chain.

    :param prefix: as `inventory.folder_prefix` returns it.
    :param run: the task, for the seal.
    :param key: what signs the seals, None for seals without signature.
    :param known_heads: SHA-256s of seals that are known from elsewhere, and have to be there. With a key, the newest
        seal has to be signed by it, or among these.
    :param arguments: boto3's upload arguments, for the seals.
    :raises ArchiveError: there is no receipt, a receipt was altered, a seal is missing or was altered, or a known
        head is not there. Nothing is sealed then.
    :raises ObjectChanged: an export, or another sealing, is at work.
    """
    inventory = Inventory.take(bucket, prefix)
    if not inventory.receipts:
        raise ArchiveError(f"There is no receipt below s3://{bucket.name}/{prefix}: nothing to seal. Check s3_prefix")
    chains = _whole_chains(bucket, inventory, known_heads)
    if key is not None:
        _require_vouched(chains.values(), key.public, known_heads)
    sealed = {entry.receipt for chain in chains.values() for entry in chain.receipts()}
    unsealed = _unsealed(bucket, inventory, sealed)
    _require_objects(bucket, inventory, unsealed)
    entries: defaultdict[ChainName, list[SealedReceipt]] = defaultdict(list)
    for sha256, (beside, receipt) in unsealed.items():
        entries[ChainName.of(receipt.source, receipt.filters)].append(entry_of(beside, sha256, receipt))
    sealings = []
    for name in sorted({*chains, *entries}):
        chain = chains.get(name, SealChain((), ()))
        mine = entries[name]
        seal = _next_seal(name, chain, sorted(mine, key=_order), period, run)
        if seal is not None:
            stored = _store(bucket, prefix, seal.signed(key), arguments or {})
            reached = chain.reached
            late = (entry for entry in seal.receipts if reached is not None and entry.window.end <= reached)
            sealings.append(Sealing(name, stored, written=True, late=tuple(late)))
        elif chain.head is not None:
            sealings.append(Sealing(name, chain.head, written=False, late=()))
    return sealings


def read_chains(
    bucket: Bucket, inventory: Inventory, keys: Collection[PublicKey] = ()
) -> Iterator[tuple[str, SealChain]]:
    """Yield the folder and the chain of all seals of an inventory; ``keys`` are as `SealChain.read` takes them."""
    with ThreadPoolExecutor(THREADS, "akinon-seals") as pool:
        for folder, numbers in sorted(inventory.seals.items()):
            places = [seal_key(inventory.prefix, folder, number) for number in numbers]
            bodies = dict(zip(numbers, pool.map(bucket.read, places), strict=True))
            yield folder, SealChain.read(inventory.prefix, folder, bodies, keys)


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
            chains[ChainName.of(chain.head.seal.source, chain.head.seal.filters)] = chain
    seals = {stored.sha256 for chain in chains.values() for stored in chain.seals}
    for head in known_heads:
        if head not in seals:
            raise ArchiveError(
                f"No seal below s3://{bucket.name}/{inventory.prefix} is the known head {head}: the newest seals "
                "were deleted, or it is the head of another archive. Nothing was sealed"
            )
    return chains


def _require_vouched(chains: Iterable[SealChain], key: PublicKey, known_heads: Collection[str]) -> None:
    """Make sure that a signature on the next seal does not vouch for seals of somebody else.

    :raises ArchiveError: the newest seal of a chain has neither the key's signature, nor is it a known head.
    """
    for chain in chains:
        head = chain.head
        if head is not None and not head.seal.is_signed_by(key) and head.sha256 not in known_heads:
            raise ArchiveError(
                f"The newest seal {head.key} is not signed by the key in seal_conn_id, and a signature on the next "
                "one would vouch for it. Nothing was sealed. If it is yours, because you sign from now on, or with a "
                f"new key, give the head that was returned then in heads. It should be {head.sha256}"
            )


def _unsealed(bucket: Bucket, inventory: Inventory, sealed: Collection[str]) -> dict[str, tuple[str, Receipt]]:
    """Return the receipts that no seal holds, by their SHA-256, each with the key of the object it lies beside.

    :raises ArchiveError: one was altered.
    """
    new = [(key, sha256) for key, each in inventory.receipts.items() for sha256 in each if sha256 not in sealed]

    def read(place: str) -> Receipt:
        return parse_receipt(place, bucket.read(place)).without_uuids()

    with ThreadPoolExecutor(THREADS, "akinon-receipts") as pool:
        receipts = pool.map(read, [receipt_key(*each) for each in new])
        return {sha256: (key, receipt) for (key, sha256), receipt in zip(new, receipts, strict=True)}


def _require_objects(bucket: Bucket, inventory: Inventory, unsealed: Mapping[str, tuple[str, Receipt]]) -> None:
    """Make sure that S3 lists the object of every receipt, of its size.

    :raises ObjectChanged: it does not.
    """
    for sha256, (_, receipt) in unsealed.items():
        told = receipt.object
        if told is None:
            continue
        size = inventory.sizes.get(told.key)
        if size != told.size:
            raise ObjectChanged(
                f"s3://{bucket.name}/{told.key} should have {told.size} bytes by its receipt {sha256}, and S3 shows "
                f"{'nothing' if size is None else f'{size} bytes'}. Nothing was sealed. Restore the object from its "
                "version, and ask who did it"
            )


def entry_of(key: str, sha256: str, receipt: Receipt) -> SealedReceipt:
    """Return what a seal says of a receipt that lies beside the object ``key``."""
    return SealedReceipt(receipt=sha256, object=key, format=receipt.format, window=receipt.window)


def _order(entry: SealedReceipt) -> tuple[object, ...]:
    return entry.window.start, entry.window.end, entry.object, entry.receipt


def _next_seal(
    name: ChainName, chain: SealChain, unsealed: Sequence[SealedReceipt], period: Window, run: Run
) -> Seal | None:
    """Return the seal that comes next, None where it would say nothing new."""
    due = [entry for entry in unsealed if entry.window.end <= period.end]
    reached = chain.reached
    if not due and (reached is None or period.end <= reached):
        return None
    start = min(entry.window.start for entry in due) if reached is None else min(reached, period.start)
    span = Window(start, period.end)
    known = [*chain.receipts(), *unsealed]
    return Seal(
        schema=SCHEMA,
        source=name.source,
        filters=dict(name.filters),
        number=len(chain.seals) + 1,
        previous=chain.head.sha256 if chain.head else None,
        period=Span(start=period.start, end=period.end),
        receipts=due,
        gaps=_spans(gaps((entry.window.as_window() for entry in known), span)),
        overlaps=_spans(overlaps_of(known, span)),
        provider_version=__version__,
        run=run,
        sealed_at=datetime.now(UTC),
        signed_by=None,
        signature=None,
    )


def overlaps_of(entries: Iterable[SealedReceipt], span: Window) -> list[Window]:
    """Return what two windows of the same format cover in ``span``; a window's own objects cover nothing twice."""
    objects: defaultdict[str, dict[str, Window]] = defaultdict(dict)
    for entry in entries:
        objects[entry.format][first_and_number(entry.object)[0]] = entry.window.as_window()
    return [stretch for _, windows in sorted(objects.items()) for stretch in overlaps(windows.values(), span)]


def _spans(windows: Iterable[Window]) -> list[Span]:
    return [Span(start=window.start, end=window.end) for window in windows]


def _store(bucket: Bucket, prefix: str, seal: Seal, arguments: Mapping[str, Any]) -> StoredSeal:
    key = seal_key(prefix, ChainName.of(seal.source, seal.filters).folder, seal.number)
    encoded = seal.encode()
    kept = {name: value for name, value in arguments.items() if name not in NOT_FOR_RECEIPTS}
    bucket.create(key, encoded, {**kept, "ContentType": CONTENT_TYPE})
    return StoredSeal(key, hashlib.sha256(encoded).hexdigest(), seal)
