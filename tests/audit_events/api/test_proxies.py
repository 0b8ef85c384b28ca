"""What is wrong with a proxy is said before anything is sent, and nothing of its URL with it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.api import (
    AuditEventsApi,
    Settings,
    problem_of_proxy,
    secrets_of_proxy,
    without_key,
)
from airflow_provider_akinon.audit_events.errors import InvalidInput

PASSWORD = "pr0xy-pass"
NO_URL = "it is no URL of a proxy; write it like http://user:password@proxy.example.com:3128"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no CA bundle of this machine takes part, unless a test says so."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def client(host: str = "shop.example.com", **extra: object) -> AuditEventsApi:
    return AuditEventsApi(Settings.parse(host=host, password="k3y-of-the-shop", extra=json.dumps(extra)))


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(InvalidInput) as caught:
        make()
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


WRONG = {
    "socks5://me:pr0xy-pass@proxy:1080": "it is a SOCKS proxy, for which the package PySocks is missing",
    "socks5h://proxy": "it is a SOCKS proxy",
    "ftp://me:pr0xy-pass@proxy": "its scheme is none of http, https, socks4",
    "http://me:pr0xy-pass/x@proxy:3128": NO_URL,  # a slash in the password
    "http://me:12#pr0xy-pass@proxy:3128": NO_URL,
    "http://me:12?pr0xy-pass@proxy:3128": NO_URL,
    "http://me:pr0xy-pass@proxy:port": NO_URL,
    "http://me:pr0xy-pass@proxy:99999": NO_URL,
    "http://me:pr0xy-pass@": NO_URL,
    "http://me:pr0xy-pass@proxy/path": NO_URL,
    f"http://me:pr0xy-pass@{'x' * 64}.example.com": NO_URL,
    "http://me:pr0xy-pass@proxy..example.com": NO_URL,
    "http://me:pr0xy-pass@[::1": NO_URL,
    "me:pr0xy-pass@proxy:3128": NO_URL,
    "proxy:3128": NO_URL,
    "http://me:pr0xy-pass%C5%9F@proxy": "a character that no header holds",
}
RIGHT = [
    "http://proxy.example.com:3128",
    "https://me:pr0xy-pass@proxy:3128/",
    "proxy.example.com:3128",
    "http://10.0.0.1:3128",
    "http://[::1]:3128",
]


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_proxy_of_the_connection_is_named_with_its_field(url: str) -> None:
    """The field and what to write are said, and the password is not, wherever a stray character moves it to."""
    message = refusal(lambda: client(proxies={"https": url}))

    assert "Extra proxies (an object) is wrong: " in message
    assert WRONG[url] in message


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_proxy_of_the_environment_is_named_with_its_variable(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the connection names no proxy, the environment's is looked at as strictly."""
    monkeypatch.setenv("HTTPS_PROXY", url)

    message = refusal(client)

    assert "The proxy that the environment gives (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY) is not usable: " in message
    assert WRONG[url] in message
    client("http://127.0.0.1:9")  # no proxy of the environment is for it


@pytest.mark.parametrize("url", RIGHT)
def test_a_right_proxy_is_taken(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a scheme or without, with a password or without, from the connection or from the environment."""
    client(proxies={"https": url}).close()
    monkeypatch.setenv("HTTPS_PROXY", url)
    client().close()


@pytest.mark.parametrize("key", ["htps", "HTTPS", "https:", "ftp", "https://", ""])
def test_a_proxy_that_nothing_is_sent_by_is_refused(key: str) -> None:
    """A misspelt scheme would let the key go without the proxy, in silence."""
    assert "it has a name that nothing is sent by" in refusal(lambda: client(proxies={key: "http://proxy:3128"}))


def test_empty_text_and_exceptions_are_no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty text switches off the environment's proxy, and ``no_proxy`` lists hosts."""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy")

    client(proxies={"https": ""}).close()
    client(proxies={"no_proxy": "shop.example.com", "http": "http://proxy"}, remote_id=2).close()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), st.sampled_from(["http", "https", "socks5"]))
def test_any_password_is_refused_or_kept_secret(odd: str, scheme: str) -> None:
    """Whatever stands in a password: the client is made, or the field is named; no other error comes."""
    password = f"{PASSWORD}{odd}"
    url = f"{scheme}://me:{password}@proxy.example.com:3128"
    if problem_of_proxy(url) is None:
        client(proxies={"https": url}).close()
        assert password in set(secrets_of_proxy(url))
    else:
        assert "Extra proxies" in refusal(lambda: client(proxies={"https": url}))


def test_each_form_of_a_proxys_password_is_secret() -> None:
    """As it is written, as it is meant, and as its header has it."""
    secrets = set(secrets_of_proxy("http://me:p%40ss-w0rd@proxy:3128"))

    assert secrets == {"p%40ss-w0rd", "p@ss-w0rd", base64.b64encode(b"me:p@ss-w0rd").decode()}
    assert set(secrets_of_proxy("http://t0ken@proxy")) >= {"t0ken"}
    assert list(secrets_of_proxy("http://proxy:3128")) == []


def test_the_settings_keep_a_proxys_password() -> None:
    """It is among the secrets, and in no text of the settings or of the extra."""
    settings = Settings.parse(
        host="shop.example.com", password="k3y-of-the-shop", extra={"proxies": {"https": f"http://me:{PASSWORD}@p"}}
    )

    assert {"k3y-of-the-shop", PASSWORD} <= set(settings.secrets)
    assert PASSWORD not in f"{settings!r} {settings.extra!r} {settings}"
    assert without_key(f"<{PASSWORD.upper()}>", PASSWORD) == "<***>"


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_is_looked_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle that is not there is told by its variable, where it is used; ``verify`` of the connection wins."""
    monkeypatch.setenv(name, "/no/such/bundle.pem")

    assert f"{name} in the environment is not usable: there is no such file" in refusal(client)
    client(verify=False).close()
    client("http://127.0.0.1:9").close()
    monkeypatch.setenv(name, __file__)
    assert "the file holds no CA certificates in PEM form" in refusal(client)


def test_what_nobody_thought_of_is_told_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the HTTP library while the client is made names fields to look at, and none of its own words."""

    def fail(*_: object, **__: object) -> None:
        raise ValueError(PASSWORD)

    monkeypatch.setattr("requests.adapters.HTTPAdapter.get_connection_with_tls_context", fail)

    message = refusal(client)

    assert message.startswith("No client can be made for https://shop.example.com (ValueError): check Host, and")
