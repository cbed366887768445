"""An overview of identity: how many accounts are how many persons, by which links, and which links were refused."""

from __future__ import annotations

from dataclasses import dataclass

from features.history import History
from features.identity.holdings import read_holdings
from features.identity.rules import LADDER, IdentityRules
from features.sql import in_memory, literal, literals


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Figures as of now.

    ``accounts``: with any fact; ``persons``: that these are; ``households``: of several accounts. ``links``: pairs of
    accounts by what their surest link is enough for (``household`` beside). ``refused``: pairs that one thing links and
    a guard stops, wholly or in part, by reason: ``kept_apart`` (an agent keeps them apart), ``unique_identifier`` (they
    hold two values of which a person has one), ``shared_account`` (one of them alone holds two such values) and
    ``shared_value`` (too many, or too different, accounts hold the value). ``examples``: one pair of each reason.

    >>> import tempfile
    >>> overview(History(tempfile.mkdtemp()), IdentityRules()).persons
    0
    """

    accounts: int
    persons: int
    households: int
    links: dict[str, int]
    refused: dict[str, int]
    examples: dict[str, tuple[str, str]]


def overview(history: History, rules: IdentityRules) -> Overview:
    """What identity found in the history of a company with these rules."""
    with in_memory() as connection:
        facts = " UNION ".join(f"SELECT customer_id FROM {history.scan(each)}" for each in ("events", "profile"))
        (accounts,) = connection.execute(f"SELECT count(*) FROM ({facts})").fetchone() or (0,)
        connection.execute(_NOW.format(members=history.scan("members"), links=history.scan("links")))
        groups = dict(
            connection.execute("SELECT strength, count(DISTINCT customer_id) FROM member GROUP BY ALL").fetchall()
        )
        told = connection.execute("SELECT count(*) FROM member WHERE strength = 'personalize'").fetchone() or (0,)
        pairs = connection.execute(_PAIRS, rules.thresholds()).fetchall()
        worth = " ".join(
            f"WHEN because = {literal(each.kind)} THEN {rules.thresholds()[each.strength]}" for each in rules.identifier
        )
        connection.execute(_MARKS.format(held=_held(history, rules)))
        refused = connection.execute(
            _REFUSED.format(worth=worth or "WHEN false THEN 0"), {"least": rules.personalize}
        ).fetchall()
    counted = dict.fromkeys((*LADDER, "household"), 0) | dict(pairs)
    return Overview(
        accounts=int(accounts),
        persons=int(accounts) - int(told[0]) + int(groups.get("personalize", 0)),
        households=int(groups.get("household", 0)),
        links=counted,
        refused={reason: int(count) for reason, count, *_ in refused},
        examples={reason: (one, other) for reason, _, one, other in refused},
    )


def _held(history: History, rules: IdentityRules) -> str:
    """SQL for which account holds which value of a unique kind."""
    unique, files = [each.kind for each in rules.identifier if each.unique], read_holdings(history, rules)
    if not unique or not files:
        return "(SELECT '' AS account_id, '' AS kind, 0 AS value WHERE false)"
    return f"(FROM read_parquet([{literals(files)}]) WHERE kind IN ({literals(unique)}))"


_NOW = """
CREATE TEMP TABLE member AS SELECT strength, account_id, customer_id FROM {members} WHERE until IS NULL;
CREATE TEMP TABLE link AS
    SELECT account_id, other_id, kind, because, probability FROM {links}
    QUALIFY row_number() OVER (PARTITION BY account_id, other_id, kind, because
                               ORDER BY occurred_at DESC, recorded_at DESC, probability) = 1;
CREATE TEMP TABLE whose AS SELECT account_id, customer_id FROM member WHERE strength = 'personalize';
"""
_PAIRS = """
WITH surest AS (SELECT account_id, other_id, kind, max(probability) AS sure FROM link GROUP BY ALL)
SELECT CASE WHEN kind = 'household' THEN kind WHEN sure >= $personalize THEN 'personalize'
    WHEN sure >= $count THEN 'count' ELSE 'suppress' END AS enough, count(*)
FROM surest WHERE (kind = 'person' AND sure >= $suppress) OR (kind = 'household' AND sure >= $count) GROUP BY ALL
"""
_MARKS = """
CREATE TEMP TABLE mark AS SELECT DISTINCT account_id, kind, value FROM {held};
CREATE TEMP TABLE crowded AS SELECT DISTINCT account_id FROM (
    SELECT account_id FROM mark GROUP BY account_id, kind HAVING count(*) > 1);
"""
# Whose an account is that belongs to no group: its own.
_REFUSED = """
WITH sided AS (
    SELECT link.*, coalesce(mine.customer_id, link.account_id) AS one, coalesce(theirs.customer_id, other_id) AS other
    FROM link LEFT JOIN whose AS mine USING (account_id) LEFT JOIN whose AS theirs ON theirs.account_id = other_id
    WHERE kind = 'person'
),
parted AS (SELECT DISTINCT least(one, other) AS one, greatest(one, other) AS other FROM sided
           WHERE because = 'agent' AND probability = 0 AND one <> other),
refused AS (
    SELECT account_id, other_id, bool_or(probability >= $least) AS sure, bool_or(parted.one IS NOT NULL) AS kept
    FROM sided LEFT JOIN parted ON parted.one = least(sided.one, sided.other)
        AND parted.other = greatest(sided.one, sided.other)
    WHERE sided.one <> sided.other AND probability > 0
        AND (probability >= $least OR probability < CASE {worth} ELSE 0 END)
    GROUP BY ALL
),
clash AS (
    SELECT DISTINCT refused.account_id, other_id FROM refused JOIN mark AS mine USING (account_id)
    JOIN mark AS theirs ON theirs.account_id = other_id AND theirs.kind = mine.kind AND theirs.value <> mine.value
)
SELECT CASE WHEN kept THEN 'kept_apart'
    WHEN account_id IN (FROM crowded) OR other_id IN (FROM crowded) THEN 'shared_account'
    WHEN sure OR clash.account_id IS NOT NULL THEN 'unique_identifier' ELSE 'shared_value' END AS reason,
    count(*), min(account_id), arg_min(other_id, (account_id, other_id))
FROM refused LEFT JOIN clash USING (account_id, other_id) GROUP BY ALL ORDER BY reason
"""
