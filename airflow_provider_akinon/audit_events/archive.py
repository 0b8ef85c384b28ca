"""The archive in S3: how a proved export gets there, what proves it later, and when it may replace what is there.

The object is written first and its receipt after it, so that an object with a receipt is whole; whatever kills the
task in between, the next try finds out what is missing and adds it. The stored object is evidence: an export replaces
it only where every stored event is still among those read, and leaves it and its receipt alone where the content is
the same. This module refuses to replace an object that is not an export of the same window, source, filters and
format, and to call a window archived while S3 shows something else than was written.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from shutil import copyfileobj
from typing import IO, Any

from airflow_provider_akinon import __version__
from airflow_provider_akinon.audit_events.bucket import Bucket, Head
from airflow_provider_akinon.audit_events.encoding import Format
from airflow_provider_akinon.audit_events.errors import (
    ArchiveError,
    ForeignObject,
    InvalidInput,
    ObjectChanged,
    ProtocolError,
    ShrinkRefused,
)
from airflow_provider_akinon.audit_events.export import Export
from airflow_provider_akinon.audit_events.parquet import read_events, read_lines
from airflow_provider_akinon.audit_events.place import Place
from airflow_provider_akinon.audit_events.receipt import (
    CONTENT_TYPE,
    NOT_FOR_RECEIPTS,
    NOT_PROVED,
    SCHEMA,
    Counts,
    Receipt,
    Run,
    Source,
    Span,
    StoredObject,
    heads,
    parse_receipt,
    receipt_key,
    receipt_prefix,
    told_by_key,
)
from airflow_provider_akinon.audit_events.records import parse_event

METADATA_PREFIX = "akinon-"


@dataclass(frozen=True, slots=True)
class Archived:
    """What the archive holds of a window now."""

    place: Place
    receipt: Receipt
    receipt_sha256: str
    written: bool
    """Whether this export wrote the object, rather than finding it."""

    @property
    def receipt_key(self) -> str:
        """The key of the receipt."""
        return receipt_key(self.place.key, self.receipt_sha256)


def archive(
    export: Export, bucket: Bucket, place: Place, arguments: Mapping[str, Any], run: Run, *, allow_shrink: bool
) -> Archived:
    """Put a proved export and its receipt where they belong, as far as they are not there.

    :param arguments: boto3's upload arguments.
    :param run: the task, for the receipt.
    :param allow_shrink: replace a stored object also where events of it are no longer returned by the API.
    :raises ForeignObject: the object at ``place`` is not an export of the same kind.
    :raises ShrinkRefused: it holds events that the export lacks.
    :raises ObjectLocked: Object Lock does not let it be replaced.
    :raises ObjectChanged: S3 shows another object than was written, or than was compared before.
    """
    stored = _stored(export, bucket, place)
    receipts = heads(_receipts(export, bucket, place))
    if stored is not None and stored.content_sha256 == export.written.content_sha256:
        if receipts and all(stored.is_of(receipt) for _, receipt in receipts):
            sha256, receipt = receipts[0]
            return Archived(place, receipt, sha256, written=False)
        written = stored.sha256 != export.sha256
    else:
        written = True
        if stored is not None and stored.uuids_sha256 != export.written.uuids_sha256 and not allow_shrink:
            with bucket.open(place.key) as body, naming_damage(place.key):
                require_superset(stored, body, export)
    if written:
        upload = {
            **arguments,
            "ContentType": export.format.content_type,
            "Metadata": {**arguments.get("Metadata", {}), **metadata_of(export)},
        }
        try:
            bucket.upload(place.key, export.file, upload, stored.etag if stored else None)
        except ObjectChanged:
            # Another try of the same task may have written the same.
            stored = _stored(export, bucket, place)
            if stored is None or stored.sha256 != export.sha256:
                raise
            written = False
        else:
            stored = _stored(export, bucket, place)
    receipt = _receipt(export, place, stored, run, [sha256 for sha256, _ in receipts])
    _require_unchanged(stored, receipt, place)
    encoded = receipt.encode()
    sha256 = hashlib.sha256(encoded).hexdigest()
    kept = {name: value for name, value in arguments.items() if name not in NOT_FOR_RECEIPTS}
    bucket.put(receipt_key(place.key, sha256), encoded, {**kept, "ContentType": CONTENT_TYPE})
    # Once more: where two exports of a window run at once, the one whose object was replaced must not succeed.
    _require_unchanged(_stored(export, bucket, place), receipt, place)
    return Archived(place, receipt, sha256, written=written)


def _stored(export: Export, bucket: Bucket, place: Place) -> StoredExport | None:
    head = bucket.head(place.key)
    return None if head is None else StoredExport.read(place, head, export)


def _receipts(export: Export, bucket: Bucket, place: Place) -> Iterator[tuple[str, Receipt]]:
    """Yield the receipts of the object at ``place``, each with its SHA-256.

    :raises ArchiveError: one was altered, renamed or put there from elsewhere.
    """
    for key in bucket.keys(receipt_prefix(place.key)):
        told = told_by_key(key)
        # The key of another object may begin like this one's.
        if told is not None and told[0] == place.key:
            receipt = parse_receipt(key, bucket.read(key))
            if receipt.window != _span(export):
                raise ArchiveError(f"{key} is the receipt of another window. Remove it, and ask why")
            yield told[1], receipt


def _span(export: Export) -> Span:
    return Span(start=export.window.start, end=export.window.end)


def _receipt(export: Export, place: Place, stored: StoredExport | None, run: Run, supersedes: list[str]) -> Receipt:
    host, _, remote_id = export.source.partition("/remote/")
    first, last = export.written.first, export.written.last
    return Receipt(
        schema=SCHEMA,
        window=_span(export),
        filters=export.filters.as_dict(),
        source=Source(host=host, remote_id=int(remote_id)),
        format=export.format.value,
        redaction=None if export.redaction is None else export.redaction.as_dict(),
        counts=Counts(
            api_before=export.count_before,
            api_after=export.count,
            uuids=export.written.count,
            lines=export.written.count,
        ),
        uuids_sha256=export.written.uuids_sha256,
        first_timestamp=None if first is None else first[0],
        last_timestamp=None if last is None else last[0],
        object=StoredObject(
            key=place.key,
            size=export.size,
            sha256=export.sha256,
            content_sha256=export.written.content_sha256,
            version_id=None if stored is None else stored.version_id,
        ),
        provider_version=__version__,
        run=run,
        verified_at=export.proved_at,
        supersedes=supersedes,
        not_proved=list(NOT_PROVED),
    )


def _require_unchanged(stored: StoredExport | None, receipt: Receipt, place: Place) -> None:
    """Make sure that S3 shows the object of ``receipt``.

    :raises ObjectChanged: it shows another, or none.
    """
    if stored is None or not stored.is_of(receipt):
        found = "nothing" if stored is None else f"{stored.size} bytes of SHA-256 {stored.sha256}"
        raise ObjectChanged(
            f"{place} should be {receipt.object.size} bytes of SHA-256 {receipt.object.sha256}, and S3 shows "
            f"{found}: somebody else writes there, perhaps another export of the window. Try again when it has ended"
        )


def metadata_of(export: Export) -> dict[str, str]:
    """Return the object's metadata: what identifies its content, and what it is an export of."""
    values = {
        "count": str(export.count),
        "sha256": export.sha256,
        "content-sha256": export.written.content_sha256,
        "uuids-sha256": export.written.uuids_sha256,
        **_identity(export),
    }
    return {METADATA_PREFIX + name: value for name, value in values.items()}


def _identity(export: Export) -> dict[str, str]:
    return {
        "source": export.source,
        "window": "/".join(export.window.as_dict().values()),
        "filters": json.dumps(export.filters.as_dict()),
        "format": export.format.value,
    }


@dataclass(frozen=True, slots=True)
class StoredExport:
    """What the metadata of a stored object says of it."""

    place: Place
    size: int
    count: int
    sha256: str
    content_sha256: str
    uuids_sha256: str
    version_id: str | None
    etag: str

    def is_of(self, receipt: Receipt) -> bool:
        """Tell whether this is the object that ``receipt`` was written for."""
        told = receipt.object
        return (self.size, self.sha256, self.version_id) == (told.size, told.sha256, told.version_id)

    @classmethod
    def read(cls, place: Place, head: Head, export: Export) -> StoredExport:
        """Return what is stored at ``place``, which ``export`` is about to go to.

        :raises ForeignObject: it is not an export of the same window, source, filters and format.
        """
        found = {
            name.lower().removeprefix(METADATA_PREFIX): value
            for name, value in head.metadata.items()
            if name.lower().startswith(METADATA_PREFIX)
        }
        for name, value in _identity(export).items():
            if found.get(name) != value:
                held = f"is an export with the {name} {found[name]}" if name in found else "is no export of ours"
                raise ForeignObject(
                    f"{place} {held}, and this one has the {name} {value}. Nothing was replaced: "
                    "choose a key that differs per window, source, filters and format (s3_prefix does), or move "
                    "the object"
                )
        try:
            return cls(
                place=place,
                size=head.size,
                count=int(found["count"]),
                sha256=found["sha256"],
                content_sha256=found["content-sha256"],
                uuids_sha256=found["uuids-sha256"],
                version_id=head.version_id,
                etag=head.etag,
            )
        except (KeyError, ValueError) as error:
            raise ForeignObject(
                f"{place} has incomplete metadata ({error}). Nothing was replaced: move the object"
            ) from error


def require_superset(stored: StoredExport, stored_file: IO[bytes], export: Export) -> None:
    """Make sure that every stored event is still among those of ``export``.

    Both are in the order of ``(timestamp, uuid)``, so they are compared as they stream by.

    :raises ShrinkRefused: the export lacks events that are stored.
    """
    missing, example = 0, ""
    # Closed here: a generator left to the garbage collector would seek in a file that is closed by then.
    with closing(export.lines()) as lines:
        for uuid in _missing(_keys(stored_file, export.format), _keys_of(lines)):
            missing += 1
            example = example or uuid
    if missing:
        raise ShrinkRefused(
            f"{stored.place} holds {stored.count} events, and the API now returns {export.count} for the window "
            f"{export.window}: {missing} of the stored ones are no longer among them, such as {example}. Their "
            "retention may have passed, the key may see less, or it is another account. Nothing was replaced; "
            "allow_shrink=True replaces it all the same",
            stored=stored.count,
            read=export.count,
        )


def stored_lines(file: IO[bytes], format: Format) -> Iterator[bytes]:  # noqa: A002 - the field's own word
    """Yield the record of each event of a stored object, in the object's order."""
    match format:
        case Format.JSONL:
            yield from file
        case Format.JSONL_GZ:
            with gzip.open(file) as lines:
                yield from lines
        case Format.PARQUET:
            with _on_disk(file) as copy:
                yield from read_lines(copy)


@contextmanager
def naming_damage(key: str) -> Iterator[None]:
    """Say which object it was that did not read as it was written.

    :raises ArchiveError: it is cut off, or its bytes were changed.
    """
    try:
        yield
    except InvalidInput:  # what is wrong is not the object
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile, ProtocolError, ValueError) as error:
        raise ArchiveError(
            f"{key} is damaged: it does not read as it was written ({error}). Nothing was replaced. Verify the "
            "archive, and restore the object from its version"
        ) from error


def _keys(file: IO[bytes], format: Format) -> Iterator[tuple[datetime, str]]:  # noqa: A002 - the field's own word
    """Yield timestamp and uuid of each event of a stored object."""
    if format is not Format.PARQUET:
        yield from _keys_of(stored_lines(file, format))
        return
    with _on_disk(file) as copy:
        yield from read_events(copy)


@contextmanager
def _on_disk(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give a copy of a stream that can be read in any order: the index of Parquet is at its end."""
    with tempfile.TemporaryFile(prefix="akinon-audit-events-") as copy:
        copyfileobj(file, copy)
        yield copy


def _keys_of(lines: Iterable[bytes]) -> Iterator[tuple[datetime, str]]:
    return (parse_event(line)[:2] for line in lines)


def _missing(stored: Iterable[tuple[datetime, str]], read: Iterable[tuple[datetime, str]]) -> Iterator[str]:
    """Yield the uuids of ``stored`` that ``read`` lacks; both ascend."""
    remaining = iter(read)
    candidate = next(remaining, None)
    for key in stored:
        while candidate is not None and candidate < key:
            candidate = next(remaining, None)
        if candidate != key:
            yield key[1]
