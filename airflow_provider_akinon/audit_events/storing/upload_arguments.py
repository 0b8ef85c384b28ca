"""The arguments of an upload as an author gives them (``extra_args``), checked before anything is read.

S3 and botocore look at them only when the upload begins, which is after a long read. botocore's own description of S3
tells which names there are, and of what type each is. This module refuses what no upload takes, and what is the
operator's to set; it warns of a storage class that botocore does not know, as S3 may have a new one. It sends
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

import botocore.session
from botocore.model import Shape, StringShape

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.foreign_text import shown
from airflow_provider_akinon.audit_events.model import kind_of, parse_instant

MOST_METADATA = 1024
"""Bytes of an author's names and values: S3 takes 2,048, and the archive adds its own."""

_OPERATORS = re.compile(r"Content(Type|Encoding)|If\w+|MpuObjectSize|Checksum(?!Algorithm|Type)\w+")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TEXT = re.compile(r"[ -~]*")
_TAGS = re.compile(r"[^=&]+=[^=&]*(?:&[^=&]+=[^=&]*)*")


def parse_upload_arguments(given: object, allowed: Iterable[str], warn: Callable[[str], object]) -> dict[str, Any]:
    """Return checked arguments of uploads, as boto3 takes them.

    :param given: names and values; None for none.
    :param allowed: the names that boto3's uploads take.
    :param warn: is called with a text for what may be wrong.
    :raises InvalidInput: one is unknown, of another type, or not the user's to set. Names all of them.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidInput(
            f"extra_args is {kind_of(given)}; give names and values, like {{'StorageClass': 'STANDARD_IA'}}"
        )
    arguments: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in given.items():
        try:
            arguments[name] = _argument(name, value, set(allowed), warn)
        except InvalidInput as error:
            problems.append(str(error))
    problems += _missing(arguments)
    if problems:
        raise InvalidInput("; ".join(problems))
    return arguments


@cache
def _members() -> Mapping[str, Shape]:
    """Return botocore's shapes of the arguments, by name."""
    model = botocore.session.get_session().get_service_model("s3")
    shapes: dict[str, Shape] = {}
    for operation in ("CreateMultipartUpload", "PutObject"):
        shapes |= model.operation_model(operation).input_shape.members
    return shapes


def _argument(name: object, value: object, allowed: set[str], warn: Callable[[str], object]) -> object:
    if name not in allowed or (shape := _members().get(str(name))) is None:
        raise InvalidInput(f"extra_args has the unknown name {name!r}; see boto3's ALLOWED_UPLOAD_ARGS")
    here = f"extra_args[{name!r}]"
    if _OPERATORS.fullmatch(str(name)):
        raise InvalidInput(f"extra_args has {name!r}, which is the operator's to set; leave it out")
    if str(name).startswith("SSECustomer"):
        raise InvalidInput(
            f"extra_args has {name!r}: an object that only your own key opens cannot be verified. Use "
            "ServerSideEncryption='aws:kms'"
        )
    if shape.type_name == "timestamp":
        return parse_instant(f"{name} in extra_args", value)
    if shape.type_name == "map":
        return _metadata(here, value)
    if shape.type_name == "boolean":
        if not isinstance(value, bool):
            raise InvalidInput(f"{here} is {kind_of(value)}; give True or False")
        return value
    if name == "Tagging" and (not isinstance(value, str) or not _TAGS.fullmatch(value)):
        raise InvalidInput(f"{here} is {kind_of(value)} that names no tags; give text like 'team=security&keep=7y'")
    _require_header_text(here, value)
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        problem = f"{here}={shown(str(value))!r} is none that botocore knows: {', '.join(shape.enum)}"
        if name != "StorageClass":
            raise InvalidInput(problem)
        warn(problem)
    return value


def _metadata(here: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{here} is {kind_of(value)}; give names and texts, like {{'team': 'security'}}")
    for name, text in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidInput(f"{here} has the name {name!r}; S3 takes ASCII letters, digits and hyphens")
        _require_header_text(f"{here}[{name!r}]", text)
    size = sum(len(name) + len(text) for name, text in value.items())
    if size > MOST_METADATA:
        raise InvalidInput(f"{here} has {size} bytes of names and values, and may have {MOST_METADATA}; shorten it")
    return dict(value)


def _require_header_text(here: str, value: object) -> None:
    if not isinstance(value, str):
        hint = ", in quotes" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise InvalidInput(f"{here} is {kind_of(value)}; give text{hint}")
    if not value.strip():
        raise InvalidInput(f"{here} is empty; give text, or leave it out")
    if not _TEXT.fullmatch(value):
        raise InvalidInput(f"{here}={shown(value)!r} has a character that no header holds; give printable ASCII only")


def _missing(arguments: Mapping[str, Any]) -> Iterable[str]:
    """Yield the problems of arguments that S3 takes only together with others."""
    mode, until = "ObjectLockMode", "ObjectLockRetainUntilDate"
    if (mode in arguments) != (until in arguments):
        there, other = (mode, until) if mode in arguments else (until, mode)
        yield f"extra_args has {there!r} without {other!r}; S3 wants both, or neither"
