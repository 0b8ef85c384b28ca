"""Where the parts of the source tree lie."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "example_dags"
GOLDEN = ROOT / "tests" / "golden"
