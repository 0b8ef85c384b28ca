"""Redaction: credentials go, whatever they are wrapped in, and every other byte stays."""

# ruff: noqa: E501 - a case is one line, so that what goes in and what comes out stand beside each other
# ruff: noqa: SIM905 - names, one a line, would fill pages
from __future__ import annotations

import hashlib
import hmac
import json
import re
import sys
import tracemalloc
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_akinon import audit_events
from airflow_provider_akinon.audit_events.errors import InvalidInput
from airflow_provider_akinon.audit_events.redaction import FIELDS, REDACTED, Redaction, harmless, is_credential
from tests.support.credential_forms import WORDS
from tests.support.long import in_ci

KEY = b"a made-up key, long enough"
FORM = quote(REDACTED)


def test_no_group_is_repeated_possessively() -> None:
    """Python before 3.11.5 ends ``(?:…)*+`` too early where the group may backtrack: credentials would stay.

    ``(?>(?:…)*)`` says the same, and is right in all of them.
    """
    modules = list(Path(audit_events.__file__).parent.rglob("*.py"))
    assert [path.name for path in modules if re.search(r"\)(?:[*+?]|\{[0-9,]+\})\+", path.read_text())] == []
    assert len(modules) > 30
    assert re.search(r"\)(?:[*+?]|\{[0-9,]+\})\+", "(?:a){0,9}+")


def policy(redact: object = "credentials", key: bytes | None = None) -> Redaction:
    made = Redaction.parse(redact, key=key)
    assert made is not None
    return made


def record(field: str, value: str) -> bytes:
    """Return a record whose field has this JSON; around it is what must stay as it is."""
    return (
        '{"content":{"password":"not looked at","n":1.10},"content_type":12345678901234567890123,'
        f'"{field}":{value},"user":{{"token":"not looked at","name":"\\ud800ü\\u0130"}},'
        '"timestamp":"2026-01-05T00:00:00Z","uuid":"u"}'
    ).encode("utf-8", "surrogatepass")


def redacted(field: str, value: str, redaction: Redaction | None = None) -> str:
    """Return a field's JSON, redacted; all around it must be as it was, and redacting again must change nothing."""
    redaction = redaction or policy()
    line = record(field, value)
    got = redaction(line)
    before, after = record(field, "\0").split(b"\0")
    assert got.startswith(before)
    assert got.endswith(after)
    assert redaction(got) == got
    json.loads(got)
    return got[len(before) : -len(after)].decode("utf-8", "surrogatepass")


def dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# Each is a field, its value in JSON, and what must be left of it. HUSH stands for a secret, one of its own in each.
PLANTED = [
    # objects, with the names of headers, of Django's META and of forms
    ("headers", '{"Cookie":"a=HUSH; b=HUSH","Host":"h"}', '{"Cookie":"[redacted]","Host":"h"}'),
    ("headers", '{"set-cookie":["a=HUSH","b=HUSH"]}', '{"set-cookie":"[redacted]"}'),
    ("headers", '{"HTTP_COOKIE":"HUSH","HTTP_HOST":"h"}', '{"HTTP_COOKIE":"[redacted]","HTTP_HOST":"h"}'),
    ("headers", '{"AUTHORIZATION":"Token HUSH"}', '{"AUTHORIZATION":"[redacted]"}'),
    ("headers", '{"Proxy-Authorization":"Basic HUSH"}', '{"Proxy-Authorization":"[redacted]"}'),
    ("headers", '{"X-Api-Key":"HUSH","x":1}', '{"X-Api-Key":"[redacted]","x":1}'),
    ("headers", '{"HTTP_X_CSRFTOKEN":"HUSH"}', '{"HTTP_X_CSRFTOKEN":"[redacted]"}'),
    ("headers", '{"X-CSRFToken":"HUSH"}', '{"X-CSRFToken":"[redacted]"}'),
    ("post_data", '{"csrfmiddlewaretoken":"HUSH","a":"b"}', '{"csrfmiddlewaretoken":"[redacted]","a":"b"}'),
    ("post_data", '{"newPassword2":"HUSH"}', '{"newPassword2":"[redacted]"}'),
    ("post_data", '{"passwd":"HUSH","PWD":"HUSH"}', '{"passwd":"[redacted]","PWD":"[redacted]"}'),
    ("post_data", '{"yeniŞifre":"HUSH","ŞİFRE":"HUSH"}', '{"yeniŞifre":"[redacted]","ŞİFRE":"[redacted]"}'),
    ("post_data", '{"parola":"HUSH","parola_tekrar":"HUSH"}', '{"parola":"[redacted]","parola_tekrar":"[redacted]"}'),
    ("post_data", '{"client_secret":"HUSH"}', '{"client_secret":"[redacted]"}'),
    ("query_params", '{"sessionid":"HUSH","sid":"HUSH"}', '{"sessionid":"[redacted]","sid":"[redacted]"}'),
    ("query_params", '{"access_token":["HUSH"],"ids":["1"]}', '{"access_token":"[redacted]","ids":["1"]}'),
    ("post_data", '{"pay":{"cardNumber":"HUSH","cvv2":7}}', '{"pay":{"cardNumber":"[redacted]","cvv2":"[redacted]"}}'),
    ("post_data", '{"card":{"number":"HUSH","holder":"x"}}', '{"card":{"number":"[redacted]","holder":"x"}}'),
    ("post_data", '{"kart_no":"HUSH","pan":"HUSH"}', '{"kart_no":"[redacted]","pan":"[redacted]"}'),
    ("post_data", '{"otp":"HUSH","pin":"HUSH"}', '{"otp":"[redacted]","pin":"[redacted]"}'),
    ("post_data", '[{"a":[[{"Security Code":"HUSH"}]]},1.10]', '[{"a":[[{"Security Code":"[redacted]"}]]},1.10]'),
    # values of every kind
    ("post_data", '{"secret":{"a":["HUSH",{"b":1}]},"c":1e400}', '{"secret":"[redacted]","c":1e400}'),
    ("post_data", '{"password":true,"token":"","pin":1.50}', '{"password":"[redacted]","token":"[redacted]","pin":"[redacted]"}'),
    ("post_data", '{"password":null,"token":"HUSH"}', '{"password":null,"token":"[redacted]"}'),
    ("post_data", '{"password":"HUSH\\"HUSH\\\\","b":"\\\\"}', '{"password":"[redacted]","b":"\\\\"}'),
    # the same key twice, and keys that are escaped
    ("post_data", '{"password":"HUSH","a":1,"password":"HUSH"}', '{"password":"[redacted]","a":1,"password":"[redacted]"}'),
    ("post_data", '{"pass\\u0077ord":"HUSH"}', '{"pass\\u0077ord":"[redacted]"}'),
    ("post_data", '{"\\u015fifre":"HUSH","\\ud800":"\\ud800"}', '{"\\u015fifre":"[redacted]","\\ud800":"\\ud800"}'),
    # lists of names and values
    ("headers", '[["Cookie","HUSH"],["Host","h"]]', '[["Cookie","[redacted]"],["Host","h"]]'),
    ("headers", '[["\\u0043ookie","HUSH"]]', '[["\\u0043ookie","[redacted]"]]'),
    ("headers", '[{"name":"Cookie","value":"HUSH"}]', '[{"name":"Cookie","value":"[redacted]"}]'),
    ("headers", '[{"value":"HUSH","x":[1],"key":"X-Api-Key"}]', '[{"value":"[redacted]","x":[1],"key":"X-Api-Key"}]'),
    ("headers", '{"h":[{"Name":"sid","Value":"HUSH","password":"HUSH"}]}', '{"h":[{"Name":"sid","Value":"[redacted]","password":"[redacted]"}]}'),
    ("headers", '["Cookie: HUSH","Host: h"]', '["Cookie: [redacted]","Host: h"]'),
    # JSON within strings
    ("headers", dumps('{"Cookie": "HUSH", "Host": "h"}'), dumps('{"Cookie": "[redacted]", "Host": "h"}')),
    ("post_data", dumps(dumps({"a": dumps({"password": "HUSH", "b": "ü\\"})})), dumps(dumps({"a": dumps({"password": REDACTED, "b": "ü\\"})}))),
    ("post_data", '"{\\u0022password\\u0022:\\u0022HUSH\\u0022,\\u0022b\\u0022:1}"', '"{\\u0022password\\u0022:\\"[redacted]\\",\\u0022b\\u0022:1}"'),
    ("post_data", '{"a":"{\\"p\\\\u0061ssword\\":\\"HUSH\\"}"}', '{"a":"{\\"p\\\\u0061ssword\\":\\"[redacted]\\"}"}'),
    ("post_data", dumps('{"a":1}\n{"password":"HUSH"}\n'), dumps('{"a":1}\n{"password":"[redacted]"}\n')),
    ("post_data", dumps('[["token","HUSH"]]'), dumps('[["token","[redacted]"]]')),
    # forms
    ("post_data", '"a=1&password=HUSH&b=%C3%BC"', f'"a=1&password={FORM}&b=%C3%BC"'),
    ("post_data", '"user%5Bpassword%5D=HUSH&b=+%2b"', f'"user%5Bpassword%5D={FORM}&b=+%2b"'),
    ("post_data", '"user[password]=HUSH"', f'"user[password]={FORM}"'),
    ("post_data", '"p%61ssword=HUSH&a"', f'"p%61ssword={FORM}&a"'),
    ("post_data", '"%C5%9Fifre=HUSH&x=y"', f'"%C5%9Fifre={FORM}&x=y"'),
    ("post_data", '"password=HUSH%26HUSH&x=y"', f'"password={FORM}&x=y"'),
    ("post_data", '"password=a;HUSH#HUSH HUSH&x=y"', f'"password={FORM}&x=y"'),
    ("post_data", '"password=HUSH&password=HUSH"', f'"password={FORM}&password={FORM}"'),
    ("post_data", '"p\\u0061ssword=HUSH&a=\\u0062"', f'"p\\u0061ssword={FORM}&a=\\u0062"'),
    ("post_data", f'"q={quote(dumps({"pin": "HUSH", "b": 1}))}&c=1"', f'"q={quote(dumps({"pin": REDACTED, "b": 1}))}&c=1"'),
    ("post_data", dumps({"body": "a=1&password=HUSH"}), dumps({"body": f"a=1&password={FORM}"})),
    ("post_data", '"x=1; sessionid=HUSH; y=2"', f'"x=1; sessionid={FORM}; y=2"'),
    # names in forms with white space in them, word for word
    ("post_data", '"a=1&password of the user=HUSH&b=2"', f'"a=1&password of the user={FORM}&b=2"'),
    ("post_data", '"my password again and again=HUSH&b=2"', f'"my password again and again={FORM}&b=2"'),
    ("post_data", '"a=1&api\\nkey\\n=HUSH&b=2"', f'"a=1&api\\nkey\\n={FORM}&b=2"'),
    ("post_data", '"a=1& \\tpin\u00a0 =HUSH"', f'"a=1& \\tpin\u00a0 ={FORM}"'),
    ("post_data", '"a=1&my password, x: y=HUSH&c=2"', f'"a=1&my password, x: y={FORM}&c=2"'),
    ("post_data", '"a=1&q=my%20token%20x%20y%3DHUSH%26d%3D1"', f'"a=1&q=my%20token%20x%20y%3D{quote(FORM)}%26d%3D1"'),
    ("url", '"https://h/?my token x y=HUSH&b=1"', f'"https://h/?my token x y={FORM}&b=1"'),
    ("headers", '"See: https://h/?my token x y=HUSH"', f'"See: https://h/?my token x y={FORM}"'),
    ("headers", '"Host: sid\\nmy token x y=HUSH&b=1"', f'"Host: sid\\nmy token x y={FORM}&b=1"'),
    # URLs
    ("url", '"https://h/p?token=HUSH&b=1#x"', f'"https://h/p?token={FORM}&b=1#x"'),
    ("url", '"https://h/p?token=HUSH#x"', f'"https://h/p?token={FORM}#x"'),
    ("url", '"https://h/p#access_token=HUSH&b=1"', f'"https://h/p#access_token={FORM}&b=1"'),
    ("url", '"https://user:HUSH@h/p"', f'"https://{FORM}@h/p"'),
    ("url", '"https://user:HUSH%40@h:8443/p?a=b@c"', f'"https://{FORM}@h:8443/p?a=b@c"'),
    ("url", '"https:\\/\\/user:HUSH@h\\/p"', f'"https:\\/\\/{FORM}@h\\/p"'),
    ("url", f'"https://h/?next={quote("https://u:HUSH@x/?sid=HUSH&a=1", safe="")}"', f'"https://h/?next={quote(f"https://{FORM}@x/?sid={FORM}&a=1", safe="")}"'),
    ("url", '"x?token=//u:HUSH&HUSH@h"', f'"x?token={FORM}"'),
    ("headers", '{"Referer":"https://h/?api_key=HUSH"}', f'{{"Referer":"https://h/?api_key={FORM}"}}'),
    ("post_data", f'"q={quote(dumps([["pin", "HUSH"]]))}&c=1"', f'"q={quote(dumps([["pin", REDACTED]]))}&c=1"'),
    # blocks of headers, and multipart bodies
    ("headers", '"Cookie: a=HUSH\\r\\nHost: x"', '"Cookie: [redacted]\\r\\nHost: x"'),
    ("headers", '"Host: x\\nAuthorization: Bearer HUSH"', '"Host: x\\nAuthorization: [redacted]"'),
    ("headers", '"Cookie: a=HUSH;\\r\\n b=HUSH\\r\\nHost: x"', '"Cookie: [redacted]\\r\\nHost: x"'),
    ("headers", '"Authorization: Bearer HUSH"', '"Authorization: [redacted]"'),
    (
        "post_data",
        dumps('--B\r\nContent-Disposition: form-data; name="password"\r\n\r\nHUSH\nHUSH\r\n--B\r\nContent-Disposition: form-data; name="b"\r\n\r\n1\r\n--B--\r\n'),
        dumps('--B\r\nContent-Disposition: form-data; name="password"\r\n\r\n[redacted]\r\n--B\r\nContent-Disposition: form-data; name="b"\r\n\r\n1\r\n--B--\r\n'),
    ),
    (
        "post_data",
        dumps('--B\nContent-Disposition: form-data; name="Card Number"\nContent-Type: text/plain\n\nHUSH'),
        dumps('--B\nContent-Disposition: form-data; name="Card Number"\nContent-Type: text/plain\n\n[redacted]'),
    ),
    # broken and cut off
    ("post_data", dumps('{"b":1,"password":"HUSH'), dumps('{"b":1,"password":"[redacted]"')),
    ("post_data", dumps('{"b":1,"password":"HUSH\\'), dumps('{"b":1,"password":"[redacted]"')),
    ("post_data", dumps('{"b":1,"secret":{"a":["HUSH"'), dumps('{"b":1,"secret":"[redacted]"')),
    ("post_data", dumps('{"b":1,"pin":7654,"c":"cut'), dumps('{"b":1,"pin":"[redacted]","c":"cut')),
    ("post_data", dumps('b":1,"password":"HUSH","c":2}'), dumps('b":1,"password":"[redacted]","c":2}')),
    ("post_data", dumps('{"p":"{\\"password\\":\\"HUSH\\",\\"b\\":1}","c":"cut'), dumps('{"p":"{\\"password\\":\\"[redacted]\\",\\"b\\":1}","c":"cut')),
    ("post_data", dumps('[{"name":"Cookie","value":"HUSH"},{"name":"c'), dumps('[{"name":"Cookie","value":"[redacted]"},{"name":"c')),
    ("post_data", dumps("{'a': None, 'password': 'HUSH', 'b': 1}"), dumps("{'a': None, 'password': \"[redacted]\", 'b': 1}")),
    ("post_data", dumps("<QueryDict: {'password': ['a]HUSH', 'HUSH'], 'a': ['1']}>"), dumps("<QueryDict: {'password': \"[redacted]\", 'a': ['1']}>")),
    ("post_data", dumps("{'password': b'a,HUSH', 'a': 1}"), dumps("{'password': \"[redacted]\", 'a': 1}")),
    ("post_data", dumps('b",\n  "password"\n:\n  "HUSH",\n  "c": 2}'), dumps('b",\n  "password"\n:\n  "[redacted]",\n  "c": 2}')),
    ("post_data", dumps('b":1,"token":"password":"HUSH"}'), dumps('b":1,"token":"[redacted]"')),
    ("post_data", dumps('{"a" 1 "password": {"x": "HUSH"}, "b": 2}'), dumps('{"a" 1 "password": "[redacted]", "b": 2}')),
    ("post_data", dumps("q=%7B%22password%22%3A%22HUSH"), dumps(f"q=%7B%22password%22%3A{quote(dumps(REDACTED))}")),
]  # fmt: skip


@pytest.mark.parametrize(("number", "case"), list(enumerate(PLANTED)))
def test_a_planted_credential_goes_and_the_rest_stays(number: int, case: tuple[str, str, str]) -> None:
    """Of each form of credential nothing is left, and every other byte of the record is as it was."""
    field, value, expected = case
    secret = f"hush{number:03}"

    got = redacted(field, value.replace("HUSH", secret))

    assert got == expected
    assert secret not in unquote(unquote(got))


# Of each the secret must go, and what else goes is not said: a name or a value that its form does not allow, or damage.
PAIRS, LABELS = '[["Cookie","HUSH"],["Host","h"]]', '[{"name":"Cookie","value":"HUSH"},{"name":"Host","value":"h"}]'
DISPOSITION = "Content-Disposition: form-data; "
BROKEN = [
    # names
    *(f"a=1&{name}=HUSH&b=2" for name in ("password*", "password!", "password(1)", "user['password']", 'user["password"]')),
    *(f"a=1&{name}=HUSH" for name in ("S\u0327ifre", "password?", "password (2)", "pass*word", "card/number", "card,no")),
    *(f"Host: h\n{name}: HUSH\nX: y" for name in ("password*", "Card Number", "S\u0327ifre", "PAROLA TEKRAR", "api/key")),
    # values
    'password="x"HUSH=y', 'password="x"/HUSH', 'password=x"}HUSH', 'password="x", HUSH', 'password="x" HUSH&b=1',
    # user info
    "https://user:pa'HUSH@host/", 'https://user:pa"HUSH@host/', "https://user:pa/HUSH@host/", "https://user:HUSH",
    # broken JSON, and Python
    '{"password":"ab"HUSH"', '{"password":"ab"HUSH","c":1}', '{"password":ab,HUSH,"c":1}', '{"password":"a"+"HUSH"}',
    "{'password': ab,HUSH, 'c': 1}", '{password:ab,HUSH}', '{"password" "HUSH"}', '{"password":HUSH"}', '{"password:"HUSH"}',
    "{'pin code': {'a': 'HUSH'}, 'b': 1}", '{"a":1,"pass,word":"HUSH","b":', '{"password":"x"HUSH"}],"b":null}',
    # lists of names and values after something, cut by & or cut off
    *(before + body[:end] for before in ("\ufeff", "data: ", "h=", "it's \" x ", ")]}',\n") for body in (PAIRS, LABELS) for end in (-1, -9, None)),
    'h=[["Cookie","ab&HUSH"]]&b=1', 'h=[{"value":"ab&HUSH","name":"Cookie"}]&b=1', 'h=[["Cookie","ab&HUSH"',
    '[{"id":1,"value":"x\\"}HUSH, "name":"Cookie"}]', '[{"value":"HUSH","name":"Passw',
    *('[{"value":"HUSH","name":' + cut for cut in ('"a[\'passw', '"pass\\"', "'a\"pin", "b'pin\\")),
    # multipart
    *(
        eol.join(("--B", DISPOSITION + head, "", "HUSH", "--B--", ""))
        for eol in ("\r\n", "\n", "\r")
        for head in (
            'name = "password"', "name*=UTF-8''pass%77ord", 'name="x\\"password"', 'name="password"; filename="' + "x" * 3000,
            'name="pin"' + "".join(f"{eol}X-{number}: y" for number in range(30)),
        )
    ),
    # cards
    '{"card":"{\\"number\\":\\"HUSH\\"}"}', '{"card":[{"number":"HUSH"}]}', '{"card":["{\\"no\\":\\"HUSH\\"}"]', '{"card":"number=HUSH&x=1"}',
    # a body that was taken for a key
    '{"{\\"password\\":\\"HUSH\\"}":""}', '{"a=1&password=HUSH":""}',
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_credential_goes_where_its_form_is_broken(text: str) -> None:
    """A name is found in whatever form, and where it is not clear how far its value goes, all goes that it may be."""
    for value in (dumps(text), dumps(dumps({"body": text, "b": 1}))):
        assert "hush" not in unquote(redacted("post_data", value.replace("HUSH", "hush")))


@pytest.mark.parametrize(
    "labels", ['"name":"Cookie","name":"Host"', '"name":"Host","name":"Cookie"', '"key":"Host","name":"Cookie"']
)
@pytest.mark.parametrize("values", ['"value":"hush"', '"value":"hush","value":"x"', '"value":"x","Value":"hush"'])
def test_a_label_that_is_given_twice_hides_nothing(labels: str, values: str) -> None:
    """Which of two names or values a reader takes is not known, so all of them count."""
    assert "hush" not in redacted("headers", f"[{{{labels},{values}}}]")


@pytest.mark.parametrize("space", ["", " ", "\t"])
def test_a_key_that_is_given_twice_hides_nothing(space: str) -> None:
    """The quick look sees the last value of a key; the first is searched as well, also where there is white space."""
    assert "hush" not in redacted("post_data", f'{{"a"{space}:"password=hush","b"{space}:1,"a"{space}:"x"}}')


# Each is JSON whose credentials could be found as they are written, or could seem to; what must be left of each.
WRITTEN = [
    ('{"sid":"hush","a":{"sid":7,"b":[{"sid":true}]}}', '{"sid":"[redacted]","a":{"sid":"[redacted]","b":[{"sid":"[redacted]"}]}}'),
    ('{"sid": "hush", "sid ":"hush","a" : "sid"}', '{"sid": "[redacted]", "sid ":"[redacted]","a" : "sid"}'),
    ('{"sid":"hush","a":{"s\\u0069d":"hush"}}', '{"sid":"[redacted]","a":{"s\\u0069d":"[redacted]"}}'),
    ('{"a":"sid","sid":"sid","b":["sid"]}', '{"a":"sid","sid":"[redacted]","b":["sid"]}'),
    ('{"a":"sid\\":","sid":"hush"}', '{"a":"sid\\":","sid":"[redacted]"}'),
    ('{"a":"sid=hush","b":["sid=hush"],"ü":1}', f'{{"a":"sid={FORM}","b":["sid={FORM}"],"ü":1}}'),
    ('{"a":"sid=hush","token":"sid=hush"}', f'{{"a":"sid={FORM}","token":"[redacted]"}}'),
    ('{"şifre":"hush","a":"ü","b":"ş=1&şifre=hush"}', f'{{"şifre":"[redacted]","a":"ü","b":"ş=1&şifre={FORM}"}}'),
    ('{"sid":null,"token":[1],"pin":{"a":"hush"}}', '{"sid":null,"token":"[redacted]","pin":"[redacted]"}'),
    ('{"sid":-1.5e9,"b":{"pin":false},"otp":"%5Bredacted%5D"}', '{"sid":"[redacted]","b":{"pin":"[redacted]"},"otp":"%5Bredacted%5D"}'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "expected"), WRITTEN)
def test_what_is_found_as_it_is_written_is_what_was_meant(value: str, expected: str) -> None:
    """A name or text that stands at one place escaped, as another kind of value, or twice, leads to no other place."""
    assert redacted("post_data", value) == expected


@pytest.mark.parametrize("number", [31, 33, 200])
def test_many_credentials_in_one_field_go(number: int) -> None:
    """However many names and texts with credentials a field has, none stays."""
    body = {f"token{place}": "hush" for place in range(number)} | {
        f"a{place}": f"sid=hush{place}" for place in range(number)
    }

    assert "hush" not in redacted("post_data", dumps(body))


@pytest.mark.parametrize("field", sorted(FIELDS))
@pytest.mark.parametrize("again", ["headers", "post_data", "url", "\\u0075rl"])
def test_every_field_that_is_there_twice_is_redacted(field: str, again: str) -> None:
    """A record may hold a field twice, or under an escaped name; which one a reader takes is not known."""
    line = f'{{"{field}":{{"sid":"hush1"}},"ü":0,"{again}":{{"sid":"hush2"}},"uuid":"u"}}'.encode()

    assert policy()(line) == line.replace(b'"hush1"', b'"[redacted]"').replace(b'"hush2"', b'"[redacted]"')


@pytest.mark.parametrize("name", ["a\\tb", 'a\\"b', "a\\\\b", "\\u00fc", "ü"])
def test_an_escaped_name_before_a_field_moves_no_place(name: str) -> None:
    """What is replaced is where the field stands, also where names before it are longer than what they stand for."""
    line = f'{{"{name}":0,"post_data":{{"sid":"hush"}},"uuid":"u"}}'.encode()

    assert policy()(line) == line.replace(b'"hush"', b'"[redacted]"')


CREDENTIALS = (
    "Cookie Set-Cookie cookies HTTP_COOKIE Authorization HTTP_AUTHORIZATION Proxy-Authorization X-Api-Key apikey apiKey "
    "APIKey api_keys X-CSRFToken csrftoken csrfmiddlewaretoken X-XSRF-TOKEN access_token refreshToken id_token authtoken "
    "deviceTokens password new_password newPassword password1 password2 user[password] re-password passwordConfirm "
    "password_hash PASSWORD passWord passwd pwd passphrase passcode pass parola yeniParola sifre şifre Şifre ŞİFRE ŞIFRE "
    "sifresi yeni_sifre yenisifre secret client_secret clientSecret clientsecret secret_key private_key credentials jwt "
    "sessionid osessionid PHPSESSID JSESSIONID session_id sessionKey SessionID sid connect.sid session card_number "
    "cardNumber cardnumber card-no CardNo credit_card creditCard credit_card_number pan cc_number ccnum ccNo myCcNumber "
    "kart_no kartNo kart_numarası krediKartı krediKartNo cvv CVV2 cvc csc securityCode security_code guvenlik_kodu "
    "güvenlikKodu otp otp_code totp pin pin_code smsCode sms_kodu onayKodu doğrulama_kodu verificationCode auth X-Auth "
    "basic_auth AWSSecretAccessKey accessKey X-APIkey PASSword COOKie cOoKiE SMScode CVVcode JWTs ｐａｓｓｗｏｒｄ"
).split()
OTHERS = (
    "author authority authors expand company companion passenger passive bypass compass pinned spinach shopping opinion "
    "pin_to_top session_count sessions tokenize_count tokenizer token_count token_type password_changed_at "
    "password_required cookie_policy secretary panel pans cardinal card card_type cart_no kartal number keyword key keys "
    "sort_key side inside president sidebar code postal_code sifrele account accept access name value email phone "
    "user-agent host x-forwarded-for sku stock description content-type csrf ''"
).split()


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_name_says_what_it_names(name: str) -> None:
    """These names are credentials', as keys and in forms, and no shortcut overlooks them."""
    assert redacted("post_data", dumps({"x": 1, name: "hush"})) == dumps({"x": 1, name: REDACTED})
    assert redacted("post_data", dumps(f"x=1&{quote(name)}=hush")) == dumps(f"x=1&{quote(name)}={FORM}")
    assert not harmless(f"{name}=")


LETTERS = st.sampled_from(
    [*"aceiknoprstuvwyACEIKNOPRSTUVWYıİşŞéｐ_- 1.漢", "pass", "word", "Token", "cc", "no", "kart", "sid"]
)


@given(st.lists(st.sampled_from(CREDENTIALS) | LETTERS, max_size=8).map("".join))
def test_the_shortcut_overlooks_no_name(name: str) -> None:
    """Whatever name is a credential's, the search that spares most fields a closer look does not spare it."""
    assert not (is_credential(name) and harmless(f"x{name}y=1"))


SPELLINGS: dict[str, Callable[[str], str]] = {
    "capitals": str.upper,
    "accents apart": lambda name: unicodedata.normalize("NFD", name.replace("s", "ş")),
    "Turkish capitals": lambda name: name.upper().replace("I", "İ"),
    "without a dot": lambda name: name.replace("i", "ı"),
    "wide": lambda name: "".join(
        chr(ord(char) + 0xFEE0) if char.isalpha() and char.isascii() else char for char in name
    ),
    "in percent": lambda name: "".join(f"%{octet:02x}" for octet in name.encode()),
    "twice in percent": lambda name: "".join(f"%25{octet:02X}" for octet in name.encode()),
    "in escapes": lambda name: "".join(f"\\u{ord(char):04x}" for char in name),
    "twice in escapes": lambda name: "".join(f"\\u005cu{ord(char):04x}" for char in name),
    "in escapes in percent": lambda name: "".join(f"%5Cu{ord(char):04x}" for char in name),
    "in percent in escapes": lambda name: "".join(f"\\u0025{octet:02x}" for octet in name.encode()),
    "in escapes in percent, of which an escape hides a digit": lambda name: "".join(
        f"%5Cu{ord(char) // 16:03x}\\u{ord(f'{ord(char) % 16:x}'):04x}" for char in name
    ),
    "in percent, of which an escape hides a digit": lambda name: "".join(
        f"%{octet // 16:x}\\u{ord(f'{octet % 16:x}'):04x}" for octet in name.encode()
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_shortcut_overlooks_no_spelling(spelling: str) -> None:
    """The search that spares most fields a closer look spares no name of the documentation's table in any spelling."""
    for name in (*WORDS, *CREDENTIALS):
        spelt = SPELLINGS[spelling](name)
        assert not harmless(f"{spelt}=hush"), spelt


@pytest.mark.parametrize("name", OTHERS)
def test_a_name_that_only_looks_alike_stays(name: str) -> None:
    """Names are matched by whole words, so these are not credentials'; written twice, so that no shortcut is taken."""
    for value in (dumps({name: "x", "cookie_policy": 1}), dumps(f"a=1&{quote(name)}=x&cookie_policy=1")):
        assert redacted("post_data", value) == value
    assert not is_credential(name)


@pytest.mark.parametrize(
    "text",
    [
        "my password is swordfish and a=1",
        "the token of whoever asked: a=1, b=2",
        "x\nthe password of the user is not a=1",
        "a=1&pin to the top=1",
        "a=1&password of users required=1&b=2",
        "a=1&b\nX: the secret of x\nAccept: text/html;q=1",
        '<a href="/?a=1&b">my password</a> of b=2',
        "a=1&b=my secret&c of mine=2",
        "/?a=my secret#c of mine=2",
    ],
)
def test_words_before_an_equals_sign_are_a_name_only_in_a_form(text: str) -> None:
    """In prose, in a line of headers, in a tag or a value beside it, more than the last two words are no name."""
    assert redacted("post_data", dumps(text)) == dumps(text)


def test_other_fields_are_not_looked_into() -> None:
    """Only the four fields are searched for credentials."""
    line = b'{"content":{"password":"x"},"user":{"token":"y"},"Headers":{"Cookie":"z"},"uuid":"u"}'

    assert policy()(line) is line


# Random values.

INNOCENT = st.sampled_from(
    ["name", "author", "Host", "company", "", "a b", "ü", "x.y", "\ud800", "😀", 'q"\\', "page"]
)
TEXTS = st.text(st.sampled_from('ab1 üİ😀\ud800\x00\\"/{}[]:,=&;%+-.#?\n\r\t\u2028'), max_size=12)
SCALARS: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(INNOCENT, inner, max_size=4)
        | inner.map(lambda tree: json.dumps(tree))
    ),
    max_leaves=12,
)


@given(st.sampled_from(sorted(FIELDS)), TREES, st.booleans())
def test_what_names_no_credential_stays(field: str, tree: Any, ascii_only: bool) -> None:
    """Any JSON value without a credential's name comes through byte for byte."""
    value = json.dumps(tree, ensure_ascii=ascii_only, separators=(",", ":"))

    assert redacted(field, value) == value


def in_object(name: str, before: Any, after: Any) -> Callable[[str], str]:
    return lambda text: f'{{"name":{json.dumps(before)},{json.dumps(name)}:{text},"author":{json.dumps(after)}}}'


def in_list(_: str, before: Any, after: Any) -> Callable[[str], str]:
    return lambda text: f"[{json.dumps(before)},{text}, {json.dumps(after)}]"


def in_text(*_: Any) -> Callable[[str], str]:
    return json.dumps


def in_form(name: str, *_: Any) -> Callable[[str], str]:
    return lambda text: json.dumps(f"page=2&{quote(name)}={quote(text, safe='')}&author=%C3%BC")


WRAPPERS = st.lists(
    st.builds(
        lambda kind, name, before, after: kind(name, before, after),
        st.sampled_from([in_object, in_list, in_text, in_form]),
        st.sampled_from(["name", "a b", "ü", "Host"]),
        TREES,
        TREES,
    ),
    max_size=4,
)
PLAIN_NAMES = st.sampled_from(["password", "Cookie", "pass\\u0077ord", "\\u015fifre", "X-Api-Key", "cardNumber"])
SECRETS = st.sampled_from(['"hush"', '"\\u0068ush hush"', '[1,{"hush":2}]', '{"a":"hush"}', '"hu\\"sh,&;}="', "true"])


NUMBERS = (
    '{"name": null, "author": -4.956080115079669e+16, "q\\"\\\\": null, "Host": -100000000000000000000000000000000}'
)
FORM_IN_FORM = [
    in_object("name", None, '{"name": null, "author": null, "Host": null}'),
    in_text(),
    in_form("name"),
    in_form("name"),
]
"""Some two kilobytes around a credential, which take more work than any of their size that is no form."""


@example("headers", "password", '"hush"', FORM_IN_FORM, json.dumps(NUMBERS))
@given(st.sampled_from(sorted(FIELDS)), PLAIN_NAMES, SECRETS, WRAPPERS, TREES)
def test_a_credential_goes_wherever_it_is(
    field: str, name: str, secret: str, wrappers: list[Any], other: Any
) -> None:
    """At any depth of objects, lists, JSON in strings and forms, exactly the credential is replaced."""

    def build(value: str) -> str:
        text = f'{{"author":{json.dumps(other)},"{name}":{value},"page":[{json.dumps(other)}]}}'
        for wrap in wrappers:
            text = wrap(text)
        return text

    assert redacted(field, build(secret)) == build(f'"{REDACTED}"')


PIECES = st.lists(
    st.sampled_from(
        [
            *("password", "token", "a", "Cookie", "pin", "card", "number", "name", "value", "null", "hush", "pass", "word"),
            *"=:\"'\\{}[]&%+;,#@/?<>- \n\r\t",
            *('\\"', "%22", "%5B", "%3D", "%26", "%25", "\\u0070", "\\u0022", '":"', "password=", '"password":'),
            *("//", "--B\n", ' name="token"\n\n', "https://", "\r\n", "ş", "\ud800", "İ"),
        ]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@given(st.sampled_from(sorted(FIELDS)), PIECES)
def test_any_text_gives_a_line(field: str, text: str) -> None:
    """Whatever a field's text is, the line stays JSON with all around it, and redacting twice changes nothing."""
    redacted(field, json.dumps(text))
    redacted(field, json.dumps({"a": [text], text: text}))


@given(PIECES, st.sampled_from(["password", "Cookie", "token"]), PIECES, st.integers(0, 3))
def test_no_text_around_a_quoted_credential_saves_it(before: str, name: str, after: str, layers: int) -> None:
    """A name and its value in quotes are found in any rubbish, and in rubbish within strings."""
    text = f'{before}\n"{name}": "zzzz"\n{after}'
    for _ in range(layers):
        text = json.dumps({"body": text})

    assert "zzzz" not in redacted("post_data", json.dumps(text))


@pytest.mark.parametrize(
    "body",
    [
        dumps({"user": "ayşe", "password": "zzzzzzzz", "next": "/"}),
        dumps({"user": "ayşe", "payload": dumps({"a": [1], "password": "zzzzzzzz", "b": 2}), "next": "/"}),
        json.dumps([["Host", "h"], ["Cookie", "zzzzzzzz"]]),
        json.dumps([{"name": "Cookie", "value": "zzzzzzzz"}]),
        "a=1&password=zzzzzzzz&b=" + quote(dumps({"token": "zzzzzzzz"})),
        "https://h/?a=1&token=zzzzzzzz&next=" + quote("https://h/?sid=zzzzzzzz", safe=""),
        "Host: h\r\nCookie: zzzzzzzz\r\nAccept: */*",
        '--B\r\nContent-Disposition: form-data; name="password"\r\n\r\nzzzzzzzz\r\n--B--',
    ],
)
def test_a_body_cut_off_anywhere_keeps_no_credential(body: str) -> None:
    """However long a body is that was cut off, not even the start of a credential is left."""
    for end in range(len(body) + 1):
        assert "z" not in redacted("post_data", dumps(body[:end])), body[:end]


# Paths.


def pseudonym(text: str) -> str:
    return "hmac-sha256:" + hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()[:32]


PATHS = [
    # what is asked, the field, its JSON, and what must be left of it
    ({"post_data.email": "mask"}, "post_data", '{"email":"x","Email":"y"}', '{"email":"[redacted]","Email":"y"}'),
    ({"post_data.email": "mask"}, "post_data", '{"a":{"email":"x"},"emails":1.10}', '{"a":{"email":"x"},"emails":1.10}'),
    ({"post_data.em": "mask"}, "post_data", '{"\\u0065m":[1],"em":2}', '{"\\u0065m":"[redacted]","em":"[redacted]"}'),
    ({"post_data.a.b": "mask"}, "post_data", '{"a":{"b":null},"b":1}', '{"a":{"b":null},"b":1}'),
    ({"post_data.a": "hmac"}, "post_data", '{"a":null}', '{"a":null}'),
    ({"post_data.a[*].n": "mask"}, "post_data", '{"a":[{"n":1},2,{"n":"x","m":1}]}', '{"a":[{"n":"[redacted]"},2,{"n":"[redacted]","m":1}]}'),
    ({"post_data.*.n": "mask"}, "post_data", '{"a":{"n":1},"b":[{"n":1}]}', '{"a":{"n":"[redacted]"},"b":[{"n":1}]}'),
    ({"post_data": "mask"}, "post_data", '{"a":1}', '"[redacted]"'),
    ({"post_data": "mask"}, "post_data", "null", "null"),
    ({"headers.X-Forwarded-For": "mask"}, "headers", '{"x-forwarded-FOR":"1","a":2}', '{"x-forwarded-FOR":"[redacted]","a":2}'),
    ({"headers.x-forwarded-for": "mask"}, "headers", '[["X-Forwarded-For","1"],["a","2"]]', '[["X-Forwarded-For","[redacted]"],["a","2"]]'),
    ({"headers.x-ip": "mask"}, "headers", '[{"name":"X-IP","value":"1","n":1}]', '[{"name":"X-IP","value":"[redacted]","n":1}]'),
    ({"headers.x-ip": "drop"}, "headers", '[["a","2"],["X-IP","1"]]', '[["a","2"]]'),
    ({"headers.X-IP": "mask"}, "headers", dumps('{"X-Ip": "1", "a": {"x-ip": 2}}'), dumps('{"X-Ip": "[redacted]", "a": {"x-ip": 2}}')),
    ({"post_data.a.b": "mask"}, "post_data", dumps({"a": '{"b": 1, "c":1.10}'}), dumps({"a": '{"b": "[redacted]", "c":1.10}'})),
    ({"post_data.a": "mask"}, "post_data", dumps('{"a":"x","b":"cut'), dumps('{"a":"[redacted]","b":"cut')),
    # dropping takes a comma along, whatever else goes
    ({"post_data.a": "drop"}, "post_data", '{"a":1}', "{}"),
    ({"post_data.a": "drop"}, "post_data", '{"a":1,"b":2}', '{"b":2}'),
    ({"post_data.b": "drop"}, "post_data", '{"a":1,"b":{"c":[]}}', '{"a":1}'),
    ({"post_data.b": "drop"}, "post_data", '{"b":0,"b":1,"a":1,"b":2,"b":3,"c":1,"b":4,"b":5}', '{"a":1,"c":1}'),
    ({"post_data[*]": "drop"}, "post_data", '[1,"[redacted]",[2],{"a":3}]', "[]"),
    ({"post_data.a.*": "drop"}, "post_data", dumps('{ "a" : [1 , 2 ] , "b":1}'), dumps('{ "a" : [ ] , "b":1}')),
    # credentials win, except over dropping; what is inside something that goes, goes with it
    ({"post_data.password": "hmac"}, "post_data", '{"password":"x"}', '{"password":"[redacted]"}'),
    ({"post_data.password.a": "hmac"}, "post_data", '{"password":{"a":1}}', '{"password":"[redacted]"}'),
    ({"post_data.password": "drop"}, "post_data", '{"password":"x","a":1}', '{"a":1}'),
    ({"post_data.a": "mask", "post_data.a.password": "drop"}, "post_data", '{"a":{"password":1}}', '{"a":"[redacted]"}'),
    ({"post_data.*": "mask", "post_data.a": "drop"}, "post_data", '{"a":1,"b":1}', '{"b":"[redacted]"}'),
    ({"post_data.x": "mask"}, "post_data", '{"x":1,"password":2,"":3}', '{"x":"[redacted]","password":"[redacted]","":3}'),
    # pseudonyms
    ({"post_data.a": "hmac"}, "post_data", '{"a":"ayşe"}', f'{{"a":"{pseudonym("ayşe")}"}}'),
    ({"post_data.a": "hmac"}, "post_data", '{"a":"ay\\u015fe"}', f'{{"a":"{pseudonym("ayşe")}"}}'),
    ({"post_data.a": "hmac"}, "post_data", '{"a":"\\ud83d\\ude00"}', f'{{"a":"{pseudonym("😀")}"}}'),
    ({"post_data.a": "hmac"}, "post_data", '{"a":7.10}', f'{{"a":"{pseudonym("7.10")}"}}'),
    ({"post_data.a": "hmac"}, "post_data", '{"a":{"\\u0062":[1,"c d"]}}', f'{{"a":"{pseudonym("""{"b":[1,"c d"]}""")}"}}'),
    ({"post_data.a": "hmac"}, "post_data", dumps('{"a": {"b": [1, "c d"]}}'), dumps(f'{{"a": "{pseudonym("""{"b":[1,"c d"]}""")}"}}')),
]  # fmt: skip


@pytest.mark.parametrize(("paths", "field", "value", "expected"), PATHS)
def test_a_path_says_what_goes(paths: dict[str, str], field: str, value: str, expected: str) -> None:
    """What a path leads to is dropped, masked or pseudonymised, and every other byte stays."""
    assert redacted(field, value, policy(paths, KEY)) == expected


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ({"user.email": "drop"}, '{"user":{"pk":1.0},"content":{"token":2},"uuid":"u"}'),
        ({"user": "drop"}, '{"content":{"token":2},"uuid":"u"}'),
        ({"user": "drop", "content": "drop"}, '{"uuid":"u"}'),
        ({"content": "mask"}, '{"user":{"pk":1.0,"email":"e"},"content":"[redacted]","uuid":"u"}'),
        (
            {"user.email.x": "drop", "nothing": "drop"},
            '{"user":{"pk":1.0,"email":"e"},"content":{"token":2},"uuid":"u"}',
        ),
    ],
)
def test_paths_reach_every_field(paths: dict[str, str], expected: str) -> None:
    """Paths work in all fields, also those in which no credentials are looked for; a missing one is no error."""
    line = b'{"user":{"pk":1.0,"email":"e"},"content":{"token":2},"uuid":"u"}'

    assert policy(paths)(line).decode() == expected


@pytest.mark.parametrize("again", ["şehir", "\\u015fehir", "ülke", "\\u00fclke"])
def test_paths_find_names_of_other_alphabets_where_a_name_is_there_twice(again: str) -> None:
    """A path of Turkish letters leads to its values also in an object that holds a name twice, or escaped."""
    line = f'{{"user":{{"şehir":"hush1","a":1,"a":2,"ülke":"hush2","{again}":"hush3"}},"uuid":"u"}}'.encode()

    got = policy({"user.şehir": "mask", "user.ülke": "mask"})(line)

    hidden = line
    for number in (b"1", b"2", b"3"):
        hidden = hidden.replace(b'"hush' + number + b'"', b'"[redacted]"')
    assert got == hidden


def test_equal_values_have_equal_pseudonyms() -> None:
    """Joins survive: the same value has the same pseudonym in any field and spelling, with one key."""
    both = {"user.email": "hmac", "post_data.email": "hmac"}
    line = b'{"post_data":"{\\"email\\":\\"a@b\\"}","user":{"email":"\\u0061@b"}}'

    got = json.loads(policy(both, KEY)(line))
    other = json.loads(policy(both, KEY + b"!")(line))

    assert json.loads(got["post_data"])["email"] == got["user"]["email"] == pseudonym("a@b")
    assert other["user"]["email"] != got["user"]["email"]


# What policies are.


def test_nothing_asked_is_nothing_redacted() -> None:
    """None is no policy; an empty mapping is the default one."""
    assert Redaction.parse(None) is None
    assert policy({}) == policy()
    assert policy().as_dict() == {"policy": "credentials", "version": 2, "paths": {}, "key_id": None}


def test_equal_policies_have_equal_receipts() -> None:
    """The order of paths, their spelling, and a key that nothing uses make no difference."""
    one = policy({"headers.X-IP": "drop", "user.groups[*]": "hmac"}, KEY)
    same = policy({"user.groups.*": "hmac", "headers.x-ip": "drop"}, KEY)

    assert one == same
    assert hash(one) == hash(same)
    assert one.as_dict() == same.as_dict()
    assert list(one.as_dict()["paths"].items()) == [("headers.x-ip", "drop"), ("user.groups.*", "hmac")]
    assert policy({"a": "mask"}, KEY).as_dict() == policy({"a": "mask"}).as_dict()


def test_the_key_is_never_shown() -> None:
    """A receipt tells keys apart without a hint of them or of a pseudonym; no repr shows one."""
    one, other = policy({"a": "hmac"}, KEY), policy({"a": "hmac"}, KEY + b"!")

    assert one.as_dict()["key_id"] != other.as_dict()["key_id"]
    assert one.as_dict()["key_id"] == hmac.new(KEY, b"key id", hashlib.sha256).hexdigest()[:16]
    assert "made-up" not in repr(one) + repr(one.as_dict())
    assert policy({"a": "hmac"}, KEY)(b'{"a":"key id"}') != f'{{"a":"{one.as_dict()["key_id"]}"}}'.encode()


@pytest.mark.parametrize(
    ("redact", "message"),
    [
        ("all", "redact='all' is not a policy; give 'credentials', None to store records verbatim"),
        ("", "redact='' is not a policy"),
        (True, "redact=True is not a policy"),
        (["user.email"], "is not a policy; give 'credentials', None"),
        ({"user.email": "hide"}, "redact['user.email']='hide' is not an action; give one of drop, mask, hmac"),
        ({"user.email": None}, "redact['user.email']=None is not an action"),
        ({"user.email": ["mask"]}, "is not an action"),
        (
            {"user.email": "hmac"},
            "redact['user.email']='hmac' needs a secret key of at least 16 bytes; give redact_key_conn_id",
        ),
        ({"uuid": "hmac"}, "redact has the path 'uuid', but uuid and timestamp identify and order events"),
        ({"timestamp": "drop"}, "redact has the path 'timestamp'"),
        ({"timestamp[*]": "drop"}, "redact has the path 'timestamp[*]'"),
        ({"uuid.x": "drop"}, "redact has the path 'uuid.x'"),
        ({"*": "mask"}, "redact has the path '*'; write one like 'user.email'"),
        ({"*.email": "mask"}, "redact has the path '*.email'"),
        ({"[*]": "mask"}, "redact has the path '[*]'"),
        ({"": "mask"}, "redact has the path ''"),
        ({"user.": "mask"}, "redact has the path 'user.'"),
        ({".user": "mask"}, "redact has the path '.user'"),
        ({"user..email": "mask"}, "redact has the path 'user..email'"),
        ({"user[0]": "mask"}, "redact has the path 'user[0]'"),
        ({"user*": "mask"}, "redact has the path 'user*'"),
        ({" user": "mask"}, "redact has the path ' user'"),
        ({"a" + ".a" * 40: "mask"}, "write one like 'user.email'"),
        ({7: "mask"}, "redact has the path 7"),
        ({"a[*]": "mask", "a.*": "drop"}, "redact has two actions for the path 'a.*'; give one"),
    ],
)
def test_what_no_policy_is_is_refused(redact: object, message: str) -> None:
    """A policy, action or path that cannot be meant is refused before anything is stored, with what to change."""
    with pytest.raises(InvalidInput) as caught:
        Redaction.parse(redact)

    assert message in str(caught.value)


def test_a_short_key_is_refused_and_not_shown() -> None:
    """Whoever guesses the key can undo pseudonyms, so it must be long; the message does not repeat it."""
    with pytest.raises(InvalidInput, match="at least 16 bytes") as caught:
        Redaction.parse({"a": "hmac"}, key=b"short-one")

    assert "short-one" not in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    """One error names every wrong path and action."""
    with pytest.raises(InvalidInput) as caught:
        Redaction.parse({"uuid": "mask", "a..b": "mask", "c": "hide", "d": "mask"})

    assert str(caught.value).count(";") == 5
    assert "'d'" not in str(caught.value)


# Hostile records.

DEEP = 10_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * DEEP + '{"password":"zzzz"}' + "]" * DEEP,
        '{"a":' * DEEP + '{"password":"zzzz"}' + "}" * DEEP,
        '{"a":' * DEEP + '{"password":"zzzz"',
        '{"password":' * DEEP + '"zzzz"' + "}" * DEEP,
        '[["a",' * DEEP + '{"password":"zzzz"}' + "]]" * DEEP,
        '{"name":"a","value":' * DEEP + '{"password":"zzzz"}' + "}" * DEEP,
        "a=%7B" * DEEP + "&password=zzzz",
        '"token:{' * DEEP + '"password":"zzzz"',
        "password" * DEEP + "=zzzz",
        "//" * DEEP + "zzzz@h",
        ' name="token"' * DEEP + "\n\nzzzz",
        ' name="a"\n' * DEEP + "password=zzzz",
        "a" * 8 * DEEP + "&password=zzzz",
        "; a" * DEEP + "&password=" + "; a" * DEEP + "zzzz",
        "\\" * 8 * DEEP + '"password":"zzzz"',
        "\\" * 8 * DEEP + "redacted&password=zzzz",
        "%25" * DEEP + "&password=zzzz",
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.parametrize("as_text", [False, in_ci(True)])
@pytest.mark.timeout(30)  # each takes a fraction of a second; in quadratic time it would be minutes
def test_deep_and_long_records_take_linear_time(text: str, as_text: bool) -> None:
    """Ten thousand levels or repetitions neither exhaust the stack nor take long, and hide no credential."""
    try:
        json.loads(text)
        value = text
    except RecursionError:
        value = text
    except ValueError:
        value = json.dumps(text)
    line = record("post_data", json.dumps(value) if as_text else value)

    got = policy({"post_data.*.a": "mask"})(line)

    assert b"zzzz" not in got


def steps(call: Callable[[], object]) -> int:
    """Return how many functions a call calls, Python's own included."""
    count = 0

    def counted(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


HOSTILE = [
    *("token=a\n", "token=a&", "a=b&sid=1;", "token: a\n", '"token":"a",', '"token":"a"x,\n', "'token':'a',", '["token","a"],'),
    *('{"name":"token","value":"a"},', "//a:b@", "%70assword=1&", "\\u0070assword=1&", 'a={"token":1}&', "a=%7B%22b%22:1%7D&"),
    *("şifre=ş&", 'token=a&"pin":"%5C%22b\\u0041",\n', ' name="pin"\n', "\n\n name=pin\n", '"token":{"a":[1],', "a=a=", "[{"),
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("as_list", [False, in_ci(True)])
def test_the_work_is_bounded(piece: str, as_list: bool) -> None:
    """A field of twice the size takes twice the steps at most, and no text more than some for each of its characters."""

    def work(size: int) -> int:
        number = size // len(piece)
        line = record("post_data", json.dumps([piece] * number if as_list else piece * number))
        return steps(lambda: policy()(line))

    once, twice = work(20_000), work(40_000)

    assert twice < 2.3 * once + 1000
    assert twice < 20 * 40_000


@pytest.mark.parametrize("piece", ["token=a&", in_ci("%2570assword=1&")])
def test_what_would_take_more_work_is_removed_unread(piece: str) -> None:
    """Where a field is not searched to its end, nothing of it stays."""
    text = piece * (400_000 // len(piece))
    for _ in range(3):
        text = f"a=1&b={quote(text)}"

    assert redacted("post_data", json.dumps(text)) == f'"{REDACTED}"'


def test_what_is_remembered_does_not_grow_with_names_and_texts() -> None:
    """Names, names above them, and texts are remembered only where they are short, and only so many of them."""

    def redact(number: int) -> None:
        long, mine = "x" * 20_000, str(number)
        body = {mine + long: {"number=" + long + mine: "color:" + long + mine}, "card" + mine + long: {"number": 1}}
        policy()(record("post_data", dumps(body)))
        policy()(record("post_data", dumps({f"a{mine}-{place}": f"color: b{mine}-{place}" for place in range(20)})))

    for number in range(20):
        redact(number)
    tracemalloc.start()
    for number in range(20, 60):
        redact(number)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()

    assert grown < 700_000


def test_text_within_text_is_followed_only_so_deep() -> None:
    """Text in text is looked into for some layers; what lies deeper is removed rather than passed."""
    text = dumps({"password": "zzzz"})
    for layer in range(1, 12):
        text = dumps({"body": text})
        assert redacted("post_data", text) == text.replace("zzzz", REDACTED), layer
    text = "password=zzzz"
    for _ in range(30):
        text = f"a=1&b={quote(text)}"
        assert "zzzz" not in redacted("post_data", dumps(text))


@pytest.mark.parametrize(
    "line", [b"", b"null", b"[]", b'"password=x"', b"{}", b'{"url":', b'{"url":"\xff","uuid":"u"}', b"\x00"]
)
def test_what_is_no_record_does_not_raise(line: bytes) -> None:
    """A line is never lost, whatever it is."""
    assert policy()(line) == line


def test_bytes_that_are_no_utf_8_stay() -> None:
    """Bytes that a decoder would refuse come through, and hide no credential beside them."""
    line = b'{"post_data":{"a":"\xff\xfe","password":"\xffx","b":"\xc3"},"uuid":"u"}'

    assert policy()(line) == line.replace(b'"\xffx"', b'"[redacted]"')


def test_threads_share_a_policy() -> None:
    """One policy serves several threads at once."""
    redaction = policy({"user.token": "hmac"}, KEY)
    lines = [record("headers", dumps({"Cookie": f"hush{number}", "n": number})) for number in range(500)]

    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(redaction, lines))

    assert got == [redaction(line) for line in lines]
    assert not any(b"hush" in line for line in got)


PLAIN_VALUES = ["x", "a=1&sid=2", "null", REDACTED, "https://h/?token=1", "[1]", "", "p@q"]


@given(
    st.dictionaries(
        PLAIN_NAMES | st.sampled_from(["Cookie", "sid", "page", "value", "name"]),
        st.sampled_from(PLAIN_VALUES) | st.none() | st.booleans() | st.integers(),
        max_size=6,
    )
)
@example({"Host": "h", "Accept": "text/html, */*", "Cookie": "a=b; c=d", "DNT": 1})
def test_a_flat_object_loses_what_a_deep_one_does(fields: dict[str, Any]) -> None:
    """An object of plain values loses the same whether something deeper stands beside them or not."""
    beside = {**fields, "beside": {"deeper": []}}

    flat = json.loads(redacted("post_data", dumps(fields)))
    assert flat | {"beside": beside["beside"]} == json.loads(redacted("post_data", dumps(beside)))
