"""Whatever happens to a source, its archive and its bucket: what is stored stays, is whole, and is told once.

A state machine makes histories of a source and, between its changes, exports, repairs, kills, tampering, copies and
upgrades. What has to come of each export is worked out from the history alone. A failure shows its steps.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_provider_akinon.audit_events.archive import (
    PROBE_NAME,
    Bucket,
    Location,
    Run,
    Status,
    first_and_number,
    parse_receipt_key,
)
from airflow_provider_akinon.audit_events.errors import ArchiveError, ObjectChanged
from airflow_provider_akinon.audit_events.export import export_window
from airflow_provider_akinon.audit_events.formats import read_lines
from airflow_provider_akinon.audit_events.model import Filters, Format, Window
from airflow_provider_akinon.audit_events.reconciling import Reconciler
from airflow_provider_akinon.audit_events.redaction import Redaction, policy
from airflow_provider_akinon.audit_events.storing import ANOTHER_ACCOUNT, VANISHED, Archived, Numbers, Target, archive
from airflow_provider_akinon.audit_events.verification import verify_archive
from tests.support.changing_source import ChangingApi, Event, Style, Verdict, compared
from tests.support.examples import EXAMPLES
from tests.support.memory_bucket import MemoryBucket, Stored

STEPS = 20
START = datetime(2026, 1, 31, tzinfo=UTC)
LENGTH = timedelta(seconds=10)
WINDOWS = [Window(START, START + LENGTH), Window(START + LENGTH, START + 2 * LENGTH)]
PREFIX = "logs/"

# Of few, so that many share an instant, or a millisecond, or an edge.
OFFSETS = st.sampled_from([0, 1, 999, 1000, 5_000_000, 5_000_100, 5_000_200, 5_000_999, 7_250_000, 9_999_999])
STYLES = st.builds(
    Style,
    digits=st.sampled_from(["as many as it has", "three", "six"]),
    zone=st.sampled_from(["Z", "+00:00", "+03:00"]),
    backwards=st.booleans(),
)
FIRST_MORE_OFTEN = st.sampled_from([0, 0, 0, 1])


class Killed(BaseException):
    """The worker is gone."""


@dataclass
class Kept:
    """What the model knows of a window's archive."""

    stored: dict[str, tuple[Event, Style]] = field(default_factory=dict)
    """Each stored event as the source gave it then."""
    of_objects: dict[str, list[str]] = field(default_factory=dict)
    """The uuids of each object, by its key."""
    recorded: Counter[tuple[str, str]] = field(default_factory=Counter)
    versions: set[int] = field(default_factory=set)
    raced: set[tuple[str, str]] = field(default_factory=set)
    """What two tasks that ran at once may both have recorded."""
    incomplete: bool = False
    """Whether a task was killed since the last success."""


@dataclass(frozen=True)
class Tampering:
    """What somebody did to an object or a receipt; its bytes of before."""

    key: str
    before: Stored


class History(RuleBasedStateMachine):
    """A source, the archive of two of its windows, and what has happened so far."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.numbers = iter(range(1, 10**9))
        self.runs = iter(range(1, 10**9))
        self.ledger: dict[str, bytes] = {}
        self.kept = {Location.of_window("audit", PREFIX, each, Filters(), UTC): Kept() for each in WINDOWS}
        self.tampered: Tampering | None = None
        self.gone: list[Event] = []
        self.other: dict[str, Event] = {}
        self.has_metadata = True

    @initialize(
        format_=st.sampled_from([Format.JSONL_GZ, Format.JSONL_GZ, Format.JSONL, Format.PARQUET]),
        redact=st.sampled_from([None, "credentials"]),
        versioned=st.booleans(),
        page_size=st.sampled_from([3, 100]),
    )
    def begin(self, format_: Format, redact: str | None, *, versioned: bool, page_size: int) -> None:
        self.format = format_
        self.redaction = Redaction.parse(redact)
        self.s3 = MemoryBucket(versioned=versioned)
        self.api = ChangingApi(page_size)
        self.locations = [Location.of_window("audit", PREFIX, each, Filters(), UTC, format_) for each in WINDOWS]
        self.kept = {location: Kept() for location in self.locations}

    def teardown(self) -> None:
        try:
            if hasattr(self, "s3"):
                if self.tampered:
                    self.undo_tampering()
                self.verify()
        finally:
            self.patch.undo()

    # What happens to the source.

    @rule(which=FIRST_MORE_OFTEN, offsets=st.lists(OFFSETS, min_size=1, max_size=6))
    def arrive(self, which: int, offsets: list[int]) -> None:
        for offset in offsets:
            event = Event.of(next(self.numbers), WINDOWS[which].start + timedelta(microseconds=offset))
            self.api.events[event.uuid] = event

    @rule(which=FIRST_MORE_OFTEN)
    def arrive_in_numbers(self, which: int) -> None:
        self.arrive(which, [1000 * number for number in range(ANOTHER_ACCOUNT)])

    @precondition(lambda self: self.api.events)
    @rule(data=st.data(), all_=st.booleans())
    def vanish(self, data: st.DataObject, all_: bool) -> None:
        for event in [self.pick(data)] if not all_ else list(self.api.events.values())[1:]:
            self.gone.append(self.api.events.pop(event.uuid))

    @precondition(lambda self: self.gone)
    @rule()
    def come_back(self) -> None:
        for event in self.gone:
            self.api.events[event.uuid] = event
        self.gone.clear()

    @precondition(lambda self: self.api.events)
    @rule(
        data=st.data(),
        how=st.sampled_from(["url", "url removed", "amount", "password", "pk", "user shape", "moment", "object_id"]),
    )
    def change(self, data: st.DataObject, how: str) -> None:
        event = self.pick(data)
        user, post = event.fields["user"], event.fields["post_data"]
        pk = user["pk"] if isinstance(user, dict) else user
        match how:
            case "url":
                event = event.having(url=event.fields.get("url", "/") + "x")
            case "url removed":
                event = event.without("url")
            case "amount":
                event = event.having(post_data={**post, "amount": post["amount"] + 1})
            case "password":
                event = event.having(post_data={**post, "password": post["password"] + "b"})
            case "pk":
                event = event.having(user={"pk": (pk or 0) + 1} if isinstance(user, dict) else None if pk else 8)
            case "user shape":
                event = event.having(user=pk if isinstance(user, dict) else {"pk": pk, "last_login": 1})
            case "object_id":
                event = event.having(object_id=10**30 if event.fields["object_id"] is None else None)
            case "moment":
                window = next(each for each in WINDOWS if each.contains(event.moment))
                moved = event.moment + timedelta(seconds=2)
                event = replace(event, moment=moved if window.contains(moved) else window.start)
        self.api.events[event.uuid] = event

    @precondition(lambda self: self.api.events)
    @rule()
    def move_users(self) -> None:
        for uuid, event in self.api.events.items():
            user = event.fields["user"]
            if isinstance(user, dict):
                self.api.events[uuid] = event.having(user={**user, "last_login": user.get("last_login", 0) + 1})

    @precondition(lambda self: self.api.events)
    @rule(data=st.data(), name=st.sampled_from(["zone", "request_id"]), removed=st.booleans())
    def change_what_is_not_documented(self, data: st.DataObject, name: str, removed: bool) -> None:
        event = self.pick(data)
        self.api.events[event.uuid] = event.without(name) if removed else event.having(**{name: next(self.numbers)})

    @rule(style=STYLES)
    def write_otherwise(self, style: Style) -> None:
        self.api.style = style

    @rule()
    def give_another_account(self) -> None:
        self.api.events, self.other = self.other, self.api.events

    # What happens to the archive.

    @rule(which=FIRST_MORE_OFTEN)
    def export(self, which: int) -> None:
        self.outcome(which, lambda: self.exported(which))

    @rule(which=FIRST_MORE_OFTEN)
    def export_twice(self, which: int) -> None:
        """The second time, nothing is new."""
        self.export(which)
        writes = self.s3.writes
        archived = self.outcome(which, lambda: self.exported(which))
        assert self.s3.writes == writes
        assert archived is None or not archived.written

    @precondition(lambda self: any(map(parse_receipt_key, self.ledger)))
    @rule()
    def repair(self) -> None:
        """Every window that has a receipt, as the operator does whose count has moved."""
        reconciler = Reconciler(self.api, Bucket(self.s3, "audit"), self.redaction)  # type: ignore[arg-type]
        whole = Window(WINDOWS[0].start, WINDOWS[-1].end)
        try:
            found = reconciler.recount(reconciler.exported(PREFIX, whole))
        except ArchiveError:
            assert self.tampered
            return
        for each in found:
            which = WINDOWS.index(each.window)
            location, kept = self.locations[which], self.kept[self.locations[which]]
            if not self.is_tampered(location):
                expected = len(kept.stored) - each.receipt.counts.vanished
                assert kept.incomplete or each.receipt.counts.api_after == expected
            self.outcome(which, lambda each=each: reconciler.export_again(each, {}, self.run()))

    @rule(which=FIRST_MORE_OFTEN, number=st.integers(1, 3), done=st.booleans())
    def be_killed(self, which: int, number: int, *, done: bool) -> None:
        """At the write of this number, before or after it took effect."""
        left = number

        def around(_key: str, after: bool) -> None:
            nonlocal left
            left -= not after
            if left == 0 and after == done:
                raise Killed

        with self.around_writes(around):
            self.outcome(which, lambda: self.exported(which), killed=True)
        if not self.tampered:
            self.verify()

    @rule(which=FIRST_MORE_OFTEN, number=st.integers(1, 3), offsets=st.lists(OFFSETS, min_size=1, max_size=2))
    def be_killed_again(self, which: int, number: int, offsets: list[int]) -> None:
        """The first time with an object that has no receipt yet, where anything is new."""
        self.be_killed(which, 1, done=True)
        self.arrive(which, offsets)
        self.be_killed(which, number, done=False)

    @rule(
        which=FIRST_MORE_OFTEN,
        number=st.integers(0, 3),
        done=st.booleans(),
        late=st.booleans(),
        ahead=st.integers(0, 1),
    )
    def run_beside_another_task(self, which: int, number: int, *, done: bool, late: bool, ahead: int) -> None:
        """The other one reads and writes while this one is at its write of this number, whose clock may be ahead.

        At number 0, when this one has read, and has not looked at what is stored.
        """
        if self.is_tampered(self.locations[which]):
            return
        left = number
        location = self.locations[which]
        kept = self.kept[location]

        def run_the_other() -> None:
            if late:
                self.arrive(which, [4_000_000])
            self.note(location, anything=True)
            with self.around_writes(lambda _key, _after: None):
                self.try_export(which)
            self.note(location, anything=True)

        def around(_key: str, after: bool) -> None:
            nonlocal left
            left -= not after
            if number and left == 0 and after == done:
                left = -1
                run_the_other()

        before, recorded = set(self.differences(location)), set(kept.recorded)
        with self.around_writes(around):
            archived = self.try_export(which, ahead, (lambda: None) if number else run_the_other)
        seen = before | set(self.differences(location))
        kept.raced |= seen
        self.note(location, anything=True)
        # What the other one stored meanwhile has not vanished, though this one's answers lack it.
        assert kept.recorded.keys() <= recorded | seen
        kept.incomplete = kept.incomplete or archived is None

    def try_export(self, which: int, *arguments: Any) -> Archived | None:
        try:
            return self.exported(which, *arguments)
        except ArchiveError:
            return None

    @precondition(lambda self: not self.tampered and self.ledger)
    @rule(
        data=st.data(),
        how=st.sampled_from(["flip", "cut", "replace", "delete"]),
        metadata=st.booleans(),
        offset=st.integers(0, 10_000),
    )
    def tamper(self, data: st.DataObject, how: str, metadata: bool, offset: int) -> None:
        """With an object that has a receipt, or a receipt that a later one names; others look like a kill."""
        key = data.draw(st.sampled_from(sorted(self.ledger)))
        before = self.s3.objects[key]
        looked_at = self.looked_at(self.place_of(key))
        told = parse_receipt_key(key)
        if told is None and key not in looked_at.of_objects:
            return
        if told is not None and how == "delete" and told[1] not in looked_at.named:
            return
        body = before.body
        match how:
            case "flip":
                offset %= len(body) or 1
                body = body[:offset] + bytes([body[offset] ^ 1]) + body[offset + 1 :] if body else b"x"
            case "cut":
                body = body[:-1] if body else b"x"
            case "replace":
                body = gzip.compress(b"{}") + body
        if how == "delete":
            del self.s3.objects[key]
        else:
            self.s3.put(key, replace(before, body=body, metadata=before.metadata if metadata else {}))
        self.tampered = Tampering(key, before)

    @precondition(lambda self: self.tampered)
    @rule()
    def undo_tampering(self) -> None:
        assert self.tampered
        self.s3.put(self.tampered.key, self.tampered.before)
        self.tampered = None

    @precondition(lambda self: not self.tampered)
    @rule(versioned=st.booleans(), metadata=st.booleans())
    def move_the_archive(self, versioned: bool, metadata: bool) -> None:
        self.s3 = self.s3.copy(versioned=versioned, metadata=metadata)

    @rule()
    def upgrade(self) -> None:
        self.patch.setattr(policy, "VERSION", policy.VERSION + 1)

    @precondition(lambda self: not self.tampered)
    @rule()
    def verify(self) -> None:
        report = verify_archive(Bucket(self.s3, "audit"), PREFIX)
        wrong = [each for each in report.wrong if each.status not in (Status.GAP, Status.NOTHING)]
        for each in wrong:
            kept = self.kept[Location("audit", str(each.key))]
            assert (each.status, kept.incomplete) == (Status.WITHOUT_RECEIPT, True), each

    # What has to hold.

    @invariant()
    def nothing_that_was_stored_changes(self) -> None:
        for key, body in self.ledger.items():
            if self.tampered is None or key != self.tampered.key:
                assert self.s3.objects[key].body == body
        assert len(self.objects) == len(self.ledger) - (
            self.tampered is not None and self.tampered.key not in self.s3.objects
        )

    def outcome(self, which: int, act: Callable[[], Archived], *, killed: bool = False) -> Archived | None:
        """Run an export and hold what comes of it to what has to."""
        location, window = self.locations[which], WINDOWS[which]
        kept, now = self.kept[location], self.api.within(window)
        before, recorded = dict(kept.stored), Counter(kept.recorded)
        verdicts = self.verdicts(location)
        numbers = numbers_of(verdicts, len(now.keys() - before.keys()))
        differences = set(self.differences(location))
        looked_at = None if self.is_tampered(location) else self.looked_at(location)
        writes, had_objects = self.s3.writes, bool(kept.of_objects)
        archived = failure = None
        was_killed = False
        try:
            archived = act()
        except Killed:
            was_killed = True
        except ArchiveError as error:
            failure = error
        self.note(location)
        if self.is_tampered(location):
            assert not was_killed
            assert self.s3.writes == writes
            if archived is not None:  # the receipts show equal content, so that no object was read
                assert not archived.written
                assert len(kept.of_objects) == 1
                assert numbers.same == numbers.stored == len(now)
                assert self.tampered
                assert self.tampered.key in kept.of_objects
                assert self.tampered.key in self.s3.objects
            return archived
        assert looked_at is not None
        lacking = [key for key in kept.of_objects if key in looked_at.metadata and key not in looked_at.of_objects]
        must_fail: type[ArchiveError] | None = None
        if lacking:
            unproved = {verdicts[uuid].kind for uuid in kept.of_objects[lacking[0]]} - {"same", "user_moved"}
            if not looked_at.metadata[lacking[0]]:
                must_fail = ArchiveError
            elif unproved:
                must_fail = ObjectChanged
        if numbers.stored >= ANOTHER_ACCOUNT and not numbers.returned and numbers.new:
            must_fail = ArchiveError
        if must_fail:
            assert isinstance(failure, must_fail), failure
            assert self.s3.writes == writes
            return None
        assert failure is None, failure
        if was_killed:
            assert killed
            kept.incomplete = True
            assert before.keys() <= kept.stored.keys() <= before.keys() | now.keys()
            assert recorded.keys() <= kept.recorded.keys() <= recorded.keys() | differences
            return None
        assert archived is not None
        kept.incomplete = False
        assert kept.stored.keys() == before.keys() | now.keys()
        assert kept.recorded.keys() == recorded.keys() | differences
        new = not had_objects or lacking or numbers.new or differences - recorded.keys()
        assert archived.written == bool(new)
        assert (self.s3.writes > writes) == bool(new)
        assert archived.numbers == numbers
        assert archived.added == numbers.new
        assert archived.window.lines == len(kept.stored)
        assert (archived.source_changed is not None) == bool(numbers.changed or numbers.vanished)
        return archived

    def exported(self, which: int, ahead: int = 0, once_read: Callable[[], None] = lambda: None) -> Archived:
        target = Target.look(Bucket(self.s3, "audit"), self.locations[which], self.format, "UTC")
        with export_window(self.api, WINDOWS[which], Filters(), self.redaction, self.format) as export:
            once_read()
            export = replace(export, proved_at=export.proved_at + ahead * timedelta(hours=1))
            return archive(export, target, {}, self.run())

    def run(self) -> Run:
        return Run(dag_id="d", task_id="t", run_id=str(next(self.runs)), map_index=-1, try_number=1)

    def verdicts(self, location: Location) -> dict[str, Verdict]:
        kept, now = self.kept[location], self.api.within(WINDOWS[self.locations.index(location)])
        marks = self.redaction is not None and bool(kept.versions - {policy.VERSION})
        redacted = self.redaction is not None
        return {
            uuid: compared(then, style, now.get(uuid), self.api.style, redacted=redacted, marks=marks)
            for uuid, (then, style) in kept.stored.items()
        }

    def differences(self, location: Location) -> Iterator[tuple[str, str]]:
        for uuid, verdict in self.verdicts(location).items():
            yield from ((uuid, name) for name in verdict.fields)
            if verdict.kind == "vanished":
                yield uuid, VANISHED

    @property
    def objects(self) -> dict[str, Any]:
        """What is stored, but what the store is tried with."""
        return {key: each for key, each in self.s3.objects.items() if not key.endswith(PROBE_NAME)}

    def note(self, location: Location, *, anything: bool = False) -> None:
        """Take what is new in the bucket into the model, each event as it has to be stored."""
        kept, now = self.kept[location], self.api.within(WINDOWS[self.locations.index(location)])
        for key in sorted(self.objects.keys() - self.ledger.keys()):
            body = self.s3.objects[key].body
            self.ledger[key] = body
            assert self.place_of(key) == location
            if parse_receipt_key(key):
                receipt = json.loads(body)
                if receipt["redaction"]:
                    kept.versions.add(receipt["redaction"]["version"])
                for each in receipt["changed"]:
                    kept.recorded.update((each["uuid"], name) for name in each["fields"])
                kept.recorded.update((uuid, VANISHED) for uuid in receipt["vanished"])
                assert {entry for entry, times in kept.recorded.items() if times > 1} <= kept.raced or anything
                continue
            lines = list(self.lines(body))
            uuids = [json.loads(line)["uuid"] for line in lines]
            assert len(set(uuids)) == len(uuids)
            assert not set(uuids) & kept.stored.keys()
            kept.of_objects[key] = uuids
            for uuid, line in zip(uuids, lines, strict=True):
                record = self.api.style.line(now[uuid], redacted=self.redaction is not None)
                if self.format is Format.PARQUET:
                    assert json.loads(line) == json.loads(record)
                else:
                    assert line == record
                kept.stored[uuid] = (now[uuid], self.api.style)

    def lines(self, body: bytes) -> Iterator[bytes]:
        match self.format:
            case Format.JSONL_GZ:
                yield from gzip.decompress(body).splitlines()
            case Format.JSONL:
                yield from body.splitlines()
            case Format.PARQUET:
                yield from read_lines(BytesIO(body))

    def looked_at(self, location: Location) -> LookedAt:
        found = LookedAt({}, set(), set(), set())
        for key, each in self.objects.items():
            if self.place_of(key) != location:
                continue
            told = parse_receipt_key(key)
            if told is None:
                found.metadata[key] = bool(each.metadata)
                continue
            receipt = json.loads(each.body)
            found.receipts.add(told[1])
            found.named.update(receipt["previous"])
            if receipt["object"]:
                found.of_objects.add(receipt["object"]["key"])
        return found

    def place_of(self, key: str) -> Location:
        told = parse_receipt_key(key)
        return Location("audit", first_and_number(told[0] if told else key)[0])

    def is_tampered(self, location: Location) -> bool:
        return self.tampered is not None and self.place_of(self.tampered.key) == location

    def pick(self, data: st.DataObject) -> Event:
        return self.api.events[data.draw(st.sampled_from(sorted(self.api.events)))]

    @contextmanager
    def around_writes(self, around: Callable[[str, bool], None]) -> Iterator[None]:
        before, self.s3.around_write = self.s3.around_write, around
        try:
            yield
        finally:
            self.s3.around_write = before


@dataclass
class LookedAt:
    """What the bucket holds of a window, seen without the package's help."""

    metadata: dict[str, bool]
    """The objects that are there, and whether each has metadata."""
    of_objects: set[str]
    """The objects that have a receipt."""
    receipts: set[str]
    named: set[str]
    """The receipts that others name."""


def numbers_of(verdicts: dict[str, Verdict], new: int) -> Numbers:
    found = Numbers(new=new, new_fields=sum(each.has_new_fields for each in verdicts.values()))
    for each in verdicts.values():
        setattr(found, each.kind, getattr(found, each.kind) + 1)
    return found


def test_an_archive_only_grows_and_tells_what_became_of_its_events() -> None:
    """Stored bytes stay, windows are whole, an event is stored once, a change is recorded once, tampering shows."""
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def history() -> Iterator[History]:
    """A history that a test makes itself. What has to hold is checked at its end, too."""
    history = History()
    history.begin(Format.JSONL, None, versioned=False, page_size=100)
    yield history
    history.nothing_that_was_stored_changes()
    history.teardown()


def test_a_receipt_that_a_later_one_names_may_not_be_missing(history: History) -> None:
    """Where it was removed, its object gets no other one: the export fails until it is back."""
    history.arrive(0, [0, 1])
    history.export(0)
    (first,) = filter(parse_receipt_key, history.objects)
    before = dict(history.api.events)
    history.api.events.popitem()
    history.export(0)
    history.api.events = before  # so that all events of the object are given as they are stored
    history.tampered = Tampering(first, history.s3.objects.pop(first))

    history.export(0)

    history.undo_tampering()
    history.export(0)


def test_each_receipt_counts_what_the_objects_hold_up_to_it(history: History) -> None:
    """A task that dies between an object's missing receipt and what is new leaves no contradiction."""
    history.arrive(0, [0])
    history.be_killed(0, 1, done=True)
    history.arrive(0, [1])

    history.be_killed(0, 2, done=False)

    history.repair()


@pytest.mark.parametrize("number", [0, 1])
def test_events_that_another_task_stored_meanwhile_have_not_vanished(history: History, number: int) -> None:
    """Whether its key was taken or not, a task does not record what came after it had read as vanished."""
    history.arrive(0, [0])
    history.export(0)
    history.arrive(0, [1])
    history.run_beside_another_task(0, number, done=False, late=True, ahead=0)

    history.export(0)


def test_the_last_receipt_is_the_one_of_the_most_events(history: History) -> None:
    """Where two tasks wrote at once, no worker's clock decides what the window holds."""
    history.run_beside_another_task(0, 1, done=True, late=True, ahead=1)

    history.export(0)


def test_an_object_without_receipt_that_cannot_be_compared_gets_none() -> None:
    """Redacted by an older version, an event may differ in what redaction removed: nothing proves the object."""
    history = History()
    history.begin(Format.JSONL, "credentials", versioned=False, page_size=100)
    history.arrive(0, [0])
    history.export(0)
    history.arrive(0, [1])
    history.be_killed(0, 1, done=True)
    history.upgrade()
    event = list(history.api.events.values())[-1]
    history.api.events[event.uuid] = event.having(post_data={"amount": 0, "password": "b"})

    history.export(0)

    history.teardown()
