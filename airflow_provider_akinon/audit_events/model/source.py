"""The source of events: the API's host and the id in its path. One of Akinon's two documented paths has no id.

This module knows names only; it reaches nobody.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

NAME_OF_A_HOST, ADDRESS_OF_A_HOST = r"[a-z0-9._-]+", r"[0-9a-f:.]+(?:%[a-z0-9]+)?"
"""The patterns of a host's name and of an IPv6 address; in a URL, the address stands in brackets."""
Host = Annotated[str, msgspec.Meta(pattern=rf"^(?:{NAME_OF_A_HOST}|\[{ADDRESS_OF_A_HOST}\])(?::[0-9]+)?$(?!\n)")]
"""A host as a URL writes it, with its port unless that is the default of https or http."""


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The source of events; as text ``shop.example.com/remote/1``, or ``…/remote/none`` where the API has no id."""

    host: Host
    """The API's host, with its port unless that is the default of https or http."""
    remote_id: int | None
    """The number in the API's path, which names the account; None where the path has no number."""

    def __str__(self) -> str:
        return f"{self.host}/remote/{'none' if self.remote_id is None else self.remote_id}"
