"""The archive's format: every key with an example that the code makes, and the fields of its documents.

The grammar of a key is written here for people. The build fails where it does not describe the examples, and these
come from `layout` itself. Fields, their types and meanings come from the documents' structs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import msgspec
from docutils import nodes
from msgspec.inspect import (
    DateTimeType,
    DictType,
    EnumType,
    IntType,
    ListType,
    LiteralType,
    NoneType,
    StrType,
    StructType,
    Type,
    type_info,
)
from sphinx.application import Sphinx
from tables import TableDirective, attribute_texts, kinds_of, sentence

from airflow_provider_akinon.audit_events.archive import (
    PROBE_NAME,
    Location,
    default_prefix,
    folder_of_chain,
    folder_prefix,
    late_key,
    receipt_key,
    seal_key,
)
from airflow_provider_akinon.audit_events.model import UUID, Filters, Format, Source, Window, parse_timezone

PARTS = {
    "prefix": r".+",
    "folder": r".+",
    "date": r"\d{4}-\d\d-\d\d",
    "start": r"\d{8}T\d{6}(?:\.\d{6})?Z",
    "end": r"\d{8}T\d{6}(?:\.\d{6})?Z",
    "filters": r"(?:_(?:user|content_type|object_id)=-?\d+)*",
    "format": r"jsonl\.gz|jsonl|parquet",
    "n": r"[1-9]\d*",
    "key": r".+",
    "name": r"[^/]+",
    "sha256": r"[0-9a-f]{64}",
    "host": r"[A-Za-z0-9._-]+",
    "remote_id": r"\d+|none",
    "chain": r"[^/]+",
    "number": r"\d{6,}",
}
"""What stands for each part of a key, by its name in the grammar."""

SHOP, COMMERCE = Source(host="shop.example.com", remote_id=1), Source(host="shop.example.com:8443", remote_id=None)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = Window(MIDNIGHT, MIDNIGHT + timedelta(days=1))
HOUR = Window(MIDNIGHT - timedelta(hours=3), MIDNIGHT - timedelta(hours=2))
ISTANBUL = parse_timezone("timezone", "Europe/Istanbul")
ALL, USER = Filters(), Filters(user=42)
PREFIX = "audit"
"""A short one, so that the examples fit on the page."""
SHA256 = hashlib.sha256(b"a receipt").hexdigest()


def _of(window: Window = DAY, filters: Filters = ALL, format_: Format = Format.JSONL_GZ) -> str:
    zone = ISTANBUL if window is HOUR else UTC
    return Location.of_window("a-bucket", PREFIX, window, filters, zone, format_).key


EXAMPLES = {
    "prefix": ("akinon/audit-events/<host>/remote/<remote_id>", [default_prefix(SHOP), default_prefix(COMMERCE)]),
    "object": (
        "<prefix>/date=<date>/<start>_<end><filters>.<format>",
        [_of(), _of(HOUR), _of(filters=USER), _of(format_=Format.PARQUET)],
    ),
    "late": ("<prefix>/date=<date>/<start>_<end><filters>.late-<n>.<format>", [late_key(_of(), 1, Format.JSONL_GZ)]),
    "late-own": ("<key>.late-<n>", [late_key("audit/march", 2, Format.JSONL_GZ)]),
    "receipt": (
        "<folder>/_<name>.<sha256>.receipt.json",
        [receipt_key(_of(), SHA256), receipt_key(late_key(_of(), 1, Format.JSONL_GZ), SHA256)],
    ),
    "chain": (
        "<host>_remote_<remote_id><filters>",
        [folder_of_chain(SHOP, ALL), folder_of_chain(COMMERCE, ALL), folder_of_chain(SHOP, USER)],
    ),
    "seal": (
        "<prefix>/_seals/<chain>/_<number>.seal.json",
        [seal_key(folder_prefix(PREFIX), folder_of_chain(SHOP, ALL), 15)],
    ),
    "probe": ("<prefix>/_creates-once.json", [folder_prefix(PREFIX) + PROBE_NAME]),
}
"""Each kind of key: its grammar, and examples."""


class ArchiveKey(TableDirective):
    """``.. archive-key:: receipt``: the grammar of a kind of key, and examples."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the grammar as a literal, and the examples below it.

        :raises ValueError: an example is not of the grammar.
        """
        grammar, examples = EXAMPLES[self.arguments[0]]
        for example in examples:
            if not pattern_of(grammar).fullmatch(example):
                raise self.error(f"{example} is not as {grammar} says")
        block = "\n".join(f"   {line}" for line in examples)
        return self.parse_text_to_nodes(f"``{grammar}``\n\n.. code-block:: text\n\n{block}\n")


def pattern_of(grammar: str) -> re.Pattern[str]:
    """Return the pattern of the keys that a grammar describes."""
    pieces = re.split(r"<([a-z0-9_]+)>", grammar)
    return re.compile(
        "".join(f"(?:{PARTS[piece]})" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces))
    )


class DocumentFields(TableDirective):
    """``.. document-fields:: a.module.Struct``: the fields of a JSON document."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        module, _, name = self.arguments[0].rpartition(".")
        rows = fields_of(getattr(import_module(module), name))
        return self.table({"Field": 32, "Type": 20, "Meaning": 48}, rows)


def fields_of(struct: type, above: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, type and meaning of each field of a struct, and of those in it."""
    texts = attribute_texts(struct)
    for field in msgspec.structs.fields(struct):
        kinds = kinds_of(type_info(field.type))
        nested = _struct_in(kinds)
        text = texts.get(field.name)
        if text is None and nested is None:
            raise ValueError(f"{struct.__name__}.{field.name} has no docstring for its documentation")
        path = f"{above}{field.name}"
        meaning = sentence(text if text is not None else (nested.__doc__ or "").partition("\n")[0])
        yield f"``{path}``", " or ".join(map(name_of, kinds)), re.sub(r"\bNone\b", "null", meaning)
        if nested is not None:
            yield from fields_of(nested, f"{path}{'[]' * isinstance(kinds[0], ListType)}.")


def _struct_in(kinds: list[Type]) -> Any:
    """Return the struct that a field of these types holds, alone or in a list; None if there is none."""
    inner = [each for kind in kinds for each in (kinds_of(kind.item_type) if isinstance(kind, ListType) else [kind])]
    return next((each.cls for each in inner if isinstance(each, StructType)), None)


def name_of(kind: Type) -> str:
    """Return how a type is called in the table."""
    if isinstance(kind, ListType):
        return f"list of {' or '.join(map(name_of, kinds_of(kind.item_type)))}s".replace("hashs", "hashes")
    if isinstance(kind, StrType):
        return "hash" if kind.max_length == 64 else "uuid" if kind.pattern == f"^{UUID}$" else "string"
    return NAMES[type(kind)]


NAMES: dict[type[Type], str] = {
    IntType: "integer",
    DateTimeType: "time",
    EnumType: "string",
    LiteralType: "string",
    DictType: "object",
    StructType: "object",
    NoneType: "null",
}
"""What the types are called that need no closer look."""


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("archive-key", ArchiveKey)
    app.add_directive("document-fields", DocumentFields)
    return {"parallel_read_safe": True}
