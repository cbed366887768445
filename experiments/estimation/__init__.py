"""What the ladder and off-policy evaluation estimate with: columns known before, outcome models, influence values."""

from experiments.estimation.columns import Column
from experiments.estimation.influence import Interval, mean_interval
from experiments.estimation.nuisance import OutcomeModels

__all__ = ["Column", "Interval", "OutcomeModels", "mean_interval"]
