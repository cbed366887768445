"""``rapport ladder``: what each step from contacting nobody to one-to-one is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.commands.pairs import pairs
from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    import pyarrow as pa

    from experiments.results import Ladder


def ladder(
    table: Annotated[Path, typer.Argument(help="CSV (also .gz) or Parquet: one row per unit.", show_default=False)],
    arm: Annotated[str, typer.Option(help="Column of the contact that each unit got by chance.")],
    control: Annotated[str, typer.Option(help="The arm that was not contacted.")],
    outcome: Annotated[str, typer.Option(help="Column of what came of it: 0/1, a count or money.")],
    feature: Annotated[
        list[str] | None, typer.Option(help="Column known before the contact (all that look it, when not given).")
    ] = None,
    segment: Annotated[
        list[str] | None, typer.Option(help="Column to segment by (the best one, when not given).")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of the household.", show_default=False)] = None,
    time: Annotated[str | None, typer.Option(help="Column of when each entered.", show_default=False)] = None,
    contact: Annotated[
        list[str] | None, typer.Option(metavar="ARM", help="Arm that is a contact; all but the control if none.")
    ] = None,
    cost: Annotated[list[str] | None, typer.Option(metavar="ARM=AMOUNT", help="Cost of one contact.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Column not to use, such as another outcome.")] = None,
    alpha: Annotated[float, typer.Option(help="1 - alpha is the level of the intervals.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the folds.")] = 1,
    json: JsonFile = None,
) -> None:
    """What each step from contacting nobody to one-to-one is worth, from a randomized table, and where it stops paying.

    Example: rapport ladder hillstrom.csv.gz --arm segment --control "No E-Mail" --outcome visit --exclude spend
    """
    with step("reading the table and loading the models"):
        from experiments.ladder import ladder as climb
        from features.tables import read_table

        read = _of_contacts(read_table(table, text=[arm]), arm=arm, control=control, contacts=contact or [])
    with step(f"valuing six rungs on {read.num_rows:,} rows, out of fold"):
        result = climb(
            read,
            arm=arm,
            control=control,
            outcome=outcome,
            features=feature or None,
            segments=segment or (),
            cluster=cluster,
            time=time,
            costs=pairs(cost, option="--cost ARM=AMOUNT", example="Mens E-Mail=0.1"),
            exclude=exclude or (),
            seed=seed,
            alpha=alpha,
        )
    write_json(json, result.to_json())
    _show(result, alpha=alpha)


def _of_contacts(read: pa.Table, *, arm: str, control: str, contacts: list[str]) -> pa.Table:
    """The rows of the control and of the arms that are contacts: an arm of a policy is nothing to give a customer."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from features.errors import unknown
    from features.tables import require_column

    if not contacts:
        return read
    require_column(read, arm)
    names = pc.cast(read[arm], pa.string())
    there = {each for each in names.unique().to_pylist() if each is not None}
    for each in contacts:
        if each not in there:
            raise unknown("arm", each, there)
    return read.filter(pc.is_in(names, pa.array([control, *contacts], pa.string())))


def _show(result: Ladder, *, alpha: float) -> None:
    from experiments.estimation import Interval
    from experiments.wording import Wording

    say(result.sentence, style="bold")
    say("")
    wording = Wording.of(result.rungs, unit=result.unit, scale=result.scale)
    rows = []
    for rung in result.rungs:
        half = wording.amount((rung.ci_high - rung.ci_low) / 2)
        name = f"{rung.rung} *" if result.trusted and rung.rung == result.recommended else rung.rung
        gain = ""
        if rung.gain is not None and rung.gain_ci_low is not None and rung.gain_ci_high is not None:
            gain = wording.around(Interval(value=rung.gain, low=rung.gain_ci_low, high=rung.gain_ci_high))
        rows.append((name, f"{wording.amount(rung.value)} ± {half}", gain))
    print_table(wording.unit, ("rung", "value", "gain over the rung before"), rows)
    say("")
    print_table("who gets what", ("arm", *(rung.rung for rung in result.rungs)), _shares(result))
    say("")
    star = " * where personalization stops paying." if result.trusted else ""
    say(f"Intervals at {1 - alpha:.0%}.{star}", style="dim")
    for note in result.notes:
        say(note, style="dim")


def _shares(result: Ladder) -> list[tuple[str, ...]]:
    arms = sorted(result.rungs[0].shares, key=lambda arm: -max(rung.shares[arm] for rung in result.rungs[2:]))
    return [(arm, *(_percent(rung.shares[arm]) for rung in result.rungs)) for arm in arms]


def _percent(share: float) -> str:
    return "" if not share else "<1%" if share < 0.005 else f"{share:.0%}"
