"""The whole example: from the provider's files to campaigns ranked for each household, and what can't be concluded.

    python examples/completejourney/run.py DATA [PROJECT]

DATA is the folder of the Parquet files, PROJECT this folder or a copy of it, into which everything is written.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa

from experiments.analysis import analyze
from experiments.results import MetricRow
from features.sql import in_memory
from rapport.commands.ingest import ingest
from rapport.commands.score import score
from rapport.commands.train import offers, response
from rapport.project import Project, load_project
from rapport.terminal import print_table, say, step

MAILED, BOUGHT = "mailed.parquet", "bought.parquet"
SCORED_AT = "2018-01-01T05:00:00Z"  # the files end at midnight in New York
LARGEST = "campaign-18"


def main(data: Path, folder: Path) -> tuple[MetricRow, ...]:
    """Ingest, train, rank; then hold the households of the largest campaign against the others."""
    ingest(project=folder, data=data)
    with step("who was mailed, and what they bought"):
        write_tables(data, load_project(folder))
    response(project=folder, json=folder / "response.json")
    score(
        project=folder,
        at=SCORED_AT,
        customers=folder / MAILED,
        top=5,
        unpromoted=True,
        out=folder / "next-best.parquet",
    )
    offers(
        data=folder / BOUGHT,
        customer="household_id",
        item="category",
        time="transaction_timestamp",
        repeats=True,
        name="categories",
        mlruns=folder / "mlruns",
    )
    return before_and_after(load_project(folder))


def write_tables(data: Path, project: Project) -> None:
    """Write who is scored (the households that were ever mailed) and which categories they bought, as tables."""
    lines = "FROM read_parquet(?) LEFT JOIN read_parquet(?) USING (product_id)"
    with in_memory() as connection:
        connection.register("events", project.history.events())
        connection.sql("SELECT DISTINCT customer_id FROM events WHERE kind = 'contact' ORDER BY 1").write_parquet(
            str(project.root / MAILED)
        )
        connection.sql(
            f"SELECT household_id, transaction_timestamp, coalesce(product_category, 'UNKNOWN') AS category {lines} "
            "ORDER BY ALL",
            params=[str(data / f"{name}.parquet") for name in ("transactions_sample", "products")],
        ).write_parquet(str(project.root / BOUGHT))


def before_and_after(project: Project) -> tuple[MetricRow, ...]:
    """Spend of the households that the largest campaign was sent to, beside the others, before and after it began."""
    found = analyze(
        spend_around(project, campaign=LARGEST),
        arm="households",
        control="not mailed",
        metrics=("before", "after", "change"),
        final=True,
    )
    told = {"before": "4 weeks before", "after": "4 weeks after", "change": "after less before"}
    currency = project.settings.project.currency
    print_table(
        f"{LARGEST}: spend of a household in the till's sample ({currency})",
        ("", "not mailed", "mailed", "difference (95%)"),
        [
            (
                told[each.metric],
                f"{each.control_mean:.2f}",
                f"{each.arm_mean:.2f}",
                f"{each.difference:+.2f} ({each.ci_low:+.2f} to {each.ci_high:+.2f})",
            )
            for each in found.metrics
        ],
    )
    say("The mailed ones spent more before the campaign, by as much: who was chosen, not what was sent.", style="bold")
    return found.metrics


def spend_around(project: Project, *, campaign: str) -> pa.Table:
    """A row for each household that had bought before ``campaign``: mailed or not, spend before and after in USD."""
    with in_memory() as connection:
        connection.register("events", project.history.events())
        return connection.execute(AROUND, {"campaign": campaign}).to_arrow_table()


AROUND = """
WITH sent AS (
    SELECT customer_id, occurred_at AS sent_at FROM events WHERE kind = 'contact' AND item = $campaign
),
began AS (SELECT min(sent_at) AS start FROM sent),
spent AS (
    SELECT customer_id, sum(CASE WHEN occurred_at < start THEN amount ELSE 0 END) / 100 AS before,
           sum(CASE WHEN occurred_at >= start THEN amount ELSE 0 END) / 100 AS after
    FROM events, began
    WHERE kind = 'purchase' AND occurred_at >= start - INTERVAL 28 DAY AND occurred_at < start + INTERVAL 28 DAY
    GROUP BY customer_id
)
SELECT customer_id, CASE WHEN sent_at IS NULL THEN 'not mailed' ELSE 'mailed' END AS households,
       coalesce(before, 0) AS before, coalesce(after, 0) AS after, coalesce(after - before, 0) AS change
FROM (SELECT DISTINCT customer_id FROM events, began WHERE kind = 'purchase' AND occurred_at < start)
LEFT JOIN sent USING (customer_id) LEFT JOIN spent USING (customer_id)
ORDER BY customer_id
"""


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent)
