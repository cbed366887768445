"""``rapport gains``: which customers gain from a contact, and whether they differ at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.commands.pairs import pairs
from rapport.commands.roles import each_its_own
from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.heterogeneity import ArmGains, Gains, Trait


def gains(
    table: Annotated[Path, typer.Argument(help="CSV (also .gz) or Parquet: one row per unit.", show_default=False)],
    arm: Annotated[str, typer.Option(help="Column of the contact that each unit got by chance.")],
    control: Annotated[str, typer.Option(help="The arm that the others are held against.")],
    outcome: Annotated[str, typer.Option(help="Column of what came of it: 0/1, a count or money.")],
    feature: Annotated[
        list[str] | None, typer.Option(help="Column known before the contact (all that look it, when not given).")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of the household.", show_default=False)] = None,
    time: Annotated[str | None, typer.Option(help="Column of when each entered.", show_default=False)] = None,
    cost: Annotated[list[str] | None, typer.Option(metavar="ARM=AMOUNT", help="Cost of one contact.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Column not to use, such as another outcome.")] = None,
    alpha: Annotated[float, typer.Option(help="Chance to find a difference where all gain alike.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds.")] = 1,
    json: JsonFile = None,
) -> None:
    """Find out which customers gain from a contact, from any table in which chance decided who got what.

    Says whether there is evidence that customers gain differently, what each fifth gains (in an order by models that
    never saw them), and which known columns go with it. Where there is no evidence, it says so.

    Example: rapport gains hillstrom.csv.gz --arm segment --control "No E-Mail" --outcome visit --exclude conversion
    --exclude spend
    """
    each_its_own({"--arm": arm, "--outcome": outcome, "--cluster": cluster, "--time": time})
    named = {f"--feature {column}": column for column in feature or ()}
    each_its_own(named | {f"--exclude {column}": column for column in exclude or ()})
    with step("finding who gains"):
        from experiments.heterogeneity import gains as find
        from features.tables import read_table

        found = find(
            read_table(table, text=[arm]),
            arm=arm,
            control=control,
            outcome=outcome,
            features=feature or None,
            cluster=cluster,
            time=time,
            costs=pairs(cost, option="--cost ARM=AMOUNT", example="Mens E-Mail=0.1"),
            exclude=exclude or (),
            seed=seed,
            alpha=alpha,
        )
    write_json(json, found.to_json())
    if not found.trusted:
        say(found.arms[0].sentences[0], style="bold")
        return
    for place, each in enumerate(found.arms):
        if place:
            say("")
        _show(each, found)
    say("")
    for note in found.notes:
        say(note, style="dim")


def _show(each: ArmGains, found: Gains) -> None:
    from experiments.wording import amount_words

    say(each.sentences[0], style="bold")
    for sentence in each.sentences[1:]:
        say(sentence)
    if not each.differ:
        return
    say("")
    amount = amount_words(found.scale)
    rows = [(row.group, f"{row.n:,}", amount(row.effect, row.ci_low, row.ci_high)) for row in each.fifths]
    print_table(f"fifths of customers, {found.unit}", ("expected to", "customers", "gain"), rows)
    say("")
    print_table("who is in the first and the last fifth", ("column", "first", "last", "all"), map(_trait, each.traits))


def _trait(trait: Trait) -> tuple[str, ...]:
    values = (trait.top, trait.bottom, trait.everybody)
    if trait.level is not None:
        return f"{trait.column} = {trait.level}", *(f"{value:.0%}" for value in values)
    return f"{trait.column}, mean", *(f"{value:,.4g}" for value in values)
