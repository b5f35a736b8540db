"""Why a price is what it is: the waterfall from face value to payout, and the reasons beside it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

import numpy as np

from models.discount.anchor import BAND_MIDDLE, CATEGORY_MEAN, DEFAULT
from models.discount.context import NEAR_EXPIRY_DAYS, card_context
from models.discount.offers import Offers
from models.matrix import Columns
from models.reasons import Reason

MARKET_MOVE = 0.01
"""Distance of buyers' best bid from last month's resale mean that is worth a word."""
COMPETITOR_CLOSE = 0.01
NOTABLE_SHARE = 0.01
"""Costs or risk above this share of face value are worth a word."""
WEAK_ANCHORS = frozenset({CATEGORY_MEAN, BAND_MIDDLE, DEFAULT})
NOTABLE_MOVE = 0.001
"""What the cap of daily moves takes or adds from here on is worth a word."""

SILENT_AT_ZERO = (
    "SPENT",
    "REACTIVATION",
    "PARTIAL_BALANCE",
    "RESERVE",
    "LOGISTICS",
    "COMPETITION",
    "GUARD_RAILS",
    "DAILY_MOVE",
    "LOYALTY",
)
"""Steps left out of a waterfall in which they change nothing."""

NO_OFFER = Reason(
    "NO_OFFER", "按当前行情回收无利可图，不建议报价", "Not worth buying at any rate of its price band now"
)
DAILY_MOVE_WAITS = Reason(
    "DAILY_MOVE_WAITS",
    "价格按每日调价上限逐步调整，尚未到可成交水平，暂不报价",
    "The price may move only so much a day and has not yet arrived where the market is; no offer for now",
)
EXPIRED_CARD = Reason(
    "EXPIRED_CARD", "卡已过期，按过期卡价格回收", "The card has expired; priced as an expired card"
)
NEAR_EXPIRY = Reason("NEAR_EXPIRY", "临近到期，转售时间有限", "Close to expiry, little time left to resell")
PHYSICAL_LOGISTICS = Reason(
    "PHYSICAL_LOGISTICS",
    "实体卡需要邮寄与拆验，含物流成本",
    "Physical card: shipping and unpacking are deducted",
)
SMALL_FACE = Reason("SMALL_FACE", "面值较小，固定成本占比高", "Small face value: fixed costs weigh more")
KIND_RISK = Reason("KIND_RISK", "该卡种平均风险较高", "This kind of card carries a higher average risk")
MARKET_HIGH = Reason("MARKET_HIGH", "当前收购行情高于近月均价", "Buyers now bid above last month's average")
MARKET_LOW = Reason("MARKET_LOW", "当前收购行情低于近月均价", "Buyers now bid below last month's average")
COMPETITOR_MATCH = Reason("COMPETITOR_MATCH", "与同行最高回收价接近", "In line with the best competing offer")
THIN_MARKET = Reason("THIN_MARKET", "该卡种近期行情数据较少", "Little recent market data for this card type")
NEVER_SEEN = Reason(
    "NEVER_SEEN",
    "本平台尚无该卡种出货记录，按同类卡与市场行情估价",
    "No card of this type was resold here yet; valued by its category and the market",
)
OUTDATED = Reason(
    "OUTDATED",
    "该卡种行情或出货数据未按平时节奏更新，按平时水平估价",
    "News of this card type's market or resales came less often than usual; valued by what is usual",
)
LOYAL_SELLER = Reason("LOYAL_SELLER", "老用户加价", "A bonus for a regular seller")
BAND_LIMIT = Reason("BAND_LIMIT", "报价受该卡种价格区间限制", "Limited by the price band of this card type")
DAILY_MOVE = Reason(
    "DAILY_MOVE",
    "行情变化较大，按每日调价上限逐步调整",
    "The market moved far; the price follows in steps, at most so much a day",
)
MARKET_PRICE = Reason("MARKET_PRICE", "按当前市场行情定价", "Priced at the current market")


@dataclass(frozen=True)
class Step:
    """One step of the waterfall: ``amount_fen`` is added, ``balance_fen`` is what is left after it."""

    code: str
    zh: str
    en: str
    amount_fen: int
    balance_fen: int


def waterfall(offers: Offers, row: int) -> tuple[Step, ...]:
    """The steps from face value to payout of one offer; their amounts add up to ``payout_fen`` exactly. A partly used
    card begins with the face value that was issued and what of it was spent.

    Every balance is a whole number of fen and every amount the difference of two of them, so nothing is lost
    to rounding. Costs and risk are those of the shown rate; the margin is what bargaining leaves between the
    card's net value and the best rate of the price band, with competitors at their usual bids.
    """
    before = 0
    steps = []
    for code, zh, en, balance in _balances(offers, row):
        if balance != before or code not in SILENT_AT_ZERO:
            steps.append(Step(code, zh, en, balance - before, balance))
        before = balance
    return tuple(steps)


def _balances(offers: Offers, row: int) -> tuple[tuple[str, str, str, int], ...]:
    """Code, names and balance in fen after each step."""
    face = int(offers.face_value_fen[row])

    def at(rate: np.ndarray) -> int:
        return _fen(face * float(rate[row]))

    resale = at(offers.resale_mean)
    valid = resale if np.isnan(offers.resale_if_valid[row]) else at(offers.resale_if_valid)
    partial = resale - int(offers.partial_fen[row])
    reserved = partial - int(offers.reserve_fen[row])
    shipped = reserved - int(offers.logistics_fen[row])
    paid = shipped - int(offers.fixed_fen[row]) - int(offers.capital_fen[row])
    payout = int(offers.payout_fen[row])
    return (
        ("FACE_VALUE", "面值", "Face value", face + int(offers.spent_fen[row])),
        ("SPENT", "已使用金额", "Already spent", face),
        ("RESALE", "预期出货价", "Expected resale value", valid),
        ("REACTIVATION", "过期卡激活成功率", "Chance that the issuer re-activates an expired card", resale),
        ("PARTIAL_BALANCE", "余额卡折价", "Partly used card: harder to resell", partial),
        ("RESERVE", "行情波动预留", "Reserve for a moving market", reserved),
        ("LOGISTICS", "实体卡物流", "Shipping of a physical card", shipped),
        ("COSTS", "处理与资金成本", "Handling and capital", paid),
        ("KIND_RISK", "卡种平均风险", "Average risk of the card kind", paid - int(offers.risk_fen[row])),
        (
            "MARGIN",
            "平台毛利（竞争与成交权衡）",
            "Margin, weighed against losing the trade",
            at(offers.usual_rate),
        ),
        (
            "COMPETITION",
            "同行报价高于或低于平时",
            "Competitors above or below their usual bids",
            at(offers.free_rate),
        ),
        ("GUARD_RAILS", "价格护栏", "Guard rails", at(offers.uncapped_rate)),
        (
            "DAILY_MOVE",
            "每日调价上限（试价前）",
            "Cap on daily moves, before the small price test",
            at(offers.centre_rate),
        ),
        (
            "EXPLORATION",
            "小幅试价与取整",
            "Small price test and rounding",
            payout - at(offers.loyalty_bonus),
        ),
        ("LOYALTY", "老用户加价", "Bonus for a regular seller", payout),
    )


def price_reasons(*, columns: Columns, offers: Offers, row: int) -> tuple[Reason, ...]:
    """The reasons that apply to one offer, strongest first; at least one."""
    only = slice(row, row + 1)
    return reasons_of_all(
        columns={name: column[only] for name, column in columns.items()}, offers=offers.rows(only)
    )[0]


def reasons_of_all(*, columns: Columns, offers: Offers) -> list[tuple[Reason, ...]]:
    """The reasons of each of n offers, strongest first; at least one each."""
    context = card_context(columns, len(offers))
    valid = ~context.expired
    move = context.buyer_best - context.resale_mean
    notable_fen = NOTABLE_SHARE * offers.face_value_fen
    to_band = np.minimum(offers.centre_rate - offers.band_low, offers.band_high - offers.centre_rate)
    rules = (
        (NO_OFFER, offers.no_offer & ~offers.waits),
        (DAILY_MOVE_WAITS, offers.waits),
        (EXPIRED_CARD, context.expired),
        (NEAR_EXPIRY, valid & (context.days_to_expiry < NEAR_EXPIRY_DAYS)),
        (PHYSICAL_LOGISTICS, offers.logistics_fen > 0),
        (SMALL_FACE, offers.fixed_fen > notable_fen),
        (KIND_RISK, offers.risk_fen > notable_fen),
        (MARKET_HIGH, valid & (move > MARKET_MOVE)),
        (MARKET_LOW, valid & (move < -MARKET_MOVE)),
        (COMPETITOR_MATCH, np.abs(offers.rate - context.competitor_best) <= COMPETITOR_CLOSE),
        (THIN_MARKET, [source in WEAK_ANCHORS for source in offers.anchor.tolist()]),
        (NEVER_SEEN, offers.never_seen),
        (OUTDATED, offers.outdated),
        (LOYAL_SELLER, offers.loyalty_bonus > 0),
        (BAND_LIMIT, to_band < 1e-4),
        (DAILY_MOVE, ~offers.waits & (np.abs(offers.centre_rate - offers.uncapped_rate) >= NOTABLE_MOVE)),
    )
    reasons = [reason for reason, _ in rules]
    applies = np.array([rule for _, rule in rules], dtype=bool).T
    return [tuple(compress(reasons, row)) or (MARKET_PRICE,) for row in applies.tolist()]


def _fen(amount: float) -> int:
    return round(amount)
