"""Where events come from: the API's host, and the id in its path, which one of Akinon's two documented paths lacks.

This module knows names only; it reaches nobody.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

NAME_OF_A_HOST, ADDRESS_OF_A_HOST = r"[a-z0-9._-]+", r"[0-9a-f:.]+(?:%[a-z0-9]+)?"
"""Patterns. An address of IPv6 stands in brackets in a URL."""
Host = Annotated[str, msgspec.Meta(pattern=rf"^(?:{NAME_OF_A_HOST}|\[{ADDRESS_OF_A_HOST}\])(?::[0-9]+)?$(?!\n)")]
"""A host as a URL has it, with its port where that is not https's own."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where events come from; as text ``shop.example.com/remote/1``, in which an API without an id has ``none``."""

    host: Host
    """The API's host, with its port where that is not the usual one."""
    remote_id: int | None
    """The account, by the number in the API's path; None where that has none."""

    def __str__(self) -> str:
        return f"{self.host}/remote/{'none' if self.remote_id is None else self.remote_id}"
