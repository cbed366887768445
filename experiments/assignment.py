"""Which arm a unit belongs to: a documented hash that any language can compute again.

``uniform`` takes the first 8 bytes of ``sha256(key + U+001F + unit id)`` (UTF-8, big-endian), keeps the top 53 bits and
divides by 2**53: a number in [0, 1) that a double holds exactly. The key of the experiment is hashed with the unit, so
experiments that run side by side are independent. docs/assignment.md has the rule in SQL and the published vectors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import accumulate

import numpy as np
import pyarrow as pa

from features.errors import InputError

SEPARATOR = "\x1f"
_CHUNK = 1 << 16


def uniform(unit_id: str, key: str) -> float:
    """A number in [0, 1) that belongs to ``unit_id`` under ``key``, the same on every machine.

    >>> uniform("customer-1", "spring-2026")
    0.5108532280127519
    """
    try:
        digest = sha256(_prefix(key) + unit_id.encode()).digest()
    except (AttributeError, UnicodeEncodeError) as error:
        raise _not_text(unit_id) from error
    return float(int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def uniform_all(unit_ids: Sequence[str] | pa.Array | pa.ChunkedArray, key: str) -> np.ndarray:
    """``uniform`` of many units: float64 of shape (len(unit_ids),)."""
    prefix = _prefix(key)
    numbers = np.empty(len(unit_ids), dtype=np.float64)
    for start in range(0, len(unit_ids), _CHUNK):
        part = _texts(unit_ids[start : start + _CHUNK])
        try:
            digests = b"".join([sha256(prefix + each.encode()).digest() for each in part])
        except (AttributeError, UnicodeEncodeError) as error:
            raise _not_text(next(each for each in part if not _is_text(each))) from error
        heads = np.frombuffer(digests, dtype=">u8")[::4]
        numbers[start : start + len(part)] = (heads >> np.uint64(11)) / float(1 << 53)
    return numbers


def assign(unit_id: str, *, experiment: str, shares: Mapping[str, float]) -> str:
    """The arm of ``unit_id`` in ``experiment``.

    Arms are laid end to end on [0, 1) in the order of their names, so the order in which ``shares`` lists them does not
    matter. Changing the shares may move units: whoever stores assignments keeps the stored one.

    Raises
    ------
    InputError
        When the shares are not positive numbers that sum to 1, or the unit id is not text.

    >>> assign("customer-1", experiment="spring-2026", shares={"static": 0.5, "personal": 0.5})
    'static'
    """
    arms, edges = _edges(shares)
    number = uniform(unit_id, experiment)
    return next((arm for arm, edge in zip(arms, edges, strict=True) if number < edge), arms[-1])


def assign_all(
    unit_ids: Sequence[str] | pa.Array | pa.ChunkedArray, *, experiment: str, shares: Mapping[str, float]
) -> pa.DictionaryArray:
    """``assign`` of many units, in their order: a dictionary array of arm names, about a second per million.

    >>> assign_all(["customer-1", "customer-2"], experiment="spring-2026", shares={"a": 0.5, "b": 0.5}).to_pylist()
    ['b', 'b']
    """
    arms, edges = _edges(shares)
    places = np.searchsorted(edges[:-1], uniform_all(unit_ids, experiment), side="right")
    return pa.DictionaryArray.from_arrays(places.astype(np.int32), pa.array(arms, pa.string()))


def _edges(shares: Mapping[str, float]) -> tuple[list[str], list[float]]:
    return _laid(tuple(shares.items()))


# The same few splits and keys come with every unit: laying them out anew would cost more than the hash.
@lru_cache(maxsize=256)
def _laid(split: tuple[tuple[str, float], ...]) -> tuple[list[str], list[float]]:
    shares = dict(split)
    if not all(math.isfinite(share) and share >= 0 for share in shares.values()) or not math.isclose(
        math.fsum(shares.values()), 1.0, abs_tol=1e-9
    ):
        raise InputError(
            "the shares of the arms are not a split", got=str(dict(shares)), do="give positive shares that sum to 1"
        )
    # Sorting Python strings is by code point, which is the order of their UTF-8 bytes too.
    arms = sorted(arm for arm, share in shares.items() if share > 0)
    return arms, list(accumulate(shares[arm] for arm in arms))


@lru_cache(maxsize=256)
def _prefix(key: str) -> bytes:
    if not _is_text(key) or not key or SEPARATOR in key:
        raise InputError("the key of the experiment can't be hashed", got=repr(key), do="use letters, digits and ._:-")
    return (key + SEPARATOR).encode()


def _texts(part: Sequence[str] | pa.Array | pa.ChunkedArray) -> Sequence[str]:
    texts: Sequence[str] = part.to_pylist() if isinstance(part, pa.Array | pa.ChunkedArray) else part
    return texts


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= mark <= "\udfff" for mark in value)


def _not_text(value: object) -> InputError:
    return InputError(
        "a unit id is not text", got=f"{value!r} ({type(value).__name__})", do="pass ids as text, exactly as stored"
    )
