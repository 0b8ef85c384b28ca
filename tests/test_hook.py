"""The hook without an API: what it masks, and what it says of a connection that cannot be used."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from airflow_provider_akinon.hooks import akinon
from airflow_provider_akinon.hooks.akinon import AkinonHook

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
    connect(monkeypatch, extra={"proxies": {"http": "http://me:pr0xy%2Fpass@proxy"}})
    monkeypatch.setenv("HTTPS_PROXY", "http://me:w0rkers-pass@proxy")

    assert AkinonHook().settings.key == KEY

    expected = [KEY, f"Token {KEY}", "pr0xy/pass", "pr0xy%2Fpass", "w0rkers-pass"]
    for text in expected:
        forms = {text, quote(text, safe=""), base64.b64encode(text.encode()).decode(), text.encode().hex()}
        assert forms - set(masked) == set()
    assert base64.b64encode(b"me:pr0xy/pass").decode() in masked


def test_a_short_key_is_masked_once(masked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow warns of each text that is too short to be masked: it gets no form of it that is."""
    connect(monkeypatch, password="k")

    assert AkinonHook().settings.key == "k"

    assert {text for text in masked if len(text) < 5} == {"k"}


def test_a_key_is_masked_before_another_field_is_refused(masked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error about another field may be logged with what is around it."""
    connect(monkeypatch, extra={"timeout": 0})

    working, message = AkinonHook().test_connection()

    assert not working
    assert "timeout" in message
    assert {KEY, quote(KEY, safe="")} <= set(masked)
