"""A fake Audit Events API that answers as fast as Python can: made-up events, rendered before the first request.

A page is one slice of one buffer, so what a benchmark measures is its client. The server counts the requests and
the rows that OFFSET would have skipped; it can add a latency to each answer, a cost to each row skipped, and an
order of equal timestamps that changes with each request. It can hold some events back, as if they came late, and
show every user as of a year later. It refuses to be an API to test against: it knows no
filter but time, and no single event. That is what the package's sandbox is for.

``/about``, ``/edges`` and ``/stats`` need no key and are not counted; ``/reset`` takes the options of a case.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import time
import uuid as uuids
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "made-up-key"
PATH = "/api/v1/remote/1/data-warehouse/audit-events/"
START = datetime(2025, 9, 1, tzinfo=UTC)
DAYS = 30
END = START + timedelta(days=DAYS)

MOST_ROWS = 1000
"""The largest ``limit`` that is honoured; a larger one is clamped without a word."""
DEFAULT_ROWS = 20
BURST = 250
"""Events of equal timestamp in a burst."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ISTANBUL = timezone(timedelta(hours=3))
_TEMPLATES = 3000
_PEOPLE = 80


class History:
    """The events in the order of time: their timestamps, and one buffer that holds all records, joined by commas."""

    def __init__(self, events: int, *, bursts: int = 0, late: int = 0, seed: int = 7) -> None:
        rng = random.Random(seed)  # noqa: S311 - made-up data
        self.times = array("q", _instants(rng, events + late, bursts))
        """Microseconds since 1970, sorted."""
        self.offsets = array("Q", [0])
        """Where each record begins; one more than there are events, so that the last one ends too."""
        templates = [_template(rng, number) for number in range(_TEMPLATES)]
        buffer = bytearray()
        for moment in self.times:
            text = (_EPOCH + moment * _MICROSECOND).isoformat(timespec="milliseconds")[:23].encode()
            number = b"%d" % rng.randrange(1, 400_000)
            identity = str(uuids.UUID(int=rng.getrandbits(128), version=4)).encode()
            own = b"%032x" % rng.getrandbits(128)
            values = {b"number": number, b"instant": text, b"uuid": identity, b"own": own}
            buffer += rng.choice(templates) % values
            self.offsets.append(len(buffer))
        self._all = self.times
        # All but one in so many come in time.
        self._step = len(self._all) // late if late else 0
        self._in_time = array("q", self._all)
        if late:
            del self._in_time[self._step - 1 :: self._step]
        self._buffer = memoryview(buffer)
        self._years = [found.end() for found in re.finditer(rb'"(?:last_login|modified_date)":"202', buffer)]
        self.show(late=False, moved=False)

    def show(self, *, late: bool, moved: bool) -> None:
        """Show the late events or not, and the users as of the events or as of a year later."""
        self._hides = self._step > 0 and not late
        self.times = self._in_time if self._hides else self._all
        for place in self._years:
            self._buffer[place] = ord("6" if moved else "5")

    def __len__(self) -> int:
        return len(self.times)

    def records(self, start: int, stop: int) -> bytes | memoryview:
        """Return the records from number ``start`` to ``stop``, joined by commas."""
        if self._hides and stop > start:
            first, last = (number + number // (self._step - 1) for number in (start, stop - 1))
            edges = [first, *range(first // self._step * self._step + self._step, last + 1, self._step)]
            return b",".join(
                self._slice(begin, min(begin // self._step * self._step + self._step - 1, last + 1))
                for begin in edges
            )
        return self._slice(start, stop)

    def _slice(self, start: int, stop: int) -> memoryview:
        return self._buffer[self.offsets[start] : max(self.offsets[start], self.offsets[stop] - 1)]

    def uuids_sha256(self) -> str:
        """Return the SHA-256 of the sorted uuids, each followed by a line feed, hex."""
        return digest_of(bytes(self._buffer[end - 39 : end - 3]).decode() for end in self.offsets[1:])

    def edges(self, rows: int) -> list[int]:
        """Return the timestamps, in microseconds, that cut the events into pages of about ``rows``."""
        return sorted({self.times[number] for number in range(0, len(self), rows)})


def digest_of(identities: Iterator[str]) -> str:
    """Return the SHA-256 of uuids, sorted, each followed by a line feed, hex: the same for the same uuids only."""
    digest = hashlib.sha256()
    for identity in sorted(identities):
        digest.update(identity.encode() + b"\n")
    return digest.hexdigest()


def _instants(rng: random.Random, events: int, bursts: int) -> list[int]:
    """Return sorted timestamps with a shop's rhythm, whole milliseconds; ``bursts`` times `BURST` of them equal."""
    hours = [START + timedelta(hours=hour) for hour in range(DAYS * 24)]
    rhythm = list(accumulate(_weight(hour.astimezone(_ISTANBUL)) for hour in hours))
    instants = [
        (hour - _EPOCH) // _MICROSECOND + rng.randrange(3_600_000) * 1000
        for hour in rng.choices(hours, cum_weights=rhythm, k=events)
    ]
    for number in range(min(bursts, events // BURST)):
        instants[number * BURST : (number + 1) * BURST] = [instants[number * BURST]] * BURST
    return sorted(instants)


def _weight(hour: datetime) -> float:
    """Return how busy an hour is: office hours on weekdays most."""
    busy = 10.0 if 9 <= hour.hour < 18 else 3.0 if 7 <= hour.hour < 23 else 0.3
    return busy * (0.35 if hour.weekday() >= 5 else 1)


def _template(rng: random.Random, number: int) -> bytes:
    """Return a record, and the comma after it, that takes ``number``, ``instant``, ``uuid`` and ``own`` by ``%``.

    ``own`` stands in the cookie, the request id and the body, which no two events share.
    """
    event: dict[str, Any] = {
        "content": {"field": "price", "old": f"{rng.randrange(99999) / 100}", "new": f"{rng.randrange(99999) / 100}"},
        "content_type": rng.randrange(1, 60),
        "headers": {
            "Host": "shop.example.com",
            "User-Agent": f"Mozilla/5.0 (X11; Linux x86_64; rv:{rng.randrange(90, 140)}.0) Gecko/20100101 Firefox",
            "Accept": "application/json, text/plain, */*",
            "Accept-Language": "tr-TR,tr;q=0.9,en;q=0.5",
            "X-Forwarded-For": f"198.51.100.{rng.randrange(256)}, 10.0.0.7",
            "X-Request-Id": "@OWN",
            "Cookie": "osessionid=@OWN; csrftoken=@OWN",
        },
        "object_id": "@@",
        "post_data": {"name": "Ürün açıklaması güncellendi", "sku": "@OWN", "stock": rng.randrange(500)}
        if number % 3
        else None,
        "query_params": None if number % 2 else {"page": str(rng.randrange(1, 40)), "q": "çanta"},
        "remote_addr": f"203.0.113.{rng.randrange(256)}",
        "timestamp": "@Z",
        "url": "https://shop.example.com/api/v1/products/@/",
        "user": _person(rng.randrange(_PEOPLE)) if number % 8 else None,
        "uuid": "@",
    }
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":")) + ","
    return (
        text.replace("%", "%%")
        .replace('"@@"', "%(number)b")
        .replace("@Z", "%(instant)bZ")
        .replace("@/", "%(number)b/")
        .replace('"@"', '"%(uuid)b"')
        .replace("@OWN", "%(own)b")
        .encode()
    )


def _person(number: int) -> dict[str, Any]:
    """Return a user as the API nests it into an event."""
    return {
        "attributes": {"department": ("Satış", "Lojistik", "IT", "Finans")[number % 4], "floor": number % 9},
        "attributes_kwargs": {},
        "avatar": f"https://cdn.example.com/avatars/{number:08}.png",
        "call_allowed": False,
        "date_joined": f"2021-0{number % 9 + 1}-14T09:00:00.000000Z",
        "date_of_birth": f"19{60 + number % 39}-05-17",
        "email": f"user{number}@example.com",
        "email_allowed": number % 2 == 0,
        "first_name": ("Ayşe", "Çağla", "Mehmet", "Ömer")[number % 4],
        "gender": ("female", "male")[number // 2 % 2],
        "groups": [number % 7, number % 5],
        "id": number,
        "is_active": True,
        "is_anonymized": None,
        "is_staff": number % 4 < 3,
        "is_superuser": number % 20 == 0,
        "language_code": "tr",
        "last_login": f"2025-08-{number % 28 + 1:02}T08:{number % 60:02}:11.520931Z",
        "last_name": ("Yılmaz", "Öztürk", "Şahin", "İnce")[number // 3 % 4],
        "localized_attributes": {},
        "localized_attributes_kwargs": {},
        "modified_date": f"2025-08-{number % 28 + 1:02}T08:{number % 60:02}:11.540112Z",
        "phone": f"0555{number * 7919 % 10_000_000:07}",
        "pk": number,
        "sms_allowed": number % 3 == 0,
        "user_permissions": [],
        "user_type": "registered",
        "username": f"user.{number}",
    }


@dataclass
class Options:
    """What a case asks of the server."""

    latency_ms: float = 0.0
    """Milliseconds that each answer waits."""
    skip_us: float = 0.0
    """Microseconds that each row costs that OFFSET skips."""
    unstable: bool = False
    """Whether equal timestamps come in another order on each request."""


class Api:
    """Answers requests, and counts them."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.reset({})
        self._shuffling = random.Random(1)  # noqa: S311 - an order that changes, nothing secret
        self._about = {
            "events": len(history),
            "bytes": len(history.records(0, len(history))),
            "start": _text(START),
            "end": _text(END),
            "uuids_sha256": history.uuids_sha256(),
        }

    def reset(self, query: dict[str, str]) -> None:
        """Forget what was counted and take the options of a case."""
        self.options = Options(
            float(query.get("latency_ms", 0)), float(query.get("skip_us", 0)), query.get("unstable") == "1"
        )
        self.history.show(late=query.get("late") == "1", moved=query.get("moved") == "1")
        self.requests = self.rows_skipped = 0
        self._cpu = time.process_time()

    def answer(self, target: str, authorization: str) -> tuple[int, list[bytes | memoryview], float]:
        """Return the status, the pieces of the body, and the seconds to wait before they are sent."""
        url = urlsplit(target)
        query = dict(parse_qsl(url.query))
        if url.path == PATH:
            if authorization != f"Token {KEY}":
                return 401, [b'{"detail":"Invalid token."}'], 0.0
            return self._page(query)
        about: Any
        if url.path == "/reset":
            self.reset(query)
            about = {}
        elif url.path == "/stats":
            cpu = time.process_time() - self._cpu
            about = {"requests": self.requests, "rows_skipped": self.rows_skipped, "cpu_seconds": cpu}
        elif url.path == "/edges":
            about = [_text(_EPOCH + edge * _MICROSECOND) for edge in self.history.edges(int(query["rows"]))]
        elif url.path == "/about":
            about = self._about
        else:
            return 404, [b'{"detail":"Not found."}'], 0.0
        return 200, [json.dumps(about).encode()], 0.0

    def _page(self, query: dict[str, str]) -> tuple[int, list[bytes | memoryview], float]:
        self.requests += 1
        latency = self.options.latency_ms / 1000
        try:
            first, last = self._range(query)
            rows = max(1, min(int(query.get("limit", DEFAULT_ROWS)), MOST_ROWS))
            number = int(query.get("page", 1))
        except ValueError as error:
            return 400, [json.dumps({"detail": str(error)}).encode()], latency
        count = last - first
        skipped = (number - 1) * rows
        if number < 1 or (number > 1 and skipped >= count):
            return 404, [b'{"detail":"Invalid page."}'], latency
        self.rows_skipped += skipped
        there = min(rows, count - skipped)
        ascending = query.get("sort") == "timestamp"
        begin = first + skipped if ascending else last - skipped - there
        follows = f'"{PATH}?page={number + 1}"' if skipped + there < count else "null"
        before = f'"{PATH}?page={number - 1}"' if number > 1 else "null"
        head = f'{{"count":{count},"next":{follows},"previous":{before},"results":['.encode()
        records = self._records(begin, begin + there, first, last, ascending=ascending)
        return 200, [head, records, b"]}"], latency + skipped * self.options.skip_us / 1e6

    def _range(self, query: dict[str, str]) -> tuple[int, int]:
        """Return the numbers of the first event that matches and of the first that no longer does."""
        times = self.history.times
        first, last = 0, len(times)
        for name, value in query.items():
            if name in ("timestamp__gte", "timestamp__gt", "timestamp__lt", "timestamp__lte"):
                moment = (datetime.fromisoformat(value) - _EPOCH) // _MICROSECOND
                bisect = bisect_left if name in ("timestamp__gte", "timestamp__lt") else bisect_right
                if name.startswith("timestamp__g"):
                    first = max(first, bisect(times, moment))
                else:
                    last = min(last, bisect(times, moment))
        return first, max(first, last)

    def _records(self, begin: int, end: int, first: int, last: int, *, ascending: bool) -> bytes | memoryview:
        if ascending and not self.options.unstable:
            return self.history.records(begin, end)
        order = list(range(begin, end))
        if self.options.unstable and order:
            order = self._shuffled(begin, end, first, last)
        if not ascending:
            order.reverse()
        return b",".join(self.history.records(number, number + 1) for number in order)

    def _shuffled(self, begin: int, end: int, first: int, last: int) -> list[int]:
        """Return the events at these places where those of equal timestamps were shuffled first."""
        times = self.history.times
        low = max(first, bisect_left(times, times[begin]))
        high = min(last, bisect_right(times, times[end - 1]))
        order: list[int] = []
        while low + len(order) < high:
            start = low + len(order)
            equal = list(range(start, min(high, bisect_right(times, times[start]))))
            self._shuffling.shuffle(equal)
            order += equal
        return order[begin - low : end - low]


class Connection(asyncio.Protocol):
    """One kept-alive connection: a request at a time."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what TCP gives
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            request, self._received = self._received[:end].decode("latin-1"), self._received[end + 4 :]
            line, *headers = request.split("\r\n")
            authorization = next((line[14:].strip() for line in headers if line[:14].lower() == "authorization:"), "")
            status, body, wait = self._api.answer(line.split(" ")[1], authorization)
            if wait:
                asyncio.get_running_loop().call_later(wait, self._send, status, body)
            else:
                self._send(status, body)

    def _send(self, status: int, body: list[bytes | memoryview]) -> None:
        size = sum(len(piece) for piece in body)
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode()
        self._transport.write(b"".join([head, *body]))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


async def serve(history: History) -> None:
    """Serve on a free port of this machine until cancelled; prints the port once ready."""
    api = Api(history)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(api), "127.0.0.1", 0, backlog=64)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Make the events and serve them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--bursts", type=int, default=0, help=f"times {BURST} events share a timestamp")
    parser.add_argument("--late", type=int, default=0, help="more events, held back until they are asked for")
    args = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(History(args.events, bursts=args.bursts, late=args.late)))


if __name__ == "__main__":
    main()
