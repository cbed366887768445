"""The ladder from any randomized table: real customers, strangers' columns, bad input."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv as pa_csv

from experiments.estimation.influence import mean_interval
from experiments.estimation.nuisance import OutcomeModels
from experiments.heterogeneity import gains
from experiments.ladder import ladder
from experiments.ladder.rungs import Lesson, Policies, robust_scores
from experiments.ladder.units import read_units
from features.errors import InputError
from features.tables import read_table

RUNGS = ["nothing", "random", "static", "segment", "few", "one_to_one"]


def customers(n=600, seed=1):
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, 3, n)
    return {
        "age": rng.normal(50, 10, n),
        "region": rng.choice(["north", "south"], n),
        "arm": np.array(["none", "letter", "mail"])[arm],
        "spend": rng.normal(10, 2, n) + 2.0 * (arm == 1),
    }


def climb(columns, **options):
    chosen = {"arm": "arm", "control": "none", "outcome": "spend", "repeats": 2, **options}
    return ladder(pa.table(columns), **chosen)


def values(found):
    return np.array([rung.value for rung in found.rungs])


# Hillstrom: 64,000 real customers


def hillstrom(data):
    return read_table(data("hillstrom/hillstrom.csv.gz"))


def test_on_hillstrom_one_to_one_gains_nothing_over_the_mens_email(data):
    table = hillstrom(data)
    # Halves dealt once; five deals change the intervals' width, not what is said here.
    found = ladder(
        table, arm="segment", control="No E-Mail", outcome="visit", exclude=("conversion", "spend"), repeats=1
    )
    by = {rung.rung: rung for rung in found.rungs}
    assert list(by) == RUNGS
    # The published rates, without and with the men's e-mail; adjusted values are within a standard error of them.
    assert by["nothing"].value == pytest.approx(0.106167, abs=0.0021)
    assert by["static"].value == pytest.approx(0.182757, abs=0.0026)
    assert by["static"].shares == {"No E-Mail": 0.0, "Mens E-Mail": 1.0, "Womens E-Mail": 0.0}
    # A careful estimate elsewhere: 0.0005 +- 0.0035.
    assert abs(by["one_to_one"].value - by["static"].value) < 0.0035
    assert found.recommended == "static"
    assert "'Mens E-Mail' to everybody" in found.sentence
    assert "per 1,000 customers" in found.sentence


def test_on_hillstrom_the_data_that_chose_the_policy_would_invent_a_gain(data):
    units = read_units(
        hillstrom(data), arm="segment", control="No E-Mail", outcome="visit", exclude=("conversion", "spend")
    )
    rng = np.random.default_rng(1)
    models = OutcomeModels.fit(units.features, action=units.arm, outcome=units.outcome, actions=3, rng=rng)
    net = models.predict(units.features)
    lesson = Lesson(features=units.features, levels=[each.levels for each in units.segments], net=net)
    scores = robust_scores(net, arm=units.arm, outcome=units.outcome, chance=units.chance[units.arm])
    chosen = Policies.learn(lesson, scores=scores, groups=5, rng=rng).apply(lesson)
    same = np.take_along_axis(scores, chosen, axis=1)
    gain = mean_interval(same[:, 3] - same[:, 0])
    assert gain.above(0.0)
    assert gain.value > 0.002


def test_other_outcomes_that_a_user_forgot_to_exclude_are_left_out_and_named(data):
    units = read_units(hillstrom(data), arm="segment", control="No E-Mail", outcome="visit")
    told = " ".join(units.notes)
    assert "'conversion' left out" in told
    assert "'spend' left out" in told
    careful = read_units(
        hillstrom(data), arm="segment", control="No E-Mail", outcome="visit", exclude=("conversion", "spend")
    )
    assert units.features.shape == careful.features.shape


# Columns that would flatter


def test_a_column_that_tells_the_outcome_is_left_out_and_refused_when_named():
    columns = customers()
    columns["twin"] = columns["spend"] * 2 + 0.01
    found = climb(columns)
    assert any("'twin' left out" in note for note in found.notes)
    with pytest.raises(InputError, match="'twin' was hardly known before"):
        climb(columns, features=("age", "twin"))


def test_a_column_that_implies_the_outcome_is_left_out():
    columns = customers()
    columns["spend"] = (columns["spend"] > 12).astype(int)
    bought = np.where(columns["spend"] == 1, "yes", "no")
    bought[np.flatnonzero(columns["spend"] == 1)[::2]] = "no"
    columns["bought"] = bought
    assert any("'bought' left out" in note for note in climb(columns).notes)


def test_ids_and_constants_are_no_features():
    columns = customers()
    plain = read_units(pa.table(columns), arm="arm", control="none", outcome="spend")
    n = len(columns["arm"])
    more = {**columns, "id": np.arange(n), "mail": [f"c{i}@example.org" for i in range(n)], "land": ["x"] * n}
    assert read_units(pa.table(more), arm="arm", control="none", outcome="spend").features.shape == plain.features.shape


def test_missing_values_and_categories_are_taken_as_they_are():
    columns = customers()
    columns["age"][::7] = np.nan
    region = columns["region"].astype(object)
    region[::5] = None
    assert climb({**columns, "region": region}).recommended == "static"


# What the numbers mean


def test_costs_are_taken_off_the_arms_that_cost():
    free, priced = climb(customers()), climb(customers(), costs={"letter": 3.0, "mail": 3.0})
    assert values(priced)[0] == pytest.approx(values(free)[0])
    assert values(priced)[1] == pytest.approx(values(free)[1] - 3.0)
    assert priced.recommended == "nothing"
    assert "net of contact cost" in priced.sentence


def test_gains_are_differences_of_neighbouring_values():
    found = climb(customers())
    assert [rung.gain for rung in found.rungs[1:]] == pytest.approx(np.diff(values(found)).tolist())
    assert found.rungs[0].gain is None
    assert all(sum(rung.shares.values()) == pytest.approx(1.0, abs=1e-5) for rung in found.rungs)


def test_rows_of_one_household_widen_the_interval_as_if_they_were_one():
    columns = customers(300)
    twice = {name: np.concatenate([value, value]) for name, value in columns.items()}
    twice["home"] = np.tile(np.arange(300), 2)
    single = climb(columns, features=())
    double = climb(twice, features=(), cluster="home")
    # Doubled rows hold no news: the width stays, to a tenth as folds differ. Without clusters it would be 0.71 of it.
    widths = [each.rungs[0].ci_high - each.rungs[0].ci_low for each in (single, double)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_without_features_values_are_the_arms_means():
    columns = customers()
    found = climb(columns, features=())
    control = columns["spend"][columns["arm"] == "none"]
    assert values(found)[0] == pytest.approx(control.mean(), abs=0.02)
    assert values(found)[2:] == pytest.approx(columns["spend"][columns["arm"] == "letter"].mean(), abs=0.02)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000))
def test_the_order_of_rows_carries_no_meaning(seed):
    columns = customers(300)
    order = np.random.default_rng(seed).permutation(300)
    shuffled = {name: value[order] for name, value in columns.items()}
    assert climb(shuffled) == climb(columns)


@settings(max_examples=4, deadline=None)
@given(shift=st.floats(-1_000, 1_000))
def test_a_constant_added_to_the_outcome_shifts_every_value_by_it(shift):
    columns = customers(300)
    moved = {**columns, "spend": columns["spend"] + shift}
    before, after = climb(columns), climb(moved)
    assert values(after) == pytest.approx(values(before) + shift, abs=1e-3)
    assert after.recommended == before.recommended


def test_names_of_arms_carry_no_meaning():
    columns = customers(300)
    names = {"none": "zzz", "letter": "a b", "mail": "c,d"}
    other = {**columns, "arm": np.array([names[arm] for arm in columns["arm"]])}
    found, renamed = climb(columns), climb(other, control="zzz")
    assert values(renamed) == pytest.approx(values(found))
    assert [list(rung.shares.values()) for rung in renamed.rungs] == [
        list(rung.shares.values()) for rung in found.rungs
    ]


# Arms as people write them


def test_an_arm_is_named_as_text_and_a_blank_one_is_left_out():
    told = customers()
    numbers = np.unique(told["arm"], return_inverse=True)[1].astype(float)  # letter 0, mail 1, none 2
    found = climb({**told, "arm": numbers}, control="2")
    assert list(found.rungs[0].shares) == ["2", "0", "1"]
    assert np.array_equal(values(found), values(climb(told)))
    blank = np.asarray(told["arm"], dtype=object)
    blank[:5] = ""
    assert any(note.startswith("5 of ") for note in climb({**told, "arm": blank}).notes)


# Bad input


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"control": "nobody"}, "unknown arm 'nobody'"),
        ({}, {"outcome": "spent"}, "unknown column 'spent'"),
        ({}, {"outcome": "region"}, "is not a number"),
        ({}, {"outcome": "arm"}, "one column"),
        ({}, {"costs": {"leter": 1.0}}, "unknown arm 'leter'"),
        ({}, {"costs": {"letter": float("nan")}}, "is not a number"),
        ({}, {"probabilities": {"letter": 0.5}}, "don't add up"),
        ({}, {"folds": 1}, "folds"),
        ({}, {"alpha": 1.5}, "alpha"),
        ({"spend": np.ones(600)}, {}, "never varies"),
        ({"spend": np.full(600, np.nan)}, {}, "no row has"),
        ({"spend": np.r_[np.inf, np.ones(599)]}, {}, "infinite"),
        ({"arm": np.array(["none"] * 600)}, {}, "fewer than two arms"),
        ({"arm": np.array(["none"] * 590 + ["letter"] * 10)}, {}, "'letter' is too small"),
        ({"arm": np.arange(600) % 60}, {"control": "0"}, "too many values"),
        ({"home": np.arange(600) % 5}, {"cluster": "home"}, "too few clusters"),
    ],
)
def test_bad_input_is_told_in_words(change, options, said):
    with pytest.raises(InputError, match=said):
        climb({**customers(), **change}, **options)


# The command


def test_the_command_says_the_sentence_first_and_writes_the_fixed_keys(rapport_cli, tmp_path):
    from features.tables import write_table

    path = write_table(pa.table(customers()), tmp_path / "t.csv")
    ran = rapport_cli("ladder", path, "--arm", "arm", "--control", "none", "--outcome", "spend", "--cost", "letter=0.5",
                      "--segment", "region", "--json", tmp_path / "out.json")  # fmt: skip
    assert ran.exit_code == 0
    assert ran.stdout.startswith("Stop at static, 'letter' to everybody")
    for rung in RUNGS:
        assert rung in ran.stdout
    written = json.loads((tmp_path / "out.json").read_text())
    assert {"rungs", "recommended", "sentence"} <= set(written)
    assert [rung["rung"] for rung in written["rungs"]] == RUNGS
    keys = {"rung", "value", "ci_low", "ci_high", "gain", "gain_ci_low", "gain_ci_high", "shares"}
    assert all(set(rung) == keys for rung in written["rungs"])


def test_a_cost_that_cannot_be_read_ends_with_2(rapport_cli, tmp_path):
    from features.tables import write_table

    path = write_table(pa.table(customers()), tmp_path / "t.parquet")
    ran = rapport_cli("ladder", path, "--arm", "arm", "--control", "none", "--outcome", "spend", "--cost", "letter")
    assert ran.exit_code == 2
    assert "ARM=AMOUNT" in ran.stderr


# A table that nobody randomized


def chosen_by_hand(n: int = 4_000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    age, tenure, visits = rng.normal(45, 12, n), rng.gamma(2, 3, n), rng.poisson(3, n)
    called = rng.random(n) < 1 / (1 + np.exp(-(age - 45) / 12 - (tenure - 6) / 4 - (visits - 3)))
    bought = rng.random(n) < 0.1 + 0.02 * visits
    return {
        "age": age,
        "tenure": tenure,
        "visits": visits,
        "lucky_number": rng.integers(0, 9, n),
        "arm": np.where(called, "call", "none"),
        "bought": bought.astype(int),
    }


def test_a_table_that_nobody_randomized_is_not_believed_and_nothing_is_recommended():
    found = ladder(pa.table(chosen_by_hand()), arm="arm", control="none", outcome="bought")
    assert not found.trusted
    assert found.recommended == "nothing"
    assert found.sentence.startswith("Do not trust these numbers: 3 of 4 columns differ between the arms far beyond")
    assert "(age, tenure, visits), so chance did not decide who got what" in found.sentence
    assert not any("measured after the contact" in note for note in found.notes)


def test_naming_the_features_doesn_t_make_such_a_table_believed():
    table = pa.table(chosen_by_hand())
    found = ladder(table, arm="arm", control="none", outcome="bought", features=("age", "tenure", "visits"))
    assert not found.trusted


def test_who_gains_is_not_told_from_such_a_table():
    found = gains(pa.table(chosen_by_hand()), arm="arm", control="none", outcome="bought")
    assert not found.trusted
    assert [len(each.sentences) for each in found.arms] == [1]
    assert found.arms[0].sentences[0].startswith("Do not trust these numbers")


def test_who_gains_says_where_no_column_is_left_to_tell_customers_apart():
    columns = chosen_by_hand()
    rng = np.random.default_rng(3)
    columns["arm"] = rng.choice(["call", "none"], columns["age"].size)
    others = ("age", "tenure", "visits", "lucky_number")
    found = gains(pa.table(columns), arm="arm", control="none", outcome="bought", exclude=others)
    assert found.arms[0].sentences[0].startswith("Nothing was left to look at")


def test_outcomes_left_in_an_honest_table_do_not_make_it_doubted(data):
    found = read_units(hillstrom(data), arm="segment", control="No E-Mail", outcome="visit")
    assert found.doubt == ""


def test_a_call_centre_s_table_is_not_believed(data):
    read = pa_csv.read_csv(
        data("bank_marketing/bank-additional-full.csv.gz"), parse_options=pa_csv.ParseOptions(delimiter=";")
    )
    read = read.set_column(read.column_names.index("y"), "y", pc.cast(pc.equal(read["y"], "yes"), pa.int64()))
    found = read_units(read, arm="contact", control="telephone", outcome="y", exclude=("duration",))
    assert "columns differ between the arms far beyond chance (age, job" in found.doubt
