"""``rapport evaluate``: the value of a policy that never ran, from logged decisions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from experiments.results import Evaluation

_SAID = {
    "ips": "inverse probability",
    "snips": "inverse probability, self-normalized",
    "dm": "direct (models alone)",
    "dr": "doubly robust",
    "sndr": "doubly robust, self-normalized",
    "switch_dr": "doubly robust, switched",
}


def evaluate(
    log: Annotated[Path, typer.Argument(help="CSV (also .gz) or Parquet: one row per decision.", show_default=False)],
    action: Annotated[str, typer.Option(help="Column of the action that was taken.")],
    reward: Annotated[str, typer.Option(help="Column of what it earned.")],
    probability: Annotated[str, typer.Option(help="Column of the chance with which it was chosen.")],
    policy: Annotated[
        Path, typer.Option(help="Table with a probability per action, one column each; one row, or one per decision.")
    ],
    key: Annotated[str | None, typer.Option(help="Column that joins both tables (else: same order).")] = None,
    feature: Annotated[list[str] | None, typer.Option(help="Column for the reward models; all if none given.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Column not to use, such as another outcome.")] = None,
    cluster: Annotated[str | None, typer.Option(help="Column whose rows belong together.", show_default=False)] = None,
    alpha: Annotated[float, typer.Option(help="1 - alpha is the level of the intervals.")] = 0.05,
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 1,
    json: JsonFile = None,
) -> None:
    """The value of a policy that never ran, from logged decisions; refuses where the log can't tell.

    Example: rapport evaluate log.csv --action item_id --reward click --probability propensity_score --policy new.csv
    """
    with step("reading the log and the policy"):
        from experiments.offpolicy import evaluate as value_of
        from features.tables import read_table

        decisions, candidate = read_table(log), read_table(policy)
    with step(f"valuing the policy on {decisions.num_rows:,} decisions"):
        result = value_of(
            decisions,
            action=action,
            reward=reward,
            probability=probability,
            policy=candidate,
            key=key,
            features=feature or None,
            exclude=exclude or (),
            cluster=cluster,
            seed=seed,
            alpha=alpha,
        )
    write_json(json, result.to_json())
    _show(result, reward=reward, rows=decisions.num_rows, alpha=alpha)


def _show(result: Evaluation, *, reward: str, rows: int, alpha: float) -> None:
    if result.refused is not None:
        say(f"The log can't tell. {result.refused}", style="bold")
    else:
        best = next(each for each in result.estimates if each.estimator == "dr")
        said = f"{best.value:.4g} ({best.ci_low:.4g} to {best.ci_high:.4g})"
        say(f"The policy would earn {said} {reward} per decision, by the doubly robust estimate.", style="bold")
        say("")
        table = [
            (_SAID[each.estimator], f"{each.value:.4g}", f"{each.ci_low:.4g}", f"{each.ci_high:.4g}")
            for each in result.estimates
        ]
        print_table(f"{reward} per decision", ("estimator", "value", f"{1 - alpha:.0%} from", "to"), table)
    found = result.diagnostics
    say("")
    say(
        f"{rows:,} decisions, worth {found.effective_sample_size:,.0f} of the policy's own; "
        f"{found.unsupported_share:.1%} of what it does was never tried; largest weight {found.max_weight:,.1f}.",
        style="dim",
    )
    for note in result.notes:
        say(note, style="dim")
