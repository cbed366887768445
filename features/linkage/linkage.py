"""Who is the same person, in one table or in several: the whole way from columns to people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.errors import InputError, listed
from features.linkage.blocking import ALL_PAIRS, make_keys
from features.linkage.clusters import clusters, components, inner_pairs
from features.linkage.comparisons import comparisons_of
from features.linkage.engines import EngineName, engine
from features.linkage.evidence import check_evidence, usable_fields
from features.linkage.model import Weights, fit
from features.linkage.normalization import Field, fields_of
from features.linkage.redundancy import without
from features.linkage.roles import ColumnRole, Role, column_roles
from features.linkage.scoring import patterns_of, scored_pairs
from features.linkage.values import is_plain
from features.sql import in_memory
from features.tables import require_column

# Pairs drawn at random to learn how often two persons agree.
_DRAWN = 300_000
# Pairs per record that may be looked at again inside the groups that links connect.
_INSIDE = 200


@dataclass(frozen=True, kw_only=True)
class Linkage:
    """Who is the same person.

    ``records``: ``record_id``, ``table`` (which of the tables, from 0), ``customer_id`` (the smallest record id of the
    customer, with the number of its table before it where tables share ids) and ``probability`` (how sure it is that
    the record belongs there: the surest link to another record of the customer, or for one that stands alone, the
    chance that its likeliest link is none). ``pairs``: ``id_l``, ``table_l``, ``id_r``, ``table_r``, ``probability``
    and ``linked`` (whether both are one customer), of all pairs that are not next to impossible.

    ``roles``: per table what each column says; ``fields``: what was compared; ``weights``: what was learned;
    ``compared``: how many pairs were looked at; ``possible``: how many there are.

    >>> people = pa.table({"id": ["1", "2", "3"], "name": ["Anna Berg", "Anna Berg", "Tom Stone"],
    ...                    "born": ["1980-02-01", "1980-02-01", "1991-07-30"],
    ...                    "email": ["anna@berg.org", "anna@berg.org", "tom@stone.org"]})
    >>> link([people], id_column="id").records.column("customer_id").to_pylist()
    ['1', '1', '3']
    """

    records: pa.Table
    pairs: pa.Table
    roles: tuple[tuple[ColumnRole, ...], ...]
    fields: tuple[Field, ...]
    weights: Weights
    compared: int
    possible: int
    threshold: float

    @property
    def customers(self) -> int:
        """How many people there are."""
        return len(self.records.column("customer_id").unique())


def link(
    tables: Sequence[pa.Table],
    *,
    id_column: str | Sequence[str],
    roles: Mapping[str, Role] | None = None,
    duplicate_free: bool = False,
    threshold: float = 0.5,
    engine_name: EngineName = "duckdb",
    seed: int = 0,
) -> Linkage:
    """Link the records of ``tables`` to people, without labels: the tables themselves tell what agreement is worth.

    Parameters
    ----------
    tables: one or several.
    id_column: what names the record within its table and is never evidence; one for all tables, or one of each.
    roles: what columns say, where their names and values don't tell (``"ignored"`` leaves one out).
    duplicate_free: no table holds a person twice, so only records of different tables are compared.
    threshold: the probability from which a pair is a link.
    engine_name: where pairs are compared, ``duckdb`` or ``spark``.
    seed: of the pairs that are drawn to learn how often two persons agree; the same seed gives the same result.

    Raises
    ------
    InputError
        When an id is missing or there twice, or when the columns can't tell one person from another.
    """
    ids = [id_column] * len(tables) if isinstance(id_column, str) else list(id_column)
    _check(tables, ids, threshold)
    _check_roles(tables, ids, roles or {})
    found = tuple(column_roles(table, id_column=each, declared=roles) for table, each in zip(tables, ids, strict=True))
    with in_memory() as connection:
        laid = fields_of(tables, found)
        fields, reasons = usable_fields(connection, tables, id_columns=ids, fields=laid)
        found = without(found, laid, reasons)
        check_evidence(fields, found, records=sum(table.num_rows for table in tables))
        comparisons = comparisons_of(fields)
        make_keys(connection, fields=fields)
        records = connection.execute("SELECT * FROM records ORDER BY record").to_arrow_table()
        sources = records.column("source").to_numpy()
        possible = _possible(sources, across=duplicate_free)
        with engine(engine_name, connection) as spot:
            table = spot.table(records)
            keys = spot.table(connection.execute("SELECT * FROM keys").to_arrow_table())
            drawn = spot.table(_drawn(sources, across=duplicate_free, seed=seed))
            pairs = spot.pairs(keys, drawn=drawn, other_source=duplicate_free, records=table)
            compared = spot.compared(table, pairs, comparisons)
            patterns = patterns_of(spot, compared, comparisons, everything=sources.size <= ALL_PAIRS)
            weights = fit(comparisons, patterns, pairs=max(possible, 1), records=sources.size)
            scored = scored_pairs(spot, compared, table, comparisons, weights, size=sources.size)
            least = math.log(threshold / (1 - threshold))
            inside = _inside(scored, sources, least=least, across=duplicate_free)
            if inside.num_rows:
                closer = spot.compared(table, spot.table(inside), comparisons)
                seen = scored_pairs(spot, closer, table, comparisons, weights, size=sources.size, least=-1e9)
                scored = _joined(scored, seen)
    left, right, odds, told = (scored.column(name).to_numpy() for name in ("record_l", "record_r", "odds", "told"))
    group = clusters(left, right, odds, records=sources.size, least=least, told=told)
    return Linkage(
        records=_people(records, group, left, right, odds),
        pairs=_pairs(records, group, left, right, odds),
        roles=found,
        fields=fields,
        weights=weights,
        compared=int(patterns.compared.sum()),
        possible=possible,
        threshold=threshold,
    )


def _check(tables: Sequence[pa.Table], id_columns: Sequence[str], threshold: float) -> None:
    if not 0 < threshold < 1:
        raise InputError("the threshold is no probability", got=str(threshold), do="pass one between 0 and 1")
    if sum(table.num_rows for table in tables) < 2:
        raise InputError("there is nothing to link", got="fewer than two records", do="pass a table with more")
    if len(id_columns) != len(tables):
        raise InputError(
            "the id columns don't go with the tables", got=f"{len(id_columns)} names for {len(tables)} tables",
            do="name one for all tables, or one of each in the order of the tables",
        )  # fmt: skip
    for number, (table, id_column) in enumerate(zip(tables, id_columns, strict=True)):
        where = f" in table {number + 1}" if len(tables) > 1 else ""
        require_column(table, id_column)
        if not is_plain(kind := table.schema.field(id_column).type):
            raise InputError(
                f"an id is a text or a number{where}", got=f"{id_column!r} of {str(kind)!r:.60}",
                do="pass --id another column, or save this one as text",
            )  # fmt: skip
        ids = table.column(id_column).cast(pa.string()).to_pylist()
        blank = [row for row, each in enumerate(ids, start=1) if each is None or not each.strip()]
        if blank:
            raise InputError(
                f"records have no id{where}", got=f"an empty {id_column!r} in {len(blank)} rows, first row {blank[0]}",
                do="give each record an id of its own",
            )  # fmt: skip
        if len(set(ids)) < len(ids):
            twice = sorted(each for each, count in _counts(ids) if count > 1)
            raise InputError(
                f"ids are there more than once{where}", got=listed(twice, most=5),
                do="give each record an id of its own, or pass --id another column",
            )  # fmt: skip


def _check_roles(tables: Sequence[pa.Table], id_columns: Sequence[str], roles: Mapping[str, Role]) -> None:
    """Refuse a role for what is an id in every table that has it: an id is never evidence."""
    for column, role in roles.items():
        if role == "id":
            raise InputError(
                "the id is named once", got=f"the role 'id' for column {column!r}",
                do="name the id by --id, and give roles to other columns",
            )  # fmt: skip
        of = {each for table, each in zip(tables, id_columns, strict=True) if column in table.column_names}
        if of == {column}:
            raise InputError(
                "an id is never evidence", got=f"the role {role!r} for column {column!r}",
                do="pass --id another column, or leave this role out",
            )  # fmt: skip


def _counts(ids: Sequence[str]) -> list[tuple[str, int]]:
    from collections import Counter

    return list(Counter(ids).items())


def _possible(sources: NDArray[np.int64], *, across: bool) -> int:
    """How many pairs there are, or between different tables only."""
    sizes = [int(each) for each in np.bincount(sources)]
    every = sum(sizes) * (sum(sizes) - 1) // 2
    return every - sum(size * (size - 1) // 2 for size in sizes) if across else every


def _drawn(sources: NDArray[np.int64], *, across: bool, seed: int) -> pa.Table:
    """Pairs of records at random; none where all pairs are compared anyway."""
    rng = np.random.default_rng(seed)
    size = 0 if sources.size <= ALL_PAIRS else min(_DRAWN, 60 * sources.size)
    one, other = rng.integers(0, sources.size, (2, size))
    right = sources[one] != sources[other] if across else one != other
    return pa.table({"join_key_l": np.minimum(one, other)[right], "join_key_r": np.maximum(one, other)[right]})


def _inside(scored: pa.Table, sources: NDArray[np.int64], *, least: float, across: bool) -> pa.Table:
    """All pairs of the groups that links connect: whether a group holds together is told by every pair in it."""
    linked = scored.column("odds").to_numpy() >= least
    left, right = (scored.column(name).to_numpy()[linked] for name in ("record_l", "record_r"))
    group = components(left, right, records=sources.size)
    one, other = inner_pairs(group, most=_INSIDE * sources.size + _DRAWN)
    right_ones = sources[one] != sources[other] if across else np.ones(one.size, dtype=bool)
    return pa.table(
        {"match_key": ["0"] * int(right_ones.sum()), "join_key_l": one[right_ones], "join_key_r": other[right_ones]}
    )


def _joined(first: pa.Table, second: pa.Table) -> pa.Table:
    """Both tables of scored pairs, each pair once."""
    both = pa.concat_tables([second, first])
    keys = ["record_l", "record_r"]
    return (
        both.group_by(keys)
        .aggregate([("odds", "max"), ("told", "max")])
        .rename_columns([*keys, "odds", "told"])
        .sort_by([(key, "ascending") for key in keys])
    )


def _people(
    records: pa.Table,
    group: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    odds: NDArray[np.float64],
) -> pa.Table:
    inside = group[left] == group[right]
    best, out = np.full(group.size, -np.inf), np.full(group.size, -np.inf)
    for side in (left, right):
        np.maximum.at(best, side[inside], odds[inside])
        np.maximum.at(out, side[~inside], odds[~inside])
    alone = np.bincount(group, minlength=group.size)[group] == 1
    return pa.table(
        {
            "record_id": records.column("id"),
            "table": records.column("source"),
            "customer_id": _names(records, group),
            "probability": np.where(alone, 1 - chance(out), chance(best)),
        }
    ).sort_by([("table", "ascending"), ("record_id", "ascending")])


def _names(records: pa.Table, group: NDArray[np.int64]) -> list[str]:
    """The customer id of each record: the smallest id of the first table that the customer is in."""
    ids, sources = records.column("id").to_pylist(), records.column("source").to_pylist()
    shared = len(set(ids)) < len(ids)
    smallest: dict[int, tuple[int, str]] = {}
    for key, own in zip(group.tolist(), zip(sources, ids, strict=True), strict=True):
        smallest[key] = min(smallest.get(key, own), own)
    names = {key: f"{source + 1}:{name}" if shared else name for key, (source, name) in smallest.items()}
    return [names[key] for key in group.tolist()]


def _pairs(
    records: pa.Table,
    group: NDArray[np.int64],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    odds: NDArray[np.float64],
) -> pa.Table:
    """The pairs with the smaller id left, the surest first."""
    ids, sources = records.column("id").to_pylist(), records.column("source").to_pylist()
    rows = []
    for one, other, sure in zip(left.tolist(), right.tolist(), chance(odds).tolist(), strict=True):
        (table_l, id_l), (table_r, id_r) = sorted(((sources[one], ids[one]), (sources[other], ids[other])))
        rows.append((id_l, table_l, id_r, table_r, sure, bool(group[one] == group[other])))
    columns = list(zip(*rows, strict=True)) or [()] * 6
    kinds = (pa.string(), pa.int32(), pa.string(), pa.int32(), pa.float64(), pa.bool_())
    names = ("id_l", "table_l", "id_r", "table_r", "probability", "linked")
    made = pa.table({name: pa.array(column, kind) for name, column, kind in zip(names, columns, kinds, strict=True)})
    order = [("probability", "descending"), *((name, "ascending") for name in names[:4])]
    return made.sort_by(order)


def chance(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probabilities of log odds."""
    made: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(odds, -700, 700)))
    return made
