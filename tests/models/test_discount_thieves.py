"""Whether fraudsters look at the rate: told by the odds of fraud above and below the usual offer."""

from __future__ import annotations

import numpy as np
import pytest

from models.discount.context import CardContext, card_context
from models.discount.thieves import UNKNOWN, Thieves, fit_thieves
from tests.models.discount_market import cards

OFFERS = 120_000
SHARE = 0.02


def bought(like_honest: float, seed: int) -> dict[str, np.ndarray | CardContext]:
    """Offers that moved at random around the usual one, which ``like_honest`` of the fraudsters take as honest sellers
    do, and the others whatever it is."""
    rng = np.random.default_rng(seed)
    usual = rng.uniform(0.3, 0.7, OFFERS)
    offered = np.clip(usual * np.exp(rng.uniform(-0.5, 0.5, OFFERS)), 0.0, 1.0)
    ratio = offered / usual
    by_fraud = rng.random(OFFERS) < SHARE * (1.0 - like_honest + like_honest * ratio)
    accepted = by_fraud | (rng.random(OFFERS) < offered)
    types = np.where(usual > 0.5, "type_1", "type_2").astype(object)
    columns = cards(card_type=types)
    return {
        "context": card_context(columns, OFFERS),
        "offered": offered,
        "usual": usual,
        "fraud": by_fraud.astype(np.float64),
        "share": np.full(OFFERS, SHARE),
        "tells": accepted,
    }


@pytest.mark.parametrize("like_honest", [0.0, 0.5, 1.0])
def test_the_share_is_found(like_honest):
    """Some 2,400 frauds tell the share within a fifth."""
    found = fit_thieves(**bought(like_honest, seed=4))
    assert abs(found.like_honest - like_honest) < 0.2


@pytest.mark.filterwarnings("error")
def test_the_level_of_fraud_does_not_matter():
    """Of twice as much or half as much fraud as was expected of the kinds, or a thousand times, the share is found all
    the same."""
    for factor in (0.001, 0.5, 2.0):
        log = bought(0.0, seed=5)
        log["share"] = log["share"] * factor
        assert fit_thieves(**log).like_honest < 0.2


def test_without_random_moves_or_frauds_it_is_unknown():
    """Nothing can be told where offers did not move at random, and where no bought card was a fraud."""
    log = bought(1.0, seed=6)
    assert fit_thieves(**log | {"usual": None}).like_honest == UNKNOWN
    assert fit_thieves(**log | {"fraud": np.zeros(OFFERS)}).like_honest == UNKNOWN


def test_who_takes_the_usual_offer_is_known_of_each_type():
    """By type and validity; of another type it is the mean of all."""
    log = bought(0.3, seed=7)
    found = fit_thieves(**log)
    context = card_context(cards(card_type=np.array(["type_1", "type_2", "other"], dtype=object)), 3)
    high, low, other = found.taken_usually(context)
    assert low < other < high
    is_high = log["usual"] > 0.5
    assert high == pytest.approx(log["offered"][is_high].mean())
    assert other == pytest.approx(log["offered"].mean())
    assert Thieves().taken_usually(context).tolist() == [UNKNOWN] * 3
