"""What can't be read, written or meant is told in three parts, and never in a traceback."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from features import FeatureSet, History, InputError
from features.intake import Source, ingest
from features.tables import read_table, write_table
from features.tracking import TrackingStore
from rapport.terminal import write_json

MOMENT = datetime(2024, 5, 1, tzinfo=UTC)


def history(folder: Path) -> History:
    held = History(folder / "history")
    held.append(events("e1"), part="monday")
    return held


def events(name: str) -> pa.Table:
    row = {"event_id": name, "customer_id": "anna", "kind": "visit", "occurred_at": MOMENT, "recorded_at": MOMENT}
    return pa.Table.from_pylist([row])


def test_a_part_that_was_cut_short_is_named(tmp_path: Path) -> None:
    held = history(tmp_path)
    part = tmp_path / "history" / "events" / "monday.parquet"
    part.write_bytes(part.read_bytes()[:100])
    for ask in (held.events, lambda: held.customer("anna"), lambda: held.append(events("e2"), part="tuesday")):
        with pytest.raises(InputError, match=r"'monday\.parquet' of the history can't be read"):
            ask()


def test_junk_within_a_part_is_told(tmp_path: Path) -> None:
    held = history(tmp_path)
    (tmp_path / "history" / "events" / "monday.parquet").write_bytes(b"junk" * 100 + b"PAR1")
    for ask in (held.events, lambda: held.append(events("e2"), part="tuesday")):
        with pytest.raises(InputError, match="'events' of the history can't be read"):
            ask()


def test_what_a_killed_process_left_is_removed_at_the_next_append(tmp_path: Path) -> None:
    held = history(tmp_path)
    left = tmp_path / "history" / "events" / "tuesday.4711.tmp"
    left.write_bytes(b"half")
    held.append(events("e2"), part="tuesday")
    assert sorted(each.name for each in left.parent.iterdir()) == ["monday.parquet", "tuesday.parquet"]


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x.csv", "a/../../x.csv", "**x", "a\0b"])
def test_the_file_of_a_source_lies_within_the_data(tmp_path: Path, pattern: str) -> None:
    columns = {"customer_id": "a", "kind": "b", "occurred_at": "c"}
    source = Source(name="till", file=pattern, rows="events", columns=columns)
    with pytest.raises(InputError, match="file"):
        ingest(source, data=tmp_path, history=History(tmp_path / "h"), quarantine=tmp_path / "q")


def test_two_mapped_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    columns = {"customer_id": "card", "kind": "type", "occurred_at": "time"}
    source = Source(name="till", file="till.csv", rows="events", columns=columns)
    take = {"data": tmp_path, "history": History(tmp_path / "h"), "quarantine": tmp_path / "q"}
    (tmp_path / "till.csv").write_text("card,type,time,Card\na,visit,2024-05-01,b\n", encoding="utf-8")
    with pytest.raises(InputError, match="same name"):
        ingest(source, **take)
    (tmp_path / "till.csv").write_text("card,type,time,note,note\na,visit,2024-05-01,b,c\n", encoding="utf-8")
    assert ingest(source, **take)[0].new == 1


@pytest.mark.parametrize("header", ["arm,y,y,s", "arm,y,Y,s", 'arm,"y", y,s'])
def test_a_table_with_two_columns_of_one_name_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\na,1,2,3\n", encoding="utf-8")
    with pytest.raises(InputError, match="same name"):
        read_table(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "a\0b.csv", "folder"])
def test_a_path_that_is_no_file_holds_no_table(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="no table"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["x" * 300 + ".csv", "folder.csv", "file.csv/t.csv", "a\0b.csv", "folder.parquet"])
def test_a_table_that_cannot_be_written_is_told(tmp_path: Path, name: str) -> None:
    for folder in ("folder.csv", "folder.parquet"):
        (tmp_path / folder).mkdir()
    (tmp_path / "file.csv").write_text("kept", encoding="utf-8")
    with pytest.raises(InputError, match="can't be written"):
        write_table(events("e1"), tmp_path / name)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file.csv", "folder.csv", "folder.parquet"]


def test_a_name_of_250_characters_can_be_written(tmp_path: Path) -> None:
    assert read_table(write_table(events("e1"), tmp_path / ("x" * 242 + ".parquet"))).num_rows == 1


def test_a_tracking_store_of_junk_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"junk" * 500)
    with pytest.raises(InputError, match="MLflow's store can't be opened"):
        TrackingStore(tmp_path).experiment("response")


def test_a_feature_says_what_it_computes() -> None:
    with pytest.raises(InputError, match="nothing of what it computes"):
        FeatureSet.from_config([{"name": "visits", "meaning": "visits"}])
    assert FeatureSet.from_config([{"name": "visits", "where": {"kind": "visit"}}]).names == ("visits",)


def test_json_is_written_whole_and_never_over_a_table(tmp_path: Path) -> None:
    told, table, lines = tmp_path / "told.json", tmp_path / "table.csv", tmp_path / "rows.jsonl"
    table.write_text("arm,y\na,1\n", encoding="utf-8")
    lines.write_text('{"arm": "a"}\n', encoding="utf-8")
    for payload in ({"a": 1}, {}, {"b": [1.5]}):
        write_json(told, payload)
    assert told.read_text(encoding="utf-8").split() == ["{", '"b":', "[", "1.5", "]", "}"]
    for path in (table, lines, tmp_path, table / "x.json", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match="JSON file"):
            write_json(path, {"a": 1})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["rows.jsonl", "table.csv", "told.json"]
    assert table.read_text(encoding="utf-8") == "arm,y\na,1\n"


def test_ids_of_a_spine_stay_text(tmp_path: Path, rapport_cli: Callable[..., object]) -> None:
    (tmp_path / "rapport.toml").write_text("[project]\nname = 'Shop'\n", encoding="utf-8")
    (tmp_path / "spine.csv").write_text("customer_id,as_of\n00042,2024-05-02\n1e3,2024-05-02\n", encoding="utf-8")
    held = History(tmp_path / "history")
    table = events("e1").to_pylist()[0] | {"customer_id": "00042"}
    held.append(pa.Table.from_pylist([table]), part="monday")
    spine, out = tmp_path / "spine.csv", tmp_path / "out.parquet"
    ran = rapport_cli("features", "--project", tmp_path, "--spine", spine, "--out", out)
    assert ran.exit_code == 0, ran.stderr
    rows = read_table(out, columns=("customer_id", "visits_7d")).to_pylist()
    assert rows == [{"customer_id": "00042", "visits_7d": 1}, {"customer_id": "1e3", "visits_7d": 0}]
