"""Lists the objects, receipts and seals below a prefix of an archive, by their keys alone.

It takes one listing, and reads no object. Anything that a query engine would read counts as an object of events:
below a ``date=`` folder, all but names that begin with an underscore or a dot, and the empty markers of folders;
elsewhere, keys that end in the extension of a format. All else belongs to somebody else, and is passed over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_akinon.audit_events.archive.bucket import Bucket
from airflow_provider_akinon.audit_events.archive.layout import (
    SEALS_FOLDER,
    first_and_number,
    is_read,
    parse_receipt_key,
    parse_seal_name,
)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The keys below a prefix."""

    prefix: str
    sizes: Mapping[str, int]
    """The size in bytes of each object of events that is there, by its key."""
    receipts: Mapping[str, Sequence[str]]
    """The SHA-256 of each receipt that is there, by the key of its object, which may not be there."""
    seals: Mapping[str, Sequence[int]]
    """The numbers of the seals that are there, by the folder of their chain."""

    @classmethod
    def take(cls, bucket: Bucket, prefix: str) -> Inventory:
        """List the keys below ``prefix``, as `folder_prefix` returns it."""
        sizes: dict[str, int] = {}
        receipts: defaultdict[str, list[str]] = defaultdict(list)
        seals: defaultdict[str, list[int]] = defaultdict(list)
        for key, size in bucket.entries(prefix):
            rest = key.removeprefix(prefix)
            if rest.startswith(SEALS_FOLDER):
                if seal := parse_seal_name(rest.removeprefix(SEALS_FOLDER)):
                    seals[seal.folder].append(seal.number)
            elif receipt := parse_receipt_key(key):
                receipts[receipt.object_key].append(receipt.sha256)
            else:
                sizes[key] = size
        return cls(
            prefix,
            # An object with a receipt is an object of events, whatever its name, and so are its late ones.
            {
                key: size
                for key, size in sizes.items()
                if key in receipts or first_and_number(key)[0] in receipts or is_read(key, size)
            },
            dict(receipts),
            dict(seals),
        )
