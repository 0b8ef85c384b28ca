"""The wheel that users install, in an environment of its own, away from the source tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_akinon import __version__
from airflow_provider_akinon.operators.audit_archive import SealAuditArchiveOperator
from airflow_provider_akinon.sandbox import Sandbox
from airflow_provider_akinon.sandbox.s3 import LocalS3
from airflow_provider_akinon.transfers.audit_events_to_s3 import AuditEventsToS3Operator
from tests.support.paths import ROOT
from tests.support.servers import Connect

pytestmark = pytest.mark.system

LINE = ".".join(version("apache-airflow").split(".")[:2])
INSTALL_TIMEOUT = 900.0
"""Seconds to install Airflow; from a cache it takes a few."""

DAY = ("2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z")

WHERE = "import airflow_provider_akinon, sys; print(airflow_provider_akinon.__file__, *sys.path, sep='\\n')"
# The sandbox's views import only where Django is set up, as the sandbox's process does.
FACTS = """
import contextlib, importlib, importlib.metadata, io, json, pkgutil, sys
import airflow_provider_akinon as package
names = [module.name for module in pkgutil.walk_packages(package.__path__, "airflow_provider_akinon.")]
imported = [name for name in names if not name.endswith(("__main__", "sandbox.api", "sandbox.faults"))]
modules = [importlib.import_module(name).__name__ for name in imported]
versions = [package.__version__, importlib.metadata.version("airflow-provider-akinon")]
from airflow.__main__ import main
sys.argv = ["airflow", "providers", "get", "airflow-provider-akinon", "--output", "plain"]
with contextlib.redirect_stdout(io.StringIO()) as provider:
    main()
print(json.dumps({"modules": modules, "versions": versions, "provider": provider.getvalue()}))
"""
SANDBOX = """
import requests
from airflow_provider_akinon.sandbox import Sandbox
with Sandbox.start(events=7) as sandbox:
    url = f"{sandbox.url}/api/v1/remote/1/data-warehouse/audit-events/"
    print(requests.get(url, headers={"Authorization": f"Token {sandbox.key}"}, timeout=20).json()["count"])
"""


def run(*command: str | Path, timeout: float = 120.0, status: int = 0, **more: str) -> str:
    """Run a command and return its standard output; what this process was told of Python and Airflow is left out."""
    inherited = {n: v for n, v in os.environ.items() if not n.startswith(("AIRFLOW", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, env=inherited | more, cwd="/", capture_output=True, text=True, timeout=timeout)
    said = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == status, f"{' '.join(map(str, command))} ended with {done.returncode}:\n{said}"
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    if uv := shutil.which("uv"):
        run(uv, "venv", "--python", sys.executable, environment)
    else:
        run(sys.executable, "-m", "venv", environment)
    return environment / "bin" / "python"


@pytest.fixture(scope="module")
def wheel(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    if uv := shutil.which("uv"):
        run(uv, "build", "--wheel", "--out-dir", folder, ROOT, timeout=INSTALL_TIMEOUT)
    else:
        run(python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT, timeout=INSTALL_TIMEOUT)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(python: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs ``python`` with arguments where the wheel is installed, out of the source tree's reach."""
    constraints = ROOT / "constraints" / f"airflow-{LINE}.txt"
    install = ["install", "--constraint", str(constraints), f"airflow-provider-akinon[sandbox] @ {wheel.as_uri()}"]
    if uv := shutil.which("uv"):
        run(uv, "pip", *install, "--python", python, timeout=INSTALL_TIMEOUT)
    else:
        run(python, "-m", "pip", *install, timeout=INSTALL_TIMEOUT)
    file, *path = run(python, "-c", WHERE).splitlines()
    assert Path(file).is_relative_to(python.parents[1])
    assert not any(
        Path(entry).is_relative_to(ROOT / "airflow_provider_akinon") or Path(entry) == ROOT for entry in path
    )
    home = tmp_path_factory.mktemp("airflow")
    return lambda *arguments: run(python, *arguments, AIRFLOW_HOME=str(home))


@pytest.fixture(scope="module")
def facts(installed: Callable[..., str]) -> dict[str, Any]:
    """What one process finds where the wheel is installed, Airflow included."""
    return json.loads(installed("-c", FACTS).splitlines()[-1])


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every module is in the wheel, and the mark that it is typed; no test, no documentation, no example."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    package = ROOT / "airflow_provider_akinon"
    modules = {str(path.relative_to(ROOT)) for path in package.rglob("*.py")}
    assert names == {*modules, "airflow_provider_akinon/py.typed"}


def test_every_module_imports(facts: dict[str, Any]) -> None:
    """Every module imports where only the wheel and its requirements are."""
    assert "airflow_provider_akinon.transfers.audit_events_to_s3" in facts["modules"]


def test_the_versions_are_one(facts: dict[str, Any]) -> None:
    """The wheel's metadata and the package say the version of the source tree."""
    assert facts["versions"] == [__version__, __version__]


def test_airflow_knows_the_provider(facts: dict[str, Any]) -> None:
    """Airflow finds the provider through the wheel's entry point."""
    assert __version__ in facts["provider"]


def test_an_archive_is_verified_without_airflow(
    installed: Callable[..., str],
    python: Path,
    s3: LocalS3,
    bucket: str,
    connect: Connect,
    tmp_path: Path,
) -> None:
    """The command verifies a sealed archive, and finds a changed byte, where no Airflow is configured."""
    assert "--public-key" in installed("-m", "airflow_provider_akinon", "verify", "--help")
    with Sandbox.start(events=200, days=1, until=DAY[1]) as sandbox:
        connect(sandbox)
        key = AuditEventsToS3Operator(task_id="export", s3_bucket=bucket, start=DAY[0], end=DAY[1]).execute({})["key"]
    sealed = SealAuditArchiveOperator(task_id="seal", s3_bucket=bucket, start=DAY[0], end=DAY[1]).execute({})
    home = tmp_path / "airflow"
    environment = {
        "AIRFLOW_HOME": str(home),
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3.url,
    }
    command = [python, "-m", "airflow_provider_akinon", "verify", f"s3://{bucket}/akinon/audit-events"]

    said = run(*command, "--head", sealed["heads"][0], **environment)

    assert "Nothing is wrong." in said
    client = s3.client()
    with client.get_object(Bucket=bucket, Key=key)["Body"] as stored:
        body = bytearray(stored.read())
    body[-1] ^= 1
    client.put_object(Bucket=bucket, Key=key, Body=bytes(body))
    again = run(*command, status=1, **environment)
    assert "altered" in again
    assert key in again
    assert not home.exists()


def test_the_sandbox_has_a_command_line(installed: Callable[..., str]) -> None:
    """The sandbox explains itself."""
    assert "--events" in installed("-m", "airflow_provider_akinon.sandbox", "--help")


def test_the_sandbox_serves(installed: Callable[..., str]) -> None:
    """The sandbox answers with what the extra installs."""
    assert installed("-c", SANDBOX) == "7\n"
