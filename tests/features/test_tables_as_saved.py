"""Tables as people save them: encodings, lines above the header, ragged lines, and letters that look like truths."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import InputError
from features.tables import headed_columns, read_table, stored_columns

GERMAN = "Gruppe;Umsatz;Ort\r\nEmpfänger;12,5;Köln\r\nKontrolle;7,25;Düsseldorf\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_a_western_table_is_the_same_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "loyalty.csv"
    path.write_bytes(GERMAN.encode(encoding))
    found = read_table(path)
    assert found.to_pydict() == {
        "Gruppe": ["Empfänger", "Kontrolle"],
        "Umsatz": ["12,5", "7,25"],
        "Ort": ["Köln", "Düsseldorf"],
    }


def test_another_script_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "lenta.csv"
    path.write_bytes("group,gender\ntest,Ж\ncontrol,Не определен\n".encode("cp1251"))
    with pytest.raises(InputError, match=r"lenta.csv is not text in UTF-8") as caught:
        read_table(path)
    assert caught.value.got.startswith("line 2: test")
    assert "iconv" in caught.value.do


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("a,1\nb,0,3\n", "line 3 of t.csv has more values"),
        ("a,1\n\nb\n", "line 4 of t.csv has fewer values"),
        ('a,1\n"b,0\nc,1\n', "a quotation mark in line 3 of t.csv is not closed"),
    ],
)
def test_the_line_that_is_wrong_is_named(tmp_path: Path, body: str, wrong: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arm,y\n" + body)
    with pytest.raises(InputError, match=wrong):
        read_table(path)


@pytest.mark.parametrize("above", ["sep=;\n", "# exported by hand\n# twice\n"])
def test_lines_above_the_header_are_left_out(tmp_path: Path, above: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(above + "arm;y\n#a;1\nb;0\n")
    # Rows that begin with # stay: only what stands above the header is no row.
    assert read_table(path).to_pydict() == {"arm": ["#a", "b"], "y": [1, 0]}


def test_a_header_that_begins_with_a_hash_is_one(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("#id,y\n1,2\n")
    assert read_table(path).column_names == ["#id", "y"]


def test_a_letter_in_every_row_is_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("letter,both,word\nt,t,yes\nt,f,yes\n,t,yes\n")
    assert read_table(path).to_pydict() == {
        "letter": ["t", "t", None],
        "both": [True, False, True],
        "word": [True, True, True],
    }


def test_what_is_no_text_is_told_by_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("sheet.xml", "<sheet/>")
    with pytest.raises(InputError, match="no text") as caught:
        read_table(path)
    assert "Excel" in caught.value.got


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_named_columns_alone_are_the_same_as_in_the_whole_table(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "loyalty.csv"
    path.write_bytes(GERMAN.encode(encoding))
    assert read_table(path, columns=["Ort", "Gruppe"]).equals(read_table(path).select(["Ort", "Gruppe"]))
    with pytest.raises(InputError, match="Ortt"):
        read_table(path, columns=["Ortt"])


def test_a_row_of_another_width_is_refused_whichever_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("arm,y,z\na,1,2\nb,0\nc,1,2\n")
    with pytest.raises(InputError, match=r"line 3 of t\.csv has fewer values"):
        read_table(path, columns=["y"])


def test_a_header_says_what_columns_are_called_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for header, names in (
        ("a,b", ["a", "b"]),
        (",b", ["b"]),
        ('"a b","c"', ["a b", "c"]),
        (" a,b", None),
        ("a,a", None),
    ):
        path.write_text(f"{header}\n1,2\n")
        assert headed_columns(path) == names
    path.write_bytes("größe,b\n1,2\n".encode("cp1252"))
    assert headed_columns(path) is None


def test_a_folder_of_parquet_files_is_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "units"
    folder.mkdir()
    for place in range(2):
        pq.write_table(pa.table({"arm": ["a", "b"], "y": [place, 2]}), folder / f"part-{place}.snappy.parquet")
    (folder / "_SUCCESS").touch()
    assert sorted(read_table(folder)["y"].to_pylist()) == [0, 1, 2, 2]
    assert stored_columns(folder) == ["arm", "y"]
    assert read_table(folder, columns=["y"]).column_names == ["y"]
    with pytest.raises(InputError, match="no table at"):
        read_table(tmp_path / "units" / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no table at"):
        read_table(tmp_path / "empty")


def test_an_array_of_json_objects_is_a_table_too(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('[{"arm": "a", "y": 1}, {"arm": "b", "y": 0}]')
    assert read_table(path).to_pydict() == {"arm": ["a", "b"], "y": [1, 0]}
