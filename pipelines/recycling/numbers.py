"""The numbers a trade watches: how many came, what became of them, how fast, how honest, and where the money is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np
import sqlalchemy as sa

from pipelines.recycling.dispute_tables import disputes
from pipelines.recycling.trade_money import TradeMoney, trade_money
from pipelines.recycling.trade_tables import steps, submissions

BOUGHT = ("verified", "paying", "payout_failed", "paid", "disputed", "closed", "reversed")


@dataclass(frozen=True)
class TradeNumbers(TradeMoney):
    """Of the trades submitted in a period. Shares are NaN where nothing is there to divide by.

    response_seconds_p50: from a submission to its first quote or refusal. returning_share: of the sellers,
    those with more than one trade. bait_and_cut: trades settled below the quote that was accepted first, of all
    settled. complaint_share: of the trades that were bought. paid_seconds_p50: from the acceptance to the money.
    complaint_cost_fen: what a decided complaint cost in the mean, stakes counted; open_complaints: those not decided.
    Money is the ledger's, gross and charges apart: see :class:`pipelines.recycling.trade_money.TradeMoney`.
    """

    trades: int
    states: dict[str, int]
    refused_share: float
    by_hand_share: float
    response_seconds_p50: float
    returning_share: float
    bait_and_cut: float
    complaint_share: float
    complaint_cost_fen: float
    open_complaints: int
    paid_seconds_p50: float


def trade_numbers(
    connection: sa.Connection, *, profile: str | None = None, since: datetime | None = None
) -> TradeNumbers:
    """The numbers of a profile (None: of all), of trades submitted since a moment (None: ever)."""
    where: list[sa.ColumnElement[bool]] = []
    if profile is not None:
        where.append(submissions.c.profile == profile)
    if since is not None:
        where.append(submissions.c.created_at >= since)
    read = (submissions.c[name] for name in ("state", "seller_id", "payout_fen", "first_payout_fen"))
    rows = list(connection.execute(sa.select(*read).where(*where)).mappings())
    states = Counter(row["state"] for row in rows)
    bought = [row for row in rows if row["state"] in BOUGHT]
    settled = [row for row in bought if row["state"] != "verified"]
    sellers = Counter(row["seller_id"] for row in rows)
    moments = _moments(connection, where)
    complaints, mean_cost, waiting = _complaints(connection, where)
    return TradeNumbers(
        trades=len(rows),
        states=dict(states),
        refused_share=_share(states["rejected"], len(rows)),
        by_hand_share=_share(sum(row["by_hand"] for row in moments), len(rows)),
        response_seconds_p50=_median(_waits(moments, "submitted", "answered")),
        returning_share=_share(sum(count > 1 for count in sellers.values()), len(sellers)),
        bait_and_cut=_share(sum(_was_cut(row) for row in settled), len(settled)),
        complaint_share=_share(complaints, len(bought)),
        complaint_cost_fen=mean_cost,
        open_complaints=waiting,
        paid_seconds_p50=_median(_waits(moments, "accepted", "paid")),
        **asdict(trade_money(connection, where)),
    )


def _complaints(connection: sa.Connection, where: Sequence[sa.ColumnElement[bool]]) -> tuple[int, float, int]:
    """Trades that were complained about, the mean cost of the complaints that were decided, and how many were not."""
    chosen = sa.select(disputes).join(submissions, submissions.c.submission_id == disputes.c.submission_id)
    found = list(connection.execute(chosen.where(*where)).mappings())
    costs = [row["cost_fen"] for row in found if row["decided_at"] is not None]
    return (
        len({row["submission_id"] for row in found}),
        _share(sum(costs), len(costs)),
        len(found) - len(costs),
    )


def _was_cut(row: sa.RowMapping) -> bool:
    return row["payout_fen"] < row["first_payout_fen"]


def _moments(connection: sa.Connection, where: Sequence[sa.ColumnElement[bool]]) -> list[sa.RowMapping]:
    """When things first happened to each trade, None where they did not, and whether a person had a hand in it (0, 1).
    Put together by the database: steps are many."""
    columns = steps.c

    def first(name: str, *targets: str) -> sa.Label[datetime]:
        return sa.func.min(sa.case((columns.target.in_(targets), columns.at))).label(name)

    by_hand = sa.func.max(sa.case((columns.actor == "person", 1), else_=0)).label("by_hand")
    chosen = sa.select(
        first("submitted", "submitted"),
        first("answered", "quoted", "rejected"),
        first("accepted", "accepted"),
        first("paid", "paid"),
        by_hand,
    ).join(submissions, submissions.c.submission_id == columns.submission_id)
    return list(connection.execute(chosen.where(*where).group_by(columns.submission_id)).mappings())


def _waits(moments: Sequence[sa.RowMapping], first: str, then: str) -> list[float]:
    """Seconds between two things, of the trades to which both happened."""
    return [(row[then] - row[first]).total_seconds() for row in moments if row[first] and row[then]]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")
