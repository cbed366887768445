"""Every reason that a candidate was removed or a decision came out as it did: one code and one sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum


class Stage(IntEnum):
    """The stages of a decision, in order."""

    REQUEST = 0
    CONSENT = 1
    VALIDITY = 2
    ELIGIBILITY = 3
    APPLICABILITY = 4
    SUITABILITY = 5
    CONTACT_POLICY = 6
    ARBITRATION = 7

    @property
    def label(self) -> str:
        """The stage's name for people."""
        return self.name.lower().replace("_", " ")


class Reason(IntEnum):
    """Why: the number is what records hold, :attr:`code` what machines read, :attr:`sentence` what people read.

    Numbers are never used again for something else. The reasons below 100 remove one candidate; those from 100 on say
    how the whole decision ended, exactly one for each, so that their counts add up to the requests.

    >>> Reason.OPTED_OUT.code, Reason.OPTED_OUT.stage.label
    ('opted_out', 'consent')
    """

    OTHER_CHANNEL = 1
    OTHER_PLACEMENT = 2
    CONSENT_UNREADABLE = 10
    SUPPRESSED = 11
    OPTED_OUT = 12
    NO_CONSENT = 13
    NOT_YET_VALID = 20
    NO_LONGER_VALID = 21
    NOT_ELIGIBLE = 30
    NOT_APPLICABLE = 40
    NO_SCENARIO = 41
    NOT_SUITABLE = 50
    LIMIT_REACHED = 60
    COOLDOWN = 61
    EXCLUDED = 62
    QUIET_HOURS = 63
    HELD_OUT = 64

    CHOSEN = 100
    NOTHING_CHOSEN = 101
    NOTHING_LEFT = 102
    STATIC_STANDS_IN = 103
    STATIC_NOT_LEFT = 104
    NO_PERMISSION_READ = 105
    LEDGER_UNAVAILABLE = 106
    WITHDRAWN = 107
    PEOPLE_UNREADABLE = 108

    @property
    def code(self) -> str:
        """The machine code."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """The sentence for people."""
        return _SENTENCES[self]

    @property
    def stage(self) -> Stage:
        """The stage that gives this reason."""
        return Stage(min(self // 10, Stage.ARBITRATION))


UNRECORDED = frozenset({Reason.LEDGER_UNAVAILABLE, Reason.PEOPLE_UNREADABLE})
"""Reasons of answers that no record stands behind: asked again with the same key, it is decided."""


def last_checks(removed: Iterable[tuple[int, Sequence[int]]]) -> tuple[Reason, ...]:
    """Why the last candidates went, where none was left: the reasons of the latest stage that removed any.

    ``removed``: pairs of a reason's number and the actions that it removed, as a decision holds them.

    >>> [each.code for each in last_checks([(12, (1, 2)), (60, (3,)), (63, (4,))])]
    ['limit_reached', 'quiet_hours']
    """
    found = [Reason(number) for number, actions in removed if actions]
    latest = max((each.stage for each in found), default=Stage.REQUEST)
    return tuple(each for each in found if each.stage == latest)


_SENTENCES = {
    Reason.OTHER_CHANNEL: "The request asks for another channel.",
    Reason.OTHER_PLACEMENT: "The request asks for another placement.",
    Reason.CONSENT_UNREADABLE: "Consent could not be read, and then nobody is contacted.",
    Reason.SUPPRESSED: "The customer is suppressed.",
    Reason.OPTED_OUT: "The customer opted out of this kind of contact on this channel.",
    Reason.NO_CONSENT: "The customer never opted in to this kind of contact on this channel.",
    Reason.NOT_YET_VALID: "The offer is not valid yet.",
    Reason.NO_LONGER_VALID: "The offer is no longer valid.",
    Reason.NOT_ELIGIBLE: "The customer may not have the offer: an eligibility condition fails.",
    Reason.NOT_APPLICABLE: "The offer makes no sense now: an applicability condition fails.",
    Reason.NO_SCENARIO: "None of the scenarios that list the treatment fires.",
    Reason.NOT_SUITABLE: "The offer is not right for the customer: a suitability condition fails.",
    Reason.LIMIT_REACHED: "A limit on contacts is reached.",
    Reason.COOLDOWN: "The same offer went out too short a time ago.",
    Reason.EXCLUDED: "Another offer that never goes together with this one went out.",
    Reason.QUIET_HOURS: "It is within the quiet hours on the customer's clock.",
    Reason.HELD_OUT: "The customer is in the holdout, from whom all marketing is withheld.",
    Reason.CHOSEN: "The policy chose the treatment.",
    Reason.NOTHING_CHOSEN: "Treatments were left, and the policy chose to send nothing.",
    Reason.NOTHING_LEFT: "No treatment survived the checks.",
    Reason.STATIC_STANDS_IN: "Values could not be read, so the static contact stands in.",
    Reason.STATIC_NOT_LEFT: "Values could not be read, and no static contact survived the checks.",
    Reason.NO_PERMISSION_READ: "Consent could not be read, so nobody is contacted.",
    Reason.LEDGER_UNAVAILABLE: "The ledger could not be read or written, so nobody is contacted.",
    Reason.WITHDRAWN: "The customer said no after this decision, which is therefore not released again.",
    Reason.PEOPLE_UNREADABLE: "Whose accounts belong together could not be read, so nobody is contacted.",
}
