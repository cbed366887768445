"""The verdict: what each state of the rows leads to, and how often it is wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration.verdicts import false_verdicts
from experiments.analysis.comparison import Levels, adjust_p_values, compare
from experiments.analysis.readings import Reading, Variable
from experiments.analysis.statistics import Moments, Quantity
from experiments.analysis.verdict import Rule, verdict
from experiments.results import ArmCount, MetricRow, SampleRatio

GREEN = SampleRatio(p_value=0.5, status="green")
ARMS = (ArmCount(arm="static", n=9000, planned_share=0.5), ArmCount(arm="personal", n=8000, planned_share=0.5))


def _row(*, difference: float, error: float = 0.01, metric: str = "visit", arm: str = "personal") -> MetricRow:
    """A row as ``analyze`` would make it, of two arms of 10,000 with this difference and standard error."""
    moments = [
        Moments(n=10_000, mean=np.array([mean]), scatter=np.array([[error**2 / 2 * 10_000 * 9_999]]))
        for mean in (0.2, 0.2 + difference)
    ]
    reading = Reading(
        goal=Variable(name=metric, columns=(metric,)),
        moments=moments,
        quantity=Quantity(numerator=0),
        covariates=(),
        missing=0,
        clustered=False,
    )
    return compare(reading, moments, ["static", arm], levels=Levels())[0]


def _decide(*rows: MetricRow, srm: SampleRatio = GREEN, **rule: object) -> tuple[str, str]:
    found = verdict(adjust_p_values(rows), arms=ARMS, srm=srm, rule=Rule(**rule))
    return found.code, found.sentence


def test_a_clear_gain_is_rolled_out_with_its_numbers_in_the_sentence() -> None:
    code, sentence = _decide(_row(difference=0.05), rates=("visit",))
    assert code == "roll_out"
    assert sentence == (
        "Roll out 'personal': visit is 25.00% of 10,000 with 'personal' against 20.00% of 10,000 with 'static', "
        "+5.00 points (95% sure however often you look: between +1.87 and +8.13)."
    )


def test_a_range_without_zero_that_is_not_enough_says_what_it_was_corrected_for() -> None:
    gain, other = _row(difference=0.0205), _row(difference=0.001, metric="spend")  # p = 0.04, and 0.92
    code, sentence = _decide(gain, other, kind="fixed")
    assert code == "keep_running" and gain.ci_low > 0
    assert sentence.endswith(
        "The range leaves out 0, but corrected for 2 comparisons p = 0.081 in a single look: that is not "
        "enough to tell."
    )
    arms = [_row(difference=0.0205, arm="a"), _row(difference=0.0204, arm="b")]
    assert "is not below 0.025, as 2 arms allow: that is not enough" in _decide(*arms, kind="fixed")[1]
    assert _decide(_row(difference=0.01), kind="fixed")[1].endswith(". That is not enough to tell.")


def test_a_clear_loss_stops_and_a_small_difference_keeps_running() -> None:
    assert _decide(_row(difference=-0.05))[0] == "stop"
    assert _decide(_row(difference=0.01))[0] == _decide(_row(difference=-0.01))[0] == "keep_running"


def test_what_only_a_single_planned_look_could_tell_waits_unless_it_is_that_look() -> None:
    row = _row(difference=0.025)  # 2.5 standard errors: p = .012 at one look, not enough at any look
    assert _decide(row)[0] == "keep_running"
    assert _decide(row, kind="fixed")[0] == "roll_out"


def test_a_red_split_overrides_everything_and_a_yellow_one_holds_back() -> None:
    red, yellow = SampleRatio(p_value=1e-12, status="red"), SampleRatio(p_value=0.0086, status="yellow")
    for difference in (0.5, -0.5, 0.0):
        code, sentence = _decide(_row(difference=difference), srm=red)
        assert code == "do_not_trust"
        assert "'personal' 8,000 instead of 8,500" in sentence
        code, sentence = _decide(_row(difference=difference), srm=yellow)
        assert code == "keep_running"
        assert "p = 0.0086" in sentence


def test_of_several_arms_the_best_is_named_and_the_others_told() -> None:
    rows = [_row(difference=each, arm=name) for name, each in (("a", 0.05), ("b", 0.09), ("c", -0.2), ("d", 0.001))]
    code, sentence = _decide(*rows)
    assert code == "roll_out"
    assert sentence.startswith("Roll out 'b'")
    assert all(f"'{name}'" in sentence for name in "acd")
    assert "'static'" in sentence


def test_many_arms_and_metrics_need_more_than_one_small_p() -> None:
    lucky = _row(difference=0.0235, arm="lucky")  # p = .019 alone
    idle = [_row(difference=0.002, arm=f"arm {number}") for number in range(9)]
    assert _decide(lucky, kind="fixed")[0] == "roll_out"
    assert _decide(lucky, *idle, kind="fixed")[0] == "keep_running"


def test_stopping_takes_every_arm_without_hope() -> None:
    assert _decide(_row(difference=-0.2, arm="a"), _row(difference=0.0, arm="b"))[0] == "keep_running"
    assert _decide(_row(difference=-0.2, arm="a"), _row(difference=-0.3, arm="b"))[0] == "stop"
    unknown = replace(
        _row(difference=0.0, arm="b"), ci_high=math.nan, anytime_ci_low=math.nan, anytime_ci_high=math.nan
    )
    assert _decide(_row(difference=-0.2, arm="a"), unknown)[0] == "keep_running"


def test_a_gain_is_rolled_out_once_all_of_its_interval_is_worth_it_and_stops_once_none_is() -> None:
    row = _row(difference=0.05)  # at any look: .0187 to .0813
    assert _decide(row, worth=0.018)[0] == "roll_out"
    code, sentence = _decide(row, worth=0.02, rates=("visit",))
    assert code == "keep_running"
    assert sentence.endswith("That is a gain, but it may still be less than the +2.00 points that would be worth it.")
    code, sentence = _decide(row, worth=0.2)
    assert code == "stop"
    assert "+0.200" in sentence


def test_an_estimate_below_its_worth_is_never_rolled_out() -> None:
    # The upper end, .121, is above the worth; the estimate isn't.
    row = replace(_row(difference=0.094), anytime_ci_low=0.066, anytime_ci_high=0.121)
    assert _decide(row, worth=0.11)[0] == "keep_running"
    assert _decide(row, worth=0.066)[0] == "roll_out"
    assert _decide(row, worth=0.122)[0] == "stop"


def test_where_less_is_better_the_signs_turn() -> None:
    less, more = _row(difference=-0.05, metric="returns"), _row(difference=0.05, metric="returns")
    assert _decide(less, lower_is_better=("returns",))[0] == "roll_out"
    assert _decide(more, lower_is_better=("returns",))[0] == "stop"
    assert _decide(less, lower_is_better=("returns",), worth=0.2)[0] == "stop"
    assert _decide(less, lower_is_better=("returns",), worth=0.018)[0] == "roll_out"
    assert _decide(less, lower_is_better=("returns",), worth=0.02)[0] == "keep_running"


def test_a_gain_that_harms_another_metric_is_not_rolled_out_by_itself() -> None:
    gain = _row(difference=0.05)
    code, sentence = _decide(gain, _row(difference=-0.05, metric="spend"))
    assert code == "keep_running"
    assert "spend is worse" in sentence
    assert _decide(gain, _row(difference=-0.05, metric="opt_outs"), lower_is_better=("opt_outs",))[0] == "roll_out"


def test_a_harm_that_one_look_alone_would_tell_is_not_told_as_known_at_any_look() -> None:
    code, sentence = _decide(_row(difference=0.05), _row(difference=-0.025, metric="spend"))
    assert code == "keep_running"
    assert "spend looks worse, which is not sure" in sentence


def _several(z: np.ndarray, *, mean: float, sure: bool) -> list[MetricRow]:
    """The first metric of arms with these z statistics, and clicks that any arm moves for certain."""
    rows = [_row(difference=mean + 0.01 * each, arm=f"arm {place}") for place, each in enumerate(z)]
    return rows + [_row(difference=0.5, metric="clicks", arm=row.arm) for row in rows if sure]


@pytest.mark.parametrize(("mean", "worth", "sure"), [(0.0, 0.0, True), (0.05, 0.05, False)])
def test_the_more_arms_the_more_it_takes_also_at_a_planned_look(mean: float, worth: float, sure: bool) -> None:
    """No arm gains, but all are clicked more; or none is worth it. By each arm's own 95%: 8.7 and 9.5% of all runs."""
    rng, runs = np.random.default_rng(15), 400
    draws = (rng.normal(size=(runs, 5)) + rng.normal(size=(runs, 1))) / np.sqrt(2)
    false = [_decide(*_several(z, mean=mean, sure=sure), kind="fixed", worth=worth)[0] == "roll_out" for z in draws]
    assert np.mean(false) <= 0.045  # 2.5%, and two and a half standard errors
    assert (draws.max(axis=1) > 1.96).mean() > 0.07


def _guarded(*rows: MetricRow, limit: float) -> tuple[str, str]:
    return _decide(*rows, lower_is_better=("opt_outs",), limits={"opt_outs": limit})


def test_a_limit_is_kept_broken_or_open_by_the_interval_of_the_guardrail() -> None:
    gain, rise = _row(difference=0.05), _row(difference=0.005, error=0.001, metric="opt_outs")
    low, high = rise.anytime_ci_low, rise.anytime_ci_high
    assert 0 < low < 0.005 < high  # a rise beyond chance, which may be within what is allowed
    assert rise.adjusted_p_value < 0.05
    assert _guarded(gain, rise, limit=high)[0] == "roll_out"
    code, sentence = _guarded(gain, rise, limit=high - 1e-9)
    assert code == "keep_running"
    assert "opt_outs may have risen by more than the" in sentence
    code, sentence = _guarded(gain, rise, limit=low - 1e-9)
    assert code == "keep_running"
    assert "opt_outs rose by more than the" in sentence


def test_a_large_rise_that_may_be_chance_holds_back_and_one_arm_with_no_harm_goes_before_it() -> None:
    gain, rise = _row(difference=0.05), _row(difference=0.03, error=0.02, metric="opt_outs")
    assert rise.adjusted_p_value > 0.05
    assert _guarded(gain, rise, limit=0.01)[0] == "keep_running"
    calm = _row(difference=0.0, error=0.001, metric="opt_outs", arm="calm")
    code, sentence = _guarded(gain, _row(difference=0.04, arm="calm"), rise, calm, limit=0.01)
    assert code == "roll_out"
    assert sentence.startswith("Roll out 'calm'")


def test_a_limit_without_an_interval_is_never_taken_as_kept() -> None:
    nan = math.nan
    still = replace(_row(difference=0.0, metric="opt_outs"), anytime_ci_low=nan, anytime_ci_high=nan, p_value=nan)
    code, sentence = _guarded(_row(difference=0.05), still, limit=0.002)
    assert code == "keep_running"
    assert sentence.endswith("how much more it may be isn't known.")


def test_nothing_known_keeps_running() -> None:
    blank = replace(_row(difference=0.0), anytime_ci_low=math.nan, anytime_ci_high=math.nan, p_value=math.nan)
    assert _decide(blank)[0] == "keep_running"


def test_looking_all_the_time_at_nothing_rolls_nothing_out() -> None:
    rolled, naive = false_verdicts(np.random.default_rng(14), runs=150)  # in full: benchmarks/calibration
    assert rolled <= 0.05
    assert naive > 0.10  # what looking does to the rule that is meant for one look


@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_the_sentence_says_how_sure_it_is(alpha: float) -> None:
    assert f"{1 - alpha:.0%} sure" in _decide(_row(difference=0.3), alpha=alpha)[1]
