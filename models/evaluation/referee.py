"""Two price models judged by one referee: what later trades make of both opinions.

A model believes in its own rates, so neither may say what the other would have earned. The referee's acceptance curve
is a logistic stack of both models' curves, its resale rate a mean of both estimates plus a correction, both fitted on
trades that neither model has seen; where a card was resold, or is known to be fraud or honest, that is what counts.
The stack has few free numbers, so it cannot learn the outcomes by heart, and it leans to the model that was right.
Its weights are not negative: its acceptance rises with the rate as theirs does.

What both models are wrong about in the same way, the referee does not see; and a few frauds more or less in a small
kind of card decide about "no offer" there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize

from models.discount.acceptance import AcceptanceCurve
from models.discount.link import sigmoid
from models.discount.model import Known
from models.discount.optimiser import Economics
from models.evaluation.off_policy import Pricing
from models.evaluation.profit import Outcomes

NEAREST_TO_SURE = 1e-6
"""No probability counts as nearer to 0 or 1."""
WEIGHT_PRECISION = 1.0
"""Of the prior that both models know equally much."""


class NothingDecided(ValueError):
    """Without a decided offer nobody can say what other rates would have brought."""


@dataclass(frozen=True)
class _Stack:
    """A logistic stack of two models' logits; weights (2,) >= 0."""

    intercept: float
    weights: np.ndarray

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """(n,) of logits (n, 2)."""
        return sigmoid(self.intercept + scores @ self.weights)


@dataclass(frozen=True)
class Referee:
    """A judge of rates for n cards.

    economics: resale_mean is the realised rate where the card was resold, fraud_share 1 or 0 where it is known
    whether the offer was taken by a fraudster.
    """

    curves: tuple[AcceptanceCurve, AcceptanceCurve]
    stack: _Stack
    economics: Economics

    def honest(self, rate: np.ndarray) -> np.ndarray:
        """P(an honest seller of each card accepts ``rate``) (n,)."""
        return self.stack.probability(_scores(self.curves, rate))

    def pricing(self, rate: np.ndarray) -> Pricing:
        """What offering ``rate`` (n,) means; NaN: no offer."""
        shown, fraud = np.nan_to_num(rate), self.economics.fraud_share
        profit, loss = self.economics.honest_profit_fen(shown), self.economics.fraud_loss_fen(shown)
        return Pricing(
            rate=rate,
            acceptance=self.economics.accepted(shown, self.honest(shown)),
            profit_fen=profit,
            fixed_fen=-fraud * (profit + loss),
        )

    def value_fen(self, rate: np.ndarray) -> np.ndarray:
        """Expected profit (n,) of offering ``rate`` (n,), fen; 0 without an offer."""
        shown = np.nan_to_num(rate)
        value = self.economics.expected_profit_fen(shown, self.honest(shown))
        return np.where(np.isnan(rate), 0.0, value)


def fit_referee(*, first: Known, second: Known, outcomes: Outcomes) -> Referee:
    """Fit on n cards that neither model was fitted on, as both know them. Raises NothingDecided."""
    curves = (first.curve, second.curve)
    decided = np.flatnonzero(outcomes.decided & (outcomes.fraud != 1))
    if len(decided) == 0:
        raise NothingDecided("no offer of these trades was decided")
    scores = _scores((curves[0].rows(decided), curves[1].rows(decided)), outcomes.offered_rate[decided])
    stack = _stack(scores, outcomes.accepted[decided] == 1)
    one, other = first.economics, second.economics
    economics = replace(
        one,
        resale_mean=_resale(first.resale.mean, second.resale.mean, outcomes),
        capital_share=(one.capital_share + other.capital_share) / 2,
        fraud_share=_fraud((one.fraud_share + other.fraud_share) / 2, outcomes),
        like_honest=0.0,  # the frauds that happened count at every rate: no model gains by having kept them away
    )
    return Referee(curves=curves, stack=stack, economics=economics)


def _fraud(expected: np.ndarray, outcomes: Outcomes) -> np.ndarray:
    """P(the offer is taken by a fraudster) (n,): known in weeks whose labels are complete, else as expected. In other
    weeks the labels that are there already say too much of fraud, and the silent rest too little."""
    taken = (outcomes.accepted == 1) & (outcomes.fraud == 1)
    known = outcomes.complete & ((outcomes.accepted == 0) | np.isfinite(outcomes.fraud))
    return np.where(known, taken.astype(np.float64), expected)


def _scores(curves: tuple[AcceptanceCurve, AcceptanceCurve], rate: np.ndarray) -> np.ndarray:
    """Logits (n, 2) of both models' P(an honest seller accepts rate)."""
    return np.stack([_logit(curve.honest(rate)) for curve in curves], axis=1)


def _logit(probability: np.ndarray) -> np.ndarray:
    safe = np.clip(probability, NEAREST_TO_SURE, 1.0 - NEAREST_TO_SURE)
    return np.log(safe) - np.log1p(-safe)


def _stack(scores: np.ndarray, happened: np.ndarray) -> _Stack:
    """Fit on logits (n, 2) and what happened (n,), bool."""

    def loss(found: np.ndarray) -> tuple[float, np.ndarray]:
        logit = found[0] + scores @ found[1:]
        away = found[1:] - 0.5
        miss = sigmoid(logit) - happened
        total = np.logaddexp(0.0, np.where(happened, -logit, logit)).sum()
        total += WEIGHT_PRECISION * (away**2).sum() / 2
        return float(total), np.concatenate([[miss.sum()], scores.T @ miss + WEIGHT_PRECISION * away])

    found = scipy.optimize.minimize(
        loss,
        np.array([0.0, 0.5, 0.5]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(None, None), (0.0, None), (0.0, None)],
    )
    return _Stack(intercept=float(found.x[0]), weights=np.asarray(found.x[1:]))


def _resale(first: np.ndarray, second: np.ndarray, outcomes: Outcomes) -> np.ndarray:
    """Resale rate (n,): realised where known, else both estimates weighed as the resold cards say, corrected by
    their mean error."""
    resold = outcomes.resold
    if not resold.any():
        return (first + second) / 2
    apart = (first - second)[resold]
    error = (outcomes.resale_rate - second)[resold]
    spread = float(((apart - apart.mean()) ** 2).sum())
    slope = float(((apart - apart.mean()) * error).sum()) / spread if spread > 0 else 0.5
    share = float(np.clip(slope, 0.0, 1.0))
    correction = float((error - share * apart).mean())
    return np.where(resold, outcomes.resale_rate, share * first + (1.0 - share) * second + correction)
