"""``rapport report``: the lift report of an experiment as one HTML file, from its record in MLflow."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from rapport.project import Project


def report(
    experiment: Annotated[str, typer.Argument(help="Key of the experiment.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="Where to write the page.", show_default=False)],
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    run: Annotated[
        str | None,
        typer.Option(metavar="RUN_ID", help="A look's MLflow run; the newest when not given.", show_default=False),
    ] = None,
    look: Annotated[bool, typer.Option("--look", help="Take a new look now, and record it.")] = False,
    as_of: Annotated[
        datetime | None,
        typer.Option(
            metavar="DATE",
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"],
            help="Take the look as it would have been then (UTC), and record it.",
            show_default=False,
        ),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Write the lift report of an experiment: the newest look in its record, or the one of a given MLflow run.

    An experiment that nobody has looked at yet is looked at; --look takes a further look. Every look is a run in
    MLflow, and any past report can be made again from its run alone, to the last byte. --as-of looks back: with what
    was recorded before that moment only, so that the page is the same whatever has arrived since.

    Example: rapport report always-on --look --out report.html
    """
    with step(f"making the report of {experiment}"):
        from experiments.record import find_look, read_report, unchanged
        from experiments.report import decision, headline, numbers_json, render
        from rapport.project import load_project
        from rapport.trials.looks import MISSING_LOOKS

        opened = load_project(project)
        tracking = opened.tracking
        taken = _taken(opened, experiment, asked=look or as_of is not None, run=run, as_of=as_of)
        run_id = find_look(tracking, experiment, run_id=taken or run)
        found = read_report(tracking, run_id)
        page = render(found)
        _write(out, page)
        write_json(json, numbers_json(found))
    told = decision(found)
    say(headline(found).text, style="bold")
    say(f"{told.word}. {told.sentence}")
    for each in found.health:
        if each.name == MISSING_LOOKS or each.decisions:
            say(each.sentence, style=each.status)
        for decision_id in each.decisions:
            say(f"  rapport explain {decision_id}")
    print_table(
        "",
        ("look", f"{found.look}, data as of {found.as_of:%Y-%m-%d}"),
        [("MLflow run", run_id), ("page", f"{out} ({len(page.encode()) / 1000:.0f} kB)")],
    )
    if not unchanged(tracking, run_id, page=page):
        say("Another version of Rapport logged this look: the page may be worded differently.", style="yellow")


def _taken(project: Project, key: str, *, asked: bool, run: str | None, as_of: datetime | None) -> str | None:
    """The run of a look that is taken now: one that was asked for, or the first one ever; None where none is.

    Nobody else looks meanwhile, so what still runs under the experiment's record was killed, and is closed.
    """
    from experiments.record import ExperimentRecord
    from rapport.turn import look_turn

    design = project.experiments.get(key)
    if design is None:
        return _take(project, key, as_of=as_of) if asked else None  # which names the near keys
    with look_turn(project, key):
        record = ExperimentRecord(project.tracking, design)
        record.close_killed()
        first = run is None and not record.looks()
        return _take(project, key, as_of=as_of) if asked or first else None


def _take(project: Project, key: str, *, as_of: datetime | None) -> str:
    """Look at the experiment as of a moment, by default now, and record it; the id of the run."""
    from features.errors import InputError
    from rapport.trials.insight import record_insight
    from serving.designs import check_kept
    from serving.ledger import Ledger

    now = datetime.now(UTC)
    moment = now if as_of is None else as_of.replace(tzinfo=UTC)
    if moment > now:
        raise InputError("the look lies in the future", got=f"{moment:%Y-%m-%d %H:%M} UTC", do="name a moment that was")
    with closing(Ledger(project.ledger)) as ledger, ledger.reading() as book:
        check_kept(book, project.experiment(key))
    return record_insight(project, key, as_of=moment)


def _write(path: Path, page: str) -> None:
    from features.errors import InputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe, or /dev/stdout
            path.write_text(page, encoding="utf-8")
            return
        scratch = path.parent / f".{path.name[:40]}.{os.getpid()}.tmp"
        try:
            scratch.write_text(page, encoding="utf-8")
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
    except OSError as error:
        raise InputError("the report can't be written", got=str(error), do="pass --out a path you may write") from error
