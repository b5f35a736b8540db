"""How the offers of a log moved, and what that can say about sellers' reaction to a rate.

Offers teach it by moving at random. A log that carries the density of its draws says how much it did; another one is
taken to have moved at random by what the card and its market do not explain, if that is more than a trace.

What the market and the draws leave unexplained was moved by what a trader saw in the seller and nobody wrote down. A
trader who pays reluctant sellers more makes sellers look indifferent to the rate. Which sellers were moved cannot be
told from the log. The most cautious reading is taken: such a move only met the seller's own expectation, so that it
says nothing about the reaction to a rate, and each offer counts at the rate without its probable move.

A price list that was rewritten now and then moves offers too, and trees that know the market do not find its dates. It
moves all offers of a card type until the next list, a trader each seller's: whether there was a trader is read from
how the offers of neighbours in time differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import lightgbm
import numpy as np

from models.discount.boosters import BoosterSettings, binned, fit_rounds
from models.discount.directions import constraints
from models.discount.pooled import RATE_UNIT
from models.matrix import Encoding
from models.trees import predict

EXPLAINING_ROUNDS = 80
EXPLAINING_ROWS = 100_000
STRETCHES, PARTS = 20, 4
"""A small log is cut into stretches of time, which are dealt out to so many parts."""
MOSTLY = 0.5
"""A log whose offers carry densities in this share or more is judged by them."""
CHANCE_SHARE = 0.1
"""A smaller hidden share is what trees leave unexplained of any policy."""
TRACE = 0.003
"""Free movement of offers without densities, as a standard deviation, below which nothing was random."""
NOTHING = 1e9
INFORMATION = 0.24
"""Of one decision about its logit: p (1 - p) where about half accept."""


@dataclass(frozen=True)
class OfferMovement:
    """hidden: the probable move by what nobody wrote down (n,). hidden_share: of the offers' free movement, 0
    where neighbours differ by no more than the draws.

    slope_error: standard error of a slope per RATE_UNIT that the random movement alone allows; NOTHING where nothing
    moved at random.
    """

    hidden: np.ndarray
    hidden_share: float
    slope_error: float


def offer_movement(
    *,
    inputs: np.ndarray,
    encoding: Encoding,
    distance: np.ndarray,
    density: np.ndarray,
    card_type: np.ndarray,
    settings: BoosterSettings,
) -> OfferMovement:
    """Take apart the movement of n > 0 offers, in time order.

    inputs: what a pricing policy could know, encoded (n, k); distance: offered rate less the anchor; density: of the
    random draw, NaN where there was none; card_type: its name (n,).
    """
    free = _unexplained(inputs, encoding, distance, settings)
    drawn = np.isfinite(density) & (density > 0)
    nothing = np.zeros(len(free))
    if drawn.mean() < MOSTLY:
        spread = float(free.std())
        return OfferMovement(nothing, 0.0, _slope_error(spread if spread >= TRACE else 0.0, len(free)))
    random = np.where(drawn, 1.0 / np.where(drawn, density, 1.0) ** 2 / 12.0, 0.0)
    error = _slope_error(float(np.sqrt(random.mean())), len(free))
    chance = float(random[drawn].mean())
    share = _beyond(chance, float(np.mean(free[drawn] ** 2)))
    of_neighbours = _beyond(chance, _between_neighbours(free[drawn], card_type[drawn]))
    if min(share, of_neighbours) < CHANCE_SHARE:
        return OfferMovement(nothing, 0.0, error)
    return OfferMovement(np.where(drawn, share, 1.0) * free, share, error)


def _beyond(chance: float, variance: float) -> float:
    """Share of a variance that the random draws do not make up."""
    return 1.0 - chance / max(variance, 1e-12)


def _between_neighbours(free: np.ndarray, card_type: np.ndarray) -> float:
    """Variance of n movements as half the mean square of what lies between one and the next of its card type (von
    Neumann et al. 1941): what moves slowly drops out. 0 where no card type was offered twice."""
    order = np.argsort(card_type, kind="stable")
    same = card_type[order][1:] == card_type[order][:-1]
    steps = np.diff(free[order])[same]
    return float(np.mean(steps**2)) / 2.0 if len(steps) else 0.0


def _unexplained(
    inputs: np.ndarray, encoding: Encoding, distance: np.ndarray, settings: BoosterSettings
) -> np.ndarray:
    """What trees leave of each distance (n,)."""
    return distance - predict(_explaining(inputs, encoding, distance, settings, {}), inputs)


def fit_usual_offer(
    inputs: np.ndarray, encoding: Encoding, distance: np.ndarray, settings: BoosterSettings
) -> tuple[lightgbm.Booster, np.ndarray]:
    """At which distance from the anchor the log offers for such a card on such a market, in the order of prices: the
    trees, and what they say of the n > 0 offers themselves.

    inputs, distance: as of :func:`offer_movement`. Offers follow the market with far less noise than a decision tells
    of it, so where the usual offer lies says what sellers of such a card expect, beside bids and resales. In a small
    log each stretch of time is foretold by trees of the others: its own would have learnt the random moves too.
    """
    parameters = constraints(encoding.names)
    trees = _explaining(inputs, encoding, distance, settings, parameters)
    if len(distance) > EXPLAINING_ROWS:
        return trees, predict(trees, inputs)
    outputs, part = np.empty(len(distance)), np.arange(len(distance)) * STRETCHES // len(distance) % PARTS
    for own in (part == number for number in range(PARTS)):
        others = _explaining(inputs[~own], encoding, distance[~own], settings, parameters)
        outputs[own] = predict(others, inputs[own])
    return trees, outputs


def _explaining(
    inputs: np.ndarray,
    encoding: Encoding,
    distance: np.ndarray,
    settings: BoosterSettings,
    parameters: dict[str, object],
) -> lightgbm.Booster:
    """Trees that explain the distances, grown on EXPLAINING_ROWS evenly chosen ones."""
    explaining = replace(settings, learning_rate=0.1, leaves=31, max_depth=6)
    rows = min(len(distance), EXPLAINING_ROWS)
    chosen = np.linspace(0, len(distance) - 1, rows).astype(np.int64)
    data = binned(
        matrix=inputs[chosen], names=encoding.names, categorical=encoding.categorical, settings=explaining
    )
    return fit_rounds(
        data=data,
        target=distance[chosen],
        rounds=EXPLAINING_ROUNDS,
        parameters={"objective": "regression", **parameters},
        settings=explaining,
    )


def _slope_error(spread: float, rows: int) -> float:
    return NOTHING if spread == 0.0 else RATE_UNIT / (spread * float(np.sqrt(INFORMATION * rows)))
