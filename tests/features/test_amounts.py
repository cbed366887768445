"""Numbers that stand in a table as text are read as a person reads them, or not at all."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.amounts import _many_values, _values, amounts
from features.errors import InputError


def _read(*texts: str | None) -> list[float | None] | None:
    found = amounts(pa.chunked_array([pa.array(texts, pa.string())]), "spend")
    return None if found is None else [None if math.isnan(each) else float(each) for each in found]


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (("$1,234.50", "(3.20)", "n/a"), [1234.5, -3.2, None]),
        (("1.234,50 €", "7"), [1234.5, 7.0]),
        (("1\u00a0234,5", "-3,1"), [1234.5, -3.1]),
        (("12%", "3%", None), [12.0, 3.0, None]),
        (("1,234", "12", "999"), [1234.0, 12.0, 999.0]),
        (("0,500", "1,250"), [0.5, 1.25]),
        (("12,34,567", "1.5"), [1234567.0, 1.5]),
        (("1e-05", "NA"), [1e-05, None]),
        (("Yes", "no", ""), [1.0, 0.0, None]),
        (("Y", "N"), [1.0, 0.0]),
        (("ja", "nein", "NA"), [1.0, 0.0, None]),
        (("Oui", "non"), [1.0, 0.0]),
        (("No", "Sí"), [0.0, 1.0]),
        (("ja", "no"), None),
        (("red", "7"), None),
        (("yes",), None),
        (("1,5", "1.5"), None),
        (("1,2,3", "4"), None),
        (("2024.01.02",), None),
        (("", "-"), None),
    ],
)
def test_amounts_are_read_or_refused_as_a_whole(texts: tuple[str, ...], values: list[float | None] | None) -> None:
    assert _read(*texts) == values


@pytest.mark.parametrize("texts", [("1,234", "5,678"), ("1,234", "12345")])
def test_what_can_be_read_in_two_ways_is_asked_about(texts: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="two ways"):
        _read(*texts)


@given(
    st.lists(st.decimals(-(10**9), 10**9, places=2), min_size=1), st.sampled_from(["{:,.2f}", "${:,.2f}", "{:,.2f} %"])
)
def test_what_python_writes_is_read_back(values: list[object], form: str) -> None:
    english = [form.format(each) for each in values]
    swap = str.maketrans(",.", ".,")
    expected = [float(str(each)) for each in values]
    assert _read(*english) == expected
    assert _read(*(each.translate(swap) for each in english)) == expected


_PIECES = st.lists(
    st.sampled_from(
        ["1", "20", "345", "0", ".", ",", "'", " ", "\u00a0", "-", "\u2212", "(", ")", "$", "€", "%", "e-3", "NA"]
    ),
    max_size=7,
).map("".join)


@given(st.lists(_PIECES, min_size=1, max_size=4, unique=True))
def test_many_values_are_read_as_few_are(texts: list[str]) -> None:
    found = _many_values(pa.array(texts, pa.large_string()))
    if found is not None:
        expected = _values([each.strip() for each in texts], "spend")
        assert expected is not None
        assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("form", ["{:,.2f}", "$ {:.2f}", "({:,.1f})", "{:.3e}", "{:,.2f}\u00a0€", "{:.1f} %"])
def test_amounts_by_the_thousand_are_read_a_column_at_a_time(form: str) -> None:
    texts = ["n/a", *(form.format(1.37 * place) for place in range(2_000))]
    found = _many_values(pa.array(texts, pa.large_string()))
    expected = _values([each.strip() for each in texts], "spend")
    assert found is not None
    assert expected is not None
    assert _read(*texts) == [None if math.isnan(each) else each for each in found.tolist()]
    assert np.array_equal(found, expected, equal_nan=True)
