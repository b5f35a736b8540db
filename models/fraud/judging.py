"""Which ways to grow the trees make up the fraud model, judged on the latest trades by trees that never saw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import lightgbm
import numpy as np

from models.fraud.blending import shares
from models.fraud.calibrator import Calibrator, fit_calibrator_if_it_helps, surely_better
from models.fraud.growing import FraudFitSettings, Rows, blended, grow, grow_until
from models.fraud.model import FraudModel
from models.matrix import Encoding

LEAST_LEAF_L2, FRAUDS_PER_LEAF_L2 = 5.0, 12.0
"""See :func:`shrunk`."""

CAREFUL, RICH, PLAIN, OWN = "careful", "rich", "plain", "own"
_LIGHTGBM_DEFAULTS: dict[str, Any] = {
    "boosters": 1,
    "leaves": 31,
    "leaf_rows_min": 20,
    "leaf_l2": 0.0,
    "feature_share": 1.0,
    "bins": 255,
    "category_smoothing": 10.0,
    "category_l2": 10.0,
    "category_splits_max": 32,
}
WAYS: dict[str, dict[str, Any]] = {
    CAREFUL: {},
    RICH: {
        "boosters": 1,
        "leaves": 16,
        "leaf_rows_min": 20,
        "leaf_l2": LEAST_LEAF_L2,
        "feature_share": 1.0,
        "category_smoothing": 20.0,
        "category_l2": 20.0,
        "category_splits_max": 8,
    },
    PLAIN: _LIGHTGBM_DEFAULTS,
    OWN: _LIGHTGBM_DEFAULTS | {"histories": False},
}
"""What each way changes in the settings. Careful trees are the settings themselves: right where frauds are few and
every input speaks for some of them by chance. Rich ones see all inputs at once, more leaves and categories: where two
or three columns tell together, trees that may choose from half of the inputs seldom see them together. Plain ones
believe every leaf, as LightGBM does by itself: where signs are strong, shrinkage is in the way. The last read what the
trade says of itself and no histories: where nobody comes again, two hundred columns about who came before are two
hundred chances to err."""

GUESS: dict[str, float] = {CAREFUL: 3.0, RICH: 1.0, PLAIN: 1.0, OWN: 1.0}
"""How much each way is believed before the latest trades say anything: careful trees as much as all others together.
Gift cards have few frauds among many signs, and there they are better than any mean with the others."""

FREE_ERRORS = 1.0
"""Known frauds may speak for a trade (a place that was abused and is clean again) where the latest rows are predicted
better so by this many standard errors. Few frauds cannot tell, and then the rule is worth more than what they seem to
say; where it is wrong it costs much, so one error is enough."""


@dataclass(frozen=True)
class Member:
    """One way to grow, the number of its trees and its share of the model's raw score."""

    way: str
    trees: int
    share: float


@dataclass(frozen=True)
class Shape:
    """How a model is grown: settings, members with shares that add up to 1, calibrator. on_latest: whether the latest
    rows could judge."""

    settings: FraudFitSettings
    members: tuple[Member, ...]
    calibrator: Calibrator = field(default_factory=Calibrator)
    on_latest: bool = True

    def grow(self, rows: Rows, encoding: Encoding) -> lightgbm.Booster:
        """All members' trees in one booster. Of careful trees, which choose from half of the inputs, several seeds."""
        grown = [
            grow(rows, encoding, replace(self.settings, **WAYS[member.way]), trees=member.trees)
            for member in self.members
        ]
        return blended(grown, [member.share for member in self.members])

    def facts(self) -> dict[str, object]:
        """The shape as a model's metadata keep it, JSON types only."""
        told = asdict(self.settings)
        return {
            "members": [asdict(member) for member in self.members],
            "stopped_on_latest": self.on_latest,
            "settings": {
                name: list(value) if isinstance(value, tuple) else value for name, value in told.items()
            },
        }


def shrunk(settings: FraudFitSettings, fraud: np.ndarray) -> FraudFitSettings:
    """How strongly the leaves of careful trees are drawn to nothing: strong shrinkage keeps noise from ranking the
    trades without any sign, but where few frauds are known it keeps the trees from learning at all. fraud (n,) 0/1."""
    asked = max(LEAST_LEAF_L2, float(fraud.sum()) / FRAUDS_PER_LEAF_L2)
    return replace(settings, leaf_l2=min(settings.leaf_l2, asked))


def judged_on_latest(rows: Rows, encoding: Encoding, settings: FraudFitSettings) -> Shape:
    """The members, their trees and shares, and the calibrator that foretell the latest rows best."""
    early, late = rows.early_and_late(settings)
    if early.lacks_a_class(settings) or late.lacks_a_class(settings):
        members = (Member(CAREFUL, min(settings.trees_unseen, settings.trees), 1.0),)
        return Shape(settings, members, on_latest=False)
    careful = _stopped(CAREFUL, early, late, encoding, settings)
    freed = replace(settings, rising=())
    free = _stopped(CAREFUL, early, late, encoding, freed)
    if surely_better(
        before=careful.score, after=free.score, fraud=late.fraud, weight=late.weight, errors=FREE_ERRORS
    ):
        careful, settings = free, freed
    stopped = [careful, *(_stopped(way, early, late, encoding, settings) for way in (RICH, PLAIN, OWN))]
    telling = [one for one in stopped if np.ptp(one.score) > 0]
    return _together(telling or [careful], late, settings)


def as_judged(model: FraudModel, settings: FraudFitSettings) -> Shape:
    """The same shape as another model's, whose careful leaves are drawn to nothing as these settings say."""
    told: dict = dict(model.metadata)
    own = {name: getattr(settings, name) for name in ("threads", "own_facts", "leaf_l2")}
    was = told["settings"] | own | {"rising": tuple(told["settings"]["rising"])}
    members = tuple(Member(**member) for member in told["members"])
    return Shape(FraudFitSettings(**was), members, model.calibrator, bool(told["stopped_on_latest"]))


@dataclass(frozen=True)
class _Stopped:
    """A way, the number of trees at which the later rows' loss is least, and their raw scores (n,) then."""

    way: str
    trees: int
    score: np.ndarray


def _stopped(way: str, early: Rows, late: Rows, encoding: Encoding, settings: FraudFitSettings) -> _Stopped:
    booster = grow_until(early, late, encoding, replace(settings, **WAYS[way]))
    score = booster.predict(late.matrix, raw_score=True, num_threads=settings.threads)
    return _Stopped(way, max(booster.best_iteration, 1), np.asarray(score))


def _together(stopped: Sequence[_Stopped], late: Rows, settings: FraudFitSettings) -> Shape:
    guess = [GUESS[one.way] for one in stopped]
    share = shares([one.score for one in stopped], late.fraud, late.weight, guess=guess)
    members = tuple(
        Member(one.way, one.trees, float(part)) for one, part in zip(stopped, share, strict=True) if part > 0
    )
    score = np.stack([one.score for one in stopped], axis=1) @ share
    calibrator = fit_calibrator_if_it_helps(raw_score=score, fraud=late.fraud, weight=late.weight)
    return Shape(settings, members, calibrator)
