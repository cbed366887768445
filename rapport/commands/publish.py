"""``rapport publish``: a policy that an arm of an experiment names, fitted, told, and put into the ledger."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.policies import AnyPolicy
    from experiments.policies.rules import Rule
    from rapport.project import Project
    from rapport.trials.publishing import Group, Published, Valued


class Kind(StrEnum):
    """What a policy can be."""

    segment = "segment"
    few = "few"
    static = "static"
    bandit = "bandit"
    random = "random"
    nothing = "nothing"
    one_to_one = "one_to_one"


class Rules(StrEnum):
    """What a bandit's beliefs become chances by."""

    thompson = "thompson"
    top_two = "top-two"
    greedy = "greedy"
    upper_bound = "upper-bound"


Beliefs = Literal["arms", "linear", "logistic"]
_SHOWN = 3  # treatments of a group
_BANDIT = "--experiment --rule --epsilon --beliefs --feature --trust --floor --half-life --window"
_READ = {Kind.segment: "--by", Kind.few: "--feature --clusters", Kind.static: "--treatment", Kind.bandit: _BANDIT}


def publish(
    name: Annotated[str, typer.Argument(help="The policy, as the arms of experiments name it.", show_default=False)],
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    kind: Annotated[Kind | None, typer.Option(help="What it is; NAME says it when not given.")] = None,
    customers: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Whom to fit by: customer_id, and if known segment. Everybody without it."),
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="What was known then; now when not given.")] = None,
    by: Annotated[str | None, typer.Option(metavar="FEATURE", help="segment: the text feature that tells it.")] = None,
    clusters: Annotated[int | None, typer.Option(min=1, help="few: how many groups (5).", show_default=False)] = None,
    feature: Annotated[
        list[str] | None, typer.Option(help="few: what is alike in a group (all numbers); bandit: what it looks at.")
    ] = None,
    treatment: Annotated[
        str | None, typer.Option(metavar="OFFER@CHANNEL", help="static: this one, not the one worth most.")
    ] = None,
    rule: Annotated[Rules | None, typer.Option(help="bandit: how it chooses (thompson).", show_default=False)] = None,
    beliefs: Annotated[
        Beliefs | None, typer.Option(help="bandit: arms (the same for all), linear or logistic.", show_default=False)
    ] = None,
    trust: Annotated[
        float | None, typer.Option(metavar="N", help="bandit: the model's word counts as N outcomes per treatment.")
    ] = None,
    floor: Annotated[
        float | None, typer.Option(help="bandit: least chance of each action (0.01).", show_default=False)
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="bandit, greedy: share left to chance (0.1).", show_default=False)
    ] = None,
    half_life: Annotated[
        float | None, typer.Option(metavar="DAYS", help="bandit: after them an outcome counts half.")
    ] = None,
    window: Annotated[
        float | None, typer.Option(metavar="DAYS", help="bandit: days that count, as for `rapport learn`.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(metavar="KEY", help="bandit: whose goal it is to learn.")] = None,
    unpromoted: Annotated[
        bool, typer.Option("--unpromoted", help="Without a champion, fit by the newest model, though not promoted.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the clusters.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, and publish nothing.")] = False,
    json: JsonFile = None,
) -> None:
    """Publish the policy of an arm: fit it on the customers, tell what it would do, and put it into the ledger.

    segment, few and static take the contacts that the model in force finds worth most; a bandit starts from the
    goal's level and learns by `rapport learn`. nothing, random and one_to_one need no publishing.

    Example: rapport publish segment --by age_band --project shop
    """
    from rapport.commands.score import moment_of
    from rapport.project import load_project
    from rapport.trials.publishing import publish as put
    from rapport.trials.publishing import valued, would_do

    chosen = _kind(name, kind)
    given = {
        "--by": by,
        "--clusters": clusters,
        "--feature": feature or None,
        "--treatment": treatment,
        "--rule": rule,
        "--beliefs": beliefs,
        "--trust": trust,
        "--floor": floor,
        "--epsilon": epsilon,
        "--half-life": half_life,
        "--window": window,
        "--experiment": experiment,
    }
    _check_options(chosen, given)
    opened = load_project(project)
    with step("features of every customer, and what each treatment is worth for them"):
        found = valued(opened, customers, at=moment_of(at), unpromoted=unpromoted)
    with step(f"the policy {name}"):
        policy = _policy(opened, name, chosen, found, given, seed=seed)
        groups = would_do(policy, found)
        done = put(opened, name, policy, dry_run=dry_run)
    _tell(name, groups, found, done, dry_run=dry_run)
    write_json(json, _payload(name, chosen, groups, found, done, dry_run=dry_run))


def _kind(name: str, kind: Kind | None) -> Kind:
    from features.errors import InputError, listed

    if kind is None and name not in list(Kind):
        raise InputError(
            f"what policy {name!r} is to be is open",
            got="a name of your own without --kind",
            do=f"pass --kind: {listed(list(Kind))}",
        )
    return kind or Kind(name)


def _check_options(kind: Kind, given: dict[str, Any]) -> None:
    """Raise for an option that this kind of policy would not read."""
    from features.errors import InputError, listed

    read = _READ.get(kind, "").split()
    for option, value in given.items():
        if value is not None and option not in read:
            options = listed(read) if read else "none of its own"
            raise InputError(
                f"{option} says nothing about a policy of kind {kind}",
                got=f"{option} {value}",
                do=f"leave it out; {kind} reads {options}",
            )


def _policy(project: Project, name: str, kind: Kind, found: Valued, given: dict[str, Any], *, seed: int) -> AnyPolicy:
    from rapport.trials.publishing import few_policy, segment_policy, static_policy
    from serving.trial import standing_policies

    if kind is Kind.segment:
        return segment_policy(found, by=given["--by"])
    if kind is Kind.few:
        return few_policy(found, names=given["--feature"] or (), clusters=given["--clusters"] or 5, seed=seed)
    if kind is Kind.static:
        return static_policy(found, treatment=given["--treatment"])
    if kind is Kind.bandit:
        return _bandit(project, name, found, given)
    return standing_policies(project.catalogue)[kind]


def _bandit(project: Project, name: str, found: Valued, given: dict[str, Any]) -> AnyPolicy:
    from rapport.trials.openings import Opening, bandit_policy, experiment_of, level_of

    opening = Opening(
        beliefs=given["--beliefs"] or "arms",
        rule=_rule(given["--rule"] or Rules.thompson, epsilon=given["--epsilon"]),
        names=tuple(given["--feature"] or ()),
        trust=given["--trust"],
        floor=0.01 if given["--floor"] is None else given["--floor"],
        half_life_days=given["--half-life"],
    )
    design = experiment_of(project, name, key=given["--experiment"])
    return bandit_policy(found, opening, level=level_of(project, design, window_days=given["--window"]))


def _rule(rule: Rules, *, epsilon: float | None) -> Rule:
    from experiments.policies import Greedy, Thompson, TopTwo, UpperBound
    from features.errors import InputError

    if epsilon is not None and rule is not Rules.greedy:
        raise InputError("--epsilon belongs to a greedy rule", got=f"--rule {rule}", do="pass --rule greedy")
    rules: dict[Rules, Rule] = {
        Rules.thompson: Thompson(),
        Rules.top_two: TopTwo(),
        Rules.greedy: Greedy(epsilon=0.1 if epsilon is None else epsilon),
        Rules.upper_bound: UpperBound(),
    }
    return rules[rule]


def _tell(name: str, groups: tuple[Group, ...], found: Valued, done: Published, *, dry_run: bool) -> None:
    from rapport.trials.openings import remark
    from rapport.trials.publishing import alike

    asked, count = sum(group.customers for group in groups), found.table.num_rows
    print_table(
        f"what {name} would do",
        ("whom", "customers", "contact", "share"),
        [row for group in groups for row in _rows(group)],
        note=("" if asked == count else f"by the chances that it gives to {asked:,} of {count:,} customers; ")
        + "as if all had said yes and no limit were reached, which each decision asks",
    )
    if found.note:
        say(f"{found.note[0].upper()}{found.note[1:]}.", style="yellow")
    if alike(done.policy):
        say(
            "The model finds the same contact best for every group: this arm would be static by another name.",
            style="yellow",
        )
    if cost := remark(done.policy, actions=found.rules.actions):
        say(cost)
    verb = "would be" if dry_run else "is"
    if done.changed:
        say(f"Version {done.version} {verb} in force under {name!r}.", style="bold")
    else:
        say(f"Version {done.version} is in force under {name!r} already; nothing changes.", style="bold")
    for use in done.uses:
        say(use.sentence(done.version), style="yellow" if use.replaces(done.version) else "")
    if not done.uses:
        say(f'No experiment has an arm with policy = "{name}"; add one to experiments/*.toml.', style="yellow")
    if dry_run:
        say("Nothing was published.", style="dim")


def _rows(group: Group) -> list[tuple[str, ...]]:
    """The contacts that most of a group would get, and the others together."""
    most, others = list(group.shares.items())[:_SHOWN], list(group.shares.values())[_SHOWN:]
    told = [*most, *([(f"{len(others)} others", sum(others))] if others else [])]
    whom = [(group.name, f"{group.customers:,}"), *[("", "")] * (len(told) - 1)]
    return [(*each, action, f"{share:.0%}") for each, (action, share) in zip(whom, told, strict=True)]


def _payload(
    name: str, kind: Kind, groups: tuple[Group, ...], found: Valued, done: Published, *, dry_run: bool
) -> dict[str, Any]:
    return {
        "policy": name,
        "kind": kind.value,
        "version": done.version,
        "published": done.changed and not dry_run,
        "model": found.model,
        "at": found.at.isoformat(),
        "groups": [{"group": each.name, "customers": each.customers, "shares": dict(each.shares)} for each in groups],
        "arms": [
            {"experiment": use.experiment, "arm": use.arm, "units": use.units, "version_before": use.before or None}
            for use in done.uses
        ],
    }
