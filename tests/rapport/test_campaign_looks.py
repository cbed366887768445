"""Looks at a project's campaign with an end: each knows those before it, and its record tells the next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from experiments.analysis.group_sequential import boundaries
from experiments.report import LookPoint, decision, headline
from rapport.trials.looks import Look, report_of

if TYPE_CHECKING:
    from tests.rapport.conftest import LetterShop

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
WEEK = timedelta(weeks=1)
END = "end = 2026-04-13T09:00:00Z"
GOALS = """
[[goals]]
name = "bought"
kind = "any"
events = ["purchase"]
window_days = 7
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, letter_shop: Callable[..., LetterShop]) -> LetterShop:
    """A shop of which 200 customers a week enter a campaign of six weeks; three in ten buy two days later."""
    folder = tmp_path_factory.mktemp("campaign") / "shop"
    shop = letter_shop(folder, start="2026-03-02T09:00:00Z", more=END, goals=GOALS)
    people = [f"c{number}" for number in range(1_000)]
    shop.agree(people, at=START - WEEK)
    for week in range(5):
        shop.decide(people[200 * week : 200 * (week + 1)], at=START + week * WEEK)
    buys = np.random.default_rng(1).random(1_000) < 0.3
    entered = [START + (number // 200) * WEEK for number in range(1_000)]
    shop.buy([(people[number], entered[number] + timedelta(days=2), 4_900) for number in np.flatnonzero(buys)])
    return shop


def _week(number: float) -> datetime:
    return START + number * WEEK


def _bound(look: Look) -> float:
    """How many of the standard errors of one look the range of a look is wide."""
    (row,) = look.findings.metrics
    assert look.findings.kind == "group_sequential"
    low, high = row.interval("group_sequential")
    return 1.96 * (high - low) / (row.ci_high - row.ci_low)


def test_each_look_allows_for_the_looks_before_it_and_the_last_spends_what_is_left(shop: LetterShop) -> None:
    points: tuple[LookPoint, ...] = ()
    for week in (2.5, 4.5, 6.5):
        look = shop.look(_week(week), earlier=points)
        points += look.points
    # Windows of 400, 800 and 1,000 customers had closed; of six weeks 2.5, 4.5 and all had passed.
    expected = boundaries([400, 800, 1_000], elapsed=[2.5 / 6, 4.5 / 6, 1.0])
    assert [point.kind for point in points] == ["group_sequential"] * 3
    assert [point.n_arm + point.n_control for point in points] == [400, 800, 1_000]
    assert _bound(look) == pytest.approx(expected[-1], rel=1e-2)  # Student's t for 1,000 units
    assert look.findings.rule.last
    page = report_of(look, project=shop.project, number=3, points=points[:2])
    assert "of which this is the last" in headline(page).below
    assert decision(page).word == "No clear answer"


def test_a_look_that_is_taken_again_or_as_of_an_earlier_day_comes_out_the_same(shop: LetterShop) -> None:
    first = shop.look(_week(2.5))
    second = shop.look(_week(4.5), earlier=first.points)
    third = shop.look(_week(5.5), earlier=(*first.points, *second.points))
    again = shop.look(_week(4.5), earlier=(*first.points, *second.points, *third.points))
    assert again.findings.metrics == second.findings.metrics
    assert _bound(third) < _bound(second) < _bound(first)


def test_a_look_after_the_end_stands_in_the_place_of_the_last(shop: LetterShop) -> None:
    first = shop.look(_week(2.5))
    last = shop.look(_week(6.0), earlier=first.points)
    later = shop.look(_week(8.0), earlier=(*first.points, *last.points))
    assert _bound(later) == pytest.approx(_bound(last))
