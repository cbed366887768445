"""Some parts of the table: ``python -m benchmarks.calibration bandits hadad``; with ``--runs 200`` a rough one."""

from __future__ import annotations

import sys

from benchmarks.calibration.parts import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
