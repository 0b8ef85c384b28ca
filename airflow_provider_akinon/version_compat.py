"""Imports, once for all modules, the names of Airflow whose place differs from version to version.

It takes each name from Airflow itself, where that version has it without a warning. The provider
``common-compat`` has most of them too, but only versions that are newer than those that the constraints of
Airflow 2.11 to 3.1 pin. This module refuses to change anything that it hands on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow import __version__

AIRFLOW = tuple(int(part) for part in __version__.split(".")[:2])

if TYPE_CHECKING or AIRFLOW >= (3, 2):
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException
else:
    from airflow.configuration import conf
    from airflow.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException

if TYPE_CHECKING or AIRFLOW >= (3, 1):
    from airflow.sdk import BaseHook
    from airflow.sdk.log import mask_secret
else:
    from airflow.hooks.base import BaseHook

    if AIRFLOW >= (3, 0):
        from airflow.sdk.execution_time.secrets_masker import mask_secret
    else:
        from airflow.utils.log.secrets_masker import mask_secret

if TYPE_CHECKING or AIRFLOW >= (3, 0):
    from airflow.sdk import Asset, AssetAlias, BaseOperator, BaseSensorOperator, Connection, Context, PokeReturnValue
    from airflow.triggers.base import BaseEventTrigger
else:
    from airflow.datasets import Dataset as Asset
    from airflow.datasets import DatasetAlias as AssetAlias
    from airflow.models.baseoperator import BaseOperator
    from airflow.models.connection import Connection
    from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
    from airflow.triggers.base import BaseTrigger as BaseEventTrigger
    from airflow.utils.context import Context

__all__ = [
    "AIRFLOW",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "Asset",
    "AssetAlias",
    "BaseEventTrigger",
    "BaseHook",
    "BaseOperator",
    "BaseSensorOperator",
    "Connection",
    "Context",
    "PokeReturnValue",
    "conf",
    "mask_secret",
]
