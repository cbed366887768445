"""``rapport learn``: an experiment's bandits learn from the outcomes that have matured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.design import Experiment
    from rapport.trials.learning import Learned


def learn(
    experiment: Annotated[str, typer.Argument(help="Key of the experiment.", show_default=False)],
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="What was known at that moment; now when not given.", show_default=False),
    ] = None,
    window: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="Days after a decision in which outcomes are its reward; else the goal's."),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Replace what was learned with another window, as a new version.")
    ] = False,
    json: JsonFile = None,
) -> None:
    """Teach the experiment's bandits what their decisions brought, and keep the new state in the ledger.

    Only decisions whose windows have closed count. Run it as often as you like, such as every night: the same outcomes
    give the same state. `rapport score` uses it from then on, `rapport serve` from its next reload.

    Example: rapport learn always-on --project shop
    """
    from datetime import UTC, datetime, timedelta

    from experiments.design import aware
    from features.errors import InputError
    from rapport.commands.score import moment_of
    from rapport.project import load_project
    from rapport.trials.learning import learn as taught

    if window is not None and not 0 < window <= 36_500:
        raise InputError("the window is no time", got=f"{window:g} days", do="give days above 0, at most 36,500")
    opened = load_project(project)
    design = opened.experiment(experiment)
    as_of = moment_of(at)
    if as_of > datetime.now(UTC):
        raise InputError("--at lies in the future", got=f"{as_of}", do="windows that are open are no zeros: wait")
    with step(f"learning from what was known at {as_of:%Y-%m-%d %H:%M} UTC"):
        found = taught(
            opened, design, as_of=as_of, window=None if window is None else timedelta(days=window), anew=anew
        )
    for each in found:
        _tell(each, design, currency=opened.settings.project.currency)
    days = design.goals[0].window_days if window is None else window
    whose = f"the window of {design.goals[0].words}" if window is None else "as --window says"
    say(f"A decision's reward is what came in the {days:g} days after it, {whose}.")
    if window is not None and window != design.goals[0].window_days:
        say(
            f"{design.goals[0].words}'s own window is {design.goals[0].window_days:g} days. What was learned keeps "
            f"its window: pass --window {window:g} the next time, too.",
        )
    ended = design.end is not None and aware(design.end) <= as_of
    if ended:
        say(f"The experiment ended on {design.end:%d %B %Y}: its arms decide no more by what is learned now.")
    write_json(
        json,
        {
            "experiment": design.key,
            "at": as_of.isoformat(),
            "window_days": days,
            "ended": ended,
            "policies": [_payload(each) for each in found],
        },
    )


def _payload(learned: Learned) -> dict[str, object]:
    return {
        "policy": learned.name,
        "arms": list(learned.arms),
        "version": learned.version,
        "published": learned.published,
        "matured": learned.matured,
        "open": learned.open,
        "actions": [{"action": action, "n": n, "mean_reward": mean} for action, (n, mean) in learned.rewards.items()],
    }


def _tell(learned: Learned, design: Experiment, *, currency: str) -> None:
    goal = design.goals[0]
    cents = 100 if goal.money else 1
    print_table(
        f"{learned.name} in arm {', '.join(learned.arms)}: what its decisions brought each",
        ("action", "decisions", f"{goal.words}, {currency}" if goal.money else goal.words),
        [
            (action, f"{n:,}", f"{mean / cents:,.2f}" if goal.money else f"{mean:.4g}")
            for action, (n, mean) in sorted(learned.rewards.items(), key=lambda row: -row[1][1])
        ],
        note="as observed; how sure the bandit is of it shows in the chances of its next decisions",
    )
    waiting = f"; {learned.open:,} wait for their windows to close" if learned.open else ""
    say(f"Learned from {learned.matured:,} decisions{waiting}.")
    if learned.published:
        say(f"Version {learned.version} is in the ledger, and decides from the next run or reload on.")
    else:
        say(f"The ledger has this state or a newer one already; nothing changed (version {learned.version}).")
