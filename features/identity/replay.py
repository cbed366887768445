"""Replay of links: who was known to be whom, from when to when, for each use that a link may be sure enough for."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from features.facts import MEMBERS, STRENGTHS, TIMESTAMP
from features.identity.groups import Link, Mark, components, groups_of
from features.identity.rules import IdentityRules
from features.identity.world import NEVER, World
from features.sql import in_memory

#: One row a value of a unique kind that an account holds, and since when that is known.
MARKS = pa.schema([("account_id", pa.string()), ("kind", pa.string()), ("value", pa.string()), ("since", TIMESTAMP)])


def memberships(links: pa.Table, rules: IdentityRules, *, marks: pa.Table | None = None) -> pa.Table:
    """The groups (MEMBERS) that link facts (LINKS) make, and when each was known: a pure function of the set of facts.

    At each moment the latest fact of a pair, kind and reason counts that was known then. A no and a count of contacts
    reach wherever links are sure enough; for one behaviour, `groups_of` refuses what must stay apart. A household is
    the accounts of persons whom household links connect. The id of a group is its account that was linked first, the
    smaller id on ties: so it survives whatever joins later.

    All components are replayed in step: round r makes the groups of every component at its r-th moment of change, by
    arrays; only what `groups_of` must judge is looked at link by link.

    Parameters
    ----------
    links: all facts of every account in it, as groups come of all of them.
    marks: values of unique kinds that these accounts hold (MARKS).
    """
    with in_memory() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("links", links)
        steps = connection.execute(_EFFECTIVE).to_arrow_table()
    if steps.num_rows == 0:
        return MEMBERS.empty_table()
    return _Replay(World.of(steps, marks if marks is not None else MARKS.empty_table()), rules).members()


# What each pair, kind and reason was worth from when on. A fact that becomes known after a later one changes nothing.
# An agent's 0 takes back the merge before it; where there is none to take back, it keeps the two apart.
_EFFECTIVE = """
WITH told AS (
    SELECT account_id, other_id, kind, because, probability, occurred_at, min(recorded_at) AS recorded_at
    FROM links WHERE account_id <> other_id GROUP BY ALL
),
timed AS (SELECT *, greatest(occurred_at, recorded_at) AS known FROM told),
latest AS (
    FROM timed QUALIFY occurred_at >= coalesce(max(occurred_at) OVER (
        PARTITION BY account_id, other_id, kind, because ORDER BY known, occurred_at, probability DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), occurred_at)
),
said AS (
    SELECT *, because = 'agent' AND probability = 0 AND coalesce(lag(probability) OVER facts, 0) = 0 AS parts,
        lead(known) OVER facts AS next
    FROM latest WINDOW facts AS (
        PARTITION BY account_id, other_id, kind, because ORDER BY known, occurred_at, probability DESC)
),
state AS (
    SELECT *, bool_or(parts) OVER (
        PARTITION BY account_id, other_id, kind, because ORDER BY known, occurred_at, probability DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS apart
    FROM said
)
SELECT account_id, other_id, kind = 'household' AS house, because, because = 'agent' AS sworn, probability, apart,
    epoch_us(known) AS known
FROM state WHERE next IS NULL OR next > known
"""


class _State(NamedTuple):
    """Links in force of the components that still change: of each edge its worth, since when, and an agent's word."""

    accounts: int
    probability: np.ndarray
    since: np.ndarray
    sworn: np.ndarray
    apart: np.ndarray


class _Replay:
    def __init__(self, world: World, rules: IdentityRules) -> None:
        self._world, self._rules = world, rules
        keys, accounts = world.key_edge.size, world.names_of.size
        self._probability = np.zeros(keys)
        self._since = np.full(keys, NEVER)
        self._sworn, self._apart = np.zeros(keys, dtype=bool), np.zeros(keys, dtype=bool)
        self._group = np.full((len(STRENGTHS), accounts), -1, dtype=np.int64)
        self._begun = np.zeros((len(STRENGTHS), accounts), dtype=np.int64)
        self._rows: list[tuple[np.ndarray, ...]] = []

    def members(self) -> pa.Table:
        for number in range(self._world.rounds):
            state = self._advanced(number)
            times = self._world.times(number, state.accounts)
            for place, groups in enumerate(self._groups(state, number)):
                self._record(place, groups, times)
        for place in range(len(STRENGTHS)):
            open_ = np.flatnonzero(self._group[place] >= 0)
            self._close(place, open_, np.full(open_.size, NEVER))
        return self._table()

    def _advanced(self, number: int) -> _State:
        """The state after the facts of one round."""
        world, (accounts, edges, keys) = self._world, self._world.heads(number)
        steps = world.steps(number)
        at = steps.key
        self._probability[at], self._sworn[at], self._apart[at] = steps.probability, steps.sworn, steps.apart
        first = (steps.probability > 0) & (self._since[at] == NEVER)
        self._since[at[first]] = steps.known[first]
        starts, positive = world.key_starts[:edges], self._probability[:keys] > 0
        worth = np.maximum.reduceat(self._probability[:keys], starts)
        sworn = np.logical_or.reduceat(self._sworn[:keys] & positive, starts)
        apart = np.logical_or.reduceat(self._apart[:keys], starts) & ~sworn
        since = np.minimum.reduceat(np.where(positive, self._since[:keys], NEVER), starts)
        return _State(accounts, np.where(apart, 0.0, worth), since, sworn, apart)

    def _groups(self, state: _State, number: int) -> list[np.ndarray]:
        """For each strength the account that names the group of each account; -1 for a group of one."""
        world, edges = self._world, self._world.edges[: state.probability.size]
        person = ~world.house[: state.probability.size]
        first = _first_linked(state, edges, person & (state.probability >= self._rules.suppress))
        found = []
        for least in self._rules.thresholds().values():
            strong = edges[person & (state.probability >= least)]
            labels = components(state.accounts, strong[:, 0], strong[:, 1])
            found.append(labels)
        found[-1] = self._kept_apart(found[-1], state, number)
        groups = [_named(labels, first) for labels in found]
        home = ~person & (state.probability >= self._rules.count)
        if not home.any():
            return [*groups, np.full(state.accounts, -1, dtype=np.int64)]
        together = np.flatnonzero(groups[-1] >= 0)
        ones, others = np.append(edges[home, 0], together), np.append(edges[home, 1], groups[-1][together])
        labels = components(state.accounts, ones, others)
        households = _named(labels, np.minimum(first, _first_linked(state, edges, home)))
        has_home = np.zeros(labels.max() + 1, dtype=bool)
        has_home[labels[edges[home, 0]]] = True
        return [*groups, np.where(has_home[labels], households, -1)]

    def _kept_apart(self, labels: np.ndarray, state: _State, number: int) -> np.ndarray:
        """``labels`` where those groups are made link by link that hold what must not come together."""
        world, edges = self._world, self._world.edges[: state.probability.size]
        person = ~world.house[: state.probability.size]
        apart = edges[state.apart & person]
        apart = apart[labels[apart[:, 0]] == labels[apart[:, 1]]]
        marks = world.marks_known(number, state.accounts)
        torn = set(labels[apart[:, 0]].tolist()) | _conflicts(labels, marks)
        if not torn:
            return labels
        among = np.isin(labels, np.fromiter(torn, dtype=labels.dtype))
        inner = np.flatnonzero(person & (state.probability >= self._rules.personalize) & among[edges[:, 0]])
        links: dict[int, list[Link]] = defaultdict(list)
        for place in inner.tolist():
            one, other = edges[place].tolist()
            links[int(labels[one])].append(
                Link(one, other, float(state.probability[place]), int(state.since[place]), bool(state.sworn[place]))
            )
        held: dict[int, list[Mark]] = defaultdict(list)
        for account, kind, value in marks[among[marks[:, 0]]].tolist():
            held[int(labels[account])].append(Mark(account, kind, value))
        foes: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for one, other in apart.tolist():
            foes[int(labels[one])].append((one, other))
        made = labels + state.accounts  # accounts name the groups that are made here: no number may mean both
        for label, inside in links.items():
            accounts = {each for link in inside for each in link[:2]}
            groups = groups_of(accounts, links=inside, marks=held[label], apart=foes[label])
            made[list(groups)] = list(groups.values())
        return made

    def _record(self, place: int, groups: np.ndarray, times: np.ndarray) -> None:
        before = self._group[place, : groups.size]
        changed = np.flatnonzero(groups != before)
        left = changed[before[changed] >= 0]
        self._close(place, left, times[left])
        self._group[place, changed] = groups[changed]
        self._begun[place, changed] = times[changed]

    def _close(self, place: int, accounts: np.ndarray, until: np.ndarray) -> None:
        strength = np.full(accounts.size, place)
        self._rows.append((strength, accounts, self._group[place, accounts], self._begun[place, accounts], until))

    def _table(self) -> pa.Table:
        strength, account, group, since, until = (np.concatenate(each) for each in zip(*self._rows, strict=True))
        names = self._world.names
        return pa.table(
            {
                "strength": pa.array(STRENGTHS).take(pa.array(strength)),
                "account_id": names.take(pa.array(account)),
                "customer_id": names.take(pa.array(group)),
                "since": pa.array(since).cast(TIMESTAMP),
                "until": pa.array(until, mask=until == NEVER).cast(TIMESTAMP),
            },
            schema=MEMBERS,
        )


def _first_linked(state: _State, edges: np.ndarray, used: np.ndarray) -> np.ndarray:
    """When each account was first linked by a link that is in force."""
    first = np.full(state.accounts, NEVER)
    np.minimum.at(first, edges[used, 0], state.since[used])
    np.minimum.at(first, edges[used, 1], state.since[used])
    return first


def _named(labels: np.ndarray, first: np.ndarray) -> np.ndarray:
    """For each account the one of its group that was linked first (the first in order on ties); -1 when it is alone."""
    order = np.lexsort((first, labels))
    ranked = labels[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
    sizes = np.diff(np.append(starts, ranked.size))
    groups = np.empty(labels.size, dtype=np.int64)
    groups[order] = np.repeat(np.where(sizes > 1, order[starts], -1), sizes)
    return groups


def _conflicts(labels: np.ndarray, marks: np.ndarray) -> set[int]:
    """The groups in which accounts hold different values of one unique kind."""
    if marks.size == 0:
        return set()
    where = labels[marks[:, 0]]
    order = np.lexsort((marks[:, 2], marks[:, 1], where))
    group, kind, value = where[order], marks[order, 1], marks[order, 2]
    differ = (group[1:] == group[:-1]) & (kind[1:] == kind[:-1]) & (value[1:] != value[:-1])
    return set(group[1:][differ].tolist())
