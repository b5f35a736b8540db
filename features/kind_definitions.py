"""Features of the market and of the card kind: rates, resale, stock, risk and demand. None says who sells."""

from __future__ import annotations

from features.arithmetic import Value, ratio
from features.dictionary import define
from features.moment import FEN_PER_YUAN, Moment

NO_BID = "no credible bid in the last 7 days"
NO_CATEGORY = "the catalogue has no category for the card type"

# --- market: rates as far as they are believed (features/credibility.py) ----------------------------------------


@define(family="market", unit="rate", zh="同行最高收卡价", as_of="market", null=NO_BID)
def market_competitor_best(m: Moment) -> Value:
    """Highest rate that any competitor pays sellers."""
    return m.bids("competitor_bid").best


@define(family="market", unit="rate", zh="同行平均收卡价", as_of="market", null=NO_BID)
def market_competitor_mean(m: Moment) -> Value:
    """Mean of the competitors' latest rates."""
    return m.bids("competitor_bid").mean


@define(family="market", unit="rate", zh="同行收卡价水平", as_of="market", null=NO_BID)
def market_competitor_level(m: Moment) -> Value:
    """Mean of the competitors' latest rates, weighted by age: one of yesterday weighs half a fresh one."""
    return m.bids("competitor_bid").level


@define(family="market", unit="count", zh="同行报价数", as_of="market")
def market_competitor_sources(m: Moment) -> Value:
    """Competitors with a credible rate of the last 7 days."""
    return m.bids("competitor_bid").sources


@define(family="market", unit="rate", zh="同行价动量", as_of="market", null=NO_BID, range=(-1.5, 1.5))
def market_competitor_momentum(m: Moment) -> Value:
    """Mean of the competitors' latest rates less the mean of all their rates of 7 days."""
    return m.bids("competitor_bid").mean - m.bid_mean("competitor_bid", "7d")


@define(family="market", unit="hours", zh="同行报价时效", as_of="market", null=NO_BID)
def market_age_hours(m: Moment) -> Value:
    """Age of the newest competitor rate."""
    return m.bids("competitor_bid").age_hours


@define(family="market", unit="rate", zh="买家最高出价", as_of="market", null=NO_BID)
def market_buyer_best(m: Moment) -> Value:
    """Highest rate that any buyer pays the platform."""
    return m.bids("buyer_bid").best


@define(family="market", unit="rate", zh="买家最低出价", as_of="market", null=NO_BID)
def market_buyer_worst(m: Moment) -> Value:
    """Lowest of the buyers' latest rates."""
    return m.bids("buyer_bid").worst


@define(family="market", unit="rate", zh="买家出价水平", as_of="market", null=NO_BID)
def market_buyer_level(m: Moment) -> Value:
    """Mean of the buyers' latest rates, weighted by age: one of yesterday weighs half a fresh one."""
    return m.bids("buyer_bid").level


@define(family="market", unit="rate", zh="买家七日均价", as_of="market", null=NO_BID)
def market_buyer_mean_7d(m: Moment) -> Value:
    """Mean of all buyers' rates of the last 7 days."""
    return m.bid_mean("buyer_bid", "7d")


@define(family="market", unit="rate", zh="买家价动量", as_of="market", null=NO_BID, range=(-1.5, 1.5))
def market_buyer_momentum(m: Moment) -> Value:
    """Best buyer rate less its 7-day mean: positive in a rising market."""
    return m.bids("buyer_bid").best - m.bid_mean("buyer_bid", "7d")


@define(
    family="market",
    unit="rate",
    zh="买家一日均价",
    as_of="market",
    null="no credible bid in the last 24 hours",
)
def market_buyer_mean_24h(m: Moment) -> Value:
    """Mean of all buyers' rates of the last 24 hours."""
    return m.bid_mean("buyer_bid", "24h")


@define(family="market", unit="rate", zh="买家价波动", as_of="market", null=NO_BID)
def market_buyer_volatility_7d(m: Moment) -> Value:
    """Standard deviation of all buyers' rates of the last 7 days."""
    return m.bid_deviation("buyer_bid", "7d")


@define(family="market", unit="hours", zh="买家报价时效", as_of="market", null=NO_BID)
def market_buyer_age_hours(m: Moment) -> Value:
    """Age of the newest buyer rate."""
    return m.bids("buyer_bid").age_hours


@define(family="market", unit="rate", zh="零售最高价", as_of="market", null=NO_BID)
def market_ask_best(m: Moment) -> Value:
    """Highest rate that consumers pay for the card."""
    return m.bids("ask").best


@define(family="market", unit="rate", zh="买卖价差", as_of="market", null=NO_BID, range=(-1.5, 1.5))
def market_spread(m: Moment) -> Value:
    """Best buyer rate less best competitor rate: the room between selling and buying."""
    return m.bids("buyer_bid").best - m.bids("competitor_bid").best


# --- resale, stock and risk of the card kind -------------------------------------------------------------------

KIND_RISK_PRIOR = 0.02
KIND_RISK_STRENGTH = 50.0
POOLING_STRENGTH = 20.0


@define(family="resale", unit="rate", zh="三十日出货均价", as_of="resale", null="no resale in 30 days")
def resale_mean_30d(m: Moment) -> Value:
    """Mean rate at which the card type was resold."""
    return m.resale_mean("card_type", "30d")


@define(family="resale", unit="rate", zh="七日出货均价", as_of="resale", null="no resale in 7 days")
def resale_mean_7d(m: Moment) -> Value:
    """Mean rate at which the card type was resold in 7 days."""
    return m.resale_mean("card_type", "7d")


@define(family="resale", unit="count", zh="三十日出货笔数", as_of="resale")
def resale_count_30d(m: Moment) -> Value:
    """Resales of the card type."""
    return m.resales("card_type", "30d")


@define(family="resale", unit="rate", zh="同类三十日出货均价", as_of="resale", null="no resale in 30 days")
def resale_category_mean_30d(m: Moment) -> Value:
    """Mean rate at which cards of the category were resold."""
    return m.resale_mean("card_category", "30d")


@define(
    family="resale",
    unit="rate",
    zh="合并出货均价",
    as_of="resale",
    null="no resale of the category in 30 days",
)
def resale_pooled_30d(m: Moment) -> Value:
    """Mean resale rate of the card type, drawn to its category's where it had few resales."""
    return m.pooled_resale(strength=POOLING_STRENGTH)


@define(
    family="resale", unit="rate", zh="成熟出货均价", as_of="resale", null="none bought then is resold yet"
)
def resale_matured_mean(m: Moment) -> Value:
    """Mean resale rate of the cards of the type that were bought 7 to 37 days ago."""
    sold = m.purchases("card_type", "sold")
    return ratio(m.purchases("card_type", "sold_ppm"), sold) / 1_000_000


@define(family="stock", unit="count", zh="库存张数", as_of="resale")
def stock_cards(m: Moment) -> Value:
    """Cards of the type bought in 30 days and not resold yet."""
    return m.purchases("card_type", "bought", "30d") - m.purchases("card_type", "sold", "30d")


@define(family="stock", unit="CNY", zh="库存面值", as_of="resale")
def stock_cny(m: Moment) -> Value:
    """Their face value."""
    fen = m.purchases("card_type", "bought_fen", "30d") - m.purchases("card_type", "sold_fen", "30d")
    return fen / FEN_PER_YUAN


@define(family="stock", unit="share", zh="成熟售出率", as_of="resale", null="none was bought then")
def stock_sold_share(m: Moment) -> Value:
    """Share of the cards of the type bought 7 to 37 days ago that are resold."""
    return ratio(m.purchases("card_type", "sold"), m.purchases("card_type", "bought"))


@define(family="kind", unit="share", zh="卡种三十日欺诈率", as_of="label", riskier_when_larger=True)
def kind_fraud_rate_30d(m: Moment) -> Value:
    """Smoothed fraud rate of the card type."""
    return m.fraud_rate("card_type", "30d", prior=KIND_RISK_PRIOR, strength=KIND_RISK_STRENGTH)


@define(family="kind", unit="share", zh="卡种成熟欺诈率", as_of="label", riskier_when_larger=True)
def kind_mature_fraud_rate(m: Moment) -> Value:
    """Smoothed share of the card type's trades of 7 to 37 days ago that are known to be fraud."""
    return m.mature_fraud_rate("card_type", prior=KIND_RISK_PRIOR, strength=KIND_RISK_STRENGTH)


@define(
    family="kind",
    unit="share",
    zh="同类三十日欺诈率",
    as_of="label",
    null=NO_CATEGORY,
    riskier_when_larger=True,
)
def kind_category_fraud_rate_30d(m: Moment) -> Value:
    """Smoothed fraud rate of the category."""
    return m.fraud_rate("card_category", "30d", prior=KIND_RISK_PRIOR, strength=KIND_RISK_STRENGTH)


@define(family="demand", unit="count", zh="卡种二十四小时提交数", as_of="submission")
def kind_count_24h(m: Moment) -> Value:
    """Cards of the type offered in 24 hours."""
    return m.count("card_type", "24h")


@define(
    family="demand", unit="ratio", zh="卡种提交突增倍数", as_of="submission", null="none offered in 30 days"
)
def kind_burst(m: Moment) -> Value:
    """Cards of the type offered in 24 hours against the daily mean of 30 days: a flood, or a leaked batch."""
    return ratio(m.count("card_type", "24h") * 30.0, m.count("card_type", "30d"))


@define(
    family="demand", unit="ratio", zh="面值与卡种均值之比", as_of="submission", null="none offered in 30 days"
)
def kind_amount_ratio(m: Moment) -> Value:
    """Face value over the mean of the card type in 30 days."""
    return ratio(m.face_fen / FEN_PER_YUAN, m.mean_amount("card_type", "30d"))
