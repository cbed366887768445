"""How often results are wrong, beside how often they may be, and the naive way in the same runs: E1 to E10.

``python -m benchmarks calibration`` prints the whole table, ``python -m benchmarks.calibration PART...`` parts of it.
"""

from benchmarks.calibration.parts import main

__all__ = ["main"]
