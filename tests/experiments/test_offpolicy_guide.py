"""Thompson sampling and chance, each valued from the other's log: the guide's example and the figures it prints."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "offpolicy.md").read_text(encoding="utf-8")


def test_each_policy_of_open_bandit_from_the_log_of_the_other(data: Callable[[str], Path]) -> None:
    (block,) = re.findall(r"```py\n(.*?)```", GUIDE, flags=re.DOTALL)
    names: dict[str, Any] = {"folder": data("open_bandit_small/random_men.csv.gz").parent}
    exec(compile(block, "offpolicy.md", "exec"), names)
    found = names["found"]
    refused = found.pop(("random_from_thompson", "women"))[0]
    assert refused.refused.startswith("The log's 10,000 decisions say as much of this policy as 2.1 of its own would")
    printed = re.findall(r"^\| (Thompson|random) from .* log, (men|women) \|(.*)\|$", GUIDE, flags=re.MULTILINE)
    assert len(printed) == 4
    for target, campaign, cells in printed:
        if "refused" in cells:
            continue
        how = "thompson_from_random" if target == "Thompson" else "random_from_thompson"
        result, earned = found[how, campaign]
        # Whatever its own log's luck, the policy's click rate lies within every interval from the other's log.
        assert all(each.ci_low <= earned <= each.ci_high for each in result.estimates)
        _, *shown, itself = [cell.strip() for cell in cells.split("|")]
        values = {each.estimator: each for each in result.estimates}
        for name, told in zip(("ips", "snips", "dr"), shown, strict=True):
            value, low, high = (float(number) for number in re.findall(r"[\d.]+", told))
            # Models of clicks may differ in the last digits between machines; what needs none may not.
            room = 0.006 if name != "dr" else 0.3
            each = values[name]
            assert (1000 * each.value, 1000 * each.ci_low, 1000 * each.ci_high) == pytest.approx(
                (value, low, high), abs=room
            )
        assert 1000 * earned == pytest.approx(float(itself.split()[0]), abs=0.001)
