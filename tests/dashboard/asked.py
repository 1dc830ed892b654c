"""The page asked in this process, without a server: what came, and whether it came whole."""

import asyncio
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio

from dashboard.access import Access
from dashboard.app import make_app
from dashboard.site import Site
from db.registry.local_artifacts import LocalArtifacts
from db.settings import Settings
from db.store import Store

Message = MutableMapping[str, Any]


def made_site(store: Store, folder: Path) -> Site:
    """Return what the views of a page on `store` share."""
    settings = Settings(registry_dir=str(folder / "registry"))
    access = Access(None, open_to_look=True)
    return Site(store, settings, LocalArtifacts(folder / "registry"), access)


class Asked:
    """A page that keeps what it knows from one question to the next."""

    def __init__(self, site: Site) -> None:
        self._app = make_app(site, ("*",))

    def get(self, path: str, on_part: Callable[[bytes], None] = lambda _: None) -> tuple[int, str]:
        """Return status and words; what the page raises when it breaks off is raised.

        `on_part` is called with each part of the answer as it comes.
        """
        address, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": address,
            "raw_path": address.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"localhost")],
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 1),
        }
        status, parts = 0, []

        async def receive() -> Message:
            await asyncio.sleep(3600)
            return {"type": "http.disconnect"}

        asked = [{"type": "http.request", "body": b"", "more_body": False}]

        async def first_receive() -> Message:
            return asked.pop() if asked else await receive()

        async def send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message.get("body"):
                parts.append(message["body"])
                await asyncio.to_thread(on_part, message["body"])

        # In a thread of its own: a browser's loop may run in this one.
        with ThreadPoolExecutor(1) as other:
            other.submit(anyio.run, self._app, scope, first_receive, send).result()
        return status, b"".join(parts).decode(errors="replace")
