"""Values a policy that never ran, from the decisions of another whose probabilities were logged; or refuses to."""

from experiments.offpolicy.evaluation import Rival, evaluate, value_of
from experiments.offpolicy.logs import Log, read_log
from experiments.offpolicy.telling import Telling

__all__ = ["Log", "Rival", "Telling", "evaluate", "read_log", "value_of"]
