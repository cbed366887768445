"""What a bare table doesn't say of itself: clusters that stand in two arms, and shares that changed on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from benchmarks import ramps as worlds
from experiments.analysis import analyze


def _visits(*, users: int, again: float, share: float = 0.5, seed: int = 1) -> pd.DataFrame:
    """A row per visit: of ``again`` of the users a second one, whose arm was drawn anew."""
    rng = np.random.default_rng(seed)
    who = np.concatenate([np.arange(users), np.flatnonzero(rng.random(users) < again)])
    arm = np.where(rng.random(len(who)) < share, "b", "a")
    return pd.DataFrame({"user": who, "arm": arm, "y": rng.normal(size=users)[who] + rng.normal(size=len(who))})


def test_few_users_in_two_arms_are_left_out_and_counted() -> None:
    table = _visits(users=4_000, again=0.04)
    mixed = table.groupby("user")["arm"].nunique().loc[lambda arms: arms > 1].index
    rest = table[~table["user"].isin(mixed)]
    found = analyze(table, arm="arm", control="a", metrics=["y"], cluster="user")
    by_hand = analyze(rest, arm="arm", control="a", metrics=["y"], cluster="user")
    assert found.metrics == by_hand.metrics
    assert [each.n for each in found.arms] == [int((rest["arm"] == arm).sum()) for arm in "ab"]
    assert any(f"{len(mixed)} clusters ({len(table) - len(rest)} rows) stand in several arms" in each
               for each in found.notes)  # fmt: skip
    assert not any("have no arm" in each for each in found.notes)


def test_the_split_is_checked_on_all_that_were_assigned_where_leaving_out_makes_a_mismatch() -> None:
    """Of a tenth, those drawn anew leave more often than of nine tenths: who is left no longer fits the plan."""
    table = _visits(users=200_000, again=0.05, share=0.1)
    planned = {"a": 0.9, "b": 0.1}
    found = analyze(table, arm="arm", control="a", metrics=["y"], cluster="user", planned=planned)
    mixed = table.groupby("user")["arm"].transform("nunique") > 1
    naive = analyze(table[~mixed], arm="arm", control="a", metrics=["y"], cluster="user", planned=planned)
    assert found.srm.status == "green"
    assert naive.srm.status == "red"
    assert any("makes arms of unlike size a little unlike" in each for each in found.notes)


def test_where_many_stand_in_two_arms_these_were_drawn_within_clusters() -> None:
    table = _visits(users=2_000, again=0.9)
    found = analyze(table, arm="arm", control="a", metrics=["y"], cluster="user")
    assert sum(each.n for each in found.arms) == len(table)
    assert any("arms were drawn within clusters" in each for each in found.notes)


def test_an_arm_that_stands_only_where_another_does_is_not_left_out_of_the_table() -> None:
    table = _visits(users=2_000, again=0.0, share=0.0)
    table = pd.concat([table, table.iloc[:60].assign(arm="b")])
    found = analyze(table, arm="arm", control="a", metrics=["y"], cluster="user", planned={"a": 0.97, "b": 0.03})
    assert [each.n for each in found.arms] == [2_000, 60]


def test_on_a_ramp_the_spans_of_time_hold_the_truth_and_a_plain_comparison_never_does() -> None:
    held = plain = 0
    for seed in range(40):
        table = worlds.ramped(n=1_500, rng=np.random.default_rng(seed))
        low, high = worlds.effect_by_analysis(table, time="entered")
        held += low <= worlds.TRUE <= high
        low, high = worlds.effect_by_analysis(table, time=None)
        plain += low <= worlds.TRUE <= high
    assert held >= 34  # at 95%, fewer come about in 0.3% of all cases
    assert plain == 0


def test_changed_shares_are_not_trusted_until_they_are_named_as_a_ramp() -> None:
    table = worlds.ramped(n=3_000, rng=np.random.default_rng(1))
    mail = float(np.mean(table["arm"].to_numpy(zero_copy_only=False) == "mail"))
    planned = {"mail": mail, "none": 1 - mail}
    found = analyze(table, arm="arm", control="none", metrics=["y"], planned=planned, time="entered")
    assert found.verdict.code == "do_not_trust"
    assert "name the time as the ramp, too (--ramp entered)" in found.verdict.sentence
    assert any(note.startswith("The arms' shares changed while it ran") for note in found.notes)
    named = analyze(table, arm="arm", control="none", metrics=["y"], planned=planned, time="entered", ramp="entered")
    assert named.verdict.code == "roll_out"
    assert not any("changed while it ran" in note for note in named.notes)
    assert analyze(table, arm="arm", control="none", metrics=["y"], planned=planned).verdict.code == "stop"


def test_steady_shares_are_trusted() -> None:
    for seed in range(20):
        table = worlds.ramped(n=1_000, rng=np.random.default_rng(seed), ramp=False)
        found = analyze(table, arm="arm", control="none", metrics=["y"], time="entered")
        assert found.verdict.code != "do_not_trust"


def test_a_household_counts_where_its_first_row_came_and_rows_without_a_time_stand_apart() -> None:
    rng = np.random.default_rng(4)
    home = np.repeat(np.arange(1_200), 2)
    day = np.minimum(np.repeat(rng.integers(0, 20, 1_200), 2) + rng.integers(0, 6, 2_400) * (np.arange(2_400) % 2), 19)
    arm = np.where(rng.random(1_200)[home] < np.where(np.minimum(day[::2], day[1::2])[home] < 10, 0.2, 0.5), "b", "a")
    table = pa.table({"home": home, "day": pa.array(day, mask=rng.random(2_400) < 0.02), "arm": arm,
                      "y": rng.normal(size=2_400)})  # fmt: skip
    share = float((arm == "b").mean())
    found = analyze(
        table, arm="arm", control="a", metrics=["y"], cluster="home", time="day", ramp="day",
        planned={"a": 1 - share, "b": share},
    )  # fmt: skip
    assert np.isfinite(found.metrics[0].ci_low)
    assert sum(each.n for each in found.arms) == 2_400


@pytest.mark.parametrize("more", [{}, {"planned_units": 3_000.0}, {"final": True}])
def test_a_ramp_of_days_goes_with_every_kind_of_interval(more: dict[str, Any]) -> None:
    table = worlds.ramped(n=1_500, rng=np.random.default_rng(3))
    row = analyze(table, arm="arm", control="none", metrics=["y"], time="entered", ramp="entered", **more).metrics[0]
    assert row.ci_low <= worlds.TRUE <= row.ci_high
