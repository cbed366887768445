"""Contacts that went out after a no: counted from all that was said, not from what a decision says it saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
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
    SELECT decision_id, customer_id, lower(channel) AS channel, action, decided_at
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
SELECT decision_id, account_id, channel, action, decided_at FROM account SEMI JOIN refusing USING (account_id)
ORDER BY ALL
"""


@dataclass(frozen=True, kw_only=True)
class AfterNo:
    """The decisions to contact somebody who had said no: where that was ``known``, and where it arrived ``later``."""

    known: tuple[str, ...] = ()
    later: tuple[str, ...] = ()


def contacts_after_opt_out(project: Project, decisions: pa.Table, *, as_of: datetime | None = None) -> AfterNo:
    """Contacts to customers who had said no to them before: to the service, or in a file, were it a refused one.

    A no counts from when it was said, and it stands until a yes that lifts it (``serving.consent.permission``). It
    reaches the accounts that were known, when it was decided, to be perhaps the same person. It was known to the
    decision when the ledger had heard it by then; of one that the ledger never heard, when the history held it.

    Parameters
    ----------
    decisions: columns ``decision_id, customer_id, action, channel, decided_at``, one row each.
    as_of: what was recorded from then on is left out; by default all that is known counts.
    """
    classes = {each.treatment_id: each.offer.contact_class for each in project.catalogue.treatments}
    channels = {each.channel.lower() for each in project.catalogue.treatments}
    said, heard = _said_by_refusing(project, channels=channels, known_at=as_of or EVER)
    asked = query(
        _ASKED,
        values={},
        decisions=decisions,
        members=project.history.members(),
        refusing=pa.table({"account_id": pa.array(list(said), pa.string())}),
    )
    after: dict[str, bool] = {}
    for row in asked.to_pylist():
        account, decided_at, channel = row["account_id"], row["decided_at"], row["channel"]
        kind = classes.get(row["action"], "marketing")
        before = [fact for fact in said[account] if fact.occurred_at < decided_at]
        known = [fact for fact in before if heard[account, fact] < decided_at]
        scopes = scope(channel, kind), scope(EVERY, kind)
        if refuses(permission(before), *scopes):
            name = row["decision_id"]
            after[name] = after.get(name, False) or refuses(permission(known), *scopes)
    return AfterNo(
        known=tuple(name for name, known in after.items() if known),
        later=tuple(name for name, known in after.items() if not known),
    )


def _said_by_refusing(
    project: Project, *, channels: set[str], known_at: datetime
) -> tuple[Facts, Mapping[tuple[str, ConsentFact], datetime]]:
    """What accounts that said no said about being contacted, to the service or in files, and since when it is known.

    It is known since the ledger heard it, else since the history has it by its own account.
    """
    said: dict[str, list[ConsentFact]] = defaultdict(list)
    heard: dict[tuple[str, ConsentFact], datetime] = {}
    for each in said_in(project.history, channels=channels, at=known_at, known_at=known_at):
        fact = ConsentFact(*(getattr(each, name) for name in ConsentFact._fields))
        said[each.customer_id].append(fact)
        heard[each.customer_id, fact] = min(each.recorded_at, heard.get((each.customer_id, fact), EVER))
    if project.ledger.exists():
        with closing(Ledger(project.ledger)) as ledger, ledger.reading() as book:
            for account, facts in book.said_by_refusing(known_at=known_at).items():
                said[account] += facts
            # A row of a file says when its source knew; that Rapport did is another thing, and no file can tell.
            heard |= book.heard(said)
    refusing = {account for account, facts in said.items() if not all(fact.granted for fact in facts)}
    return about_contact({account: said[account] for account in refusing}, masking_of(project)), heard
