"""The documentation's pages as Sphinx builds them, once for all tests that read them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.paths import DOCS


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, ElementTree.Element]:
    """Each page's tree, by its name, such as ``transfers/audit_events_to_s3``. A warning fails the build."""
    built = tmp_path_factory.mktemp("pages")
    command = [sys.executable, "-m", "sphinx", "-b", "xml", "-W", "-n", "-q", "--keep-going", str(DOCS), str(built)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=DOCS.parent)
    assert ran.returncode == 0, ran.stderr
    return {
        path.relative_to(built).with_suffix("").as_posix(): ElementTree.parse(path).getroot()
        for path in Path(built).rglob("*.xml")
    }
