"""``rapport link``: from files to who is the same person."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from features.tables import read_table

HEAD = "id, first name, last name, born, e-mail, zip\n"
ROWS = (
    "a1, Anna, Berg, 1980-02-01, anna@berg.example, 0822",
    "a2, Anna, Bergh, 1980-02-01, anna@berg.example, 0822",
    "a3, Tom, Stone, 1991-07-30, tom@stone.example, 4011",
    "a4, Eva, Lind, 1975-11-12, eva@lind.example, 4012",
)
OTHER = (
    "rec;Name;Geburtsdatum;Mail\n"
    "b1;Thomas Stone;30.07.1991;tom@stone.example\n"
    "b2;Lind, Eva;12.11.1975;eva@lind.example\n"
    "b3;Jo Park;13.05.1966;jo@park.example\n"
)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(HEAD + "\n".join(ROWS) + "\n", encoding="utf-8")
    return path


def test_one_table(rapport_cli: Callable, people: Path, tmp_path: Path) -> None:
    out, pairs, said = tmp_path / "out.csv", tmp_path / "pairs.parquet", tmp_path / "said.json"
    ran = rapport_cli("link", people, "--id", "id", "--out", out, "--pairs", pairs, "--json", said)
    assert ran.exit_code == 0, ran.stderr
    rows = read_table(out).to_pylist()
    assert [(row["record_id"], row["customer_id"]) for row in rows] == [
        ("a1", "a1"), ("a2", "a1"), ("a3", "a3"), ("a4", "a4"),
    ]  # fmt: skip
    assert all(0.5 <= row["probability"] <= 1 for row in rows)
    (pair,) = read_table(pairs).to_pylist()
    assert (pair["id_l"], pair["id_r"]) == ("a1", "a2")
    told = json.loads(said.read_text(encoding="utf-8"))
    assert {key: told[key] for key in ("records", "customers", "pairs", "threshold", "engine")} == {
        "records": 4, "customers": 3, "pairs": 1, "threshold": 0.5, "engine": "duckdb",
    }  # fmt: skip
    assert {each["column"]: each["role"] for each in told["columns"]} == {
        "id": "id", "first name": "given_name", "last name": "surname", "born": "birth_date", "e-mail": "email",
        "zip": "postcode",
    }  # fmt: skip
    assert told["seconds"] > 0
    assert "4 records are 3 customers" in " ".join(ran.stdout.split())


def test_two_tables_with_other_columns(rapport_cli: Callable, people: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(OTHER.replace("rec;", "id;"), encoding="utf-8")
    out = tmp_path / "out.csv"
    ran = rapport_cli("link", people, other, "--id", "id", "--out", out)
    assert ran.exit_code == 0, ran.stderr
    found = {row["record_id"]: row["customer_id"] for row in read_table(out).to_pylist()}
    assert found == {"a1": "a1", "a2": "a1", "a3": "a3", "a4": "a4", "b1": "a3", "b2": "a4", "b3": "b3"}
    assert set(read_table(out).column("table").to_pylist()) == {"people.csv", "other.csv"}


def test_each_table_may_have_its_own_id_and_its_own_encoding(
    rapport_cli: Callable, people: Path, tmp_path: Path
) -> None:
    other, out = tmp_path / "other.csv", tmp_path / "out.csv"
    for encoding in ("latin-1", "utf-16"):
        other.write_bytes(OTHER.replace("Jo Park", "Jörg Weiß").encode(encoding))
        ran = rapport_cli("link", people, other, "--id", "id", "--id", "rec", "--out", out)
        assert ran.exit_code == 0, ran.stderr
        found = {row["record_id"]: row["customer_id"] for row in read_table(out).to_pylist()}
        assert found == {"a1": "a1", "a2": "a1", "a3": "a3", "a4": "a4", "b1": "a3", "b2": "a4", "b3": "b3"}


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("--id", "id", "--id", "id"), "the id columns don't go with the tables"),
        (("--id", "idd"), "unknown column 'idd'"),
        (("--id", "id", "--role", "zip"), "a role is not understood"),
        (("--id", "id", "--role", "zipp=postcode"), "unknown column 'zipp'"),
        (("--id", "id", "--role", "zip=postcde"), "unknown role 'postcde'"),
        (("--id", "id", "--threshold", "1.5"), "the threshold is no probability"),
        (("--id", "zip"), "ids are there more than once"),
    ],
)
def test_what_is_wrong_is_told(
    rapport_cli: Callable, people: Path, tmp_path: Path, arguments: tuple[str, ...], wrong: str
) -> None:
    ran = rapport_cli("link", people, "--out", tmp_path / "out.csv", *arguments)
    assert ran.exit_code == 2
    assert wrong in " ".join(ran.stderr.split())
    assert not (tmp_path / "out.csv").exists()


def test_a_table_that_tells_nobody_apart_is_refused(rapport_cli: Callable, tmp_path: Path) -> None:
    path = tmp_path / "names.csv"
    path.write_text("id,first_name\n" + "".join(f"{each},Anna{each % 7}\n" for each in range(40)), encoding="utf-8")
    ran = rapport_cli("link", path, "--id", "id", "--out", tmp_path / "out.csv")
    assert ran.exit_code == 2
    assert "can't tell one person from another" in " ".join(ran.stderr.split())


def test_a_role_may_be_declared(rapport_cli: Callable, people: Path, tmp_path: Path) -> None:
    said = tmp_path / "said.json"
    ran = rapport_cli(
        "link", people, "--id", "id", "--out", tmp_path / "o.csv", "--role", "zip=ignored", "--json", said
    )
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(said.read_text(encoding="utf-8"))
    assert {each["column"]: each["because"] for each in told["columns"]}["zip"] == "declared"
    assert "postcode" not in {each["field"] for each in told["fields"]}


def test_an_id_that_looks_like_a_formula_is_none_in_a_csv_and_stays_as_it_is_in_parquet(
    rapport_cli: Callable, tmp_path: Path
) -> None:
    path, ids = tmp_path / "people.csv", ("=cmd|'/c calc'!A1", "+1-a", "-12", "a4")
    rows = [f"{each},{row.partition(',')[2]}" for each, row in zip(ids, ROWS, strict=True)]
    path.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    said = {}
    for name in ("out.csv", "out.parquet"):
        ran = rapport_cli("link", path, "--id", "id", "--out", tmp_path / name)
        assert ran.exit_code == 0, ran.stderr
        table = read_table(tmp_path / name, text=["record_id", "customer_id"])
        said[name] = set(table.column("record_id").to_pylist())
    assert said == {"out.csv": {"'=cmd|'/c calc'!A1", "'+1-a", "-12", "a4"}, "out.parquet": set(ids)}


def test_a_role_of_the_id_is_refused_and_not_ignored(rapport_cli: Callable, people: Path, tmp_path: Path) -> None:
    ran = rapport_cli("link", people, "--id", "id", "--role", "id=email", "--out", tmp_path / "out.csv")
    assert ran.exit_code == 2
    assert "an id is never evidence" in " ".join(ran.stderr.split())
