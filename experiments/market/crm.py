"""The simulated CRM: one row a customer with an invented name and address; with identity noise, some people twice."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from experiments.market.customers import AGE_BANDS, REGIONS, TENURES
from experiments.market.market import Market

_GIVEN = (
    ("A", "Be", "Ca", "Eli", "Jo", "Ka", "Li", "Ma", "No", "Sa"),
    ("bo", "da", "lia", "mi", "na", "ra", "ro", "ta"),
)
_FAMILY = (
    ("Ber", "Do", "Fal", "Gru", "Hol", "Kel", "Lan", "Mor", "Pet", "Ros", "Win"),
    ("berg", "den", "ke", "ler", "s"),
)

#: Column of the CRM's file -> attribute of the profile; names and addresses are for linking, not for features.
ATTRIBUTES = {"age_group": "age_band", "household": "household_id", "region": "region", "tenure": "tenure"}


def crm(market: Market) -> pa.Table:
    """The CRM's file: ``customer_no``, name, e-mail, phone, postcode, the attributes, and when it was ``known``."""
    who, count = market.customers, market.spec.customers
    rng = np.random.default_rng([market.spec.seed, 6])
    given = _names(rng, count, syllables=_GIVEN)
    # A household has one family name, postcode and phone: those of its first member.
    home = who.household
    family = _names(rng, count, syllables=_FAMILY)[home]
    phone = rng.integers(10**7, 10**8, count)[home]
    table = pa.table(
        {
            "customer_no": market.customer_ids,
            "given_name": given,
            "family_name": family,
            "email": _emails(given, family, number=np.arange(count) % 9973),
            "phone": pc.binary_join_element_wise("+49 30 ", pc.cast(pa.array(phone), pa.string()), ""),
            "postcode": pc.cast(pa.array(rng.integers(10_000, 99_999, count)[home]), pa.string()),
            "age_group": pa.array(AGE_BANDS).take(pa.array(who.age)),
            "region": pa.array(REGIONS).take(pa.array(who.region)),
            "tenure": pa.array(TENURES).take(pa.array(who.tenure)),
            "household": market.household_ids,
            "known": pa.repeat(market.profile()["occurred_at"][0].as_py().strftime("%Y-%m-%d"), count),
        }
    )
    twice = known_twice(market)
    return pa.concat_tables([table, _again(table.filter(pa.array(twice)), rng)]) if twice.any() else table


def known_twice(market: Market) -> np.ndarray:
    """Whom the systems know under a second id: bool of shape (customers,)."""
    rng = np.random.default_rng([market.spec.seed, 7])
    chosen: np.ndarray = rng.random(market.spec.customers) < market.spec.identity_noise
    return chosen


def second_ids(ids: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The second ids of customers: ``x10000042`` for ``c10000042``."""
    return pc.replace_substring_regex(ids, pattern="^c", replacement="x")


def _names(rng: np.random.Generator, count: int, *, syllables: tuple[tuple[str, ...], ...]) -> np.ndarray:
    heads, tails = (np.array(each)[rng.integers(0, len(each), count)] for each in syllables)
    names: np.ndarray = np.char.add(heads, tails)
    return names


def _emails(given: np.ndarray, family: np.ndarray, *, number: np.ndarray) -> pa.Array:
    local = pc.binary_join_element_wise(
        pc.utf8_lower(pa.array(given)), pc.utf8_lower(pa.array(family)), pc.cast(pa.array(number), pa.string()), "."
    )
    return pc.binary_join_element_wise(local, "example.org", "@")


def _again(rows: pa.Table, rng: np.random.Generator) -> pa.Table:
    """The second records: another id, a slip of the pen in the name, half of the e-mails and phones missing."""
    slipped = [name[:-2] + name[-1] + name[-2] for name in rows["family_name"].to_pylist()]
    none = pa.scalar(None, pa.string())
    changes = {
        "customer_no": second_ids(rows["customer_no"]),
        "family_name": pa.array(slipped),
        "email": pc.if_else(pa.array(rng.random(rows.num_rows) < 0.5), rows["email"], none),
        "phone": pc.if_else(pa.array(rng.random(rows.num_rows) < 0.5), rows["phone"], none),
    }
    return pa.table({name: changes.get(name, rows[name]) for name in rows.column_names})
