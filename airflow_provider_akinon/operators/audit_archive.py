"""Prove and mend what is archived in S3: seal it, verify it, and reconcile it with the API.

Thin shells around `sealing`, `verification` and `reconciling`, with a client of Airflow's ``S3Hook``. Nothing here
deletes or replaces an object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar

from airflow_provider_akinon.archive_access import (
    open_bucket,
    redaction_key,
    sealing_key,
    upload_arguments,
    warns_of_changes,
)
from airflow_provider_akinon.audit_events.archive import DEFAULT_PREFIX, Run, folder_prefix
from airflow_provider_akinon.audit_events.errors import AkinonError, InvalidInput
from airflow_provider_akinon.audit_events.export import share_arenas, sparing_older_objects
from airflow_provider_akinon.audit_events.foreign_text import shown
from airflow_provider_akinon.audit_events.model import kind_of, parse_instant
from airflow_provider_akinon.audit_events.reconciling import Reconciled, Reconciler
from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.audit_events.sealing import SealResult, seal_archive
from airflow_provider_akinon.audit_events.seals import PublicKey
from airflow_provider_akinon.audit_events.storing import Archived
from airflow_provider_akinon.audit_events.verification import Expected, verify_archive
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
from airflow_provider_akinon.version_compat import AirflowFailException, AirflowSkipException, BaseOperator, Context

__all__ = [
    "ReconcileAuditArchiveOperator",
    "SealAuditArchiveOperator",
    "VerifyAuditArchiveOperator",
    "export_again_kwargs",
]

SHOWN = 20
"""The most wrong findings that a failure's message shows; the log has all."""


class SealAuditArchiveOperator(Killable, BaseOperator):
    """Seals the exports up to the end of a period, by one more seal on the chain of each source and filters.

    A seal holds the SHA-256 of each receipt that no seal holds yet, late exports of earlier windows among them, and
    of the seal before it. Keep the returned heads outside the bucket: only they can show that the newest seals are
    gone. A period that is sealed already, with nothing new in it, is left alone.

    .. seealso::
        How to use this operator: :ref:`howto/operator:SealAuditArchiveOperator`

    :param start: the period's start, as an aware datetime or ISO 8601 text with an offset (templated). Without
        ``start`` and ``end``, the period is the run's data interval.
    :param end: the period's end; not in the future (templated).
    :param s3_bucket: the bucket (templated); None for ``service_config.s3.bucket_name`` of the AWS connection.
    :param s3_key_prefix: the prefix of the exports' keys, in whole folders (templated). Verify with the same one.
    :param seal_key_conn_id: the connection whose password is the Ed25519 private key that signs; None for no
        signature (templated).
    :param known_heads: heads that are known from elsewhere, such as the one that was returned last time, and have to
        be there (templated); one, or a list.
    :param aws_conn_id: the AWS connection, as ``S3Hook`` takes it (templated).
    :param extra_args: further arguments of the upload of seals, as boto3 takes them (templated).
    :param conditional_writes: as the export takes it. With False, see to it that never two tasks seal one prefix.
    :returns: ``heads`` (a list of SHA-256), and ``chains``: for each its ``chain`` (source and filters), ``head``,
        ``seal`` (its key), ``number``, ``written``, ``receipts`` (how many the seal holds), ``late`` (how many of
        them are of time that was sealed before), ``gaps``, ``overlaps`` and ``losses`` (how many), and ``signed_by``.
    :raises AirflowFailException: a receipt or a seal was altered or is missing, or the parameters are wrong.
    :raises AkinonError: an export is at work in between; Airflow may retry.
    """

    template_fields = (
        "start",
        "end",
        "s3_bucket",
        "s3_key_prefix",
        "seal_key_conn_id",
        "known_heads",
        "aws_conn_id",
        "extra_args",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"known_heads": "json", "extra_args": "json"}
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        s3_bucket: str | None = None,
        s3_key_prefix: str = DEFAULT_PREFIX,
        seal_key_conn_id: str | None = None,
        known_heads: str | Sequence[str] | None = None,
        aws_conn_id: str | None = "aws_default",
        extra_args: dict[str, Any] | None = None,
        conditional_writes: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.end = end
        self.s3_bucket = s3_bucket
        self.s3_key_prefix = s3_key_prefix
        self.seal_key_conn_id = seal_key_conn_id
        self.known_heads = known_heads
        self.aws_conn_id = aws_conn_id
        self.extra_args = extra_args
        self.conditional_writes = conditional_writes

    @killable
    def execute(self, context: Context) -> dict[str, Any]:
        """Seal and return the heads; see the class."""
        with failing_for_good():
            period = WindowRequest(self.start, self.end, None, "UTC").resolve(context)
            refuse_future(period)
            prefix, heads = folder_prefix(self.s3_key_prefix), _listed("known_heads", self.known_heads)
            arguments = upload_arguments(self.extra_args)
            sealings = seal_archive(
                open_bucket(self.s3_bucket, self.aws_conn_id, conditional=self.conditional_writes),
                prefix,
                period,
                run_of(context),
                key=sealing_key(self.seal_key_conn_id),
                known_heads=heads,
                arguments=arguments,
            )
        for sealing in sealings:
            self._report(sealing)
        return {"heads": [each.head.sha256 for each in sealings], "chains": [_sealing(each) for each in sealings]}

    def _report(self, sealing: SealResult) -> None:
        seal = sealing.head.seal
        done = "Wrote" if sealing.written else "Nothing new since"
        self.log.info(
            "%s seal %d of %s, with %d receipts; head %s",
            done, seal.number, sealing.chain, len(seal.receipts), sealing.head.sha256,
        )  # fmt: skip
        for gap in seal.gaps:
            self.log.warning("%s: no window covers %s", sealing.chain, gap)
        for overlap in seal.overlaps:
            self.log.warning("%s: two windows cover %s", sealing.chain, overlap)
        for entry in sealing.late:
            key = shown(entry.object, None)
            self.log.warning("%s: a receipt of %s came late, and is sealed now", sealing.chain, key)
        for key in seal.losses if sealing.written else ():
            self.log.error("%s: %s is gone, which an earlier seal holds", sealing.chain, shown(key, None))
        if sealing.written and seal.number == 1:
            self.log.warning("%s: a chain begins", sealing.chain)


class VerifyAuditArchiveOperator(Killable, BaseOperator):
    """Reads an archive again, and fails if anything is wrong.

    .. seealso::
        How to use this operator: :ref:`howto/operator:VerifyAuditArchiveOperator`

    :param start: verify windows from here on, as an aware datetime or ISO 8601 text with an offset; None for all
        (templated). What a series leaves out between its windows is a gap.
    :param end: verify windows up to here, as ``start`` (templated).
    :param s3_bucket: the bucket (templated); None for ``service_config.s3.bucket_name`` of the AWS connection.
    :param s3_key_prefix: the prefix that was sealed (templated).
    :param public_keys: Ed25519 public keys, one of which has to have signed the newest seal, as PEM or base64
        (templated); one, or a list. Without any, signatures are not checked.
    :param known_heads: heads that are known from elsewhere and have to be there (templated); one, or a list.
    :param aws_conn_id: the AWS connection, as ``S3Hook`` takes it (templated).
    :returns: ``counts`` (findings by status), ``chains`` (for each its ``head``, ``sealed_until`` and more) and
        ``bytes_read``.
    :raises AirflowFailException: something is wrong, or the parameters are; the log has every finding.
    """

    template_fields = ("start", "end", "s3_bucket", "s3_key_prefix", "public_keys", "known_heads", "aws_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"public_keys": "json", "known_heads": "json"}
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        s3_bucket: str | None = None,
        s3_key_prefix: str = DEFAULT_PREFIX,
        public_keys: str | Sequence[str] | None = None,
        known_heads: str | Sequence[str] | None = None,
        aws_conn_id: str | None = "aws_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.end = end
        self.s3_bucket = s3_bucket
        self.s3_key_prefix = s3_key_prefix
        self.public_keys = public_keys
        self.known_heads = known_heads
        self.aws_conn_id = aws_conn_id

    @killable
    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - Airflow's signature
        """Verify and return the figures; see the class."""
        with failing_for_good():
            expected = Expected(
                start=None if self.start is None else parse_instant("start", self.start),
                end=None if self.end is None else parse_instant("end", self.end),
                public_keys=[PublicKey.parse("public_keys", key) for key in _listed("public_keys", self.public_keys)],
                known_heads=_listed("known_heads", self.known_heads),
            )
            prefix = folder_prefix(self.s3_key_prefix)
            report = verify_archive(open_bucket(self.s3_bucket, self.aws_conn_id), prefix, expected)
        for finding in report.wrong:
            self.log.error("%s", finding)
        self.log.info("%s: %s", report.archive, report.counts)
        if report.wrong:
            shown = "; ".join(map(str, report.wrong[:SHOWN]))
            more = f"; and {len(report.wrong) - SHOWN} more" if len(report.wrong) > SHOWN else ""
            raise AirflowFailException(f"{len(report.wrong)} findings are wrong in {report.archive}: {shown}{more}")
        return {
            "counts": report.counts,
            "chains": [chain.as_dict() for chain in report.chains],
            "bytes_read": report.bytes_read,
        }


class ReconcileAuditArchiveOperator(Killable, BaseOperator):
    """Counts exported windows again, and tells which have late or vanished events.

    One small request for each window. A window whose count is not what its last receipt tells is mended by exporting
    it again: here with ``repair=True``, or by mapped tasks, for which `export_again_kwargs` makes the arguments. That
    stores what came late in an object of its own, and records what has vanished at the source, which stays stored.

    .. seealso::
        How to use this operator: :ref:`howto/operator:ReconcileAuditArchiveOperator`

    :param start: windows that end after it, as an aware datetime or ISO 8601 text with an offset (templated). Without
        ``start`` and ``end``, the run's data interval.
    :param end: windows that start before it (templated).
    :param s3_bucket: the bucket (templated); None for ``service_config.s3.bucket_name`` of the AWS connection.
    :param s3_key_prefix: the prefix of the exports' keys, in whole folders (templated).
    :param sample: how many stored events, drawn by lot from all these windows, to fetch again and compare field by
        field.
    :param repair: export again, as they were exported before, the windows whose count is not what their last receipt
        tells.
    :param on_source_change: with ``repair``, ``"fail"`` fails the task for good where stored events were changed or
        have vanished, after everything was mended; ``"warn"`` lets it pass.
    :param redact: with ``sample`` or ``repair``, the policy by which the events were stored, as the export takes it.
        Where a receipt names another, the task fails: no document of the bucket decides what is removed.
    :param redact_key_conn_id: the connection whose password is the key of ``hmac``, where it was used (templated).
    :param akinon_conn_id: the Akinon connection; only windows of its host and remote id are looked at (templated).
    :param aws_conn_id: the AWS connection, as ``S3Hook`` takes it (templated).
    :param extra_args: further arguments of the upload with ``repair``, as boto3 takes them (templated).
    :param conditional_writes: with ``repair``, as the export takes it.
    :returns: a list of the windows with something to tell, each with ``window``, ``filters``, ``key``, ``format``,
        ``partition_timezone``, ``stored`` and ``counted`` (events), ``late`` and ``vanished`` (events beyond, or
        short of, what the last receipt tells), ``sampled`` (events), ``changed`` (``uuid`` and names of ``fields``),
        ``gone`` (uuids that the API has no longer), ``user_moved`` (events; what the API knows of a person today,
        which is no tampering), and ``added``: None without a repair, else the events that it stored.
    :raises AirflowFailException: a receipt was altered, the parameters are wrong, the API refuses, or a repair met
        changed or vanished events.
    :raises AkinonError: the API did not answer; Airflow may retry.
    """

    template_fields = (
        "start",
        "end",
        "s3_bucket",
        "s3_key_prefix",
        "redact_key_conn_id",
        "akinon_conn_id",
        "aws_conn_id",
        "extra_args",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"extra_args": "json"}
    ui_color = "#e8f1fb"

    def __init__(
        self,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        s3_bucket: str | None = None,
        s3_key_prefix: str = DEFAULT_PREFIX,
        sample: int = 0,
        repair: bool = False,
        on_source_change: str = "fail",
        redact: str | Mapping[str, str] | None = "credentials",
        redact_key_conn_id: str | None = None,
        akinon_conn_id: str = AkinonHook.default_conn_name,
        aws_conn_id: str | None = "aws_default",
        extra_args: dict[str, Any] | None = None,
        conditional_writes: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.end = end
        self.s3_bucket = s3_bucket
        self.s3_key_prefix = s3_key_prefix
        self.sample = sample
        self.repair = repair
        self.on_source_change = on_source_change
        self.redact = redact
        self.redact_key_conn_id = redact_key_conn_id
        self.akinon_conn_id = akinon_conn_id
        self.aws_conn_id = aws_conn_id
        self.extra_args = extra_args
        self.conditional_writes = conditional_writes

    @killable
    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Reconcile and return the windows with something to tell; see the class."""
        share_arenas()
        with failing_for_good():
            span = WindowRequest(self.start, self.end, None, "UTC").resolve(context)
            warns = warns_of_changes(self.on_source_change)
            sample = _number_of_events(self.sample)
            prefix = folder_prefix(self.s3_key_prefix)
            redaction = Redaction.parse(self.redact, key=redaction_key(self.redact_key_conn_id))
            arguments = upload_arguments(self.extra_args)
            with AkinonHook(self.akinon_conn_id).get_conn() as api:
                bucket = open_bucket(self.s3_bucket, self.aws_conn_id, conditional=self.conditional_writes)
                reconciler = Reconciler(api, bucket, redaction)
                stored = reconciler.exported(prefix, span)
                if sample or self.repair:
                    # Before a request: another policy, or key, shows at once.
                    for each in stored:
                        reconciler.require_policy(each.last)
                windows = reconciler.compare_sample(reconciler.recount(stored), sample)
                self._report(windows)
                failure = None
                if self.repair:
                    windows, failure = self._repaired(reconciler, windows, arguments, run_of(context))
            changes = [str(each.source_changed) for each in windows if each.source_changed is not None]
            if failure is not None and (warns or not changes):
                raise failure
        result = [each.as_dict() for each in windows if each.has_moved]
        if changes and not warns:
            # Recorded changes count as known from then on: another try would not see them, and succeed.
            said = [*([] if failure is None else [str(failure)]), *changes]
            fail_with(context, result, "; ".join(said[:SHOWN]))
        return result

    def _report(self, windows: Sequence[Reconciled]) -> None:
        for each in windows:
            if each.has_moved:
                self.log.warning("%s", each)
        self.log.info(
            "Counted %d windows again, and fetched %d events: %d windows have late events, %d vanished ones, "
            "%d changed ones",
            len(windows),
            sum(each.sample.number for each in windows),
            sum(each.late > 0 for each in windows),
            sum(each.vanished > 0 or bool(each.sample.gone) for each in windows),
            sum(bool(each.sample.changed) for each in windows),
        )

    def _repaired(
        self, reconciler: Reconciler, windows: Sequence[Reconciled], arguments: Mapping[str, Any], run: Run
    ) -> tuple[list[Reconciled], AkinonError | None]:
        """Export again those windows that have moved; return all, and the error that ended this, if one did."""
        repaired = list(windows)
        for index, window in enumerate(windows):
            if window.late or window.vanished:
                try:
                    archived = self._export_again(reconciler, window, arguments, run)
                except AkinonError as error:
                    return repaired, error
                repaired[index] = replace(window, repaired=archived)
        return repaired, None

    def _export_again(
        self, reconciler: Reconciler, window: Reconciled, arguments: Mapping[str, Any], run: Run
    ) -> Archived:
        self.log.info("Exporting %s again", shown(window.stored.key, None))
        with sparing_older_objects():
            archived = reconciler.export_again(window, arguments, run)
        self.log.info("%s: %d new events were stored", shown(str(archived.window.location), None), archived.added)
        if archived.source_changed is not None:
            self.log.warning("%s", archived.source_changed)
        return archived


def export_again_kwargs(window: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `AuditEventsToS3Operator` that export a reconciled window again.

    For dynamic task mapping: ``.expand_kwargs(reconcile.output.map(export_again_kwargs))``. A mapped task whose
    window has the count that its last receipt tells is skipped. No key and no policy is passed on: whoever may write
    to the bucket could have chosen them. The mapped operator has its own ``s3_key_prefix``, ``redact`` and
    ``redact_key_conn_id``, and fails where nothing of the window is stored there.

    :param window: what `ReconcileAuditArchiveOperator` returned of it.
    :raises AirflowSkipException: its count is what its last receipt tells, or it was exported to a whole key, which
        only ``repair=True`` can mend.
    """
    if not window["late"] and not window["vanished"]:
        raise AirflowSkipException("The window has the count that its last receipt tells")
    if window["partition_timezone"] is None:
        raise AirflowSkipException("The window was exported to a whole key: repair=True mends it")
    return {
        "start": window["window"]["start"],
        "end": window["window"]["end"],
        "filters": window["filters"],
        "file_format": window["format"],
        "partition_timezone": window["partition_timezone"],
        "only_again": True,
    }


def _number_of_events(sample: object) -> int:
    """Return how many events to fetch again.

    :raises InvalidInput: it is no such number.
    """
    if not isinstance(sample, int) or isinstance(sample, bool) or sample < 0:
        raise InvalidInput(f"sample={sample!r} is not a number of events; give 0, or how many to fetch")
    return sample


def _listed(name: str, given: str | Sequence[str] | None) -> list[str]:
    """Return one or several texts as a list.

    :raises InvalidInput: they are something else.
    """
    if given is None:
        return []
    if not isinstance(given, str | list | tuple):
        raise InvalidInput(f"{name}={given!r} is {kind_of(given)}; give one text, or a list of them")
    texts = [given] if isinstance(given, str) else list(given)
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise InvalidInput(f"{name} has {text!r}, which is no text; give one text, or a list of them")
    return [text.strip() for text in texts]


def _sealing(sealing: SealResult) -> dict[str, Any]:
    seal = sealing.head.seal
    return {
        "chain": str(sealing.chain),
        "head": sealing.head.sha256,
        "seal": sealing.head.key,
        "number": seal.number,
        "written": sealing.written,
        "receipts": len(seal.receipts),
        "late": len(sealing.late),
        "gaps": len(seal.gaps),
        "overlaps": len(seal.overlaps),
        "losses": len(seal.losses),
        "signed_by": seal.signed_by,
    }
