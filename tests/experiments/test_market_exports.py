"""The exports: every fact of the year is in one system's file, and the mapping turns each file into the facts again."""

from __future__ import annotations

import tomllib
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from experiments.market import Market, MarketSpec, sources_toml, write_exports
from experiments.market.systems import SYSTEMS
from features.errors import InputError
from features.facts import EVENTS
from features.history import History
from features.intake import Source, ingest
from features.tables import read_table

SPEC = MarketSpec(customers=3000, seed=3)
WEEKS = 9


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    write_exports(Market(SPEC), folder, weeks=WEEKS)
    return folder


def test_the_files_hold_the_history_to_the_last_event(exports):
    history = Market(SPEC).history(WEEKS)
    ids = [read_table(exports / each.file)[each.columns["event_id"]].cast(pa.string()) for each in SYSTEMS]
    assert sorted(pa.concat_tables([pa.table({"id": column}) for column in ids])["id"].to_pylist()) == sorted(
        history["event_id"].to_pylist()
    )


def test_no_kind_of_event_is_without_a_word(exports):
    for each in SYSTEMS:
        assert read_table(exports / each.file)[each.columns["kind"]].null_count == 0, each.name


def test_the_revenue_adds_up_to_the_cent_over_all_systems(exports):
    """Read by hand, each in its own units, against the facts."""
    total = duckdb.sql(
        f"""
        SELECT sum(cents) FROM (
            SELECT sum(value_cents) AS cents FROM '{exports}/web.parquet' WHERE action = 'order'
            UNION ALL SELECT sum(cents) FROM '{exports}/tills.parquet' WHERE line_type = 'S'
            UNION ALL SELECT sum(replace(amount_eur, ',', '.')::DECIMAL(12, 2) * 100)
                FROM read_csv('{exports}/direct_mail.csv', delim = ';', all_varchar = true) WHERE slip = 'order form'
            UNION ALL SELECT sum(amount_eur::DECIMAL(12, 2) * 100)
                FROM read_csv('{exports}/call_centre.csv', all_varchar = true) WHERE outcome = 'sale')
        """
    ).fetchone()
    history = Market(SPEC).history(WEEKS)
    assert total == (pc.sum(history.filter(pc.equal(history["kind"], "purchase"))["amount"]).as_py(),)


def test_the_sources_are_read_by_the_intake(exports):
    tables = tomllib.loads((exports / "sources.toml").read_text(encoding="utf-8"))["source"]
    sources = [Source.from_config(each) for each in tables]
    assert [each.file for each in sources] == [*(system.file for system in SYSTEMS), "crm.csv"]
    for source in sources:
        names = read_table(exports / source.file).column_names
        mapped = {path for each in (source.mapped | source.mapped_attributes).values() for path in each.paths}
        assert mapped <= set(names), source.name
    assert tomllib.loads(sources_toml())["source"] == tables


def test_taken_in_the_files_are_the_facts_again(exports, tmp_path):
    history = History(tmp_path / "history")
    for table in tomllib.loads((exports / "sources.toml").read_text(encoding="utf-8"))["source"]:
        for loaded in ingest(
            Source.from_config(table), data=exports, history=history, quarantine=tmp_path / "quarantine"
        ):
            assert loaded.accepted == loaded.read and not loaded.quarantined, loaded
    told = [name for name in EVENTS.names if name != "source"]
    market = Market(SPEC)
    facts, truth = history.events(None), market.history(WEEKS)
    assert facts.select(told).sort_by("event_id").equals(truth.select(told).sort_by("event_id"))


def test_without_noise_everybody_has_one_record(exports):
    people = read_table(exports / "crm.csv")
    assert people["customer_no"].to_pylist() == Market(SPEC).customer_ids.to_pylist()
    assert not (exports / "identities.csv").exists()


def test_with_noise_some_are_known_twice_and_the_truth_is_told(tmp_path):
    market = Market(MarketSpec(customers=3000, seed=3, identity_noise=0.2))
    write_exports(market, tmp_path, weeks=WEEKS)
    truth = read_table(tmp_path / "identities.csv")
    records = dict(zip(truth["record_id"].to_pylist(), truth["customer_id"].to_pylist(), strict=True))
    second = [record for record in records if record.startswith("x")]
    # 4 standard errors of a binomial of 3,000 at 0.2.
    assert abs(len(second) - 600) < 4 * (3000 * 0.2 * 0.8) ** 0.5
    assert all(records[record] == "c" + record[1:] for record in second)
    web = read_table(tmp_path / "web.parquet")
    seen = set(web["visitor"].to_pylist())
    assert seen & set(second) and seen <= set(records)
    # The same events happen with and without the noise; only the names under which they are known differ.
    plain = Market(SPEC).history(WEEKS)
    clicks = plain.filter(pc.equal(plain["source"], "web"))
    noisy = dict(zip(web["hit_id"].to_pylist(), web["visitor"].to_pylist(), strict=True))
    assert {event: records[visitor] for event, visitor in noisy.items()} == dict(
        zip(clicks["event_id"].to_pylist(), clicks["customer_id"].to_pylist(), strict=True)
    )


def test_the_same_market_is_written_twice_the_same(exports, tmp_path):
    write_exports(Market(SPEC), tmp_path, weeks=WEEKS)
    for name in ("direct_mail.csv", "call_centre.csv", "crm.csv", "sources.toml"):
        assert (tmp_path / name).read_bytes() == (exports / name).read_bytes()
    assert read_table(tmp_path / "web.parquet").equals(read_table(exports / "web.parquet"))


def test_a_folder_that_is_a_file_is_told(tmp_path):
    (tmp_path / "taken").write_text("x")
    with pytest.raises(InputError, match="can't be written"):
        write_exports(Market(MarketSpec(customers=10, seed=1)), tmp_path / "taken", weeks=1)


def test_command(rapport_cli, tmp_path):
    ran = rapport_cli(
        "market", "--customers", 500, "--weeks", 2, "--out", tmp_path / "x", "--json", tmp_path / "x.json"
    )
    assert ran.exit_code == 0, ran.stderr
    assert "web.parquet" in ran.stdout and "Simulated" in ran.stdout
    assert '"simulated": true' in (tmp_path / "x.json").read_text()
    wrong = rapport_cli("market", "--customers", 0, "--out", tmp_path / "y")
    assert wrong.exit_code == 2 and "customers" in wrong.stderr
