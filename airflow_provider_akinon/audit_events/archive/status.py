"""The statuses of findings about stored windows, stretches of time, and seals.

This module judges nothing but the errors of reading a key.
"""

from __future__ import annotations

from enum import Enum

from airflow_provider_akinon.audit_events.errors import ArchiveError, ObjectChanged, ObjectUnreadable


class Status(Enum):
    """The status of a finding; see `verification.Finding`."""

    OK = "ok"
    NOT_SEALED = "not sealed"
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
        """Whether somebody should look into it. A window that is not sealed yet does agree with its receipt."""
        return self not in (Status.OK, Status.NOT_SEALED)


def status_of(error: ArchiveError) -> Status:
    """Return the status of a key whose reading raised ``error``."""
    if isinstance(error, ObjectUnreadable):
        return Status.UNREADABLE
    return Status.MISSING if isinstance(error, ObjectChanged) else Status.ALTERED
