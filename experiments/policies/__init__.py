"""Policies from static to bandit: each gives the exact probability of every action that a customer may get."""

from experiments.policies.bandits import Bandit
from experiments.policies.beliefs import ArmBeliefs
from experiments.policies.choice import NOTHING, Choice, Policy, choose, with_floor
from experiments.policies.file import AnyPolicy, from_json, to_json
from experiments.policies.fixed import Few, Nothing, RandomEligible, Segment, Static
from experiments.policies.linear import LinearBeliefs, LogisticBeliefs
from experiments.policies.live import LiveBandit
from experiments.policies.posteriors import Beta, Gaussian
from experiments.policies.rules import Greedy, Thompson, TopTwo, UpperBound
from experiments.policies.values import OneToOne, Softmax

__all__ = [
    "NOTHING",
    "AnyPolicy",
    "ArmBeliefs",
    "Bandit",
    "Beta",
    "Choice",
    "Few",
    "Gaussian",
    "Greedy",
    "LinearBeliefs",
    "LiveBandit",
    "LogisticBeliefs",
    "Nothing",
    "OneToOne",
    "Policy",
    "RandomEligible",
    "Segment",
    "Softmax",
    "Static",
    "Thompson",
    "TopTwo",
    "UpperBound",
    "choose",
    "from_json",
    "to_json",
    "with_floor",
]
