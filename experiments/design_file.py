"""The file of an experiment's design: TOML, every field known, every fault named."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import msgspec

from experiments.design import Arm, Experiment, aware
from experiments.measures import Goal, Guardrail, Measure
from experiments.rules import Ramp, StartRules
from features.configuration import named_choice
from features.errors import InputError, unknown


def load_experiment(path: str | Path) -> Experiment:
    """The design in a TOML file.

    Raises
    ------
    InputError
        When the file is missing, is no TOML, or a field is missing, unknown or of the wrong kind.
    """
    source = Path(path)
    try:
        raw = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{source.name} can't be read as TOML", got=str(error), do="mend that place") from error
    if "holdout_share" in raw:
        raise InputError(
            f"{source.name} has a holdout of its own",
            got=f"holdout_share = {raw['holdout_share']}",
            do="write [holdout] in rapport.toml: the holdout is the project's, over all experiments",
        )
    _known_fields(raw, Experiment)
    for part, kind in _TABLES.items():
        entries = raw.get(part, ())
        for entry in entries if isinstance(entries, list) else [entries]:
            _known_fields(entry, kind)
    try:
        design = msgspec.convert(_dated(raw), Experiment)
    except InputError as error:
        raise InputError(f"{source.name}: {error.wrong}", got=error.got, do=error.do) from error
    except msgspec.ValidationError as error:
        told, allowed = named_choice(str(error), Experiment)
        raise InputError(
            f"{source.name} is no experiment", got=told, do=f"{allowed}compare it with the example of `rapport init`"
        ) from error
    if design.key in _TAKEN:
        raise InputError(
            f"{source.name}: an experiment can't be called {design.key!r}",
            got="the key under which the ledger keeps decisions of no experiment",
            do="give it a key of its own",
        )
    return design


_TAKEN = ("holdout", "standing")
_TABLES: dict[str, type] = {
    "arms": Arm,
    "goals": Goal,
    "guardrails": Guardrail,
    "parts": Measure,
    "ramp": Ramp,
    "start_rules": StartRules,
}


def _dated(told: Any) -> Any:
    """What a file told, with a day as its first moment and a moment without a time zone as one of UTC."""
    if isinstance(told, dict):
        return {name: _dated(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_dated(value) for value in told]
    if isinstance(told, datetime):
        return aware(told)
    return datetime.combine(told, time(), UTC) if isinstance(told, date) else told


def _known_fields(entry: Any, kind: type) -> None:
    names = [field.name for field in fields(kind)]
    for name in entry if isinstance(entry, Mapping) else ():
        if name not in names:
            raise unknown(f"field of {kind.__name__.lower()}", name, names)
