"""Fitting the lower rungs of the ladder from a table of expected values: static, segment and few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans

from experiments.policies.fixed import Few, Segment, Static
from features.errors import InputError


def fit_static(values: np.ndarray, *, actions: Sequence[str]) -> Static:
    """The one action with the highest mean of ``values`` (n, actions)."""
    return Static(treatment=_best(values, actions))


def fit_segment(
    values: np.ndarray, *, actions: Sequence[str], segments: Sequence[str | None], by: str | None = None
) -> Segment:
    """The best action of each segment; customers of unseen segments, or of none, get what is best over all.

    ``by``: the text feature that the segments are the values of, if they are.
    """
    labels = np.asarray(segments, dtype=object)
    names = sorted({each for each in segments if each is not None})
    table = {name: _best(values[labels == name], actions) for name in names}
    return Segment(table=table, default=_best(values, actions), by=by)


def fit_few(
    values: np.ndarray, *, actions: Sequence[str], features: np.ndarray, names: Sequence[str], clusters: int, seed: int
) -> Few:
    """k clusters of customers by their ``features`` (n, len(names)), and the best action of each.

    Features are scaled to unit deviation, missing ones count as the mean; clusters by k-means (Lloyd 1982).
    """
    if not 1 <= clusters <= len(features) or features.shape[1] != len(names):
        raise InputError(
            "the clusters can't be fitted",
            got=f"{clusters} clusters of {len(features)} customers, {features.shape[1]} features, {len(names)} names",
            do="ask for fewer clusters than customers and name each feature",
        )
    means = np.nanmean(features, axis=0)
    deviations = np.nanstd(features, axis=0)
    scales = np.where(deviations > 0, deviations, 1.0)
    scaled = np.nan_to_num((features - means) / scales)
    found = KMeans(n_clusters=clusters, n_init=4, random_state=seed).fit(scaled)
    return Few(
        names=tuple(names),
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        centroids=tuple(map(tuple, found.cluster_centers_.tolist())),
        treatments=tuple(_best(values[found.labels_ == each], actions) for each in range(clusters)),
    )


def _best(values: np.ndarray, actions: Sequence[str]) -> str:
    if values.ndim != 2 or values.shape[1] != len(actions) or not len(values):
        raise InputError(
            "the values don't fit the actions",
            got=f"values of shape {values.shape} for {len(actions)} actions",
            do="pass one row per customer and one column per action",
        )
    return actions[int(np.argmax(values.mean(axis=0)))]
