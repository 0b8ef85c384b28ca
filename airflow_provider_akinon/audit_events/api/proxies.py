"""Checks the proxies of a connection or of the environment, and finds the secrets in their URLs.

A proxy's URL is read as the HTTP library reads it, before anything is sent. Problems are told without showing any of
the URL, since a password with a stray ``/`` or ``@`` lands in another part of it. This module sends nothing, and
chooses no proxy by itself: `requests` does.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from urllib.parse import unquote

from urllib3.util import Url, parse_url

EXAMPLE = '{"https": "http://proxy.example.com:3128"}'
"""An example of the connection's field ``proxies``."""

_KEYS = re.compile(r"(?:https?|all)(?:://[^/\s]+)?|no_proxy")
_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_LONGEST_LABEL = 63
_NO_URL = (
    "it is no URL of a proxy; write it like http://user:password@proxy.example.com:3128, with what is neither a "
    "letter nor a digit in the password percent-encoded"
)


def problem_of_all(proxies: Mapping[str, str]) -> str | None:
    """Return what is wrong with proxies by scheme, as `requests` takes them; None where nothing is."""
    for key, url in proxies.items():
        if not _KEYS.fullmatch(key):
            return f"it has a name that nothing is sent by; give 'https', 'http' or 'all', like {EXAMPLE}"
        # Empty text switches off what the environment says.
        if url and key != "no_proxy" and (problem := problem_of_proxy(url)):
            return problem
    return None


def problem_of_proxy(url: str) -> str | None:
    """Return why the client cannot use a proxy, None where it can. The text shows nothing of ``url``."""
    from requests.utils import get_auth_from_url, prepend_scheme_if_needed  # verifying has no use for it

    try:
        # Without a host, requests itself fails.
        if not parse_url(url).host:
            return _NO_URL
        parts = parse_url(prepend_scheme_if_needed(url, "http"))  # type: ignore[no-untyped-call]
        credentials = ":".join(get_auth_from_url(url))
    except ValueError:  # of which urllib3's LocationParseError is one
        return _NO_URL
    if parts.scheme not in _SCHEMES:
        return f"its scheme is none of {', '.join(_SCHEMES)}; begin it with http://"
    if not _is_host(parts) or (parts.path or "/") != "/" or parts.query or parts.fragment:
        return _NO_URL
    if parts.scheme.startswith("socks") and find_spec("socks") is None:
        return (
            "it is a SOCKS proxy, for which the package PySocks is missing here; install it where tasks run: "
            "pip install PySocks"
        )
    try:
        credentials.encode("latin1")
    except UnicodeEncodeError:
        return "its user name or password has a character that no header holds; give it another password"
    return None


def _is_host(parts: Url) -> bool:
    name = (parts.host or "").removesuffix(".")
    return bool(name) and all(0 < len(label) <= _LONGEST_LABEL for label in name.split("."))


def proxy_of_environment(url: str, proxies: Mapping[str, str] | None) -> str | None:
    """Return the proxy that the environment (``HTTPS_PROXY`` and the like) gives ``url``.

    None where it gives none, or where ``proxies``, those of the connection, come before it.
    """
    from requests.utils import get_environ_proxies, select_proxy

    own = proxies or {}
    if select_proxy(url, own) is not None:
        return None
    return select_proxy(url, get_environ_proxies(url, no_proxy=own.get("no_proxy"))) or None


def secrets_of_proxy(url: str) -> Iterator[str]:
    """Yield the secrets of a proxy's URL: its password as written, decoded, and as it is sent."""
    userinfo = url.partition("://")[2] if "://" in url else url
    userinfo, found, _ = userinfo.rpartition("@")
    if not found:
        return
    user, _, password = userinfo.partition(":")
    # A user name alone is a token.
    yield from {password or user, unquote(password or user)} - {""}
    yield base64.b64encode(unquote(f"{user}:{password}").encode()).decode()
