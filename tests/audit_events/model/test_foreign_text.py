"""Text that others wrote stands in a message on one line, without anything that does not print, and bounded."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_akinon.audit_events.foreign_text import shown
from tests.support.long import in_ci

DOES_NOT_PRINT = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@pytest.mark.parametrize("step", [in_ci(1), 61])
def test_every_character_is_shown_as_it_is_or_escaped(step: int) -> None:
    """Each code point that does not print becomes an escape of its number; each other one stays.

    ``step``: of those that mean nothing or what one likes, nine in ten of all, it takes one in so many.
    """
    seen = set()
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        category = unicodedata.category(character)
        if category in ("Cn", "Co") and code % step:
            continue
        seen.add(category)
        text = shown(character, None)
        if category in DOES_NOT_PRINT:
            assert text.isascii(), hex(code)
            assert text.isprintable(), hex(code)
            assert text[:2] in ("\\x", "\\u", "\\U"), hex(code)
            assert len(text) == {"x": 4, "u": 6, "U": 10}[text[1]], hex(code)
            assert int(text[2:], 16) == code
            assert text.encode("ascii").decode("unicode_escape") == character
        else:
            assert text == character, hex(code)

    assert seen > DOES_NOT_PRINT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("as it is: äöü, 漢字, 😀, \\n", "as it is: äöü, 漢字, 😀, \\n"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r\nb\x00", "a\\x0d\\x0ab\\x00"),
        ("\x85\u2028\u2029", "\\x85\\u2028\\u2029"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ufeff\u200b", "\\ufeff\\u200b"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("\xa0", "\xa0"),
    ],
)
def test_what_is_escaped(text: str, expected: str) -> None:
    """Line ends, terminal escapes, marks of direction and halves of characters are written as escapes."""
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("abcde", 5, "abcde"),
        ("abcdef", 5, "abcd…"),
        ("a\nb", 6, "a\\x0ab"),
        ("a\nb", 5, "a…"),
        ("a\n", 5, "a\\x0a"),
        ("\n\n", 4, "…"),
        ("a" * 200, 200, "a" * 200),
        ("a" * 201, 200, "a" * 199 + "…"),
        ("abc", 1, "…"),
    ],
)
def test_what_is_cut(text: str, most: int, expected: str) -> None:
    """Longer text is cut to the bound with an ellipsis, and never inside an escape."""
    assert shown(text, most) == expected


def test_the_bound_by_default_and_none() -> None:
    """Without a bound given text is cut to 200 characters; with None it is not cut."""
    assert shown("a" * 1000) == "a" * 199 + "…"
    assert shown("\n" * 1000) == "\\x0a" * 49 + "…"
    assert shown("a" * 1000, None) == "a" * 1000


@given(st.text(), st.one_of(st.none(), st.integers(1, 40)))
def test_shown_again_it_stays(text: str, most: int | None) -> None:
    """What is shown prints, keeps to its bound, and stays as it is when it is shown again."""
    once = shown(text, most)

    assert shown(once, most) == once
    assert all(unicodedata.category(character) not in DOES_NOT_PRINT for character in once)
    assert most is None or len(once) <= most


@given(st.text(st.characters(exclude_categories=sorted(DOES_NOT_PRINT)), max_size=200))
def test_what_prints_stays(text: str) -> None:
    """Text that prints and is short enough is shown as it is."""
    assert shown(text) == text
