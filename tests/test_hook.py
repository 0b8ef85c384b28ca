"""The hook without an API: what it masks, and what it says of a connection that cannot be used."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from airflow.providers.common.compat.sdk import redact

from airflow_provider_akinon.archive_access import redaction_key, sealing_key
from airflow_provider_akinon.audit_events.errors import ConnectionMissing, InvalidInput
from airflow_provider_akinon.connection_form import FIELDS
from airflow_provider_akinon.hooks import akinon
from airflow_provider_akinon.hooks.akinon import AkinonHook
from airflow_provider_akinon.task_run import failing_for_good

KEY = "k3y/of+the=shop"


@pytest.fixture
def masked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Airflow was told to mask."""
    texts: list[str] = []
    monkeypatch.setattr(akinon, "mask_secret", texts.append)
    return texts


def connect(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    connection = {"conn_type": "akinon", "host": "shop.example.com", "password": KEY, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", json.dumps(connection))


def test_every_form_of_every_secret_is_masked(masked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The key and a proxy's password, of the connection or the environment, plain and as somebody may write them."""
    extra = {"proxies": {"http": "http://me:pr0xy%2Fpass@proxy"}, "secret_headers": {"X-WAF-Token": "w4f/t0ken"}}
    connect(monkeypatch, extra=extra)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:w0rkers-pass@proxy")

    assert AkinonHook().settings.key == KEY

    expected = [KEY, f"Token {KEY}", "pr0xy/pass", "pr0xy%2Fpass", "w0rkers-pass", "w4f/t0ken"]
    for text in expected:
        forms = {text, quote(text, safe=""), base64.b64encode(text.encode()).decode(), text.encode().hex()}
        assert forms - set(masked) == set()
    assert base64.b64encode(b"me:pr0xy/pass").decode() in masked
    # Airflow masks by itself, in its UI too, what stands below such names.
    shown = redact(dict.fromkeys(FIELDS, "what-it-holds"))
    assert {name for name, value in shown.items() if value == "***"} == {"proxies", "secret_headers"}


@pytest.mark.parametrize("host", ["[::1]:8080", "http%3A%2F%2F%5B%3A%3A1%5D:8080"])
def test_an_address_of_ipv6_in_a_uri(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow takes the brackets out of a connection's URI: the address is read without them too."""
    monkeypatch.setenv("AIRFLOW_CONN_AKINON_DEFAULT", f"akinon://:{quote(KEY, safe='')}@{host}/")

    assert AkinonHook().settings.host == "[::1]:8080"
    assert AkinonHook().settings.key == KEY


def test_a_missing_connection_says_where_its_id_came_from() -> None:
    """The id, the argument and what to do are said, and Airflow may retry: a secrets backend may fail for a while."""
    for argument, look in {
        "akinon_conn_id": lambda: AkinonHook("akinon_shop").settings,
        "redact_key_conn_id": lambda: redaction_key("akinon_shop"),
        "seal_key_conn_id": lambda: sealing_key("akinon_shop"),
    }.items():
        with pytest.raises(ConnectionMissing) as caught, failing_for_good():
            look()
        assert str(caught.value).startswith(
            f"{argument}='akinon_shop': Airflow has no connection of this id. Make it"
        )
        assert "AIRFLOW_CONN_AKINON_SHOP" in str(caught.value)
        assert caught.value.conn_id == "akinon_shop"
        assert caught.value.__suppress_context__
    working, message = AkinonHook("akinon_shop").test_connection()
    assert not working
    assert "akinon_conn_id='akinon_shop'" in message


@pytest.mark.parametrize("conn_id", [None, "", " ", 5])
def test_what_is_no_id_of_a_connection_is_refused(conn_id: object) -> None:
    """A template that rendered to nothing, or to a number, is told before anything is looked up."""
    with pytest.raises(InvalidInput, match="is not the id of a connection; give one, as text"):
        _ = AkinonHook(conn_id).settings  # type: ignore[arg-type]


def test_a_short_key_is_masked_once(masked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow warns of each text that is too short to be masked: it gets no form of it that is."""
    connect(monkeypatch, password="k")

    assert AkinonHook().settings.key == "k"

    assert {text for text in masked if len(text) < 5} == {"k"}


def test_the_shortest_form_that_can_be_masked_is(masked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a key of three characters, the form that a URL has is of five."""
    connect(monkeypatch, password="a+b")

    assert AkinonHook().settings.key == "a+b"

    assert "a%2Bb" in masked


def test_a_key_is_masked_before_another_field_is_refused(masked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error about another field may be logged with what is around it."""
    connect(monkeypatch, extra={"timeout": 0})

    working, message = AkinonHook().test_connection()

    assert not working
    assert "timeout" in message
    assert {KEY, quote(KEY, safe="")} <= set(masked)
