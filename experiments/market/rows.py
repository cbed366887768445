"""Rows of events as columns of numbers, before they become an Arrow table of facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.market.offers import CATEGORIES, CHANNELS, TREATMENTS
from features.facts import EVENTS, KINDS, TIMESTAMP

DAY = 86_400.0
WEEK = 7 * DAY
#: Marks a missing code or number.
NONE = -1

_OFFERS = tuple(dict.fromkeys(each.offer_id for each in TREATMENTS))
#: Place of each action's offer in the table of offers; nothing has none.
OFFER = np.array([NONE, *(_OFFERS.index(each.offer_id) for each in TREATMENTS)])
_SOURCES = (*CHANNELS, "decisions")
_KIND = {name: code for code, name in enumerate(KINDS)}
_WEB, _EMAIL, _MAIL, _CALL, _STORE = range(len(CHANNELS))
# Earliest and latest seconds until a channel's system has recorded a fact; tills are read in the night instead.
_LATE = np.array([[10, 600], [60, 6 * 3600], [2 * DAY, 10 * DAY], [1 * DAY, 3 * DAY], [0, 0]])
_GOLDEN = 0.618033988749895


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Events of one week: arrays of equal length, codes into the names of kinds, channels, offers and categories.

    ``customer`` is the customer's number, ``slot`` numbers the events of a customer in a week, ``seconds`` and ``late``
    are the times from the week's begin to the event and from there to its record.
    """

    customer: np.ndarray
    slot: np.ndarray
    kind: np.ndarray
    channel: np.ndarray
    offer: np.ndarray
    category: np.ndarray
    amount: np.ndarray
    seconds: np.ndarray
    late: np.ndarray


def rows(
    customer: np.ndarray,
    *,
    slot: int | np.ndarray,
    kind: str,
    seconds: float | np.ndarray,
    channel: int | np.ndarray = NONE,
    offer: int | np.ndarray = NONE,
    category: int | np.ndarray = NONE,
    amount: int | np.ndarray = NONE,
    luck: np.ndarray | None = None,
) -> Rows:
    """Events of one kind; ``luck`` in [0, 1) of each decides how late it is recorded, None records it at once."""
    count = len(customer)

    def column(values: float | np.ndarray, dtype: type) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, dtype=dtype), (count,))

    channels, times = column(channel, np.int8), column(seconds, np.float64)
    late = np.zeros(count) if luck is None else _lateness(channels, times, (luck + column(slot, float) * _GOLDEN) % 1)
    return Rows(
        customer=customer,
        slot=column(slot, np.int64),
        kind=column(_KIND[kind], np.int8),
        channel=channels,
        offer=column(offer, np.int8),
        category=column(category, np.int8),
        amount=column(amount, np.int64),
        seconds=times,
        late=late,
    )


def to_events(
    parts: Sequence[Rows], *, begin: datetime, week: int, customer_ids: pa.Array, delay_scale: float
) -> pa.Table:
    """The parts as one table of facts (``features.facts.EVENTS``), in the order of the parts."""
    whole = {each.name: np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(Rows)}
    # Whole seconds, as most systems keep them.
    occurred = int(begin.timestamp()) + whole["seconds"].astype(np.int64)
    recorded = occurred + (whole["late"] * delay_scale).astype(np.int64)
    # An id is week, customer and slot, so the same event has the same id whatever else happens.
    number = 10**14 + week * 10**11 + whole["customer"].astype(np.int64) * 1000 + whole["slot"]
    sold = np.isin(whole["kind"], [_KIND["purchase"], _KIND["return"], _KIND["cart"]])
    decided = np.isin(whole["kind"], [_KIND["contact"], _KIND["no_contact"]])
    columns = {
        "event_id": pc.cast(pa.array(number), pa.string()),
        "customer_id": customer_ids.take(pa.array(whole["customer"])),
        "kind": _names(KINDS, whole["kind"]),
        "occurred_at": _times(occurred),
        "recorded_at": _times(recorded),
        "channel": _names(CHANNELS, whole["channel"]),
        "item": _names(_OFFERS, whole["offer"]),
        "category": _names(CATEGORIES, whole["category"]),
        "brand": pa.nulls(len(sold), pa.string()),
        "amount": pa.array(whole["amount"], mask=whole["amount"] == NONE),
        "quantity": pa.array(np.ones(len(sold), dtype=np.int64), mask=~sold),
        "source": _names(_SOURCES, np.where(decided, len(CHANNELS), whole["channel"])),
    }
    return pa.table(columns, schema=EVENTS)


def _lateness(channel: np.ndarray, seconds: np.ndarray, luck: np.ndarray) -> np.ndarray:
    low, high = _LATE[channel].T
    night = (np.floor(seconds / DAY) + 1) * DAY + (2 + 2 * luck) * 3600 - seconds
    late: np.ndarray = np.where(channel == _STORE, night, low + (high - low) * luck)
    return late


def _names(names: Sequence[str], codes: np.ndarray) -> pa.Array:
    indices = pa.array(codes.astype(np.int8), mask=codes == NONE)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string())).cast(pa.string())


def _times(seconds: np.ndarray) -> pa.Array:
    return pa.array(seconds * 1_000_000).cast(TIMESTAMP)
