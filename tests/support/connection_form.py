"""The form of the Akinon connection as a person uses it: in Chromium, on the UI of the installed Airflow line.

The two lines' forms differ, and so does their Test: Airflow 3 tests what is saved, from the list of connections, and
Airflow 2 what stands in the form. `ConnectionForm.try_out` does what both can. It refuses to wait without a bound.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Locator, Page, sync_playwright

from airflow_provider_akinon.connection_form import FIELDS
from tests.support.airflow_installation import AIRFLOW_3, AirflowInstallation

WAIT = 30_000
"""Milliseconds that anything may take in the browser; the machine may be busy."""
USER = "admin"
MISSING = "Chromium is not installed: apt-get install chromium"


class Answer(NamedTuple):
    """What Test says."""

    works: bool
    says: str


def chromium() -> str:
    """Return the path of the browser.

    :raises FileNotFoundError: there is none; the message says what to do.
    """
    found = shutil.which("chromium")
    if found is None:
        raise FileNotFoundError(MISSING)
    return found


class ConnectionForm:
    """The form, in one tab of a browser. Fields are named as in the connection; a box takes a boolean."""

    def __init__(self, page: Page, url: str, pictures: Path) -> None:
        self._page = page
        self._url = url
        self._pictures = pictures
        self._conn_id = ""
        """The connection that the form was opened for last."""

    @classmethod
    @contextmanager
    def opened(cls, airflow: AirflowInstallation, pictures: Path) -> Iterator[ConnectionForm]:
        """Start a browser, give the form for an administrator, and stop the browser.

        :param pictures: a folder for `picture`.
        """
        pictures.mkdir(parents=True, exist_ok=True)
        with sync_playwright() as playwright:
            # Chromium's sandbox does not start as root.
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
            try:
                page = browser.new_page(viewport={"width": 1200, "height": 1750})
                page.set_default_timeout(WAIT)
                form = (FormOfAirflow3 if AIRFLOW_3 else FormOfAirflow2)(page, airflow.api, pictures)
                form.log_in(airflow)
                yield form
            finally:
                browser.close()

    def log_in(self, airflow: AirflowInstallation) -> None:
        """Become an administrator."""

    def picture(self, name: str) -> None:
        """Take a picture of what is to be seen, from its top."""
        self._page.evaluate("window.scrollTo(0, 0)")
        self._page.screenshot(path=self._pictures / f"{name}.png")

    def add(self, conn_id: str) -> None:
        """Open the form for a new connection."""
        raise NotImplementedError

    def edit(self, conn_id: str) -> None:
        """Open the form of a saved connection."""
        raise NotImplementedError

    def shown(self, name: str) -> str:
        """Return what a field shows."""
        raise NotImplementedError

    def type(self, fields: Mapping[str, str | bool]) -> None:
        """Type into fields in place of what they hold, and set boxes."""
        raise NotImplementedError

    def save(self) -> None:
        """Save the connection that the open form holds."""
        raise NotImplementedError

    def try_out(self, picture: str | None = None) -> Answer:
        """Save the connection that the open form holds, press Test before or after that, and return the answer.

        :param picture: the name of a picture of the answer.
        """
        raise NotImplementedError


class FormOfAirflow3(ConnectionForm):
    """A dialogue over the list of connections."""

    def add(self, conn_id: str) -> None:
        self._page.goto(f"{self._url}/connections")
        self._page.get_by_role("button", name="Add Connection").first.click()
        self._conn_id = conn_id
        self._field("connection_id").fill(conn_id)
        kind = self._dialogue.get_by_role("combobox")
        kind.fill("Akinon Commerce")
        kind.press("Enter")
        self._unfold("Extra Fields")

    def edit(self, conn_id: str) -> None:
        self._page.goto(f"{self._url}/connections")
        self._conn_id = conn_id
        self._row(conn_id).get_by_role("button", name="Edit Connection").click()
        self._unfold("Extra Fields")

    def _unfold(self, part: str) -> None:
        """Show a part of the form, in place of the one that is shown."""
        button = self._dialogue.get_by_role("button", name=part, exact=True)
        if button.get_attribute("aria-expanded") != "true":
            button.click()

    def shown(self, name: str) -> str:
        return self._field(name).input_value()

    def type(self, fields: Mapping[str, str | bool]) -> None:
        for name, value in fields.items():
            self._unfold("Extra Fields" if name in FIELDS else "Standard Fields")
            field = self._field(name)
            if isinstance(value, str):
                field.fill(value)
                field.blur()
            elif field.is_checked() != value:
                # The switch itself is drawn over the box.
                field.locator("xpath=ancestor::label").click()

    def save(self) -> None:
        self._dialogue.get_by_role("button", name="Save").click()
        self._dialogue.wait_for(state="hidden")

    def try_out(self, picture: str | None = None) -> Answer:
        self.save()
        with self._page.expect_response("**/connections/test") as response:
            self._row(self._conn_id).get_by_role("button", name="Test Connection").click()
        # Not that the connection was saved.
        notes = self._page.locator("[data-scope=toast][data-part=root]")
        message = notes.filter(has_text="Test Connection").locator("[data-part=description]")
        # Waits until it has moved to its place, and keeps it there.
        message.hover()
        answer = Answer(response.value.json()["status"], message.inner_text())
        if picture:
            self.picture(picture)
        return answer

    @property
    def _dialogue(self) -> Locator:
        return self._page.get_by_role("dialog")

    def _field(self, name: str) -> Locator:
        return self._dialogue.locator(f"[name={name}], [name=element_{name}]")

    def _row(self, conn_id: str) -> Locator:
        return self._page.get_by_role("row").filter(has=self._page.get_by_text(conn_id, exact=True))


class FormOfAirflow2(ConnectionForm):
    """A page of its own, with a button Test beside Save."""

    def log_in(self, airflow: AirflowInstallation) -> None:
        names = ("--username", "--password", "--firstname", "--lastname")
        given = [word for name in names for word in (name, USER)]
        airflow.cli("users", "create", *given, "--email", "admin@example.com", "--role", "Admin")
        self._page.goto(f"{self._url}/login/")
        for name in ("username", "password"):
            self._page.locator(f"#{name}").fill(USER)
        self._page.locator("input[type=submit]").click()
        self._page.get_by_text("DAGs", exact=True).first.wait_for()

    def add(self, conn_id: str) -> None:
        self._page.goto(f"{self._url}/connection/add")
        self._page.locator("#conn_id").fill(conn_id)
        # Its own kind of list lies over it.
        self._page.locator("#conn_type").select_option("akinon", force=True)
        self._field("remote_id").wait_for()

    def edit(self, conn_id: str) -> None:
        self._page.goto(f"{self._url}/connection/list/?_flt_3_conn_id={conn_id}")
        self._page.locator("a[href*='/connection/edit/']").first.click()
        self._field("remote_id").wait_for()

    def shown(self, name: str) -> str:
        return self._field(name).input_value()

    def type(self, fields: Mapping[str, str | bool]) -> None:
        for name, value in fields.items():
            field = self._field(name)
            if isinstance(value, str):
                field.fill(value)
            else:
                field.set_checked(value)

    def save(self) -> None:
        self._page.locator("form#model_form button[type=submit]").click()
        # On whichever page Airflow goes back to.
        self._page.get_by_text(re.compile("(Added|Changed) Row")).wait_for()

    def try_out(self, picture: str | None = None) -> Answer:
        with self._page.expect_response("**/connections/test") as response:
            self._page.locator("#test-connection").click()
        message = self._page.locator(".alert").first
        message.wait_for()
        answer = Answer(response.value.json()["status"], message.inner_text())
        if picture:
            self.picture(picture)
        self.save()
        return answer

    def _field(self, name: str) -> Locator:
        return self._page.locator(f"form#model_form [name={name}], form#model_form [name=extra__akinon__{name}]")
