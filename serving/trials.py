"""All that decides at one time: the experiments that run, the standing trial beside them, the project's holdout."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from experiments.holdout import Holdout
from experiments.policies import RandomEligible
from serving.ask import Ask
from serving.book import Book, policy_version
from serving.conditions import Row
from serving.decision import Assignment
from serving.trial import Trial

HOLDOUT = "holdout"
"""The name under which customers are decided from whom all marketing is withheld; service contacts reach them."""

# What the holdout is left with are service contacts, which are owed and not ranked: one of those that hold goes out.
_SERVICE = RandomEligible(nothing_share=0.0)


@dataclass(frozen=True, kw_only=True)
class Trials:
    """Which trial a decision belongs to: exactly one.

    In this order: whom the holdout withholds is in no experiment. A unit that has an arm in a running experiment stays
    there. Else it belongs to the experiment that decides the ask's placement, whose slice of the layer holds the unit
    and whose audience the customer; and else to the standing trial.

    Parameters
    ----------
    standing: what decides where no experiment does.
    designed: the experiments that run, already known to share no unit and no ask (``experiments.layers``).
    holdout: who is withheld.
    waiting: sentences about experiments that would run but for their start rules.

    >>> from datetime import UTC
    >>> from experiments.policies import Nothing
    >>> trials = Trials.only(Trial.of_policy(Nothing(), arm="quiet"))
    >>> ask = Ask(customer_id="c-1", moment=datetime(2026, 3, 1, tzinfo=UTC), seed="s")
    >>> trials.proposed(ask, None).assignment(ask).arm
    'quiet'
    """

    standing: Trial
    designed: tuple[Trial, ...] = ()
    holdout: Holdout | None = None
    waiting: tuple[str, ...] = ()

    @classmethod
    def only(cls, trial: Trial) -> Trials:
        """One trial for all."""
        return cls(standing=trial)

    def sentences_at(self, moment: datetime) -> tuple[str, ...]:
        """What decides at a moment, for people."""
        held = self.holdout
        running = tuple(each.sentence_at(moment) for each in (self.designed or (self.standing,)))
        if held is None or not (held.share or held.channels):
            return (*running, *self.waiting)
        shares = [f"{held.share:.1%} of customers from all marketing"] if held.share else []
        shares += [f"{share:.1%} from {channel} alone" for channel, share in held.channels.items()]
        until = f"Withheld until {held.period(moment).end:%d %B %Y}"
        return (*running, f"{until}: {', '.join(shares)}.", *self.waiting)

    @property
    def key(self) -> str:
        """The keys of what decides."""
        return ", ".join(each.key for each in self.designed) or self.standing.key

    def at(self, ask: Ask) -> tuple[Trial, ...]:
        """The experiments that may decide an ask: those of its placement, else those of no placement in particular."""
        found = self._places.get(ask.placement or "") or self._places.get("", ())
        return tuple(trial for trial in found if trial.runs_for(ask))

    def proposed(self, ask: Ask, row: Row | None) -> Trial:
        """The trial of a unit that has no arm in a running experiment."""
        return next((trial for trial in self.at(ask) if trial.takes(ask, row)), self.standing)

    def withholds(self, ask: Ask) -> bool:
        """Whether all marketing is withheld from who asks."""
        holdout = self.holdout
        return holdout is not None and holdout.withholds(_held_unit(ask, holdout), at=ask.moment)

    def withheld_channels(self, ask: Ask) -> tuple[str, ...]:
        """The channels whose marketing alone is withheld from who asks."""
        holdout = self.holdout
        if holdout is None or not holdout.channels:
            return ()
        return tuple(sorted(holdout.withheld_channels(_held_unit(ask, holdout), at=ask.moment)))

    @cached_property
    def withheld(self) -> Assignment:
        """The assignment of those from whom all marketing is withheld."""
        version = policy_version(_SERVICE)
        return Assignment(experiment=HOLDOUT, arm=HOLDOUT, policy=_SERVICE, version=version, withheld=True)

    @cached_property
    def _places(self) -> dict[str, tuple[Trial, ...]]:
        """The experiments by placement; those of none in particular under no name."""
        found: dict[str, tuple[Trial, ...]] = {}
        for trial in self.designed:
            for place in trial.placements or ("",):
                found[place] = (*found.get(place, ()), trial)
        return found

    def publish(self, book: Book, *, at: datetime) -> None:
        """Keep the policies and designs of all trials in the ledger.

        Raises
        ------
        InputError
            When a design was changed after its first decision.
        """
        for trial in (*self.designed, self.standing):
            trial.publish(book, at=at)
        book.publish(HOLDOUT, _SERVICE, at=at)


def _held_unit(ask: Ask, holdout: Holdout) -> str:
    """Whose place in the holdout's line an ask has: the household's, or the person's whichever account is asked for.

    Were every account of a person to have a place of its own, who has many would be withheld more often than planned. A
    person is called by the account that was linked first, so their place stays when further accounts are linked, and
    those take it over.
    """
    household = ask.household_id if holdout.unit == "household" else None
    return household or ask.person_id or ask.customer_id
