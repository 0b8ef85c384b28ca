"""What a credential is called, in English and Turkish.

A value is a credential where its name says so; ``docs/redaction.rst`` has the names as a table. This module looks
at names only, and refuses to guess from values.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_ANYWHERE = (
    r"(?:set ?)?cookies?|authorization|credentials?|jwt|bearer|\w*tokens?|\w*secrets?"
    r"|\w*password\w*|pass words?|\w*passwd\w*|pass ?phrase|pass ?code|pwd|\w*parola\w*|\w*sifre(?:si|m|n|niz)?"
    r"|(?:\w*api|access|private|secret|auth|encryption|signing) ?keys?|\w*apikeys?"
    r"|\w*session ?(?:id|key)|\w*sess ?id|cvv|cvc|otp|totp"
    r"|(?:security|verification|sms|auth) ?code|(?:guvenlik|onay|dogrulama|sms) ?(?:kodu?|numarasi)"
)
_CARD = r"(?:\w*card|cc|\w*kart|karti) ?(?:number|num|no|nr|numara|numarasi)"
_AT_THE_END = r"auth|pin|pan|sid|csc|pin ?code|credit ?card|kredi ?karti?"
_ALONE = r"session|pass"
_CREDENTIAL = re.compile(rf"(?:^|\ )(?:{_ANYWHERE}|{_CARD})(?:\ |$)|(?:^|\ )(?:{_AT_THE_END})$|^(?:{_ALONE})$")
_ABOUT = re.compile(r"(?:^| )(?:at|count|date|enabled|length|policy|required|size|status|strength|type)$")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def _words(name: str) -> str:
    """Return a name's words in lower case, without accents and digits: ``newŞifre2`` is ``new sifre``."""
    if not name.isascii():
        name = "".join(char for char in unicodedata.normalize("NFKD", name) if not unicodedata.combining(char))
    return " ".join(_WORD.findall(name.replace("ı", "i"))).lower()


def says_credential(name: str, parent: str | None) -> bool:
    """Whether a name, or a name within a parent's, says that its value is a credential; not remembered."""
    words = _words(name)
    if _ABOUT.search(words):
        return False
    if _CREDENTIAL.search(words):
        return True
    # {"card": {"number": …}}
    return bool(parent) and re.fullmatch(_CARD, f"{_words(parent or '').rpartition(' ')[2]} {words}") is not None


_STEMS = tuple(
    "cookie auth token pass secret sess key pan pin sid cred jwt bearer pwd parola sifre cvv cvc csc otp "  # noqa: SIM905
    "code card kart guvenlik onay dogrulama sms".split()  # as a list it would take 30 lines
)
_CC = re.compile("cc(?![a-mo-z])")


def harmless(text: str) -> bool:
    """Whether a text cannot hold a credential: no name does without one of these stems, spelled plainly."""
    if "\\" in text or "%" in text or "@" in text:
        return False
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace("ı", "i")).encode("ascii", "ignore").decode()
    text = text.lower()
    return not any(stem in text for stem in _STEMS) and not _CC.search(text)


_remembered = lru_cache(maxsize=4096)(says_credential)


def is_credential(name: str, parent: str | None = None) -> bool:
    """Whether a name, or a name within a parent's, says that its value is a credential."""
    return _remembered(name, parent) if len(name) < 200 else says_credential(name, None)
