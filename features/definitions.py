"""Every feature of Huika. To add one, write a function here: its name is the column, its docstring the meaning.

The same functions run over the columns of a training set and over one live trade (see
:class:`features.moment.Moment` for what they can ask, :mod:`features.arithmetic` for what they can do with it), so
the values are the same bits. A function that changes gets a new version by itself; keep the old one in
:mod:`features.retired` while a model that was trained on it serves.
"""

from __future__ import annotations

from features.arithmetic import Value, pick, ratio, smoothed_rate
from features.entity_definitions import entity_features
from features.moment import FEN_PER_YUAN, Moment
from features.registry import Registry
from features.retired import retire_all

FEATURES = Registry()
define = FEATURES.define

NO_CATALOGUE_VALUE = "the catalogue has no value for the card type"
NO_BID = "no bid in the last 7 days"
NO_CATEGORY = "the catalogue has no category for the card type"
BEYOND_CALENDAR = "beyond the known calendar"

# --- card ---------------------------------------------------------------------------------------------------


@define(family="card", unit="-", zh="卡种", as_of="trade", kind="category")
def card_type(m: Moment) -> Value:
    """Card type of the catalogue."""
    return m.text("card_type")


@define(family="card", unit="-", zh="卡类别", as_of="trade", kind="category", null=NO_CATALOGUE_VALUE)
def card_category(m: Moment) -> Value:
    """Category of the card type."""
    return m.card("category")


@define(family="card", unit="-", zh="卡形态", as_of="trade", kind="category", null="not given")
def card_form(m: Moment) -> Value:
    """Virtual or physical."""
    return m.text("card_form")


@define(family="card", unit="CNY", zh="面值", as_of="trade")
def card_face_cny(m: Moment) -> Value:
    """Face value."""
    return m.face_fen / FEN_PER_YUAN


@define(family="card", unit="ratio", zh="面值与法定上限之比", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_face_of_max(m: Moment) -> Value:
    """Face value as a share of the largest face value that can exist."""
    return m.face_fen / m.card("max_face_fen")


@define(family="card", unit="0/1", zh="常见面值", as_of="trade", null="the catalogue lists no face values")
def card_face_is_usual(m: Moment) -> Value:
    """Whether the card type is issued with this face value."""
    return m.face_is_usual


@define(family="card", unit="days", zh="距到期天数", as_of="trade", null="no expiry")
def card_days_to_expiry(m: Moment) -> Value:
    """Days until the card expires; negative when it has expired."""
    return m.days_to_expiry


@define(family="card", unit="0/1", zh="已过期", as_of="trade")
def card_is_expired(m: Moment) -> Value:
    """Whether the last valid day has passed."""
    return m.days_to_expiry < 0


@define(family="card", unit="0/1", zh="记名卡", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_registered(m: Moment) -> Value:
    """Named (registered) card rather than bearer card."""
    return m.card("registered")


@define(family="card", unit="months", zh="有效期", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_validity_months(m: Moment) -> Value:
    """Validity of the card type from issue."""
    return m.card("validity_months")


@define(family="card", unit="rate", zh="最低合理折扣率", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_min_rate(m: Moment) -> Value:
    """Least sensible rate of the card type."""
    return m.card("min_rate")


@define(family="card", unit="rate", zh="最高合理折扣率", as_of="trade", null=NO_CATALOGUE_VALUE)
def card_max_rate(m: Moment) -> Value:
    """Highest sensible rate of the card type."""
    return m.card("max_rate")


# --- market -------------------------------------------------------------------------------------------------


@define(family="market", unit="rate", zh="同行最高收卡价", as_of="market", null=NO_BID)
def market_competitor_best(m: Moment) -> Value:
    """Highest rate that any competitor pays sellers."""
    return m.bids("competitor_bid").best


@define(family="market", unit="rate", zh="同行平均收卡价", as_of="market", null=NO_BID)
def market_competitor_mean(m: Moment) -> Value:
    """Mean of the competitors' latest rates."""
    return m.bids("competitor_bid").mean


@define(family="market", unit="count", zh="同行报价数", as_of="market")
def market_competitor_sources(m: Moment) -> Value:
    """Competitors with a rate of the last 7 days."""
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


@define(family="market", unit="rate", zh="买家七日均价", as_of="market", null=NO_BID)
def market_buyer_mean_7d(m: Moment) -> Value:
    """Mean of all buyers' rates of the last 7 days."""
    return m.bid_mean("buyer_bid", "7d")


@define(family="market", unit="rate", zh="买家价动量", as_of="market", null=NO_BID, range=(-1.5, 1.5))
def market_buyer_momentum(m: Moment) -> Value:
    """Best buyer rate less its 7-day mean: positive in a rising market."""
    return m.bids("buyer_bid").best - m.bid_mean("buyer_bid", "7d")


@define(family="market", unit="rate", zh="买家一日均价", as_of="market", null="no bid in the last 24 hours")
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


@define(family="kind", unit="share", zh="卡种三十日欺诈率", as_of="label")
def kind_fraud_rate_30d(m: Moment) -> Value:
    """Smoothed fraud rate of the card type."""
    return m.fraud_rate("card_type", "30d", prior=KIND_RISK_PRIOR, strength=KIND_RISK_STRENGTH)


@define(family="kind", unit="share", zh="卡种成熟欺诈率", as_of="label")
def kind_mature_fraud_rate(m: Moment) -> Value:
    """Smoothed share of the card type's trades of 7 to 37 days ago that are known to be fraud."""
    return m.mature_fraud_rate("card_type", prior=KIND_RISK_PRIOR, strength=KIND_RISK_STRENGTH)


@define(family="kind", unit="count", zh="卡种三十日标签数", as_of="label")
def kind_labels_30d(m: Moment) -> Value:
    """Trades of the card type whose label became known."""
    return m.labels("card_type", "30d")


@define(family="kind", unit="share", zh="同类三十日欺诈率", as_of="label", null=NO_CATEGORY)
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


# --- time ---------------------------------------------------------------------------------------------------


@define(family="time", unit="hour", zh="小时", as_of="trade")
def time_hour(m: Moment) -> Value:
    """Hour of the day in China."""
    return m.local_hour


@define(family="time", unit="0 = Monday", zh="星期", as_of="trade")
def time_weekday(m: Moment) -> Value:
    """Day of the week in China."""
    return (m.local_day + 3) % 7  # 1970-01-01 was a Thursday


@define(family="time", unit="0/1", zh="休息日", as_of="trade")
def time_is_day_off(m: Moment) -> Value:
    """Weekend or public holiday in China, worked weekends taken out."""
    return m.is_day_off


@define(family="time", unit="days", zh="距春节天数", as_of="trade", null=BEYOND_CALENDAR)
def time_days_to_spring_festival(m: Moment) -> Value:
    """Days to the next Spring Festival."""
    return m.days_to("spring_festival")


@define(family="time", unit="days", zh="春节后天数", as_of="trade", null=BEYOND_CALENDAR)
def time_days_since_spring_festival(m: Moment) -> Value:
    """Days since the first day of the last Spring Festival: cards given then come on the market."""
    return m.days_since("spring_festival")


@define(family="time", unit="days", zh="距中秋天数", as_of="trade", null=BEYOND_CALENDAR)
def time_days_to_mid_autumn(m: Moment) -> Value:
    """Days to the next Mid-Autumn Festival."""
    return m.days_to("mid_autumn")


@define(family="time", unit="days", zh="距国庆天数", as_of="trade", null=BEYOND_CALENDAR)
def time_days_to_national_day(m: Moment) -> Value:
    """Days to the next National Day holiday."""
    return m.days_to("national_day")


@define(family="time", unit="days", zh="距大促天数", as_of="trade", null=BEYOND_CALENDAR)
def time_days_to_sale(m: Moment) -> Value:
    """Days to the next large online sale (18 June or 11 November)."""
    first, second = m.days_to("618"), m.days_to("double_11")
    return pick(first < second, first, second)


# --- loyalty, and everything that repeats for each entity -------------------------------------------------------


@define(family="loyalty", unit="count", zh="卖家已接受报价数", as_of="acceptance")
def seller_accepted_all(m: Moment) -> Value:
    """Offers that the seller accepted before."""
    return m.total("seller", "acceptances", "n", "all")


for _feature in entity_features():
    FEATURES.add(_feature)


# --- links, and the same card ---------------------------------------------------------------------------

LINK_PRIOR = 0.01
LINK_STRENGTH = 5.0


@define(family="links", unit="count", zh="关联卖家数", as_of="submission")
def link_sellers(m: Moment) -> Value:
    """Other sellers linked through shared devices, accounts, batches and addresses, over one another too."""
    return m.links().sellers


@define(family="links", unit="count", zh="关联团体欺诈数", as_of="label")
def link_frauds(m: Moment) -> Value:
    """Known frauds of the seller and of all linked sellers."""
    return m.links().frauds


@define(family="links", unit="ratio", zh="关联团体欺诈率", as_of="label")
def link_frauds_per_seller(m: Moment) -> Value:
    """Smoothed known frauds for each of them."""
    links = m.links()
    return smoothed_rate(links.frauds, links.sellers + 1.0, prior=LINK_PRIOR, strength=LINK_STRENGTH)


@define(
    family="duplicate", unit="count", zh="同一张卡提交次数", as_of="submission", null="no fingerprint given"
)
def fingerprint_count_all(m: Moment) -> Value:
    """Earlier submissions of the same card."""
    return m.count("card_fingerprint", "all")


retire_all(FEATURES)
