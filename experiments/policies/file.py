"""Policies as JSON, so that what decided can be stored, versioned and read again."""

from __future__ import annotations

import msgspec

from experiments.policies.bandits import Bandit
from experiments.policies.fixed import Few, Nothing, RandomEligible, Segment, Static
from experiments.policies.values import OneToOne, Softmax
from features.errors import InputError

AnyPolicy = Nothing | RandomEligible | Static | Segment | Few | OneToOne | Softmax | Bandit


def to_json(policy: AnyPolicy) -> bytes:
    """The policy as JSON with sorted keys: equal policies give equal bytes.

    >>> to_json(Static(treatment="a@email"))
    b'{"treatment":"a@email","type":"static"}'
    """
    typed: AnyPolicy = msgspec.convert(msgspec.to_builtins(policy), AnyPolicy)  # 12 becomes 12.0 where a float belongs
    return msgspec.json.encode(typed, order="sorted")


def from_json(raw: bytes | str) -> AnyPolicy:
    """The policy in ``raw``; its field ``type`` says which one.

    >>> from_json('{"type": "static", "treatment": "a@email"}')
    Static(treatment='a@email')
    """
    try:
        policy: AnyPolicy = msgspec.json.decode(raw, type=AnyPolicy)
    except msgspec.DecodeError as error:
        raise InputError("the policy can't be read", got=str(error), do="write it with to_json, or mend it") from error
    return policy
