"""Queries over files: joined as the project says, from the folder of the data only, known by what they read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from features import History
from features.errors import InputError
from features.intake import Loaded, Source, ingest

NOW = datetime(2024, 6, 1, tzinfo=UTC)
JOINED = "SELECT card, day, sku, department FROM 'tills/*.csv' JOIN 'products.parquet' USING (sku)"
Load = Callable[..., Loaded]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "tills").mkdir(parents=True)
    (folder / "tills" / "may.csv").write_text("card,day,sku\nanna,2024-05-01,s1\nben,2024-05-02,s2\n,2024-05-03,s1\n")
    duckdb.sql("SELECT * FROM (VALUES ('s1', 'shoes'), ('s2', 'coats')) AS t(sku, department)").write_parquet(
        str(folder / "products.parquet")
    )
    duckdb.sql("SELECT 'eve' AS card, '2024-05-01' AS day").write_parquet(str(tmp_path / "outside.parquet"))
    return folder


@pytest.fixture
def load(data: Path, tmp_path: Path) -> Load:
    def loading(query: str = JOINED, **columns: object) -> Loaded:
        mapped = {"customer_id": "card", "kind": {"constant": "purchase"}, "occurred_at": "day", **columns}
        source = Source.from_config({"name": "till", "query": query, "rows": "events", "columns": mapped})
        (loaded,) = ingest(
            source,
            data=data,
            history=History(tmp_path / "history"),
            quarantine=tmp_path / "quarantine",
            now=NOW,
            accept_bad=True,
        )
        return loaded

    return loading


def test_the_rows_of_a_join_are_checked_as_those_of_a_file(load: Load, tmp_path: Path) -> None:
    loaded = load(category="department", item="sku")
    assert (loaded.read, loaded.accepted, loaded.new, loaded.reasons) == (3, 2, 2, {"missing_customer_id": 1})
    told = History(tmp_path / "history").events().select(["customer_id", "category"]).to_pylist()
    assert told == [{"customer_id": "anna", "category": "shoes"}, {"customer_id": "ben", "category": "coats"}]
    assert "shoes" in Path(loaded.quarantine).read_text()


def test_the_same_files_add_nothing_and_a_new_one_adds_its_rows(load: Load, data: Path) -> None:
    assert [load().new for _ in range(2)] == [2, 0]
    (data / "tills" / "june.csv").write_text("card,day,sku\nanna,2024-05-30,s1\n")
    assert load().new == 1


def test_another_query_of_files_that_were_taken_in_is_refused(load: Load) -> None:
    load()
    assert load(JOINED.replace("JOIN", "\n  JOIN")).new == 0
    with pytest.raises(InputError, match="another mapping"):
        load(JOINED + " WHERE department = 'shoes'")


@pytest.mark.parametrize(
    "elsewhere",
    [
        "FROM '../outside.parquet'",
        "FROM '{outside}'",
        "FROM read_parquet('{outside}')",
        "FROM read_text('/etc/hostname')",
        "FROM glob('/etc/*')",
        "FROM 'http://127.0.0.1:9/x.parquet'",
        "FROM read_parquet('tills/../../outside.parquet')",
    ],
)
def test_nothing_outside_of_the_folder_is_read(elsewhere: str, load: Load, tmp_path: Path) -> None:
    query = f"SELECT * {elsewhere.format(outside=tmp_path / 'outside.parquet')}"
    with pytest.raises(InputError, match="none of its files"):
        load(query)
    with pytest.raises(InputError, match="can't be answered"):
        load(f"SELECT card, day FROM 'tills/may.csv' UNION ALL SELECT card, day FROM ({query})")


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT * FROM 'tills/may.csv') TO 'stolen.csv'",
        "SELECT * FROM 'tills/may.csv'; SET enable_external_access = true",
        "SET enable_external_access = true; SELECT * FROM 'tills/may.csv'",
        "DELETE FROM 'tills/may.csv'",
        "INSTALL 'tills/may.csv'",
        "SELECT FROM WHERE 'tills/may.csv'",
    ],
)
def test_only_one_select_is_answered(query: str, load: Load, data: Path) -> None:
    before = sorted(data.rglob("*"))
    with pytest.raises(InputError):
        load(query)
    assert sorted(data.rglob("*")) == before


def test_a_query_needs_no_database_but_a_table_does() -> None:
    columns = {"customer_id": "card", "kind": "type", "occurred_at": "day"}
    assert Source(name="till", query="SELECT 1", rows="events", columns=columns).origin == "query till"
    with pytest.raises(InputError, match="environment variable"):
        Source(name="till", table="orders", rows="events", columns=columns)
    with pytest.raises(InputError, match="reads files"):
        Source(name="till", query="SELECT 1", increases="day", rows="events", columns=columns)
