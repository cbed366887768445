"""``rapport plan``: how many units an experiment needs, how long it runs, or how small a lift it can tell."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rapport.commands.unfit import refuse
from rapport.terminal import JsonFile, print_table, say, write_json

if TYPE_CHECKING:
    from experiments.analysis.planning import Design


def _number(text: str) -> float:
    """A number; one with a percent sign is a share."""
    written = str(text).strip()
    try:
        return float(written[:-1]) / 100 if written.endswith("%") else float(written)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number; write 0.05 or 5%") from None


def plan(
    table: Annotated[
        Path | None, typer.Argument(help="Table that shows the metric as it is.", show_default=False)
    ] = None,
    metric: Annotated[str | None, typer.Option(metavar="COL|NUM/DEN", help="The metric in TABLE.")] = None,
    covariate: Annotated[list[str] | None, typer.Option(help="Column of TABLE known before the start (CUPED).")] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of TABLE with the household.")] = None,
    baseline: Annotated[
        float | None,
        typer.Option(parser=_number, metavar="NUMBER", help="The control's rate (0.05 or 5%) or, with --std, mean."),
    ] = None,
    std: Annotated[float | None, typer.Option(help="Standard deviation of a metric that is a mean.")] = None,
    rho: Annotated[float, typer.Option(help="Correlation of the metric with a covariate (CUPED).")] = 0.0,
    design_effect: Annotated[float, typer.Option(help="By how much clusters inflate the variance.")] = 1.0,
    mde: Annotated[
        float | None, typer.Option(help="Difference to find, in the metric's unit (0.01 = 1 point).")
    ] = None,
    lift: Annotated[
        float | None,
        typer.Option(
            parser=_number, metavar="NUMBER", help="Difference to find, relative to the baseline (0.1 or 10%)."
        ),
    ] = None,
    units: Annotated[
        int | None, typer.Option(help="Units at hand in EACH arm (with --experiment: in all): what lift can be told?")
    ] = None,
    daily: Annotated[float | None, typer.Option(help="Units a day, all arms together.")] = None,
    days: Annotated[
        float | None, typer.Option(help="Days at hand, with --daily: what lift can be told, or do they suffice?")
    ] = None,
    arms: Annotated[int, typer.Option(help="Arms with the control.")] = 2,
    power: Annotated[float, typer.Option(help="Chance to see the difference when it is there.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="Chance of a false alarm, over all arms.")] = 0.05,
    looks: Annotated[int, typer.Option(help="Looks of a campaign until its end, evenly spread.")] = 10,
    experiment: Annotated[
        str | None, typer.Option(metavar="KEY", help="Plan a design of the project by its own history.")
    ] = None,
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder, with --experiment.")] = Path(),
    json: JsonFile = None,
) -> None:
    """How many units an experiment needs, how long it runs, or how small a lift it can tell.

    With --experiment, everything is measured in the project's history: the goals as they are without it, what the same
    goals before tell of them, how alike households are, and how many customers come by a day.

    Example: rapport plan --baseline 0.05 --lift 0.1 --daily 2000

    Example: rapport plan hillstrom.csv.gz --metric spend --covariate history --units 20000

    Example: rapport plan --project shop --experiment always-on
    """
    from experiments.analysis.planning import Design
    from rapport.trials.plans import LOOKS, worth_telling

    _check_at_hand({"--units": units, "--daily": daily, "--days": days})
    Design(baseline=0.5, power=power, alpha=alpha, looks=looks)  # refuses what is out of range before anything is read
    if experiment is not None:
        from rapport.commands.plan_experiment import plan_experiment

        measured_there = {
            "TABLE": table,
            "--metric": metric,
            "--covariate": covariate,
            "--cluster": cluster,
            "--baseline": baseline,
            "--std": std,
            "--rho": rho != 0,
            "--design-effect": design_effect != 1,
            "--mde": mde,
            "--lift": lift,
            "--days": days,
            "--arms": arms != 2,
            "--alpha": alpha != 0.05,
        }
        refuse(measured_there, beside="--experiment", why="the design says it, or the history shows it")
        plan_experiment(experiment, project=project, units=units, daily=daily, power=power, looks=looks, json=json)
        return
    known = _known(table, metric, covariate or [], cluster, baseline, std, rho, design_effect)
    designs = [
        Design(**{**known, "variance_kept": kept}, arms=arms, power=power, alpha=alpha, looks=looks, interval=kind)
        for kept in worth_telling(known["variance_kept"])
        for kind in LOOKS
    ]
    wanted = _wanted(designs[0], mde, lift)
    available = _available(units, daily, days, arms)
    _check(wanted, available)
    rows = list(
        _lifts(designs, available or 0.0, days=days) if wanted is None else _sizes(designs, wanted, daily, available)
    )
    write_json(json, {"baseline": known["baseline"], "std": known["std"], "plans": rows})
    if wanted is not None and available is not None:
        _show_enough(designs[0], rows[0], available=available, days=days)
    _show(designs[0], rows, wanted)


def _known(
    table: Path | None,
    metric: str | None,
    covariates: list[str],
    cluster: str | None,
    baseline: float | None,
    std: float | None,
    rho: float,
    design_effect: float,
) -> dict[str, Any]:
    """The metric as it is: measured in the table, or told in numbers."""
    from experiments.analysis.planning import measured
    from features.errors import InputError
    from features.tables import read_table

    if table is not None and metric is not None:
        found = measured(read_table(table), metric=metric, covariates=covariates, cluster=cluster)
        return {
            "baseline": found.baseline,
            "std": found.std,
            "variance_kept": found.variance_kept,
            "design_effect": found.design_effect,
        }
    if baseline is None or table is not None or metric is not None:
        raise InputError(
            "the metric as it is today isn't known",
            got="a table without --metric" if table else "a metric without a table" if metric else "no --baseline",
            do="pass TABLE with --metric, or --baseline (and --std for a mean)",
        )
    if not -1 < rho < 1:
        raise InputError("rho is out of range", got=str(rho), do="pass a correlation between -1 and 1")
    return {"baseline": baseline, "std": std, "variance_kept": 1 - rho**2, "design_effect": design_effect}


def _wanted(design: Design, mde: float | None, lift: float | None) -> float | None:
    from features.errors import InputError

    if mde is not None and lift is not None:
        raise InputError("the difference is given twice", got=f"--mde {mde:g} and --lift {lift:g}", do="pass one")
    if lift is not None and design.baseline == 0:
        raise InputError("nothing is a lift over 0", got=f"--lift {lift:g}", do="pass the difference itself as --mde")
    return mde if lift is None else lift * abs(design.baseline)


def _available(units: int | None, daily: float | None, days: float | None, arms: int) -> float | None:
    if units is not None:
        return units
    return daily * days / arms if daily is not None and days is not None else None


def _check_at_hand(given: Mapping[str, float | None]) -> None:
    from features.errors import InputError

    for option, value in given.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{option} is out of range", got=f"{value:g}", do="pass a number above 0")


def _check(wanted: float | None, available: float | None) -> None:
    from features.errors import InputError

    if wanted is None and available is None:
        raise InputError(
            "it isn't clear what to plan",
            got="neither a difference nor units",
            do="pass --lift or --mde for the size, or --units (or --daily with --days) for the lift that can be told",
        )


def _sizes(
    designs: list[Design], wanted: float, daily: float | None, available: float | None
) -> Iterator[dict[str, Any]]:
    from experiments.analysis.planning import days, power_of, sample_size

    for design in designs:
        units = sample_size(design, wanted)
        yield {
            **_facts(design),
            "difference": wanted,
            "lift": wanted / abs(design.baseline) if design.baseline else None,
            "units_per_arm": units,
            "units": units * design.arms,
            "days": days(units * design.arms, daily=daily) if daily is not None else None,
            "power_at_hand": None if available is None else power_of(design, wanted, units=available),
        }


def _lifts(designs: list[Design], available: float, *, days: float | None) -> Iterator[dict[str, Any]]:
    from experiments.analysis.planning import detectable

    for design in designs:
        difference = detectable(design, available)
        yield {
            **_facts(design),
            "difference": difference,
            "lift": difference / abs(design.baseline) if design.baseline else None,
            "units_per_arm": int(available),
            "units": int(available * design.arms),
            "days": None if days is None else math.ceil(days),
        }


def _show_enough(design: Design, row: dict[str, Any], *, available: float, days: float | None) -> None:
    """Whether what is at hand suffices for the difference, judged once at the end, and how sure it is to be seen."""
    at_hand = f"{available:,.0f} units in each arm" if days is None else f"{days:g} days"
    said = "suffice" if available >= row["units_per_arm"] else "do not suffice"
    say(f"{at_hand} {said}: {row['power_at_hand']:.0%} sure to see it, {design.power:.0%} are wanted.", style="bold")


def _facts(design: Design) -> dict[str, Any]:
    from rapport.trials.plans import LOOKS

    return {
        "looks": LOOKS[design.interval],
        "variance_kept": design.variance_kept,
        "design_effect": design.design_effect,
        "arms": design.arms,
        "power": design.power,
        "alpha": design.alpha,
        "expected_share": design.expected_share,
    }


def _show(design: Design, rows: list[dict[str, Any]], wanted: float | None) -> None:
    rate = design.std is None
    today = f"{design.baseline:.2%}" if rate else f"{design.baseline:,.4g} (standard deviation {design.std:,.3g})"
    first = rows[0]
    lift = _lift(first["lift"])
    change = f"{_difference(first['difference'], rate)}{f' ({lift})' if lift else ''}"
    if wanted is None:
        text = f"With {first['units_per_arm']:,} units in each of {design.arms} arms you can tell {change} from {today}"
    else:
        text = f"To tell {change} from {today} you need {first['units_per_arm']:,} units in each of {design.arms} arms"
    say(f"{text}, {design.power:.0%} sure to see it.", style="bold")
    say("")
    print_table(
        "plans, by when you may look",
        ("looks", "variance left", "units per arm", "all units", "difference", "lift", "days"),
        [
            (
                row["looks"],
                f"{row['variance_kept']:.1%}",
                f"{row['units_per_arm']:,}",
                f"{row['units']:,}",
                _difference(row["difference"], rate),
                _lift(row["lift"]),
                "" if row["days"] is None else f"{row['days']:,}",
            )
            for row in rows
        ],
    )
    say(
        f"Two-sided at {design.alpha:g} over all arms; design effect {design.design_effect:.3g}. "
        "Variance left is what covariates leave (CUPED). A campaign may be ended at any of its looks "
        f"({design.looks} until its end) and, where the difference is there, takes {_campaign_share(rows):.0%} of its "
        "units on average. To look at any time takes more units: pass all of them to analyze as --expected. Run whole "
        "weeks.",
        style="dim",
    )


def _campaign_share(rows: list[dict[str, Any]]) -> float:
    return next(float(row["expected_share"]) for row in rows if row["looks"] == "campaign")


def _difference(difference: float, rate: bool) -> str:
    if difference == float("inf"):
        return "none"
    return f"{100 * difference:+,.3g} points" if rate else f"{difference:+,.4g}"


def _lift(lift: float | None) -> str:
    return "" if lift is None or lift == float("inf") else f"{lift:+.1%}"
