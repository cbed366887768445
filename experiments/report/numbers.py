"""Every number of a report for machines: as JSON, and as a CSV with no cell that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from experiments.report.parts import Report
from experiments.report.sentences import decision
from experiments.report.words import tidy
from experiments.results import MetricRow, SegmentRow

_COLUMNS = (
    "part", "name", "arm", "against", "segment", "value", "as_of", "unit", "estimate", "ci_low", "ci_high",
    "arm_mean", "control_mean", "p_value", "adjusted_p_value", "n_arm", "n_control",
)  # fmt: skip
Cells = dict[str, object]


def numbers_csv(report: Report) -> str:
    """All numbers of ``report``, one a line; money in cents."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for cells in _lines(report):
        writer.writerow([_safe(cells.get(column, "")) for column in _COLUMNS])
    return out.getvalue()


def numbers_json(report: Report) -> dict[str, Any]:
    """All numbers of ``report`` as plain dictionaries and lists; what can't be computed is null; money in cents."""
    plain = msgspec.to_builtins(report)
    parts = (
        "look",
        "as_of",
        "currency",
        "analysis",
        "looks",
        "allocation",
        "actions",
        "ladder",
        "channels",
        "overlaps",
        "gains",
        "retention",
        "long_run",
        "refusals",
        "truths",
    )
    money = [{**each, "profit": row.profit} for each, row in zip(plain["money"], report.money, strict=True)]
    checks = msgspec.to_builtins(report.checks)
    told = decision(report)
    whole = {"experiment": report.experiment.key, "people": report.people, "health": checks, "money": money}
    whole["decision"] = {"code": told.code, "sentence": told.sentence}
    finite: dict[str, Any] = _finite(whole | {part: plain[part] for part in parts})
    return finite


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _lines(report: Report) -> Iterator[Cells]:
    for arm in report.analysis.arms:
        yield {"part": "arms", "name": "customers", "arm": arm.arm, "unit": "customers", "estimate": arm.n}
    yield from _rows("goals", report.analysis.metrics, report)
    yield from _rows("standards", report.standards, report)
    for row in report.analysis.segments:
        yield {**_row("segments", row, report), "segment": row.segment, "value": row.value}
    for point in report.looks:
        yield {
            "part": "looks", "name": point.metric, "arm": point.arm, "against": report.experiment.control,
            "as_of": point.as_of.isoformat(), "estimate": point.difference, "ci_low": point.ci_low,
            "ci_high": point.ci_high, "n_arm": point.n_arm, "n_control": point.n_control,
        }  # fmt: skip
    for money in report.money:
        for name in ("units", "revenue", "returned", "margin", "discount", "contact_cost", "profit"):
            yield {
                "part": "money",
                "name": name,
                "arm": money.arm,
                "unit": "cents",
                "estimate": getattr(money, name),
            } | ({"unit": "customers"} if name == "units" else {})
    for rung in report.ladder.rungs if report.ladder else ():
        low, high = rung.ci_low, rung.ci_high
        yield {"part": "ladder", "name": rung.rung, "estimate": rung.value, "ci_low": low, "ci_high": high}
    for each in report.channels:
        yield {
            "part": "channels", "name": each.channel, "unit": "cents per 1000 customers",
            "estimate": each.profit_per_1000, "ci_low": each.ci_low, "ci_high": each.ci_high,
        }  # fmt: skip
    yield from _lasting(report)
    for action in report.actions:
        yield {
            "part": "actions", "name": action.action, "arm": action.arm, "estimate": action.value,
            "unit": f"{'cents' if report.goal.money else report.goal.name} per decision", "ci_low": action.ci_low,
            "ci_high": action.ci_high, "n_arm": action.decisions,
        }  # fmt: skip
    for reason in report.refusals:
        yield {"part": "no contact", "name": reason.code, "unit": "decisions", "estimate": reason.count}


def _lasting(report: Report) -> Iterator[Cells]:
    """Who gains, what two channels bring together, who stays, and the holdout over periods."""
    money = "cents per customer" if report.goal.money else "per customer"
    sides = [side for each in report.gains.groups for side in (each.inside, each.outside)] if report.gains else []
    for group in (*(report.gains.fifths if report.gains else ()), *sides):
        yield {
            "part": "gains", "name": report.goal.name, "arm": report.experiment.headline_arm, "value": group.group,
            "against": report.experiment.control, "unit": money, "estimate": group.effect, "ci_low": group.ci_low,
            "ci_high": group.ci_high, "n_arm": group.n,
        }  # fmt: skip
    for pair in report.overlaps:
        yield {
            "part": "channels together", "name": f"{pair.first}, {pair.second}", "unit": "cents per 1000 customers",
            "estimate": pair.beyond_sum, "ci_low": pair.ci_low, "ci_high": pair.ci_high,
        }  # fmt: skip
    for stays in report.retention.arms if report.retention else ():
        for point in stays.curve:
            yield {
                "part": "retention", "name": "still there", "arm": stays.arm, "value": f"{point.time:g}",
                "unit": f"share after {report.retention.unit if report.retention else ''}", "estimate": point.share,
                "ci_low": point.ci_low, "ci_high": point.ci_high, "n_arm": point.at_risk,
            }  # fmt: skip
    for period in report.long_run.periods if report.long_run else ():
        yield {
            "part": "holdout", "name": "value so far", "value": period.period, "unit": "cents per customer",
            "estimate": period.total, "ci_low": period.total_ci_low, "ci_high": period.total_ci_high,
            "n_arm": period.n, "n_control": period.n_held,
        }  # fmt: skip


def _rows(part: str, rows: Iterable[MetricRow], report: Report) -> Iterator[Cells]:
    for row in rows:
        yield _row(part, row, report)


def _row(part: str, row: MetricRow | SegmentRow, report: Report) -> Cells:
    low, high = report.interval(row)
    money = any(each.money for each in report.experiment.measures if each.metric == row.metric)
    return {
        "part": part, "name": row.metric, "arm": row.arm, "against": row.control,
        "unit": "cents per customer" if money else "per customer", "estimate": row.difference, "ci_low": low,
        "ci_high": high, "arm_mean": row.arm_mean, "control_mean": row.control_mean, "p_value": row.p_value,
        "adjusted_p_value": row.adjusted_p_value, "n_arm": row.n_arm, "n_control": row.n_control,
    }  # fmt: skip


def _safe(cell: object) -> object:
    """A cell as it may stand in a spreadsheet: text that starts like a formula gets a quote in front."""
    if not isinstance(cell, str):
        return cell
    text = tidy(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
