"""What every model promises: shapes, determinism, gaps, near names in errors, bundles that predict the same bits."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from features.errors import InputError
from training.models import OfferRecommender, ResponseModel, UpliftModel
from training.models.bundle import read_bundle

ROWS = 1200
FEATURES = SimpleNamespace(names=("recency_days", "channel"), fingerprint="f00d", declarations={})


def _table() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(
        {
            "recency_days": rng.exponential(30, ROWS),
            "channel": rng.choice(["web", "mail", "store"], ROWS),
            "loyal": rng.random(ROWS) < 0.3,
            "segment": pd.Categorical(rng.choice(["a", "b"], ROWS)),
            "empty": np.full(ROWS, np.nan),
        }
    )
    frame.loc[::7, "recency_days"] = np.nan
    frame.loc[::5, "channel"] = None
    return frame


def _response(model: Any) -> Any:
    frame = _table()
    chance = 0.1 + 0.3 * frame["loyal"].to_numpy() + 0.2 * (frame["channel"] == "web").to_numpy()
    return model.fit(frame, np.random.default_rng(2).random(ROWS) < chance)


def _uplift(model: Any) -> Any:
    frame, rng = _table(), np.random.default_rng(2)
    arm = rng.choice(["nothing", "shoes@mail", "hats@web"], ROWS)
    chance = 0.1 + 0.5 * (frame["loyal"].to_numpy() & (arm == "shoes@mail"))
    return model.fit(frame, rng.random(ROWS) < chance, arm, control="nothing")


def _interactions() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    customers = rng.integers(0, 200, ROWS)
    return pd.DataFrame(
        {
            "customer_id": [f"c{each}" for each in customers],
            # Even customers take even items.
            "item_id": [f"i{each}" for each in 2 * rng.integers(0, 10, ROWS) + customers % 2],
            "weight": 1.0,
        }
    )


@dataclass(frozen=True)
class Case:
    """One model: how it is made, fitted, asked; the shape of its answer; the table it was fitted on, one column."""

    new: Callable[[], Any]
    fit: Callable[[Any], Any]
    ask: Callable[[Any], np.ndarray]
    shape: tuple[int, ...]
    refit: Callable[[Any, pd.DataFrame], Any]
    table: Callable[[], pd.DataFrame]
    column: str


CASES = {
    "response": Case(
        new=ResponseModel,
        fit=_response,
        ask=lambda model: model.predict_proba(_table()),
        shape=(ROWS, 2),
        refit=lambda model, frame: model.predict_proba(frame),
        table=_table,
        column="channel",
    ),
    "uplift": Case(
        new=UpliftModel,
        fit=_uplift,
        ask=lambda model: model.predict(_table()).to_numpy(),
        shape=(ROWS, 2),
        refit=lambda model, frame: model.predict(frame),
        table=_table,
        column="channel",
    ),
    "offers": Case(
        new=OfferRecommender,
        fit=lambda model: model.fit(_interactions()),
        ask=lambda model: model.recommend([f"c{each}" for each in range(200)], 5)[1],
        shape=(200, 5),
        refit=lambda model, frame: model.fit(frame),
        table=_interactions,
        column="item_id",
    ),
}


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def fitted(case) -> Any:
    return case.fit(case.new())


def test_shapes_and_no_gaps(case, fitted):
    answer = case.ask(fitted)
    assert answer.shape == case.shape
    assert not np.isnan(answer).any()


def test_same_data_and_seed_give_the_same_hash(case, fitted):
    """F4."""
    assert case.fit(case.new()).bundle().model_hash == fitted.bundle().model_hash


def test_threads_are_no_part_of_the_model(case, fitted):
    assert case.fit(case.new().set_params(threads=1)).bundle().model_hash == fitted.bundle().model_hash


def test_parameters_are_scikit_learns(case):
    model = case.new().set_params(seed=9)
    assert clone(model).get_params() == model.get_params()
    assert model.get_params()["seed"] == 9


def test_a_bundle_predicts_the_same_bits_and_saves_the_same_again(case, fitted, tmp_path):
    again = case.new().load(fitted.save(tmp_path / "model", features=FEATURES))
    assert case.ask(again).tobytes() == case.ask(fitted).tobytes()
    assert again.bundle(features=FEATURES).model_hash == read_bundle(tmp_path / "model").model_hash
    assert again.importances == fitted.importances


def test_a_missing_column_is_named_with_the_near_ones(case, fitted):
    wrong = case.table().rename(columns={case.column: case.column + "s"})
    with pytest.raises(InputError) as caught:
        case.refit(fitted if case.table is _table else case.new(), wrong)
    assert caught.value.wrong == f"unknown column {case.column!r}"
    assert caught.value.do.startswith(f"did you mean '{case.column}s'")


def test_untrained_models_say_so(case):
    with pytest.raises(InputError, match="not trained"):
        case.ask(case.new())


def test_another_kind_of_bundle_is_refused(case, fitted, tmp_path):
    folder = fitted.save(tmp_path / "model")
    for other in CASES.values():
        if other.new is not case.new:
            with pytest.raises(InputError, match="another kind"):
                other.new().load(folder)


def test_importances_are_shares(fitted):
    shares = list(fitted.importances.values())
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
