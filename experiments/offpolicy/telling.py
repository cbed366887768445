"""How values and differences of policies are said: in a unit for people, as far as they are known."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.offpolicy.logs import Log
from experiments.results import Difference, Earned, Estimate
from experiments.wording import Wording, amount_words, known_digits

# A share beyond says less than the amounts: what ran earned next to nothing.
_MANY_TIMES = 3.0


@dataclass(frozen=True, kw_only=True)
class Telling:
    """Amounts of a reward per decision times ``scale`` are in ``unit``, and in ``currency`` where they are money.

    >>> each = Difference(estimator="dr", difference=0.02, ci_low=0.012, ci_high=0.03, relative=0.2,
    ...                   relative_ci_low=0.12, relative_ci_high=0.31)
    >>> Telling(unit="per 1,000 decisions", scale=1000.0).apart(each, than="what ran")
    'The policy would have earned 12.0 to 30.0 more per 1,000 decisions than what ran (+12% to +31%).'
    """

    unit: str
    scale: float
    currency: str = ""

    @classmethod
    def of(cls, log: Log) -> Telling:
        """A rate is told per 1,000 decisions, any other reward per decision."""
        return cls(unit="per 1,000 decisions", scale=1000.0) if log.rate else cls(unit="per decision", scale=1.0)

    def value(self, each: Estimate | Earned) -> str:
        """A value with its interval, such as ``6.90 (5.28 to 8.52)``."""
        return amount_words(self.scale)(each.value, each.ci_low, each.ci_high)

    def difference(self, each: Difference) -> str:
        """A difference with its interval."""
        return amount_words(self.scale)(each.difference, each.ci_low, each.ci_high)

    def apart(self, each: Difference, *, than: str) -> str:
        """One sentence: how much more or less the policy would have earned than ``than``, or that nobody can tell."""
        digits = known_digits((each.ci_high - each.ci_low) / 2 * self.scale)
        amount = Wording(unit=self.unit, scale=self.scale, digits=digits).amount
        money = f"{self.currency} " if self.currency else ""
        if each.ci_low > 0:
            said = f"{amount(each.ci_low)} to {amount(each.ci_high)} {money}more"
        elif each.ci_high < 0:
            said = f"{amount(-each.ci_high)} to {amount(-each.ci_low)} {money}less"
        else:
            between = f"between {amount(-each.ci_low)} {money}less and {amount(each.ci_high)} {money}more {self.unit}"
            return f"The policy can't be told apart from {than}: {between}{_share(each)}."
        return f"The policy would have earned {said} {self.unit} than {than}{_share(each)}."


def _share(each: Difference) -> str:
    if each.relative_ci_low is None or each.relative_ci_high is None or each.relative_ci_high > _MANY_TIMES:
        return ""
    return f" ({each.relative_ci_low:+.0%} to {each.relative_ci_high:+.0%})"
