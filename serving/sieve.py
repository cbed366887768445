"""The stages before arbitration: each removes candidates for its reasons, and none adds one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from serving.ask import Ask
from serving.conditions import Row
from serving.consent import EVERY, Permission, scope
from serving.contact_policy import Contact
from serving.reasons import Reason
from serving.rules import Rules


class Sieve:
    """The candidates that are left, what was removed for which reason, and the scenarios that fired; sets are bits."""

    __slots__ = ("fired", "left", "removed")

    def __init__(self, left: int) -> None:
        self.left = left
        self.removed: dict[Reason, int] = {}
        self.fired: tuple[tuple[str, int], ...] = ()

    def drop(self, reason: Reason, mask: int) -> None:
        """Remove those of ``mask`` that are still left, for ``reason``."""
        hit = self.left & mask
        if hit:
            self.left ^= hit
            self.removed[reason] = self.removed.get(reason, 0) | hit


def sift(
    ask: Ask,
    *,
    permission: Permission | None,
    contacts: Sequence[Contact],
    row: Row,
    withheld: bool,
    channels: Sequence[str],
    rules: Rules,
) -> Sieve:
    """What is left of all treatments for ``ask``; parameters are those of :func:`serving.decision.decide`.

    ``withheld``: marketing is withheld, as from the holdout; ``channels``: marketing on these alone is.
    """
    sieve = Sieve(rules.every)
    _request(sieve, ask, rules)
    _consent(sieve, permission, rules)
    _validity(sieve, ask.moment, rules)
    _conditions(sieve, Reason.NOT_ELIGIBLE, rules.eligibility, row)
    _conditions(sieve, Reason.NOT_APPLICABLE, rules.applicability, row)
    _scenarios(sieve, row, rules)
    _conditions(sieve, Reason.NOT_SUITABLE, rules.suitability, row)
    _contact_policy(sieve, ask, contacts, rules)
    if withheld:
        sieve.drop(Reason.HELD_OUT, rules.marketing)
    for channel in channels:
        sieve.drop(Reason.HELD_OUT, rules.marketing & rules.of_channel.get(channel, 0))
    return sieve


def _request(sieve: Sieve, ask: Ask, rules: Rules) -> None:
    if ask.channel is not None:
        sieve.drop(Reason.OTHER_CHANNEL, rules.every & ~rules.of_channel.get(ask.channel, 0))
    if ask.placement is not None:
        sieve.drop(Reason.OTHER_PLACEMENT, rules.every & ~rules.of_placement.get(ask.placement, 0))


def _consent(sieve: Sieve, permission: Permission | None, rules: Rules) -> None:
    if permission is None:
        sieve.drop(Reason.CONSENT_UNREADABLE, rules.every)
    elif permission.hold is not None:
        sieve.drop(Reason.SUPPRESSED, rules.every)
    else:
        for named, rest, mask, needs_yes in rules.scopes:
            reason = _objection(permission, named, rest, needs_yes)
            if reason is not None:
                sieve.drop(reason, mask)


def objection(permission: Permission, contact: Contact, *, rules: Rules) -> Reason | None:
    """The reason for which ``contact`` may not go out, by consent alone; None when it may."""
    if permission.hold is not None:
        return Reason.SUPPRESSED
    kind = contact.contact_class
    needs_yes = rules.needs_yes(contact.channel, kind)
    return _objection(permission, scope(contact.channel, kind), scope(EVERY, kind), needs_yes)


def _objection(permission: Permission, named: str, rest: str, needs_yes: bool) -> Reason | None:
    # What was said of this channel counts; ``rest`` is what was said of all, for channels never named.
    granted, refused = permission.granted, permission.refused
    if named in refused or (rest in refused and named not in granted):
        return Reason.OPTED_OUT
    if needs_yes and named not in granted and rest not in granted:
        return Reason.NO_CONSENT
    return None


def _validity(sieve: Sieve, moment: datetime, rules: Rules) -> None:
    for mask, begins, ends in rules.validity:
        if begins is not None and moment < begins:
            sieve.drop(Reason.NOT_YET_VALID, mask)
        elif ends is not None and moment >= ends:
            sieve.drop(Reason.NO_LONGER_VALID, mask)


def _conditions(sieve: Sieve, reason: Reason, tests: Sequence[tuple[int, Any]], row: Row) -> None:
    for mask, test in tests:
        if sieve.left & mask and not test(row):
            sieve.drop(reason, mask)


def _scenarios(sieve: Sieve, row: Row, rules: Rules) -> None:
    sieve.fired = tuple((name, mask) for name, mask, fires in rules.scenarios if fires(row))
    allowed = 0
    for _, mask in sieve.fired:
        allowed |= mask
    sieve.drop(Reason.NO_SCENARIO, rules.listed & ~allowed)


def _contact_policy(sieve: Sieve, ask: Ask, contacts: Sequence[Contact], rules: Rules) -> None:
    # A contact planned for after this moment counts like one before it: what goes out first must leave it its slot.
    distances = [(abs(ask.moment - contact.taken_at), contact) for contact in contacts]
    for mask, limit, window in rules.limits:
        if sieve.left & mask:
            taken = sum(
                1
                for distance, contact in distances
                if distance < window and limit.covers(contact.channel, contact.contact_class)
            )
            if taken >= limit.count:
                sieve.drop(Reason.LIMIT_REACHED, mask)
    for distance, contact in distances:
        if distance < rules.cooldown:
            sieve.drop(Reason.COOLDOWN, rules.of_offer.get(contact.offer_id, 0))
        for mask, span in rules.exclusions.get(contact.offer_id, ()):
            if distance < span:
                sieve.drop(Reason.EXCLUDED, mask)
    hours = rules.quiet_hours
    if hours is not None and sieve.left & rules.quieted and hours.quiet(ask.moment, ask.time_zone):
        sieve.drop(Reason.QUIET_HOURS, rules.quieted)
