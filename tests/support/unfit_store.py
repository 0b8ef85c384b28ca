"""Stand-ins for stores that do not honour ``If-None-Match: *``, each in its own way, before a real SeaweedFS."""

from __future__ import annotations

from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.exceptions import ClientError

from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.creation_only import CreationOnly

NOT_IMPLEMENTED = (
    b"<?xml version='1.0'?><Error><Code>NotImplemented</Code>"
    b"<Message>A header you provided implies functionality that is not implemented</Message></Error>"
)
KINDS = ("501", "304", "ignores", "ignores in parts")


class UnfitStore(CreationOnly):
    """Passes requests on to ``s3``; of those with the header, ``kind`` says what becomes.

    ``501``: refused. ``304``: answered so, and not written, where an object is. ``ignores``: what is there is removed
    first, as one that is overwritten is; ``ignores in parts``: only where parts are put together.
    """

    def __init__(self, s3: LocalS3, kind: str) -> None:
        assert kind in KINDS
        super().__init__(s3.url, {"Statement": []})
        self._client = s3.client()
        self._kind = kind

    def _refusal(
        self, handler: BaseHTTPRequestHandler, _action: str, context: Mapping[str, str | None]
    ) -> tuple[int, bytes] | None:
        if context["s3:if-none-match"] is None:
            return None
        if self._kind == "501":
            return 501, NOT_IMPLEMENTED
        bucket, _, key = unquote(urlsplit(handler.path).path).lstrip("/").partition("/")
        there: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if self._kind == "304":
            return (304, b"") if self._holds(there) else None
        if self._kind == "ignores" or handler.command == "POST":
            self._client.delete_object(**there)
        return None

    def _holds(self, there: dict[str, Any]) -> bool:
        try:
            self._client.head_object(**there)
        except ClientError:
            return False
        return True
