"""The site is built without a warning, and nothing of it is fetched from elsewhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

from tests.deploy.compose import ROOT

#: By which attribute of which element a browser fetches something without being asked.
FETCHED = {
    ("audio", "src"), ("embed", "src"), ("iframe", "src"), ("img", "src"), ("img", "srcset"),
    ("input", "src"), ("link", "href"), ("object", "data"), ("script", "src"), ("source", "src"),
    ("source", "srcset"), ("track", "src"), ("video", "poster"), ("video", "src"),
}  # fmt: skip

#: Links that say something and fetch nothing.
SAID = {"canonical", "next", "prev", "edit", "alternate"}

#: What a script of Material can fetch: Mermaid, for pages with a diagram in it, and figures of a
#: repository (of GitLab at a host that it is told), for a site that names one. Ours has neither, which a test sees.
NEVER_ASKED_FOR = {"unpkg.com", "api.github.com", "${e}"}


class Elements(HTMLParser):
    """All elements of a page: the tag and the attributes of each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


def elements(site: Path) -> dict[str, list[tuple[str, dict[str, str]]]]:
    pages = {path.relative_to(site).as_posix(): path for path in site.rglob("*.html")}
    return {name: Elements(path.read_text(encoding="utf-8")).found for name, path in pages.items()}


def test_the_site_is_built_without_a_warning(built: tuple[Path, str]) -> None:
    _, said = built
    assert "WARNING" not in said
    assert all(line.startswith("INFO") for line in said.splitlines() if line.strip()), said


def test_every_page_is_in_the_site(built: tuple[Path, str]) -> None:
    site, _ = built
    written = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    assert Path("how-to/backup-and-restore.md") in written
    for page in written:
        assert (site / page.with_suffix(".html")).is_file(), page


def test_no_page_fetches_anything_from_another_host(built: tuple[Path, str]) -> None:
    site, _ = built
    for page, found in elements(site).items():
        for tag, attributes in found:
            if tag == "link" and set(attributes.get("rel", "").split()) <= SAID:
                continue
            for name, value in attributes.items():
                if (tag, name) in FETCHED:
                    assert not urlsplit(value).netloc, f"{page}: {tag} {name}={value}"


def test_no_style_fetches_anything_from_another_host(built: tuple[Path, str]) -> None:
    site, _ = built
    styles = {path.name: path.read_text(encoding="utf-8") for path in site.rglob("*.css")}
    styles |= {path.name: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    assert any(name.startswith("main.") for name in styles)
    for name, style in styles.items():
        fetched = re.findall(r"(?:url\(|@import)\s*[\"']?\s*((?:https?:)?//[^\s\"')]+)", style)
        assert fetched == [], name


def test_no_script_fetches_anything_that_our_pages_ask_for(built: tuple[Path, str]) -> None:
    site, _ = built
    hosts: set[str] = set()
    for script in site.rglob("*.js"):
        text = re.sub(r"/\*.*?\*/", "", script.read_text(encoding="utf-8"), flags=re.DOTALL)
        hosts |= {urlsplit(url).netloc for url in re.findall(r"[\"'`](https?://[^\"'`]+)", text)}
    assert hosts - {"www.w3.org"} <= NEVER_ASKED_FOR, hosts
    for page, found in elements(site).items():
        classes = {name for _, each in found for name in each.get("class", "").split()}
        components = {each["data-md-component"] for _, each in found if "data-md-component" in each}
        assert "mermaid" not in classes, page
        assert "source" not in components, page


def test_the_pages_can_be_read_as_files(built: tuple[Path, str]) -> None:
    site, _ = built
    for page, found in elements(site).items():
        if page == "404.html":
            continue
        for tag, attributes in found:
            target = urlsplit(attributes.get("href", ""))
            if tag == "a" and not target.netloc and target.path:
                assert (site / page).parent.joinpath(target.path).is_file(), (page, target.path)
