"""Numbers as people read them; NOTHING where a figure has no meaning."""

from __future__ import annotations

import math

NOTHING = "–"


def count(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else NOTHING


def percent(value: float) -> str:
    return f"{value:.1%}" if math.isfinite(value) else NOTHING


def rate(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else NOTHING


def ratio(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else NOTHING


def yuan(fen: float, decimals: int = 0) -> str:
    """Money given in fen."""
    if not math.isfinite(fen):
        return NOTHING
    return f"{'-' if fen < 0 else ''}¥{abs(fen) / 100:,.{decimals}f}"
