"""Facts become links, and links persons: guarded, whatever the order of arrival, and a no holds."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features import History, InputError
from features.facts import MEMBERS, PROFILE
from features.identity import Identifier, IdentityRules, People, believe, merge, resolve, split

START = datetime(2024, 1, 1, tzinfo=UTC)
RULES = IdentityRules(
    identifier=(
        Identifier(kind="login", namespace="login"),
        Identifier(kind="email", limit=3),
        Identifier(kind="phone", limit=3),
        Identifier(kind="device"),
    ),
    household=("address", "family_name"),
    household_limit=3,
    crowd=5,
    country="49",
)


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def told(account: str, attribute: str, value: str | None, occurred: int, recorded: int = 0) -> dict:
    return {
        "customer_id": account, "attribute": attribute, "value": value,
        "occurred_at": hour(occurred), "recorded_at": hour(max(occurred, recorded)),
    }  # fmt: skip


def tell(history: History, *rows: dict) -> None:
    history.append_profile(pa.Table.from_pylist(list(rows), schema=PROFILE), part="told")


def persons(history: History, *accounts: str):
    return People(history).persons(accounts)


def own(history: History, account: str) -> tuple[str, ...]:
    return persons(history, account)[account].own


def members(history: History) -> list[dict]:
    rows = history.members().sort_by([(name, "ascending") for name in MEMBERS.names])
    return rows.to_pylist()


def now(history: History) -> set[tuple[str, str, str]]:
    return {(row["strength"], row["account_id"], row["customer_id"]) for row in members(history) if not row["until"]}


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "history")


def test_without_identifiers_or_links_nothing_is_written(history: History) -> None:
    tell(history, told("a", "email", "a@x.example", 1), told("b", "email", "a@x.example", 1))
    assert resolve(history, IdentityRules()).accounts == 0
    assert {each.name for each in history.folder.iterdir() if each.is_dir()} == {"profile"}


def test_one_email_however_written_is_one_person_from_the_moment_that_both_were_known(history: History) -> None:
    tell(history, told("crm-1", "email", "Anna.Lee+s@GMAIL.com", 1), told("web-2", "email", "annalee@gmail.com", 3, 5))
    assert resolve(history, RULES).links == 1
    assert own(history, "web-2") == ("crm-1", "web-2")
    assert history.accounts("web-2", as_of=hour(5)) == ("web-2",)
    assert history.accounts("web-2", as_of=hour(5) + timedelta(microseconds=1)) == ("crm-1", "web-2")
    assert {fact.value for fact in history.customer("crm-1").profile} == {
        "Anna.Lee+s@GMAIL.com",
        "annalee@gmail.com",
    }
    assert len(history.customer("crm-1", as_of=hour(4)).profile) == 1
    assert resolve(history, RULES).links == 0


def test_a_medium_link_counts_contacts_and_does_not_share_behaviour(history: History) -> None:
    tell(history, told("a", "phone", "0170 123 45 67", 1), told("b", "phone", "+49 (0)170 1234567", 2))
    resolve(history, RULES)
    person = persons(history, "a")["a"]
    assert (person.own, person.counted, person.suppressing) == (("a",), ("a", "b"), ("a", "b"))


@pytest.mark.parametrize("value", ["none", "test@test.com", "noreply@shop.example", "n/a", "anna", ""])
def test_what_is_no_address_links_nobody(history: History, value: str) -> None:
    tell(history, told("a", "email", value, 1), told("b", "email", value, 2))
    assert resolve(history, RULES).links == 0


@pytest.mark.parametrize("value", ["0000000", "+49 0000 000000", "123456", "unknown", "12"])
def test_what_is_no_number_links_nobody(history: History, value: str) -> None:
    tell(history, told("a", "phone", value, 1), told("b", "phone", value, 2))
    assert resolve(history, RULES).links == 0


def test_a_house_email_is_enough_for_a_no_and_not_to_personalize_once_too_many_have_it(history: History) -> None:
    for place, name in enumerate("abc"):
        tell(history, told(name, "email", "family@x.example", place))
        resolve(history, RULES)
    assert own(history, "a") == ("a", "b", "c")
    tell(history, told("d", "email", "family@x.example", 9))
    resolve(history, RULES)
    person = persons(history, "a")["a"]
    assert (person.own, person.counted, person.suppressing) == (("a",), ("a",), ("a", "b", "c", "d"))
    assert history.accounts("a", as_of=hour(9)) == ("a", "b", "c")  # as it was known then
    tell(history, told("e", "email", "family@x.example", 10), told("f", "email", "family@x.example", 11))
    resolve(history, RULES)
    assert persons(history, "a")["a"].suppressing == ("a",)  # a crowd: it says nothing about anybody


def naive(rows: list[dict]) -> list[set[str]]:
    """What any two accounts with a common value makes one person: plain connected components over all identifiers."""
    holders = defaultdict(set)
    for row in rows:
        holders[row["attribute"], row["value"]].add(row["customer_id"])
    groups: list[set[str]] = []
    for holding in holders.values():
        near = [group for group in groups if group & holding]
        groups = [group for group in groups if not group & holding] + [set.union(holding, *near)]
    return groups


def test_two_people_on_one_device_stay_two_and_the_naive_twin_makes_them_one(history: History) -> None:
    rows = [
        told("tablet", "login", "anna", 1), told("login:anna", "email", "anna@x.example", 0),
        told("tablet", "login", "ben", 5), told("login:ben", "email", "ben@x.example", 0),
        told("phone-a", "login", "anna", 2), told("phone-b", "login", "ben", 2),
        told("phone-a", "device", "d1", 2), told("phone-b", "device", "d1", 2), told("cookie", "device", "d1", 3),
    ]  # fmt: skip
    tell(history, *rows)
    resolve(history, RULES)
    assert own(history, "login:anna") == ("login:anna", "phone-a")
    assert own(history, "login:ben") == ("login:ben", "phone-b")
    assert own(history, "tablet") == ("tablet",)  # whose it is, nobody knows
    assert own(history, "cookie") == ("cookie",)
    assert "tablet" in persons(history, "login:ben")["login:ben"].suppressing
    assert history.accounts("tablet", as_of=hour(5)) == ("login:anna", "phone-a", "tablet")
    (twin,) = naive([*rows, told("login:anna", "login", "anna", 0), told("login:ben", "login", "ben", 0)])
    assert {"login:anna", "login:ben"} <= twin


def test_a_chain_of_shared_values_does_not_join_two_logins(history: History) -> None:
    tell(
        history,
        told("login:anna", "email", "one@x.example", 1), told("crm-3", "email", "one@x.example", 1),
        told("crm-3", "email", "two@x.example", 2), told("login:ben", "email", "two@x.example", 2),
    )  # fmt: skip
    resolve(history, RULES)
    assert own(history, "login:anna") == ("crm-3", "login:anna")
    assert own(history, "login:ben") == ("login:ben",)
    assert persons(history, "login:ben")["login:ben"].suppressing == ("crm-3", "login:anna", "login:ben")


def test_a_household_is_where_address_and_name_agree_now_and_no_person(history: History) -> None:
    tell(
        history,
        told("a", "address", "Hauptstraße 5", 1), told("a", "family_name", "Müller", 1),
        told("b", "address", "Hauptstrasse 5", 2), told("b", "family_name", "MÜLLER ", 2),
        told("c", "address", "Hauptstr. 5", 2), told("c", "family_name", "Meier", 2),
    )  # fmt: skip
    resolve(history, RULES)
    found = persons(history, "a", "b", "c")
    assert [found[each].household_id for each in "abc"] == ["a", "a", None]
    assert found["a"].own == ("a",)
    tell(history, told("b", "address", "Seeweg 1", 7))
    resolve(history, RULES)
    assert persons(history, "a")["a"].household_id is None
    now_and_then = [(row["account_id"], row["until"]) for row in members(history) if row["strength"] == "household"]
    assert now_and_then == [("a", hour(7)), ("b", hour(7))]


def test_a_declared_household_is_one_too(history: History) -> None:
    rules = IdentityRules(household=("household_id",))
    tell(history, *(told(name, "household_id", "H-7", 1) for name in "ab"), told("c", "household_id", "H-8", 1))
    resolve(history, rules)
    assert [persons(history, each)[each].household_id for each in "abc"] == ["a", "a", None]


def test_merge_and_split_are_exact_inverses_and_a_second_split_keeps_apart(history: History) -> None:
    tell(
        history,
        told("a", "email", "a@x.example", 1),
        told("b", "email", "a@x.example", 2),
        told("c", "phone", "0170", 1),
    )
    resolve(history, RULES)
    before, person = now(history), persons(history, "a", "b", "c")
    merge(history, "c", "b", by="ann of service", rules=RULES, at=hour(5))
    assert own(history, "a") == ("a", "b", "c")
    assert persons(history, "c")["c"].customer_id == person["a"].customer_id
    assert split(history, "b", "c", by="ann of service", rules=RULES, at=hour(6))
    assert (now(history), persons(history, "a", "b", "c")) == (before, person)
    assert history.accounts("c", as_of=hour(6)) == ("a", "b", "c")
    assert split(history, "a", "b", by="bob", rules=RULES, at=hour(7))  # no merge to take back: they are kept apart
    assert own(history, "a") == ("a",)
    resolve(history, RULES)
    tell(history, told("a", "email", "a2@x.example", 8), told("b", "email", "a2@x.example", 8))
    resolve(history, RULES)
    assert own(history, "a") == ("a",)
    agents = [row["source"] for row in history.links().to_pylist() if row["because"] == "agent"]
    assert sorted(agents) == ["ann of service", "ann of service", "bob"]


def test_a_model_that_runs_again_replaces_what_it_said(history: History) -> None:
    def pairs(*rows: tuple[str, str, float]) -> pa.Table:
        return pa.table(dict(zip(("account_id", "other_id", "probability"), zip(*rows, strict=True), strict=True)))

    assert believe(history, pairs(("b", "a", 0.97), ("c", "a", 0.6)), rules=RULES, at=hour(1)).links == 2
    assert persons(history, "a")["a"][2:] == (("a", "b"), ("a", "b"), ("a", "b", "c"))
    assert believe(history, pairs(("a", "b", 0.97)), rules=RULES, at=hour(2)).links == 0
    believe(history, pairs(("a", "b", 0.85), ("a", "c", 0.0)), rules=RULES, at=hour(3))
    assert persons(history, "a")["a"][2:] == (("a",), ("a", "b"), ("a", "b"))
    with pytest.raises(InputError, match="from 0 to 1"):
        believe(history, pairs(("a", "b", 1.5)), rules=RULES)
    with pytest.raises(InputError, match="unknown column 'probability'"):
        believe(history, pa.table({"account_id": ["a"], "other_id": ["b"]}), rules=RULES)


def test_other_rules_make_everything_again(history: History) -> None:
    tell(history, *(told(name, "email", "we@x.example", place) for place, name in enumerate("abcd")))
    resolve(history, RULES)
    assert own(history, "a") == ("a",)
    wider = IdentityRules(identifier=(Identifier(kind="email", limit=4),))
    resolve(history, wider)
    assert own(history, "a") == ("a", "b", "c", "d")
    resolve(history, IdentityRules(identifier=(Identifier(kind="phone"),)))
    assert own(history, "a") == ("a",)
    resolve(history, wider)
    assert own(history, "a") == ("a", "b", "c", "d")


def test_groups_are_made_again_when_parts_of_the_history_were_rewritten(history: History) -> None:
    tell(history, *(told(name, "email", "we@x.example", 1) for name in "ab"))
    resolve(history, RULES)
    for part in history.parts("links"):
        part.unlink()
    for part in history.parts("profile"):
        part.unlink()
    tell(history, told("b", "email", "other@x.example", 1))
    resolve(history, RULES)
    assert members(history) == []


#: Shrinking a failure of a test that writes files takes minutes.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

# B7: whatever arrives in whatever order, as late and as often as it likes.

NAMES = ("login:anna", "login:ben", "crm-1", "crm-2", "web-3", "web-4", "web-5")
VALUES = {
    "login": ("anna", "ben"),
    "email": ("a@x.example", "b@x.example", "c@x.example"),
    "phone": ("0170 1234567", "0171 7654321"),
    "device": ("d1", "d2"),
    "address": ("High Street 1", "Low Road 2", None),
    "family_name": ("Lee", "Kim"),
}
fact = st.sampled_from(sorted(VALUES)).flatmap(
    lambda attribute: st.builds(
        told, st.sampled_from(NAMES), st.just(attribute), st.sampled_from(VALUES[attribute]),
        st.integers(0, 9), st.sampled_from([0, 0, 12]),
    )
)  # fmt: skip
word = st.tuples(
    st.sampled_from(["merge", "split"]), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 20)
).filter(lambda each: each[1] != each[2])
batch = st.one_of(st.lists(fact, min_size=1, max_size=6), word)


def deliver(history: History, batches, *, each: bool) -> None:
    for rows in batches:
        if isinstance(rows, list):
            tell(history, *rows)
        else:
            say = merge if rows[0] == "merge" else split
            say(history, rows[1], rows[2], by="agent", rules=RULES, at=hour(rows[3]))
        if each:
            resolve(history, RULES)
    resolve(history, RULES)


arrivals = given(batches=st.lists(batch, min_size=1, max_size=5), order=st.randoms(use_true_random=False))
sequences = given(batches=st.lists(batch, min_size=1, max_size=6), refused=st.sampled_from(NAMES))


def tries(number: int) -> settings:
    return settings(max_examples=number, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)


@tries(5)
@arrivals
def test_step_by_step_in_any_order_is_what_a_rebuild_gives(tmp_path_factory, batches, order) -> None:
    check_arrivals(tmp_path_factory, batches, order)


@pytest.mark.slow
@tries(100)
@arrivals
def test_step_by_step_in_any_order_at_length(tmp_path_factory, batches, order) -> None:
    check_arrivals(tmp_path_factory, batches, order)


def check_arrivals(tmp_path_factory, batches, order) -> None:
    slow, once = (History(tmp_path_factory.mktemp("history")) for _ in range(2))
    deliver(slow, batches, each=True)
    mixed = [*batches, *batches]
    order.shuffle(mixed)
    deliver(once, mixed, each=False)
    assert now(slow) == now(once)
    said = members(slow)
    for part in slow.parts("members"):
        part.unlink()
    assert resolve(slow, RULES).links == 0
    assert members(slow) == said


@tries(8)
@sequences
def test_a_no_stops_every_account_of_the_weak_group_and_only_strong_ones_share(
    tmp_path_factory, batches, refused
) -> None:
    check_groups(tmp_path_factory, batches, refused)


@pytest.mark.slow
@tries(150)
@sequences
def test_a_no_stops_every_account_of_the_weak_group_at_length(tmp_path_factory, batches, refused) -> None:
    check_groups(tmp_path_factory, batches, refused)


def check_groups(tmp_path_factory, batches, refused) -> None:
    history = History(tmp_path_factory.mktemp("history"))
    deliver(history, batches, each=True)
    links = latest(history.links())
    found = persons(history, *NAMES)
    for (one, other), probability in links.items():
        if probability >= RULES.suppress:  # any weak link is enough, in both directions
            assert other in found[one].suppressing
            assert one in found[other].suppressing
    for name, person in found.items():
        assert set(person.own) <= set(person.counted) <= set(person.suppressing)
        assert (refused in person.suppressing) == (name in found[refused].suppressing)
        sworn = any(rows[0] == "merge" for rows in batches if isinstance(rows, tuple))
        if not sworn:
            assert len({"login:anna", "login:ben"} & set(person.own)) <= 1
        reached = {name}
        while (
            more := {a for pair, p in links.items() if p >= RULES.personalize and reached & {*pair} for a in pair}
            - reached
        ):
            reached |= more
        assert set(person.own) <= reached


def latest(links: pa.Table) -> dict[tuple[str, str], float]:
    """The worth of each pair now; nothing where an agent's last word, with no merge to take back, keeps it apart."""
    facts = defaultdict(list)
    for row in links.to_pylist():
        if row["kind"] == "person":
            key = (row["account_id"], row["other_id"], row["because"])
            facts[key].append((row["recorded_at"], -row["probability"]))
    worth: dict[tuple[str, str], float] = {}
    apart = set()
    for (one, other, because), told in facts.items():
        last = [-each[1] for each in sorted(set(told))]
        worth[one, other] = max(worth.get((one, other), 0.0), last[-1])
        if because == "agent" and last[-1] == 0 and any(a == b == 0 for a, b in zip([0.0, *last], last, strict=False)):
            apart.add((one, other))
    return {pair: probability for pair, probability in worth.items() if pair not in apart}


def test_a_file_of_the_cache_that_was_cut_short_is_made_again(tmp_path: Path) -> None:
    history = History(tmp_path)
    day = datetime(2024, 5, 1, tzinfo=UTC)
    told = {"attribute": "email", "value": "anna@x.example", "occurred_at": day, "recorded_at": day}
    history.append_profile(pa.Table.from_pylist([{"customer_id": "a", **told}]), part="one")
    rules = IdentityRules(identifier=(Identifier(kind="email"),))
    resolve(history, rules)
    (cached,) = tmp_path.glob("identifiers/*/*.parquet")
    cached.write_bytes(b"")
    history.append_profile(pa.Table.from_pylist([{"customer_id": "b", **told}]), part="two")
    resolve(history, rules)
    assert history.accounts("b") == ("a", "b")
