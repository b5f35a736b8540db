"""Features that repeat for each entity of a trade: how often, how much, how risky, shared with how many others.

Each line of a table below becomes one feature per entity and window; ``{e}`` stands for the entity's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from features.arithmetic import Value, at_most, ratio
from features.entities import MOST_COUNTED
from features.moment import FEN_PER_YUAN, Moment
from features.registry import RANGES, Feature

RISK_PRIOR = 0.01
RISK_STRENGTH = 5.0

OLDEST_DAYS = 90.0
"""An entity known for longer is simply known; a number that grows for ever means something else every month."""

ENTITY_NAMES = {
    "seller": ("seller", "卖家"),
    "device": ("device", "设备"),
    "ip": ("ip", "网络地址"),
    "ip_net": ("ip", "网段"),
    "payout_account": ("payout", "收款账户"),
    "card_prefix": ("batch", "卡批次"),
}
"""Entity kind -> (short name used in families, Chinese name)."""

WINDOW_WORDS = {"1h": "1 小时", "24h": "24 小时", "7d": "7 天", "30d": "30 天", "all": "至今"}


def mean_amount(m: Moment, entity: str) -> Value:
    return m.mean_amount(entity, "30d")


def amount_ratio(m: Moment, entity: str) -> Value:
    return ratio(m.face_fen / FEN_PER_YUAN, m.mean_amount(entity, "30d"))


def amount_z(m: Moment, entity: str) -> Value:
    """Distance from the mean in standard deviations, one yuan added so that a constant habit stays finite."""
    distance = m.face_fen / FEN_PER_YUAN - m.mean_amount(entity, "30d")
    return ratio(distance, m.amount_deviation(entity, "30d") + 1.0)


def amount_of_largest(m: Moment, entity: str) -> Value:
    return ratio(m.face_fen / FEN_PER_YUAN, m.largest(entity, "30d"))


def burst(m: Moment, entity: str) -> Value:
    """Submissions of 24 hours against a thirtieth of those of 30 days; one is a day like any other."""
    return ratio(m.count(entity, "24h") * 30.0, m.count(entity, "30d"))


def amount_trend(m: Moment, entity: str, window: str) -> Value:
    """Mean face value of a window against that of 7 to 37 days ago: 1 for who goes on as before."""
    return ratio(m.mean_amount(entity, window), m.mean_amount(entity, "mature_30d"))


def largest_trend(m: Moment, entity: str) -> Value:
    return ratio(m.largest(entity, "7d"), m.largest(entity, "mature_30d"))


def different(m: Moment, entity: str, counted: str, window: str) -> Value:
    return m.distinct(entity, counted, window)


def days_since_first(m: Moment, entity: str) -> Value:
    return at_most(m.days_since_first(entity), OLDEST_DAYS)


def fraud_rate(m: Moment, entity: str, window: str) -> Value:
    return m.fraud_rate(entity, window, prior=RISK_PRIOR, strength=RISK_STRENGTH)


def mature_fraud_rate(m: Moment, entity: str) -> Value:
    return m.mature_fraud_rate(entity, prior=RISK_PRIOR, strength=RISK_STRENGTH)


class Kind(NamedTuple):
    """One feature of an entity: (column suffix, unit, null, meaning, 中文, function of moment and entity)."""

    name: str
    unit: str
    null: str
    meaning: str
    zh: str
    compute: Callable[..., Value]
    riskier_when_larger: bool = False


class Windowed(NamedTuple):
    """One feature of an entity per window."""

    name: str
    windows: tuple[str, ...]
    unit: str
    meaning: str
    zh: str
    compute: Callable[..., Value]
    riskier_when_larger: bool = False


ABSENT = "the trade has no {e}"
FIRST = "first submission of the {e}, or the trade has none"
NO_HABIT = "no submission of the {e} in 30 days"

VELOCITY = (
    Windowed(
        "count",
        ("1h", "24h", "7d", "30d", "all"),
        "count",
        "Earlier submissions of the {e}",
        "提交数",
        Moment.count,
    ),
    Windowed(
        "amount",
        ("24h", "7d", "30d"),
        "CNY",
        "Face value of the {e}'s earlier submissions",
        "面值合计",
        Moment.amount,
    ),
)
HABIT = (
    Kind(
        "hours_since_last",
        "hours",
        FIRST,
        "Time since the last submission of the {e}",
        "距上次小时数",
        Moment.hours_since_last,
    ),
    Kind(
        "days_since_first",
        "days",
        FIRST,
        "Time since the first submission of the {e}, 90 at most",
        "距首次天数",
        days_since_first,
    ),
    Kind(
        "mean_amount_30d",
        "CNY",
        NO_HABIT,
        "Mean face value of the {e} in 30 days",
        "30 天面值均值",
        mean_amount,
    ),
    Kind(
        "amount_ratio",
        "ratio",
        NO_HABIT,
        "Face value over the {e}'s 30-day mean",
        "面值与均值之比",
        amount_ratio,
    ),
    Kind(
        "amount_z",
        "standard deviations",
        NO_HABIT,
        "Face value against the {e}'s 30-day habit",
        "面值偏离",
        amount_z,
    ),
    Kind(
        "amount_of_largest",
        "ratio",
        NO_HABIT,
        "Face value over the {e}'s largest of 30 days",
        "面值与最大面值之比",
        amount_of_largest,
    ),
    Kind(
        "burst",
        "ratio",
        NO_HABIT,
        "Submissions of the {e} in 24 hours against its daily mean of 30 days",
        "提交突增倍数",
        burst,
    ),
)
NO_FORMER_HABIT = "no submission of the {e} in the window or 7 to 37 days ago"
CHANGE = (
    Kind(
        "amount_trend_24h",
        "ratio",
        NO_FORMER_HABIT,
        "Mean face value of the {e} in 24 hours over that of 7 to 37 days ago",
        "24 小时面值均值与以往之比",
        partial(amount_trend, window="24h"),
    ),
    Kind(
        "amount_trend_7d",
        "ratio",
        NO_FORMER_HABIT,
        "Mean face value of the {e} in 7 days over that of 7 to 37 days ago",
        "7 天面值均值与以往之比",
        partial(amount_trend, window="7d"),
    ),
    Kind(
        "largest_trend_7d",
        "ratio",
        "no submission of the {e} 7 to 37 days ago",
        "Largest face value of the {e} in 7 days over that of 7 to 37 days ago",
        "7 天最大面值与以往之比",
        largest_trend,
    ),
)
"""Who was taken over goes on differently: what has changed before a label can tell."""

PERSONS = ("seller", "payout_account")
"""Entities with habits of their own, which :data:`CHANGE` compares."""

RISK = (
    Windowed(
        "fraud_rate",
        ("24h", "7d", "30d", "all"),
        "share",
        "Smoothed fraud rate among labels of the {e} that became known",
        "欺诈率",
        fraud_rate,
        riskier_when_larger=True,
    ),
    Windowed(
        "labels",
        ("7d", "30d", "all"),
        "count",
        "Labels of the {e} that became known",
        "标签数",
        Moment.labels,
    ),
    Windowed(
        "frauds",
        ("all",),
        "count",
        "Known frauds of the {e}",
        "已知欺诈数",
        Moment.frauds,
        riskier_when_larger=True,
    ),
)
MATURE_RISK = Kind(
    "mature_fraud_rate",
    "share",
    ABSENT,
    "Smoothed share of the {e}'s trades of 7 to 37 days ago that are known to be fraud",
    "成熟欺诈率",
    mature_fraud_rate,
    riskier_when_larger=True,
)
SHARING = (
    ("device", "seller", "30d"),
    ("ip", "seller", "24h"),
    ("payout_account", "seller", "30d"),
    ("card_prefix", "seller", "24h"),
    ("card_prefix", "seller", "7d"),
    ("seller", "device", "30d"),
    ("seller", "payout_account", "30d"),
    ("ip_net", "seller", "24h"),
    ("seller", "ip_net", "7d"),
    ("seller", "card_type", "30d"),
    ("payout_account", "device", "30d"),
    ("device", "payout_account", "30d"),
)
"""(entity, counted entity, window): different ones among earlier submissions."""

COUNTED_NAMES = {name: zh for name, (_, zh) in ENTITY_NAMES.items()} | {"card_type": "卡种"}


def entity_features() -> Iterator[Feature]:
    """All features of this module."""
    for entity in ENTITY_NAMES:
        for kind in VELOCITY:
            yield from _windowed(entity, kind, family="velocity", as_of="submission")
        for kind in HABIT:
            yield _feature(entity, kind, family="velocity", as_of="submission")
        for kind in CHANGE if entity in PERSONS else ():
            yield _feature(entity, kind, family="velocity", as_of="submission")
        for kind in RISK:
            yield from _windowed(entity, kind, family="risk", as_of="label")
        yield _feature(entity, MATURE_RISK, family="risk", as_of="label")
        for owner, value, window in SHARING:
            if owner == entity:
                yield _sharing(entity, value, window)


def _windowed(entity: str, kind: Windowed, *, family: str, as_of: str) -> Iterator[Feature]:
    for window in kind.windows:
        named = Kind(
            name=f"{kind.name}_{window}",
            unit=kind.unit,
            null=ABSENT,
            meaning=f"{kind.meaning}, {window}",
            zh=f"{WINDOW_WORDS[window]}{kind.zh}",
            compute=partial(kind.compute, window=window),
            riskier_when_larger=kind.riskier_when_larger,
        )
        yield _feature(entity, named, family=family, as_of=as_of)


def _feature(entity: str, kind: Kind, *, family: str, as_of: str) -> Feature:
    short, zh = ENTITY_NAMES[entity]
    return Feature(
        name=f"{entity}_{kind.name}",
        family=f"{short}_{family}",
        unit=kind.unit,
        as_of=as_of,
        null=kind.null.format(e=entity),
        meaning=f"{kind.meaning.format(e=entity)}.",
        zh=f"{zh}{kind.zh}",
        kind="number",
        compute=partial(kind.compute, entity=entity),
        range=RANGES[kind.unit],
        riskier_when_larger=kind.riskier_when_larger,
    )


def _sharing(entity: str, value: str, window: str) -> Feature:
    return Feature(
        name=f"{entity}_{value}s_{window}",
        family="sharing",
        unit="count",
        as_of="submission",
        null=ABSENT.format(e=entity),
        meaning=f"Different {value}s among earlier submissions of the {entity}, {window}; {MOST_COUNTED} at most.",
        zh=f"{ENTITY_NAMES[entity][1]}{WINDOW_WORDS[window]}关联{COUNTED_NAMES[value]}数",
        kind="number",
        compute=partial(different, entity=entity, counted=value, window=window),
        range=(0, MOST_COUNTED),
    )
