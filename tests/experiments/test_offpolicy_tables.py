"""Logs and policies as people have them: which columns count, how policies are written, what is told of bad ones."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest

from experiments.estimation.columns import Column, unread
from experiments.offpolicy import evaluate, read_log
from features.errors import InputError
from features.tables import read_table, write_table

COLUMNS = {"action": "item", "reward": "bought", "probability": "chance"}
ROWS = 400
SHARES = np.random.default_rng(1).dirichlet(np.ones(3), ROWS)
USERS = np.random.default_rng(2).permutation(9 * ROWS)[:ROWS] + 5_000_000


def log(**change):
    rng = np.random.default_rng(3)
    columns = {
        "item": rng.integers(1, 4, ROWS),
        "bought": rng.integers(0, 2, ROWS),
        "chance": np.full(ROWS, 1 / 3),
        "age": rng.normal(size=ROWS),
        "position": rng.integers(1, 4, ROWS),
        **change,
    }
    return pa.table({name: values for name, values in columns.items() if values is not None})


def policy(names, **more):
    return pa.table({**dict(zip(names, SHARES.T, strict=True)), **more})


# How a policy is written


@pytest.mark.parametrize("names", [["1", "2", "3"], ["p_1", "p_2", "p_3"], ["prob_1", "prob_2", "prob_3"],
                                   ["1.0", "2.0", "3.0"], ["item-1", "item-2", "item-3"]])  # fmt: skip
@pytest.mark.parametrize("ending", ["csv.gz", "parquet"])
def test_the_probabilities_of_a_policy_are_found_by_their_names(names, ending, tmp_path):
    tables = [read_table(write_table(each, tmp_path / f"{place}.{ending}")) for place, each in
              enumerate((log(), policy(names)))]  # fmt: skip
    read = read_log(tables[0], **COLUMNS, policy=tables[1])
    assert read.actions == ("1", "2", "3")
    assert read.policy == pytest.approx(SHARES)


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"item": SHARES.argmax(axis=1) + 1}),
        pa.table({"whatever": SHARES.argmax(axis=1) + 1}),
        pa.table({"item": SHARES.argmax(axis=1) + 1.0, "age": np.zeros(ROWS)}),
        pa.table({"best": [f"{each + 1}" for each in SHARES.argmax(axis=1)], "score": SHARES.max(axis=1)}),
    ],
)
def test_one_column_may_say_what_the_policy_would_do(table):
    read = read_log(log(), **COLUMNS, policy=table)
    assert read.policy.argmax(axis=1).tolist() == SHARES.argmax(axis=1).tolist()
    assert (read.policy.sum(axis=1) == 1).all()


def test_an_action_for_all_may_be_one_that_was_never_tried():
    assert read_log(log(), **COLUMNS, policy=pa.table({"item": [2]})).policy[:, 1].tolist() == [1.0] * ROWS
    found = evaluate(log(), **COLUMNS, policy=pa.table({"item": [9]}))
    assert found.untried == {"9": 1.0}


def test_rewards_may_be_words():
    said = np.where(log()["bought"].to_numpy() == 1, "Yes", "No")
    read = read_log(log(bought=said), **COLUMNS, policy=policy("123"))
    assert read.reward.tolist() == log()["bought"].to_pylist()


def test_many_actions():
    rng = np.random.default_rng(4)
    many = pa.table(
        {"item": rng.integers(0, 300, 6_000), "bought": rng.integers(0, 2, 6_000), "chance": np.full(6_000, 1 / 300)}
    )
    shares = rng.dirichlet(np.ones(300))
    found = evaluate(many, **COLUMNS, policy=pa.table({f"p_{item}": [shares[item]] for item in range(300)}))
    assert found.refused is None
    # Whatever is done, half of them buy; a standard error is 0.01.
    assert [each.value for each in found.estimates] == pytest.approx([0.5] * 6, abs=0.03)


# Which rows are which


def test_rows_in_another_order_are_seen_where_both_tables_hold_an_id():
    other = policy(["p_1", "p_2", "p_3"], user=USERS).take(pa.array(np.arange(ROWS)[::-1]))
    mine = log(user=USERS)
    with pytest.raises(InputError, match=r"in another order than the log's.*pass --key user"):
        read_log(mine, **COLUMNS, policy=other)
    assert read_log(mine, **COLUMNS, policy=other, key="user").policy == pytest.approx(SHARES)


def test_another_number_of_rows_is_told_with_the_column_that_both_hold():
    with pytest.raises(InputError, match=r"10 against 400.*or --key user, the column that both hold"):
        read_log(log(user=USERS), **COLUMNS, policy=policy(["p_1", "p_2", "p_3"], user=USERS).slice(0, 10))


def test_a_policy_by_position_joins_its_rows_to_all_of_that_position():
    by_position = pa.table({"position": [1, 2, 3], **{f"p_{item}": np.eye(3)[item - 1] for item in (1, 2, 3)}})
    read = read_log(log(), **COLUMNS, policy=by_position, key="position")
    assert (read.policy.argmax(axis=1) + 1).tolist() == log()["position"].to_pylist()


# Which columns are features


@pytest.mark.parametrize(
    "ids",
    [
        USERS,  # numbers of no pattern
        np.where(np.arange(ROWS) % 20 == 0, np.roll(USERS, 1), USERS),  # one in twenty is there twice
        np.array([f"u-{each:x}" for each in USERS]),
        np.array([None if place == 3 else float(each) for place, each in enumerate(USERS)], dtype=float),
    ],
    ids=["integers", "nearly all", "text", "with gaps"],
)
def test_ids_are_no_features_and_the_result_says_so(ids):
    found = evaluate(log(number=ids), **COLUMNS, policy=policy(["p_1", "p_2", "p_3"]))
    assert found.features == ("age", "position")
    assert found.left_out == {"number": "an id"}


def test_a_repeated_id_is_known_by_its_name_and_amounts_stay():
    rng = np.random.default_rng(5)
    spent = np.round(100 * rng.lognormal(3, 1, ROWS)).astype(int)  # cents, which hardly two share
    assert np.unique(spent).size > 0.9 * ROWS
    table = log(customer_id=np.repeat(np.arange(ROWS // 4), 4), customers=np.repeat(np.arange(ROWS // 4), 4))
    table = table.append_column("spent", pa.array(spent)).append_column("same", pa.array(np.zeros(ROWS)))
    found = evaluate(table, **COLUMNS, policy=policy(["p_1", "p_2", "p_3"]))
    assert found.features == ("age", "position", "customers", "spent")
    assert found.left_out == {"customer_id": "an id", "same": "always the same"}


def test_a_moment_is_no_id_even_with_gaps():
    moments = [None, *(1_700_000_000_000_000 + 60_000_000 * np.arange(ROWS - 1)).tolist()]
    table = log(at=pa.array(moments, pa.timestamp("us", tz="UTC")))
    assert Column.read(table, "at") is not None
    assert unread(pa.table({"x": [[1], [2]]}), "x") == "not comparable"


# What is told


@pytest.mark.parametrize(
    ("change", "table", "said"),
    [
        ({"chance": [0.0] + [0.5] * (ROWS - 1)}, None, "got 0 in row 1; what has no chance is not chosen"),
        ({"chance": [0.5] * (ROWS - 1) + [1.2]}, None, "got 1.2 in row 400; pass the chance with which"),
        ({"chance": np.full(ROWS, 33.3)}, None, "if these are percents, divide them by 100"),
        ({"chance": np.full(ROWS, -1.1)}, None, "if these are logarithms, pass their exponentials"),
        ({"chance": [None] + [0.5] * (ROWS - 1)}, None, "'chance' has gaps; got 1 empty cells; leave these decisions"),
        ({"bought": [np.nan] + [1.0] * (ROWS - 1)}, None, "'bought' has gaps"),
        ({"item": [None] + [1] * (ROWS - 1)}, None, "'item' has gaps"),
        ({}, policy(["p_1", "p_2", "x"]), "add up to 1 in 399 rows; got .* in row 1, without '3'"),
        ({}, pa.table({"old_1": [1.0], "new_1": [1.0]}), "several probabilities for each action"),
        ({}, pa.table({"item": [None] + [1] * (ROWS - 1)}), "the policy's column 'item' has gaps"),
        ({}, pa.table({"this": [0.2], "that": [0.8]}), "pass one column 'item' with the action that it would take"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(change, table, said):
    with pytest.raises(InputError) as raised:
        evaluate(log(**change), **COLUMNS, policy=policy(["p_1", "p_2", "p_3"]) if table is None else table)
    assert re.search(said, str(raised.value))


def test_a_name_that_stands_twice_is_told():
    twice = pa.table([[1, 2], [0, 1], [0.5, 0.5], [0, 1]], names=["item", "bought", "chance", "bought"])
    with pytest.raises(InputError, match="stands twice"):
        evaluate(twice, **COLUMNS, policy=pa.table({"item": [1]}))


def test_probabilities_that_cannot_have_chosen_are_told():
    chance = np.full(ROWS, 1 / 3)
    chance[7] = 1e-12
    odd = log(chance=chance)
    found = evaluate(odd, **COLUMNS, policy=policy(["p_1", "p_2", "p_3"]))
    assert "1 of 400 decisions had a logged probability of 1e-12 or less" in found.refused
    # Where the policy never does what that row did, the others can tell; it is said all the same.
    shares = SHARES.copy()
    shares[7] = np.eye(3)[int(odd["item"][7].as_py()) % 3]
    apart = evaluate(odd, **COLUMNS, policy=pa.table(dict(zip("123", shares.T, strict=True))))
    assert apart.refused is None
    assert any("or less" in note for note in apart.notes)
    # One chance in a thousand comes about among 400 decisions and 3 actions.
    chance[7] = 1e-3
    usual = evaluate(log(chance=chance), **COLUMNS, policy=pa.table(dict(zip("123", shares.T, strict=True))))
    assert not any("or less" in note for note in usual.notes)


def test_decisions_of_one_customer_that_are_one_draw_are_told_as_one():
    chance, customer, shares = np.full(ROWS, 1 / 3), np.arange(ROWS), SHARES.copy()
    chance[:12], customer[:12] = 1e-3, 0
    repeated = log(chance=chance, customer=customer)
    shares[:12] = np.eye(3)[np.asarray(repeated["item"][:12]) % 3]  # not what was done there, so the others can tell
    table = pa.table(dict(zip("123", shares.T, strict=True)))
    alone = evaluate(repeated, **COLUMNS, policy=table, exclude=["customer"])
    assert any("12 of 400 decisions had a logged probability of 0.001 or less" in note for note in alone.notes)
    assert not any("or less" in note for note in evaluate(repeated, **COLUMNS, policy=table, cluster="customer").notes)


def test_the_command_prints_what_ran_and_the_columns(rapport_cli, tmp_path):
    paths = (
        write_table(log(user=USERS), tmp_path / "log.csv.gz"),
        write_table(policy(["p_1", "p_2", "p_3"]), tmp_path / "new.csv"),
    )
    named = ("--action", "item", "--reward", "bought", "--probability", "chance")
    ran = rapport_cli("evaluate", paths[0], *named, "--policy", paths[1])
    assert ran.exit_code == 0, ran.stderr
    said = " ".join(ran.stdout.split())
    assert "Under what ran, bought was" in said
    assert "The policy can't be told apart from what ran: between" in said
    assert "The reward models know age, position. Left out: user (an id)." in said


def test_few_clusters_are_told_though_the_decisions_are_many():
    names = ["p_1", "p_2", "p_3"]
    of_six, of_all = (
        evaluate(log(who=np.arange(ROWS) % many), **COLUMNS, policy=policy(names), cluster="who").notes
        for many in (6, ROWS)
    )
    assert any(note.startswith("'log' holds 6 clusters: too few") for note in of_six)
    assert not any("clusters" in note for note in of_all)
