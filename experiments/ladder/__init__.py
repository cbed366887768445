"""Finds where personalization stops paying: from a randomized table whose rungs are learned, or from live arms."""

from experiments.ladder.learned import RUNGS, ladder
from experiments.ladder.live import ladder_of_arms

__all__ = ["RUNGS", "ladder", "ladder_of_arms"]
