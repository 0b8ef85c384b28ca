"""The settings that the client needs for an API and an account, read from the fields of a connection.

All wrong fields are reported at once, each with its name, its value and what to write instead. Unknown extras
are refused: a misspelt ``verify`` must not fall back to a default in silence. This module refuses to send the
key over plain http to anything but this machine, unless the connection says ``allow_http``. It reads no Airflow
connection itself, so that it can be tested, and used, without Airflow.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from airflow_provider_akinon.audit_events.api.proxies import EXAMPLE, problem_of_all, secrets_of_proxy
from airflow_provider_akinon.audit_events.api.secret_headers import EXAMPLE as EXAMPLE_OF_HEADERS
from airflow_provider_akinon.audit_events.api.secret_headers import problem_of_headers
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.model import ADDRESS_OF_A_HOST, NAME_OF_A_HOST, Source

_HOSTNAME = re.compile(f"{NAME_OF_A_HOST}|{ADDRESS_OF_A_HOST}")
# Airflow 3 warns in every task of a word shorter than five characters, such as "none"; so there is a longer one.
BARE_KEY = ("", "none", "bare-key")
"""The values of ``auth_scheme`` that send the key alone. Airflow's forms drop a field that is left empty."""
NO_REMOTE_ID = ("none", "no-remote-id")
"""The values of ``remote_id`` for an API without an id in its path. An empty field is not one of them: clearing the
field must not switch the account."""
FORM_PREFIX = "extra__akinon__"
"""The prefix of names in Airflow 2's form: its Test sends each field of the extra twice, with it and without."""


_RemoteId = Annotated[int, Meta(ge=0)]


class Extra(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The connection's extra, with its defaults. Numbers and booleans may come as text."""

    # The titles and descriptions are those of the connection's form, which asks for what the types and bounds allow.
    remote_id: Annotated[
        _RemoteId | None,
        Meta(
            title="Remote id",
            description=(
                "The number in the API's path /api/v1/remote/<remote id>/data-warehouse. Write 'no-remote-id' for "
                "the path without 'remote/…', /api/v1/data-warehouse."
            ),
            # A number field could not take the words.
            examples=[1, *NO_REMOTE_ID],
        ),
    ] = 1
    """The number in the path of the API's base URL, ``/api/v1/remote/<remote_id>/data-warehouse``. ``"none"`` or
    ``"no-remote-id"`` says that the path is ``/api/v1/data-warehouse``; in Python it is None."""
    auth_scheme: Annotated[
        str,
        Meta(
            pattern=r"^[!-~]*$",
            title="Authorization scheme",
            description="The word sent before the API key. Write 'bare-key' to send the key alone.",
        ),
    ] = "Token"
    """The word before the key in the Authorization header; ``"bare-key"``, ``"none"`` or ``""`` sends the bare
    key."""
    timeout: Annotated[
        float,
        Meta(
            gt=0,
            le=3600,
            title="Timeout (seconds)",
            description="How long to wait for the API to connect and to answer.",
        ),
    ] = 30.0
    """Seconds that a request may take, from its start to the last byte of its answer, redirects included. To connect,
    10 at most."""
    page_size: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            title="Page size",
            description="Events asked for in one request. The API may give fewer.",
        ),
    ] = 100
    """Events asked for in one request; the API may give fewer."""
    max_concurrency: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            title="Concurrent requests",
            description="Most requests that one process has in flight at a time.",
        ),
    ] = 4
    """Most requests that one process has in flight at a time."""
    requests_per_second: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            title="Requests per second",
            description="Most requests a second. Left empty, there is no limit but what the API asks for.",
        ),
    ] = None
    """Most requests a second of one process; ``null`` for no limit of our own."""
    verify: Annotated[
        bool | str,
        Meta(
            title="Verify TLS",
            description="true, false, or the path of a file of CA certificates on the workers.",
        ),
    ] = True
    """Whether to verify the server's certificate, or the path of a file of CA certificates in PEM form that is on
    every worker."""
    proxies: Annotated[
        dict[str, str] | None,
        Meta(title="Proxies (JSON)", description="Proxies by scheme, such as " + EXAMPLE + "."),
    ] = None
    """Proxies by scheme, such as ``{"https": "http://proxy.example.com:3128"}``."""
    secret_headers: Annotated[
        dict[str, str] | None,
        Meta(
            title="Secret headers (JSON)",
            description="Further HTTP headers, for a WAF in front of the API, such as " + EXAMPLE_OF_HEADERS + ".",
            extra_json_schema={"format": "password"},
        ),
    ] = None
    """Further HTTP headers of each request, such as a WAF in front of the API wants: ``{"X-WAF-Token": "…"}``. Their
    values are secret, and masked as the key is."""
    allow_http: Annotated[
        bool,
        Meta(
            title="Allow plain http",
            description="Let the API key travel unencrypted to a host other than the worker itself.",
        ),
    ] = False
    """Whether the key may travel unencrypted, by http, to a host other than the worker itself. To loopback it always
    may."""

    def __repr__(self) -> str:
        # A proxy's URL can hold a password, and a key may have been typed into the wrong field.
        return "Extra(***)"


@dataclass(frozen=True, slots=True)
class Settings:
    """A checked connection: where the API is, the key, and how to talk to it."""

    base_url: str
    """Scheme, host and port, such as ``https://shop.example.com``."""
    key: str
    extra: Extra

    def __repr__(self) -> str:
        return f"Settings(base_url={self.base_url!r}, key='***', extra={self.extra!r})"

    @property
    def host(self) -> str:
        """The host, with its port where that is not the scheme's own."""
        return urlsplit(self.base_url).netloc

    @property
    def source(self) -> Source:
        """The source of the events."""
        return Source(host=self.host, remote_id=self.extra.remote_id)

    @property
    def api_path(self) -> str:
        """The path that both endpoints lie below, with a slash at its end."""
        remote_id = self.extra.remote_id
        return f"/api/v1/{'' if remote_id is None else f'remote/{remote_id}/'}data-warehouse/"

    @property
    def authorization(self) -> str:
        """The value of the Authorization header. A secret."""
        scheme = self.extra.auth_scheme
        return self.key if scheme.lower() in BARE_KEY else f"{scheme} {self.key}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The connection's texts that nobody may see: the key, the proxies' passwords, and the headers' values."""
        of_proxies = (secret for url in (self.extra.proxies or {}).values() for secret in secrets_of_proxy(url))
        return tuple(dict.fromkeys((self.key, *of_proxies, *(self.extra.secret_headers or {}).values())))

    @classmethod
    def parse(
        cls,
        *,
        host: str | None,
        password: str | None,
        port: int | None = None,
        login: str | None = None,
        schema: str | None = None,
        extra: Mapping[str, Any] | str | None = None,
    ) -> Settings:
        """Return the settings that a connection's fields describe.

        :raises InvalidInput: naming every field that is missing or wrong.
        """
        options, of_extra = _parse_extra(extra)
        base_url, of_host = _parse_host(host, port, allow_http=options.allow_http)
        problems = [*of_extra, *of_host]
        key = (password or "").strip()
        if not key:
            problems.append("Password is empty; put the API key there")
        elif not key.isascii() or not key.isprintable():
            problems.append("Password holds a character that no HTTP header may hold; copy the key again")
        for label, value in (("Login", login), ("Schema", schema)):
            if value:
                problems.append(f"{label} ({_kind(value)}) has no meaning here; leave it empty")
        if problems:
            raise InvalidInput("The Akinon connection is not usable: " + "; ".join(problems) + ".")
        return cls(base_url, key, options)


def _parse_extra(given: Mapping[str, Any] | str | None) -> tuple[Extra, list[str]]:
    """Return the fields of the extra, and the problems with it."""
    extra = _from_json(given) if isinstance(given, str) and given.strip() else given or {}
    if not isinstance(extra, Mapping):
        return Extra(), ['Extra is not a JSON object; write it like {"remote_id": 1}']
    values: dict[str, Any] = {}
    problems: list[str] = []
    fields = {field.name: field.type for field in msgspec.structs.fields(Extra)}
    for given_name, value in extra.items():
        name = given_name.removeprefix(FORM_PREFIX)
        if name not in fields:
            problems.append(f"Extra has the unknown field {given_name!r}; known are {', '.join(fields)}")
            continue
        # Airflow's forms store null for a field that was left empty.
        if value is None or (value == "" and name != "auth_scheme"):
            continue
        try:
            converted = _convert(name, value, fields[name])
        except (msgspec.ValidationError, ValueError) as error:
            problem = f"Extra {name} ({_kind(value)}) is wrong: {str(error)[:1].lower()}{str(error)[1:]}"
            problems += [problem] if problem not in problems else []
            continue
        if values.setdefault(name, converted) != converted:
            problems.append(f"Extra has {name} and {FORM_PREFIX}{name} with different values; leave the second out")
    return Extra(**values), problems


def _convert(name: str, value: object, wanted: Any) -> Any:
    """Return ``value`` as the type ``wanted``; a number, boolean or object may come as text."""
    if name == "remote_id":
        if isinstance(value, str) and value.strip().lower() in NO_REMOTE_ID:
            return None
        # Only that word, not every text that JSON might read as null.
        try:
            return msgspec.convert(value, _RemoteId, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(f"{error}; give the number in the path, or 'none' where it has no remote/…") from None
    if name in _EXAMPLES and isinstance(value, str):
        value = _from_json(value)
        if value is None:
            raise ValueError(f"it is not JSON; write it like {_EXAMPLES[name]}")
    if name == "verify" and isinstance(value, str):
        flags = {"true": True, "1": True, "false": False, "0": False}
        value = flags.get(value.lower(), value)
    converted = msgspec.convert(value, wanted, strict=False)
    problem = _CHECKS[name](converted) if name in _CHECKS and not isinstance(converted, bool) else None
    if problem:
        raise ValueError(problem)
    return converted


def problem_of_bundle(path: str) -> str | None:
    """Return why a file or folder gives no CA certificates, None where it does. The text does not show the path."""
    try:
        # Not a Path's own: it raises where a name is too long, with the name, which may be a key.
        folder = os.path.isdir(path)  # noqa: PTH112
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**{"capath" if folder else "cafile": path})
    except PermissionError:
        return "the file may not be read here; let the user that runs tasks read it"
    except ssl.SSLError:
        return "the file holds no CA certificates in PEM form; give one that does"
    except (OSError, ValueError):
        return "there is no such file here; give true, false or the path of a CA bundle that is on every worker"
    return None


_EXAMPLES = {"proxies": EXAMPLE, "secret_headers": EXAMPLE_OF_HEADERS}
"""Examples of the fields that may come as JSON in text, by the fields' names."""
_CHECKS: Mapping[str, Callable[[Any], str | None]] = {
    "proxies": problem_of_all,
    "secret_headers": problem_of_headers,
    "verify": problem_of_bundle,
}
"""The checks of a field beyond its type, by the field's name; each returns the problem, or None."""


def _kind(value: object) -> str:
    """Return the sort of a field's value, for errors: the value may be a key that was typed into the wrong field."""
    if isinstance(value, str):
        return f"text, {len(value)} long"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "an object" if isinstance(value, Mapping) else "a list"


def _from_json(text: str) -> object:
    """Return the value of JSON text, None where it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _parse_host(host: str | None, port: int | None, *, allow_http: bool) -> tuple[str, list[str]]:
    """Return the origin that Host and Port name, empty where Host names none, and the problems with them."""
    text = (host or "").strip()
    problem = _problem_of_text(text)
    url = None if problem else _split(text)
    if url is None:
        return "", [problem or _no_host(text)]
    problems = []
    if url.scheme not in ("https", "http"):
        problems.append("Host has a scheme that is neither https nor http; use https")
    if problem := _problem_of_name(url, text):
        return "", [*problems, problem]
    if url.path.strip("/") or url.query or url.fragment:
        problems.append("Host has a path; give the host only, such as https://shop.example.com")
    problems += _problems_of_ports(port, url.port)
    if url.scheme == "http" and not allow_http and not _is_loopback(url.hostname or ""):
        problems.append(
            'Host is plain http: the key would travel unencrypted. Use https, or set {"allow_http": true} in Extra'
        )
    return _origin(url, port or url.port), problems


def _problem_of_text(text: str) -> str | None:
    """Return why Host cannot be read at all, None where it can be."""
    if not text.strip("/"):
        return "Host is empty; put the API's host there, such as shop.example.com"
    if not text.isascii():
        return (
            f"Host ({_kind(text)}) has a character that is not ASCII; write the name in punycode, as "
            "xn--mteri-kva70e.example.com for müşteri.example.com"
        )
    return None


def _no_host(text: str) -> str:
    return f"Host ({_kind(text)}) is not a host name or URL; write it like shop.example.com"


def _split(text: str) -> SplitResult | None:
    """Return the parts of Host, with https where it names no scheme; None where it is no URL."""
    scheme, _, rest = text.rpartition("://")
    # Airflow takes an IPv6 address out of a connection's URI without its brackets.
    if _is_ipv6(rest.rstrip("/")):
        rest = f"[{rest.rstrip('/')}]"
    try:
        url = urlsplit(f"{scheme or 'https'}://{rest}")
        _ = url.port  # which is read only here
    except ValueError:
        return None
    return url


def _problem_of_name(url: SplitResult, text: str) -> str | None:
    """Return why Host names no host, None where it does."""
    if url.username is not None or url.password is not None:
        return "Host holds a user name or password; put the API key into Password instead"
    if not url.hostname or not _HOSTNAME.fullmatch(url.hostname):
        return _no_host(text)
    return None


def _problems_of_ports(*ports: int | None) -> Iterator[str]:
    """Yield what is wrong with the ports in Port and Host, either of which may be left out."""
    given = [port for port in ports if port is not None]
    if len(set(given)) > 1:
        yield "Port differs from the port in Host; give one of them"
    for port in given:
        if not 0 < port < 65536:
            yield "Port is not a port; give one between 1 and 65535, or leave it empty"


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _origin(url: SplitResult, port: int | None) -> str:
    hostname = f"[{url.hostname}]" if ":" in (url.hostname or "") else url.hostname
    default = {"https": 443, "http": 80}.get(url.scheme)
    return f"{url.scheme}://{hostname}" + (f":{port}" if port and port != default else "")


def _is_loopback(hostname: str) -> bool:
    if hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return False
