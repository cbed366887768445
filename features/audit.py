"""Audits of features: is what is served what was trained on, and does a value see what was not known yet?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.declaration import FeatureSet
from features.facts import EVENTS, KINDS, MEMBERS, PROFILE, CustomerFacts, Event, ProfileFact
from features.history import History
from features.samples import facts_of
from features.spine import moments, spine_keys

#: What computes features of a spine: ``FeatureSet.offline``, or code of one's own.
Compute = Callable[[History, pa.Table], pa.Table]

_LONG_AGO = datetime(1900, 1, 1, tzinfo=UTC)
_AFTER = (timedelta(0), timedelta(microseconds=1), timedelta(minutes=5), timedelta(days=30))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One value that should have been another."""

    customer_id: str
    as_of: str
    feature: str
    expected: int | str | None
    got: int | str | None


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What an audit found: how many rows and values it compared, and every difference."""

    rows: int
    values: int
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Whether no value differed."""
        return not self.differences


def parity(
    features: FeatureSet, history: History, spine: pa.Table, *, rng: np.random.Generator, rows: int = 200
) -> Audit:
    """Offline against online values for sampled rows of ``spine``."""
    sample = _sampled(spine, rng=rng, rows=rows)
    offline = features.offline(history, sample).select(features.names).to_pylist()
    moments = sample["as_of"].to_pylist()
    facts = facts_of(history, sample)
    online = [features.online(known, as_of) for known, as_of in zip(facts, moments, strict=True)]
    return _compared(features, sample, expected=offline, got=online)


def leakage(
    features: FeatureSet,
    history: History,
    spine: pa.Table,
    *,
    rng: np.random.Generator,
    rows: int = 200,
    compute: Compute | None = None,
) -> Audit:
    """Values of sampled rows before and after everything that a row must not see was changed.

    Each sampled row gets its customer's facts twice: as they are, and with all facts that happened or were recorded at
    its ``as_of`` or later dropped or altered at random and others added, also at the very moment and with an earlier
    date but recorded later. So are the facts of the household, and further accounts are linked to the customer, from
    its ``as_of`` on or until shortly before. The values must not change. ``compute`` (without: ``features.offline``)
    may be any code that computes ``features``.
    """
    sample = _sampled(spine, rng=rng, rows=rows)
    keys = list(zip(sample["customer_id"].to_pylist(), sample["as_of"].to_pylist(), strict=True))
    own = [_renamed(facts, f"row-{place}") for place, facts in enumerate(facts_of(history, sample))]
    altered = [_altered(facts, as_of, rng=rng) for facts, (_, as_of) in zip(own, keys, strict=True)]
    lived = [link for facts in own for link in _household_of(facts)]
    linked = [_strangers(facts.customer_id, as_of, rng=rng) for facts, (_, as_of) in zip(own, keys, strict=True)]
    later = [*lived, *(link for _, links in linked for link in links)]
    strangers = [CustomerFacts(customer_id="", events=events) for events, _ in linked]
    renamed = sample.set_column(
        sample.column_names.index("customer_id"),
        "customer_id",
        pa.array([each.customer_id for each in own], pa.string()),
    )
    run = compute or features.offline
    with TemporaryDirectory(prefix="rapport-audit-") as folder:
        before, after = (
            run(_history_of(facts, links, Path(folder) / name), renamed).select(features.names).to_pylist()
            for name, facts, links in (("before", own, lived), ("after", [*altered, *strangers], later))
        )
    return _compared(features, sample, expected=before, got=after)


def _sampled(spine: pa.Table, *, rng: np.random.Generator, rows: int) -> pa.Table:
    spine_keys(spine)  # the same complaints about a bad spine as everywhere
    chosen = np.sort(rng.choice(spine.num_rows, size=min(rows, spine.num_rows), replace=False))
    taken = spine.take(pa.array(chosen, pa.int64()))
    return pa.table({"customer_id": taken["customer_id"].cast(pa.string()), "as_of": moments(taken["as_of"])})


def _compared(
    features: FeatureSet,
    sample: pa.Table,
    *,
    expected: list[dict[str, int | str | None]],
    got: list[dict[str, int | str | None]],
) -> Audit:
    keys = zip(sample["customer_id"].to_pylist(), sample["as_of"].to_pylist(), strict=True)
    differences = tuple(
        Difference(customer_id=customer, as_of=as_of.isoformat(), feature=name, expected=left[name], got=right[name])
        for (customer, as_of), left, right in zip(keys, expected, got, strict=True)
        for name in features.names
        if left[name] != right[name]
    )
    return Audit(rows=sample.num_rows, values=sample.num_rows * len(features.names), differences=differences)


def _renamed(facts: CustomerFacts, customer_id: str) -> CustomerFacts:
    """The same facts as one account's, and those of the household as another's."""
    return CustomerFacts(
        customer_id=customer_id,
        events=_owned(facts.events, customer_id),
        profile=tuple(each._replace(customer_id=customer_id) for each in facts.profile),
        household=_owned(facts.household, _home(customer_id)),
    )


def _owned(events: tuple[Event, ...], owner: str) -> tuple[Event, ...]:
    return tuple(each._replace(customer_id=owner, event_id=f"{owner}-{place}") for place, each in enumerate(events))


def _home(customer_id: str) -> str:
    return f"{customer_id}-home"


def _altered(facts: CustomerFacts, as_of: datetime, *, rng: np.random.Generator) -> CustomerFacts:
    """The facts known at ``as_of``, and beside them anything else that may be true later."""
    profile = [each for each in facts.profile if each.occurred_at < as_of and each.recorded_at < as_of]
    changed = [
        ProfileFact(facts.customer_id, each.attribute, f"{each.value}9", *_unknown_times(as_of, rng=rng))
        for each in facts.profile
    ]
    home = _home(facts.customer_id)
    return CustomerFacts(
        customer_id=facts.customer_id,
        events=_other_later(facts.events, facts.customer_id, as_of, rng=rng),
        profile=(*profile, *changed),
        household=_other_later(facts.household, home, as_of, rng=rng) if facts.household else (),
    )


def _other_later(
    events: tuple[Event, ...], owner: str, as_of: datetime, *, rng: np.random.Generator
) -> tuple[Event, ...]:
    known = [each for each in events if each.occurred_at < as_of and each.recorded_at < as_of]
    later = [each for each in events if each.occurred_at >= as_of or each.recorded_at >= as_of]
    kept = [_later(each, as_of, rng=rng) for each in later if rng.random() < 0.7]
    patterns = known or later or [Event("pattern", owner, str(rng.choice(KINDS)), as_of, as_of)]
    added = [
        _later(patterns[rng.integers(len(patterns))], as_of, rng=rng)._replace(event_id=f"{owner}-new-{number}")
        for number in range(8)
    ]
    return (*known, *kept, *added)


_Link = tuple[str, str, str, datetime, datetime | None]


def _household_of(facts: CustomerFacts) -> list[_Link]:
    """The rows of MEMBERS by which the household was known."""
    owner = facts.customer_id
    accounts = (owner, _home(owner)) if facts.household else ()
    return [("household", account, owner, _LONG_AGO, None) for account in accounts]


def _strangers(owner: str, as_of: datetime, *, rng: np.random.Generator) -> tuple[tuple[Event, ...], list[_Link]]:
    """Events of accounts that were not known to be the customer's at ``as_of``, and the links that say so."""
    wait = _AFTER[rng.integers(len(_AFTER))]
    links: list[_Link] = []
    for other, since, until in (
        (f"{owner}-late", as_of + wait, None),
        (f"{owner}-past", _LONG_AGO, as_of - timedelta(microseconds=1) - wait),
    ):
        for strength in ("personalize", "household"):
            links += [(strength, account, other, since, until) for account in (owner, other)]
    before = as_of - timedelta(seconds=int(rng.integers(1, 86_400)))
    events = tuple(
        Event(f"{other}-{kind}", other, kind, before, before, channel="web", amount=1, quantity=1)
        for other in (f"{owner}-late", f"{owner}-past")
        for kind in KINDS
    )
    return events, links


def _later(event: Event, as_of: datetime, *, rng: np.random.Generator) -> Event:
    occurred, recorded = _unknown_times(as_of, rng=rng)
    return event._replace(
        occurred_at=occurred,
        recorded_at=recorded,
        amount=int(rng.integers(1, 10**6)),
        kind=event.kind if rng.random() < 0.7 else str(rng.choice(KINDS)),
    )


def _unknown_times(as_of: datetime, *, rng: np.random.Generator) -> tuple[datetime, datetime]:
    """Times of a fact not known at ``as_of``: it happens then or later, or happened before and is recorded late."""
    wait = _AFTER[rng.integers(len(_AFTER))]
    if rng.random() < 0.5:
        return as_of + wait, as_of + wait
    return as_of - timedelta(seconds=int(rng.integers(1, 20 * 86_400))), as_of + wait


def _history_of(customers: list[CustomerFacts], links: list[_Link], folder: Path) -> History:
    history = History(folder)
    events = [
        dict(zip(EVENTS.names, event, strict=True)) for each in customers for event in (*each.events, *each.household)
    ]
    profile = [dict(zip(PROFILE.names, fact, strict=True)) for each in customers for fact in each.profile]
    history.append(pa.Table.from_pylist(events, schema=EVENTS), part="audit")
    history.append_profile(pa.Table.from_pylist(profile, schema=PROFILE), part="audit")
    if links:  # without any, the history has none either, and nothing is joined
        (folder / "members").mkdir(parents=True)
        members = [dict(zip(MEMBERS.names, link, strict=True)) for link in links]
        pq.write_table(pa.Table.from_pylist(members, schema=MEMBERS), folder / "members" / "audit.parquet")
    return history
