"""What the models that do not serve would have answered to live quotes, stored beside what was answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from pipelines.application_data import (
    TABLES_LOCK,
    ApplicationData,
    UtcTime,
    insert_once,
    metadata,
    one_at_a_time,
)

CHAMPION, CANDIDATE = "champion", "candidate"
"""Who answers: the champions of both models, or the same with every challenger in its champion's place."""

MODELS = ("discount", "fraud")
NEWEST = 20_000
"""Quotes that are compared at most, the newest."""

PRICE_MOVED = 0.005
"""A rate that differs by half a point is another price to a seller."""

PROFIT_STEPS = frozenset(
    {"KIND_RISK", "MARGIN", "COMPETITION", "GUARD_RAILS", "DAILY_MOVE", "EXPLORATION", "LOYALTY"}
)
"""Steps of the waterfall between what a card brings after costs and what is paid for it."""


def _side(name: str) -> list[sa.Column[Any]]:
    return [
        sa.Column(f"{name}_rate", sa.Float, nullable=False),
        sa.Column(f"{name}_decision", sa.String(8), nullable=False),
        sa.Column(f"{name}_offers", sa.Boolean, nullable=False),
        sa.Column(f"{name}_fraud", sa.Float, nullable=True),
        sa.Column(f"{name}_profit_fen", sa.Float, nullable=True),
    ]


shadow_answers = sa.Table(
    "shadow_answers",
    metadata,
    sa.Column("quote_id", sa.String(40), primary_key=True),
    sa.Column("trade_id", sa.String(128), nullable=False, index=True),
    sa.Column("at", UtcTime, nullable=False, index=True),
    sa.Column("candidate", sa.String(80), nullable=False, index=True),
    sa.Column("champions", sa.String(80), nullable=False),
    sa.Column("served", sa.String(9), nullable=False),
    sa.Column("face_value_fen", sa.BigInteger, nullable=False),
    *_side(CHAMPION),
    *_side(CANDIDATE),
)
"""One live quote, answered by both; ``served`` says whose answer the seller got."""


@dataclass(frozen=True)
class Side:
    """One answer. offers: something is offered to the seller; fraud: the probability, None without a model; profit_fen:
    see :func:`predicted_profit_fen`."""

    rate: float
    decision: str
    offers: bool
    fraud: float | None
    profit_fen: float | None


def side_of(answer: Mapping[str, Any]) -> Side:
    """The facts of a quote as it is stored."""
    return Side(
        rate=answer["rate"],
        decision=answer["decision"],
        offers=not answer["no_offer"],
        fraud=answer["fraud_probability"],
        profit_fen=predicted_profit_fen(answer),
    )


def predicted_profit_fen(answer: Mapping[str, Any]) -> float | None:
    """What an answer expects to earn by its own models: the probability that the seller accepts, times what the card
    then earns if it is honest less the expected cost of the decision, both in money of this trade. 0: no offer; None:
    no model prices."""
    if answer["no_offer"]:
        return 0.0
    accepted, steps = answer["acceptance_probability"], answer["waterfall"]
    if accepted is None or not steps:
        return None
    earned = -sum(step["amount_fen"] for step in steps if step["code"] in PROFIT_STEPS)
    costs = (answer.get("analyst") or {}).get("expected_cost_fen") or {}
    return accepted * (earned - (costs.get(answer["decision"]) or 0.0))


def label_of(versions: Mapping[str, str | None]) -> str:
    """Versions of models by name as one text, ``discount 4 + fraud 2``; empty without any."""
    return " + ".join(f"{name} {versions[name]}" for name in MODELS if versions.get(name) is not None)


@dataclass(frozen=True)
class Paired:
    """Answers of both to the same n quotes, oldest first. Of each side: rate, fraud and profit_fen (n,) float64, NaN
    where unknown; refused (n,) bool: nothing is offered, or the trade is refused."""

    rate: Mapping[str, np.ndarray]
    fraud: Mapping[str, np.ndarray]
    profit_fen: Mapping[str, np.ndarray]
    refused: Mapping[str, np.ndarray]
    changed: np.ndarray

    def __len__(self) -> int:
        return len(self.changed)


@dataclass(frozen=True)
class ShadowFigures:
    """Candidate against champions on live quotes. rate_difference: mean of candidate less champion; price_moves: share
    of rates that differ by half a point or more; decision_changes: share; score_correlation: of the fraud
    probabilities, NaN where there are none; refused, profit_fen: share and mean a quote, by side."""

    quotes: int
    rate_difference: float
    price_moves: float
    decision_changes: float
    score_correlation: float
    refused: Mapping[str, float]
    profit_fen: Mapping[str, float]


@dataclass(frozen=True)
class ShadowData:
    """Writes and reads shadow answers."""

    data: ApplicationData

    @classmethod
    def open(cls, data: ApplicationData) -> ShadowData:
        """The shadow answers of an application database; their table is made where it is missing."""
        with data.transaction() as connection:
            one_at_a_time(connection, TABLES_LOCK)
            shadow_answers.create(connection, checkfirst=True)
        return cls(data)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows made by :func:`shadow_row`, all or nothing; a quote that is there already stays as it is."""
        with self.data.transaction() as connection:
            for row in rows:
                insert_once(connection, shadow_answers, row)

    def paired(self, candidate: str, *, since: datetime | None = None) -> Paired:
        """Both answers to the newest quotes since a moment."""
        return _paired(self.data.rows(newest_rows(candidate, since=since))[::-1])

    def latest(self) -> str | None:
        """The candidate of the newest shadow answer, None without any."""
        newest = sa.select(shadow_answers.c.candidate).order_by(shadow_answers.c.at.desc()).limit(1)
        return next((row["candidate"] for row in self.data.rows(newest)), None)


def newest_rows(candidate: str, *, since: datetime | None) -> sa.Select[Any]:
    """The newest answers to be compared, newest first."""
    table = shadow_answers.c
    chosen = sa.select(shadow_answers).where(table.candidate == candidate)
    if since is not None:
        chosen = chosen.where(table.at >= since)
    return chosen.order_by(table.at.desc(), table.quote_id).limit(NEWEST)


def shadow_row(
    quote: Mapping[str, Any], other: Mapping[str, Any], *, served: str, candidate: str, champions: str
) -> dict[str, Any]:
    """A stored quote and what the other side answers to it, as a row."""
    sides = {CHAMPION: other, CANDIDATE: other} | {served: quote["answer"]}
    row = {
        "quote_id": quote["quote_id"],
        "trade_id": quote["trade_id"],
        "at": quote["submitted_at"],
        "candidate": candidate,
        "champions": champions,
        "served": served,
        "face_value_fen": quote["trade"]["face_value_fen"],
    }
    for name, answer in sides.items():
        row |= {f"{name}_{key}": value for key, value in asdict(side_of(answer)).items()}
    return row


def _paired(rows: Sequence[Mapping[str, Any]]) -> Paired:
    def numbers(what: str) -> dict[str, np.ndarray]:
        return {
            side: np.array([row[f"{side}_{what}"] for row in rows], dtype=np.float64)
            for side in (CHAMPION, CANDIDATE)
        }

    decisions = {
        side: np.array([row[f"{side}_decision"] for row in rows], dtype=object)
        for side in (CHAMPION, CANDIDATE)
    }
    offers = numbers("offers")
    return Paired(
        rate=numbers("rate"),
        fraud=numbers("fraud"),
        profit_fen=numbers("profit_fen"),
        refused={side: (offers[side] == 0) | (decisions[side] == "refuse") for side in decisions},
        changed=decisions[CHAMPION] != decisions[CANDIDATE],
    )


def figures_of(paired: Paired) -> ShadowFigures:
    """The figures of paired answers, of one at least."""
    apart = paired.rate[CANDIDATE] - paired.rate[CHAMPION]
    scored = np.isfinite(paired.fraud[CHAMPION]) & np.isfinite(paired.fraud[CANDIDATE])
    old, new = (paired.fraud[side][scored] for side in (CHAMPION, CANDIDATE))
    varied = scored.sum() > 1 and old.std() > 0 and new.std() > 0
    return ShadowFigures(
        quotes=len(paired),
        rate_difference=float(apart.mean()),
        price_moves=float((np.abs(apart) >= PRICE_MOVED - 1e-9).mean()),
        decision_changes=float(paired.changed.mean()),
        score_correlation=float(np.corrcoef(old, new)[0, 1]) if varied else float("nan"),
        refused={side: float(refused.mean()) for side, refused in paired.refused.items()},
        profit_fen={side: _mean(profit) for side, profit in paired.profit_fen.items()},
    )


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
