"""Stores a proved export in the archive in S3, and records changes of stored events.

An object is written once, and never replaced. The first export of a window stores its events in one object; a later
one stores only those whose uuid none of the window's objects holds, in one more object beside it. Each object is
written before its receipt, so that an object with a receipt is whole. Whatever kills the task in between, the next
try finds out what is missing and adds it; of two tries at once, one finds the key taken and looks again. The stored
events are compared with what the API gives now, and what changed or vanished is recorded in a receipt without an
object. A run that sees nothing new writes nothing.

This module refuses to build on stored bytes that their receipts contradict, and to write anything where the API looks
like another account's.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from msgspec.structs import replace

from airflow_provider_akinon import __version__
from airflow_provider_akinon.audit_events.archive import (
    NOT_PROVED,
    RECEIPT_SCHEMA,
    Bucket,
    ChangedEvent,
    Counts,
    Location,
    ObjectHead,
    Policy,
    Receipt,
    Run,
    StoredObject,
    arguments_of_documents,
    may_upload_in_parts,
    receipt_key,
)
from airflow_provider_akinon.audit_events.errors import (
    ArchiveError,
    ObjectAltered,
    ObjectChanged,
    ObjectUnreadable,
    SourceChanged,
)
from airflow_provider_akinon.audit_events.export import Draft, Encoded, Export, Stretch
from airflow_provider_akinon.audit_events.formats import (
    Block,
    JsonLines,
    added_sums,
    naming_damage,
    stored_lines,
    sum_in_hex,
)
from airflow_provider_akinon.audit_events.model import Format, Window, parse_event, parse_events
from airflow_provider_akinon.audit_events.redaction import members_of
from airflow_provider_akinon.audit_events.storing.comparison import Comparison, Difference, Numbers, comparing
from airflow_provider_akinon.audit_events.storing.stored_window import (
    METADATA_PREFIX,
    StoredWindow,
    Target,
    WindowObject,
    identity_of,
    metadata_of,
)

TAKEN_KEYS = 10
"""The number of times that another task may take the key that is to be written, before this task gives up."""
ANOTHER_ACCOUNT = 10
"""The least number of stored events that shows another account, if the API returns none of them, but others."""
RECORDED_UUIDS = 10_000
"""The most uuids that one receipt records; more go into several receipts."""
RECORDED_BYTES = 3_500_000
"""The most bytes of uuids and names of fields that one receipt records, so that it stays below 4 MiB."""

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Archived:
    """A window as the archive holds it now, and what this export found and added."""

    window: StoredWindow
    numbers: Numbers
    """The numbers of events by the results of their comparison: the same, changed, vanished, new and others."""
    added: int
    """The number of events that this export stored."""
    written: bool
    """Whether this export wrote anything."""

    def added_by(self, run: Run) -> int:
        """Return how many events any try of a run stored; without a run, this export alone."""
        if run.run_id is None:
            return self.added
        mine = (run.dag_id, run.task_id, run.run_id, run.map_index)
        added = 0
        for each in self.window.objects:
            for receipt in each.receipts.values():
                of = receipt.run
                if (of.dag_id, of.task_id, of.run_id, of.map_index) == mine:
                    added += receipt.counts.lines
                    break
        return added

    @property
    def source_changed(self) -> SourceChanged | None:
        """The error where the API does not give all stored events as they were; None where it does."""
        numbers = self.numbers
        if not numbers.changed and not numbers.vanished:
            return None
        return SourceChanged(
            f"The API gives {numbers.changed} of the {numbers.stored} stored events of {self.window.location} "
            f"otherwise by now, and {numbers.vanished} no longer. What is stored stays, {self.added} new events were "
            "added, and the receipts name the uuids and fields. Find out who changed them; on_source_change='warn' "
            "lets it pass",
            changed=numbers.changed,
            vanished=numbers.vanished,
        )


def archive(export: Export, target: Target, arguments: Mapping[str, Any], run: Run) -> Archived:
    """Store the new events of a proved export, with a receipt, and record the events that changed or vanished.

    :param target: as it was before the window was read.
    :param arguments: boto3's upload arguments.
    :param run: the task, for the receipts.
    :raises ForeignObject: the object there is not an export of the same kind.
    :raises ObjectAltered: a stored object is gone, or its bytes are not those of its receipt.
    :raises ObjectUnreadable: a stored object has to be restored before it can be compared.
    :raises ArchiveError: receipts contradict each other or another policy, or the API looks like another account's.
    :raises ObjectChanged: another task is at work; try again.
    """
    task = _Task(export, target, arguments, run)
    for _ in range(TAKEN_KEYS):
        try:
            return task.store()
        except _KeyTaken as taken:
            last = taken
    raise ObjectChanged(f"{last} was taken by another task, for the {TAKEN_KEYS}th time. Try again when it has ended")


class _KeyTaken(Exception):
    """The key is taken: another task created the object, so the stored window has to be read again."""


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of a stored object, and the SHA-256 of its bytes."""

    file: IO[bytes]
    sha256: str

    def lines(self, key: str, file_format: Format) -> Iterator[bytes]:
        """Yield the object's records from the first on; an error in reading them names the object's ``key``."""
        self.file.seek(0)
        with naming_damage(key):
            yield from stored_lines(self.file, file_format)


@dataclass(frozen=True, slots=True)
class _NewObject:
    """An object that is stored, and whose receipt is still to be written."""

    head: ObjectHead
    stored: StoredObject
    lines: JsonLines
    """The counts and hashes that identify the object's events."""


@dataclass(frozen=True, slots=True)
class _Task:
    export: Export
    target: Target
    arguments: Mapping[str, Any]
    run: Run

    @property
    def bucket(self) -> Bucket:
        return self.target.bucket

    @property
    def location(self) -> Location:
        return self.target.location

    def store(self) -> Archived:
        """Compare the stored window with the export, and add what is missing.

        :raises _KeyTaken: another task wrote meanwhile.
        """
        export = self.export
        stored = StoredWindow.read(self.bucket, self.location, export)
        if not stored.objects:
            stored = self._add(stored, export.encoded(), export.written, Numbers())
            return Archived(stored, Numbers(new=export.count), export.count, written=True)
        if stored.shows(export):
            return Archived(stored, Numbers(same=export.count), 0, written=False)
        with ExitStack() as stack:
            try:
                copies = [stack.enter_context(self._copied(each)) for each in stored.objects]
            except ObjectUnreadable:
                if stored.receipts.receipts and stored.receipts.last.window_uuids == sum_in_hex(
                    export.written.uuids_sum
                ):
                    return Archived(stored, Numbers(not_compared=export.count), 0, written=False)
                raise
            comparison = stack.enter_context(self._compared(stored, copies))
            return self._settle(stored, copies[-1], comparison)

    def _settle(self, stored: StoredWindow, newest: _Copy, comparison: Comparison) -> Archived:
        """Write what the comparison shows to be missing: a receipt, an object of new events, a record of changes."""
        before, numbers = stored, comparison.numbers
        self._require_read_after(comparison)
        self._require_account(comparison)
        if not stored.objects[-1].receipts:
            stored = self._adopt(stored, newest, comparison)
        if numbers.new:
            lines = comparison.new_lines()
            with _drafted(lines, self.export.window, self.export.format) as draft, draft.encoded() as encoded:
                stored = self._add(stored, encoded, draft.lines, numbers)
        stored = self._record(stored, comparison)
        return Archived(stored, numbers, numbers.new, written=stored is not before)

    @contextmanager
    def _copied(self, each: WindowObject) -> Iterator[_Copy]:
        """Give a copy of a stored object, whose bytes are those of its receipt.

        :raises ObjectAltered: they are not.
        """
        with tempfile.TemporaryFile(prefix="akinon-audit-events-") as file:
            sha256 = self.bucket.hash(each.key, file)
            if each.described is not None and each.described.sha256 != sha256:
                raise ObjectAltered(
                    f"s3://{self.bucket.name}/{each.key} was altered: its SHA-256 is {sha256}, and "
                    f"{each.described.sha256} by its receipt. Nothing was written. Restore it from its version, and "
                    "ask who did it"
                )
            yield _Copy(file, sha256)

    @contextmanager
    def _compared(self, stored: StoredWindow, copies: list[_Copy]) -> Iterator[Comparison]:
        redaction = self.export.redaction
        version = None if redaction is None else redaction.as_dict()["version"]
        newer = redaction if stored.receipts.versions() - {version} else None
        sides = [copy.lines(each.key, stored.format) for each, copy in zip(stored.objects, copies, strict=True)]
        recorded = stored.recorded(self.bucket)
        with closing(self.export.lines()) as lines, comparing(sides, lines, recorded, redact=newer) as comparison:
            yield comparison

    def _require_read_after(self, comparison: Comparison) -> None:
        """Make sure that this task calls no event vanished or changed that another task stored after this one read.

        :raises ObjectChanged: it would.
        """
        missed = [uuid for number, uuid in comparison.unproved.items() if number not in self.target.before]
        if missed:
            raise ObjectChanged(
                f"Another task has stored events of {self.location} meanwhile which the API did not give, or gave "
                f"otherwise, when this one read (such as {missed[0]}). Nothing was written. Try again"
            )

    def _require_account(self, comparison: Comparison) -> None:
        """Make sure that the API is the one that the stored events came from.

        :raises ArchiveError: it gives none of the stored events, but others.
        """
        numbers = comparison.numbers
        if numbers.stored >= ANOTHER_ACCOUNT and not numbers.returned and numbers.new:
            raise ArchiveError(
                f"{self.location} holds {numbers.stored} events of {self.export.window}, and the API now returns "
                f"none of them but {numbers.new} others: it is another account, or its data were replaced. Nothing "
                "was written. Check host, remote id and key, or export to another s3_key_prefix"
            )

    def _adopt(self, stored: StoredWindow, copy: _Copy, comparison: Comparison) -> StoredWindow:
        """Write the receipt that the last object lacks: a task was killed between writing the two.

        :raises ObjectChanged: the API does not give all of the object's events as they are stored.
        """
        number = len(stored.objects) - 1
        last = stored.objects[number]
        if number in comparison.unproved:
            raise ObjectChanged(
                f"s3://{self.bucket.name}/{last.key} has no receipt, and the API gives not all of its events as they "
                f"are there (such as {comparison.unproved[number]}). Nothing was written. If no other task is about "
                "to write its receipt, somebody has to move it out of the way"
            )
        with closing(self.export.lines()) as read:
            lines = copy.lines(last.key, stored.format)
            # Not by the object's metadata: anybody who may write to the bucket could have written them.
            if stored.format is Format.PARQUET:
                lines = _as_read(lines, read)
            with _drafted(lines, self.export.window, Format.JSONL) as draft:
                written = draft.lines
        new = _NewObject(
            last.head,
            StoredObject(
                key=last.key,
                size=last.head.size,
                sha256=copy.sha256,
                content_sha256=written.content_sha256,
                version_id=last.head.version_id,
            ),
            written,
        )
        # This task, too, may be killed before it stores the new events: then this receipt is the last.
        to_come = comparison.numbers.new
        return self._write(stored, self._receipt_of_object(stored, comparison.numbers, new, to_come), last.head)

    def _add(self, stored: StoredWindow, encoded: Encoded, lines: JsonLines, numbers: Numbers) -> StoredWindow:
        """Store a file as the window's next object, and its receipt.

        :raises _KeyTaken: its key is taken.
        :raises ObjectChanged: S3 shows another object than was written.
        """
        location = self.location.late(len(stored.objects), self.export.format)
        arguments = self._arguments_of_object(encoded, lines)
        try:
            in_parts = may_upload_in_parts(self.bucket, location.folder, arguments, encoded.size)
            self.bucket.upload(location.key, encoded.file, arguments, in_parts=in_parts)
        except ObjectChanged as error:
            raise _KeyTaken(str(location)) from error
        head = self._require_there(location, encoded.size, encoded.sha256)
        written = StoredObject(
            key=location.key,
            size=encoded.size,
            sha256=encoded.sha256,
            content_sha256=lines.content_sha256,
            version_id=head.version_id,
        )
        receipt = self._receipt_of_object(stored, numbers, _NewObject(head, written, lines))
        return self._write(stored, receipt, head)

    def _arguments_of_object(self, encoded: Encoded, lines: JsonLines) -> dict[str, Any]:
        """Return the upload arguments of a new object, with what its metadata say of it."""
        metadata = {
            "count": str(lines.count),
            "sha256": encoded.sha256,
            "content-sha256": lines.content_sha256,
            "uuids-sha256": lines.uuids_sha256,
            **identity_of(self.export),
        }
        own = {METADATA_PREFIX + name: value for name, value in metadata.items()}
        return {
            **self.arguments,
            "ContentType": self.export.format.content_type,
            "Metadata": {**self.arguments.get("Metadata", {}), **own},
        }

    def _require_there(self, location: Location, size: int, sha256: str) -> ObjectHead:
        """Make sure that the written object is there. Some stores keep no metadata; there its bytes are hashed.

        :raises ObjectChanged: something else is.
        """
        head = self.bucket.head(location.key)
        found = "nothing"
        if head is not None:
            stored = metadata_of(head).get("sha256") or self.bucket.hash(location.key)
            if (head.size, stored) == (size, sha256):
                return head
            found = f"{head.size} bytes of SHA-256 {stored}"
        raise ObjectChanged(
            f"{location} should be {size} bytes of SHA-256 {sha256}, and S3 shows {found}: somebody else writes "
            "there. Try again, and ask who does"
        )

    def _record(self, stored: StoredWindow, comparison: Comparison) -> StoredWindow:
        """Record the changed and vanished events that no receipt of the window names yet."""
        for differences in _parts(comparison.not_recorded()):
            changed = [ChangedEvent(uuid=each.uuid, fields=list(each.fields)) for each in differences if each.fields]
            vanished = [each.uuid for each in differences if not each.fields]
            receipt = replace(self._receipt(stored, comparison.numbers), changed=changed, vanished=vanished)
            stored = self._write(stored, receipt, None)
        return stored

    def _receipt_of_object(
        self, stored: StoredWindow, numbers: Numbers, new: _NewObject, to_come: int = 0
    ) -> Receipt:
        """Return the receipt of a new object; ``to_come`` more events are still to be stored in another object."""
        receipt, lines = self._receipt(stored, numbers), new.lines
        counts = receipt.counts
        return replace(
            receipt,
            counts=replace(
                counts,
                api_after=counts.api_after - to_come,
                uuids=lines.distinct,
                lines=lines.count,
                window=counts.window + lines.count,
            ),
            uuids_sha256=lines.uuids_sha256,
            window_uuids=sum_in_hex(added_sums(int(receipt.window_uuids, 16), lines.uuids_sum)),
            first_timestamp=lines.first[0] if lines.first else None,
            last_timestamp=lines.last[0] if lines.last else None,
            object=new.stored,
        )

    def _receipt(self, stored: StoredWindow, numbers: Numbers) -> Receipt:
        """Return a new receipt of the window, still without an object and changes."""
        export, known = self.export, stored.receipts
        return Receipt(
            schema=RECEIPT_SCHEMA,
            window=export.window,
            filters=export.filters,
            source=export.source,
            partition_timezone=self.target.timezone,
            format=export.format,
            redaction=None if export.redaction is None else Policy(**export.redaction.as_dict()),
            counts=Counts(
                api_before=export.count_before,
                api_after=export.count,
                uuids=0,
                lines=0,
                window=known.lines,
                vanished=numbers.vanished,
            ),
            uuids_sha256=None,
            window_uuids=known.last.window_uuids if known.receipts else sum_in_hex(0),
            first_timestamp=None,
            last_timestamp=None,
            object=None,
            changed=[],
            vanished=[],
            provider_version=__version__,
            run=self.run,
            verified_at=export.proved_at,
            previous=known.newest,
            not_proved=list(NOT_PROVED),
        )

    def _write(self, stored: StoredWindow, receipt: Receipt, head: ObjectHead | None) -> StoredWindow:
        """Write a receipt and return the window with it, and with its object, where it has one."""
        encoded = receipt.encode()
        sha256 = hashlib.sha256(encoded).hexdigest()
        key = receipt_key(receipt.object.key if receipt.object else self.location.key, sha256)
        self.bucket.create(key, encoded, arguments_of_documents(self.arguments))
        return stored.having(head, sha256, receipt)


@contextmanager
def _drafted(lines: Iterator[bytes], window: Window, file_format: Format) -> Iterator[Draft]:
    """Give a draft of lines that are in order."""

    def stretches() -> Generator[Stretch, None, None]:
        while batch := list(islice(lines, _BATCH)):
            yield Stretch(window, Block.of(parse_events(batch)), count_dropped=False)

    draft = Draft.write(stretches(), file_format)
    with closing(draft.file):
        yield draft


def _as_read(stored: Iterator[bytes], read: Iterator[bytes]) -> Iterator[bytes]:
    """Yield stored records, each with its fields in the API's order, which Parquet does not keep.

    Both come in the order of time and uuid.
    """
    for line in stored:
        uuid = parse_event(line).uuid
        model = next((each for each in read if parse_event(each).uuid == uuid), line)
        spans = {name: (begin, end) for name, begin, _, end in members_of(line)}
        names = [name for name, *_ in members_of(model)]
        if sorted(names) != sorted(spans):
            yield line
        else:
            yield b"{" + b",".join(line[slice(*spans[name])] for name in names) + b"}"


def _parts(differences: Iterator[Difference]) -> Iterator[list[Difference]]:
    """Yield the differences in parts, each of which fits into one receipt."""
    part: list[Difference] = []
    size = 0
    for each in differences:
        bytes_of = len(each.uuid.encode()) + sum(len(name.encode()) + 16 for name in each.fields) + 80
        if part and (len(part) >= RECORDED_UUIDS or size + bytes_of > RECORDED_BYTES):
            yield part
            part, size = [], 0
        part.append(each)
        size += bytes_of
    if part:
        yield part
