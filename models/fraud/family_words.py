"""The names of families of features, and which of them a model had to do without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from features.registry import Registry

FAMILY_WORDS: dict[str, tuple[str, str]] = {
    "card": ("卡券本身", "the card itself"),
    "market": ("同行行情", "market rates"),
    "resale": ("出货行情", "resales of the card type"),
    "stock": ("库存与周转", "stock and turnover"),
    "demand": ("卡种提交量", "submissions of the card type"),
    "kind": ("卡种欺诈率", "fraud of the card type"),
    "origin": ("地区与渠道", "region and channel"),
    "extras": ("平台附加信息", "the platform's own extras"),
    "asking": ("卖家要价", "the price the seller asks for"),
    "payee": ("收款人身份", "whose payout account it is"),
    "day_totals": ("当日累计金额", "the day's totals"),
    "time": ("提交时段", "time of submission"),
    "season": ("节庆与大促", "festivals and sales"),
    "seller_velocity": ("卖家活动", "the seller's activity"),
    "device_velocity": ("设备活动", "activity of the device"),
    "ip_velocity": ("网络活动", "activity of the network"),
    "payout_velocity": ("收款账户活动", "activity of the payout account"),
    "batch_velocity": ("卡批次活动", "activity of the card batch"),
    "seller_risk": ("卖家历史欺诈", "known fraud of the seller"),
    "device_risk": ("设备历史欺诈", "known fraud of the device"),
    "ip_risk": ("网络历史欺诈", "known fraud of the network"),
    "payout_risk": ("收款账户历史欺诈", "known fraud of the payout account"),
    "batch_risk": ("卡批次历史欺诈", "known fraud of the card batch"),
    "sharing": ("共用设备与账户", "shared devices and accounts"),
    "links": ("关联团体", "linked sellers"),
    "duplicate": ("重复提交", "the same card offered before"),
    "loyalty": ("成交记录", "completed trades"),
}
"""Family -> its name in Chinese and English."""


def family_words(family: str) -> tuple[str, str]:
    """The name in Chinese and English; a family without words is called what it is."""
    return FAMILY_WORDS.get(family, (family, family))


@dataclass(frozen=True)
class AbsentFamily:
    """A family of which a model lacked ``absent`` of ``of`` signals, with its name in Chinese and English."""

    family: str
    zh: str
    en: str
    absent: int
    of: int

    @property
    def whole(self) -> bool:
        return self.absent == self.of

    def __str__(self) -> str:
        share = "" if self.whole else f" ({self.absent}/{self.of})"
        return f"{self.zh} {self.en}{share}"


def absent_families(absent_signals: Iterable[str], *, registry: Registry) -> tuple[AbsentFamily, ...]:
    """The signals that a model had to do without, by family, those first that were missing as a whole."""
    families = {name: registry[name].family for name in registry.names("fraud")}
    absent = [families[name] for name in absent_signals if name in families]
    found = [
        AbsentFamily(
            family, *family_words(family), absent.count(family), list(families.values()).count(family)
        )
        for family in dict.fromkeys(absent)
    ]
    return tuple(sorted(found, key=lambda item: not item.whole))
