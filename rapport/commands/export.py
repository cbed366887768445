"""``rapport export``: everything that the project holds about one person."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json


def export(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help="Any account of theirs.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where it goes, as JSON.", show_default=False)],
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    json: JsonFile = None,
) -> None:
    """Write everything that is known of a person, over all their accounts, and nothing of anybody else.

    Facts, consents, decisions with what each saw of them and why, contacts, arms, and rows that were refused.

    Example: rapport export c-4711 --project shop --out c-4711.json
    """
    from datetime import UTC, datetime

    from features.errors import InputError
    from rapport.people.disclosure import disclose
    from rapport.project import load_project

    if out.suffix.lower() != ".json":
        raise InputError("the export is JSON", got=str(out), do="end the file in .json")
    opened = load_project(project)
    with step("collecting"):
        told = disclose(opened, customer, at=datetime.now(UTC))
        write_json(out, told.to_json())
    write_json(
        json,
        {"customer_id": customer, "accounts": len(told.accounts)}
        | {name: len(rows) for name, rows in told.sections.items()},
    )
    say(f"Everything about {customer}, known by {', '.join(told.accounts)}", style="bold")
    print_table(
        "", ("section", "rows"), [(name.replace("_", " "), f"{len(rows):,}") for name, rows in told.sections.items()]
    )
    if told.links_to_others:
        say(f"Links to {told.links_to_others} accounts of others are counted, not shown.", style="dim")
    say(f"Written to {out}. It is as personal as the facts: keep it outside of the project, or erase it with them.")
