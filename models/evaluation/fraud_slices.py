"""A fraud model's figures on parts of the trades: new sellers, linked ones, card categories, face values, profiles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np

from models.evaluation.calibration import calibration
from models.evaluation.fraud import (
    Judged,
    average_precision,
    cut_at_fpr,
    weighted_mean,
)
from models.evaluation.fraud_intervals import average_precision_interval, effective_rows, wilson
from models.fraud.decision import REFUSE, REVIEW, action_codes
from models.matrix import Columns
from models.policy import Costs, DecisionCosts

LEAST_TRADES, LEAST_FRAUDS = 200, 10
"""A part with fewer of either says little: its figures are given, and marked."""

FACE_BANDS_CNY: tuple[int, ...] = (100, 300, 1_000)
"""Where one band of face values ends and the next begins."""

LARGE_GROUP = 4
"""Linked other sellers from which a group is more than a family."""

SLICE_ROUNDS = 100


@dataclass(frozen=True)
class SliceMetrics:
    """Figures of one part of the judged trades; NaN where one is not defined.

    trades, frauds: rows. average_precision with its 95 % interval over days and sellers. recall: share of the
    part's fraud above the probability that flags 1 % of *all* honest trades, with Wilson's interval, so that parts
    add up and compare. false_positive_rate: share of its honest trades above it. calibration_ratio:
    mean_probability / rate. cost_per_1000_fen, refused, reviewed (shares of trades), honest_refused: of the
    decisions. enough: whether there are LEAST_TRADES trades and LEAST_FRAUDS frauds.
    """

    name: str
    trades: int
    frauds: int
    average_precision: float
    average_precision_low: float
    average_precision_high: float
    recall: float
    recall_low: float
    recall_high: float
    false_positive_rate: float
    mean_probability: float
    rate: float
    calibration_ratio: float
    cost_per_1000_fen: float
    refused: float
    reviewed: float
    honest_refused: float
    enough: bool

    def to_dict(self) -> dict[str, float]:
        """Figures for a log of numbers, ``slice_new_sellers_ap`` and so on."""
        short = {key.replace("average_precision", "ap"): value for key, value in asdict(self).items()}
        return {f"slice_{self.name}_{key}": float(value) for key, value in short.items() if key != "name"}


def slice_masks(columns: Columns, *, face_value_fen: np.ndarray) -> dict[str, np.ndarray]:
    """Parts of n trades by feature columns as of each: name -> mask (n,) bool. A part without a trade is left out.

    The first two, the linked three, the categories and the bands each cover every trade once. A column that is
    not there, or is empty, gives no parts.
    """
    masks: dict[str, np.ndarray] = {}
    before = _number(columns, "seller_count_all")
    if before is not None:
        masks |= {"new_sellers": before == 0, "known_sellers": before > 0}
    linked = _number(columns, "link_sellers")
    if linked is not None:
        masks |= {
            "unlinked_sellers": linked == 0,
            "linked_sellers": (linked > 0) & (linked < LARGE_GROUP),
            "large_groups": linked >= LARGE_GROUP,
        }
    categories = columns.get("card_category")
    if categories is not None:
        seen, place = np.unique(
            ["unknown" if name is None else str(name) for name in categories], return_inverse=True
        )
        names = np.array([f"category_{_plain(str(name))}" for name in seen], dtype=object)[place]
        masks |= {name: names == name for name in sorted(set(names))}
    masks |= _face_bands(np.asarray(face_value_fen) / 100)
    return {name: mask for name, mask in masks.items() if mask.any()}


def _face_bands(face_cny: np.ndarray) -> dict[str, np.ndarray]:
    place = np.searchsorted(FACE_BANDS_CNY, face_cny, side="right")
    names = [f"face_below_{FACE_BANDS_CNY[0]}"]
    names += [f"face_{low}_to_{high}" for low, high in pairwise(FACE_BANDS_CNY)]
    names.append(f"face_from_{FACE_BANDS_CNY[-1]}")
    return {name: place == band for band, name in enumerate(names)}


def _number(columns: Columns, name: str) -> np.ndarray | None:
    column = columns.get(name)
    return None if column is None or np.isnan(column).all() else column


def _plain(name: str) -> str:
    """A name that every log of figures takes."""
    return re.sub(r"[^\w]+", "_", name.lower())


def evaluate_slices(
    judged: Judged,
    masks: Mapping[str, np.ndarray],
    *,
    costs: Costs,
    decision: DecisionCosts,
    rng: np.random.Generator,
) -> tuple[SliceMetrics, ...]:
    """Figures of every part; masks: name -> (n,) bool."""
    cut = cut_at_fpr(fraud=judged.fraud, probability=judged.probability, fpr=0.01, weight=judged.weight)
    return tuple(
        _evaluate_slice(name, judged.rows(mask), cut=cut, costs=costs, decision=decision, rng=rng)
        for name, mask in masks.items()
    )


def evaluate_profiles(
    judged: Judged,
    actions: Mapping[str, np.ndarray],
    *,
    costs: Costs,
    decision: DecisionCosts,
    rng: np.random.Generator,
) -> tuple[SliceMetrics, ...]:
    """Figures of the same trades under the decisions of each profile: actions, profile -> (n,)."""
    found = []
    for profile, action in actions.items():
        everything = {f"profile_{profile}": np.ones(len(judged), dtype=bool)}
        found += evaluate_slices(
            replace(judged, action=action), everything, costs=costs, decision=decision, rng=rng
        )
    return tuple(found)


def flat(parts: Iterable[SliceMetrics]) -> dict[str, float]:
    """All figures of all parts, by name."""
    return {key: value for part in parts for key, value in part.to_dict().items()}


def _evaluate_slice(
    name: str,
    part: Judged,
    *,
    cut: float,
    costs: Costs,
    decision: DecisionCosts,
    rng: np.random.Generator,
) -> SliceMetrics:
    fraud, weights = np.asarray(part.fraud, dtype=bool), part.weights
    above, code = part.probability >= cut, action_codes(part.action)
    level = calibration(probability=part.probability, outcome=fraud, weight=part.weight)
    recall = weighted_mean(above[fraud], weights[fraud])
    low, high = wilson(recall, effective_rows(weights[fraud]))
    enough = len(fraud) >= LEAST_TRADES and int(fraud.sum()) >= LEAST_FRAUDS
    precise = average_precision_interval(part, rng=rng, rounds=SLICE_ROUNDS) if enough else None
    return SliceMetrics(
        name=name,
        trades=len(fraud),
        frauds=int(fraud.sum()),
        average_precision=average_precision(fraud=fraud, probability=part.probability, weight=part.weight),
        average_precision_low=float("nan") if precise is None else precise.low,
        average_precision_high=float("nan") if precise is None else precise.high,
        recall=recall,
        recall_low=low,
        recall_high=high,
        false_positive_rate=weighted_mean(above[~fraud], weights[~fraud]),
        mean_probability=level.mean_probability,
        rate=level.rate,
        calibration_ratio=level.ratio,
        cost_per_1000_fen=1000 * weighted_mean(part.cost_fen(costs=costs, decision=decision), weights),
        refused=weighted_mean(code == REFUSE, weights),
        reviewed=weighted_mean(code == REVIEW, weights),
        honest_refused=weighted_mean(code == REFUSE, weights * ~fraud),
        enough=enough,
    )
