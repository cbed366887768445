"""What the receipt says of files: those that still name the person are found, however they are packed."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.privacy.traces import Traces
from rapport.init import create_project
from rapport.people.remains import names_any, still_named, too_short
from rapport.project import load_project

ANNA = Traces(accounts=("c-4711", "7"), addresses=(("email", "anna@web.example"),), texts=("Anna Lee",))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"customers": ["c-4711", "ben"]}', True),
        ("<td>C-4711</td>", True),
        ("x,ANNA@web.example\n", True),
        ("to <anna+news@Web.Example>", True),
        ("ANNA LEE called", True),
        ("c-47110, abc-4711", False),
        ("joanna@web.example, 7", False),
        ("café anna".encode("cp1252").decode("latin-1"), False),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.csv.gz", "a.xlsx", "a.zip"])
def test_a_text_that_names_a_person_is_found(tmp_path: Path, name: str, text: str, named: bool) -> None:
    path, raw = tmp_path / name, text.encode()
    if path.suffix == ".gz":
        raw = gzip.compress(raw)
    if path.suffix in (".xlsx", ".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("inner/one.csv.gz", gzip.compress(raw))
        raw = path.read_bytes()
    path.write_bytes(raw)
    assert names_any(path, ANNA) is named


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.list_(pa.string()), pa.binary()],
)
def test_a_table_of_any_type_of_text_is_searched(tmp_path: Path, kind: pa.DataType) -> None:
    def value(text: str) -> object:
        return [text] if pa.types.is_list(kind) else text

    for text, named in (("Anna@web.example", True), ("c-4711", True), ("ben@web.example", False)):
        column = pa.array([value("x"), value(text), None], pa.string() if pa.types.is_dictionary(kind) else kind)
        pq.write_table(pa.table({"who": column.cast(kind), "n": [1.5, None, 2.0]}), tmp_path / "t.parquet")
        assert names_any(tmp_path / "t.parquet", ANNA) is named


def test_text_in_arrays_and_in_utf_16_is_found(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", who=np.array(["ben", "anna@web.example"]))
    (tmp_path / "a.csv").write_bytes("id\nanna@web.example\n".encode("utf-16"))
    assert names_any(tmp_path / "a.npz", ANNA)
    assert names_any(tmp_path / "a.csv", ANNA)


def test_what_can_t_be_searched_is_named_and_so_are_accounts_that_are_too_short(tmp_path: Path) -> None:
    create_project(tmp_path / "shop", name="Shop")
    project = load_project(tmp_path / "shop")
    (project.root / "broken.parquet").write_bytes(b"PAR1 and no more")
    (project.root / "broken.csv.gz").write_bytes(gzip.compress(b"id\nben\n")[:-4])
    (project.root / "broken.zip").write_bytes(b"PK\x03\x04")
    (project.root / "letter.pdf").write_bytes(b"%PDF-1.7 ...")
    (project.root / "fine.csv").write_text("id\nben\n", encoding="utf-8")
    found = still_named(project, ANNA)
    assert found.unread == ("broken.csv.gz", "broken.parquet", "broken.zip", "letter.pdf")
    assert (found.left, found.sources) == ((), ())
    assert (too_short(["7", "2026", "c-1", "47113"]), too_short(ANNA.accounts)) == (2, 1)
