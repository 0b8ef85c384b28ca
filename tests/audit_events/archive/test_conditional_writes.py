"""What the store does with ``If-None-Match: *`` is found out before anything is read, by one object of no event."""

from __future__ import annotations

import io

import pytest

from airflow_provider_akinon.audit_events.archive import (
    PROBE_BODY,
    PROBE_NAME,
    Bucket,
    Location,
    require_conditional_writes,
)
from airflow_provider_akinon.audit_events.errors import ObjectChanged, UnconditionalWrites
from tests.support.memory_archive import PREFIX, START, Shop, day, seal, verify
from tests.support.memory_bucket import MemoryBucket, Stored

KEY = f"logs/{PROBE_NAME}"
UNFIT = {
    "ignored": "it creates an object where one is already",
    "412": "it refuses to create an object where none is",
    "501": "it answers An error occurred (NotImplemented)",
    "304": "it answers An error occurred (304)",
}


def test_a_fit_store_shows_it_once() -> None:
    """One object is made, once for a bucket and a folder; a later process asks for it again, and writes nothing."""
    memory = MemoryBucket()

    for _ in range(3):
        require_conditional_writes(Bucket(memory, memory.name), "logs/", {})

    assert memory.tries == 2
    assert {key: each.body for key, each in memory.objects.items()} == {KEY: PROBE_BODY}
    later = memory.copy(versioned=True, metadata=True)
    require_conditional_writes(Bucket(later, later.name), "logs/", {})
    assert (later.tries, later.objects[KEY].version_id) == (1, "v1")
    require_conditional_writes(Bucket(later, later.name), "", {})
    assert set(later.objects) == {KEY, PROBE_NAME}


@pytest.mark.parametrize("condition", UNFIT)
def test_an_unfit_store_is_refused_each_time(condition: str) -> None:
    """Whatever a store does but refuse what is there, the error says so for good; no other object was touched."""
    memory = MemoryBucket()
    memory.put("logs/data", Stored(b"data"))
    memory.condition = condition

    for _ in range(2):
        with pytest.raises(UnconditionalWrites) as caught:
            require_conditional_writes(Bucket(memory, memory.name), "logs/", {})

    assert caught.value.permanent
    assert UNFIT[condition] in str(caught.value)
    assert "conditional_writes=False" in str(caught.value)
    assert memory.objects.pop("logs/data") == Stored(b"data")
    assert {key: each.body for key, each in memory.objects.items()} in ({}, {KEY: PROBE_BODY})


def test_the_object_is_made_as_receipts_are() -> None:
    """What the bucket's policy may ask of uploads goes with it; what is an object's alone does not."""
    memory = MemoryBucket()
    given = {"ContentType": "text/csv", "Metadata": {"team": "security"}, "StorageClass": "GLACIER"}

    require_conditional_writes(Bucket(memory, memory.name), "logs/", given)

    assert memory.objects[KEY] == Stored(PROBE_BODY, {}, "application/json")


def test_an_error_of_s3_is_no_answer() -> None:
    """Where the store fails otherwise, its error passes, and the next task asks again."""
    memory = MemoryBucket()
    memory.condition = "503"

    with pytest.raises(Exception, match="503"):
        require_conditional_writes(Bucket(memory, memory.name), "logs/", {})

    memory.condition = "heeded"
    require_conditional_writes(Bucket(memory, memory.name), "logs/", {})
    assert memory.tries == 3


def test_an_upload_meets_what_was_not_asked() -> None:
    """Also an upload that a store answers by 501 ends for good."""
    memory = MemoryBucket()
    memory.condition = "501"
    bucket = Bucket(memory, memory.name)

    for store in (lambda: bucket.upload("k", io.BytesIO(b"x"), {}), lambda: bucket.create("k", b"x", {})):
        with pytest.raises(UnconditionalWrites):
            store()

    assert not memory.objects


def test_a_bucket_that_looks_first_asks_for_nothing() -> None:
    """Without the header nothing is probed, and what is there is left as it is."""
    memory = MemoryBucket()
    memory.condition = "501"
    bucket = Bucket(memory, memory.name, conditional=False)

    require_conditional_writes(bucket, "logs/", {})
    bucket.upload("file", io.BytesIO(b"x"), {})
    bucket.create("document", b"x", {})
    bucket.create("document", b"x", {})
    for store in (lambda: bucket.upload("file", io.BytesIO(b"y"), {}), lambda: bucket.create("document", b"y", {})):
        with pytest.raises(ObjectChanged):
            store()

    assert {key: each.body for key, each in memory.objects.items()} == {"file": b"x", "document": b"x"}


def test_a_document_that_was_overwritten_at_once_is_noticed() -> None:
    """Without the header, of two tasks that looked at once the first one finds what the second one wrote."""
    memory = MemoryBucket()
    bucket = Bucket(memory, memory.name, conditional=False)

    def another(key: str, done: bool) -> None:
        if done:
            memory.put(key, Stored(b"another"))

    memory.around_write = another

    with pytest.raises(ObjectChanged):
        bucket.create("document", b"x", {})


def test_verifying_and_sealing_pass_over_it() -> None:
    """The object below the prefix is no finding, whatever it holds, and no seal holds it."""
    memory = MemoryBucket()
    bucket, shop = Bucket(memory, memory.name), Shop()
    shop.happen(START)
    shop.export(bucket, day(0))
    require_conditional_writes(bucket, PREFIX, {})
    [sealed] = seal(bucket, day(0))
    assert {entry.object for entry in sealed.head.seal.receipts} == {key for key in memory.objects if "/2025" in key}

    memory.put(PREFIX + PROBE_NAME, Stored(b"something else"))

    assert verify(bucket).counts == {"ok": 1}


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        ("akinon/logs/date=2025-03-01/a.jsonl.gz", "akinon/logs/"),
        ("date=2025-03-01/a.jsonl.gz", ""),
        ("date=2025-03-01/a/b.jsonl.gz", "date=2025-03-01/a/"),
        ("logs/update=1/b.jsonl.gz", "logs/update=1/"),
        ("logs/b.jsonl.gz", "logs/"),
        ("b.jsonl.gz", ""),
    ],
)
def test_it_lies_above_the_dates(key: str, folder: str) -> None:
    """All windows of a prefix share one folder, which no query engine takes for a partition."""
    assert Location("audit", key).folder == folder
