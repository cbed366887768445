"""A person's way through a project and out of it again: nothing of them is left, and nothing of others is lost."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from experiments.record import find_look, read_report
from experiments.report import render
from features.errors import InputError
from features.identity import resolve
from features.privacy.traces import Traces
from rapport.cli import app
from rapport.people.erasure import erase, pending
from rapport.project import Project, load_project
from serving import schema
from serving.book import Consent
from serving.erasures import begin, finish, queue_erasure
from serving.ledger import Ledger
from serving.people import LinkedAccounts, agreed

DAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
CUSTOMERS = 240

PROJECT = """
[project]
name = "Shop"
[features]
channels = ["email", "mail", "web"]
[[identity.identifier]]
kind = "email"
[identity]
household = ["street"]
[[source]]
name = "crm"
file = "crm*.csv"
rows = "profile"
attributes = ["name", "email", "phone", "street", "age_group"]
[source.columns]
customer_id = "customer"
occurred_at = "since"
[[source]]
name = "app"
file = "app*.csv"
rows = "profile"
attributes = ["email"]
[source.columns]
customer_id = "account"
occurred_at = "since"
[[source]]
name = "shop"
file = "shop*.csv"
rows = "events"
[source.columns]
event_id = "id"
customer_id = "who"
kind = "kind"
occurred_at = "time"
channel = "channel"
item = "item"
amount = {column = "amount", unit = "cents"}
"""
OFFERS = """
static = ["letter@mail"]
[[offers]]
offer_id = "letter"
title = "A letter"
value_cents = 900
[[offers.treatments]]
channel = "mail"
cost_cents = 60
"""


@dataclass(frozen=True)
class Canary:
    """A customer whom one can find: everything of theirs is unique."""

    number: int

    @property
    def accounts(self) -> tuple[str, str]:
        return (f"crm-canary-{self.number:05}", f"app-canary-{self.number:05}")

    @property
    def marks(self) -> tuple[str, ...]:
        number = f"{self.number:05}"
        return (*self.accounts, f"Canary Q{number}", f"canary.q{number}@", f"+49 171 77{number}", f"4917177{number}")

    @property
    def name(self) -> str:
        return f"Canary Q{self.number:05}"

    def email(self, form: int = 0) -> str:
        """Their address, in one of several spellings."""
        plain = f"canary.q{self.number:05}"
        return (f"{plain}@web.example", f" {plain.upper()}+news@Web.Example", f"<{plain}+x@web.example>")[form]

    def phone(self, form: int = 0) -> str:
        number = f"77{self.number:05}"
        return (f"+49 171 {number}", f"0171/{number}", f"0049 (0)171-{number}")[form]


def write(path: Path, header: str, rows: list[tuple[object, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header.split(","), *rows])


def write_exports(folder: Path, *, canaries: int) -> None:
    """The files of three systems: each canary has two accounts, one e-mail address, and a bad row of their own."""
    rng = np.random.default_rng(5)
    some = [Canary(number) for number in range(canaries)]
    since = "2025-01-01T00:00:00Z"
    own = [
        (each.accounts[0], each.name, each.email(), each.phone(), f"Q Street {each.number}", "A", since)
        for each in some
    ]
    rest = [
        (f"crm-{n}", f"Name {n}", f"n{n}@web.example", f"+49 30 9{n:06}", f"Main Street {n // 2}", "B", since)
        for n in range(CUSTOMERS)
    ]
    write(folder / "crm-1.csv", "customer,name,email,phone,street,age_group,since", own + rest)
    write(folder / "app-1.csv", "account,email,since", [(each.accounts[1], each.email(1), since) for each in some])
    people = [account for each in some for account in each.accounts] + [row[0] for row in rest]
    events = [
        (f"e{place}-{who}", who, kind, f"2026-0{1 + place % 2}-1{place % 9}T10:00:00Z", "web", f"item-{item}", 4900)
        for who in people
        for place, (kind, item) in enumerate([("visit", 1), ("purchase", int(rng.integers(6))), ("purchase", 7)])
    ]
    events += [(f"in-{who}", who, "opt_in", since, "", "", "") for who in people]
    later = [(f"b-{who}", who, "purchase", "2026-03-05T10:00:00Z", "store", "item-2", 4900) for who in people[::3]]
    bad = [
        (f"x{each.number}", each.accounts[0], "call", f"{each.email(2)} rang", "call", each.phone(1), 0)
        for each in some
    ]
    write(folder / "shop-1.csv", "id,who,kind,time,channel,item,amount", events + later + bad[: len(events) // 40])


def build(root: Path, exports: Path, *, canaries: int, design: str) -> Project:
    """A project that took in everything and decided on everybody."""
    (root / "experiments").mkdir(parents=True)
    for name, text in (("rapport", PROJECT), ("offers", OFFERS), ("experiments/letter", design)):
        (root / f"{name}.toml").write_text(text, encoding="utf-8")
    write_exports(exports, canaries=canaries)
    run("ingest", "--project", root, "--data", exports)
    project = load_project(root)
    resolve(project.history, project.identity)
    out = root / "out" / "decided.parquet"
    run("score", "--project", root, "--at", DAY.isoformat(), "--experiment", "letter", "--out", out)
    return project


def run(*arguments: object, code: int = 0) -> str:
    """What a command says; on standard error too."""
    ran = CliRunner().invoke(app, list(map(str, arguments)), standalone_mode=False)
    if ran.exception is not None and not isinstance(ran.exception, InputError):
        raise ran.exception
    assert (2 if ran.exception else 0) == code, (arguments, ran.output, ran.exception)
    return f"{ran.output} {ran.exception or ''}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, letter_design: Callable[..., str]) -> Path:
    """A small project with five canaries, to be copied; its files lie beside it."""
    folder = tmp_path_factory.mktemp("built")
    build(folder / "shop", folder / "exports", canaries=5, design=letter_design())
    return folder


@pytest.fixture
def shop(built: Path, tmp_path: Path) -> Project:
    """A copy of the small project."""
    shutil.copytree(built / "shop", tmp_path / "shop")
    return load_project(tmp_path / "shop")


def everything(root: Path) -> Iterator[tuple[str, bytes]]:
    """All bytes below a folder, as they are and as they were before they were packed."""
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        raw = path.read_bytes()
        yield str(path), raw
        if path.suffix == ".gz":
            yield str(path), gzip.decompress(raw)
        if path.suffix == ".parquet":
            table = pq.read_table(io.BytesIO(raw))
            yield str(path), "\n".join(str(value) for column in table.columns for value in column.to_pylist()).encode()
        if zipfile.is_zipfile(io.BytesIO(raw)):
            with zipfile.ZipFile(io.BytesIO(raw)) as packed:
                for name in packed.namelist():
                    # Text in an array of NumPy has four bytes a letter.
                    yield f"{path}:{name}", packed.read(name).replace(b"\0", b"")


def found(root: Path, canaries: list[Canary]) -> dict[str, list[str]]:
    """The files below ``root`` that name one of the canaries, and by which marks."""
    marks = [mark for each in canaries for mark in each.marks]
    hits: dict[str, list[str]] = {}
    for place, raw in everything(root):
        plain = raw.lower()
        if named := [mark for mark in marks if mark.lower().encode() in plain]:
            hits.setdefault(place, []).extend(named)
    return hits


def rows_of(project: Project, *, but: list[str]) -> dict[str, list[str]]:
    """All facts of the history about others than the accounts ``but``, in order."""
    gone = set(but)
    tables = {"events": project.history.events(), "profile": project.history.profile()}
    return {
        name: sorted(repr(row) for row in table.to_pylist() if row["customer_id"] not in gone)
        for name, table in tables.items()
    }


@pytest.mark.parametrize("canaries", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_nothing_of_the_erased_is_left_and_closed_reports_stay(
    canaries: int,
    tmp_path: Path,
    migrated_store: Path,
    letter_design: Callable[..., str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Promises H1 and D7: intake, decisions, training, report, export, logs; then bytes, packed and unpacked."""
    shutil.copytree(migrated_store, tmp_path / "shop" / "mlruns")
    project = build(tmp_path / "shop", tmp_path / "exports", canaries=canaries, design=letter_design())
    some = [Canary(number) for number in range(canaries)]
    accounts = [account for each in some for account in each.accounts]
    said = run("report", "letter", "--project", project.root, "--out", project.root / "lift.html")
    said += run("train", "offers", "--project", project.root, "--out", project.root / "models" / "offers")
    run("export", some[0].accounts[0], "--project", project.root, "--out", project.root / "mine.json")
    (project.root / "job.log").write_text(f"began\nsent to {some[0].email()} 200\nended\n", encoding="utf-8")
    others = rows_of(project, but=accounts)
    places = {Path(each.partition(":")[0]).relative_to(project.root).parts[0] for each in found(project.root, some)}
    assert places >= {"history", "ledger.db", "quarantine", "models", "mlruns", "out", "mine.json", "job.log"}
    look = find_look(project.tracking, "letter")
    page = render(read_report(project.tracking, look))

    receipt = tmp_path / "receipt.json"
    said += run("erase", *(each.accounts[0] for each in some), "--project", project.root, "--receipt", receipt)
    assert found(project.root, some) == {}
    assert rows_of(project, but=[]) == others
    assert (
        render(read_report(project.tracking, look)) == page == (project.root / "lift.html").read_text(encoding="utf-8")
    )
    assert (project.root / "job.log").read_text(encoding="utf-8") == "began\nended\n"
    assert (project.root / "mine.json").exists() is False
    told = json.loads(receipt.read_text(encoding="utf-8"))
    assert (told["left"], told["sources"], told["accounts"], told["resumed"]) == ([], [], 2 * canaries, False)
    assert told["removed"]["ledger"]["decisions"] == canaries
    personal = [mark for each in some for mark in each.marks[1:]]
    whole = " ".join((said, receipt.read_text(encoding="utf-8"), *capfd.readouterr()))
    assert [mark for mark in personal if mark in whole] == []


def test_the_ledger_alone_is_not_enough(shop: Project) -> None:
    """The test above can see the fault: what an erasure of the decisions alone leaves is found."""
    ledger = Ledger(shop.ledger)
    with ledger.writing() as book:
        book.remove(Canary(0).accounts)
    ledger.checkpoint()
    ledger.close()
    left = {Path(each.partition(":")[0]).relative_to(shop.root).parts[0] for each in found(shop.root, [Canary(0)])}
    assert left == {"history", "out", "quarantine"}


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("step", [pytest.param(n, marks=pytest.mark.slow) if n % 3 else n for n in range(1, 10)])
def test_an_erasure_that_is_interrupted_is_completed(shop: Project, step: int) -> None:
    """Promise A6: whichever step is the last, nobody is contacted after it, and the next run finishes."""
    canary, steps = Canary(1), []

    def fail(place: str) -> None:
        steps.append(place)
        if len(steps) == step:
            raise Killed

    try:
        erase(shop, [canary.accounts[1]], at=DAY, keep=lambda receipt: None, progress=fail)
        assert len(steps) < step
    except Killed:
        assert pending(shop) == (canary.accounts[1],)
    assert set(holds(shop, *canary.accounts)) == {"erased"}
    run("erase", "--pending", "--project", shop.root)
    assert pending(shop) == ()
    assert found(shop.root, [canary]) == {}
    assert len(found(shop.root, [Canary(2)])) > 4


def holds(project: Project, *accounts: str) -> list[str | None]:
    """Why each account is suppressed."""
    with closing(Ledger(project.ledger)) as ledger, ledger.reading() as book:
        told = book.permissions(accounts)
    return [told[each].hold for each in accounts]


def test_a_second_erasure_says_when_and_an_unknown_customer_is_refused(shop: Project) -> None:
    who = Canary(0).accounts[0]
    assert "is erased, as asked on" in run("erase", who, "--project", shop.root)
    assert "nothing of them was found since" in run("erase", who, "--project", shop.root)
    assert "there is no such customer" in run("erase", "crm-nobody", "--project", shop.root, code=2)
    assert "nobody is named" in run("erase", "--project", shop.root, code=2)
    assert f"'{who}', erased on" in run("export", who, "--project", shop.root, "--out", "x.json", code=2)
    assert "No erasure is under way." in run("erase", "--pending", "--project", shop.root)


def test_what_was_asked_of_the_service_is_completed_by_the_next_intake(shop: Project, built: Path) -> None:
    canary = Canary(3)
    asked, other = canary.accounts[1], canary.accounts[0]
    with closing(Ledger(shop.ledger)) as ledger, ledger.writing() as book:
        assert queue_erasure(book, asked, at=DAY)["decisions"] == 1
        assert book.count(schema.decisions, customer_id=asked) == 0
    assert holds(shop, asked, other) == ["erased", None]
    said = run("ingest", "--project", shop.root, "--data", built / "exports")
    assert f"{asked} is erased, as was asked of the service." in said
    assert set(holds(shop, *canary.accounts)) == {"erased"}
    assert found(shop.root, [canary]) == {}


@pytest.mark.parametrize("asked_of_the_service", [False, True])
def test_a_no_that_reached_a_linked_account_outlives_the_link(shop: Project, asked_of_the_service: bool) -> None:
    """A device is shared: the no of one stops both. It stays one when the other is erased, until a later yes."""
    who, other = Canary(0).accounts[0], "crm-7"
    pair = {"account_id": who, "other_id": other, "kind": "person", "because": "device", "probability": 0.6}
    shop.history.append_links(pa.Table.from_pylist([pair | {"occurred_at": DAY, "recorded_at": DAY}]), part="weak")
    resolve(shop.history, shop.identity)
    ledger = Ledger(shop.ledger)

    def said(account: str, channel: str, granted: bool, day: int) -> Consent:
        at = DAY.replace(day=day)
        return Consent(
            customer_id=account, channel=channel, granted=granted, source="customer", occurred_at=at, recorded_at=at
        )

    def may() -> tuple[bool, bool]:
        person = LinkedAccounts(shop.history).persons([other])[other]
        with ledger.reading() as book:
            told = agreed(other, person, book.permissions(person.suppressing))
        return "email:marketing" in told.granted, "mail:marketing" in told.granted

    with ledger.writing() as book:
        book.consent([said(other, each, True, 3) for each in ("email", "mail")] + [said(who, "email", False, 4)])
        assert other not in book.erased([other])
    assert may() == (False, True)
    if asked_of_the_service:
        with ledger.writing() as book:
            queue_erasure(book, who, at=DAY.replace(day=5))
    erase(shop, [who], at=DAY.replace(day=6), keep=lambda receipt: None)
    assert LinkedAccounts(shop.history).persons([other])[other].suppressing == (other,)
    assert may() == (False, True)
    with ledger.writing() as book:
        book.consent([said(other, "email", True, 7)])
    assert may() == (True, True)
    ledger.close()


def test_what_a_killed_process_left_half_written_goes_too(shop: Project) -> None:
    (shop.root / "out" / f".decided.csv.{10**9}.tmp").write_text(f"customer_id\n{Canary(0).accounts[0]}\n", "utf-8")
    (shop.history.folder / "events" / f"part.{10**9}.tmp").write_text(Canary(0).accounts[1], encoding="utf-8")
    run("erase", Canary(0).accounts[0], "--project", shop.root)
    assert found(shop.root, [Canary(0)]) == {}


def test_files_of_sources_are_named_in_the_receipt_and_left_alone(shop: Project, built: Path, tmp_path: Path) -> None:
    shutil.copy(built / "exports" / "crm-1.csv", shop.root / "crm-1.csv")
    run("erase", Canary(0).accounts[0], "--project", shop.root, "--receipt", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["sources"] == ["crm-1.csv"]
    assert Canary(0).name in (shop.root / "crm-1.csv").read_text(encoding="utf-8")


def test_an_erased_person_does_not_come_back(shop: Project, tmp_path: Path) -> None:
    """Promises B6 and H2: old and new accounts, other spellings, late facts; counted, not kept, never contactable."""
    gone, stays = [Canary(number) for number in range(4)], Canary(4)
    run("erase", *(each.accounts[0] for each in gone), "--project", shop.root)
    before = rows_of(shop, but=[])
    again, since = tmp_path / "again", "2026-02-01T00:00:00Z"
    new = [(f"new-{each.number}", "", each.email(1 + each.number % 2), "", "", "A", since) for each in gone]
    new[3] = ("new-3", "", "", gone[3].phone(2), "", "A", since)
    old = [(each.accounts[0].upper(), each.name, "other@web.example", "", "", "A", since) for each in gone]
    known = ("crm-7", "Name 7", "", gone[0].phone(1), "", "B", since)
    nobodys = [("", "", gone[0].email(2), "", "", "A", since), ("", f"call {gone[1].email(1)}", "", "", "", "A", since)]
    write(again / "crm-2.csv", "customer,name,email,phone,street,age_group,since", [*new, *old, known, *nobodys])
    late = [
        (f"late-{who}", who, "purchase", "2026-03-01T10:00:00Z", "store", "item-2", 4900)
        for who in (*(row[0] for row in new), *(account for each in gone for account in each.accounts))
    ]
    fine = (f"late-{stays.number}", stays.accounts[0], "purchase", "2026-03-01T10:00:00Z", "store", "item-2", 4900)
    write(again / "shop-2.csv", "id,who,kind,time,channel,item,amount", [*late, fine])
    write(again / "app-2.csv", "account,email,since", [("app-new", stays.email(), since)])
    told = tmp_path / "told.json"
    said = run("ingest", "--project", shop.root, "--data", again, "--json", told)
    assert "crm-7 came with an erased person's address" in said
    files = {each["source"]: each for each in json.loads(told.read_text(encoding="utf-8"))["files"]}
    assert files["crm"]["reasons"] == {"erased_person": 9 + len(nobodys)}
    assert files["shop"]["reasons"] == {"erased_person": 8 + 4}
    assert set(holds(shop, *(row[0] for row in (*new, *old)), "crm-7")) == {"erased"}
    assert holds(shop, *stays.accounts) == [None, None]
    assert found(shop.root, gone) == {}
    after = rows_of(shop, but=["app-new"])
    assert [row for row in after["events"] if row not in before["events"]] == [
        row for row in after["events"] if f"late-{stays.number}" in row
    ]
    assert after["profile"] == before["profile"]


@pytest.mark.parametrize("people", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_of_many_erased_people_nobody_can_be_contacted_again(
    people: int, tmp_path: Path, agree: Callable[..., None]
) -> None:
    """Promise B6: imported under new accounts with another spelling, and then even said to have agreed.

    Beside them come as many strangers, all of whom can be: the harness would see a contact.
    """
    root = tmp_path / "shop"
    root.mkdir()
    (root / "rapport.toml").write_text(PROJECT.partition('[[source]]\nname = "app"')[0], encoding="utf-8")
    (root / "offers.toml").write_text(OFFERS, encoding="utf-8")
    some, since = [Canary(number) for number in range(people)], "2026-02-01T00:00:00Z"
    ledger = Ledger(root / "ledger.db")
    erased = {
        each.accounts[0]: Traces(accounts=each.accounts, addresses=(("email", each.email()), ("phone", each.phone())))
        for each in some
    }
    with ledger.writing() as book:
        begin(book, erased, at=DAY)
        finish(book, list(erased))
    new = [
        (f"new-{each.number}", "", "", each.phone(1 + each.number % 3 % 2), "", "A", since)
        if each.number % 2
        else (f"new-{each.number}", "", each.email(1 + each.number % 4 // 2), "", "", "A", since)
        for each in some
    ]
    strangers = [(f"other-{n}", "", f"n{n}@web.example", f"+49 30 9{n:06}", "", "B", since) for n in range(people)]
    write(root / "crm-9.csv", "customer,name,email,phone,street,age_group,since", new + strangers)
    run("ingest", "--project", root)
    accounts = [*(row[0] for row in new), *erased]
    others = [row[0] for row in strangers]
    agree(load_project(root), (*accounts, *others), at=DAY)
    everybody = root / "everybody.csv"
    write(everybody, "customer_id", [(each,) for each in (*accounts, *others)])
    out = root / "decided.parquet"
    run("score", "--project", root, "--at", DAY.isoformat(), "--customers", everybody, "--out", out)
    decided = {row["customer_id"]: row["action"] for row in pq.read_table(out).to_pylist()}
    assert len(decided) == 3 * people
    assert {decided[each] for each in accounts} == {"nothing"}
    assert {decided[each] for each in others} == {"letter@mail"}
    with ledger.reading() as book:
        held = book.permissions(accounts)
    assert {each.hold for each in held.values()} == {"erased"}
    ledger.close()


def test_an_export_is_all_of_a_person_and_nothing_of_another(shop: Project, tmp_path: Path) -> None:
    """Promise H3, against facts that are counted here by hand; a household and a shared device link them to others."""
    mine, other = Canary(0), Canary(1)
    shared = {"kind": "household", "because": "address", "probability": 1.0, "occurred_at": DAY, "recorded_at": DAY}
    weak = shared | {"kind": "person", "because": "device", "probability": 0.6}
    pairs = [{"account_id": mine.accounts[0], "other_id": other.accounts[0], **link} for link in (shared, weak)]
    shop.history.append_links(pa.Table.from_pylist(pairs), part="shared")
    resolve(shop.history, shop.identity)
    later = ("--at", "2026-03-20T09:00:00Z", "--experiment", "letter", "--out", tmp_path / "o.csv")
    run("score", "--project", shop.root, *later)
    out = tmp_path / "mine.json"
    said = run("export", mine.accounts[1], "--project", shop.root, "--out", out)
    assert "Links to 2 accounts of others are counted, not shown." in said
    text = out.read_text(encoding="utf-8")
    assert [mark for number in range(1, 5) for mark in Canary(number).marks if mark in text] == []
    assert "n1@web.example" not in text and '"crm-1"' not in text
    told = json.loads(text)
    assert set(told["accounts"]) == set(mine.accounts)
    for name, table in (("events", shop.history.events()), ("profile", shop.history.profile())):
        rows = [row for row in table.to_pylist() if row["customer_id"] in mine.accounts]
        assert sorted(map(str, told[name])) == sorted(str(json.loads(json.dumps(row, default=str))) for row in rows)
        assert len(rows) >= 5
    with closing(Ledger(shop.ledger)) as ledger, ledger.reading() as book:
        for section, table in (("decisions", schema.decisions), ("consents", schema.consents)):
            assert len(told[section]) == sum(book.count(table, customer_id=each) for each in mine.accounts) > 0
        slots = sum(book.count(schema.slots, customer_id=each) for each in mine.accounts)
    assert len(told["contacts"]) == slots
    assert {row["quarantine_id"][:5] for row in told["quarantined"]} == {"shop-"}
    assert len(told["links"]) == 1
    assert told["decisions"][0]["features"]["purchases_365d"] == 4
