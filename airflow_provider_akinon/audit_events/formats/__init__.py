"""Events as bytes, and back: JSON Lines and Parquet."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.formats.jsonl import Block, JsonLines, unpacked_lines
from airflow_provider_akinon.audit_events.formats.parquet import load_pyarrow, read_lines, write_parquet
from airflow_provider_akinon.audit_events.formats.stored import naming_damage, stored_lines
from airflow_provider_akinon.audit_events.formats.uuids import DistinctUuids, added_sums, sum_in_hex, uuids_sum

__all__ = [
    "Block",
    "DistinctUuids",
    "JsonLines",
    "added_sums",
    "load_pyarrow",
    "naming_damage",
    "read_lines",
    "stored_lines",
    "sum_in_hex",
    "unpacked_lines",
    "uuids_sum",
    "write_parquet",
]
