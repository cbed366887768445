"""Audits of features: is what is served what was trained on, and does a value see what was not known yet?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from features.declaration import FeatureSet
from features.facts import EVENTS, KINDS, PROFILE, CustomerFacts, Event, ProfileFact
from features.history import History
from features.spine import moments, spine_keys

#: What computes features of a spine: ``FeatureSet.offline``, or code of one's own.
Compute = Callable[[History, pa.Table], pa.Table]

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
    keys = zip(sample["customer_id"].to_pylist(), sample["as_of"].to_pylist(), strict=True)
    online = [features.online(history.customer(customer, as_of=as_of), as_of) for customer, as_of in keys]
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
    date but recorded later. The values must not change. ``compute`` (without: ``features.offline``) may be any code
    that computes ``features``.
    """
    sample = _sampled(spine, rng=rng, rows=rows)
    keys = list(zip(sample["customer_id"].to_pylist(), sample["as_of"].to_pylist(), strict=True))
    own = [
        _renamed(history.customer(customer, as_of=as_of), f"row-{place}")
        for place, (customer, as_of) in enumerate(keys)
    ]
    altered = [_altered(facts, as_of, rng=rng) for facts, (_, as_of) in zip(own, keys, strict=True)]
    renamed = sample.set_column(
        sample.column_names.index("customer_id"),
        "customer_id",
        pa.array([each.customer_id for each in own], pa.string()),
    )
    run = compute or features.offline
    with TemporaryDirectory(prefix="rapport-audit-") as folder:
        before, after = (
            run(_history_of(facts, Path(folder) / name), renamed).select(features.names).to_pylist()
            for name, facts in (("before", own), ("after", altered))
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
    return CustomerFacts(
        customer_id=customer_id,
        events=tuple(
            each._replace(customer_id=customer_id, event_id=f"{customer_id}-{place}")
            for place, each in enumerate(facts.events)
        ),
        profile=tuple(each._replace(customer_id=customer_id) for each in facts.profile),
    )


def _altered(facts: CustomerFacts, as_of: datetime, *, rng: np.random.Generator) -> CustomerFacts:
    """The facts known at ``as_of``, and beside them anything else that may be true later."""
    known = [each for each in facts.events if each.occurred_at < as_of and each.recorded_at < as_of]
    later = [each for each in facts.events if each.occurred_at >= as_of or each.recorded_at >= as_of]
    kept = [_later(each, as_of, rng=rng) for each in later if rng.random() < 0.7]
    patterns = known or later or [Event("pattern", facts.customer_id, str(rng.choice(KINDS)), as_of, as_of)]
    added = [
        _later(patterns[rng.integers(len(patterns))], as_of, rng=rng)._replace(
            event_id=f"{facts.customer_id}-new-{number}"
        )
        for number in range(8)
    ]
    profile = [each for each in facts.profile if each.occurred_at < as_of and each.recorded_at < as_of]
    changed = [
        ProfileFact(facts.customer_id, each.attribute, f"{each.value}9", *_unknown_times(as_of, rng=rng))
        for each in facts.profile
    ]
    return CustomerFacts(customer_id=facts.customer_id, events=(*known, *kept, *added), profile=(*profile, *changed))


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


def _history_of(customers: list[CustomerFacts], folder: Path) -> History:
    history = History(folder)
    events = [dict(zip(EVENTS.names, event, strict=True)) for each in customers for event in each.events]
    profile = [dict(zip(PROFILE.names, fact, strict=True)) for each in customers for fact in each.profile]
    history.append(pa.Table.from_pylist(events, schema=EVENTS), part="audit")
    history.append_profile(pa.Table.from_pylist(profile, schema=PROFILE), part="audit")
    return history
