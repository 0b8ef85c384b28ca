"""What is stored of a window beside what the API gives now: each event is found, whatever moved."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.errors import ProtocolError
from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.audit_events.storing import VANISHED, Comparison, Numbers, comparing

MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
KINDS = ("same", "user_moved", "changed")


def at(milliseconds: float, digits: int = 6) -> str:
    """Return an instant of the day as the API writes it, with so many digits."""
    whole = (MIDNIGHT + timedelta(milliseconds=milliseconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return whole[: 20 + digits] + "Z" if digits else whole[:19] + "Z"


def event(uuid: str, time: float = 0, *, digits: int = 6, **fields: Any) -> dict[str, Any]:
    whole = {"uuid": uuid, "timestamp": at(time, digits), "user": {"pk": 1, "name": "a"}, "url": "/"}
    return {**whole, **fields}


def lines(events: Iterable[dict[str, Any]]) -> list[bytes]:
    """Return the records of events in the order of timestamp and uuid."""
    ordered = sorted(events, key=lambda each: (datetime.fromisoformat(each["timestamp"]), each["uuid"]))
    return [json.dumps(each, separators=(",", ":")).encode() for each in ordered]


def differences(comparison: Comparison) -> dict[str, tuple[str, ...]]:
    found = list(comparison.not_recorded())
    assert [each.uuid for each in found] == sorted(each.uuid for each in found)
    return {each.uuid: each.fields for each in found}


def test_all_kinds_at_once() -> None:
    """An event that is as it was, one whose user moved, one that changed, one that vanished, and one that is new."""
    stored = [event("a", 1), event("b", 2), event("c", 3), event("d", 4)]
    moved = {"user": {"pk": 1, "name": "z"}, "risk": 5}
    read = [event("a", 1), event("b", 2, **moved), event("c", 3, url="/x", user=None), event("e", 2)]

    with comparing([lines(stored)], lines(read)) as comparison:
        assert comparison.numbers == Numbers(same=1, user_moved=1, changed=1, vanished=1, new=1, new_fields=1)
        assert (comparison.numbers.stored, comparison.numbers.returned) == (4, 3)
        assert differences(comparison) == {"c": ("url", "user.pk"), "d": ()}
        assert list(comparison.new_lines()) == lines([event("e", 2)])
        assert set(comparison.unproved) == {0}
        assert comparison.unproved[0] in ("c", "d")


@pytest.mark.parametrize(("stored", "read"), [([], []), ([], ["a"]), (["a"], []), (["a", "b"], ["a", "b"])])
def test_empty_sides(stored: list[str], read: list[str]) -> None:
    """Either side may have no events at all."""
    with comparing([lines(map(event, stored))], lines(map(event, read))) as comparison:
        same = len({*stored} & {*read})
        assert comparison.numbers == Numbers(same=same, vanished=len(stored) - same, new=len(read) - same)


def test_several_objects_are_one_window() -> None:
    """Events of any of the objects are found, in whichever of them, and what is wrong is known of which."""
    objects = [[event("a", 1), event("d", 4)], [event("c", 3)], [event("b", 2), event("e", 5)]]
    read = [event("a", 1), event("b", 2, url="/x"), event("c", 3), event("d", 4), event("f", 0)]

    with comparing(list(map(lines, objects)), lines(read)) as comparison:
        assert comparison.numbers == Numbers(same=3, changed=1, vanished=1, new=1)
        assert set(comparison.unproved) == {2}
        assert list(comparison.new_lines()) == lines([event("f", 0)])


@pytest.mark.parametrize("digits", [0, 3])
def test_timestamps_that_are_written_in_another_way_today(digits: int) -> None:
    """A uuid decides who an event is: cut timestamps put the events in another order, and none is new or gone."""
    stored = [event(uuid, place / 7) for place, uuid in enumerate("zyxwvutsrq")]
    read = [{**each, "timestamp": at(place / 7, digits)} for place, each in enumerate(stored)]
    assert [json.loads(line)["uuid"] for line in lines(read)] != [json.loads(line)["uuid"] for line in lines(stored)]

    for sides in ((stored, read), (read, stored)):
        with comparing([lines(sides[0])], lines(sides[1])) as comparison:
            assert comparison.numbers == Numbers(same=10)
            assert differences(comparison) == {}
            assert list(comparison.new_lines()) == []
            assert set(comparison.unproved) == set()


def test_an_event_that_was_moved_in_time() -> None:
    """An event that is given at another time is the same event, changed, and not one that vanished and one new."""
    with comparing([lines([event("a", 1), event("b", 5)])], lines([event("a", 9), event("b", 5)])) as comparison:
        assert comparison.numbers == Numbers(same=1, changed=1)
        assert differences(comparison) == {"a": ("timestamp",)}


def test_what_is_recorded_is_not_recorded_again() -> None:
    """A uuid with a field, or a vanished uuid, that is recorded is counted, and not recorded once more."""
    stored = lines([event("a", 1), event("b", 2), event("c", 3)])
    read = lines([event("a", 1, url="/x", content=1), event("b", 2, url="/x")])
    recorded = [("a", "url"), ("b", "url"), ("c", "url"), ("x", VANISHED)]

    with comparing([stored], read, recorded) as comparison:
        assert comparison.numbers == Numbers(changed=2, vanished=1)
        assert differences(comparison) == {"a": ("content",), "c": ()}
    with comparing([stored], read, [*recorded, ("a", "content"), ("c", VANISHED)]) as comparison:
        assert comparison.numbers == Numbers(changed=2, vanished=1)
        assert differences(comparison) == {}


def test_a_newer_version_of_the_policy() -> None:
    """Stored records are redacted by the newer version before they are compared; what it marks is not compared."""
    redact = Redaction.parse("credentials")
    assert redact is not None
    plain = {"headers": {"Cookie": "osessionid=abc", "Host": "shop"}}
    redacted = [redact(line) for line in lines([event("a", 1, **plain), event("b", 2, **plain)])]
    older = lines([event("a", 1, **plain), event("b", 2, headers={"Cookie": "[redacted]", "Host": "other"})])

    with comparing([older], redacted, redact=redact) as comparison:
        assert comparison.numbers == Numbers(same=1, not_compared=1)
        assert set(comparison.unproved) == {0}
        assert differences(comparison) == {}
    with comparing([older], redacted) as comparison:
        assert comparison.numbers == Numbers(changed=2)


def test_new_lines_are_as_they_were_read() -> None:
    """What is new comes back byte by byte, in its order, also where a record holds escaped line breaks."""
    new = [event(f"n{place:04}", place % 50, content="a\nb\u2028c" * (place % 5)) for place in range(1200)]
    stored = [event(f"s{place:04}", place % 50) for place in range(1200)]

    with comparing([lines(stored)], lines([*stored, *new])) as comparison:
        assert comparison.numbers == Numbers(same=1200, new=1200)
        assert list(comparison.new_lines()) == lines(new)


def test_a_damaged_record_is_refused() -> None:
    """What is no event on either side is an error, and no difference."""
    with pytest.raises(ProtocolError), comparing([[b"{}"]], []):
        raise AssertionError("a record without a uuid was taken")
    with pytest.raises(ProtocolError), comparing([], [b'{"uuid": "a"}']):
        raise AssertionError("a record without a timestamp was taken")


UUIDS = st.text("abcdef", min_size=1, max_size=2)
STORED = st.dictionaries(UUIDS, st.tuples(st.integers(0, 9), st.integers(0, 3)), max_size=30)
"""Of each stored uuid: its milliseconds, and the number of its object."""
NOW = st.dictionaries(UUIDS, st.sampled_from(KINDS), max_size=30)
"""Of each uuid that is given: how it differs, where it is stored."""


@given(STORED, NOW, st.sets(UUIDS), st.sampled_from([0, 3, 6]))
def test_the_comparison_agrees_with_sets(
    stored: dict[str, tuple[int, int]], now: dict[str, str], recorded: set[str], digits: int
) -> None:
    """Whatever is stored and given, in however many objects and notations, sets of uuids come to the same."""
    objects: list[list[dict[str, Any]]] = [[], [], [], []]
    for uuid, (time, number) in stored.items():
        objects[number].append(event(uuid, time / 3))
    fields: dict[str, dict[str, Any]] = {"same": {}, "user_moved": {"user": {"pk": 1}}, "changed": {"url": "/x"}}
    read = [event(uuid, stored.get(uuid, (0, 0))[0] / 3, digits=digits, **fields[kind]) for uuid, kind in now.items()]
    known = [(uuid, field) for uuid in recorded for field in ("url", VANISHED)]

    with comparing(list(map(lines, objects)), lines(read), known) as comparison:
        found = differences(comparison)
        new = list(comparison.new_lines())

    kept, gone = stored.keys() & now.keys(), stored.keys() - now.keys()
    of_kind = {kind: {uuid for uuid in kept if now[uuid] == kind} for kind in KINDS}
    counts = {kind: len(uuids) for kind, uuids in of_kind.items()}
    assert comparison.numbers == Numbers(**counts, vanished=len(gone), new=len(now.keys() - stored.keys()))
    assert found == {
        **dict.fromkeys(of_kind["changed"] - recorded, ("url",)),
        **dict.fromkeys(gone - recorded, ()),
    }
    assert new == lines(each for each in read if each["uuid"] not in stored)
    assert set(comparison.unproved) == {stored[uuid][1] for uuid in gone | of_kind["changed"]}
