"""Rules read aloud, and what is odd about one that can be used all the same."""

from __future__ import annotations

import re

import numpy as np

from features.definitions import FEATURES
from models.fraud.conditions import ORDERED, Condition
from models.fraud.rules import DAY_SUMS, Rule

MODE_WORDS = {
    "live": ("生效", "live"),
    "shadow": ("影子运行，仅记录", "in shadow: recorded, changes nothing"),
    "off": ("停用", "off"),
}
ACTION_WORDS = {
    "hold": ("暂缓打款", "hold"),
    "review": ("人工复核", "review"),
    "refuse": ("拒绝", "refuse"),
}
DAY_WORDS = {
    "seller_day_cny": (
        "卖家滚动一日面值合计（含本卡）",
        "Face value of the seller's rolling day, this card included.",
    ),
    "payout_account_day_cny": (
        "收款账户滚动一日面值合计（含本卡）",
        "Face value of the payout account's rolling day, this card included.",
    ),
}


def read_aloud(rule: Rule) -> list[str]:
    """A rule in sentences, with what each column means."""
    mode, action = MODE_WORDS[rule.mode], ACTION_WORDS[rule.action]
    days = f" [{rule.since or '…'}, {rule.until or '…'})" if rule.since or rule.until else ""
    bound = " 白名单不放宽 the allow list does not soften it" if rule.binding else ""
    lines = [f"{rule.name}: {action[0]} {action[1]} · {mode[0]} {mode[1]}{days}{bound}"]
    for condition in rule.when:
        zh, en = _meaning(condition.column)
        lines.append(f"    {condition.words('en')}   {zh} {en}")
    if rule.source is not None:
        lines.append(f"    {rule.source.zh} {rule.source.en}")
    lines.append(f"    “{rule.reason.zh}” “{rule.reason.en}”")
    return lines


def _meaning(column: str) -> tuple[str, str]:
    if column in DAY_WORDS:
        return DAY_WORDS[column]
    feature = FEATURES[column]
    return feature.zh, feature.meaning


def advice(rule: Rule) -> list[str]:
    """What a reader should look at: conditions that can never hold, and sentences that teach the limit."""
    doubts = [doubt for condition in rule.when for doubt in _impossible(condition)]
    lows = {one.column: one for one in rule.when if one.comparison in ("at_least", "above")}
    for one in rule.when:
        low = lows.get(one.column)
        if one.comparison in ("at_most", "below") and low is not None and _apart(low, one):
            doubts.append(f"{low.words('en')} and {one.words('en')} never hold together")
    for sentence in (rule.reason.zh, rule.reason.en):
        if rule.mode != "off" and re.search(r"\d", sentence):
            doubts.append(f"“{sentence}” names a number; a seller may read it and stay just below")
    return doubts


def _apart(low: Condition, high: Condition) -> bool:
    assert isinstance(low.value, float)
    assert isinstance(high.value, float)
    both_reached = low.comparison == "at_least" and high.comparison == "at_most"
    return low.value > high.value if both_reached else low.value >= high.value


def _impossible(condition: Condition) -> list[str]:
    """Whether a column never takes such a value."""
    if condition.column in DAY_SUMS:
        return []
    low, high = FEATURES[condition.column].range
    value = condition.value
    if not isinstance(value, float) or (
        condition.comparison not in ORDERED and condition.comparison != "equals"
    ):
        return []
    never = {
        "at_least": value > high,
        "above": value >= high,
        "at_most": value < low,
        "below": value <= low,
        "equals": value < low or value > high,
    }[condition.comparison]
    if not never:
        return []
    bounds = " to ".join(f"{bound:g}" if np.isfinite(bound) else "any" for bound in (low, high))
    return [f"{condition.words('en')} never holds: the values are {bounds}"]
