"""Keys of Ed25519: every form that people hand on is read, no other kind of key, and no private key is shown."""

from __future__ import annotations

import traceback
from base64 import b64encode, urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.seals import PrivateKey, PublicKey

SEED = bytes(range(32))
ORIGINAL = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
KEY = PrivateKey.parse("key", b64encode(SEED).decode())
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        "4a7c15e9716ed28dc027beceea1ec40a",
    ),
]
"""Secret key, public key, message and signature, from section 7.1."""


def private_pem(key: Any, password: bytes | None = None) -> str:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode())


def public_pem(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def forms(pem: str, raw: bytes) -> list[str]:
    """Return a key as a file, as a form's field makes of it, as its middle alone, and as bare bytes."""
    middle = "".join(pem.splitlines()[1:-1])
    return [
        pem,
        pem.replace("\n", " "),
        pem.replace("\n", ""),
        f"\r\n{pem}\r\n",
        middle,
        f" {middle[:20]}\n{middle[20:]} ",
        b64encode(raw).decode(),
    ]


@pytest.mark.parametrize("text", forms(private_pem(ORIGINAL), SEED))
def test_a_private_key_in_every_form(text: str) -> None:
    """The same key is read from each of them, and signs the same."""
    key = PrivateKey.parse("key", text)

    assert key.public == KEY.public
    assert key.sign(b"message") == KEY.sign(b"message")


@pytest.mark.parametrize("text", forms(public_pem(ORIGINAL), ORIGINAL.public_key().public_bytes_raw()))
def test_a_public_key_in_every_form(text: str) -> None:
    """The same key is read from each of them; as text it is the base64 of its bytes."""
    key = PublicKey.parse("key", text)

    assert key == KEY.public
    assert PublicKey.parse("key", str(key)) == key


@pytest.mark.parametrize(("secret", "public", "message", "signature"), RFC_8032)
def test_signatures_of_the_standard(secret: str, public: str, message: str, signature: str) -> None:
    """Keys and signatures are those of RFC 8032."""
    key = PrivateKey.parse("key", b64encode(bytes.fromhex(secret)).decode())

    assert key.public.raw.hex() == public
    assert key.sign(bytes.fromhex(message)) == b64encode(bytes.fromhex(signature)).decode()
    assert key.public.verifies(bytes.fromhex(message), key.sign(bytes.fromhex(message)))


OTHERS = [
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
    x25519.X25519PrivateKey.generate(),
]


def name_of(text: str) -> str:
    """Return what a test of a text is called: the same in each process, whatever keys were drawn there."""
    return text.partition("\n")[0]


NONSENSE = ["", " ", "key", "ä", "=" * 44, b64encode(SEED[1:]).decode(), b64encode(SEED + SEED).decode()]


@pytest.mark.parametrize(
    "text",
    [
        *NONSENSE,
        *map(private_pem, OTHERS),
        private_pem(ORIGINAL, b"password"),
        public_pem(ORIGINAL),
        private_pem(ORIGINAL)[:-40],
    ],
    ids=name_of,
)
def test_what_is_no_private_key(text: str) -> None:
    """Another kind of key, an encrypted one, the public one or a piece is refused; the error tells what to give."""
    with pytest.raises(InvalidInput) as caught:
        PrivateKey.parse("seal_key", text)

    assert str(caught.value).startswith("seal_key is not an Ed25519 private key; give what 'openssl genpkey")


@pytest.mark.parametrize("text", [*NONSENSE, *map(public_pem, OTHERS), private_pem(ORIGINAL)], ids=name_of)
def test_what_is_no_public_key(text: str) -> None:
    """Another kind of key, or the private one, is refused; the error tells what to give."""
    with pytest.raises(InvalidInput) as caught:
        PublicKey.parse("public_key", text)

    assert str(caught.value).startswith("public_key is not an Ed25519 public key; give what 'openssl pkey")


@pytest.mark.parametrize("parse", [PrivateKey.parse, PublicKey.parse])
@pytest.mark.parametrize("spoil", [lambda text: text[:-40], lambda text: text.replace("PRIVATE", "private")])
def test_a_refused_key_is_not_shown(parse: Any, spoil: Any) -> None:
    """No piece of a private key that is spoilt is in the error, nor in what the error came from."""
    text = spoil(private_pem(ORIGINAL))

    with pytest.raises(InvalidInput) as caught:
        parse("key", text)

    shown = "".join(traceback.format_exception(caught.value))
    middle = text.splitlines()[1]
    assert not [start for start in range(len(middle) - 8) if middle[start : start + 8] in shown]


def test_a_key_is_not_shown() -> None:
    """Neither repr nor str of a private key has a piece of it."""
    shown = f"{KEY!r} {KEY} {[KEY]}"

    assert "PrivateKey" in shown
    for secret in (SEED.hex(), b64encode(SEED).decode(), repr(SEED)):
        assert secret not in shown


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_signature_is_of_its_message_alone(message: bytes, other: bytes) -> None:
    """It verifies with its message, and with no other."""
    assert KEY.public.verifies(message, KEY.sign(message))
    assert KEY.public.verifies(other, KEY.sign(message)) == (message == other)


def test_a_signature_is_of_its_key_alone() -> None:
    """Another key neither makes the signature, nor finds it right."""
    other = PrivateKey.parse("key", b64encode(SEED[::-1]).decode())

    assert not other.public.verifies(b"message", KEY.sign(b"message"))
    assert not KEY.public.verifies(b"message", other.sign(b"message"))


def test_no_other_text_is_the_signature() -> None:
    """A signature has one spelling: every character that is changed, left out or added makes it wrong."""
    signature = KEY.sign(b"message")
    spoilt = {
        *(signature[:at] + digit + signature[at + 1 :] for at in range(len(signature)) for digit in DIGITS),
        *(signature[:at] + signature[at + 1 :] for at in range(len(signature))),
        *(signature[:at] + " " + signature[at:] for at in range(len(signature) + 1)),
        urlsafe_b64encode(bytes(64)).decode(),
        "",
        "ä",
        signature + "=",
        signature.rstrip("="),
    } - {signature}

    assert [text for text in spoilt if KEY.public.verifies(b"message", text)] == []
    assert len(spoilt) > 5000
