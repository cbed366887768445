"""``rapport link``: who is the same person, in any table or tables of person records."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    import pyarrow as pa

    from features.linkage import Linkage
    from features.linkage.roles import Role

# As the terminal shows them: the largest customers, and how sure links are.
_LARGEST = 5
_BANDS = ((0.99, "99% and more"), (0.9, "90% to 99%"), (0.5, "50% to 90%"), (0.0, "less than 50%"))


class Engine(StrEnum):
    """What compares the pairs."""

    duckdb = "duckdb"
    spark = "spark"


def link(
    tables: Annotated[list[Path], typer.Argument(metavar="TABLE...", help="Records of people: CSV, .gz or Parquet.")],
    id: Annotated[
        list[str],
        typer.Option("--id", metavar="COL", help="The record's id; never evidence. Once, or per table in their order."),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where to write record_id, customer_id, probability (.csv, .parquet).")
    ],
    pairs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the linked pairs: id_l, id_r, probability.")
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(metavar="COL=ROLE", help="What a column says, where it isn't told rightly; 'ignored' drops it."),
    ] = None,
    duplicate_free: Annotated[
        bool, typer.Option("--duplicate-free", help="No table holds a person twice: link only between tables.")
    ] = False,
    threshold: Annotated[float, typer.Option(help="Probability from which two records are one person.")] = 0.5,
    engine: Annotated[Engine, typer.Option(help="What compares the pairs.")] = Engine.duckdb,
    seed: Annotated[int, typer.Option(help="Seed of the pairs drawn to learn from.")] = 0,
    json: JsonFile = None,
) -> None:
    """Who is the same person, in one table or in several: learned from the records themselves, without labels.

    Each column's role is told from its name and its values; what agreement in it is worth is learned from the
    tables. The same records give the same customers, whatever the order of rows and columns.

    Example: rapport link people.csv.gz --id rec_id --out customers.csv

    Example: rapport link crm.csv till.parquet --id customer --id card --out customers.parquet --pairs links.csv
    """
    from features.linkage import link as linked
    from features.linkage import read_people

    _check_targets(tables, [each for each in (out, pairs, json) if each is not None])
    begun = time.perf_counter()
    with step("reading"):
        read = [read_people(path) for path in tables]
    records = sum(each.num_rows for each in read)
    with step(f"linking {records:,} records"):
        found = linked(
            read,
            id_column=id[0].strip() if len(id) == 1 else [each.strip() for each in id],
            roles=_roles(role or [], read),
            duplicate_free=duplicate_free,
            threshold=threshold,
            engine_name=engine.value,
            seed=seed,
        )
    names = [path.name for path in tables]
    _write(_named(found.records, names, ("table",)), out)
    if pairs is not None:
        kept = found.pairs.filter(found.pairs.column("linked")).drop(["linked"])
        _write(_named(kept, names, ("table_l", "table_r")), pairs)
    write_json(json, _payload(found, names, duplicate_free, engine.value, time.perf_counter() - begun))
    _show(found, names, out)


def _check_targets(tables: list[Path], targets: list[Path]) -> None:
    """Refuse to write over a table that is read, or one file over the other."""
    from features.errors import InputError

    read = {path.resolve() for path in tables}
    written: set[Path] = set()
    for path in targets:
        if path.resolve() in read | written:
            what = "a table that is read" if path.resolve() in read else "another output"
            raise InputError(f"an output would replace {what}", got=str(path), do="name another file")
        written.add(path.resolve())


def _roles(said: list[str], tables: list[pa.Table]) -> dict[str, Role]:
    """The roles that were declared, each checked by its column and its name."""
    from features.errors import InputError, unknown
    from features.linkage.roles import Role

    columns = {name for table in tables for name in table.column_names}
    found: dict[str, Role] = {}
    for each in said:
        column, mark, role = each.rpartition("=")
        if not mark:
            raise InputError("a role is not understood", got=repr(each), do="write --role COLUMN=ROLE")
        if column not in columns:
            raise unknown("column", column, sorted(columns))
        if role not in get_args(Role):
            raise unknown("role", role, get_args(Role))
        found[column] = cast("Role", role)
    return found


def _named(table: pa.Table, names: list[str], columns: tuple[str, ...]) -> pa.Table:
    """The tables by their files' names, or not at all when there is but one."""
    import pyarrow as pa

    for column in columns:
        place = table.column_names.index(column)
        said = pa.array([names[each] for each in table.column(column).to_pylist()], pa.string())
        table = table.drop([column]) if len(names) == 1 else table.set_column(place, column, said)
    return table


def _write(table: pa.Table, path: Path) -> None:
    """Write a table; in CSV a quote comes before text that a spreadsheet takes for a formula, as in the quarantine."""
    from features.intake.quarantine import safe
    from features.sql import identifier, in_memory
    from features.tables import write_table

    if not path.name.lower().endswith((".parquet", ".pq")):
        with in_memory() as connection:
            connection.register("written", table)
            cells = (
                f"{safe(identifier(each.name))} AS {identifier(each.name)}"
                if str(each.type) == "string"
                else identifier(each.name)
                for each in table.schema
            )
            table = connection.execute(f"SELECT {', '.join(cells)} FROM written").to_arrow_table()
    write_table(table, path)


def _sizes(found: Linkage) -> dict[str, int]:
    from collections import Counter

    counts = Counter(found.records.column("customer_id").to_pylist())
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


def _payload(found: Linkage, names: list[str], across: bool, engine: str, seconds: float) -> dict[str, Any]:
    sizes = _sizes(found)
    chances = found.pairs.filter(found.pairs.column("linked")).column("probability").to_pylist()
    return {
        "records": found.records.num_rows,
        "customers": found.customers,
        "pairs": sum(size * (size - 1) // 2 for size in sizes.values()),
        "compared": found.compared,
        "possible": found.possible,
        "tables": names,
        "within_tables": not across,
        "threshold": found.threshold,
        "engine": engine,
        "columns": [
            {"table": name, "column": each.column, "role": each.role, "because": each.because}
            for name, roles in zip(names, found.roles, strict=True)
            for each in roles
        ],
        "fields": [{"field": each.name, "columns": [list(part) for part in each.columns]} for each in found.fields],
        "largest": [{"customer_id": key, "records": size} for key, size in list(sizes.items())[:_LARGEST]],
        "sure": dict(zip((label for _, label in _BANDS), _banded(chances), strict=True)),
        "seconds": round(seconds, 3),
    }


def _banded(chances: list[float]) -> list[int]:
    counts, left = [], chances
    for least, _ in _BANDS:
        counts.append(sum(each >= least for each in left))
        left = [each for each in left if each < least]
    return counts


def _show(found: Linkage, names: list[str], out: Path) -> None:
    sizes = _sizes(found)
    several = sum(size > 1 for size in sizes.values())
    for name, roles in zip(names, found.roles, strict=True):
        print_table(
            f"columns of {name}",
            ("column", "says", "told by"),
            [(each.column, each.role.replace("_", " "), each.because) for each in roles],
        )
        say("")
    say(
        f"{found.records.num_rows:,} records are {found.customers:,} customers, "
        f"{several:,} of them with several records.",
        style="bold",
    )
    say(f"{found.compared:,} of {found.possible:,} possible pairs were compared.")
    chances = found.pairs.filter(found.pairs.column("linked")).column("probability").to_pylist()
    if chances:
        say("")
        rows = zip((label for _, label in _BANDS), _banded(chances), strict=True)
        print_table("links", ("probability of a link", "pairs"), [(label, f"{n:,}") for label, n in rows])
        largest = [(key, f"{size:,}") for key, size in list(sizes.items())[:_LARGEST] if size > 1]
        say("")
        print_table("largest customers", ("customer id", "number of records"), largest)
    say(f"Written to {out}.", style="dim")
