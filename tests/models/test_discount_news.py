"""Where news of a market or of resales have stopped: what is usual takes their place, and the answer says so."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from models.discount.explain import OUTDATED, reasons_of_all
from models.discount.model import DiscountModel
from models.discount.news import usual_news
from models.discount.training import fit_discount
from tests.models.discount_market import DAY_MS, SETTINGS, TYPES, Market, make_market, price

BIDS = (
    "market_competitor_best",
    "market_competitor_mean",
    "market_competitor_level",
    "market_competitor_momentum",
)
WEEKS = 3
Columns = dict[str, np.ndarray]


def wandering(rows: int, seed: int, from_day: int = 0, days: int = 120) -> tuple[Market, Columns]:
    """A market without buyers whose level wanders, and what its trades would know had no resale been heard of since the
    beginning of each three weeks."""
    market = make_market(rows=rows, seed=seed, from_day=from_day, days=days)
    day = market.submitted_at / DAY_MS
    kind = np.array([int(name[-1]) for name in market.columns["card_type"]])
    base = 0.86 + 0.012 * kind

    def level(moment: np.ndarray) -> np.ndarray:
        return 0.025 * np.sin(moment / 9 + kind)

    bids = base + level(day) - 0.05
    begun = day // (7 * WEEKS) * (7 * WEEKS)
    moved = {
        "market_buyer_best": np.full(rows, np.nan),
        "market_spread": np.full(rows, np.nan),
        "market_competitor_best": bids,
        "market_competitor_mean": bids - 0.004,
        "market_competitor_level": bids - 0.002,
        "market_competitor_momentum": np.zeros(rows),
        "resale_mean_30d": base + level(day),
        "resale_mean_7d": base + level(day),
    }
    resale = market.resale_rate + np.where(market.columns["card_is_expired"] == 1, 0.0, level(day))
    paused = {"resale_mean_30d": base + level(begun), "resale_mean_7d": np.full(rows, np.nan)}
    told = replace(market, columns=market.columns | moved, resale_rate=resale)
    return told, paused


@cache
def models() -> tuple[DiscountModel, DiscountModel]:
    """Fitted on the same log: without a word of pauses, and with them."""
    market, paused = wandering(12_000, 21)
    log = {
        "columns": market.columns,
        "names": market.names,
        "submitted_at": market.submitted_at,
        "offered_rate": market.offered_rate,
        "offer_density": market.offer_density,
        "accepted": market.accepted,
        "resale_rate": market.resale_rate,
        "resold_at": market.resold_at,
        "settings": SETTINGS,
    }
    return fit_discount(**log), fit_discount(**log, paused=paused)


def later() -> tuple[Market, Market]:
    """Later trades, of valid cards: as they were, and as they would have been without a resale since long."""
    market, paused = wandering(3_000, 22, from_day=126, days=40)
    valid = np.flatnonzero(market.columns["card_is_expired"] == 0)
    return market.rows(valid), replace(market, columns=market.columns | paused).rows(valid)


def off_by(model: DiscountModel, market: Market) -> float:
    """Root mean square distance of the resale estimate from the resales."""
    sold = np.flatnonzero(np.isfinite(market.resale_rate))
    part = market.rows(sold)
    estimate = model.resale_estimate(columns=part.columns, rows=len(part))
    return float(np.sqrt(np.mean((estimate.mean - part.resale_rate) ** 2)))


def differing(one: object, other: object) -> set[str]:
    return {
        name
        for name, values in vars(one).items()
        if isinstance(values, np.ndarray)
        and not np.array_equal(values, vars(other)[name], equal_nan=values.dtype != object)
    }


def test_while_news_come_in_pauses_change_nothing():
    """A model that has learned of pauses offers the same to the last bit as one that has not."""
    usual, robust = models()
    market, _ = later()
    one, other = price(usual, market), price(robust, market)
    assert differing(one, other) == set()
    assert not other.outdated.any()


def test_while_resales_have_stopped_the_estimate_follows_the_bids():
    """The noise of a resale is a point; without pauses in training the estimate stays near the last resales."""
    usual, robust = models()
    market, stopped = later()
    assert off_by(robust, market) < 0.013
    assert off_by(usual, stopped) > 0.02
    assert off_by(robust, stopped) < 0.8 * off_by(usual, stopped)
    assert price(robust, stopped).outdated.all()


def test_missing_bids_are_as_they_usually_are():
    """Without any bid prices are those of usual bids, near those of the true ones, and never of bids at the worth of a
    card, which a missing distance would mean; the first reason against trust in them is told."""
    _, robust = models()
    market, _ = later()
    market = market.rows(slice(0, 800))
    silent = replace(market, columns=market.columns | {name: np.full(len(market), np.nan) for name in BIDS})
    offers, without = price(robust, market), price(robust, silent)
    assert np.abs(offers.acceptance_probability - without.acceptance_probability).mean() < 0.05
    assert np.abs(offers.rate - without.rate).mean() < 0.01
    naive = price(replace(robust, news=type(robust.news)()), silent)
    assert np.abs(offers.rate - naive.rate).mean() > 1.5 * np.abs(offers.rate - without.rate).mean()
    told = reasons_of_all(columns=silent.columns, offers=without)
    assert all(OUTDATED in reasons for reasons in told)
    assert not any(OUTDATED in reasons for reasons in reasons_of_all(columns=market.columns, offers=offers))


def test_what_is_often_unknown_is_no_news():
    """A type whose bids one trade in twenty knows nothing of, and a type of few trades, are taken as they are."""
    market, _ = wandering(4_000, 23)
    columns = dict(market.columns)
    often = columns["card_type"] == TYPES[0]
    unknown = often & (np.arange(len(market)) % 20 == 0)
    columns["market_competitor_best"] = np.where(unknown, np.nan, columns["market_competitor_best"])
    columns["card_type"] = np.where(np.arange(len(market)) < 50, "rare", columns["card_type"])
    news = usual_news(columns, market.names, len(market))
    assert set(news.of_type) == set(TYPES.tolist())
    place = news.names.index("market_competitor_best")
    assert np.isnan(news.of_type[TYPES[0]][place])
    assert np.isfinite(news.of_type[TYPES[1]][place])
    lost = columns | {"market_competitor_best": np.full(len(market), np.nan)}
    seen = news.seen(lost, len(market))
    known = np.isfinite(seen.columns["market_competitor_best"])
    np.testing.assert_array_equal(known, ~np.isin(columns["card_type"], ["rare", TYPES[0]]))
    np.testing.assert_array_equal(seen.outdated, known)
    assert not seen.resales_stopped.any()


def test_one_card_and_many_have_the_same_bits_and_a_saved_model_too(tmp_path: Path):
    """Some with news and some without, asked together, one by one, and of the model read back."""
    _, robust = models()
    market, stopped = later()
    mixed = np.arange(200) % 2 == 0
    columns = {
        name: np.where(mixed, values[:200], stopped.columns[name][:200])
        for name, values in market.columns.items()
    }
    both = replace(market.rows(slice(0, 200)), columns=columns)
    robust.save(tmp_path / "model")
    loaded = DiscountModel.load(tmp_path / "model")
    together = price(robust, both)
    assert differing(together, price(loaded, both)) == set()
    np.testing.assert_array_equal(together.outdated, ~mixed)
    for row in range(0, 200, 23):
        alone = price(robust, both.rows(slice(row, row + 1)))
        assert differing(alone, together.rows(slice(row, row + 1))) == set()
