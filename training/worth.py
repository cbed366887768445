"""What a response to each offer is worth, measured on contacts that were made by chance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from features.errors import InputError
from features.sql import in_memory
from training.dataset import NOTHING, Goal, register_by_person


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What contacts with one offer brought, beside customers who got nothing. Money in cents.

    ``response`` and ``response_to_nothing`` are shares of the contacts; ``spend`` and ``given`` are what was spent and
    given away (events of kind ``purchase`` and ``discount``) per contact within the window, ``(contact, contact +
    window]``, more than without.

    >>> shoes = Worth(offer="shoes", contacts=100, response=0.5, response_to_nothing=0.4, spend=1000, given=50)
    >>> shoes.value_cents(margin=0.3), shoes.discount_cents, round(shoes.profit(margin=0.3))
    (3000, 100, 250)
    """

    offer: str
    contacts: int
    response: float
    response_to_nothing: float
    spend: float
    given: float

    def value_cents(self, *, margin: float) -> int:
        """Margin that came with each additional response; 0 where there were none.

        It makes ``p (value - discount) - p0 value``, by which offers are ranked, equal the profit that was measured.
        """
        more = self.response - self.response_to_nothing
        return max(0, round(margin * self.spend / more)) if more > 0 else 0

    @property
    def discount_cents(self) -> int:
        """What was given away with each response, beyond what customers without the offer were given."""
        return max(0, round(self.given / self.response)) if self.response > 0 else 0

    def profit(self, *, margin: float) -> float:
        """Margin less what was given away, per contact, more than without."""
        return margin * self.spend - self.given


def worth_of_offers(
    events: pa.Table,
    spine: pa.Table,
    *,
    goal: Goal,
    members: pa.Table | None = None,
    until: datetime | None = None,
) -> tuple[Worth, ...]:
    """The worth of each offer in ``spine``, the table of ``training.dataset.contacts``; sorted by offer.

    What is spent on any account of a person counts: ``members`` (MEMBERS schema) tells which those are, as known at
    ``until`` (default now); both as ``contacts`` was given them. Who got which offer or nothing must have been chance:
    nothing is adjusted for.

    Raises
    ------
    InputError
        When there are no customers who got nothing to hold offers against.
    """
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        register_by_person(connection, {"events": events}, members=members, until=until or datetime.now(UTC))
        connection.register("spine", spine.append_column("place", pa.array(range(spine.num_rows), pa.int64())))
        rows = connection.execute(_WORTH, {"window": timedelta(days=goal.window_days)}).fetchall()
    means = {offer: tuple(map(float, found)) for offer, *found in rows}
    if NOTHING not in means:
        raise InputError(
            "what offers are worth can't be measured without customers who got nothing",
            got=f"{spine.num_rows} contacts, none of them no_contact",
            do="log decisions of nothing, or set wave_size under [response] in rapport.toml",
        )
    _, response, spend, given = means.pop(NOTHING)
    return tuple(
        Worth(
            offer=offer,
            contacts=int(n),
            response=own,
            response_to_nothing=response,
            spend=spent - spend,
            given=gave - given,
        )
        for offer, (n, own, spent, gave) in sorted(means.items())
    )


_WORTH = """
WITH money AS (
    SELECT place, sum(amount) FILTER (events.kind = 'purchase') AS spend,
           sum(amount) FILTER (events.kind = 'discount') AS given
    FROM spine JOIN events ON events.person = spine.person
     AND events.occurred_at > spine.as_of AND events.occurred_at <= spine.as_of + $window
    GROUP BY place
)
SELECT offer, count(*), avg(label::INT), avg(coalesce(spend, 0)), avg(coalesce(given, 0))
FROM spine LEFT JOIN money USING (place) GROUP BY offer
"""
