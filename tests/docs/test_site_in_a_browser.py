"""What a browser asks for when the site is read and searched."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from tests.file_server import serve_folder


@pytest.mark.parametrize("start", ["index.html", "how-to/compose.html", "reference/commands.html"])
def test_reading_and_searching_asks_no_other_host(
    start: str, built: tuple[Path, str], browser: Browser
) -> None:
    asked: set[str] = set()
    errors: list[str] = []
    with serve_folder(built[0]) as host:
        page = browser.new_page()
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://{host}/{start}")
        page.click("input.md-search__input")
        page.keyboard.type("lease")
        page.wait_for_selector(".md-search-result__item", timeout=20_000)
        found = page.locator(".md-search-result__item").all_inner_texts()
        page.close()
    assert asked == {host}
    assert errors == []
    assert any("Guarantees" in text or "guaranteed" in text for text in found), found
