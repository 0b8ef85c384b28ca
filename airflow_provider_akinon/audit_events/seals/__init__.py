"""Seals over receipts: keys, documents, chains, and the series of windows that they hold."""

from __future__ import annotations

from airflow_provider_akinon.audit_events.seals.chain import (
    MOST_OF_A_SEAL,
    SealChain,
    StoredSeal,
    Vouchers,
    read_chains,
)
from airflow_provider_akinon.audit_events.seals.document import (
    SEAL_SCHEMA,
    ChainName,
    ListedChain,
    Seal,
    SealedReceipt,
    parse_seal,
    seal_schema,
)
from airflow_provider_akinon.audit_events.seals.keys import PrivateKey, PublicKey
from airflow_provider_akinon.audit_events.seals.series import Entry, SealedTime, series_of

__all__ = [
    "MOST_OF_A_SEAL",
    "SEAL_SCHEMA",
    "ChainName",
    "Entry",
    "ListedChain",
    "PrivateKey",
    "PublicKey",
    "Seal",
    "SealChain",
    "SealedReceipt",
    "SealedTime",
    "StoredSeal",
    "Vouchers",
    "parse_seal",
    "read_chains",
    "seal_schema",
    "series_of",
]
