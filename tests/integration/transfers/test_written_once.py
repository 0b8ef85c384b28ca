"""The archive only grows: what is stored stays as it is, what is new lies beside it, what changed is recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import AirflowFailException
from botocore.exceptions import ClientError

from airflow_provider_akinon.audit_events.errors import ObjectChanged
from airflow_provider_akinon.audit_events.redaction import policy
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.exporting import (
    SECOND,
    Span,
    Stored,
    all_lines,
    everything,
    execute,
    export,
    identities,
    lasting,
    objects,
    receipts,
    records,
    refusal,
    spread,
    the_object,
    versions,
)
from tests.support.long import in_ci
from tests.support.servers import NARROW_KEY, Connect

EACH_FORMAT = ["jsonl.gz", in_ci("jsonl"), in_ci("parquet")]


@pytest.fixture
def versioned(s3: LocalS3, bucket: str) -> str:
    """A bucket that keeps every version, so that no write goes unseen."""
    s3.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


@pytest.fixture
def filled(shop: Sandbox, connect: Connect, day: Span) -> Span:
    """A day with 60 events, half of them of the user 7."""
    shop.insert({"timestamp": time, "user": 7 if place % 2 else 8} for place, time in enumerate(spread(day, 60)))
    connect(shop)
    return day


def come_late(shop: Sandbox, day: Span, number: int) -> list[str]:
    """Add events to a day; return their uuids."""
    return shop.insert({"timestamp": day.start + (place + 1) * SECOND} for place in range(number))


def move_user(shop: Sandbox, s3: LocalS3, bucket: str, uuid: str) -> None:
    """Let the user of a stored event log in again."""
    [user] = [event["user"] for one in objects(s3, bucket) for event in one.events if event["uuid"] == uuid]
    shop.update(uuid, user={**user, "last_login": "2027-01-01T00:00:00Z"})


def records_of_changes(s3: LocalS3, bucket: str) -> list[dict[str, Any]]:
    return [receipt for receipt in receipts(s3, bucket) if receipt["object"] is None]


def late(stored: list[Stored], number: int) -> Stored:
    [found] = [one for one in stored if f".late-{number}" in one.key]
    return found


def grown(before: list[tuple[Any, ...]], s3: LocalS3, bucket: str) -> int:
    """Return how many objects came to a bucket, in which all others are as they were."""
    after = identities(s3, bucket)
    assert [each for each in after if each in before] == before
    return len(after) - len(before)


@pytest.mark.parametrize("format_", EACH_FORMAT)
def test_late_events_land_in_objects_of_their_own(
    shop: Sandbox, s3: LocalS3, filled: Span, versioned: str, format_: str
) -> None:
    """Each export adds what is new in one more object, and all of them together hold each event once."""
    first = export(versioned, *filled, file_format=format_)
    stem = first["key"].removesuffix(f".{format_}")
    uuids = [set(shop.uuids(*filled))]
    for number in (1, 2):
        before = identities(s3, versioned)
        uuids.append(set(come_late(shop, filled, 5 * number)))

        result = export(versioned, *filled, file_format=format_)

        assert grown(before, s3, versioned) == 2
        stored = late(objects(s3, versioned), number)
        assert stored.key == f"{stem}.late-{number}.{format_}"
        assert set(stored.uuids) == uuids[number]
        assert stored.uuids == [uuid for uuid in shop.uuids(*filled) if uuid in uuids[number]]
        assert stored.head["Metadata"]["akinon-count"] == str(5 * number)
        assert (result["added"], result["same"]) == (5 * number, 60 + 5 * (number - 1))
        assert [each["key"] for each in result["objects"]] == [
            first["key"],
            *[f"{stem}.late-{each}.{format_}" for each in range(1, number + 1)],
        ]
        names = ("key", "receipt", "receipt_sha256", "sha256", "content_sha256")
        assert [result[name] for name in names] == [first[name] for name in names]
    found = objects(s3, versioned)
    assert result["count"] == sum(len(one.uuids) for one in found) == 75
    assert result["bytes"] == sum(len(one.body) for one in found)
    assert sorted(uuid for one in found for uuid in one.uuids) == sorted(shop.uuids(*filled))
    assert [event for one in found for event in one.events if event["uuid"] in uuids[2]] == [
        event for event in map(json.loads, records(shop, filled)) if event["uuid"] in uuids[2]
    ]
    before = identities(s3, versioned)
    again = export(versioned, *filled, file_format=format_)
    assert (again["added"], again["same"], lasting(again)) == (0, 75, lasting(result))
    assert grown(before, s3, versioned) == 0
    assert versions(s3, versioned) == 3 + 3


def test_late_lines_are_the_apis_own_bytes(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """The lines of all objects, brought into one order, are the API's own records, byte by byte."""
    export(bucket, *filled)
    come_late(shop, filled, 7)

    export(bucket, *filled)

    assert all_lines(s3, bucket) == records(shop, filled)
    assert len(all_lines(s3, bucket)) == 67


def test_late_events_of_an_empty_window(shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span) -> None:
    """A window that was empty keeps its empty object, and what comes late lies beside it."""
    connect(shop)
    export(bucket, *day)
    before = identities(s3, bucket)
    come_late(shop, day, 2)

    result = export(bucket, *day)

    assert grown(before, s3, bucket) == 2
    assert (result["count"], [each["count"] for each in result["objects"]]) == (2, [0, 2])


def test_late_events_beside_a_key_of_ones_own(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """A key without the format's extension ends in the number of the late events; such a key is no author's."""
    export(bucket, *filled, s3_key="a/b.gz")
    come_late(shop, filled, 1)

    result = export(bucket, *filled, s3_key="a/b.gz")

    assert [each["key"] for each in result["objects"]] == ["a/b.gz", "a/b.gz.late-1"]
    before = identities(s3, bucket)
    assert "is a name for late events" in refusal(bucket, *filled, s3_key="a/b.gz.late-1")
    assert identities(s3, bucket) == before


@pytest.mark.parametrize("format_", EACH_FORMAT)
def test_a_user_that_moves_writes_nothing(
    shop: Sandbox, s3: LocalS3, filled: Span, versioned: str, format_: str
) -> None:
    """The user of an event is joined live: where only it changed, nothing is written, and the task says how many."""
    export(versioned, *filled, file_format=format_)
    before = identities(s3, versioned)
    for event in the_object(s3, versioned).events:
        shop.update(event["uuid"], user={**event["user"], "last_login": "2027-01-01T00:00:00Z"})

    result = export(versioned, *filled, file_format=format_)

    assert identities(s3, versioned) == before
    assert (result["user_moved"], result["same"], result["changed"], result["count"]) == (60, 0, 0, 60)
    assert versions(s3, versioned) == 2


@pytest.mark.parametrize("format_", EACH_FORMAT)
def test_changes_at_the_source(shop: Sandbox, s3: LocalS3, filled: Span, versioned: str, format_: str) -> None:
    """What was changed, deleted and late in one window: the late land, a record names the others, the task fails."""
    export(versioned, *filled, file_format=format_)
    before = identities(s3, versioned)
    uuids = shop.uuids(*filled)
    changed, gone = sorted(uuids[5:12]), sorted(uuids[30:33])
    for uuid in changed[:6]:
        shop.update(uuid, url="/rewritten/", post_data={"planted": "word"})
    shop.update(changed[6], user=None)
    shop.delete(gone)
    come_late(shop, filled, 5)

    problem = refusal(versioned, *filled, file_format=format_)

    assert "The API gives 7 of the 60 stored events of s3://" in problem
    assert "otherwise by now, and 3 no longer. What is stored stays, 5 new events were added" in problem
    assert "on_source_change='warn'" in problem
    assert grown(before, s3, versioned) == 3
    assert len(late(objects(s3, versioned), 1).uuids) == 5
    [record] = records_of_changes(s3, versioned)
    assert record["vanished"] == gone
    assert [each["uuid"] for each in record["changed"]] == changed
    assert [each["fields"] for each in record["changed"]] == [["post_data", "url"]] * 6 + [["user.pk"]]
    counts = {"api_before": 62, "api_after": 62, "uuids": 0, "lines": 0, "window": 65, "vanished": 3}
    assert record["counts"] == counts
    assert record["uuids_sha256"] is record["first_timestamp"] is record["last_timestamp"] is None
    [kept] = [one for one in everything(s3, versioned) if one.is_receipt and b'"object": null' in one.body]
    assert kept.key.startswith(f"{the_first(s3, versioned).key.rpartition('/')[0]}/_")
    assert kept.key.split(".late-")[0] == kept.key
    assert b"planted" not in kept.body

    # What is recorded fails the task again, and is not recorded again.
    before = identities(s3, versioned)
    assert "gives 7 of the 65 stored events" in refusal(versioned, *filled, file_format=format_)
    result = export(versioned, *filled, file_format=format_, on_source_change="warn")
    assert (result["changed"], result["vanished"], result["same"]) == (7, 3, 55)
    assert (result["added"], result["count"]) == (0, 65)
    assert identities(s3, versioned) == before
    assert versions(s3, versioned) == len(before) == 5


def the_first(s3: LocalS3, bucket: str) -> Stored:
    [found] = [one for one in objects(s3, bucket) if ".late-" not in one.key]
    return found


def test_a_warning_lets_changes_pass(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """With ``warn`` the task succeeds, and leaves the same objects, receipts and record."""
    export(bucket, *filled)
    before = identities(s3, bucket)
    shop.update(shop.uuids(*filled)[5], url="/rewritten/")
    come_late(shop, filled, 2)

    result = export(bucket, *filled, on_source_change="warn")

    assert (result["changed"], result["vanished"], result["added"], result["count"]) == (1, 0, 2, 62)
    assert grown(before, s3, bucket) == 3
    assert len(records_of_changes(s3, bucket)) == 1


def test_each_change_is_recorded_once(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """A further field of an event that changed before is recorded, and what is recorded is not; the records chain."""
    uuids = shop.uuids(*filled)
    export(bucket, *filled)
    fields: list[dict[str, Any]] = [{"url": "/a/"}, {"url": "/b/"}, {"content_type": 77}, {}]
    for change in fields:
        if change:
            shop.update(uuids[5], **change)
        else:
            shop.delete([uuids[5]])
        export(bucket, *filled, on_source_change="warn")

    found = sorted(receipts(s3, bucket), key=lambda each: each["verified_at"])
    recorded = [(each["changed"], each["vanished"]) for each in found]
    assert recorded == [
        ([], []),
        ([{"uuid": uuids[5], "fields": ["url"]}], []),
        ([{"uuid": uuids[5], "fields": ["content_type"]}], []),
        ([], [uuids[5]]),
    ]
    assert [len(each["previous"]) for each in found] == [0, 1, 1, 1]


def test_what_is_returned_is_there_before_the_failure(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """XCom has what the task would have returned before it fails, once what is new and what changed is stored."""
    run = {"redact": None, "s3_bucket": bucket, "start": filled.start, "end": filled.end}
    execute({}, **run)
    shop.update(shop.uuids(*filled)[5], url="/rewritten/")
    come_late(shop, filled, 2)
    pushed: list[tuple[str, dict[str, Any], int]] = []

    def push(key: str, value: dict[str, Any]) -> None:
        pushed.append((key, value, len(everything(s3, bucket))))

    instance = SimpleNamespace(dag_id="d", task_id="export", try_number=1, xcom_push=push)
    with pytest.raises(AirflowFailException, match="gives 1 of the 60 stored events"):
        execute({"ti": instance, "run_id": "r1"}, **run)

    [(key, value, stored)] = pushed
    assert (key, stored) == ("return_value", 5)
    assert value == execute({"ti": instance, "run_id": "r1"}, **run, on_source_change="warn") | {
        name: value[name] for name in ("same", "changed")
    }
    assert (value["added"], value["changed"], value["count"]) == (2, 1, 62)


def test_what_any_try_of_a_run_added(shop: Sandbox, filled: Span, bucket: str) -> None:
    """A second try of the same run says what the first one stored, and another run what it stored itself."""
    run = {"redact": None, "s3_bucket": bucket, "start": filled.start, "end": filled.end}
    added = []
    for run_id, tries in (("r1", 1), ("r1", 2), ("r2", 1), ("r2", 2), ("r3", 1)):
        if (run_id, tries) == ("r2", 1):
            come_late(shop, filled, 4)
        instance = SimpleNamespace(dag_id="d", task_id="export", try_number=tries)
        added.append(execute({"ti": instance, "run_id": run_id}, **run)["added"])

    assert added == [60, 60, 4, 4, 0]


def test_a_key_that_sees_less(shop: Sandbox, s3: LocalS3, connect: Connect, filled: Span, versioned: str) -> None:
    """To an account with fewer rights, stored events seem to have vanished: the task fails, and nothing is lost."""
    nobodys = shop.insert({"timestamp": time, "user": None} for time in spread(filled, 20))
    export(versioned, *filled)
    before = identities(s3, versioned)
    connect(shop, password=NARROW_KEY)

    assert "and 20 no longer" in refusal(versioned, *filled)

    assert grown(before, s3, versioned) == 1
    assert records_of_changes(s3, versioned)[0]["vanished"] == sorted(nobodys)


def test_as_many_others_are_not_the_same(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """Events that were exchanged for as many others are missed, although the count is the same."""
    export(bucket, *filled)
    gone = shop.uuids(*filled)[30]
    shop.delete([gone])
    come_late(shop, filled, 1)
    assert shop.count(*filled) == 60

    assert "and 1 no longer" in refusal(bucket, *filled)

    assert records_of_changes(s3, bucket)[0]["vanished"] == [gone]
    assert [len(one.uuids) for one in objects(s3, bucket)] == [60, 1]


@pytest.mark.parametrize(("stored", "is_another"), [(10, True), (9, False)])
def test_another_account(
    shop: Sandbox, s3: LocalS3, connect: Connect, bucket: str, day: Span, stored: int, is_another: bool
) -> None:
    """Where none of ten stored events is returned, and others are, nothing is written; of fewer that is no sign."""
    shop.insert({"timestamp": time} for time in spread(day, stored))
    connect(shop)
    export(bucket, *day)
    before = identities(s3, bucket)
    shop.delete(shop.uuids(*day))
    come_late(shop, day, 3)

    problem = refusal(bucket, *day)

    assert (grown(before, s3, bucket) == 0) is is_another
    assert (f"holds {stored} events" in problem and "it is another account" in problem) is is_another


def test_a_source_that_forgot_all(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """Where all stored events are gone and no others came, they have vanished, and are recorded."""
    export(bucket, *filled)
    uuids = shop.uuids(*filled)
    shop.delete(uuids)

    assert "and 60 no longer" in refusal(bucket, *filled)

    assert records_of_changes(s3, bucket)[0]["vanished"] == sorted(uuids)


POLICIES: list[tuple[Any, Any]] = [
    (None, "credentials"),
    ("credentials", None),
    ("credentials", {"user.email": "mask"}),
    ({"user.email": "mask"}, {"user.email": "drop"}),
]


@pytest.mark.parametrize(("stored", "now"), POLICIES)
@pytest.mark.parametrize("changes", [in_ci(False), True])
def test_another_policy_fails(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, stored: Any, now: Any, changes: bool
) -> None:
    """What is stored keeps its policy: an export with another one fails for good, names both, and writes nothing."""
    export(bucket, *filled, redact=stored)
    if changes:
        come_late(shop, filled, 1)
    before = identities(s3, bucket)

    problem = refusal(bucket, *filled, redact=now)

    for each in (stored, now):
        assert ("None" if each is None else f"'paths': {each if isinstance(each, dict) else {}}") in problem
    assert "Nothing was written" in problem
    assert identities(s3, bucket) == before
    assert export(bucket, *filled, redact=now, s3_key_prefix="elsewhere")["count"] == 60 + changes


def test_a_newer_version_of_the_policy_is_none_other(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade of the policy, late events land beside what the older version wrote."""
    export(bucket, *filled, redact="credentials")
    before = identities(s3, bucket)
    come_late(shop, filled, 1)
    monkeypatch.setattr(policy, "VERSION", policy.VERSION + 1)

    result = export(bucket, *filled, redact="credentials")

    assert (result["added"], result["same"], result["changed"]) == (1, 60, 0)
    assert grown(before, s3, bucket) == 2
    told = {receipt["redaction"]["version"] for receipt in receipts(s3, bucket)}
    assert told == {policy.VERSION, policy.VERSION - 1}


def moved(s3: LocalS3, bucket: str, *, keep_versions: bool) -> str:
    """Copy all of an archive to another bucket, without the objects' metadata; return its name."""
    client, name = s3.client(), f"moved-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    if keep_versions:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    for one in everything(s3, bucket):
        client.put_object(Bucket=name, Key=one.key, Body=one.body)
    return name


@pytest.mark.parametrize("format_", EACH_FORMAT)
@pytest.mark.parametrize("keep_versions", [False, True])
def test_a_moved_archive_goes_on(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, keep_versions: bool, format_: str
) -> None:
    """An archive that was copied, without metadata and into other versions, is known by its receipts."""
    export(bucket, *filled, file_format=format_)
    come_late(shop, filled, 2)
    told = lasting(export(bucket, *filled, file_format=format_))
    copy = moved(s3, bucket, keep_versions=keep_versions)
    before = identities(s3, copy)
    assert all(one.head["Metadata"] == {} for one in everything(s3, copy))

    again = export(copy, *filled, file_format=format_)

    assert lasting(again) == told | {"bucket": copy}
    assert identities(s3, copy) == before
    come_late(shop, filled, 3)
    assert export(copy, *filled, file_format=format_)["added"] == 3
    assert grown(before, s3, copy) == 2


def test_a_moved_archive_of_one_object_is_not_read(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the receipts show equal content, no object is read, also where S3 says nothing of it."""
    export(bucket, *filled)
    copy = moved(s3, bucket, keep_versions=False)
    archived(monkeypatch)

    assert export(copy, *filled)["same"] == 60
    assert shop.count(*filled) == 60


def altered(one: Stored) -> bytes:
    """Return an object's bytes with one changed, and as many."""
    middle = len(one.body) // 2
    return one.body[:middle] + bytes([one.body[middle] ^ 1]) + one.body[middle + 1 :]


def put(s3: LocalS3, bucket: str, one: Stored, body: bytes) -> None:
    s3.client().put_object(Bucket=bucket, Key=one.key, Body=body, Metadata=one.head["Metadata"])


@pytest.mark.parametrize("format_", EACH_FORMAT)
@pytest.mark.parametrize("number", [in_ci(0), 1])
@pytest.mark.parametrize("what", ["late", "changed", "moved"])
def test_altered_bytes_are_never_built_on(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, format_: str, number: int, what: str
) -> None:
    """Where stored bytes are not those of their receipt, any export that has to compare fails, and writes nothing."""
    export(bucket, *filled, file_format=format_)
    come_late(shop, filled, 2)
    export(bucket, *filled, file_format=format_)
    [one] = [each for each in objects(s3, bucket) if (".late-1" in each.key) is bool(number)]
    uuid = shop.uuids(*filled)[9]
    if what == "late":
        come_late(shop, filled, 1)
    elif what == "changed":
        shop.update(uuid, url="/rewritten/")
    else:
        move_user(shop, s3, bucket, uuid)
    put(s3, bucket, one, altered(one))
    before = identities(s3, bucket)

    for on_source_change in ("fail", "warn"):
        problem = refusal(bucket, *filled, file_format=format_, on_source_change=on_source_change)
        assert f"s3://{bucket}/{one.key} was altered: its SHA-256 is " in problem
        assert "Nothing was written" in problem
    assert identities(s3, bucket) == before


@pytest.mark.parametrize("keeps_metadata", [False, True])
def test_an_object_of_another_size_is_noticed(s3: LocalS3, filled: Span, bucket: str, keeps_metadata: bool) -> None:
    """An object that has other bytes than its receipt tells fails the task before anything is compared."""
    export(bucket, *filled)
    one = the_object(s3, bucket)
    if keeps_metadata:
        put(s3, bucket, one, one.body[:-1])
    else:
        s3.client().put_object(Bucket=bucket, Key=one.key, Body=one.body[:-1])
    before = identities(s3, bucket)

    assert f"has {len(one.body) - 1} bytes, and {len(one.body)} by its receipt" in refusal(bucket, *filled)

    assert identities(s3, bucket) == before


@pytest.mark.parametrize("format_", EACH_FORMAT)
def test_altered_bytes_never_get_a_fresh_receipt(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, format_: str
) -> None:
    """Who alters an object and removes its receipt gets none for it: the API does not give what it holds now."""
    uuid = shop.uuids(*filled)[9]
    export(bucket, *filled, file_format=format_)
    kept = the_object(s3, bucket)
    # Rightly written, and metadata of its own, but of an event that never was like this.
    url = next(event["url"] for event in kept.events if event["uuid"] == uuid)
    shop.update(uuid, url="/forged/")
    forged = the_object_of(export(bucket, *filled, file_format=format_, s3_key_prefix="forged"), s3, bucket)
    shop.update(uuid, url=url)
    client = s3.client()
    for one in everything(s3, bucket):
        if one.is_receipt or one.key == forged.key:
            client.delete_object(Bucket=bucket, Key=one.key)
    client.put_object(Bucket=bucket, Key=kept.key, Body=forged.body, Metadata=forged.head["Metadata"])
    before = identities(s3, bucket)

    with pytest.raises(ObjectChanged, match=f"has no receipt, and the API gives .*such as {uuid}") as caught:
        export(bucket, *filled, file_format=format_)

    assert not caught.value.permanent
    assert "somebody has to move it" in str(caught.value)
    assert identities(s3, bucket) == before


def the_object_of(result: dict[str, Any], s3: LocalS3, bucket: str) -> Stored:
    [found] = [one for one in objects(s3, bucket) if one.key == result["key"]]
    return found


@pytest.mark.parametrize("format_", EACH_FORMAT)
def test_an_object_without_a_receipt_is_adopted(
    shop: Sandbox, s3: LocalS3, filled: Span, versioned: str, format_: str
) -> None:
    """An object that a killed task left gets the receipt that it would have had, and what is new goes beside it."""
    result = export(versioned, *filled, file_format=format_)
    [told] = receipts(s3, versioned)
    s3.client().delete_object(Bucket=versioned, Key=result["receipt"])
    before = identities(s3, versioned)
    move_user(shop, s3, versioned, shop.uuids(*filled)[5])
    come_late(shop, filled, 2)

    again = export(versioned, *filled, file_format=format_)

    assert grown(before, s3, versioned) == 3
    assert (again["added"], again["user_moved"], again["same"], again["count"]) == (2, 1, 59, 62)
    [receipt] = [each for each in receipts(s3, versioned) if each["object"]["key"] == result["key"]]
    of_runs = ("run", "verified_at", "counts")
    assert {name: value for name, value in receipt.items() if name not in of_runs} == {
        name: value for name, value in told.items() if name not in of_runs
    }


@pytest.mark.parametrize("what", ["changed", "vanished"])
@pytest.mark.parametrize("number", [0, 1])
def test_an_object_without_a_receipt_that_is_not_proved(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, what: str, number: int
) -> None:
    """Where the API does not give all of such an object's events as they are, the task fails, and may be retried."""
    results = [export(bucket, *filled)]
    [uuid] = come_late(shop, filled, 1)
    results.append(export(bucket, *filled))
    if number == 0:
        for one in everything(s3, bucket):
            if ".late-" in one.key:
                s3.client().delete_object(Bucket=bucket, Key=one.key)
        uuid = shop.uuids(*filled)[40]
    receipt = results[1]["objects"][number]["receipt"]
    s3.client().delete_object(Bucket=bucket, Key=receipt)
    before = identities(s3, bucket)
    if what == "changed":
        shop.update(uuid, url="/rewritten/")
    else:
        shop.delete([uuid])

    with pytest.raises(ObjectChanged, match=f"has no receipt, and the API gives .*such as {uuid}"):
        export(bucket, *filled)

    assert identities(s3, bucket) == before


def test_a_receipt_that_was_removed_from_the_middle(shop: Sandbox, s3: LocalS3, filled: Span, bucket: str) -> None:
    """An earlier object without a receipt is none that a killed task left: the task fails for good."""
    result = export(bucket, *filled)
    come_late(shop, filled, 1)
    export(bucket, *filled)
    s3.client().delete_object(Bucket=bucket, Key=result["receipt"])
    before = identities(s3, bucket)

    problem = refusal(bucket, *filled)

    assert "Restore" in problem
    assert "Nothing was written" in problem
    assert identities(s3, bucket) == before


@pytest.mark.parametrize(
    "is_gone",
    [
        pytest.param(lambda key: key.endswith("Z.jsonl.gz"), id="the-first-object"),
        in_ci(lambda key: key.endswith(".late-1.jsonl.gz"), id="a-late-object"),
        in_ci(lambda key: key.endswith(".late-2.jsonl.gz"), id="the-last-object"),
        pytest.param(lambda key: ".late-1." in key, id="a-late-object-and-its-receipt"),
        pytest.param(lambda key: ".late-" not in key, id="the-first-object-and-its-receipt"),
    ],
)
def test_what_is_gone_is_not_created_again(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, is_gone: Callable[[str], bool]
) -> None:
    """A receipt whose object is gone, or a hole in the numbers, fails for good, and nothing is written again."""
    for _ in range(3):
        export(bucket, *filled)
        come_late(shop, filled, 1)
    for one in everything(s3, bucket):
        if is_gone(one.key):
            s3.client().delete_object(Bucket=bucket, Key=one.key)
    before = identities(s3, bucket)
    assert 4 <= len(before) < 6

    problem = refusal(bucket, *filled)

    assert "is gone" in problem
    assert "Nothing was written. Restore it from its version" in problem
    assert identities(s3, bucket) == before


def archived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let S3 give no object any longer, as of a storage class that wants them restored first."""
    connect = S3Hook.get_conn

    class Glacier:
        def __init__(self, client: Any) -> None:
            self._client = client

        def __getattr__(self, name: str) -> Any:
            return getattr(self._client, name)

        def get_object(self, *, Key: str, **arguments: Any) -> Any:  # noqa: N803 - boto3's own name
            if not Key.endswith(".receipt.json"):
                error = {"Code": "InvalidObjectState", "Message": "The operation is not valid for the storage class"}
                raise ClientError({"Error": error}, "GetObject")
            return self._client.get_object(Key=Key, **arguments)

    monkeypatch.setattr(S3Hook, "get_conn", lambda self: Glacier(connect(self)))


@pytest.mark.parametrize("what", ["user", "url"])
@pytest.mark.parametrize("more", [0, 2])
def test_an_object_that_has_to_be_restored_first(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, monkeypatch: pytest.MonkeyPatch, what: str, more: int
) -> None:
    """Where the uuids that were read are those of the receipts, the task succeeds, says so, and writes nothing."""
    export(bucket, *filled)
    if more:
        come_late(shop, filled, more)
        export(bucket, *filled)
    before = identities(s3, bucket)
    field = {"user": {"pk": 8, "last_login": "2027-01-01T00:00:00Z"}, "url": "/rewritten/"}[what]
    shop.update(shop.uuids(*filled)[4], **{what: field})
    with monkeypatch.context() as patch:
        archived(patch)
        result = export(bucket, *filled)

    assert (result["not_compared"], result["same"], result["added"]) == (60 + more, 0, 0)
    assert (result["count"], result["changed"]) == (60 + more, 0)
    assert identities(s3, bucket) == before


@pytest.mark.parametrize("what", ["late", "vanished", "both"])
def test_an_object_that_has_to_be_restored_to_go_on(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Where other uuids were read than are stored, the task fails for good, says to restore, and writes nothing."""
    export(bucket, *filled)
    before = identities(s3, bucket)
    if what != "vanished":
        come_late(shop, filled, 1)
    if what != "late":
        shop.delete(shop.uuids(*filled)[20:21])
    with monkeypatch.context() as patch:
        archived(patch)
        problem = refusal(bucket, *filled, on_source_change="warn")

    assert "is archived" in problem
    assert "restore it to read it" in problem
    assert identities(s3, bucket) == before


def test_many_changes_go_into_several_records(
    shop: Sandbox, s3: LocalS3, filled: Span, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record holds more than its share of uuids; several chain, and the run after that writes nothing."""
    monkeypatch.setattr("airflow_provider_akinon.audit_events.storing.store.RECORDED_UUIDS", 4)
    export(bucket, *filled)
    uuids = sorted(shop.uuids(*filled)[:11])
    for uuid in uuids:
        shop.update(uuid, url="/rewritten/")

    export(bucket, *filled, on_source_change="warn")

    found = records_of_changes(s3, bucket)
    assert sorted(len(each["changed"]) for each in found) == [3, 4, 4]
    assert sorted(one["uuid"] for each in found for one in each["changed"]) == uuids
    assert len({tuple(each["previous"]) for each in found}) == 3
    before = identities(s3, bucket)
    assert export(bucket, *filled, on_source_change="warn")["changed"] == 11
    assert identities(s3, bucket) == before
