"""``rapport analyze``: did an arm beat the control, how sure are we, and may the numbers be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.commands.pairs import pairs
from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.analysis import Findings, Look, Rule
    from experiments.results import MetricRow

_MOST_ROWS = 60
_SHOWN_LOOKS = 12
_STATUS = {
    "green": ("as planned", "green"),
    "yellow": ("doubtful: look for missing units", "yellow"),
    "red": ("not as planned: units are missing or in the wrong arm", "red"),
}
_FIT = {
    "green": ("fit", "green"),
    "yellow": ("hardly fit", "yellow"),
    "red": ("can't be drawn with", "red"),
}


def analyze(
    table: Annotated[Path, typer.Argument(help="CSV (also .gz) or Parquet: one row per unit.", show_default=False)],
    arm: Annotated[str, typer.Option(help="Column of the arm that each unit was assigned to.")],
    control: Annotated[str, typer.Option(help="The arm that the others are held against.")],
    metric: Annotated[
        list[str],
        typer.Option(metavar="COL|NUM/DEN", help="Column (0/1, count, money) or ratio; the first decides the verdict."),
    ],
    covariate: Annotated[list[str] | None, typer.Option(help="Column known before the start (CUPED).")] = None,
    cluster: Annotated[str | None, typer.Option(help="Column of the household.", show_default=False)] = None,
    segment: Annotated[list[str] | None, typer.Option(help="Column to compare within.")] = None,
    split: Annotated[
        list[str] | None, typer.Option(metavar="ARM=SHARE", help="Planned share [default: equal].")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Column of when a unit entered.", show_default=False)] = None,
    alpha: Annotated[float, typer.Option(help="1 - alpha is the level of the intervals.")] = 0.05,
    final: Annotated[
        bool,
        typer.Option("--final", help="This is the one look that was planned before the start, or a campaign's last."),
    ] = False,
    planned_units: Annotated[
        float | None, typer.Option(help="Units planned at a campaign's end, all arms.", show_default=False)
    ] = None,
    looked_at: Annotated[
        list[float] | None, typer.Option(metavar="UNITS", help="Units at each earlier look at that campaign.")
    ] = None,
    elapsed: Annotated[
        list[float] | None,
        typer.Option(metavar="SHARE", help="Instead of planned units: share of the planned time, each look and this."),
    ] = None,
    spending: Annotated[
        str, typer.Option(help="How a campaign's error is spread: obrien_fleming (late) or pocock (evenly).")
    ] = "obrien_fleming",
    worth: Annotated[float, typer.Option(help="Smallest difference of the first metric that is worth having.")] = 0.0,
    lower_is_better: Annotated[
        list[str] | None, typer.Option(metavar="METRIC", help="Metric of which less is good.")
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="METRIC=AMOUNT", help="Largest rise of a metric that is allowed.")
    ] = None,
    expected: Annotated[int, typer.Option(help="Units at which the interval for any look is narrowest.")] = 5000,
    probabilities: Annotated[
        str, typer.Option(metavar="PREFIX", help="A bandit chose: what columns of its chances begin with, as p_.")
    ] = "",
    json: JsonFile = None,
) -> None:
    """Did an arm beat the control, how sure are we, and may the numbers be trusted.

    Intervals hold at any look. With --planned-units or --elapsed they are those of a campaign with an end, with --final
    those of a single planned look. --json holds all kinds.

    Example: rapport analyze hillstrom.csv.gz --arm segment --control "No E-Mail" --metric visit --metric spend
    --segment channel
    """
    with step(f"analysing {table.name}"):
        from experiments.adaptive import analyze_bandit
        from experiments.analysis import analyze as analyze_split
        from features.errors import InputError
        from features.tables import read_table

        if probabilities and (planned_units or elapsed):
            raise InputError(
                "a bandit's log has no plan of looks",
                got="--probabilities with --planned-units or --elapsed",
                do="leave the plan out: its intervals hold at any look",
            )
        examine = (
            partial(analyze_bandit, probabilities=probabilities)
            if probabilities
            else partial(
                analyze_split,
                planned_units=planned_units,
                looked_at=looked_at or (),
                elapsed=elapsed or (),
                spending=spending,
            )
        )
        found = examine(
            read_table(table),
            arm=arm,
            control=control,
            metrics=metric,
            covariates=covariate or (),
            cluster=cluster,
            segments=segment or (),
            planned=pairs(split, option="--split ARM=SHARE", example="Mens E-Mail=0.5"),
            time=time,
            alpha=alpha,
            final=final,
            worth=worth,
            lower_is_better=lower_is_better or (),
            limits=pairs(limit, option="--limit METRIC=AMOUNT", example="opt_outs=0.002"),
            expected=expected,
        )
    write_json(json, found.to_json())
    _show(found, bandit=bool(probabilities))


def _show(found: Findings, *, bandit: bool) -> None:
    say(found.verdict.sentence, style="bold")
    say("")
    words, colour = (_FIT if bandit else _STATUS)[found.srm.status]
    told = f"The actions {words} the logged chances" if bandit else f"The split is {words}"
    say(f"{told} (p = {_p(found.srm.p_value)}).", style=colour)
    total = sum(each.n for each in found.arms)
    print_table(
        "units in each arm",
        ("arm", "units", "share", "mean chance" if bandit else "planned"),
        [(each.arm, f"{each.n:,}", f"{each.n / total:.2%}", f"{each.planned_share:.2%}") for each in found.arms],
    )
    surely = _adjusted(found.metrics, found.rule)
    for metric in dict.fromkeys(row.metric for row in found.metrics):
        rows = [(row, p) for row, p in zip(found.metrics, surely, strict=True) if row.metric == metric]
        say("")
        print_table(*_headed(metric, found.rule, "arm", ("relative", "p")), _metric_rows(rows, found.rule))
    _show_segments(found)
    _show_looks(found)
    say("")
    say(_method(found.rule), style="dim")
    for note in found.notes:
        say(note, style="dim")


def _adjusted(rows: Sequence[MetricRow], rule: Rule) -> list[float]:
    """The p-values of the kind that decides, adjusted over all the rows."""
    from experiments.analysis.statistics import benjamini_hochberg

    return benjamini_hochberg([row.p(rule.kind) for row in rows])


def _headed(metric: str, rule: Rule, first: str, last: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    kind = "share of units" if metric in rule.rates else "ratio" if "/" in metric else "per unit"
    level = "rate" if metric in rule.rates else "mean"
    points = " in points" if metric in rule.rates else ""
    return f"{metric}, {kind}", (first, "units", level, f"difference{points} ({rule.confidence})", *last)


def _cells(row: MetricRow, rule: Rule) -> tuple[str, ...]:
    return f"{row.n_arm:,}", _mean(row, row.arm_mean, rule), rule.difference(row)


def _metric_rows(rows: Sequence[tuple[MetricRow, float]], rule: Rule) -> Iterator[tuple[str, ...]]:
    control = rows[0][0]
    yield control.control, f"{control.n_control:,}", _mean(control, control.control_mean, rule), "", "", ""
    for row, p in rows:
        relative = "" if row.relative is None or row.relative != row.relative else f"{row.relative:+.1%}"
        yield row.arm, *_cells(row, rule), relative, _p(p)


def _show_segments(found: Findings) -> None:
    surely = _adjusted(found.segments, found.rule)
    tables: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for row, p in zip(found.segments, surely, strict=True):
        cells = (f"{row.value}: {row.arm}", *_cells(row, found.rule), _p(p))
        tables.setdefault((row.metric, row.segment), []).append(cells)
    for (metric, segment), rows in tables.items():
        title, columns = _headed(metric, found.rule, segment, ("p",))
        more = len(rows) - _MOST_ROWS
        say("")
        print_table(
            f"{title}, by {segment}",
            columns,
            rows[:_MOST_ROWS],
            note=f"{more} more rows in the JSON (--json FILE)" if more > 0 else "",
        )


def _show_looks(found: Findings) -> None:
    """The first metric as it grew; all the looks and metrics are in the JSON."""
    rows = {row.arm: row for row in found.metrics if row.metric == found.metrics[0].metric}
    for arm, row in list(rows.items())[:5]:
        grown = [look for look in found.looks if look.metric == row.metric and look.arm == arm]
        if not grown:
            return
        every = -(-len(grown) // _SHOWN_LOOKS)
        points = " in points" * (row.metric in found.rule.rates)
        # The band holds at any look: beside another kind of interval it would be a second one.
        band = found.kind == "anytime"
        say("")
        print_table(
            f"{row.metric} of {arm} over time" + ", any look" * band,
            ("units that entered until", f"difference{points}", *(("low", "high") if band else ())),
            [
                (look.until, *(_amount(row, each, found.rule) for each in _drawn(look, band=band)))
                for look in grown[::-1][::every][::-1]
            ],
        )


def _drawn(look: Look, *, band: bool) -> tuple[float, ...]:
    return (look.difference, look.anytime_ci_low, look.anytime_ci_high) if band else (look.difference,)


def _mean(row: MetricRow, value: float, rule: Rule) -> str:
    return rule.mean(row, value) if value == value else "none"


def _amount(row: MetricRow, value: float, rule: Rule) -> str:
    return rule.amount(row, value) if value == value else "not known"


def _method(rule: Rule) -> str:
    if rule.kind == "fixed":
        return "Each interval holds for this one look, planned before the start."
    single = f"A roll-out takes the p of a single look below {rule.alpha:g} too."
    if rule.kind == "group_sequential":
        end = " This is the last." if rule.last else ""
        return f"Each interval and p holds over all looks of the campaign (group-sequential).{end} {single}"
    return (
        f"Each interval and p holds at every look, however often. {single} --planned-units N shows the narrower "
        "intervals of a campaign with an end, --final those of one planned look; --json FILE writes all."
    )


def _p(value: float) -> str:
    if value != value:
        return ""
    return "<0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"
