"""The command: what it prints, where, and what its exit status says; without Airflow, and with nothing but S3."""

from __future__ import annotations

import errno
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from airflow_provider_akinon import __main__, __version__
from airflow_provider_akinon.audit_events.archive import Status
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.support.sealed import (
    ANOTHER_KEY,
    DAYS,
    EMPTY,
    KEY,
    PREFIX,
    PRIVATE_PEM,
    Archive,
    archive_of,
    new_bucket_with,
    period_of,
    window_of,
)

pytestmark = pytest.mark.xdist_group("sealed")
"""They look at copies of one archive, which takes a while to make."""

PUBLIC_PEM = f"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA{KEY.public}\n-----END PUBLIC KEY-----\n"
SOMEWHERE = "s3://audit-archive/akinon"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def archive(s3: LocalS3, shop: Sandbox) -> Archive:
    return archive_of(s3, shop)


@pytest.fixture(scope="module")
def whole(s3: LocalS3, archive: Archive) -> str:
    """The URL of an archive that nobody touched."""
    return f"s3://{new_bucket_with(s3, archive.files).name}/{PREFIX}"


@pytest.fixture(scope="module")
def damaged(s3: LocalS3, archive: Archive) -> str:
    """The URL of an archive with an object that is gone, and one that is another."""
    files = {key: body for key, body in archive.files.items() if key != archive.object(3)}
    return f"s3://{new_bucket_with(s3, {**files, archive.object(EMPTY): b'{}'}).name}/{PREFIX}"


def environment(s3: LocalS3 | None) -> dict[str, str]:
    """Return what a process needs to reach S3, with neither a home nor an Airflow; without S3, no credentials."""
    found = {
        "PATH": os.environ["PATH"],
        "HOME": os.devnull,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "COLUMNS": "80",
        "TERM": "xterm",
    }
    if s3 is not None:
        found |= {
            "AWS_ACCESS_KEY_ID": s3.access_key,
            "AWS_SECRET_ACCESS_KEY": s3.secret_key,
            "AWS_ENDPOINT_URL": s3.url,
        }
    return found


@pytest.fixture
def run(s3: LocalS3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs the command in this process and returns its exit status, and what it printed and complained."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment(s3).items():
        monkeypatch.setenv(name, value)
    # Airflow, which is in this process, prints what boto3 logs. Where it is not, nobody does.
    logging.disable(logging.WARNING)

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            status = __main__.main(["verify", *arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        return (status, *capsys.readouterr())

    yield run
    logging.disable(logging.NOTSET)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow_provider_akinon", *arguments]


def process(s3: LocalS3 | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("verify", *arguments), env=environment(s3), capture_output=True, text=True, timeout=60, check=False
    )


# What it says


def test_nothing_is_wrong(archive: Archive, whole: str, run: Run) -> None:
    """It exits 0 and says what is there, what was read, and what was not checked; windows in a row share a line."""
    status, printed, complained = run(whole)

    start, sealed, end = (f"{at:%Y-%m-%dT%H:%M:%S}.000Z" for at in (
        window_of(0).start, period_of(4).end, period_of(5).end,
    ))  # fmt: skip
    size = sum(len(archive.files[key]) for day in DAYS for key in archive.objects(day)) / 1e6
    assert (status, complained) == (0, "")
    assert printed.splitlines() == [
        whole,
        f"{archive.chain}: seals 1 to 4, sealed until {sealed}, signed by {KEY.public}",
        f"  head {archive.heads[-1]}",
        f"  This is a copy: the newest seal was written in s3://{archive.bucket}/{PREFIX}",
        f"{'ok':<26} {start}  {sealed} 20 windows",
        f"{'not sealed':<26} {sealed}  {end} 5 windows",
        f"20 ok, 5 not sealed  ({size:,.1f} MB read)",
        "Signatures were not checked: give --public-key.",
        "Nothing is wrong.",
    ]


def test_what_is_wrong(archive: Archive, damaged: str, run: Run) -> None:
    """It exits 1, and each wrong window has a line of its own, with its key, and what is wrong below it."""
    status, printed, complained = run(damaged)

    assert (status, complained) == (1, "")
    wrong = {line.split()[-1]: (line.split()[0], below) for line, below in pairs(printed) if below.startswith("    ")}
    assert wrong == {
        archive.object(3): ("missing", "    the object is gone"),
        archive.object(EMPTY): (
            "altered",
            f"    the object has 2 bytes; by its receipt {archive.receipt(EMPTY).split('.')[-3]} it had "
            f"{len(archive.files[archive.object(EMPTY)])}",
        ),
    }
    assert re.findall(r"^(?:ok|not sealed) .* (\S+) windows$", printed, re.M) == ["3", "3", "12", "5"]
    assert printed.splitlines()[-3].startswith("18 ok, 5 not sealed, 1 missing, 1 altered ")
    assert printed.endswith("\n2 WRONG\n")


def pairs(printed: str) -> Iterator[tuple[str, str]]:
    return pairwise(printed.splitlines())


def test_every_window_by_itself(archive: Archive, whole: str, run: Run) -> None:
    """With ``--verbose`` each window has a line, with its key."""
    status, printed, _ = run(whole, "--verbose")

    assert status == 0
    assert re.findall(r"^(?:ok|not sealed) .* (\S+)$", printed, re.M) == [archive.object(day) for day in DAYS]


@pytest.mark.parametrize("name", ["whole", "damaged"])
def test_json_says_the_same(archive: Archive, name: str, run: Run, request: pytest.FixtureRequest) -> None:
    """With ``--json`` there is one document and nothing else, with the exit status and the figures of the text."""
    url = request.getfixturevalue(name)
    status, text, _ = run(url, "-v")

    json_status, printed, complained = run(url, "--json")

    found = json.loads(printed)
    assert (json_status, complained) == (status, "")
    assert found["ok"] == (status == 0)
    assert found["archive"] == url
    assert ", ".join(f"{number} {each}" for each, number in found["counts"].items()) + "  (" in text
    assert f"({found['bytes_read'] / 1e6:,.1f} MB read)" in text
    assert [chain["head"] for chain in found["chains"]] == [archive.heads[-1]]
    assert len(found["findings"]) == len(DAYS)
    assert [each["window"] for each in found["findings"]] == [window_of(day).as_dict() for day in DAYS]
    for each in found["findings"]:
        window = f"{each['window']['start']}  {each['window']['end']}"
        assert re.search(rf"^{each['status']} +{window} +{re.escape(each['key'])}$", text, re.M)
        assert each["wrong"] == (each["status"] not in ("ok", "not sealed"))
        assert [detail for detail in each["details"] if each["wrong"] and f"    {detail}\n" not in text] == []


def test_keys_and_heads(archive: Archive, whole: str, run: Run, tmp_path: Path) -> None:
    """A public key may be a file or text, and heads and keys may be several; then signatures are checked."""
    file = tmp_path / "seal.pub.pem"
    file.write_text(PUBLIC_PEM)
    heads = [part for head in archive.heads for part in ("--head", head)]

    for key in (str(file), str(KEY.public), PUBLIC_PEM):
        status, printed, _ = run(whole, "--public-key", str(ANOTHER_KEY.public), "--public-key", key, *heads)
        assert (status, printed.splitlines()[-1]) == (0, "Nothing is wrong.")
        assert "not checked" not in printed


def test_another_key_or_head_is_wrong(archive: Archive, whole: str, run: Run) -> None:
    """What has to be there and is not is told, and exits 1."""
    status, printed, _ = run(whole, "--public-key", str(ANOTHER_KEY.public))
    assert (status, printed.splitlines()[-1]) == (1, "4 WRONG")
    assert printed.count("\nnot signed ") == 4

    status, printed, _ = run(whole, "--head", archive.heads[-1], "--head", "0" * 64)
    assert (status, printed.splitlines()[-1]) == (1, "1 WRONG")
    assert "0" * 64 in printed


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-03-04", "2025-03-07"),
        ("2025-03-04T00:00:00Z", "2025-03-07T00:00:00Z"),
        ("2025-03-04T03:00:00+03:00", "2025-03-06T21:00:00-03:00"),
    ],
)
def test_from_and_to(whole: str, run: Run, start: str, end: str) -> None:
    """Dates are midnights in UTC, and times have their offset."""
    status, printed, _ = run(whole, "--from", start, "--to", end, "--json")

    assert status == 0
    assert [each["window"] for each in json.loads(printed)["findings"]] == [window_of(d).as_dict() for d in (1, 2, 3)]


def test_a_prefix_with_nothing(whole: str, run: Run) -> None:
    """An empty prefix is wrong, and so is one without seals not right without a word."""
    bucket = whole.removesuffix(PREFIX)

    status, printed, _ = run(f"{bucket}elsewhere")
    assert status == 1
    assert printed.splitlines()[1:3] == ["nothing", "    there is neither an object, nor a receipt, nor a seal"]
    assert printed.endswith("\n1 WRONG\n")

    for above in (bucket, bucket.removesuffix("/")):
        status, printed, _ = run(above)
        assert status == 0
        assert "No seal counts here: only receipts were checked. Is this the prefix that was sealed?" in printed


# What it cannot do


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["s3://no-such-bucket/akinon"], "s3_bucket='no-such-bucket' does not exist"),
        (["s3://NO/akinon"], "NO"),
        (["audit-archive/akinon"], "is no location in S3; write it like s3://"),
        (["s3:///akinon"], "is no location in S3; write it like s3://"),
        (["https://audit-archive/akinon"], "is no location in S3; write it like s3://"),
        ([SOMEWHERE, "--from", "March"], "--from='March' is not an ISO 8601 date-time"),
        ([SOMEWHERE, "--from", "2026-13-01"], "--from='2026-13-01T00:00:00Z' is not an ISO 8601 date-time"),
        ([SOMEWHERE, "--to", "2026-03-01T00:00:00"], "--to='2026-03-01T00:00:00' has no time zone"),
        ([SOMEWHERE, "--from", "2026-03-02", "--to", "2026-03-01"], "exchange them"),
        ([SOMEWHERE, "--from", "2026-03-01", "--to", "2026-03-01"], "the window is empty"),
        ([SOMEWHERE, "--public-key", "no-such-file.pem"], "--public-key, which names no file, is not an Ed25519"),
        ([SOMEWHERE, "--public-key", __file__], f"--public-key {__file__} is not an Ed25519 public key"),
        ([SOMEWHERE, "--head", "0f"], "head='0f' is not the SHA-256 of a seal"),
        ([SOMEWHERE, "--head", "A" * 64], "is not the SHA-256 of a seal"),
        ([SOMEWHERE, "--endpoint-url", "nowhere"], "--endpoint-url nowhere is no URL"),
        ([SOMEWHERE, "--endpoint-url", "ftp://nowhere"], "was not a valid URI"),
        ([SOMEWHERE, "--endpoint-url", "http://127.0.0.1:1"], "Could not connect to the endpoint URL"),
        ([SOMEWHERE, "--profile", "nobody"], "The config profile (nobody) could not be found"),
    ],
)
def test_what_it_cannot_look_at(run: Run, arguments: list[str], problem: str) -> None:
    """It exits 2, prints nothing, and complains in one line of what to change, with ``--json`` too."""
    for more in ([], ["--json"]):
        status, printed, complained = run(*arguments, *more)

        assert (status, printed) == (2, "")
        assert complained.startswith("It could not be verified: ")
        assert problem in complained
        assert complained.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], [SOMEWHERE, "--form", "2026-03-01"], [SOMEWHERE, "elsewhere"]])
def test_a_wrong_command_line(run: Run, arguments: list[str]) -> None:
    """It exits 2 and shows the usage."""
    status, printed, complained = run(*arguments)

    assert (status, printed) == (2, "")
    assert complained.startswith("usage: akinon-audit ")


def test_a_private_key_is_not_shown(run: Run, tmp_path: Path) -> None:
    """Who gives the private key by mistake, as a file or as text, does not see it again in a log."""
    file = tmp_path / "seal.pem"
    file.write_text(PRIVATE_PEM)
    middle = PRIVATE_PEM.splitlines()[1]

    for key in (str(file), PRIVATE_PEM, middle):
        status, printed, complained = run(SOMEWHERE, "--public-key", key)
        assert (status, printed) == (2, "")
        assert "is not an Ed25519 public key" in complained
        assert middle[22:32] not in complained


def test_credentials_that_are_missing_or_wrong(whole: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It exits 2: it could not look, which is not the archive's fault."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    status, printed, complained = run(whole)
    assert (status, printed) == (2, "")
    assert "does not exist, or its listing is not allowed" in complained

    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    status, printed, complained = run(whole)
    assert (status, printed) == (2, "")
    assert "Unable to locate credentials" in complained


# As a process


def test_without_airflow(s3: LocalS3, whole: str, tmp_path: Path) -> None:
    """A process without a home verifies a whole archive, and imports nothing of Airflow."""
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", *command("verify", whole, "--public-key", str(KEY.public))[1:]],
        env=environment(s3),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    imported = {
        line.rpartition("|")[2].strip() for line in shown.stderr.splitlines() if line.startswith("import time:")
    }
    assert shown.returncode == 0, shown.stdout
    assert shown.stdout.endswith("Nothing is wrong.\n")
    assert "airflow_provider_akinon.audit_events.verification.verify" in imported
    assert "boto3" in imported
    assert [name for name in imported if name.partition(".")[0] in ("airflow", "rich", "requests")] == []
    assert [line for line in shown.stderr.splitlines() if not line.startswith("import time:")] == []
    assert list(tmp_path.iterdir()) == []


def test_the_exit_status_of_a_process(s3: LocalS3, damaged: str) -> None:
    """It is the one that was returned, and nothing is on standard error in a pipe."""
    wrong, blind = process(s3, damaged), process(None, damaged)

    assert (wrong.returncode, wrong.stderr) == (1, "")
    assert wrong.stdout.endswith("2 WRONG\n")
    assert (blind.returncode, blind.stdout) == (2, "")
    assert blind.stderr.startswith("It could not be verified: ")


def on_a_terminal(s3: LocalS3, *arguments: str) -> tuple[int, str, str]:
    """Return exit status, standard output from a pipe, and what a terminal got on standard error."""
    controller, terminal = pty.openpty()
    try:
        running = subprocess.Popen(
            command("verify", *arguments), env=environment(s3), stdout=subprocess.PIPE, stderr=terminal, text=True
        )
    finally:
        os.close(terminal)
    seen = b""
    try:
        while piece := _read(controller):
            seen += piece
        printed, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
        os.close(controller)
    return running.returncode, printed, seen.decode()


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 4096)
    except OSError as error:
        if error.errno == errno.EIO:  # on Linux: the last one has closed the terminal
            return b""
        raise


def test_progress_on_a_terminal(s3: LocalS3, whole: str) -> None:
    """A terminal shows a bar that reaches the last window and is wiped; standard output is as in a pipe."""
    status, printed, seen = on_a_terminal(s3, whole)

    assert status == 0
    assert "Verifying" in seen
    assert f"{len(DAYS)}/{len(DAYS)}" in seen
    assert printed == process(s3, whole).stdout
    assert "Verifying" not in printed


def test_no_progress_where_it_is_not_wanted(s3: LocalS3, whole: str) -> None:
    """With ``--quiet`` a terminal shows none."""
    status, printed, seen = on_a_terminal(s3, whole, "--quiet")

    assert (status, seen) == (0, "")
    assert printed.endswith("Nothing is wrong.\n")


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names every option, every status and every exit status; the version is the package's."""
    for arguments in (["--help"], ["verify", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as ended:
            __main__.main(arguments)
        assert ended.value.code == 0
    printed = capsys.readouterr().out

    for option in ("from", "to", "public-key", "head", "json", "verbose", "quiet", "profile", "endpoint-url"):
        assert f"\n  --{option}" in printed
    told = printed.partition("what is found:\n")[2].partition("exit status:\n")[0]
    assert [status for status in Status if not re.search(rf"^  (gap, )?{status.value}\b", told, re.M)] == []
    assert "0  nothing is wrong        1  something is wrong        2  it could not look" in printed
    assert printed.endswith(f"{__version__}\n")
