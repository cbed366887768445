"""What arms are worth when a bandit chose among them, from the chances that it logged."""

from experiments.adaptive.analysis import analyze_bandit

__all__ = ["analyze_bandit"]
