"""Install the wheel beside each Airflow that it claims to run on, and let it work there: ``python -m tests.matrix``.

Each place is an Airflow, a Python, and the versions that Airflow's own constraints pin there, or the lowest that the
package allows. In an environment of its own, which is removed afterwards, the wheel exports a day from a sandbox API
to a real S3, pokes one sensor, defers one, seals, and verifies. Prints a table; exits 0 only where everything worked
in every place that was tried. Needs ``uv``, and the extra ``[sandbox]`` in the environment that it is started from.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from tests.matrix.in_place import NAMES
from tests.support.paths import ROOT

INSTALL_TIMEOUT = 600.0
RUN_TIMEOUT = 300.0
"""Seconds."""
UNTIL = datetime(2026, 2, 1, tzinfo=UTC)
PYTHONS = {
    "2.11": ("3.11", "3.12"),
    "3.0": ("3.11", "3.12"),
    "3.1": ("3.11", "3.12", "3.13"),
    "3.2": ("3.11", "3.12", "3.13", "3.14"),
    "3.3": ("3.11", "3.12", "3.13", "3.14"),
}
"""Of each line of Airflow, the Pythons that both it and the package allow."""


@dataclass(frozen=True)
class Location:
    """An Airflow and a Python, and which of the versions that fit are installed there."""

    name: str
    airflow: str
    """A requirement without its name."""
    python: str
    pins: Mapping[str, str] = field(default_factory=dict)
    as_of: str | None = None
    """Nothing that was published from this day on is installed, as in a constraints file of that time."""
    lowest: bool = False
    """Whether of each requirement of the package the lowest version that it allows is installed."""


LOWEST = Location("lowest", "==2.11.0", "3.11", as_of="2025-05-21", lowest=True)
LOWEST_3 = Location("lowest", "==3.0.0", "3.11", as_of="2025-04-23", lowest=True)
# What Airflow's constraints files of these releases pin of that which this package needs.
PINNED = {
    "3.0.2": (
        "2025-06-11",
        {
            "apache-airflow-providers-amazon": "9.8.0",
            "apache-airflow-providers-common-compat": "1.7.0",
            "asgiref": "3.8.1",
            "boto3": "1.37.3",
            "cryptography": "42.0.8",
            "msgspec": "0.19.0",
            "pendulum": "3.1.0",
            "pyarrow": "16.1.0",
            "requests": "2.32.3",
            "rich": "13.9.4",
            "tenacity": "9.1.2",
            "urllib3": "2.4.0",
        },
    ),
    "3.1.5": (
        "2025-12-15",
        {"apache-airflow-providers-amazon": "9.18.1", "apache-airflow-providers-common-compat": "1.10.1"},
    ),
}


RELEASED = {"3.0": "2025-08-30", "3.2": "2026-05-30"}
"""The day after the last release of a line of Airflow that does not run with what was published since."""


def pinned(release: str, python: str) -> Location:
    """Return the place of a release's constraints."""
    as_of, pins = PINNED[release]
    return Location("constraints", f"=={release}", python, pins, as_of)


def newest(line: str, python: str) -> Location:
    """Return the place of the newest versions that fit a line of Airflow."""
    return Location("newest", f"~={line}.0", python, as_of=RELEASED.get(line))


SHORT = [LOWEST, pinned("3.0.2", "3.11")]
USUAL = [
    LOWEST,
    LOWEST_3,
    pinned("3.0.2", "3.11"),
    pinned("3.1.5", "3.12"),
    *(newest(line, min(pythons[-1], "3.13")) for line, pythons in PYTHONS.items()),
]
WHOLE = [
    LOWEST,
    LOWEST_3,
    *(pinned("3.0.2", python) for python in PYTHONS["3.0"]),
    *(pinned("3.1.5", python) for python in PYTHONS["3.1"]),
    *(newest(line, python) for line, pythons in PYTHONS.items() for python in pythons),
]


def main() -> int:
    """Try the places that the command line asks for and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("places", nargs="?", choices=("short", "usual", "whole"), default="usual")
    parser.add_argument("--airflow", help="only places whose Airflow holds this text, such as 3.1")
    arguments = parser.parse_args()
    places = {"short": SHORT, "usual": USUAL, "whole": WHOLE}[arguments.places]
    places = [place for place in places if arguments.airflow is None or arguments.airflow in place.airflow]
    uv = shutil.which("uv")
    if uv is None or not places:
        parser.error("uv is not installed; pip install uv" if uv is None else "no place has that Airflow")
    outcomes = []
    with (
        tempfile.TemporaryDirectory(prefix="akinon-matrix-") as folder,
        Sandbox.start(events=600, days=3, until=UNTIL) as sandbox,
        LocalS3.start() as s3,
    ):
        wheel = _wheel(uv, Path(folder))
        print(_row(HEADINGS), flush=True)
        for number, place in enumerate(places):
            work = Path(folder, str(number))
            Path(work, "airflow").mkdir(parents=True)
            bucket = f"matrix-{number}"
            s3.client().create_bucket(Bucket=bucket)
            settings = _settings(work, sandbox, s3, bucket)
            outcomes.append(_tried(uv, place, wheel, work, settings))
            print(_row(outcomes[-1].cells()), flush=True)
            shutil.rmtree(work)
    worked = sum(outcome.worked for outcome in outcomes)
    tried = sum(outcome.problem != NO_PYTHON for outcome in outcomes)
    print(f"\n{worked} of {tried} places work; {len(outcomes) - tried} have no Python here")
    for outcome in outcomes:
        if not outcome.worked and outcome.problem != NO_PYTHON:
            print(f"\n{outcome.place}\n{outcome.problem}")
    return 0 if worked == tried > 0 else 1


NO_PYTHON = "no such Python here"
HEADINGS = ("airflow", "python", "versions", "amazon", "common-compat", "boto3", "installed", *NAMES, "seconds")
WIDTHS = (8, 7, 12, 8, 14, 9, 10, 8, 8, 9, 8, 7)


@dataclass(frozen=True)
class Outcome:
    """What came of a place."""

    place: Location
    installed: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    seconds: float = 0.0

    @property
    def worked(self) -> bool:
        return bool(self.states) and set(self.states.values()) == {"success"}

    def cells(self) -> Iterator[str]:
        known = {"airflow": self.place.airflow, "python": self.place.python, **self.versions}
        yield from (known["airflow"], known["python"], self.place.name)
        yield from (known.get(name, "-") for name in ("amazon", "common-compat", "boto3"))
        yield "yes" if self.installed else "no"
        yield from ({"success": "yes"}.get(state := self.states.get(name, "-"), state) for name in NAMES)
        yield self.problem if self.problem == NO_PYTHON else f"{self.seconds:.0f}"


def _tried(uv: str, place: Location, wheel: Path, work: Path, settings: Mapping[str, str]) -> Outcome:
    """Install the wheel in a place, run the DAGs there, and return what came of it."""
    python = _python(place.python)
    if python is None:
        return Outcome(place, problem=NO_PYTHON)
    began = time.monotonic()
    environment = work / "environment"
    try:
        _run([uv, "venv", "--quiet", "--python", python, str(environment)], INSTALL_TIMEOUT)
        _run([uv, "pip", "install", "--quiet", "--python", str(environment), *_requirements(place, wheel)],
             INSTALL_TIMEOUT)  # fmt: skip
    except Failed as failed:
        return Outcome(place, problem=str(failed), seconds=time.monotonic() - began)
    try:
        script = ROOT / "tests" / "matrix" / "in_place.py"
        said = _run([str(environment / "bin" / "python"), str(script), UNTIL.isoformat()], RUN_TIMEOUT, settings)
    except Failed as failed:
        return Outcome(place, installed=True, problem=str(failed), seconds=time.monotonic() - began)
    told = json.loads(said.stdout.splitlines()[-1])
    problem = "" if set(told["states"].values()) == {"success"} else said.stderr[-4000:]
    return Outcome(place, True, told["versions"], told["states"], problem, time.monotonic() - began)


def _requirements(place: Location, wheel: Path) -> Iterator[str]:
    yield from (f"apache-airflow{place.airflow}", f"airflow-provider-akinon @ {wheel.as_uri()}")
    yield from (f"{name}=={version}" for name, version in place.pins.items())
    if place.as_of:
        yield from ("--exclude-newer", place.as_of)
    if place.lowest:
        # The requirements of a wheel are not direct ones: these are read where the wheel has them from.
        yield from ("--resolution", "lowest-direct", "--requirements", str(ROOT / "pyproject.toml"))


def _settings(work: Path, sandbox: Sandbox, s3: LocalS3, bucket: str) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(work / "airflow"),
        "AIRFLOW_CONN_AKINON_DEFAULT": sandbox.connection_json(),
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(s3.connection()),
        "MATRIX_BUCKET": bucket,
        "MATRIX_RESUMED": str(work / "resumed"),
    }


def _wheel(uv: str, folder: Path) -> Path:
    _run([uv, "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)], INSTALL_TIMEOUT)
    [wheel] = folder.glob("*.whl")
    return wheel


def _python(version: str) -> str | None:
    """Return a Python of that version, from PATH or pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    candidates = [sys.executable, f"python{version}", *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    ask = "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
    for candidate in candidates:
        try:
            said = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, timeout=30).stdout
        except OSError:
            continue
        if said.startswith(f"{version} "):
            return said.split(maxsplit=1)[1].strip()
    return None


class Failed(Exception):
    """A command ended with an error; the text is the end of what it said."""


def _run(command: list[str], timeout: float, more: Mapping[str, str] = {}) -> Any:
    """Run a command, with nothing of what this process was told of Python and Airflow."""
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("AIRFLOW", "PYTHON", "VIRTUAL_ENV"))}
    try:
        done = subprocess.run(
            command, env=inherited | dict(more), cwd="/", capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[0]} took longer than {timeout:.0f} s") from error
    if done.returncode:
        raise Failed(f"{command[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done


def _row(cells: Any) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


if __name__ == "__main__":
    sys.exit(main())
