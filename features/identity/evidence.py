"""Links that follow from identifiers: two accounts hold one value, from the moment that both were known to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from features.facts import LINKS
from features.history import History
from features.identity.holdings import HOLDINGS, HOUSEHOLD
from features.identity.rules import IdentityRules
from features.sql import in_memory, literal, literals

#: The source of links that this module makes; only those it ever takes back.
SOURCE = "identity"


def evident_links(
    history: History, rules: IdentityRules, *, files: Sequence[Path], fresh: Sequence[Path], again: bool = False
) -> pa.Table:
    """The links (LINKS) that holdings in ``files`` tell and the history does not hold yet.

    What the value of a pair is worth is a step function of time: nothing until both accounts hold it; then the
    probability of its kind; then that of a weak link, once more accounts hold it than its limit, or two that have
    different values of a unique kind, or one of the two accounts itself has two such values (a shared device). A
    value that a crowd holds is worth nothing. The link of a pair takes the best value of each kind. Each step
    is a fact, dated at the moment that it was known by the two times of the facts behind it. So links depend on the
    facts alone, whatever the order in which they arrive, and a step is never made twice.

    Parameters
    ----------
    fresh: those of ``files`` that may tell anything new; only values of accounts in them are looked at.
    again: look at all accounts that such links were made of before, as the rules have changed.
    """
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("rules", _rules(rules))
        connection.execute(f"CREATE TEMP VIEW held AS SELECT * FROM {_scan(files)}")
        connection.execute(f"CREATE TEMP TABLE touched AS SELECT DISTINCT account_id FROM {_scan(fresh)}")
        if again:
            linked = (
                f"SELECT unnest([account_id, other_id]) FROM {history.scan('links')} WHERE source = {literal(SOURCE)}"
            )
            connection.execute(f"INSERT INTO touched {linked}")
        connection.execute(_MINE.format(household=literal(HOUSEHOLD)))
        connection.execute(_SPAN.format(values="mine"))
        connection.execute(_HOUSEMATES if not rules.household else _homes(rules))
        unique = literals([each.kind for each in rules.identifier if each.unique]) or "''"
        connection.execute(_PAIRS.format(unique=unique))
        connection.execute(_KNOWN.format(links=history.scan("links"), source=literal(SOURCE)))
        connection.execute(_CANDIDATES)
        connection.execute(_MORE.format(household=literal(HOUSEHOLD)))
        if connection.execute("SELECT 1 FROM more LIMIT 1").fetchone():
            connection.execute(_SPAN.format(values="more"))
            connection.execute(_PAIRS.format(unique=unique))
        connection.execute(_STEPS)
        new = connection.execute(_NEW.format(source=literal(SOURCE))).to_arrow_table()
        return new.select(LINKS.names).cast(LINKS)


def _homes(rules: IdentityRules) -> str:
    first = literal(HOUSEHOLD + rules.household[0])
    attributes = literals([HOUSEHOLD + each for each in rules.household])
    return _HOUSEMATES + _HOMES.format(first=first, household=literal(HOUSEHOLD), attributes=attributes)


def _scan(files: Sequence[Path]) -> str:
    if not files:
        times = ", ".join(f"now() AS {name}" for name in HOLDINGS.names[3:])
        return f"(SELECT '' AS account_id, '' AS kind, CAST(NULL AS BIGINT) AS value, {times} WHERE false)"
    return f"read_parquet([{literals(files)}])"


def _rules(rules: IdentityRules) -> pa.Table:
    weak = rules.probability("suppress")
    rows = [
        {
            "kind": each.kind,
            "sure": 1.0 if each.unique and each.strength == "personalize" else rules.probability(each.strength),
            "weak": weak,
            "most": each.limit,
            "crowd": max(rules.crowd, each.limit),
            "link": "person",
        }
        for each in rules.identifier
    ]
    home = {"sure": 1.0, "weak": 0.0, "most": rules.household_limit, "crowd": rules.household_limit}
    rows.append({"kind": "household", **home, "link": "household"})
    return pa.Table.from_pylist(rows)


# What a fact of an account changes is what the values are worth that the account holds: `mine`. `span` is which account
# holds what from when to when, of such values by all who hold them, as what a value is worth depends on all of them.
_MINE = """
CREATE TEMP TABLE mine AS
    SELECT DISTINCT kind, value FROM held SEMI JOIN touched USING (account_id)
    WHERE value IS NOT NULL AND NOT starts_with(kind, {household});
CREATE TEMP TABLE span (account_id VARCHAR, kind VARCHAR, value BIGINT, since TIMESTAMPTZ, until TIMESTAMPTZ);
"""
_SPAN = """
INSERT INTO span SELECT account_id, kind, value, min(known), NULL
    FROM held SEMI JOIN {values} USING (kind, value) GROUP BY ALL;
"""

# A household is where its attributes agree *now*: whoever moves leaves it. A fact that is known late of what happened
# before is no move. `housemate`: who ever had the first attribute in common with a touched account.
_HOUSEMATES = """
CREATE TEMP TABLE housemate AS SELECT DISTINCT account_id FROM touched;
"""
_HOMES = """
CREATE TEMP TABLE place AS
    SELECT DISTINCT value FROM held SEMI JOIN touched USING (account_id) WHERE kind = {first} AND value IS NOT NULL;
INSERT INTO housemate
    SELECT DISTINCT account_id FROM held SEMI JOIN place USING (value) ANTI JOIN touched USING (account_id)
    WHERE kind = {first};
CREATE TEMP TABLE home AS
    WITH first AS (SELECT DISTINCT value FROM held SEMI JOIN housemate USING (account_id)
                   WHERE kind = {first} AND value IS NOT NULL),
    neighbour AS (SELECT DISTINCT account_id FROM held SEMI JOIN first USING (value) WHERE kind = {first}),
    told AS (
        FROM held SEMI JOIN neighbour USING (account_id) WHERE kind IN ({attributes})
        QUALIFY occurred_at >= coalesce(max(occurred_at) OVER (
            PARTITION BY account_id, kind ORDER BY known, occurred_at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), occurred_at)
    )
    SELECT account_id, kind, known, arg_max(coalesce(CAST(value AS VARCHAR), ''), occurred_at) AS value
    FROM told GROUP BY ALL;
INSERT INTO span
    WITH moment AS (SELECT DISTINCT account_id, known FROM home),
    attribute AS (SELECT unnest([{attributes}]) AS kind),
    state AS (
        SELECT moment.account_id, moment.known, attribute.kind, coalesce(home.value, '') AS value
        FROM moment CROSS JOIN attribute ASOF LEFT JOIN home
            ON home.account_id = moment.account_id AND home.kind = attribute.kind AND home.known <= moment.known
    ),
    whole AS (
        SELECT account_id, known, CASE WHEN bool_and(value <> '')
            THEN CAST(md5_number_lower(string_agg(value, '|' ORDER BY kind)) >> 1 AS BIGINT) END AS value
        FROM state GROUP BY ALL
    ),
    changed AS (
        FROM whole QUALIFY value IS DISTINCT FROM lag(value) OVER (PARTITION BY account_id ORDER BY known)
    )
    SELECT account_id, 'household', value, known, lead(known) OVER (PARTITION BY account_id ORDER BY known)
    FROM changed QUALIFY value IS NOT NULL;
"""

# When a value or an account turns out to be shared. An account that is shared itself proves nothing about a value.
_PAIRS = """
CREATE OR REPLACE TEMP TABLE ranked AS
    SELECT *, row_number() OVER (PARTITION BY kind, value ORDER BY since, account_id) AS place FROM span;
CREATE OR REPLACE TEMP TABLE mark AS
    SELECT account_id, kind, value, min(known) AS since
    FROM held SEMI JOIN span USING (account_id) WHERE kind IN ({unique}) GROUP BY ALL;
CREATE OR REPLACE TEMP TABLE shared_account AS
    SELECT account_id, min(since) AS shared_at FROM (
        FROM mark QUALIFY row_number() OVER (PARTITION BY account_id, kind ORDER BY since, value) = 2
    ) GROUP BY account_id;
CREATE OR REPLACE TEMP TABLE conflict AS
    WITH arrival AS (
        SELECT span.kind, span.value, mark.kind AS marked, mark.value AS mark,
            min(greatest(span.since, mark.since)) AS since
        FROM span JOIN mark USING (account_id) ANTI JOIN shared_account USING (account_id)
        WHERE span.kind <> 'household' GROUP BY ALL
    )
    SELECT kind, value, min(since) AS conflict_at FROM (
        FROM arrival QUALIFY row_number() OVER (PARTITION BY kind, value, marked ORDER BY since, mark) = 2
    ) GROUP BY ALL;
CREATE OR REPLACE TEMP TABLE worth AS
    SELECT kind, value, any_value(sure) AS sure, any_value(weak) AS weak, any_value(crowd) AS crowd,
        any_value(link) AS link, min(since) FILTER (place = crowd + 1) AS crowd_at,
        least(min(since) FILTER (place = most + 1), any_value(conflict_at)) AS shared_at
    FROM ranked JOIN rules USING (kind) LEFT JOIN conflict USING (kind, value) GROUP BY kind, value;
CREATE OR REPLACE TEMP TABLE pair AS
    SELECT least(one.account_id, other.account_id) AS account_id,
        greatest(one.account_id, other.account_id) AS other_id,
        link, kind, sure, weak, greatest(one.since, other.since) AS begun,
        least(worth.shared_at, mine.shared_at, theirs.shared_at) AS demoted,
        least(crowd_at, one.until, other.until) AS ended
    FROM ranked AS one JOIN ranked AS other USING (kind, value) JOIN worth USING (kind, value)
        LEFT JOIN shared_account AS mine ON mine.account_id = one.account_id
        LEFT JOIN shared_account AS theirs ON theirs.account_id = other.account_id
    WHERE one.place < other.place AND other.place <= crowd AND one.account_id <> other.account_id
        AND (worth.shared_at IS NULL OR greatest(one.since, other.since) < worth.shared_at OR one.place = 1);
"""

# `candidate`: the pairs whose worth may be another now. `more`: what they have in common beside, of the same kind.
_KNOWN = """
CREATE TEMP TABLE known AS
    WITH holder AS (SELECT DISTINCT account_id FROM span),
    near AS (SELECT hash(account_id) FROM touched UNION SELECT hash(account_id) FROM holder),
    met AS (FROM {links} WHERE source = {source} AND (hash(account_id) IN (FROM near) OR hash(other_id) IN (FROM near)))
    SELECT account_id, other_id, kind, because, recorded_at AS dated, min(probability) AS told
    FROM met WHERE account_id IN (FROM touched) OR other_id IN (FROM touched)
        OR (account_id IN (FROM holder) AND other_id IN (FROM holder))
    GROUP BY ALL;
"""
_CANDIDATES = """
CREATE TEMP TABLE candidate AS
    SELECT account_id, other_id, kind FROM pair
        WHERE kind <> 'household' OR (account_id IN (FROM housemate) AND other_id IN (FROM housemate)) UNION
    SELECT account_id, other_id, because FROM known
        WHERE account_id IN (FROM touched) OR other_id IN (FROM touched)
            OR (because = 'household' AND account_id IN (FROM housemate) AND other_id IN (FROM housemate)) UNION
    SELECT known.account_id, known.other_id, because
    FROM known JOIN span AS one ON one.account_id = known.account_id AND one.kind = because
        JOIN span AS other ON other.account_id = known.other_id AND other.kind = because AND other.value = one.value
    WHERE because <> 'household';
"""
_MORE = """
CREATE TEMP TABLE more AS
    WITH concerned AS (SELECT account_id FROM candidate UNION SELECT other_id FROM candidate),
    theirs AS (
        SELECT DISTINCT account_id, kind, value FROM held SEMI JOIN concerned USING (account_id)
        WHERE value IS NOT NULL AND NOT starts_with(kind, {household})
    )
    SELECT DISTINCT one.kind, one.value
    FROM candidate JOIN theirs AS one USING (account_id, kind) JOIN theirs AS other
        ON other.account_id = candidate.other_id AND other.kind = one.kind AND other.value = one.value
    ANTI JOIN mine ON mine.kind = one.kind AND mine.value = one.value;
"""
_STEPS = """
CREATE TEMP TABLE step AS
    WITH moment AS (
        SELECT DISTINCT account_id, other_id, link, kind, dated FROM (
            SELECT account_id, other_id, link, kind, unnest([begun, demoted, ended]) AS dated
            FROM pair SEMI JOIN candidate USING (account_id, other_id, kind)
        ) WHERE dated IS NOT NULL
    ),
    value AS (
        SELECT account_id, other_id, link, kind, dated, max(CASE
            WHEN dated < begun OR coalesce(dated >= ended, false) THEN 0.0
            WHEN coalesce(dated >= demoted, false) THEN weak ELSE sure END) AS probability
        FROM moment JOIN pair USING (account_id, other_id, link, kind) GROUP BY ALL
    )
    SELECT account_id, other_id, link AS kind, kind AS because, dated, probability FROM value
    QUALIFY probability <> lag(probability, 1, 0.0)
        OVER (PARTITION BY account_id, other_id, link, value.kind ORDER BY dated);
"""
# What is known of a pair at each moment at which it changed, or was said to: where links say otherwise, they are told.
# Of two that say otherwise for one moment the lower counts, so what turns out higher is told a microsecond later.
_NEW = """
WITH concerned AS (
    FROM known SEMI JOIN candidate ON candidate.account_id = known.account_id
        AND candidate.other_id = known.other_id AND candidate.kind = because
),
point AS (
    SELECT account_id, other_id, kind, because, dated FROM step UNION
    SELECT account_id, other_id, kind, because, dated FROM concerned
),
truth AS (
    SELECT point.*, coalesce(step.probability, 0.0) AS probability
    FROM point ASOF LEFT JOIN step
        ON step.account_id = point.account_id AND step.other_id = point.other_id AND step.kind = point.kind
        AND step.because = point.because AND step.dated <= point.dated
),
compared AS (
    SELECT *, coalesce(told, lag(probability, 1, 0.0)
        OVER (PARTITION BY account_id, other_id, kind, because ORDER BY dated)) AS held
    FROM truth LEFT JOIN concerned USING (account_id, other_id, kind, because, dated)
)
SELECT DISTINCT account_id, other_id, kind, because, CAST(probability AS DOUBLE) AS probability,
    CASE WHEN probability > told THEN dated + INTERVAL 1 microsecond ELSE dated END AS occurred_at,
    occurred_at AS recorded_at, {source} AS source
FROM compared WHERE held <> probability
"""
