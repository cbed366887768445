"""The response model takes tables as people have them, and says what P(response) is."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import InputError
from training.models import ResponseModel
from training.models.calibration import Calibration, logistic_line
from training.models.encoding import TableEncoder
from training.models.response import binary_label


@pytest.mark.parametrize(
    ("labels", "classes", "positive"),
    [
        ([True, False], [False, True], None),
        ([0, 1], [0, 1], None),
        ([1.0, 0.0], [0.0, 1.0], None),
        (["yes", "no"], ["no", "yes"], None),
        (["Y", "N"], ["N", "Y"], None),
        (["no", "bought"], ["no", "bought"], None),
        (["left", "stayed"], ["stayed", "left"], "left"),
        ([2, 1], [2, 1], 1),
    ],
)
def test_the_response_is_the_second_class(labels, classes, positive):
    found, target = binary_label(labels, positive=positive)
    assert found.tolist() == classes
    assert target.tolist() == [1.0 if label == classes[1] else 0.0 for label in labels]


@pytest.mark.parametrize(
    ("labels", "wrong"),
    [
        (["left", "stayed"], "it is not clear which label is the response"),
        ([3, 2], "it is not clear which label is the response"),
        ([0, 0], "the label must have two values"),
        ([0, 1, 2], "the label must have two values"),
        ([True, None], "the label has gaps"),
    ],
)
def test_unclear_labels_are_refused(labels, wrong):
    with pytest.raises(InputError) as caught:
        binary_label(labels)
    assert caught.value.wrong == wrong


@pytest.mark.parametrize("dtype", ["string[python]", "category", "object", "arrow"])
def test_text_is_the_same_whatever_pandas_calls_it(dtype):
    texts = ["web", None, "mail", "web"]
    frame = pd.DataFrame({"channel": texts})
    if dtype == "arrow":
        frame = pa.table({"channel": texts}).to_pandas(types_mapper=pd.ArrowDtype)
    else:
        frame = frame.astype(dtype)
    encoder = TableEncoder.fit(frame)
    assert encoder.columns[0].categories == ("mail", "web")
    np.testing.assert_array_equal(encoder.encode(frame)[:, 0], [1, np.nan, 0, 1])


def test_numbers_of_all_kinds_are_numbers():
    import decimal

    frame = pd.DataFrame(
        {
            "int": pd.array([1, None], dtype="Int64"),
            "bool": pd.array([True, None], dtype="boolean"),
            "objects": pd.Series([decimal.Decimal("1.5"), None], dtype=object),
            "flags": pd.Series([True, None], dtype=object),
        }
    )
    encoder = TableEncoder.fit(frame)
    np.testing.assert_array_equal(encoder.encode(frame), [[1, 1, 1.5, 1], [np.nan] * 4])
    records = [{"int": 1, "bool": True, "objects": 1.5, "flags": True}, dict.fromkeys(frame.columns)]
    np.testing.assert_array_equal(encoder.encode_rows(records), encoder.encode(frame))


@pytest.mark.parametrize("values", [pd.to_datetime(["2026-01-01"]), pd.Series([[1, 2]])])
def test_dates_and_lists_are_refused_by_name(values):
    with pytest.raises(InputError, match="'when' holds"):
        TableEncoder.fit(pd.DataFrame({"when": values}))


def test_text_where_a_number_was_is_refused():
    encoder = TableEncoder.fit(pd.DataFrame({"visits": [1, 2]}))
    with pytest.raises(InputError, match="'visits' was a number"):
        encoder.encode(pd.DataFrame({"visits": ["many"]}))


_CELLS = {
    "visits": st.none() | st.integers(-5, 5) | st.floats(allow_nan=True),
    "channel": st.none() | st.sampled_from("abcd"),
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries(_CELLS), min_size=1, max_size=20))
def test_rows_without_pandas_are_the_rows_of_the_frame(records):
    encoder = TableEncoder.fit(pd.DataFrame({"visits": [1.0, 2.0], "channel": ["a", "b"]}))
    frame = pd.DataFrame({name: pd.Series([row[name] for row in records], dtype=object) for name in _CELLS})
    np.testing.assert_array_equal(encoder.encode_rows(records), encoder.encode(frame))


def _world(rows: int, *, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A world whose P(response) is known."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"x": rng.normal(size=rows), "z": rng.normal(size=rows), "kind": rng.choice(list("abc"), rows)}
    )
    chance = 1 / (1 + np.exp(2.5 - frame["x"] - 1.5 * (frame["kind"] == "b") * (frame["z"] > 0))).to_numpy()
    return frame, rng.random(rows) < chance, chance


def test_probabilities_are_near_the_known_ones():
    frame, label, _ = _world(20_000, seed=1)
    model = ResponseModel().fit(frame, label)
    later, _, chance = _world(20_000, seed=2)
    predicted = model.predict_proba(later)[:, 1]
    # The base rate alone is off by 0.1 on average here; boosting on 20,000 rows by a fifth of that.
    assert np.abs(predicted - chance).mean() < 0.02
    assert np.abs(label.mean() - chance).mean() > 0.09
    assert predicted.mean() == pytest.approx(chance.mean(), abs=0.01)


def test_the_seed_hardly_matters():
    """Neither rows nor columns are sampled: only the number of trees and the calibration depend on the folds."""
    frame, label, _ = _world(5000, seed=1)
    one, two = (ResponseModel(seed=seed).fit(frame, label).predict_proba(frame)[:, 1] for seed in (1, 2))
    assert np.corrcoef(one, two)[0, 1] > 0.99


def test_order_of_columns_and_extra_columns_do_not_matter():
    frame, label, _ = _world(2000, seed=1)
    model = ResponseModel(rounds=10).fit(frame, label)
    shuffled = frame[["kind", "z", "x"]].assign(extra="never seen")
    np.testing.assert_array_equal(model.predict_proba(shuffled), model.predict_proba(frame))


def test_labels_of_noise_give_the_base_rate():
    frame, _, _ = _world(4000, seed=1)
    label = np.random.default_rng(3).random(4000) < 0.2
    predicted = ResponseModel().fit(frame, label).predict_proba(frame)[:, 1]
    assert predicted.std() < 0.03
    assert predicted.mean() == pytest.approx(label.mean(), abs=0.01)


def test_customers_stay_within_one_fold():
    """Each customer has an own coin and ten equal rows: folds by row would learn the coin by heart."""
    rng = np.random.default_rng(4)
    customer = np.repeat(np.arange(300), 10)
    frame = pd.DataFrame({"trait": rng.normal(size=300)[customer], "other": rng.normal(size=300)[customer]})
    label = (rng.random(300) < 0.3)[customer]
    naive = ResponseModel(min_data_in_leaf=5).fit(frame, label).predict_proba(frame)[:, 1]
    grouped = ResponseModel(min_data_in_leaf=5).fit(frame, label, groups=customer).predict_proba(frame)[:, 1]
    assert naive.std() > 0.2, "the harness must be able to see the fault"
    assert grouped.std() < 0.1


def test_calibration_finds_a_known_line():
    rng = np.random.default_rng(1)
    raw = rng.normal(size=200_000)
    label = (rng.random(200_000) < 1 / (1 + np.exp(1.0 - 0.5 * raw))).astype(float)
    line = Calibration.fit(raw, label)
    # Standard errors at 200,000 rows are about 0.005.
    assert (line.intercept, line.slope) == (pytest.approx(-1.0, abs=0.02), pytest.approx(0.5, abs=0.02))
    assert Calibration.from_json(line.to_json()) == line


def test_the_logistic_line_equals_statsmodels():
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    x = rng.normal(3, 2, size=500)
    label = (rng.random(500) < 1 / (1 + np.exp(-0.3 * x))).astype(float)
    expected = sm.Logit(label, sm.add_constant(x)).fit(disp=0).params
    np.testing.assert_allclose(logistic_line(x, label), expected, rtol=1e-6)
