"""Reads windows with several requests at a time, and hands their events on in the order of time.

What is still to read is a list of slices in the order of time, the frontier. Each thread takes the first slice that
nobody reads, reads its front by one step (`step.read_part`), and puts back what is left in the same place: as it
is, so that the slice is walked through page by page; or cut into several, where it holds many events, where threads
have nothing else to do, or where the API does not keep to the order of time and only slices of one page can be
trusted. The consumer takes the parts from the front. Nothing is planned ahead: each step brings the count of its
slice, so that slices follow the rhythm of the day, and no request is spent on counting.

There are more threads than the API may have requests in hand: while some wait for its answers, others compute. How
many requests go at a time is for the client to limit.

Python lets one thread compute at a time. Where the API answers so fast that the threads mostly wait for each other,
fewer of them are at work: more would read no faster, and hold up the thread that compresses.

Neither memory nor disk grows with the window: a slice far ahead waits until those before it are consumed, and events
that were read wait for their turn in a file. An error in any thread ends the reading at once. This module refuses to
judge whether the numbers add up; it only notes where a count dropped by more than the events that were read, which a
log that only grows never shows.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import IO

from airflow_provider_akinon.audit_events.api import PagesOfEvents
from airflow_provider_akinon.audit_events.errors import IncompleteWindow
from airflow_provider_akinon.audit_events.export.precision import Precision
from airflow_provider_akinon.audit_events.export.step import Part, meaningless, read_part, require_meaning
from airflow_provider_akinon.audit_events.formats import Block
from airflow_provider_akinon.audit_events.in_threads import in_threads
from airflow_provider_akinon.audit_events.model import Filters, Window
from airflow_provider_akinon.audit_events.redaction import Redaction

SLICE_PAGES = 32
"""The most pages that a slice should hold after a cut. Shorter slices would mean more last pages that are half empty.
"""
SLICES_PER_THREAD = 3
"""The number of slices that each thread should read at least. The last ones are read side by side and compressed one
after the other, so they should be short."""
LEAST_SLICE_PAGES = 16
"""Pages that a slice should hold all the same, so that a small window is not cut into many half empty pages."""
LOOKAHEAD_SLICES = 2
"""Slices of `SLICE_PAGES` that may be held, read and not yet consumed, for each request at a time."""
MOST_CUTS = 16
"""The most slices that one slice is cut into. If all events lie in one of these, each of the others costs a request
for nothing."""
LEAST_PAGES_TO_SHARE = 3
"""A slice is cut only to give idle threads something to do where it has more pages left than this."""

THREADS_PER_REQUEST = 1.5
"""Threads for each request that may be under way at a time: while some wait for answers, others compute."""
SATURATED = 0.8
"""The share of a processor that all threads at work may use together before one of them pauses. Python gives them one
processor, so beyond that they only wait for each other."""
ADAPTATION = 0.25
"""The change that each step makes to the number of threads at work: after four steps that ask for it, one thread more
or less works."""

DOUBTS = 3
"""The number of times that a difference between the counts of a slice and of its parts is checked: events may just
have come or gone. After that, reading goes on without another check."""
MOST_GROWTH = 1000
"""Events that may come while a window is read, beside as many as it held at first."""

_CELL = 256 * 1024
"""Bytes of a cell of the file that keeps blocks. A block takes as many free cells as it needs."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The events of a stretch of time, all of them as far as its step can tell."""

    window: Window
    events: Block
    count_dropped: bool
    """Whether the API counted fewer events than the step before had left."""


@dataclass(frozen=True, slots=True)
class Count:
    """The API's count of the events in a window, and the time when it came, by this machine's clock, in UTC."""

    events: int
    at: datetime


class Reader:
    """Reads a window, or parts of it again; remembers whether the API keeps to the order of time."""

    def __init__(
        self, api: PagesOfEvents, window: Window, filters: Filters, redaction: Redaction | None = None
    ) -> None:
        self.api = api
        self.window = window
        self.filters = filters
        self._redact = redaction.lines if redaction else None
        self._at_a_time = api.settings.extra.max_concurrency
        self.requests = 0
        """Requests made so far, each counted once however often it was tried."""
        self.first_count = 0
        """The API's count of the first slice when the first step read it."""
        self._counting = threading.Lock()
        self._trust_order = True
        self._precision = Precision()
        self._is_tried = False
        self._doubts_left = DOUBTS

    def count(self) -> Count:
        """Return how many events the whole window holds now.

        :raises ApiError: the API failed; see `errors`.
        """
        return Count(self._count(self.window), datetime.now(UTC))

    def counts(self, windows: list[Window]) -> list[int]:
        """Return how many events each of ``windows`` holds now.

        :raises ApiError: the API failed; see `errors`.
        """
        with in_threads(self._count, windows, "akinon-count", self._at_a_time) as counts:
            return list(counts)

    @contextmanager
    def read(self, windows: Iterable[Window]) -> Iterator[Reading]:
        """Read ``windows``, which are in order, and give what is read as it comes.

        The closing count is asked for as soon as all is read, while what was read is still consumed.
        """
        with tempfile.TemporaryFile(prefix="akinon-audit-events-") as file:
            number_of_threads = int(THREADS_PER_REQUEST * self._at_a_time)
            ahead = LOOKAHEAD_SLICES * SLICE_PAGES * self._at_a_time
            slices = [_Slice(window, _Due(window)) for window in windows]
            frontier = _Frontier(slices, number_of_threads, ahead, _Shelf(file))
            threads = [
                threading.Thread(target=self._work, args=(frontier,), name=f"akinon-read-{number}", daemon=True)
                for number in range(number_of_threads)
            ]
            for thread in threads:
                thread.start()
            try:
                yield Reading(self, frontier)
            finally:
                # A request in flight cannot be cancelled: its thread ends with it, and touches nothing here anymore.
                frontier.stop()

    def _work(self, frontier: _Frontier) -> None:
        try:
            while (slice_ := frontier.take()) is not None:
                started, computing = time.perf_counter(), time.thread_time()
                part = read_part(
                    self.api, slice_.window, self.filters, self._precision, trust_order=self._trust_order
                )
                block = Block.of(part.events, self._redact)
                frontier.adapt(time.perf_counter() - started, time.thread_time() - computing)
                with self._counting:
                    if not self.requests:
                        self.first_count = part.count
                    self.requests += part.requests
                    missing = slice_.due.missing(part.count)
                    count_dropped = missing > 0
                    if count_dropped or not part.ordered:
                        self._trust_order = False
                self._try_count(slice_.window, part)
                if missing:
                    self._require_parts_to_sum(slice_.due)
                if not frontier.put(slice_, part, block, count_dropped=count_dropped, trust_order=self._trust_order):
                    frontier.close(self.count())
        except BaseException as error:
            # Also a disk that is full: whoever consumes would wait for this thread for ever.
            frontier.fail(error)

    def _try_count(self, window: Window, part: Part) -> None:
        """Compare the API's count with the first events that one page shows whole, once for each reader.

        :raises MeaninglessCount: they differ, again and again.
        """
        if self._is_tried or part.rest is None or not 0 < len(part.events) < part.page_size:
            return
        self._is_tried = True
        front = Window(window.start, part.rest.start)
        requests = require_meaning(self.api, front, self.filters, self._precision, page_size=part.page_size)
        with self._counting:
            self.requests += requests

    def _require_parts_to_sum(self, due: _Due) -> None:
        """Make sure that the counts of a slice's parts differ from its own only because events came or went.

        :raises MeaninglessCount: the slice's count stands still, and twice is not the sum of its parts' counts.
        """
        with self._counting:
            self._doubts_left -= 1
            if self._doubts_left < 0:
                return
        for _ in range(2):
            before = self._count(due.whole)
            if before == due.total:
                return
            parts = sum(map(self._count, due.parts))
            if parts == before or self._count(due.whole) != before:
                return
        raise meaningless(due.whole, before, parts)

    def _count(self, window: Window) -> int:
        with self._counting:
            self.requests += 1
        return self.api.count(window, self.filters)

    def require_an_end(self, read: int) -> None:
        """Make sure that a window which grows faster than it is read does not keep us for ever.

        :raises IncompleteWindow: far more events were read than it held at first.
        """
        first = self.first_count
        if read > 2 * first + MOST_GROWTH:
            raise IncompleteWindow(
                f"The window held {first} events at first, and {read} have been read without coming to its end: they "
                "come in faster than they can be read. Wait until it has settled (settled_for of the sensor)",
                expected=first,
                read=read,
            )


class Reading:
    """Windows that threads are reading; usable until the context of `Reader.read` ends."""

    def __init__(self, reader: Reader, frontier: _Frontier) -> None:
        self._reader = reader
        self._frontier = frontier

    def stretches(self) -> Generator[Stretch, None, None]:
        """Yield the events part by part in the order of time, and end when the closing count is there.

        :raises ApiError: the API failed, or gave what was not asked for; see `errors`.
        :raises IncompleteWindow: see `step.read_part`.
        """
        read = 0
        for stretch in self._frontier.stretches():
            read += stretch.events.count
            self._reader.require_an_end(read)
            yield stretch

    def closing_count(self) -> Count:
        """Return the API's count of the reader's whole window, asked for after the last event was read.

        Call this after all stretches were consumed. It raises the same errors as `stretches`.
        """
        return self._frontier.closing_count()


@dataclass(slots=True)
class _Due:
    """The slices that a step left to read, and the number of events that they should hold together."""

    whole: Window
    """The window whose front the step read."""
    count: int | None = None
    """The API's count of ``whole`` at that time; None if no step has read anything."""
    front: int = 0
    """The number of events that the step read."""
    slices: Sequence[Window] = ()
    counts: list[int] = field(default_factory=list)

    def missing(self, count: int) -> int:
        """Note the count of one slice; after the last one, return how many events are missing (below 0: too many)."""
        self.counts.append(count)
        if self.count is None or len(self.counts) < len(self.slices):
            return 0
        return self.count - self.total

    @property
    def total(self) -> int:
        """The number of events of the front and of the slices together."""
        return self.front + sum(self.counts)

    @property
    def parts(self) -> list[Window]:
        """The windows that tile ``whole``: the front, where there was one, and the slices."""
        start = self.slices[0].start
        front = [Window(self.whole.start, start)] if start > self.whole.start else []
        return [*front, *self.slices]


@dataclass(slots=True, eq=False)
class _Slice:
    """A stretch of time on the frontier: waiting, taken by a thread, or read."""

    window: Window
    due: _Due
    count_dropped: bool = False
    """Whether a count dropped when it was read, or in a step that read nothing of it."""
    taken: bool = False
    read: _Shelved | None = None
    """The slice's events; None where it was not read."""


@dataclass(frozen=True, slots=True)
class _Shelved:
    """A block without its bytes, and the cells of the file that hold them."""

    block: Block
    cells: tuple[int, ...]
    size: int


class _Shelf:
    """A file that keeps blocks until they are consumed, and writes over consumed ones.

    Blocks in memory would lie between larger pieces that come and go, and would break up the memory that these
    leave free.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file.fileno()
        self._free: list[int] = []
        self._end = 0

    def put(self, block: Block) -> _Shelved:
        """Keep ``block``."""
        cells = []
        for start in range(0, len(block.data), _CELL):
            if not self._free:
                self._free.append(self._end)
                self._end += _CELL
            cells.append(self._free.pop())
            os.pwrite(self._file, memoryview(block.data)[start : start + _CELL], cells[-1])
        return _Shelved(replace(block, data=b""), tuple(cells), len(block.data))

    def take(self, shelved: _Shelved) -> Block:
        """Give a block back and free its cells."""
        data = b"".join(
            [
                os.pread(self._file, min(_CELL, shelved.size - number * _CELL), cell)
                for number, cell in enumerate(shelved.cells)
            ]
        )
        self._free.extend(shelved.cells)
        return replace(shelved.block, data=data)


class _Frontier:
    """The slices in the order of time, shared by the threads that read and the one that consumes."""

    def __init__(self, slices: list[_Slice], threads: int, ahead: int, shelf: _Shelf) -> None:
        self._slices = slices
        self._shelf = shelf
        self._threads = threads
        self._ahead = ahead
        """Pages that may be held, read and not yet consumed."""
        lock = threading.Lock()
        self._may_take = threading.Condition(lock)
        self._may_consume = threading.Condition(lock)
        self._unread = len(slices)
        self._held = 0
        """The number of events that were read and not yet consumed."""
        self._at_work = 0
        """The number of threads that are reading a slice."""
        self._useful = float(threads)
        """The number of threads that should read at a time."""
        self._page_size = 1
        self._slice_pages = 0.0
        """Pages that a slice should hold after a cut; 0 until the first step tells how many there are."""
        self._closing_count: Count | None = None
        """The API's count of the whole window after everything was read; None until it came."""
        self._error: BaseException | None = None
        self._stopped = False

    def take(self) -> _Slice | None:
        """Return the first slice that may be read now, waiting for one; None where the reading is over."""
        with self._may_take:
            while self._unread and not self._stopped:
                slice_ = self._next() if self._at_work < int(self._useful) else None
                if slice_ is not None:
                    slice_.taken = True
                    self._at_work += 1
                    return slice_
                self._may_take.wait()
            return None

    def put(self, slice_: _Slice, part: Part, block: Block, *, count_dropped: bool, trust_order: bool) -> bool:
        """Put back a slice that was taken: the part that was read, followed by what is left of it.

        Returns False to the thread that put back the last slice: nothing is left to read.
        """
        with self._may_take:
            if self._stopped:
                return True
            self._page_size = max(self._page_size, part.page_size)
            if not self._slice_pages:
                share = part.count / part.page_size / self._threads / SLICES_PER_THREAD
                self._slice_pages = min(SLICE_PAGES, max(LEAST_SLICE_PAGES, share))
            self._unread -= 1
            self._at_work -= 1
            here: list[_Slice] = []
            whole = slice_.window
            count_dropped = count_dropped or slice_.count_dropped
            if part.rest is None or part.rest.start > slice_.window.start:
                if part.rest is not None:
                    slice_.window = slice_.window.until(part.rest.start)
                slice_.count_dropped = count_dropped
                slice_.read = self._shelf.put(block)
                self._held += block.count
                here.append(slice_)
            if part.rest is not None:
                windows = part.rest.split(self._cuts(part, trust_order=trust_order), part.unit)
                due = _Due(whole, part.count, len(part.events), windows)
                here.extend(
                    _Slice(window, due, count_dropped=count_dropped and slice_.read is None) for window in windows
                )
                self._unread += len(windows)
            # This thread comes for one of the unread slices itself.
            self._may_take.notify(max(0, min(int(self._useful), self._unread) - self._at_work - 1))
            place = self._slices.index(slice_)
            self._slices[place : place + 1] = here
            if self._slices[0].read is not None:
                self._may_consume.notify()
            if not self._unread:
                self._may_take.notify_all()
            return self._unread > 0

    def adapt(self, seconds: float, computing: float) -> None:
        """Let more or fewer threads work, judging by a step of ``seconds``, of which computing took ``computing``."""
        with self._may_take:
            change = -ADAPTATION if self._at_work * computing > SATURATED * seconds else ADAPTATION
            self._useful = min(self._threads, max(1.0, self._useful + change))

    def close(self, count: Count) -> None:
        """Take the closing count; nothing else is to come."""
        with self._may_consume:
            self._closing_count = count
            self._may_consume.notify()

    def closing_count(self) -> Count:
        """Return the closing count, waiting for it; raises the error that ended a thread."""
        with self._may_consume:
            while self._error is None and self._closing_count is None:
                self._may_consume.wait()
            if self._error is not None:
                raise self._error
            assert self._closing_count is not None  # noqa: S101 - what the loop above waited for
            return self._closing_count

    def stretches(self) -> Iterator[Stretch]:
        """Yield the slices that were read, in order; wait for each, and at the end for the closing count.

        Raises the error that ended a thread.
        """
        while True:
            with self._may_consume:
                while self._error is None and (self._slices[0].read if self._slices else self._closing_count) is None:
                    self._may_consume.wait()
                if self._error is not None:
                    raise self._error
                if not self._slices:
                    return
                slice_ = self._slices.pop(0)
                assert slice_.read is not None  # noqa: S101 - what the loop above waited for
                block = self._shelf.take(slice_.read)
                self._held -= block.count
                if self._at_work < int(self._useful):
                    self._may_take.notify()
            yield Stretch(slice_.window, block, slice_.count_dropped)

    def fail(self, error: BaseException) -> None:
        """End the reading with ``error``."""
        with self._may_consume:
            self._error = self._error or error
            self._may_consume.notify()
        self.stop()

    def stop(self) -> None:
        """Let the threads end."""
        with self._may_take:
            self._stopped = True
            self._may_take.notify_all()

    def _next(self) -> _Slice | None:
        """Return the first slice that nobody reads; None where there is none, or the look-ahead does not reach it."""
        going = 0
        for slice_ in self._slices:
            if slice_.read is None and not slice_.taken:
                reach = self._ahead * self._page_size
                # The very first must always be read: nothing can be consumed before it.
                is_first = slice_ is self._slices[0]
                return slice_ if is_first or self._held + going * self._page_size < reach else None
            going += slice_.read is None
        return None

    def _cuts(self, part: Part, *, trust_order: bool) -> int:
        """Return how many slices to cut the rest of a part into."""
        pages = part.left / part.page_size
        if not trust_order:
            # Only whole pages count, and events are not spread evenly.
            return min(MOST_CUTS, max(2, math.ceil(2 * pages)))
        cuts = max(1, round(pages / self._slice_pages))
        idle = int(self._useful) - self._unread
        if pages > LEAST_PAGES_TO_SHARE and idle > 1:
            cuts = max(cuts, min(idle, math.ceil(pages / LEAST_PAGES_TO_SHARE)))
        return min(MOST_CUTS, cuts)
