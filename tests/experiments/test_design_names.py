"""What a design may call things, and numbers that can't be meant: refused when the file is read, never at a look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.design import Experiment
from experiments.design_file import load_experiment
from experiments.record import _keys
from features.errors import InputError

_DESIGN = """
key = "spring"
title = "Spring offers"
hypothesis = "Choosing\\nearns more."
control = "the letter"
start = 2026-01-01
end = 2026-03-01
[[arms]]
name = "the letter"
shows = "the same to all"
policy = "static"
share = 0.5
[[arms]]
name = "Men's e-mail"
shows = "the best for each"
policy = "one_to_one"
share = 0.5
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 14
worth = 0.01
[[goals]]
name = "revenue"
kind = "sum"
events = ["purchase"]
window_days = 14
cap = 9_000
worth = 50
[[guardrails]]
name = "opted_out"
kind = "any"
events = ["opt_out"]
window_days = 14
limit = 0.002
"""


def _loaded(folder: Path, *changed: tuple[str, str]) -> Experiment:
    text = _DESIGN
    for right, wrong in changed:
        assert right in text
        text = text.replace(right, wrong, 1)
    path = folder / "spring.toml"
    path.write_text(text, encoding="utf-8")
    return load_experiment(path)


@pytest.mark.parametrize(
    "key", ["", " spring", "spring ", "spring\\n", "sp ring", "../spring", "\\u001b[31m", "s" * 300]
)
def test_a_key_that_is_no_id_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match=r"^spring\.toml: the key of an experiment is no plain name"):
        _loaded(tmp_path, ('key = "spring"', f'key = "{key}"'))


@pytest.mark.parametrize("key", ["holdout", "standing"])
def test_a_key_under_which_others_decide_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match="can't be called"):
        _loaded(tmp_path, ('key = "spring"', f'key = "{key}"'))


_ODD_NAMES = ["", " ", "a ", " a", "a\\nb", "a\\tb", "\\u001b[31mred", "a\\u0000", "a\\u202Eb", "a\\u200Bb", "a" * 300]


@pytest.mark.parametrize("name", _ODD_NAMES)
def test_an_arm_whose_name_can_not_be_printed_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="the name of an arm is no name") as caught:
        _loaded(tmp_path, ('name = "Men\'s e-mail"', f'name = "{name}"'))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


@pytest.mark.parametrize("name", [*_ODD_NAMES, "revenue/orders", "Käufe", "arm", "Customer_ID", "mature"])
def test_a_goal_that_can_be_no_column_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no plain name|can't be called"):
        _loaded(tmp_path, ('name = "revenue"', f'name = "{name}"'))


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('name = "revenue"', 'name = "Bought"', "two goals have the same name"),
        ('name = "opted_out"', 'name = "bought"', "two goals have the same name"),
        ('name = "Men\'s e-mail"', 'name = "the letter"', "two arms have the same name"),
        ('title = "Spring offers"', 'title = "\\u001b[2Jgone"', "the title can't be printed"),
        ('policy = "one_to_one"', 'policy = ""', "the policy of arm"),
        ('events = ["opt_out"]', 'events = ["opt_out", " "]', "an event of 'opted_out' is no name"),
        ("limit = 0.002", "limit = -0.002", "the limit of 'opted_out' is out of range"),
        ("limit = 0.002", "limit = nan", "the limit of 'opted_out' is out of range"),
        ("limit = 0.002", "limit = 2", "0.02 is 2 points"),
        ("worth = 50", "worth = -5", "the worth of 'revenue' is out of range"),
        ("worth = 50", "worth = inf", "the worth of 'revenue' is out of range"),
        ("worth = 0.01", "worth = nan", "the worth of 'bought' is out of range"),
        ("window_days = 14", "window_days = 0", "not a positive number of days"),
        ("window_days = 14", "window_days = -14", "not a positive number of days"),
        ("window_days = 14", "window_days = nan", "not a positive number of days"),
        ("window_days = 14", "window_days = inf", "not a positive number of days"),
        ("window_days = 14", "window_days = 14\ndelay_days = nan", "not a positive number of days"),
        ("cap = 9_000", "cap = 0", "the cap of 'revenue'"),
        ("cap = 9_000", "cap = -1", "the cap of 'revenue'"),
        ("cap = 9_000", "cap = nan", "the cap of 'revenue'"),
        ("share = 0.5", "share = 0.5000001", r"don't sum to 1; got .* = 1\.0000001"),
        ("share = 0.5", "share = nan", "don't sum to 1"),
        ("share = 0.5", "share = -0.5", "don't sum to 1"),
        ("end = 2026-03-01", "end = 2025-03-01", "ends before it starts"),
        ("end = 2026-03-01", "end = 2026-01-01", "ends before it starts"),
        ("end = 2026-03-01", "end = 9999-12-31", "can't be right"),
        ("end = 2026-03-01", "end = 2026-03-01\nalpha = 1.0", "alpha is not a small share"),
        ("end = 2026-03-01", "end = 2026-03-01\nalpha = nan", "alpha is not a small share"),
        ("end = 2026-03-01", "end = 2026-03-01\nlargest_loss = nan", "largest_loss is no loss"),
    ],
)
def test_what_can_not_be_meant_is_refused_with_the_file(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        _loaded(tmp_path, (right, wrong))
    assert caught.value.wrong.startswith("spring.toml: ") and caught.value.do


def test_words_of_people_are_names_of_arms(tmp_path: Path) -> None:
    trial = _loaded(tmp_path)
    assert trial.arm_names == ("the letter", "Men's e-mail")
    assert trial.hypothesis == "Choosing\nearns more."
    for name in ("Пісьмо", "春のお便り", "Früh- & Spätpost 50% [neu]"):
        assert replace(trial.arms[0], name=name).name == name


def test_two_spellings_of_one_accent_are_one_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two arms have the same name"):
        _loaded(
            tmp_path,
            ('control = "the letter"', 'control = "é"'),
            ('name = "the letter"', 'name = "\\u00e9"'),
            ('name = "Men\'s e-mail"', 'name = "e\\u0301"'),
        )


def test_names_that_mlflow_would_take_for_one_stay_apart() -> None:
    names = ("Men's e-mail", "Men s e-mail", "Письмо", "Пісьмо", "..", "revenue/orders", "revenue_orders", "A", "a")
    keys = _keys(names)
    assert len({key.casefold() for key in keys.values()}) == len(names)
    assert keys["Men's e-mail"] == "Men_s_e-mail" and keys["revenue/orders"] == "revenue_orders"
    assert _keys(names[:2]) == {name: keys[name] for name in names[:2]}  # those of one design are always the same
    long = _keys(("a" * 300, "a" * 299 + "b")).values()
    assert len(set(long)) == 2 and max(map(len, long)) < 100
