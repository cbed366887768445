"""Erased people who come in again through an intake that was killed, or that ran beside their erasure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rapport.init import create_project
from rapport.project import Project, load_project
from rapport.turn import turn
from serving.ledger import Ledger

SOURCES = """
[project]
name = "Shop"

[[source]]
name = "events"
file = "events*.csv"
rows = "events"
[source.columns]
customer_id = "id"
kind = "kind"
channel = "channel"
occurred_at = "at"

[[source]]
name = "crm"
file = "crm*.csv"
rows = "profile"
attributes = ["email"]
[source.columns]
customer_id = "id"
occurred_at = "at"
"""

CONSENTS = """
[[source]]
name = "consents"
file = "consents.csv"
rows = "consents"
[source.columns]
customer_id = "id"
channel = "channel"
granted = {constant = "yes"}
said_by = {constant = "customer"}
occurred_at = "at"
"""


@pytest.fixture
def shop(tmp_path: Path, rapport_cli: Callable[..., Any]) -> Path:
    """A shop in which Anna was erased, and then a web account of hers is about to come in."""
    folder = tmp_path / "shop"
    create_project(folder, name="Shop")
    (folder / "rapport.toml").write_text(SOURCES, encoding="utf-8")
    (folder / "crm.csv").write_text("id,at,email\nanna,2026-01-01,anna@x.example\nben,2026-01-01,b@x.example\n")
    (folder / "events.csv").write_text("id,kind,channel,at\nben,visit,web,2026-01-01\n")
    assert rapport_cli("ingest", "--project", folder).exit_code == 0
    assert rapport_cli("erase", "anna", "--project", folder).exit_code == 0
    (folder / "events2.csv").write_text("id,kind,channel,at\nweb9,opt_in,email,2026-03-01\n")
    (folder / "crm2.csv").write_text("id,at,email\nweb9,2026-03-01,Anna@x.example\n")
    return folder


def permitted(project: Project, account: str) -> bool:
    ledger = Ledger(project.ledger)
    with ledger.reading() as book:
        found = book.permissions([account])[account]
    ledger.close()
    return bool(found.granted) and found.hold is None


def test_an_intake_that_was_killed_lets_nobody_come_back(
    shop: Path, rapport_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("rapport.people.returning.Gate.close", killed)
        patched.setattr("rapport.commands.ingest._sent", killed)
        with pytest.raises(Killed):
            _ingest(shop)
    assert len(load_project(shop).history.customer("web9").events) == 1  # taken in, and nothing was made good yet
    assert rapport_cli("ingest", "--project", shop).exit_code == 0
    project = load_project(shop)
    assert not permitted(project, "web9")
    assert project.history.customer("web9").events == ()
    assert project.history.customer("ben").events != ()


def test_a_no_is_heard_though_identity_cant_be_told(
    shop: Path, rapport_cli: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (shop / "events3.csv").write_text(
        "id,kind,channel,at\nben,opt_in,email,2026-03-01\nben,opt_out,email,2026-03-02\n", encoding="utf-8"
    )
    with monkeypatch.context() as patched:
        patched.setattr("rapport.commands.ingest._linked", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            _ingest(shop)
    ledger = Ledger(shop / "ledger.db")
    with ledger.reading() as book:
        assert "email:marketing" in book.permissions(["ben"])["ben"].refused
    ledger.close()


def test_a_yes_to_a_channel_of_another_name_is_told(shop: Path, rapport_cli: Callable[..., Any]) -> None:
    (shop / "offers.toml").write_text(
        'static = ["hat@email"]\n[[offers]]\noffer_id = "hat"\ntitle = "Hat"\ncategory = "hats"\nvalue_cents = 100\n'
        '[[offers.treatments]]\nchannel = "email"\n',
        encoding="utf-8",
    )
    with (shop / "rapport.toml").open("a", encoding="utf-8") as settings:
        settings.write(CONSENTS)
    (shop / "consents.csv").write_text("id,channel,at\nben,E-Mail,2026-01-01\nben,EMAIL,2026-01-01\n", encoding="utf-8")
    told = " ".join(rapport_cli("ingest", "--project", shop).stdout.split())
    assert "channels that no treatment uses: 'e-mail'. Such a yes permits nothing" in told
    assert permitted(load_project(shop), "ben")


def test_an_erasure_waits_for_its_turn(shop: Path) -> None:
    import threading

    project, ended = load_project(shop), threading.Event()

    def other() -> None:
        with turn(project):
            ended.set()

    with turn(project):
        waiting = threading.Thread(target=other)
        waiting.start()
        assert not ended.wait(0.3)
    assert ended.wait(30)
    waiting.join()


def _ingest(folder: Path) -> None:
    from rapport.commands.ingest import ingest

    ingest(project=folder)
