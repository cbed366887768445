"""Every example runs as it stands: those in the docstrings of this room, and the code in its guides."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "experiments").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.parametrize("name", ["assignment", "after-a-bandit", "gains", "ladder", "market", "offpolicy", "report"])
def test_the_guide_of(name: str) -> None:
    guide = ROOT / "docs" / f"{name}.md"
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(guide), "exec"), names)


def test_the_guide_of_analysis_prints_what_it_says() -> None:
    found = doctest.testfile(str(ROOT / "docs" / "analysis.md"), module_relative=False)
    assert (found.failed, found.attempted > 5) == (0, True)
