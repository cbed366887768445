"""What a person is known by, and that erasing takes exactly their rows, file by file, whole or not at all."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import History
from features.facts import LINKS, MEMBERS
from features.identity import Identifier, IdentityRules
from features.privacy.erasure import erase_facts, erase_lines, erase_log, erase_rows, lines_of, replaced
from features.privacy.traces import Traces, kinds_of, traces_of

DAY = datetime(2026, 3, 1, tzinfo=UTC)
TIMES = {"occurred_at": DAY, "recorded_at": DAY}


def profile(*told: tuple[str, str, str]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"customer_id": who, "attribute": name, "value": value, **TIMES} for who, name, value in told]
    )


def test_the_traces_of_a_person_are_theirs_alone(tmp_path: Path) -> None:
    history = History(tmp_path)
    told = profile(
        ("anna", "email", "Anna@Web.example"),
        ("anna", "phone", "+49 30 1234567"),
        ("anna", "mobile", "0170 7654321"),
        ("anna", "name", "Anna Lee"),
        ("anna", "city", "Springfield"),
        ("anna", "born", "1980-01-01"),
        ("anna", "hobby", "chess"),
        ("ben", "phone", "030/1234567"),
        ("ben", "city", "Springfield"),
        ("ben", "email", "anna@other.example"),
    )
    history.append_profile(told, part="crm")
    links = [{"account_id": "anna", "other_id": "ben", "kind": "household", "because": "address", "probability": 1.0}]
    history.append_links(pa.Table.from_pylist([each | TIMES for each in links], schema=LINKS), part="home")
    found = traces_of(history, ["anna", "nobody"])
    anna = found["anna"]
    assert anna.accounts == ("anna",)
    # The landline is the household's: it stays ben's.
    assert anna.addresses == (("email", "Anna@Web.example"), ("phone", "0170 7654321"))
    assert anna.shared == (("phone", "+49 30 1234567"),)
    assert set(anna.texts) == {"Anna Lee", "Anna@Web.example"}
    assert anna.related == ("ben",)
    assert found["nobody"] == Traces(accounts=("nobody",))


def test_what_identity_declares_is_an_address(tmp_path: Path) -> None:
    """Whatever the attribute is called; a device is too little, and who has the card in their account's name has it."""
    identifiers = (
        Identifier(kind="email", attributes=("kontakt",)),
        Identifier(kind="card", attributes=("bonus",), namespace="till"),
        Identifier(kind="login", attributes=("nick",)),
        Identifier(kind="device"),
    )
    history = History(tmp_path)
    told = [("kontakt", "anna@web.example"), ("bonus", "4711 2233"), ("nick", "anni"), ("device", "d-1")]
    told_of_ben = [("ben", "nick", "benny"), ("till:4711-2233", "age", "41")]
    history.append_profile(profile(*(("anna", name, value) for name, value in told), *told_of_ben), part="crm")
    kinds = kinds_of(IdentityRules(identifier=identifiers))
    found = traces_of(history, ["anna", "till:0815-9999"], kinds=kinds)
    assert found["anna"].addresses == (("email", "anna@web.example"), ("login", "anni"))
    assert found["anna"].shared == (("card", "4711 2233"),)
    assert found["till:0815-9999"].addresses == (("card", "0815-9999"),)
    assert traces_of(history, ["anna"])["anna"].addresses == ()


def test_all_accounts_of_a_person_are_found_by_any_of_them(tmp_path: Path) -> None:
    history = History(tmp_path)
    (tmp_path / "members").mkdir()
    rows = [
        {"strength": strength, "account_id": account, "customer_id": "anna", "since": DAY}
        for strength, accounts in (("personalize", ("anna", "web-1")), ("suppress", ("anna", "web-1", "carl")))
        for account in accounts
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=MEMBERS), tmp_path / "members" / "members.parquet")
    for name in ("anna", "web-1"):
        found = traces_of(history, [name])[name]
        assert (found.accounts, found.related) == (("anna", "web-1"), ("carl",))
    assert traces_of(history, ["carl"])["carl"].accounts == ("carl",)


@pytest.mark.parametrize(
    ("cell", "named"),
    [
        ("ANNA", True),
        (" anna ", True),
        ("anna+x@WEB.example", True),
        ("<anna@web.example>", True),
        ("+49 30 123 45 67", True),
        ("anna lee", False),
        ("annabel", False),
        ("anna@web.example.org", False),
        ("+49 30 123 45 68", False),
        ("Anna", True),
        ("Lee", False),
        ("", False),
    ],
)
def test_a_cell_that_names_the_person(cell: str, named: bool) -> None:
    addresses = (("email", "anna@web.example"), ("phone", "030 1234567"))
    assert Traces(accounts=("anna",), addresses=addresses, texts=("Anna Lee",)).named_in(cell) is named


accounts = st.sampled_from([f"c{number}" for number in range(8)])


@settings(max_examples=10, deadline=None)
@given(parts=st.lists(st.lists(accounts, min_size=1, max_size=12), min_size=1, max_size=3), gone=st.sets(accounts))
def test_erasing_takes_exactly_their_rows(tmp_path_factory: pytest.TempPathFactory, parts: list, gone: set) -> None:
    history = History(tmp_path_factory.mktemp("history"))
    for place, owners in enumerate(parts):
        rows = [
            {"event_id": f"e{place}-{n}", "customer_id": who, "kind": "visit", **TIMES} for n, who in enumerate(owners)
        ]
        history.append(pa.Table.from_pylist(rows), part=f"part-{place}")
    before = sorted(map(repr, history.events().to_pylist()))
    stay = [row for row in before if not any(f"'customer_id': '{who}'" in row for who in gone)]
    told = erase_facts(history, gone)
    assert sorted(map(repr, history.events().to_pylist())) == stay
    assert told == ({"events": len(before) - len(stay)} if len(before) > len(stay) else {})
    assert erase_facts(history, gone) == {}
    assert [path.name for path in history.folder.rglob("*.tmp")] == []


def test_links_and_groups_go_with_either_end(tmp_path: Path) -> None:
    history = History(tmp_path)
    pairs = [("anna", "ben"), ("ben", "carl"), ("carl", "dora")]
    told = [
        {"account_id": a, "other_id": b, "kind": "person", "because": "email", "probability": 1.0} for a, b in pairs
    ]
    history.append_links(pa.Table.from_pylist([each | TIMES for each in told], schema=LINKS), part="links")
    assert erase_facts(history, ["ben"]) == {"links": 2}
    assert history.links()["account_id"].to_pylist() == ["carl"]


def test_a_table_without_customers_or_without_them_stays_byte_by_byte(tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table({"item": ["anna"], "amount": [1]}), table)
    plain = tmp_path / "t.csv"
    plain.write_bytes(b"customer_id;x\r\nben;1\r\n")
    before = table.read_bytes(), plain.read_bytes()
    assert (erase_rows(table, ["anna"]), erase_lines(plain, Traces(accounts=("anna",)))) == (0, 0)
    assert (table.read_bytes(), plain.read_bytes()) == before


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_rows_of_a_csv_file_go(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    opener = gzip.open if name.endswith(".gz") else open
    with opener(path, "wt", encoding="utf-8") as stream:
        stream.write('customer_id,text\nanna,"a\nb"\nben,anna\n anna ,z\n')
    anna = Traces(accounts=("anna",))
    assert [row["text"] for row in lines_of(path, anna)] == ["a\nb", "z"]
    assert erase_lines(path, anna) == 2
    with opener(path, "rt", encoding="utf-8") as stream:
        assert stream.read() == "customer_id,text\nben,anna\n"


def test_rows_of_a_quarantine_go_by_whatever_names_the_person(tmp_path: Path) -> None:
    path = tmp_path / "crm-1.csv"
    rows = [
        "source,file,place,reason,line,mail,quarantine_id",
        "crm,c.csv,row 1,bad_id,,ANNA+1@web.example,q1",
        "crm,c.csv,row 2,bad_id,,ben@web.example,q2",
        'crm,c.csv,line 3,unreadable_row,"x;"" anna@web.example"";y;z",,q3',
        "crm,c.csv,row 4,bad_id,,'=anna,q4",
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    anna = Traces(accounts=("=anna",), addresses=(("email", "anna@web.example"),))
    assert erase_lines(path, anna) == 3
    assert path.read_text(encoding="utf-8").splitlines() == [rows[0], rows[2]]


def test_lines_of_a_log_go_by_accounts_and_addresses_alone(tmp_path: Path) -> None:
    """What only one profile says may be said of others elsewhere: their lines stay."""
    path = tmp_path / "job.log"
    lines = ["a", "to=anna@web.example ok", 'id="anna-1"', "id=anna-12", "call +49 30 1234567!", "ben: standard tariff"]
    path.write_text("\n".join(lines), encoding="utf-8")
    addresses = (("email", "anna@web.example"), ("phone", "+49 30 1234567"))
    assert erase_log(path, Traces(accounts=("anna-1",), addresses=addresses, texts=("standard",))) == 3
    assert path.read_text(encoding="utf-8") == "a\nid=anna-12\nben: standard tariff"


def test_a_replacement_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("before", encoding="utf-8")
    path.chmod(0o600)

    def fail(scratch: Path) -> bool:
        scratch.write_text("half", encoding="utf-8")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        replaced(path, fail)
    assert [each.name for each in tmp_path.iterdir()] == ["t.csv"]
    assert path.read_text(encoding="utf-8") == "before"
    replaced(path, lambda scratch: bool(scratch.write_text("after", encoding="utf-8")))
    assert (path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777) == ("after", 0o600)
