"""Tables of any origin as frames that can train: complete where they must be, typed as models take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from features.errors import InputError, unknown
from training.columns import usable
from training.dataset import NOTHING, TREATMENT
from training.models.response import binary_label


def frame_of(table: pa.Table, *, complete: Sequence[str] = ()) -> pd.DataFrame:
    """``table`` as a frame, dates as dates and decimals as floats; refuses gaps in the columns ``complete``."""
    for name in complete:
        gaps = table[name].null_count
        if gaps:
            raise InputError(
                f"column {name!r} has gaps",
                got=f"{gaps:,} empty of {table.num_rows:,} rows",
                do="drop or fill those rows",
            )
    decimals = {field.name for field in table.schema if pa.types.is_decimal(field.type)}
    schema = pa.schema([(field.name, pa.float64() if field.name in decimals else field.type) for field in table.schema])
    frame: pd.DataFrame = table.cast(schema).to_pandas(date_as_object=False)
    return frame


def with_treatment(table: pd.DataFrame, *, column: str, nothing: str | None = None) -> pd.DataFrame:
    """``table`` with its ``column`` as the last one, called ``treatment``: text that says what was sent.

    Decisions ask a model that has this column about each treatment of the catalogue (``<offer>@<channel>``), and about
    ``nothing``, as which the value ``nothing`` is written here.

    >>> with_treatment(pd.DataFrame({"sent": ["none", "a@web"], "age": [30, 40]}), column="sent", nothing="none")
       age treatment
    0   30   nothing
    1   40     a@web

    Raises
    ------
    InputError
        When another column has that name already, the values are all the same or all different, or ``nothing`` is none.
    """
    if column != TREATMENT and TREATMENT in table:
        raise InputError(
            f"two columns say the treatment: {column!r} and {TREATMENT!r}",
            got=f"another column called {TREATMENT!r}",
            do=f"leave it out with --exclude {TREATMENT}, or name it as the treatment",
        )
    sent = table[column].astype(str)
    if nothing is not None and nothing not in set(sent):
        raise unknown("value of nothing", nothing, sorted(set(sent)))
    usable(sent.to_frame(TREATMENT))
    return table.drop(columns=column).assign(**{TREATMENT: sent.where(sent != nothing, NOTHING)})


def outcome(values: pd.Series) -> np.ndarray:
    """Numbers as they are; booleans and two words (yes and no) as 1 and 0."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype=np.float64)
    return binary_label(values)[1]
