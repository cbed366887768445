"""An experiment whose shares changed while it ran: what was planned for each unit, by when it was assigned.

Units that come later differ from those before them, and under other shares they are spread otherwise over the arms: a
plain comparison of the arms then compares early with late customers (Simpson's paradox; Kohavi, Tang and Xu 2020,
chapter 15). Within a step of the ramp all units had the same chances, so arms are compared there, step by step.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from experiments.design import Experiment, aware
from features.errors import InputError
from features.tables import require_column

STEP = "ramp_step"
"""The column of the step of the ramp that a unit was assigned in: the moment from which its shares were planned."""


def steps_of(table: pa.Table, design: Experiment, *, time: str = "assigned_at") -> npt.NDArray[np.intp]:
    """The place in ``design.steps`` of each row of ``table``, by the moment in its column ``time``.

    A household was assigned when the first of its members was.
    """
    since = np.array([_micros(moment) for moment, _ in design.steps[1:]], dtype=np.int64)
    require_column(table, time)
    stamps = table[time].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    if stamps.null_count:
        raise InputError("units have no moment of assignment", got=f"{stamps.null_count:,} rows", do="leave them out")
    units, moments = _units(table, design), stamps.to_numpy()
    first = np.full(units.max(initial=-1) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, units, moments)
    found: npt.NDArray[np.intp] = np.searchsorted(since, first[units], side="right")
    return found


def with_steps(table: pa.Table, design: Experiment, *, time: str = "assigned_at") -> pa.Table:
    """``table`` with a column ``ramp_step``: from when on the shares were planned under which a unit was assigned."""
    names = pa.array([f"{moment:%Y-%m-%d %H:%M}" for moment, _ in design.steps])
    return table.append_column(STEP, names.take(pa.array(steps_of(table, design, time=time))))


def planned_shares(table: pa.Table, design: Experiment, *, time: str = "assigned_at") -> dict[str, float]:
    """The share of the units in ``table`` that was planned for each arm: each under the shares of its own moment.

    >>> from datetime import UTC, datetime
    >>> from experiments.design import Arm
    >>> from experiments.measures import Goal
    >>> from experiments.rules import Ramp
    >>> start, later = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 12, tzinfo=UTC)
    >>> design = Experiment(key="autumn", title="Autumn", hypothesis="h", control="a", start=start,
    ...     arms=tuple(Arm(name=name, shows="", policy=name, share=part) for name, part in (("a", 0.9), ("b", 0.1))),
    ...     goals=(Goal(name="bought", kind="any", events=("purchase",), window_days=14),),
    ...     ramp=(Ramp(at=later, shares={"a": 0.5, "b": 0.5}),))
    >>> planned_shares(pa.table({"assigned_at": [start, start, start, later]}), design)
    {'a': 0.8, 'b': 0.2}
    """
    _, rows = np.unique(_units(table, design), return_index=True)
    counts = np.bincount(steps_of(table, design, time=time)[rows], minlength=len(design.steps))
    weights = counts / max(counts.sum(), 1)
    return {
        arm: round(
            float(sum(weight * shares[arm] for weight, (_, shares) in zip(weights, design.steps, strict=True))), 12
        )
        for arm in design.arm_names
    }


def _units(table: pa.Table, design: Experiment) -> npt.NDArray[np.int64]:
    """A number for each unit that was assigned: a row, or the household of those that have one."""
    rows = np.arange(table.num_rows)
    if design.unit != "household":
        return rows
    homes = table["household_id"].combine_chunks().dictionary_encode()
    codes = pc.fill_null(homes.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.unique(np.where(codes < 0, len(homes.dictionary) + rows, codes), return_inverse=True)[1]


def _micros(moment: datetime) -> int:
    return round(aware(moment).timestamp() * 1_000_000)
