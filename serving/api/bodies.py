"""Parts of the answers' bodies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from features.channels import Channel, Extremes
from models.discount.explain import waterfall
from models.fraud.reason_dictionary import HUMAN_REVIEW
from models.quoting import Answers
from models.reasons import Reason


def money(fen: int) -> dict[str, Any]:
    return {"amount_fen": fen, "currency": "CNY"}


def known(value: float) -> float | None:
    """A number for JSON: NaN is null."""
    return None if math.isnan(value) else float(value)


def human_review(action: str) -> dict[str, str] | None:
    """What a refused seller is offered; None where nobody is refused."""
    return HUMAN_REVIEW.to_dict() if action == "refuse" else None


def channels_body(extremes: Extremes, at: datetime) -> dict[str, Any]:
    return {
        "best": channel_body(extremes.best, at),
        "worst": channel_body(extremes.worst, at),
        "spread": round(extremes.spread, 4),
    }


def channel_body(channel: Channel, at: datetime) -> dict[str, Any]:
    return {
        "source": channel.source,
        "side": channel.side,
        "rate": round(channel.rate, 4),
        "observed_at": channel.observed_at.isoformat(),
        "age_minutes": (at - channel.observed_at) // timedelta(minutes=1),
    }


def reasons_body(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [reason.to_dict() for reason in reasons]


def waterfall_body(answers: Answers, row: int) -> list[dict[str, Any]]:
    if answers.offers is None:
        return []
    return [
        {"code": step.code, "zh": step.zh, "en": step.en, "amount_fen": step.amount_fen}
        for step in waterfall(answers.offers, row)
    ]
