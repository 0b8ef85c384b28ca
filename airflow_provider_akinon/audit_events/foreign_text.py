"""Shows text that others wrote in messages: on one line, harmless, and no longer than allowed.

Answers of the API and anything in a bucket can hold line breaks that forge a line of a log, escapes that move a
terminal's cursor, and marks that turn the direction of reading. This module refuses to judge the text, and to remove
anything from it, except that it cuts long text; it knows no secret.
"""

from __future__ import annotations

import unicodedata

MOST = 200
"""The length in characters that text is cut to by default."""

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_CUT = "…"


def shown(text: str, most: int | None = MOST) -> str:
    r"""Return ``text`` for a message: with escapes such as ``\x1b`` for what does not print, and at most ``most``
    long.

    It escapes every control, format, surrogate, private and unassigned character, and every separator of lines and
    paragraphs; a backslash stays a backslash. A text that was cut ends with ``…``. With None, nothing is cut.
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
