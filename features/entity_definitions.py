"""Features that repeat for each entity of a trade: how often, how much, how risky, shared with how many others.

Each line of a table below becomes one feature per entity and window; ``{e}`` stands for the entity's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from features.moment import FEN_PER_YUAN, Moment, ratio, smoothed_rate
from features.registry import Feature

RISK_PRIOR = 0.01
RISK_STRENGTH = 5.0

ENTITY_NAMES = {
    "seller": ("seller", "卖家"),
    "device": ("device", "设备"),
    "ip": ("ip", "网络地址"),
    "payout_account": ("payout", "收款账户"),
    "card_prefix": ("batch", "卡批次"),
}
"""Entity kind -> (short name used in families, Chinese name)."""

WINDOW_WORDS = {"1h": "1 小时", "24h": "24 小时", "7d": "7 天", "30d": "30 天", "all": "至今"}


def mean_amount(m: Moment, entity: str) -> np.ndarray:
    return ratio(m.amount(entity, "30d"), m.count(entity, "30d"))


def amount_ratio(m: Moment, entity: str) -> np.ndarray:
    return ratio(m.face_fen / FEN_PER_YUAN, mean_amount(m, entity))


def amount_z(m: Moment, entity: str) -> np.ndarray:
    """Distance from the mean in standard deviations, one yuan added so that a constant habit stays finite."""
    mean = mean_amount(m, entity)
    square = ratio(m.amount_squared(entity, "30d"), m.count(entity, "30d"))
    deviation = np.sqrt(np.maximum(square - mean * mean, 0.0))
    return ratio(m.face_fen / FEN_PER_YUAN - mean, deviation + 1.0)


def fraud_rate(m: Moment, entity: str, window: str) -> np.ndarray:
    frauds, labels = m.frauds(entity, window), m.labels(entity, window)
    return smoothed_rate(frauds, labels, prior=RISK_PRIOR, strength=RISK_STRENGTH)


class Kind(NamedTuple):
    """One feature of an entity: (column suffix, unit, null, meaning, 中文, function of moment and entity)."""

    name: str
    unit: str
    null: str
    meaning: str
    zh: str
    compute: Callable[..., np.ndarray]


class Windowed(NamedTuple):
    """One feature of an entity per window."""

    name: str
    windows: tuple[str, ...]
    unit: str
    meaning: str
    zh: str
    compute: Callable[..., np.ndarray]


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
        "Time since the first submission of the {e}",
        "距首次天数",
        Moment.days_since_first,
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
)
RISK = (
    Windowed(
        "fraud_rate",
        ("24h", "7d", "30d", "all"),
        "share",
        "Smoothed fraud rate among labels of the {e} that became known",
        "欺诈率",
        fraud_rate,
    ),
    Windowed(
        "labels",
        ("7d", "30d", "all"),
        "count",
        "Labels of the {e} that became known",
        "标签数",
        Moment.labels,
    ),
    Windowed("frauds", ("all",), "count", "Known frauds of the {e}", "已知欺诈数", Moment.frauds),
)
SHARING = (
    ("device", "seller", "30d"),
    ("ip", "seller", "24h"),
    ("payout_account", "seller", "30d"),
    ("card_prefix", "seller", "7d"),
    ("seller", "device", "30d"),
    ("seller", "payout_account", "30d"),
)
"""(entity, counted entity, window): different ones among earlier submissions."""


def entity_features() -> Iterator[Feature]:
    """All features of this module."""
    for entity in ENTITY_NAMES:
        for kind in VELOCITY:
            yield from _windowed(entity, kind, family="velocity", as_of="submission")
        for kind in HABIT:
            yield _feature(entity, kind, family="velocity", as_of="submission")
        for kind in RISK:
            yield from _windowed(entity, kind, family="risk", as_of="label")
    for entity, value, window in SHARING:
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
    )


def _sharing(entity: str, value: str, window: str) -> Feature:
    return Feature(
        name=f"{entity}_{value}s_{window}",
        family="sharing",
        unit="count",
        as_of="submission",
        null=ABSENT.format(e=entity),
        meaning=f"Different {value}s among earlier submissions of the {entity}, {window}.",
        zh=f"{ENTITY_NAMES[entity][1]}{WINDOW_WORDS[window]}关联{ENTITY_NAMES[value][1]}数",
        kind="number",
        compute=partial(Moment.distinct, entity=entity, value=value, window=window),
    )
