"""Seals: which receipts there were at a time, each seal bound to the one before it.

A chain of seals belongs to a source and filters. Each seal holds the SHA-256 of every receipt that no earlier seal
holds, and of the seal before; so the SHA-256 of the newest one, the head, stands for all of them. A receipt that is
changed, deleted or added shows, and so does a seal, but for the newest ones, which only somebody who kept a head
outside the bucket can miss. A signature says who sealed; it covers, through the chain, all that came before.

A seal lies at ``<prefix>/_seals/<chain>/_<number>.seal.json`` and is never changed. This module refuses bytes that
are not exactly those of a seal of its schema, and a chain whose seals do not follow each other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from airflow_provider_akinon.audit_events.errors import ArchiveError
from airflow_provider_akinon.audit_events.receipt import Instant, Run, Sha256, Source, Span, encoded
from airflow_provider_akinon.audit_events.signing import PrivateKey, PublicKey

SCHEMA: Literal["airflow-provider-akinon/seal/1"] = "airflow-provider-akinon/seal/1"
FOLDER = "_seals/"

_KEY = re.compile(r"([^/]+)/_([0-9]{6,})\.seal\.json")


class SealedReceipt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receipt that a seal holds."""

    receipt: Sha256
    """Of the receipt's bytes; its key tells it too."""
    object: str
    """The key of the object that the receipt is for; of one without object, that of its window's first one."""
    format: Literal["jsonl.gz", "jsonl", "parquet"]
    window: Span


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A seal, version 1 of its schema."""

    schema: Literal["airflow-provider-akinon/seal/1"]
    source: Source
    filters: dict[str, int]
    number: int
    """From 1 on, without a hole."""
    previous: Sha256 | None
    """Of the seal before, None in the first one."""
    period: Span
    """What was to be sealed: the windows that end in it, and those before that no seal held."""
    receipts: list[SealedReceipt]
    """In the order of their windows."""
    gaps: list[Span]
    """What no window covers, from the end of the last seal's period, else from the first window, to this one's."""
    overlaps: list[Span]
    """What two windows of one format cover, in the same stretch."""
    provider_version: str
    run: Run
    sealed_at: Instant
    """By the worker's clock."""
    signed_by: str | None
    """The Ed25519 public key in base64, None where it is not signed."""
    signature: str | None
    """Of the seal's bytes with null in this place, in base64."""

    def encode(self) -> bytes:
        """Return the seal's bytes: the same for the same seal."""
        return encoded(self)

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


@dataclass(frozen=True, slots=True, order=True)
class ChainName:
    """What the seals of a chain have in common: source and filters."""

    host: str
    remote_id: int
    filters: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, source: Source, filters: Mapping[str, int]) -> ChainName:
        """Return the name of the chain of a receipt's, or a seal's, source and filters."""
        return cls(source.host, source.remote_id, tuple(sorted(filters.items())))

    def __str__(self) -> str:
        return f"{self.host}/remote/{self.remote_id}" + "".join(f" {name}={value}" for name, value in self.filters)

    @property
    def source(self) -> Source:
        """The source, as documents have it."""
        return Source(host=self.host, remote_id=self.remote_id)

    @property
    def folder(self) -> str:
        """The name of the folder that the seals lie in."""
        return re.sub(r"[^A-Za-z0-9.=-]", "_", str(self))


def seal_key(prefix: str, folder: str, number: int) -> str:
    """Return the key of a seal below ``prefix``, which is empty or ends in a slash."""
    return f"{prefix}{FOLDER}{folder}/_{number:06d}.seal.json"


def place_in_chain(rest: str) -> tuple[str, int] | None:
    """Return folder and number of the seal whose key goes on with ``rest`` after `FOLDER`, None where it is none."""
    found = _KEY.fullmatch(rest)
    return (found[1], int(found[2])) if found else None


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
    if not key.endswith(seal_key("", ChainName.of(seal.source, seal.filters).folder, seal.number)):
        raise ArchiveError(f"{key} is seal {seal.number} of another place, copied here")
    return seal


@dataclass(frozen=True, slots=True)
class SealProblem:
    """What is wrong with one seal of a chain."""

    kind: Literal["missing", "altered", "not signed"]
    key: str
    detail: str


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """A seal and the SHA-256 of its bytes."""

    key: str
    sha256: str
    seal: Seal


@dataclass(frozen=True, slots=True)
class SealChain:
    """The seals of a chain that can be relied on, oldest first, and what is wrong with the others."""

    seals: tuple[StoredSeal, ...]
    problems: tuple[SealProblem, ...]

    @classmethod
    def read(cls, prefix: str, folder: str, bodies: Mapping[int, bytes], keys: Collection[PublicKey]) -> SealChain:
        """Check the seals of a folder, each given by its number.

        :param keys: public keys, one of which has to have signed the newest seal; none where that is not asked for.
            Its signature covers the older ones, as far as none in between is missing or altered.
        """
        seals: list[StoredSeal] = []
        problems: list[SealProblem] = []
        named: str | None = None  # what the next newer seal says that this one's SHA-256 is
        vouched = not keys
        for number, after in _downwards(bodies):
            key = seal_key(prefix, folder, number)
            if number not in bodies:
                lost = f"seal {number} is" if after == number + 1 else f"seals {number} to {after - 1} are"
                problems.append(SealProblem("missing", key, f"{lost} missing; a later one is there"))
                named, vouched = None, not keys
                continue
            sha256 = hashlib.sha256(bodies[number]).hexdigest()
            try:
                seal = parse_seal(key, bodies[number])
                if named not in (None, sha256):
                    raise ArchiveError(f"seal {number} was changed: seal {number + 1} names the SHA-256 {named}")
                if (number == 1) != (seal.previous is None):
                    raise ArchiveError(f"seal {number} names {seal.previous} as the seal before it")
                signed = _signed(seal, keys)
            except ArchiveError as error:
                problems.append(SealProblem("altered", key, str(error)))
                named, vouched = None, not keys
                continue
            vouched = vouched or signed
            if not vouched:
                detail = f"neither seal {number} nor a later one is signed by a key that was given"
                problems.append(SealProblem("not signed", key, detail))
            seals.append(StoredSeal(key, sha256, seal))
            named = seal.previous
        return cls(tuple(reversed(seals)), tuple(reversed(problems)))

    @property
    def head(self) -> StoredSeal | None:
        """The newest seal, None where there is none."""
        return self.seals[-1] if self.seals else None

    @property
    def name(self) -> str | None:
        """Source and filters of the chain, None where no seal tells."""
        return str(ChainName.of(self.head.seal.source, self.head.seal.filters)) if self.head else None

    @property
    def reached(self) -> datetime | None:
        """The end of the latest period that was sealed, None where there is none."""
        return max((stored.seal.period.end for stored in self.seals), default=None)

    def receipts(self) -> Iterator[SealedReceipt]:
        """Yield every receipt that a seal of the chain holds."""
        for stored in self.seals:
            yield from stored.seal.receipts


def _downwards(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield the numbers from the highest to 1, each with the one above; of those in a row that lack, the lowest."""
    present = sorted((number for number in numbers if number > 0), reverse=True)
    above = present[0] + 1 if present else 1
    for number in [*present, 0]:
        if number + 1 < above:
            yield number + 1, above
            above = number + 1
        if number:
            yield number, above
            above = number


def _signed(seal: Seal, keys: Collection[PublicKey]) -> bool:
    """Tell whether one of ``keys`` signed the seal.

    :raises ArchiveError: the seal says so, and the signature is not that key's.
    """
    for key in keys:
        if seal.signed_by == str(key):
            if not seal.is_signed_by(key):
                raise ArchiveError(f"seal {seal.number} was changed: its signature does not fit")
            return True
    return False
