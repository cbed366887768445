"""A small shop whose rules, ledger and site the serving tests share."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from httpx import ASGITransport, AsyncClient, Response
from starlette.applications import Starlette

from experiments.policies import AnyPolicy, OneToOne
from features import Feature, FeatureSet, History
from features.errors import InputError
from serving.app import create_app
from serving.ask import Ask
from serving.book import Consent, policy_version
from serving.catalogue import Catalogue, Content, Offer
from serving.conditions import Condition, Row
from serving.consent import Permission
from serving.contact_policy import ContactPolicy, Exclusion, Limit, QuietHours
from serving.customers import RecentCustomers
from serving.decision import Assignment, Decision, decide
from serving.desk import Desk
from serving.keys import SCOPES, make_key
from serving.ledger import Ledger
from serving.reasons import Reason
from serving.rules import RuleBook, Rules
from serving.scenarios import Scenario, Scenarios
from serving.service import Engine, Service
from serving.trial import Trial
from serving.trials import Trials
from serving.web import Site

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


@pytest.fixture(scope="session")
def migrated_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger that was brought up to date once, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.db"
    Ledger(path).close()
    return path


@pytest.fixture
def ledger(tmp_path: Path, migrated_ledger: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    shutil.copy(migrated_ledger, tmp_path / "ledger.db")
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


class Favourites:
    """A scorer that likes one action; its version says which."""

    def __init__(self, rules: Rules, action: str) -> None:
        self.version = f"likes {action}"
        self._values = np.where(np.array(rules.actions) == action, 100.0, -1.0)
        self._values[0] = 0.0

    def values(self, rows: Sequence[Row]) -> np.ndarray:
        """The same values for everybody."""
        return np.tile(self._values, (len(rows), 1))

    def values_of(self, table: pa.Table) -> np.ndarray:
        """The same values for everybody."""
        return np.tile(self._values, (table.num_rows, 1))


VISITS = FeatureSet.of(Feature(name="visits", where={"kind": "visit"}, windows=("7d",)))
KEYS = {"decide": ("decide",), "ingest": ("ingest",), "read": ("read",), "admin": ("admin",), "all": SCOPES}


class Client:
    """A browser without a network: requests go straight into the application."""

    def __init__(self, app: Starlette) -> None:
        transport = ASGITransport(app, raise_app_exceptions=False)
        self._runner = asyncio.Runner()
        self._http = AsyncClient(transport=transport, base_url="http://shop")

    def request(self, method: str, path: str, **more: object) -> Response:
        """Send one request and wait for its answer."""
        return self._runner.run(self._http.request(method, path, **more))

    def together(self, path: str, bodies: Sequence[object], **more: object) -> list[Response]:
        """Send a POST for each body, all at once."""

        async def send() -> list[Response]:
            return await asyncio.gather(*(self._http.post(path, json=body, **more) for body in bodies))

        return self._runner.run(send())

    def get(self, path: str, **more: object) -> Response:
        """Send a GET."""
        return self.request("GET", path, **more)

    def post(self, path: str, **more: object) -> Response:
        """Send a POST."""
        return self.request("POST", path, **more)

    def close(self) -> None:
        """Close the connection and its loop."""
        self._runner.run(self._http.aclose())
        self._runner.close()


@dataclass
class Web:
    """A site with its client and a key for each scope; its clock stands still until it is set."""

    site: Site
    client: Client
    keys: dict[str, str]
    clock: list[datetime]
    liked: list[str]
    history: History

    def call(self, method: str, path: str, body: object = None, *, key: str = "all", **headers: str) -> Response:
        """Send a request with a key, JSON when there is a body."""
        known = {"Authorization": f"Bearer {self.keys[key]}", **headers}
        if body is None:
            return self.client.request(method, path, headers=known)
        return self.client.request(method, path, headers=known, json=body)

    def together(self, path: str, bodies: Sequence[object]) -> list[Response]:
        """Send a POST for each body with a key, all at once."""
        return self.client.together(path, bodies, headers={"Authorization": f"Bearer {self.keys['all']}"})

    def decide(self, customer: str, key: str, **asked: object) -> Response:
        """Ask for a decision."""
        return self.call("POST", "/v1/decisions", {"customer_id": customer, "idempotency_key": key, **asked})


@pytest.fixture
def web(tmp_path: Path, ledger: Ledger, agree: Callable[..., None]) -> Iterator[Web]:
    """A shop whose offers are for recent visitors, served; anna, ben and carl agreed to marketing."""
    agree("anna", "ben", "carl")
    visitors = (Condition(feature="visits_7d", at_least=1),)
    offers = (
        Offer(
            offer_id="hello",
            title="Hello <b>again</b>",
            eligibility=visitors,
            treatments=(
                Content(channel="email", cost_cents=2, text="Hi & welcome"),
                Content(channel="web", placement="hero"),
            ),
        ),
        Offer(offer_id="other", title="Other", eligibility=visitors, treatments=(Content(channel="mail"),)),
    )
    book = RuleBook(
        catalogue=Catalogue(offers=offers, static=("other@mail",)),
        contact_policy=ContactPolicy(limits=(Limit(count=1, window_days=1, contact_class="marketing"),)),
        feature_names=VISITS.names,
        features=VISITS.fingerprint,
    )
    history = History(tmp_path / "history")
    seen = MONDAY - timedelta(days=2)
    events = [
        {"event_id": f"e-{name}", "customer_id": name, "kind": "visit", "occurred_at": seen, "recorded_at": seen}
        for name in ("anna", "ben")
    ]
    history.append(pa.Table.from_pylist(events), part="start")
    liked = ["hello@email"]

    def engine() -> Engine:
        if liked[0] == "broken":
            raise InputError("the bundle is broken", got="a wrong hash", do="train again")
        rules = Rules(book)
        scorer = Favourites(rules, liked[0])
        trial = Trial.of_policy(OneToOne(), arm="personal")
        return Engine(desk=Desk(ledger, rules=rules, trials=Trials.only(trial), model=scorer.version), scorer=scorer)

    clock = [MONDAY]
    service = Service(engine=engine(), customers=RecentCustomers(history), features=VISITS, clock=lambda: clock[0])
    site = Site(service=service, ledger=ledger, reload=engine)
    with ledger.writing() as opened:
        keys = {name: make_key(opened, scopes=scopes, label=name, at=MONDAY) for name, scopes in KEYS.items()}
    client = Client(create_app(site))
    yield Web(site=site, client=client, keys=keys, clock=clock, liked=liked, history=history)
    client.close()
