"""Commands of other programs that the documentation tells people to run, and that not every machine has."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(command: str) -> pytest.MarkDecorator:
    """Skip a test where a command is missing; where CI is set, which installs it, let the test fail."""
    missing = shutil.which(command) is None and not os.environ.get("CI")
    return pytest.mark.skipif(missing, reason=f"{command} is not installed, which the documentation uses")
