"""Resolution: new facts become links, and links become groups; the one module of identity that writes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import InputError
from features.facts import LINKS, MEMBERS
from features.history import History, is_whole
from features.identity.evidence import evident_links
from features.identity.holdings import read_holdings
from features.identity.people import People
from features.identity.replay import MARKS, memberships
from features.identity.rules import IdentityRules
from features.sql import in_memory, literal, literals
from features.tables import require_column

_NOTE = "rapport"


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What a run found: facts about links that are new, and accounts whose groups were made again."""

    links: int
    accounts: int


def resolve(history: History, rules: IdentityRules) -> Resolution:
    """Link the accounts that new facts tell are one person, and bring the groups of all touched accounts up to date.

    Run it after every intake: without new facts it changes nothing, and it costs what is new, not what is known. With
    other ``rules`` than last time everything is made again, as if they had always held.

    >>> import tempfile
    >>> from features.identity import Identifier
    >>> history, day = History(tempfile.mkdtemp()), datetime(2024, 5, 1, tzinfo=UTC)
    >>> told = {"attribute": "email", "value": "Anna@shop.example", "occurred_at": day, "recorded_at": day}
    >>> rows = [{"customer_id": "crm-1", **told}, {"customer_id": "web-7", **told}]
    >>> _ = history.append_profile(pa.Table.from_pylist(rows), part="may")
    >>> resolve(history, IdentityRules(identifier=(Identifier(kind="email"),)))
    Resolution(links=1, accounts=2)
    >>> history.accounts("web-7")
    ('crm-1', 'web-7')
    """
    if (groups := _target(history)).exists() and not is_whole(groups):
        groups.unlink()  # it was cut short; all of it follows from the links
    files = read_holdings(history, rules)
    note = _note(history, rules)
    fresh, again = _unseen(files, note.holdings), not note.rules and bool(history.parts("links"))
    links = 0
    if fresh or again:
        links = _append(history, evident_links(history, rules, files=files, fresh=fresh, again=again))
    return Resolution(links=links, accounts=_update(history, rules, files=files))


def _append(history: History, links: pa.Table) -> int:
    """Add links of which none is the same as another; what the history holds already is left out as ever."""
    if not links.num_rows:
        return 0
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("found", links)
        return history.append_from(connection, "links", "FROM found", part="identity", distinct=True)


def believe(
    history: History,
    pairs: pa.Table,
    *,
    rules: IdentityRules,
    at: datetime | None = None,
    source: str = "model",
    everything: bool = False,
) -> Resolution:
    """Take pairs that a model holds for one person: ``account_id``, ``other_id``, ``probability`` (0 to 1).

    A pair that is told again has the newer probability, not a surer one; told the same, it changes nothing. With
    ``everything``, pairs that were told before and are not now are taken back.
    """
    for column in ("account_id", "other_id", "probability"):
        require_column(pairs, column)
    moment = at or datetime.now(UTC)
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("told", pairs)
        connection.register("moment", pa.table({"dated": pa.array([moment], LINKS.field("occurred_at").type)}))
        wrong = connection.execute(
            "SELECT probability FROM told WHERE NOT coalesce(probability BETWEEN 0 AND 1, false)"
        ).fetchone()
        if wrong:
            raise InputError("a probability is a number from 0 to 1", got=str(wrong[0]), do="mend it")
        sql = _BELIEVED.format(
            links=history.scan("links"), source=literal(source), side="FULL" if everything else "LEFT"
        )
        new = connection.execute(sql).to_arrow_table()
    added = history.append_links(new, part="model") if new.num_rows else 0
    found = resolve(history, rules)
    return Resolution(links=added + found.links, accounts=found.accounts)


_BELIEVED = """
WITH pair AS (
    SELECT least(account_id, other_id) AS account_id, greatest(account_id, other_id) AS other_id,
        max(probability) AS probability
    FROM told WHERE account_id <> other_id GROUP BY ALL
),
held AS (
    SELECT account_id, other_id, first(probability ORDER BY occurred_at DESC, recorded_at DESC, probability) AS believed
    FROM {links} WHERE because = 'model' AND kind = 'person' GROUP BY ALL
)
SELECT account_id, other_id, 'person' AS kind, 'model' AS because,
    CAST(coalesce(pair.probability, 0) AS DOUBLE) AS probability, dated AS occurred_at,
    dated AS recorded_at, {source} AS source
FROM (pair {side} JOIN held USING (account_id, other_id)) CROSS JOIN moment
WHERE coalesce(believed, 0) <> coalesce(pair.probability, 0)
"""


def merge(
    history: History, account_id: str, other_id: str, *, by: str, rules: IdentityRules, at: datetime | None = None
) -> None:
    """Make two accounts one person, as an agent (``by``) says; `split` takes it back exactly."""
    _say(history, account_id, other_id, probability=1.0, by=by, rules=rules, at=at)


def split(
    history: History, account_id: str, other_id: str, *, by: str, rules: IdentityRules, at: datetime | None = None
) -> bool:
    """Take back the merge of two accounts; without one to take back, keep them apart whatever else links them.

    Returns whether they are two persons now: after a merge of accounts that other links join as well they are one, as
    before the merge, and a second split keeps them apart.
    """
    _say(history, account_id, other_id, probability=0.0, by=by, rules=rules, at=at)
    return other_id not in People(history).persons([account_id])[account_id].own


def _say(
    history: History,
    account_id: str,
    other_id: str,
    *,
    probability: float,
    by: str,
    rules: IdentityRules,
    at: datetime | None,
) -> None:
    if account_id == other_id:
        raise InputError("two accounts are needed", got=f"{account_id!r} twice", do="name the other account")
    moment = at or datetime.now(UTC)
    one, other = sorted((account_id, other_id))
    fact = {
        "account_id": one,
        "other_id": other,
        "kind": "person",
        "because": "agent",
        "probability": probability,
        "occurred_at": moment,
        "recorded_at": moment,
        "source": by,
    }
    history.append_links(pa.Table.from_pylist([fact], schema=LINKS), part="agent")
    resolve(history, rules)


def _update(history: History, rules: IdentityRules, *, files: Sequence[Path]) -> int:
    """Bring the groups up to date with all links; returns how many accounts were looked at again.

    Only accounts that new links reach, through any others, are. Where it can't be told what is new (other rules, parts
    of the history rewritten), everything is made again. ``files``: holdings whose links the history holds already.
    """
    with history.writing(), in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        note, parts = _note(history, rules), history.parts("links")
        new_links, new_holdings = _unseen(parts, note.links), _unseen(files, note.holdings)
        whole = not note.whole(parts, files)
        nothing = not parts and not history.parts("members")
        if nothing or not (new_links or new_holdings or whole):
            return 0
        _gather(connection, history, rules, files=files, fresh=None if whole else (new_links, new_holdings))
        links = connection.execute("FROM met").to_arrow_table()
        marks = connection.execute("SELECT * FROM mark SEMI JOIN reached USING (account_id)").to_arrow_table()
        connection.register("made", memberships(links, rules, marks=marks.cast(MARKS)))
        # In the order of accounts, so that a question about one customer reads few row groups: one of those that were
        # kept, which are in order, and one of each run since. Only what is new is sorted.
        kept = "" if whole else f"FROM {history.scan('members')} ANTI JOIN reached USING (account_id) UNION ALL "
        count = (connection.execute("SELECT count(*) FROM reached").fetchone() or (0,))[0]
        _write(connection, f"{kept}(FROM made ORDER BY account_id)", history, _Note.of(rules, parts, files))
        return int(count)


def _gather(
    connection: duckdb.DuckDBPyConnection,
    history: History,
    rules: IdentityRules,
    *,
    files: Sequence[Path],
    fresh: tuple[Sequence[Path], Sequence[Path]] | None,
) -> None:
    """Make the tables ``mark`` (values of unique kinds), ``reached`` (accounts whose groups are made again) and ``met``
    (all links of these)."""
    unique = literals([each.kind for each in rules.identifier if each.unique])
    marks = (
        f"SELECT account_id, kind, value, min(known) AS since FROM read_parquet([{literals(files)}]) "
        f"WHERE kind IN ({unique}) GROUP BY ALL"
        if unique and files
        else "SELECT '' AS account_id, '' AS kind, '' AS value, now() AS since WHERE false"
    )
    connection.execute(f"CREATE TEMP VIEW mark AS {marks}")
    told = f"(SELECT {', '.join(LINKS.names[:-1])} FROM {history.scan('links')})"
    if fresh is None:
        connection.execute(f"CREATE TEMP VIEW met AS FROM {told}")
        connection.execute("CREATE TEMP TABLE reached AS SELECT account_id FROM met UNION SELECT other_id FROM met")
        return
    links, holdings = (f"read_parquet([{literals(each)}])" if each else None for each in fresh)
    seeds = [f"SELECT {side} AS account_id FROM {links}" for side in ("account_id", "other_id") if links]
    if holdings and unique:
        seeds.append(f"SELECT account_id FROM {holdings} WHERE kind IN ({unique})")
    seeds = seeds or ["SELECT '' AS account_id WHERE false"]
    connection.execute(f"CREATE TEMP TABLE seed AS {' UNION '.join(seeds)}")
    connection.execute(_WALK.format(links=told))
    while (connection.execute("SELECT count(*) FROM edge").fetchone() or (0,))[0]:
        connection.execute(_NEXT)
    connection.execute(_ARRIVED.format(links=told))


# The walk from account to account goes by hashes of their names, which a join compares several times faster than texts.
# Where two accounts have one hash, both are looked at and nothing else changes.
_WALK = """
CREATE TEMP TABLE pair AS SELECT hash(account_id) AS one, hash(other_id) AS other FROM {links};
CREATE TEMP TABLE walked AS SELECT DISTINCT hash(account_id) AS one FROM seed;
CREATE TEMP TABLE edge AS FROM walked;
"""
# One step outward: accounts that are linked with those reached last.
_NEXT = """
CREATE OR REPLACE TEMP TABLE beyond AS
    SELECT other AS one FROM pair SEMI JOIN edge USING (one) UNION
    SELECT pair.one FROM pair SEMI JOIN edge ON pair.other = edge.one
    EXCEPT FROM walked;
INSERT INTO walked FROM beyond;
CREATE OR REPLACE TEMP TABLE edge AS FROM beyond;
"""
_ARRIVED = """
CREATE TEMP TABLE met AS FROM {links} WHERE hash(account_id) IN (FROM walked);
CREATE TEMP TABLE reached AS FROM seed UNION SELECT account_id FROM met UNION SELECT other_id FROM met;
"""


@dataclass(frozen=True, kw_only=True)
class _Note:
    """What the groups on disk were made of: by which rules, of which parts; it lies in their file."""

    rules: str = ""
    links: tuple[str, ...] = ()
    holdings: tuple[str, ...] = ()

    @classmethod
    def of(cls, rules: IdentityRules, links: Sequence[Path], holdings: Sequence[Path]) -> _Note:
        return cls(rules=rules.fingerprint, links=tuple(map(_name, links)), holdings=tuple(map(_name, holdings)))

    def whole(self, links: Sequence[Path], holdings: Sequence[Path]) -> bool:
        """Whether every part that the groups were made of is still there as it was."""
        return (
            bool(self.rules)
            and set(self.links) <= set(map(_name, links))
            and set(self.holdings) <= set(map(_name, holdings))
        )


def _name(part: Path) -> str:
    return f"{part.name}:{part.stat().st_size}"


def _unseen(parts: Sequence[Path], seen: Sequence[str]) -> list[Path]:
    return [each for each in parts if _name(each) not in seen]


def _note(history: History, rules: IdentityRules) -> _Note:
    """What the groups on disk were made of; an empty note when it was by other rules."""
    target = _target(history)
    if not target.exists():
        return _Note()
    told = json.loads((pq.read_metadata(target).metadata or {}).get(_NOTE.encode(), b"{}"))
    if told.get("rules") != rules.fingerprint:
        return _Note()
    return _Note(rules=told["rules"], links=tuple(told["links"]), holdings=tuple(told["holdings"]))


def _target(history: History) -> Path:
    return history.folder / "members" / "members.parquet"


def _write(connection: duckdb.DuckDBPyConnection, rows: str, history: History, note: _Note) -> None:
    """Replace the groups on disk, whole or not at all, with the note of what they were made of."""
    target = _target(history)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_suffix(f".{os.getpid()}.tmp")
    told = literal(json.dumps({"rules": note.rules, "links": note.links, "holdings": note.holdings}))
    try:
        connection.execute(
            f"COPY (SELECT {', '.join(MEMBERS.names)} FROM ({rows})) TO {literal(scratch)} "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536, KV_METADATA {{{_NOTE}: {told}}})"
        )
        with scratch.open("rb") as stream:
            os.fsync(stream.fileno())
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
    for other in set(history.parts("members")) - {target}:
        other.unlink()
