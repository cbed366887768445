"""Masking: what a person did not allow a feature to be used for is taken out of its row before anything sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from features import FeatureSet
from features.identity import Person
from features.privacy.purposes import PurposeMask, Purposes, Said
from serving.conditions import Row
from serving.consent import ConsentFact
from serving.people import People

Facts = Mapping[str, Sequence[ConsentFact]]
"""What accounts said about consent, by account; those that said nothing may be left out."""


class Masking:
    """Which columns of a person's feature row are masked, by what their accounts said of the features' purposes.

    A no counts from every account that may be the person's, a yes only from the person's own.

    >>> from features import Feature
    >>> masking = Masking(FeatureSet.of(Feature(name="visits"), Feature(name="age", purpose="profile")), Purposes())
    >>> sorted(masking.of(Person.alone("anna"), {}))
    [1]
    """

    def __init__(self, features: FeatureSet, purposes: Purposes) -> None:
        self._mask = PurposeMask(features, purposes)
        self._names = tuple(features.names)
        self.purposes = frozenset(each.feature.purpose for each in features.columns)
        """What the features are for: consent to one of these is about them, and not about being contacted."""

    def of(self, person: Person, said: Facts, *, housemates: Iterable[Person] = ()) -> frozenset[int]:
        """Positions of the masked columns of a person, from all that was said.

        What a household did is masked unless all who live there let it be used: ``housemates`` are the others.
        """
        shared = self._mask.of_household(self._of(each, said) for each in housemates)
        return self._of(person, said) | shared if shared else self._of(person, said)

    def _of(self, person: Person, said: Facts) -> frozenset[int]:
        if not any(account in said for account in person.suppressing):
            return self._mask.unsaid
        own = set(person.own)
        return self._mask.of(
            Said(
                purpose=fact.purpose,
                granted=fact.granted,
                said_by=fact.source,
                occurred_at=fact.occurred_at,
                channel=fact.channel,
                contact_class=fact.contact_class,
                account_id=account,
                own=account in own,
            )
            for account in person.suppressing
            for fact in said.get(account, ())
        )

    def apply(self, row: Row, masked: frozenset[int]) -> Row:
        """``row`` with None in the masked places."""
        return self._mask.apply(row, masked)

    def masked(self, table: pa.Table, *, people: People, said: Facts) -> tuple[pa.Table, list[frozenset[int]]]:
        """``table`` (``customer_id`` and the features) with nulls for what is masked, and each row's masked columns."""
        ids = table["customer_id"].to_pylist()
        masks = self._masks(ids, people=people, said=said) if said else [self._mask.unsaid] * len(ids)
        for place in sorted(frozenset().union(*set(masks))):
            name = self._names[place]
            nothing = pa.scalar(None, table.schema.field(name).type)
            values = pc.if_else(pa.array([place in each for each in masks]), nothing, table[name])
            table = table.set_column(table.column_names.index(name), name, values)
        return table, masks

    def housemates(self, persons: Sequence[Person], people: People) -> list[list[Person]]:
        """The others in each person's household, none where no feature is of households."""
        if not self._mask.shared:
            return [[]] * len(persons)
        mates = [people.housemates(each) for each in persons]
        known = people.persons({account for accounts in mates for account in accounts})
        return [[known[account] for account in accounts] for accounts in mates]

    def _masks(self, ids: Sequence[str], *, people: People, said: Facts) -> list[frozenset[int]]:
        known = people.persons(ids)
        persons = [known[each] for each in ids]
        pairs = zip(persons, self.housemates(persons, people), strict=True)
        return [self.of(person, said, housemates=mates) for person, mates in pairs]
