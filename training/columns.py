"""Which columns of a table can teach a model something; what is left out is said."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types

from features.errors import InputError, listed
from training.models.encoding import as_frame

_IDENTITY = re.compile(r"(^|[_ .-])(id|uuid|guid|key|email|e-mail|phone)$", re.IGNORECASE)
_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class Usable:
    """The columns that are kept, and a sentence for each kind of column that is not."""

    frame: pd.DataFrame
    notes: tuple[str, ...]


def usable(table: pd.DataFrame) -> Usable:
    """``table`` without columns that are constant, dates, lists, or one value a row (ids).

    >>> import pandas as pd
    >>> found = usable(pd.DataFrame({"visits": [1, 2, 1], "country": ["pt", "pt", "pt"]}))
    >>> list(found.frame), found.notes
    (['visits'], ("left out as they are the same in each row: 'country'",))

    Raises
    ------
    InputError
        When nothing is left.
    """
    frame = as_frame(table)
    dropped: dict[str, str] = {}
    for name in frame.columns:
        reason = next((why for why, test in _REASONS.items() if test(name, frame[name])), None)
        if reason is not None:
            dropped[name] = reason
    kept = frame.drop(columns=list(dropped))
    notes = tuple(
        f"left out as they {reason}: {listed(name for name, why in dropped.items() if why == reason)}"
        for reason in _REASONS
        if reason in dropped.values()
    )
    if kept.columns.empty:
        raise InputError("no column is left to learn from", got="; ".join(notes) or "none", do="pass columns that vary")
    return Usable(frame=kept, notes=notes)


def digest(frame: pd.DataFrame, label: np.ndarray) -> str:
    """Sha256 of rows and labels, in order: says whether two models were tested on the same rows."""
    texts = frame.astype({name: str for name in frame.columns if frame[name].dtype == object})
    rows = pd.util.hash_pandas_object(texts, index=False).to_numpy()
    content = rows.tobytes() + np.ascontiguousarray(label).tobytes() + "\n".join(frame.columns).encode()
    return hashlib.sha256(content).hexdigest()


def _is_list(name: str, values: pd.Series) -> bool:
    return bool(values.dtype == object and any(types.is_list_like(value) for value in values.dropna().head(100)))


def _is_date(name: str, values: pd.Series) -> bool:
    if types.is_datetime64_any_dtype(values) or types.is_timedelta64_dtype(values):
        return True
    return bool(
        values.dtype == object and types.infer_dtype(values, skipna=True) in {"date", "datetime", "time", "timedelta"}
    )


def _is_constant(name: str, values: pd.Series) -> bool:
    return bool(values.nunique(dropna=False) <= 1)


def _is_identity(name: str, values: pd.Series) -> bool:
    if len(values) < _FEWEST or types.is_float_dtype(values) or types.is_bool_dtype(values):
        return False
    different = values.nunique() / len(values)
    if types.is_numeric_dtype(values):
        # Whole numbers are an id by name, or where they count the rows.
        counts_rows = bool((values.diff().dropna() == 1).all())
        return bool(different == 1.0 and (counts_rows or _IDENTITY.search(name)))
    return bool(different > 0.9 or (different > 0.5 and _IDENTITY.search(name)))


# A test further down may rely on those above it having said no.
_REASONS: dict[str, Callable[[str, pd.Series], bool]] = {
    "hold lists": _is_list,
    "hold dates, which never come again (days since then would)": _is_date,
    "are the same in each row": _is_constant,
    "have a value of their own in each row, like an id": _is_identity,
}
