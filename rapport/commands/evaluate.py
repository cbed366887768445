"""``rapport evaluate``: the value of a policy that never ran, from logged decisions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from rapport.commands.unfit import refuse
from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.offpolicy import Telling
    from experiments.results import Evaluation

_SAID = {
    "ips": "inverse probability",
    "snips": "  self-normalized",
    "dm": "models alone",
    "dr": "doubly robust",
    "sndr": "  self-normalized",
    "switch_dr": "  switched",
}
_COLUMNS = 4


def evaluate(
    log: Annotated[
        Path | None,
        typer.Argument(
            help="CSV (also .gz) or Parquet: one row per decision; or none, with --project.", show_default=False
        ),
    ] = None,
    action: Annotated[str | None, typer.Option(help="Column of the action that was taken.", show_default=False)] = None,
    reward: Annotated[str | None, typer.Option(help="Column of what it earned.", show_default=False)] = None,
    probability: Annotated[
        str | None, typer.Option(help="Column of the chance with which it was chosen.", show_default=False)
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="Table of a probability per action, a column each, or of the action; one row, or one per decision.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Column that joins both tables (else: same order); with it no feature.")
    ] = None,
    feature: Annotated[list[str] | None, typer.Option(help="Column for the reward models; all if none given.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Column not to use, such as another outcome.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Column whose rows belong together.", show_default=False)] = None,
    project: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The project whose ledger is the log.", show_default=False)
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="Key of the experiment that decided.", show_default=False)
    ] = None,
    candidate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder to be launched; the project itself if none.", show_default=False),
    ] = None,
    arm: Annotated[
        str | None, typer.Option(help="The arm whose policy the candidate follows; the headline's if none.")
    ] = None,
    goal: Annotated[str | None, typer.Option(help="The goal that is earned; the deciding one if none.")] = None,
    window: Annotated[
        float | None, typer.Option(metavar="DAYS", help="How long after a decision counts.", show_default=False)
    ] = None,
    every: Annotated[bool, typer.Option("--every", help="All decisions on a customer, not the first alone.")] = False,
    alpha: Annotated[float, typer.Option(help="1 - alpha is the level of the intervals.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds.")] = 1,
    json: JsonFile = None,
) -> None:
    """The value of a policy that never ran, from logged decisions; refuses where the log can't tell.

    From a table: its rows are decisions with the chance of what was done, and --policy is the new policy's chances.
    From a project: its ledger is the log, and the candidate a whole folder with its offers, rules, limits and model.

    Example: rapport evaluate log.csv --action item_id --reward click --probability propensity_score --policy new.csv

    Example: rapport evaluate --project shop --experiment always-on --candidate shop-new
    """
    if project is not None or experiment is not None or candidate is not None:
        from features.errors import InputError

        if log is not None or experiment is None:
            raise InputError(
                "a project's log is named by its experiment",
                got="a table beside it" if log is not None else "no --experiment",
                do="give --project DIR --experiment KEY, and --candidate DIR for what is to be launched",
            )
        beside_table = {
            "--action": action,
            "--reward": reward,
            "--probability": probability,
            "--policy": policy,
            "--key": key,
            "--feature": feature,
            "--exclude": exclude,
            "--cluster": cluster,
        }
        refuse(beside_table, beside="a project's log", why="its decisions tell it themselves")
        folder = project or Path()
        _whole_policy(
            folder,
            candidate or folder,
            options={"key": experiment, "arm": arm, "goal": goal, "every": every, "window_days": window},
            alpha=alpha,
            seed=seed,
            json=json,
        )
        return
    beside_project = {"--arm": arm, "--goal": goal, "--window": window, "--every": every}
    refuse(beside_project, beside="a table", why="they are for the log of a project")
    named = _named(log=log, action=action, reward=reward, probability=probability, policy=policy)
    with step("reading the log and the policy"):
        from experiments.offpolicy import evaluate as value_of
        from features.tables import read_table

        decisions, wished = (read_table(each, text=[named.action]) for each in (named.log, named.policy))
    with step(f"valuing the policy on {decisions.num_rows:,} decisions"):
        result = value_of(
            decisions,
            action=named.action,
            reward=named.reward,
            probability=named.probability,
            policy=wished,
            key=key,
            features=feature or None,
            exclude=exclude or (),
            cluster=cluster,
            seed=seed,
            alpha=alpha,
        )
    write_json(json, result.to_json())
    _show(result, reward=named.reward, rows=decisions.num_rows, alpha=alpha)


class _Named(NamedTuple):
    """What the value of a policy from a table can't do without."""

    log: Path
    action: str
    reward: str
    probability: str
    policy: Path


def _named(
    *, log: Path | None, action: str | None, reward: str | None, probability: str | None, policy: Path | None
) -> _Named:
    given = {"LOG": log, "--action": action, "--reward": reward, "--probability": probability, "--policy": policy}
    if log is None or action is None or reward is None or probability is None or policy is None:
        from features.errors import InputError

        missing = [name for name, value in given.items() if value is None]
        raise InputError(
            "the log is not told whole",
            got=f"no {', '.join(missing)}",
            do="name the table, its three columns and the policy; or --project DIR --experiment KEY --candidate DIR",
        )
    return _Named(log=log, action=action, reward=reward, probability=probability, policy=policy)


def _whole_policy(
    folder: Path, candidate: Path, *, options: dict[str, Any], alpha: float, seed: int, json: Path | None
) -> None:
    with step(f"taking the decisions of {options['key']} again, and as the candidate would"):
        from datetime import UTC, datetime

        from rapport.project import load_project
        from rapport.trials.counterfactual import value_before_launch

        known = load_project(folder)
        wished = known if candidate.resolve() == folder.resolve() else load_project(candidate)
        found = value_before_launch(known, wished, as_of=datetime.now(UTC), alpha=alpha, seed=seed, **options)
    write_json(json, found.to_json())
    currency = known.settings.project.currency if found.money else ""
    reward = found.goal.removesuffix(" per customer")  # it is told per decision
    telling = _show(found.evaluation, reward=reward, rows=found.decisions, alpha=alpha, currency=currency)
    rows = [(each.arm, f"{each.decisions:,}", telling.value(each)) for each in found.arms]
    say("")
    unit = f"{currency} {telling.unit}".strip()
    print_table(f"what was earned: {reward}, {unit}", ("arm", "decisions", "value"), rows)
    say("")
    say(
        f"One decision at a time, within {found.window_days:g} days, at customers as the experiment found them: what "
        "the candidate's own contacts would change for later decisions is not in its value.",
        style="dim",
    )
    if options["every"] and found.evaluation.refused is not None:
        say("The first decision on each customer may tell all the same: leave out --every.", style="dim")
    for note in found.notes:
        say(note, style="dim")


def _show(result: Evaluation, *, reward: str, rows: int, alpha: float, currency: str = "") -> Telling:
    from experiments.offpolicy import Telling

    telling = Telling(unit=result.unit, scale=result.scale)
    unit = f"{currency} {result.unit}".strip()
    ran = f"Under what ran, {reward} was {telling.value(result.logged)} {unit}." if result.logged else ""
    if result.refused is not None:
        say(f"The log can't tell. {result.refused}", style="bold")
        say(ran)
    else:
        best = next(each for each in result.estimates if each.estimator == "dr")
        say(
            f"Under the policy, {reward} would be {telling.value(best)} {unit}, by the doubly robust estimate.",
            style="bold",
        )
        say(f"{ran} {result.sentence}")
        _table(result, telling, title=f"{reward}, {unit}", alpha=alpha)
    found = result.diagnostics
    never = f"{found.unsupported_share:.1%} of what it does was never tried"
    say("")
    say(
        f"{rows:,} decisions, worth {found.effective_sample_size:,.0f} of the policy's own; "
        f"{'all that it does was tried, however seldom' if found.unsupported_share < 0.0005 else never}; "
        f"largest weight {found.max_weight:,.1f}.",
        style="dim",
    )
    if result.refused is None and (result.features or result.left_out):
        say(_columns(result), style="dim")
    for note in result.notes:
        say(note, style="dim")
    return telling


def _table(result: Evaluation, telling: Telling, *, title: str, alpha: float) -> None:
    rows = [
        (_SAID[each.estimator], telling.value(each), telling.difference(ran))
        for each, ran in zip(result.estimates, result.differences, strict=True)
    ]
    say("")
    columns = ("estimator", "value", "less what ran")
    print_table(f"{title}, with {1 - alpha:.0%} intervals", columns, rows)
    if control := result.control:
        alone = next(each for each in control.estimates if each.estimator == "dr")
        say("")
        say(
            f"Under the control arm {control.name!r}, at the same decisions, it would be {telling.value(alone)}. "
            f"{control.sentence}"
        )


def _columns(result: Evaluation) -> str:
    """Which columns the models know, and which they don't."""
    why: dict[str, list[str]] = {}
    for name, reason in result.left_out.items():
        why.setdefault(reason, []).append(name)
    known = _some(list(result.features)) if result.features else "no column"
    left = "; ".join(f"{_some(names)} ({reason})" for reason, names in why.items())
    return f"The reward models know {known}." + (f" Left out: {left}." if left else "")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _COLUMNS} more" if len(names) > _COLUMNS else ""
    return ", ".join(names[:_COLUMNS]) + more
