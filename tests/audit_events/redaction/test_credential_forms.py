"""Made-up forms of credentials: a name, a value, what they stand in, how that is coded and what broke it."""

from __future__ import annotations

import json
import random
import re
from urllib.parse import unquote

import pytest

from airflow_provider_akinon.audit_events.redaction import Redaction
from tests.support.credential_forms import CONTAINERS, DAMAGES, ENCODINGS, SECRET, make
from tests.support.long import in_ci

PAGE = 20
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def decoded(text: str) -> str:
    """Return a text with all of its coding taken off, as far as it could hide letters of a secret."""
    before = None
    while text != before:
        before, text = text, unquote(ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)).replace("\\", "")
    return text


@pytest.mark.parametrize(("seed", "number"), [(1, 500), *(in_ci(seed, 12_500) for seed in range(2, 10))])
def test_no_form_of_a_credential_stays(seed: int, number: int) -> None:
    """Of no made-up form a letter is left; the record stays JSON, and redacting it again changes nothing."""
    rng, redact = random.Random(seed), Redaction()
    for _ in range(0, number, PAGE):
        forms = [make(rng) for _ in range(PAGE)]
        lines = [
            f'{{"content":1.10,"post_data":{form.value},"uuid":"u"}}'.encode("utf-8", "surrogatepass")
            for form in forms
        ]

        redacted = redact.lines(lines)

        again = redact.lines(redacted)
        for form, line, got, twice in zip(forms, lines, redacted, again, strict=True):
            assert SECRET[:2] not in decoded(got.decode()), form.made_of
            assert redact(line) == got, form.made_of
            assert twice == got, form.made_of
            json.loads(got)


def test_the_forms_are_many() -> None:
    """Each container, damage and encoding is made, and each form holds the secret or a part of it."""
    rng = random.Random(3)
    forms = [make(rng) for _ in range(1500)]

    made = " ".join(form.made_of for form in forms)
    assert all(maker.__name__ in made for maker in (*CONTAINERS, *DAMAGES, *ENCODINGS))
    assert sum(SECRET in decoded(form.value) for form in forms) > 1000
