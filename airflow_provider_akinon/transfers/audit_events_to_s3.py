"""Export a window of audit events to one object in S3.

A thin shell: it parses what the author wrote, calls the export, and puts the proved file into S3 with Airflow's
``S3Hook``. It refuses to write anything before the window is proved complete, and to replace evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.sdk import BaseOperator
from boto3.s3.transfer import S3Transfer

from airflow_provider_akinon.audit_events.archive import (
    Place,
    StoredExport,
    default_prefix,
    metadata_of,
    require_superset,
)
from airflow_provider_akinon.audit_events.encoding import CONTENT_TYPE
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.export import Export, export_window, source_of
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.window import Window, parse_timezone
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.task_run import WindowRequest, failing_for_good, refuse_future


class AuditEventsToS3Operator(BaseOperator):
    """Exports the audit events of a window to one gzip JSON Lines object in S3, proved complete.

    The same window gives the same key. A rerun that finds the same content writes nothing; one that finds fewer
    events than are stored fails. A window without events writes an empty object.

    :param start: the window's start, as an aware datetime or ISO 8601 text with an offset (templated). Without
        ``start`` and ``end``, the window is the run's data interval, or its partition.
    :param end: the window's end, not part of it, as ``start``; not in the future (templated).
    :param filters: any of ``user``, ``content_type`` and ``object_id``, as integers (templated).
    :param s3_bucket: the bucket (templated).
    :param s3_key: the object's whole key, or an ``s3://bucket/key`` URL without ``s3_bucket`` (templated).
    :param s3_prefix: instead of ``s3_key``: the key is ``<s3_prefix>/date=YYYY-MM-DD/<start>_<end>….jsonl.gz``
        (templated). By default it names the host and the remote id.
    :param partition_period: how long a partition is, where the run is for a partition and has no data interval.
    :param partition_timezone: the IANA time zone of the key's date and of a partition's days.
    :param akinon_conn_id: the Akinon connection.
    :param aws_conn_id: the AWS connection, as ``S3Hook`` takes it.
    :param extra_args: further arguments of the upload, as ``S3Hook`` takes them, such as ``ServerSideEncryption``.
    :param allow_shrink: replace a stored object also where the API no longer returns all of its events.
    :returns: ``bucket``, ``key``, ``count`` (events), ``bytes`` and ``sha256`` (of the stored object),
        ``content_sha256`` (of the uncompressed lines) and ``window`` (``start`` and ``end``, ISO 8601 in UTC).
    :raises AirflowFailException: the parameters are wrong, the API refuses, or stored evidence would be lost;
        trying again does not help.
    :raises AkinonError: the API did not answer, or the window could not be proved complete; Airflow may retry.
    """

    template_fields = ("start", "end", "filters", "s3_bucket", "s3_key", "s3_prefix")
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        start: object = None,
        end: object = None,
        filters: Mapping[str, Any] | None = None,
        s3_bucket: str | None = None,
        s3_key: str | None = None,
        s3_prefix: str | None = None,
        partition_period: timedelta | None = None,
        partition_timezone: str = "UTC",
        akinon_conn_id: str = AkinonHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        extra_args: dict[str, Any] | None = None,
        allow_shrink: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.end = end
        self.filters = filters
        self.s3_bucket = s3_bucket
        self.s3_key = s3_key
        self.s3_prefix = s3_prefix
        self.partition_period = partition_period
        self.partition_timezone = partition_timezone
        self.akinon_conn_id = akinon_conn_id
        self.aws_conn_id = aws_conn_id
        self.extra_args = extra_args
        self.allow_shrink = allow_shrink

    def execute(self, context: Any) -> dict[str, Any]:
        """Export the window and return what is stored now; see the class."""
        with failing_for_good():
            request = WindowRequest(self.start, self.end, self.partition_period, self.partition_timezone)
            window = request.resolve(context)
            refuse_future(window)
            filters = Filters.parse(self.filters)
            api = AkinonHook(self.akinon_conn_id).get_conn()
            place = self._place(window, filters, source_of(api.settings))
            # Before a long read: a wrong bucket or missing permission shows at once.
            self._require_bucket(place)
            self.log.info("Reading the audit events of %s from %s", window, source_of(api.settings))
            with api, export_window(api, window, filters) as export:
                self.log.info("Read %d events, proved complete", export.count)
                return self._store(place, export)

    def _place(self, window: Window, filters: Filters, source: str) -> Place:
        if self.s3_key is not None:
            if self.s3_prefix is not None:
                raise InvalidInput(f"s3_key={self.s3_key!r} and s3_prefix={self.s3_prefix!r} exclude each other")
            return Place.of_key(self.s3_bucket, self.s3_key)
        prefix = default_prefix(source) if self.s3_prefix is None else self.s3_prefix
        timezone = parse_timezone("partition_timezone", self.partition_timezone)
        return Place.of_window(self.s3_bucket, prefix, window, filters, timezone)

    def _upload_args(self, export: Export) -> dict[str, Any]:
        given = self.extra_args or {}
        return {
            **given,
            "ContentType": CONTENT_TYPE,
            "Metadata": {**given.get("Metadata", {}), **metadata_of(export)},
        }

    def _require_bucket(self, place: Place) -> None:
        for name in self.extra_args or {}:
            if name not in S3Transfer.ALLOWED_UPLOAD_ARGS:
                raise InvalidInput(f"extra_args has the unknown name {name!r}; see boto3's ALLOWED_UPLOAD_ARGS")
            if name in ("ContentType", "ContentEncoding"):
                raise InvalidInput(f"extra_args has {name!r}, which is the operator's to set; leave it out")
        if not S3Hook(self.aws_conn_id).check_for_bucket(place.bucket):
            raise InvalidInput(f"s3_bucket={place.bucket!r} does not exist, or its listing is not allowed")

    def _store(self, place: Place, export: Export) -> dict[str, Any]:
        s3 = S3Hook(self.aws_conn_id, extra_args=self._upload_args(export))
        head = s3.head_object(place.key, place.bucket)
        if head is not None:
            stored = StoredExport.read(place, head["ContentLength"], head["Metadata"], export)
            if stored.content_sha256 == export.content_sha256:
                self.log.info("%s holds the same %d events already; nothing written", place, stored.count)
                return _result(place, export.window, stored.count, stored.size, stored.sha256, stored.content_sha256)
            if stored.uuids_sha256 != export.uuids_sha256 and not self.allow_shrink:
                body = s3.get_conn().get_object(Bucket=place.bucket, Key=place.key)["Body"]
                require_superset(stored, body, export)
            self.log.info("Replacing %s: %d events stored, %d read", place, stored.count, export.count)
        export.file.seek(0)
        s3.load_file_obj(export.file, place.key, place.bucket, replace=True)
        self.log.info("Wrote %d events to %s: %d bytes, SHA-256 %s", export.count, place, export.size, export.sha256)
        return _result(place, export.window, export.count, export.size, export.sha256, export.content_sha256)


def _result(place: Place, window: Window, count: int, size: int, sha256: str, content_sha256: str) -> dict[str, Any]:
    return {
        "bucket": place.bucket,
        "key": place.key,
        "count": count,
        "bytes": size,
        "sha256": sha256,
        "content_sha256": content_sha256,
        "window": window.as_dict(),
    }
