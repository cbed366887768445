"""Simple comparisons on a customer's features, as marketers write them in offers and scenarios."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from features.errors import InputError, unknown

Value = int | float | str | None
"""What a feature or profile attribute holds; None is missing."""

Row = Sequence[Value]
"""The values of one customer, in the order of the names that the conditions were compiled for."""


class Condition(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One comparison on one feature or profile attribute.

    In TOML: ``{feature = "purchases_365d", at_least = 1}``. Exactly one of ``at_least``, ``at_most`` (numbers, the
    bound itself counts), ``equals``, ``one_of``, ``none_of`` and ``missing`` is given. A missing value fulfils nothing
    but ``missing = true``: what isn't known can't make a customer eligible.

    >>> Condition(feature="visits_30d", at_least=2).holds({"visits_30d": 3})
    True
    >>> Condition(feature="state", none_of=("CA", "NY")).holds({"state": None})
    False
    """

    feature: str
    at_least: float | None = None
    at_most: float | None = None
    equals: int | float | str | None = None
    one_of: tuple[int | float | str, ...] | None = None
    none_of: tuple[int | float | str, ...] | None = None
    missing: bool | None = None

    def __post_init__(self) -> None:
        given = [name for name in _COMPARISONS if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(
                f"a condition on {self.feature!r} needs exactly one comparison",
                got=", ".join(given) or "none",
                do=f"give one of {', '.join(_COMPARISONS)}",
            )

    def test(self) -> Callable[[Value], bool]:
        """The comparison as a function of the feature's value."""
        if self.missing is not None:
            return _is_missing if self.missing else _is_known
        for bound, compare in ((self.at_least, _at_least), (self.at_most, _at_most)):
            if bound is not None:
                return compare(bound)
        if self.none_of is not None:
            return _none_of(frozenset(self.none_of))
        return _one_of(frozenset(self.one_of if self.one_of is not None else (self.equals,)))

    def holds(self, features: Mapping[str, Value]) -> bool:
        """Whether the comparison holds for ``features``."""
        return self.test()(features.get(self.feature))

    def __str__(self) -> str:
        name, value = next((name, getattr(self, name)) for name in _COMPARISONS if getattr(self, name) is not None)
        shown = list(value) if isinstance(value, tuple) else value
        return f"{self.feature} {name.replace('_', ' ')} {shown}"


def compile_conditions(conditions: Sequence[Condition], places: Mapping[str, int]) -> Callable[[Row], bool] | None:
    """All of ``conditions`` as one function of a row whose values stand at ``places``; None when there are none.

    Raises
    ------
    InputError
        When a condition names a feature that is not among ``places``.
    """
    tests = tuple((_place(condition.feature, places), condition.test()) for condition in conditions)
    if not tests:
        return None
    if len(tests) == 1:
        place, single = tests[0]
        return lambda row: single(row[place])

    def all_hold(row: Row) -> bool:
        for place, test in tests:  # noqa: SIM110  a generator costs three times as much here
            if not test(row[place]):
                return False
        return True

    return all_hold


def _place(feature: str, places: Mapping[str, int]) -> int:
    if feature not in places:
        raise unknown("feature", feature, places)
    return places[feature]


_COMPARISONS = ("at_least", "at_most", "equals", "one_of", "none_of", "missing")


def _is_missing(value: Value) -> bool:
    return value is None


def _is_known(value: Value) -> bool:
    return value is not None


def _at_least(bound: float) -> Callable[[Value], bool]:
    return lambda value: isinstance(value, int | float) and value >= bound


def _at_most(bound: float) -> Callable[[Value], bool]:
    return lambda value: isinstance(value, int | float) and value <= bound


def _one_of(allowed: frozenset[Value]) -> Callable[[Value], bool]:
    return lambda value: value is not None and value in allowed


def _none_of(refused: frozenset[Value]) -> Callable[[Value], bool]:
    return lambda value: value is not None and value not in refused
