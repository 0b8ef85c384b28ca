"""Ed25519: keys as people hand them on, and the signatures of seals.

Keys are PEM, as ``openssl genpkey -algorithm ed25519`` writes them, the base64 text of such a file, on one line, or
the base64 of the 32 bytes of a bare key. All cryptography is that of the library ``cryptography``. This module
refuses keys of any other kind, and shows no private key in an error or a repr.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from airflow_provider_akinon.audit_events.errors import InvalidInput

_PEM_EDGE = re.compile(r"-----[A-Z ]+-----")
_BARE = 32  # bytes of a key without DER around it


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key, which checks signatures. Anyone may have it."""

    raw: bytes

    @classmethod
    def parse(cls, field_name: str, text: str) -> PublicKey:
        """Return the public key that ``text`` holds; an error calls it ``field_name``.

        :raises InvalidInput: it is no Ed25519 public key.
        """
        try:
            data = _bytes_of(text)
            key = Ed25519PublicKey.from_public_bytes(data) if len(data) == _BARE else load_der_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise InvalidInput(
                f"{field_name} is not an Ed25519 public key; give what 'openssl pkey -in private.pem -pubout' "
                "prints, or the base64 in it"
            )
        return cls(key.public_bytes_raw())

    def __str__(self) -> str:
        return b64encode(self.raw).decode()

    def verifies(self, message: bytes, signature: str) -> bool:
        """Tell whether ``signature``, in base64, is this key's of ``message``."""
        try:
            decoded = b64decode(signature, validate=True)
            Ed25519PublicKey.from_public_bytes(self.raw).verify(decoded, message)
        except (InvalidSignature, ValueError):
            return False
        # The last digit has bits to spare: other texts would be the same signature.
        return b64encode(decoded).decode() == signature


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An Ed25519 private key, which signs seals. Keep it where those who may write to the bucket cannot read it."""

    _key: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def parse(cls, field_name: str, text: str) -> PrivateKey:
        """Return the private key that ``text`` holds; an error calls it ``field_name``.

        :raises InvalidInput: it is no Ed25519 private key, or is encrypted.
        """
        try:
            data = _bytes_of(text)
            key = (
                Ed25519PrivateKey.from_private_bytes(data)
                if len(data) == _BARE
                else load_der_private_key(data, password=None)
            )
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise InvalidInput(
                f"{field_name} is not an Ed25519 private key; give what 'openssl genpkey -algorithm ed25519' prints, "
                "not encrypted, or the base64 in it"
            ) from None
        return cls(key)

    @property
    def public(self) -> PublicKey:
        """The public key that belongs to it."""
        return PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> str:
        """Return the signature of ``message`` in base64; the same each time."""
        return b64encode(self._key.sign(message)).decode()


def _bytes_of(text: str) -> bytes:
    """Return the bytes between the edges of a PEM, or of bare base64. Form fields turn line breaks into spaces."""
    return b64decode("".join(_PEM_EDGE.sub("", text).split()), validate=True)
