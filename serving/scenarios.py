"""Marketers' rules: history and behaviour now make certain treatments applicable."""

from __future__ import annotations

from datetime import date

import msgspec

from features.errors import InputError
from serving.conditions import Condition


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A named rule: when all its conditions hold, its treatments make sense now.

    A treatment that any scenario lists is applicable only while one of its scenarios fires; the firing scenario of
    the highest priority is recorded with the decision. Treatments that no scenario lists are not touched.

    In TOML::

        [[scenarios]]
        scenario_id = "abandoned-cart"
        title = "Left something in the cart"
        owner = "Ada"
        priority = 10                              # the higher one is recorded; ties by scenario_id
        review = 2027-03-01                        # when the owner looks at it again
        when = [{feature = "cart_1d", at_least = 1}, {feature = "purchases_1d", at_most = 0}]
        treatments = ["shoes-10@email", "shoes-10@web"]

    >>> Scenario(scenario_id="always", title="Always", owner="Ada", treatments=("a@web",)).priority
    0
    """

    scenario_id: str
    title: str
    owner: str
    priority: int = 0
    review: date | None = None
    when: tuple[Condition, ...] = ()
    treatments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.treatments:
            raise InputError(
                f"scenario {self.scenario_id!r} lists no treatment",
                got="treatments = []",
                do="list the treatments that it makes applicable",
            )


class Scenarios(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All scenarios of a project: the ``[[scenarios]]`` of a file."""

    scenarios: tuple[Scenario, ...] = ()

    def __post_init__(self) -> None:
        names = [scenario.scenario_id for scenario in self.scenarios]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError("scenario ids repeat", got=", ".join(twice), do="give each scenario an id of its own")
