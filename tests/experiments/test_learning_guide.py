"""The guide's code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "learning.md"


def test_the_code_in_the_guide_runs() -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL))
    exec(compile(code, str(GUIDE), "exec"), {})
