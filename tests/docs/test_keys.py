"""No page shows a key that the archive does not have: each one that looks like a key is made anew by the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_provider_akinon.audit_events.archive import (
    PROBE_NAME,
    default_prefix,
    first_and_number,
    folder_of_chain,
    late_key,
    name_of_window,
    parse_receipt_key,
    parse_seal_name,
    receipt_key,
    seal_key,
)
from airflow_provider_akinon.audit_events.model import Filters, Format, Source, Window
from tests.support.paths import DOCS, ROOT

PAGES = [*sorted(DOCS.rglob("*.rst")), *sorted(ROOT.glob("*.md"))]
TOKEN = re.compile(r"(?:<[a-z][^<>\n]*>|\$\{\w+\}|[^\s`'\"(),;<>{}])+")
OF_A_KEY = re.compile(
    r"(?:^|/)date=|\.late-|_seals/|\.receipt\.json|\.seal\.json|_creates-once|[0-9]{8}T[0-9]{6}|<start>_|_remote_"
)
"""What only a key has."""

SHOP = Source(host="shop.example.com", remote_id=1)
WINDOW = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
STEM = "20260101T000000Z_20260102T000000Z"
STANDS_FOR = {
    "prefix": default_prefix(SHOP),
    "s3_key_prefix": default_prefix(SHOP),
    "folder": f"{default_prefix(SHOP)}/date=2026-01-01",
    "date": "2026-01-01",
    "start": "20260101T000000Z",
    "end": "20260102T000000Z",
    "filters": "_user=42",
    "format": "jsonl.gz",
    "n": "1",
    "name": f"{STEM}.jsonl.gz",
    "sha256": "0" * 64,
    "chain": folder_of_chain(SHOP, Filters(user=42)),
    "number": "000001",
    "host": "shop.example.com",
    "remote_id": "1",
    "key": "a/key",
}
"""A value of each part that a page writes in angle brackets."""
ZONES = (timezone(-timedelta(hours=12)), UTC, timezone(timedelta(hours=14)))
DATED = re.compile(r"(?:date=([0-9-]{10})/)?([0-9TZ.]+?)_([0-9TZ.]+?Z)((?:_[a-z_]+=-?[0-9]+)*)\.([a-z.]+)")
CHAIN = re.compile(r"(.+)_remote_([0-9]+|none)((?:_[a-z_]+=-?[0-9]+)*)")


def shown_keys(page: Path) -> Iterator[str]:
    """Yield what looks like a key on a page."""
    for found in TOKEN.finditer(page.read_text()):
        token = found[0].rstrip(".:*|\\")
        if OF_A_KEY.search(token):
            yield token


def whole(shown: str) -> str:
    """Return a key as a page writes it, with a value for each part that it leaves open.

    :raises KeyError: a part has a name that no key has.
    """
    text = re.sub(r"<([^<>]+)>", lambda part: STANDS_FOR[part[1]], shown)
    text = re.sub(r"^s3://[^/]+/", "", text).replace("YYYY-MM-DD", "2026-01-01").replace("${date}", "2026-01-01")
    text = re.sub(r"^(?:…|(?=\.late-))", STEM, text)
    return re.sub(r"…$", "jsonl.gz", text) if ".late-" in text else text


def is_key(key: str) -> bool:
    """Tell whether the archive has keys like this one: what the code reads of it gives the same key again."""
    if key.rpartition("/")[2] == PROBE_NAME:
        return True
    prefix, seals, rest = key.partition("_seals/")
    if seals:
        seal = parse_seal_name(rest)
        return seal is not None and is_chain(seal.folder) and seal_key(prefix, *seal) == key
    receipt = parse_receipt_key(key)
    if receipt is not None:
        return receipt_key(*receipt) == key and is_key(receipt.object_key)
    first, number = first_and_number(key)
    formats = [each for each in Format if first.endswith(f".{each}")]
    if number and late_key(first, number, (formats or [Format.JSONL_GZ])[0]) != key:
        return False
    return is_window(first) or (number > 0 and not formats) or is_chain(key)


def is_window(key: str) -> bool:
    """Tell whether a key is that of a window's first object, whole or from its date or name on."""
    found = DATED.fullmatch("/".join(key.split("/")[-2:])) or DATED.fullmatch(key.rpartition("/")[2])
    if not found or found[5] not in list(Format):
        return False
    start, end = (datetime.fromisoformat(edge) for edge in found.group(2, 3))
    made = [name_of_window(Window(start, end), filters(found[4]), zone, Format.parse(found[5])) for zone in ZONES]
    return any(key.endswith(name if found[1] else name.partition("/")[2]) for name in made)


def is_chain(name: str) -> bool:
    found = CHAIN.fullmatch(name)
    if not found:
        return False
    host = re.sub(r"_([0-9A-F]{2})", lambda byte: chr(int(byte[1], 16)), found[1])
    source = Source(host=host, remote_id=None if found[2] == "none" else int(found[2]))
    return folder_of_chain(source, filters(found[3])) == name


def filters(text: str) -> Filters:
    return Filters.parse(dict(re.findall(r"_([a-z_]+)=(-?[0-9]+)", text)))


def is_beginning(text: str) -> bool:
    """Tell whether this is the folder of a date, or how a folder's or a window's name begins."""
    return text in (STEM, f"_{STEM}") or bool(re.fullmatch(r"(?:.*/)?date=(?:…|[0-9]{4}-[0-9]{2}-[0-9]{2}/)?", text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_key_on_a_page_is_one_of_the_archive(page: Path) -> None:
    """What looks like a key on a page is one that the code makes, part by part."""
    keys = [(shown, whole(shown)) for shown in shown_keys(page)]

    assert [shown for shown, key in keys if not is_key(key) and not is_beginning(key)] == []


def test_the_pages_show_each_kind_of_key() -> None:
    """The rule is not empty: objects, late ones, receipts, seals and the probe are found on pages."""
    found = {shown for page in PAGES for shown in shown_keys(page)}

    for kind in ("<start>_<end>", ".late-", ".receipt.json", ".seal.json", PROBE_NAME, "date="):
        assert any(kind in shown for shown in found), kind


@pytest.mark.parametrize(
    "wrong",
    [
        "date=2026-01-01/_20260101T000000Z_20260102T000000Z.jsonl.gz.receipt.json",
        "date=2026-01-01/_20260101T000000Z_20260102T000000Z.jsonl.gz.d2c0620d…6462542b62.receipt.json",
        "date=2026-01-03/20260101T000000Z_20260102T000000Z.jsonl.gz",
        "date=2026-01-01/20260101T000000Z_20260102T000000Z.csv",
        "date=2026-01-01/20260101T000000Z-20260102T000000Z.jsonl.gz",
        "date=2026-01-01/20260101T000000Z_20260102T000000Z.jsonl.gz.late-1",
        "akinon/_seals/shop.example.com_remote_1/1.seal.json",
        "akinon/_seals/shop.example.com/_000001.seal.json",
        "_creates-once.jsonl",
    ],
)
def test_a_key_that_the_archive_does_not_have_is_seen(wrong: str) -> None:
    """Names that are nearly right are not keys."""
    assert OF_A_KEY.search(wrong)
    assert not is_beginning(wrong)
    assert not is_key(whole(wrong))
