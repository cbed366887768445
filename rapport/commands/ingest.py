"""``rapport ingest``: files of the project's sources become facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from features.errors import InputError
    from features.intake import Loaded
    from rapport.people.returning import Gate
    from rapport.project import Project


def ingest(
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the sources' files lie; by default the project.", show_default=False),
    ] = None,
    accept_bad: Annotated[bool, typer.Option("--accept-bad", help="Load files with over 5% bad rows too.")] = False,
    mended: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Load only these rows of the quarantine, corrected.", show_default=False),
    ] = None,
    propose: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=r"Propose a [\[source]] for FILE, and load nothing.", show_default=False),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="VARIABLE",
            help="FILE is a table of the PostgreSQL database whose URL that variable holds.",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="What FILE holds: events, profile, items or consents.", show_default=False),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the quality of the sources as an HTML page.", show_default=False),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Take the files and tables of the project's sources into its history; bad rows go to its quarantine.

    Events and outcomes that were sent to `rapport serve` are taken in too. What was taken in before changes nothing,
    so it may run as often as you like. A new file: --propose. Bad rows: correct them in quarantine/, then --mended.

    Example: rapport ingest --project shop --data exports --page quality.html
    """
    if propose is not None:
        from rapport.sources import show_proposal

        show_proposal(propose, rows=rows, project=project, data=data, database=database, json=json)
        return
    with step("opening the project"):
        from features.errors import InputError
        from rapport.project import load_project
        from rapport.sources import check_page, show_quality
        from rapport.turn import turn

        check_page(page)
        opened = load_project(project)
    if not opened.sources and not opened.ledger.exists():
        raise InputError(
            "the project has no source",
            got="no [[source]] in rapport.toml",
            do="add one; `rapport ingest --propose FILE` writes it",
        )
    with turn(opened):
        done = _run(opened, data=data or opened.root, accept_bad=accept_bad, mended=mended)
    loaded, failed = done.loaded, done.failed
    told = {"files": [asdict(each) for each in loaded], "failed": [str(each) for each in failed], "links": done.links}
    write_json(json, told)
    if loaded or failed:
        _show(loaded)
        _show_damage(loaded)
    else:
        say("Nothing to take in: the project has no source, and nothing was sent to its service.")
    show_quality(opened, page=page)
    if done.links:
        say(f"{done.links:,} new links between accounts: rapport identity show ACCOUNT tells who is one person.")
    _show_strange(opened)
    for each in done.completed:
        say(f"{each} is erased, as was asked of the service.")
    for each in done.held:
        say(f"{each} came with an erased person's address: it is not contacted. The same person? rapport erase {each}")
    _complain(loaded, failed)


def _show_damage(loaded: Sequence[Loaded]) -> None:
    """Say what is wrong with a file as a whole, and how many noes nobody can hear."""
    for each in loaded:
        if each.note:
            say(f"{each.file}: {each.note}.", style="bold yellow")
        if each.unheard:
            say(f"{each.file}: {each.unheard:,} no's could not be heard: no customer.", style="bold yellow")


def _show_strange(opened: Project) -> None:
    """Say which channels customers agreed to by names that no treatment has: such a yes permits nothing."""
    import pyarrow.compute as pc

    from features.errors import InputError, listed

    try:
        used = {each.channel.lower() for each in opened.catalogue.treatments} | {"all"}
    except InputError:  # was told
        return
    said = opened.history.consents()
    yes = said.filter(pc.and_(said["granted"], pc.equal(said["purpose"], "contact")))
    strange = sorted(each for each in yes["channel"].unique().to_pylist() if each.lower() not in used)
    if strange:
        say(
            f"Customers agreed to channels that no treatment uses: {listed(strange)}. Such a yes permits nothing: map "
            "the words of the file to yours with values = {...}.",
            style="bold yellow",
        )


@dataclass(frozen=True, kw_only=True)
class _Done:
    """What an intake did: rows by file, what went wrong, new links, erasures completed, accounts that are held."""

    loaded: list[Loaded]
    failed: list[InputError]
    links: int
    completed: tuple[str, ...]
    held: tuple[str, ...]


def _run(opened: Project, *, data: Path, accept_bad: bool, mended: Path | None) -> _Done:
    """Take in what is new. Every no is heard, and the erased are gone again, whatever else goes wrong."""
    from rapport.people.returning import Gate

    gate = Gate(opened, at=datetime.now(UTC))
    loaded: list[Loaded] = []
    failed: list[InputError] = []
    try:
        _take_in(opened, gate, data=data, accept_bad=accept_bad, mended=mended, loaded=loaded, failed=failed)
    finally:
        with step("hearing opt-outs, and what was sent to the service"):
            loaded += _sent(opened, failed)
        try:
            links = _linked(opened, failed)
        finally:
            held = gate.close(at=datetime.now(UTC))
    return _Done(loaded=loaded, failed=failed, links=links, completed=gate.completed, held=held)


def _take_in(
    opened: Project,
    gate: Gate,
    *,
    data: Path,
    accept_bad: bool,
    mended: Path | None,
    loaded: list[Loaded],
    failed: list[InputError],
) -> None:
    """Add what became of each file of each source, or of the mended rows alone, to ``loaded`` and ``failed``."""
    from features.errors import InputError
    from features.intake import ingest as take_in
    from features.intake import mend

    common: dict[str, Any] = {
        "history": opened.history,
        "quarantine": opened.quarantine,
        "currency": opened.settings.project.currency,
        "erased": gate.erased,
    }
    if mended is not None:
        with step(f"loading the mended rows of {mended.name}"):
            loaded += mend(mended, sources=opened.sources, **common)
        return
    for source in opened.sources:
        with step(f"taking in {source.name}"):
            try:
                loaded += take_in(source, data=data, accept_bad=accept_bad, **common)
            except InputError as error:  # the other sources are loaded all the same
                failed.append(error)


def _linked(opened: Project, failed: list[InputError]) -> int:
    """Link the accounts that new facts tell are one person; the number of new links."""
    from features.errors import InputError
    from features.identity import resolve

    if opened.identity.silent and not opened.history.parts("links"):
        return 0
    try:
        with step("telling who is one person"):
            return resolve(opened.history, opened.identity).links
    except InputError as error:  # a no does not wait for identity to be mended
        failed.append(error)
        return 0


def _sent(opened: Project, failed: list[InputError]) -> list[Loaded]:
    """The inbox of the service as one more file, and what files and service say about consent, each to the other."""
    from features.errors import InputError
    from features.intake import Loaded
    from serving.inbox import drain, hear, keep_consents
    from serving.ledger import Ledger

    channels: set[str] | None = None
    try:
        channels = {each.channel.lower() for each in opened.catalogue.treatments}
    except InputError as error:  # a no does not wait for the offers to be mended
        failed.append(error)
    ledger = Ledger(opened.ledger)
    try:
        with ledger.reading() as book:
            held, new = drain(book, opened.history)
            keep_consents(book, opened.history)
        with ledger.writing() as book:
            said, heard = hear(book, opened.history, channels=channels, at=datetime.now(UTC))
    finally:
        ledger.close()
    rows = [("inbox", held, new), ("opt-outs and opt-ins", said, heard)]
    return [
        Loaded(source=source, file=opened.ledger.name, read=read, accepted=read, quarantined=0, new=fresh)
        for source, read, fresh in rows
        if read
    ]


def _show(loaded: Sequence[Loaded]) -> None:
    rows = [
        (
            f"{each.source}: {each.file}",
            *(f"{count:,}" for count in (each.read, each.accepted, each.quarantined, each.new)),
        )
        for each in loaded
    ]
    print_table("rows of each file", ("source: file", "read", "accepted", "quarantined", "new facts"), rows)
    from features.intake.quality import percent, reason_in_words

    reasons = [
        (each.source, reason, f"{count:,}", percent(count, each.read, digits=2))
        for each in loaded
        for reason, count in each.reasons.items()
    ]
    if reasons:
        say("")
        print_table("why rows were quarantined", ("source", "reason", "rows", "of rows read"), reasons)
        for reason in dict.fromkeys(reason for _, reason, _, _ in reasons):
            say(f"{reason}: {reason_in_words(reason)}", style="dim")
        for path in sorted({each.quarantine for each in loaded if each.quarantine and Path(each.quarantine).exists()}):
            say(path, style="dim")
        if any(each.quarantine for each in loaded):
            say("Correct the rows there and load them with `rapport ingest --mended FILE`.", style="dim")


def _complain(loaded: Sequence[Loaded], failed: Sequence[InputError]) -> None:
    from features.errors import InputError

    refused = [each for each in loaded if each.refused]
    for error in failed[: -1 if not refused else None]:
        say(str(error), style="bold red")
    if refused:
        shares = ", ".join(f"{each.file} {each.quarantined / each.read:.1%}" for each in refused)
        raise InputError(
            "nothing was loaded of files with more than 5% bad rows",
            got=shares,
            do="mend the rows or the mapping (the quarantine says why), or pass --accept-bad",
        )
    if failed:
        raise failed[-1]
