"""Expected incremental profit of every action for a customer, from a response model."""

from __future__ import annotations

from collections.abc import Sequence
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

_ROWS_AT_ONCE = 1 << 18


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
    off, as is the contact's cost. A model whose treatments hold no ``nothing`` knows no ``p0``: it counts as 0, so
    the value is that of the response and not of the increment, and :attr:`incremental` is False.

    Parameters
    ----------
    model: trained on the columns of ``rules.book.feature_names`` and on ``treatment``, ``offer`` or ``channel``.
    version: what decisions record, usually the bundle's model hash.
    """

    def __init__(self, model: ResponseModel, *, rules: Rules, version: str) -> None:
        self.version = version
        self._model = model
        self._encoder = model.encoder_
        self._names = rules.book.feature_names
        self._actions = self._action_codes(rules)
        offers = [treatment.offer for treatment in rules.treatments]
        self._worth = np.array([offer.value_cents for offer in offers], dtype=np.float64)
        self._kept = self._worth - np.array([offer.discount_cents for offer in offers], dtype=np.float64)
        self._costs = np.array(rules.costs[1:], dtype=np.float64)

    def values(self, rows: Sequence[Row]) -> np.ndarray:
        """Expected incremental profit (rows, actions) of rows in the order of the features' names."""
        columns = self._encoder.columns
        encoded = np.full((len(rows), len(columns)), np.nan)
        for place, source in self._sources():
            encode = columns[place].encode_one
            encoded[:, place] = [encode(row[source]) for row in rows]
        return self._values(encoded)

    def values_of(self, table: pa.Table) -> np.ndarray:
        """Expected incremental profit (rows, actions) of a table of features."""
        encoded = np.full((table.num_rows, len(self._encoder.columns)), np.nan)
        for place, source in self._sources():
            column = self._encoder.columns[place]
            encoded[:, place] = column.encode(table[self._names[source]].to_pandas())
        return self._values(encoded)

    def _values(self, encoded: np.ndarray) -> np.ndarray:
        """Fill in each action in turn: (rows, columns) -> (rows, actions)."""
        values = np.zeros((len(encoded), len(self._actions)))
        chance = self._chances(encoded, 0) if self.incremental else np.zeros(len(encoded))
        for action in range(1, len(self._actions)):
            place = action - 1
            response = self._chances(encoded, action)
            values[:, action] = response * self._kept[place] - chance * self._worth[place] - self._costs[place]
        return values

    def _chances(self, encoded: np.ndarray, action: int) -> np.ndarray:
        for place, codes in self._actions[action]:
            encoded[:, place] = codes
        parts = [
            self._model.predict_rows(encoded[start : start + _ROWS_AT_ONCE])
            for start in range(0, len(encoded), _ROWS_AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    @property
    def incremental(self) -> bool:
        """Whether the model saw customers who got nothing, so that values are increments."""
        return any(
            NOTHING in (column.categories or ())
            for column in self._encoder.columns
            if column.name in (TREATMENT, OFFER, CHANNEL)
        )

    def _sources(self) -> list[tuple[int, int]]:
        known = {name: place for place, name in enumerate(self._names)}
        pairs = []
        for place, column in enumerate(self._encoder.columns):
            if column.name in (TREATMENT, OFFER, CHANNEL):
                continue
            if column.name not in known:
                raise InputError(
                    f"the model reads {column.name!r}, which is no feature of the project",
                    got=f"{len(known)} features",
                    do="train the model on the project's features",
                )
            pairs.append((place, known[column.name]))
        return pairs

    def _action_codes(self, rules: Rules) -> list[list[tuple[int, float]]]:
        """For each action the codes of the columns that say what was sent."""
        told = [{TREATMENT: NOTHING, OFFER: NOTHING, CHANNEL: NOTHING}]
        for treatment in rules.treatments:
            told.append(
                {TREATMENT: treatment.treatment_id, OFFER: treatment.offer.offer_id, CHANNEL: treatment.channel}
            )
        columns = self._encoder.columns
        named = [(place, column) for place, column in enumerate(columns) if column.name in (TREATMENT, OFFER, CHANNEL)]
        if not named:
            raise InputError(
                "the response model does not know what was sent",
                got=f"no column {TREATMENT!r}, {OFFER!r} or {CHANNEL!r}",
                do="train it from the project, or with --treatment COL",
            )
        return [[(place, column.encode_one(each[column.name])) for place, column in named] for each in told]
