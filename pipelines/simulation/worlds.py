"""The markets on which a price model is judged: one for each way in which a real one may differ from the usual."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pipelines.simulation.world import World, WorldError

WORLDS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "logistic": {},
        "skewed": {"acceptance": "skewed"},
        "mixed": {"acceptance": "mixed"},
        "confounded": {"confounded": True},
        "shock": {},
        "high_fraud": {"fraud_share": 0.08},
        "no_jitter": {"jitter": False},
        "no_jitter_skewed": {"jitter": False, "acceptance": "skewed"},
        "medium_table": {"profile": "medium"},
    }
)
"""Name to keywords of :class:`World`, without trades, days, seed and start; the day of a shock depends on them."""
SHOCKED = frozenset({"shock"})
SHOCK_DAYS_BEFORE_END = 51
"""Three weeks before the newest 30 days, which judge: the models learn a little of the market after it."""


def world_of(name: str, *, trades: int, days: int, seed: int, start: dt.date) -> World:
    """A world of :data:`WORLDS`; raises WorldError for another name.

    The shock comes ``SHOCK_DAYS_BEFORE_END``, in a log too short for that after a third of its days.
    """
    if name not in WORLDS:
        raise WorldError(f"world must be one of {', '.join(WORLDS)}, not {name}")
    shock_day = max(days - SHOCK_DAYS_BEFORE_END, days // 3) if name in SHOCKED else None
    return World(trades=trades, days=days, seed=seed, start=start, shock_day=shock_day, **WORLDS[name])
