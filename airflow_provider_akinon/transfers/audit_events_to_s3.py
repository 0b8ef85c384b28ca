"""Export a window of audit events to S3, with a receipt beside each object.

A thin shell: it parses what the author wrote, calls the export, and hands the proved file to the archive, with a
client of Airflow's ``S3Hook``. It refuses to write anything before the window is proved complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

from airflow_provider_akinon.archive_access import (
    bucket_name,
    checked_aws_conn_id,
    redaction_key,
    upload_arguments,
    warns_of_changes,
)
from airflow_provider_akinon.audit_events.archive import (
    Bucket,
    Location,
    Run,
    default_prefix,
    receipt_key,
    require_conditional_writes,
)
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.export import export_window, share_arenas, sparing_older_objects
from airflow_provider_akinon.audit_events.model import Filters, Format, Source, Window, parse_timezone
from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.audit_events.storing import Archived, Target, archive
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.task_run import (
    Killable,
    WindowRequest,
    fail_with,
    failing_for_good,
    killable,
    refuse_future,
    run_of,
)
from airflow_provider_akinon.version_compat import Asset, AssetAlias, BaseOperator, Context

__all__ = ["AuditEventsToS3Operator"]


class AuditEventsToS3Operator(Killable, BaseOperator):
    """Exports the audit events of a window to S3, proved complete, with a receipt beside each object.

    The first export of a window stores its events in one object. Objects are never replaced: a later export stores
    the events that are new in one more object beside it, ``<start>_<end>.late-1.jsonl.gz`` and so on, and writes
    nothing where there are none. It compares what is stored with what the API gives now. Where stored events were
    changed at the source, or are no longer returned, it records which in a receipt, and fails. A window without
    events writes an empty object, and a receipt that proves it. Outlet assets get what is returned as their event's
    extra.

    .. seealso::
        How to use this operator: :ref:`howto/operator:AuditEventsToS3Operator`

    :param start: the window's start, as an aware datetime or ISO 8601 text with an offset (templated). Without
        ``start`` and ``end``, the window is the run's data interval, or its partition.
    :param end: the window's end, not part of it, as ``start``; not in the future (templated).
    :param filters: any of ``user``, ``content_type`` and ``object_id``, as integers, such as ``{"user": 42}``
        (templated).
    :param s3_bucket: the bucket (templated); None for ``service_config.s3.bucket_name`` of the AWS connection.
    :param s3_key: the first object's whole key, or an ``s3://bucket/key`` URL without ``s3_bucket`` (templated). A
        name for late events, such as one that ends in ``.late-1``, is refused.
    :param s3_key_prefix: the prefix of the key, in place of ``s3_key`` (templated); None for
        ``akinon/audit-events/<host>/remote/<remote_id>``, where the id may be ``none``.
    :param file_format: ``"jsonl.gz"``, ``"jsonl"`` or ``"parquet"``; the last needs the extra ``[parquet]``.
    :param redact: ``"credentials"``, which removes passwords, cookies, tokens and card data; or a dict of further
        paths, such as ``{"user.email": "mask"}``, with ``drop``, ``mask`` or ``hmac``; None stores records verbatim.
    :param redact_key_conn_id: the connection whose password is the key of ``hmac`` (templated).
    :param partition_period: how long a partition is, where the run is for a partition and has no data interval.
    :param partition_timezone: the IANA time zone of the key's date and of a partition's days.
    :param akinon_conn_id: the Akinon connection (templated).
    :param aws_conn_id: the AWS connection, as ``S3Hook`` takes it (templated).
    :param extra_args: further arguments of the upload, as boto3 takes them, such as ``ServerSideEncryption``,
        ``ObjectLockMode`` with ``ObjectLockRetainUntilDate``, ``StorageClass``, ``Tagging`` or ``Metadata``
        (templated).
    :param conditional_writes: False for a store that does not honour ``If-None-Match: *``. The task then looks first
        whether an object is there, which two tasks can do at once: see to it that never two tasks write one window.
    :param on_source_change: ``"fail"`` fails the task for good where stored events were changed at the source, or are
        no longer returned, after what is new was stored; ``"warn"`` lets it pass. What the API knows of a user today
        is no such change, but for ``user.pk``.
    :param only_again: fail, before anything is read, where nothing of the window is stored yet; `export_again_kwargs`
        sets it.
    :returns: ``bucket``; ``key``, ``sha256``, ``content_sha256`` (of the uncompressed lines), ``receipt`` (its key)
        and ``receipt_sha256`` of the window's first object; ``objects``, a list of all, each with ``key``, ``count``,
        ``bytes``, ``sha256`` and ``receipt``; ``count`` (events) and ``bytes`` of them together; ``window``
        (``start`` and ``end``, ISO 8601 in UTC); ``added``, the events that any try of this run stored; and of the
        stored events, how many are the ``same``, of how many only the user has moved (``user_moved``), how many
        ``changed`` or ``vanished``, were ``not_compared``, or have undocumented fields by now that are not stored
        (``new_fields``). It is returned before a failure, too.
    :raises AirflowFailException: the parameters are wrong, the API refuses, stored bytes were altered, or stored
        events were changed at the source; trying again does not help.
    :raises AkinonError: the API did not answer, or the window could not be proved complete; Airflow may retry.
    """

    template_fields = (
        "start",
        "end",
        "filters",
        "s3_bucket",
        "s3_key",
        "s3_key_prefix",
        "redact_key_conn_id",
        "akinon_conn_id",
        "aws_conn_id",
        "extra_args",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"filters": "json", "extra_args": "json"}
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        filters: Mapping[str, Any] | None = None,
        s3_bucket: str | None = None,
        s3_key: str | None = None,
        s3_key_prefix: str | None = None,
        file_format: str = Format.JSONL_GZ.value,
        redact: str | Mapping[str, str] | None = "credentials",
        redact_key_conn_id: str | None = None,
        partition_period: timedelta | None = None,
        partition_timezone: str = "UTC",
        akinon_conn_id: str = AkinonHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        extra_args: dict[str, Any] | None = None,
        conditional_writes: bool = True,
        on_source_change: str = "fail",
        only_again: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.end = end
        self.filters = filters
        self.s3_bucket = s3_bucket
        self.s3_key = s3_key
        self.s3_key_prefix = s3_key_prefix
        self.file_format = file_format
        self.redact = redact
        self.redact_key_conn_id = redact_key_conn_id
        self.partition_period = partition_period
        self.partition_timezone = partition_timezone
        self.akinon_conn_id = akinon_conn_id
        self.aws_conn_id = aws_conn_id
        self.extra_args = extra_args
        self.conditional_writes = conditional_writes
        self.on_source_change = on_source_change
        self.only_again = only_again

    @killable
    def execute(self, context: Context) -> dict[str, Any]:
        """Export the window and return what is stored now; see the class."""
        share_arenas()
        with failing_for_good():
            warns = warns_of_changes(self.on_source_change)
            request = WindowRequest(self.start, self.end, self.partition_period, self.partition_timezone)
            window = request.resolve(context)
            refuse_future(window)
            filters = Filters.parse(self.filters)
            format_ = Format.parse(self.file_format)
            redaction = Redaction.parse(self.redact, key=redaction_key(self.redact_key_conn_id))
            api = AkinonHook(self.akinon_conn_id).get_conn()
            source = api.settings.source
            s3 = S3Hook(checked_aws_conn_id(self.aws_conn_id))
            location = self._location(s3, window, filters, source, format_)
            arguments = upload_arguments(self.extra_args)
            bucket = Bucket(s3.get_conn(), location.bucket, conditional=self.conditional_writes)
            # Before a long read: a wrong bucket or missing permission shows at once.
            bucket.require()
            target = Target.look(bucket, location, format_, None if self.s3_key else self.partition_timezone)
            if self.only_again:
                _require_stored(target, window)
            require_conditional_writes(bucket, location.folder, arguments)
            self.log.info("Reading the audit events of %s from %s", window, source)
            with sparing_older_objects(), api, export_window(api, window, filters, redaction, format_) as export:
                self.log.info("Read %d events, proved complete", export.count)
                archived = archive(export, target, arguments, run_of(context))
        result = _result(archived, run_of(context))
        self._report(archived, result)
        get_hook_lineage_collector().add_output_asset(  # type: ignore[no-untyped-call]
            context=s3, scheme="s3", asset_kwargs={"bucket": location.bucket, "key": location.key}
        )
        self._tell_outlets(context, location, result)
        if archived.source_changed:
            # Airflow logs what fails the task.
            if not warns:
                fail_with(context, result, str(archived.source_changed))
            self.log.warning("%s", archived.source_changed)
        return result

    def _report(self, archived: Archived, result: Mapping[str, Any]) -> None:
        self.log.info(
            "%s %s: %d events in %d objects, %d bytes, receipt %s",
            f"Stored {archived.added} events of" if archived.written else "Nothing new for",
            archived.window.location,
            result["count"],
            len(result["objects"]),
            result["bytes"],
            result["receipt_sha256"],
        )

    def _location(self, s3: S3Hook, window: Window, filters: Filters, source: Source, format_: Format) -> Location:
        if self.s3_key is not None:
            if self.s3_key_prefix is not None:
                raise InvalidInput(
                    f"s3_key={self.s3_key!r} and s3_key_prefix={self.s3_key_prefix!r} exclude each other"
                )
            is_url = str(self.s3_key).startswith("s3://")  # what is no text, `Location` refuses
            return Location.of_key(self.s3_bucket if is_url else bucket_name(self.s3_bucket, s3), self.s3_key)
        prefix = default_prefix(source) if self.s3_key_prefix is None else self.s3_key_prefix
        timezone = parse_timezone("partition_timezone", self.partition_timezone)
        return Location.of_window(bucket_name(self.s3_bucket, s3), prefix, window, filters, timezone, format_)

    def _tell_outlets(self, context: Context, location: Location, result: dict[str, Any]) -> None:
        """Give the events of the declared outlets what is stored now."""
        # Without a dict or a list in it: Airflow 2 hashes the extra of an alias.
        keys = " ".join(each["key"] for each in result["objects"])
        extra = {**result, "window": "/".join(result["window"].values()), "objects": keys}
        for outlet in self.outlets:
            if isinstance(outlet, AssetAlias):
                context["outlet_events"][outlet].add(Asset(str(location)), extra=extra)
            elif isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(extra)


def _require_stored(target: Target, window: Window) -> None:
    """Make sure that a window was exported before.

    :raises InvalidInput: it was not.
    """
    if not target.before:
        raise InvalidInput(
            f"only_again is set, and nothing of {window} is stored at {target.location}; give the s3_key_prefix that "
            "it was exported to"
        )


def _result(archived: Archived, run: Run) -> dict[str, Any]:
    stored, numbers = archived.window, archived.numbers
    sha256, first = stored.objects[0].earliest
    objects = [
        {
            "key": each.key,
            "count": receipt.counts.lines,
            "bytes": each.head.size,
            "sha256": receipt.object.sha256,
            "receipt": receipt_key(each.key, sha256),
        }
        for each in stored.objects
        for sha256, receipt in [each.earliest]
        if receipt.object is not None
    ]
    return {
        "bucket": stored.location.bucket,
        "key": stored.location.key,
        "sha256": objects[0]["sha256"],
        "content_sha256": None if first.object is None else first.object.content_sha256,
        "receipt": objects[0]["receipt"],
        "receipt_sha256": sha256,
        "objects": objects,
        "count": stored.lines,
        "bytes": sum(each.head.size for each in stored.objects),
        "window": first.window.as_dict(),
        "added": archived.added_by(run),
        "same": numbers.same,
        "user_moved": numbers.user_moved,
        "changed": numbers.changed,
        "vanished": numbers.vanished,
        "not_compared": numbers.not_compared,
        "new_fields": numbers.new_fields,
    }
