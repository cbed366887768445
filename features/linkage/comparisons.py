"""How two records are compared, field by field: levels from alike to unlike, and what is believed of them at first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from features.linkage.normalization import Field, Kind

Tie = Literal["person", "home", "town", "family"]
Condition = Callable[[ModuleType], Any]

# What makes two records agree in a field: being one person, one home, one town, or one person or home.
_TIES: dict[Kind, Tie] = {
    "surname": "family",
    "phone": "family",
    "street": "home",
    "number": "home",
    "city": "town",
    "postcode": "town",
    "region": "town",
}

# The most pairs of one person that may have two given names or two births: beyond, it is families that are seen.
_MOST = 0.2


@dataclass(frozen=True, kw_only=True)
class Level:
    """One degree of likeness.

    ``condition`` makes Splink's level out of its library of levels; ``match`` and ``other`` are the shares of pairs of
    one person and of two persons that are believed to be on it before any data. A ``neutral`` level tells nothing,
    as another field tells the same. ``most``: the share of pairs of one person beyond which it is no longer one person.
    A ``slip`` is a typing error: one is rarer than none, and two are rarer than one.
    """

    label: str
    condition: Condition
    match: float
    other: float
    neutral: bool = False
    most: float = 1.0
    slip: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A field, the levels on which two records can agree in it, and whether rare values weigh more.

    >>> [level.label for level in comparison_of(Field(name="age", kind="age", columns=(), forms=())).levels]
    ['the same', 'a year apart', 'otherwise']
    """

    name: str
    tie: Tie
    levels: tuple[Level, ...]
    rare: bool


def comparisons_of(fields: Sequence[Field]) -> tuple[Comparison, ...]:
    """The comparison of each field; given name and surname also see each other, as people swap them."""
    names = {field.name for field in fields}
    swapped = {"given", "surname"} <= names
    return tuple(comparison_of(field, swapped=swapped and field.name in ("given", "surname")) for field in fields)


def comparison_of(field: Field, *, swapped: bool = False) -> Comparison:
    """The levels of one field, by its kind."""
    levels = _LEVELS.get(field.kind, _text)(field.name)
    if swapped:
        levels = _with_swapped(field.name, levels)
    return Comparison(
        name=field.name,
        tie=_TIES.get(field.kind, "person"),
        levels=levels,
        rare=field.kind not in ("gender", "region", "age", "number", "category"),
    )


def _with_swapped(name: str, levels: tuple[Level, ...]) -> tuple[Level, ...]:
    """The level on which given name and surname changed places: told once, by the given name."""
    crossed = Level(
        label="given name and surname swapped",
        condition=lambda library: library.CustomLevel("given_l = surname_r AND surname_l = given_r"),
        match=0.02,
        other=1e-5,
        neutral=name == "surname",
    )
    return (levels[0], crossed, *levels[1:])


def _same(name: str, match: float, other: float) -> Level:
    return Level(label="the same", condition=lambda library: library.ExactMatchLevel(name), match=match, other=other)


def _alike(name: str, least: float, match: float, other: float) -> Level:
    """Alike by Jaro and Winkler, which forgives typing errors and differences at the end."""
    return Level(
        label=f"alike ({least:g})",
        condition=lambda library: library.JaroWinklerLevel(name, least),
        match=match,
        other=other,
    )


def _slip(name: str, most: int, match: float, other: float) -> Level:
    """At most so many signs wrong, missing, too many, or two neighbours swapped (Damerau and Levenshtein)."""
    return Level(
        label=f"{most} sign{'s' if most > 1 else ''} apart",
        # A swap is two plain edits, and counting those first costs a sixth.
        condition=lambda library: library.And(
            library.LevenshteinLevel(name, 2 * most), library.DamerauLevenshteinLevel(name, most)
        ),
        match=match,
        other=other,
        slip=True,
    )


def _custom(label: str, sql: str, match: float, other: float) -> Level:
    return Level(label=label, condition=lambda library: library.CustomLevel(sql), match=match, other=other)


def _otherwise(match: float, other: float, *, most: float = 1.0) -> Level:
    return Level(label="otherwise", condition=lambda library: library.ElseLevel(), match=match, other=other, most=most)


def _given(name: str) -> tuple[Level, ...]:
    initial = f"(length({name}_l) = 1 OR length({name}_r) = 1) AND substr({name}_l, 1, 1) = substr({name}_r, 1, 1)"
    short = (_custom("a short form", "given_long_l = given_long_r", 0.04, 0.003),) if name == "given" else ()
    return (
        _same(name, 0.78, 0.005),
        *short,
        _alike(name, 0.9, 0.08, 0.01),
        _custom("an initial", initial, 0.01, 0.003),
        _alike(name, 0.78, 0.04, 0.04),
        _otherwise(0.05, 0.94, most=_MOST),
    )


def _surname(name: str) -> tuple[Level, ...]:
    return (
        _same(name, 0.82, 0.001),
        _alike(name, 0.9, 0.09, 0.005),
        _alike(name, 0.78, 0.03, 0.04),
        _otherwise(0.06, 0.95),
    )


def _date(name: str) -> tuple[Level, ...]:
    parts = {
        part: f"substr({name}_{{}}, {start}, {size})" for part, start, size in (("y", 1, 4), ("m", 5, 2), ("d", 7, 2))
    }

    def equal(left: str, right: str) -> str:
        return f"{parts[left].format('l')} = {parts[right].format('r')}"

    swapped = f"{equal('y', 'y')} AND {equal('m', 'd')} AND {equal('d', 'm')}"
    two = " OR ".join(f"({equal(a, a)} AND {equal(b, b)})" for a, b in ("ym", "yd", "md"))
    return (
        _same(name, 0.86, 1e-4),
        _slip(name, 1, 0.05, 3e-3),
        _custom("day and month swapped", swapped, 0.01, 1e-4),
        _custom("two of day, month and year the same", two, 0.03, 5e-3),
        _otherwise(0.05, 0.99, most=_MOST),
    )


def _age(name: str) -> tuple[Level, ...]:
    apart = f"abs(CAST({name}_l AS INT) - CAST({name}_r AS INT)) <= 1"
    return _same(name, 0.75, 0.02), _custom("a year apart", apart, 0.15, 0.04), _otherwise(0.1, 0.94)


def _email(name: str) -> tuple[Level, ...]:
    """Addresses are made of names, so that nearly the same one tells little beside the names."""
    before = f"split_part({name}_l, '@', 1) = split_part({name}_r, '@', 1)"
    return (
        _same(name, 0.75, 1e-5),
        _custom("the same before the @", before, 0.04, 1e-3),
        _slip(name, 1, 0.06, 2e-2),
        _otherwise(0.15, 0.98),
    )


def _phone(name: str) -> tuple[Level, ...]:
    return _same(name, 0.7, 1e-5), _slip(name, 1, 0.06, 2e-5), _slip(name, 2, 0.02, 5e-4), _otherwise(0.22, 0.999)


def _code(name: str) -> tuple[Level, ...]:
    return _same(name, 0.84, 1e-5), _slip(name, 1, 0.07, 1e-4), _slip(name, 2, 0.02, 2e-3), _otherwise(0.07, 0.998)


def _number(name: str) -> tuple[Level, ...]:
    return _same(name, 0.78, 0.02), _slip(name, 1, 0.08, 0.2), _otherwise(0.14, 0.78)


def _street(name: str) -> tuple[Level, ...]:
    return (
        _same(name, 0.7, 0.002),
        _alike(name, 0.92, 0.12, 0.003),
        _alike(name, 0.8, 0.06, 0.03),
        _otherwise(0.12, 0.965),
    )


def _postcode(name: str) -> tuple[Level, ...]:
    return _same(name, 0.78, 0.005), _slip(name, 1, 0.1, 0.03), _otherwise(0.12, 0.965)


def _few(name: str) -> tuple[Level, ...]:
    return _same(name, 0.88, 0.2), _slip(name, 1, 0.04, 0.2), _otherwise(0.08, 0.6)


def _gender(name: str) -> tuple[Level, ...]:
    return _same(name, 0.96, 0.5), _otherwise(0.04, 0.5)


def _text(name: str) -> tuple[Level, ...]:
    """A field of unknown meaning: that it holds still for a person is believed only half."""
    return _same(name, 0.5, 0.02), _alike(name, 0.92, 0.1, 0.02), _otherwise(0.4, 0.96)


_LEVELS: dict[Kind, Callable[[str], tuple[Level, ...]]] = {
    "given": _given,
    "surname": _surname,
    "date": _date,
    "age": _age,
    "email": _email,
    "phone": _phone,
    "code": _code,
    "number": _number,
    "street": _street,
    "city": _street,
    "postcode": _postcode,
    "region": _few,
    "category": _few,
    "gender": _gender,
}
