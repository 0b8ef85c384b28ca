"""How many examples properties are tried on: few by default, many where ``AKINON_EXAMPLES`` says so."""

from __future__ import annotations

import os

EXAMPLES = int(os.environ.get("AKINON_EXAMPLES", "40"))
"""Histories of an archive, each of which makes many exports."""

SOME_EXAMPLES = max(40, EXAMPLES // 2)
"""Of the export's properties, each of which exports a window, and of attacks on an archive."""

OTHER_EXAMPLES = max(30, EXAMPLES // 4)
"""Of all other properties."""
