"""What redaction costs per event: verbatim, the default policy, and with two pseudonyms. No network.

``python -m benchmarks.redaction [EVENTS]`` prints a table. The policies take turns over the same lines, in pages of
100, so that the machine's noise is the same for all. A number is the processor's time in a policy's fastest turn, the
one that was least disturbed.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.sandbox.generate import Shop

PAGE = 100
TURNS = 9
QUIET = {"headers": None, "post_data": None, "query_params": None}
CLEAN = {
    "headers": {
        "Host": "shop.example.com",
        "Accept": "application/json",
        "X-Forwarded-For": "198.51.100.7, 10.0.0.7",
    },
    "post_data": {"name": "Kırmızı kazak", "price": "129.90", "is_active": True},
    "query_params": {"page": "2", "q": "kazak"},
}
PLANTED = {
    "headers": {**CLEAN["headers"], "Cookie": "osessionid=made-up; csrftoken=made-up", "X-Api-Key": "made-up"},
    "post_data": '{"user":"ay\\u015fe","password":"made-up"}',
    "query_params": {"access_token": "made-up", "page": "2"},
    "url": "https://shop.example.com/api/v1/orders/?page=2&token=made-up",
}


def own(event: dict[str, object], rng: random.Random) -> dict[str, object]:
    """Return an event with a cookie, a request id and a body that no other has."""
    code = f"{rng.getrandbits(128):032x}"
    headers = {
        **CLEAN["headers"],
        "User-Agent": f"Mozilla/5.0 (X11; Linux x86_64; rv:{rng.randrange(90, 140)}.0) Gecko/20100101 Firefox",
        "Accept-Language": "tr-TR,tr;q=0.9,en;q=0.5",
        "X-Request-Id": code,
        "Cookie": f"osessionid={code[::-1]}; csrftoken={code}",
        "Referer": f"https://shop.example.com/orders/?page={rng.randrange(99)}",
    }
    body = {**CLEAN["post_data"], "sku": f"SKU-{code[:6]}", "stock": rng.randrange(500)}
    return {**event, "headers": headers, "post_data": body, "query_params": {"page": str(rng.randrange(99))}}


PATHS = {"user.email": "hmac", "headers.X-Forwarded-For": "hmac"}


def lines(events: int, given: dict[str, object], *, unlike: bool = False) -> list[bytes]:
    """Return records as the export has them, some of their fields replaced. ``unlike``: each has its own."""
    start = datetime(2026, 1, 5, tzinfo=UTC)
    shop = Shop(1)
    history = shop.history(events, start, start.replace(day=6))
    rng = random.Random(7)  # noqa: S311 - made-up data
    given_to_all = ({**event, **given} for event in history)
    return [msgspec.json.format(_encoded(own(event, rng) if unlike else event), indent=-1) for event in given_to_all]


def _encoded(event: dict[str, object]) -> bytes:
    # By Python's own encoder: made-up integers are longer than msgspec's.
    return json.dumps(event, ensure_ascii=False, default=lambda instant: instant.isoformat()).encode()


def verbatim(lines: list[bytes]) -> list[bytes]:
    """Return lines as they are: what the loop costs."""
    return lines


def microseconds(redact: Callable[[list[bytes]], list[bytes]], given: list[bytes]) -> float:
    """Return what a line takes on average, where they come in pages."""
    start = time.process_time()
    for first in range(0, len(given), PAGE):
        redact(given[first : first + PAGE])
    return (time.process_time() - start) / len(given) * 1e6


def main(events: int = 2000) -> None:
    """Measure, and print."""
    default = Redaction()
    hashed = Redaction.parse(PATHS, key=b"a made-up key for the benchmark") or default
    samples = {
        "free-form fields null": lines(events, QUIET),
        "no credentials": lines(events, CLEAN),
        "own cookie, request id, body": lines(events, {}, unlike=True),
        "as the sandbox makes them": lines(events, {}),
        "credentials in four fields": lines(events, PLANTED),
    }
    policies = {"verbatim": verbatim, "credentials": default.lines, "with two hmac paths": hashed.lines}
    print(f"{'µs per event':<30}{'bytes':>8}" + "".join(f"{name:>22}" for name in policies))
    for name, sample in samples.items():
        turns = [{policy: microseconds(redact, sample) for policy, redact in policies.items()} for _ in range(TURNS)]
        best = (min(turn[policy] for turn in turns) for policy in policies)
        size = sum(map(len, sample)) / len(sample)
        print(f"{name:<30}{size:>8.0f}" + "".join(f"{least:>22.1f}" for least in best))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
