"""The words of the fraud reasons, in Chinese and English: what a family says when it raises a risk.

A seller may read them: they name the subject, never the rule to get around. A sentence that claims a fact is
given only where that fact holds of the trade.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.matrix import Columns
from models.reasons import Reason


@dataclass(frozen=True)
class Fact:
    """A column whose value lies in [low, high]; false where the column is absent or the value unknown."""

    column: str
    low: float = -np.inf
    high: float = np.inf

    def holds(self, columns: Columns, row: int) -> bool:
        """Whether the fact holds of one of the columns' rows."""
        values = columns.get(self.column)
        return values is not None and bool(self.low <= values[row] <= self.high)


@dataclass(frozen=True)
class Case:
    """A reason that may be given only where all its facts hold."""

    reason: Reason
    facts: tuple[Fact, ...] = ()


NO_RISK_SIGNALS = Reason(
    "NO_RISK_SIGNALS", "卖家方面未发现明显风险信号", "No notable sign of risk about the seller"
)

NO_FRAUD_SCORE = Reason(
    "NO_FRAUD_SCORE",
    "风控评分暂不可用，打款前需再次核验",
    "No fraud score is available; a second check comes before payment",
)

AMOUNT_AT_RISK = Reason(
    "AMOUNT_AT_RISK",
    "金额较大，付款前需再次核验",
    "The amount is large enough for a second check before payment",
)

OVERALL_RISK = Reason(
    "OVERALL_RISK",
    "综合各项情况，本平台目前无法受理该笔交易",
    "Taken together, the circumstances of this trade do not allow us to accept it",
)

HUMAN_REVIEW = Reason(
    "HUMAN_REVIEW",
    "如对拒绝有异议，可凭交易编号申请人工复核，由工作人员重新审核",
    "You may ask for a review by a person, who will look at this trade again; please name the trade's id",
)
"""Offered with every refusal."""

OTHER_RISK_SIGNALS = Reason(
    "OTHER_RISK_SIGNALS", "交易的其他特征需要进一步核实", "Other traits of this trade need a closer look"
)

CASES: dict[str, tuple[Case, ...]] = {
    "card": (
        Case(
            Reason("EXPIRED_CARD", "卡券已过有效期", "The card is past its validity"),
            (Fact("card_is_expired", low=1),),
        ),
        Case(
            Reason(
                "UNUSUAL_FACE_VALUE",
                "面值与该卡种的常见面值不符",
                "The face value is unusual for this card type",
            ),
            (Fact("card_face_is_usual", high=0),),
        ),
        Case(
            Reason(
                "CARD_PROFILE", "卡券的种类与面值需要核实", "The kind and amount of this card need checking"
            )
        ),
    ),
    "market": (
        Case(
            Reason(
                "MARKET_CONDITIONS", "当前行情下该卡券需要核实", "Current market conditions call for a check"
            )
        ),
    ),
    "resale": (
        Case(
            Reason(
                "RESALE_CONDITIONS",
                "该卡种近期的流通情况需要核实",
                "Recent trading of this card type calls for a check",
            )
        ),
    ),
    "kind": (
        Case(
            Reason("CARD_TYPE_RISK", "该卡种近期的风险偏高", "This card type has carried more risk of late")
        ),
    ),
    "origin": (
        Case(
            Reason(
                "ORIGIN_TO_CHECK",
                "提交地区或渠道需要核实",
                "The region or channel of the submission needs checking",
            )
        ),
    ),
    "extras": (
        Case(
            Reason(
                "FURTHER_DETAILS",
                "随卡提供的其他信息需要核实",
                "Further details given with the card need checking",
            )
        ),
    ),
    "asking": (
        Case(Reason("ASKED_PRICE", "卖家要求的价格需要核实", "The price that was asked for needs checking")),
    ),
    "payee": (
        Case(
            Reason(
                "PAYEE_NOT_SELLER",
                "收款账户的户主与卖家不一致",
                "The payout account is not held by the seller",
            ),
            (Fact("payee_is_seller", high=0),),
        ),
        Case(
            Reason("PAYEE_TO_CHECK", "收款账户的户主需要核实", "The payout account's holder needs checking")
        ),
    ),
    "day_totals": (
        Case(
            Reason("DAY_TOTAL_TO_CHECK", "当日累计金额需要核实", "The total amount of the day needs checking")
        ),
    ),
    "time": (Case(Reason("UNUSUAL_TIME", "提交时段需要留意", "The time of submission calls for attention")),),
    "seller_velocity": (
        Case(
            Reason("NEW_SELLER_HIGH_AMOUNT", "首次交易，金额较大", "A first trade of a larger amount"),
            (Fact("seller_count_all", high=0), Fact("card_face_cny", low=500)),
        ),
        Case(
            Reason("NEW_SELLER", "首次交易，暂无交易记录", "A first trade, with no record yet"),
            (Fact("seller_count_all", high=0),),
        ),
        Case(
            Reason(
                "AMOUNT_ABOVE_HABIT",
                "金额高于卖家平时的交易",
                "The amount is above the seller's usual trades",
            ),
            (Fact("seller_amount_ratio", low=2),),
        ),
        Case(
            Reason("FAST_REPEAT_SUBMISSIONS", "短时间内多次提交", "Several submissions in a short time"),
            (Fact("seller_count_1h", low=2),),
        ),
        Case(
            Reason(
                "SELLER_ACTIVITY", "卖家近期的交易情况需要核实", "The seller's recent activity needs checking"
            )
        ),
    ),
    "device_velocity": (
        Case(
            Reason(
                "DEVICE_REPEAT_SUBMISSIONS",
                "该设备短时间内多次提交",
                "Several submissions from this device in a short time",
            ),
            (Fact("device_count_1h", low=2),),
        ),
        Case(
            Reason(
                "DEVICE_ACTIVITY", "该设备近期的使用情况需要核实", "Recent use of this device needs checking"
            )
        ),
    ),
    "ip_velocity": (
        Case(
            Reason(
                "NETWORK_ACTIVITY",
                "网络环境近期的使用情况需要核实",
                "Recent use of this network needs checking",
            )
        ),
    ),
    "payout_velocity": (
        Case(
            Reason(
                "PAYOUT_ACCOUNT_ACTIVITY",
                "收款账户近期的使用情况需要核实",
                "Recent use of the payout account needs checking",
            )
        ),
    ),
    "batch_velocity": (
        Case(
            Reason(
                "CARD_BATCH_ACTIVITY",
                "同批次卡券近期的提交情况需要核实",
                "Recent submissions of this card batch need checking",
            )
        ),
    ),
    "seller_risk": (
        Case(
            Reason(
                "SELLER_FRAUD_HISTORY",
                "卖家过往交易中有已确认的问题",
                "An earlier trade of the seller had a confirmed problem",
            ),
            (Fact("seller_frauds_all", low=1),),
        ),
        Case(Reason("SELLER_RECORD", "卖家的过往记录需要核实", "The seller's record needs checking")),
    ),
    "device_risk": (
        Case(
            Reason(
                "DEVICE_FRAUD_HISTORY",
                "该设备过往交易中有已确认的问题",
                "An earlier trade from this device had a confirmed problem",
            ),
            (Fact("device_frauds_all", low=1),),
        ),
        Case(Reason("DEVICE_RECORD", "该设备的过往记录需要核实", "The record of this device needs checking")),
    ),
    "ip_risk": (
        Case(
            Reason(
                "NETWORK_FRAUD_HISTORY",
                "该网络过往交易中有已确认的问题",
                "An earlier trade from this network had a confirmed problem",
            ),
            (Fact("ip_frauds_all", low=1),),
        ),
        Case(
            Reason("NETWORK_RECORD", "该网络的过往记录需要核实", "The record of this network needs checking")
        ),
    ),
    "payout_risk": (
        Case(
            Reason(
                "PAYOUT_ACCOUNT_FRAUD_HISTORY",
                "收款账户过往交易中有已确认的问题",
                "An earlier trade paid to this account had a confirmed problem",
            ),
            (Fact("payout_account_frauds_all", low=1),),
        ),
        Case(
            Reason(
                "PAYOUT_ACCOUNT_RECORD",
                "收款账户的过往记录需要核实",
                "The record of the payout account needs checking",
            )
        ),
    ),
    "batch_risk": (
        Case(
            Reason(
                "CARD_BATCH_RISK",
                "同批次卡券出现过已确认的问题",
                "This card batch has had a confirmed problem",
            ),
            (Fact("card_prefix_frauds_all", low=1),),
        ),
        Case(
            Reason(
                "CARD_BATCH_RECORD",
                "同批次卡券的记录需要核实",
                "The record of this card batch needs checking",
            )
        ),
    ),
    "sharing": (
        Case(
            Reason(
                "SHARED_PAYOUT_ACCOUNT",
                "收款账户关联多位卖家",
                "The payout account is linked to several sellers",
            ),
            (Fact("payout_account_sellers_30d", low=2),),
        ),
        Case(
            Reason("SHARED_DEVICE", "设备关联多位卖家", "The device is linked to several sellers"),
            (Fact("device_sellers_30d", low=2),),
        ),
        Case(Reason("LINKED_ACCOUNTS", "账户之间的关联需要核实", "Links between accounts need checking")),
    ),
    "links": (
        Case(
            Reason(
                "LINKED_FRAUD_HISTORY",
                "关联账户中有已确认的问题交易",
                "A linked account had a trade with a confirmed problem",
            ),
            (Fact("link_frauds", low=1), Fact("link_sellers", low=1)),
        ),
        Case(
            Reason("LINKED_SELLERS", "卖家与其他账户存在关联", "The seller is linked to other accounts"),
            (Fact("link_sellers", low=1),),
        ),
        Case(
            Reason("LINKS_TO_CHECK", "账户之间的联系需要核实", "Connections between accounts need checking")
        ),
    ),
    "demand": (
        Case(
            Reason(
                "CARD_TYPE_ACTIVITY",
                "该卡种近期的提交情况需要核实",
                "Recent submissions of this card type need checking",
            )
        ),
    ),
    "stock": (
        Case(
            Reason(
                "STOCK_CONDITIONS",
                "该卡种的库存与流通情况需要核实",
                "Stock and turnover of this card type need checking",
            )
        ),
    ),
    "duplicate": (
        Case(
            Reason("DUPLICATE_CARD", "该卡券此前已被提交过", "This card has been submitted before"),
            (Fact("fingerprint_count_all", low=1),),
        ),
        Case(
            Reason(
                "CARD_HISTORY",
                "该卡券的提交记录需要核实",
                "The submission record of this card needs checking",
            )
        ),
    ),
    "loyalty": (
        Case(
            Reason(
                "SHORT_TRADING_RECORD", "卖家的成交记录尚少", "The seller has few completed trades so far"
            ),
            (Fact("seller_accepted_all", high=3),),
        ),
        Case(
            Reason("TRADING_RECORD", "卖家的成交记录需要核实", "The seller's completed trades need checking")
        ),
    ),
}
"""Family of features -> its cases; the first whose facts hold is the reason, the last always holds."""
