"""Finds out, before a window is read, whether a store keeps two tasks from replacing each other's objects.

The whole archive stands on ``If-None-Match: *``, with which S3 creates an object only where none is. Not every store
that speaks S3 honours it, and one that ignores it gives no sign of that. This module asks to create one object twice,
at one key below each prefix, and touches no other object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_akinon.audit_events.archive.bucket import LEAST_IN_PARTS, Bucket
from airflow_provider_akinon.audit_events.archive.layout import PROBE_NAME
from airflow_provider_akinon.audit_events.archive.receipt import arguments_of_documents

PROBE_BODY = (
    b'{"what": "Tasks ask S3 to create this object again and again. It has to refuse, since it is there; so no task '
    b'can replace what another one stored. Leave it here."}\n'
)

_known: set[tuple[str | None, str, str]] = set()
"""Each store, bucket and folder where this process has seen that the store honours it."""


def require_conditional_writes(bucket: Bucket, folder: str, arguments: Mapping[str, Any]) -> None:
    """Make sure that a store creates an object only where none is; once for a bucket, a folder and a process.

    Where `Bucket` looks first itself, nothing is asked.

    :param folder: the beginning of the keys: empty, or with a slash at its end.
    :param arguments: boto3's upload arguments; the object is made with those of receipts.
    :raises UnconditionalWrites: it does not.
    :raises ObjectLocked: S3 refuses the lock that is asked for.
    """
    place = (*bucket.identity, folder)
    if not bucket.conditional or place in _known:
        return
    bucket.require_conditional_writes(folder + PROBE_NAME, PROBE_BODY, arguments_of_documents(arguments))
    _known.add(place)


def may_upload_in_parts(bucket: Bucket, folder: str, arguments: Mapping[str, Any], size: int) -> bool:
    """Tell whether a file may be uploaded in parts: not where the store then replaces what is there.

    Some stores honour ``If-None-Match: *`` where an object comes in one request, and ignore it where its parts are
    put together. The store is asked only where it matters.

    :param folder: as `require_conditional_writes` takes it, which was called before.
    :param size: bytes of the file.
    """
    if not bucket.conditional or size < LEAST_IN_PARTS:
        return True
    return bucket.heeds_condition_in_parts(folder + PROBE_NAME, PROBE_BODY, arguments_of_documents(arguments))
