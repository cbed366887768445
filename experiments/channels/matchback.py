"""Matchback: every purchase within a window after a contact, credited to the contact's channel.

What is usually reported, kept here to be shown beside what holdouts say. It counts purchases that would have come
anyway, and one purchase once for every channel that came before it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pyarrow as pa

from experiments.outcomes import query

_CREDITED = """
WITH contact AS (
    SELECT decision_id, customer_id, channel, decided_at, contact_cost FROM decisions
    WHERE action <> 'nothing' AND channel NOT NULL AND decided_at < $as_of),
known AS (
    SELECT * FROM events WHERE kind = 'purchase' AND amount NOT NULL AND recorded_at < $as_of AND occurred_at < $as_of
    QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY recorded_at, occurred_at, customer_id, amount) = 1),
matched AS (
    SELECT DISTINCT contact.channel, event_id, customer_id, (amount::HUGEINT * $margin_bp + 5000) // 10000 AS margin
    FROM known JOIN contact USING (customer_id)
    WHERE occurred_at > decided_at AND occurred_at <= decided_at + $window),
credit AS (SELECT channel, customer_id, sum(margin)::BIGINT AS margin FROM matched GROUP BY ALL),
sent AS (SELECT channel, customer_id, count(*) AS contacts, sum(contact_cost)::BIGINT AS cost FROM contact GROUP BY ALL)
SELECT sent.channel, sent.customer_id, contacts, (coalesce(margin, 0) - cost)::BIGINT AS claimed
FROM sent LEFT JOIN credit USING (channel, customer_id) ORDER BY ALL
"""


def matchback(decisions: pa.Table, events: pa.Table, *, as_of: datetime, window: timedelta, margin_bp: int) -> pa.Table:
    """What matching credits each channel with, by customer: ``channel, customer_id, contacts, claimed`` (cents).

    ``claimed`` is the margin on purchases in ``(decided_at, decided_at + window]`` less the contacts' cost.

    Parameters
    ----------
    decisions: ``decision_id, customer_id, action, channel, decided_at, contact_cost``.
    events: of the schema ``EVENTS``, as known at ``as_of``.
    """
    values = {"as_of": as_of, "window": window, "margin_bp": margin_bp}
    return query(_CREDITED, values=values, decisions=decisions, events=events)
