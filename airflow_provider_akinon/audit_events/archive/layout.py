"""Every key of an archive: of a window's objects, of their receipts, of seals, and of the object that probes a store.

A window with its filters and format is always at one key, and nothing else is at that key. Late events lie beside the
first object, in objects of their own: ``<name>.late-1.jsonl.gz`` and so on. Receipts lie beside their object, seals
in a folder for each chain, under names that begin with an underscore.

This module knows names only; it neither sends nor looks anything up. No other module makes or reads a piece of a key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

import msgspec

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.model import Filters, Format, Source, Window, require_text


@dataclass(frozen=True, slots=True)
class Location:
    """Bucket and key of an object."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def late(self, number: int, file_format: Format) -> Location:
        """Return the location of the window's late events, the first being 1; 0 is this one."""
        return Location(self.bucket, late_key(self.key, number, file_format))

    @property
    def folder(self) -> str:
        """The beginning of the key before the folder of its date, or, without such a folder, the key's own folder."""
        dated = _DATED.search(self.key)
        return self.key[: dated.start() if dated else self.key.rfind("/") + 1]

    @classmethod
    def of_key(cls, bucket: str | None, key: str) -> Location:
        """Return the location of a whole key, or of an ``s3://bucket/key`` URL without a bucket beside it.

        :raises InvalidInput: the bucket is missing, or given twice; or the key is empty, a folder, a name for late
            events, or so long that its receipt would have no key.
        """
        if key != "":
            require_text("s3_key", key)
        if key.startswith("s3://"):
            if bucket:
                raise InvalidInput(
                    f"s3_key={key!r} names its bucket, and so does s3_bucket={bucket!r}; give one of them"
                )
            bucket, _, key = key.removeprefix("s3://").partition("/")
        if not bucket:
            raise InvalidInput(f"s3_bucket is missing for s3_key={key!r}; give it, or an s3://bucket/key URL")
        require_text("s3_bucket", bucket)
        if not key or key.endswith("/"):
            raise InvalidInput(f"s3_key={key!r} is not a whole key; add a file name, or use s3_key_prefix")
        if first_and_number(key)[1]:
            raise InvalidInput(
                f"s3_key={key!r} is a name for late events of another export; leave '.late-…' out of it"
            )
        _require_room("s3_key", key)
        return cls(bucket, key)

    @classmethod
    def of_window(
        cls,
        bucket: str | None,
        prefix: str,
        window: Window,
        filters: Filters,
        timezone: tzinfo,
        file_format: Format = Format.JSONL_GZ,
    ) -> Location:
        """Return the location of ``window`` below ``prefix``, in Hive style by its date in ``timezone``.

        Different windows and different filters have different keys.

        :raises InvalidInput: the bucket is missing, or the prefix so long that a receipt would have no key.
        """
        if not bucket:
            raise InvalidInput("s3_bucket is missing; give the bucket that the export goes to")
        require_text("s3_bucket", bucket)
        if prefix:
            require_text("s3_key_prefix", prefix)
        key = f"{prefix.strip('/')}/{name_of_window(window, filters, timezone, file_format)}".lstrip("/")
        _require_room("s3_key_prefix", key)
        return cls(bucket, key)


MOST_OF_A_KEY = 930
"""The most bytes of an object's key. S3 takes 1,024, and the late objects and receipts beside it have longer keys."""


def _require_room(field: str, key: str) -> None:
    length = len(key.encode(errors="surrogatepass"))
    if length > MOST_OF_A_KEY:
        raise InvalidInput(
            f"{field} makes a key of {length} bytes ({key[:60]}…), and it may have {MOST_OF_A_KEY}: S3 takes 1,024, "
            f"and receipts beside the object have longer names. Give a shorter {field}"
        )


def name_of_window(window: Window, filters: Filters, timezone: tzinfo, file_format: Format) -> str:
    """Return the end of the key of a window's first object, below any prefix."""
    span = f"{_compact(window.start)}_{_compact(window.end)}"
    asked = "".join(f"_{name}={value}" for name, value in filters.as_dict().items())
    return f"date={window.date_in(timezone)}/{span}{asked}.{file_format.value}"


def why_not_of(key: str, window: Window, file_format: Format) -> str | None:
    """Return why a whole key of an author's cannot be that of a window's first object, None where it can."""
    other = next((each.value for each in Format if each is not file_format and key.endswith(f".{each.value}")), None)
    if other is not None:
        return f"its events are {file_format.value}, and the key ends in {other}"
    found = _DATE.search(key)
    dates = {str(window.date_in(zone)) for zone in (_FARTHEST_WEST, UTC, _FARTHEST_EAST)}
    if found and found[1] not in dates:
        return f"its window begins on {' or '.join(sorted(dates))}, and the key says {found[1]}"
    return None


_DATED = re.compile(r"(?<![^/])date=[^/]*/[^/]*$")
_DATE = re.compile(r"(?:^|/)date=([0-9]{4}-[0-9]{2}-[0-9]{2})/[^/]*$")
_FARTHEST_WEST, _FARTHEST_EAST = timezone(-timedelta(hours=12)), timezone(timedelta(hours=14))
_EXTENSIONS = "|".join(re.escape(f".{each.value}") for each in Format)
_LATE = re.compile(rf"(?P<stem>.+)\.late-(?P<number>[1-9][0-9]*)(?P<extension>{_EXTENSIONS})?", re.DOTALL)


def late_key(key: str, number: int, file_format: Format) -> str:
    """Return the key of a window's late events, the first being 1; 0 is the key of its first object itself."""
    if not number:
        return key
    stem = stem_of(key, file_format)
    return f"{late_prefix(key, file_format)}{number}{key.removeprefix(stem)}"


def stem_of(key: str, file_format: Format) -> str:
    """Return the text that the keys of all of a window's objects begin with."""
    return key.removesuffix(f".{file_format.value}")


def late_prefix(key: str, file_format: Format) -> str:
    """Return the text that the keys of all of a window's late objects begin with."""
    return f"{stem_of(key, file_format)}.late-"


def first_and_number(key: str) -> tuple[str, int]:
    """Return the key of the first object of the window that ``key`` belongs to, and the number of its late events."""
    found = _LATE.fullmatch(key)
    return (found["stem"] + (found["extension"] or ""), int(found["number"])) if found else (key, 0)


DEFAULT_PREFIX = "akinon/audit-events"
"""The prefix of the keys of all sources, by default."""


def default_prefix(source: Source) -> str:
    """Return the prefix for the exports of a source, such as ``akinon/audit-events/shop.example.com/remote/1``."""
    return f"{DEFAULT_PREFIX}/" + "/".join(map(safe_name, str(source).split("/")))


def safe_name(text: str) -> str:
    """Return ``text`` as a name that every store takes, and that no other text has: ``_3A`` in place of a colon."""
    return re.sub(r"[^A-Za-z0-9.-]", lambda found: "".join(f"_{byte:02X}" for byte in found[0].encode()), text)


def _compact(instant: datetime) -> str:
    text = instant.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
    fraction = f".{instant.microsecond:06d}" if instant.microsecond else ""
    return f"{text}{fraction}Z"


RECEIPT_SUFFIX = ".receipt.json"


def receipt_prefix(object_key: str) -> str:
    """Return the beginning of the keys of an object's receipts. Query engines skip names that begin with ``_``."""
    folder, slash, name = object_key.rpartition("/")
    return f"{folder}{slash}_{name}."


def receipt_key(object_key: str, sha256: str) -> str:
    """Return the key of the receipt with this SHA-256 for an object."""
    return f"{receipt_prefix(object_key)}{sha256}{RECEIPT_SUFFIX}"


_RECEIPT_KEY = re.compile(
    r"(?P<folder>(?:.*/)?)_(?P<name>[^/]+)\.(?P<sha256>[0-9a-f]{64})" + re.escape(RECEIPT_SUFFIX), re.DOTALL
)


class ReceiptKey(NamedTuple):
    """The parts of a receipt's key."""

    object_key: str
    sha256: str
    """The SHA-256 of the receipt, in hex."""


def parse_receipt_key(key: str) -> ReceiptKey | None:
    """Return the parts of a receipt's key; None if ``key`` is no such key."""
    found = _RECEIPT_KEY.fullmatch(key)
    return ReceiptKey(found["folder"] + found["name"], found["sha256"]) if found else None


SEALS_FOLDER = "_seals/"
_SEAL_KEY = re.compile(r"([^/]+)/_([0-9]{6}|[1-9][0-9]{6,})\.seal\.json")


def folder_of_chain(source: Source, filters: Filters) -> str:
    """Return the name of the folder of a chain's seals, which differs for each source and filters."""
    safe = msgspec.structs.replace(source, host=safe_name(source.host))
    asked = sorted(filters.as_dict().items())
    return str(safe).replace("/", "_") + "".join(f"_{name}={value}" for name, value in asked)


def seal_key(prefix: str, folder: str, number: int) -> str:
    """Return the key of a seal below ``prefix``, which is empty or ends in a slash."""
    return f"{prefix}{SEALS_FOLDER}{folder}/_{number:06d}.seal.json"


class SealName(NamedTuple):
    """The parts of a seal's key."""

    folder: str
    """The folder of the seal's chain."""
    number: int


def parse_seal_name(rest: str) -> SealName | None:
    """Return the parts of a seal's key, given after `SEALS_FOLDER`; None if ``rest`` is no such key."""
    found = _SEAL_KEY.fullmatch(rest)
    return SealName(found[1], int(found[2])) if found else None


PROBE_NAME = "_creates-once.json"
"""The name of the object that probes a store. Query engines pass over names that begin with an underscore."""
_READ_EXTENSIONS = tuple(f".{each.value}" for each in Format)


def folder_prefix(prefix: object) -> str:
    """Return ``prefix`` as the beginning of keys in a folder: empty, or with a slash at its end.

    :raises InvalidInput: it is not text, or a URL.
    """
    if not isinstance(prefix, str) or prefix.startswith("s3://"):
        raise InvalidInput(
            f"s3_key_prefix={prefix!r} is not a prefix; write it like 'akinon/audit-events', without bucket"
        )
    stripped = prefix.strip("/")
    return f"{stripped}/" if stripped else ""


def is_read(key: str, size: int) -> bool:
    """Tell whether a query engine would read an object as one of events."""
    folder, _, name = key.rpartition("/")
    if name.startswith(("_", ".")) or not (name or size):
        return False
    return name.lower().endswith(_READ_EXTENSIONS) or any(each.startswith("date=") for each in folder.split("/"))
