"""`python -m dashboard`: the page, on loopback unless it is told otherwise."""

import socket
from typing import Annotated

import typer

from db.errors import UsageError, run_command

app = typer.Typer(add_completion=False, help=__doc__)

#: Names of an address that only this machine reaches.
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: all of them.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any that is free.")] = 8765,
) -> None:
    """Show jobs, rows, models and drift in a browser; correct labels and promote with the token.

    Without LABELSTREAM_DASHBOARD_TOKEN nothing can be changed, and no address but loopback is served.
    """
    from db.registry.artifacts import artifact_store
    from db.settings import get_settings
    from db.store import open_store
    from worker.preparing import make_ready

    settings = get_settings()
    token = settings.dashboard_token and settings.dashboard_token.strip()
    on_loopback = host in _LOOPBACK
    if token is None and not on_loopback:
        raise UsageError(
            f"{host} is reached by others: set LABELSTREAM_DASHBOARD_TOKEN, or leave --host out"
        )
    try:
        import uvicorn

        from dashboard.access import LONGEST_TOKEN, TOKEN_CHARACTERS, Access
        from dashboard.app import LOOPBACK_HOSTS, make_app
        from dashboard.site import Site
    except ImportError as error:
        raise UsageError(
            f"the page needs {error.name}: pip install 'labelstream[dashboard]'"
        ) from None
    if token is not None and not TOKEN_CHARACTERS <= len(token) <= LONGEST_TOKEN:
        raise UsageError(
            f"LABELSTREAM_DASHBOARD_TOKEN has {len(token)} characters: take {TOKEN_CHARACTERS} to "
            f"{LONGEST_TOKEN}, such as those of: openssl rand -hex 16"
        )
    store = open_store(settings)
    make_ready(store, settings)
    site = Site(store, settings, artifact_store(settings), Access(token, open_to_look=on_loopback))
    listening = _listening(host, port)
    name = f"[{host}]" if ":" in host else host
    typer.echo(
        f"the page is on http://{name}:{listening.getsockname()[1]}/ "
        f"({'with' if token else 'without'} changes; database {store.name})",
        err=True,
    )
    config = uvicorn.Config(
        make_app(site, LOOPBACK_HOSTS if on_loopback else ("*",)),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise UsageError(
            f"{host} port {port} cannot be listened on ({reason}): give --port"
        ) from None


def main() -> None:
    """Run `python -m dashboard`."""
    run_command(app)


if __name__ == "__main__":
    main()
