"""A log that also holds the decision in other words: the models must not take it for something known before."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from experiments.offpolicy import evaluate

ACTIONS = np.array(["A", "B", "C"])
RATES = np.array([0.10, 0.15, 0.30])


def _log(seed: int = 5, n: int = 20_000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    new = rng.random(n) < 0.5
    best = np.where(new, 1, 2)
    chosen = np.where(rng.random(n) < 0.2, rng.integers(0, 3, n), best)
    chance = np.where(chosen == best, 0.8 + 0.2 / 3, 0.2 / 3)
    bought = (rng.random(n) < RATES[chosen]).astype(int)
    return pd.DataFrame({"action": ACTIONS[chosen], "bought": bought, "chance": chance, "new": new})


def test_copies_of_the_action_and_its_chance_are_left_out_and_the_value_holds() -> None:
    log = _log()
    log["weight"] = 1 / log["chance"]
    log["price"] = log["action"].map({"A": 1.0, "B": 2.0, "C": 3.0})
    policy = pa.table({each: [1 / 3] for each in ACTIONS})
    found = evaluate(pa.Table.from_pandas(log), action="action", reward="bought", probability="chance", policy=policy)
    assert found.features == ("new",)
    robust = next(each for each in found.estimates if each.estimator == "dr")
    assert robust.ci_low < RATES.mean() < robust.ci_high
