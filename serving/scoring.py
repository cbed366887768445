"""Expected incremental profit of every action for a customer, from a response model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
import pyarrow as pa

from features.errors import InputError
from serving.catalogue import NOTHING
from serving.conditions import Row
from serving.rules import Rules
from training.models import ResponseModel

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
        are ``nothing`` or empty where nothing was sent, and maybe on attributes of offers.
    version: what decisions record, usually the bundle's model hash.
    items: the offers' attributes as they are now.
    incremental: False for a model that never saw a customer who got nothing: ``p0`` can't be known then and counts as
        0, so that the value is the response's and not the increment's.
    """

    def __init__(
        self,
        model: ResponseModel,
        *,
        rules: Rules,
        version: str,
        items: Items = MappingProxyType({}),
        incremental: bool = True,
    ) -> None:
        self.version = version
        self.incremental = incremental
        self._model = model
        self._encoder = model.encoder_
        self._names = rules.book.feature_names
        self._actions = self._action_codes(rules, items)
        self._sources = self._feature_places()
        offers = [treatment.offer for treatment in rules.treatments]
        self._worth = np.array([offer.value_cents for offer in offers], dtype=np.float64)
        self._kept = self._worth - np.array([offer.discount_cents for offer in offers], dtype=np.float64)
        self._costs = np.array(rules.costs[1:], dtype=np.float64)

    def values(self, rows: Sequence[Row]) -> np.ndarray:
        """Expected incremental profit (rows, actions) of rows in the order of the features' names."""
        columns = self._encoder.columns
        encoded = np.full((len(rows), len(columns)), np.nan)
        for place, source in self._sources:
            encode = columns[place].encode_one
            encoded[:, place] = [encode(row[source]) for row in rows]
        return self._values(encoded)

    def values_of(self, table: pa.Table) -> np.ndarray:
        """Expected incremental profit (rows, actions) of a table of features."""
        encoded = np.full((table.num_rows, len(self._encoder.columns)), np.nan)
        for place, source in self._sources:
            column = self._encoder.columns[place]
            encoded[:, place] = column.encode(table[self._names[source]].to_pandas())
        return self._values(encoded)

    def _values(self, encoded: np.ndarray) -> np.ndarray:
        """(rows, columns) with the actions' columns empty -> (rows, actions)."""
        most = max(1, _ROWS_AT_ONCE // len(self._actions))
        parts = [self._chances(encoded[start : start + most]) for start in range(0, len(encoded), most)]
        chances = np.concatenate(parts) if parts else np.zeros((0, len(self._actions)))
        values = np.zeros(chances.shape)
        unprompted = chances[:, :1] if self.incremental else 0.0
        values[:, 1:] = chances[:, 1:] * self._kept - unprompted * self._worth - self._costs
        return values

    def _chances(self, encoded: np.ndarray) -> np.ndarray:
        """P(response) under each action (rows, actions), all in one call of the trees."""
        rows = np.repeat(encoded[:, np.newaxis, :], len(self._actions), axis=1)
        for action, codes in enumerate(self._actions):
            for place, code in codes:
                rows[:, action, place] = code
        flat = rows.reshape(-1, encoded.shape[1])
        # A tree looks at one row at a time: the bits are the same on one thread and on all.
        threads = 1 if len(flat) < _ROWS_OF_A_REQUEST else 0
        raw = self._model.booster_.predict(flat, raw_score=True, num_threads=threads)
        chances: np.ndarray = self._model.calibration_.apply(np.asarray(raw))
        return chances.reshape(len(encoded), len(self._actions))

    def _told(self, name: str) -> bool:
        """Whether a column of the model says what was sent, rather than who the customer is."""
        return name in _SENT or (name.startswith(_ATTRIBUTE) and name not in self._names)

    def _feature_places(self) -> list[tuple[int, int]]:
        """(place in the model's columns, place in a feature row) of each feature that the model reads."""
        known = {name: place for place, name in enumerate(self._names)}
        wanted = [(place, each.name) for place, each in enumerate(self._encoder.columns) if not self._told(each.name)]
        for _, name in wanted:
            if name not in known:
                raise InputError(
                    f"the model reads {name!r}, which is no feature of the project",
                    got=f"{len(known)} features",
                    do="train the model on the project's features",
                )
        return [(place, known[name]) for place, name in wanted]

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
        # A category that the model never saw, as ``nothing`` is where nothing sent left the column empty, is missing.
        return [[(place, column.encode_one(each.get(column.name))) for place, column in named] for each in told]


def items_of(facts: pa.Table) -> dict[str, dict[str, str | None]]:
    """The latest value of each attribute of each item, from facts in the columns of ``features.facts.ITEMS``."""
    ordered = facts.sort_by([("occurred_at", "ascending"), ("recorded_at", "ascending"), ("value", "ascending")])
    found: dict[str, dict[str, str | None]] = {}
    columns = (ordered[name].to_pylist() for name in ("item", "attribute", "value"))
    for item, attribute, value in zip(*columns, strict=True):
        found.setdefault(item, {})[attribute] = value
    return found
