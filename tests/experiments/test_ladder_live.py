"""The ladder whose rungs ran as live arms."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from experiments.ladder import ladder_of_arms
from features.errors import InputError

RUNGS = {"holdout": "nothing", "batch": "static", "own": "one_to_one"}


def experiment(n=900):
    rng = np.random.default_rng(1)
    arm = np.array(["own", "batch", "holdout", "bandit"])[rng.integers(0, 4, n)]
    profit = rng.normal(10, 3, n) + 4.0 * (arm == "batch") + 5.5 * (arm == "own")
    return pa.table({"arm": arm, "profit": profit, "got": np.where(arm == "holdout", "nothing", "shoes@email")})


def test_values_are_means_and_gains_are_welch_differences():
    table = experiment()
    found = ladder_of_arms(table, arm="arm", outcome="profit", rungs=RUNGS)
    frame = table.to_pandas()
    own, batch = (frame.profit[frame.arm == name] for name in ("own", "batch"))
    assert [rung.rung for rung in found.rungs] == ["nothing", "static", "one_to_one"]
    assert found.rungs[1].value == pytest.approx(batch.mean())
    assert found.rungs[2].gain == pytest.approx(own.mean() - batch.mean())
    welch = stats.ttest_ind(own, batch, equal_var=False).confidence_interval()
    # Influence values divide by n, Welch by n - 1 within each arm: half a percent apart at 220 units.
    assert found.rungs[2].gain_ci_low == pytest.approx(welch.low, abs=0.01)
    assert found.rungs[2].gain_ci_high == pytest.approx(welch.high, abs=0.01)
    assert found.recommended == "one_to_one"


def test_shares_are_those_of_the_contacts():
    found = ladder_of_arms(experiment(), arm="arm", outcome="profit", rungs=RUNGS, action="got")
    assert found.rungs[0].shares == {"nothing": 1.0, "shoes@email": 0.0}
    assert found.rungs[2].shares == {"nothing": 0.0, "shoes@email": 1.0}


def test_what_was_spent_is_taken_off():
    table = experiment()
    table = table.append_column("cost", pa.array(np.where(np.array(table["arm"]) == "own", 2.5, 0.0)))
    plain = ladder_of_arms(table, arm="arm", outcome="profit", rungs=RUNGS)
    net = ladder_of_arms(table, arm="arm", outcome="profit", rungs=RUNGS, cost="cost")
    assert net.rungs[2].value == pytest.approx(plain.rungs[2].value - 2.5)
    assert net.recommended == "static"


@pytest.mark.parametrize(
    ("rungs", "said"),
    [
        ({"holdout": "nothing", "bach": "static"}, "did you mean 'batch'"),
        ({"holdout": "nothing", "batch": "static", "own": "static"}, "each once"),
        ({"holdout": "nothing"}, "two rungs"),
        ({"holdout": "nothing", "batch": "personal"}, "unknown rung 'personal'"),
    ],
)
def test_rungs_that_make_no_ladder_are_refused(rungs, said):
    with pytest.raises(InputError, match=said):
        ladder_of_arms(experiment(), arm="arm", outcome="profit", rungs=rungs)
