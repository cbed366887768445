"""Retention and value over the long run: who stays how long, and what a holdout shows quarter by quarter."""

from experiments.retention.lapse import departures, lapses
from experiments.retention.long_run import long_run
from experiments.retention.results import (
    CurvePoint,
    LongRun,
    PeriodValue,
    Retention,
    RetentionArm,
    RetentionDifference,
)
from experiments.retention.retention import retention
from experiments.retention.survival import Survival

__all__ = [
    "CurvePoint",
    "LongRun",
    "PeriodValue",
    "Retention",
    "RetentionArm",
    "RetentionDifference",
    "Survival",
    "departures",
    "lapses",
    "long_run",
    "retention",
]
