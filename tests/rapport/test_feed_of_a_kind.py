"""Purchases stop arriving while opens go on: a look says so and is not trusted, and nothing is learned from it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from experiments.report import decision
from features.errors import InputError
from rapport.trials.learning import _check_arriving
from rapport.trials.looks import report_of

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
PEOPLE = [f"c{number}" for number in range(300)]


@pytest.fixture
def shop(tmp_path: Path, letter_shop: Callable[..., Any]) -> Any:
    """A shop whose feed of purchases fails on the 20th day; opens and visits arrive on."""
    made = letter_shop(tmp_path / "shop")
    made.agree(PEOPLE, at=START - 9 * DAY)
    made.decide(PEOPLE, at=START)
    made.buy([(PEOPLE[day % 300], START + day * DAY, 4_900) for day in range(-40, 20)])
    moments = [START + day * DAY for day in range(-40, 45)]
    opens = {
        "event_id": [f"o{place}" for place in range(len(moments))],
        "customer_id": [PEOPLE[place % 300] for place in range(len(moments))],
        "kind": ["open"] * len(moments),
        "occurred_at": moments,
        "recorded_at": moments,
    }
    made.project.history.append(pa.table(opens), part="opens")
    return made


@pytest.mark.parametrize(("day", "status"), [(20, None), (24, "yellow"), (40, "red")])
def test_a_look_tells_that_purchases_alone_have_stopped(shop: Any, day: int, status: str | None) -> None:
    report = report_of(shop.look(START + day * DAY), project=shop.project, number=1)
    told = {each.name: each for each in report.health}
    assert told["Data arriving"].status == "green"
    assert (told["Purchase arriving"].status if "Purchase arriving" in told else None) == status
    if status == "red":
        assert (
            "No purchase has arrived since 21 March 2026, while other events have" in told["Purchase arriving"].sentence
        )
        assert decision(report).code == "do_not_trust"


def test_nothing_is_learned_from_purchases_that_did_not_arrive(shop: Any) -> None:
    design = shop.project.experiment("letter")
    _check_arriving(shop.project, design, as_of=START + 20 * DAY, window=None)
    with pytest.raises(InputError, match="No purchase has arrived since 21 March 2026, while other events have"):
        _check_arriving(shop.project, design, as_of=START + 40 * DAY, window=None)
