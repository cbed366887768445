"""A project's catalogue, contact policy and scenarios, compiled once so that a decision costs microseconds.

A set of treatments is an integer here, one bit for each, in the catalogue's order: removing candidates is one ``&``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec
import numpy as np

from features.errors import InputError, unknown
from serving.catalogue import CONTACT_CLASSES, Catalogue, Offer, Treatment
from serving.conditions import Condition, Row, compile_conditions
from serving.consent import EVERY, scope
from serving.contact_policy import ContactPolicy
from serving.scenarios import Scenario, Scenarios

Test = Callable[[Row], bool]
_MOST_SETS = 1 << 16


class RuleBook(msgspec.Struct, frozen=True, kw_only=True):
    """What a decision depends on besides the customer, as it is stored and fingerprinted.

    ``feature_names`` is the order of the values in every feature row, ``features`` the fingerprint of their meaning.
    """

    catalogue: Catalogue
    contact_policy: ContactPolicy = ContactPolicy()
    scenarios: Scenarios = Scenarios()
    feature_names: tuple[str, ...] = ()
    features: str = ""

    def to_json(self) -> bytes:
        """The book as JSON with sorted keys: equal books give equal bytes."""
        return msgspec.json.encode(self, order="sorted")

    @classmethod
    def from_json(cls, raw: bytes) -> RuleBook:
        """The book that :meth:`to_json` wrote."""
        return msgspec.json.decode(raw, type=cls)


@dataclass(frozen=True, slots=True)
class Survivors:
    """A set of actions that is left, ``nothing`` first: names, and places in arrays over all actions."""

    names: tuple[str, ...]
    places: tuple[int, ...]
    index: np.ndarray


class Rules:
    """A rule book compiled for deciding.

    >>> from serving.catalogue import Content
    >>> offers = (Offer(offer_id="a", title="A", treatments=(Content(channel="web"), Content(channel="email"))),)
    >>> rules = Rules(RuleBook(catalogue=Catalogue(offers=offers)))
    >>> rules.survivors(0b10).names
    ('nothing', 'a@email')
    """

    def __init__(self, book: RuleBook) -> None:
        # Written in code, a bound may be 1 where JSON reads 1.0: what is kept and hashed is what will be read again.
        book = RuleBook.from_json(book.to_json())
        catalogue = book.catalogue
        self.book = book
        self.fingerprint = hashlib.sha256(book.to_json()).hexdigest()
        self.treatments = catalogue.treatments
        self.actions = catalogue.actions
        self.costs = (0, *(treatment.content.cost_cents for treatment in self.treatments))
        self.every = (1 << len(self.treatments)) - 1
        self.static = tuple(1 << catalogue.index(name) for name in catalogue.static)
        self.feature_places = {name: place for place, name in enumerate(book.feature_names)}
        self.no_features: Row = (None,) * len(book.feature_names)
        self._bits = tuple((1 << place, treatment) for place, treatment in enumerate(self.treatments))
        self._named = {treatment.treatment_id: treatment for treatment in self.treatments}
        self._sets: dict[int, Survivors] = {}
        self._compile_request(book.contact_policy)
        self._compile_conditions(catalogue.offers)
        self._compile_scenarios(book.scenarios.scenarios)
        self._compile_contact_policy(book.contact_policy)

    def survivors(self, left: int) -> Survivors:
        """The actions of the set ``left``, which recurs over customers and is therefore kept."""
        found = self._sets.get(left)
        if found is None:
            if len(self._sets) >= _MOST_SETS:
                self._sets.clear()
            places = (0, *(place + 1 for place in _places(left)))
            found = Survivors(tuple(self.actions[place] for place in places), places, np.array(places, dtype=np.intp))
            self._sets[left] = found
        return found

    def names(self, left: int) -> tuple[str, ...]:
        """The treatment ids of the set ``left``."""
        return self.survivors(left).names[1:]

    def treatment(self, action: str) -> Treatment | None:
        """The treatment of an action; None for ``nothing`` and for what the catalogue no longer holds."""
        return self._named.get(action)

    def needs_yes(self, channel: str, contact_class: str) -> bool:
        """Whether a contact of that class on ``channel`` asks for the customer's yes."""
        return contact_class == "marketing" and channel not in self.book.contact_policy.without_consent

    def _compile_request(self, policy: ContactPolicy) -> None:
        placements = {treatment.content.placement for treatment in self.treatments}
        channels = dict.fromkeys(treatment.channel for treatment in self.treatments)
        self.of_channel = {c: sum(bit for bit, each in self._bits if each.channel == c) for c in channels}
        _check_channels(policy, self.of_channel)
        self.of_placement = {
            p: sum(bit for bit, each in self._bits if each.content.placement == p) for p in placements if p
        }
        kinds = {k: sum(bit for bit, each in self._bits if each.offer.contact_class == k) for k in CONTACT_CLASSES}
        self.scopes = tuple(
            (
                scope(c, k),
                scope(EVERY, k),
                self.of_channel[c] & kinds[k],
                self.needs_yes(c, k),
            )
            for c in channels
            for k in CONTACT_CLASSES
            if self.of_channel[c] & kinds[k]
        )
        self.marketing = kinds["marketing"]

    def _compile_conditions(self, offers: Sequence[Offer]) -> None:
        self.of_offer = {o.offer_id: sum(bit for bit, each in self._bits if each.offer is o) for o in offers}
        self.validity = tuple(
            (self.of_offer[offer.offer_id], offer.valid_from, offer.valid_until)
            for offer in offers
            if offer.valid_from or offer.valid_until
        )
        self.eligibility = self._tests((offer.offer_id, offer.eligibility) for offer in offers)
        self.applicability = self._tests((offer.offer_id, offer.applicability) for offer in offers)
        self.suitability = self._tests((offer.offer_id, offer.suitability) for offer in offers)

    def _tests(self, conditions: Iterable[tuple[str, tuple[Condition, ...]]]) -> tuple[tuple[int, Test], ...]:
        compiled = (
            (self.of_offer[offer_id], compile_conditions(wanted, self.feature_places))
            for offer_id, wanted in conditions
        )
        return tuple((mask, test) for mask, test in compiled if test is not None)

    def _compile_scenarios(self, scenarios: Sequence[Scenario]) -> None:
        catalogue = self.book.catalogue
        ranked = sorted(scenarios, key=lambda each: (-each.priority, each.scenario_id))
        self.scenarios = tuple(
            (
                scenario.scenario_id,
                sum({1 << catalogue.index(name) for name in scenario.treatments}),
                compile_conditions(scenario.when, self.feature_places) or _always,
            )
            for scenario in ranked
        )
        self.listed = 0
        for _, mask, _ in self.scenarios:
            self.listed |= mask

    def _compile_contact_policy(self, policy: ContactPolicy) -> None:
        self.horizon = policy.horizon
        self.cooldown = timedelta(days=policy.cooldown_days)
        self.limits = tuple(
            (
                sum(bit for bit, each in self._bits if limit.covers(each.channel, each.offer.contact_class)),
                limit,
                timedelta(days=limit.window_days),
            )
            for limit in policy.limits
        )
        exclusions: dict[str, list[tuple[int, timedelta]]] = {}
        for exclusion in policy.exclusions:
            for one, other in ((exclusion.offer, exclusion.other), (exclusion.other, exclusion.offer)):
                if other not in self.of_offer:
                    raise unknown("offer", other, self.of_offer)
                exclusions.setdefault(one, []).append((self.of_offer[other], timedelta(days=exclusion.days)))
        self.exclusions = {offer_id: tuple(others) for offer_id, others in exclusions.items()}
        self.quiet_hours = policy.quiet_hours
        silent = policy.quiet_hours.channels if policy.quiet_hours else ()
        # An order confirmation may come at night: only marketing waits for the morning.
        self.quieted = self.marketing & sum(self.of_channel[channel] for channel in silent)


def _check_channels(policy: ContactPolicy, known: Iterable[str]) -> None:
    """Raise when the contact policy names a channel without a treatment: its limit would hold back nothing."""
    names = tuple(known)
    for channel in policy.channels:
        if channel not in names:
            error = unknown("channel", channel, names, do="name a channel of the offers, or take the line out")
            raise InputError(f"contact policy: {error.wrong}", got=error.got, do=error.do)


def _always(row: Row) -> bool:
    return True


def _places(left: int) -> tuple[int, ...]:
    return tuple(place for place in range(left.bit_length()) if left >> place & 1)
