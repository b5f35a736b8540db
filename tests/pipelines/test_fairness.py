"""The fairness check goes the whole way from a person to a price, and sees a price that looks at the person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from models.discount.model import LOYALTY, DiscountModel
from models.discount.offers import Offers
from models.matrix import Columns
from models.policy import Costs, PricePolicy
from pipelines.champions import load_pair
from pipelines.training.fairness import PERSON_COLUMNS, Fairness, Trial, fairness_trial, judge_fairness
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace

LOYAL = PricePolicy(loyalty_bonus=0.01, loyalty_after=5)


@cache
def trial_of(home: Path) -> tuple[Trial, DiscountModel]:
    workspace = Workspace.open(home)
    model = load_pair(model_registry(workspace)).discount
    assert model is not None
    return fairness_trial(workspace, rng=np.random.default_rng(3), trades=40, people=12), model


class Partial(DiscountModel):
    """A model whose offers are changed by what the columns say of the person."""

    def __init__(self, model: DiscountModel, change: Callable[[Offers, Columns], Offers]) -> None:
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "change", change)

    def price(self, *, columns, **asked):  # type: ignore[override]
        return self.__dict__["change"](self.__dict__["model"].price(columns=columns, **asked), columns)


def judged(home: Path, change: Callable[[Offers, Columns], Offers] | None, policy: PricePolicy) -> Fairness:
    trial, model = trial_of(home)
    model = model if change is None else Partial(model, change)
    return judge_fairness(trial, model=model, pins={}, costs=Costs(), policy=policy)


def test_a_model_of_this_project_is_blind_to_the_person(trained_home):
    """The same cards at the same moments, offered by a dozen real sellers each: one price."""
    found = judged(trained_home, None, PricePolicy())
    assert (found.trades, found.people) == (40, 12)
    assert (found.unexplained, found.bonuses, found.worst) == (0, 0, ())


def test_a_loyalty_bonus_of_the_policy_is_explained(trained_home):
    """Regular sellers get the bonus and nobody else does; that is no difference to explain."""
    found = judged(trained_home, None, LOYAL)
    assert found.unexplained == 0
    trial, _ = trial_of(trained_home)
    assert found.bonuses > 0
    assert found.bonuses <= int((trial.columns[LOYALTY] >= 5).sum())


@pytest.mark.parametrize(
    ("change", "policy"),
    [
        (lambda offers, columns: replace(offers, rate=offers.rate - 0.001 * _many(columns)), PricePolicy()),
        (lambda offers, columns: replace(offers, no_offer=_many(columns)), PricePolicy()),
        (lambda offers, columns: _bonus(offers, 0.01 * _many(columns)), PricePolicy()),
        (lambda offers, columns: _bonus(offers, 0.02 * (columns[LOYALTY] >= 5)), LOYAL),
        (lambda offers, columns: _bonus(offers, -0.01 * (columns[LOYALTY] >= 5)), LOYAL),
    ],
    ids=["lower rate", "no offer", "bonus without policy", "bonus beyond policy", "bonus that takes away"],
)
def test_a_price_that_looks_at_the_person_is_found(trained_home, change, policy):
    """Whatever it is that depends on the person, rate, offer or bonus, every trade is counted."""
    found = judged(trained_home, change, policy)
    assert found.unexplained == found.trades
    assert len(found.worst) == 5
    amounts = [item.amount_fen for item in found.worst]
    assert amounts == sorted(amounts, reverse=True)
    assert amounts[-1] > 0


def test_the_text_names_trades_and_amounts_and_nobody(trained_home):
    """What is printed of a difference holds no seller, device, address or account."""
    found = judged(
        trained_home,
        lambda offers, columns: replace(offers, rate=offers.rate - 0.001 * _many(columns)),
        PricePolicy(),
    )
    trades = Workspace.open(trained_home).tables.read("trades")
    text = str(found)
    assert found.worst[0].trade_id in trades["trade_id"].to_pylist()
    assert found.worst[0].trade_id in text
    assert f"¥{found.worst[0].amount_fen / 100:.2f}" in text
    for name in PERSON_COLUMNS:
        assert not any(str(value) in text for value in trades[name].unique().to_pylist() if value)


def test_people_differ_and_cards_do_not(trained_home):
    """Within one trade everything of the card is the same, and the people have histories of all sorts."""
    trial, _ = trial_of(trained_home)
    faces = trial.face_value_fen.reshape(-1, trial.people)
    assert (faces == faces[:, :1]).all()
    for name in ("card_type", "market_buyer_best", "resale_mean_30d", "kind_fraud_rate_30d"):
        values = trial.columns[name].reshape(-1, trial.people)
        assert all(len(set(map(str, row))) == 1 for row in values.tolist())
    accepted = trial.columns[LOYALTY].reshape(-1, trial.people)
    assert accepted.max() > 20
    assert accepted.min() == 0
    assert (np.ptp(trial.columns["seller_count_30d"].reshape(-1, trial.people), axis=1) > 0).all()


def _many(columns: Columns) -> np.ndarray:
    """Whether the seller took more offers before than the one who took fewest."""
    return columns[LOYALTY] > 5


def _bonus(offers: Offers, bonus: np.ndarray) -> Offers:
    base = offers.rate - offers.loyalty_bonus
    return replace(offers, rate=base + bonus, loyalty_bonus=bonus)
