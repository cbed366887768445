"""Expected incremental profit of every action for a customer, from a response model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from features.errors import InputError
from features.matching import is_pattern, matched
from serving.catalogue import NOTHING
from serving.conditions import Row
from serving.rules import Rules

if TYPE_CHECKING:  # they load LightGBM, which a project that is only read doesn't need
    from training.models import ResponseModel
    from training.models.encoding import Column

TREATMENT, OFFER, CHANNEL = "treatment", "offer", "channel"
"""Columns by which a response model knows what was sent, beside the features of the customer."""

Items = Mapping[str, Mapping[str, str | None]]
"""Attributes of offers by offer id; a model knows them as ``offer_<attribute>``."""

_SENT = (TREATMENT, OFFER, CHANNEL)
_ATTRIBUTE = "offer_"
_ROWS_AT_ONCE = 1 << 17
_ROWS_OF_A_REQUEST = 1 << 13


class Scorer(Protocol):
    """What gives the values of actions."""

    @property
    def version(self) -> str:
        """What the decisions record as their model."""
        ...

    def values(self, rows: Sequence[Row]) -> np.ndarray:
        """Expected incremental profit in cents: float64 of shape (rows, actions), column 0 (``nothing``) is 0."""
        ...

    def values_of(self, table: pa.Table) -> np.ndarray:
        """The same for a table with one column per feature."""
        ...


class ResponseScorer:
    """Values from P(response | customer, treatment) and the offers' worth.

    The value of a treatment is ``p (worth - discount) - p0 worth - cost``: a response under the treatment earns its
    worth less the discount, and what the customer would have done anyway (``p0``, P(response | nothing)) is taken
    off, as is the contact's cost.

    Parameters
    ----------
    model: trained on the columns of ``rules.book.feature_names`` and on ``treatment``, ``offer`` or ``channel``, which
        are ``nothing`` where nothing was sent, and maybe on attributes of offers and on features that match
        the offer (``features.matching``).
    version: what decisions record, usually the bundle's model hash.
    items: the offers' attributes as they are now.

    A model that never saw a customer who got nothing can't know ``p0``, which then counts as 0: where any purchase is
    a response, its values are those of responses and not of increments; where only the contact's own offer counts, as
    with redemptions, there is no ``p0``. :attr:`incremental` says which one it is.
    """

    def __init__(
        self,
        model: ResponseModel,
        *,
        rules: Rules,
        version: str,
        items: Items = MappingProxyType({}),
    ) -> None:
        self.version = version
        self._model = model
        self._encoder = model.encoder_
        self._names = rules.book.feature_names
        self._actions = self._action_codes(rules, items)
        sent = [each for each in self._encoder.columns if each.name in _SENT]
        self.incremental = any(NOTHING in (each.categories or ()) for each in sent)
        picked = self._matching(rules, items)
        beside = sorted({name for picks in picked for _, name in picks})
        self._beside = beside
        self._matches = [[(place, beside.index(name)) for place, name in picks] for picks in picked]
        self._reads = [*self._own_reads(), *self._beside_reads(picked)]
        offers = [treatment.offer for treatment in rules.treatments]
        self._worth = np.array([offer.value_cents for offer in offers], dtype=np.float64)
        self._kept = self._worth - np.array([offer.discount_cents for offer in offers], dtype=np.float64)
        self._costs = np.array(rules.costs[1:], dtype=np.float64)

    def values(self, rows: Sequence[Row]) -> np.ndarray:
        """Expected incremental profit (rows, actions) of rows in the order of the features' names."""
        encoded = self._empty(len(rows))
        for place, source, column in self._reads:
            encoded[:, place] = [column.encode_one(row[source]) for row in rows]
        return self._values(encoded)

    def values_of(self, table: pa.Table) -> np.ndarray:
        """Expected incremental profit (rows, actions) of a table of features."""
        encoded = self._empty(table.num_rows)
        for place, source, column in self._reads:
            encoded[:, place] = column.encode(table[self._names[source]].to_pandas())
        return self._values(encoded)

    def _empty(self, rows: int) -> np.ndarray:
        return np.full((rows, len(self._encoder.columns) + len(self._beside)), np.nan)

    def _values(self, encoded: np.ndarray) -> np.ndarray:
        """(rows, columns, then what matching columns pick from), the actions' columns empty -> (rows, actions)."""
        most = max(1, _ROWS_AT_ONCE // len(self._actions))
        parts = [self._chances(encoded[start : start + most]) for start in range(0, len(encoded), most)]
        chances = np.concatenate(parts) if parts else np.zeros((0, len(self._actions)))
        values = np.zeros(chances.shape)
        unprompted = chances[:, :1] if self.incremental else 0.0
        values[:, 1:] = chances[:, 1:] * self._kept - unprompted * self._worth - self._costs
        return values

    def _chances(self, encoded: np.ndarray) -> np.ndarray:
        """P(response) under each action (rows, actions), all in one call of the trees."""
        width = len(self._encoder.columns)
        rows = np.repeat(encoded[:, np.newaxis, :width], len(self._actions), axis=1)
        for action, codes in enumerate(self._actions):
            for place, code in codes:
                rows[:, action, place] = code
            for place, beside in self._matches[action]:
                rows[:, action, place] = encoded[:, width + beside]
        flat = rows.reshape(-1, width)
        # A tree looks at one row at a time: the bits are the same on one thread and on all.
        threads = 1 if len(flat) < _ROWS_OF_A_REQUEST else 0
        raw = self._model.booster_.predict(flat, raw_score=True, num_threads=threads)
        chances: np.ndarray = self._model.calibration_.apply(np.asarray(raw))
        return chances.reshape(len(encoded), len(self._actions))

    def _told(self, name: str) -> bool:
        """Whether a column of the model says what was sent, rather than who the customer is."""
        return name in _SENT or (name.startswith(_ATTRIBUTE) and name not in self._names)

    def _own_reads(self) -> Iterator[tuple[int, int, Column]]:
        """Place in the encoded row, place in a feature row, and encoder of each feature that the model has."""
        for place, column in enumerate(self._encoder.columns):
            if not self._told(column.name) and not is_pattern(column.name):
                yield place, self._place(column.name), column

    def _beside_reads(self, picked: list[list[tuple[int, str]]]) -> Iterator[tuple[int, int, Column]]:
        """The same for the features that matching columns pick from, which stand beside the model's columns."""
        columns = {name: self._encoder.columns[place] for picks in picked for place, name in picks}
        width = len(self._encoder.columns)
        for beside, name in enumerate(self._beside):
            yield width + beside, self._place(name), columns[name]

    def _place(self, name: str) -> int:
        """The place of a feature in a feature row."""
        if name not in self._names:
            raise InputError(
                f"the model reads {name!r}, which is no feature of the project",
                got=f"{len(self._names)} features",
                do="train the model on the project's features",
            )
        return self._names.index(name)

    def _matching(self, rules: Rules, items: Items) -> list[list[tuple[int, str]]]:
        """For each action the columns that match the offer or its channel, and the feature that each one picks."""
        wanted = [(place, each.name) for place, each in enumerate(self._encoder.columns) if is_pattern(each.name)]
        found: list[list[tuple[int, str]]] = [[]]
        for treatment in rules.treatments:
            offer = treatment.offer
            words = {
                "channel": treatment.channel,
                "category": offer.category or None,
                "brand": items.get(offer.offer_id, {}).get("brand"),
                "offer": offer.offer_id,
            }
            picks = ((place, matched(pattern, words)) for place, pattern in wanted)
            found.append([(place, name) for place, name in picks if name in self._names])
        return found

    def _action_codes(self, rules: Rules, items: Items) -> list[list[tuple[int, float]]]:
        """For each action the codes of the columns that say what was sent."""
        told: list[dict[str, str | None]] = [{TREATMENT: NOTHING, OFFER: NOTHING, CHANNEL: NOTHING}]
        for treatment in rules.treatments:
            offer_id = treatment.offer.offer_id
            sent = {TREATMENT: treatment.treatment_id, OFFER: offer_id, CHANNEL: treatment.channel}
            told.append({**{_ATTRIBUTE + name: value for name, value in items.get(offer_id, {}).items()}, **sent})
        named = [(place, each) for place, each in enumerate(self._encoder.columns) if self._told(each.name)]
        if not any(column.name in _SENT for _, column in named):
            raise InputError(
                "the response model does not know what was sent",
                got=f"no column {TREATMENT!r}, {OFFER!r} or {CHANNEL!r}",
                do="train it from the project, or with --treatment COL",
            )
        # A category that the model never saw is missing.
        return [[(place, column.encode_one(each.get(column.name))) for place, column in named] for each in told]


def items_of(facts: pa.Table) -> dict[str, dict[str, str | None]]:
    """The latest value of each attribute of each item, from facts in the columns of ``features.facts.ITEMS``."""
    ordered = facts.sort_by([("occurred_at", "ascending"), ("recorded_at", "ascending"), ("value", "ascending")])
    found: dict[str, dict[str, str | None]] = {}
    columns = (ordered[name].to_pylist() for name in ("item", "attribute", "value"))
    for item, attribute, value in zip(*columns, strict=True):
        found.setdefault(item, {})[attribute] = value
    return found
