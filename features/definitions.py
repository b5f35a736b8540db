"""Every feature of Huika. To add one, write a function here: its name is the column, its docstring the meaning.
(Those of the market and the card kind are in :mod:`features.kind_definitions`, those that repeat for each entity in
:mod:`features.entity_definitions`, links and batches in :mod:`features.link_definitions`.)

The same functions run over the columns of a training set and over one live trade (see
:class:`features.moment.Moment` for what they can ask, :mod:`features.arithmetic` for what they can do with it), so
the values are the same bits. A function that changes gets a new version by itself; keep the old one in
:mod:`features.retired` while a model that was trained on it serves.
"""

from __future__ import annotations

import math

from features import kind_definitions, link_definitions
from features.arithmetic import Value, pick, ratio
from features.dictionary import FEATURES, define
from features.entity_definitions import entity_features
from features.extras import with_ages
from features.moment import FEN_PER_YUAN, Moment
from features.retired import retire_all

__all__ = ["FEATURES", "kind_definitions", "link_definitions"]

NO_CATALOGUE_VALUE = "the catalogue has no value for the card type"
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
    return ratio(m.face_fen, m.card("max_face_fen"))


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


# --- where it came from, and what else the platform knew ------------------------------------------------------


@define(family="origin", unit="-", zh="卖家地区", as_of="trade", kind="category", null="not given")
def origin_region(m: Moment) -> Value:
    """Province or region of the seller."""
    return m.text("region")


@define(family="origin", unit="-", zh="提交渠道", as_of="trade", kind="category", null="not given")
def origin_channel(m: Moment) -> Value:
    """Site, app or partner that the card came through."""
    return m.text("channel")


@define(family="extras", unit="-", zh="平台附加信息", as_of="trade", kind="category", null="not given")
def extras(m: Moment) -> Value:
    """What else the platform knew at submission (JSON), with hours before it in place of times; the fraud model reads
    every name in it."""
    return with_ages(m.text("extras"), m.time)


# --- what the seller asks for, and who gets the money ---------------------------------------------------------


@define(
    family="asking",
    unit="rate difference",
    zh="卖家要价与同行价之差",
    as_of="market",
    null="no asked rate given, or no competitor's bid is believed",
)
def seller_asked_over_market(m: Moment) -> Value:
    """Rate the seller asks for, less the level of competitors' bids: far below it, somebody wants to be rid of it."""
    return m.number("asked_rate") - m.bids("competitor_bid").level


@define(family="payee", unit="0/1", zh="收款人为卖家本人", as_of="trade", null="not given")
def payee_is_seller(m: Moment) -> Value:
    """Whether the payout account's holder is the seller, as the payment provider says."""
    return m.number("payee_is_seller")


LEGAL_MARKS_CNY = (10_000, 50_000, 500_000)
"""Totals from which a law looks closer; those of ``pipelines/screening/limits.toml`` are among them. 10,000: bearer
cards bought at once (Ministry of Commerce order 2012 no. 9). 50,000 and 500,000: a person's cash, and domestic
transfers, of a day (PBOC order 2016 no. 3, art. 5)."""


def just_below_mark(m: Moment, entity: str) -> Value:
    """1 where the entity's rolling day, this card included, ends in the last tenth below a mark, else 0."""
    fen = m.total(entity, "submissions", "fen", "24h") + m.face_fen
    below = False
    for mark in LEGAL_MARKS_CNY:
        mark_fen = mark * FEN_PER_YUAN
        below = below | ((fen * 10 >= mark_fen * 9) & (fen < mark_fen))
    return pick(fen == fen, below, math.nan)


@define(family="day_totals", unit="0/1", zh="卖家当日累计略低于法定标准", as_of="submission")
def seller_day_below_limit(m: Moment) -> Value:
    """Whether the seller's face value of 24 hours, this card included, lies up to a tenth below a legal mark."""
    return just_below_mark(m, "seller")


@define(
    family="day_totals",
    unit="0/1",
    zh="收款账户当日累计略低于法定标准",
    as_of="submission",
    null="the trade has no payout_account",
)
def payout_account_day_below_limit(m: Moment) -> Value:
    """Whether the payout account's face value of 24 hours, this card included, lies up to a tenth below a mark."""
    return just_below_mark(m, "payout_account")


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


@define(family="season", unit="day of month", zh="月内日", as_of="trade")
def time_day_of_month(m: Moment) -> Value:
    """Day of the month in China, from 1: wages come on fixed days, and before them sellers are in a hurry."""
    return m.day_of_month


@define(family="season", unit="days", zh="距春节天数", as_of="trade", null=BEYOND_CALENDAR)
def time_days_to_spring_festival(m: Moment) -> Value:
    """Days to the next Spring Festival."""
    return m.days_to("spring_festival")


@define(family="season", unit="days", zh="春节后天数", as_of="trade", null=BEYOND_CALENDAR)
def time_days_since_spring_festival(m: Moment) -> Value:
    """Days since the first day of the last Spring Festival: cards given then come on the market."""
    return m.days_since("spring_festival")


@define(family="season", unit="days", zh="距中秋天数", as_of="trade", null=BEYOND_CALENDAR)
def time_days_to_mid_autumn(m: Moment) -> Value:
    """Days to the next Mid-Autumn Festival."""
    return m.days_to("mid_autumn")


@define(family="season", unit="days", zh="距国庆天数", as_of="trade", null=BEYOND_CALENDAR)
def time_days_to_national_day(m: Moment) -> Value:
    """Days to the next National Day holiday."""
    return m.days_to("national_day")


@define(family="season", unit="days", zh="距大促天数", as_of="trade", null=BEYOND_CALENDAR)
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


retire_all(FEATURES)
