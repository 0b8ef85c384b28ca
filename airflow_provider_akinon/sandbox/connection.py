"""The Airflow connection to a sandbox, in the two forms that Airflow reads from the environment."""

from __future__ import annotations

import json
from urllib.parse import quote


def connection_json(url: str, key: str, remote_id: int) -> str:
    """Return the connection as JSON; ``url`` is scheme, host and port."""
    return json.dumps({"conn_type": "akinon", "host": url, "password": key, "extra": {"remote_id": remote_id}})


def connection_uri(url: str, key: str, remote_id: int) -> str:
    """Return the connection as a URI; ``url`` is scheme, host and port."""
    return f"akinon://:{quote(key, safe='')}@{quote(url, safe='')}/?remote_id={remote_id}"
