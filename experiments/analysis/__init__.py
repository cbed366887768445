"""Compares the arms of one experiment: how much, how sure at any look, whether to trust it, and what to do.

Before the experiment, ``experiments.analysis.planning`` says how many units and days it takes; it is imported by
itself, as its optimizer would make every analysis start later.
"""

from experiments.analysis.analysis import Findings, analyze
from experiments.analysis.progress import Progress
from experiments.analysis.verdict import Rule

__all__ = ["Findings", "Progress", "Rule", "analyze"]
