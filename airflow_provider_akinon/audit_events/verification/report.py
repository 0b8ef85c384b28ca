"""What verifying an archive finds: of windows, of stretches of time, and of seals, and the report of all of them.

Text that was read from the bucket is in findings as it can be shown. This module reads nothing and judges nothing.
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
    """A chain of seals, as it was found."""

    chain: str
    number: int
    """Of the newest seal that counts."""
    head: str
    """The SHA-256 of the newest seal: keep it outside the bucket."""
    sealed_until: datetime
    signed_by: str | None
    """The newest seal's public key, in base64."""
    copy_of: str | None
    """Where the newest seal was written, where this is a copy of that archive; None where it was here."""

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
    """What verifying an archive found."""

    archive: str
    """Its bucket and prefix, as an ``s3://`` URL."""
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
            "archive": self.archive,
            "ok": not self.wrong,
            "counts": self.counts,
            "bytes_read": self.bytes_read,
            "signatures_checked": self.signatures_checked,
            "chains": [each.as_dict() for each in self.chains],
            "findings": [each.as_dict() for each in self.findings],
        }


class Problem(NamedTuple):
    """Something that is wrong with a window."""

    status: Status
    detail: str
    hinders_sealing: bool = True
    """False where it is wrong with what a seal holds, or with an object without a receipt, which none will hold."""
