"""Contacts that went out after a no: counted from all that was said, not from what a decision says it saw."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

import pyarrow as pa

from experiments.outcomes import query
from rapport.project import Project
from serving.assembly import masking_of
from serving.consent import EVERY, ConsentFact, permission, scope
from serving.desk import about_contact
from serving.inbox import EVER, said_in
from serving.ledger import Ledger
from serving.masking import Facts
from serving.people import refuses

# Of links what was known when it was decided: of a link recorded later, nobody could know that the no concerns both.
_ASKED = """
WITH contact AS (
    SELECT row_number() OVER () AS place, customer_id, lower(channel) AS channel, action, decided_at
    FROM decisions WHERE action <> 'nothing'
),
member AS (FROM members WHERE strength = 'suppress'),
account AS (
    SELECT *, customer_id AS account_id FROM contact
    UNION
    SELECT contact.*, other.account_id FROM contact JOIN member ON member.account_id = contact.customer_id
    JOIN member AS other ON other.customer_id = member.customer_id
    WHERE member.since < decided_at AND coalesce(decided_at <= member.until, true)
      AND other.since < decided_at AND coalesce(decided_at <= other.until, true)
)
SELECT place, account_id, channel, action, decided_at FROM account SEMI JOIN refusing USING (account_id) ORDER BY ALL
"""


def contacts_after_opt_out(project: Project, decisions: pa.Table, *, as_of: datetime | None = None) -> int:
    """Contacts to customers who had said no to them before: to the service, or in a file, were it a refused one.

    A no counts from when it was said, whether the decision could know of it yet or not, and it stands until a yes that
    lifts it (``serving.consent.permission``). It reaches the accounts that were known, when it was decided, to be
    perhaps the same person.

    Parameters
    ----------
    decisions: columns ``customer_id, action, channel, decided_at``, one row each.
    as_of: what was recorded from then on is left out; by default all that is known counts.
    """
    classes = {each.treatment_id: each.offer.contact_class for each in project.catalogue.treatments}
    known_at = as_of or EVER
    channels = {each.channel.lower() for each in project.catalogue.treatments}
    said = _said_by_refusing(project, channels=channels, known_at=known_at)
    asked = query(
        _ASKED,
        values={},
        decisions=decisions,
        members=project.history.members(),
        refusing=pa.table({"account_id": pa.array(list(said), pa.string())}),
    )
    after = set()
    for row in asked.to_pylist():
        before = [fact for fact in said[row["account_id"]] if fact.occurred_at < row["decided_at"]]
        kind = classes.get(row["action"], "marketing")
        if refuses(permission(before), scope(row["channel"], kind), scope(EVERY, kind)):
            after.add(row["place"])
    return len(after)


def _said_by_refusing(project: Project, *, channels: set[str], known_at: datetime) -> Facts:
    """What was said about being contacted by each account that said no, to the service or in files."""
    said: dict[str, list[ConsentFact]] = defaultdict(list)
    if project.ledger.exists():
        ledger = Ledger(project.ledger)
        with ledger.reading() as book:
            said.update(book.said_by_refusing(known_at=known_at))
        ledger.close()
    for each in said_in(project.history, channels=channels, at=known_at, known_at=known_at):
        said[each.customer_id].append(ConsentFact(*(getattr(each, name) for name in ConsentFact._fields)))
    refusing = {account for account, facts in said.items() if not all(fact.granted for fact in facts)}
    return about_contact({account: said[account] for account in refusing}, masking_of(project))
