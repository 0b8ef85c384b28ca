"""``akinon-audit``, or ``python -m airflow_provider_akinon``: verify an archive, or look at an account's API.

``verify`` needs S3 and nothing else: neither a configured Airflow, nor Akinon's API. ``probe`` needs the API, and
Airflow only where a connection is given by its id. Prints what it found on standard output, and progress on standard
error where that is a terminal. Exits 0 where nothing is wrong, 1 where something is, and 2 where it could not look.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from airflow_provider_akinon import __version__
from airflow_provider_akinon.audit_events.archive import Bucket, folder_prefix
from airflow_provider_akinon.audit_events.errors import AkinonError, InvalidInput
from airflow_provider_akinon.audit_events.foreign_text import shown
from airflow_provider_akinon.audit_events.model import format_instant, parse_instant
from airflow_provider_akinon.audit_events.seals import PublicKey
from airflow_provider_akinon.audit_events.verification import Expected, Finding, Progress, Report, verify_archive

if TYPE_CHECKING:
    from airflow_provider_akinon.audit_events.api import Settings

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_DESCRIPTION = """\
Read an archive of audit events again and say, for each window, whether it is
what was stored: every seal, every receipt, and every byte of the objects.
Nothing is changed, and Akinon's API is not asked.
"""

_PROBE = """\
Look at an account's API with at most 40 small requests that only read: which base
URL and key it takes, which parameters it heeds, whether its counts mean what was
asked, how it shows times, and how it refuses. Each line says what follows for the
export; a mark before it, that an export can fail of it. No line holds the key, the
host, or a value of an event.
"""

KEY_VARIABLE = "AKINON_API_KEY"

_EPILOG = """\
what is found:
  ok                    the objects fit their receipts, which seals hold
  not sealed            the objects fit their receipts, which no seal holds yet
                        for which a key or a head that was given vouches
  left out of its seal  such a receipt, of time that was sealed before:
                        seal again, or ask who did it
  missing               an object, a receipt or a seal is gone
  altered               an object, a receipt or a seal is not what it was
  unreadable            S3 does not give the object
  without receipt       an object that no receipt knows
  gap, overlap          no window of a series, or two, for a stretch of time
  not signed            no key that was given signed the newest seal
  head missing          a seal that should be there is not
  nothing               there is nothing at all below the prefix
All but the first two are wrong.

exit status:
  0  nothing is wrong        1  something is wrong        2  it could not look

examples:
  akinon-audit verify s3://audit-archive/akinon/audit-events
  akinon-audit verify s3://audit-archive/akinon/audit-events \\
      --from 2026-03-01 --to 2026-04-01 --public-key seal.pub.pem --head 3f0c…

Credentials, region and endpoint are found as the AWS command line finds them.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal knows every character
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _probe(options: argparse.Namespace) -> int:
    """Look at an account's API."""
    # What verifying has no use for.
    from airflow_provider_akinon.audit_events.api import probe, table_of

    try:
        found = probe(_settings(options))
    except AkinonError as error:
        print(f"It could not be looked at: {shown(str(error), None)}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(found.as_dict(), indent=2))
    else:
        print("\n".join(shown(line, None) for line in table_of(found)))
    return 1 if any(line.is_bad for line in found.lines) else 0


def _settings(options: argparse.Namespace) -> Settings:
    """Return the settings of a connection of Airflow, or of a host with the key from the environment."""
    if options.conn_id:
        from airflow_provider_akinon.hooks.akinon import AkinonHook

        return AkinonHook(options.conn_id).settings
    key = os.environ.get(KEY_VARIABLE)
    if not key:
        raise InvalidInput(f"{KEY_VARIABLE} is not set; put the API key there, or give --conn-id")
    from airflow_provider_akinon.audit_events.api import Settings

    extra = {"remote_id": options.remote_id, "auth_scheme": options.auth_scheme}
    return Settings.parse(host=options.host, password=key, extra=extra)


def _verify(options: argparse.Namespace) -> int:
    """Verify an archive."""
    try:
        bucket, prefix = _place(options.archive, options.profile, options.endpoint_url)
        expected = Expected(
            start=_instant("--from", options.start),
            end=_instant("--to", options.end),
            public_keys=[_public_key(text) for text in options.public_key],
            known_heads=options.head,
        )
        bucket.require()
        with _progress(shown=sys.stderr.isatty() and not options.quiet) as progress:
            report = verify_archive(bucket, prefix, expected, progress)
    except (AkinonError, BotoCoreError, ClientError) as error:
        print(f"It could not be verified: {shown(str(error), None)}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        print("\n".join(shown(line, None) for line in _lines(report, verbose=options.verbose)))
    return 1 if report.wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="akinon-audit",
        description="The archive of audit events, and the API that they come from.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_verify(commands)
    _add_probe(commands)
    return parser


def _add_verify(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verify = commands.add_parser(
        "verify",
        help="read an archive again and say what is right and wrong with it",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verify.add_argument(
        "archive", metavar="s3://BUCKET/PREFIX", help="where the exports lie; the prefix that was sealed"
    )
    verify.add_argument(
        "--from",
        dest="start",
        metavar="TIME",
        help="verify from here on: 2026-03-01 (midnight in UTC) or 2026-03-01T00:00:00+03:00; by default all",
    )
    verify.add_argument("--to", dest="end", metavar="TIME", help="verify up to here, as --from")
    _add_vouchers(verify)
    verify.add_argument("--json", action="store_true", help="print one JSON document, for machines")
    verify.add_argument(
        "--verbose", "-v", action="store_true", help="print each window, also where many in a row are alike"
    )
    verify.add_argument("--quiet", "-q", action="store_true", help="show no progress")
    verify.add_argument("--profile", help="of the AWS configuration")
    verify.add_argument("--endpoint-url", metavar="URL", help="of another S3 than Amazon's")
    verify.set_defaults(run=_verify)


def _add_vouchers(verify: argparse.ArgumentParser) -> None:
    """Add the options that name our seals: public keys and heads, which are kept outside the bucket."""
    verify.add_argument(
        "--public-key",
        action="append",
        default=[],
        metavar="KEY",
        help="the Ed25519 key that has to have signed the newest seal: a PEM file, or base64; may be repeated",
    )
    verify.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="SHA256",
        help="of a seal that has to be there, as sealing returned it; may be repeated, for several chains",
    )


def _add_probe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    probe = commands.add_parser(
        "probe",
        help="look at an account's API and say what follows for the export",
        description=_PROBE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = probe.add_mutually_exclusive_group(required=True)
    where.add_argument("--conn-id", help="the id of an Akinon connection of this machine's Airflow")
    where.add_argument("--host", help=f"the API's host; the key is taken from the environment, {KEY_VARIABLE}")
    probe.add_argument("--remote-id", help="with --host: the number in the path, or none (default: 1)")
    probe.add_argument("--auth-scheme", help="with --host: the word before the key, or none (default: Token)")
    probe.add_argument("--json", action="store_true", help="print one JSON document, for a bug report")
    probe.set_defaults(run=_probe)


def _place(url: str, profile: str | None, endpoint_url: str | None) -> tuple[Bucket, str]:
    name, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not name:
        raise InvalidInput(f"{url!r} is no location in S3; write it like s3://audit-archive/akinon/audit-events")
    # Takes its time, and `--help` has no use for it.
    import boto3

    try:
        client = boto3.Session(profile_name=profile).client("s3", endpoint_url=endpoint_url)
    except ValueError as error:
        raise InvalidInput(f"--endpoint-url {endpoint_url} is no URL: {error}") from error
    return Bucket(client, name), folder_prefix(prefix)


def _instant(field: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    return parse_instant(field, f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text)


def _public_key(text: str) -> PublicKey:
    # What is no file's name is not shown: it may be a private key, given by mistake.
    field, file = "--public-key, which names no file,", Path(text)
    with suppress(OSError):  # no name of a file is as long as some keys
        if file.is_file():
            field, text = f"--public-key {file}", file.read_text(encoding="ascii", errors="replace")
    return PublicKey.parse(field, text)


@contextmanager
def _progress(*, shown: bool) -> Iterator[Progress]:
    """Give a function that shows how far it is."""
    if not shown:
        yield lambda _done, _of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("Verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("windows", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _lines(report: Report, *, verbose: bool) -> Iterator[str]:
    """Yield the report as text."""
    yield report.archive
    for chain in report.chains:
        signed = f"signed by {chain.signed_by}" if chain.signed_by else "not signed"
        yield f"{chain.chain}: seals 1 to {chain.number}, sealed until {format_instant(chain.sealed_until)}, {signed}"
        yield f"  head {chain.head}"
        if chain.copy_of:
            yield f"  This is a copy: the newest seal was written in {chain.copy_of}"
    alike: Callable[[Finding], object] = id if verbose else _alike
    for _, group in groupby(report.findings, alike):
        yield from _group(list(group))
    yield ", ".join(f"{number} {status}" for status, number in report.counts.items()) + _size(report.bytes_read)
    if any(chain.signed_by for chain in report.chains) and not report.signatures_checked:
        yield "Signatures were not checked: give --public-key."
    if not report.chains:
        yield "No seal counts here: only receipts were checked. Is this the prefix that was sealed?"
    yield f"{len(report.wrong)} WRONG" if report.wrong else "Nothing is wrong."


def _alike(finding: Finding) -> object:
    """Return the parts that findings share if they are shown as one: windows in a row with one status and details."""
    return id(finding) if finding.status.is_wrong else (finding.status, finding.chain)


def _group(findings: Sequence[Finding]) -> Iterator[str]:
    first, last = findings[0], findings[-1]
    span = (
        f"{format_instant(first.window.start)}  {format_instant(last.window.end)}"
        if first.window and last.window
        else ""
    )
    what = f"{len(findings)} windows" if len(findings) > 1 else first.key or ""
    yield f"{first.status.value:<26} {span:<50} {what}".rstrip()
    if first.status.is_wrong:
        for detail in first.details:
            yield f"    {detail}"


def _size(number: int) -> str:
    return f"  ({number / 1e6:,.1f} MB read)"


if __name__ == "__main__":
    sys.exit(main())
