"""The quarantine: rows that were refused, as a table that a person can open in a spreadsheet, mend and load again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from features.errors import InputError
from features.intake.lines import tokens
from features.intake.readers import ROW, open_text, shown
from features.intake.staging import PLACE, Staged
from features.privacy.suppression import ERASED_PERSON, Erased
from features.sql import identifier, in_memory, literal
from features.tables import write_table

#: Columns before those of the file: where the row comes from and why it was refused.
HEAD = ("source", "file", "place", "reason")
#: The text of a line that could not be read as a row.
LINE = "line"
#: Which row of which file it is: by it a mended row is known again.
KEY = "quarantine_id"

_OWN = (*HEAD, LINE, KEY)
_ALSO = " of file"
# What DuckDB calls the number of a row of a Parquet file, from 0.
_NUMBER_OF_ROW = "file_row_number"
_WANTED = f"reason IS NOT NULL AND reason <> {literal(ERASED_PERSON)}"
# What a spreadsheet would take for a formula; plain numbers are none.
_FORMULA = r"^'*[=+\-@\t\r]"
_ESCAPED = r"^'+[=+\-@\t\r]"
_NUMBER = r"[+-]?[0-9]+([.,][0-9]+)*"


def bad_rows(staged: Staged, *, part: str) -> pa.Table:
    """The bad rows of a staged file, but those of erased people, in their own columns; lines without any come last."""
    return pa.concat_tables([_judged(staged, part=part), _unread(staged, part=part)], promote_options="default")


def of_others(bad: pa.Table, erased: Erased | None) -> pa.Table:
    """The bad rows but those with an erased person's identifier in a cell: a row may lack what says whose it is."""
    if not erased or not bad.num_rows:
        return bad
    names = [name for name in bad.column_names if name == LINE or name not in _OWN]
    found: dict[str, bool] = {}
    theirs = np.zeros(bad.num_rows, dtype=bool)
    for name in names:
        texts = bad[name].cast(pa.string()).to_pylist()
        found |= {each: _tells_of(erased, each) for each in {*texts} - found.keys() if each}
        theirs |= np.array([bool(each) and found[each] for each in texts])
    return bad.filter(pa.array(~theirs))


def _tells_of(erased: Erased, cell: str) -> bool:
    return erased.named_in({cell, cell.strip().lstrip("'"), *tokens(cell), *cell.split()})


def _judged(staged: Staged, *, part: str) -> pa.Table:
    """The rows that could be read and were refused."""
    if not staged.count(_WANTED):
        return pa.table({name: pa.array([], pa.string()) for name in (*HEAD, KEY)})
    names = [*([LINE] if staged.opened.line else []), *map(theirs, staged.opened.columns)]
    own = "".join(f"{safe(f'original[{place}]')} AS {identifier(name)}, " for place, name in enumerate(names, start=1))
    rows = (
        f"(SELECT {PLACE} AS place, reason, original FROM staged WHERE {_WANTED})"
        if staged.opened.dear
        else _read_again(staged)
    )
    return staged.connection.execute(
        f"""
        SELECT {literal(staged.source.name)} AS source, {safe(literal(staged.file))} AS file,
            'row ' || bad.place AS place, reason, {own} {literal(part + ":row-")} || bad.place AS {KEY}
        FROM {rows} AS bad ORDER BY bad.place
        """
    ).to_arrow_table()


def _read_again(staged: Staged) -> str:
    """The bad rows with what a person sees of them, from the file once more: no column of a good row was kept."""
    number = _NUMBER_OF_ROW if _NUMBER_OF_ROW not in staged.opened.names else "row_number() OVER () - 1"
    original = f"[{', '.join(shown(staged.opened))}]::VARCHAR[]"
    return f"""
        (SELECT place_of_row AS place, reason_of_row AS reason, {original} AS original
         FROM (SELECT *, {number} + 1 AS place_of_row FROM {staged.opened.relation}) AS {ROW}
         JOIN (SELECT {PLACE} AS bad_row, reason AS reason_of_row FROM staged WHERE {_WANTED})
            ON bad_row = place_of_row)
    """


def _unread(staged: Staged, *, part: str) -> pa.Table:
    number, texts = len(staged.lines), [text for _, text in staged.lines]
    columns = {
        "source": [staged.source.name] * number,
        "file": [staged.file] * number,
        "place": [f"line {line}" for line, _ in staged.lines],
        "reason": ["unreadable_row"] * number,
        LINE: [f"'{text}" if text.lstrip("'")[:1] in tuple("=+-@\t\r") and text else text for text in texts],
        KEY: [f"{part}:line-{line}.{place}" for place, (line, _) in enumerate(staged.lines)],
    }
    names = columns if number else [*HEAD, KEY]
    table = pa.table({name: pa.array(columns[name], pa.string()) for name in names})
    for name in staged.opened.columns if number else ():  # for a person to fill in
        table = table.append_column(theirs(name), pa.nulls(number, pa.string()))
    return table


def safe(text: str) -> str:
    """SQL for a text that no spreadsheet takes for a formula; ``meant`` gives it back."""
    formula = f"regexp_matches({text}, {literal(_FORMULA)}) AND NOT regexp_full_match({text}, '{_NUMBER}')"
    return f"CASE WHEN {formula} THEN '''' || {text} ELSE {text} END"


def meant(text: str) -> str:
    """SQL for the text that ``safe`` was given."""
    return f"CASE WHEN regexp_matches({text}, {literal(_ESCAPED)}) THEN substr({text}, 2) ELSE {text} END"


def theirs(name: str) -> str:
    """How the quarantine calls a column of the file, which may be called as one of its own."""
    return f"{name}{_ALSO}" if name.lower() in _OWN else name


def ours(name: str) -> str:
    """How the file calls a column of the quarantine."""
    plain = name.removesuffix(_ALSO)
    return plain if plain.lower() in _OWN else name


def counts(bad: pa.Table) -> dict[str, int]:
    """Number of rows by reason, the most frequent first."""
    found: Mapping[str, int] = Counter(bad["reason"].to_pylist())
    return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))


def write(bad: pa.Table, target: Path) -> str:
    """Write the bad rows in place of those before, no file for none; returns where, empty for nowhere."""
    if bad.num_rows == 0:
        target.unlink(missing_ok=True)
        return ""
    last = [name for name in bad.column_names if name != KEY]
    return str(write_table(bad.select([*last, KEY]), target))


def give_way(bad: pa.Table, folder: Path, *, parts: Sequence[str]) -> None:
    """Take rows that stand in ``bad`` too out of the quarantine of earlier ``parts``: exports of the same file."""
    told = Counter(_contents(bad))
    for part in parts:
        before = held(folder, part)
        stays = [not told[content] for content in _contents(before)]
        if not all(stays):
            write(before.filter(pa.array(stays, pa.bool_())), folder / f"{part}.csv")


def _contents(rows: pa.Table) -> list[tuple[object, ...]]:
    names = sorted({*rows.column_names} - {*HEAD[:3], KEY})
    return [tuple((name, row[name]) for name in names if row[name] is not None) for row in rows.to_pylist()]


def read(path: Path) -> pa.Table:
    """A table of quarantined rows, all text, as Rapport wrote it or a spreadsheet saved it (``;``, byte order mark).

    Raises
    ------
    InputError
        When it is no such table.
    """
    if not path.is_file():
        raise InputError(f"there is no table at {str(path)!r}", got="no such file", do="check the path")
    opened = open_text(path, paths=[*HEAD, KEY])
    absent = [name for name in (*HEAD, KEY) if not opened.values[name].text]
    if absent:
        raise InputError(
            f"{path.name} is no table of quarantined rows",
            got=f"columns {', '.join(opened.names[:8])}; {', '.join(absent)} not among them",
            do="mend a copy of a file of quarantine/, and keep its first columns and the last",
        )
    with in_memory() as connection:
        try:
            table = connection.execute(f"SELECT * FROM {opened.relation}").to_arrow_table()
            refused = connection.execute("SELECT line FROM reject_errors ORDER BY line").fetchone()
        except duckdb.Error as error:
            raise InputError(
                f"{path.name} can't be read", got=str(error).strip().splitlines()[0], do="save it again as CSV in UTF-8"
            ) from error
    if refused:
        raise InputError(
            f"line {refused[0]} of {path.name} does not fit its columns",
            got="more or fewer values than the header names, or text that is not UTF-8",
            do="mend that line, or save it again as CSV in UTF-8",
        )
    return table


def held(folder: Path, part: str) -> pa.Table:
    """The rows of a part that are in quarantine now."""
    path = folder / f"{part}.csv"
    return read(path) if path.exists() else pa.table({name: pa.array([], pa.string()) for name in (*HEAD, KEY)})


def own_columns(rows: pa.Table) -> list[str]:
    """The columns that are the file's own."""
    return [name for name in rows.column_names if name not in _OWN]


def write_own_columns(rows: pa.Table, target: Path) -> None:
    """Write rows as the file that they came from might have held them: its own columns only, and their own texts."""
    columns = ", ".join(f"{meant(identifier(name))} AS {identifier(ours(name))}" for name in own_columns(rows))
    with in_memory() as connection:
        connection.register("kept", rows)
        connection.execute(
            f"COPY (SELECT {columns} FROM kept) TO {literal(target)} (FORMAT csv, HEADER, FORCE_QUOTE *)"
        )
