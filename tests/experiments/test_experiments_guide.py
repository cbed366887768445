"""The guides on experiments and assignment: their files load, their code runs, their SQL agrees, no field is untold."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from experiments.assignment import assign, uniform
from experiments.design import Arm, Experiment
from experiments.design_file import load_experiment
from experiments.holdout import Holdout
from experiments.layers import in_slice
from experiments.measures import Goal, Guardrail, Measure
from experiments.rules import Ramp, StartRules

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE = (DOCS / "experiments.md").read_text(encoding="utf-8")
RULE = (DOCS / "assignment.md").read_text(encoding="utf-8")


def blocks(text: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def example(tmp_path: Path) -> Experiment:
    (told,) = blocks(GUIDE, "toml")
    (tmp_path / "spring.toml").write_text(told, encoding="utf-8")
    return load_experiment(tmp_path / "spring.toml")


def test_the_example_is_a_design(example: Experiment) -> None:
    assert example.interval_kind == "group_sequential"
    assert example.steps[1] == (datetime(2027, 3, 8, tzinfo=UTC), {"static": 0.5, "one_to_one": 0.5})
    assert [each.metric for each in example.measures] == ["revenue", "revenue/orders", "opted_out"]


@pytest.mark.parametrize("kind", [Experiment, Arm, Measure, Goal, Guardrail, Ramp, StartRules, Holdout])
def test_every_field_is_told(kind: type) -> None:
    (told,) = blocks(GUIDE, "toml")
    names = [each.name for each in fields(kind)]
    assert [name for name in names if not re.search(rf"\b{name}\b", told + GUIDE)] == []
    in_words = re.sub(r"```.*?```", "", GUIDE, flags=re.DOTALL)
    own = {"key", "title", "hypothesis", "control", "personalized", "start", "end", "at", "shares", "share", "months"}
    assert [name for name in names if name not in own and f"`{name}`" not in in_words] == []


def test_its_code_runs() -> None:
    for code in (*blocks(GUIDE, "python"), *blocks(RULE, "python")):
        exec(compile(code, "docs", "exec"), {})


def test_its_sql_gives_the_same_arms() -> None:
    (query,) = blocks(RULE, "sql")
    ids = [f"customer-{number}" for number in range(2000)] + ["7", "007", "", "Zoë", "\U0001f642"]
    with duckdb.connect() as connection:
        connection.register("units", pa.table({"unit_id": ids}))
        found = dict(connection.execute(query).fetchall())
    shares = {"personal": 0.5, "static": 0.5}
    assert found == {each: assign(each, experiment="spring-2026", shares=shares) for each in ids}


def test_the_lines_of_layers_and_of_the_holdout_are_as_told() -> None:
    ids = [f"customer-{number}" for number in range(500)]
    assert [in_slice(each, layer="main", slice=(0.2, 0.7)) for each in ids] == [
        0.2 <= uniform(each, "layer:main") < 0.7 for each in ids
    ]
    months, share, at = 4, 0.15, datetime(2027, 6, 1, tzinfo=UTC)
    first = (12 * 2027 + 6 - 1) // months * share % 1
    by_hand = [(uniform(each, "holdout") - first) % 1 < share for each in ids]
    assert np.array_equal(Holdout(share=share, months=4).withheld(ids, at=at), by_hand)
    assert Holdout(share=share, months=4).period(at).name == "2027-05 to 2027-08"
