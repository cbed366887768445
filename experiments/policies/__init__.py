"""Policies from static to bandit: each gives the exact probability of every action that a customer may get."""

from experiments.policies.bandits import LinearThompson, Thompson
from experiments.policies.choice import NOTHING, Choice, Policy, choose, with_floor
from experiments.policies.file import AnyPolicy, from_json, to_json
from experiments.policies.fixed import Few, Nothing, RandomEligible, Segment, Static
from experiments.policies.posteriors import Beta, Gaussian, LinearGaussian
from experiments.policies.values import OneToOne, Softmax

__all__ = [
    "NOTHING",
    "AnyPolicy",
    "Beta",
    "Choice",
    "Few",
    "Gaussian",
    "LinearGaussian",
    "LinearThompson",
    "Nothing",
    "OneToOne",
    "Policy",
    "RandomEligible",
    "Segment",
    "Softmax",
    "Static",
    "Thompson",
    "choose",
    "from_json",
    "to_json",
    "with_floor",
]
