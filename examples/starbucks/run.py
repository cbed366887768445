"""The whole example: from the three files to next-best offers for every customer and a lift report.

    python examples/starbucks/run.py DATA [PROJECT]

DATA is the folder of the three files, PROJECT this folder or a copy of it, into which everything is written.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from experiments.analysis import analyze
from experiments.design import Arm, Experiment
from experiments.ladder import ladder
from experiments.measures import Goal
from experiments.report import HealthCheck, Report, headline, render
from experiments.results import Analysis
from features.facts import ITEMS
from features.sql import in_memory
from rapport.commands.ingest import ingest
from rapport.commands.score import score
from rapport.commands.train import response
from rapport.project import Project, load_project
from rapport.terminal import print_table, say, step
from training.dataset import NOTHING, spine_of
from training.worth import Worth, worth_of_offers

START = datetime(2018, 7, 27, tzinfo=UTC)  # stands in for the start of the study, as in rapport.toml
END = START + timedelta(hours=714)  # the last hour of the transcript
CHOSEN_UNTIL = START + timedelta(hours=400)  # the first three of the six waves choose the offer that the rest judge
BEFORE = ("spend_7d", "spend_30d", "purchases_30d", "contacts_30d", "opens_30d", "discounts_90d", "age", "income")
KNOWN = (*BEFORE, "seconds_since_purchase", "contacts_7d", "gender", "joined")


def main(data: Path, folder: Path) -> Report:
    """Ingest, train, measure what offers are worth, rank them for everybody, report."""
    ingest(project=folder, data=data)
    response(project=folder, json=folder / "response.json")
    project = load_project(folder)
    waves = table_of_waves(project)
    show_worth(project, record_worth(project))
    score(project=folder, at="2018-08-26T09:00:00Z", top=10, unpromoted=True, out=folder / "next-best.parquet")
    balance = check_of_balance(waves)
    say(balance.sentence, style="" if balance.status == "green" else "bold yellow")
    return report(load_project(folder), waves, balance=balance, out=folder / "lift.html")


def table_of_waves(project: Project) -> pa.Table:
    """One row per customer and wave: offer received or ``nothing``, what was known before, what came within the window.

    Money in cents; ``profit`` is the margin on what was spent, less the rewards that were used.
    """
    spine, _ = spine_of(project.history, goal=project.goal, until=END, channels="channels")
    known = project.features.offline(project.history, spine).select(["customer_id", "as_of", "offer", "label", *KNOWN])
    titles = {offer.offer_id: offer.title for offer in project.catalogue.offers} | {NOTHING: NOTHING}
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("waves", known)
        connection.register("events", project.history.events(END))
        connection.register("titles", pa.table({"offer": list(titles), "arm": list(titles.values())}))
        return connection.execute(
            WAVES,
            {"window": timedelta(days=project.goal.window_days), "margin": project.settings.project.margin},
        ).to_arrow_table()


WAVES = """
WITH money AS (
    SELECT waves.customer_id, as_of, sum(amount) FILTER (kind = 'purchase') AS spend,
           sum(amount) FILTER (kind = 'discount') AS rewards
    FROM waves JOIN events ON events.customer_id = waves.customer_id
     AND occurred_at > as_of AND occurred_at <= as_of + $window
    GROUP BY ALL
)
SELECT waves.*, arm, CASE offer WHEN 'nothing' THEN 'nothing' ELSE 'an offer' END AS contacted, label::INT AS bought,
       coalesce(spend, 0)::DOUBLE AS spend, $margin * coalesce(spend, 0) - coalesce(rewards, 0) AS profit
FROM waves JOIN titles USING (offer) LEFT JOIN money USING (customer_id, as_of)
ORDER BY as_of, customer_id
"""


def record_worth(project: Project) -> tuple[Worth, ...]:
    """Measure what a response to each offer is worth, and record it as facts about the offers."""
    spine, _ = spine_of(project.history, goal=project.goal, until=END, channels="channels")
    found = worth_of_offers(project.history.events(END), spine, goal=project.goal)
    margin = project.settings.project.margin
    told = [
        (each.offer, name, str(value))
        for each in found
        for name, value in (
            ("measured_value", each.value_cents(margin=margin)),
            ("measured_discount", each.discount_cents),
        )
    ]
    times = {"occurred_at": END, "recorded_at": END, "source": "measured"}
    rows = [{"item": item, "attribute": name, "value": value, **times} for item, name, value in told]
    project.history.append_items(pa.Table.from_pylist(rows, schema=ITEMS), "worth")
    return found


def show_worth(project: Project, found: tuple[Worth, ...]) -> None:
    """Print what each offer brought beside nothing."""
    margin = project.settings.project.margin
    titles = {offer.offer_id: offer.title for offer in project.catalogue.offers}
    rows = [
        (
            titles[each.offer],
            f"{each.response:.1%}",
            f"{100 * (each.response - each.response_to_nothing):+.1f}",
            f"{each.spend / 100:+.2f}",
            f"{each.given / 100:+.2f}",
            f"{each.profit(margin=margin) / 100:+.2f}",
        )
        for each in sorted(found, key=lambda each: -each.profit(margin=margin))
    ]
    days = project.goal.window_days
    print_table(
        f"within {days:g} days of an offer, against nothing (USD per contact)",
        ("offer", "bought", "points", "spent", "rewards", "profit"),
        rows,
        note=f"{found[0].response_to_nothing:.1%} of those who got nothing bought; profit at a margin of {margin:.0%}",
    )


def check_of_balance(waves: pa.Table) -> HealthCheck:
    """Whether those who got nothing were like those who got an offer, by what was known before each wave."""
    found = analyze(
        waves,
        arm="contacted",
        control=NOTHING,
        metrics=list(BEFORE),
        cluster="customer_id",
        planned={"an offer": 0.75, NOTHING: 0.25},
    )
    worst = min(found.metrics, key=lambda row: row.adjusted_p_value)
    fine = worst.adjusted_p_value >= 0.05
    return HealthCheck(
        name="Who got nothing",
        status="green" if fine else "yellow",
        sentence=(
            f"Before each wave, customers who then got nothing and those who got an offer were "
            f"{'alike' if fine else 'not quite alike'} in {len(found.metrics)} respects; they differ most in "
            f"{worst.metric} ({worst.control_mean:,.2f} and {worst.arm_mean:,.2f}, p = {worst.adjusted_p_value:.2g} "
            f"after correction for {len(found.metrics)} comparisons)."
        ),
    )


def design_of(project: Project, judged: pa.Table, *, best: str) -> Experiment:
    """The waves as an experiment: nothing for a quarter, each of the ten offers for an equal part of the rest."""
    channels = {each.offer.title: each.channel for each in project.catalogue.treatments}
    titles = sorted(channels)
    share = 0.75 / len(titles)
    days = project.goal.window_days
    return Experiment(
        key="starbucks",
        title="Ten offers and nothing, by chance",
        hypothesis=f"{best}: the offer that earned most in the first three waves earns more than nothing",
        arms=(
            Arm(
                name=NOTHING,
                shows="no offer in this wave",
                policy="nothing",
                share=1 - share * len(titles),
                rung="nothing",
            ),
            *(
                Arm(name=title, shows=f"by {channels[title].replace('-', ', ')}", policy="random", share=share)
                for title in titles
            ),
        ),
        control=NOTHING,
        personalized=best,
        goals=(
            Goal(name="profit", kind="given", window_days=days, money=True),
            Goal(name="spend", kind="sum", events=("purchase",), window_days=days, money=True),
            Goal(
                name="bought",
                kind="any",
                events=("purchase",),
                window_days=days,
                unit="buyer",
                shown="customers who bought",
            ),
        ),
        start=pc.min(judged["as_of"]).as_py(),
        end=END,
        stop_rule="fixed",
    )


def report(project: Project, waves: pa.Table, *, balance: HealthCheck, out: Path) -> Report:
    """The lift report: an offer is chosen on the first three waves and judged, like the ladder, on the other three."""
    early = waves.filter(pc.less(waves["as_of"], CHOSEN_UNTIL)).group_by("arm").aggregate([("profit", "mean")])
    best = early.sort_by([("profit_mean", "descending")])["arm"][0].as_py()
    judged = waves.filter(pc.greater_equal(waves["as_of"], CHOSEN_UNTIL))
    design = design_of(project, judged, best=best)
    with step("comparing the offers, and valuing the ladder"):
        found: Analysis = analyze(
            judged,
            arm="arm",
            control=NOTHING,
            metrics=[goal.name for goal in design.goals],
            cluster="customer_id",
            segments=("gender",),
            planned=design.shares,
            final=True,
        )
        rungs = ladder(
            judged.append_column("profit in cents", judged["profit"]),
            arm="arm",
            control=NOTHING,
            outcome="profit in cents",
            features=list(KNOWN),
            cluster="customer_id",
        )
    made = Report(
        experiment=design,
        analysis=found,
        as_of=END,
        currency=project.settings.project.currency,
        company=project.settings.project.name,
        audience=pc.count_distinct(judged["customer_id"]).as_py(),
        simulated=True,
        health=(balance,),
        ladder=rungs,
        provenance=(("Data", "Starbucks rewards offers, simulated by their provider"),),
        notes=(
            "No design was handed down; that chance gave a quarter nothing, each offer equally, is read off the data.",
            "A unit is a customer in one wave; errors allow for a customer's waves belonging together.",
            "The offer of the headline was chosen on the first three waves; all numbers are from the other three.",
            f"Profit is {project.settings.project.margin:.0%} of what was spent (an assumption) less the rewards used.",
            "A later wave may fall into the window of an earlier one; it does so by chance, alike in every arm.",
        ),
    )
    out.write_text(render(made), encoding="utf-8")
    say(headline(made).text, style="bold")
    say(rungs.sentence, style="bold")
    say(f"The report is {out}")
    return made


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else Path(__file__).parent)
