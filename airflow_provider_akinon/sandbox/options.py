"""The command line of the sandbox: every flag, its default and its check.

Each error names the flag, the value, and what to write instead. Abbreviated flags are refused: ``--fault`` and
``--faults`` are two.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

FAULTS = ("502", "503", "429", "html", "empty", "truncated", "reset")
"""The kinds of faults that ``--faults`` draws from."""
SLOW_FAULTS = ("drip", "hang")
"""Kinds that happen only where ``--fault`` names them."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the sandbox; see ``--help`` for each field."""

    events: int
    days: int
    until: datetime
    seed: int
    host: str
    port: int
    database: Path | None
    log: Path | None
    key: str
    narrow_key: str | None
    bare_key: bool
    remote_id: int | None
    page_size: int
    max_limit: int
    throttle: str | None
    unstable_order: bool
    ignore_sort: bool
    ignore_limit: bool
    ignore_filters: bool
    truncate: bool
    freeze_users: bool
    insert_while_reading: int
    delete_while_reading: int
    faults: float
    fault: tuple[str, ...]
    hang_seconds: float
    redirect_to: str | None
    latency_ms: float
    supervised: bool

    @property
    def start(self) -> datetime:
        """The start of the generated span, UTC."""
        return self.until - timedelta(days=self.days)

    @property
    def distorts(self) -> bool:
        """Whether the API's views behave worse than the plain API's."""
        return bool(
            self.unstable_order
            or self.ignore_sort
            or self.ignore_limit
            or self.ignore_filters
            or self.truncate
            or self.insert_while_reading
            or self.delete_while_reading
        )

    @property
    def disturbs(self) -> bool:
        """Whether something between the API and the client spoils answers."""
        return bool(self.faults or self.redirect_to or self.latency_ms)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n(--help explains every flag)\n")


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Return the options of a command line, of this process by default.

    :raises SystemExit: with status 2 and a message on stderr, where an argument is wrong.
    """
    parser = _parser()
    values = vars(parser.parse_args(arguments))
    values["fault"] = tuple(values["fault"])
    options = Options(**values)
    if options.fault and not options.faults:
        parser.error(f"--fault {options.fault[0]} needs --faults RATE, such as --faults 0.1")
    if options.key == options.narrow_key:
        parser.error("--narrow-key is the same as --key; give another")
    if options.database and options.database.exists():
        parser.error(f"--database {options.database} exists already; remove it, or name a new file")
    for flag, path in (("--database", options.database), ("--log", options.log)):
        if path and not path.parent.is_dir():
            parser.error(f"{flag} {path} lies in a directory that does not exist; make it first")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m airflow_provider_akinon.sandbox",
        description="A local Akinon Audit Events API with generated events.",
        allow_abbrev=False,
    )
    _add_events(parser.add_argument_group("events"))
    _add_server(parser.add_argument_group("server"))
    _add_api(parser.add_argument_group("API"))
    _add_worse_api(parser.add_argument_group("an API that behaves worse"))
    _add_worse_network(parser.add_argument_group("a network that behaves worse"))
    # For `Sandbox`: announce in JSON on stdout, and stop when stdin ends.
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    return parser


def _add_events(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    add("--events", type=_number(int, 0), default=50_000, metavar="N", help="how many (default: 50000)")
    add("--days", type=_number(int, 1, 36_500), default=30, metavar="N", help="span that they cover (default: 30)")
    add(
        "--until",
        type=_instant,
        default=midnight,
        metavar="ISO",
        help="end of the span (default: last midnight UTC)",
    )
    add("--seed", type=_number(int, 0), default=1, metavar="N", help="same seed, same events (default: 1)")


def _add_server(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=_number(int, 0, 65_535), default=8765, help="0 picks a free one (default: 8765)")
    add("--database", type=Path, metavar="PATH", help="new SQLite file (default: a temporary one, removed at exit)")
    add("--log", type=Path, metavar="PATH", help="append one JSON line for each request")


def _add_api(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--key", type=_key, default="sandbox-key", help="the API key (default: sandbox-key)")
    add("--narrow-key", type=_key, metavar="KEY", help="a second key, that sees only events of a user")
    add("--bare-key", action="store_true", help="accept the key also without 'Token' before it")
    add("--freeze-users", action="store_true", help="show users as they were at the event (default: as they are now)")
    add(
        "--remote-id",
        type=_remote_id,
        default=1,
        metavar="N",
        help="number in the path, or none for a path without remote/… (default: 1)",
    )
    add("--page-size", type=_number(int, 1), default=20, metavar="N", help="events of a page without limit= (20)")
    add("--max-limit", type=_number(int, 1), default=200, metavar="N", help="larger limit= become this one (200)")
    add("--throttle", type=_rate, metavar="RATE", help="requests allowed, such as 100/min")


def _add_worse_api(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--unstable-order", action="store_true", help="equal timestamps come in another order each time")
    add("--ignore-sort", action="store_true", help="always newest first")
    add("--ignore-limit", action="store_true", help="always the default page size")
    add("--ignore-filters", action="store_true", help="ignore user, content_type and object_id")
    add("--truncate", action="store_true", help="show milliseconds, while filters compare microseconds")
    for verb in ("insert", "delete"):
        add(
            f"--{verb}-while-reading",
            type=_number(int, 0),
            default=0,
            metavar="N",
            help=f"each of the first N list requests {verb}s an event in its window first",
        )


def _add_worse_network(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--faults", type=_number(float, 0, 1), default=0.0, metavar="RATE", help="share of requests that fail, 0 to 1"
    )
    add(
        "--fault",
        action="append",
        choices=(*FAULTS, *SLOW_FAULTS),
        default=[],
        help=f"a kind to draw from; repeatable (default: all but {' and '.join(SLOW_FAULTS)})",
    )
    add(
        "--hang-seconds",
        type=_number(float, 0, 3600),
        default=60.0,
        metavar="S",
        help="how long 'hang' is silent and 'drip' drips (60)",
    )
    add("--redirect-to", type=_origin, metavar="URL", help="answer list requests with 302 to URL + path")
    add("--latency-ms", type=_number(float, 0, 60_000), default=0.0, metavar="N", help="wait before each answer (0)")


def _number(kind: type[int] | type[float], least: float, most: float | None = None) -> Callable[[str], float]:
    name = "a whole number" if kind is int else "a number"
    bounds = f"of {least} or more" if most is None else f"from {least} to {most}"

    def convert(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = None
        # A NaN is in no range.
        if value is None or not least <= value <= (value if most is None else most):
            raise argparse.ArgumentTypeError(f"{text!r} is not {name} {bounds}")
        return value

    return convert


def _remote_id(text: str) -> float | None:
    return None if text == "none" else _number(int, 0)(text)


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an ISO 8601 date-time with a time zone; write it like 2026-01-31T00:00:00Z"
        )
    return instant.astimezone(UTC)


def _key(text: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{text!r} cannot stand in a header; use ASCII letters, digits and dashes")
    return text


def _rate(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]*/(s|sec|m|min|h|hour|d|day)", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate; write it like 5/s, 100/min or 1000/hour")
    return text


def _origin(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.query or url.fragment:
        raise argparse.ArgumentTypeError(f"{text!r} is not where a server is; write it like http://127.0.0.1:9000")
    return text.rstrip("/")
