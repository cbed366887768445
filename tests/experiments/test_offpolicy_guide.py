"""Thompson sampling and chance, each valued from the other's log: the guide's example and the figures it prints."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "offpolicy.md").read_text(encoding="utf-8")


def guide_figures(folder: Path) -> dict[tuple[str, str], Any]:
    """What the guide's own code finds."""
    (block,) = re.findall(r"```py\n(.*?)```", GUIDE, flags=re.DOTALL)
    names: dict[str, Any] = {"folder": folder}
    exec(compile(block, "offpolicy.md", "exec"), names)
    found: dict[tuple[str, str], Any] = names["found"]
    return found


def test_each_policy_of_open_bandit_from_the_log_of_the_other(data: Callable[[str], Path]) -> None:
    found = guide_figures(data("open_bandit_small/random_men.csv.gz").parent)
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
    # Held against what ran: the true difference is that of the click rates which both policies earned themselves.
    told = re.findall(r"^\| (Thompson|random) less .*, (men|women) \|(.*)\|$", GUIDE, flags=re.MULTILINE)
    assert len(told) == 3
    for target, campaign, cells in told:
        result, earned = found["thompson_from_random" if target == "Thompson" else "random_from_thompson", campaign]
        numbers = [float(number) for number in re.findall(r"-?[\d.]+", cells)]
        apart = {each.estimator: each for each in result.differences}["dr"]
        truth = earned - result.logged.value
        # Models alone, which fifty clicks taught next to nothing of items, say that all policies are about alike.
        assert all(each.ci_low <= truth <= each.ci_high for each in result.differences if each.estimator != "dm")
        assert (1000 * apart.difference, 1000 * apart.ci_low, 1000 * apart.ci_high) == pytest.approx(
            numbers[:3], abs=0.3
        )
        value = {each.estimator: each for each in result.estimates}["dr"]
        wide = math.hypot(value.ci_high - value.value, result.logged.ci_high - result.logged.value)
        assert 1000 * wide == pytest.approx(numbers[3], abs=0.3)
        assert apart.ci_high - apart.difference < 0.95 * wide
        assert 1000 * truth == pytest.approx(numbers[4], abs=0.001)
