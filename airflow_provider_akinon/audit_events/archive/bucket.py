"""A bucket of S3, as the archive needs it, over boto3's client.

The caller gives the client: from Airflow's ``S3Hook``, or from boto3 alone. Errors of S3 pass as they are, except a
few, in whose place errors tell the user what to change. This module replaces and deletes nothing: it only creates. A
store that honours ``If-None-Match: *`` itself refuses what would replace an object; for any other, `Bucket` looks
first, which two tasks can do at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ParamValidationError

from airflow_provider_akinon.audit_events.errors import (
    ArchiveError,
    InvalidInput,
    ObjectChanged,
    ObjectLocked,
    ObjectUnreadable,
    UnconditionalWrites,
)

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig

LEAST_IN_PARTS = 8 << 20
"""Bytes from which on boto3 uploads in parts."""

_READ_SIZE = 1 << 20
"""Bytes of an object that are read at a time."""
_PART = 5 << 20
"""Bytes of a part of a large upload: the least that S3 takes. boto3 takes larger ones where needed."""
_CONNECTIONS = 2
_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412")
_REFUSED = ("AccessDenied", "InvalidRequest", "MethodNotAllowed", "ObjectLocked")
_NOT_HONOURED = ("NotImplemented", "501", "NotModified", "304")
_LANDING = ("before-call.s3.PutObject", "before-call.s3.CompleteMultipartUpload")
"""The requests that make an upload visible."""


@dataclass(frozen=True, slots=True)
class ObjectHead:
    """The facts that S3 gives of an object without its bytes."""

    size: int
    metadata: Mapping[str, str]
    version_id: str | None


class _Lent:
    """A file that stays open: boto3 closes what it uploads, and the file is needed again if the key is taken."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell

    def close(self) -> None:
        """Leave it to its owner."""


class Bucket:
    """One bucket, with a client of S3.

    :param conditional: whether the store is to refuse, by ``If-None-Match: *``, what would replace an object. Without
        it, the bucket looks whether an object is there before it writes one.
    """

    def __init__(self, client: Any, name: str, *, conditional: bool = True) -> None:
        self.name = name
        self.conditional = conditional
        self._client = client

    @property
    def identity(self) -> tuple[str | None, str]:
        """The store's URL and the bucket's name, which together no other bucket has."""
        return self._client.meta.endpoint_url, self.name

    def require(self) -> None:
        """Make sure that the bucket is there.

        :raises InvalidInput: it does not exist, or may not be looked at.
        """
        try:
            self._client.head_bucket(Bucket=self.name)
        except ParamValidationError:
            raise InvalidInput(f"s3_bucket={self.name!r} is not a name that a bucket can have") from None
        except ClientError as error:
            if _code(error) not in (*_MISSING, "403", "AccessDenied"):
                raise
            raise InvalidInput(f"s3_bucket={self.name!r} does not exist, or its listing is not allowed") from error

    def head(self, key: str) -> ObjectHead | None:
        """Return what S3 says of an object, None where there is none."""
        try:
            answer = self._client.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            if _code(error) in _MISSING:
                return None
            raise
        # "null" is the version of what was there before the bucket kept versions.
        version = answer.get("VersionId")
        return ObjectHead(
            size=answer["ContentLength"],
            metadata=answer["Metadata"],
            version_id=None if version == "null" else version,
        )

    def open(self, key: str) -> IO[bytes]:
        """Return an object's bytes as a stream, None of them read yet.

        :raises ObjectUnreadable: its storage class does not give them at once, or this object may not be read.
        :raises ObjectChanged: it is not there.
        """
        try:
            body: IO[bytes] = self._client.get_object(Bucket=self.name, Key=key)["Body"]
        except ClientError as error:
            if _code(error) == "InvalidObjectState":
                message = f"s3://{self.name}/{key} is archived ({error}); restore it to read it"
                raise ObjectUnreadable(message) from error
            if _code(error) == "AccessDenied" or str(_code(error)).startswith("KMS."):
                message = f"s3://{self.name}/{key} may not be read ({error}); allow s3:GetObject and its KMS key"
                raise ObjectUnreadable(message) from error
            if _code(error) in _MISSING:
                raise ObjectChanged(f"s3://{self.name}/{key} was deleted while it was looked at") from error
            raise
        return body

    def read(self, key: str, most: int) -> bytes:
        """Return a small object's bytes, of which there may be at most ``most``.

        :raises ArchiveError: it has more bytes; the others are not read.
        :raises ObjectUnreadable: see `open`.
        :raises ObjectChanged: likewise.
        """
        with closing(self.open(key)) as body:
            found = body.read(most + 1)
        if len(found) > most:
            raise ArchiveError(f"s3://{self.name}/{key} is none of ours: it has more than {most} bytes")
        return found

    def hash(self, key: str, copy: IO[bytes] | None = None) -> str:
        """Return the SHA-256 of an object's bytes, in hex, and leave them in ``copy`` where one is given.

        :raises ObjectUnreadable: see `open`.
        :raises ObjectChanged: likewise.
        """
        found = hashlib.sha256()
        with closing(self.open(key)) as body:
            while piece := body.read(_READ_SIZE):
                found.update(piece)
                if copy is not None:
                    copy.write(piece)
        return found.hexdigest()

    def entries(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Yield the keys that begin with ``prefix``, in order, each with the size of its object in bytes."""
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
            for entry in page.get("Contents", ()):
                yield entry["Key"], entry["Size"]

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that begin with ``prefix``, in order."""
        for key, _ in self.entries(prefix):
            yield key

    def upload(self, key: str, file: IO[bytes], arguments: Mapping[str, Any], *, in_parts: bool = True) -> None:
        """Store ``file``, from its start on, as a new object, with boto3's upload arguments.

        The file stays open.

        :param in_parts: whether a large one may be uploaded in parts; in one request, S3 takes 5 GB.

        :raises ObjectChanged: an object is there by now.
        :raises ObjectLocked: S3 refuses the lock that is asked for.
        :raises UnconditionalWrites: the store does not know ``If-None-Match: *``.
        """
        file.seek(0)
        self._look_first(key)
        if not in_parts:
            self._put(key, file, arguments)
            return
        try:
            with self._creating():
                self._client.upload_fileobj(
                    _Lent(file), self.name, key, ExtraArgs=dict(arguments), Config=_in_little_memory()
                )
        except ClientError as error:
            self._explain(key, error, arguments)
            raise

    @contextmanager
    def _creating(self) -> Iterator[None]:
        """Let S3 refuse uploads where an object is already."""
        if not self.conditional:
            yield
            return

        def add(params: dict[str, Any], **_: object) -> None:
            params["headers"]["If-None-Match"] = "*"

        # boto3's uploads do not take this as an argument.
        for operation in _LANDING:
            self._client.meta.events.register(operation, add)
        try:
            yield
        finally:
            for operation in _LANDING:
                self._client.meta.events.unregister(operation, add)

    def create(self, key: str, body: bytes, arguments: Mapping[str, Any]) -> None:
        """Store a small object where none is, with boto3's upload arguments, as far as they are for small objects.

        An identical object that is there already counts as a success.

        :raises ObjectChanged: another object is there.
        :raises ObjectLocked: see `upload`.
        :raises UnconditionalWrites: likewise.
        """
        try:
            self._look_first(key)
            self._put(key, body, arguments)
        except ObjectChanged:
            if not self._is(key, body):
                raise
        if not self.conditional and not self._is(key, body):
            raise _changed(f"s3://{self.name}/{key}")

    def require_conditional_writes(self, key: str, body: bytes, arguments: Mapping[str, Any]) -> None:
        """Make sure that the store creates an object only where none is, by creating one twice.

        Where the object is there already, one request is enough. Nothing but this object is written.

        :param arguments: as `create` takes them.
        :raises UnconditionalWrites: the store does not know ``If-None-Match: *``, or does not heed it.
        :raises ObjectLocked: see `upload`.
        """
        for _ in range(2):
            try:
                self._put(key, body, arguments)
            except ObjectChanged as error:
                if self.head(key) is None:
                    raise self._unconditional("refuses to create an object where none is") from error
                return
        raise self._unconditional("creates an object where one is already")

    def heeds_condition_in_parts(self, key: str, body: bytes, arguments: Mapping[str, Any]) -> bool:
        """Tell whether the store also refuses to put together the parts of an upload where an object is.

        :param key: the key of an object that is there, and whose bytes are ``body``.
        :param arguments: as `create` takes them.
        """
        upload = {"Bucket": self.name, "Key": key}
        begun = self._client.create_multipart_upload(**upload, **self._known("CreateMultipartUpload", arguments))
        upload["UploadId"] = begun["UploadId"]
        try:
            part = self._client.upload_part(**upload, PartNumber=1, Body=body)
            parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            with self._creating():
                self._client.complete_multipart_upload(**upload, MultipartUpload=parts)
        except ClientError as error:
            # Where this is not allowed, the part stays until a lifecycle rule removes it.
            with suppress(ClientError):
                self._client.abort_multipart_upload(**upload)
            if _code(error) in _CHANGED:
                return True
            if _is_of_condition(error):
                return False
            raise
        return False

    def _look_first(self, key: str) -> None:
        """Make sure that no object is at a key, where the store itself does not.

        :raises ObjectChanged: one is there.
        """
        if not self.conditional and self.head(key) is not None:
            raise _changed(f"s3://{self.name}/{key}")

    def _known(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of boto3's upload arguments that an operation takes."""
        taken = self._client.meta.service_model.operation_model(operation).input_shape.members
        return {name: value for name, value in arguments.items() if name in taken}

    def _put(self, key: str, body: bytes | IO[bytes], arguments: Mapping[str, Any]) -> None:
        known = self._known("PutObject", arguments)
        if self.conditional:
            known["IfNoneMatch"] = "*"
        try:
            self._client.put_object(Bucket=self.name, Key=key, Body=body, **known)
        except ClientError as error:
            self._explain(key, error, arguments)
            raise

    def _is(self, key: str, body: bytes) -> bool:
        with closing(self.open(key)) as stored:
            return stored.read(len(body) + 1) == body

    def _explain(self, key: str, error: ClientError, arguments: Mapping[str, Any]) -> None:
        here = f"s3://{self.name}/{key}"
        if _code(error) in _CHANGED:
            raise _changed(here) from error
        if self.conditional and _is_of_condition(error):
            raise self._unconditional(f"answers {error}") from error
        if _code(error) in _REFUSED and any(name.startswith("ObjectLock") for name in arguments):
            raise ObjectLocked(
                f"S3 refused {here} with {', '.join(n for n in arguments if n.startswith('ObjectLock'))} in "
                f"extra_args ({error}). Object Lock must be switched on for the bucket, the date must lie in the "
                "future, and the key may need s3:PutObjectRetention or s3:PutObjectLegalHold"
            ) from error

    def _unconditional(self, found: str) -> UnconditionalWrites:
        return UnconditionalWrites(
            f"The store of s3://{self.name} does not honour 'If-None-Match: *': it {found}. So of two tasks at once, "
            "one could replace what the other stored. Use a store that honours it; or see to it that never two tasks "
            "write the same window, and set conditional_writes=False"
        )


def _changed(here: str) -> ObjectChanged:
    return ObjectChanged(
        f"{here} was written by somebody else meanwhile, perhaps by another task. Nothing was replaced. Try again "
        "when it has ended"
    )


def _is_of_condition(error: ClientError) -> bool:
    """Tell whether a store does not know the header ``If-None-Match``."""
    return _code(error) in _NOT_HONOURED or "if-none-match" in str(error).lower()


def _in_little_memory() -> TransferConfig:
    """Return boto3's settings for an upload that holds few of its parts in memory: by default there are eleven."""
    from boto3.s3.transfer import TransferConfig  # it is there where there is a client

    config = TransferConfig(multipart_chunksize=_PART, max_concurrency=_CONNECTIONS)
    config.max_in_memory_upload_chunks = 1  # parts that wait, beside those that are sent
    return config


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code"))
