"""The names of credentials, in English and Turkish.

A value is a credential where its name says so; ``docs/redaction.rst`` has the names as a table, and how a name is
read. This module has the only rule for names; it refuses to guess from values.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote

from airflow_provider_akinon.audit_events.redaction.splicing import plain

_ANYWHERE = (
    r"(?:set ?)?cookies?|authorization|credentials?|jwts?|bearer|\w*tokens?|\w*secrets?"
    r"|\w*password\w*|pass words?|\w*passwd\w*|pass ?phrase|pass ?code|pwd|\w*parola\w*|\w*sifre(?:si|m|n|niz)?"
    r"|(?:\w*api|access|private|secret|auth|encryption|signing) ?keys?|\w*apikeys?"
    r"|\w*session ?(?:id|key)|\w*sess ?id|cvv|cvc|otp|totp"
    r"|(?:security|verification|sms|auth|cvv|cvc|csc|otp) ?code|(?:guvenlik|onay|dogrulama|sms) ?(?:kodu?|numarasi)"
)
_CARD = r"(?:\w*card|cc|\w*kart|karti)"
_A_CARD = re.compile(rf"(?:^| ){_CARD}$")
_CARD_NUMBER = rf"{_CARD} ?(?:number|num|no|nr|numara|numarasi)"
_AT_THE_END = r"auth|pin|pan|sid|csc|pin ?code|credit ?card|kredi ?karti?"
_ALONE = r"session|pass"
_CREDENTIAL = re.compile(rf"(?:^| )(?:{_ANYWHERE}|{_CARD_NUMBER})(?: |$)|(?:^| )(?:{_AT_THE_END})$|^(?:{_ALONE})$")
_ABOUT = re.compile(r"(?:^| )(?:at|count|date|enabled|length|policy|required|size|status|strength|type)$")

_LETTERS = re.compile(r"[A-Za-z]+")
_CASES = (
    re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"),  # CSRFToken: csrf token
    re.compile(r"(?<=[a-z])(?=[A-Z])"),  # COOKie
    re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z][A-Z])(?=[a-z])"),  # JWTs: jwt s
    re.compile(r"(?!)"),  # cOoKiE
)
"""Patterns of the places where a change of case may begin a new word, the usual reading first."""

_STEMS = tuple(
    "auth bearer card code cookie cred csc cvc cvv jwt kart key kod numarasi otp pan parola pass pin pwd secret "  # noqa: SIM905
    "sess sid sifre token".split()  # as a list it would take 30 lines
)
"""Every name of a credential holds one of these, or what `_CC` finds."""
_CC = re.compile("cc(?![a-mo-z])")
MARKS = '=:"%\\@{['
"""The marks without one of which a text holds no name with its value."""
NO_PORT = r"""[^/?#\s@:"'<>\\]*+:(?![0-9]*+(?:[/?#\s"'<>\\]|\Z))"""
"""The pattern of the beginning of a URL's authority, up to a colon that is not followed by a port."""
_USER_INFO = re.compile(rf"//{NO_PORT}")
_CODED = re.compile(r"%[0-9A-Fa-f]{2}")

_SHORT = 200
_MOST_REMEMBERED = 1024
"""The most names of fewer than `_SHORT` characters in each of three caches: a megabyte as a rule, at most two."""
HARMLESS_NAMES: set[str] = set()


def is_credential(name: str, parent: str | None = None) -> bool:
    """Tell whether a name, or a name within a parent's, says that its value is a credential."""
    is_short = len(name) < _SHORT and len(parent or "") < _SHORT
    return (_remembered if is_short else _says_credential)(name, parent)


def is_suspect(name: str) -> bool:
    """Tell whether an object that has this name in it needs a closer look."""
    if name in HARMLESS_NAMES:
        return False
    return (
        name.lower() == "value" or is_credential(name) or is_card(name) or not harmless(name) or not _remember(name)
    )


def is_card(name: str) -> bool:
    """Tell whether a name makes credentials of names below it: ``{"card": {"number": …}}``."""
    return (_remembered_card if len(name) < _SHORT else _names_card)(name)


def is_body(name: str) -> bool:
    """Tell whether a key may be a body that was taken for a key."""
    return "=" in name or name[:1] in ("{", "[")


def _names_card(name: str) -> bool:
    return any(_A_CARD.search(words) for words in _readings(name))


def harmless(text: str) -> bool:
    """Tell whether a text surely holds no credential with its name; whatever else needs a closer look."""
    return not (has_mark(text[8:] if text.startswith(("https://", "http://")) else text) and has_stem(text))


def has_mark(text: str) -> bool:
    """Tell whether a text may hold a name with its value."""
    return any(map(text.__contains__, MARKS))


def _remember(name: str) -> bool:
    """Remember a short name as harmless."""
    if len(name) < _SHORT:
        if len(HARMLESS_NAMES) >= _MOST_REMEMBERED:
            HARMLESS_NAMES.pop()
        HARMLESS_NAMES.add(name)
    return True


def has_stem(text: str) -> bool:
    """Tell whether a text may hold a name of a credential, or the user-info of a URL, however they are coded."""
    if "%" in text:
        text = unquote(text)
        # Of two codings, nobody knows here which is the outer one.
        if _CODED.search(text) or "\\" in text:
            return True
    if "\\" in text:
        unescaped = plain(text)
        if "\\" in unescaped or _CODED.search(unescaped):
            return True
        text = f"{text}\n{unescaped}"
    if "//" in text and ("@" in text or _USER_INFO.search(text)):
        return True
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace("ı", "i")).encode("ascii", "ignore").decode()
    text = text.lower()
    return any(map(text.__contains__, _STEMS)) or ("cc" in text and _CC.search(text) is not None)


def _says_credential(name: str, parent: str | None) -> bool:
    if parent is None and not has_stem(name):
        return False
    usual, *others = _readings(name)
    if _ABOUT.search(usual):
        return False
    if any(map(_CREDENTIAL.search, (usual, *others))):
        return True
    # {"card": {"number": …}}
    last = {words.rpartition(" ")[2] for words in _readings(parent or "")}
    return any(re.fullmatch(_CARD_NUMBER, f"{over} {words}") for over in last for words in (usual, *others))


_remembered = lru_cache(maxsize=_MOST_REMEMBERED)(_says_credential)
_remembered_card = lru_cache(maxsize=_MOST_REMEMBERED)(_names_card)


def _readings(name: str) -> Iterable[str]:
    """Return a name's words in lower case, once for each way to tell words by case, the usual way first."""
    if "%" in name:
        name = unquote(name)
    letters = " ".join(_LETTERS.findall(_plain(name)))
    return dict.fromkeys(case.sub(" ", letters).lower() for case in _CASES)


def _plain(text: str) -> str:
    """Return a text without accents, in one character or two, and without characters that nobody sees."""
    if text.isascii():
        return text
    chars = unicodedata.normalize("NFKD", text.replace("ı", "i"))
    return "".join(char for char in chars if not unicodedata.combining(char) and unicodedata.category(char) != "Cf")
