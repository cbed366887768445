"""A simulated experiment, to test the report without any data: seven arms, eight weekly looks.

It goes the whole way, from assignments and events through the join of outcomes and the analysis to the report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from experiments.analysis import analyze
from experiments.channels import Pair
from experiments.design import Arm, Experiment
from experiments.heterogeneity import ArmGains, GroupEffect, KnownGroups, Trait
from experiments.ladder import ladder_of_arms
from experiments.measures import Goal, Guardrail
from experiments.money import money_by_arm, unit_money, with_profit
from experiments.outcomes import count_outcomes, join_outcomes
from experiments.report import (
    AllocationPoint,
    Change,
    ChannelRow,
    Driver,
    LookPoint,
    ReasonCount,
    Report,
    TruthRow,
    health_checks,
    look_points,
)
from experiments.results import Analysis, Ladder, MetricRow, RungName
from experiments.retention import LongRun, Retention, departures, long_run, retention

START = datetime(2026, 1, 5, tzinfo=UTC)
_MARGIN_BP = 3500
_WINDOW = timedelta(days=14)
_TIME = pa.timestamp("us", tz="UTC")
# name, what it shows, planned share, chance to buy, mean basket in cents, cost of a contact in cents, rung
_ARMS: tuple[tuple[str, str, float, float, float, int, RungName | None], ...] = (
    ("nothing", "No marketing contact at all", 0.10, 0.060, 6100, 0, "nothing"),
    ("random", "Any offer the customer may have, by chance", 0.10, 0.066, 6000, 22, "random"),
    ("static", "The winter letter by e-mail, the same for everybody", 0.30, 0.073, 6000, 12, "static"),
    ("segment", "One offer for each of five segments", 0.10, 0.081, 6100, 16, "segment"),
    ("few", "One offer for each of twelve groups of alike customers", 0.10, 0.083, 6150, 18, "few"),
    ("one_to_one", "The offer and channel expected to earn most, or nothing", 0.20, 0.088, 6300, 19, "one_to_one"),
    ("bandit", "The offer that is learned to work best, while it runs", 0.10, 0.082, 6100, 18, None),
)
_ITEMS = ("nothing", "coats-10@email", "boots-15@email", "coats-10@mail", "gift@call", "boots-15@web")

# Parts that other rooms bring: channels, reasons for no contact, what the models used.
_CHANNELS = (
    ("e-mail", 9_800, 410, 220, 1_180),
    ("direct mail", 4_100, 280, 370, 1_420),
    ("web", 6_300, 120, 160, 370),
    ("call centre", 700, -220, 390, 240),
)
_OVERLAP = Pair(
    first="e-mail",
    second="direct mail",
    n_both=412,
    beyond_sum=-21_000.0,
    ci_low=-33_000.0,
    ci_high=-9_000.0,
    sentence="E-mail and direct mail together bring less than the sum of each alone.",
)
_REFUSALS = (
    ReasonCount(code="no_consent", sentence="no consent for marketing on any channel", count=2_314),
    ReasonCount(code="limit_week", sentence="already two contacts within seven days", count=1_460),
    ReasonCount(code="nothing_best", sentence="no contact was expected to earn more than its cost", count=1_122),
    ReasonCount(code="opted_out", sentence="the customer opted out", count=391),
)
_DRIVERS = (
    Driver(words="days since the last purchase", share=0.31, effect="a recent purchase raises the chance"),
    Driver(words="visits within 7 days", share=0.22, effect="more visits raise it"),
    Driver(words="reaction to the last e-mail", share=0.17, effect="an opened one raises it"),
    Driver(words="favourite category", share=0.12, effect="matters for which offer, less for whether"),
)


def example_experiment() -> Experiment:
    """The design of the simulated experiment."""
    return Experiment(
        key="winter",
        title="Winter offers",
        hypothesis="Choosing the contact for each customer earns more than one letter for everybody",
        arms=tuple(
            Arm(name=name, shows=shows, policy=name, share=share, rung=rung)
            for name, shows, share, _, _, _, rung in _ARMS
        ),
        control="static",
        goals=(
            Goal(name="profit", kind="given", window_days=14, delay_days=3, money=True, worth=10),
            Goal(name="revenue", kind="sum", events=("purchase",), window_days=14, delay_days=3, money=True),
            Goal(
                name="bought", kind="any", events=("purchase",), window_days=14, delay_days=3, unit="buyer",
                shown="customers who bought",
            ),
        ),
        guardrails=(
            Guardrail(
                name="opted_out", kind="any", events=("opt_out",), window_days=14, delay_days=3, limit=0.004,
                shown="opt-outs",
            ),
            Guardrail(
                name="contacts", kind="count", events=("contact",), window_days=14, delay_days=3, limit=0.2,
                unit="contact", shown="contacts per customer",
            ),
        ),
        start=START,
        end=START + timedelta(weeks=8),
        stop_rule="anytime",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class World:
    """The tables of the simulated experiment."""

    assignments: pa.Table
    events: pa.Table
    decisions: pa.Table


def example_report(*, seed: int = 7, customers: int = 40_000, weeks: int = 8) -> Report:
    """The report of the simulated experiment after ``weeks`` looks, every part filled."""
    rng = np.random.default_rng(seed)
    design = example_experiment()
    world = _world(rng, customers=customers)
    looks: tuple[LookPoint, ...] = ()
    for week in range(1, weeks + 1):
        as_of = START + timedelta(weeks=week, days=17)
        table = _outcomes(world, design, as_of=as_of)
        last = week == weeks
        analysis = _analysis(table, design, segments=("region", "value") if last else ())
        looks += look_points(analysis, experiment=design, as_of=as_of)
    counts = count_outcomes(world.assignments, world.events, design.measures, as_of=as_of)
    money = money_by_arm(_money(world, as_of=as_of))
    bare = Report(
        experiment=design,
        analysis=analysis,
        as_of=as_of,
        look=weeks,
        company="Example Outfitters",
        simulated=True,
        health=health_checks(counts=counts, degraded=31, decisions=customers, contacts_to_opted_out=()),
        looks=looks,
        changes=(Change(at=START + timedelta(weeks=5, days=3), text="boots offer renewed"),),
        allocation=_allocation(),
        money=money,
        ladder=_ladder(table),
        channels=_channels(),
        overlaps=(_OVERLAP,),
        gains=_gains(customers),
        retention=_retention(world, as_of=as_of),
        leaving="opted out",
        long_run=_long_run(rng),
        decisions=customers,
        refusals=_REFUSALS,
        drivers=_DRIVERS,
        standards=_against_random(table, design),
        provenance=(("Simulated with", f"numpy, seed {seed}, {customers:,} customers"),),
    )
    return replace(bare, truths=_truths(bare, analysis))


def _world(rng: np.random.Generator, *, customers: int) -> World:
    names = np.array([f"c{number:06d}" for number in range(customers)])
    which = rng.choice(len(_ARMS), customers, p=[row[2] for row in _ARMS])
    entered = rng.uniform(0, 56, customers)
    value = rng.choice(["new", "regular", "best"], customers, p=[0.3, 0.6, 0.1])
    assignments = pa.table(
        {
            "customer_id": names,
            "arm": np.array([row[0] for row in _ARMS])[which],
            "assigned_at": _times(entered),
            "region": rng.choice(
                ["north", "south", "east", "west", "islands"], customers, p=[0.4, 0.3, 0.2, 0.098, 0.002]
            ),
            "value": value,
        }
    )
    lift = np.where(value == "best", 1.6, np.where(value == "new", 0.7, 1.0))
    bought = rng.random(customers) < lift * np.array([row[3] for row in _ARMS])[which]
    contacted = (which > 0) & (rng.random(customers) < 0.86)
    left = rng.random(customers) < np.where(contacted, 0.004, 0.0015)
    basket = np.array([row[4] for row in _ARMS])[which] * rng.lognormal(-0.18, 0.6, customers)
    kinds = (
        ("purchase", bought, basket),
        ("return", bought & (rng.random(customers) < 0.12), basket * 0.8),
        ("contact", contacted, basket * 0),
        ("opt_out", left, basket * 0),
    )
    events = pa.concat_tables([_events(rng, kind, names, entered, where, amount) for kind, where, amount in kinds])
    cost = np.where(contacted, np.array([row[5] for row in _ARMS])[which], 0)
    decisions = pa.table(
        {
            "decision_id": [f"d{number}" for number in range(customers)],
            "customer_id": names,
            "decided_at": assignments["assigned_at"],
            "contact_cost": cost,
        }
    )
    return World(assignments=assignments, events=events, decisions=decisions)


def _events(
    rng: np.random.Generator,
    kind: str,
    names: NDArray[np.str_],
    entered: NDArray[np.float64],
    where: NDArray[np.bool_],
    amount: NDArray[np.float64],
) -> pa.Table:
    n = int(where.sum())
    at = entered[where] + rng.uniform(0.01, 13.5, n)
    return pa.table(
        {
            "event_id": [f"{kind}-{name}" for name in names[where]],
            "customer_id": names[where],
            "kind": np.full(n, kind),
            "occurred_at": _times(at),
            "recorded_at": _times(at + rng.exponential(0.7, n)),
            "amount": amount[where].astype(np.int64),
        }
    )


def _times(days: NDArray[np.float64]) -> pa.Array:
    start = int(START.timestamp()) * 1_000_000
    return pa.array((days * 86_400e6).astype(np.int64) + start).cast(_TIME)


def _money(world: World, *, as_of: datetime) -> pa.Table:
    return unit_money(
        world.assignments, world.events, world.decisions, as_of=as_of, margin_bp=_MARGIN_BP, since=START, window=_WINDOW
    )


def _outcomes(world: World, design: Experiment, *, as_of: datetime) -> pa.Table:
    joined = join_outcomes(world.assignments, world.events, design.measures, as_of=as_of)
    table = with_profit(joined, _money(world, as_of=as_of))
    return table.filter(table["mature"])


def _gains(customers: int) -> ArmGains:
    """Who gains from one-to-one, as the analysis of gains would put it."""
    n = customers // 6

    def group(name: str, effect: float, half: float, share: float = 0.2) -> GroupEffect:
        return GroupEffect(group=name, n=round(n * share), effect=effect, ci_low=effect - half, ci_high=effect + half)

    names = ("gain most", "second", "third", "fourth", "gain least")
    recent = "days since the last purchase"
    return ArmGains(
        arm="one_to_one",
        control="static",
        effect=group("everybody", 38.0, 14.0, 1.0),
        differ=True,
        p_value=0.0004,
        autoc=52.0,
        autoc_ci_low=21.0,
        autoc_ci_high=83.0,
        qini=16.0,
        fifths=tuple(group(name, effect, 40.0) for name, effect in zip(names, (118, 61, 22, 4, -12), strict=True)),
        groups=(
            KnownGroups(
                column=recent,
                inside=group(f"{recent} up to 30", 96.0, 38.0, 0.4),
                outside=group(f"{recent} above 30", 3.0, 30.0, 0.6),
                p_value=0.0002,
            ),
        ),
        traits=(
            Trait(column=recent, level=None, top=11.0, bottom=96.0, everybody=54.0, distance=-1.3),
            Trait(column="value", level="best", top=0.24, bottom=0.03, everybody=0.1, distance=0.7),
        ),
        visible=90.0,
    )


def _retention(world: World, *, as_of: datetime) -> Retention:
    table = departures(world.assignments, world.events, kinds=["opt_out"], as_of=as_of)
    return retention(table, arm="arm", control="static", time="days", event="gone")


def _long_run(rng: np.random.Generator) -> LongRun:
    names, people = ("2025-Q1", "2025-Q2", "2025-Q3", "2025-Q4"), 4_000
    held = rng.random(people) < 0.1
    worth = rng.gamma(1.0, 900.0, people) + rng.normal(0, 300, (len(names), people)) + 120 * ~held
    table = pa.table(
        {
            "customer": np.tile(np.arange(people), len(names)),
            "period": np.repeat(names, people),
            "held": np.tile(held, len(names)),
            "worth": worth.ravel(),
        }
    )
    return long_run(table, customer="customer", period="period", held="held", value="worth")


def _against_random(table: pa.Table, design: Experiment) -> tuple[MetricRow, ...]:
    rows = _analysis(table, design, control="random").metrics
    return tuple(row for row in rows if row.arm == design.headline_arm and row.metric == "profit")


def _channels() -> tuple[ChannelRow, ...]:
    return tuple(
        ChannelRow(
            channel=name,
            contacts=contacts,
            profit_per_1000=100 * profit,
            ci_low=100 * (profit - half),
            ci_high=100 * (profit + half),
            matchback_per_1000=100 * claimed,
        )
        for name, contacts, profit, half, claimed in _CHANNELS
    )


def _analysis(table: pa.Table, design: Experiment, *, control: str = "", segments: tuple[str, ...] = ()) -> Analysis:
    return analyze(
        table,
        arm="arm",
        control=control or design.control,
        metrics=[measure.name for measure in design.measures],
        segments=segments,
        planned=design.shares,
        worth=design.goals[0].worth,
        limits=design.limits,
    )


def _ladder(table: pa.Table) -> Ladder:
    rungs = {name: rung for name, _, _, _, _, _, rung in _ARMS if rung is not None}
    return ladder_of_arms(table, arm="arm", outcome="profit", rungs=rungs, unit="profit per customer")


def _allocation() -> tuple[AllocationPoint, ...]:
    points = []
    for week in range(8):
        pull = np.exp(np.array([0.0, 0.28, 0.1, 0.02, -0.12, 0.05]) * week)
        shares = 0.02 + 0.88 * pull / pull.sum()
        shares /= shares.sum()
        points.append(
            AllocationPoint(at=START + timedelta(weeks=week), shares=dict(zip(_ITEMS, map(float, shares), strict=True)))
        )
    return tuple(points)


def _truths(report: Report, analysis: Analysis) -> tuple[TruthRow, ...]:
    chance = {row[0]: row[3] for row in _ARMS}
    mix = 0.3 * 0.7 + 0.6 + 0.1 * 1.6
    return tuple(
        TruthRow(
            metric="bought",
            arm=row.arm,
            quantity="customers who bought, beyond static",
            estimate=row.difference,
            ci_low=report.interval(row)[0],
            ci_high=report.interval(row)[1],
            truth=mix * (chance[row.arm] - chance["static"]),
        )
        for row in analysis.metrics
        if row.metric == "bought"
    )
