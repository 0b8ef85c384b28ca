"""What is found of a stored window or a seal, in one word each.

This module judges nothing but the errors of reading a key.
"""

from __future__ import annotations

from enum import Enum

from airflow_provider_akinon.audit_events.errors import ArchiveError, ObjectChanged, ObjectUnreadable


class Status(Enum):
    """What was found; see `verification.Finding`."""

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
        """Whether somebody should look into it. What is not sealed yet agrees with its receipt all the same."""
        return self not in (Status.OK, Status.NOT_SEALED)


def status_of(error: ArchiveError) -> Status:
    """Return the status of a key whose reading raised ``error``."""
    if isinstance(error, ObjectUnreadable):
        return Status.UNREADABLE
    return Status.MISSING if isinstance(error, ObjectChanged) else Status.ALTERED
