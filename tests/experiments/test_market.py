"""The simulated market: its truth against its draws, worlds that differ only in what a contact caused, delays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from experiments.market import CATEGORIES, CHANNELS, TREATMENTS, Market, MarketSpec
from experiments.market.customers import BLOCK
from features.errors import InputError
from features.facts import EVENTS, KINDS, PROFILE, conform

SPEC = MarketSpec(customers=20_000, seed=11)


@pytest.fixture(scope="module")
def market() -> Market:
    return Market(SPEC)


def _mixed(market: Market, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, len(market.actions), market.spec.customers)


def _per_customer(market: Market, events: pa.Table) -> dict[str, np.ndarray]:
    """What happened to each customer, summed by SQL from the facts."""
    sums = duckdb.sql(
        """
        SELECT substr(customer_id, 2)::BIGINT - 10000000 AS place,
               count(*) FILTER (kind = 'purchase') AS purchases,
               coalesce(sum(amount) FILTER (kind = 'purchase'), 0)::DOUBLE AS revenue,
               coalesce(sum(amount) FILTER (kind = 'return'), 0)::DOUBLE AS returned,
               coalesce(sum(amount) FILTER (kind = 'discount'), 0)::DOUBLE AS discount,
               count(*) FILTER (kind = 'opt_out') AS opt_out
        FROM events GROUP BY ALL
        """
    ).fetchnumpy()
    found = {}
    for name in ("purchases", "revenue", "returned", "discount", "opt_out"):
        found[name] = np.zeros(market.spec.customers)
        found[name][sums["place"]] = sums[name]
    found["purchase"] = (found["purchases"] > 0).astype(float)
    return found


@pytest.mark.parametrize("group", ["all", "annoyed", "mail", "call", "nothing"])
def test_what_is_expected_is_what_happens_on_average(market, group):
    totals: dict[str, list[np.ndarray]] = {}
    for week in range(52, 60):
        actions = _mixed(market, week)
        truth = market.expected(week, actions)
        channel = np.array(["nothing", *(each.channel for each in TREATMENTS)])[actions]
        chosen = {"all": channel == channel, "annoyed": market.customers.annoyed}.get(group, channel == group)
        happened = _per_customer(market, market.week(week, actions))
        happened["profit"] = (
            SPEC.margin_rate * (happened["revenue"] - happened["returned"]) - happened["discount"] - truth.cost
        )
        for name, values in happened.items():
            totals.setdefault(name, []).append((values - getattr(truth, name))[chosen])
    for name, parts in totals.items():
        rest = np.concatenate(parts)
        # A sum of independent draws: within 4 standard errors, measured from the same draws.
        assert abs(rest.sum()) <= 4 * np.sqrt((rest**2).sum()) + 1e-6, name


def test_the_money_of_an_expected_week_adds_up(market):
    truth = market.expected(52, _mixed(market, 1))
    assert np.allclose(truth.margin, SPEC.margin_rate * (truth.revenue - truth.returned))
    assert np.allclose(truth.profit, truth.margin - truth.discount - truth.cost)


def test_the_value_of_a_policy_is_the_mean_of_what_it_expects(market):
    actions = _mixed(market, 2)
    chances = np.zeros((SPEC.customers, len(market.actions)))
    chances[np.arange(SPEC.customers), actions] = 1
    assert market.value(chances, 53) == pytest.approx(market.expected(53, actions).profit.mean())
    even = np.full(chances.shape, 1 / chances.shape[1])
    assert market.value(even, 53) == pytest.approx(market.profits(53).mean())


def test_the_same_spec_gives_the_same_market(market):
    actions = _mixed(market, 3)
    assert Market(SPEC).week(52, actions).equals(market.week(52, actions))
    other = Market(MarketSpec(customers=SPEC.customers, seed=12))
    assert not other.week(52, actions).equals(market.week(52, actions))


def test_a_small_market_is_the_beginning_of_a_large_one(market):
    few = 1500
    small = Market(MarketSpec(customers=few, seed=SPEC.seed)).history(3)
    large = market.history(3)
    kept = large.filter(pc.less(pa.array(market.places(large["customer_id"])), few))
    assert small.sort_by("event_id").equals(kept.sort_by("event_id"))


def test_worlds_differ_only_in_what_the_contact_caused(market):
    """Common random numbers: contacting one customer changes that customer's events and nobody else's."""
    nothing = np.zeros(SPEC.customers, dtype=int)
    contacted = nothing.copy()
    contacted[::2] = 1 + market.actions[1:].index("clothing-15@email")
    before, after = market.week(52, nothing), market.week(52, contacted)
    spared = np.arange(SPEC.customers) % 2 == 1

    def of_spared(events):
        return events.filter(pa.array(spared[market.places(events["customer_id"])])).sort_by("event_id")

    assert of_spared(before).equals(of_spared(after))
    glad = set(np.flatnonzero(~market.customers.annoyed).tolist())
    lost = set(before["event_id"].to_pylist()) - set(after["event_id"].to_pylist())
    places = market.places(
        before.filter(pc.is_in(before["event_id"], pa.array(sorted(lost), pa.string())))["customer_id"]
    )
    assert lost and not glad & set(places.tolist())


def test_the_history_is_a_year_of_valid_facts():
    market = Market(MarketSpec(customers=3000, seed=4))
    history = market.history()
    assert conform(history, EVENTS).equals(history)
    assert set(history["kind"].unique().to_pylist()) <= set(KINDS)
    assert len(history["event_id"].unique()) == history.num_rows
    occurred, recorded = history["occurred_at"], history["recorded_at"]
    assert pc.all(pc.greater_equal(recorded, occurred)).as_py()
    assert pc.min(occurred).as_py() == market.spec.start
    assert pc.max(occurred).as_py() < market.begin(52)
    amounts = history.filter(pc.is_in(history["kind"], pa.array(["purchase", "return", "discount"])))["amount"]
    assert amounts.null_count == 0 and pc.min(amounts).as_py() >= 0
    days = pc.divide(pc.cast(pc.subtract(recorded, occurred), pa.int64()), 86_400_000_000)
    assert 8 <= pc.max(days).as_py() < 10


def test_the_history_is_logged_random_and_leaves_alone_who_opted_out():
    history = Market(MarketSpec(customers=20_000, seed=4)).history(26)
    decisions = history.filter(pc.is_in(history["kind"], pa.array(["contact", "no_contact"])))
    nothing = pc.mean(pc.cast(pc.equal(decisions["kind"], "no_contact"), pa.float64())).as_py()
    assert nothing == pytest.approx(0.45, abs=4 * np.sqrt(0.45 * 0.55 / decisions.num_rows))
    again = duckdb.sql(
        """
        SELECT count(*) FROM history AS contact JOIN history AS no USING (customer_id)
        WHERE contact.kind IN ('contact', 'no_contact') AND no.kind = 'opt_out' AND contact.occurred_at > no.occurred_at
        """
    ).fetchone()
    assert again == (0,)
    counts = duckdb.sql(
        "SELECT item, channel, count(*) AS n FROM history WHERE kind = 'contact' GROUP BY ALL"
    ).fetchall()
    assert {f"{item}@{channel}" for item, channel, _ in counts} == {each.treatment_id for each in TREATMENTS}
    share = 1 / len(TREATMENTS)
    total = sum(n for *_, n in counts)
    assert max(abs(n / total - share) for *_, n in counts) < 4.5 * np.sqrt(share * (1 - share) / total)


def test_every_event_falls_into_its_week_and_contacts_are_told_on_request(market):
    actions = _mixed(market, 5)
    quiet, told = market.week(60, actions), market.week(60, actions, log_contacts=True)
    assert pc.min(quiet["occurred_at"]).as_py() >= market.begin(60)
    assert pc.max(quiet["occurred_at"]).as_py() < market.begin(61)
    assert "contact" not in quiet["kind"].unique().to_pylist()
    contacts = told.filter(pc.equal(told["kind"], "contact"))
    assert told.num_rows - quiet.num_rows == SPEC.customers
    assert contacts.num_rows == (actions > 0).sum()
    sent = np.array(market.actions)[actions[market.places(contacts["customer_id"])]].tolist()
    assert pc.binary_join_element_wise(contacts["item"], contacts["channel"], "@").to_pylist() == sent
    assert set(contacts["occurred_at"].to_pylist()) == {market.begin(60)}


def test_without_delays_everything_is_known_at_once():
    market = Market(MarketSpec(customers=2000, seed=1, delay_scale=0))
    events = market.week(0, _mixed(market, 0))
    assert events["occurred_at"].equals(events["recorded_at"])


def test_without_heterogeneity_static_is_the_best_there_is():
    market = Market(MarketSpec(customers=2000, seed=1, heterogeneity=0))
    profits = market.profits(52)
    assert np.allclose(profits, profits[0])
    assert not market.customers.annoyed.any()


def test_the_ladder_is_real_but_not_huge(market):
    profits = np.mean([market.profits(week) for week in range(52, 60)], axis=0)
    static = int(profits.mean(axis=0).argmax())
    nothing, one = profits[:, 0].mean(), profits.max(axis=1).mean()
    age = market.customers.age
    segment = sum(profits[age == band].mean(axis=0).max() * (age == band).mean() for band in range(3))
    assert nothing < profits[:, static].mean() < segment < one
    assert 1.02 < segment / profits[:, static].mean() < 1.15
    assert 1.3 < one / profits[:, static].mean() < 1.8


def test_annoyed_customers_lose_and_leave(market):
    actions = np.full(SPEC.customers, market.actions.index("home-10@email"))
    sent, left = market.expected(52, actions), market.expected(52, np.zeros_like(actions))
    annoyed = market.customers.annoyed
    assert annoyed.mean() == pytest.approx(0.08, abs=0.01)
    assert (sent.purchases[annoyed] < left.purchases[annoyed]).all()
    assert (sent.purchases[~annoyed] > left.purchases[~annoyed]).all()
    assert np.allclose(sent.opt_out[annoyed], 0.04) and np.allclose(sent.opt_out[~annoyed], 0.001)


def test_households_share_a_home(market):
    _, counts = np.unique(market.customers.household, return_counts=True)
    assert set(counts.tolist()) == {1, 2}
    assert (counts == 2).sum() * 2 / SPEC.customers == pytest.approx(0.3, abs=0.02)
    pairs = np.flatnonzero(np.diff(market.customers.household) == 0)
    assert (market.customers.region[pairs] == market.customers.region[pairs + 1]).all()
    logs = np.log(market.customers.basket)
    assert 0.3 < np.corrcoef(logs[pairs], logs[pairs + 1])[0, 1] < 0.7


def test_behaviour_tells_of_what_moves_a_customer():
    """Visits by category and opens show the affinities that decide who answers: models have something to learn."""
    market = Market(MarketSpec(customers=BLOCK, seed=2))
    events = market.history(26)
    visits = events.filter(pc.equal(events["kind"], "visit"))
    seen = np.zeros((BLOCK, len(CATEGORIES)))
    codes = np.array([CATEGORIES.index(each) for each in visits["category"].to_pylist()])
    np.add.at(seen, (market.places(visits["customer_id"]), codes), 1)
    many = seen.sum(axis=1) >= 8
    share = seen[many] / seen[many].sum(axis=1, keepdims=True)
    assert np.corrcoef(share.ravel(), market.customers.category[many].ravel())[0, 1] > 0.5


def test_the_profile_is_what_a_crm_knows(market):
    profile = market.profile()
    assert conform(profile, PROFILE).equals(profile)
    assert set(profile["attribute"].unique().to_pylist()) == {"age_band", "household_id", "region", "tenure"}
    assert profile.num_rows == 4 * SPEC.customers
    assert pc.max(profile["recorded_at"]).as_py() < SPEC.start


def test_seasons_come_and_go(market):
    nothing = np.zeros(SPEC.customers, dtype=int)
    garden = np.full(SPEC.customers, market.actions.index("garden-20@mail"))
    assert market.expected(49, nothing).purchases.mean() > 1.3 * market.expected(23, nothing).purchases.mean()
    lift = {
        week: (market.expected(week, garden).purchases - market.expected(week, nothing).purchases).mean()
        for week in (20, 46)
    }
    assert lift[20] > 1.5 * lift[46]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda market: market.week(52, np.zeros(3, dtype=int)),
        lambda market: market.week(52, np.zeros(SPEC.customers)),
        lambda market: market.week(52, np.full(SPEC.customers, len(CHANNELS) * 9)),
        lambda market: market.week(-1, np.zeros(SPEC.customers, dtype=int)),
        lambda market: market.value(np.zeros((SPEC.customers, len(market.actions))), 52),
        lambda market: market.history(0),
        lambda market: MarketSpec(customers=0, seed=1),
        lambda market: MarketSpec(customers=10, seed=1, annoyed_share=1.5),
        lambda market: MarketSpec(customers=10, seed=1, heterogeneity=-1),
        lambda market: MarketSpec(customers=10, seed=1, start=datetime(2023, 1, 3, tzinfo=UTC)),
        lambda market: MarketSpec(customers=10, seed=1, start=SPEC.start + timedelta(hours=1)),
    ],
)
def test_bad_input_is_told_in_three_parts(market, wrong):
    with pytest.raises(InputError):
        wrong(market)
