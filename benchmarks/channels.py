"""A world of channels with known effects: do intervals of nested holdouts cover, and how far off is matchback?

``python -m benchmarks channels`` is the full form; the quick form runs in tests/experiments/test_channels.py.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from experiments.channels import Channels, channels

#: Profit per customer (EUR) that a channel adds where nothing else goes out, and what e-mail and mail overlap by.
ALONE = {"email": 0.8, "mail": 1.2, "web": 0.3}
OVERLAP = -0.5
COST = {"email": 0.05, "mail": 0.6, "web": 0.02}
HELD = 0.2
NONE = 0.1


def draw(*, n: int, rng: np.random.Generator, household: int = 1) -> pa.Table:
    """A table of customers: who was withheld from what, their profit, and what matchback credits each channel with."""
    home = rng.integers(0, n // household, n) if household > 1 else np.arange(n)
    held = {name: (rng.random(n) < HELD)[home] for name in ALONE}
    none = (rng.random(n) < NONE)[home]
    gets = {name: ~held[name] & ~none for name in ALONE}
    bought = rng.random(n) < 0.2
    own = bought * rng.lognormal(2.5, 0.8, n) + (2 * rng.normal(size=n)[home] if household > 1 else 0.0)
    caused = sum(gets[name] * rng.normal(effect, 3.0, n) for name, effect in ALONE.items())
    caused = caused + gets["email"] * gets["mail"] * OVERLAP
    cost = sum(gets[name] * COST[name] for name in ALONE)
    columns = {f"held_{name}": held[name].astype(int) for name in ALONE}
    # Two thirds of what customers buy by themselves falls into the window after some contact of each channel.
    columns |= {f"claimed_{name}": gets[name] * (0.67 * own + caused - COST[name]) for name in ALONE}
    return pa.table({**columns, "held_all": none.astype(int), "home": home, "profit": own + caused - cost})


def truth() -> dict[str, float]:
    """The true profit per 1,000 customers of each channel while the others go on, of pairs, and of everything."""
    others = 1 - HELD
    found = {name: 1000 * (effect - COST[name]) for name, effect in ALONE.items()}
    found["email"] += 1000 * OVERLAP * others
    found["mail"] += 1000 * OVERLAP * others
    found["pair"] = 1000 * OVERLAP
    found["everything"] = sum(1000 * others * (ALONE[name] - COST[name]) for name in ALONE) + 1000 * OVERLAP * others**2
    return found


def analyzed(table: pa.Table, *, household: bool = False) -> Channels:
    """The analysis of a drawn table."""
    return channels(
        table,
        outcome="profit",
        held={name: f"held_{name}" for name in ALONE},
        everything="held_all",
        matchback={name: f"claimed_{name}" for name in ALONE},
        cluster="home" if household else None,
    )


def covered(found: Channels) -> dict[str, bool]:
    """Whether each interval holds the truth."""
    true = truth()
    held = {each.channel: each.ci_low <= true[each.channel] <= each.ci_high for each in found.channels}
    pair = next(each for each in found.pairs if (each.first, each.second) == ("email", "mail"))
    held["pair"] = pair.ci_low <= true["pair"] <= pair.ci_high
    if found.together is not None:
        held["everything"] = found.together.ci_low <= true["everything"] <= found.together.ci_high
    return held


def main(*, runs: int = 500) -> None:
    """Print how often the intervals hold the truth, and what matchback claims."""
    true = truth()
    for household in (1, 2):
        found = [
            analyzed(draw(n=10_000, rng=np.random.default_rng(seed), household=household), household=household > 1)
            for seed in range(runs)
        ]
        held = [covered(each) for each in found]
        print(f"\n{runs} worlds of 10,000 customers, households of {household}; per 1,000 customers")
        print(f"{'':12}{'truth':>8}{'estimate':>10}{'covered':>9}{'matchback':>11}")
        for name in (*ALONE, "pair", "everything"):
            rows = [row for each in found for row in each.channels if row.channel == name]
            mean = f"{np.mean([row.effect for row in rows]):10,.0f}" if rows else " " * 10
            claim = f"{np.mean([row.matchback for row in rows]):11,.0f}" if rows else ""
            print(f"{name:12}{true[name]:8,.0f}{mean}{np.mean([each[name] for each in held]):9.1%}{claim}")


if __name__ == "__main__":
    main()
