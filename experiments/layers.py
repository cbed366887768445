"""Experiments beside each other: in one layer they share no unit, in different layers they decide different asks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from experiments.assignment import uniform
from experiments.design import Experiment
from features.errors import InputError

_PREFIX = "layer:"


def in_slice(unit_id: str, *, layer: str, slice: tuple[float, float]) -> bool:
    """Whether a slice of a layer takes a unit.

    The line is ``experiments.assignment.uniform`` under the key ``layer:<name>``, so it is independent of every
    experiment's own split and of other layers.

    >>> [in_slice("customer-1", layer="main", slice=part) for part in ((0.0, 0.5), (0.5, 1.0))]
    [False, True]
    """
    first, last = slice
    return (first, last) == (0.0, 1.0) or first <= uniform(unit_id, _PREFIX + layer) < last


def check_together(designs: Sequence[Experiment]) -> None:
    """Refuse experiments that would decide the same ask or share a unit of their layer, naming both.

    Raises
    ------
    InputError
        When slices of one layer overlap, its experiments have different units, or two layers decide the same asks.
    """
    for one, other in combinations(designs, 2):
        (_check_one_layer if one.layer == other.layer else _check_two_layers)(one, other)


def _check_one_layer(one: Experiment, other: Experiment) -> None:
    if one.slice[0] < other.slice[1] and other.slice[0] < one.slice[1]:
        raise InputError(
            f"experiments {one.key!r} and {other.key!r} run at once and share units of layer {one.layer!r}",
            got=f"slice {list(one.slice)} and slice {list(other.slice)}",
            do="give them parts of the layer that don't overlap, such as [0, 0.5] and [0.5, 1], or name the one that "
            "decides with --experiment",
        )
    # A line of customers and a line of households are two lines: a customer could stand in both slices.
    if (one.unit == "household") != (other.unit == "household"):
        raise InputError(
            f"experiments {one.key!r} and {other.key!r} of layer {one.layer!r} assign different units",
            got=f"{one.unit} and {other.unit}",
            do="give them one unit, or layers and placements of their own",
        )


def _check_two_layers(one: Experiment, other: Experiment) -> None:
    shared = sorted(set(one.placements) & set(other.placements))
    if shared or not (one.placements or other.placements):
        raise InputError(
            f"experiments {one.key!r} and {other.key!r} of different layers would decide the same asks",
            got=f"placements {', '.join(shared)} in both" if shared else "no placements in either",
            do="give them different placements, or put them into one layer with slices that don't overlap",
        )
