"""Finds where personalization stops paying: from a randomized table whose rungs are learned, or from live arms."""

from experiments.ladder.learned import RUNGS, ladder
from experiments.ladder.live import ladder_of_arms
from experiments.ladder.recommendation import Wording

__all__ = ["RUNGS", "Wording", "ladder", "ladder_of_arms"]
