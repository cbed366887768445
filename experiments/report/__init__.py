"""The lift report: what a marketer reads to know whether it worked, how sure that is, and what it is worth."""

from experiments.report.numbers import numbers_csv, numbers_json
from experiments.report.page import render
from experiments.report.parts import (
    AllocationPoint,
    Change,
    ChannelRow,
    Decided,
    Driver,
    HealthCheck,
    LookPoint,
    ReasonCount,
    Report,
    TruthRow,
    health_checks,
    look_points,
)
from experiments.report.sentences import decision, headline

__all__ = [
    "AllocationPoint",
    "Change",
    "ChannelRow",
    "Decided",
    "Driver",
    "HealthCheck",
    "LookPoint",
    "ReasonCount",
    "Report",
    "TruthRow",
    "decision",
    "headline",
    "health_checks",
    "look_points",
    "numbers_csv",
    "numbers_json",
    "render",
]
