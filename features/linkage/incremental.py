"""New records beside known ones: what was learned once is kept, and only pairs with a new record are compared."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from features.errors import InputError
from features.linkage.beside import pairs_beside
from features.linkage.blocking import atoms_of
from features.linkage.comparisons import comparisons_of
from features.linkage.engines import EngineName, engine
from features.linkage.linkage import Linkage, chance
from features.linkage.model import Weights
from features.linkage.normalization import FORMS, Field, prepared
from features.linkage.scoring import scored_pairs
from features.sql import in_memory
from features.tables import require_column

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class LinkageModel:
    """What a linkage learned, to link new records with: its fields, its weights and how many records taught it.

    >>> model = LinkageModel(
    ...     fields=(Field(name="email", kind="email", columns=(("mail",),), forms=("email",)),), records=1000,
    ...     weights=Weights(match={"email": (0.7, 0.1, 0.1, 0.1)}, other={"email": (1e-6, 1e-4, 1e-3, 0.99)},
    ...                     classes=(1e-3, 0, 0, 0, 0, 0.999)))
    >>> LinkageModel.from_json(model.to_json()) == model
    True
    """

    fields: tuple[Field, ...]
    weights: Weights
    records: int

    @classmethod
    def of(cls, linkage: Linkage, *, table: int = 0) -> LinkageModel:
        """The model of a linkage, for records with the columns of one of its tables."""
        fields = tuple(
            replace(each, columns=(each.columns[table],), forms=(each.forms[table],)) for each in linkage.fields
        )
        return cls(fields=fields, weights=linkage.weights, records=linkage.records.num_rows)

    def to_json(self) -> str:
        """The model as JSON, the same text for the same model."""
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> LinkageModel:
        """The model that ``to_json`` wrote; forms are looked up by name, so that no SQL comes from the file."""
        try:
            said = json.loads(text)
            if said["version"] != _VERSION:
                raise ValueError(f"version {said['version']}")
            fields = tuple(_field(each) for each in said["fields"])
            weights = Weights(
                match={name: tuple(map(float, each)) for name, each in said["weights"]["match"].items()},
                other={name: tuple(map(float, each)) for name, each in said["weights"]["other"].items()},
                classes=tuple(map(float, said["weights"]["classes"])),
            )
            return cls(fields=fields, weights=weights, records=int(said["records"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                "the linkage model can't be read", got=f"{type(error).__name__}: {error}", do="link anew and save it"
            ) from error

    def save(self, path: str | Path) -> Path:
        """Write the model as JSON, whole or not at all."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.parent / f".{target.name}.{os.getpid()}.tmp"
        try:
            scratch.write_text(self.to_json(), encoding="utf-8")
            scratch.replace(target)
        finally:
            scratch.unlink(missing_ok=True)
        return target

    @classmethod
    def load(cls, path: str | Path) -> LinkageModel:
        """The model in a file."""
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(
                "there is no linkage model", got=str(error), do="link first, and save the model"
            ) from error

    def prepare(self, table: pa.Table, *, id_column: str) -> pa.Table:
        """Records in the form in which they are compared: ``id``, every field, and ``atoms``, the pieces they share.

        Known records are prepared once and kept (a Parquet file will do), so that new ones cost only themselves.
        """
        require_column(table, id_column)
        for column in (each for field in self.fields for each in field.columns[0]):
            require_column(table, column)
        with in_memory() as connection:
            prepared([table], id_columns=[id_column], fields=self.fields, connection=connection)
            atoms = ", ".join(
                f"CAST(CASE WHEN {atom.sql} IS NOT NULL THEN hash({number}, {atom.sql}) >> 1 END AS BIGINT)"
                for number, atom in enumerate(atoms_of(self.fields))
            )
            return connection.execute(
                f"SELECT * EXCLUDE (record, source), [{atoms}] AS atoms FROM records ORDER BY record"
            ).to_arrow_table()


def link_new(
    model: LinkageModel, *, known: pa.Table, new: pa.Table, least: float = 0.01, engine_name: EngineName = "duckdb"
) -> pa.Table:
    """The pairs of a new record with a known or another new one: ``id_l``, ``id_r``, ``probability``, the surest first.

    ``known`` and ``new`` come from ``model.prepare``; ids must differ. Pairs less likely than ``least`` are left out.
    Known records are never compared with each other: the cost is that of the new ones, and of one look through the
    keys of the known. How often one person is there twice is taken from the model; that two records at random are one
    person gets rarer as records get more.
    """
    size = known.num_rows + new.num_rows
    comparisons = comparisons_of(model.fields)
    with in_memory() as connection:
        connection.register("known", _numbered(known, first=0))
        connection.register("new", _numbered(new, first=known.num_rows))
        pairs = pairs_beside(known, new, atoms=atoms_of(model.fields))
        connection.register("found", pa.table({"join_key_l": pairs[:, 0], "join_key_r": pairs[:, 1]}))
        _make_involved(connection, [one.name for one in comparisons if one.rare])
        records = connection.execute("SELECT * FROM involved ORDER BY record").to_arrow_table()
        found = connection.execute("SELECT '0' AS match_key, * FROM found").to_arrow_table()
        with engine(engine_name, connection) as spot:
            table = spot.table(records.drop(["id"]))
            compared = spot.compared(table, spot.table(found), comparisons)
            weights = _grown(model.weights, model.records / size)
            scored = scored_pairs(spot, compared, table, comparisons, weights, size=size)
    ids = dict(zip(records.column("record").to_pylist(), records.column("id").to_pylist(), strict=True))
    left, right = (scored.column(name).to_pylist() for name in ("record_l", "record_r"))
    made = pa.table(
        {
            "id_l": pa.array([ids[each] for each in left], pa.string()),
            "id_r": pa.array([ids[each] for each in right], pa.string()),
            "probability": chance(scored.column("odds").to_numpy()),
        }
    )
    kept = made.filter(pa.compute.greater_equal(made.column("probability"), least))
    return kept.sort_by([("probability", "descending"), ("id_l", "ascending"), ("id_r", "ascending")])


def _numbered(table: pa.Table, *, first: int) -> pa.Table:
    return table.append_column("record", pa.array(range(first, first + table.num_rows), pa.int64()))


def _field(said: dict[str, Any]) -> Field:
    forms = tuple(map(str, said["forms"]))
    if strange := [form for form in forms if form and form not in FORMS]:
        raise ValueError(f"unknown form {strange[0]!r}")
    if not str(said["name"]).isidentifier():
        raise ValueError(f"no name of a field: {said['name']!r}")
    columns = tuple(tuple(map(str, each)) for each in said["columns"])
    return Field(name=said["name"], kind=said["kind"], columns=columns, forms=forms)


def _grown(weights: Weights, share: float) -> Weights:
    """The weights for a table 1 / ``share`` times as large: twice the records, half the chance to draw one person."""
    tied = [each * min(share, 1.0) for each in weights.classes[:4]]
    town = weights.classes[4]
    return replace(weights, classes=(*tied, town, 1 - sum(tied) - town))


def _make_involved(connection: duckdb.DuckDBPyConnection, rare: Sequence[str]) -> None:
    """Make ``involved``: the records that are in a pair, with how often each of their values is there at all.

    A value that no new record holds is counted for nobody: only an agreement on a value asks for it.
    """
    connection.execute(
        """CREATE TEMP TABLE paired AS SELECT join_key_l AS record FROM found UNION SELECT join_key_r FROM found;
        CREATE TEMP TABLE named AS SELECT * FROM (
          SELECT * EXCLUDE (atoms) FROM known UNION ALL BY NAME SELECT * EXCLUDE (atoms) FROM new)
        SEMI JOIN paired USING (record)"""
    )
    for name in rare:
        connection.execute(
            f"""CREATE TEMP TABLE count_{name} AS SELECT {name} AS said_{name}, count(*) AS often_{name} FROM (
              SELECT {name} FROM known WHERE {name} IN (SELECT {name} FROM new) UNION ALL SELECT {name} FROM new)
            GROUP BY ALL"""
        )
    columns = "".join(f", often_{name}" for name in rare)
    joins = "".join(f" LEFT JOIN count_{name} ON said_{name} = named.{name}" for name in rare)
    connection.execute(f"CREATE TEMP TABLE involved AS SELECT named.*{columns} FROM named{joins}")
