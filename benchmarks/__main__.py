"""Run every benchmark, one after the other: ``python -m benchmarks [NAME]...``; each prints a table beside its peer."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path


def names() -> list[str]:
    """The benchmarks of this folder: each module that has a ``main``."""
    folder = str(Path(__file__).parent)
    return [
        each.name for each in pkgutil.iter_modules([folder]) if not each.name.startswith("_") and "_" not in each.name
    ]


def main(wanted: list[str]) -> int:
    """Run the wanted benchmarks, or all; 2 for a name that isn't one."""
    known = names()
    wrong = [name for name in wanted if name not in known]
    if wrong:
        print(f"no benchmark named {', '.join(wrong)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    for name in wanted or known:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"benchmarks.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
