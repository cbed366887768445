"""What arms are worth when a bandit chose among them, from the chances that it logged."""

from experiments.adaptive.actions import ActionValue, action_values
from experiments.adaptive.analysis import analyze_bandit

__all__ = ["ActionValue", "action_values", "analyze_bandit"]
