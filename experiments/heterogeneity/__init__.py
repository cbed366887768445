"""Which customers gain from a contact: whether they differ at all, by how much, and who they are."""

from experiments.heterogeneity.gains import gains
from experiments.heterogeneity.rate import Weighting, rate_influence
from experiments.heterogeneity.results import ArmGains, Gains, GroupEffect, KnownGroups, Trait

__all__ = [
    "ArmGains",
    "Gains",
    "GroupEffect",
    "KnownGroups",
    "Trait",
    "Weighting",
    "gains",
    "rate_influence",
]
