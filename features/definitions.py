"""Every feature of Huika. To add one, write a function here: its name is the column, its docstring the meaning.

The same functions run over a training spine and over one live trade (see :class:`features.moment.Moment`).
Only + − × ÷ and square root of exact integers are used, so the values are the same bits for one row and for a
million.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from features.moment import FEN_PER_YUAN, Moment, ratio
from features.registry import Compute, Feature, Registry

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
RISK_PRIOR = 0.01
RISK_STRENGTH = 5.0
"""A rate with few labels is pulled to the prior: (frauds + strength · prior) / (labels + strength)."""


def smoothed_rate(frauds: np.ndarray, labels: np.ndarray, *, prior: float, strength: float) -> np.ndarray:
    """Posterior mean of a fraud rate under a beta prior; (n,) float64."""
    return (frauds + strength * prior) / (labels + strength)


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


# --- velocity, risk and sharing of each entity --------------------------------------------------------------

ENTITY_NAMES = {
    "seller": ("seller", "卖家"),
    "device": ("device", "设备"),
    "ip": ("ip", "网络地址"),
    "payout_account": ("payout", "收款账户"),
    "card_prefix": ("batch", "卡批次"),
}
"""Entity kind -> (short name used in families, Chinese name)."""

WINDOW_WORDS = {"1h": "1 小时", "24h": "24 小时", "7d": "7 天", "30d": "30 天", "all": "至今"}


def entity_mean_amount(m: Moment, entity: str) -> np.ndarray:
    return ratio(m.amount(entity, "30d"), m.count(entity, "30d"))


def entity_amount_ratio(m: Moment, entity: str) -> np.ndarray:
    return ratio(m.face_fen / FEN_PER_YUAN, entity_mean_amount(m, entity))


def entity_amount_z(m: Moment, entity: str) -> np.ndarray:
    count = m.count(entity, "30d")
    mean = entity_mean_amount(m, entity)
    variance = np.maximum(ratio(m.amount_squared(entity, "30d"), count) - mean * mean, 0.0)
    return ratio(m.face_fen / FEN_PER_YUAN - mean, np.sqrt(variance) + 1.0)


def entity_fraud_rate(m: Moment, entity: str, window: str) -> np.ndarray:
    return smoothed_rate(
        m.frauds(entity, window), m.labels(entity, window), prior=RISK_PRIOR, strength=RISK_STRENGTH
    )


def _entity_feature(
    *,
    name: str,
    entity: str,
    family: str,
    unit: str,
    as_of: str,
    meaning: str,
    zh: str,
    null: str,
    compute: Compute,
) -> None:
    """Register one feature of the families that repeat for each entity."""
    short, entity_zh = ENTITY_NAMES[entity]
    FEATURES.add(
        Feature(
            name=f"{entity}_{name}",
            family=family if family in ("sharing", "duplicate", "loyalty") else f"{short}_{family}",
            unit=unit,
            as_of=as_of,
            null=null,
            meaning=meaning,
            zh=f"{entity_zh}{zh}",
            kind="number",
            compute=compute,
        )
    )


def _define_velocity(entity: str) -> None:
    shared = {"entity": entity, "family": "velocity", "as_of": "submission"}
    absent = f"the trade has no {entity}"
    for window in ("1h", "24h", "7d", "30d", "all"):
        _entity_feature(
            **shared,
            name=f"count_{window}",
            unit="count",
            null=absent,
            meaning=f"Earlier submissions of the {entity}, {window}.",
            zh=f"{WINDOW_WORDS[window]}提交数",
            compute=partial(Moment.count, entity=entity, window=window),
        )
    for window in ("24h", "7d", "30d"):
        _entity_feature(
            **shared,
            name=f"amount_{window}",
            unit="CNY",
            null=absent,
            meaning=f"Face value of the {entity}'s earlier submissions, {window}.",
            zh=f"{WINDOW_WORDS[window]}面值合计",
            compute=partial(Moment.amount, entity=entity, window=window),
        )
    first = f"first submission of the {entity}, or the trade has none"
    own = f"no submission of the {entity} in 30 days"
    for name, unit, null, meaning, zh, compute in (
        (
            "hours_since_last",
            "hours",
            first,
            "Time since the last submission",
            "距上次小时数",
            Moment.hours_since_last,
        ),
        (
            "days_since_first",
            "days",
            first,
            "Time since the first submission",
            "距首次天数",
            Moment.days_since_first,
        ),
        ("mean_amount_30d", "CNY", own, "Mean face value of 30 days", "30 天面值均值", entity_mean_amount),
        (
            "amount_ratio",
            "ratio",
            own,
            "Face value over the 30-day mean",
            "面值与均值之比",
            entity_amount_ratio,
        ),
        (
            "amount_z",
            "standard deviations",
            own,
            "Face value against the 30-day habit",
            "面值偏离",
            entity_amount_z,
        ),
    ):
        _entity_feature(
            **shared,
            name=name,
            unit=unit,
            null=null,
            meaning=f"{meaning} of the {entity}.",
            zh=zh,
            compute=partial(compute, entity=entity),
        )


def _define_risk(entity: str) -> None:
    shared = {"entity": entity, "family": "risk", "as_of": "label", "null": f"the trade has no {entity}"}
    for window in ("24h", "7d", "30d", "all"):
        _entity_feature(
            **shared,
            name=f"fraud_rate_{window}",
            unit="share",
            meaning=f"Smoothed fraud rate among labels of the {entity} that became known, {window}.",
            zh=f"{WINDOW_WORDS[window]}欺诈率",
            compute=partial(entity_fraud_rate, entity=entity, window=window),
        )
    for window in ("7d", "30d", "all"):
        _entity_feature(
            **shared,
            name=f"labels_{window}",
            unit="count",
            meaning=f"Labels of the {entity} that became known, {window}.",
            zh=f"{WINDOW_WORDS[window]}标签数",
            compute=partial(Moment.labels, entity=entity, window=window),
        )
    _entity_feature(
        **shared,
        name="frauds_all",
        unit="count",
        meaning=f"Known frauds of the {entity}.",
        zh="已知欺诈数",
        compute=partial(Moment.frauds, entity=entity, window="all"),
    )


def _define_sharing(entity: str, value: str, window: str) -> None:
    _entity_feature(
        name=f"{value}s_{window}",
        entity=entity,
        family="sharing",
        unit="count",
        as_of="submission",
        null=f"the trade has no {entity}",
        meaning=f"Different {value}s among earlier submissions of the {entity}, {window}.",
        zh=f"{WINDOW_WORDS[window]}关联{ENTITY_NAMES[value][1]}数",
        compute=partial(Moment.distinct, entity=entity, value=value, window=window),
    )


for _entity in ENTITY_NAMES:
    _define_velocity(_entity)
    _define_risk(_entity)
_define_sharing("device", "seller", "30d")
_define_sharing("ip", "seller", "24h")
_define_sharing("payout_account", "seller", "30d")
_define_sharing("card_prefix", "seller", "7d")
_define_sharing("seller", "device", "30d")
_define_sharing("seller", "payout_account", "30d")


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
