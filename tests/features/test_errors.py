"""The error in three parts, and tables that can't be read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from features.errors import InputError, unknown
from features.tables import read_table, require_column, write_table


def test_unknown_name_lists_the_near_ones() -> None:
    error = unknown("column", "vist", ["visit", "spend"])
    assert "did you mean 'visit'?" in str(error)


def test_where_nothing_is_known_nothing_is_offered() -> None:
    assert (
        str(unknown("feature", "visits", [])) == "unknown feature 'visits'; got no other to choose from; leave it out"
    )
    error = unknown("attribute of offer 'campaign-1'", "title", ["channels"])
    assert (error.got, error.do) == ("one that is not among 'channels'", "use one of these")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "is empty"),
        (b"a,b\n", "holds no rows"),
        (b"a,b\n1,2\n1,2,3\n", "line 3 of bad.csv has more values"),
        (b"a,b\n1,2\n3\n", "line 3 of bad.csv has fewer values"),
        (b"a,b\n1,x\n2,\xff\xfe\n", "not text in UTF-8"),
    ],
)
def test_a_bad_file_is_told_in_three_parts(tmp_path: Path, content: bytes, wrong: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=wrong) as caught:
        read_table(path)
    assert caught.value.got
    assert caught.value.do


def test_a_truncated_gzip_is_no_shorter_table(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv.gz"
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 50_000)
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="can't be read"):
        read_table(path)


def test_ids_stay_text_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,n\n00042,1\n", encoding="utf-8")
    assert read_table(path, text=("id", "absent")).to_pylist() == [{"id": "00042", "n": 1}]


def test_missing_file() -> None:
    with pytest.raises(InputError, match="no table at"):
        read_table("nowhere.csv")


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_what_is_written_is_read_back(tmp_path: Path, name: str) -> None:
    table = pa.table({"id": ["a", "b", None], "n": [1, 2, 3], "x": [0.5, None, -1.0]})
    assert read_table(write_table(table, tmp_path / name)).equals(table)
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_of_the_header(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a{delimiter}b\n1{delimiter}x\n", encoding="utf-8")
    assert read_table(path).to_pylist() == [{"a": 1, "b": "x"}]


def test_a_missing_column_names_the_near_one() -> None:
    with pytest.raises(InputError, match="did you mean 'spend'"):
        require_column(pa.table({"spend": [1]}), "spent")
