"""The guide: its code runs, and it names every reason that a decision can give."""

from __future__ import annotations

import re
from pathlib import Path

from serving.reasons import Reason

GUIDE = (Path(__file__).parents[2] / "docs" / "deciding.md").read_text(encoding="utf-8")


def test_the_code_of_the_guide_runs():
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], "docs/deciding.md", "exec"), {})


def test_the_guide_names_every_reason():
    assert {reason.code for reason in Reason} <= set(re.findall(r"`(\w+)`", GUIDE))
