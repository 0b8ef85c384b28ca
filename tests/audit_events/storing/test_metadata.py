"""What an object's metadata say decides nothing: whoever may write to the bucket can change them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_akinon.audit_events.archive import Bucket
from airflow_provider_akinon.audit_events.errors import ArchiveError
from airflow_provider_akinon.audit_events.model import Format
from tests.support.memory_archive import DAY, START, Shop, day
from tests.support.memory_bucket import MemoryBucket, Stored

NAMES = ("count", "sha256", "content-sha256", "uuids-sha256", "source", "window", "filters", "format")


def late(shop: Shop) -> None:
    shop.happen(START + DAY / 3)


def vanished(shop: Shop) -> None:
    del shop.api.events[next(iter(shop.api.events))]


def changed(shop: Shop) -> None:
    uuid, event = next(iter(shop.api.events.items()))
    shop.api.events[uuid] = event.having(url="/other/")


def nothing(_: Shop) -> None:
    pass


def outcome(act: Callable[[Shop], None], format_: Format, change: Callable[[Stored], Stored]) -> object:
    """Export a day, change what is stored of it, let the source change, and tell what another export comes to."""
    shop, memory = Shop(), MemoryBucket("audit")
    shop.happen(*(START + number * DAY / 10 for number in range(9)))
    bucket = Bucket(memory, "audit")
    shop.export(bucket, day(0), format_)
    [key] = [key for key in memory.objects if not key.endswith(".json")]
    memory.objects[key] = change(memory.objects[key])
    act(shop)
    try:
        again = shop.export(bucket, day(0), format_)
    except ArchiveError as error:
        return type(error), sorted(memory.objects)
    bodies = {name: each.body for name, each in memory.objects.items() if not name.endswith(".json")}
    return again.numbers, again.added, again.written, bodies


@pytest.mark.parametrize("format_", list(Format))
@pytest.mark.parametrize("act", [nothing, late, vanished, changed])
@pytest.mark.parametrize("name", [*NAMES, "all", "more"])
def test_metadata_decide_nothing(name: str, act: Callable[[Shop], None], format_: Format) -> None:
    """One word of them changed, removed or added, and an export comes to the same."""

    def change(stored: Stored) -> Stored:
        metadata = {} if name == "all" else {**stored.metadata, f"akinon-{name}": "0" * 64}
        return replace(stored, metadata=metadata)

    assert outcome(act, format_, change) == outcome(act, format_, lambda stored: stored)


@pytest.mark.parametrize("format_", list(Format))
@pytest.mark.parametrize("name", ["sha256", "content-sha256"])
def test_metadata_get_no_receipt(name: str, format_: Format) -> None:
    """Where a task was killed before the receipt, the next one says what is there, not what metadata say of it."""
    shop, memory = Shop(), MemoryBucket("audit")
    shop.happen(*(START + number * DAY / 10 for number in range(9)))
    bucket = Bucket(memory, "audit")
    first = shop.export(bucket, day(0), format_).window.receipts.last
    for key in [key for key in memory.objects if key.endswith(".json")]:
        del memory.objects[key]
    [(key, stored)] = memory.objects.items()
    memory.objects[key] = replace(stored, metadata={**stored.metadata, f"akinon-{name}": "0" * 64})

    assert shop.export(bucket, day(0), format_).window.receipts.last.object == first.object


class Forgetful(MemoryBucket):
    """A store that keeps no metadata, as some do."""

    def put(self, key: str, stored: Stored) -> None:
        """Keep an object without them."""
        super().put(key, replace(stored, metadata={}))


@pytest.mark.parametrize("format_", list(Format))
@pytest.mark.parametrize("act", [nothing, late, vanished, changed])
def test_a_store_without_metadata(act: Callable[[Shop], None], format_: Format) -> None:
    """Where a store keeps none, the stored bytes tell that they are those that were written."""
    shop, memory = Shop(), Forgetful("audit")
    shop.happen(*(START + number * DAY / 10 for number in range(9)))
    first = shop.export(Bucket(memory, "audit"), day(0), format_)
    act(shop)
    again = shop.export(Bucket(memory, "audit"), day(0), format_)

    assert (first.added, again.added) == (9, act is late)
    assert again.numbers.not_compared == 0
