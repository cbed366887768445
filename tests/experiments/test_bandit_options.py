"""A bandit's analysis refuses what any analysis refuses."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from experiments.adaptive import analyze_bandit
from features.errors import InputError

LOG = pa.table({"action": ["no", "mail"] * 20, "buy": [0, 1] * 20, "p_no": [0.5] * 40, "p_mail": [0.5] * 40})


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"worth": -1.0}, "the worth is out of range"),
        ({"expected": 0}, "the expected number of units is out of range"),
        ({"limits": {"buy": 0.1}}, "the metric that decides has a limit"),
        ({"limits": {"by": 0.1}}, "did you mean 'buy'"),
    ],
)
def test_what_no_analysis_takes_is_refused(options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        analyze_bandit(LOG, arm="action", control="no", metrics=["buy"], **options)
