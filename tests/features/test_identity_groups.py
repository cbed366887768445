"""Groups are what a replay by hand gives, whatever the order of the facts; a merge and a split are exact inverses."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.facts import LINKS, MEMBERS
from features.identity import IdentityRules
from features.identity.groups import Link, Mark, groups_of
from features.identity.replay import MARKS, memberships

START = datetime(2024, 1, 1, tzinfo=UTC)
RULES = IdentityRules()
LEAST = {"suppress": 0.5, "count": 0.8, "personalize": 0.95}


def hour(number: int) -> datetime:
    return START + timedelta(hours=number)


def link(one: str, other: str, probability: float, occurred: int, recorded: int = 0, *, because="email", kind="person"):
    one, other = sorted((one, other))
    return {
        "account_id": one, "other_id": other, "kind": kind, "because": because, "probability": probability,
        "occurred_at": hour(occurred), "recorded_at": hour(max(occurred, recorded)), "source": "test",
    }  # fmt: skip


def made(rows, marks=()) -> pa.Table:
    table = pa.Table.from_pylist([dict(zip(MARKS.names, each, strict=True)) for each in marks], schema=MARKS)
    return memberships(pa.Table.from_pylist(list(rows), schema=LINKS), RULES, marks=table)


def known(members: pa.Table, at: datetime | None = None) -> dict[tuple[str, str], str]:
    """Who belongs to which group: as known now, or as a question as of ``at`` sees it."""
    found = {}
    for row in members.to_pylist():
        if row["until"] is None if at is None else row["since"] < at and (row["until"] is None or at <= row["until"]):
            place = (row["strength"], row["account_id"])
            assert place not in found, "two groups at once"
            found[place] = row["customer_id"]
    return found


def groups(members: pa.Table, strength: str, at: datetime | None = None) -> list[list[str]]:
    found = defaultdict(list)
    for (name, account), group in known(members, at).items():
        if name == strength:
            found[group].append(account)
    return sorted(sorted(each) for each in found.values())


# The oracle: what a person with a pencil would do at one moment.


def in_force(rows, at: datetime):
    """``(links, apart)`` as known strictly before ``at``: ``{(one, other, kind): (probability, since, sworn)}``."""
    facts = defaultdict(list)
    for row in rows:
        told = max(row["occurred_at"], row["recorded_at"])
        if told < at:
            key = (row["account_id"], row["other_id"], row["kind"], row["because"])
            facts[key].append((told, row["occurred_at"], -row["probability"]))
    links, apart = defaultdict(lambda: (0.0, None, False)), set()
    for (one, other, kind, because), told in facts.items():
        latest, since, before, parted = None, None, 0.0, False
        said = set()
        for when, occurred, negative in sorted(told):
            if (occurred, negative) in said or (latest is not None and occurred < latest):
                said.add((occurred, negative))
                continue
            said.add((occurred, negative))
            parted |= because == "agent" and negative == 0 and before == 0
            latest, before = occurred, -negative
            if before > 0 and since is None:
                since = when
        if before > 0:
            best, first, sworn = links[one, other, kind]
            links[one, other, kind] = (
                max(best, before), since if first is None else min(first, since), sworn or because == "agent",
            )  # fmt: skip
        elif parted:
            apart.add((one, other, kind))
    for each in apart:
        links.pop(each, None)
    return links, {(one, other) for one, other, kind in apart if kind == "person"}


def reach(accounts, edges):
    group = {each: {each} for each in accounts}
    for one, other in edges:
        joined = group[one] | group[other]
        for each in joined:
            group[each] = joined
    return group


def by_hand(rows, marks, at: datetime):
    links, apart = in_force(rows, at)
    accounts = {row[side] for row in rows for side in ("account_id", "other_id")}
    person = {(one, other): told for (one, other, kind), told in links.items() if kind == "person"}
    home = {(one, other): told for (one, other, kind), told in links.items() if kind == "household" and told[0] >= 0.8}
    held = [(account, kind, value) for account, kind, value, since in marks if since < at]
    first = {}
    for told in (each for each in person.items() if each[1][0] >= 0.5):
        for account in told[0]:
            first[account] = min(first.get(account, told[1][1]), told[1][1])
    answer = {}

    def name(strength, group, first):
        unique = {id(each): each for each in group.values() if len(each) > 1}
        for each in unique.values():
            chosen = min(each, key=lambda account: (first.get(account, datetime.max.replace(tzinfo=UTC)), account))
            answer.update({(strength, account): chosen for account in each})

    for strength, least in LEAST.items():
        strong = {pair: told for pair, told in person.items() if told[0] >= least}
        if strength != "personalize":
            name(strength, reach(accounts, strong), first)
            continue
        group = {each: {each} for each in accounts}
        for (one, other), told in sorted(strong.items(), key=lambda e: (not e[1][2], -e[1][0], e[1][1], e[0])):
            mine, theirs = group[one], group[other]
            if mine is theirs or any({a, b} <= mine | theirs for a, b in apart):
                continue
            if not told[2] and not agree(mine, theirs, held):
                continue
            joined = mine | theirs
            for each in joined:
                group[each] = joined
        name(strength, group, first)
        together = reach(accounts, [*home, *((a, b) for each in group.values() for a in each for b in each)])
        for (one, other), told in home.items():
            for account in (one, other):
                first[account] = min(first.get(account, told[1]), told[1])
        homes = {key: each for key, each in together.items() if any(set(pair) & each for pair in home)}
        name("household", homes, first)
    return answer


def agree(mine, theirs, held) -> bool:
    for kind in {each[1] for each in held}:
        one = {value for account, k, value in held if k == kind and account in mine}
        other = {value for account, k, value in held if k == kind and account in theirs}
        if one and other and not (one <= other or other <= one):
            return False
    return True


accounts = st.sampled_from("abcdefg")
facts = st.builds(
    lambda pair, p, occurred, late, because, kind: link(
        *pair, (1.0 if p > 0.5 else 0.0) if because == "agent" else p, occurred, occurred + late,
        because="household" if kind == "household" and because == "email" else because, kind=kind,
    ),
    st.tuples(accounts, accounts).filter(lambda pair: pair[0] != pair[1]),
    st.sampled_from([0.0, 0.3, 0.6, 0.9, 0.96, 0.99, 1.0]),
    st.integers(0, 8),
    st.sampled_from([0, 0, 0, 3]),
    st.sampled_from(["email", "email", "model", "agent"]),
    st.sampled_from(["person", "person", "person", "household"]),
)  # fmt: skip
marks = st.lists(
    st.builds(
        lambda account, value, since: (account, "login", value, hour(since)),
        accounts, st.sampled_from("xy"), st.integers(0, 8),
    ),
    max_size=4,
    unique_by=lambda each: each[:3],
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(facts, min_size=1, max_size=14), held=marks)
def test_at_every_moment_the_groups_are_those_made_by_hand(rows, held) -> None:
    members = made(rows, held)
    assert members.schema == MEMBERS
    for number in range(14):
        at = hour(number) + timedelta(microseconds=1)
        assert known(members, at) == by_hand(rows, held, at)
        assert known(members, hour(number)) == by_hand(rows, held, hour(number))
    assert known(members) == by_hand(rows, held, hour(99))


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(facts, min_size=1, max_size=14), held=marks, seed=st.integers(0, 99))
def test_order_and_repeated_delivery_of_facts_do_not_matter(rows, held, seed) -> None:
    again = [{**row, "recorded_at": row["recorded_at"] + timedelta(hours=50)} for row in rows[::3]]
    mixed = [*rows, *rows[::2]]
    random.Random(seed).shuffle(mixed)
    ordered = [
        pa.Table.sort_by(made(each, held), [(name, "ascending") for name in MEMBERS.names]) for each in (rows, mixed)
    ]
    assert ordered[0].equals(ordered[1])
    assert known(made([*rows, *again], held), hour(40)) == known(made(rows, held), hour(40))
    assert known(made([*rows, *rows, *again], held)) == known(made([*rows, *again], held))


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(facts, min_size=1, max_size=12), held=marks, pair=st.tuples(accounts, accounts))
def test_a_split_takes_back_the_merge_before_it_exactly(rows, held, pair) -> None:
    one, other = sorted(pair)
    assume(one != other)
    # To say it twice is to say it once: a merge of what an agent holds for merged already does not count.
    said = [(row["account_id"], row["other_id"], row["because"], row["probability"]) for row in rows]
    assume((one, other, "agent", 1.0) not in said)
    merged = [*rows, link(*pair, 1.0, 20, because="agent")]
    split = [*merged, link(*pair, 0.0, 21, because="agent")]
    assert known(made(split, held)) == known(made(rows, held))
    again = [*split, link(*pair, 1.0, 22, because="agent")]
    assert known(made(again, held)) == known(made(merged, held))


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(facts, min_size=1, max_size=14), held=marks)
def test_each_use_asks_for_more_than_the_one_before(rows, held) -> None:
    members = made(rows, held)
    of = {name: {a: g for (s, a), g in known(members).items() if s == name} for name in LEAST}
    for one, other in (("personalize", "count"), ("count", "suppress")):
        for left, group in of[one].items():
            assert all(of[other][left] == of[other][right] for right in of[one] if of[one][right] == group)


def test_a_split_of_what_no_agent_merged_keeps_apart_what_other_links_join() -> None:
    rows = [link("a", "b", 0.97, 1), link("b", "c", 0.96, 2), link("a", "b", 0.0, 5, because="agent")]
    assert groups(made(rows), "personalize") == [["b", "c"]]
    assert groups(made(rows), "personalize", hour(5)) == [["a", "b", "c"]]
    tied = [*rows, link("a", "c", 0.99, 7)]  # the surest link that does not bring a and b together
    assert groups(made(tied), "personalize") == [["a", "c"]]
    assert groups(made(tied), "suppress") == [["a", "b", "c"]]  # a no still reaches whoever is tied to both


def test_the_id_of_a_group_is_its_account_that_was_linked_first() -> None:
    rows = [link("y", "z", 1.0, 1), link("a", "b", 1.0, 2), link("b", "z", 1.0, 3)]
    members = made(rows)
    assert set(known(members, hour(3)).values()) == {"y", "a"}
    assert set(known(members).values()) == {"y"}


def test_two_logins_become_one_person_only_on_an_agents_word() -> None:
    held = [("a", "login", "anna", hour(0)), ("c", "login", "ben", hour(0))]
    chain = [link("a", "b", 0.99, 1), link("b", "c", 0.97, 2)]
    assert groups(made(chain, held), "personalize") == [["a", "b"]]
    assert groups(made(chain), "personalize") == [["a", "b", "c"]]  # the naive twin, which knows of no log-ins
    assert groups(made([*chain, link("a", "c", 1.0, 3, because="agent")], held), "personalize") == [["a", "b", "c"]]


def test_a_household_is_no_person_and_holds_all_accounts_of_its_persons() -> None:
    rows = [link("a", "b", 1.0, 1, kind="household", because="household"), link("b", "c", 0.99, 2)]
    members = made(rows)
    assert groups(members, "household") == [["a", "b", "c"]]
    assert groups(members, "personalize") == [["b", "c"]]
    assert groups(made(rows[1:]), "household") == []


def test_a_long_chain_of_links_in_one_moment_and_in_many() -> None:
    names = [f"n{number:03}" for number in range(300)]
    chain = [link(one, other, 1.0, 1) for one, other in pairwise(names)]
    assert groups(made(chain), "personalize") == [names]
    slow = [link(one, other, 1.0, place) for place, (one, other) in enumerate(pairwise(names))]
    members = made(slow)
    assert groups(members, "personalize") == [names]
    assert groups(members, "personalize", hour(100)) == [names[:101]]
    assert set(known(members).values()) == {"n000"}


def test_links_of_equal_worth_are_taken_in_the_order_in_which_they_were_known() -> None:
    links = [Link(0, 1, 0.97, 5), Link(1, 2, 0.97, 3)]
    held = [Mark(0, 0, 1), Mark(2, 0, 2)]
    assert groups_of(range(3), links=links, marks=held) == {0: 0, 1: 1, 2: 1}
    assert groups_of(range(3), links=[*links, Link(0, 2, 1.0, 9, sworn=True)], marks=held) == {0: 0, 1: 0, 2: 0}
