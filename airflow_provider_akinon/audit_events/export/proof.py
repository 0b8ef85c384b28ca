"""The export of a window to a local file, proved complete before anyone else sees it.

Every answer of the API brings a ``count`` that respects the filters, so completeness needs no trust in page numbers.
The events read are distinct and lie in the window, each given by the API. So where they are as many as one count of
the whole window, asked for after the last of them was read, they are all of them: that closing count is the proof.
Where it differs, events came or went while the window was read. Then its slices are counted again, those that moved
are read again, the file is rebuilt from these and from the slices that did not move, and the window is counted again.
All this stays within bounds; beyond them, the export fails and says which slices moved, and how fast.

What counts can prove: a history that only grows, with fresh counts, as an audit log is. A deletion and an insertion
that cancel out between two requests, and a count that is stale, lie outside the proof. After deletions the file
still holds nothing that the API did not return. This module refuses to give a file whose numbers do not add up, or in
which two lines have the same uuid: they would be counted as two events.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Generator, Iterator, Set
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import islice
from typing import IO, NamedTuple

from airflow_provider_akinon.audit_events.api import PagesOfEvents, keeping_secret
from airflow_provider_akinon.audit_events.errors import IncompleteWindow, ProtocolError
from airflow_provider_akinon.audit_events.export.reader import Count, Reader, Reading, Stretch
from airflow_provider_akinon.audit_events.export.step import TIMES, meaningless
from airflow_provider_akinon.audit_events.formats import Block, JsonLines, unpacked_lines, write_parquet
from airflow_provider_akinon.audit_events.model import Filters, Format, Source, Window, parse_events
from airflow_provider_akinon.audit_events.redaction import Redaction

SLICE_EVENTS = 1000
"""Events that a slice of the file holds before the next begins. A slice is counted, and read again, as a whole."""
MENDING_REQUESTS = 1500
"""Requests that mending a window may take, beside four times those that its first reading took."""


class Encoded(NamedTuple):
    """A file of events in the format asked for, at its start."""

    file: IO[bytes]
    size: int
    """The file's size in bytes."""
    sha256: str
    """The SHA-256 of the file's bytes, in hex."""


@dataclass(frozen=True, slots=True)
class Export:
    """A proved window in a local file."""

    window: Window
    filters: Filters
    source: Source
    redaction: Redaction | None
    format: Format
    count: int
    """The number of events in the file; the API's last count is the same."""
    count_before: int
    """The API's count of the window when reading began."""
    proved_at: datetime
    """The time when the closing count came, by this machine's clock, in UTC."""
    written: JsonLines
    """The counts and hashes that identify the events, whatever the format."""
    draft: Draft
    encoded: Callable[[], Encoded]
    """Returns a file of the events in ``format``, which is gone when the export's context ends.

    The file is made on the first call: most later exports of a window need none."""

    def lines(self) -> Generator[bytes, None, None]:
        """Yield the events' lines, uncompressed and without line breaks, from the first on."""
        return self.draft.read()


@contextmanager
def export_window(
    api: PagesOfEvents,
    window: Window,
    filters: Filters,
    redaction: Redaction | None = None,
    file_format: Format = Format.JSONL_GZ,
) -> Iterator[Export]:
    """Read ``window`` into a temporary file on local disk and give it, proved complete.

    The file has no name, so that nothing stays behind even when the process is killed.

    :param redaction: what to remove from the records, None for nothing.
    :raises ApiError: the API failed, or gave what was not asked for; see `errors`.
    :raises IncompleteWindow: the events read are not as many as the API counts.
    """
    reader = Reader(api, window, filters, redaction)
    with keeping_secret(*api.settings.secrets):
        draft, count = _proved(reader, file_format)
    with closing(draft.file), ExitStack() as stack:
        yield Export(
            window=window,
            filters=filters,
            source=api.settings.source,
            redaction=redaction,
            format=file_format,
            count=count.events,
            count_before=reader.first_count,
            proved_at=count.at,
            written=draft.lines,
            draft=draft,
            encoded=cache(lambda: stack.enter_context(draft.encoded())),
        )


def _proved(reader: Reader, file_format: Format) -> tuple[Draft, Count]:
    """Return a draft of the reader's window whose numbers add up, and the count that proves it."""
    window = reader.window
    with reader.read([window]) as reading:
        draft, first = _written(reading, reading.stretches(), file_format)
    try:
        allowance = MENDING_REQUESTS + 5 * reader.requests
        count = first
        tried = stood_still = False
        while count.events != draft.lines.count or any(slice_.count_dropped for slice_ in draft.slices):
            moved = _moved(draft, reader)
            if reader.requests > allowance:
                raise _incomplete(window, draft.lines.count, moved, first, count)
            differing = [(slice_, read) for slice_, counted, read in moved if counted != read]
            if differing and not tried:
                tried = True
                _require_movement(reader, *differing[0])
            if moved:
                mended, count = _mended(draft, reader, {slice_ for slice_, _, _ in moved})
                draft.file.close()
                draft = mended
            else:
                before, count = count, reader.count()
                if count.events == before.events and count.events != draft.lines.count:
                    if stood_still:
                        raise meaningless(window, count.events, draft.lines.count)
                    stood_still = True
        _require_distinct(draft.lines)
    except BaseException:
        draft.file.close()
        raise
    return draft, count


def _require_distinct(lines: JsonLines) -> None:
    if lines.distinct != lines.count:
        raise ProtocolError(
            f"The API gave {lines.count} events with {lines.distinct} different uuids: event {lines.twin}, for one, "
            "came with more than one timestamp, or in both cases of its letters. Nothing was written. Tell Akinon"
        )


@dataclass(slots=True)
class Slice:
    """A stretch of the file: the window it covers, its lines, and whether a count dropped while it was read."""

    window: Window
    count: int
    count_dropped: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A file of lines that is not proved yet, and the slices that it consists of, in order."""

    file: IO[bytes]
    format: Format
    lines: JsonLines
    slices: list[Slice]

    @classmethod
    def write(cls, stretches: Generator[Stretch, None, None], file_format: Format) -> Draft:
        """Write the events of ``stretches``, which tile a window in order, and close that generator."""
        slices: list[Slice] = []
        file = tempfile.TemporaryFile(prefix="akinon-audit-events-")  # noqa: SIM115 - closed by the draft's owner
        try:
            # Closed here: a file that they read would stay open for as long as somebody holds on to an error.
            with closing(stretches), JsonLines(file, file_format) as lines:
                for stretch in stretches:
                    lines.write(stretch.events)
                    slice_ = slices[-1] if slices else None
                    # A count that dropped casts doubt on what was read before it.
                    if slice_ is not None and (slice_.count < SLICE_EVENTS or stretch.count_dropped):
                        slice_.window = Window(slice_.window.start, stretch.window.end)
                        slice_.count += stretch.events.count
                        slice_.count_dropped |= stretch.count_dropped
                    else:
                        slices.append(Slice(stretch.window, stretch.events.count, stretch.count_dropped))
        except BaseException:
            file.close()
            raise
        return cls(file, file_format, lines, slices)

    def read(self) -> Generator[bytes, None, None]:
        """Yield the lines, without line breaks; leaves the file at its start."""
        self.file.seek(0)
        try:
            if self.format is Format.JSONL:
                yield from map(_without_break, self.file)
            else:
                with unpacked_lines(self.file) as lines:
                    yield from map(_without_break, lines)
        finally:
            self.file.seek(0)

    @contextmanager
    def encoded(self) -> Iterator[Encoded]:
        """Give a file of the events in the format asked for."""
        self.file.seek(0)
        if self.format is not Format.PARQUET:
            yield Encoded(self.file, self.lines.size, self.lines.sha256)
            return
        with tempfile.TemporaryFile(prefix="akinon-audit-events-") as file, closing(self.read()) as lines:
            write_parquet(lines, file)
            size = file.tell()
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            yield Encoded(file, size, sha256)


def _moved(draft: Draft, reader: Reader) -> list[tuple[Window, int, int]]:
    """Return the slices to read again, each with the number of its events now, and of those that were read."""
    counts = reader.counts([slice_.window for slice_ in draft.slices])
    return [
        (slice_.window, count, slice_.count)
        for slice_, count in zip(draft.slices, counts, strict=True)
        if slice_.count_dropped or slice_.count != count
    ]


def _require_movement(reader: Reader, window: Window, read: int) -> None:
    """Make sure that a slice whose count differs from the number of events read is still moving.

    :raises MeaninglessCount: the API gives as many events as before, and counts another number, again and again.
    """
    for _ in range(TIMES - 1):
        with reader.read([window]) as reading:
            again = sum(stretch.events.count for stretch in reading.stretches())
        [count] = reader.counts([window])
        if again != read or count == read:
            return
    raise meaningless(window, count, read)


def _mended(draft: Draft, reader: Reader, moved: Set[Window]) -> tuple[Draft, Count]:
    """Return a draft with the slices in ``moved`` read again, and the count that closes that reading."""
    in_order = [slice_.window for slice_ in draft.slices if slice_.window in moved]
    with reader.read(in_order) as reading:
        return _written(reading, _merged(draft, moved, reading.stretches()), draft.format)


def _merged(draft: Draft, moved: Set[Window], fresh: Iterator[Stretch]) -> Generator[Stretch, None, None]:
    """Yield the draft's slices; for those in ``moved``, yield the stretches that were read again."""
    # Closed here: a generator left to the garbage collector would seek in a file that is closed by then.
    with closing(draft.read()) as lines:
        for slice_ in draft.slices:
            if slice_.window in moved:
                for stretch in fresh:
                    yield stretch
                    if stretch.window.end == slice_.window.end:
                        break
                _skip(lines, slice_.count)
            else:
                stored = list(islice(lines, slice_.count))
                yield Stretch(slice_.window, Block.of(parse_events(stored)), count_dropped=False)


def _skip(lines: Iterator[bytes], number: int) -> None:
    """Skip the next ``number`` lines."""
    next(islice(lines, number, number), None)


def _written(reading: Reading, stretches: Generator[Stretch, None, None], file_format: Format) -> tuple[Draft, Count]:
    """Return a draft of ``stretches``, which come from ``reading``, and the closing count of that reading."""
    draft = Draft.write(stretches, file_format)
    try:
        return draft, reading.closing_count()
    except BaseException:
        draft.file.close()
        raise


def _incomplete(
    window: Window, read: int, moved: list[tuple[Window, int, int]], first: Count, last: Count
) -> IncompleteWindow:
    pace = (last.events - first.events) / max(1e-3, (last.at - first.at).total_seconds())
    shown = "; ".join(f"{slice_} holds {count}, {events} were read" for slice_, count, events in moved[:5])
    more = f"; and {len(moved) - 5} more slices" if len(moved) > 5 else ""
    return IncompleteWindow(
        f"The window {window} is not proved complete: the API counts {last.events} events and {read} were read. It "
        f"is still moving, by {pace:+.1f} events a second. Wait until it has settled (settled_for of the sensor) and "
        f"try again. Slices that moved: {shown or 'none, counted one by one'}{more}",
        expected=last.events,
        read=read,
        slices=tuple(moved),
    )


def _without_break(line: bytes) -> bytes:
    return line[:-1]
