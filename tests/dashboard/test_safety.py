"""Text is shown and never run, and nothing is changed by who may not."""

import contextlib
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from playwright.sync_api import Browser
from starlette.requests import Request

from dashboard.access import SIGNED_IN_SECONDS, Access
from dashboard.app import make_app
from dashboard.site import Site
from db.registry.artifacts import artifact_store
from db.settings import Settings
from db.store import Store
from tests.cluster import Cluster, clean_environment
from tests.dashboard.pages import TOKEN, Served, opened, served, sign_in
from tests.db.ledger_parts import begin

HOSTILE = [
    "<script>document.title = 'run'</script>",
    '"><img src=x onerror="document.title=1">',
    "'; DROP TABLE labeled_texts; --",
    "مرحبا بالعالم \u202eabc",
    "{{ 7 * 7 }} ${7*7} <b>bold</b> &amp;",
]

#: What could be changed, by whom it may.
CHANGES = [
    ("/review/name", {"name": "Eve"}),
    ("/review/1/answer?strategy=uncertain", {"what": "label", "row": "1", "label": "joy"}),
    ("/models/emotion/move", {"version": "1", "serving": "1", "who": "Eve", "why": "so"}),
    ("/models/emotion/compare", {"before": "1", "after": "2", "job": "1"}),
    ("/sign-out", {"all": "1"}),
]

#: Tables that pages can change.
COUNTS = "SELECT (SELECT count(*) FROM corrections), (SELECT count(*) FROM model_events)"


@pytest.fixture
def hostile_job(cluster: Cluster) -> int:
    path = cluster.folder / "hostile.txt"
    path.write_text("".join(f"{text}\n" for text in HOSTILE))
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    return int(cluster.ingest(path, "--format", "text")["job"])


def test_hostile_text_is_shown_as_text(
    cluster: Cluster, page: Served, browser: Browser, hostile_job: int
) -> None:
    with opened(browser, page) as window:
        window.goto(f"/jobs/{hostile_job}")
        title = window.title()
        shown = window.locator("td.text").all_inner_texts()
        assert shown == HOSTILE
        assert window.title() == title
        assert window.locator("td.text img, td.text script, td.text b").count() == 0
        assert window.locator("td.text[dir=auto]").count() == len(HOSTILE)
        # As a word that is searched for, too, in the page and in the address.
        for words in HOSTILE[:3]:
            window.goto(f"/jobs/{hostile_job}?{urlencode({'words': words, 'label': ''})}")
            assert window.locator("td.text").all_inner_texts() == [words]
            assert window.get_by_label("text has").input_value() == words
            assert window.title() == title
        sign_in(window, f"/review/{hostile_job}")
        window.get_by_label("Your name").fill(HOSTILE[0])
        window.get_by_role("button", name="That is me").click()
        window.get_by_role("button", name="Begin").click()
        assert window.inner_text("#text") in HOSTILE
        assert HOSTILE[0] in window.inner_text("main")
        assert "run" not in window.title()
    assert cluster.value("SELECT count(*) FROM labeled_texts") == len(HOSTILE)


def ask_to_change(page: Served, **headers: str) -> list[int]:
    """Return the status of each change that is tried; 401 where one is sent to sign in."""
    statuses = []
    for path, fields in CHANGES:
        status, told, _ = page.ask("POST", path, urlencode(fields), **headers)
        sent_away = status == 303 and told["location"].startswith("/sign-in?to=")
        statuses.append(401 if sent_away else status)
    return statuses


def test_without_a_token_at_the_start_nothing_can_be_changed(cluster: Cluster) -> None:
    before = tuple(cluster.rows(COUNTS)[0])
    with served(cluster.settings, token=None) as page:
        same = {"Origin": page.address, "Sec_Fetch_Site": "same-origin"}
        assert ask_to_change(page, **same) == [403] * len(CHANGES)
        status, _, words = page.ask("POST", "/sign-in", urlencode({"token": ""}), **same)
        assert status == 401
        assert "not the token" in words
        assert "Read only" in page.ask("GET", "/")[2]
    assert tuple(cluster.rows(COUNTS)[0]) == before


def test_who_has_not_entered_the_token_changes_nothing(cluster: Cluster, page: Served) -> None:
    before = tuple(cluster.rows(COUNTS)[0])
    same = {"Origin": page.address, "Sec_Fetch_Site": "same-origin"}
    assert ask_to_change(page, **same) == [401] * len(CHANGES)
    name = "labelstream"
    for cookie in (f"{name}=1", f"{name}=", f"{name}-0000={'0' * 43}", f"{name}=é", "=; ;;"):
        assert ask_to_change(page, Cookie=cookie, **same) == [401] * len(CHANGES)
    status, _, _ = page.ask("POST", "/sign-in", urlencode({"token": TOKEN + "x"}), **same)
    assert status == 401
    assert tuple(cluster.rows(COUNTS)[0]) == before


def test_a_page_of_somebody_else_changes_nothing_with_the_cookie_either(
    cluster: Cluster, page: Served
) -> None:
    before = tuple(cluster.rows(COUNTS)[0])
    entered = page.ask("POST", "/sign-in", urlencode({"token": TOKEN}), Origin=page.address)
    assert entered[0] == 303
    cookie = entered[1]["set-cookie"]
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    assert TOKEN not in cookie
    value = cookie.split(";")[0]
    for headers in (
        {"Origin": "https://elsewhere.example"},
        {"Sec_Fetch_Site": "cross-site", "Origin": page.address},
        {"Sec_Fetch_Site": "same-site"},
        {},
        {"Origin": "null"},
    ):
        assert ask_to_change(page, Cookie=value, **headers) == [403] * len(CHANGES)
    assert tuple(cluster.rows(COUNTS)[0]) == before
    # The same cookie from a page of ours is let through: nothing but the origin was missing.
    assert page.ask("POST", "/review/name", "name=Ada", Cookie=value, Origin=page.address)[0] == 303


def test_the_page_answers_to_the_names_of_this_machine_alone(page: Served) -> None:
    assert page.ask("GET", "/", Host=f"localhost:{page.port}")[0] == 200
    assert page.ask("GET", "/", Host="rebound.example")[0] == 400


def test_every_answer_forbids_scripts_from_elsewhere_and_to_be_framed(page: Served) -> None:
    for path in ("/", "/nothing-there", "/static/page.js", "/models/emotion/1/report"):
        headers = page.ask("GET", path)[1]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "frame-ancestors 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


def test_a_wrong_question_is_one_line_and_no_traceback(cluster: Cluster, page: Served) -> None:
    job = begin(cluster.store).job
    for path, status, words in (
        (f"/jobs/{job}?at_least=much", 400, "at_least is no number from 0 to 1"),
        ("/jobs/77", 400, "there is no job 77"),
        ("/jobs?before=-1", 400, "before is no whole number"),
        ("/models/nobody", 400, "there is no model"),
        ("/models/emotion/9", 400, "there is no model emotion:9"),
        ("/drift/emotion/99", 400, "there is no model emotion:99"),
        (f"/review/{job}/row?strategy=worst", 400, "rows are not chosen by"),
        ("/static/../app.py", 404, "there is no such page"),
        ("/static/%2e%2e/app.py", 404, "there is no such page"),
        ("/jobs/99999999999999999999999", 404, "there is no such page"),
    ):
        got, _, said = page.ask("GET", path)
        assert got == status, path
        assert words in said, said


def test_a_form_that_is_none_of_ours_is_refused_before_it_is_kept(page: Served) -> None:
    for body, words in (
        ("token=" + "x" * 200_000, "this form is too large"),
        ("&".join(f"a{n}=1" for n in range(100)), "no form of ours"),
        ("token=a%00b", "cannot be stored"),
        ("token=%ED%A0%80", "not the token"),
    ):
        status, _, said = page.ask("POST", "/sign-in", body, Origin=page.address)
        assert status in (400, 401)
        assert words in said


def test_an_error_of_ours_has_the_headers_and_a_line_in_the_log_and_tells_nothing(
    tmp_path: Path, sqlite_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(_env_file=None, home_dir=tmp_path)
    access = Access(None, open_to_look=True)
    site = Site(sqlite_store, settings, artifact_store(settings), access)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a secret")

    app = make_app(site)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("dashboard.views.now.NowViews._shown", broken)
        sent: list[Any] = []
        scope = {
            "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
            "headers": [(b"host", b"localhost")], "scheme": "http", "server": ("localhost", 80),
            "root_path": "", "http_version": "1.1",
        }  # fmt: skip

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        # In a thread of its own: a browser's loop may run in this one.
        with contextlib.suppress(ZeroDivisionError), ThreadPoolExecutor(1) as other:
            other.submit(anyio.run, app, scope, receive, send).result(30)
    assert sent[0]["status"] == 500
    names = {name.decode() for name, _ in sent[0]["headers"]}
    assert {"content-security-policy", "x-content-type-options", "cache-control"} <= names
    assert b"secret" not in b"".join(message.get("body", b"") for message in sent)
    assert "ZeroDivisionError" in caplog.text


def start(*options: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "dashboard", *options],
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("options", "settings", "words"),
    [
        (["--host", "0.0.0.0"], {}, "set LABELSTREAM_DASHBOARD_TOKEN"),  # noqa: S104
        (["--host", "192.0.2.7"], {}, "set LABELSTREAM_DASHBOARD_TOKEN"),
        ([], {"LABELSTREAM_DASHBOARD_TOKEN": "short"}, "has 5 characters"),
        (["--host", "nowhere.invalid"], {"LABELSTREAM_DASHBOARD_TOKEN": TOKEN}, "give --port"),
    ],
)
def test_an_unsafe_start_is_refused_in_one_line(
    options: list[str], settings: dict[str, str], words: str, tmp_path: Path
) -> None:
    done = start(*options, LABELSTREAM_HOME_DIR=str(tmp_path), **settings)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) <= 2, "the starter's terms, and the error"
    assert words in done.stderr
    assert "short" not in done.stderr


def test_a_port_that_is_taken_is_one_line_and_status_2(page: Served, tmp_path: Path) -> None:
    done = start("--port", str(page.port), LABELSTREAM_HOME_DIR=str(tmp_path))
    assert done.returncode == 2
    assert f"port {page.port} cannot be listened on" in done.stderr


def request_for(method: str, path: str, *cookie: str) -> Request:
    headers = [(b"cookie", "=".join(cookie).encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    return Request({**scope, "query_string": b"", "server": ("localhost", 80), "scheme": "http"})


def test_on_another_address_looking_takes_the_token_too() -> None:
    request = request_for("GET", "/")
    assert Access(TOKEN, open_to_look=False).refusal(request) is not None
    assert Access(TOKEN, open_to_look=True).refusal(request) is None
    assert Access(TOKEN, open_to_look=False).refusal(request_for("GET", "/sign-in")) is None


@pytest.mark.parametrize("host", ["x/static/", "x/sign-in?", "localhost:1/static/", "x#/sign-in"])
def test_what_a_request_calls_the_host_opens_nothing(host: str) -> None:
    request = request_for("POST", "/models/emotion/move")
    request.scope["headers"] = [(b"host", host.encode()), (b"sec-fetch-site", b"same-origin")]
    refusal = Access(TOKEN, open_to_look=False).refusal(request)
    assert refusal is not None
    assert refusal.status == 401


def test_a_session_ends_by_itself_and_by_signing_out() -> None:
    now = 1_000_000.0
    access = Access(TOKEN, open_to_look=True, clock=lambda: now)
    first, second = (
        request_for("GET", "/", access.cookie, access.begin_session()) for _ in range(2)
    )
    assert access.may_change(first)
    assert not Access(TOKEN, open_to_look=True).may_change(first), "another process's"
    access.end_session(first)
    assert not access.may_change(first), "whoever has kept the cookie"
    assert access.may_change(second)
    now += SIGNED_IN_SECONDS + 1
    assert not access.may_change(second)


def test_no_page_has_a_style_or_a_script_in_it() -> None:
    for template in (Path(__file__).parents[2] / "dashboard" / "templates").rglob("*.html"):
        words = template.read_text(encoding="utf-8")
        assert not re.search(r"<style|<script>|\sstyle=|\son\w+=|javascript:", words), template
        assert "| safe" not in words
