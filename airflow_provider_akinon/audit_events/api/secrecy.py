"""Keeps secrets out of every error, in whatever form the API or a library writes them.

The secrets are the API key, a proxy's password and the values of secret headers; each is called a key here. An API
that quotes the request, by mistake or on purpose, may write one anywhere: plain, escaped for a URL, for JSON or by
Python, in hex, or in Base64, alone or as part of a longer text. The text of an error is searched for all of these
forms in one place, where the error leaves the client or the export; the errors that caused it are left behind there.
This module refuses to guess other disguises; it reads no records, which are stored as they came.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from airflow_provider_akinon.audit_events.errors import AkinonError

INSTEAD = "***"
"""The text that replaces a key."""

_SHORT = 8
"""A key of fewer characters is only found where it stands alone: any text holds a letter or two by chance."""
_LEAST_BEGINNING = 4
"""The least number of characters of a cut-off key that are still removed."""
_CUT = "…"
_BROKEN_ESCAPE = re.compile(r"[\\%xu0-9a-f]{1,8}", re.IGNORECASE)


class Secrets(tuple[str, ...]):
    """Texts that nobody may see. Their ``repr`` hides them, also in a log of the object that holds them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Secrets({INSTEAD})"


@contextmanager
def keeping_secret(*keys: str) -> Iterator[None]:
    """Take ``keys`` out of this package's errors, and leave behind the errors that caused them.

    The causes come from other libraries, and hold what the API sent.
    """
    try:
        yield
    except AkinonError as error:
        error.args = tuple(_without_keys(value, keys) for value in error.args)
        for name, value in vars(error).items():
            setattr(error, name, _without_keys(value, keys))
        error.__cause__ = error.__context__ = None
        raise


def holds_key(text: str, key: str) -> bool:
    """Tell whether ``text`` holds ``key`` in any of its forms."""
    return any(form.search(text) for form, _ in _forms(key))


def without_key(text: str, key: str) -> str:
    """Return ``text`` with ``***`` wherever it holds ``key`` in any of its forms, or a beginning of it and ``…``."""
    for form, units in _forms(key):
        text = form.sub(INSTEAD, text)
        place = text.find(_CUT)
        while place >= 0:
            begin = _beginning(text, place, units)
            text = text[:begin] + (INSTEAD if begin < place else "") + text[place:]
            place = text.find(_CUT, begin + len(INSTEAD) + 1)
    return text


def derived_forms(key: str) -> list[str]:
    """Return the forms of ``key``, itself first, that a log's masking has to know, since it looks for whole texts."""
    forms = [
        key,
        quote(key),
        quote(key, safe=""),
        quote_plus(key),
        json.dumps(key)[1:-1],
        repr(key)[1:-1],
        key.encode().hex(),
        base64.b64encode(key.encode()).decode(),
        base64.urlsafe_b64encode(key.encode()).decode(),
    ]
    return list(dict.fromkeys(forms))


def _without_keys(value: Any, keys: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        # The longest first: a key may stand inside another, whose rest would stay.
        for key in sorted(keys, key=len, reverse=True):
            value = without_key(value, key)
    return value


def _beginning(text: str, end: int, units: list[re.Pattern[str]]) -> int:
    """Return where a form starts that was cut off at ``end``; ``end`` itself where none was."""
    for start in range(max(0, end - 8 * len(units)), end):
        place = start
        for number, unit in enumerate(units):
            found = unit.match(text, place, end)
            if found is None:
                # The cut may have gone through an escape.
                if number >= _LEAST_BEGINNING and _BROKEN_ESCAPE.fullmatch(text, place, end):
                    return start
                break
            place = found.end()
            if place == end and number + 1 >= _LEAST_BEGINNING:
                return start
    return end


@lru_cache(maxsize=64)
def _forms(key: str) -> list[tuple[re.Pattern[str], list[re.Pattern[str]]]]:
    """Return each form as a pattern of the whole form, and as the patterns of its parts."""
    plain = [_unit(character) for character in key]
    if len(key) < _SHORT:
        return [_form(plain, r"(?<![A-Za-z0-9])%s(?![A-Za-z0-9])")]
    forms = [_form(plain, "%s"), _form([f"{byte:02x}" for byte in key.encode()], "%s")]
    # Three bytes become four characters, so the form depends on how many bytes stand before the key. The characters
    # at its edges also depend on the bytes beside it, so they are not looked for, but are removed all the same.
    for before in range(3):
        coded = base64.b64encode(bytes(before) + key.encode()).decode().rstrip("=")
        inner = coded[(8 * before + 5) // 6 : 8 * (before + len(key)) // 6]
        units = ["[+-]" if each == "+" else "[/_]" if each == "/" else each for each in inner]
        forms.append(_form(units, r"[A-Za-z0-9+/_-]?%s[A-Za-z0-9+/_-]?={0,2}"))
    return forms


def _form(units: list[str], around: str) -> tuple[re.Pattern[str], list[re.Pattern[str]]]:
    whole = around.replace("%s", "".join(units))
    return re.compile(whole, re.IGNORECASE), [re.compile(unit, re.IGNORECASE) for unit in units]


def _unit(character: str) -> str:
    """Return the pattern of a character of the key: as it is, or escaped for JSON, by Python, or for a URL."""
    code = f"{ord(character):02x}"
    as_it_is = r"\+| " if character == " " else re.escape(character)
    return rf"(?:\\*(?:{as_it_is}|u00{code}|x{code})|%(?:25)*{code})"
