"""Credentials in text that is no JSON, or broken: a form, a URL, headers, multipart, a dump that was cut off.

Whatever looks like a name and its value is taken for one, and where it is uncertain how far a credential goes, more
goes rather than less. This module finds places; it replaces nothing.
"""

from __future__ import annotations

import json
import re
from typing import cast
from urllib.parse import quote, unquote

from airflow_provider_akinon.audit_events.credentials import is_credential
from airflow_provider_akinon.audit_events.splicing import Edit

REDACTED = "[redacted]"
QUOTED = json.dumps(REDACTED)
"""The same in JSON."""
PERCENT_QUOTED = quote(REDACTED)
"""The same in a form or a URL."""

# No group is repeated possessively, as Python before 3.11.5 gets that wrong; an atomic group says the same.
_NAMED = re.compile(r"""(?<![\w.\-\[\]%+$])([\w.\-\[\]%+$]++)(["'])?(?(2)\s*+|[ \t]*+)([=:])(?(2)\s*+|[ \t]*+)""")
_QUOTE = re.compile(
    r"""[bru]?["][^"\\]*+(?>(?:\\.[^"\\]*+)*)\\?["]?|[bru]?['][^'\\]*+(?>(?:\\.[^'\\]*+)*)\\?[']?""", re.DOTALL
)
_NESTED = re.compile(rf"{_QUOTE.pattern}|([{{\[(])|([}}\])])", re.DOTALL)
_BARE = re.compile(r"[^,}\]\r\n]*")
_REST_OF_HEADER = re.compile(r"[^\r\n]*+(?>(?:\r?\n[ \t][^\r\n]*+)*)")
_END_IN_FORM = re.compile(r"""[&\r\n]|;[ \t]++(?=[\w.\-]+=)|["'](?=\s*+[,}\]])|\Z""")
_END_IN_URL = re.compile(rf"#|{_END_IN_FORM.pattern}")
_URL = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.\-]*:/)?/")
_USER_INFO = re.compile(r"""(?<=//)[^/?#\s"'<>\\]+(?=@)""")
_PART = re.compile(
    r"""\bname=(?:"([^"\r\n]*)"|([^\s;"]+))[^\r\n]{0,500}+(?>(?:\r?\n[^\r\n]+){0,9})\r?\n\r?\n""", re.IGNORECASE
)
_BOUNDARY = re.compile(r"\s*(--[^\s]+)")


def loose_credentials(text: str) -> list[Edit]:
    """Return the edits of credentials in any text: a form, a URL, headers, multipart, JSON or Python cut off."""
    edits = [(*found.span(), PERCENT_QUOTED) for found in _USER_INFO.finditer(text)] if "@" in text else []
    end = 0
    for found in _NAMED.finditer(text):
        name, quoted, separator = found.groups()
        start = found.end()
        if found.start() < end or not is_credential(unquote(name) if "%" in name else name):
            continue
        # A string may be the next name, where this one's value is missing.
        string = _string(text, start, quoted is not None, separator)
        last, new = (string, QUOTED) if string else _value(text, start, quoted is not None, separator)
        end = start if string else last
        if text[start:last].strip(" \t=") and not (quoted and text[start:last].strip() in ("null", "None")):
            edits.append((start, last, new))
    end = 0
    for found in _PART.finditer(text) if "\n" in text else ():
        if found.start() >= end and is_credential(found[1] or found[2] or ""):
            boundary = _BOUNDARY.match(text)
            stop = re.compile(r"\r?\n" + re.escape(boundary[1] if boundary else "--") + r"|\Z")
            end = cast(re.Match[str], stop.search(text, found.end())).start()
            edits.append((found.end(), end, REDACTED))
    return edits


def _string(text: str, start: int, quoted: bool, separator: str) -> int | None:
    """Return where the string ends that starts here, if one does. ``quoted``: its name was."""
    string = _QUOTE.match(text, start) if quoted or separator == "=" else None
    if string and (separator == ":" or text[string.end() : string.end() + 1] in ("", *" \t\r\n,;&>/")):
        return string.end()
    return None


def _value(text: str, start: int, quoted: bool, separator: str) -> tuple[int, str]:
    """Return where the value ends that starts here and is no string, and what stands for it."""
    if separator == "=":
        pattern = _END_IN_URL if _URL.match(text) else _END_IN_FORM
        return cast(re.Match[str], pattern.search(text, start)).start(), PERCENT_QUOTED
    if not quoted:
        return cast(re.Match[str], _REST_OF_HEADER.match(text, start)).end(), REDACTED
    depth = 0
    for token in _NESTED.finditer(text, start) if text[start : start + 1] in ("{", "[") else ():
        depth += (token[1] is not None) - (token[2] is not None)
        if depth == 0:
            return token.end(), QUOTED
    if depth:
        return len(text), QUOTED
    return cast(re.Match[str], _BARE.match(text, start)).end(), QUOTED
