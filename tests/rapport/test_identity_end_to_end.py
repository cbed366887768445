"""A shop whose systems know one customer in ten twice: intake tells who is one person, and a no of one stops both."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from experiments.market import Market, MarketSpec, write_exports
from rapport.init import create_project
from rapport.project import Project, load_project
from serving.book import Consent
from serving.ledger import Ledger

IDENTITY = """
[identity]
country = "49"
household = ["household_id"]
people = {given_name = "given_name", surname = "family_name", email = "email", phone = "phone", postcode = "postcode"}

[[identity.identifier]]
kind = "email"

[[identity.identifier]]
kind = "phone"
"""
NAMES = ("given_name", "family_name", "email", "phone", "postcode")
LATER = datetime(2030, 2, 1, 12, tzinfo=UTC)  # after links by likeness, which are known from the day of the run on
Pairs = set[tuple[str, str]]


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    write_exports(Market(MarketSpec(customers=300, identity_noise=0.15, seed=1)), tmp_path / "exports", weeks=2)
    return tmp_path / "exports"


@pytest.fixture
def shop(exports: Path, tmp_path: Path) -> Project:
    create_project(tmp_path / "shop", name="Shop")
    settings = tmp_path / "shop" / "rapport.toml"
    sources = (exports / "sources.toml").read_text(encoding="utf-8")
    more = "".join(f'{name} = "{name}"\n' for name in NAMES)
    sources = sources.replace('tenure = "tenure"\n', f'tenure = "tenure"\n{more}')
    settings.write_text(settings.read_text(encoding="utf-8") + sources + IDENTITY, encoding="utf-8")
    return load_project(tmp_path / "shop")


def pairs(groups: dict[Any, list[str]]) -> Pairs:
    return {(one, other) for group in groups.values() for one, other in combinations(sorted(group), 2)}


def together(rows: list[dict[str, Any]], *columns: str, account: str) -> Pairs:
    """The pairs of rows that agree in all of ``columns``."""
    groups: dict[Any, list[str]] = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in columns)].append(row[account])
    return pairs(groups)


def linked(shop: Project, strength: str) -> Pairs:
    now = [row for row in shop.history.members().to_pylist() if row["until"] is None and row["strength"] == strength]
    return together(now, "customer_id", account="account_id")


def quality(found: Pairs, truth: Pairs) -> tuple[float, float]:
    """``(precision, recall)`` of pairs."""
    right = len(found & truth)
    return right / max(len(found), 1), right / len(truth)


def ran(cli: Any, *arguments: object) -> str:
    done = cli(*arguments)
    assert done.exit_code == 0, done.stderr
    return " ".join(done.stdout.split())


def test_intake_links_who_is_one_person_and_a_no_under_either_id_stops_both(
    shop: Project, exports: Path, rapport_cli: Any, tmp_path: Path
) -> None:
    crm = csv.read_csv(exports / "crm.csv").to_pylist()
    truth = together(csv.read_csv(exports / "identities.csv").to_pylist(), "customer_id", account="record_id")
    ran(rapport_cli, "ingest", "--project", shop.root, "--data", exports)
    # By identifiers alone nobody is taken for another; half of the second records have no e-mail address to go by.
    precision, recall = quality(linked(shop, "personalize"), truth)
    assert precision == 1
    assert 0.3 < recall < 0.7
    ran(rapport_cli, "identity", "resolve", "--alike", "--project", shop.root)
    precision, recall = quality(linked(shop, "personalize"), truth)
    assert precision > 0.9
    assert recall > 0.9
    # Weak links reach families by their phone: a mistake there costs a contact, and misses nobody.
    precision, recall = quality(linked(shop, "suppress"), truth)
    assert precision < 0.7
    assert recall > 0.9
    # The naive twins: names alone find nobody, as second records have a slip in them; a phone makes one of a family.
    assert quality(together(crm, "given_name", "family_name", account="customer_no"), truth)[1] < 0.1
    families = together([row for row in crm if row["phone"]], "phone", account="customer_no")
    assert quality(families, truth)[0] < 0.7
    a_no_reaches_the_other_id(shop, crm, truth, rapport_cli, tmp_path)


def a_no_reaches_the_other_id(shop: Project, crm: list[dict[str, Any]], truth: Pairs, cli: Any, scratch: Path) -> None:
    """One whose second record has an e-mail address, and one who is only alike: both say no under the second id."""
    email = {row["customer_no"]: row["email"] for row in crm}
    sure = truth & linked(shop, "personalize")
    told = next(pair for pair in sorted(sure) if email[pair[1]])
    alike = next(pair for pair in sorted(sure) if not email[pair[1]])
    silent = next(pair for pair in sorted(sure - {told, alike}) if email[pair[1]])
    before = {"occurred_at": LATER - timedelta(days=3), "recorded_at": LATER - timedelta(days=3)}
    ledger = Ledger(shop.ledger)
    with ledger.writing() as book:
        for known, second in (told, alike, silent):
            yes = Consent(customer_id=known, channel="all", source="customer", granted=True, **before)
            no = Consent(
                customer_id=second, channel="all", source="customer", granted=False, contact_class="all", **before
            )
            book.consent([yes] if (known, second) == silent else [yes, no])
    ledger.close()
    asked, out = scratch / "asked.csv", scratch / "decisions.parquet"
    asked.write_text("\n".join(["customer_id", told[0], alike[0], silent[0]]), encoding="utf-8")
    ran(cli, "score", "--project", shop.root, "--customers", asked, "--at", LATER.isoformat(), "--out", out,
        "--experiment", "always-on")  # fmt: skip
    decided = {row["customer_id"]: row for row in pq.read_table(out).to_pylist()}
    for known, second in (told, alike):
        assert decided[known]["action"] == "nothing"
        why = ran(cli, "explain", decided[known]["decision_id"], "--project", shop.root)
        assert second in why
        assert "said so" in why
    assert "said so" not in ran(cli, "explain", decided[silent[0]]["decision_id"], "--project", shop.root)
