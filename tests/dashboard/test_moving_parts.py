"""The script of the pages in a real browser: what renews itself, says when it cannot, and can be stopped."""

import contextlib
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, Page

from dashboard.access import SECURITY_HEADERS
from tests.cluster import Cluster, clean_environment, wait_until
from tests.dashboard.pages import Served

STATIC = Path(__file__).parents[2] / "dashboard" / "static"

#: A part as wide as no window, with something in it that can be focused.
WIDE = (
    '<p id="count">{count}</p><p><a href="/jobs/1">job 1</a></p>'
    '<div class="scroll" tabindex="0" role="region" aria-label="Wide">'
    f"<table><tr><td>{'wide' * 200}</td></tr></table></div>"
)

#: A part that is not there yet.
PICTURES = '<p class="note">The pictures are on their way …</p><noscript><p>None</p></noscript>'


class Site:
    """Serves the script and the style as they are, and pages and parts as a test has them."""

    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.status = 200
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def show(self, *parts: tuple[str, str, float], rest: str = "") -> None:
        """Let the page have these parts: address, what they have at first, seconds."""
        moving = "".join(
            f'<div id="{address[1:]}" data-part="{address}" data-seconds="{seconds}">\n{first}\n</div>'
            for address, first, seconds in parts
        )
        self.bodies["/"] = (
            '<!doctype html><html lang="en"><head><link rel="icon" href="data:,">'
            '<title>A page</title><link rel="stylesheet" href="/static/page.css">'
            '<script src="/static/page.js" defer></script></head>'
            f'<body><main id="main" tabindex="-1"><h1>A page</h1>{moving}{rest}</main></body></html>'
        )
        self.bodies |= {address: first for address, first, _ in parts}

    def start(self) -> None:
        """Serve, on the same port as before."""
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked[self.path] += 1
                is_static = self.path.startswith("/static/")
                if is_static:
                    kind = "text/css" if self.path.endswith("css") else "text/javascript"
                    words = (STATIC / Path(self.path).name).read_bytes()
                else:
                    kind, words = "text/html; charset=utf-8", site.bodies[self.path].encode()
                is_part = self.headers.get("X-Part") == "1"
                self.send_response(site.status if is_part else 200)
                for name, value in SECURITY_HEADERS.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(words)))
                self.end_headers()
                self.wfile.write(words)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Go away: nobody answers any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def asked_again(self, address: str, times: int = 2) -> None:
        """Wait until a part was asked for so many times more."""
        wanted = self.asked[address] + times
        wait_until(lambda: self.asked[address] >= wanted, 20, f"{address} is asked for again")


@pytest.fixture
def site() -> Iterator[Site]:
    started = Site()
    started.start()
    yield started
    started.stop()


@contextlib.contextmanager
def seen(browser: Browser, address: str) -> Iterator[Page]:
    """Open a window; its script may fail nowhere, but what it asks for may stay away."""
    context = browser.new_context(base_url=address, viewport={"width": 800, "height": 600})
    context.set_default_timeout(20_000)
    window = context.new_page()
    errors: list[str] = []
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    try:
        yield window
    finally:
        context.close()
    assert [error for error in errors if "Failed to load resource" not in error] == []


def mark(window: Page, selector: str) -> None:
    window.locator(selector).evaluate("element => { element.marked = true; }")


def is_marked(window: Page, selector: str) -> bool:
    found: bool = window.locator(selector).evaluate("element => element.marked === true")
    return found


def test_a_part_that_stays_as_it_is_is_not_replaced(site: Site, browser: Browser) -> None:
    site.show(("/part", WIDE.format(count=1), 0.1))
    with seen(browser, site.address) as window:
        window.goto("/")
        mark(window, "#count")
        mark(window, "a")
        window.locator("a").focus()
        window.evaluate(
            "window.changes = 0; new MutationObserver(() => window.changes++).observe("
            "document.querySelector('#part'), {childList: true, subtree: true, characterData: true})"
        )
        site.asked_again("/part", 4)
        assert is_marked(window, "#count")
        assert is_marked(window, "a")
        assert window.evaluate("document.activeElement.marked === true")
        assert window.evaluate("window.changes") == 0
        # What changed is shown, and the focus stays where it was.
        site.bodies["/part"] = WIDE.format(count=2)
        window.get_by_text("2", exact=True).wait_for()
        assert not is_marked(window, "a")
        assert window.evaluate("document.activeElement.textContent") == "job 1"


def test_a_table_that_is_scrolled_stays_scrolled_and_focused(site: Site, browser: Browser) -> None:
    site.show(("/part", WIDE.format(count=1), 0.1))
    with seen(browser, site.address) as window:
        window.goto("/")
        window.locator(".scroll").focus()
        window.locator(".scroll").evaluate("element => { element.scrollLeft = 150; }")
        site.bodies["/part"] = WIDE.format(count=2)
        window.get_by_text("2", exact=True).wait_for()
        assert window.locator(".scroll").evaluate("element => element.scrollLeft") == 150
        assert window.evaluate("document.activeElement.getAttribute('aria-label')") == "Wide"


def test_a_part_that_is_final_is_asked_for_no_more(site: Site, browser: Browser) -> None:
    site.show(
        ("/part", "<p>under way</p>", 0.1),
        ("/over", "<p data-final>over</p>", 0.1),
        ("/other", "<p>moves</p>", 0.1),
    )
    with seen(browser, site.address) as window:
        window.goto("/")
        site.asked_again("/part")
        site.bodies["/part"] = "<div><p data-final>done</p></div>"
        window.get_by_text("done").wait_for()
        asked = site.asked["/part"]
        site.asked_again("/other", 5)
        assert site.asked["/part"] == asked
        assert site.asked["/over"] == 0
        assert window.get_by_role("button", name="Pause").is_visible()
        site.bodies["/other"] = "<p data-final>done, too</p>"
        window.get_by_role("button", name="Pause").wait_for(state="hidden")


def test_a_page_that_is_away_is_told_once_and_comes_back(site: Site, browser: Browser) -> None:
    site.show(("/part", WIDE.format(count=1), 0.1))
    with seen(browser, site.address) as window:
        window.goto("/")
        site.asked_again("/part")
        assert window.locator(".stale").count() == 0
        mark(window, "a")
        site.stop()
        stale = window.locator("#part > .stale")
        stale.wait_for()
        assert re.match(r"Not renewed since \d\d:\d\d:\d\d UTC", stale.inner_text())
        assert stale.get_attribute("role") == "status"
        mark(window, ".stale")
        with window.expect_event("requestfailed"):
            pass
        assert window.locator(".stale").count() == 1
        assert is_marked(window, ".stale"), "it is said once"
        site.start()
        stale.wait_for(state="detached")
        assert is_marked(window, "a")


@pytest.mark.parametrize("status", [302, 401, 500, 503])
def test_a_part_that_is_refused_says_so_and_keeps_what_it_had(
    site: Site, browser: Browser, status: int
) -> None:
    site.show(("/part", WIDE.format(count=1), 0.1))
    with seen(browser, site.address) as window:
        window.goto("/")
        site.bodies["/part"] = "<p>a failure</p>"
        site.status = status
        window.locator(".stale").wait_for()
        assert window.locator("#count").inner_text() == "1"
        site.bodies["/part"], site.status = WIDE.format(count=2), 200
        window.locator(".stale").wait_for(state="detached")
        assert window.locator("#count").inner_text() == "2"


@pytest.mark.parametrize("seconds", [0, 0.1])
def test_pictures_that_do_not_come_are_no_more_on_their_way(
    site: Site, browser: Browser, seconds: float
) -> None:
    site.show(("/pictures", PICTURES, seconds))
    site.status = 503
    with seen(browser, site.address) as window:
        window.goto("/")
        window.get_by_text("Not here yet").wait_for()
        assert not window.get_by_text("on their way").is_visible()
        site.bodies["/pictures"], site.status = "<p>the pictures</p>", 200
        window.get_by_text("the pictures", exact=True).wait_for()
        assert window.locator(".stale").count() == 0
        if not seconds:
            assert window.get_by_role("button", name="Pause").count() == 0


def test_paused_parts_are_not_asked_for_until_they_go_on(site: Site, browser: Browser) -> None:
    site.show(("/part", WIDE.format(count=1), 0.1))
    with seen(browser, site.address) as window:
        window.goto("/")
        site.asked_again("/part")
        pause = window.get_by_role("button", name="Pause", exact=True)
        assert pause.get_attribute("aria-pressed") == "false"
        pause.click()
        site.bodies["/part"] = WIDE.format(count=2)
        # One may have been under way.
        window.wait_for_timeout(200)
        asked = site.asked["/part"]
        window.wait_for_timeout(700)
        assert site.asked["/part"] == asked
        assert window.locator("#count").inner_text() == "1"
        # The tab remembers it.
        window.reload()
        assert pause.get_attribute("aria-pressed") == "true"
        window.wait_for_timeout(500)
        assert site.asked["/part"] == asked
        pause.click()
        site.asked_again("/part")
        with seen(browser, site.address) as other:
            other.goto("/")
            switch = other.get_by_role("button", name="Pause", exact=True)
            assert switch.get_attribute("aria-pressed") == "false"


KEYS = (
    '<button type="button" data-key="s"><kbd>s</kbd>Skip</button><h2 data-focus id="row">Row 1</h2>'
)


def count_presses(window: Page) -> None:
    window.evaluate(
        "window.pressed = 0; document.querySelector('[data-key]')"
        ".addEventListener('click', () => window.pressed++)"
    )


def test_keys_that_are_switched_off_do_nothing_and_on_again_work(
    site: Site, browser: Browser
) -> None:
    site.show(rest=KEYS)
    with seen(browser, site.address) as window:
        window.goto("/")
        count_presses(window)
        keys = window.get_by_role("button", name="Keys", exact=True)
        assert keys.get_attribute("aria-pressed") == "true"
        window.keyboard.press("s")
        assert window.evaluate("window.pressed") == 1
        keys.click()
        window.keyboard.press("s")
        assert window.evaluate("window.pressed") == 1
        assert not window.locator("kbd").is_visible()
        assert window.locator("[aria-keyshortcuts]").count() == 0
        # The browser remembers it.
        window.reload()
        count_presses(window)
        assert keys.get_attribute("aria-pressed") == "false"
        window.keyboard.press("s")
        assert window.evaluate("window.pressed") == 0
        keys.click()
        window.keyboard.press("s")
        assert window.evaluate("window.pressed") == 1
        assert window.locator("[aria-keyshortcuts=s]").count() == 1


def test_switches_stand_only_where_they_switch_something(site: Site, browser: Browser) -> None:
    site.show(("/over", "<p data-final>over</p>", 0.1))
    with seen(browser, site.address) as window:
        window.goto("/")
        assert window.locator("button").count() == 0


def test_what_is_to_be_read_first_has_the_focus(site: Site, browser: Browser) -> None:
    site.show(rest=KEYS)
    with seen(browser, site.address) as window:
        window.goto("/")
        assert window.evaluate("document.activeElement.id") == "row"


@contextlib.contextmanager
def served_on(cluster: Cluster, port: int) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-m", "dashboard", "--port", str(port)],
        env=clean_environment(**cluster.settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    served = Served(f"http://127.0.0.1:{port}", process)

    def answers() -> bool:
        assert process.poll() is None
        with contextlib.suppress(OSError):
            return served.ask("GET", "/now")[0] == 200
        return False

    try:
        wait_until(answers, 60, "the page is served")
        yield served
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_the_page_itself_goes_away_and_comes_back_on_its_port(
    cluster: Cluster, browser: Browser
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with contextlib.ExitStack() as stack:
        with served_on(cluster, port) as page:
            window = stack.enter_context(seen(browser, page.address))
            window.goto("/")
            assert window.locator(".stale").count() == 0
        window.locator("[data-part] > .stale").wait_for()
        with served_on(cluster, port):
            window.locator(".stale").wait_for(state="detached")
            assert "Nothing runs" in window.inner_text("main")
