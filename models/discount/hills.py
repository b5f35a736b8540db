"""On which hill of expected profit a kind of card is priced.

Where sellers in a hurry and patient ones bring the same cards, profit has two hills: few pay the lower price gladly,
or most are paid the upper one. Between them the best rate would jump down as a card becomes worth more, so each kind
of card (type, validity and form) is priced on one of them, chosen when the model is trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from models.discount.link import cell_name, on_lower_hill
from models.policy import Costs, PricePolicy

if TYPE_CHECKING:
    from models.discount.log import Log
    from models.discount.model import DiscountModel

LEAST_GAIN = 0.01
"""Of a kind's expected profit, by which the lower hill must be better."""
MIN_CARDS = 30


def with_best_hills(model: DiscountModel, log: Log, costs: Costs, policy: PricePolicy) -> DiscountModel:
    """The model with those kinds of cards on the lower hill that it expects more profit of there, on the cards of
    ``log``."""
    kinds, place = log.context.kinds
    links = model.acceptance.links
    two = np.array(
        [on_lower_hill(links.of_type_state(kind.type_state)) is not None for kind in kinds], dtype=bool
    )
    rows = np.flatnonzero(two[place])
    if not len(rows):
        return model
    log = log.rows(rows)
    names, cell = log.context.named(cell_name)
    lower = _on_lower(model, frozenset(names))
    upper_fen, lower_fen = (
        np.bincount(cell, _expected_fen(each, log, costs, policy)) for each in (model, lower)
    )
    better = (lower_fen > upper_fen * (1.0 + LEAST_GAIN)) & (np.bincount(cell) >= MIN_CARDS)
    return _on_lower(model, frozenset(np.array(names)[better].tolist()))


def _on_lower(model: DiscountModel, cells: frozenset[str]) -> DiscountModel:
    links = replace(model.acceptance.links, on_lower=cells)
    return replace(model, acceptance=replace(model.acceptance, links=links))


def _expected_fen(model: DiscountModel, log: Log, costs: Costs, policy: PricePolicy) -> np.ndarray:
    """Expected profit (n,) of the model's best offers; none is worth nothing."""
    offers = model.price(
        columns=log.columns,
        face_value_fen=log.face_value_fen,
        submitted_at=log.submitted_at,
        costs=costs,
        policy=policy.model_copy(update={"exploration_half_width": 0.0}),
    )
    return np.where(offers.no_offer, 0.0, offers.expected_profit_fen)
