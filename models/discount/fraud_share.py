"""The fraud in a kind of card: the probability that an offer for such a card is taken by a fraudster.

Fraudsters take almost any rate, so this share of offers is lost whatever the rate is, and a kind of card with much
of it is not worth buying at all. It is an average over everybody who brings such a card: it reads card type, face
value, form, expiry and hour, and nothing of the person, which decides how to pay and not how much.

A logistic regression with a normal prior (ridge): a log has few frauds, and trees learn from them which kinds were
hit last month. docs/decisions.md has the figures.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from models.discount.context import HOUR_WAVES, CardContext
from models.discount.inputs import (
    Group,
    Numbers,
    design,
    kind_groups,
    log_face,
    weighted,
)
from models.discount.pooled import sigmoid

RIDGE_C = 0.02
"""Inverse strength of the prior: a weight has a standard deviation of about a seventh before the data speak."""
EXPIRY_EDGES = np.array([-np.inf, 0.0, 30.0, 90.0, 180.0, 365.0, 730.0, np.inf])
EXPIRY_LABELS = (*map(str, range(len(EXPIRY_EDGES))), "none")
NUMBERS = ("face", "face_squared", "odd_face", *HOUR_WAVES)
MATURE_SHARE = 0.95
WEEK_MS = 7 * 86_400_000


@dataclass(frozen=True)
class FraudShare:
    """default: the share for a card type without any known label, where no weights were learnt.

    weights: by name of an input, see :mod:`models.discount.inputs`. of_type: mean share of the offers of one card
    type and validity, and ``overall`` for the others.
    """

    default: float
    intercept: float = 0.0
    weights: dict[str, float] = field(default_factory=dict)
    of_type: dict[str, float] = field(default_factory=dict)
    overall: float = 0.0

    def share(self, context: CardContext) -> np.ndarray:
        """P(an offer is taken by a fraudster) (n,) of each card."""
        if not self.weights:
            return np.clip(np.nan_to_num(context.kind_fraud_rate, nan=self.default), 0.0, 1.0)
        return sigmoid(self.intercept + weighted(context, _numbers(context), _groups(context), self.weights))

    def share_of_type(self, context: CardContext) -> np.ndarray:
        """The same (n,) as a mean over all cards of a type: it does not change with face value or expiry, so
        pricing by it keeps the order of prices."""
        if not self.weights:
            return self.share(context)
        return context.by_kind(lambda kind: self.of_type.get(kind.type_state, self.overall))

    def save(self, folder: Path) -> None:
        """``fraud_share.json``."""
        text = json.dumps(asdict(self), ensure_ascii=False, indent=1)
        (folder / "fraud_share.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FraudShare:
        return cls(**json.loads((folder / "fraud_share.json").read_text(encoding="utf-8")))


def mature_offers(*, submitted_at: np.ndarray, accepted: np.ndarray, fraud: np.ndarray) -> np.ndarray:
    """Which of n decided offers, in any order, tell fraud from no fraud: bool (n,).

    Fraud becomes known sooner than honesty, so among the newest labels nearly all say fraud. Only weeks count in
    which almost as many accepted trades are labelled as in the best week. In these, declined offers count as no
    fraud, and accepted trades where they have a label. submitted_at: int64 ms; accepted, fraud: 1, 0 or NaN.
    """
    bought, labelled = accepted == 1, (accepted == 1) & np.isfinite(fraud)
    if not labelled.any():
        return labelled
    week = (submitted_at - submitted_at.min()) // WEEK_MS
    rows = np.bincount(week, bought)
    share = np.bincount(week, labelled) / np.maximum(rows, 1)
    full = share >= MATURE_SHARE * share[rows >= np.median(rows[rows > 0])].max()
    return full[week] & (labelled | (accepted == 0))


def fit_fraud_share(*, context: CardContext, taken_by_fraud: np.ndarray, default: float) -> FraudShare:
    """Fit on n mature offers; taken_by_fraud: 1 or 0 (n,)."""
    from sklearn.linear_model import LogisticRegression

    names, inputs = design(context, _numbers(context), _groups(context))
    fitted = LogisticRegression(C=RIDGE_C, max_iter=1_000).fit(inputs, taken_by_fraud)
    intercept = float(fitted.intercept_[0])
    shares = sigmoid(intercept + inputs @ fitted.coef_[0])
    types, position = context.named(lambda kind: kind.type_state)
    means = np.bincount(position, shares) / np.bincount(position)
    return FraudShare(
        default=default,
        intercept=intercept,
        weights=dict(zip(names, fitted.coef_[0].tolist(), strict=True)),
        of_type=dict(zip(types, means.tolist(), strict=True)),
        overall=float(shares.mean()),
    )


def _numbers(context: CardContext) -> Numbers:
    """The inputs that are numbers."""
    face = log_face(context)
    own = np.stack([face, face**2 / 2, context.face_is_usual == 0])
    return Numbers(NUMBERS, np.concatenate([own, context.hour_waves]))


def _groups(context: CardContext) -> dict[str, Group]:
    """The inputs that are groups; a card without expiry has the label after the last bucket's."""
    bucket = np.searchsorted(EXPIRY_EDGES, context.days_to_expiry, side="right")
    return kind_groups(context) | {"expiry": Group(EXPIRY_LABELS, bucket)}
