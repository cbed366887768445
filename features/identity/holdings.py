"""Who holds which identifier since when: read from profile facts part by part, each part once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.facts import TIMESTAMP
from features.history import History, is_whole
from features.identity.normal import normal, normal_words
from features.identity.rules import IdentityRules
from features.sql import in_memory, literal, literals

#: One row a time that an account was told to hold a value. ``value`` is a digest of its normal form (a number, as
#: numbers are quick to compare), null where it is no longer known; ``known`` is the later of the fact's two times.
HOLDINGS = pa.schema(
    [
        pa.field("account_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        ("value", pa.int64()),
        pa.field("occurred_at", TIMESTAMP, nullable=False),
        pa.field("known", TIMESTAMP, nullable=False),
    ]
)

#: Kinds of household attributes begin with this.
HOUSEHOLD = "household:"

_ROWS_IN_GROUP = 122_880


def read_holdings(history: History, rules: IdentityRules) -> list[Path]:
    """The files of holdings of all parts of the history; those of parts that are new are made now.

    They are a cache, `history.folder / "identifiers"`: it may be deleted at any time and is made again.
    """
    folder = history.folder / "identifiers" / rules.fingerprint
    tables = [] if rules.silent else ["profile"]
    if any(each.namespace for each in rules.identifier):
        tables.append("events")
    parts = [(table, part) for table in tables for part in history.parts(table)]
    wanted = {folder / f"{table}-{part.stem}.parquet": (table, part) for table, part in parts}
    for stale in history.folder.glob("identifiers/*/*"):
        if stale not in wanted:
            stale.unlink(missing_ok=True)
    if wanted:
        folder.mkdir(parents=True, exist_ok=True)
    for target, (table, part) in wanted.items():
        if not _current(target, part):
            _write(holdings_of(part, rules, named_only=table == "events"), target)
    return list(wanted)


def _current(target: Path, part: Path) -> bool:
    """Whether a file of holdings is there, whole and not older than its part."""
    return target.exists() and target.stat().st_mtime_ns >= part.stat().st_mtime_ns and is_whole(target)


def holdings_of(part: Path, rules: IdentityRules, *, named_only: bool = False) -> pa.Table:
    """The holdings (HOLDINGS) of one part of profile facts; ``named_only``: those of account names alone."""
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        told = connection.execute(_told(part, rules, named_only=named_only)).to_arrow_table()
    values = told.group_by(["kind", "raw"]).aggregate([])
    digests = [
        _digest(raw, kind=kind, country=rules.country)
        for kind, raw in zip(values["kind"].to_pylist(), values["raw"].to_pylist(), strict=True)
    ]
    named = values.append_column("value", pa.array(digests, pa.int64()))
    joined = told.join(named, keys=["kind", "raw"])
    # A household attribute that is no longer known ends what was known; an identifier once held stays one.
    keep = pc.or_(pc.is_valid(joined["value"]), pc.starts_with(joined["kind"], HOUSEHOLD))
    return joined.filter(keep).select(HOLDINGS.names).cast(HOLDINGS)


def _told(part: Path, rules: IdentityRules, *, named_only: bool) -> str:
    scan = f"read_parquet({literal(part)})"
    times = "min(occurred_at) AS occurred_at, min(greatest(occurred_at, recorded_at)) AS known"
    each = [
        f"SELECT customer_id AS account_id, {literal(rule.kind)} AS kind, "
        f"substr(customer_id, {len(rule.namespace) + 2}) AS raw, {times} "
        f"FROM {scan} WHERE starts_with(customer_id, {literal(rule.namespace + ':')}) GROUP BY ALL"
        for rule in rules.identifier
        if rule.namespace
    ]
    if not named_only:
        each += [
            f"SELECT customer_id AS account_id, {literal(rule.kind)} AS kind, value AS raw, {times} "
            f"FROM {scan} WHERE attribute IN ({literals(rule.attributes)}) AND value IS NOT NULL GROUP BY ALL"
            for rule in rules.identifier
        ]
        each += [
            f"SELECT customer_id AS account_id, {literal(HOUSEHOLD)} || attribute AS kind, coalesce(value, '') AS raw, "
            f"occurred_at, greatest(occurred_at, recorded_at) AS known "
            f"FROM {scan} WHERE attribute IN ({literals(rules.household)})"
            for _ in rules.household[:1]
        ]
    return " UNION ALL ".join(each)


def _digest(raw: str, *, kind: str, country: str) -> int | None:
    """What stands for a value: enough to compare, too little to read (the cache is no second address book).

    Among ten million values of a kind, the chance that any two have the same 64 bits is 1 in 370,000.
    """
    plain = normal_words(raw) if kind.startswith(HOUSEHOLD) else normal(raw, kind=kind, country=country)
    if plain is None:
        return None
    return int.from_bytes(hashlib.blake2b(plain.encode(), digest_size=8).digest(), "big", signed=True)


def _write(table: pa.Table, target: Path) -> None:
    scratch = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        # In the order of kinds, and of accounts: who asks for one kind reads its row groups only.
        ordered = table.sort_by([("kind", "ascending"), ("account_id", "ascending")])
        pq.write_table(ordered, scratch, compression="zstd", row_group_size=_ROWS_IN_GROUP)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
