"""The request log: one JSON line for each request, and one line on the console for each that was refused or spoilt.

It never holds the value of an Authorization header. A line is written before the answer's body is sent, so that
whoever has the answer finds the line.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from airflow_provider_akinon.sandbox.options import Options

FAULT = "sandbox.fault"
"""The key in the WSGI environment under which `faults` leaves what it did to a request."""
ROWS = "sandbox.rows"
"""The key in the WSGI environment under which `api` leaves how many rows a list request skipped and gave."""


class RequestLog:
    """A WSGI middleware that logs what ``application`` answers."""

    def __init__(self, application: Callable[..., Iterable[bytes]], options: Options) -> None:
        self._application = application
        self._options = options
        self._lock = threading.Lock()
        self._file = options.log.open("a", encoding="utf-8") if options.log else None

    def close(self) -> None:
        """Close the log's file."""
        if self._file:
            self._file.close()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request, and log it."""
        time_, begun = datetime.now(UTC), time.monotonic()
        statuses: list[str] = []

        def start(status: str, *rest: Any) -> Any:
            statuses.append(status)
            return start_response(status, *rest)

        answer = self._application(environ, start)
        skipped, given = environ.get(ROWS, (None, None))
        self._write(
            {
                "time": time_.isoformat().replace("+00:00", "Z"),
                "method": environ["REQUEST_METHOD"],
                "path": environ["PATH_INFO"],
                "query": environ["QUERY_STRING"],
                "status": int(statuses[-1][:3]),
                "host": environ.get("HTTP_HOST"),
                "authorization": self._authorization(environ.get("HTTP_AUTHORIZATION")),
                "rows_skipped": skipped,
                "rows_given": given,
                "fault": environ.get(FAULT),
                "seconds": round(time.monotonic() - begun, 6),
            }
        )
        return answer

    def _authorization(self, header: str | None) -> str:
        if header is None:
            return "absent"
        *scheme, key = header.split() or [""]
        keys = (self._options.key, self._options.narrow_key)
        schemes = [["token"], []] if self._options.bare_key else [["token"]]
        return "right" if key in keys and [word.lower() for word in scheme] in schemes else "wrong"

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            if self._file:
                self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
                self._file.flush()
            if line["status"] >= 400 or line["fault"]:
                what = f" ({line['fault']})" if line["fault"] else ""
                query = f"?{line['query']}" if line["query"] else ""
                print(f"{line['status']}{what} {line['method']} {line['path']}{query}", file=sys.stderr, flush=True)


def is_list(environ: dict[str, Any]) -> bool:
    """Tell whether a WSGI request goes to the list endpoint."""
    return bool(environ["PATH_INFO"].endswith("/audit-events/"))
