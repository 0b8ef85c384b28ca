"""Export a window of audit events to one object in S3, with a receipt beside it.

A thin shell: it parses what the author wrote, calls the export, and hands the proved file to the archive, with a
client of Airflow's ``S3Hook``. It refuses to write anything before the window is proved complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector
from airflow.providers.common.compat.sdk import Asset, AssetAlias, BaseOperator

from airflow_provider_akinon.archive_access import redaction_key, upload_arguments
from airflow_provider_akinon.audit_events.archive import Archived, archive
from airflow_provider_akinon.audit_events.bucket import Bucket
from airflow_provider_akinon.audit_events.encoding import Format
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.export import export_window, source_of
from airflow_provider_akinon.audit_events.filters import Filters
from airflow_provider_akinon.audit_events.place import Place, default_prefix
from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.audit_events.window import Window, parse_timezone
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.task_run import WindowRequest, failing_for_good, refuse_future, run_of


class AuditEventsToS3Operator(BaseOperator):
    """Exports the audit events of a window to one object in S3, proved complete, with a receipt beside it.

    The same window gives the same key. A rerun that finds the same content writes nothing; one that finds fewer
    events than are stored fails. A window without events writes an empty object, and a receipt that proves it.
    Outlet assets get what is returned as their event's extra.

    :param start: the window's start, as an aware datetime or ISO 8601 text with an offset (templated). Without
        ``start`` and ``end``, the window is the run's data interval, or its partition.
    :param end: the window's end, not part of it, as ``start``; not in the future (templated).
    :param filters: any of ``user``, ``content_type`` and ``object_id``, as integers (templated).
    :param s3_bucket: the bucket (templated).
    :param s3_key: the object's whole key, or an ``s3://bucket/key`` URL without ``s3_bucket`` (templated).
    :param s3_prefix: instead of ``s3_key``: the key is ``<s3_prefix>/date=YYYY-MM-DD/<start>_<end>….<format>``
        (templated). By default it names the host and the remote id.
    :param format: ``jsonl.gz``, ``jsonl``, or ``parquet`` (which needs the extra ``[parquet]``).
    :param redact: ``"credentials"``, which removes passwords, cookies, tokens and card data; or a dict of further
        paths, such as ``{"user.email": "mask"}``, with ``drop``, ``mask`` or ``hmac``; None stores records verbatim.
    :param redact_conn_id: the connection whose password is the key of ``hmac``.
    :param partition_period: how long a partition is, where the run is for a partition and has no data interval.
    :param partition_timezone: the IANA time zone of the key's date and of a partition's days.
    :param akinon_conn_id: the Akinon connection.
    :param aws_conn_id: the AWS connection, as ``S3Hook`` takes it.
    :param extra_args: further arguments of the upload, as boto3 takes them, such as ``ServerSideEncryption``,
        ``ObjectLockMode`` with ``ObjectLockRetainUntilDate``, ``StorageClass``, ``Tagging`` or ``Metadata``
        (templated).
    :param allow_shrink: replace a stored object also where the API no longer returns all of its events.
    :returns: ``bucket``, ``key``, ``count`` (events), ``bytes`` and ``sha256`` (of the stored object),
        ``content_sha256`` (of the uncompressed lines), ``window`` (``start`` and ``end``, ISO 8601 in UTC),
        ``receipt`` (its key) and ``receipt_sha256``.
    :raises AirflowFailException: the parameters are wrong, the API refuses, or stored evidence would be lost;
        trying again does not help.
    :raises AkinonError: the API did not answer, or the window could not be proved complete; Airflow may retry.
    """

    template_fields = ("start", "end", "filters", "s3_bucket", "s3_key", "s3_prefix", "extra_args")
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
        format: str = Format.JSONL_GZ.value,  # noqa: A002 - the field's own word
        redact: str | Mapping[str, str] | None = "credentials",
        redact_conn_id: str | None = None,
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
        self.format = format
        self.redact = redact
        self.redact_conn_id = redact_conn_id
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
            format_ = Format.parse(self.format)
            redaction = Redaction.parse(self.redact, key=redaction_key(self.redact_conn_id))
            api = AkinonHook(self.akinon_conn_id).get_conn()
            source = source_of(api.settings)
            place = self._place(window, filters, source, format_)
            arguments = upload_arguments(self.extra_args)
            s3 = S3Hook(self.aws_conn_id)
            bucket = Bucket(s3.get_conn(), place.bucket)
            # Before a long read: a wrong bucket or missing permission shows at once.
            bucket.require()
            self.log.info("Reading the audit events of %s from %s", window, source)
            with api, export_window(api, window, filters, redaction, format_) as export:
                self.log.info("Read %d events, proved complete", export.count)
                archived = archive(export, bucket, place, arguments, run_of(context), allow_shrink=self.allow_shrink)
        stored = archived.receipt.object
        self.log.info(
            "%s %s: %d events, %d bytes, SHA-256 %s, receipt %s",
            "Wrote" if archived.written else "Nothing new for",
            place,
            archived.receipt.counts.lines,
            stored.size,
            stored.sha256,
            archived.receipt_sha256,
        )
        result = _result(archived)
        get_hook_lineage_collector().add_output_asset(  # type: ignore[no-untyped-call]
            context=s3, scheme="s3", asset_kwargs={"bucket": place.bucket, "key": place.key}
        )
        self._tell_outlets(context, place, result)
        return result

    def _place(self, window: Window, filters: Filters, source: str, format_: Format) -> Place:
        if self.s3_key is not None:
            if self.s3_prefix is not None:
                raise InvalidInput(f"s3_key={self.s3_key!r} and s3_prefix={self.s3_prefix!r} exclude each other")
            return Place.of_key(self.s3_bucket, self.s3_key)
        prefix = default_prefix(source) if self.s3_prefix is None else self.s3_prefix
        timezone = parse_timezone("partition_timezone", self.partition_timezone)
        return Place.of_window(self.s3_bucket, prefix, window, filters, timezone, format_)

    def _tell_outlets(self, context: Any, place: Place, result: dict[str, Any]) -> None:
        """Give the events of the declared outlets what is stored now."""
        # Without a dict in it: Airflow 2 hashes the extra of an alias.
        extra = {**result, "window": "/".join(result["window"].values())}
        for outlet in self.outlets:
            if isinstance(outlet, AssetAlias):
                context["outlet_events"][outlet].add(Asset(str(place)), extra=extra)
            elif isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(extra)


def _result(archived: Archived) -> dict[str, Any]:
    receipt = archived.receipt
    return {
        "bucket": archived.place.bucket,
        "key": archived.place.key,
        "count": receipt.counts.lines,
        "bytes": receipt.object.size,
        "sha256": receipt.object.sha256,
        "content_sha256": receipt.object.content_sha256,
        "window": Window(receipt.window.start, receipt.window.end).as_dict(),
        "receipt": archived.receipt_key,
        "receipt_sha256": archived.receipt_sha256,
    }
