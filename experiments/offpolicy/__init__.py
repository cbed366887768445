"""Values a policy that never ran, from the decisions of another whose probabilities were logged; or refuses to."""

from experiments.offpolicy.evaluation import evaluate
from experiments.offpolicy.logs import Log, read_log

__all__ = ["Log", "evaluate", "read_log"]
