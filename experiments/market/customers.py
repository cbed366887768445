"""The simulated customers: what a CRM knows of them, and the latent traits that decide how they react."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.market.spec import MarketSpec

AGE_BANDS = ("18-34", "35-54", "55+")
REGIONS = ("north", "east", "south", "west")
TENURES = ("new", "regular", "loyal")

#: Customers are drawn, and live, in blocks of this many, each with generators of its own.
BLOCK = 1 << 14

# Ids count from here, so that they are all of one length.
_FIRST = 10_000_000

# How age moves the logits of categories (beauty, clothing, garden, home, shoes, sports) and channels (web ... store).
_AGE_CATEGORY = np.array(
    [[0.5, 0.4, -0.8, -0.4, 0.4, 0.6], [0.0, 0.2, 0.0, 0.3, 0.1, 0.1], [-0.3, 0.0, 0.8, 0.5, -0.2, -0.6]]
)
_AGE_CHANNEL = np.array([[0.6, 0.1, -0.6, -0.6, 0.0], [0.1, 0.3, 0.0, -0.1, 0.1], [-0.5, 0.0, 0.6, 0.5, 0.2]])
_TENURE_BASE = np.array([-0.5, 0.0, 0.5])


@dataclass(frozen=True, kw_only=True)
class Customers:
    """Columns of the customers, one row each.

    Parameters
    ----------
    household: number of the household. ``age``, ``region``, ``tenure``: codes into the names of this module.
    annoyed: whether contacts annoy them.
    base: weekly chance of a purchase without any contact. ``visits``: expected web visits a week.
    basket: expected amount of a purchase in cents, before the category's factor.
    responsiveness, sensitivity: factors of the response to a contact, and of its growth with the discount; mean 1.
    category: share of interest in each category, shape (n, 6). ``channel``: in each channel, shape (n, 5).
    """

    household: np.ndarray
    age: np.ndarray
    region: np.ndarray
    tenure: np.ndarray
    annoyed: np.ndarray
    base: np.ndarray
    visits: np.ndarray
    basket: np.ndarray
    responsiveness: np.ndarray
    sensitivity: np.ndarray
    category: np.ndarray
    channel: np.ndarray

    def __len__(self) -> int:
        return len(self.base)

    def rows(self, start: int, stop: int) -> Customers:
        """The customers from ``start`` to before ``stop``, without copying."""
        return Customers(**{each.name: getattr(self, each.name)[start:stop] for each in fields(self)})


def draw_customers(spec: MarketSpec) -> Customers:
    """All customers of a market."""
    blocks = [_draw_block(spec, number) for number in range(-(-spec.customers // BLOCK))]
    whole = {each.name: np.concatenate([getattr(block, each.name) for block in blocks]) for each in fields(Customers)}
    return Customers(**whole).rows(0, spec.customers)


def spans(customers: int) -> Iterator[tuple[int, int, int]]:
    """The blocks of so many customers: number, first, one past the last."""
    for number, start in enumerate(range(0, customers, BLOCK)):
        yield number, start, min(start + BLOCK, customers)


def customer_ids(start: int, stop: int) -> pa.Array:
    """Ids of customers, for example ``c10000042``."""
    return _named("c", np.arange(start, stop))


def household_ids(numbers: np.ndarray) -> pa.Array:
    """Ids of households, for example ``h10000042``."""
    return _named("h", numbers)


def places(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """The numbers of customers by their ids: what ``customer_ids`` made, undone."""
    numbers: np.ndarray = np.asarray(pc.cast(pc.utf8_slice_codeunits(ids, 1), pa.int64())) - _FIRST
    return numbers


def _named(prefix: str, numbers: np.ndarray) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.cast(pa.array(numbers + _FIRST), pa.string()), "")


def _draw_block(spec: MarketSpec, number: int) -> Customers:
    rng = np.random.default_rng([spec.seed, 0, number])
    age, tenure = rng.integers(0, 3, BLOCK), rng.choice(3, BLOCK, p=[0.3, 0.45, 0.25])
    partners = np.arange(BLOCK) - np.arange(BLOCK) % 2
    together = np.repeat(rng.random(BLOCK // 2) < spec.household_share, 2)
    household = np.where(together, partners, np.arange(BLOCK))
    region = rng.integers(0, 4, BLOCK)[household]
    own, shared = rng.standard_normal((2, 4, BLOCK))
    habits = np.where(together, (own + shared[:, household]) / np.sqrt(2), own)
    scale = spec.heterogeneity
    base, basket, responsiveness, sensitivity = (
        _spread(scale * width, habit) for width, habit in zip((0.5, 0.3, 0.25, 0.25), habits, strict=True)
    )
    visits = _spread(scale * 0.4, rng.standard_normal(BLOCK))
    loyalty = np.exp(scale * _TENURE_BASE[tenure])
    return Customers(
        household=household + number * BLOCK,
        age=age,
        region=region,
        tenure=tenure,
        annoyed=rng.random(BLOCK) < spec.annoyed_share * min(scale, 1.0),
        base=0.02 * base * loyalty,
        visits=0.28 * np.sqrt(base * loyalty) * visits,
        basket=4000.0 * basket,
        responsiveness=responsiveness,
        sensitivity=sensitivity,
        category=_shares(scale * (_AGE_CATEGORY[age] + 0.8 * rng.standard_normal((BLOCK, 6)))),
        channel=_shares(scale * (_AGE_CHANNEL[age] + 0.3 * rng.standard_normal((BLOCK, 5)))),
    )


def _spread(width: float, habit: np.ndarray) -> np.ndarray:
    spread: np.ndarray = np.exp(width * habit - width**2 / 2)
    return spread


def _shares(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits)
    shares: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return shares
