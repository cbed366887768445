"""``rapport replay``: take a decision again from its record, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, write_json


def replay(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID", help="The decision.", show_default=False)],
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    json: JsonFile = None,
) -> None:
    """Take a decision again from its record alone and compare it bit by bit; exit code 1 when it differs.

    Example: rapport replay d-647bed38244aab4fb855891d --project shop
    """
    from rapport.project import load_project
    from serving.explanation import differences, recorded
    from serving.explanation import replay as again
    from serving.ledger import Ledger

    ledger = Ledger(load_project(project).ledger)
    with ledger.reading() as book:
        decision, rules, policy = recorded(book, decision_id)
    found = differences(decision, again(decision, rules=rules, policy=policy))
    rows = [(name, repr(was), repr(now)) for name, (was, now) in found.items()]
    write_json(json, {"decision_id": decision_id, "equal": not found, "differences": [list(row) for row in rows]})
    if not found:
        say(f"Equal: {decision_id} came out as {decision.action} again, every field the same.", style="green")
        return
    print_table(f"{decision_id} differs", ("field", "recorded", "replayed"), rows)
    raise typer.Exit(1)
