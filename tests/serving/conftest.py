"""A small shop whose rules, ledger and site the serving tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pytest

from experiments.policies import AnyPolicy
from serving.book import Consent, policy_version
from serving.catalogue import Catalogue, Content, Offer
from serving.conditions import Condition
from serving.consent import Permission
from serving.contact_policy import ContactPolicy, Exclusion, Limit, QuietHours
from serving.decision import Ask, Assignment, Decision, decide
from serving.ledger import Ledger
from serving.reasons import Reason
from serving.rules import RuleBook, Rules
from serving.scenarios import Scenario, Scenarios

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
FEATURES = ("purchases_365d", "returns_365d", "cart_1d", "state")
EVERYTHING = Permission(tuple(f"{channel}:marketing" for channel in ("web", "email", "mail", "call", "store")))
BUYER = (2, 0, 0, "CA")


def catalogue() -> Catalogue:
    return Catalogue(
        static=("shoes@email", "shoes@web"),
        offers=(
            Offer(
                offer_id="shoes",
                title="10% off shoes",
                value_cents=1500,
                discount_cents=500,
                eligibility=(Condition(feature="purchases_365d", at_least=1),),
                suitability=(Condition(feature="returns_365d", at_most=3),),
                treatments=(
                    Content(channel="email", cost_cents=2, placement="inbox", text="Ten percent off."),
                    Content(channel="web", placement="hero", text="Ten percent off."),
                    Content(channel="call", cost_cents=400),
                ),
            ),
            Offer(
                offer_id="coats",
                title="New coats",
                value_cents=2500,
                valid_from=datetime(2026, 2, 1, tzinfo=UTC),
                valid_until=datetime(2026, 4, 1, tzinfo=UTC),
                applicability=(Condition(feature="state", one_of=("CA", "NY")),),
                treatments=(Content(channel="email", cost_cents=2), Content(channel="mail", cost_cents=60)),
            ),
            Offer(offer_id="cart", title="Still in your cart", treatments=(Content(channel="web", placement="hero"),)),
            Offer(offer_id="receipt", title="Receipt", contact_class="service", treatments=(Content(channel="email"),)),
        ),
    )


def rule_book() -> RuleBook:
    return RuleBook(
        catalogue=catalogue(),
        contact_policy=ContactPolicy(
            limits=(
                Limit(count=2, window_days=7, contact_class="marketing"),
                Limit(count=1, window_days=30, channel="call"),
            ),
            cooldown_days=3,
            exclusions=(Exclusion(offer="shoes", other="coats", days=1),),
            quiet_hours=QuietHours(start=time(21), end=time(8), channels=("call",), time_zones=("Europe/Berlin",)),
        ),
        scenarios=Scenarios(
            scenarios=(
                Scenario(
                    scenario_id="abandoned",
                    title="Left something",
                    owner="Ada",
                    priority=5,
                    when=(Condition(feature="cart_1d", at_least=1),),
                    treatments=("cart@web",),
                ),
                Scenario(
                    scenario_id="any-cart",
                    title="Any cart",
                    owner="Ada",
                    when=(Condition(feature="cart_1d", at_least=1),),
                    treatments=("cart@web",),
                ),
            )
        ),
        feature_names=FEATURES,
        features="f0",
    )


def assignment(policy: AnyPolicy, *, arm: str = "arm") -> Assignment:
    return Assignment(experiment="trial", arm=arm, policy=policy, version=policy_version(policy))


@dataclass(frozen=True)
class Shop:
    """The shop's rules, and decisions under them."""

    rules: Rules

    def decide(self, policy: AnyPolicy, **changes: object) -> Decision:
        """A decision for a buyer who agreed to everything on a Monday at noon, but for ``changes``."""
        asked = {name: changes.pop(name) for name in list(changes) if name in Ask.__struct_fields__}
        ask = Ask(**({"customer_id": "anna", "moment": MONDAY, "seed": "s"} | asked))
        known = {
            "permission": EVERYTHING,
            "contacts": (),
            "row": BUYER,
            "values": np.zeros(len(self.rules.actions)),
        } | changes
        return decide(ask, assignment=assignment(policy), rules=self.rules, **known)

    def left(self, decision: Decision) -> set[str]:
        """The names of the treatments that survived."""
        return {self.rules.actions[place] for place in decision.survivors[1:]}

    def why(self, decision: Decision) -> dict[str, str]:
        """The reason's code of each treatment that was removed."""
        return {
            self.rules.actions[place]: Reason(number).code for number, places in decision.removed for place in places
        }


@pytest.fixture(scope="session")
def shop() -> Shop:
    """A shop of four offers on seven treatments."""
    return Shop(Rules(rule_book()))


@pytest.fixture
def monday() -> datetime:
    """Monday, 2 March 2026, noon in UTC."""
    return MONDAY


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """An empty ledger."""
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture
def agree(ledger: Ledger) -> Callable[..., None]:
    """``agree("anna", "ben")``: they opted in to all marketing a year ago."""

    def opt_in(*customers: str) -> None:
        year_ago = MONDAY - timedelta(days=365)
        with ledger.writing() as book:
            book.consent(
                [
                    Consent(
                        customer_id=each,
                        channel="all",
                        granted=True,
                        source="import",
                        occurred_at=year_ago,
                        recorded_at=year_ago,
                    )
                    for each in customers
                ]
            )

    return opt_in
