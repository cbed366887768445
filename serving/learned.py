"""What a policy learned in an experiment, as the ledger keeps it: beside the opening that it was learned from."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from experiments.policies import AnyPolicy
from serving.book import Book, policy_version


class LearnedFrom(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """By what a state was learned beside its opening and the outcomes: another value makes another state.

    ``window_days``: in which an outcome is a decision's reward. ``margin_bp``: the share of revenue that counts as
    profit, in basis points; None where the reward is no profit.

    >>> LearnedFrom(window_days=7).words
    'a window of 7 days'
    """

    window_days: float
    margin_bp: int | None = None

    @property
    def words(self) -> str:
        """It, for people."""
        margin = "" if self.margin_bp is None else f" and a margin of {self.margin_bp / 10_000:g}"
        return f"a window of {self.window_days:g} days{margin}"

    def to_json(self) -> str:
        """It, as the ledger keeps it."""
        return msgspec.json.encode(self).decode()


def learned_name(experiment: str, opening: AnyPolicy) -> str:
    """The name under which the ledger keeps what ``opening`` became in an experiment.

    The opening's version is part of it: where somebody publishes another policy in its place, that one is in force at
    once, as nothing was learned from it yet.
    """
    return f"{experiment}/learned/{policy_version(opening)}"


def learned_from(book: Book, name: str) -> LearnedFrom | None:
    """By what the state in force under ``name`` was learned; None without one, or where nobody wrote it down."""
    told = book.made_from(name)
    return None if told is None else msgspec.json.decode(told, type=LearnedFrom)


def as_learned(policies: Mapping[str, AnyPolicy], *, experiment: str, book: Book) -> dict[str, AnyPolicy]:
    """The policies by name, those that learn as they are after what was learned in the experiment so far."""
    return {
        name: (book.policy(learned_name(experiment, policy)) or ("", policy))[1] if policy.learns else policy
        for name, policy in policies.items()
    }
