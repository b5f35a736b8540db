"""Fit the acceptance curve on logged decisions: pooled curve and its shape, then trees for place and slope in turn.

One round grows one tree that moves the curve (its place) and one that turns it (its slope), each on the exact
gradient of the log-likelihood of ``P = f + (1 - f) F(z)`` with ``z = e^b (gap - a)``:
``dL/dz = -(y - P) (1 - f) F' / (P (1 - P))``, Fisher information ``((1 - f) F')^2 / (P (1 - P))``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightgbm
import numpy as np

from models.discount.acceptance import AcceptanceModel, bounded, of_the_kind, place_encoding, place_matrix
from models.discount.boosters import BoosterSettings, binned, part_of
from models.discount.context import CardContext
from models.discount.directions import STEADY_COLUMNS, UNDIRECTED, constraints
from models.discount.link import SMALLEST, Link
from models.discount.offer_movement import fit_usual_offer
from models.discount.pooled import RATE_UNIT, UsualOffers, fit_pooled
from models.discount.recent import Decided, Recent, recent_change
from models.discount.resale import ResaleEstimate
from models.matrix import Columns, Encoding

HESSIAN_FLOOR = 0.02
MOST_SLOPE_ERROR = 1.0
"""A log that measures the slope no better than this is given the usual one: what it cannot tell is not guessed."""


def fit_acceptance(
    *,
    columns: Columns,
    names: tuple[str, ...],
    context: CardContext,
    resale: ResaleEstimate,
    floor: np.ndarray,
    offered_rate: np.ndarray,
    accepted: np.ndarray,
    submitted_at: np.ndarray,
    slope_error: float,
    calibration_share: float,
    settings: BoosterSettings,
) -> AcceptanceModel:
    """Fit on n decided offers in time order (submitted_at: int64 ms). floor (n,): probability that any rate is taken.

    The last ``calibration_share`` chooses the number of rounds; then the trees are grown again on every row. The shape
    is that of the pooled curve: fitted to the trees' scores it would be as blurred as these are uncertain.
    slope_error: how well the log measures a slope, see :mod:`models.discount.offer_movement`.
    """
    known = slope_error <= MOST_SLOPE_ERROR
    place_inputs = place_encoding(columns, [name for name in names if name not in UNDIRECTED])
    place_columns = place_matrix(columns, place_inputs, resale)
    trees, usual = {}, UsualOffers(resale.mean, resale.mean)
    if known:
        trees, usual = _usual_offers(place_columns, place_inputs, resale, offered_rate, settings)
    pooled, links = fit_pooled(
        context=context,
        resale=resale,
        usual=usual,
        floor=floor,
        rate=offered_rate,
        accepted=accepted,
        slopes_known=known,
    )
    if not known:
        return AcceptanceModel(pooled=pooled)
    location, log_steepness = pooled.curve(context=context, resale=resale, usual=usual)
    slope_inputs = Encoding.fit(columns, tuple(name for name in names if name in STEADY_COLUMNS))
    log = _Decisions(
        place=_binned(place_inputs, place_columns, settings),
        slope=_binned(slope_inputs, slope_inputs.matrix(columns), settings),
        accepted=accepted,
        gap=(offered_rate - location) / RATE_UNIT,
        log_steepness=log_steepness,
        floor=floor,
        link=links.of(context),
    )
    grown = _Pair(log, settings)
    place, slope = grown.grow(_rounds(log, round(len(accepted) * (1 - calibration_share)), settings))
    return AcceptanceModel(
        pooled=pooled,
        links=links,
        recent=_recent(log, grown, submitted_at),
        place_inputs=place_inputs,
        **trees,
        place=place,
        slope_inputs=None if slope is None else slope_inputs,
        slope=slope,
    )


def _usual_offers(
    inputs: np.ndarray,
    encoding: Encoding,
    resale: ResaleEstimate,
    offered_rate: np.ndarray,
    settings: BoosterSettings,
) -> tuple[dict[str, lightgbm.Booster], UsualOffers]:
    """The trees of both usual offers by their names, and the rates that they say for each of the log's n offers."""
    distance = offered_rate - resale.anchor_rate
    of_card, card = fit_usual_offer(inputs, encoding, distance, settings)
    of_kind, kind = fit_usual_offer(of_the_kind(inputs, encoding), encoding, distance, settings)
    trees = {"usual": of_card, "usual_of_kind": of_kind}
    return trees, UsualOffers(resale.anchor_rate + card, resale.anchor_rate + kind)


def _recent(log: _Decisions, grown: _Pair, submitted_at: np.ndarray) -> Recent:
    """How far the newest decisions lie beside the scores of what was grown."""
    decided = Decided(
        scores=log.scores(*grown.outputs())[0],
        link=log.link,
        floor=log.floor,
        accepted=log.accepted,
        submitted_at=submitted_at,
    )
    return recent_change(decided)


@dataclass(frozen=True)
class _Decisions:
    """Offers in time order: inputs of both trees, the decisions, and what the trees start from (n,)."""

    place: lightgbm.Dataset
    slope: lightgbm.Dataset
    accepted: np.ndarray
    gap: np.ndarray
    log_steepness: np.ndarray
    floor: np.ndarray
    link: Link

    def slice(self, rows: slice) -> _Decisions:
        return _Decisions(
            place=part_of(self.place, rows, self.accepted[rows]),
            slope=part_of(self.slope, rows, self.accepted[rows]),
            accepted=self.accepted[rows],
            gap=self.gap[rows],
            log_steepness=self.log_steepness[rows],
            floor=self.floor[rows],
            link=self.link.rows(rows),
        )

    def scores(self, place: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Raw scores z (n,) and steepness for the trees' outputs."""
        steepness = np.exp(self.log_steepness + bounded(slope))
        return steepness * (self.gap - place), steepness


def _binned(encoding: Encoding, matrix: np.ndarray, settings: BoosterSettings) -> lightgbm.Dataset:
    return binned(matrix=matrix, names=encoding.names, categorical=encoding.categorical, settings=settings)


def _rounds(log: _Decisions, until: int, settings: BoosterSettings) -> int:
    """The number of rounds with the least log-loss on the rows from ``until`` on."""
    later = log.slice(slice(until, None))
    pair = _Pair(log.slice(slice(0, until)), settings, later=later)
    best, best_loss = 0, np.inf
    for done in range(settings.max_rounds + 1):
        if done:
            pair.one_round()
        loss = _log_loss(later.scores(*pair.later_outputs())[0], later)
        if loss < best_loss - 1e-7:
            best, best_loss = done, loss
        elif done - best >= settings.patience:
            break
    return best


def _log_loss(scores: np.ndarray, log: _Decisions) -> float:
    p = log.floor + (1.0 - log.floor) * log.link.probability(scores)
    p = np.clip(p, SMALLEST, 1.0 - SMALLEST)
    return float(-np.where(log.accepted > 0.5, np.log(p), np.log1p(-p)).mean())


class _Pair:
    """Two boosters that grow a tree each in turn, on one likelihood."""

    def __init__(self, log: _Decisions, settings: BoosterSettings, later: _Decisions | None = None) -> None:
        self._log = log
        signs = constraints(log.place.get_feature_name())
        self._place = _Grower(log.place, settings, signs, None if later is None else later.place)
        self._slope = _Grower(log.slope, settings, {}, None if later is None else later.slope)

    def one_round(self) -> None:
        self._place.update(lambda outputs: self._derivatives(outputs, self._slope.outputs, of_place=True))
        self._slope.update(lambda outputs: self._derivatives(self._place.outputs, outputs, of_place=False))

    def grow(self, rounds: int) -> tuple[lightgbm.Booster | None, lightgbm.Booster | None]:
        """The boosters after ``rounds`` rounds; none where the pooled logit was best by itself."""
        if rounds == 0:
            return None, None
        for _ in range(rounds):
            self.one_round()
        return self._place.booster, self._slope.booster

    def outputs(self) -> tuple[np.ndarray, np.ndarray]:
        return self._place.outputs, self._slope.outputs

    def later_outputs(self) -> tuple[np.ndarray, np.ndarray]:
        return self._place.later_outputs(), self._slope.later_outputs()

    def _derivatives(
        self, place: np.ndarray, slope: np.ndarray, *, of_place: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Fisher information (n,) of one tree's output."""
        z, steepness = self._log.scores(place, slope)
        honest, rise = self._log.link.with_slope(z)
        floor = self._log.floor
        p = np.clip(floor + (1.0 - floor) * honest, SMALLEST, 1.0 - SMALLEST)
        rise = (1.0 - floor) * rise
        by_z = -(self._log.accepted - p) * rise / (p * (1.0 - p))
        information = rise**2 / (p * (1.0 - p))
        step = -steepness if of_place else z
        return by_z * step, information * step**2 + HESSIAN_FLOOR


class _Grower:
    """One booster with an objective of its own, and its outputs on the rows it is fitted on."""

    def __init__(
        self,
        data: lightgbm.Dataset,
        settings: BoosterSettings,
        parameters: dict[str, object],
        later: lightgbm.Dataset | None,
    ) -> None:
        own = {**settings.parameters(), **parameters, "objective": "none"}
        self.booster = lightgbm.Booster(own, data)
        self.outputs = np.zeros(data.num_data())
        self._later = np.zeros(0 if later is None else later.num_data())
        if later is not None:
            self.booster.add_valid(later, "later")

    def update(self, derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
        self.booster.update(fobj=lambda outputs, _: derivatives(outputs))
        self.booster.eval_train(self._keep_outputs)

    def later_outputs(self) -> np.ndarray:
        self.booster.eval_valid(self._keep_later)
        return self._later

    def _keep_outputs(self, outputs: np.ndarray, _: lightgbm.Dataset) -> tuple[str, float, bool]:
        self.outputs = outputs.copy()
        return "outputs", 0.0, False

    def _keep_later(self, outputs: np.ndarray, _: lightgbm.Dataset) -> tuple[str, float, bool]:
        self._later = outputs.copy()
        return "outputs", 0.0, False
