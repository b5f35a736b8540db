"""Every feature of Huika. To add one, write a function here: its name is the column, its docstring the meaning.

The same functions run over a training spine and over one live trade (see :class:`features.moment.Moment`).
Only + − × ÷ and square root of exact integers are used, so the values are the same bits for one row and for a
million.
"""

from __future__ import annotations

import numpy as np

from features.entity_definitions import entity_features
from features.moment import FEN_PER_YUAN, Moment, smoothed_rate
from features.registry import Registry

FEATURES = Registry()
define = FEATURES.define

NO_CATALOGUE_VALUE = "the catalogue has no value for the card type"
NO_BID = "no bid in the last 7 days"

# --- card ---------------------------------------------------------------------------------------------------


@define(family="card", unit="-", zh="卡种", as_of="trade", kind="category")
def card_type(m: Moment) -> np.ndarray:
    """Card type of the catalogue."""
    return m.text("card_type")


@define(family="card", unit="-", zh="卡类别", as_of="trade", kind="category", null=NO_CATALOGUE_VALUE)
def card_category(m: Moment) -> np.ndarray:
    """Category of the card type."""
    return m.category


@define(family="card", unit="-", zh="卡形态", as_of="trade", kind="category", null="not given")
def card_form(m: Moment) -> np.ndarray:
    """Virtual or physical."""
    return m.text("card_form")


@define(family="card", unit="CNY", zh="面值", as_of="trade")
def card_face_cny(m: Moment) -> np.ndarray:
    """Face value."""
    return m.face_fen / FEN_PER_YUAN


@define(family="card", unit="share", zh="面值占法定上限", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_face_of_max(m: Moment) -> np.ndarray:
    """Face value as a share of the largest face value that can exist."""
    return m.face_fen / m.card("max_face_fen")


@define(family="card", unit="0/1", zh="常见面值", as_of="trade", null="the catalogue lists no face values")
def card_face_is_usual(m: Moment) -> np.ndarray:
    """Whether the card type is issued with this face value."""
    return m.catalogue.usual_face(m.text("card_type"), m.face_fen)


@define(family="card", unit="days", zh="距到期天数", as_of="trade", null="no expiry")
def card_days_to_expiry(m: Moment) -> np.ndarray:
    """Days until the card expires; negative when it has expired."""
    return m.days_to_expiry


@define(family="card", unit="0/1", zh="已过期", as_of="trade")
def card_is_expired(m: Moment) -> np.ndarray:
    """Whether the last valid day has passed."""
    return m.days_to_expiry < 0


@define(family="card", unit="0/1", zh="记名卡", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_registered(m: Moment) -> np.ndarray:
    """Named (registered) card rather than bearer card."""
    return m.card("registered")


@define(family="card", unit="months", zh="有效期", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_validity_months(m: Moment) -> np.ndarray:
    """Validity of the card type from issue."""
    return m.card("validity_months")


@define(family="card", unit="rate", zh="最低合理折扣率", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_min_rate(m: Moment) -> np.ndarray:
    """Least sensible rate of the card type."""
    return m.card("min_rate")


@define(family="card", unit="rate", zh="最高合理折扣率", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_max_rate(m: Moment) -> np.ndarray:
    """Highest sensible rate of the card type."""
    return m.card("max_rate")


# --- market -------------------------------------------------------------------------------------------------


@define(family="market", unit="rate", zh="同行最高收卡价", as_of="market", null=NO_BID)
def market_competitor_best(m: Moment) -> np.ndarray:
    """Highest rate that any competitor pays sellers."""
    return m.bids("competitor_bid")[0]


@define(family="market", unit="rate", zh="同行平均收卡价", as_of="market", null=NO_BID)
def market_competitor_mean(m: Moment) -> np.ndarray:
    """Mean of the competitors' latest rates."""
    return m.bids("competitor_bid")[1]


@define(family="market", unit="hours", zh="同行报价时效", as_of="market", null=NO_BID)
def market_age_hours(m: Moment) -> np.ndarray:
    """Age of the newest competitor rate."""
    return m.bids("competitor_bid")[2]


@define(family="market", unit="rate", zh="买家最高出价", as_of="market", null=NO_BID)
def market_buyer_best(m: Moment) -> np.ndarray:
    """Highest rate that any buyer pays the platform."""
    return m.bids("buyer_bid")[0]


@define(family="market", unit="rate", zh="买家七日均价", as_of="market", null=NO_BID)
def market_buyer_mean_7d(m: Moment) -> np.ndarray:
    """Mean of all buyers' rates of the last 7 days."""
    return m.bid_mean("buyer_bid", "7d")


@define(family="market", unit="rate", zh="买家价动量", as_of="market", null=NO_BID)
def market_buyer_momentum(m: Moment) -> np.ndarray:
    """Best buyer rate less its 7-day mean: positive in a rising market."""
    return m.bids("buyer_bid")[0] - m.bid_mean("buyer_bid", "7d")


@define(family="market", unit="rate", zh="零售最高价", as_of="market", null=NO_BID)
def market_ask_best(m: Moment) -> np.ndarray:
    """Highest rate that consumers pay for the card."""
    return m.bids("ask")[0]


@define(family="market", unit="rate", zh="买卖价差", as_of="market", null=NO_BID)
def market_spread(m: Moment) -> np.ndarray:
    """Best buyer rate less best competitor rate: the room between selling and buying."""
    return m.bids("buyer_bid")[0] - m.bids("competitor_bid")[0]


# --- resale and risk of the card kind -----------------------------------------------------------------------

KIND_RISK_PRIOR = 0.02
KIND_RISK_STRENGTH = 50.0


@define(family="resale", unit="rate", zh="三十日出货均价", as_of="resale", null="no resale in 30 days")
def resale_mean_30d(m: Moment) -> np.ndarray:
    """Mean rate at which the card type was resold."""
    return m.kind_resale_mean("card_type", "30d")


@define(family="resale", unit="count", zh="三十日出货笔数", as_of="resale")
def resale_count_30d(m: Moment) -> np.ndarray:
    """Resales of the card type."""
    return m.kind_total("card_type", "resales", "30d")


@define(family="resale", unit="rate", zh="同类三十日出货均价", as_of="resale", null="no resale in 30 days")
def resale_category_mean_30d(m: Moment) -> np.ndarray:
    """Mean rate at which cards of the category were resold."""
    return m.kind_resale_mean("card_category", "30d")


@define(family="kind", unit="share", zh="卡种三十日欺诈率", as_of="label")
def kind_fraud_rate_30d(m: Moment) -> np.ndarray:
    """Smoothed fraud rate of the card type."""
    return smoothed_rate(
        m.kind_total("card_type", "frauds", "30d"),
        m.kind_total("card_type", "labels", "30d"),
        prior=KIND_RISK_PRIOR,
        strength=KIND_RISK_STRENGTH,
    )


@define(family="kind", unit="count", zh="卡种三十日标签数", as_of="label")
def kind_labels_30d(m: Moment) -> np.ndarray:
    """Trades of the card type whose label became known."""
    return m.kind_total("card_type", "labels", "30d")


@define(family="kind", unit="share", zh="同类三十日欺诈率", as_of="label")
def kind_category_fraud_rate_30d(m: Moment) -> np.ndarray:
    """Smoothed fraud rate of the category."""
    return smoothed_rate(
        m.kind_total("card_category", "frauds", "30d"),
        m.kind_total("card_category", "labels", "30d"),
        prior=KIND_RISK_PRIOR,
        strength=KIND_RISK_STRENGTH,
    )


# --- time ---------------------------------------------------------------------------------------------------


@define(family="time", unit="hour", zh="小时", as_of="trade")
def time_hour(m: Moment) -> np.ndarray:
    """Hour of the day in China."""
    return m.local_hour


@define(family="time", unit="0 = Monday", zh="星期", as_of="trade")
def time_weekday(m: Moment) -> np.ndarray:
    """Day of the week in China."""
    return (m.local_day + 3) % 7  # 1970-01-01 was a Thursday


@define(family="time", unit="days", zh="距春节天数", as_of="trade", null="beyond the known calendar")
def time_days_to_spring_festival(m: Moment) -> np.ndarray:
    """Days to the next Spring Festival."""
    return m.days_to("spring_festival")


@define(family="time", unit="days", zh="距中秋天数", as_of="trade", null="beyond the known calendar")
def time_days_to_mid_autumn(m: Moment) -> np.ndarray:
    """Days to the next Mid-Autumn Festival."""
    return m.days_to("mid_autumn")


for _feature in entity_features():
    FEATURES.add(_feature)


# --- the same card, and loyalty -----------------------------------------------------------------------------


@define(
    family="duplicate", unit="count", zh="同一张卡提交次数", as_of="submission", null="no fingerprint given"
)
def fingerprint_count_all(m: Moment) -> np.ndarray:
    """Earlier submissions of the same card."""
    return m.count("card_fingerprint", "all")


@define(family="loyalty", unit="count", zh="卖家已接受报价数", as_of="acceptance")
def seller_accepted_all(m: Moment) -> np.ndarray:
    """Offers that the seller accepted before."""
    return m.accepted("seller", "all")
