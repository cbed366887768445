"""Worlds of known retention and long holdouts: do the intervals hold, and what do the naive twins do?

``python -m benchmarks retention`` is the full form; the quick form runs in tests/experiments/test_retention.py.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy import stats

from experiments.retention import long_run, retention

MEANS = {"static": 60.0, "personal": 75.0}
ALIKE = {"static": 60.0, "personal": 60.0}
HORIZON = 90.0


def members(*, n: int, rng: np.random.Generator, means: dict[str, float] = MEANS, household: int = 1) -> pa.Table:
    """Members who entered over 120 days, watched until day 150; the members of a household leave alike."""
    home = rng.integers(0, n // household, n) if household > 1 else np.arange(n)
    arm = rng.integers(0, 2, n)[home]
    shared = rng.gamma(2.0, 0.5, n)[home] if household > 1 else 1.0
    stays = rng.exponential(1.0, n) * np.array(list(means.values()))[arm] / shared
    watched = 150 - rng.uniform(0, 120, n)
    names = np.array(list(means))[arm]
    return pa.table({"arm": names, "days": np.minimum(stays, watched), "left": stays <= watched, "home": home})


def households(*, homes: int, unlike: float, rng: np.random.Generator) -> pa.Table:
    """Arms alike, so many ``homes`` in each, of 4 members each or (``unlike`` 0.7 or 1.3) some of very many."""
    sizes = np.ceil(rng.lognormal(1.0, unlike, 2 * homes)).astype(np.int64) if unlike else np.full(2 * homes, 4)
    home = np.repeat(np.arange(2 * homes), sizes)
    stays = rng.exponential(60.0, home.size) / rng.gamma(2.0, 0.5, 2 * homes)[home]
    watched = 150 - rng.uniform(0, 120, home.size)
    names = np.where(home % 2 == 0, "static", "personal")
    return pa.table({"arm": names, "days": np.minimum(stays, watched), "left": stays <= watched, "home": home})


def wrong_of_few(table: pa.Table) -> tuple[bool, bool, bool, bool]:
    """Whether days gained and the log-rank test claim a difference that isn't there: by home, as if alone (naive)."""
    found = [
        retention(table, arm="arm", control="static", time="days", event="left", cluster=cluster).differences[0]
        for cluster in ("home", None)
    ]
    by_home, alone = ((not each.ci_low <= 0 <= each.ci_high, each.p_value < 0.05) for each in found)
    return (*by_home, *alone)


def gained() -> float:
    """The true difference of the mean days within the horizon."""
    personal, static = (mean * (1 - np.exp(-HORIZON / mean)) for mean in (MEANS["personal"], MEANS["static"]))
    return float(personal - static)


def naive_gain(table: pa.Table) -> tuple[float, float]:
    """The naive twin: the interval of the difference of mean days watched, as if who is still there had left."""
    arm, days = table["arm"].to_numpy(), np.minimum(table["days"].to_numpy(), HORIZON)
    found = stats.ttest_ind(days[arm == "personal"], days[arm == "static"], equal_var=False).confidence_interval()
    return float(found.low), float(found.high)


def quarters(*, customers: int, periods: int, rng: np.random.Generator, effect: float = 0.0) -> pa.Table:
    """A holdout of a fifth that stays the same over quarters, of customers whose worth stays much the same, too."""
    held, usual = rng.random(customers) < 0.2, rng.gamma(1.0, 20.0, customers)
    worth = usual[None, :] + rng.normal(0, 10, (periods, customers)) + effect * ~held[None, :]
    who = np.tile(np.arange(customers), periods)
    names = np.repeat([f"{2026 + place // 4}-Q{place % 4 + 1}" for place in range(periods)], customers)
    return pa.table({"customer": who, "quarter": names, "held": np.tile(held, periods), "worth": worth.ravel()})


def ever_wrong(table: pa.Table) -> tuple[bool, bool]:
    """Whether the sum's band, and that of a naive twin, ever leaves out zero.

    The twin adds up the quarters as if they were other customers each time, at the level of one look.
    """
    found = long_run(table, customer="customer", period="quarter", held="held", value="worth").periods
    errors = np.array([(each.ci_high - each.ci_low) / 2 / 1.96 for each in found])
    reach = 1.96 * np.sqrt(np.cumsum(errors**2))
    totals = np.array([each.total for each in found])
    return any(not each.total_ci_low <= 0 <= each.total_ci_high for each in found), bool((np.abs(totals) > reach).any())


def main(*, runs: int = 500) -> None:
    """Print how often intervals hold, beside their naive twins."""
    true = gained()
    held, naive = 0, 0
    for seed in range(runs):
        table = members(n=2_000, rng=np.random.default_rng(seed))
        row = retention(table, arm="arm", control="static", time="days", event="left", horizon=HORIZON).differences[0]
        low, high = naive_gain(table)
        held, naive = held + (row.ci_low <= true <= row.ci_high), naive + (low <= true <= high)
    print(f"days gained: covered {held / runs:.1%}, as if all had left (naive) {naive / runs:.1%}, nominal 95%")
    for cluster in ("home", None):
        false = sum(
            retention(
                members(n=2_000, rng=np.random.default_rng(seed), means=ALIKE, household=4),
                arm="arm", control="static", time="days", event="left", cluster=cluster,
            ).differences[0].p_value < 0.05
            for seed in range(runs)
        )  # fmt: skip
        print(
            f"log-rank, households of 4 {'clustered' if cluster else 'as if alone (naive)':20} false {false / runs:.1%}"
        )
    for homes in (10, 20, 50, 200):
        for unlike in (0.0, 0.7, 1.3):
            rng = np.random.default_rng(homes)
            days, p, alone, p_alone = np.mean(
                [wrong_of_few(households(homes=homes, unlike=unlike, rng=rng)) for _ in range(runs)], axis=0
            )
            print(
                f"{homes:3} homes an arm, {('equal', 'unlike', 'very unlike')[round(unlike / 0.65)]:12} false: days "
                f"{days:.1%}, log-rank {p:.1%}; as if alone (naive) {alone:.1%}, {p_alone:.1%}",
                flush=True,
            )
    wrong = [ever_wrong(quarters(customers=1_000, periods=12, rng=np.random.default_rng(seed))) for seed in range(runs)]
    ours, twin = np.mean(wrong, axis=0)
    print(f"twelve quarters without effect: ever wrong {ours:.1%}, naive {twin:.1%}, nominal 5%")


if __name__ == "__main__":
    main()
