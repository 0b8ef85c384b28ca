"""Serves the operators that touch the archive in S3: gets the bucket, the arguments of uploads, and secret keys.

The secret keys come from the passwords of connections, and are masked in logs from then on.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from boto3.s3.transfer import S3Transfer

from airflow_provider_akinon.audit_events.archive import Bucket
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.model import require_text
from airflow_provider_akinon.audit_events.seals import PrivateKey
from airflow_provider_akinon.audit_events.storing import parse_upload_arguments
from airflow_provider_akinon.connections import get_connection
from airflow_provider_akinon.version_compat import mask_secret

_log = logging.getLogger(__name__)


def open_bucket(name: str | None, aws_conn_id: str | None, *, conditional: bool = True) -> Bucket:
    """Return the bucket after looking at it once: a wrong name or a missing permission shows before any work.

    :param conditional: as `Bucket` takes it.
    :raises InvalidInput: the name is missing, or there is no such bucket.
    """
    s3 = S3Hook(checked_aws_conn_id(aws_conn_id))
    name = bucket_name(name, s3)
    bucket = Bucket(s3.get_conn(), name, conditional=conditional)
    bucket.require()
    return bucket


def checked_aws_conn_id(conn_id: object) -> str | None:
    """Return the id of an AWS connection, None for the environment's own credentials.

    :raises InvalidInput: it is no text, or empty.
    """
    return None if conn_id is None else require_text("aws_conn_id", conn_id)


def bucket_name(given: object, s3: S3Hook) -> str:
    """Return the bucket's name: the one that is given, else the default one of the AWS connection.

    :raises InvalidInput: there is neither, or the one that counts is no text.
    """
    if given is not None:
        return require_text("s3_bucket", given)
    field = "service_config.s3.bucket_name in the extra of the AWS connection"
    default = s3.service_config.get("bucket_name")
    if not default:
        raise InvalidInput(f"s3_bucket is missing; give the bucket of the archive, here or as {field}")
    if not isinstance(default, str):
        raise InvalidInput(f'{field} is not text; write it like "audit-archive"')
    return default


def redaction_key(conn_id: str | None) -> bytes | None:
    """Return the key of pseudonyms: the password of a connection, None without one.

    :raises InvalidInput: the connection has no password.
    """
    return None if conn_id is None else _password("redact_key_conn_id", conn_id, "the key of 'hmac'").encode()


def sealing_key(conn_id: str | None) -> PrivateKey | None:
    """Return the key that signs seals: the Ed25519 private key in the password of a connection; None without one.

    :raises InvalidInput: the connection has no password, or it is no such key.
    """
    if conn_id is None:
        return None
    password = _password("seal_key_conn_id", conn_id, "the private key that signs")
    return PrivateKey.parse(f"The password of seal_key_conn_id={conn_id!r}", password)


def _password(field: str, conn_id: str, purpose: str) -> str:
    password = get_connection(field, conn_id).password
    if not password:
        raise InvalidInput(f"{field}={conn_id!r} has no password, which is {purpose}")
    mask_secret(password)
    return str(password)


def warns_of_changes(on_source_change: object) -> bool:
    """Tell whether changes at the source only log a warning, rather than fail the task.

    :raises InvalidInput: it is neither.
    """
    if on_source_change not in ("fail", "warn"):
        raise InvalidInput(f"on_source_change={on_source_change!r} is not known; give 'fail' or 'warn'")
    return on_source_change == "warn"


def upload_arguments(extra_args: object) -> dict[str, Any]:
    """Return checked arguments of uploads, as boto3 takes them; the log warns of what may be wrong.

    :raises InvalidInput: one is unknown, of another type, or not the user's to set.
    """
    return parse_upload_arguments(extra_args, S3Transfer.ALLOWED_UPLOAD_ARGS, _log.warning)
