"""Made-up audit events of a made-up Turkish shop: the same seed gives the same events.

The rhythm is a shop's: busy in office hours in Istanbul, quiet at night and on weekends, with bursts of equal
timestamps where something was imported. The records are as awkward as real ones: every kind of JSON, JSON within
strings, integers beyond 64 bits, line separators, and credentials and card numbers (none of which ever was real).
"""

from __future__ import annotations

import json
import random
import uuid as uuids
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import accumulate
from typing import Any
from urllib.parse import urlencode

ISTANBUL = timezone(timedelta(hours=3))  # all year since 2016
MICROSECOND = timedelta(microseconds=1)

_HOUR = 3_600_000_000  # microseconds
_PEOPLE = 80
_FIRST_USER = 1001
_LONGEST_BURST = 350

_MODELS = (
    (12, "products"),
    (14, "product-prices"),
    (15, "product-stocks"),
    (21, "orders"),
    (22, "order-items"),
    (27, "cancellation-requests"),
    (31, "users"),
    (33, "addresses"),
    (41, "basket-offers"),
    (45, "price-lists"),
    (52, "flat-pages"),
    (58, "settings"),
)
_NAMES = ("Ayşe", "Çağla", "Şule", "İpek", "Gül", "Mehmet", "Ömer", "Işık", "Uğur", "Can", "Zoë", "Jürgen")
_SURNAMES = ("Yılmaz", "Öztürk", "Çelik", "Şahin", "Güneş", "Doğan", "Kılıç", "Ağaoğlu", "İnce", "O'Brien")
_PHRASES = (
    "Ürün açıklaması güncellendi: %100 pamuk, ıslak bezle silmeyiniz",
    "Sipariş iptal edildi 😀 müşteri vazgeçti",
    "İki satır:\nbirinci\r\nikinci\tve sekme",
    "Satır ayırıcı\u2028ve paragraf\u2029ayırıcı",
    'Tırnak "içinde" ve ters bölü \\ işareti',
    "Fiyat 1.299,90 ₺ oldu 🛍️",
    "Stok düzeltildi",
    "",
)
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_6) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "python-requests/2.32.3",
)


class Shop:
    """Makes the events of one made-up shop; ``seed`` decides all of them. Not safe to share between threads."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(f"events {seed}")  # noqa: S311 - made-up data
        self._people = [_person(self._random, _FIRST_USER + number) for number in range(_PEOPLE)]
        # Few people do most of the work.
        self._activity = list(accumulate(1 / (number + 1) for number in range(_PEOPLE)))

    def history(self, events: int, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
        """Yield this many events of ``[start, end)``, a whole number of hours, in the order of time."""
        for offset in _instants(self._random, events, start, end):
            yield self.event(start + offset * MICROSECOND)

    def event(self, timestamp: datetime, **given: Any) -> dict[str, Any]:
        """Return an event of this time, with the fields that are given; ``user`` may be a ``pk``."""
        rng = self._random
        content_type, model = rng.choice(_MODELS)
        object_id = rng.randrange(1, 400_000)
        user: Any = None
        if rng.random() > 0.12:
            [user] = rng.choices(self._people, cum_weights=self._activity)
        event = {
            "content": _content(rng, object_id),
            "content_type": content_type,
            "headers": _headers(rng) if user else None,
            "object_id": object_id,
            "post_data": _post_data(rng, object_id),
            "query_params": _query_params(rng),
            "remote_addr": f"203.0.113.{rng.randrange(256)}" if user else "2001:db8::17",
            "timestamp": timestamp,
            "url": f"https://shop.example.com/api/v1/{model}/{object_id}/",
            "user": user,
            "uuid": str(uuids.UUID(int=rng.getrandbits(128), version=4)),
        }
        event.update(given)
        if isinstance(event["user"], int):
            event["user"] = _person(rng, event["user"])
        return event


def _instants(rng: random.Random, events: int, start: datetime, end: datetime) -> list[int]:
    """Return microseconds after ``start``, sorted."""
    hours = (end - start) // timedelta(hours=1)
    rhythm = list(accumulate(_weight(start + timedelta(hours=hour)) for hour in range(hours)))
    # A midnight is where windows meet, so an event at exactly that time must be in one of them, and only one.
    instants = [day * 24 * _HOUR for day in range(hours // 24)] if events > hours else []
    bursts = iter([min(_LONGEST_BURST, events // 10)])
    for hour in rng.choices(range(hours), cum_weights=rhythm, k=events):
        if len(instants) >= events:
            break
        instant = hour * _HOUR + rng.randrange(_HOUR)
        precision = rng.random()
        if precision < 0.3:
            instant -= instant % (1_000_000 if precision < 0.03 else 1000)
        length = next(bursts, None) or _burst(rng)
        # Half of the bursts take some microseconds, so that milliseconds cannot tell their events apart.
        step = rng.randrange(2)
        instants += [min(instant + step * number, hours * _HOUR - 1) for number in range(length)]
    return sorted(instants[:events])


def _weight(hour: datetime) -> float:
    """Return how busy an hour is."""
    local = hour.astimezone(ISTANBUL)
    busy = 10.0 if 9 <= local.hour < 18 else 3.0 if 7 <= local.hour < 23 else 0.3
    return busy * (0.35 if local.weekday() >= 5 else 1)


def _burst(rng: random.Random) -> int:
    chance = rng.random()
    if chance < 0.0007:
        return rng.randrange(20, _LONGEST_BURST)
    return rng.randrange(2, 9) if chance < 0.03 else 1


def _person(rng: random.Random, pk: int) -> dict[str, Any]:
    """Return a user as the API nests it into an event."""
    first, last = rng.choice(_NAMES), rng.choice(_SURNAMES)
    joined = datetime(2021, 1, 1, 9, tzinfo=UTC) + timedelta(minutes=rng.randrange(1_000_000))
    login = joined + timedelta(seconds=rng.randrange(60_000_000), microseconds=rng.randrange(1_000_000))
    staff = rng.random() < 0.7
    return {
        "attributes": {"department": rng.choice(("Satış", "Müşteri Hizmetleri", "IT", "Lojistik"))},
        "attributes_kwargs": {},
        "avatar": None,
        "call_allowed": False,
        "date_joined": _text(joined),
        "date_of_birth": f"19{rng.randrange(60, 99)}-0{rng.randrange(1, 9)}-1{rng.randrange(9)}",
        "email": f"user{pk}@example.com",
        "email_allowed": rng.random() < 0.5,
        "first_name": first,
        "gender": rng.choice(("male", "female", None)),
        "groups": [rng.randrange(1, 9)] if staff else [],
        "id": pk,
        "is_active": True,
        "is_anonymized": None,
        "is_staff": staff,
        "is_superuser": rng.random() < 0.05,
        "language_code": "tr",
        "last_login": _text(login),
        "last_name": last,
        "localized_attributes": {},
        "localized_attributes_kwargs": {},
        "modified_date": _text(login),
        "phone": f"0555{rng.randrange(10_000_000):07}",
        "pk": pk,
        "sms_allowed": rng.random() < 0.5,
        "user_permissions": [],
        "user_type": "registered",
        "username": f"{first.lower()}.{last.lower()}.{pk}",
    }


def _text(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _made_up(rng: random.Random) -> str:
    """Return a made-up secret. It must not look like one to a scanner of the archive's source."""
    return f"made-up-{rng.getrandbits(64):016x}"


def _content(rng: random.Random, object_id: int) -> Any:
    chance = rng.random()
    phrase = rng.choice(_PHRASES)
    if chance < 0.3:
        return None
    change = {"field": "description", "old": None, "new": phrase, "price": round(rng.random() * 1000, 2)}
    if chance < 0.6:
        return {"pk": object_id, "changes": [change], "is_active": rng.random() < 0.9}
    if chance < 0.75:
        return json.dumps(change)
    if chance < 0.85:
        return [change, phrase, rng.getrandbits(90), -1.5e-7, None, True, []]
    if chance < 0.95:
        return phrase
    return rng.choice((rng.getrandbits(100) + 2**64, 0, 1.5, True, False, {}, []))


def _headers(rng: random.Random) -> Any:
    headers = {
        "Host": "shop.example.com",
        "User-Agent": rng.choice(_AGENTS),
        "Accept": "application/json, text/plain, */*",
        "Accept-Language": "tr-TR,tr;q=0.9",
        "X-Forwarded-For": f"198.51.100.{rng.randrange(256)}, 10.0.0.7",
        "Cookie": f"osessionid={_made_up(rng)}; csrftoken={_made_up(rng)}",
    }
    chance = rng.random()
    if chance < 0.3:
        headers["Authorization"] = f"Token {_made_up(rng)}"
    elif chance < 0.4:
        headers["X-Api-Key"] = _made_up(rng)
    if chance > 0.95:
        return [[name, value] for name, value in headers.items()]
    return json.dumps(headers) if chance > 0.85 else headers


def _post_data(rng: random.Random, object_id: int) -> Any:
    chance = rng.random()
    if chance < 0.4:
        return None
    if chance < 0.5:
        login = {"username": "ayşe", "password": _made_up(rng), "next": "/yönetim/?a=1&b=2"}
        return urlencode(login) if chance < 0.45 else login
    if chance < 0.55:
        # Made of parts, as is the security code: no number of a card stands here.
        card = {"card_number": "4111" + f"{rng.randrange(10**12):012}", "cvv": f"{rng.randrange(1000):03}"}
        return {"payment": {"holder": "Şule Öztürk", **card}, "installments": [1, 3, 6]}
    if chance < 0.6:
        return json.dumps({"new_password": _made_up(rng), "note": rng.choice(_PHRASES)})
    if chance < 0.7:
        return [{"sku": f"SKU-{object_id}-{size}", "stock": rng.randrange(500)} for size in ("S", "M", "L")]
    if chance < 0.72:
        return rng.choice((0, True, "", [], rng.getrandbits(80)))
    return {"name": rng.choice(_PHRASES), "price": f"{rng.randrange(100_000) / 100:.2f}", "is_active": True}


def _query_params(rng: random.Random) -> Any:
    chance = rng.random()
    if chance < 0.5:
        return None
    if chance < 0.9:
        return {"page": str(rng.randrange(1, 40)), "q": rng.choice(("kazak", "çanta", "ayakkabı"))}
    if chance < 0.95:
        return {"access_token": _made_up(rng), "ids": ["1", "2"]}
    return "page=2&q=%C3%A7anta"
