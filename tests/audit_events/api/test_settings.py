"""The connection: every field, all problems at once, and a key that stays where it belongs."""

from __future__ import annotations

import json
import re
from typing import Any

import certifi
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.api import FORM_PREFIX, Extra, Settings
from airflow_provider_akinon.audit_events.errors import InvalidInput

KEY = "s3cr3t-K3y"


def parse(host: str | None = "shop.example.com", password: str | None = KEY, **fields: Any) -> Settings:
    return Settings.parse(host=host, password=password, **fields)


def problems(**fields: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse(**fields)
    assert KEY not in str(caught.value)
    return str(caught.value)


def test_host_and_key_are_enough() -> None:
    """A connection with a host and a password has a default for everything else."""
    settings = parse()

    assert settings.base_url == "https://shop.example.com"
    assert settings.authorization == f"Token {KEY}"
    assert settings.extra == Extra(
        remote_id=1,
        auth_scheme="Token",
        timeout=30.0,
        page_size=100,
        max_concurrency=4,
        requests_per_second=None,
        verify=True,
        proxies=None,
        secret_headers=None,
        allow_http=False,
    )


BUNDLE = certifi.where()
FROM_TEXT: list[tuple[str, str, object]] = [
    ("remote_id", "7", 7),
    ("remote_id", "0", 0),
    ("remote_id", "none", None),
    ("remote_id", " None ", None),
    ("auth_scheme", "Bearer", "Bearer"),
    ("auth_scheme", "", ""),
    ("timeout", "12.5", 12.5),
    ("timeout", "3600", 3600.0),
    ("page_size", "50", 50),
    ("max_concurrency", "8", 8),
    ("requests_per_second", "2.5", 2.5),
    ("verify", "true", True),
    ("verify", "True", True),
    ("verify", "1", True),
    ("verify", "false", False),
    ("verify", "0", False),
    ("verify", BUNDLE, BUNDLE),
    ("proxies", '{"https": "http://proxy.example.com:3128"}', {"https": "http://proxy.example.com:3128"}),
    ("secret_headers", '{"X-WAF-Token": "w4f-t0ken"}', {"X-WAF-Token": "w4f-t0ken"}),
    ("allow_http", "true", True),
    ("allow_http", "false", False),
]


@pytest.mark.parametrize(("name", "text", "value"), FROM_TEXT)
def test_every_extra_field_may_come_as_text(name: str, text: str, value: object) -> None:
    """A connection URI gives text only; each field becomes its own type, with the value that was meant."""
    got = getattr(parse(extra=json.dumps({name: text})).extra, name)

    assert (got, type(got)) == (value, type(value))
    if value is not None:  # which is a field left empty
        assert getattr(parse(extra={name: value}).extra, name) == value


def test_the_text_table_covers_every_field() -> None:
    """A field added to the extra must be added to the table above."""
    assert {name for name, _, _ in FROM_TEXT} == {field.name for field in msgspec.structs.fields(Extra)}


@pytest.mark.parametrize("name", [field.name for field in msgspec.structs.fields(Extra)])
def test_a_field_left_empty_has_its_default(name: str) -> None:
    """Airflow's forms store null for an empty field; it counts as not given, as does an empty text."""
    assert parse(extra={name: None}).extra == Extra()
    if name != "auth_scheme":  # where it asks for the bare key
        assert parse(extra={name: ""}).extra == Extra()


@pytest.mark.parametrize("extra", [None, "", "{}", {}])
def test_the_extra_may_be_missing(extra: Any) -> None:
    """No extra at all is an extra of defaults."""
    assert parse(extra=extra).extra == Extra()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("remote_id", -1),
        ("remote_id", "one"),
        ("remote_id", 1.5),
        ("remote_id", True),
        ("remote_id", "null"),
        ("remote_id", "no"),
        ("auth_scheme", "two words"),
        ("auth_scheme", "Tokén"),
        ("auth_scheme", "Token\r\nX-Other:"),
        ("auth_scheme", 5),
        ("timeout", 0),
        ("timeout", "0"),
        ("timeout", -1),
        ("timeout", 3601),
        ("timeout", "nan"),
        ("timeout", "inf"),
        ("page_size", 0),
        ("page_size", 100_001),
        ("page_size", "many"),
        ("max_concurrency", 0),
        ("max_concurrency", 65),
        ("requests_per_second", 0),
        ("requests_per_second", -1),
        ("requests_per_second", "nan"),
        ("verify", "/no/such/bundle.pem"),
        ("verify", __file__),
        ("verify", "x" * 5000),
        ("verify", "a\0b"),
        ("verify", "no"),
        ("verify", 2),
        ("allow_http", "maybe"),
        ("allow_http", 2),
    ],
)
def test_a_wrong_value_is_named_with_its_field(name: str, value: object) -> None:
    """A value out of bounds or of another type is refused, never replaced by the default in silence."""
    assert re.search(rf"Extra {name} \(.+\) is wrong: ", problems(extra={name: value}))


@pytest.mark.parametrize(
    "value",
    [
        {"https": 5},
        ["http://u:pr0xy-pass@proxy"],
        "[]",
        "http://u:pr0xy-pass@proxy",
    ],
)
def test_wrong_proxies_are_named_but_not_shown(value: object) -> None:
    """A proxy's URL can hold a password, so the message names the field only."""
    message = problems(extra={"proxies": value})

    assert re.search(r"Extra proxies \(.+\) is wrong: ", message)
    assert "pr0xy-pass" not in message


FORBIDDEN = ["Authorization", "host", "Content-Length", "content-type", "Transfer-Encoding", "Connection", "Range"]
FORBIDDEN += ["If-None-Match", "Proxy-Authorization", "Accept-Encoding", "Expect", "TE", "X-HTTP-Method-Override"]


@pytest.mark.parametrize(
    "headers",
    [
        *({name: "w4f-t0ken"} for name in FORBIDDEN),
        {"X Token": "w4f-t0ken"},
        {"X-Token:": "w4f-t0ken"},
        {"": "w4f-t0ken"},
        {"X-T\r\nHost": "w4f-t0ken"},
        {"X-Token": "w4f-t0ken\r\nHost: other"},
        {"X-Token": "w4f-t0ken\0"},
        {"X-Token": "w4f-t0ken\x7f"},
        {"X-Token": "w4f-t0ken-ş"},
        {"X-Token": " w4f-t0ken"},
        {"X-Token": ""},
        {"X-Token": 5},
        {"X-Token": "w4f-t0ken", "x-token": "w4f-t0ken"},
        ["X-Token: w4f-t0ken"],
        "X-Token: w4f-t0ken",
    ],
)
def test_wrong_headers_are_named_but_not_shown(headers: object) -> None:
    """Names that are the client's, and what no header may hold, are refused without a value."""
    for written in (headers, json.dumps(headers)):
        message = problems(extra={"secret_headers": written})

        assert re.search(r"Extra secret_headers \(.+\) is wrong: ", message)
        assert "w4f-t0ken" not in message


def test_the_values_of_headers_are_secret() -> None:
    """They are among what nobody may see, and in no text of the settings."""
    settings = parse(extra={"secret_headers": {"X-WAF-Token": "w4f-t0ken", "User-Agent": "shop exporter"}})

    assert settings.secrets == (KEY, "w4f-t0ken", "shop exporter")
    assert "w4f-t0ken" not in f"{settings!r} {settings.extra!r}"


@pytest.mark.parametrize(
    "name", ["Verify", "verfiy", "ssl_verify", "api_key", "extra__aws__verify", "extra__akinon__x"]
)
def test_an_unknown_extra_is_refused(name: str) -> None:
    """A misspelt field must not fall back to its default; its value, which may be a secret, is not shown."""
    message = problems(extra={name: "an0ther-s3cret"})

    assert f"Extra has the unknown field {name!r}; known are remote_id, " in message
    assert "an0ther-s3cret" not in message


@pytest.mark.parametrize(("name", "text", "value"), FROM_TEXT)
def test_a_field_may_have_the_prefix_of_airflow_2s_form(name: str, text: str, value: object) -> None:
    """Airflow 2's Test sends each field by its name and with a prefix, and older guides write the prefix alone."""
    for extra in (
        {name: text, FORM_PREFIX + name: text},
        {FORM_PREFIX + name: text},
        {name: None, FORM_PREFIX + name: text},
    ):
        assert getattr(parse(extra=extra).extra, name) == value


def test_a_field_with_two_values_is_refused() -> None:
    """Neither of two values is chosen in silence, and neither is shown; a wrong one that comes twice is told once."""
    message = problems(extra={"auth_scheme": "an0ther-s3cret", FORM_PREFIX + "auth_scheme": "Token"})

    assert (
        "Extra has auth_scheme and extra__akinon__auth_scheme with different values; leave the second out" in message
    )
    assert "an0ther-s3cret" not in message
    assert problems(extra={"timeout": 0, FORM_PREFIX + "timeout": 0}).count("timeout") == 1


@pytest.mark.parametrize("extra", ["[1]", '"text"', '{"remote_id": ', "null", "remote_id=1", [1]])
def test_an_extra_that_is_no_json_object_is_refused(extra: Any) -> None:
    """Text that is no JSON object is refused, and the message shows how to write one."""
    assert 'Extra is not a JSON object; write it like {"remote_id": 1}' in problems(extra=extra)


def test_all_problems_are_reported_at_once() -> None:
    """One error names every field that is missing or wrong, so that one visit to the form mends them all."""
    message = problems(
        host="",
        password=" ",
        login="me",
        schema="https",
        extra={"remote_id": -1, "timeout": 0, "verfiy": False},
    )

    for part in (
        "Host is",
        "Password is",
        "Login (text, 2",
        "Schema (text, 5",
        "remote_id (a n",
        "timeout (a n",
        "'verfiy'",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("host", "port", "base_url", "shown"),
    [
        ("shop.example.com", None, "https://shop.example.com", "shop.example.com"),
        (" https://shop.example.com/ ", None, "https://shop.example.com", "shop.example.com"),
        ("HTTPS://Shop.Example.com", None, "https://shop.example.com", "shop.example.com"),
        ("shop.example.com", 8443, "https://shop.example.com:8443", "shop.example.com:8443"),
        ("shop.example.com:8443", None, "https://shop.example.com:8443", "shop.example.com:8443"),
        ("shop.example.com:8443", 8443, "https://shop.example.com:8443", "shop.example.com:8443"),
        ("shop.example.com:443", None, "https://shop.example.com", "shop.example.com"),
        ("https://shop.example.com", 443, "https://shop.example.com", "shop.example.com"),
        ("localhost", 8000, "https://localhost:8000", "localhost:8000"),
        ("http://localhost:8000", None, "http://localhost:8000", "localhost:8000"),
        ("http://127.0.0.1", 80, "http://127.0.0.1", "127.0.0.1"),
        ("http://127.9.9.9:8000", None, "http://127.9.9.9:8000", "127.9.9.9:8000"),
        ("http://[::1]:8000", None, "http://[::1]:8000", "[::1]:8000"),
        ("[2001:db8::1]", None, "https://[2001:db8::1]", "[2001:db8::1]"),
        ("2001:db8::1", None, "https://[2001:db8::1]", "[2001:db8::1]"),
        ("::1", 8080, "https://[::1]:8080", "[::1]:8080"),
        ("http://::1", 8080, "http://[::1]:8080", "[::1]:8080"),
        ("xn--mteri-kva70e.test", None, "https://xn--mteri-kva70e.test", "xn--mteri-kva70e.test"),
        ("https://[2001:db8::1]", 8443, "https://[2001:db8::1]:8443", "[2001:db8::1]:8443"),
    ],
)
def test_a_host_with_or_without_scheme_and_port(host: str, port: int | None, base_url: str, shown: str) -> None:
    """However it is written, a host is one origin: https unless it says otherwise, without a needless port."""
    settings = parse(host=host, port=port)

    assert settings.base_url == base_url
    assert settings.host == shown


@pytest.mark.parametrize(
    "host",
    [
        "http://shop.example.com",
        "http://shop.example.com:8000",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://[2001:db8::1]",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
    ],
)
def test_the_key_goes_over_plain_http_only_where_the_connection_says_so(host: str) -> None:
    """Plain http to anything but this machine is refused, unless ``allow_http`` is set."""
    assert "Host is plain http: the key would travel unencrypted" in problems(host=host)
    assert parse(host=host, extra={"allow_http": True}).base_url == host


@pytest.mark.parametrize(
    ("host", "port", "problem"),
    [
        (None, None, "Host is empty"),
        ("  ", None, "Host is empty"),
        ("ftp://shop.example.com", None, "Host has a scheme that is neither https nor http; use https"),
        ("https://shop.example.com/api/v1", None, "has a path; give the host only, such as https://shop.example.com"),
        ("shop.example.com?x=1", None, "has a path"),
        ("shop.example.com#x", None, "has a path"),
        ("shop.example.com\\evil", None, "is not a host name or URL"),
        ("müşteri.example.com", None, "not ASCII; write the name in punycode, as xn--mteri-kva70e.example.com"),
        ("https://İstanbul.example.com:8443", None, "write the name in punycode"),
        ("shop.example.com:0", None, "Port is not a port"),
        ("shop example.com", None, "is not a host name or URL"),
        ("https://", None, "is not a host name or URL"),
        ("//shop.example.com", None, "is not a host name or URL"),
        ("2001:db8::1::2", None, "is not a host name or URL"),
        ("https://[::1", None, "is not a host name or URL"),
        ("shop.example.com:99999", None, "is not a host name or URL"),
        ("shop.example.com:https", None, "is not a host name or URL"),
        ("shop.example.com", 0, "Port is not a port"),
        ("shop.example.com", 65536, "Port is not a port"),
        ("shop.example.com", -1, "Port is not a port"),
        ("shop.example.com:8443", 443, "Port differs from the port in Host;"),
    ],
)
def test_what_is_no_host_is_refused(host: str | None, port: int | None, problem: str) -> None:
    """A host that cannot be one, or that says more than a host, is refused with what to write instead."""
    assert problem in problems(host=host, port=port)


@pytest.mark.parametrize("host", [f"https://{KEY}@shop.example.com", f"me:{KEY}@shop.example.com"])
def test_a_key_in_the_host_is_refused_and_not_shown(host: str) -> None:
    """A user name or password in the host is refused without repeating it."""
    assert "Host holds a user name or password" in problems(host=host)


WRONG = st.text(st.characters(exclude_categories=["Cs"]), min_size=8).map(lambda text: f"a-typed-{text} key")
"""Values of which each begins as a key may, and that no field takes."""


@given(st.sampled_from(["host", "login", "schema", "port", *Extra.__struct_fields__]), WRONG)
def test_no_value_of_a_field_is_shown(field: str, value: str) -> None:
    """A key that was typed into any other field stands in no error that refuses it: only its kind does."""
    fields = {"extra": {field: value}} if field in Extra.__struct_fields__ else {field: value}
    if field == "port":
        fields = {"host": f"shop.example.com:{value}"}

    assert "a-typed-" not in problems(**fields).lower()


@pytest.mark.parametrize(
    ("scheme", "authorization"),
    [
        ("Token", f"Token {KEY}"),
        ("Bearer", f"Bearer {KEY}"),
        ("", KEY),
        ("none", KEY),
        ("None", KEY),
        ("bare-key", KEY),
        (None, f"Token {KEY}"),
    ],
)
def test_the_word_before_the_key(scheme: str | None, authorization: str) -> None:
    """``Token`` by default, another word where given, and the bare key for an empty word or ``none``."""
    assert parse(extra={"auth_scheme": scheme}).authorization == authorization


def test_white_space_around_a_pasted_key_goes() -> None:
    """A key copied with its line break is the key."""
    assert parse(password=f" {KEY}\n").key == KEY


@pytest.mark.parametrize("password", [f"{KEY}\r\nX-Other: 1", f"{KEY}\0", f"{KEY}é", f"{KEY}\N{ZERO WIDTH SPACE}"])
def test_a_key_that_no_header_may_hold_is_refused_and_not_shown(password: str) -> None:
    """A key with line breaks inside or other than ASCII is refused, without repeating it."""
    assert "Password holds a character that no HTTP header may hold" in problems(password=password)


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{0!r:>200}".format])
def test_no_text_of_the_settings_holds_the_key(show: Any) -> None:
    """The settings may be logged: the host is shown, the key is not."""
    assert KEY not in show(parse())
    assert "shop.example.com" in show(parse())


@pytest.mark.parametrize(
    ("extra", "path"),
    [
        ({}, "/api/v1/remote/1/data-warehouse/"),
        ({"remote_id": None}, "/api/v1/remote/1/data-warehouse/"),
        ({"remote_id": ""}, "/api/v1/remote/1/data-warehouse/"),
        ({"remote_id": 0}, "/api/v1/remote/0/data-warehouse/"),
        ({"remote_id": "none"}, "/api/v1/data-warehouse/"),
    ],
)
def test_the_two_documented_paths(extra: dict[str, Any], path: str) -> None:
    """The word ``none`` gives the path without a remote id; a field that was cleared stays with the default."""
    assert parse(extra=extra).api_path == path


def test_a_wrong_remote_id_is_told_the_word() -> None:
    """Whoever writes something else for no remote id learns what to write."""
    assert "give the number in the path, or 'none' where it has no remote/…" in problems(extra={"remote_id": "null"})
