"""``rapport ladder --contact``: arms that are policies are nothing that a customer could be given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.tables import write_table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    path = tmp_path / "outcomes.parquet"
    columns = {"arm": rng.choice(["none", "letter", "bandit"], 900), "age": rng.integers(18, 80, 900)}
    write_table(pa.table({**columns, "bought": rng.integers(0, 2, 900)}), path)
    return path


def test_only_the_named_contacts_are_given(table: Path, tmp_path: Path, rapport_cli: Callable[..., Any]) -> None:
    given = ("ladder", table, "--arm", "arm", "--control", "none", "--outcome", "bought", "--json", tmp_path / "l.json")
    ran = rapport_cli(*given, "--contact", "letter")
    assert ran.exit_code == 0, ran.stderr
    shares = json.loads((tmp_path / "l.json").read_text(encoding="utf-8"))["rungs"][1]["shares"]
    assert set(shares) == {"none", "letter"}
    refused = rapport_cli(*given, "--contact", "leter")
    assert refused.exit_code == 2
    assert "letter" in refused.stderr
