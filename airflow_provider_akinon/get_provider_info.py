"""The provider's metadata, which Airflow reads through the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from typing import Any

from airflow_provider_akinon import __version__
from airflow_provider_akinon.connection_form import BEHAVIOUR, FIELDS

_INTEGRATION = "Akinon Commerce"


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-akinon",
        "name": "Akinon Commerce",
        "description": "The audit log of an Akinon Commerce shop in your own S3.",
        "versions": [__version__],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://www.akinon.com/",
                "tags": ["service"],
            }
        ],
        "hooks": _classes_in("airflow_provider_akinon.hooks.akinon"),
        "sensors": _classes_in("airflow_provider_akinon.sensors.audit_events"),
        "operators": _classes_in("airflow_provider_akinon.operators.audit_archive"),
        "triggers": _classes_in("airflow_provider_akinon.triggers.audit_events"),
        "transfers": [
            {
                "source-integration-name": _INTEGRATION,
                "target-integration-name": "Amazon Simple Storage Service (S3)",
                "python-module": "airflow_provider_akinon.transfers.audit_events_to_s3",
            }
        ],
        "connection-types": [
            {
                "connection-type": "akinon",
                "hook-class-name": "airflow_provider_akinon.hooks.akinon.AkinonHook",
                "hook-name": "Akinon Commerce",
                "ui-field-behaviour": BEHAVIOUR,
                "conn-fields": FIELDS,
            }
        ],
    }


def _classes_in(module: str) -> list[dict[str, Any]]:
    """Return the entry that tells Airflow of a module with classes of ours."""
    return [{"integration-name": _INTEGRATION, "python-modules": [module]}]
