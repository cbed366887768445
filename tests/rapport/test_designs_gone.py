"""An experiment under way keeps its design: without its file nobody decides, and a service keeps what it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from httpx import ASGITransport, AsyncClient, Response

from features.errors import InputError
from rapport.incumbent import incumbent
from rapport.project import Project, load_project
from rapport.trials.decided import decided_so_far
from serving.app import create_app
from serving.assembly import open_site
from serving.keys import SCOPES, make_key

if TYPE_CHECKING:
    from tests.conftest import Ran

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
PEOPLE = [f"c{number}" for number in range(40)]


@pytest.fixture
def shop(
    tmp_path: Path,
    only_experiment: Callable[..., Project],
    letter_design: Callable[..., str],
    agree: Callable[..., None],
    buy: Callable[..., None],
) -> Project:
    """A shop with 40 customers and one experiment without an end."""
    project = only_experiment(tmp_path / "shop", letter=letter_design())
    agree(project, PEOPLE, at=START - DAY)
    buy(project, [(each, START - DAY, 4_900) for each in PEOPLE])
    return project


@pytest.fixture
def score(shop: Project, rapport_cli: Callable[..., Ran]) -> Callable[..., Ran]:
    """``score(at)``: everybody is decided on at that moment."""

    def run(at: datetime, *more: object) -> Ran:
        out = shop.root.parent / "decisions.parquet"
        return rapport_cli("score", "--project", shop.root, "--at", at.isoformat(), "--out", out, *more)

    return run


def _file(shop: Project) -> Path:
    return shop.root / "experiments" / "letter.toml"


def _plain(text: str) -> str:
    return " ".join(text.split())


def test_nobody_is_decided_on_while_the_file_of_a_running_experiment_is_gone(
    shop: Project, score: Callable[..., Ran]
) -> None:
    assert score(START).exit_code == 0
    text = _file(shop).read_text()
    _file(shop).unlink()
    ran = score(START + DAY)
    assert ran.exit_code == 2
    assert "experiment 'letter' is under way, and its design is gone" in _plain(ran.stderr)
    assert "put the file back" in _plain(ran.stderr)
    assert decided_so_far(shop, "letter").num_rows == 40
    _file(shop).write_text(text)
    assert score(START + DAY).exit_code == 0


def test_another_key_is_another_experiment_and_the_first_one_is_missed(
    shop: Project, score: Callable[..., Ran]
) -> None:
    assert score(START).exit_code == 0
    _file(shop).write_text(_file(shop).read_text().replace('key = "letter"', 'key = "letter-2"'))
    ran = score(START + DAY)
    assert ran.exit_code == 2
    assert 'key = "letter"' in _plain(ran.stderr)


def test_a_file_may_go_before_anybody_has_an_arm(
    shop: Project, letter_design: Callable[..., str], score: Callable[..., Ran]
) -> None:
    _file(shop).write_text(letter_design(start="2026-03-02T12:00:00Z"))
    assert score(START).exit_code == 0
    _file(shop).unlink()
    assert score(START + DAY).exit_code == 0


def test_a_file_may_go_once_a_stop_has_passed_that_was_seen(shop: Project, score: Callable[..., Ran]) -> None:
    assert score(START).exit_code == 0
    stopped = START + DAY
    text = _file(shop).read_text()
    _file(shop).write_text(text.replace("control =", f"stopped = {stopped.isoformat()}\ncontrol =", 1))
    assert score(stopped + DAY).exit_code == 0
    _file(shop).unlink()
    assert score(stopped + 2 * DAY).exit_code == 0
    # A batch as of a moment before the stop would still mix the arms.
    assert score(stopped - timedelta(hours=1)).exit_code == 2


def test_a_file_may_go_after_the_planned_end(
    shop: Project, letter_design: Callable[..., str], score: Callable[..., Ran]
) -> None:
    _file(shop).write_text(letter_design(more="end = 2026-04-13T09:00:00Z"))
    assert score(START).exit_code == 0
    _file(shop).unlink()
    assert score(START + DAY).exit_code == 2
    assert score(datetime(2026, 4, 13, 9, tzinfo=UTC)).exit_code == 0


@pytest.fixture
def service(shop: Project) -> Iterator[Callable[..., Service]]:
    """``service(at=START)``: the shop's service, started at that moment."""
    runner = asyncio.Runner()

    def start(at: datetime = START) -> Service:
        found = load_project(shop.root)
        clock = [at]
        site = open_site(
            found,
            incumbent=lambda: incumbent(found),
            reopened=lambda: load_project(shop.root),
            clock=lambda: clock[0],
        )
        with site.ledger.writing() as book:
            key = make_key(book, scopes=SCOPES, label="test", at=START)
        transport, headers = ASGITransport(create_app(site)), {"Authorization": f"Bearer {key}"}
        client = AsyncClient(transport=transport, base_url="http://shop", headers=headers)
        return Service(runner, client, clock)

    yield start
    runner.close()


@dataclass(frozen=True)
class Service:
    """A service that runs, and its clock."""

    runner: asyncio.Runner
    client: AsyncClient
    clock: list[datetime]

    def post(self, path: str, body: object = None) -> Response:
        """The answer to a POST."""
        return self.runner.run(self.client.post(path, json=body))

    def where(self, moment: datetime) -> set[tuple[str, str, str]]:
        """Customer, experiment and arm of a decision for each customer at a moment."""
        self.clock[0] = moment
        asked = [{"customer_id": each, "idempotency_key": f"{each}-{moment:%d-%H}"} for each in PEOPLE]
        told = [self.post("/v1/decisions", each).json() for each in asked]
        return {(one["customer_id"], each["experiment"], each["arm"]) for one, each in zip(asked, told, strict=True)}

    def reload(self) -> tuple[int, str]:
        """How a reload ended, and what was said of it."""
        answer = self.post("/v1/reload")
        return answer.status_code, answer.text


def test_a_service_decides_on_by_the_design_that_it_began_with(shop: Project, service: Callable[..., Service]) -> None:
    running, text = service(), _file(shop).read_text()
    before = running.where(START)
    assert {experiment for _, experiment, _ in before} == {"letter"}
    _file(shop).unlink()
    assert running.where(START + DAY) == before
    status, said = running.reload()
    assert (status, "its design is gone" in said) == (400, True)
    assert running.where(START + 2 * DAY) == before
    with pytest.raises(InputError, match="its design is gone"):
        service()
    _file(shop).write_text(text.replace("share = 0.5", "share = 0.4", 1).replace("share = 0.5", "share = 0.6", 1))
    status, said = running.reload()
    assert (status, "was changed after its first decision" in said) == (400, True)
    _file(shop).write_text("key = ")
    assert running.reload()[0] == 400
    assert running.where(START + 3 * DAY) == before


def test_a_service_takes_a_ramp_and_a_stop_over_at_its_reload(shop: Project, service: Callable[..., Service]) -> None:
    running, text = service(), _file(shop).read_text()
    before = running.where(START)
    ramp = f"[[ramp]]\nat = {(START + DAY).isoformat()}\nshares = {{nothing = 0.1, static = 0.9}}\n"
    _file(shop).write_text(text + ramp)
    assert running.reload()[0] == 200
    assert running.where(START + 2 * DAY) == before
    stop = f"stopped = {(START + 3 * DAY).isoformat()}\ncontrol ="
    _file(shop).write_text(text.replace("control =", stop, 1) + ramp)
    assert running.reload()[0] == 200
    assert {experiment for _, experiment, _ in running.where(START + 4 * DAY)} == {"standing"}
    assert running.reload()[0] == 200  # which records the stop that has passed
    _file(shop).unlink()
    assert running.reload()[0] == 200
    assert service(START + 4 * DAY).where(START + 4 * DAY) == running.where(START + 4 * DAY)


def test_a_service_does_not_take_other_features_over(shop: Project, service: Callable[..., Service]) -> None:
    running = service()
    before = running.where(START)
    settings = shop.root / "rapport.toml"
    settings.write_text(settings.read_text().replace("[features]", '[features]\nbrands = ["Acme"]', 1))
    assert load_project(shop.root).features.fingerprint != shop.features.fingerprint
    status, said = running.reload()
    assert (status, "features were changed" in said) == (400, True)
    assert running.where(START + DAY) == before
