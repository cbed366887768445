"""LightGBM at one edge: deterministic training, trees as text, and a reader that trusts no text."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Read when LightGBM is loaded. Threads that spin while they wait made training ten times slower on busy cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import lightgbm as lgb
import numpy as np

from features.errors import InputError

_SMALL = 2_000_000

Fold = tuple[np.ndarray, np.ndarray]
"""Positions of the rows that train and of those that are held out."""

# Same data, seed and versions give the same trees (promise F4): both switches are needed for that, and cost little.
FIXED: Mapping[str, Any] = {
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "feature_pre_filter": False,
    # Up to this many categories each split takes one against the rest; sets of categories overfit small groups.
    "max_cat_to_onehot": 64,
    "cat_smooth": 30.0,
}


def trees(
    rows: np.ndarray,
    target: np.ndarray,
    *,
    params: Mapping[str, Any],
    rounds: int,
    categorical: Sequence[int] = (),
    weight: np.ndarray | None = None,
    group: np.ndarray | None = None,
) -> lgb.Booster:
    """A booster of ``rounds`` trees over ``rows`` (n, features) and ``target`` (n,), whole in its text."""
    together = _together(params, rows)
    data = lgb.Dataset(rows, target, weight=weight, group=group, categorical_feature=list(categorical), params=together)
    return lgb.train(together, data, num_boost_round=rounds)


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Boosters of a cross-validation, one a fold, and the number of trees at which their mean loss was least."""

    boosters: tuple[lgb.Booster, ...]
    folds: tuple[Fold, ...]
    rounds: int

    def held_out(self, rows: np.ndarray) -> np.ndarray:
        """Raw score (rows,) of each row from the booster that did not see it; NaN for rows in no fold."""
        scores = np.full(len(rows), np.nan)
        for booster, (_, test) in zip(self.boosters, self.folds, strict=True):
            scores[test] = booster.predict(rows[test], raw_score=True, num_iteration=self.rounds)
        return scores


def cross_validate(
    rows: np.ndarray,
    target: np.ndarray,
    *,
    params: Mapping[str, Any],
    folds: Sequence[Fold],
    most: int,
    patience: int,
    categorical: Sequence[int] = (),
    weight: np.ndarray | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> Folded:
    """Grow a booster for each of ``folds`` until their mean loss on the held-out rows stops falling.

    Parameters
    ----------
    most: the most rounds; training stops ``patience`` rounds after the best, and at least one round counts.
    watch: called with (round, mean loss) after each round; what it raises ends the training (Optuna's pruning).
    """
    together = _together(params, rows)
    data = lgb.Dataset(rows, target, weight=weight, categorical_feature=list(categorical), params=together)

    def tell(env: Any) -> None:
        if watch is not None:
            watch(int(env.iteration), float(env.evaluation_result_list[0][2]))

    found = lgb.cv(
        together,
        data,
        num_boost_round=most,
        folds=list(folds),
        return_cvbooster=True,
        callbacks=[tell, lgb.early_stopping(patience, verbose=False)],
    )["cvbooster"]
    return Folded(boosters=tuple(found.boosters), folds=tuple(folds), rounds=max(1, int(found.best_iteration)))


def _together(params: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    # Small tables are quicker on one thread; the trees are the same on any number.
    threads = params.get("num_threads") or (1 if rows.size < _SMALL else min(os.cpu_count() or 1, 8))
    return {**FIXED, **params, "num_threads": threads}


def as_text(booster: lgb.Booster) -> str:
    """The trees as text, without the parameters: they hold ports and thread counts, which are not the model."""
    trees = str(booster.model_to_string()).partition("\nparameters:")[0].partition("\npandas_categorical:")[0]
    return trees.rstrip("\n") + "\n"


def from_text(text: str, *, features: int) -> lgb.Booster:
    """The booster of ``text``; raises InputError where it is not what ``as_text`` wrote.

    LightGBM's own reader ends the whole process on some broken texts and follows whatever node numbers it finds, so
    every tree is checked first: numbers of features and nodes in range, children after their parents, finite values.
    """
    try:
        _check(text, features=features)
        return lgb.Booster(model_str=text)
    except (ValueError, KeyError, IndexError, lgb.basic.LightGBMError) as error:
        raise InputError(
            "the trees of the model can't be read", got=str(error) or "broken text", do="train or fetch the model anew"
        ) from error


def gains(booster: lgb.Booster) -> np.ndarray:
    """Share of the total gain that each feature brought (features,); zeros where no tree split."""
    gain = np.asarray(booster.feature_importance("gain"), dtype=np.float64)
    return gain / gain.sum() if gain.sum() > 0 else gain


def _check(text: str, *, features: int) -> None:
    head, *blocks = text.split("\nTree=")
    fields = _fields(head)
    if not head.startswith("tree\n") or fields.get("version") != "v4":
        raise ValueError("no LightGBM text of version 4")
    if fields.get("num_tree_per_iteration") != "1" or int(fields["max_feature_idx"]) != features - 1:
        raise ValueError(f"max_feature_idx={fields['max_feature_idx']} where the manifest names {features} features")
    if not blocks or "\nend of trees\n" not in blocks[-1]:
        raise ValueError("the end of the trees is missing")
    blocks[-1] = blocks[-1].split("end of trees\n")[0]
    sizes = [len(f"Tree={block}\n".encode()) for block in blocks[:-1]] + [len(f"Tree={blocks[-1]}".encode())]
    if [int(size) for size in fields["tree_sizes"].split()] != sizes:
        raise ValueError("sizes of trees that differ from those in the head")
    for number, block in enumerate(blocks):
        first, _, rest = block.partition("\n")
        if first != str(number):
            raise ValueError(f"tree {first!r} in the place of tree {number}")
        _check_tree(_fields(rest), features=features)


def _fields(block: str) -> dict[str, str]:
    pairs = [line.split("=", 1) for line in block.splitlines() if "=" in line]
    fields = {pair[0]: pair[1] for pair in pairs}
    if len(fields) != len(pairs):
        raise ValueError("a field that is there twice")
    return fields


def _check_tree(tree: Mapping[str, str], *, features: int) -> None:
    leaves = int(tree["num_leaves"])
    nodes = leaves - 1
    if leaves < 1 or tree["is_linear"] != "0":
        raise ValueError("a tree of another kind")
    _numbers(tree["leaf_value"], leaves)
    if nodes == 0:
        return
    for name in ("leaf_weight", "leaf_count"):
        _numbers(tree[name], leaves)
    for name in ("split_gain", "internal_value", "internal_weight", "internal_count"):
        _numbers(tree[name], nodes, infinite=True)
    _within(tree["split_feature"], nodes, 0, features)
    sides = [_within(tree[side], nodes, -leaves, nodes) for side in ("left_child", "right_child")]
    # A node is written after its parent, so a walk always moves on; each child has one parent.
    if (
        any(0 <= child <= node for side in sides for node, child in enumerate(side))
        or len({*sides[0], *sides[1]}) != 2 * nodes
    ):
        raise ValueError("a tree whose nodes run in a circle")
    kinds = _within(tree["decision_type"], nodes, 0, 16)
    thresholds = _numbers(tree["threshold"], nodes, infinite=True)
    _check_categories(tree, [int(value) for value, kind in zip(thresholds, kinds, strict=True) if kind & 1])


def _check_categories(tree: Mapping[str, str], chosen: Sequence[int]) -> None:
    sets = int(tree["num_cat"])
    if len(chosen) != sets or any(not 0 <= place < sets for place in chosen):
        raise ValueError("a split by a category set that is not there")
    if sets == 0:
        return
    words = tree["cat_threshold"].split()
    bounds = _within(tree["cat_boundaries"], sets + 1, 0, len(words) + 1)
    _within(tree["cat_threshold"], len(words), 0, 1 << 32)
    if bounds[0] != 0 or bounds[-1] != len(words) or sorted(bounds) != bounds:
        raise ValueError("a tree whose categories don't add up")


def _numbers(text: str, count: int, *, infinite: bool = False) -> list[float]:
    numbers = [float(value) for value in text.split()]
    if len(numbers) != count or any(math.isnan(value) or (math.isinf(value) and not infinite) for value in numbers):
        raise ValueError("a tree whose values don't add up or are no numbers")
    return numbers


def _within(text: str, count: int, low: int, high: int) -> list[int]:
    numbers = [int(value) for value in text.split()]
    if len(numbers) != count or any(not low <= number < high for number in numbers):
        raise ValueError("a tree that points outside itself")
    return numbers
