"""Features of what sellers have in common: links between them, the same card, and batches that come in together."""

from __future__ import annotations

from features.arithmetic import Value, pick, root, smoothed_rate
from features.dictionary import define
from features.moment import Moment

LINK_PRIOR = 0.01
LINK_STRENGTH = 5.0


@define(family="links", unit="count", zh="关联卖家数", as_of="submission")
def link_sellers(m: Moment) -> Value:
    """Other sellers linked through shared devices and payout accounts, over one another too."""
    return m.links().sellers


@define(family="links", unit="count", zh="关联团体欺诈数", as_of="label", riskier_when_larger=True)
def link_frauds(m: Moment) -> Value:
    """Known frauds of the seller and of all linked sellers."""
    return m.links().frauds


@define(family="links", unit="ratio", zh="关联团体欺诈率", as_of="label", riskier_when_larger=True)
def link_frauds_per_seller(m: Moment) -> Value:
    """Smoothed known frauds for each of them."""
    links = m.links()
    return smoothed_rate(links.frauds, links.sellers + 1.0, prior=LINK_PRIOR, strength=LINK_STRENGTH)


@define(family="links", unit="count", zh="关联卖家的欺诈数", as_of="label", riskier_when_larger=True)
def link_other_frauds(m: Moment) -> Value:
    """Known frauds of linked sellers beyond those of the seller itself."""
    others = m.links().frauds - m.frauds("seller", "all")
    return pick(others > 0, others, 0.0)


# --- batches that come in together ------------------------------------------------------------------------

LEAST_BATCH_DAYS = 7.0


@define(
    family="batch_velocity",
    unit="standard deviations",
    zh="卡批次 24 小时提交激增",
    as_of="submission",
    null="the trade has no card_prefix",
)
def card_prefix_surge_24h(m: Moment) -> Value:
    """Submissions of the batch in 24 hours beyond a thirtieth of those of 30 days, by the spread of such a count."""
    usual = m.count("card_prefix", "30d") / 30.0
    return (m.count("card_prefix", "24h") - usual) / root(usual + 0.3)


@define(
    family="batch_velocity",
    unit="standard deviations",
    zh="卡批次 7 天提交激增",
    as_of="submission",
    null="first submission of the batch, or the trade has none",
)
def card_prefix_surge_7d(m: Moment) -> Value:
    """Submissions of the batch in 7 days beyond a usual week since its first one, by the spread of such a count."""
    days = m.days_since_first("card_prefix")
    week = 7.0 * m.count("card_prefix", "all") / pick(days < LEAST_BATCH_DAYS, LEAST_BATCH_DAYS, days)
    return (m.count("card_prefix", "7d") - week) / root(week + 1.0)


@define(
    family="batch_velocity",
    unit="standard deviations",
    zh="卡批次 24 小时卖家数激增",
    as_of="submission",
    null="the trade has no card_prefix",
)
def card_prefix_seller_surge(m: Moment) -> Value:
    """Different sellers of the batch in 24 hours beyond a thirtieth of those of 30 days (one at least), by spread."""
    sellers = m.distinct("card_prefix", "seller", "30d")
    usual = pick(sellers < 1, 1.0, sellers) / 30.0
    return (m.distinct("card_prefix", "seller", "24h") - usual) / root(usual + 0.1)


@define(
    family="duplicate", unit="count", zh="同一张卡提交次数", as_of="submission", null="no fingerprint given"
)
def fingerprint_count_all(m: Moment) -> Value:
    """Earlier submissions of the same card."""
    return m.count("card_fingerprint", "all")
