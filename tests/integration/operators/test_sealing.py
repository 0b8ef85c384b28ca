"""Sealing: a seal for what is new, chained to the one before; and nothing at all where something is not right."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from airflow_provider_akinon import __version__
from airflow_provider_akinon.audit_events.archive import PROBE_NAME, Bucket, Status
from airflow_provider_akinon.audit_events.errors import ArchiveError, ObjectChanged, ObjectLocked
from airflow_provider_akinon.audit_events.model import Filters, Format, Window
from airflow_provider_akinon.audit_events.sealing import SealResult, seal_archive
from airflow_provider_akinon.audit_events.seals import PrivateKey, seal_schema
from airflow_provider_akinon.operators.audit_archive import SealAuditArchiveOperator
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.sealed import (
    ANOTHER_KEY,
    DAYS,
    HOUR,
    KEY,
    LENGTH,
    NOBODY,
    PREFIX,
    PRIVATE_PEM,
    RECORDED,
    REPEATED,
    START,
    Archive,
    Files,
    api_of,
    archive_of,
    bucket_with,
    days_of,
    export_to,
    files_of,
    period_of,
    put,
    renamed,
    rewritten,
    seal,
    verify,
    window_of,
)

pytestmark = pytest.mark.xdist_group("sealed")
"""They look at copies of one archive, which takes a while to make."""

PERIOD = {"start": period_of(1).start.isoformat(), "end": period_of(1).end.isoformat()}
UNTIL = datetime(2050, 1, 31, 12, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def archive(s3: LocalS3, shop: Sandbox) -> Archive:
    return archive_of(s3, shop)


@pytest.fixture
def exported(s3: LocalS3, archive: Archive) -> Bucket:
    """A bucket with the exports of the first two periods, none of them sealed."""
    return bucket_with(s3, archive.of_days(range(2 * LENGTH)))


@contextmanager
def nothing_written(s3: LocalS3, bucket: str) -> Iterator[None]:
    before = listing(s3, bucket)
    yield
    assert listing(s3, bucket) == before


def listing(s3: LocalS3, bucket: str) -> dict[str, tuple[Any, ...]]:
    """Return what changes when somebody writes to a bucket."""
    entries = s3.client().list_objects_v2(Bucket=bucket).get("Contents", [])
    return {
        entry["Key"]: (entry["ETag"], entry["LastModified"]) for entry in entries if PROBE_NAME not in entry["Key"]
    }


def sha256s(archive: Archive, *days: int) -> list[str]:
    return [hashlib.sha256(archive.files[archive.receipt(day)]).hexdigest() for day in days]


def spans(*windows: Window) -> list[Window]:
    return [Window(start=window.start, end=window.end) for window in windows]


# What a seal says


def test_the_first_seal(s3: LocalS3, archive: Archive, exported: Bucket) -> None:
    """It holds the receipts of the windows that end in the period, in their order, and says what it is of."""
    before = datetime.now(UTC)

    sealing = seal(exported, period_of(1))

    stored, said = sealing.head, sealing.head.seal
    body = exported.read(stored.key, 1 << 20)
    jsonschema.validate(json.loads(body), seal_schema(), jsonschema.Draft202012Validator)
    assert (sealing.written, sealing.late, str(sealing.chain)) == (True, (), archive.chain)
    assert (stored.sha256, said.encode()) == (hashlib.sha256(body).hexdigest(), body)
    assert stored.key == f"{PREFIX}_seals/{archive.chain.replace(':', '_3A').replace('/', '_')}/_000001.seal.json"
    assert s3.client().head_object(Bucket=exported.name, Key=stored.key)["ContentType"] == "application/json"
    assert (said.number, said.previous, [said.period]) == (1, None, spans(period_of(1)))
    assert [entry.window for entry in said.receipts] == spans(*(window_of(day) for day in (0, 1, 2, 2, 3, 4)))
    assert {entry.receipt for entry in said.receipts} == {
        key.split(".")[-3] for day in days_of(1) for key in archive.receipts(day)
    }
    assert [entry.object for entry in said.receipts if entry.window == spans(window_of(3))[0]] == [archive.object(3)]
    assert (said.gaps, said.overlaps, said.filters) == ([], [], Filters())
    assert (said.provider_version, said.run) == (__version__, NOBODY)
    assert before <= said.sealed_at <= datetime.now(UTC)
    assert said.signed_by == str(KEY.public)
    assert said.is_signed_by(KEY.public)


def test_a_chain(archive: Archive) -> None:
    """Each seal names the one before, and each receipt is in one seal."""
    bodies = [archive.files[archive.seal(number)] for number in range(1, 5)]
    seals = [json.loads(body) for body in bodies]

    assert [each["number"] for each in seals] == [1, 2, 3, 4]
    assert [each["previous"] for each in seals] == [None, *archive.heads[:3]]
    assert [hashlib.sha256(body).hexdigest() for body in bodies] == list(archive.heads)
    entries = [entry["receipt"] for each in seals for entry in each["receipts"]]
    # Of a day with late events, and of one with a record of changes, there are two.
    assert len(entries) == len(set(entries)) == 4 * LENGTH + 2


def test_without_a_key(exported: Bucket) -> None:
    """The seal is not signed, and that is all that differs."""
    said = seal(exported, period_of(1), key=None).head.seal

    assert (said.signed_by, said.signature, len(said.receipts)) == (None, None, 6)


def test_sealing_again_writes_nothing(s3: LocalS3, exported: Bucket) -> None:
    """What is sealed is left alone, and the head that is there is returned; also by another key, or for less time."""
    first = seal(exported, period_of(1))

    with nothing_written(s3, exported.name):
        for again in (
            seal(exported, period_of(1)),
            seal(exported, period_of(1), key=ANOTHER_KEY, known_heads=[first.head.sha256]),
            seal(exported, period_of(1), key=None),
            seal(exported, window_of(1), known_heads=[first.head.sha256]),
        ):
            assert (again.head, again.written, again.late) == (first.head, False, ())


@pytest.mark.parametrize("before", [None, ANOTHER_KEY])
def test_a_signature_does_not_vouch_for_somebody_elses_seals(
    s3: LocalS3, exported: Bucket, before: PrivateKey | None
) -> None:
    """A chain that its key has not signed is not signed further, unless its head is known from elsewhere."""
    first = seal(exported, period_of(1), key=before)

    with nothing_written(s3, exported.name), pytest.raises(ArchiveError) as caught:
        seal(exported, period_of(2))
    assert str(caught.value).startswith(
        f"The newest seal {first.head.key} is not signed by the key in seal_key_conn_id"
    )
    assert caught.value.permanent

    second = seal(exported, period_of(2), known_heads=[first.head.sha256])
    assert second.head.seal.previous == first.head.sha256
    assert seal(exported, period_of(2)).head == second.head


def test_what_ends_later_is_left_for_the_next_seal(archive: Archive, exported: Bucket) -> None:
    """A window that reaches out of the period, be it by an hour, is not sealed yet."""
    short = Window(window_of(0).start, window_of(3).end - HOUR)

    first, second = seal(exported, short), seal(exported, window_of(3))

    assert [entry.window for entry in first.head.seal.receipts] == spans(*(window_of(day) for day in (0, 1, 2, 2)))
    assert [entry.receipt for entry in second.head.seal.receipts] == sha256s(archive, 3)
    assert second.head.seal.previous == first.head.sha256


def test_a_late_export_goes_into_the_next_seal(s3: LocalS3, archive: Archive) -> None:
    """What was sealed stays in its seal; the receipt that came after it is told, also in the same period."""
    again = archive.receipt(REPEATED)
    late = (again, archive.late(REPEATED))
    bucket = bucket_with(s3, {key: body for key, body in archive.of_days(days_of(1)).items() if key not in late})
    first = seal(bucket, period_of(1))
    put(s3, bucket.name, archive.of_days([REPEATED]))

    second = seal(bucket, period_of(1))

    assert [entry.receipt for entry in second.head.seal.receipts] == sha256s(archive, REPEATED)
    assert [entry.object for entry in second.late] == [archive.late(REPEATED)]
    assert second.late == tuple(second.head.seal.receipts)
    assert first.late == ()
    assert second.head.seal.previous == first.head.sha256
    assert files_of(s3, bucket.name)[first.head.key] == first.head.seal.encode()
    assert json.loads(archive.files[again])["previous"][0] in [e.receipt for e in first.head.seal.receipts]
    assert verify(bucket).counts == {"ok": LENGTH}


def test_a_record_of_changes_goes_into_the_next_seal(s3: LocalS3, archive: Archive) -> None:
    """A receipt without an object is sealed like any other, beside its window's first object."""
    record, day = archive.receipt(RECORDED), archive.of_days([RECORDED])
    bucket = bucket_with(s3, {key: body for key, body in day.items() if key != record})
    seal(bucket, window_of(RECORDED))
    put(s3, bucket.name, day)
    assert [(each.status, each.key) for each in verify(bucket).wrong] == [(Status.LEFT_OUT, archive.object(RECORDED))]

    second = seal(bucket, window_of(RECORDED))

    assert [(entry.receipt, entry.object) for entry in second.late] == [
        (*sha256s(archive, RECORDED), archive.object(RECORDED))
    ]
    assert archive.document(record)["object"] is None
    assert verify(bucket).counts == {"ok": 1}


def date_in(key: str) -> str:
    return key.partition("/date=")[2][:10]


def dates(days: range) -> set[str]:
    return {(START + day * timedelta(days=1)).date().isoformat() for day in days}


def test_a_period_without_windows(exported: Bucket) -> None:
    """It is sealed all the same: that nothing was there by then is worth knowing. What comes later shows a gap."""
    first = seal(exported, window_of(0, 2 * LENGTH))

    second = seal(exported, period_of(3))

    assert (second.written, second.head.seal.receipts) == (True, [])
    assert second.head.seal.gaps == []
    assert second.head.seal.previous == first.head.sha256
    assert verify(exported).wrong == ()


def test_gaps_are_named(s3: LocalS3, archive: Archive) -> None:
    """What no window covers is in one seal: between windows, up to the end of the period; nothing after the last."""
    bucket = bucket_with(s3, archive.of_days([1, 3, 4, 12, 13, 21]))

    seals = [seal(bucket, period_of(number)).head.seal for number in (1, 3, 5)]

    assert seals[0].gaps == spans(window_of(2))
    assert seals[1].gaps == spans(window_of(5, 7), window_of(14))
    assert seals[2].gaps == spans(window_of(15, 6))


def test_overlaps_are_named(s3: LocalS3, shop: Sandbox, archive: Archive) -> None:
    """What two objects of one format cover is in the seal; another format, and a window exported again, are none."""
    bucket = bucket_with(s3, archive.of_days(days_of(1)))
    night = Window(window_of(1).end - 2 * HOUR, window_of(2).start + HOUR)
    with api_of(shop) as api:
        export_to(bucket, api, window_of(0), file_format=Format.JSONL)
        export_to(bucket, api, night)

    said = seal(bucket, period_of(1)).head.seal

    assert len(said.receipts) == LENGTH + 3
    assert said.overlaps == spans(Window(night.start, window_of(1).end), Window(window_of(2).start, night.end))
    assert said.gaps == []


def test_two_filters_have_two_chains(s3: LocalS3, shop: Sandbox, archive: Archive) -> None:
    """Each source and filters has seals of its own, beside each other, and one call seals them all."""
    bucket = bucket_with(s3, archive.of_days(days_of(1)))
    with api_of(shop) as api:
        for day in (0, 1):
            export_to(bucket, api, window_of(day), Filters(user=7, object_id=1))

    everything, filtered = seal_archive(bucket, PREFIX, period_of(1), NOBODY, key=KEY)

    assert (str(everything.chain), str(filtered.chain)) == (archive.chain, f"{archive.chain} object_id=1 user=7")
    assert (len(everything.head.seal.receipts), len(filtered.head.seal.receipts)) == (LENGTH + 1, 2)
    assert filtered.head.seal.filters == Filters(user=7, object_id=1)
    assert filtered.head.seal.gaps == []
    assert filtered.head.key.endswith("_remote_1_object_id=1_user=7/_000001.seal.json")
    report = verify(bucket, known_heads=[everything.head.sha256, filtered.head.sha256])
    assert report.counts == {"ok": LENGTH + 2}
    assert [chain.number for chain in report.chains] == [1, 1]


# At once


def test_two_sealings_at_once(s3: LocalS3, exported: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """One writes the next seal, the other learns that somebody did; tried again it has nothing to do."""
    meeting, create = threading.Barrier(2, timeout=20), Bucket.create

    def create_together(self: Bucket, key: str, body: bytes, arguments: Any) -> None:
        meeting.wait()
        create(self, key, body, arguments)

    def attempt(_: int) -> SealResult | ObjectChanged:
        try:
            return seal(Bucket(s3.client(), exported.name), period_of(1))
        except ObjectChanged as error:
            return error

    with monkeypatch.context() as patched, ThreadPoolExecutor(2) as pool:
        patched.setattr(Bucket, "create", create_together)
        outcomes = list(pool.map(attempt, range(2)))

    [winner] = [outcome for outcome in outcomes if isinstance(outcome, SealResult)]
    [loser] = [outcome for outcome in outcomes if isinstance(outcome, ObjectChanged)]
    assert not loser.permanent
    again = seal(exported, period_of(1))
    assert (again.written, again.head) == (False, winner.head)
    assert [key for key in files_of(s3, exported.name) if "/_seals/" in key] == [winner.head.key]
    assert seal(exported, period_of(2)).head.seal.previous == winner.head.sha256


# Refusals


def spoilt(archive: Archive) -> dict[str, tuple[Files, str, type[ArchiveError]]]:
    """Return what is wrong with an archive by name: its files, what the error says, and of which kind it is."""
    files = {key: body for key, body in archive.files.items() if date_in(key) in ("", *dates(range(4 * LENGTH)))}
    days = archive.of_days(days_of(1))
    receipt, key = archive.receipt(3), archive.object(3)
    other = archive.document(receipt)
    other["object"]["key"] = archive.object(4)
    body = files[archive.seal(2)]
    return {
        "a receipt altered": ({**days, receipt: days[receipt] + b" "}, f"{receipt} was altered", ArchiveError),
        "a receipt elsewhere": (
            {**days, renamed(other)[0].replace(archive.object(4)[-36:], key[-36:]): renamed(other)[1]},
            f"is the receipt of {archive.object(4)}, copied here",
            ArchiveError,
        ),
        "an object's size": (
            {**days, key: days[key][:-1]},
            f"{key}: the object has .* bytes; by its receipt .* it had",
            ObjectChanged,
        ),
        "an object gone": (
            {name: each for name, each in days.items() if name != key},
            f"{key}: the object is gone",
            ObjectChanged,
        ),
        "late events gone": (
            {name: each for name, each in days.items() if name != archive.late(REPEATED)},
            f"{archive.object(REPEATED)}: the object {archive.late(REPEATED)} is gone",
            ObjectChanged,
        ),
        "a seal gone": (
            {name: each for name, each in files.items() if name != archive.seal(2)},
            "broken, so nothing was sealed: seal 2 is missing",
            ArchiveError,
        ),
        "a seal altered": ({**files, archive.seal(2): body[:-9]}, "broken, so nothing was sealed", ArchiveError),
        "a seal rewritten": (
            {**files, archive.seal(2): rewritten(body, KEY, provider_version="0")},
            "seal 2 was changed: seal 3 names the SHA-256",
            ArchiveError,
        ),
        "nothing exported": ({f"{PREFIX}a.jsonl.gz": b""}, "There is no receipt below", ArchiveError),
    }


@pytest.mark.parametrize(
    "name",
    [
        "a receipt altered",
        "a receipt elsewhere",
        "an object's size",
        "an object gone",
        "late events gone",
        "a seal gone",
        "a seal altered",
        "a seal rewritten",
        "nothing exported",
    ],
)
def test_what_is_wrong_is_not_sealed(s3: LocalS3, archive: Archive, name: str) -> None:
    """The error says what is wrong and where, and nothing is written. Where an export may be at work, try again."""
    files, problem, kind = spoilt(archive)[name]
    bucket = bucket_with(s3, files)

    with nothing_written(s3, bucket.name), pytest.raises(ArchiveError, match=problem) as caught:
        seal(bucket, window_of(0, len(DAYS)))

    assert type(caught.value) is kind
    assert caught.value.permanent == (kind is ArchiveError)


def test_an_unknown_head(s3: LocalS3, archive: Archive) -> None:
    """Where the newest seal is gone, its head is missed, and no other chain is begun."""
    bucket = bucket_with(s3, {key: body for key, body in archive.files.items() if key != archive.seal(4)})

    with nothing_written(s3, bucket.name), pytest.raises(ArchiveError, match=archive.heads[3]) as caught:
        seal(bucket, period_of(5), known_heads=[archive.heads[2], archive.heads[3]])

    assert "the newest seals were deleted" in str(caught.value)
    assert seal(bucket, period_of(5), known_heads=archive.heads[:3]).head.seal.number == 4


# The task


def tell(monkeypatch: pytest.MonkeyPatch, password: str | None, **fields: object) -> None:
    """Make ``akinon_seal`` a connection with this password."""
    connection = {"conn_type": "generic", "password": password, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_AKINON_SEAL", json.dumps(connection))


def run(bucket: str, context: dict[str, Any] | None = None, **arguments: Any) -> dict[str, Any]:
    return SealAuditArchiveOperator(
        task_id="seal", **{"s3_bucket": bucket, "seal_key_conn_id": "akinon_seal", **PERIOD, **arguments}
    ).execute(context or {})


def test_what_the_task_returns(s3: LocalS3, archive: Archive, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads and figures go to XCom; the period is the run's where none is given, and the seal names the task."""
    put(s3, bucket, archive.of_days([0, 1, 2, 4]))
    tell(monkeypatch, PRIVATE_PEM)
    end = period_of(1).end

    found = run(
        bucket,
        {"data_interval_start": end - timedelta(days=2), "data_interval_end": end, "run_id": "scheduled"},
        start=None,
        end=None,
    )

    [(key, body)] = [(key, body) for key, body in files_of(s3, bucket).items() if "/_seals/" in key]
    said = json.loads(body)
    assert found == {
        "heads": [hashlib.sha256(body).hexdigest()],
        "chains": [
            {
                "chain": archive.chain,
                "head": hashlib.sha256(body).hexdigest(),
                "seal": key,
                "number": 1,
                "written": True,
                "receipts": 5,
                "late": 0,
                "gaps": 1,
                "overlaps": 0,
                "losses": 0,
                "signed_by": str(KEY.public),
            }
        ],
    }
    assert json.loads(json.dumps(found)) == found
    assert said["period"] == {"start": "2025-03-06T00:00:00Z", "end": "2025-03-08T00:00:00Z"}
    assert said["run"]["run_id"] == "scheduled"
    again = run(bucket, known_heads=found["heads"])
    assert again["heads"] == found["heads"]
    assert [chain["written"] for chain in again["chains"]] == [False]


@pytest.mark.parametrize(
    ("arguments", "password", "problem"),
    [
        ({"end": "2999-01-01T00:00:00Z"}, PRIVATE_PEM, "is in the future"),
        ({"end": PERIOD["start"]}, PRIVATE_PEM, "the window is empty"),
        ({"end": None}, PRIVATE_PEM, "end is missing"),
        ({"known_heads": "0" * 64}, PRIVATE_PEM, "is the known head 0000"),
        ({"known_heads": ["", None]}, PRIVATE_PEM, "known_heads has ''"),
        ({"s3_bucket": None}, PRIVATE_PEM, "s3_bucket is missing"),
        ({"s3_key_prefix": "elsewhere"}, PRIVATE_PEM, "There is no receipt below"),
        ({"s3_key_prefix": None}, PRIVATE_PEM, "s3_key_prefix=None is not a prefix"),
        ({"extra_args": {"Acl": "x"}}, PRIVATE_PEM, "extra_args has the unknown name 'Acl'"),
        ({}, None, "seal_key_conn_id='akinon_seal' has no password"),
        ({}, "my key", "seal_key_conn_id='akinon_seal' is not an Ed25519 private key"),
    ],
    # Not by the key, which each process draws anew.
    ids=lambda value: None if isinstance(value, dict) else "key" if value == PRIVATE_PEM else str(value)[:24],
)
def test_a_refusal_of_the_task(
    s3: LocalS3,
    archive: Archive,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    password: str | None,
    problem: str,
) -> None:
    """It fails for good, says what to change, and writes nothing."""
    put(s3, bucket, archive.of_days([0]))
    tell(monkeypatch, password)

    with nothing_written(s3, bucket), pytest.raises(AirflowFailException, match=problem):
        run(bucket, **arguments)


def pieces(secret: str) -> set[str]:
    """Return every piece of ten characters of a key's text."""
    text = "".join(secret.splitlines()[1:-1])
    # The beginning says what kind of key it is, and is the same in all.
    return {text[start : start + 10] for start in range(22, len(text) - 9)}


def test_the_private_key_is_nowhere(
    s3: LocalS3, archive: Archive, bucket: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the log, at its chattiest, not in XCom or a repr, and not in the bucket."""
    put(s3, bucket, archive.of_days(days_of(1)))
    tell(monkeypatch, PRIVATE_PEM.replace("\n", " "))
    caplog.set_level(logging.DEBUG)
    task = SealAuditArchiveOperator(task_id="seal", s3_bucket=bucket, seal_key_conn_id="akinon_seal", **PERIOD)

    found = task.execute({})

    shown = [caplog.text, json.dumps(found), repr(task), str(vars(task)), repr(KEY)]
    shown += [body.decode(errors="replace") for body in files_of(s3, bucket).values()]
    assert len(caplog.text) > 1000
    assert [piece for piece in pieces(PRIVATE_PEM) if any(piece in text for text in shown)] == []


@pytest.mark.parametrize("spoil", ["encrypted", "cut off"])
def test_a_refused_key_is_not_shown(
    s3: LocalS3,
    archive: Archive,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spoil: str,
) -> None:
    """A key that is encrypted or cut off is refused, without a piece of it in the error, its causes or the log."""
    put(s3, bucket, archive.of_days([0]))
    encrypted = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")
    )
    pem = encrypted.decode() if spoil == "encrypted" else PRIVATE_PEM.replace("\n-----END", "Q\n-----END")
    tell(monkeypatch, pem)
    caplog.set_level(logging.DEBUG)

    with nothing_written(s3, bucket), pytest.raises(AirflowFailException, match="not encrypted") as caught:
        run(bucket)

    chain: list[BaseException | None] = [caught.value, caught.value.__cause__, caught.value.__context__]
    shown = [caplog.text, *map(repr, chain)]
    assert [piece for piece in pieces(pem) if any(piece in text for text in shown)] == []


@pytest.mark.usefixtures("bucket")
def test_a_seal_is_locked(s3: LocalS3, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``extra_args`` says of locks holds for the seal; what is an object's alone does not."""
    name = f"locked-{uuid4().hex}"
    s3.client().create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    put(s3, name, archive.of_days([0]))
    tell(monkeypatch, PRIVATE_PEM)

    found = run(
        name,
        extra_args={
            "ObjectLockMode": "GOVERNANCE",
            "ObjectLockRetainUntilDate": UNTIL.isoformat(),
            "Metadata": {"team": "security"},
            "StorageClass": "GLACIER",
        },
    )

    head = s3.client().head_object(Bucket=name, Key=found["chains"][0]["seal"])
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", UNTIL)
    assert head["Metadata"] == {}
    assert head.get("StorageClass") in (None, "STANDARD")
    assert head["ContentType"] == "application/json"


def test_a_lock_that_cannot_be_had(s3: LocalS3, exported: Bucket) -> None:
    """In a bucket without Object Lock the error says so, and there is no seal."""
    with nothing_written(s3, exported.name), pytest.raises(ObjectLocked, match="Object Lock must be switched on"):
        seal(
            exported,
            period_of(1),
            arguments={"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": UNTIL},
        )
