"""``rapport demo``: the whole loop on the built-in market."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.terminal import JsonFile, console, print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.report import Report
    from rapport.demo.story import Told


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the demo's project.")] = Path("rapport-demo"),
    customers: Annotated[int, typer.Option(min=2_000, max=1_000_000, help="How many customers.")] = 50_000,
    weeks: Annotated[int, typer.Option(min=2, max=26, help="Weeks of contacts.")] = 8,
    trials: Annotated[int, typer.Option(min=0, max=100, help="Optuna trials of the response model.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the market and of every draw.")] = 1,
    json: JsonFile = None,
) -> None:
    """Run the whole loop, from simulated customers to a lift report, and hold it against the known truth.

    Example: rapport demo --customers 20000 --out /tmp/demo
    """
    from experiments.report import decision, headline
    from rapport.demo.story import tell
    from serving.assembly import RESPONSE

    told = tell(
        out,
        customers=customers,
        weeks=weeks,
        seed=seed,
        trials=trials,
        step=step,
        progress=lambda week: say(f"  week {week} of {weeks} decided and answered", style="dim"),
    )
    console.print()
    said = headline(told.report)
    say(said.text, style="bold")
    say(said.below)
    for made in told.registered:
        word = "champion" if made.promotion.promoted else "NOT promoted, though the demo goes on with it"
        say(f"{made.name} model, version {made.version}: {word} ({made.promotion.reason})", style="dim")
    _show_truth(told)
    if not all(made.promotion.promoted for made in told.registered if made.name == RESPONSE):
        say(
            "As the response model was not promoted, `rapport score` and `rapport serve` go on without it: ranking "
            "arms fall back on the static contact, and decisions say so (not promoted). A larger demo's often is; "
            "`rapport score --unpromoted` takes this one.",
            style="yellow",
        )
    _show_next(told, out)
    verdict = decision(told.report).code
    payload = {"simulated": True, "headline": said.text, "verdict": verdict, "report": str(told.page)}
    kept = ("arm", "metric", "estimate", "ci_low", "ci_high", "truth", "held")
    truths = [{name: getattr(row, name) for name in kept} for row in told.report.truths]
    write_json(json, {**payload, "truths": truths})


def _show_truth(told: Told) -> None:
    rows = [
        [
            row.arm,
            f"{row.estimate / 100:+.2f}",
            f"{row.ci_low / 100:+.2f} to {row.ci_high / 100:+.2f}",
            f"{row.truth / 100:+.2f}",
            "yes" if row.held else "NO",
        ]
        for row in told.report.truths
    ]
    held = sum(row.held for row in told.report.truths)
    print_table(
        f"Profit per customer over {told.report.experiment.control}, {told.report.currency} (simulated customers)",
        ["arm", "estimated", "95% interval", "true", "inside"],
        rows,
        note=f"{held} of {len(rows)} intervals hold the truth, which only a simulation knows; 95% of them should.",
    )


def _show_next(told: Told, folder: Path) -> None:
    say("")
    rapport = _runs("rapport")
    for what, command in (
        ("lift report", str(told.page)),
        ("MLflow", f"{_runs('mlflow')} ui --workers 1 --backend-store-uri {told.project.tracking.uri}"),
        ("console", f"{rapport} serve --project {folder}    then open http://127.0.0.1:8000/console"),
        ("why a contact", f"{rapport} explain {told.example} --project {folder}"),
        ("its numbers", f"{rapport} {_analysis(told.report, table=folder / 'outcomes.parquet')}"),
        ("your own", f"{rapport} init shop"),
    ):
        console.print(f"[bold]{what:<14}[/bold]", end="")
        console.print(command, markup=False, soft_wrap=True)


def _analysis(report: Report, *, table: Path) -> str:
    """The command that finds the report's numbers in its table."""
    from rapport.demo.campaign import COVARIATE

    design = report.experiment
    goal = design.goals[0].metric
    shares = " ".join(f"--split {arm}={share:g}" for arm, share in design.shares.items())
    return (
        f"analyze {table} --arm arm --control {design.control} --metric {goal} --covariate {COVARIATE} "
        f"--money {goal} --currency cents --final {shares}"
    )


def _runs(name: str) -> str:
    """How ``name`` of this environment is run from here: by its name where that is on the path, else by its place."""
    own = Path(sys.executable).with_name(name)
    if shutil.which(name) == str(own):
        return name
    return str(own.relative_to(Path.cwd())) if own.is_relative_to(Path.cwd()) else str(own)
