"""The page as a process, and a browser in front of it."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page
from playwright.sync_api import Error as BrowserError

from tests.cluster import clean_environment, wait_until

TOKEN = "a token of more than sixteen characters"

#: What the browser is called where it is installed.
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser_path() -> str | None:
    """Return the path of a Chromium, if there is one."""
    given = os.environ.get("LABELSTREAM_TEST_CHROMIUM")
    return given or next((path for name in BROWSERS if (path := shutil.which(name))), None)


@dataclass
class Served:
    """A page that is served."""

    address: str
    process: "subprocess.Popen[str]"

    @property
    def port(self) -> int:
        return int(self.address.rsplit(":", 1)[1])

    def ask(
        self, method: str, path: str, body: str = "", **headers: str
    ) -> tuple[int, Mapping[str, str], str]:
        """Ask as no browser would; return status, headers and words."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            if body:
                given.setdefault("Content-Type", "application/x-www-form-urlencoded")
            connection.request(method, path, body or None, given)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, told, answer.read().decode()
        finally:
            connection.close()


@contextlib.contextmanager
def served(settings: Mapping[str, str], token: str | None = TOKEN) -> Iterator[Served]:
    """Serve the page with these settings, on a port of its own."""
    given = dict(settings)
    if token is not None:
        given["LABELSTREAM_DASHBOARD_TOKEN"] = token
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard", "--port", "0"],
            env=clean_environment(**given),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

        def words() -> str:
            said.seek(0)
            return said.read()

        def address() -> str | None:
            assert process.poll() is None, words()
            found = re.search(r"the page is on (http://127\.0\.0\.1:\d+)/", words())
            return found[1] if found else None

        try:
            yield Served(wait_until(address, 60, "the page is served"), process)
        finally:
            process.terminate()
            process.wait(timeout=20)
            assert "Traceback" not in words(), words()


@contextlib.contextmanager
def opened(browser: Browser, page: Served, **options: object) -> Iterator[Page]:
    """Open a window that nobody else shares anything with, and that tells of every error."""
    context: BrowserContext = browser.new_context(base_url=page.address, **options)  # type: ignore[arg-type]
    context.set_default_timeout(20_000)
    window = context.new_page()
    errors: list[str] = []
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    fetched: list[str] = []
    window.on("request", lambda request: fetched.append(request.url))
    try:
        yield window
    finally:
        with contextlib.suppress(BrowserError):
            context.close()
    assert [url for url in fetched if not url.startswith((page.address, "data:"))] == []
    # A refusal that a test asks for is told there, too.
    assert [error for error in errors if "status of 4" not in error] == []


def sign_in(window: Page, to: str = "/") -> None:
    """Enter the token."""
    window.goto(f"/sign-in?to={to}")
    window.get_by_label("Token").fill(TOKEN)
    window.get_by_role("button", name="Sign in").click()
    window.wait_for_url(f"**{to}")


def keep_picture(window: Page, folder: Path, name: str, *, whole: bool = True) -> None:
    """Keep what the window shows, also what is below its edge if `whole`."""
    folder.mkdir(parents=True, exist_ok=True)
    window.screenshot(path=folder / f"{name}.png", full_page=whole)
