"""The platform that wrote the log: how it priced, whom it turned away, and what became known when."""

from __future__ import annotations

import numpy as np

from models.money import round_rate
from pipelines.simulation.kinds import Kinds
from pipelines.simulation.people import Rows
from pipelines.simulation.prices import STEP_US, Board, Prices, sale_lag_shares
from pipelines.simulation.sellers import LOGISTICS_SHARE, expiry_factor, mean_of, resale_rate
from pipelines.simulation.world import DAY_US, World, local_day

TRADER_SEES = 0.6
"""How well a trader reads the seller: correlation of what he sees with the seller's temperament."""
SELLER_MOVE = 0.012
"""He offers eager sellers less and stubborn ones more: standard deviation of that move, of face value."""
LEVEL_MOVE, LEVEL_NOISE = 0.8, 0.003
"""He adds this share of what he knows, with so much error, of the market level beyond the buyers' bids."""
MOST_TRADER_MOVE = 0.025
FIXED_RATE = 0.85
"""The rate of a small platform for every card still valid; shipping is the seller's."""
TABLE_MARGIN, LIVE_MARGIN = 0.058, 0.056
"""Margin below the buyers' bids that a medium (weekly table) and a head platform (live) aim at."""
MATCH = 0.4
"""Share of the way a head platform goes towards the best competitor."""
TABLE_EXPIRY_STEPS = ((30, 0.75), (90, 0.90), (180, 0.97))
"""The rate table of a medium platform: below so many days, this share of the rate."""
EXPIRED_RATE = 0.03
LEAST_CENTRE, HIGHEST_CENTRE = 0.03, 0.98

LET_THROUGH = 0.05
"""Share of flagged trades that pass at random, so that the flag's mistakes can be seen."""
SHARED_BY_SELLERS = 3
LARGE_FACE_FEN, NIGHT_FACE_FEN, HURRIED_CARDS = 100_000, 50_000, 5

SELLER_MINUTES, FRAUD_MINUTES, DECISION_SIGMA, LONGEST_MINUTES = 5.0, 1.6, 0.9, 30.0
FRAUD_KNOWN_DAYS, FRAUD_KNOWN_SIGMA, FRAUD_KNOWN_RANGE = 5.0, 0.7, (1.0, 20.0)
HONEST_KNOWN_DAYS = (21.0, 30.0)
ANALYST_DAYS = 4.0
"""Fraud known so soon was found by an analyst; later the money is charged back. Honesty is the want of a complaint."""
RESALE_NOISE = 0.010
EXPIRED_PAYS = 0.8
"""A re-activated expired card resells at this rate; the others bring nothing."""


def add_offer(world: World, kinds: Kinds, board: Board, cards: Rows, stream: str) -> Rows:
    """The cards with ``offered_rate`` (n,): the offer each gets if it passes screening, four decimals.

    Adds offer_centre, the offer before its random move, and trader_move, what the trader added to the policy's
    rate (both (n,), of face value).
    """
    centre = {"small": _fixed, "medium": _weekly_table, "head": _live}[world.profile](
        world, kinds, board, cards
    )
    trader = (
        _trader_move(world.rng(f"trader of {stream}"), cards) if world.confounded else np.zeros(len(centre))
    )
    half = world.jitter_half_width if world.jitter else 0.0
    centre = np.clip(centre + trader, max(LEAST_CENTRE, half + 0.01), min(HIGHEST_CENTRE, 1 - half))
    move = world.rng(stream).uniform(-half, half, len(centre))
    offered = round_rate(centre + move)
    return cards | {"offered_rate": offered, "offer_centre": centre, "trader_move": trader}


def _trader_move(rng: np.random.Generator, cards: Rows) -> np.ndarray:
    """By how much a trader moves each offer (n,), from a glimpse of the seller and of the hidden level."""
    count = len(cards["kind"])
    seller = (cards["temperament"] - 0.5) * np.sqrt(12)
    seen = TRADER_SEES * seller + np.sqrt(1 - TRADER_SEES**2) * rng.normal(size=count)
    level = cards["level_gap"] + rng.normal(0.0, LEVEL_NOISE, count)
    return np.clip(SELLER_MOVE * seen + LEVEL_MOVE * level, -MOST_TRADER_MOVE, MOST_TRADER_MOVE)


def _fixed(world: World, kinds: Kinds, board: Board, cards: Rows) -> np.ndarray:
    rate = np.minimum(FIXED_RATE, kinds.max_rate[cards["kind"]])
    rate = rate - LOGISTICS_SHARE * cards["physical"]
    return np.where(cards["days_left"] < 0, EXPIRED_RATE, rate)


def _weekly_table(world: World, kinds: Kinds, board: Board, cards: Rows) -> np.ndarray:
    """A rate per card type, set each week from the buyers' bids of that moment."""
    week = 7 * DAY_US
    set_at = world.start_us + (cards["submitted_us"] - world.start_us) // week * week
    bids = mean_of(board.latest(side="buyer_bid", kind=cards["kind"], time_us=set_at))
    rate = np.where(np.isnan(bids), FIXED_RATE, bids - TABLE_MARGIN)
    return _table_deductions(rate, cards)


def _table_deductions(rate: np.ndarray, cards: Rows) -> np.ndarray:
    share = np.ones(len(rate))
    for days, kept in reversed(TABLE_EXPIRY_STEPS):
        share = np.where(cards["days_left"] < days, kept, share)
    rate = rate * share - LOGISTICS_SHARE * cards["physical"]
    return np.where(cards["days_left"] < 0, EXPIRED_RATE, rate)


def _live(world: World, kinds: Kinds, board: Board, cards: Rows) -> np.ndarray:
    """Buyers' bids of the moment less a margin, part of the way to the best competitor, less the expiry."""
    bids = np.where(np.isnan(cards["buyer_mean"]), kinds.base[cards["kind"]], cards["buyer_mean"])
    rate = bids - LIVE_MARGIN
    rival = np.where(np.isnan(cards["competitor_best"]), rate, cards["competitor_best"])
    rate = rate + MATCH * (np.minimum(rival, bids - 0.01) - rate)
    rate = rate * expiry_factor(cards["days_left"], 0.36) - LOGISTICS_SHARE * cards["physical"]
    return np.where(cards["days_left"] < 0, EXPIRED_RATE, rate)


def would_accept(cards: Rows) -> np.ndarray:
    """Whether the seller takes the offer, were it made (n,) bool."""
    return cards["offered_rate"] >= cards["reservation_rate"]


def add_screening(world: World, cards: Rows) -> Rows:
    """Rules of thumb over what was seen before; ``cards`` must be in the order of time.

    A small platform stops large cards of sellers it does not know. A medium one stops those at night, and a
    card number that another seller brought before. A head one also stops devices and payout accounts of
    several sellers, and many cards of one batch on one day. Adds screen_flagged, was_screened_out (flagged
    and not let through) and fraud_rate_screened, the context's fraud rate among the trades that got an offer.
    """
    first_time = rank(cards["seller"]) == 0
    if world.profile == "small":
        flagged = first_time & (cards["face_fen"] >= LARGE_FACE_FEN)
    else:
        flagged = first_time & (cards["hour"] < 7) & (cards["face_fen"] >= NIGHT_FACE_FEN)
        flagged |= sellers_before(cards["card"], cards["seller"]) >= 2
    if world.profile == "head":
        for entity in ("device", "account"):
            flagged |= sellers_before(cards[entity], cards["seller"]) >= SHARED_BY_SELLERS
        today = pair(cards["seller"], local_day(cards["submitted_us"]) - world.start_day)
        flagged |= rank(pair(today, cards["batch"])) >= HURRIED_CARDS
    let_through = world.rng("screening").random(len(flagged)) < LET_THROUGH
    screened_out = flagged & ~let_through
    return cards | {
        "screen_flagged": flagged,
        "was_screened_out": screened_out,
        "fraud_rate_screened": _rate_after_screening(cards, screened_out),
    }


def _rate_after_screening(cards: Rows, screened_out: np.ndarray) -> np.ndarray:
    """Bayes' rule with the shares of fraud and of honest trades that screening lets pass, taken as the same
    in every context."""
    fraud = cards["fraud_kind"] > 0
    passed = (1 - screened_out[fraud].mean()) if fraud.any() else 1.0
    mixed = cards["fraud_rate_context"] * passed
    return mixed / (mixed + (1 - cards["fraud_rate_context"]) * (1 - screened_out[~fraud].mean()))


def sellers_before(entity: np.ndarray, seller: np.ndarray) -> np.ndarray:
    """Different sellers that had used the entity up to and including each row (n,), rows in order of time."""
    first_use = (rank(pair(entity, seller)) == 0).astype(np.int64)
    order = np.argsort(entity, kind="stable")
    upto = np.cumsum(first_use[order])
    start = _group_starts(entity[order])
    counts = np.empty(len(order), dtype=np.int64)
    counts[order] = upto - (upto - first_use[order])[start]
    return counts


def rank(code: np.ndarray) -> np.ndarray:
    """How many earlier rows have the same code (n,)."""
    order = np.argsort(code, kind="stable")
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - _group_starts(code[order])
    return place


def pair(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One code for each pair of codes (n,); the first may be any 64-bit number."""
    index = np.unique(first, return_inverse=True)[1]
    return index * (int(second.max()) + 1) + second


def _group_starts(sorted_code: np.ndarray) -> np.ndarray:
    """Position of the first row of each row's group (n,), for codes in order."""
    new = np.concatenate([[True], sorted_code[1:] != sorted_code[:-1]])
    return np.maximum.accumulate(np.where(new, np.arange(len(new)), 0))


def add_outcomes(world: World, kinds: Kinds, prices: Prices, cards: Rows) -> Rows:
    """What happened and when it became known (µs); from ``world.end_us`` on, it is not known yet.

    Adds offered, accepted (bool); decided_us, resold_us, known_us; resale_realised (n,) is what the card
    brings or would have brought: 0 for fraud, which is redeemed, frozen or reclaimed before it can be sold.
    """
    rng = world.rng("outcomes")
    count = len(cards["kind"])
    fraud = cards["fraud_kind"] > 0
    offered = ~cards["was_screened_out"]
    median = np.where(fraud, FRAUD_MINUTES, SELLER_MINUTES * (0.5 + cards["temperament"]))
    minutes = np.minimum(
        median * rng.lognormal(0.0, DECISION_SIGMA, count), LONGEST_MINUTES * rng.uniform(0.9, 1, count)
    )
    decided_us = cards["submitted_us"] + (minutes * 60e6).astype(np.int64)
    fraud_days = np.clip(FRAUD_KNOWN_DAYS * rng.lognormal(0.0, FRAUD_KNOWN_SIGMA, count), *FRAUD_KNOWN_RANGE)
    days = np.where(fraud, fraud_days, rng.uniform(*HONEST_KNOWN_DAYS, count))
    lag = 1 + rng.choice(len(sale_lag_shares()), count, p=sale_lag_shares())
    within = rng.integers(0, STEP_US, count)
    resold_us = prices.start_us + (prices.step(cards["submitted_us"]) + lag) * STEP_US + within
    realised = _realised(rng, kinds, prices, cards, lag)
    return cards | {
        "offered": offered,
        "accepted": offered & would_accept(cards),
        "decided_us": decided_us,
        "known_us": decided_us + (days * DAY_US).astype(np.int64),
        "resold_us": np.maximum(resold_us, decided_us),
        "resale_realised": np.where(fraud, 0.0, realised),
    }


def label_source(*, fraud: np.ndarray, delay_us: np.ndarray) -> np.ndarray:
    """Who labels each card (n,) object, once it is labelled. delay_us: from the decision to the label."""
    quick = delay_us < ANALYST_DAYS * DAY_US
    return np.where(fraud, np.where(quick, "analyst", "chargeback"), np.array("matured", dtype=object))


def _realised(
    rng: np.random.Generator, kinds: Kinds, prices: Prices, cards: Rows, lag: np.ndarray
) -> np.ndarray:
    """Resale rate (n,) at the market of the step of resale; its mean is ``resale_expected``."""
    level = prices.levels[cards["kind"], prices.step(cards["submitted_us"]) + lag]
    valid = resale_rate(kinds, cards, level, cards["days_left"]) + rng.normal(0.0, RESALE_NOISE, len(lag))
    reactivated = rng.random(len(lag)) < cards["resale_expected"] / EXPIRED_PAYS
    rate = np.where(cards["days_left"] < 0, np.where(reactivated, EXPIRED_PAYS, 0.0), valid)
    return np.rint(np.clip(rate, 0.0, 1.1) * 10_000) / 10_000
