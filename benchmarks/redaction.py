"""What redaction costs per event: verbatim, the default policy, and with two pseudonyms. No network.

``python -m benchmarks.redaction [EVENTS]`` prints a table. The policies take turns over the same lines, so that the
machine's noise is the same for all. A number is the processor's time in a policy's fastest turn, the one that was
least disturbed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from airflow_provider_akinon.audit_events.redaction import Redaction
from airflow_provider_akinon.sandbox.generate import Shop

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
PATHS = {"user.email": "hmac", "headers.X-Forwarded-For": "hmac"}


def lines(events: int, given: dict[str, object]) -> list[bytes]:
    """Return records as the export has them, some of their fields replaced."""
    start = datetime(2026, 1, 5, tzinfo=UTC)
    shop = Shop(1)
    history = shop.history(events, start, start.replace(day=6))
    return [msgspec.json.format(_encoded({**event, **given}), indent=-1) for event in history]


def _encoded(event: dict[str, object]) -> bytes:
    # By Python's own encoder: made-up integers are longer than msgspec's.
    return json.dumps(event, ensure_ascii=False, default=lambda instant: instant.isoformat()).encode()


def verbatim(line: bytes) -> bytes:
    """Return a line as it is: what the loop costs."""
    return line


def microseconds(redact: Callable[[bytes], bytes], given: list[bytes]) -> float:
    """Return what a line takes on average."""
    start = time.process_time()
    for line in given:
        redact(line)
    return (time.process_time() - start) / len(given) * 1e6


def main(events: int = 2000) -> None:
    """Measure, and print."""
    default = Redaction()
    hashed = Redaction.parse(PATHS, key=b"a made-up key for the benchmark") or default
    samples = {
        "free-form fields null": lines(events, QUIET),
        "no credentials": lines(events, CLEAN),
        "as the sandbox makes them": lines(events, {}),
        "credentials in four fields": lines(events, PLANTED),
    }
    policies = {"verbatim": verbatim, "credentials": default, "with two hmac paths": hashed}
    print(f"{'µs per event':<28}{'bytes':>8}" + "".join(f"{name:>22}" for name in policies))
    for name, sample in samples.items():
        turns = [{policy: microseconds(redact, sample) for policy, redact in policies.items()} for _ in range(TURNS)]
        best = (min(turn[policy] for turn in turns) for policy in policies)
        size = sum(map(len, sample)) / len(sample)
        print(f"{name:<28}{size:>8.0f}" + "".join(f"{least:>22.1f}" for least in best))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
