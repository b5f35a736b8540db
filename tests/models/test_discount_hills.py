"""Sellers in a hurry and patient ones make two hills of profit; each kind of card is priced on the better one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.discount import hills
from models.discount.hills import with_best_hills
from models.discount.log import Log
from models.discount.model import DiscountModel
from models.policy import Costs
from tests.models.discount_market import STILL, Market, price, two_hills_model, two_populations


def on_uppermost_hill(model: DiscountModel) -> DiscountModel:
    """The same model with every card on the uppermost hill."""
    links = replace(model.acceptance.links, on_lower=frozenset())
    return replace(model, acceptance=replace(model.acceptance, links=links))


def true_profit(model: DiscountModel, market: Market) -> np.ndarray:
    """What the offers for the cards of ``market`` earn, as shares of face value (n,): sellers take what lies above
    their expectation, blurred by 0.006."""
    offers = price(model, market, STILL)
    taken = 1 / (1 + np.exp(-(offers.rate - market.accept_at) / 0.006))
    return np.where(offers.no_offer, 0.0, taken * (market.resale_expected - offers.rate))


def cells_of(market: Market) -> np.ndarray:
    """Names of the cards' cells (n,), as text."""
    columns = market.columns
    state = np.where(columns["card_is_expired"] == 1, "expired", "valid")
    names = zip(columns["card_type"].tolist(), state.tolist(), columns["card_form"].tolist(), strict=True)
    return np.array(["/".join(name) for name in names])


def log_of(market: Market) -> Log:
    nothing = np.full(len(market), np.nan)
    return Log(
        columns=market.columns,
        submitted_at=market.submitted_at,
        offered_rate=market.offered_rate,
        offer_density=market.offer_density,
        accepted=market.accepted,
        resale_rate=market.resale_rate,
        resold_at=market.resold_at,
        fraud=nothing,
        fraud_known_at=market.submitted_at,
        paused={},
    )


def test_the_chosen_hill_earns_more_of_new_sellers() -> None:
    """Some kinds of cards are priced on the lower hill, and new cards of these kinds earn more there than on the
    uppermost one, by the truth."""
    model = two_hills_model()
    lower = sorted(model.acceptance.links.on_lower)
    assert lower
    new = two_populations(rows=10_000, seed=62)
    new = new.rows(np.isin(cells_of(new), lower))
    assert len(new) > 200
    assert true_profit(model, new).mean() > 1.03 * true_profit(on_uppermost_hill(model), new).mean()


def test_a_kind_of_few_cards_stays_on_the_uppermost_hill() -> None:
    """Of a handful of cards nobody can say on which hill more is earned."""
    model, market = two_hills_model(), two_populations()
    known = np.flatnonzero(np.isin(cells_of(market), sorted(model.acceptance.links.on_lower)))
    few = log_of(market.rows(known[: hills.MIN_CARDS - 1]))
    chosen = with_best_hills(on_uppermost_hill(model), few, Costs(), STILL)
    assert not chosen.acceptance.links.on_lower
