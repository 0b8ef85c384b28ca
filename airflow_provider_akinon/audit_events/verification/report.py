"""The findings of verifying an archive, about windows, stretches of time and seals, and the report of them all.

A finding that is written out shows text from the bucket in a harmless form. This module reads nothing and judges
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from airflow_provider_akinon.audit_events.archive import Status
from airflow_provider_akinon.audit_events.foreign_text import shown
from airflow_provider_akinon.audit_events.model import Window


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about a window, a stretch of time, or a seal."""

    status: Status
    key: str | None = None
    """The key of the object or the seal; None for a stretch of time."""
    window: Window | None = None
    """The window or stretch of time; None where it is not known, or where the finding is not about one."""
    chain: str | None = None
    """The chain's source and filters; None where they are not known."""
    details: tuple[str, ...] = ()
    """The reasons for the status, in words; empty for ``OK``."""

    def __str__(self) -> str:
        about = " ".join(str(each) for each in (self.window, self.key) if each is not None) or self.chain
        return shown(f"{self.status.value}: {about} ({'; '.join(self.details)})", None)

    def as_dict(self) -> dict[str, Any]:
        """Return the finding for XCom and JSON."""
        return {
            "status": self.status.value,
            "wrong": self.status.is_wrong,
            "window": None if self.window is None else self.window.as_dict(),
            "chain": None if self.chain is None else shown(self.chain, None),
            "key": None if self.key is None else shown(self.key, None),
            "details": [shown(detail, None) for detail in self.details],
        }


@dataclass(frozen=True, slots=True)
class ChainState:
    """A chain of seals, as verifying found it."""

    chain: str
    number: int
    """The number of the newest seal that counts."""
    head: str
    """The SHA-256, in hex, of the newest seal that counts. Keep it outside the bucket."""
    sealed_until: datetime
    signed_by: str | None
    """The Ed25519 public key that the newest seal names, in base64; None where it is not signed."""
    copy_of: str | None
    """The archive that the newest seal was written to, as an ``s3://`` URL, where this is a copy of it; else None."""

    def as_dict(self) -> dict[str, Any]:
        """Return the state for XCom and JSON."""
        return {
            "chain": self.chain,
            "number": self.number,
            "head": self.head,
            "sealed_until": self.sealed_until.isoformat().replace("+00:00", "Z"),
            "signed_by": self.signed_by,
            "copy_of": self.copy_of,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The result of verifying an archive."""

    archive: str
    """The archive's bucket and prefix, as an ``s3://`` URL."""
    findings: tuple[Finding, ...]
    """The findings, in the order of chain and time."""
    chains: tuple[ChainState, ...]
    bytes_read: int
    """The number of bytes of objects that were read."""
    signatures_checked: bool

    @property
    def wrong(self) -> tuple[Finding, ...]:
        """The findings that somebody should look into."""
        return tuple(finding for finding in self.findings if finding.status.is_wrong)

    @property
    def counts(self) -> dict[str, int]:
        """The number of findings of each status that occurs."""
        numbers = {status.value: sum(each.status is status for each in self.findings) for status in Status}
        return {status: number for status, number in numbers.items() if number}

    def as_dict(self) -> dict[str, Any]:
        """Return the report for machines."""
        return {
            "archive": self.archive,
            "ok": not self.wrong,
            "counts": self.counts,
            "bytes_read": self.bytes_read,
            "signatures_checked": self.signatures_checked,
            "chains": [each.as_dict() for each in self.chains],
            "findings": [each.as_dict() for each in self.findings],
        }


class Problem(NamedTuple):
    """A problem with a window."""

    status: Status
    detail: str
    hinders_sealing: bool = True
    """False where the problem is with what a seal already holds, or with an object without a receipt, which no seal
    will hold."""
