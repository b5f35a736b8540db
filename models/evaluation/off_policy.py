"""What a pricing policy would have earned, judged from a log of offers that were moved at random.

On a real log nobody knows what a seller would have taken. But where offers were drawn evenly around a centre,
the rows whose draw fell near the new policy's rate show how wrong the acceptance model is there, and that
corrects what the model believes (kernel doubly robust: Kallus & Zhou, arXiv 1802.06037). With t the policy's
rate and r the logged one, both of one row::

    value of a row = fixed(t) + profit(t) (P(t) + weight(r, t) (accepted − P(r)))
    weight(r, t)   = K(u) (c0 + c1 u + c2 u²) / (h density),    u = (r − t) / h

Only acceptance is corrected; profit on acceptance is the caller's, with the same economics for both policies.

Kernel
    K is Epanechnikov's. c0, c1, c2 of each row are such that over the interval its offer was drawn from, the
    weight has mean 1, and the weighted distance u and its square have mean 0, wherever in the interval t lies
    (a boundary kernel, as local quadratic regression has). So a model error that is straight or a parabola in
    the rate leaves no bias; only its third derivative does. That allows a wide window, which keeps the
    variance down: h = 1.5 n^(−1/9) of the interval's length, at most 0.7; n: rows with a draw.

Support
    Outside the interval it was drawn from, the log says nothing about a rate, and every estimator fails. Its
    length is 1 / density, its middle is the ``centre``, which has to be handed in: as logged, or estimated
    from the offers of like cards (:func:`estimated_centre`). How far the centres are off is measured, not
    believed: the offers' variance around them, less the draw's own, is the square of ``centre_error``. The
    kernel's moments and the overlap are averages over a normal error of that size. A wrong centre (of another
    model, say) thus lowers the overlap until the estimate is refused. The row's own offer never decides whether
    its target is inside; that would select rows by their draw.

Outside
    Rows whose target lies outside, or that were not drawn (density NaN), keep their logged offer: what is
    judged is "the new policy where the log can judge it, the old one elsewhere". The model's opinion of rates
    nobody was offered never counts as a gain. Against the whole policy this is a bias, of at most the share
    1 − overlap of the offers; below ``least_overlap`` there is no estimate. Of such a policy the log can still
    judge the first step: its rates moved to the nearest inside the support (:mod:`models.evaluation.first_step`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import ndtr

from models.evaluation.bootstrap import TooFewClusters, paired_bootstrap
from models.matrix import Columns, Encoding

BANDWIDTH, POWER, WIDEST = 1.5, -1 / 9, 0.7
"""h as a share of the drawn interval: ``BANDWIDTH`` n ** ``POWER``, at most ``WIDEST``."""
ROUNDING = 1e-4
"""Offers have four decimals, so they may leave their interval by the last of them."""
FOLLOWS = 0.4
"""A target that moves by this much per unit of the logged draw is no function of the card."""
NODES, SHARES = np.polynomial.hermite_e.hermegauss(7)
SHARES = SHARES / SHARES.sum()
CENTRE_ROUNDS, CENTRE_FOLDS = 200, 5


class OutsideSupport(ValueError):
    """The log cannot judge this policy: too many of its rates were never offered to anybody."""


class FollowsTheDraw(ValueError):
    """The target moves with the logged random draw, so it is no policy; hand in rates before their draw."""


@dataclass(frozen=True)
class Pricing:
    """What a policy offers n cards, and what the models make of it; arrays (n,).

    rate: of face value; NaN: no offer, which earns nothing. acceptance: the model's P(a seller accepts rate).
    profit_fen: profit once accepted. fixed_fen: what is earned or lost beside, whatever the model of
    acceptance says, such as the loss to fraudsters who take any offer; a number for all rows, or (n,).
    """

    rate: np.ndarray
    acceptance: np.ndarray
    profit_fen: np.ndarray
    fixed_fen: np.ndarray | float = 0.0

    def rows(self, rows: np.ndarray) -> Pricing:
        """The columns as float64, of some rows."""
        size = len(self.rate)
        return Pricing(
            **{
                name: np.broadcast_to(column, size)[rows].astype(np.float64)
                for name, column in vars(self).items()
            }
        )


@dataclass(frozen=True)
class OffPolicyValue:
    """Mean profit per offer, fen, with 95 % intervals.

    value_fen, low, high: of the target policy. logged_fen: of the offers that were made. gain_fen, gain_low,
    gain_high: target less logged (or less the policy it was set against), on the same rows. model_fen: what the
    acceptance model alone believes of the target, without correction. overlap: share of the rows whose target rate
    the log can judge, by count or by the logged offers' profit on acceptance, whichever is less. centre_error:
    standard deviation of the centres, of face value. bandwidth: mean h, of face value. rows: offers with a known
    answer.
    """

    value_fen: float
    low: float
    high: float
    logged_fen: float
    gain_fen: float
    gain_low: float
    gain_high: float
    model_fen: float
    overlap: float
    centre_error: float
    bandwidth: float
    rows: int

    def to_dict(self) -> dict[str, float]:
        return {name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Draws:
    """Where n offers were drawn from: evenly within ``centre ± half``; half NaN: not drawn; error: of the centre, its
    standard deviation. (n,) each."""

    rate: np.ndarray
    centre: np.ndarray
    half: np.ndarray
    error: np.ndarray

    @property
    def count(self) -> int:
        return int(np.isfinite(self.half).sum())

    @property
    def length(self) -> float:
        """Mean length of the intervals."""
        return float(2 * np.nanmean(self.half)) if self.count else float("nan")

    @property
    def usual_error(self) -> float:
        """Of the offers that were drawn: root of the mean square."""
        return float(np.sqrt(np.mean(self.error[np.isfinite(self.half)] ** 2))) if self.count else 0.0


def off_policy_value(
    *,
    target: Pricing,
    logged: Pricing,
    density: np.ndarray,
    centre: np.ndarray,
    accepted: np.ndarray,
    clusters: Sequence[np.ndarray],
    rng: np.random.Generator,
    estimated: np.ndarray | None = None,
    against: Pricing | None = None,
    bandwidth: float | None = None,
    least_overlap: float = 0.95,
) -> OffPolicyValue:
    """The value of ``target`` on the n offers of a log, and what it gains over them. Arrays (n,).

    target: a policy's rates before any draw of its own, each a function of the card and the market alone; or
    exactly the logged rates, whose gain is 0. logged: the offers that were made. density: of their draw, per
    unit of rate; NaN: not drawn. centre: the middle of the interval each was drawn from, as the module says.
    accepted: 0/1 or bool; rows with NaN, and rows without a logged rate, are left out. clusters: what is
    resampled for the intervals, such as [day, seller]: sellers who come again have a taste of their own.
    estimated: rows (n,) bool whose centre was estimated, not logged: how far off centres are is measured for both
    kinds apart; None: all are of one kind. against: the policy that the gain is over, judged like the target; None:
    the logged offers. bandwidth: h as a share of the interval's length, instead of the rule.

    Raises OutsideSupport below ``least_overlap``, FollowsTheDraw for a target that moves with the draw,
    TooFewClusters as :func:`paired_bootstrap` does.
    """
    answer = np.asarray(accepted, dtype=np.float64)
    rows = np.flatnonzero(np.isfinite(answer) & np.isfinite(logged.rate))
    target, logged, answer = target.rows(rows), logged.rows(rows), answer[rows]
    kind = np.zeros(len(rows), dtype=bool) if estimated is None else np.asarray(estimated, dtype=bool)[rows]
    draws = draws_of(logged.rate, np.asarray(density)[rows], np.asarray(centre)[rows], kind)
    earned = logged.fixed_fen + logged.profit_fen * answer
    width = bandwidth if bandwidth is not None else min(BANDWIDTH * max(draws.count, 1) ** POWER, WIDEST)

    def judged(policy: Pricing) -> tuple[np.ndarray, float]:
        """The value of each row, and the overlap."""
        if np.array_equal(policy.rate, logged.rate):
            inside, overlap, weight = np.ones(len(rows), dtype=bool), 1.0, np.ones(len(rows))
        else:
            inside, overlap = _support(draws, policy.rate, np.abs(logged.profit_fen), least_overlap)
            weight = _weights(draws, policy.rate, inside, width)
        corrected = _believed(policy, policy.acceptance + weight * (answer - logged.acceptance))
        return np.where(inside, corrected, earned), overlap

    value, overlap = judged(target)
    other = earned if against is None else judged(against.rows(rows))[0]
    labels = [np.asarray(label)[rows] for label in clusters]
    level = paired_bootstrap(difference=_mean_of(value), clusters=labels, rng=rng)
    gain = paired_bootstrap(difference=_mean_of(value - other), clusters=labels, rng=rng)
    return OffPolicyValue(
        value_fen=level.estimate,
        low=level.low,
        high=level.high,
        logged_fen=float(earned.mean()),
        gain_fen=gain.estimate,
        gain_low=gain.low,
        gain_high=gain.high,
        model_fen=float(_believed(target, target.acceptance).mean()),
        overlap=overlap,
        centre_error=draws.usual_error,
        bandwidth=width * draws.length,
        rows=len(rows),
    )


def estimated_centre(
    *, columns: Columns, names: Sequence[str], offered_rate: np.ndarray, fold_by: np.ndarray
) -> np.ndarray:
    """Where the offers (n,) of a log without centres were centred: what like cards were offered on average.

    columns, names: what the logged policy may have looked at. fold_by: labels (n,), such as the day; a row's
    centre comes from rows with other labels, so that its own draw is not in it. Label by what shares a draw.
    Raises TooFewClusters with fewer than two labels.
    """
    import lightgbm

    fold = np.unique(fold_by, return_inverse=True)[1] % CENTRE_FOLDS
    if not fold.any():
        raise TooFewClusters(
            "centres are estimated from the rows of other labels, and there is only one label"
        )
    encoding = Encoding.fit(columns, names)
    matrix, offered = encoding.matrix(columns), np.isfinite(offered_rate)
    settings = {
        "objective": "l2",
        "learning_rate": 0.06,
        "num_leaves": 15,
        "min_data_in_leaf": 20,
        "num_threads": 1,
        "seed": 7,
        "deterministic": True,
        "verbosity": -1,
    }
    centre = np.empty(len(offered_rate))
    for left_out in np.unique(fold):
        rows = offered & (fold != left_out)
        data = lightgbm.Dataset(
            matrix[rows],
            offered_rate[rows],
            categorical_feature=[encoding.names.index(name) for name in encoding.categorical],
        )
        booster = lightgbm.train(settings, data, CENTRE_ROUNDS)
        centre[fold == left_out] = np.asarray(booster.predict(matrix[fold == left_out]))
    return centre


def logged_or_estimated_centre(
    *,
    logged: np.ndarray,
    density: np.ndarray,
    columns: Columns,
    names: Sequence[str],
    offered_rate: np.ndarray,
    fold_by: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Where the offers (n,) were centred, and which of that was estimated (n,) bool. logged: NaN where unknown.

    Nothing is estimated where every drawn offer has its centre. The rest as :func:`estimated_centre`.
    """
    missing = np.isnan(logged)
    if not (missing & np.isfinite(density)).any():
        return logged, np.zeros(len(logged), dtype=bool)
    found = estimated_centre(columns=columns, names=names, offered_rate=offered_rate, fold_by=fold_by)
    return np.where(missing, found, logged), missing


def _mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
    """Weighted mean, summed without BLAS: its threads, woken for every resample, are slow on a busy machine."""
    return lambda weight: float((values * weight).sum() / weight.sum())


def _believed(pricing: Pricing, acceptance: np.ndarray) -> np.ndarray:
    """Profit (n,) at this acceptance; nothing where there is no offer."""
    return np.where(np.isnan(pricing.rate), 0.0, pricing.fixed_fen + pricing.profit_fen * acceptance)


def draws_of(rate: np.ndarray, density: np.ndarray, centre: np.ndarray, estimated: np.ndarray) -> Draws:
    drawn = np.isfinite(density) & (density > 0) & np.isfinite(centre)
    half = np.where(drawn, 0.5 / np.where(drawn, density, 1.0), np.nan)
    error = np.zeros(len(rate))
    for kind in (estimated, ~estimated):
        rows = np.flatnonzero(drawn & kind)
        distance, own = np.abs(rate - centre)[rows], half[rows]
        if (distance > own + ROUNDING).any():
            excess = np.mean(distance**2) - np.mean(own**2) / 3
            error[kind] = np.sqrt(max(excess, ROUNDING**2))
    return Draws(rate, centre, half, error)


def _support(
    draws: Draws, target: np.ndarray, at_stake: np.ndarray, least: float
) -> tuple[np.ndarray, float]:
    """Which rows (n,) the log can judge, and the overlap. Raises OutsideSupport and FollowsTheDraw."""
    none = np.isnan(target)
    distance, reach = target - draws.centre, draws.half + ROUNDING
    error = np.maximum(draws.error, 1e-9)
    likely = ndtr((reach - distance) / error) - ndtr((-reach - distance) / error)
    as_logged = np.isnan(draws.half) & (target == draws.rate)
    likely = np.where(none | as_logged, 1.0, np.nan_to_num(likely))
    shares = [
        float(likely @ weight / weight.sum()) for weight in (np.ones(len(likely)), at_stake) if weight.any()
    ]
    overlap = min(1.0, min(shares, default=0.0))
    if _slope_on_draw(draws, target) > FOLLOWS:
        raise FollowsTheDraw(
            "the target rates move with the logged draw; hand in the target's rates before any draw"
        )
    if overlap < least or (draws.count == 0 and not none.all()):
        raise OutsideSupport(_refusal(draws, target, overlap, least))
    return none | (np.abs(distance) <= reach), overlap


def _slope_on_draw(draws: Draws, target: np.ndarray) -> float:
    """How far the target moves with the draw: 0 for a function of the card, 1 for logged rates plus something.

    An error of the centre stands in both distances from it, so its variance is taken off their covariance.
    """
    both = np.flatnonzero(np.isfinite(target) & np.isfinite(draws.half))
    if len(both) < 2:
        return 0.0
    shared = np.cov((draws.rate - draws.centre)[both], (target - draws.centre)[both])[0, 1]
    shared -= np.mean(draws.error[both] ** 2)
    return float(shared / (np.mean(draws.half[both] ** 2) / 3))


def _refusal(draws: Draws, target: np.ndarray, overlap: float, least: float) -> str:
    if not draws.count:
        return (
            "no offer of this log was drawn at random, so it says nothing about other rates; needed are offers "
            "with a density, such as ±2 points around the policy's rate"
        )
    distance = np.abs(target - draws.centre)
    return (
        f"overlap is {overlap:.1%}, needed is {least:.0%}: {1 - draws.count / len(target):.1%} of the offers "
        f"were not drawn, the others within ±{draws.length / 2:.4f} of a centre (known to ±{draws.usual_error:.4f}), "
        f"and the target lies {np.nanmedian(distance):.4f} away from it (median). Needed is a target nearer to "
        f"the logged offers, or a log with a wider draw"
    )


def _weights(draws: Draws, target: np.ndarray, inside: np.ndarray, width: float) -> np.ndarray:
    """weight(r, t) (n,) of the module's formula; 0 where nothing is to be corrected."""
    rows = np.flatnonzero(inside & np.isfinite(target))
    rate, at, centre, half = draws.rate[rows], target[rows], draws.centre[rows], draws.half[rows]
    error = draws.error[rows]
    bandwidth = width * 2 * half
    moments = np.zeros((5, len(rows)))
    for node, share in zip(NODES, SHARES, strict=True):
        middle = centre + node * error
        low, high = (middle - half - at) / bandwidth, (middle + half - at) / bandwidth
        moments += share * (_moments(np.clip(high, -1, 1)) - _moments(np.clip(low, -1, 1)))
    gram = moments[np.add.outer(np.arange(3), np.arange(3))].transpose(2, 0, 1)
    level = np.broadcast_to(np.array([[1.0], [0.0], [0.0]]), (len(rows), 3, 1))
    shape = np.linalg.solve(gram, level)[:, :, 0].T
    distance = (rate - at) / bandwidth
    kernel = 0.75 * np.maximum(1 - distance**2, 0.0) * (2 * half / bandwidth)
    weight = np.zeros(len(target))
    weight[rows] = kernel * (shape[0] + distance * (shape[1] + distance * shape[2]))
    return weight


def _moments(until: np.ndarray) -> np.ndarray:
    """∫ K(u) uʲ du for j = 0 … 4, each up to a constant: (5, n)."""
    return np.array([0.75 * (until ** (j + 1) / (j + 1) - until ** (j + 3) / (j + 3)) for j in range(5)])
