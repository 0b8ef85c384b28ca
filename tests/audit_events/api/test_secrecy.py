"""The key stays out of errors, in whatever form the API sends it back."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.api import derived_forms, holds_key, keeping_secret, without_key
from airflow_provider_akinon.audit_events.errors import ProtocolError, Rejected
from airflow_provider_akinon.audit_events.foreign_text import shown

KEY = 's3cr3t K3y/+"\\=0123456789'


def disguises(key: str) -> dict[str, str]:
    """Return the forms that a key may come back in."""
    return {
        "plain": key,
        "lower": key.lower(),
        "quoted": quote(key),
        "quoted-wholly": quote(key, safe=""),
        "quoted-plus": quote_plus(key),
        "quoted-lower": quote(key, safe="").lower(),
        "quoted-twice": quote(quote(key, safe=""), safe=""),
        "quoted-each": "".join(f"%{byte:02X}" for byte in key.encode()),
        "json": json.dumps(key),
        "json-twice": json.dumps(json.dumps(key)),
        "json-each": "".join(f"\\u{ord(each):04X}" for each in key),
        "repr": repr(key),
        "repr-of-bytes": repr(key.encode()),
        "repr-each": "".join(f"\\x{ord(each):02x}" for each in key),
        "hex": key.encode().hex(),
        "hex-upper": key.encode().hex().upper(),
        "base64": base64.b64encode(key.encode()).decode(),
        "base64-url": base64.urlsafe_b64encode(key.encode()).decode(),
        "base64-of-the-header": base64.b64encode(f"Token {key}".encode()).decode(),
        "base64-after-one": base64.b64encode(f"x{key}".encode()).decode(),
        "base64-after-two": base64.b64encode(f"xy{key}".encode()).decode(),
        "base64-of-more": base64.b64encode(f"Authorization: Token {key}\r\nAccept: */*".encode()).decode(),
    }


@pytest.mark.parametrize("form", disguises(KEY))
def test_each_form_of_the_key_is_removed(form: str) -> None:
    """Nothing of a form stays but what stood around it."""
    hidden = disguises(KEY)[form]

    assert holds_key(f"<{hidden}>", KEY)
    left = without_key(f"before <{hidden}> after", KEY)

    assert left.startswith("before <")
    assert left.endswith("> after")
    assert "***" in left
    assert len(left) <= len("before <> after") + 12 + 2 * ("of-" in form) * 32


@pytest.mark.parametrize("form", disguises(KEY))
def test_a_beginning_before_a_cut_is_removed(form: str) -> None:
    """Where text was cut inside the key, what is left of the key goes too."""
    hidden = disguises("0123456789abcdefghij")[form]
    for left in range(len(hidden) // 2, len(hidden)):
        text = without_key(shown("x" * 50 + " " + hidden, 51 + left), "0123456789abcdefghij")
        assert "***" in text, text


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60), st.text(), st.text())
def test_any_key_is_removed(key: str, before: str, after: str) -> None:
    """Whatever the key and what stands around it, no form of it stays."""
    for hidden in disguises(key).values():
        assert not holds_key(without_key(before + " " + hidden + " " + after, key).replace("***", ""), key) or (
            holds_key(before + after, key)
        )


@given(st.text())
def test_other_text_stays(text: str) -> None:
    """What does not hold the key stays as it is."""
    assert without_key(text, "a-key-that-nobody-draws") == text


def test_a_short_key_is_removed_where_it_stands_alone() -> None:
    """A key of a letter does not blot out each word with it."""
    assert without_key("Token k: kite, k", "k") == "Token ***: kite, ***"


def test_an_error_loses_the_key_and_what_is_behind_it() -> None:
    """Message and data are cleaned; the errors behind, which are of other libraries, are gone."""

    def refuse() -> None:
        try:
            raise ValueError(KEY)
        except ValueError as error:
            raise Rejected(f"no: {KEY}", status=401, detail=quote(KEY)) from error

    with pytest.raises(Rejected) as caught, keeping_secret(KEY):
        refuse()

    assert str(caught.value) == "no: ***"
    assert vars(caught.value) == {"status": 401, "detail": "***"}
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_every_secret_is_kept() -> None:
    """A proxy's password goes as the key does."""
    with pytest.raises(ProtocolError, match=r"^\*\*\* and \*\*\*$"), keeping_secret(KEY, "pr0xy-pass"):
        raise ProtocolError(f"{KEY} and pr0xy-pass")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8))
def test_what_logs_are_to_mask_is_what_errors_lose(key: str) -> None:
    """Each form that Airflow is told to mask is one that is found in errors, and the key itself is the first."""
    assert derived_forms(key)[0] == key
    assert [form for form in derived_forms(key) if not holds_key(form, key)] == []


def test_other_errors_pass() -> None:
    """An error that this package did not raise is nobody's here."""
    with pytest.raises(OSError, match="disk"), keeping_secret(KEY):
        raise OSError("disk")
    with pytest.raises(ProtocolError, match="as it is"), keeping_secret(KEY):
        raise ProtocolError("as it is")
