"""What the actions of a project's bandits were worth, from the chances that its ledger kept with each decision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select

from experiments.adaptive import ActionValue, action_values
from experiments.analysis.comparison import Levels
from experiments.measures import Measure
from experiments.offpolicy.rewards import decision_rewards
from experiments.outcomes import query
from experiments.policies import AnyPolicy
from serving import schema
from serving.book import Book
from serving.decision import Decision
from serving.ledger import Ledger


class _Head(msgspec.Struct, array_like=True):
    """How a decision's record begins, up to what took it: enough to pass over the many that no bandit took."""

    decision_id: str
    ask: msgspec.Raw
    experiment: str
    arm: str
    policy: str


_head_decoder = msgspec.msgpack.Decoder(_Head)
_decoder = msgspec.msgpack.Decoder(Decision)
_CHANCE = "p_"
_LAST = "SELECT arm, arg_max(decision_id, (decided_at, decision_id)) AS decision_id FROM decisions GROUP BY arm"


def bandit_values(
    ledger: Ledger,
    decisions: pa.Table,
    events: pa.Table,
    *,
    measure: Measure,
    as_of: datetime,
    margin_bp: int,
    alpha: float,
) -> tuple[ActionValue, ...]:
    """The value of each action of each arm whose policy learns, against the action that it chose most.

    Parameters
    ----------
    decisions: ``decision_id, customer_id, decided_at, experiment, arm, action, contact_cost``, by persons.
    events: of the same persons.
    measure: what is earned, within its window after each decision.
    margin_bp: the share of revenue that is margin, in basis points.
    """
    if measure.kind == "ratio" or decisions.num_rows == 0:
        return ()
    with ledger.reading() as book:
        chances = dict(_chances(book, decisions))
    if not chances:
        return ()
    own = decisions.filter(pc.is_in(decisions["decision_id"], pa.array(list(chances), pa.string())))
    own = own.sort_by([("decided_at", "ascending"), ("decision_id", "ascending")])
    rewards = decision_rewards(
        own, events, measure=measure, window=timedelta(days=measure.window_days), as_of=as_of, margin_bp=margin_bp
    )
    known = dict(zip(rewards["decision_id"].to_pylist(), rewards["reward"].to_pylist(), strict=True))
    ids = own["decision_id"].to_pylist()
    log = own.select(["customer_id", "arm", "action"]).append_column(
        "reward", pa.array([known[each] for each in ids], pa.float64())
    )
    for action, column in _columns([chances[each] for each in ids]).items():
        log = log.append_column(f"{_CHANCE}{action}", pa.array(column))
    return tuple(
        value
        for arm in pc.unique(log["arm"]).sort().to_pylist()
        for value in action_values(
            log.filter(pc.equal(log["arm"], arm)),
            arm=arm,
            action="action",
            reward="reward",
            cluster="customer_id",
            levels=Levels(alpha=alpha),
        )
    )


def learns(policy: AnyPolicy | None) -> bool:
    """Whether a policy changes with outcomes, so that its chances move.

    >>> from experiments.policies import ArmBeliefs, Bandit, Beta, Static
    >>> learns(Static(treatment="a@email")), learns(Bandit(beliefs=ArmBeliefs(prior=Beta())))
    (False, True)
    """
    return policy is not None and policy.learns


def learning_arms(ledger: Path, decisions: pa.Table) -> tuple[str, ...]:
    """The arms whose policies learn, by what took the last decision of each among ``decisions`` of an experiment.

    What was published after these decisions is nothing that they can tell of.
    """
    last = query(_LAST, values={}, decisions=decisions)
    with closing(Ledger(ledger)) as opened, opened.reading() as book:
        taken = book.decisions(last["decision_id"].to_pylist()).values()
        return tuple(sorted(each.arm for each in taken if learns(book.policy_of_version(each.policy))))


def _chances(book: Book, decisions: pa.Table) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The chances of the actions of each decision that a learning policy took, by decision."""
    kept = set(decisions["decision_id"].to_pylist())
    learning: dict[str, bool] = {}
    actions: dict[str, tuple[str, ...]] = {}
    columns = schema.decisions.c
    own = columns.experiment.in_(pc.unique(decisions["experiment"]).to_pylist())
    for decision_id, record in book.connection.execute(select(columns.decision_id, columns.record).where(own)):
        if decision_id not in kept:
            continue
        policy = _head_decoder.decode(record).policy
        if policy not in learning:
            learning[policy] = learns(book.policy_of_version(policy))
        if not learning[policy]:
            continue
        decision = _decoder.decode(record)
        if not decision.survivors or decision.degraded:
            continue
        if decision.rules not in actions:
            catalogue = book.rules(decision.rules)
            actions[decision.rules] = catalogue.catalogue.actions if catalogue else ()
        names = actions[decision.rules]
        if names:
            yield (
                decision_id,
                {
                    names[place]: chance
                    for place, chance in zip(decision.survivors, decision.probabilities, strict=True)
                },
            )


def _columns(chances: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """A column of chances for each action; 0 where it could not be chosen."""
    names = sorted({name for each in chances for name in each})
    return {name: np.array([each.get(name, 0.0) for each in chances]) for name in names}
