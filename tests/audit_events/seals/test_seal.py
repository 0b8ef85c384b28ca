"""Seals: one schema, one spelling, a place of their own, and chains in which each seal holds the one before it."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import msgspec
import pytest

from airflow_provider_akinon.audit_events.archive import Run, parse_seal_name, seal_key
from airflow_provider_akinon.audit_events.errors import ArchiveError, ObjectChanged, ObjectUnreadable
from airflow_provider_akinon.audit_events.model import Filters, Format, Source, Window
from airflow_provider_akinon.audit_events.seals import (
    SEAL_SCHEMA,
    ChainName,
    ListedChain,
    PrivateKey,
    Seal,
    SealChain,
    SealedReceipt,
    Vouchers,
    parse_seal,
    seal_schema,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
PREFIX = "logs/"
FOLDER = "shop.example.com_remote_1_user=42"
OWN, OTHER = (PrivateKey.parse("key", b64encode(bytes([number]) * 32).decode()) for number in (1, 2))
PATHS_IN_LISTS = [("receipts", "receipt"), ("receipts", "window"), ("gaps", "start"), ("overlaps", "end")]


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def key_of(number: int) -> str:
    return seal_key(PREFIX, FOLDER, number)


def seal_of(number: int, previous: str | None) -> Seal:
    """Return a seal of one day, with a receipt."""
    span = Window(start=START + number * DAY, end=START + (number + 1) * DAY)
    return Seal(
        schema=SEAL_SCHEMA,
        bucket="audit",
        prefix=PREFIX,
        source=Source(host="shop.example.com", remote_id=1),
        filters=Filters(user=42),
        number=number,
        previous=previous,
        period=span,
        receipts=[
            SealedReceipt(
                receipt=f"{number:064x}", object=f"logs/{number}.jsonl.gz", format=Format.JSONL_GZ, window=span
            )
        ],
        additions=[f"{number:064x}"],
        gaps=[span],
        overlaps=[span],
        losses=["logs/2.jsonl.gz"],
        chains=[
            ListedChain(source=Source(host="shop.example.com", remote_id=2), filters=Filters(), number=0, head=None)
        ],
        provider_version="1.0",
        run=Run(dag_id="d", task_id="t", run_id="r", map_index=-1, try_number=1),
        sealed_at=START,
        signed_by=None,
        signature=None,
    )


BODY = seal_of(1, None).encode()


def bodies_of(*signers: PrivateKey | None) -> dict[int, bytes]:
    """Return the bytes of a chain with a seal for each signer."""
    bodies: dict[int, bytes] = {}
    previous = None
    for number, signer in enumerate(signers, 1):
        bodies[number] = seal_of(number, previous).signed(signer).encode()
        previous = sha256(bodies[number])
    return bodies


def changed(body: bytes, **fields: Any) -> bytes:
    """Return a seal's bytes with other fields, written as seals are."""
    return msgspec.structs.replace(msgspec.json.decode(body, type=Seal), **fields).encode()


def read(bodies: Mapping[int, bytes], *keys: PrivateKey) -> SealChain:
    return SealChain.read(PREFIX, FOLDER, bodies, Vouchers([key.public for key in keys]))


def problems(chain: SealChain) -> list[tuple[str, str]]:
    return [(problem.status.value, problem.key) for problem in chain.problems]


def numbers(chain: SealChain) -> list[int]:
    return [stored.seal.number for stored in chain.seals]


def paths(kind: type[msgspec.Struct], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each field that is no struct itself; filters are one, as none of theirs has to be there."""
    for field in msgspec.structs.fields(kind):
        if inspect.isclass(field.type) and issubclass(field.type, msgspec.Struct) and field.type is not Filters:
            yield from paths(field.type, (*above, field.name))
        else:
            yield (*above, field.name)


def folder_of(document: Any, path: tuple[str, ...]) -> dict[str, Any]:
    for name in path[:-1]:
        document = document[name]
        document = document[0] if isinstance(document, list) else document
    return document  # type: ignore[no-any-return]


def refused(document: dict[str, Any]) -> tuple[bool, bool]:
    """Tell whether the schema, and whether the package, refuses a document."""
    valid = jsonschema.Draft202012Validator(seal_schema()).is_valid(document)
    try:
        parse_seal(key_of(1), msgspec.json.format(json.dumps(document).encode(), indent=2) + b"\n")
    except ArchiveError:
        return not valid, True
    return not valid, False


def document() -> dict[str, Any]:
    return dict(json.loads(seal_of(1, None).signed(OWN).encode()))


def test_a_seal_comes_back() -> None:
    """A seal reads back as it was from its bytes, which are the same each time; its schema takes it."""
    seal = seal_of(2, "0" * 64).signed(OWN)

    assert parse_seal(key_of(2), seal.encode()) == seal
    assert seal.encode() == seal.encode()
    assert seal.encode().endswith(b"}\n")
    jsonschema.Draft202012Validator.check_schema(seal_schema())
    assert refused(document()) == (False, False)
    assert refused({**document(), "signed_by": None, "signature": None}) == (False, False)


@pytest.mark.parametrize("path", [*paths(Seal), *PATHS_IN_LISTS], ids=".".join)
def test_no_field_may_be_missing(path: tuple[str, ...]) -> None:
    """A seal that lacks a field is refused, by the schema as by the package."""
    spoilt = document()
    del folder_of(spoilt, path)[path[-1]]

    assert refused(spoilt) == (True, True)


@pytest.mark.parametrize("above", [(), ("source",), ("period",), ("receipts",), ("gaps",), ("run",)])
def test_no_field_may_be_added(above: tuple[str, ...]) -> None:
    """A field that is not known is refused at each level."""
    spoilt = document()
    folder_of(spoilt, (*above, "more"))["more"] = 1

    assert refused(spoilt) == (True, True)


@pytest.mark.parametrize("part", ["period", "receipts", "gaps", "overlaps"])
@pytest.mark.parametrize("end", ["2026-01-02T00:00:00Z", "2025-01-01T00:00:00Z"])
def test_no_window_is_empty_or_reversed(part: str, end: str) -> None:
    """A seal with a window that cannot be is refused, so that nobody stumbles over it later."""
    spoilt = document()
    path = ("receipts", "window", "end") if part == "receipts" else (part, "end")
    folder_of(spoilt, path)["end"] = end

    assert refused(spoilt)[1]


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda body: body + b"\n",
        lambda body: body.replace(b"  ", b" "),
        lambda body: msgspec.json.format(body, indent=0),
        lambda body: json.dumps(dict(reversed(json.loads(body).items())), indent=2).encode() + b"\n",
        lambda body: body.replace(b'"number": 1', b'"number": 2,\n  "number": 1'),
        lambda body: body.replace(b'"remote_id": 1', b'"remote_id": 1.0'),
        lambda body: body.replace(b"shop.example", b"\\u0073hop.example"),
    ],
)
def test_a_seal_has_one_spelling(rewrite: Callable[[bytes], bytes]) -> None:
    """The same content in other bytes is refused."""
    body = seal_of(1, None).encode()
    rewritten = rewrite(body)
    assert rewritten != body

    with pytest.raises(ArchiveError, match=f"{re.escape(key_of(1))} (was changed|is not a seal)"):
        parse_seal(key_of(1), rewritten)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"\xff", BODY[:-9], BODY.replace(b'"1.0"', b'"1\xff0"')])
def test_what_is_no_seal(body: bytes) -> None:
    """Anything else is refused, and the error names the key."""
    with pytest.raises(ArchiveError, match=f"{re.escape(key_of(1))} is not a seal of a version"):
        parse_seal(key_of(1), body)


@pytest.mark.parametrize("key", [key_of(2), seal_key(PREFIX, "elsewhere", 1), seal_key(PREFIX, "x" + FOLDER, 1)])
def test_a_seal_belongs_to_its_place(key: str) -> None:
    """Copied to another number or another chain it is refused."""
    with pytest.raises(ArchiveError, match="is seal 1 of another place, copied here"):
        parse_seal(key, seal_of(1, None).encode())


def test_names() -> None:
    """The folder tells source and filters, and the key the number; keys in order are seals in order."""
    name = ChainName(Source(host="localhost:8443", remote_id=3), Filters(user=-1, object_id=7))

    assert str(name) == "localhost:8443/remote/3 object_id=7 user=-1"
    assert name.folder == "localhost_3A8443_remote_3_object_id=7_user=-1"
    assert name.source == Source(host="localhost:8443", remote_id=3)
    assert ChainName(seal_of(1, None).source, Filters(user=42)).folder == FOLDER
    assert key_of(7) == f"logs/_seals/{FOLDER}/_000007.seal.json"
    assert parse_seal_name(f"{FOLDER}/_000007.seal.json") == (FOLDER, 7)
    without = ChainName(Source(host="shop.example.com", remote_id=None), Filters())
    assert (str(without), without.folder) == ("shop.example.com/remote/none", "shop.example.com_remote_none")
    others = [ChainName(Source(host="shop.example.com", remote_id=number), Filters()) for number in (10, 9)]
    assert sorted([*others, without]) == [without, *reversed(others)]
    assert [number for _, number in map(parse_seal_name, (f"a/_{n:06d}.seal.json" for n in (9, 10, 10**6)))] == [
        9,
        10,
        10**6,
    ]


@pytest.mark.parametrize(
    "rest",
    [
        "_000001.seal.json",
        "a/000001.seal.json",
        "a/_1.seal.json",
        "a/_0000099.seal.json",
        "a/_000001.seal.json.bak",
        "a/b/_000001.seal.json",
        "a/_00000x.seal.json",
        "a/_000001.seal.json\n",
    ],
)
def test_what_is_no_name_of_a_seal(rest: str) -> None:
    """Anything else in the folder is not taken for a seal."""
    assert parse_seal_name(rest) is None


FIELDS: dict[str, Any] = {
    "bucket": "another",
    "prefix": "",
    "additions": [],
    "losses": [],
    "chains": [],
    "source": Source(host="elsewhere", remote_id=1),
    "filters": {},
    "number": 2,
    "previous": "1" * 64,
    "period": Window(start=START, end=START + 9 * DAY),
    "receipts": [],
    "gaps": [],
    "overlaps": [],
    "provider_version": "2.0",
    "run": Run(dag_id=None, task_id=None, run_id=None, map_index=None, try_number=None),
    "sealed_at": START + DAY,
    "signed_by": str(OTHER.public),
}


@pytest.mark.parametrize("field", [name for name in Seal.__struct_fields__ if name not in ("schema", "signature")])
def test_a_signature_covers_every_field(field: str) -> None:
    """Whatever is changed in a seal, its signature does not fit any more."""
    seal = seal_of(1, None).signed(OWN)
    assert seal.is_signed_by(OWN.public)

    assert not msgspec.structs.replace(seal, **{field: FIELDS[field]}).is_signed_by(OWN.public)


def test_a_seal_without_signature() -> None:
    """Without a key it stays as it is, and nobody signed it."""
    seal = seal_of(1, None)

    assert seal.signed(None) == seal
    assert not seal.is_signed_by(OWN.public)


@pytest.mark.parametrize("signers", [(None, None, None), (OWN, OWN, OWN), (None, OTHER, OWN)])
def test_a_whole_chain(signers: tuple[PrivateKey | None, ...]) -> None:
    """All of its seals count, and the newest one's signature covers those before it."""
    bodies = bodies_of(*signers)

    chain = read(bodies, *[key for key in signers[-1:] if key])

    assert problems(chain) == []
    assert numbers(chain) == [1, 2, 3]
    assert [stored.sha256 for stored in chain.seals] == [sha256(body) for body in bodies.values()]
    assert chain.head is chain.seals[-1]
    assert str(chain.name) == "shop.example.com/remote/1 user=42"
    assert chain.reached == START + 4 * DAY
    assert [entry.object for _, entry in chain.entries(covered=True)] == [
        f"logs/{number}.jsonl.gz" for number in (1, 2, 3)
    ]


def test_an_empty_chain() -> None:
    """Where there is no seal there is nothing wrong, and nothing to tell."""
    chain = read({}, OWN)

    assert (chain.seals, chain.problems, chain.head, chain.name, chain.reached) == ((), (), None, None, None)


def test_the_latest_end_was_reached() -> None:
    """A later seal of an earlier period does not take back what was reached."""
    first = seal_of(9, None)
    first = msgspec.structs.replace(first, number=1)
    second = msgspec.structs.replace(seal_of(2, sha256(first.encode())))

    assert read({1: first.encode(), 2: second.encode()}).reached == START + 10 * DAY


@pytest.mark.parametrize(
    ("lost", "found"),
    [
        ([1], [1]),
        ([2], [2]),
        ([3], [3]),
        ([1, 2], [1]),
        ([2, 3], [2]),
        ([1, 3], [1, 3]),
        ([1, 2, 3], [1]),
        ([4], []),
        ([3, 4], []),
        ([2, 4], [2]),
    ],
)
@pytest.mark.parametrize("keys", [(), (OWN,)])
def test_missing_seals(lost: list[int], found: list[int], keys: tuple[PrivateKey, ...]) -> None:
    """Each hole below the newest seal is found and named by its first number; the others still count."""
    bodies = {number: body for number, body in bodies_of(OWN, OWN, OWN, OWN).items() if number not in lost}

    chain = read(bodies, *keys)

    assert problems(chain) == [("missing", key_of(number)) for number in found]
    assert numbers(chain) == list(bodies)


def test_a_hole_says_how_wide_it_is() -> None:
    """A seal with a number far off, put there by somebody, costs no more than another."""
    bodies = bodies_of(None)
    bodies[10**12] = changed(bodies[1], number=10**12, previous="0" * 64)

    [problem] = read(bodies).problems

    assert problem.detail == "seals 2 to 999999999999 are missing; a later one is there"


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("keys", [(), (OWN,)])
def test_an_altered_seal(number: int, keys: tuple[PrivateKey, ...]) -> None:
    """A seal that is not what a newer one names is found, whatever it says, and does not count."""
    bodies = bodies_of(OWN, OWN, OWN)
    for spoilt in (
        bodies[number][:-5],
        changed(bodies[number], provider_version="1.1"),
        changed(bodies[number], provider_version="1.1", signed_by=None, signature=None),
        seal_of(number, None if number == 1 else sha256(bodies[1])).signed(OTHER).encode(),
    ):
        chain = read({**bodies, number: spoilt}, *keys)

        assert problems(chain) == [("altered", key_of(number))]
        assert numbers(chain) == [each for each in bodies if each != number]


def test_the_newest_seal_by_its_signature() -> None:
    """Nothing names the newest seal; with the key it is found all the same."""
    bodies = bodies_of(OWN, OWN)
    for spoilt, kind in (
        (changed(bodies[2], provider_version="1.1"), "altered"),
        (changed(bodies[2], signature=None), "altered"),
        (changed(bodies[2], signature=OWN.sign(b"another")), "altered"),
        (changed(bodies[2], signed_by=None, signature=None), "not signed"),
        (changed(bodies[2], signed_by=None), "not signed"),
        (seal_of(2, sha256(bodies[1])).signed(OTHER).encode(), "not signed"),
        (changed(bodies[2], signed_by=str(OTHER.public)), "not signed"),
    ):
        assert problems(read({1: bodies[1], 2: spoilt}, OWN)) == [(kind, key_of(2))]
    assert problems(read(bodies, OTHER, OWN)) == []


def test_a_chain_that_nobody_signed() -> None:
    """Each seal that neither itself nor a later one vouches for is named, and does not seal."""
    for signers in ((None, None, None), (OTHER, OTHER, OTHER)):
        chain = read(bodies_of(*signers), OWN)
        assert problems(chain) == [("not signed", key_of(number)) for number in (1, 2, 3)]
        assert numbers(chain) == [1, 2, 3]
        assert list(chain.entries(covered=True)) == []
        assert len(list(chain.entries())) == 3
    assert problems(read(bodies_of(None, OWN, None), OWN)) == [("not signed", key_of(3))]


@pytest.mark.parametrize("spoil", [lambda _: None, lambda body: body[:-5]], ids=["missing", "altered"])
def test_a_signature_does_not_reach_over_a_hole(spoil: Callable[[bytes], bytes | None]) -> None:
    """What a lost seal named is not known, so those before it need a signature of their own."""
    bodies = bodies_of(OWN, OWN, OWN, OWN)
    left = {**bodies, 3: spoil(bodies[3])}
    forged = changed(bodies[2], provider_version="1.1", signed_by=None, signature=None)

    def found(second: bytes) -> list[tuple[str, str]]:
        return problems(read({n: body for n, body in {**left, 2: second}.items() if body is not None}, OWN))

    [broken] = found(bodies[2])
    assert broken[1] == key_of(3)
    assert found(forged) == [("not signed", key_of(2)), broken]


@pytest.mark.parametrize(("number", "previous"), [(1, "0" * 64), (2, None)])
def test_a_chain_begins_once(number: int, previous: str | None) -> None:
    """Only the first seal names none before it."""
    bodies = bodies_of(None, None)
    bodies[number] = changed(bodies[number], previous=previous)
    bodies = {each: body for each, body in bodies.items() if each <= number}

    assert problems(read(bodies)) == [("altered", key_of(number))]


def test_a_number_below_one_is_nobodys() -> None:
    """A file with the number 0 is no seal of the chain, and hinders none."""
    bodies = {0: b"", **bodies_of(None)}

    assert (problems(read(bodies)), numbers(read(bodies))) == ([], [1])
    assert problems(read({0: b""})) == []


@pytest.mark.parametrize("head", [1, 2, 3])
@pytest.mark.parametrize("signers", [(None, None, None), (OTHER, OTHER, OTHER)])
def test_a_head_covers_what_came_before_it(signers: tuple[PrivateKey | None, ...], head: int) -> None:
    """With a head and no key, seals after the head do not seal; nothing is said to be wrong with them."""
    bodies = bodies_of(*signers)

    chain = SealChain.read(PREFIX, FOLDER, bodies, Vouchers(known_heads=[sha256(bodies[head])]))

    assert chain.problems == ()
    assert [stored.is_covered for stored in chain.seals] == [number <= head for number in (1, 2, 3)]
    assert chain.newest_covered == chain.seals[head - 1].seal


def test_a_head_does_not_reach_over_a_hole() -> None:
    """What a lost seal named is not known."""
    bodies = bodies_of(None, None, None)
    vouchers = Vouchers(known_heads=[sha256(bodies.pop(3)), sha256(bodies[1])])

    chain = SealChain.read(PREFIX, FOLDER, bodies, vouchers)

    assert [stored.is_covered for stored in chain.seals] == [True, False]


@pytest.mark.parametrize(
    "error", [ObjectUnreadable("archived"), ObjectChanged("deleted"), ArchiveError("too large")], ids=lambda e: str(e)
)
def test_a_seal_that_is_not_given(error: ArchiveError) -> None:
    """A seal that cannot be read is a problem of its own, and the others count."""
    bodies: dict[int, bytes | ArchiveError] = {**bodies_of(None, None, None), 2: error}

    chain = SealChain.read(PREFIX, FOLDER, bodies)

    kind = {"archived": "unreadable", "deleted": "missing", "too large": "altered"}[str(error)]
    assert problems(chain) == [(kind, key_of(2))]
    assert numbers(chain) == [1, 3]


def test_chains_have_folders_of_their_own() -> None:
    """No two chains share a folder, whatever is in their hosts' names."""
    hosts = ("host:8443", "host_8443", "host_3A8443", "host=8443", "host.8443", "[::1]:8443", "host")
    filters = [Filters(), Filters(user=8443), Filters(user=-8443), Filters(object_id=8443)]
    names = [ChainName(Source(host=host, remote_id=1), each) for host in hosts for each in filters]

    assert len({name.folder for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Za-z0-9.=_-]+", name.folder) for name in names)


@pytest.mark.parametrize("known", [Vouchers([OWN.public]), "head"], ids=["key", "head"])
def test_a_seal_that_nobody_vouches_for_discredits_no_other(known: Vouchers | str) -> None:
    """Put after the newest one and naming another before it, it is what is wrong, and what was sealed stays so."""
    bodies = bodies_of(OWN, OWN)
    bodies[3] = seal_of(3, "0" * 64).encode()
    vouchers = known if isinstance(known, Vouchers) else Vouchers(known_heads=[sha256(bodies[2])])

    chain = SealChain.read(PREFIX, FOLDER, bodies, vouchers)

    assert problems(chain) == [("not signed" if vouchers.keys else "altered", key_of(3))]
    assert [(stored.seal.number, stored.is_covered) for stored in chain.seals] == [(1, True), (2, True)]
