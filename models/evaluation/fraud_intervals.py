"""How sure are a fraud model's figures? Average precision over resampled days and sellers, shares by Wilson."""

from __future__ import annotations

import numpy as np

from models.evaluation.bootstrap import Difference, TooFewClusters, paired_bootstrap
from models.evaluation.fraud import DAY_MS, Judged

ROUNDS = 200
LEVEL_95 = 1.959963984540054
"""Standard deviations of a normal on either side that hold 95 %."""


class Ranked:
    """Trades sorted by risk once, so that average precision under many weights costs one pass each."""

    def __init__(self, *, fraud: np.ndarray, probability: np.ndarray) -> None:
        self._order = np.argsort(-probability, kind="stable")
        ranked = probability[self._order]
        self._fraud = np.asarray(fraud, dtype=np.float64)[self._order]
        self._ends = np.append(np.flatnonzero(np.diff(ranked)), max(len(ranked) - 1, 0))

    def average_precision(self, weight: np.ndarray) -> float:
        """Area under precision over recall, by steps, of rows weighted by ``weight`` (n,); NaN without a class."""
        mass = weight[self._order]
        flagged = np.cumsum(mass)[self._ends] if len(mass) else np.zeros(1)
        found = np.cumsum(mass * self._fraud)[self._ends] if len(mass) else np.zeros(1)
        if not 0 < found[-1] < flagged[-1]:
            return float("nan")
        precision = found / np.where(flagged > 0, flagged, 1.0)
        return float(np.diff(found, prepend=0.0) @ precision / found[-1])


def average_precision_interval(
    judged: Judged, *, rng: np.random.Generator, rounds: int = ROUNDS
) -> Difference:
    """Average precision with its 95 % interval over days and sellers; NaN bounds with one day or one seller."""
    ranked = Ranked(fraud=judged.fraud, probability=judged.probability)
    weights = judged.weights
    try:
        return paired_bootstrap(
            difference=lambda times: ranked.average_precision(times * weights),
            clusters=[judged.submitted_at // DAY_MS, judged.seller_id.astype(str)],
            rng=rng,
            rounds=rounds,
        )
    except TooFewClusters:
        return Difference(ranked.average_precision(weights), float("nan"), float("nan"), 0)


def wilson(share: float, rows: float) -> tuple[float, float]:
    """95 % interval of a share seen in ``rows`` independent rows (Wilson's score interval); NaN without rows."""
    if not rows > 0:
        return float("nan"), float("nan")
    z2 = LEVEL_95**2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = LEVEL_95 / (1 + z2 / rows) * np.sqrt(share * (1 - share) / rows + z2 / (4 * rows**2))
    return float(max(centre - half, 0.0)), float(min(centre + half, 1.0))


def effective_rows(weight: np.ndarray) -> float:
    """Of how many rows of equal weight these (n,) tell as much (Kish)."""
    squares = float(weight @ weight)
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0
