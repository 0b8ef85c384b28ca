"""A small client of a sandbox, faulty or not: unlike the package's own, it hides no answer."""

from __future__ import annotations

from typing import Any

import requests

from airflow_provider_akinon.sandbox import Sandbox

START, END = "2026-01-21T00:00:00Z", "2026-01-31T00:00:00Z"
FLAGS: dict[str, Any] = {"events": 3_000, "days": 10, "until": END, "freeze_users": True}


class Client(requests.Session):
    """Asks one sandbox, with its key."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.trust_env = False
        self.url = sandbox.list_url
        self.headers["Authorization"] = f"Token {sandbox.key}"

    def list(self, **params: Any) -> requests.Response:
        return self.get(self.url, params=params, timeout=20, allow_redirects=False)

    def results(self, **params: Any) -> list[dict[str, Any]]:
        response = self.list(**params)
        assert response.status_code == 200, response.text
        return response.json()["results"]
