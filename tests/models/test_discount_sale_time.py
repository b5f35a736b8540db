"""How long a card waits for its buyer: by type where sales tell, drawn to the category where few do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from models.discount.context import CardContext, card_context
from models.discount.sale_time import MOST_DAYS, POOLING_STRENGTH, SaleTime, fit_sale_time
from tests.models.discount_market import DAYS_TO_SELL, card, fitted_model


def context_of(card_type: list[str], category: list[str], expired: list[int] | None = None) -> CardContext:
    columns = {
        "card_type": np.array(card_type, dtype=object),
        "card_category": np.array(category, dtype=object),
        "card_is_expired": np.array(expired or [0] * len(card_type), dtype=np.float64),
    }
    return card_context(columns, len(card_type))


def test_type_is_drawn_to_its_category_and_the_category_to_all() -> None:
    """Worked out by hand: a type's mean with twenty sales of the category's mean added, that with twenty of all's."""
    context = context_of(["a"] * 30 + ["b"] * 10, ["x"] * 40)
    days = np.array([2.0] * 30 + [10.0] * 10)
    found = fit_sale_time(context=context, days=days)
    overall = days.mean()
    category = (days.sum() + POOLING_STRENGTH * overall) / (40 + POOLING_STRENGTH)
    own = [(60 + POOLING_STRENGTH * category) / (30 + POOLING_STRENGTH)]
    own.append((100 + POOLING_STRENGTH * category) / (10 + POOLING_STRENGTH))
    expected = found.expected(context_of(["a", "b", "new", "new"], ["x", "x", "x", "y"]), usual=99.0)
    np.testing.assert_allclose(expected, [*own, category, overall])


def test_many_sales_of_a_type_speak_for_themselves() -> None:
    """With thousands of sales the mean is the type's own, whatever the others do."""
    rng = np.random.default_rng(0)
    context = context_of(["a"] * 3_000 + ["b"] * 3_000, ["x"] * 6_000)
    days = np.concatenate([rng.exponential(2.0, 3_000), rng.exponential(9.0, 3_000)])
    expected = fit_sale_time(context=context, days=days).expected(
        context_of(["a", "b"], ["x", "x"]), usual=0.0
    )
    np.testing.assert_allclose(expected, (days[:3_000].mean(), days[3_000:].mean()), rtol=0.03)


def test_expired_cards_wait_by_themselves() -> None:
    """An expired card of a type waits as expired ones do."""
    context = context_of(["a"] * 80, ["x"] * 80, [0] * 40 + [1] * 40)
    found = fit_sale_time(context=context, days=np.array([1.0] * 40 + [30.0] * 40))
    valid, expired = found.expected(context_of(["a", "a"], ["x", "x"], [0, 1]), usual=0.0)
    assert valid < 8 < 20 < expired


def test_without_any_sale_the_usual_number_of_days_holds() -> None:
    """Nothing learnt: the platform's own figure for every card."""
    nothing = fit_sale_time(context=context_of([], []), days=np.zeros(0))
    assert nothing == SaleTime()
    np.testing.assert_array_equal(nothing.expected(context_of(["a"], ["x"]), usual=3.5), [3.5])


def test_a_sale_after_years_counts_as_half_a_year() -> None:
    """One forgotten card does not make a type slow for ever."""
    found = fit_sale_time(context=context_of(["a"], ["x"]), days=np.array([5_000.0]))
    assert found.overall == MOST_DAYS


def test_training_finds_the_wait_of_each_category() -> None:
    """Though the slow sales of the newest cards are still to come, the days are about right."""
    for category, card_type in (("retail", "type_1"), ("fuel", "type_6")):
        context = card_context(card(card_type=card_type, card_category=category), 1)
        found = fitted_model().sale_time.expected(context, usual=99.0)[0]
        assert found == pytest.approx(DAYS_TO_SELL[category], rel=0.2)


def test_sale_time_survives_json() -> None:
    """What was written answers the same when read."""
    found = fitted_model().sale_time
    assert SaleTime.from_dict(json.loads(json.dumps(found.to_dict()))) == found
