"""What a policy learned in an experiment, as the ledger keeps it: beside the opening that it was learned from."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.policies import AnyPolicy
from serving.book import Book, policy_version


def learned_name(experiment: str, opening: AnyPolicy) -> str:
    """The name under which the ledger keeps what ``opening`` became in an experiment.

    The opening's version is part of it: where somebody publishes another policy in its place, that one is in force at
    once, as nothing was learned from it yet.
    """
    return f"{experiment}/learned/{policy_version(opening)}"


def as_learned(policies: Mapping[str, AnyPolicy], *, experiment: str, book: Book) -> dict[str, AnyPolicy]:
    """The policies by name, those that learn as they are after what was learned in the experiment so far."""
    return {
        name: (book.policy(learned_name(experiment, policy)) or ("", policy))[1] if policy.learns else policy
        for name, policy in policies.items()
    }
