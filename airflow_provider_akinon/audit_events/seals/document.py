"""Seals: documents that say which receipts there were at a time, each bound to the seal before it.

A chain of seals belongs to a source and filters. Each seal holds the SHA-256 of every receipt that no earlier seal
holds, and of the seal before; so the SHA-256 of the newest one, the head, stands for all of them. It also names all
chains of the archive, so that none can go unseen while another is there.

A seal lies at ``<prefix>/_seals/<chain>/_<number>.seal.json`` and is never changed. This module refuses bytes that
are not exactly those of a seal of its schema, and a seal that lies elsewhere than its chain and number say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from airflow_provider_akinon.audit_events.archive import (
    Count,
    Run,
    Sha256,
    encoded_document,
    folder_of_chain,
    require_calendar,
    seal_key,
)
from airflow_provider_akinon.audit_events.errors import ArchiveError
from airflow_provider_akinon.audit_events.model import Filters, Format, Instant, Source, Window
from airflow_provider_akinon.audit_events.seals.keys import PrivateKey, PublicKey

SEAL_SCHEMA: Literal["airflow-provider-akinon/seal/1"] = "airflow-provider-akinon/seal/1"


class SealedReceipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receipt that a seal holds."""

    receipt: Sha256
    """The SHA-256 of the receipt's bytes; its key holds it too."""
    object: str
    """The key of the receipt's object; for a record of changes, the key of its window's first object."""
    format: Format
    """The format of the window's objects."""
    window: Window
    """The receipt's window."""

    def __post_init__(self) -> None:
        require_calendar(self.window.start, self.window.end)


class ListedChain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another chain of the archive, as it was before this sealing began."""

    source: Source
    """The source of the chain's events."""
    filters: Filters
    """The filters of the chain's windows; empty where they have none."""
    number: Count
    """The number of the chain's newest seal; 0 where the chain began with this sealing."""
    head: Sha256 | None
    """The SHA-256 of the chain's newest seal, None where there was none."""

    @property
    def name(self) -> ChainName:
        """The name of the chain."""
        return ChainName(self.source, self.filters)


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seal, version 1 of its schema."""

    schema: Literal["airflow-provider-akinon/seal/1"]
    """``airflow-provider-akinon/seal/1``. Another number stands for other fields."""
    bucket: str
    """The bucket that the seal was written to. So a copy of the archive names the archive that it was copied from."""
    prefix: str
    """The prefix of the archive's keys: empty, or with a slash at its end."""
    source: Source
    """The source of the events; source and filters name the chain."""
    filters: Filters
    """The filters of the windows; empty where they have none."""
    number: Annotated[int, msgspec.Meta(ge=1)]
    """The seal's number in its chain, from 1 on, without a hole."""
    previous: Sha256 | None
    """The SHA-256 of the seal before this one, None in the first seal."""
    period: Window
    """The period that was to be sealed. The seal holds the receipts of windows that end in it, and those of earlier
    windows that no seal held."""
    receipts: list[SealedReceipt]
    """The receipts that the seal holds, in the order of their windows."""
    additions: list[Sha256]
    """The SHA-256 of those receipts of this seal whose windows begin in time that was sealed before."""
    gaps: list[Window]
    """The stretches of time, up to the end of the period, that no window of a series covers and no earlier seal
    names."""
    overlaps: list[Window]
    """The stretches of time that two windows of one format cover and no earlier seal names."""
    losses: list[str]
    """The keys of receipts and objects that earlier seals hold, that were gone, and that no earlier seal names as
    lost."""
    chains: list[ListedChain]
    """All other chains of the archive."""
    provider_version: str
    """The version of this package."""
    run: Run
    """The task that wrote the seal."""
    sealed_at: Instant
    """The time when the seal was written, by the worker's clock, in UTC."""
    signed_by: str | None
    """The Ed25519 public key of the signature, in base64; None where the seal is not signed."""
    signature: str | None
    """The Ed25519 signature of the seal's bytes with null in this place, in base64; None where the seal is not
    signed."""

    def __post_init__(self) -> None:
        spans = (self.period, *self.gaps, *self.overlaps)
        require_calendar(self.sealed_at, *(edge for span in spans for edge in (span.start, span.end)))

    @property
    def chain(self) -> ChainName:
        """The name of its chain."""
        return ChainName(self.source, self.filters)

    def encode(self) -> bytes:
        """Return the seal's bytes: the same for the same seal."""
        return encoded_document(self)

    def signed(self, key: PrivateKey | None) -> Seal:
        """Return the seal, signed where there is a key."""
        if key is None:
            return self
        unsigned = msgspec.structs.replace(self, signed_by=str(key.public), signature=None)
        return msgspec.structs.replace(unsigned, signature=key.sign(unsigned.encode()))

    def is_signed_by(self, key: PublicKey) -> bool:
        """Tell whether the signature is there and is ``key``'s."""
        unsigned = msgspec.structs.replace(self, signature=None)
        return self.signature is not None and key.verifies(unsigned.encode(), self.signature)


_decode = msgspec.json.Decoder(Seal).decode


def seal_schema() -> dict[str, Any]:
    """Return the JSON Schema of seals."""
    return msgspec.json.schema(Seal)


@dataclass(frozen=True, slots=True)
class ChainName:
    """The name of a chain: the source and filters that its seals have in common."""

    source: Source
    filters: Filters

    def __str__(self) -> str:
        return str(self.source) + "".join(f" {name}={value}" for name, value in self._filters)

    def __lt__(self, other: ChainName) -> bool:
        return self._order < other._order

    @property
    def _filters(self) -> tuple[tuple[str, int], ...]:
        return tuple(sorted(self.filters.as_dict().items()))

    @property
    def _order(self) -> tuple[str, int, tuple[tuple[str, int], ...]]:
        """The key that chains are sorted by; a chain without a remote id comes before its host's others."""
        remote_id = self.source.remote_id
        return self.source.host, -1 if remote_id is None else remote_id, self._filters

    @property
    def folder(self) -> str:
        """The name of the folder of the chain's seals, which differs for each chain."""
        return folder_of_chain(self.source, self.filters)


def parse_seal(key: str, body: bytes) -> Seal:
    """Return the seal that was stored under ``key``.

    :raises ArchiveError: it is no seal, was changed, or belongs elsewhere.
    """
    try:
        seal = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{key} is not a seal of a version that this package knows: {error}") from error
    if seal.encode() != body:
        raise ArchiveError(f"{key} was changed: it is not written as seals are")
    if not key.endswith(seal_key("", seal.chain.folder, seal.number)):
        raise ArchiveError(f"{key} is seal {seal.number} of another place, copied here")
    return seal
