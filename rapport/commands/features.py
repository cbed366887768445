"""``rapport features``: features of a spine, as of each of its moments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rapport.terminal import JsonFile, print_table, say, step, write_json

if TYPE_CHECKING:
    from pyarrow import Table

    from features.audit import Audit
    from features.declaration import FeatureSet
    from rapport.project import Project

_MOST_SHOWN = 20


def features(
    spine: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="CSV or Parquet with customer_id, as_of and anything else."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="TABLE", help="Where the spine with features goes.")] = None,
    project: Annotated[Path, typer.Option(metavar="DIR", help="The project folder.")] = Path(),
    engine: Annotated[str, typer.Option(help="What computes them: duckdb.")] = "duckdb",
    list_: Annotated[bool, typer.Option("--list", help="Print each feature with meaning and unit.")] = False,
    audit: Annotated[bool, typer.Option("--audit", help="Check sampled rows: served = trained on, no leak.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the audit's sample.")] = 1,
    json: JsonFile = None,
) -> None:
    """Add the project's features to a table of customers and moments: only what was known before each moment.

    Example: rapport features --project shop --spine contacts.csv --out training.parquet
    """
    with step("opening the project"):
        from features.errors import InputError, unknown
        from features.tables import read_table
        from rapport.project import load_project

        opened = load_project(project)
    if engine != "duckdb":
        raise unknown("engine", engine, ["duckdb"])
    if spine is None and not list_:
        raise InputError("no spine was given", got="neither --spine nor --list", do="pass --spine TABLE --out TABLE")
    if spine is not None and out is None and not audit:
        raise InputError("there is nowhere to write to", got="no --out", do="pass --out TABLE.parquet or .csv")
    payload: dict[str, object] = {"fingerprint": opened.features.fingerprint, "features": _described(opened.features)}
    if list_:
        _show_list(opened.features)
    rows = None if spine is None else read_table(spine, text=("customer_id",))
    if rows is not None and out is not None:
        payload |= _computed(opened, rows, out)
    found = _audited(opened, rows, seed=seed) if rows is not None and audit else {}
    payload["audit"] = {name: {"rows": each.rows, "differences": len(each.differences)} for name, each in found.items()}
    write_json(json, payload)
    if found:
        _show_audit(found)


def _computed(project: Project, spine: Table, out: Path) -> dict[str, object]:
    from features.tables import write_table

    with step(f"computing {len(project.features.names)} features of {spine.num_rows:,} rows"):
        table = project.features.offline(project.history, spine)
        write_table(table, out)
    say(f"{table.num_rows:,} rows with {len(project.features.names)} features in {out}")
    return {"rows": table.num_rows, "out": str(out)}


def _audited(project: Project, spine: Table, *, seed: int) -> dict[str, Audit]:
    import numpy as np

    from features.audit import leakage, parity

    with step("auditing sampled rows"):
        rng = np.random.default_rng(seed)
        return {
            "parity": parity(project.features, project.history, spine, rng=rng),
            "leakage": leakage(project.features, project.history, spine, rng=rng),
        }


def _described(features: FeatureSet) -> list[dict[str, object]]:
    return [
        {
            "name": each.name,
            "meaning": each.feature.meaning,
            "window": each.window,
            "unit": each.unit,
            "purpose": each.feature.purpose,
        }
        for each in features.columns
    ]


def _show_list(features: FeatureSet) -> None:
    declared = {each.feature.name: each for each in features.columns}
    windows = {name: [each.window for each in features.columns if each.feature.name == name] for name in declared}
    rows = [
        (name, " ".join(each or "all history" for each in windows[name]), column.unit, column.feature.purpose)
        for name, column in declared.items()
    ]
    print_table(f"{len(features.names)} features", ("feature", "windows", "unit", "purpose"), rows)
    say("")
    print_table(
        "what they mean", ("feature", "meaning"), [(name, each.feature.meaning) for name, each in declared.items()]
    )
    say(f"fingerprint {features.fingerprint}", style="dim")


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
