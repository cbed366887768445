"""Columns named for the wrong thing: refused with what was got, never told as a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

RETENTION = "--arm arm --control static --time days --event gone"
CHANNELS = "--outcome profit --held email=no_email --held mail=no_mail"
HOLDOUT = "--customer id --period quarter --held no_email --value profit"
GAINS = "--arm arm --control static --outcome profit"


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, n = np.random.default_rng(1), 2_000
    path: Path = tmp_path_factory.mktemp("misnamed") / "customers.parquet"
    columns = {
        "id": np.arange(n) % 1_000,
        "quarter": np.where(np.arange(n) < 1_000, "2026-Q1", "2026-Q2"),
        "arm": rng.choice(["static", "personal"], n),
        "profit": rng.normal(2, 3, n),
        "no_email": rng.random(n) < 0.2,
        "no_mail": rng.random(n) < 0.2,
        "none": rng.random(n) < 0.1,
        "days": rng.exponential(60, n).round(1),
        "gone": rng.integers(0, 2, n),
        "age": rng.integers(18, 80, n),
        "unknown": np.full(n, np.nan),
        "huge": rng.random(n) * 1e99,
    }
    tags = pa.array([[each] for each in range(n)])
    pq.write_table(pa.table({**{name: pa.array(each) for name, each in columns.items()}, "tags": tags}), path)
    return path


@pytest.mark.parametrize(
    ("command", "options", "wrong"),
    [
        ("channels", f"{CHANNELS} --everything no_mail", "one column can't be two things"),
        ("channels", "--outcome no_email --held email=no_email", "one column can't be two things"),
        ("channels", f"{CHANNELS} --matchback emial=age", "unknown channel 'emial'"),
        ("channels", f"{CHANNELS} --contacts post=age", "unknown channel 'post'"),
        ("channels", "--outcome profit --held everything=no_email", "no channel can be called 'everything'"),
        ("channels", f"{CHANNELS} --cluster=", "--cluster names no column"),
        ("retention", "--arm gone --control 0 --time days --event gone", "one column can't be two things"),
        ("retention", f"{RETENTION} --cluster arm", "one column can't be two things"),
        (
            "holdout",
            "--customer id --period quarter --held no_email --value no_email",
            "one column can't be two things",
        ),
        ("holdout", f"{HOLDOUT} --alpha 1", "alpha is out of range"),
        ("holdout", f"{HOLDOUT} --alpha nan", "alpha is out of range"),
        ("holdout", "--customer id --period quarter --held unknown --value profit", "no row is whole"),
        ("holdout", "--customer id --period arm --held no_email --value profit", "a customer stands twice in a period"),
        ("gains", f"{GAINS} --feature age --exclude age", "one column can't be two things"),
        ("gains", f"{GAINS} --cluster tags", "a column can't tell groups apart"),
        ("gains", "--arm arm --control static --outcome tags", "the outcome 'tags' is not a number"),
        ("gains", "--arm arm --control static --outcome huge", "the outcome 'huge' is infinite or absurd in places"),
        ("gains", f"{GAINS} --cost personal=1e300", "the cost of arm 'personal' is not a number"),
    ],
)
def test_a_column_named_for_the_wrong_thing_is_refused(
    command: str, options: str, wrong: str, customers: Path, rapport_cli: Callable[..., Any]
) -> None:
    done = rapport_cli(command, str(customers), *options.split())

    assert done.exit_code == 2
    assert wrong in " ".join(done.stderr.split())


def test_households_that_are_the_customers_are_no_second_thing(
    customers: Path, rapport_cli: Callable[..., Any]
) -> None:
    options = HOLDOUT.split()

    alone, named = (
        rapport_cli("holdout", str(customers), *options, *more).stdout for more in ([], ["--cluster", "id"])
    )

    assert alone == named


def test_a_table_that_holds_every_row_twice_is_refused_by_the_holdout(
    customers: Path, tmp_path: Path, rapport_cli: Callable[..., Any]
) -> None:
    table = pq.read_table(customers)
    twice = tmp_path / "twice.parquet"
    pq.write_table(pa.concat_tables([table, table]), twice)

    done = rapport_cli("holdout", str(twice), *HOLDOUT.split())

    assert done.exit_code == 2
    assert "2,000 times that a customer does" in " ".join(done.stderr.split())
