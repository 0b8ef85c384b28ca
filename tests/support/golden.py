"""What was stored, as text that people read and compare: the golden files of the archive.

Every byte that is written shows, but for what differs from run to run, or between compressors: it is masked, each
field by its name, and each mask says what it hides. A hash of masked bytes names the object that they are of, so it
still shows which object a document points to. The renderer knows no document beyond the masks.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.support.exporting import Stored

RENEW = "AKINON_RENEW_GOLDEN"
"""The environment variable that has the files written rather than compared."""
COMMAND = "make golden"

HASHES = {"sha256", "akinon-sha256", "receipt", "previous", "additions", "head"}
"""Fields with hashes of stored bytes: masked where these are compressed, or a document with masks."""
SIZES = {"size"}
"""Fields with the size of the bytes whose ``sha256`` is beside them."""
MASKS = {
    "verified_at": "<time of the run>",
    "sealed_at": "<time of the run>",
    "provider_version": "<version of the package>",
    "version_id": "<version of the object>",
    "signature": "<signature>",
    "bucket": "<bucket>",
}
"""Other fields, with what is shown instead of all but null."""
STATED = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Metadata")
"""What S3 was told of an object beside its bytes."""


class Rendering:
    """Shows what the steps of a scenario wrote, with the port of the API masked."""

    def __init__(self, steps: Mapping[str, list[Stored]], port: int) -> None:
        self._port = re.compile(rf"(?:(?<=127\.0\.0\.1:)|(?<=127\.0\.0\.1_3A)){port}(?!\d)")
        self._known: dict[str, tuple[str, int]] = {}
        """Of the SHA-256 of what was written: what is shown instead, and how many bytes it is of."""
        for step, written in steps.items():
            for one in written:
                digest = _sha256(one)
                name = "/".join(self.key(one).split("/")[-2:])
                shown = f"<sha256 of {name}, written in {step}>" if _is_masked(one) else digest
                self._known.setdefault(digest, (shown, len(one.body)))

    def key(self, one: Stored) -> str:
        """Return a key, the SHA-256 of what is stored there masked."""
        return self._port.sub("<port>", one.key.replace(_sha256(one), "<sha256>"))

    def step(self, written: list[Stored]) -> str:
        """Return all that a step wrote."""
        return "\n".join(sorted(map(self._object, written))) or "Nothing was written.\n"

    def _object(self, one: Stored) -> str:
        stated = {name: one.head[name] for name in STATED if name in one.head}
        shown = json.dumps(self._masked(stated), indent=2, ensure_ascii=False, sort_keys=True)
        return f"==== {self.key(one)}\n{shown}\n----\n{self._content(one)}"

    def _content(self, one: Stored) -> str:
        if _is_gzip(one):
            return f"gzip, flags and time {one.body[3:8].hex()}, of:\n{_text(gzip.decompress(one.body))}"
        if _is_parquet(one):
            return "".join(line + "\n" for line in _parquet(one.body))
        if _is_document(one):
            return _text(self._document(one.body.decode()).encode())
        return _text(one.body)

    def _document(self, text: str) -> str:
        """Return JSON with its masks, and every byte between its names and values as it is."""
        document = json.loads(text)
        pieces, place = [], 0
        for written, shown in zip(_tokens(document), _tokens(self._masked(document)), strict=True):
            token = json.dumps(written, ensure_ascii=False)
            start = text.index(token, place)
            pieces += [text[place:start], json.dumps(shown, ensure_ascii=False)]
            place = start + len(token)
        return "".join([*pieces, text[place:]])

    def _masked(self, value: Any, name: str = "", beside: Mapping[str, Any] | None = None) -> Any:
        if isinstance(value, dict):
            return {key: self._masked(each, key, value) for key, each in value.items()}
        if isinstance(value, list):
            return [self._masked(each, name, beside) for each in value]
        if value is None:
            return None
        if name in HASHES:
            return self._known.get(value, ("<sha256 of nothing that was written>", 0))[0]
        if name in SIZES:
            return self._size(value, (beside or {}).get("sha256", ""))
        if name in MASKS:
            return MASKS[name]
        return self._port.sub("<port>", value) if isinstance(value, str) else value

    def _size(self, size: int, digest: str) -> Any:
        shown, rightly = self._known.get(digest, ("", -1))
        if size != rightly:
            return "<not the size of these bytes>"
        return size if shown == digest else "<size of these bytes>"


def compare(rendered: Mapping[str, str], folder: Path) -> None:
    """Fail with what differs between the golden files in ``folder`` and what was rendered, by their names.

    Where `RENEW` is set, write them instead; never where CI is.
    """
    golden = {path.relative_to(folder).as_posix(): _read(path) for path in folder.rglob("*.txt")}
    if os.environ.get(RENEW):
        if os.environ.get("CI"):
            pytest.fail(
                f"{RENEW} is refused in CI: a change of the archive's bytes has to be committed", pytrace=False
            )
        _renew(golden, rendered, folder)
        return
    names = sorted(golden.keys() | rendered.keys())
    different = [name for name in names if golden.get(name) != rendered.get(name)]
    if different:
        diffs = "\n".join(_diff(name, golden.get(name), rendered.get(name)) for name in different)
        pytest.fail(
            f"What is stored is not as {folder.name}/ has it, in {', '.join(different)}:\n\n{diffs}\n\n"
            f"If that is meant, '{COMMAND}' renews the files; commit them with the change.",
            pytrace=False,
        )


def _renew(golden: Mapping[str, str], rendered: Mapping[str, str], folder: Path) -> None:
    for name in golden.keys() - rendered.keys():
        (folder / name).unlink()
    for name, text in rendered.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())


def _diff(name: str, golden: str | None, rendered: str | None) -> str:
    """Return a unified diff. None is a file that is not there."""
    sides = ["" if text is None else text for text in (golden, rendered)]
    names = [
        "nothing" if text is None else f"{side}/{name}" for side, text in (("golden", golden), ("stored", rendered))
    ]
    # Not by `splitlines`, which also breaks lines within a record.
    return "\n".join(difflib.unified_diff(*(side.split("\n") for side in sides), *names, lineterm=""))


def _read(path: Path) -> str:
    return path.read_bytes().decode()


def _sha256(one: Stored) -> str:
    return hashlib.sha256(one.body).hexdigest()


def _is_gzip(one: Stored) -> bool:
    return one.body.startswith(b"\x1f\x8b")


def _is_parquet(one: Stored) -> bool:
    return one.body.startswith(b"PAR1")


def _is_document(one: Stored) -> bool:
    return one.key.endswith(".json")


def _is_masked(one: Stored) -> bool:
    """Whether the bytes differ from run to run, or between compressors."""
    return _is_gzip(one) or _is_parquet(one) or _is_document(one)


def _text(body: bytes) -> str:
    text = body.decode(errors="backslashreplace")
    return text if not text or text.endswith("\n") else text + "\n\\ No line feed at the end\n"


def _tokens(value: Any) -> Iterator[Any]:
    """Yield the names and plain values of a document, in its order."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from _tokens(each)
    elif isinstance(value, list):
        for each in value:
            yield from _tokens(each)
    else:
        yield value


def _parquet(body: bytes) -> Iterator[str]:
    """Yield the columns, the row groups and the rows of a Parquet file."""
    with pq.ParquetFile(io.BytesIO(body)) as file:
        metadata = file.metadata
        yield f"parquet, metadata {metadata.metadata}, with the columns:"
        for field in file.schema_arrow:
            yield f"  {field.name}: {field.type}{'' if field.nullable else ' not null'}"
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            yield f"row group of {group.num_rows}:"
            for column in map(group.column, range(group.num_columns)):
                yield f"  {column.path_in_schema}: {', '.join(_physical(column))}"
        yield "rows:"
        for row in file.read().to_pylist():
            yield json.dumps(row, ensure_ascii=False, default=str)


def _physical(column: Any) -> Iterator[str]:
    yield column.physical_type
    yield column.compression
    if column.has_dictionary_page:
        yield "dictionary"
    if column.is_stats_set:
        yield "statistics"
