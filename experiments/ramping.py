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

from experiments.design import Experiment, aware
from features.errors import InputError
from features.tables import require_column

STEP = "ramp_step"
"""The column of the step of the ramp that a unit was assigned in: the moment from which its shares were planned."""


def steps_of(table: pa.Table, design: Experiment, *, time: str = "assigned_at") -> npt.NDArray[np.intp]:
    """The place in ``design.steps`` of each row of ``table``, by the moment in its column ``time``."""
    since = np.array([_micros(moment) for moment, _ in design.steps[1:]], dtype=np.int64)
    require_column(table, time)
    stamps = table[time].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    if stamps.null_count:
        raise InputError("units have no moment of assignment", got=f"{stamps.null_count:,} rows", do="leave them out")
    found: npt.NDArray[np.intp] = np.searchsorted(since, stamps.to_numpy(), side="right")
    return found


def with_steps(table: pa.Table, design: Experiment, *, time: str = "assigned_at") -> pa.Table:
    """``table`` with a column ``ramp_step``: from when on the shares were planned under which a unit was assigned."""
    names = pa.array([f"{moment:%Y-%m-%d %H:%M}" for moment, _ in design.steps])
    return table.append_column(STEP, names.take(pa.array(steps_of(table, design, time=time))))


def planned_shares(table: pa.Table, design: Experiment, *, time: str = "assigned_at") -> dict[str, float]:
    """The share of the rows of ``table`` that was planned for each arm: each row under the shares of its own moment.

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
    counts = np.bincount(steps_of(table, design, time=time), minlength=len(design.steps))
    weights = counts / max(counts.sum(), 1)
    return {
        arm: round(
            float(sum(weight * shares[arm] for weight, (_, shares) in zip(weights, design.steps, strict=True))), 12
        )
        for arm in design.arm_names
    }


def _micros(moment: datetime) -> int:
    return round(aware(moment).timestamp() * 1_000_000)
