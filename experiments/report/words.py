"""Numbers and names as people read them: rounded to what is known, money with its currency, rates with their people."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime

from experiments.measures import Measure

_SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
MINUS = "\u2212"


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How values are written: times ``factor``, between ``prefix`` and ``suffix``, at most ``finest`` decimals.

    >>> scale = Scale(prefix="€", factor=0.01, finest=2)
    >>> scale.number(-1234.6, spread=30.0), scale.span(-40.0, 230.0), scale.span(2.0, 3.0, signed=True)
    ('−€12.35', '−€0.40 to €2.30', '+€0.02 to +€0.03')
    """

    prefix: str = ""
    suffix: str = ""
    factor: float = 1.0
    finest: int = 4

    def number(self, value: float, *, spread: float, signed: bool = False) -> str:
        """``value`` with two digits of what is uncertain about it (``spread``, half the width of its interval).

        A value that is not zero never reads as zero: on which side of it an interval ends is the point of it.
        """
        if not math.isfinite(value):
            return "not known"
        decimals = min(_decimals(spread * self.factor), self.finest)
        if self.prefix and decimals == 1:
            decimals = 2
        scaled = value * self.factor
        if scaled and not round(scaled, decimals):
            decimals = _decimals(scaled) - 1
        return self._written(scaled, decimals, signed=signed)

    def exact(self, value: float, *, signed: bool = False) -> str:
        """``value`` as somebody wrote it down, with all its digits."""
        scaled = value * self.factor
        digits = len(f"{abs(scaled):.6f}".rstrip("0").partition(".")[2])
        return self._written(scaled, 2 if self.prefix and 0 < digits < 2 else digits, signed=signed)

    def _written(self, scaled: float, decimals: int, *, signed: bool) -> str:
        shown = round(scaled, decimals)
        sign = MINUS if shown < 0 else "+" if signed and shown > 0 else ""
        return f"{sign}{self.prefix}{abs(shown):,.{max(decimals, 0)}f}{self.suffix}"

    def span(self, low: float, high: float, *, signed: bool = False) -> str:
        """A range in words, ``low to high``."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return "not known"
        spread = (high - low) / 2
        first = self.number(low, spread=spread, signed=signed)
        return f"{first.removesuffix(self.suffix)} to {self.number(high, spread=spread, signed=signed)}"


def money_scale(currency: str) -> Scale:
    """How cents are written in ``currency``."""
    return Scale(prefix=_SYMBOLS.get(currency, f"{tidy(currency)}\N{NO-BREAK SPACE}"), factor=0.01, finest=2)


def level_scale(measure: Measure, *, currency: str) -> Scale:
    """How the level of a measure in one arm is written."""
    if measure.money:
        return money_scale(currency)
    return Scale(factor=100.0, suffix="%", finest=2) if measure.kind == "any" else Scale()


def difference_scale(measure: Measure, *, currency: str) -> Scale:
    """How the difference of a measure between two arms is written; rates differ by percentage points."""
    if measure.money or measure.kind != "any":
        return level_scale(measure, currency=currency)
    return Scale(factor=100.0, suffix=" points", finest=3)


def difference_unit(measure: Measure, *, currency: str) -> str:
    """What the numbers on an axis of differences are."""
    if measure.money:
        return f"{tidy(currency)} per customer"
    return "percentage points" if measure.kind == "any" else f"{tidy(measure.unit) or measure.words} per customer"


def level(measure: Measure, *, mean: float, n: int, currency: str) -> tuple[str, str]:
    """The level of a measure in one arm, and the people behind it.

    >>> visit = Measure(name="visit", kind="any", events=("visit",), window_days=14)
    >>> level(visit, mean=0.106167, n=21306, currency="EUR")
    ('10.62%', '2,262 of 21,306')
    """
    scale = level_scale(measure, currency=currency)
    if measure.kind == "any" and 0 <= mean <= 1 and n:
        spread = math.sqrt(mean * (1 - mean) / n)
        return scale.number(mean, spread=spread or 1 / n), f"{round(mean * n):,} of {n:,}"
    return scale.number(mean, spread=abs(mean) / 50), f"{n:,} customers"


def percent(share: float) -> str:
    """A share as a percentage, with a decimal where it is small."""
    return f"{100 * share:.1f}%" if 0 < share < 0.0995 else f"{100 * share:.0f}%"


def count(number: float) -> str:
    """A whole number with its thousands apart."""
    return f"{number:,.0f}".replace("-", MINUS)


def day(moment: datetime) -> str:
    """A day in words, in UTC: ``2 March 2026``."""
    moment = _utc(moment)
    return f"{moment.day} {moment:%B %Y}"


def short_day(moment: datetime) -> str:
    """A day for an axis: ``2 Mar``."""
    moment = _utc(moment)
    return f"{moment.day} {moment:%b}"


def minute(moment: datetime) -> str:
    """A day and its time, in UTC."""
    return f"{day(moment)}, {_utc(moment):%H:%M} UTC"


def plural(number: float, noun: str) -> str:
    """``1 day``, ``2 days``."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def tidy(text: str) -> str:
    """``text`` on one line, without control characters."""
    plain = "".join(" " if unicodedata.category(mark) in {"Cc", "Cf", "Zl", "Zp"} else mark for mark in text)
    return " ".join(part for part in plain.split(" ") if part)


def arm_words(name: str) -> str:
    """An arm's name for readers: ``one-to-one`` of ``one_to_one``."""
    return tidy(name).replace("_", "-")


def sentence(text: str) -> str:
    """``text`` with a capital letter and a full stop."""
    text = tidy(text)
    if not text:
        return ""
    # A p-value is never a P.
    first = text[:1] if text.startswith(("p ", "p-")) else text[:1].upper()
    return first + text[1:] + ("" if text.endswith((".", "!", "?", ":")) else ".")


def shorten(text: str, *, most: int) -> str:
    """``text`` cut to ``most`` characters, the cut marked."""
    text = tidy(text)
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _decimals(spread: float) -> int:
    spread = abs(spread)
    if not math.isfinite(spread) or spread == 0:
        return 2
    return max(-9, 1 - math.floor(math.log10(spread)))


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
