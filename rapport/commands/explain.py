"""``rapport explain``: why this contact, and why not the others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, write_json


def explain(
    decision_id: Annotated[str, typer.Argument(metavar="DECISION_ID", help="The decision.", show_default=False)],
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    json: JsonFile = None,
) -> None:
    """Say why a decision came out as it did, and what stood in the way of each other treatment.

    Example: rapport explain d-647bed38244aab4fb855891d --project shop
    """
    import msgspec

    from rapport.project import load_project
    from serving.explanation import explain as explanation
    from serving.explanation import recorded
    from serving.ledger import Ledger

    found = load_project(project)
    with Ledger(found.ledger).reading() as book:
        decision, rules, _ = recorded(book, decision_id)
    told = explanation(decision, rules)
    currency = found.settings.project.currency
    say(f"{told.action} for customer {told.customer_id} at {told.decided_at:%Y-%m-%d %H:%M:%S} UTC", style="bold")
    cost = f"{told.contact_cost_cents / 100:.2f} {currency}"
    if told.person_id is not None:
        used = [f"behaviour of {', '.join(told.behaviour_of)}"] if told.behaviour_of else []
        used += [f"contacts of {', '.join(told.contacts_of)}"] if told.contacts_of else []
        say(f"The account belongs to person {told.person_id}{'; also counted: ' if used else ''}{' and '.join(used)}.")
    say(f"{told.sentence} Arm {told.arm} of {told.experiment}, chance {told.probability:.2%}, cost {cost}.")
    if told.last_checks:
        last = {each.code: each.sentence for each in told.removed if each.code in told.last_checks}
        say(f"The last to go: {' '.join(last.values())}")
    if told.degraded:
        say("Degraded: not as the policy of its arm would have it. It counts with its arm.", style="yellow")
    surviving = (
        (each.action, f"{each.probability:.2%}", "" if each.value_cents is None else f"{each.value_cents / 100:.2f}")
        for each in told.surviving
    )
    print_table("What was left", ("action", "chance", f"expected incremental profit ({currency})"), surviving)
    why: dict[str, list[str]] = {}
    for each in told.removed:
        why.setdefault(f"{each.sentence} {each.detail}".strip(), []).append(each.action)
    say("")
    say("Why not the others" if why else "Every treatment survived the checks.", style="bold")
    for reason, actions in why.items():
        say(f"{', '.join(actions)}: {reason}")
    write_json(json, msgspec.to_builtins(told))
