"""``rapport features``: features of a spine, as of each of its moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from pyarrow import Table

    from features.audit import Audit
    from features.feature import Column
    from rapport.project import Project

_ENGINES = ("duckdb", "spark")
_MOST_SHOWN = 20
_CUSTOMERS_LOOKED_AT = 1_000
_ROWS_MASKED_AT_ONCE = 262_144
_WIDTH_OF_MEANING = 38


def features(
    spine: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="CSV or Parquet with customer_id, as_of and anything else."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="TABLE", help="Where the spine with features goes.")] = None,
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    engine: Annotated[str, typer.Option(help="What computes them: duckdb or spark.")] = "duckdb",
    master: Annotated[str, typer.Option(metavar="URL", help="The master of Spark's cluster.")] = "local[*]",
    list_: Annotated[
        bool, typer.Option("--list", help="Print each feature, its meaning, and how often it is missing.")
    ] = False,
    audit: Annotated[bool, typer.Option("--audit", help="Check sampled rows: served = trained on, no leak.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the audit's sample.")] = 1,
    unmasked: Annotated[
        bool, typer.Option("--unmasked", help="Also write what customers do not let be used: for no model.")
    ] = False,
    json: JsonFile = None,
) -> None:
    """Add the project's features to a table of customers and moments: only what was known before each moment.

    What a customer did not let be used then, or does not now, is missing, as in training and in serving.

    Example: rapport features --project shop --spine contacts.csv --out training.parquet
    """
    with step("opening the project"):
        from features.errors import InputError, unknown
        from features.tables import read_table
        from rapport.project import load_project

        opened = load_project(project)
    if engine not in _ENGINES:
        raise unknown("engine", engine, _ENGINES)
    if spine is None and not list_ and not audit:
        raise InputError(
            "no spine was given", got="neither --spine nor --list nor --audit", do="pass --spine TABLE --out TABLE"
        )
    if spine is not None and out is None and not audit:
        raise InputError("there is nowhere to write to", got="no --out", do="pass --out TABLE.parquet or .csv")
    missing = _missing(opened) if list_ else {}
    payload: dict[str, object] = {
        "fingerprint": opened.features.fingerprint,
        "features": [_described(each, missing) for each in opened.features.columns],
    }
    if list_:
        _show_list(opened, missing)
    rows = None if spine is None else read_table(spine, text=("customer_id",))
    if rows is not None and out is not None:
        payload |= _computed(opened, rows, out, master=master if engine == "spark" else None, unmasked=unmasked)
    found = _audited(opened, rows, seed=seed) if audit else {}
    payload["audit"] = {name: {"rows": each.rows, "differences": len(each.differences)} for name, each in found.items()}
    write_json(json, payload)
    if found:
        _show_audit(found)


def _computed(project: Project, spine: Table, out: Path, *, master: str | None, unmasked: bool) -> dict[str, object]:
    from features.tables import write_table
    from rapport.people.base import strangers

    told = f"computing {len(project.features.names)} features of {spine.num_rows:,} rows"
    with step(told if master is None else f"{told} on Spark"):
        if master is None:
            table = project.features.offline(project.history, spine)
            write_table(table if unmasked else _usable(project, table, now=datetime.now(UTC)), out)
        else:
            _write_on_spark(project, spine, out, master=master, unmasked=unmasked)
    say(f"{spine.num_rows:,} rows with {len(project.features.names)} features in {out}")
    unknown = strangers(project, spine["customer_id"])
    if unknown.number:
        say(unknown.sentence, style="yellow")
    if unmasked:
        say("Nothing is masked: it also holds what customers do not let be used, and is for no model.", style="yellow")
    return {"rows": spine.num_rows, "out": str(out), "masked": not unmasked, "unknown_customers": unknown.number}


def _usable(project: Project, table: Table, *, now: datetime) -> Table:
    """``table`` of features without what its customers did not let be used at their moments, or do not let be now."""
    from features.privacy.purposes import masked

    return masked(table, project.features, project.history, purposes=project.purposes, used_at=now)


def _write_on_spark(project: Project, spine: Table, out: Path, *, master: str, unmasked: bool) -> None:
    from features.engines.spark import Spark, session
    from features.tables import write_table

    with session(master) as running:
        if out.suffix.lower() in {".parquet", ".pq"}:  # written by the workers, however large
            with _masking(project, out, unmasked=unmasked) as target:
                Spark(running).write(project.features.columns, project.history, spine, target)
        else:
            table = project.features.offline(project.history, spine, engine=Spark(running))
            write_table(table if unmasked else _usable(project, table, now=datetime.now(UTC)), out)


@contextmanager
def _masking(project: Project, out: Path, *, unmasked: bool) -> Iterator[Path]:
    """Where to write a Parquet file that then goes to ``out`` masked, piece by piece; or ``out`` itself."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if unmasked:
        yield out
        return
    now = datetime.now(UTC)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name[:40]}.") as scratch:
        whole, kept = Path(scratch) / "whole.parquet", Path(scratch) / "kept.parquet"
        yield whole
        written = pq.ParquetFile(whole)
        with pq.ParquetWriter(kept, written.schema_arrow, compression="zstd") as writer:
            for batch in written.iter_batches(batch_size=_ROWS_MASKED_AT_ONCE):
                writer.write_table(_usable(project, pa.Table.from_batches([batch]), now=now))
        kept.replace(out)


def _audited(project: Project, spine: Table | None, *, seed: int) -> dict[str, Audit]:
    import numpy as np

    from features.audit import leakage, parity
    from features.samples import moments_of

    rng = np.random.default_rng(seed)
    if spine is None:
        spine = moments_of(project.history, rng=rng)
        say("no --spine: moments of the history at which something happened or was recorded are looked at", style="dim")
    with step("computing sampled rows for one customer at a time, and again for all at once"):
        found = {"parity": parity(project.features, project.history, spine, rng=rng)}
    with step("computing them again with all that was not known at their moments changed at random"):
        return {**found, "leakage": leakage(project.features, project.history, spine, rng=rng)}


def _missing(project: Project) -> dict[str, float]:
    """Share of sampled customers for whom each feature is missing or may not be used, as of the end of the history."""
    import numpy as np

    from features.privacy.purposes import masked
    from features.samples import customers_of

    spine = customers_of(project.history, rng=np.random.default_rng(1), most=_CUSTOMERS_LOOKED_AT)
    if spine.num_rows == 0:
        return {}
    as_of = spine["as_of"][0].as_py()
    with step(f"computing the features of {spine.num_rows:,} customers as of {as_of:%Y-%m-%d %H:%M}"):
        table = project.features.offline(project.history, spine)
        known = masked(table, project.features, project.history, purposes=project.purposes)
    return {name: known[name].null_count / spine.num_rows for name in project.features.names}


def _described(column: Column, missing: dict[str, float]) -> dict[str, object]:
    return {
        "name": column.name,
        "meaning": column.feature.meaning,
        "calculation": column.declaration,
        "window": column.window,
        "unit": column.unit,
        "purpose": column.feature.purpose,
        "sensitive": column.feature.sensitive,
        "missing_share": missing.get(column.name),
    }


def _show_list(project: Project, missing: dict[str, float]) -> None:
    columns = project.features.columns
    for purpose, sensitive in sorted({(each.feature.purpose, each.feature.sensitive) for each in columns}):
        chosen = [each for each in columns if (each.feature.purpose, each.feature.sensitive) == (purpose, sensitive)]
        assumed = project.purposes.allow(chosen[0].feature, {})
        noun = ("sensitive " if sensitive else "") + ("feature" if len(chosen) == 1 else "features")
        title = f"{len(chosen)} {noun} for {purpose}, " + (
            "used until a customer refuses" if assumed else "used only after a customer's yes"
        )
        by_feature: dict[str, list[Column]] = {}
        for each in chosen:
            by_feature.setdefault(each.feature.name, []).append(each)
        rows = [_row(name, windows, missing) for name, windows in by_feature.items()]
        print_table(title, ("feature and its meaning", "windows", "unit", "missing"), rows)
        say("")
    if not missing:
        say("How often each is missing will stand here once the history holds facts: rapport ingest", style="dim")
    say(f"fingerprint {project.features.fingerprint}", style="dim")


def _row(name: str, columns: list[Column], missing: dict[str, float]) -> tuple[str, str, str, str]:
    windows = " ".join(each.window or "all history" for each in columns)
    shares = sorted(missing[each.name] for each in columns if each.name in missing)
    told = " to ".join(dict.fromkeys(f"{each:.0%}" for each in (*shares[:1], *shares[-1:])))
    meaning = wrap(columns[0].feature.meaning, _WIDTH_OF_MEANING)
    return "\n  ".join([name, *meaning]), windows, columns[0].unit, told


def _show_audit(found: dict[str, Audit]) -> None:
    from features.errors import InputError

    told = {"parity": "online equals offline", "leakage": "what was not known changes nothing"}
    print_table(
        "audit",
        ("check", "rows", "values", "differences"),
        [
            (told[name], f"{each.rows:,}", f"{each.values:,}", f"{len(each.differences):,}")
            for name, each in found.items()
        ],
    )
    wrong = [difference for each in found.values() for difference in each.differences]
    if wrong:
        rows = [(each.feature, each.customer_id, each.as_of, each.expected, each.got) for each in wrong[:_MOST_SHOWN]]
        print_table("differences", ("feature", "customer", "as of", "expected", "got"), rows)
        raise InputError(
            "the audit failed",
            got=f"{len(wrong)} values that differ",
            do="mend those features before you train on them",
        )
