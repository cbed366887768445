"""Who becomes the champion: fit for promotion, and no worse than the champion of before."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot
from typing import Any

from features.errors import InputError
from training.card import Card, Figure
from training.challenge import Gain
from training.models.bundle import Bundle
from training.trained import Trained

# Only AUC has the same unit everywhere; of other figures, this share of the champion's may be missing.
_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """Whether a model becomes the champion, and why (promises F3 and F5)."""

    promoted: bool
    reason: str


def promotion_of(trained: Trained, *, champion: Bundle | None, tolerance: float) -> Promotion:
    """Whether ``trained`` may take the place of ``champion``: honest, better than the baselines, no worse than it.

    The champion is asked about those of the test rows that it has not seen, as a model looks good on rows that it
    learned from. Where these are too few, the figures that both recorded are compared: on one and the same test rows
    as they are, on different rows by their intervals. What can't be compared is not promoted.

    ``tolerance``: AUC that may be missing; of other figures, a twentieth of the champion's may.
    """
    card = trained.card
    if card.objections:
        return Promotion(promoted=False, reason="; ".join(card.objections))
    if champion is None:
        return Promotion(promoted=True, reason=f"{_fit(card)}, and there is no champion yet")
    try:
        verdict = _verdict(trained, champion, tolerance=tolerance)
    except InputError as error:
        why = f"{error.wrong}: {error.got}"
        return Promotion(promoted=False, reason=f"the champion can't be asked about these test rows ({why})")
    if not verdict.holds:
        allowed = f" by more than {verdict.allowed:.4g}"
        return Promotion(promoted=False, reason=f"worse than the champion{allowed}: {verdict.said}")
    return Promotion(promoted=True, reason=f"{_fit(card)}, and no worse than the champion: {verdict.said}")


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    difference: float
    allowed: float
    said: str

    @property
    def holds(self) -> bool:
        return self.difference >= -self.allowed


def _verdict(trained: Trained, champion: Bundle, *, tolerance: float) -> _Verdict:
    card = trained.card
    if champion.kind != card.kind:
        raise InputError("it is another kind of model", got=champion.kind, do="register under another name")
    gain = trained.challenge.against(champion)
    if gain is not None:
        return _on_new_rows(card, gain, tolerance=tolerance)
    theirs = _recorded(champion, card.compared)
    if champion.card.get("test_digest") == card.test_digest:
        return _on_the_same_rows(card, theirs, tolerance=tolerance)
    return _by_intervals(card, theirs)


def _on_new_rows(card: Card, gain: Gain, *, tolerance: float) -> _Verdict:
    said = (
        f"{card.compared} {gain.theirs + gain.difference:.4f} against the champion's {gain.theirs:.4f} "
        f"on {gain.rows:,} test rows that it has not seen (difference {gain.low:+.4f} to {gain.high:+.4f})"
    )
    allowed = _allowed(card, theirs=gain.theirs, tolerance=tolerance)
    return _Verdict(difference=gain.difference, allowed=allowed, said=said)


def _on_the_same_rows(card: Card, theirs: Figure, *, tolerance: float) -> _Verdict:
    mine = card.figure(card.compared).value
    return _Verdict(
        difference=mine - theirs.value,
        allowed=_allowed(card, theirs=theirs.value, tolerance=tolerance),
        said=f"{card.compared} {mine:.4f} against the champion's {theirs.value:.4f} on the same test rows",
    )


def _by_intervals(card: Card, theirs: Figure) -> _Verdict:
    mine = card.figure(card.compared)
    return _Verdict(
        difference=mine.value - theirs.value,
        allowed=hypot(_half(mine), _half(theirs)),
        said=f"{card.compared} {mine.value:.4f} ({mine.interval}) against the champion's {theirs.value:.4f} "
        f"({theirs.interval}), each on test rows of its own, as it has seen too many of these to be asked",
    )


def _allowed(card: Card, *, theirs: float, tolerance: float) -> float:
    return tolerance if card.compared == "auc" else _SHARE * abs(theirs)


def _half(figure: Figure) -> float:
    return 0.0 if figure.low is None or figure.high is None else (figure.high - figure.low) / 2


def _recorded(champion: Bundle, name: str) -> Figure:
    """The champion's figure called ``name``, from its card."""
    found: list[dict[str, Any]] = [each for each in champion.card.get("figures", ()) if each["name"] == name]
    if not found:
        raise InputError("its card does not hold the figure", got=name, do="train the champion anew")
    return Figure(**found[0])


def _fit(card: Card) -> str:
    honest = "calibrated, " if card.calibration == "calibrated" else ""
    return honest + ("better than popularity" if card.compared == "ndcg" else "no worse than the baselines")
