"""``rapport serve``: decisions over HTTP, and the console."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.terminal import say

if TYPE_CHECKING:
    import socket

EXAMPLE = "rapport serve --project shop --new-key decide,ingest,read   then   rapport serve --project shop"
_BACKLOG = 2048  # connections that may wait to be taken, as uvicorn has it
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    experiment: Annotated[str | None, typer.Option(metavar="KEY", help="The experiment that decides.")] = None,
    unpromoted: Annotated[
        bool, typer.Option("--unpromoted", help="Without a champion, let the newest model serve, though not promoted.")
    ] = False,
    new_key: Annotated[
        str | None,
        typer.Option(
            metavar="SCOPES", help="Print a new key with these scopes (decide, ingest, read, admin) and stop."
        ),
    ] = None,
    revoke_key: Annotated[
        str | None, typer.Option(metavar="ID", help="Make a key invalid (the part between its dots) and stop.")
    ] = None,
) -> None:
    """Serve decisions over HTTP, with a console at /console.

    Every route but /health, /ready and unsubscribing needs a key, and before there is one the service does not listen
    beyond this machine.

    Example: rapport serve --project shop --new-key decide,ingest,read
    """
    from rapport.project import load_project
    from serving.contact_policy import now
    from serving.keys import key_ring, make_key
    from serving.keys import revoke_key as revoke
    from serving.ledger import Ledger

    found = load_project(project)
    ledger = Ledger(found.ledger)
    if new_key is not None:
        with ledger.writing() as book:
            key = make_key(book, scopes=[part.strip() for part in new_key.split(",")], label="command line", at=now())
        say("This key is shown once; only its hash is kept:")
        typer.echo(key)
        return
    if revoke_key is not None:
        with ledger.writing() as book:
            revoke(book, revoke_key, at=now())
        say(f"The key {revoke_key} is no longer valid.")
        return
    with ledger.reading() as book:
        keys = len(key_ring(book))
    ledger.close()
    _require_key(host, keys)
    with _bound(host, port) as listening:
        _run(project, listening, host=host, experiment=experiment, unpromoted=unpromoted, keys=keys)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens, before anything is loaded or announced."""
    import socket

    from features.errors import InputError

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the service can't listen on {host} port {port}",
            got=str(error),
            do="pass another --port or --host, or end what listens there",
        ) from error


def _require_key(host: str, keys: int) -> None:
    from features.errors import InputError

    if host not in _LOOPBACK and keys == 0:
        raise InputError(
            "a service that others can reach needs a key",
            got=f"--host {host} and no key",
            do="make one with --new-key decide,ingest,read,admin, or listen on 127.0.0.1",
        )


def _run(
    project: Path, listening: socket.socket, *, host: str, experiment: str | None, unpromoted: bool, keys: int
) -> None:
    import contextlib
    import gc
    from functools import partial

    import uvicorn

    from rapport.commands.score import say_model, say_trials
    from rapport.incumbent import incumbent
    from rapport.project import load_project
    from rapport.trials.readiness import readiness
    from serving.app import create_app
    from serving.assembly import open_site
    from serving.contact_policy import now

    found = load_project(project)
    in_force = partial(incumbent, found, unpromoted=unpromoted)
    ready = partial(readiness, found)
    reopened = partial(load_project, project)
    site = open_site(found, incumbent=in_force, experiment=experiment, ready=ready, reopened=reopened)
    engine = site.service.engine
    say_model(engine.scorer, engine.note)
    say_trials(engine.desk.trials, at=now())
    if keys == 0:
        say("There is no key yet, so only /health and /ready answer; make one with --new-key.", style="yellow")
    address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    say(f"Rapport serves on {address}, the console is at /console (the key as password). Ctrl-C ends it.")
    app = create_app(site)
    gc.freeze()  # what was loaded stays; the collector need not look at it between requests
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False)
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C is the way to end it
        uvicorn.Server(config).run(sockets=[listening])
