"""Why this, why not that: a decision in names and sentences, and the same decision taken again from its record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import msgspec
import numpy as np

from experiments.policies import AnyPolicy
from features.errors import InputError
from serving.book import Book
from serving.catalogue import Offer, Treatment
from serving.conditions import Condition, Value
from serving.consent import EVERY, scope
from serving.decision import Assignment, Decision, decide
from serving.people import HOLD, Linked
from serving.reasons import Reason, Stage, last_checks
from serving.rules import Rules

_AT_ONCE = 1_000


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """Why not that: one candidate, the stage and reason that removed it, and what exactly stood in the way."""

    action: str
    stage: str
    code: str
    sentence: str
    detail: str = ""


class Surviving(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that reached arbitration: the chance it had, and its expected incremental profit in cents."""

    action: str
    probability: float
    value_cents: float | None


class StageCount(msgspec.Struct, frozen=True, kw_only=True):
    """The candidates that a stage left, ``nothing`` not among them."""

    stage: str
    left: tuple[str, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision for people and machines that don't have the rule book at hand.

    ``last_checks``: the codes of the reasons that removed the last candidates, where none was left.
    ``behaviour_of``, ``contacts_of``: other accounts of the same person whose behaviour was used, and whose contacts
    counted.
    """

    decision_id: str
    customer_id: str
    household_id: str | None
    decided_at: datetime
    experiment: str
    arm: str
    action: str
    probability: float
    source: str
    degraded: bool
    code: str
    sentence: str
    scenario: str | None
    contact_cost_cents: int
    stages: tuple[StageCount, ...]
    surviving: tuple[Surviving, ...]
    removed: tuple[Removed, ...]
    fired: tuple[str, ...]
    features: dict[str, Value]
    policy_version: str
    model_version: str
    rules_version: str
    seed: str
    last_checks: tuple[str, ...] = ()
    person_id: str | None = None
    behaviour_of: tuple[str, ...] = ()
    contacts_of: tuple[str, ...] = ()


def explain(decision: Decision, rules: Rules) -> Explanation:
    """The explanation of a decision under the rules that it was taken by."""
    reason, others = Reason(decision.reason), decision.linked or Linked()
    return Explanation(
        decision_id=decision.decision_id,
        customer_id=decision.ask.customer_id,
        household_id=decision.ask.household_id,
        decided_at=decision.ask.moment,
        experiment=decision.experiment,
        arm=decision.arm,
        action=decision.action,
        probability=decision.probability,
        source=decision.source,
        degraded=decision.degraded,
        code=reason.code,
        sentence=reason.sentence,
        scenario=decision.scenario,
        contact_cost_cents=decision.contact_cost,
        stages=_stages(decision, rules),
        surviving=tuple(
            Surviving(
                action=rules.actions[place],
                probability=chance,
                value_cents=None if decision.values is None else decision.values[place],
            )
            for place, chance in zip(decision.survivors, decision.probabilities, strict=True)
        ),
        removed=tuple(
            _removed(Reason(number), rules.treatments[place - 1], decision, rules)
            for number, places in decision.removed
            for place in places
        ),
        fired=decision.fired,
        features=dict(zip(rules.book.feature_names, decision.row or (), strict=False)),
        policy_version=decision.policy,
        model_version=decision.model,
        rules_version=decision.rules,
        seed=decision.ask.seed,
        last_checks=() if decision.survivors[1:] else tuple(each.code for each in last_checks(decision.removed)),
        person_id=decision.ask.person_id,
        behaviour_of=others.own,
        contacts_of=others.counted,
    )


def replay(decision: Decision, *, rules: Rules, policy: AnyPolicy) -> Decision:
    """The decision taken again from its record, the rule book and the policy that it names."""
    return decide(
        decision.ask,
        permission=decision.permission,
        contacts=decision.contacts,
        row=decision.row,
        values=None if decision.values is None else np.array(decision.values),
        assignment=Assignment(
            experiment=decision.experiment,
            arm=decision.arm,
            policy=policy,
            version=decision.policy,
            withheld=decision.withheld,
            withheld_channels=decision.withheld_channels,
        ),
        rules=rules,
        model=decision.model,
        linked=decision.linked,
    )


def differences(one: Decision, other: Decision) -> dict[str, tuple[object, object]]:
    """The fields in which two decisions differ, bit by bit; empty when they are the same."""
    fields = {name: (getattr(one, name), getattr(other, name)) for name in Decision.__struct_fields__}
    return {
        name: (left, right)
        for name, (left, right) in fields.items()
        if msgspec.msgpack.encode(left) != msgspec.msgpack.encode(right)
    }


def recorded(book: Book, decision_id: str) -> tuple[Decision, Rules, AnyPolicy]:
    """A decision from the ledger with the rules and the policy that it was taken by.

    Raises
    ------
    InputError
        When the ledger holds no such decision, or not what it needs.
    """
    decision = book.decisions([decision_id]).get(decision_id)
    if decision is None:
        raise InputError("there is no such decision", got=repr(decision_id), do="list decisions in the console")
    kept = book.rules(decision.rules)
    policy = book.policy_of_version(decision.policy)
    if kept is None or policy is None:
        missing = "rule book" if kept is None else "policy"
        raise InputError(f"the {missing} of the decision is not kept", got=decision_id, do="restore the whole ledger")
    return decision, Rules(kept), policy


def counted_last_checks(book: Book, decision_ids: Sequence[str]) -> dict[Reason, int]:
    """How often each reason removed the last candidates of decisions that had none left; one may have several."""
    counted: Counter[Reason] = Counter()
    for start in range(0, len(decision_ids), _AT_ONCE):
        for decision in book.decisions(decision_ids[start : start + _AT_ONCE]).values():
            counted.update(last_checks(decision.removed))
    return dict(counted.most_common())


def _stages(decision: Decision, rules: Rules) -> tuple[StageCount, ...]:
    gone: set[int] = set()
    counts = []
    for stage in Stage:
        if stage is not Stage.ARBITRATION:
            gone.update(
                place for number, places in decision.removed for place in places if Reason(number).stage == stage
            )
            left = tuple(name for place, name in enumerate(rules.actions) if place and place not in gone)
            counts.append(StageCount(stage=stage.label, left=left))
    return tuple(counts)


def _removed(reason: Reason, treatment: Treatment, decision: Decision, rules: Rules) -> Removed:
    detail = _DETAILS.get(reason)
    return Removed(
        action=treatment.treatment_id,
        stage=reason.stage.label,
        code=reason.code,
        sentence=reason.sentence,
        detail=detail(treatment, decision, rules) if detail else "",
    )


Detail = Callable[[Treatment, Decision, Rules], str]


def _conditions(pick: Callable[[Offer], Sequence[Condition]]) -> Detail:
    def detail(treatment: Treatment, decision: Decision, rules: Rules) -> str:
        known = dict(zip(rules.book.feature_names, decision.row or rules.no_features, strict=True))
        failed = (each for each in pick(treatment.offer) if not each.holds(known))
        return "; ".join(f"{each}, but it is {_shown(known[each.feature])}" for each in failed)

    return detail


def _limits(treatment: Treatment, decision: Decision, rules: Rules) -> str:
    limits = rules.book.contact_policy.limits
    named = (str(limit) for limit in limits if limit.covers(treatment.channel, treatment.offer.contact_class))
    return "; ".join((*named, *_counted(treatment, decision, rules)))


def _also_counted(treatment: Treatment, decision: Decision, rules: Rules) -> str:
    return "; ".join(_counted(treatment, decision, rules))


def _counted(treatment: Treatment, decision: Decision, rules: Rules) -> Iterator[str]:
    if decision.linked and decision.linked.counted:
        yield f"contacts of {', '.join(decision.linked.counted)} count too"


def _validity(treatment: Treatment, decision: Decision, rules: Rules) -> str:
    begins, ends = treatment.offer.valid_from, treatment.offer.valid_until
    return f"valid {f'from {begins:%Y-%m-%d %H:%M} ' if begins else ''}{f'until {ends:%Y-%m-%d %H:%M}' if ends else ''}"


def _scenarios(treatment: Treatment, decision: Decision, rules: Rules) -> str:
    listing = (s.scenario_id for s in rules.book.scenarios.scenarios if treatment.treatment_id in s.treatments)
    return "listed by " + ", ".join(listing)


def _suppressed(treatment: Treatment, decision: Decision, rules: Rules) -> str:
    hold = (decision.permission.hold if decision.permission else None) or ""
    named = _by_another(decision, HOLD)
    return "; ".join(each for each in (hold, f"it is {named}" if named else "") if each)


def _opted_out(treatment: Treatment, decision: Decision, rules: Rules) -> str:
    kind = treatment.offer.contact_class
    named = scope(treatment.channel, kind)
    refused = decision.permission.refused if decision.permission else ()
    another = _by_another(decision, named if named in refused else scope(EVERY, kind))
    return f"It was {another} that said so." if another else ""


def _by_another(decision: Decision, what: str) -> str:
    """Which other account refused: nothing else of that one is told; empty where the account asked for did too."""
    names = dict(decision.linked.refused).get(what) if decision.linked else None
    if names is None:
        return ""
    named = f" ({', '.join(names)})" if names else ""
    return f"another account that may be the same person{named}"


def _shown(value: Value) -> str:
    return "missing" if value is None else str(value)


_DETAILS: dict[Reason, Detail] = {
    Reason.NOT_ELIGIBLE: _conditions(lambda offer: offer.eligibility),
    Reason.NOT_APPLICABLE: _conditions(lambda offer: offer.applicability),
    Reason.NOT_SUITABLE: _conditions(lambda offer: offer.suitability),
    Reason.LIMIT_REACHED: _limits,
    Reason.COOLDOWN: _also_counted,
    Reason.EXCLUDED: _also_counted,
    Reason.NOT_YET_VALID: _validity,
    Reason.NO_LONGER_VALID: _validity,
    Reason.NO_SCENARIO: _scenarios,
    Reason.SUPPRESSED: _suppressed,
    Reason.OPTED_OUT: _opted_out,
}
