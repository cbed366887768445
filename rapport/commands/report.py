"""``rapport report``: the lift report of an experiment as one HTML file, from its record in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json


def report(
    experiment: Annotated[str, typer.Argument(help="Key of the experiment.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="Where to write the page.", show_default=False)],
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    run: Annotated[
        str | None,
        typer.Option(metavar="RUN_ID", help="A look's MLflow run; the newest when not given.", show_default=False),
    ] = None,
    json: JsonFile = None,
) -> None:
    """Write the lift report of an experiment: the newest look, or the one of a given MLflow run.

    The page is made from the record alone, so any past report can be made again, to the last byte.

    Example: rapport report always-on --out report.html
    """
    with step(f"making the report of {experiment}"):
        from experiments.record import find_look, read_report, unchanged
        from experiments.report import decision, headline, numbers_json, render
        from rapport.project import load_project

        tracking = load_project(project).tracking
        look = find_look(tracking, experiment, run_id=run)
        found = read_report(tracking, look)
        page = render(found)
        _write(out, page)
        write_json(json, numbers_json(found))
    told = decision(found)
    say(headline(found).text, style="bold")
    say(f"{told.word}. {told.sentence}")
    print_table(
        "",
        ("look", f"{found.look}, data as of {found.as_of:%Y-%m-%d}"),
        [("MLflow run", look), ("page", f"{out} ({len(page.encode()) / 1000:.0f} kB)")],
    )
    if not unchanged(tracking, look, page=page):
        say("Another version of Rapport logged this look: the page may be worded differently.", style="yellow")


def _write(path: Path, page: str) -> None:
    from features.errors import InputError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError("the report can't be written", got=str(error), do="pass --out a path you may write") from error
