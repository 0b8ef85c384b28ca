"""The formats of stored events, each by the extension of its keys. This module writes none of them."""

from __future__ import annotations

from enum import StrEnum

from airflow_provider_akinon.audit_events.errors import InvalidInput


class Format(StrEnum):
    """A format of stored events; its value is the extension of their keys."""

    JSONL_GZ = "jsonl.gz"
    JSONL = "jsonl"
    PARQUET = "parquet"

    @classmethod
    def parse(cls, value: object) -> Format:
        """Return the format called ``value``.

        :raises InvalidInput: there is no such format.
        """
        for each in cls:
            if each == value:
                return each
        names = ", ".join(repr(each.value) for each in cls)
        raise InvalidInput(f"file_format={value!r} is not known; use one of {names}")

    @property
    def content_type(self) -> str:
        """The media type. No Content-Encoding goes with it: clients would uncompress on the way."""
        return _CONTENT_TYPES[self]


_CONTENT_TYPES = {
    Format.JSONL_GZ: "application/gzip",
    Format.JSONL: "application/x-ndjson",
    Format.PARQUET: "application/vnd.apache.parquet",
}
