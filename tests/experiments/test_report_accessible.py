"""The report in a real browser: axe-core finds nothing at three widths, and nothing scrolls sideways or is fetched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.report import Report, render

SCRIPT = Path(__file__).with_name("report_page.cjs")
MODULES = Path(os.environ.get("RAPPORT_NODE_MODULES", "node_modules")).resolve()


@pytest.mark.slow
def test_axe_finds_no_violation_at_three_widths(tmp_path: Path, example_report: Callable[..., Report]) -> None:
    node, chromium = shutil.which("node"), shutil.which("chromium")
    missing = [name for name, found in (("node", node), ("chromium", chromium)) if found is None]
    missing += [name for name in ("playwright-core", "axe-core") if not (MODULES / name).is_dir()]
    if missing:
        pytest.skip(f"not at hand: {', '.join(missing)} (npm packages: set RAPPORT_NODE_MODULES to their folder)")
    page = tmp_path / "report.html"
    page.write_text(render(example_report(customers=8_000, weeks=3)), encoding="utf-8")
    ran = subprocess.run(
        [str(node), str(SCRIPT), str(chromium), str(page)],
        env={**os.environ, "NODE_PATH": str(MODULES)}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert [each["width"] for each in found] == [400, 800, 1400]
    for each in found:
        assert each["violations"] == [], f"at {each['width']} pixels"
        assert each["passes"] > 15, "axe-core looked at the page"
        assert each["sideways"] <= 0, f"scrolls sideways at {each['width']} pixels"
        assert [url for url in each["requests"] if not url.startswith("file:")] == []
