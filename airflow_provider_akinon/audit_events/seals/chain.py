"""Reads chains of seals: finds which seals follow each other, and which of them somebody vouches for.

Whoever may write to the bucket can add seals. Only what a signature or a head from outside the bucket covers counts
as sealed; where neither is known, seals can only be checked against each other. A signature covers, through the
chain, all that came before. This module refuses a chain whose seals do not follow each other: it names those that do
not, and goes by the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_akinon.audit_events.archive import Bucket, Inventory, Status, seal_key, status_of
from airflow_provider_akinon.audit_events.errors import ArchiveError
from airflow_provider_akinon.audit_events.in_threads import in_threads
from airflow_provider_akinon.audit_events.seals.document import ChainName, Seal, parse_seal
from airflow_provider_akinon.audit_events.seals.keys import PublicKey
from airflow_provider_akinon.audit_events.seals.series import Entry

MOST_OF_A_SEAL = 64 << 20
"""Bytes: some 150,000 receipts."""


@dataclass(frozen=True, slots=True)
class SealProblem:
    """A problem with one seal of a chain."""

    status: Status
    key: str
    detail: str


@dataclass(frozen=True, slots=True)
class Vouchers:
    """Keys and heads from outside the bucket, which show that seals are ours."""

    keys: Collection[PublicKey] = ()
    """Public keys, one of which must have signed the newest seal; empty to check no signatures."""
    known_heads: Collection[str] = ()
    """The SHA-256, in hex, of seals that are ours."""

    @property
    def is_nothing(self) -> bool:
        """Whether there are no keys and no heads, so that seals can only be checked against each other."""
        return not self.keys and not self.known_heads


NOTHING_KNOWN = Vouchers()


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """A seal and the SHA-256 of its bytes."""

    key: str
    sha256: str
    seal: Seal
    is_covered: bool = True
    """Whether a signature or a head vouches for the seal: its own, or that of a later seal. Only then does the seal
    count."""


@dataclass(frozen=True, slots=True)
class SealChain:
    """The trustworthy seals of a chain, oldest first, and the problems of the others."""

    seals: tuple[StoredSeal, ...]
    problems: tuple[SealProblem, ...]

    @classmethod
    def read(
        cls, prefix: str, folder: str, bodies: Mapping[int, bytes | ArchiveError], vouchers: Vouchers = NOTHING_KNOWN
    ) -> SealChain:
        """Check the seals of a folder, given by their numbers; an error stands in place of an unreadable seal.

        :param vouchers: a signature or a head covers its seal and the older ones, as far as none in between is
            missing or altered.
        """
        reading = _Reading(vouchers)
        for number, above in _downwards(bodies):
            key = seal_key(prefix, folder, number)
            if number in bodies:
                reading.read(number, key, bodies[number])
            else:
                lost = f"seal {number} is" if above == number + 1 else f"seals {number} to {above - 1} are"
                reading.break_off(SealProblem(Status.MISSING, key, f"{lost} missing; a later one is there"))
        return cls(tuple(reversed(reading.seals)), tuple(reversed(reading.problems)))

    @property
    def head(self) -> StoredSeal | None:
        """The newest seal, None where there is none."""
        return self.seals[-1] if self.seals else None

    @property
    def name(self) -> ChainName | None:
        """Source and filters of the chain, None where no seal tells."""
        return self.head.seal.chain if self.head else None

    @property
    def newest_covered(self) -> Seal | None:
        """The newest seal that a signature or a head vouches for, None where there is none."""
        return next((stored.seal for stored in reversed(self.seals) if stored.is_covered), None)

    def seal(self, number: int) -> StoredSeal | None:
        """Return the seal with this number, None where it is not there."""
        return next((stored for stored in self.seals if stored.seal.number == number), None)

    @property
    def reached(self) -> datetime | None:
        """The end of the latest period that was sealed, None where there is none."""
        return max((stored.seal.period.end for stored in self.seals), default=None)

    def entries(self, *, covered: bool = False) -> Iterator[Entry]:
        """Yield every receipt that a seal holds; with ``covered``, only those for which somebody vouches."""
        for stored in self.seals:
            if stored.is_covered or not covered:
                yield from ((stored.seal.chain, entry) for entry in stored.seal.receipts)


class _Reading:
    """Reads the seals of a chain from the newest to the oldest; newer ones name the older, and may cover them."""

    def __init__(self, vouchers: Vouchers) -> None:
        self.seals: list[StoredSeal] = []
        self.problems: list[SealProblem] = []
        self._vouchers = vouchers
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._named: str | None = None
        """The SHA-256 that the newer seal gives for the next one to be read; None if no newer one counts."""
        self._is_signed = self._is_covered = self._vouchers.is_nothing

    def break_off(self, problem: SealProblem) -> None:
        """Note that the next seal is missing or wrong: nothing covers the older ones through it."""
        self.problems.append(problem)
        self._begin_anew()

    def read(self, number: int, key: str, body: bytes | ArchiveError) -> None:
        """Check the next seal."""
        try:
            if isinstance(body, ArchiveError):
                raise body
            seal, sha256 = parse_seal(key, body), hashlib.sha256(body).hexdigest()
            is_signed = _signed(seal, self._vouchers.keys)
            is_head = sha256 in self._vouchers.known_heads
            if self._named not in (None, sha256):
                self._contradict(number, sha256, has_voucher=is_signed or is_head)
            if (number == 1) != (seal.previous is None):
                raise ArchiveError(f"seal {number} names {seal.previous} as the seal before it")
        except ArchiveError as error:
            self.break_off(SealProblem(status_of(error), key, str(error)))
            return
        self._is_signed |= is_signed
        self._is_covered |= self._is_signed or is_head
        if self._vouchers.keys and not self._is_signed:
            detail = f"neither seal {number} nor a later one is signed by a key that was given"
            self.problems.append(SealProblem(Status.NOT_SIGNED, key, detail))
        self.seals.append(StoredSeal(key, sha256, seal, self._is_covered))
        self._named = seal.previous

    def _contradict(self, number: int, sha256: str, *, has_voucher: bool) -> None:
        """Decide which is wrong, this seal or the newer one that names another in its place, and drop the wrong one.

        A newer seal that nobody vouches for cannot discredit a seal that has a voucher of its own.

        :raises ArchiveError: this seal is wrong.
        """
        if self._is_covered or not has_voucher:
            raise ArchiveError(f"seal {number} was changed: seal {number + 1} names the SHA-256 {self._named}")
        newer = self.seals.pop().key
        if all(problem.key != newer for problem in self.problems):
            detail = f"it names {self._named} as the seal before it, and that is {sha256}"
            self.problems.append(SealProblem(Status.ALTERED, newer, detail))


def _downwards(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield the numbers from the highest to 1, each with the one above it; of missing ones in a row, the lowest."""
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

    :raises ArchiveError: the seal names one of them, and the signature is not that key's.
    """
    for key in keys:
        if seal.signed_by == str(key):
            if not seal.is_signed_by(key):
                raise ArchiveError(f"seal {seal.number} was changed: its signature does not fit")
            return True
    return False


def read_chains(
    bucket: Bucket, inventory: Inventory, vouchers: Vouchers = NOTHING_KNOWN
) -> Iterator[tuple[str, SealChain]]:
    """Yield folder and chain of all seals of an inventory; ``vouchers`` are as `SealChain.read` takes them."""

    def read(key: str) -> bytes | ArchiveError:
        try:
            return bucket.read(key, MOST_OF_A_SEAL)
        except ArchiveError as error:  # a problem of this key alone: the chain reports it, and goes by the others
            return error

    for folder, numbers in sorted(inventory.seals.items()):
        keys = [seal_key(inventory.prefix, folder, number) for number in numbers]
        with in_threads(read, keys, "akinon-seals") as read_bodies:
            bodies = dict(zip(numbers, read_bodies, strict=True))
        yield folder, SealChain.read(inventory.prefix, folder, bodies, vouchers)
