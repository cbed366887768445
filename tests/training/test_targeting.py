"""How well a score targets: areas on paper, those of grf and scikit-uplift on Hillstrom, and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import expon, norm, uniform

from features.errors import InputError
from features.tables import read_table
from training.targeting import DEFINITIONS, autoc, qini, targeting


def test_autoc_of_known_effects():
    """grf's definition: effects from U(0, 1), ranked rightly, have 1/4; ranked at random, 0; a constant, exactly 0."""
    rng = np.random.default_rng(1)
    effect = rng.random(10_000)
    pseudo = effect + rng.normal(0, 1, 10_000)
    area, error = autoc(effect, pseudo)
    assert area == pytest.approx(0.25, abs=4 * error)
    assert error < 0.03
    random, error = autoc(rng.random(10_000), pseudo)
    assert abs(random) < 4 * error
    assert autoc(np.zeros(10_000), pseudo)[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("law", "area", "weighted"),
    [(uniform, 1 / 4, 1 / 12), (expon, 1.0, 1 / 4), (norm, 0.9031972856, 0.2820947918)],
)
def test_areas_of_laws_are_those_on_paper(law, area, weighted):
    """Effects at the middles of 10,000 equal slices of each law, ranked rightly: what is left is the slices' width."""
    effect = law.ppf((np.arange(10_000) + 0.5) / 10_000)
    assert autoc(effect, effect)[0] == pytest.approx(area, abs=1e-3)
    assert qini(effect, effect) == pytest.approx(weighted, abs=1e-3)


def test_areas_on_hillstrom_are_those_of_grf(data):
    """Women's e-mail against none, visits, ranked by the column ``womens``; effects weighted by the arms' shares."""
    table = read_table(data("hillstrom/hillstrom.csv.gz")).to_pandas()
    table = table[table["segment"] != "Mens E-Mail"]
    sent = (table["segment"] == "Womens E-Mail").to_numpy()
    share = sent.mean()
    effect = table["visit"].to_numpy(float) * np.where(sent, 1 / share, -1 / (1 - share))
    score = table["womens"].to_numpy(float)
    assert autoc(score, effect)[0] == pytest.approx(0.02083347, abs=5e-9)
    assert qini(score, effect) == pytest.approx(0.00783370, abs=5e-9)


def test_four_figures_of_one_sort_on_hillstrom(data):
    """Women's e-mail against none, visits, ranked by ``womens``: scikit-uplift 0.5.1 and grf, to all their digits."""
    table = read_table(data("hillstrom/hillstrom.csv.gz")).to_pandas()
    table = table[table["segment"] != "Mens E-Mail"]
    found = targeting(
        table["womens"].to_numpy(float),
        outcome=table["visit"].to_numpy(),
        treated=(table["segment"] == "Womens E-Mail").to_numpy(),
    )
    assert found.autoc == pytest.approx(0.02083347, abs=5e-9)
    assert found.qini == pytest.approx(0.00783370, abs=5e-9)
    assert found.qini_auc == pytest.approx(0.06401551, abs=5e-9)
    assert found.uplift_auc == pytest.approx(0.02943116, abs=5e-9)
    assert found.uplift_at == pytest.approx(0.07160043, abs=5e-9)
    assert found.uplift_at_by_group == pytest.approx(0.07141630, abs=5e-9)


def test_every_output_says_what_its_figures_are():
    told = targeting(np.arange(40.0), outcome=np.arange(40) % 3 == 0, treated=np.arange(40) % 2 == 0).to_json()
    assert set(told["definitions"]) == set(DEFINITIONS)
    assert set(DEFINITIONS) <= set(told)
    assert "grf" in told["definitions"]["qini"]
    assert "scikit-uplift" in told["definitions"]["qini_auc"]


def curve(score, outcome, treated, value):
    """Points of a curve, row by row from the best score, one for each distinct score."""
    points = [(0.0, 0.0)]
    for bound in sorted(set(score), reverse=True):
        among = score >= bound
        points.append((float(among.sum()), value(outcome[among], treated[among])))
    return np.array(points)


def above_chance(points):
    x, y = points.T
    return np.trapezoid(y, x) - x[-1] * y[-1] / 2


def of_qini(outcome, treated):
    others = (~treated).sum()
    return outcome[treated].sum() - (outcome[~treated].sum() * treated.sum() / others if others else 0.0)


def of_uplift(outcome, treated):
    mean = outcome[treated].mean() if treated.any() else 0.0
    return (mean - (outcome[~treated].mean() if (~treated).any() else 0.0)) * treated.size


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100_000), levels=st.integers(2, 30), rows=st.integers(20, 80))
def test_the_areas_are_those_of_the_curves_drawn_row_by_row(seed, levels, rows):
    rng = np.random.default_rng(seed)
    score, treated = rng.integers(0, levels, rows).astype(float), np.arange(rows) % 2 == 0
    outcome = (rng.random(rows) < 0.4).astype(float)
    outcome[:2] = 1.0, 0.0
    found = targeting(score, outcome=outcome, treated=treated)
    best = outcome * treated - outcome * ~treated
    area = above_chance(curve(score, outcome, treated, of_qini)) / above_chance(curve(best, outcome, treated, of_qini))
    assert found.qini_auc == pytest.approx(area)
    wrong = outcome if (outcome * ~treated).sum() > ((1 - outcome) * treated).sum() else treated
    ideal = 2 * (outcome == treated) + wrong
    area = above_chance(curve(score, outcome, treated, of_uplift)) / above_chance(
        curve(ideal, outcome, treated, of_uplift)
    )
    assert found.uplift_auc == pytest.approx(area)


def test_a_score_by_chance_targets_nobody_and_the_effect_itself_does():
    rng = np.random.default_rng(1)
    effect, treated = rng.random(20_000), rng.random(20_000) < 0.5
    outcome = (rng.random(20_000) < 0.2 + 0.5 * effect * treated).astype(float)
    right = targeting(effect, outcome=outcome, treated=treated, probability=0.5)
    chance = targeting(rng.random(20_000), outcome=outcome, treated=treated, probability=0.5)
    assert right.autoc == pytest.approx(0.5 * 0.25, abs=0.04)  # half of U(0, 1)'s; four standard errors
    assert abs(chance.autoc) < 0.04
    assert right.qini_auc > 5 * abs(chance.qini_auc)


def test_money_has_no_best_score_to_compare_with():
    found = targeting(np.arange(40.0), outcome=np.arange(40.0), treated=np.arange(40) % 2 == 0)
    assert found.qini_auc is None
    assert found.uplift_at is not None


@pytest.mark.parametrize(("treated", "share"), [(40, 0.3), (2, 0.3), (20, 1.0)])
def test_too_few_of_one_kind_are_told(treated, share):
    with pytest.raises(InputError, match="targeting can't be judged"):
        targeting(np.arange(40.0), outcome=np.arange(40) % 2, treated=np.arange(40) < treated, share=share)
