"""Forms of credentials, made up at random: a name, a value, what both stand in, how that is coded, what broke it.

Each is a field's JSON with a secret under a credential's name. `SECRET` stands in no other part of it, so that any of
its letters that is left is a leak.
"""

# ruff: noqa: ARG001 - all makers take the same

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote_plus

SECRET = "zqzqzq"
"""No other part of a form holds ``zq``."""

WORDS = (
    "cookie",
    "set cookie",
    "authorization",
    "proxy authorization",
    "x api key",
    "api keys",
    "csrf token",
    "access token",
    "client secret",
    "secret",
    "password",
    "new password",
    "passwd",
    "pass word",
    "pass phrase",
    "passcode",
    "pwd",
    "jwt",
    "bearer",
    "credentials",
    "session id",
    "session key",
    "phpsessid",
    "sess id",
    "sid",
    "card number",
    "credit card",
    "cc no",
    "kart numarası",
    "kredi kartı",
    "yeni şifre",
    "şifreniz",
    "parola tekrar",
    "güvenlik kodu",
    "onay kod",
    "cvv",
    "cvc",
    "csc",
    "otp",
    "totp",
    "security code",
    "sms code",
    "user auth",
    "pin",
    "pin code",
    "pan",
    "private key",
    "signing key",
)
"""Names of the documentation's table, word by word."""

Maker = Callable[[random.Random, str, str], str]


@dataclass(frozen=True)
class Form:
    """A field's JSON with a credential in it, and how it was made."""

    value: str
    made_of: str


def make(rng: random.Random) -> Form:
    """Make one."""
    name, secret = _name(rng), _secret(rng)
    container = rng.choice(CONTAINERS)
    if container in (in_raw_form, in_raw_query):
        name = _spaced(rng, name)
    text = container(rng, name, secret)
    damage = rng.choice(DAMAGES) if rng.random() < 0.6 else _intact
    text = damage(rng, text, name)
    if not _is_named(text, name, container):
        return make(rng)
    coded, encodings = text, []
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        encoding = rng.choice(ENCODINGS)
        coded = encoding(rng, coded)
        encodings.append(encoding.__name__)
    made_of = f"{name!r} {container.__name__} {damage.__name__} {encodings} {text!r}"
    return Form(json.dumps(coded, ensure_ascii=rng.random() < 0.3), made_of)


def _is_named(text: str, name: str, container: Maker) -> bool:
    """Tell whether a text still says that the secret is one."""
    if container is in_user_info:
        return "@" not in text or "@host" in text
    if container is in_raw_form and "&" not in text:
        return False
    plain = unquote_plus(
        re.sub(r"\\(?:u([0-9a-f]{4})|(.))", lambda one: chr(int(one[1], 16)) if one[1] else one[2], text)
    )
    return container is in_card or name in plain or json.dumps(name)[1:-1] in text


# Names.


def _name(rng: random.Random) -> str:
    words = rng.choice(WORDS).split()
    joined = rng.choice(("", "_", "-", ".", " ", "camel", "camel")) if len(words) > 1 else ""
    if joined == "camel":
        name = "".join(word.capitalize() for word in words)
        name = name[0].lower() + name[1:] if rng.random() < 0.5 else name
    else:
        # Words that are no credential's in one word.
        joined = "_" if not joined and " ".join(words) not in _IN_ONE_WORD else joined
        name = joined.join(words)
        name = rng.choice((str, str, str.upper, str.title, _any_case))(name)
    if rng.random() < 0.2:
        name = unicodedata.normalize("NFD", name)
    before, after = rng.choice((("", ""),) * 4 + _AROUND)
    return before + name + after


_IN_ONE_WORD = {
    *("set cookie", "pass word", "pass phrase", "session id", "session key", "sess id", "card number", "credit card"),
    *("cc no", "kart numarası", "kredi kartı", "güvenlik kodu", "onay kod", "security code", "sms code", "pin code"),
    *("private key", "signing key", "api keys", "access token", "csrf token", "client secret", "new password"),
    *("yeni şifre", "parola tekrar"),
}
_AROUND = (
    *(("", "2"), ("", "*"), ("", "!"), ("", "(1)"), ("user[", "]"), ("user['", "']"), ("x-", ""), ("a.b.", "")),
    *(("", "[]"), ("HTTP_", ""), ("_", "_"), ("$", "")),
)


def _spaced(rng: random.Random, name: str) -> str:
    """Return a name with white space around it and words before and behind, as a form or a URL holds it unencoded."""
    before, after = rng.choice(("", "my", "the user's")), rng.choice(("", "again", "of the new user", "x, y", "b: c"))
    if re.sub(r"[^a-zı]", "", name.lower()).replace("ı", "i").endswith(_LAST):
        after = ""
    words = ["", before, *name.split(), *after.split(), ""]
    spaces = _SPACES if ":" not in after else (" ", "\t")  # in lines a colon ends a header's name
    return rng.choice(spaces).join(words) if rng.random() < 0.5 else " ".join(filter(None, words))


_LAST = ("auth", "pin", "pincode", "pan", "sid", "csc", "creditcard", "kredikarti")
"""Names that are a credential's only where nothing follows them."""
_SPACES = (" ", " ", "  ", "\t", "\xa0", "\u2003", "\u3000", "\u2028", "\f", "\n", "\r\n")


def _any_case(name: str) -> str:
    """Return a name with its case mixed within each word, which is read as if there was none."""
    return re.sub(r"[^\W\d_]+", lambda word: word[0][:-2].upper() + word[0][-2:].lower(), name)


# Values.


def _secret(rng: random.Random) -> str:
    return rng.choice(
        (
            SECRET,
            SECRET,
            f"{SECRET} {SECRET}",
            f"a={SECRET}; b={SECRET}",
            f"Bearer {SECRET}.{SECRET}",
            f'x"{SECRET}',
            f'x"}}{SECRET}',
            f"x'{SECRET}",
            f"x,{SECRET}",
            f"x\\{SECRET}",
            f"x&{SECRET}",
            f"x%{SECRET}",
            f"x+{SECRET}==",
            f"x]{SECRET}",
            f"ş{SECRET}",
            f"<x>{SECRET}</x>",
            f"1:{SECRET}",
            f"x#{SECRET}",
        )
    )


# What names and values stand in.


def _dumps(rng: random.Random, value: object) -> str:
    return json.dumps(value, ensure_ascii=rng.random() < 0.3, separators=rng.choice(((",", ":"), (", ", ": "))))


def _valued(rng: random.Random, secret: str) -> object:
    return rng.choice((secret, secret, secret, [secret], {"a": secret}, ["x", {"b": [secret]}]))


def in_object(rng: random.Random, name: str, secret: str) -> str:
    return _dumps(rng, {"page": 1, name: _valued(rng, secret), "author": "x"})


def in_deep_object(rng: random.Random, name: str, secret: str) -> str:
    return _dumps(rng, {"page": [1, {"a": {name: _valued(rng, secret)}}], "b": None})


def in_pairs(rng: random.Random, name: str, secret: str) -> str:
    return _dumps(rng, [["Host", "h"], [name, secret], ["Accept", "*/*"]])


def in_labels(rng: random.Random, name: str, secret: str) -> str:
    member = [("name", name), ("value", secret), ("id", 1)]
    rng.shuffle(member)
    return _dumps(rng, [{"name": "Host", "value": "h"}, dict(member)])


def in_form(rng: random.Random, name: str, secret: str) -> str:
    code = rng.choice((quote_plus, lambda text: quote(text, safe="")))
    return f"page=2&{code(name)}={code(secret)}&b=%C3%BC"


def in_raw_form(rng: random.Random, name: str, secret: str) -> str:
    pairs = ["page=2", f"{name}={quote_plus(secret)}", "b=%C3%BC"]
    return "&".join(pairs[rng.randrange(2) :])


def in_raw_query(rng: random.Random, name: str, secret: str) -> str:
    before = rng.choice(("?", "#", "?page=2&", "?a b=2&"))
    return f"https://shop.example.com/p{before}{name}={quote(secret, safe='')}&b=1"


def in_query(rng: random.Random, name: str, secret: str) -> str:
    mark = rng.choice("?#")
    return f"https://shop.example.com/p{mark}page=2&{quote(name, safe='')}={quote(secret, safe='')}"


def in_headers(rng: random.Random, name: str, secret: str) -> str:
    line = rng.choice(("\r\n", "\n"))
    return line.join(("Host: h", f"{name}: {secret}", "Accept: */*"))


def in_parts(rng: random.Random, name: str, secret: str) -> str:
    line = rng.choice(("\r\n", "\r\n", "\n", "\r"))
    key = rng.choice(('name="{}"', 'name = "{}"', "name*=UTF-8''{}"))
    name = quote(name, safe="") if "*" in key else name.replace("\\", "\\\\").replace('"', '\\"')
    more = rng.choice(("", f"{line}Content-Type: text/plain", '; filename="x"'))
    head = f"Content-Disposition: form-data; {key.format(name)}{more}"
    other = f'Content-Disposition: form-data; name="b"{line}{line}1'
    return line.join(("--B", head, "", secret, "--B", other, "--B--", ""))


def in_python(rng: random.Random, name: str, secret: str) -> str:
    return repr({"page": None, name: _valued(rng, secret), "b": True})


def in_cookies(rng: random.Random, name: str, secret: str) -> str:
    return f"a=1; {quote(name, safe='')}={quote(secret, safe='')}; b=2"


def in_user_info(rng: random.Random, name: str, secret: str) -> str:
    mark = rng.choice(("'", '"', "", "@", "%40", ":"))
    return f"https://user:pa{mark}{SECRET}@host/p?page=1"


def in_body_within(rng: random.Random, name: str, secret: str) -> str:
    inner = rng.choice((in_object, in_form, in_pairs, in_labels))(rng, name, secret)
    return _dumps(rng, {"a": 1, "body": inner, "b": [2]})


def in_json_of_form(rng: random.Random, name: str, secret: str) -> str:
    inner = rng.choice((in_object, in_pairs, in_labels))(rng, name, secret)
    return f"page=1&q={quote(inner, safe='')}&b=2"


def in_card(rng: random.Random, name: str, secret: str) -> str:
    below = {rng.choice(("number", "no", "Num")): SECRET, "holder": "x"}
    inner = rng.choice((below, [below], json.dumps(below), [json.dumps(below)]))
    return _dumps(rng, {rng.choice(("card", "creditCard", "kart")): inner})


CONTAINERS: tuple[Maker, ...] = (
    in_object,
    in_deep_object,
    in_pairs,
    in_labels,
    in_form,
    in_raw_form,
    in_raw_query,
    in_query,
    in_headers,
    in_parts,
    in_python,
    in_cookies,
    in_user_info,
    in_body_within,
    in_json_of_form,
    in_card,
)


# Damage.


def _intact(rng: random.Random, text: str, name: str) -> str:
    return text


def cut_off(rng: random.Random, text: str, name: str) -> str:
    """Cut the end off."""
    return text[: rng.randrange(len(text) // 2, len(text) + 1)]


def cut_within(rng: random.Random, text: str, name: str) -> str:
    """Cut in the middle of the secret."""
    place = text.find(SECRET)
    return text[: place + rng.randrange(len(SECRET))] if place >= 0 else text


def prefixed(rng: random.Random, text: str, name: str) -> str:
    """Put something before it."""
    return rng.choice(("\ufeff", "data: ", ")]}',\n", "body=", "it's ", "x\n", "\ufeff\n", "1 ", 'say "x" ')) + text


def suffixed(rng: random.Random, text: str, name: str) -> str:
    """Put something after it."""
    return text + rng.choice((",", "}", '"', " x", "\n", "...", "\x00", "&", "\\"))


def unclosed(rng: random.Random, text: str, name: str) -> str:
    """Leave out a bracket or the last comma."""
    places = [found.start() for found in re.finditer(r"[{}\[\],]", text)]
    if not places or SECRET not in text:
        return text
    place = rng.choice((places[0], places[-1]))
    return text[:place] + text[place + 1 :]


def unquoted(rng: random.Random, text: str, name: str) -> str:
    """Leave out the quotation mark that ends the value."""
    place = text.find('"', text.rfind(SECRET))
    return text[:place] + text[place + 1 :] if place > 0 else text


def unescaped_mark(rng: random.Random, text: str, name: str) -> str:
    """Put a quotation mark into the secret that nothing escapes."""
    place = text.find(SECRET)
    return text[: place + 2] + '"' + text[place + 2 :] if place >= 0 else text


DAMAGES: tuple[Maker, ...] = (cut_off, cut_within, prefixed, suffixed, unclosed, unquoted, unescaped_mark)


# Encodings.


def json_text(rng: random.Random, text: str) -> str:
    return json.dumps(text, ensure_ascii=rng.random() < 0.3)


def json_member(rng: random.Random, text: str) -> str:
    return json.dumps({"a": 1, "body": text, "b": "x"}, ensure_ascii=rng.random() < 0.3)


def escapes(rng: random.Random, text: str) -> str:
    """Write some letters as JSON's escapes, within JSON."""
    inner = json.dumps({"body": text}, ensure_ascii=False)
    return re.sub(r"(?<!\\)[a-y]", lambda one: f"\\u{ord(one[0]):04x}" if rng.random() < 0.2 else one[0], inner)


def percent(rng: random.Random, text: str) -> str:
    return f"a=1&q={quote(text, safe='')}"


def percent_letters(rng: random.Random, text: str) -> str:
    """Write all of a text in percent-encoding, letters too."""
    return "q=" + "".join(f"%{octet:02X}" for octet in text.encode())


ENCODINGS = (json_text, json_member, escapes, percent, percent_letters)
