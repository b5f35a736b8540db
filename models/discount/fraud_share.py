"""The fraud in a kind of card: the probability that a usual offer for such a card is taken by a fraudster.

How much fraudsters look at the rate is another question (:mod:`models.discount.thieves`). The share is an average over
everybody who brings such a card: it reads card type, face value, form, expiry and hour, and nothing of the person,
which decides how to pay and not how much.

A logistic regression with a normal prior (ridge): a log has few frauds, and trees learn from them which kinds were
hit last month. Types and face values stray little, the less the more their frauds come in bursts, and a week far beyond
what its card type usually has counts only so far (Huber's way), the others the more. docs/decisions.md has the figures.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse

from models.discount.context import HOUR_WAVES, CardContext
from models.discount.inputs import Numbers, Weighing, design, kind_groups
from models.discount.labelled_offers import WEEK_MS
from models.discount.link import sigmoid

TYPE, FACE_STEP = "type/", "face>="
PRIORS = {
    TYPE: 0.25,
    "category/": 0.29,
    "face_of/": 0.14,
    "days>=": 0.14,
    "no_expiry": 0.14,
    FACE_STEP: 0.29,
    "hour/": 0.29,
}
"""Standard deviations of the weights before the data speak, by the beginning of an input's name, and USUAL_PRIOR for
the others."""
OF_A_CASE = (TYPE, FACE_STEP)
"""What the cards of one case have in common: these are divided by the root of :func:`burst_size`."""
FAR = 2.0
"""A week's frauds of a card type count up to so many standard deviations above what is expected of it."""
USUAL_PRIOR = 0.58
FACE_STEPS_CNY = (20, 50, 100, 200, 300, 500, 800, 1_000, 2_000, 5_000)
"""Fraudsters prefer round and high face values: their share steps up from one to the next."""
EXPIRY_STEPS_DAYS = (0, 15, 30, 45, 60, 90, 120, 150, 180, 270, 365, 540, 730)
_FACE_EDGES, _EXPIRY_EDGES = np.array(FACE_STEPS_CNY)[:, None], np.array(EXPIRY_STEPS_DAYS)[:, None]
NUMBERS = (
    "face",
    "face_squared",
    "odd_face",
    *HOUR_WAVES,
    *(f"{FACE_STEP}{edge}" for edge in FACE_STEPS_CNY),
    *(f"days>={edge}" for edge in EXPIRY_STEPS_DAYS),
    "no_expiry",
)
COUNTED_AGAIN = 2


@dataclass(frozen=True)
class FraudShare:
    """default: the share for a card type without any known label, where no weights were learnt.

    weights: by name of an input, see :mod:`models.discount.inputs`. of_type: mean share of the offers of one card
    type and validity, and ``overall`` for the others. usual_hour: logarithm of the mean odds by hour alone.
    """

    default: float
    intercept: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)
    of_type: dict[str, float] = field(default_factory=dict)
    overall: float = 0.0
    usual_hour: float = 0.0

    def share(self, context: CardContext) -> np.ndarray:
        """P(an offer is taken by a fraudster) (n,) of each card."""
        if not self.weights:
            return np.clip(np.nan_to_num(context.kind_fraud_rate, nan=self.default), 0.0, 1.0)
        return sigmoid(self.intercept + self._weighing.sums(context, _numbers(context)))

    def share_of_type(self, context: CardContext) -> np.ndarray:
        """The same (n,) as a mean over all cards of a type at that hour: it does not change with face value or expiry,
        so pricing by it keeps the order of prices."""
        if not self.weights:
            return self.share(context)
        mean = context.by_kind(lambda kind: self.of_type.get(kind.type_state, self.overall))
        odds = mean / (1.0 - mean) * np.exp(self.by_hour(context) - self.usual_hour)
        return odds / (1.0 + odds)

    def by_hour(self, context: CardContext) -> np.ndarray:
        """What the hour adds (n,) to the log-odds; added one after another, the same bits for one card and for many."""
        weights = np.array([self.weights.get(name, 0.0) for name in HOUR_WAVES])
        return np.add.accumulate(weights[:, None] * context.hour_waves)[-1]

    @cached_property
    def _weighing(self) -> Weighing:
        return Weighing(self.weights, NUMBERS, lambda kind: kind.card_type)

    def save(self, folder: Path) -> None:
        """``fraud_share.json``."""
        text = json.dumps(asdict(self), ensure_ascii=False, indent=1)
        (folder / "fraud_share.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FraudShare:
        return cls(**json.loads((folder / "fraud_share.json").read_text(encoding="utf-8")))


def _weekly(context: CardContext, submitted_at: np.ndarray) -> np.ndarray:
    """The place (n,) of each card among all weeks of all card types."""
    types, position = context.named(lambda kind: kind.card_type)
    return (submitted_at - submitted_at.min()) // WEEK_MS * len(types) + position


@dataclass(frozen=True)
class Taken:
    """What n offers tell of fraud. by_fraud: 1 or 0 (n,). told: how much each tells, above 0 and at most 1, see
    :func:`models.discount.labelled_offers.told`. week: the place (n,) of its week and card type among all."""

    by_fraud: np.ndarray
    told: np.ndarray
    week: np.ndarray

    def burst_size(self, expected: np.ndarray) -> float:
        """How many cards of one type a case of fraud has at a time: variance over mean of a type's frauds in a week, 1
        if each came by itself. A ring's cards are one case, and say about its card type as much as one. expected:
        the probability (n,) of fraud."""
        away = np.bincount(self.week, self.told * (self.by_fraud - expected))
        return max(float(away @ away) / max(float(self.told @ self.by_fraud), 1.0), 1.0)

    def counted(self, expected: np.ndarray, *, burst: float) -> np.ndarray:
        """How much each card counts (n,): frauds of a week less where there are far more than expected, and all frauds
        together as much as before."""
        known = self.told * self.by_fraud
        frauds, usual = np.bincount(self.week, known), np.bincount(self.week, self.told * expected)
        most = usual + FAR * np.sqrt(burst * usual)
        share = np.minimum(most / np.maximum(frauds, 1.0), 1.0)[self.week]
        kept = float(share @ known) / float(known.sum())
        return self.told * np.where(self.by_fraud == 1, share / kept, 1.0)


def fit_fraud_share(
    *,
    context: CardContext,
    taken_by_fraud: np.ndarray,
    told: np.ndarray,
    submitted_at: np.ndarray,
    default: float,
) -> FraudShare:
    """Fit on n offers; taken_by_fraud, told: see :class:`Taken`; submitted_at: int64 ms."""
    names, inputs = design(context, Numbers(NUMBERS, _numbers(context)), kind_groups(context))
    taken = Taken(by_fraud=taken_by_fraud, told=told, week=_weekly(context, submitted_at))
    types, position = context.named(lambda kind: kind.card_type)
    burst = taken.burst_size(_means(position, taken_by_fraud, told)[position])
    prior = np.array([_prior(name, burst) for name in names])
    fitted = _fitted(inputs, prior, taken_by_fraud, told)
    for _ in range(COUNTED_AGAIN):
        weight = taken.counted(fitted.shares, burst=burst)
        fitted = _fitted(inputs, prior, taken_by_fraud, weight)
    types, position = context.named(lambda kind: kind.type_state)
    means = _means(position, fitted.shares, told)
    found = FraudShare(
        default=default,
        intercept=fitted.intercept,
        weights=dict(zip(names, fitted.weights.tolist(), strict=True)),
        of_type=dict(zip(types, means.tolist(), strict=True)),
        overall=float(np.average(fitted.shares, weights=told)),
    )
    by_hour = np.average(np.exp(found.by_hour(context)), weights=told)
    return replace(found, usual_hour=float(np.log(by_hour)))


def _means(position: np.ndarray, values: np.ndarray, told: np.ndarray) -> np.ndarray:
    """The mean of the values (n,) at each position, weighted by ``told``."""
    return np.bincount(position, told * values) / np.bincount(position, told)


class _Fitted(NamedTuple):
    """Intercept, weights (k,), and the share (n,) of each card."""

    intercept: float
    weights: np.ndarray
    shares: np.ndarray


def _fitted(
    inputs: scipy.sparse.csr_matrix, prior: np.ndarray, taken_by_fraud: np.ndarray, weight: np.ndarray
) -> _Fitted:
    """The maximum itself: a solver with the usual tolerance stops half-way where frauds are few (docs/decisions.md)."""
    from sklearn.linear_model import LogisticRegression

    solver = LogisticRegression(C=1.0, solver="newton-cg", tol=1e-8, max_iter=1_000)
    solver.fit(inputs.multiply(prior).tocsr(), taken_by_fraud, sample_weight=weight)
    intercept, weights = float(np.ravel(solver.intercept_)[0]), prior * solver.coef_[0]
    return _Fitted(intercept, weights, sigmoid(intercept + inputs @ weights))


def _prior(name: str, burst: float) -> float:
    """Standard deviation of an input's weight before the data speak."""
    for start, spread in PRIORS.items():
        if name.startswith(start):
            return spread / float(np.sqrt(burst)) if start in OF_A_CASE else spread
    return USUAL_PRIOR


def _numbers(context: CardContext) -> np.ndarray:
    """Values (k, n) of NUMBERS; face value and days to expiry as steps too, 1.0 from the edge on."""
    face, days, waves = context.log_face, context.days_to_expiry, 3 + len(HOUR_WAVES)
    values = np.empty((len(NUMBERS), len(face)))
    values[0], values[1], values[2] = face, face**2 / 2, context.face_is_usual == 0
    values[3:waves] = context.hour_waves
    values[waves : waves + len(_FACE_EDGES)] = context.face_cny >= _FACE_EDGES
    values[waves + len(_FACE_EDGES) : -1] = context.days_left >= _EXPIRY_EDGES
    values[-1] = np.isnan(days)
    return values
