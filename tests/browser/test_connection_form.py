"""The connection's form in a real browser, on both Airflow lines: type, save, test, edit, clear, and run a task."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_akinon.audit_events.api import Extra, Settings
from airflow_provider_akinon.connection_form import FIELDS
from tests.browser.conftest import EVENTS, KEY, UNTIL, Stored, World
from tests.support.connection_form import Answer

pytestmark = [pytest.mark.browser, pytest.mark.system]

WRONG_KEY = "wrong-key-Pk5+Rw/9uL=="
PROXIES = '{"https": "http://127.0.0.1:9"}'
TOKEN = "w4f-t0ken-of-ours"
HEADERS = json.dumps({"X-WAF-Token": TOKEN})
TYPED: dict[str, str | bool] = {
    "remote_id": "1",
    "auth_scheme": "Token",
    "timeout": "12.5",
    "page_size": "50",
    "max_concurrency": "2",
    "requests_per_second": "20",
    "verify": "true",
    "proxies": PROXIES,
    "secret_headers": HEADERS,
    "allow_http": True,
}
STORED: dict[str, Any] = {
    "remote_id": 1,
    "auth_scheme": "Token",
    "timeout": 12.5,
    "page_size": 50,
    "max_concurrency": 2,
    "requests_per_second": 20,
    "verify": True,
    "proxies": PROXIES,
    "secret_headers": HEADERS,
    "allow_http": True,
}
"""What `TYPED` is saved as: no text of fewer than five characters, of which Airflow 3 warns in every task."""


@pytest.fixture(scope="module")
def typed(world: World) -> Answer:
    """What Test says of ``akinon_typed``, into which everything was typed, with the right key."""
    world.form.add("akinon_typed")
    world.form.picture("form")
    world.form.type(world.address() | TYPED)
    return world.form.try_out(picture="right-key")


def settings(stored: Stored) -> Settings:
    return Settings.parse(
        host=stored.host, port=stored.port, password=stored.password, extra=json.dumps(stored.extra)
    )


def short_texts(stored: Stored) -> list[str]:
    return [name for name, value in stored.extra.items() if isinstance(value, str) and len(value) < 5]


def test_everything_typed_is_saved(world: World, typed: Answer) -> None:
    """Test says yes to a form in which every field was filled in, and each is saved as what it is."""
    assert typed == (
        True,
        f"Connected to {world.sandbox.url}: the key sees {EVENTS} audit events of remote id 1",
    )
    stored = world.stored("akinon_typed")
    assert stored.extra == STORED
    assert (f"{stored.host}:{stored.port}", stored.password) == (world.sandbox.url, KEY)


def test_every_field_is_typed() -> None:
    """A field added to the form must be typed here."""
    assert list(TYPED) == list(STORED) == list(FIELDS)


def test_a_wrong_key(world: World) -> None:
    """Test says in words that a key is refused, and does not repeat it."""
    world.form.add("akinon_wrong")
    world.form.type(world.address() | {"password": WRONG_KEY})

    works, says = world.form.try_out(picture="wrong-key")

    assert not works
    assert "The API refuses the key" in says
    assert WRONG_KEY not in says
    assert world.stored("akinon_wrong").password == WRONG_KEY


def test_a_form_left_as_it_is(world: World) -> None:
    """Where only host, port and key are filled in, the defaults are saved, none of them as a short text."""
    world.form.add("akinon_untouched")
    world.form.type(world.address())

    assert world.form.try_out().works
    stored = world.stored("akinon_untouched")
    assert settings(stored).extra == Extra()
    assert short_texts(stored) == []


def test_fields_are_edited_and_cleared(world: World) -> None:
    """The form shows what was saved; a field that is changed is saved so, one that is cleared has its default.

    The key stays, although no form shows it again.
    """
    world.form.add("akinon_edited")
    world.form.type(world.address() | TYPED)
    world.form.save()

    world.form.edit("akinon_edited")
    for name in ("remote_id", "auth_scheme", "timeout", "page_size", "requests_per_second"):
        assert world.form.shown(name) == TYPED[name], name
    # Airflow 3 masks them by their name.
    assert world.form.shown("proxies") in (PROXIES, "***")
    assert world.form.shown("verify").lower() == "true"
    cleared = {name: "" for name, value in TYPED.items() if isinstance(value, str)}
    world.form.type(cleared | {"page_size": "60", "allow_http": False})
    world.form.picture("cleared")
    world.form.save()

    stored = world.stored("akinon_edited")
    assert stored.password == KEY
    assert settings(stored).extra == Extra(page_size=60)
    assert short_texts(stored) == []


def test_an_edit_that_changes_nothing(world: World) -> None:
    """What a form could take for an empty field, zero and false, is still there after the form was saved again."""
    world.form.add("akinon_odd")
    world.form.type(world.address() | {"remote_id": "0", "verify": "false", "auth_scheme": "bare-key"})
    world.form.save()
    meant = settings(world.stored("akinon_odd"))

    world.form.edit("akinon_odd")
    world.form.save()

    assert meant.extra == Extra(remote_id=0, verify=False, auth_scheme="bare-key")
    assert settings(world.stored("akinon_odd")) == meant


@pytest.mark.usefixtures("typed")
def test_a_task_runs_with_what_was_saved(world: World) -> None:
    """An export by the saved connection succeeds, with the proxies, the pace and all; its log warns of nothing."""
    window = {"start": (UNTIL - timedelta(days=1)).isoformat(), "end": UNTIL.isoformat()}
    world.airflow.switch_on("as_saved")
    world.airflow.cli("dags", "trigger", "as_saved", "--run-id", "typed", "--conf", json.dumps(window))

    assert world.airflow.wait_for_run("as_saved", "typed").state == "success"

    logs = {path: text for path, text in world.airflow.logs().items() if "dag_id=as_saved" in path.parts}
    [log] = logs.values()
    assert "proved complete" in log
    assert "too short" not in log
    assert not [path for path, text in world.airflow.logs().items() if KEY in text or TOKEN in text]
