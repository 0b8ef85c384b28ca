"""Checks which further HTTP headers of a connection may be sent, such as those that a WAF before the API wants.

Every value is taken for a secret. This module refuses headers that would change what is asked, or how it is answered,
and characters that no header may hold; its messages show nothing of a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

EXAMPLE = '{"X-WAF-Token": "…"}'
"""An example of the connection's field ``secret_headers``."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_FORBIDDEN = re.compile(
    r"authorization|host|accept|accept-(?:charset|encoding|ranges)|connection|keep-alive|te|trailer|transfer-encoding"
    r"|upgrade|expect|range|max-forwards|http2-settings|(?:content|if|proxy)-.+|x-http-method.*|x-method-override",
    re.IGNORECASE,
)


def problem_of_headers(headers: Mapping[str, str]) -> str | None:
    """Return why headers cannot be sent, None where they can."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            return f"it has a name that no header has; write it like {EXAMPLE}"
        if _FORBIDDEN.fullmatch(name):
            return f"it has the name {name}, which is the client's to set, or changes what is asked; leave it out"
        if not _VALUE.fullmatch(value):
            return (
                f"the value of {name} is empty, has white space around it or a character that no header may hold; "
                "give printable ASCII"
            )
    if len({name.lower() for name in headers}) < len(headers):
        return "it has a name twice; header names differ by more than case"
    return None
