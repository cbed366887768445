"""A mapping proposed for an unknown file loads it, or says precisely what the file does not tell."""

from __future__ import annotations

import gzip
import json
import random
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.market import Market, MarketSpec, write_exports
from experiments.market.exports import sources_toml
from features import History, InputError
from features.intake import Source, ingest
from features.intake.checks import Rules
from features.intake.preview import preview
from features.intake.proposal import Proposal, propose

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def source_of(proposal: Proposal) -> Source:
    """The source that the TOML declares: what a person pastes into rapport.toml."""
    (table,) = tomllib.loads(proposal.toml)["source"]
    return Source.from_config(table)


def loaded(path: Path, source: Source, folder: Path) -> History:
    history = History(folder / f"history-{source.name}")
    (found,) = ingest(source, data=path.parent, history=history, quarantine=folder / "quarantine")
    assert not found.refused and found.accepted == found.read, found
    return history


def test_a_csv_of_another_country(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "direct_mail.csv",
        "Beleg-Nr;Kunden-Nr;Slip;Posted;Keyed in;Betrag;Pieces\n"
        "1;k1;Bestellung order;31.01.2024 10:00:00;01.02.2024 09:00:00;1.012,50;2\n"
        "2;k2;no more mail;01.02.2024 10:00:00;02.02.2024 09:00:00;;\n"
        "3;k1;return form;02.02.2024 10:00:00;02.02.2024 19:00:00;12,00;1\n",
    )
    proposal = propose(path)
    assert proposal.missing == ()
    (table,) = tomllib.loads(proposal.toml)["source"]
    assert table["columns"] == {
        "event_id": "Beleg-Nr",
        "customer_id": "Kunden-Nr",
        "kind": {
            "column": "Slip",
            "values": {"Bestellung order": "purchase", "no more mail": "opt_out", "return form": "return"},
        },
        "occurred_at": {"column": "Posted", "format": "%d.%m.%Y %H:%M:%S"},
        "recorded_at": {"column": "Keyed in", "format": "%d.%m.%Y %H:%M:%S"},
        "amount": {"column": "Betrag", "decimal": ","},
        "quantity": "Pieces",
        "channel": {"constant": "mail"},
    }
    events = loaded(path, source_of(proposal), tmp_path).events().to_pylist()
    assert sorted((each["kind"], each["amount"]) for each in events if each["amount"]) == [
        ("purchase", 101_250),
        ("return", 1_200),
    ]


@pytest.mark.parametrize(
    ("values", "how"),
    [
        (["2024-05-01T10:00:00Z", "2024-05-02 11:00:00+02:00"], "at"),
        (["20240501", "20240531"], {"column": "at", "format": "%Y%m%d"}),
        (["1714550400", "1714636800"], {"column": "at", "number_of": "seconds"}),
        (["1714550400123", "1714636800456"], {"column": "at", "number_of": "milliseconds"}),
        (["05/31/2024", "06/01/2024"], {"column": "at", "format": "%m/%d/%Y"}),
        (["31/05/2024", "01/06/2024"], {"column": "at", "format": "%d/%m/%Y"}),
    ],
)
def test_how_moments_are_written(tmp_path: Path, values: list[str], how: object) -> None:
    rows = "".join(f"c{place},{text}\n" for place, text in enumerate(values * 3))
    (table,) = tomllib.loads(propose(written(tmp_path, "clicks.csv", f"user_id,at\n{rows}")).toml)["source"]
    assert table["columns"]["occurred_at"] == how


def test_what_is_unsure_is_said(tmp_path: Path) -> None:
    rows = "".join(f"c{place % 5},0{1 + place % 9}/02/2024,{'SRX'[place % 3]},9.5\n" for place in range(30))
    proposal = propose(written(tmp_path, "till.csv", f"card,sold,line_type,price\n{rows}"))
    unsure = " ".join(proposal.unsure)
    assert "%d/%m/%Y or %m/%d/%Y" in unsure
    assert "'S', 'R', 'X' mean? one that is a no must be opt_out" in unsure or "'R', 'S', 'X' mean?" in unsure
    assert proposal.toml.count("# unsure:") == len(proposal.unsure) + 1  # and the zone


def test_a_few_bad_values_change_no_proposal(tmp_path: Path) -> None:
    rows = "".join(f"c{place % 7},2024-05-0{1 + place % 9} 10:00:{place:02},{place}.50\n" for place in range(60))
    good = propose(written(tmp_path, "orders.csv", f"customer,at,total\n{rows}")).toml
    bad = propose(written(tmp_path, "orders.csv", f"customer,at,total\n{rows}c1,hello,1\nc 2,2024-05-01,x\n")).toml
    assert good == bad
    found = preview(tmp_path / "orders.csv", source_of(propose(tmp_path / "orders.csv")), rules=Rules(now=NOW))
    assert found.loaded.reasons == {"bad_customer_id": 1, "unreadable_occurred_at": 1}
    assert found.refused["at"].to_pylist() == ["hello", "2024-05-01"]
    assert found.facts["events"].num_rows == 5
    assert [each["kind"] for each in found.facts["events"].to_pylist()] == ["purchase"] * 5


def test_cookie_and_login_of_a_clickstream(tmp_path: Path) -> None:
    lines = [
        json.dumps(
            {
                "cookie": f"k{n}",
                "user_id": "anna" if n % 2 else None,
                "ts": 1714550400000 + n,
                "event": {"type": "page_view"},
            }
        )
        for n in range(9)
    ]
    path = tmp_path / "clicks.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    source = source_of(propose(path))
    assert source.columns["customer_id"] == "cookie" and source.attributes["user_id"] == "user_id"
    history = loaded(path, source, tmp_path)
    assert set(history.events()["kind"].to_pylist()) == {"visit"}
    assert history.profile().num_rows >= 4


def test_consents_and_people(tmp_path: Path) -> None:
    consents = written(
        tmp_path, "preferences.csv", "customer_id,channel,granted,at\na,email,yes,2024-05-01\na,sms,no,2024-05-02\n"
    )
    source = source_of(propose(consents))
    assert source.rows == "consents"
    assert loaded(consents, source, tmp_path).consents()["granted"].to_pylist() == [True, False]
    people = written(
        tmp_path,
        "crm.csv",
        "customer_no,E-Mail,Birth date,city\n1,a@x.example,1980-01-01,Ulm\n2,b@x.example,1981-01-01,\n",
    )
    source = source_of(propose(people))
    assert (source.rows, set(source.attributes)) == ("profile", {"e_mail", "birth_date", "city"})
    assert loaded(people, source, tmp_path).profile().num_rows == 5


@pytest.mark.parametrize(
    ("name", "text", "missing"),
    [
        ("a.csv", "email,visited_at\na@x.example,2024-05-01\n", "no column holds ids"),
        ("a.csv", "user,spend\nanna,1.5\nanna,2.5\n", "no column says when it happened"),
        ("a.csv", "user,time,event\nanna,0,click\nanna,6,click\nben,6,open\n", "number_of ="),
        ("a.csv", "00001,19970101,2\n00002,19970102,3\n", "the first line holds values"),
        ("a.txt", "id  date cds\n00001 19970101 2\n", "parted by blanks"),
    ],
)
def test_what_a_file_does_not_tell_is_said(tmp_path: Path, name: str, text: str, missing: str) -> None:
    proposal = propose(written(tmp_path, name, text))
    assert proposal.source is None
    assert any(missing in each for each in proposal.missing)
    assert all(f"# MISSING: {each}" in proposal.toml for each in proposal.missing)
    assert tomllib.loads(proposal.toml)


@pytest.mark.parametrize(("content", "wrong"), [(b"", "is empty"), (b"\0\1\2\n", "does not begin")])
def test_a_file_that_is_no_table(tmp_path: Path, content: bytes, wrong: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(InputError, match=wrong):
        propose(tmp_path / "a.csv")
    with pytest.raises(InputError, match="no file"):
        propose(tmp_path / "b.csv")
    with pytest.raises(InputError, match="unknown kind of rows"):
        propose(tmp_path / "a.csv", rows="event")  # type: ignore[arg-type]  # as the command line may


def test_names_and_values_of_a_file_never_become_code(tmp_path: Path) -> None:
    path = written(tmp_path, "x.csv", 'customer,"at","a""] = [[evil]]\n#"\nanna,2024-05-01,"x\ny"\nben,2024-05-01,z\n')
    (table,) = tomllib.loads(propose(path, rows="profile").toml)["source"]
    assert table["columns"]["customer_id"] == "customer"


def test_proposals_for_the_market_give_its_own_facts(tmp_path: Path) -> None:
    write_exports(Market(MarketSpec(customers=300, seed=1)), tmp_path, weeks=6)
    known = {each["name"]: Source.from_config(each) for each in tomllib.loads(sources_toml())["source"]}
    for name in ("web", "email", "mail", "call", "decisions"):
        path = tmp_path / known[name].file
        columns = [
            "event_id",
            "customer_id",
            "kind",
            "occurred_at",
            "recorded_at",
            "channel",
            "amount",
            "quantity",
            "item",
        ]
        truth = loaded(path, known[name], tmp_path / "truth").events().select(columns)
        found = loaded(path, source_of(propose(path)), tmp_path / "found").events().select(columns)
        assert found.sort_by("event_id").equals(truth.sort_by("event_id")), name


@pytest.mark.slow
def test_every_data_set_at_hand_is_loaded_or_told_of(data: Callable[[str], Path], tmp_path: Path) -> None:
    root = data("hillstrom/hillstrom.csv.gz").parent.parent
    paths = [each for each in sorted(root.glob("*/*")) if each.suffix != ".md" and "names" not in each.name]
    assert len(paths) > 30
    for path in paths:
        proposal = propose(path)
        if proposal.source is None:
            assert proposal.missing and all(each in proposal.toml for each in proposal.missing), path.name
            continue
        history = History(tmp_path / path.name)
        (found,) = ingest(source_of(proposal), data=path.parent, history=history, quarantine=tmp_path)
        assert not found.refused and found.new, (path.name, found)


def test_stored_types_need_no_format(tmp_path: Path) -> None:
    table = pa.table(
        {"household_id": ["1", "2"], "when": pa.array([NOW, NOW]), "sales_value": [1.5, 2.0], "note": [["a"], []]}
    )
    pq.write_table(table, tmp_path / "sales.parquet")
    (found,) = tomllib.loads(propose(tmp_path / "sales.parquet", rows="events").toml)["source"]
    assert found["columns"] == {
        "customer_id": "household_id",
        "occurred_at": "when",
        "kind": {"constant": "purchase"},
        "amount": "sales_value",
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("random.csv", random.Random(1).randbytes(4096)),
        ("random.jsonl", random.Random(2).randbytes(4096)),
        ("deep.jsonl", b"[" * 5000),
        ("deep-value.jsonl", b'{"a":' + b"[" * 5000),
        ("cut.parquet", b"PAR1" + bytes(64)),
    ],
)
def test_what_is_no_table_is_told_as_such(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    try:
        assert propose(path).missing
    except InputError as error:
        assert error.got and error.do


def test_a_table_without_names_is_told_without_a_value(tmp_path: Path) -> None:
    path = written(tmp_path, "bare.csv", "4711,2024-01-01,12.50\n4712,2024-01-02,1.00\n")
    (told, *_) = propose(path).missing
    assert "4711" not in told and "values where names" in told


def test_german_names_are_known_and_a_card_is_no_time(tmp_path: Path) -> None:
    rows = [
        f"K{n};{1700000000 + n};{n % 9 + 1:02}.05.2024;{word}" for n in range(40) for word in ("Abmeldung", "Öffnung")
    ]
    path = written(tmp_path, "newsletter.csv", "\n".join(["Kundennummer;Kundenkarte;Datum;Aktion", *rows]) + "\n")
    source = source_of(propose(path))
    assert source.mapped["customer_id"].column == "Kundennummer"
    assert source.mapped["occurred_at"].column == "Datum"
    assert source.mapped["kind"].values == {"Abmeldung": "opt_out", "Öffnung": "open"}
