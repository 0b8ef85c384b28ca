r"""Finds credentials in text that is no JSON, or broken: a form, a URL, headers, multipart, a dump that was cut off.

Whatever looks like a name and its value is taken for one. A value ends where its form says so, if what follows is
allowed there; else the rest of the line counts as the value. This module finds places; it replaces nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import cast
from urllib.parse import quote

from airflow_provider_akinon.audit_events.redaction.credential_names import NO_PORT, is_card, is_credential
from airflow_provider_akinon.audit_events.redaction.splicing import Edit

REDACTED = "[redacted]"
QUOTED = json.dumps(REDACTED)
"""`REDACTED` as JSON."""
PERCENT_QUOTED = quote(REDACTED)
"""`REDACTED` as a form or a URL has it."""

# No group is repeated possessively, as Python before 3.11.5 gets that wrong; an atomic group says the same.

# Values.
_STRING = r'(?:[bru]?"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"|' + r"[bru]?'[^'\\]*+(?>(?:\\.[^'\\]*+)*)')"
_STRINGS = re.compile(_STRING, re.DOTALL)
_QUOTE = re.compile(r"""[bru]?["']""")
_NESTED = re.compile(rf"{_STRING}|([{{\[(])|([}}\])])", re.DOTALL)
_BARE = re.compile(r"[^,}\]\r\n]*+")
_LINE_END = re.compile(r"\r?\n|\Z")
_HEADER_END = re.compile(r"\r?\n(?![ \t])|\Z")
_KEY = rf"(?:{_STRING}|[\w$.\-]++)\s*+[:=]"
_GOES_ON = re.compile(
    rf"""[ \t]*+,?[ \t]*+(?:\r?\n|\Z)"""
    rf"""|\s*+,\s*+(?:{_KEY}|{_STRING}\s*+\Z|["'][^"'\r\n]*+\Z|\w++\Z)"""
    r"""|\s*+[}\])>](?>(?:\s*+[}\])>"';])*)[ \t]*+"""
    rf"""(?:\r?\n|\Z|[&<{{\[]|,\s*+(?:\Z|[{{\[("'\d\-]|(?:true|false|null|None|True|False)\b|{_KEY}))""",
    re.DOTALL,
)
"""The pattern of text that may follow a value of JSON, or of Python."""
_STRING_ENDS = re.compile(rf"""["'](?:{_GOES_ON.pattern})""", re.DOTALL)
_GOES_ON_IN_FORM = re.compile(
    r"""[ \t]*+(?:\r?\n|\Z|/?>|&|[;,][ \t]*+(?:\r?\n|\Z)|(?:[;,]|[ \t])[ \t]*+(?:[\w.\-]++=|/?>))"""
)
_URL = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.\-]*:/)?/")
_IN_USER_INFO = r"""(?:[^/?#\s"'<>\\]|["'](?!\s*[,}\])>:]))"""
_USER_INFO = re.compile(
    rf"""(?<=//)(?:{_IN_USER_INFO}+(?=@)|{NO_PORT}(?:(?=[^@]{{0,100}}+@)(?:{_IN_USER_INFO}|[/?#]){{0,100}}(?=@)|{_IN_USER_INFO}{{0,100}}\Z))"""
)
"""The pattern of a URL's user-info: up to the last @ of the authority; where a seeming port is none, up to any @, or
the text's end."""

# Names.
_IN_NAME = r"""[^\r\n&;,?#=:{}"<>\\/]"""
_NAMED = re.compile(
    rf"""(?<!{_IN_NAME})({_IN_NAME}++(?>(?:(?:(?<=\[)"|"(?=\])){_IN_NAME}*+)*))[?#/;<>{{}}]{{0,3}}+(")?(?(2)\s*+|(?:\s++(?==))?)([=:])"""
)
_BEFORE_NAME = re.compile(r"""["<>{}\\=]|(?<![^\r\n])[^\r\n:]*+:[^\r\n]*+[\r\n]""")
"""The pattern of text that no name in a form has in it: marks of something else, or a line of headers."""
_SPACE = re.compile(r"\s*+")
_BLANK = re.compile(r"[ \t]*+")
_RUN = re.compile(r"[\w.\-\[\]%+$]+")
_NO_LETTERS = "".join(char for char in map(chr, range(128)) if not char.isalpha())
_BETWEEN_PARTS = re.compile(r"""[\s&?#"'<>=]""")

# Lists of names and values.
_PAIR = re.compile(rf"(?:\A\s*+[\[(]?|[\[(,]\s*+[\[(])\s*+({_STRING})\s*+,\s*+", re.DOTALL)
_LABEL = re.compile(rf"""["'](?:name|key)["']\s*+:\s*+(?:({_STRING})|[bru]?["'])""", re.DOTALL | re.IGNORECASE)
_LABELLED = re.compile(r"""["']value["']\s*+:\s*+""", re.IGNORECASE)
_BETWEEN_OBJECTS = re.compile(r"[^{]+")
_UNSEPARATED = re.compile(rf"[{{,]\s*+({_STRING})\s*+(?=[^\s:=,}}\])&;])", re.DOTALL)

# Multipart.
_EOL = r"(?>\r\n|[\r\n])"
_PART = re.compile(
    r"""(content-disposition|form-data)|\bname\*?\s*=\s*(?:"((?>(?:[^"\\\r\n]|\\.)*))|([^\s;"]+))""", re.IGNORECASE
)
_EMPTY_LINE = re.compile(rf"{_EOL}[ \t]*+{_EOL}")
_BOUNDARY = re.compile(r"\s*(--\S+)")


def loose_credentials(text: str, parent: str | None = None) -> list[Edit]:
    """Return the edits of credentials in any text: a form, a URL, headers, multipart, JSON or Python cut off.

    ``parent``: the name that the text stands under.
    """
    edits = [(*found.span(), PERCENT_QUOTED) for found in _USER_INFO.finditer(text)] if "//" in text else []
    return [*edits, *_named(text, parent), *_listed(text), *_parts(text)]


def _named(text: str, parent: str | None) -> Iterator[Edit]:
    """Yield the edits of values after a name and a colon or an equals sign."""
    end = counted = since = pair = 0
    is_form = _is_form(text)
    inside = {mark: False for mark in ('"', "'") if mark in text}
    over = parent
    ends = _ends_in_form(text)
    for found in _NAMED.finditer(text):
        if found.start() < end:
            continue
        if over != parent and text.find("}", since, found.start()) >= 0:
            over = parent
        since = found.start()
        names = list(_names(text, found))
        in_form = is_form and found[3] == "="
        if not any(is_credential(name, over) for name in names) and not (
            in_form and is_credential(_name_in_form(text, max(pair, end), found.start(3)), over)
        ):
            pair = found.end() if in_form else pair
            # {"card": {"number": …, if nothing closed it.
            over = next(filter(is_card, names), over)
            continue
        quoted = found[2] is not None or found[1].rstrip().endswith("'")
        start = cast(re.Match[str], (_SPACE if quoted else _BLANK).match(text, found.end())).end()
        _turn(inside, text, counted, start)
        counted = start
        end, new = _form_value(text, start, ends, inside) if found[3] == "=" else _colon_value(text, start, quoted)
        if not _is_nothing(text[start:end], quoted):
            yield start, end, new


def _is_form(text: str) -> bool:
    """Tell whether a text is a form, or a URL with a query is in it."""
    return "&" in text or _URL.match(text) is not None or ("://" in text and ("?" in text or "#" in text))


def _turn(inside: dict[str, bool], text: str, start: int, end: int) -> None:
    """Note of each quotation mark whether a text goes on between two of them."""
    for mark in inside:
        inside[mark] ^= bool((text.count(mark, start, end) - text.count("\\" + mark, start, end)) % 2)


def _is_nothing(value: str, quoted: bool) -> bool:
    return not value.strip(" \t=") or (quoted and value.strip() in ("null", "None"))


def _names(text: str, found: re.Match[str]) -> Iterator[str]:
    """Yield what may be the name that ends where one was found."""
    name, before, sep = found[1], text[found.start() - 1 : found.start()], found.start(3)
    goes_back = before in (",", ";", ":", "{", "}", "/")
    if name.isalpha() and not goes_back and (before == '"' or not found[2]):  # as most are
        yield name
        return
    yield from name.split()[-1:]
    words = name.rstrip(_NO_LETTERS).split()
    for last in words[-1:]:
        yield last
        yield from _RUN.findall(last)[-1:]
        # Card Number: 1; but "cookie banner: on" is about neither.
        if len(words) > 1 and not is_credential(f"{words[-2]} x"):
            yield f"{words[-2]} {last}"
    if before in ("", "\n", "\r") and len(words) < 4:
        yield " ".join(words)
    near = text[max(0, sep - 100) : sep].rstrip()
    if found[2]:
        yield name if before == '"' else near[:-1].rpartition('"')[2]
    elif near.endswith("'"):
        yield near[:-1].rpartition("'")[2]
    elif goes_back:
        yield _BETWEEN_PARTS.split(near)[-1]


def _name_in_form(text: str, pair: int, sep: int) -> str:
    """Return all of the name that ends at an equals sign in a form, white space too.

    ``pair``: where what is before has ended, or where a form within the form begins.
    """
    begin = text.rfind("&", pair, sep) + 1 or max(text.rfind(mark, pair, sep) for mark in "?#;") + 1 or pair
    return _BEFORE_NAME.split(text[begin:sep].rstrip())[-1]


def _colon_value(text: str, start: int, quoted: bool) -> tuple[int, str]:
    """Return where the value of JSON or of a header ends that starts here, and what stands for it."""
    if quoted:
        return _json_value(text, start), QUOTED
    return cast(re.Match[str], _HEADER_END.search(text, start)).start(), REDACTED


def _json_value(text: str, start: int) -> int:
    """Return where the value of JSON or Python ends that starts here, or the line, where it is not clear."""
    end = start
    if string := _STRINGS.match(text, start):
        end = string.end()
    elif _QUOTE.match(text, start + text.startswith("\\", start)):
        return len(text)
    elif text[start : start + 1] in ("{", "["):
        depth = 0
        for token in _NESTED.finditer(text, start):
            depth += (token[1] is not None) - (token[2] is not None)
            if depth == 0:
                end = token.end()
                break
        else:
            return len(text)
    else:
        end = cast(re.Match[str], _BARE.match(text, start)).end()
    return end if _GOES_ON.match(text, end) else _line_end(text, end)


def _line_end(text: str, start: int) -> int:
    return cast(re.Match[str], _LINE_END.search(text, start)).start()


def _ends_in_form(text: str) -> re.Pattern[str]:
    """Return the pattern of text that may end a value in this form, URL or attribute."""
    semicolon = "" if "&" in text else r"|;[ \t]++(?=[\w.\-]++=)"
    return re.compile(rf"""&|\r?\n|\Z|["'{"#" if _URL.match(text) else ""}]{semicolon}""")


def _form_value(text: str, start: int, ends: re.Pattern[str], inside: dict[str, bool]) -> tuple[int, str]:
    """Return where the value in a form, a URL or an attribute ends that starts here, and what stands for it.

    ``inside``: by quotation mark, whether the form is between two of them.
    """
    mark = text[start : start + 1]
    if _QUOTE.match(text, start) and not (inside.get(mark) and _STRING_ENDS.match(text, start)):
        string = _STRINGS.match(text, start)
        if not string:
            return len(text), QUOTED
        end = string.end()
        return end if _GOES_ON_IN_FORM.match(text, end) else _line_end(text, end), QUOTED
    for found in ends.finditer(text, start):
        char = found[0][:1]
        if char not in inside or (inside[char] and _STRING_ENDS.match(text, found.start())):
            return found.start(), PERCENT_QUOTED
    return len(text), PERCENT_QUOTED


def _listed(text: str) -> Iterator[Edit]:
    """Yield the edits of values that stand beside their names in lists, as far as these are broken."""
    end = 0
    for start in sorted(_values_in_lists(text)):
        if start >= end:
            end = _json_value(text, start)
            yield start, end, QUOTED
    end = 0
    for found in _UNSEPARATED.finditer(text):
        if found.start() >= end and is_credential(_content(found[1])):
            end = _line_end(text, found.end())
            yield found.end(), end, QUOTED


def _values_in_lists(text: str) -> Iterator[int]:
    """Yield where values start, those of a list after the other."""
    for found in _PAIR.finditer(text):
        if is_credential(_content(found[1])):
            yield found.end()
    for members in _BETWEEN_OBJECTS.finditer(text):
        labels = _LABEL.findall(text, *members.span())
        if any(not label or is_credential(_content(label)) for label in labels):  # what is not closed was cut off
            for value in _LABELLED.finditer(text, *members.span()):
                yield value.end()


def _content(string: str) -> str:
    return string.lstrip("bru")[1:-1]


def _parts(text: str) -> Iterator[Edit]:
    """Yield the edits of the parts of a multipart body."""
    if "\n" not in text and "\r" not in text:
        return
    stop = _end_of_part(text)
    end = 0
    in_headers = False
    empty: re.Match[str] | None = None
    for found in _PART.finditer(text):
        if not empty or empty.start() < found.end():
            in_headers = False
            empty = _EMPTY_LINE.search(text, found.end())
            if not empty:
                return
        in_headers = in_headers or found[1] is not None
        if found[1] or found.start() < end or not is_credential(found[2] or found[3] or ""):
            continue
        start = empty.start() - found.end()
        if in_headers or (start < 5000 and _lines(text, found.end(), empty.start()) < 10):
            end = cast(re.Match[str], stop.search(text, empty.end())).start()
            yield empty.end(), end, REDACTED


def _end_of_part(text: str) -> re.Pattern[str]:
    """Return what ends a part: the boundary that the body begins with, or any where it begins with none."""
    boundary = _BOUNDARY.match(text)
    line = rf"{re.escape(boundary[1])}(?:--)?[ \t]*(?:{_EOL}|\Z)" if boundary else r"--"
    return re.compile(rf"{_EOL}{line}|\Z")


def _lines(text: str, start: int, end: int) -> int:
    return text.count("\n", start, end) + text.count("\r", start, end) - text.count("\r\n", start, end)
