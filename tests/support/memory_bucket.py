"""A bucket of S3 in memory: as much of boto3's client as `Bucket` needs, and what somebody with its keys may do.

`tests/integration/test_memory_bucket.py` holds it to what a real server answers.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import count
from types import SimpleNamespace
from typing import IO, Any, Self

from botocore.exceptions import ClientError
from botocore.hooks import HierarchicalEmitter
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.response import StreamingBody

from airflow_provider_akinon.audit_events.archive import PROBE_NAME

_stores = count()
_CODES = {"412": "PreconditionFailed", "501": "NotImplemented"}
"""By status: botocore takes the status for a code where an answer has no body."""

PAGE = 3
"""Keys in one answer to a listing: few, so that most take several."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object."""

    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "binary/octet-stream"
    version_id: str | None = None

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body).hexdigest()}"'


class MemoryBucket:
    """One bucket, and the client that leads to it.

    ``objects`` is what is there; what changes it directly goes around the client. ``writes`` counts what the client
    stored or tried to, but ``tries`` what the store was tried with. ``around_write`` is called before and after each
    write takes effect.
    """

    def __init__(self, name: str = "audit", *, versioned: bool = False) -> None:
        self.name = name
        self.objects: dict[str, Stored] = {}
        self.versioned = versioned
        self.writes = 0
        self.tries = 0
        self.around_write: Callable[[str, bool], None] = lambda _key, _done: None
        self.condition = "heeded"
        """What becomes of ``If-None-Match``: ``heeded``, ``ignored``, or the status that answers it."""
        self.meta = SimpleNamespace(
            events=HierarchicalEmitter(), service_model=service_model(), endpoint_url=f"memory://{next(_stores)}"
        )
        self._versions = count(1)

    @classmethod
    def holding(cls, files: Mapping[str, bytes]) -> Self:
        """Return a bucket that holds these files."""
        bucket = cls()
        for key, body in files.items():
            bucket.put(key, Stored(body))
        return bucket

    def copy(self, *, versioned: bool, metadata: bool) -> MemoryBucket:
        """Return another bucket, with the same objects at the same keys."""
        other = MemoryBucket(self.name, versioned=versioned)
        for key, each in self.objects.items():
            other.put(key, replace(each, metadata=each.metadata if metadata else {}, version_id=None))
        return other

    def put(self, key: str, stored: Stored) -> str | None:
        """Store an object, whatever is there, and return its version."""
        version = f"v{next(self._versions)}" if self.versioned else None
        self.objects[key] = replace(stored, version_id=version)
        return version

    # What follows is boto3's client.

    def head_bucket(self, *, Bucket: str) -> dict[str, Any]:  # noqa: N803 - boto3's names, here and below
        if Bucket != self.name:
            raise _error("HeadBucket", "404", "Not Found", 404)
        return {}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        return self._told(self._found("HeadObject", "404", Bucket, Key))

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        found = self._found("GetObject", "NoSuchKey", Bucket, Key)
        return {**self._told(found), "Body": StreamingBody(io.BytesIO(found.body), len(found.body))}

    def put_object(
        self,
        *,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: bytes,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
        **arguments: Any,
    ) -> dict[str, Any]:
        headers = {} if IfNoneMatch is None else {"If-None-Match": IfNoneMatch}
        return self._write(Bucket, Key, Body, headers, arguments)

    def upload_fileobj(
        self,
        Fileobj: IO[bytes],  # noqa: N803
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        ExtraArgs: Mapping[str, Any] | None = None,  # noqa: N803
        Config: object = None,  # noqa: ARG002, N803
    ) -> None:
        try:
            self._write(Bucket, Key, Fileobj.read(), {}, ExtraArgs or {})
        finally:
            Fileobj.close()

    def delete_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        assert Bucket == self.name
        self.objects.pop(Key, None)
        return {}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_objects_v2"
        return SimpleNamespace(paginate=self._listed)

    def _listed(self, *, Bucket: str, Prefix: str = "") -> Iterator[dict[str, Any]]:  # noqa: N803
        assert Bucket == self.name
        last = ""
        while True:
            keys = sorted((key for key in self.objects if key.startswith(Prefix) and key > last), key=str.encode)
            contents = [
                {"Key": key, "Size": len(self.objects[key].body), "ETag": self.objects[key].etag}
                for key in keys[:PAGE]
            ]
            yield {"KeyCount": len(contents), **({"Contents": contents} if contents else {})}
            if len(keys) <= PAGE:
                return
            last = keys[PAGE - 1]

    def _found(self, operation: str, code: str, bucket: str, key: str) -> Stored:
        assert bucket == self.name
        found = self.objects.get(key)
        if found is None:
            raise _error(operation, code, "Not Found", 404)
        return found

    def _told(self, found: Stored) -> dict[str, Any]:
        version = {} if found.version_id is None else {"VersionId": found.version_id}
        return {
            "ContentLength": len(found.body),
            "ContentType": found.content_type,
            "ETag": found.etag,
            "Metadata": dict(found.metadata),
            **version,
        }

    def _write(
        self, bucket: str, key: str, body: bytes, headers: dict[str, str], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        assert bucket == self.name
        params = {"headers": headers}
        self.meta.events.emit("before-call.s3.PutObject", params=params, model=None)
        if key.endswith(PROBE_NAME):
            self.tries += 1
        else:
            self.writes += 1
        self.around_write(key, False)
        condition = params["headers"].get("If-None-Match")
        assert condition in (None, "*")
        if condition and self.condition.isdecimal():
            raise _error("PutObject", _CODES.get(self.condition, self.condition), "Unfit", int(self.condition))
        if condition and key in self.objects and self.condition == "heeded":
            raise _error("PutObject", "PreconditionFailed", "At least one of the pre-conditions did not hold", 412)
        metadata = {name.lower(): value for name, value in arguments.get("Metadata", {}).items()}
        stored = Stored(body, metadata, arguments.get("ContentType", "binary/octet-stream"))
        version = self.put(key, stored)
        self.around_write(key, True)
        return {"ETag": stored.etag, **({} if version is None else {"VersionId": version})}


@lru_cache(maxsize=1)
def service_model() -> ServiceModel:
    """Return what botocore knows of S3, which the client gives too."""
    return ServiceModel(Loader().load_service_model("s3", "service-2"), "s3")


def _error(operation: str, code: str, message: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)
