"""The Airflow connection to a sandbox, in the two forms that Airflow reads from the environment."""

from __future__ import annotations

import json
from urllib.parse import quote


def list_path(remote_id: int | None) -> str:
    """Return the path of the list endpoint; None for the one without ``remote/…``."""
    return f"/api/v1/{'' if remote_id is None else f'remote/{remote_id}/'}data-warehouse/audit-events/"


def connection_json(url: str, key: str, remote_id: int | None) -> str:
    """Return the connection as JSON; ``url`` is scheme, host and port."""
    return json.dumps({"conn_type": "akinon", "host": url, "password": key, "extra": _extra(remote_id)})


def connection_uri(url: str, key: str, remote_id: int | None) -> str:
    """Return the connection as a URI; ``url`` is scheme, host and port."""
    # Each parameter of its own would be text, and Airflow 3 warns of short text in every task.
    extra = quote(json.dumps(_extra(remote_id)), safe="")
    return f"akinon://:{quote(key, safe='')}@{quote(url, safe='')}/?__extra__={extra}"


def _extra(remote_id: int | None) -> dict[str, int | str]:
    return {"remote_id": "none" if remote_id is None else remote_id}
