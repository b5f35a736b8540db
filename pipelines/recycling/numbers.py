"""The numbers a trade watches: how many came, what became of them, how fast, how honest, and where the money is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import sqlalchemy as sa

from pipelines.recycling.trade_tables import steps, submissions

BOUGHT = ("verified", "paying", "payout_failed", "paid", "disputed", "closed", "reversed")


@dataclass(frozen=True)
class TradeNumbers:
    """Of the trades submitted in a period. Shares are NaN where nothing is there to divide by.

    response_seconds_p50: from a submission to its first quote, refusal or person. returning_share: of the sellers,
    those with more than one trade. bait_and_cut: trades settled below the quote that was accepted first, of all
    settled. complaint_share: of the trades that were bought. stock_fen: paid for cards that were bought; frozen_fen:
    reserved; paid_fen: with the sellers.
    """

    trades: int
    states: dict[str, int]
    refused_share: float
    by_hand_share: float
    response_seconds_p50: float
    returning_share: float
    bait_and_cut: float
    complaint_share: float
    stock_fen: int
    frozen_fen: int
    paid_fen: int


def trade_numbers(
    connection: sa.Connection, *, profile: str | None = None, since: datetime | None = None
) -> TradeNumbers:
    """The numbers of a profile (None: of all), of trades submitted since a moment (None: ever)."""
    chosen = sa.select(submissions)
    if profile is not None:
        chosen = chosen.where(submissions.c.profile == profile)
    if since is not None:
        chosen = chosen.where(submissions.c.created_at >= since)
    rows = list(connection.execute(chosen).mappings())
    states = Counter(row["state"] for row in rows)
    bought = [row for row in rows if row["state"] in BOUGHT]
    settled = [row for row in bought if row["state"] != "verified"]
    sellers = Counter(row["seller_id"] for row in rows)
    touched = _touched_by_hand(connection)
    return TradeNumbers(
        trades=len(rows),
        states=dict(states),
        refused_share=_share(states["rejected"], len(rows)),
        by_hand_share=_share(sum(row["submission_id"] in touched for row in rows), len(rows)),
        response_seconds_p50=_median(_responses(connection, {row["submission_id"] for row in rows})),
        returning_share=_share(sum(count > 1 for count in sellers.values()), len(sellers)),
        bait_and_cut=_share(sum(_was_cut(row) for row in settled), len(settled)),
        complaint_share=_share(sum("complaint" in row["facts"] for row in bought), len(bought)),
        stock_fen=sum(row["payout_fen"] for row in settled if row["state"] != "reversed"),
        frozen_fen=sum(
            row["payout_fen"]
            for row in rows
            if row["state"] in ("frozen", "shipping", "received", "verified")
        ),
        paid_fen=sum(
            row["payout_fen"] for row in rows if row["state"] in ("paid", "disputed", "closed", "reversed")
        ),
    )


def _was_cut(row: sa.RowMapping) -> bool:
    return row["payout_fen"] < row["first_payout_fen"]


def _touched_by_hand(connection: sa.Connection) -> set[str]:
    chosen = sa.select(steps.c.submission_id).where(steps.c.actor == "person").distinct()
    return set(connection.execute(chosen).scalars())


def _responses(connection: sa.Connection, asked: set[str]) -> list[float]:
    """Seconds from each submission to the first thing that came of it."""
    chosen = sa.select(steps.c.submission_id, steps.c.source, steps.c.at).order_by(steps.c.seq)
    came: dict[str, datetime] = {}
    found: dict[str, float] = {}
    for row in connection.execute(chosen).mappings():
        one = row["submission_id"]
        if row["source"] == "":
            came[one] = row["at"]
        elif row["source"] == "submitted" and one in came and one not in found and one in asked:
            found[one] = (row["at"] - came[one]).total_seconds()
    return list(found.values())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")
