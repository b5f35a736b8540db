"""Arithmetic that gives the same bits for one live trade (Python numbers) and for a column of millions (arrays).

Features are written with + − × ÷, comparisons and the functions below, and with nothing else: these are exact or
correctly rounded in IEEE 754, so Python and numpy agree to the last bit. Logarithms and exponentials do not.
"""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np

Value = Any
"""A column (n,) in a training set, a Python number (or str, bool) in a live quote; NaN where unknown."""


@overload
def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray: ...
@overload
def ratio(numerator: Value, denominator: Value) -> Value: ...
def ratio(numerator: Value, denominator: Value) -> Value:
    """The quotient; NaN where the denominator is 0 or either side is unknown."""
    if not isinstance(denominator, np.ndarray):
        if isinstance(numerator, np.ndarray):
            return numerator / (denominator if denominator else math.nan)
        return numerator / denominator if denominator else math.nan
    safe = np.where(denominator == 0, np.nan, denominator)
    return numerator / safe


def root(value: Value) -> Value:
    """Square root; values below 0 count as 0 (they are rounding)."""
    if isinstance(value, np.ndarray):
        return np.sqrt(np.maximum(value, 0.0))
    return math.sqrt(value) if value > 0 else (math.nan if value != value else 0.0)


def pick(condition: Value, yes: Value, no: Value) -> Value:
    """``yes`` where the condition holds, else ``no``."""
    if isinstance(condition, np.ndarray):
        return np.where(condition, yes, no)
    return yes if condition else no


def at_most(value: Value, limit: float) -> Value:
    """The value, ``limit`` where it is larger; NaN stays."""
    return pick(value > limit, limit, value)


def smoothed_rate(hits: Value, cases: Value, *, prior: float, strength: float) -> Value:
    """A share pulled to ``prior`` where cases are few: the posterior mean under a beta prior,
    (hits + strength · prior) / (cases + strength)."""
    return (hits + strength * prior) / (cases + strength)
