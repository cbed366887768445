"""``rapport erase``: a person is removed from everywhere in the project, and stays suppressed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from datetime import datetime

    from rapport.people.erasure import Receipt
    from rapport.project import Project


_MOST = 10
_CALLED = {"identifiers": "cache of identifiers"}
_LEFT = {"ledger.db": "a process reads it; run this again when that has ended."}


def erase(
    customers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CUSTOMER]...", help="Whom to erase, by any of their accounts.", show_default=False),
    ] = None,
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    pending: Annotated[
        bool, typer.Option("--pending", help="Complete what was asked of the service, or was interrupted.")
    ] = False,
    receipt: Annotated[
        Path | None, typer.Option("--receipt", metavar="FILE", help="Write the receipt, as JSON.", show_default=False)
    ] = None,
    json: JsonFile = None,
) -> None:
    """Erase people from ledger, history, models and files of the project; keyed hashes suppress them from now on.

    They are suppressed first. Whatever interrupts the rest, the same command, or --pending, completes it. What Rapport
    can't reach is named: the files that the project takes in, and backups.

    Example: rapport erase c-4711 --project shop --receipt c-4711.json
    """
    from datetime import UTC, datetime

    from features.errors import InputError
    from rapport.people.erasure import erase as forget
    from rapport.people.erasure import pending as under_way
    from rapport.project import load_project
    from rapport.turn import turn

    opened = load_project(project)
    at = datetime.now(UTC)
    wanted = list(dict.fromkeys([*(customers or ()), *(under_way(opened) if pending else ())]))
    if not wanted:
        if not pending:
            raise InputError("nobody is named", got="no CUSTOMER", do="name whom to erase, or pass --pending")
        say("No erasure is under way.")
        write_json(json, {"customers": {}})
        return
    before = _check(opened, wanted)

    def keep(done: Receipt) -> None:
        for path in (receipt, json):
            write_json(path, done.to_json())

    with turn(opened), step("erasing"):
        done = forget(opened, wanted, at=at, keep=keep)
    _tell(done, before, receipt=receipt)


def _check(project: Project, wanted: list[str]) -> dict[str, datetime]:
    """When those were erased who were before; a customer of whom nobody ever knew anything is refused."""
    from features.errors import InputError
    from rapport.people.erasure import erased_before, known

    before = erased_before(project, wanted)
    unknown = [each for each in wanted if each not in before and not known(project, each)]
    if unknown:
        raise InputError(
            "there is no such customer", got=unknown[0], do="name one of their accounts as the project's facts do"
        )
    return before


def _tell(done: Receipt, before: dict[str, datetime], *, receipt: Path | None) -> None:
    nothing = not any(done.removed.values())
    for each, asked in list(done.customers.items())[:_MOST]:
        if each in before and nothing:
            say(f"{each} was erased on {before[each]:%Y-%m-%d}; nothing of them was found since.", style="bold")
        else:
            say(f"{each} is erased, as asked on {asked:%Y-%m-%d %H:%M} UTC, and stays suppressed.", style="bold")
    if len(done.customers) > _MOST:
        say(f"... and {len(done.customers) - _MOST:,} others.", style="bold")
    rows = [
        (f"{place}: {_CALLED.get(what, what)}", f"{n:,}")
        for place, counts in done.removed.items()
        for what, n in counts.items()
    ]
    if rows:
        print_table("what was removed", ("place", "rows"), rows)
    if done.shared:
        say(f"{done.shared} of their addresses other accounts have too: those stay theirs, and are not suppressed.")
    if done.resumed:
        say("An earlier run began this; what it removed is not counted here.", style="dim")
    for path in done.left:
        say(f"Still named in {path}: {_LEFT.get(path, 'mend or remove it by hand.')}", style="yellow")
    if done.sources:
        say(
            f"Still named in files of sources: {', '.join(done.sources)}. Erase them in the systems that wrote those.",
            style="yellow",
        )
    if done.unread:
        say(f"Could not be searched, so look yourself: {', '.join(done.unread)}.", style="yellow")
    if done.short:
        say(
            f"{done.short} of their accounts are too short to be told from other words: rows and lines that hold them "
            "are gone; other files were not searched for them.",
            style="yellow",
        )
    say(f"Out of Rapport's reach: {'; '.join(done.beyond)}.", style="dim")
    if receipt is not None:
        say(f"Receipt: {receipt}")
