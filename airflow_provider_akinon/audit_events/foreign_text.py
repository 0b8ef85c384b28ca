"""How text that others wrote is shown in a message: on one line, harmless, and not longer than it may be.

What the API answers and what lies in a bucket can hold line breaks that forge a line of a log, escapes that move a
terminal's cursor, and marks that turn the direction of what is read. This module refuses to judge the text, and to
remove anything from it but by the cut; it knows no secret.
"""

from __future__ import annotations

import unicodedata

MOST = 200
"""Characters that text is cut to where nobody says how many."""

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_CUT = "…"


def shown(text: str, most: int | None = MOST) -> str:
    r"""Return ``text`` for a message: what does not print is escaped as ``\x1b``, and all is at most ``most`` long.

    Escaped is every control, format, surrogate, private and unassigned character, and every separator of lines and
    paragraphs; a backslash stays a backslash. What is cut ends with ``…``. None cuts nothing.
    """
    if most is None:
        return "".join(map(_escaped, text))
    pieces, length = [], 0
    # An escape is as long as its character or longer: what comes after these is cut anyway.
    for piece in map(_escaped, text[: most + 1]):
        pieces.append(piece)
        length += len(piece)
    if length <= most:
        return "".join(pieces)
    while pieces and length > most - len(_CUT):
        length -= len(pieces.pop())
    return "".join(pieces) + _CUT


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _ESCAPED:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
