"""How good a quote is, judged by the truth behind the synthetic market.

What the oracle knows, and what it does not
    It knows everything about the *card, the market and the moment*: the probability that an honest seller of
    such a card takes a rate, the mean resale rate given the hidden level of the market, and how much is fraud
    of what passed the log's screening in this context (card type, face value, form, expiry, hour). It knows
    nothing of the *person*: neither this seller's reservation rate nor whether this very trade is fraud. So
    the best rate is the best price for the card, which is what a discount model can hope for, and no model
    can beat it on average by pricing cards. That holds for every shape of acceptance
    (:mod:`pipelines.simulation.acceptance`), for a confounded log, where the truth is what a rate does that is
    chosen without a look at the seller, and after a shock, which the oracle foresees as it does the season.

    What keeps a perfect model below 100 %: the oracle sees the hidden market level of the moment, of which
    the quotes show a late and noisy picture. To judge quotes under another screening, hand in another fraud
    probability: ``fraud_rate_context`` of the table is the rate before any screening, 0 is no fraud, and
    ``oracle.is_fraud`` judges realised fraud.

The value of a rate ``r``, in fen, with q the fraud probability and a the share of offers that fraudsters
take::

    V(r) = (1 - q) P(r) (face (E[resale] - logistics - r - capital r) - handling)
         - q a (face (r loss_given_fraud + logistics) + handling)

where P(r) is the share of honest sellers content with r. V may have several hills. No offer (a rate of NaN) is
worth 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models.policy import Costs
from pipelines.simulation.acceptance import Reservations
from pipelines.simulation.world import local_day

COARSE, FINE, HILLS = 61, 41, 2
"""Rates tried per trade: first over the whole range, then between the neighbours of the highest hilltops."""
SEARCHED_LOG_ODDS = 8.0
ROWS_AT_ONCE = 50_000


class UnknownTrade(KeyError):
    """A trade is not in the oracle's table."""


@dataclass(frozen=True, kw_only=True)
class Oracle(Reservations):
    """What is true of n trades, each (n,); rates and shares of face value, as the module explains them."""

    resale_expected: np.ndarray
    logistics_share: np.ndarray
    fraud_rate_screened: np.ndarray
    fraud_accepts: np.ndarray
    is_fraud: np.ndarray

    def __len__(self) -> int:
        return len(self.accept_mu)

    def slice(self, rows: slice | np.ndarray) -> Oracle:
        """The rows of a slice or of a mask."""
        return Oracle(
            **{name: np.broadcast_to(column, len(self))[rows] for name, column in vars(self).items()}
        )


@dataclass(frozen=True)
class ProfitShare:
    """Expected profit of a pricing policy against the best one.

    share: policy_fen / oracle_fen. days: the local days (d,) as dates; policy_by_day_fen, oracle_by_day_fen:
    (d,), for a bootstrap over days. no_offer_share: trades that the best policy would not buy at any rate.
    """

    policy_fen: float
    oracle_fen: float
    share: float
    no_offer_share: float
    days: np.ndarray
    policy_by_day_fen: np.ndarray
    oracle_by_day_fen: np.ndarray


def read_oracle(table: pa.Table, trade_ids: pa.Array | pa.ChunkedArray) -> Oracle:
    """The truth of these trades, in their order, from ``oracle.parquet``. Raises UnknownTrade."""
    ids = trade_ids.combine_chunks() if isinstance(trade_ids, pa.ChunkedArray) else trade_ids
    place = pc.index_in(ids, value_set=table["trade_id"].combine_chunks())
    if place.null_count:
        missing = ids.filter(pc.is_null(place))[0].as_py()
        raise UnknownTrade(f"trade {missing} is not in the oracle's table")
    names = list(Oracle.__dataclass_fields__)
    rows = table.select(names).take(place)
    return Oracle(**{name: rows[name].to_numpy() for name in names})


def acceptance_probability(oracle: Oracle, rate: np.ndarray) -> np.ndarray:
    """P(an honest seller of such a card accepts the rate) (n,)."""
    return oracle.share_content(rate)


def expected_profit_fen(
    *,
    oracle: Oracle,
    face_value_fen: np.ndarray,
    rate: np.ndarray,
    costs: Costs,
    fraud_probability: np.ndarray | None = None,
) -> np.ndarray:
    """Expected profit (n,) of offering each trade its ``rate``, fen; 0 where the rate is NaN.

    fraud_probability: (n,), the context's fraud rate after the log's screening when None.
    """
    fraud = (
        oracle.fraud_rate_screened if fraud_probability is None else np.asarray(fraud_probability, np.float64)
    )
    margin = oracle.resale_expected - oracle.logistics_share - rate * (1 + costs.capital_share)
    gain = face_value_fen * margin - costs.handling_fen
    loss = face_value_fen * (rate * costs.loss_given_fraud + oracle.logistics_share) + costs.handling_fen
    profit = (1 - fraud) * acceptance_probability(oracle, rate) * gain - fraud * oracle.fraud_accepts * loss
    return np.where(np.isnan(rate), 0.0, profit)


def best_rate(
    *,
    oracle: Oracle,
    face_value_fen: np.ndarray,
    costs: Costs,
    fraud_probability: np.ndarray | None = None,
) -> np.ndarray:
    """The rate (n,) of the largest expected profit, by search; NaN where no offer is better than any."""
    face = np.asarray(face_value_fen, dtype=np.float64)
    best = np.empty(len(oracle))
    for start in range(0, len(oracle), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        fraud = (oracle.fraud_rate_screened if fraud_probability is None else fraud_probability)[rows]
        best[rows] = _best_rate(oracle.slice(rows), face[rows], costs, fraud)
    return best


def _best_rate(oracle: Oracle, face: np.ndarray, costs: Costs, fraud: np.ndarray) -> np.ndarray:
    """The best of the highest hilltops (n,), each looked for between its neighbours on a coarse grid."""
    least, most = oracle.range_of(SEARCHED_LOG_ODDS)
    low = np.clip(least, 0.0, 1.0)
    high = np.maximum(np.clip(np.minimum(most, oracle.resale_expected), 0.0, 1.0), low)
    step = (high - low) / (COARSE - 1)
    tops = _hilltops(_profits(oracle, face, costs, fraud, low, step, COARSE))
    best, profit = np.full(len(face), np.nan), np.zeros(len(face))
    for _ in range(HILLS):
        highest = tops.argmax(axis=0)
        rows = np.flatnonzero(tops.max(axis=0) > -np.inf)
        tops[highest, np.arange(len(face))] = -np.inf
        around = low[rows] + highest[rows] * step[rows]
        first = np.maximum(around - step[rows], 0.0)
        fine = (np.minimum(around + step[rows], 1.0) - first) / (FINE - 1)
        values = _profits(oracle.slice(rows), face[rows], costs, fraud[rows], first, fine, FINE)
        better = values.max(axis=0) > profit[rows]
        best[rows[better]] = (first + values.argmax(axis=0) * fine)[better]
        profit[rows[better]] = values.max(axis=0)[better]
    return best


def _profits(
    oracle: Oracle,
    face: np.ndarray,
    costs: Costs,
    fraud: np.ndarray,
    first: np.ndarray,
    step: np.ndarray,
    points: int,
) -> np.ndarray:
    """Expected profit (points, n) of the rates ``first``, ``first + step``, … of each trade."""
    known = {"oracle": oracle, "face_value_fen": face, "costs": costs, "fraud_probability": fraud}
    return np.stack([expected_profit_fen(rate=first + point * step, **known) for point in range(points)])


def _hilltops(values: np.ndarray) -> np.ndarray:
    """The values (points, n) that no neighbour exceeds, -inf elsewhere; of a plateau, its first point."""
    edge = np.full((1, values.shape[1]), -np.inf)
    rises = values > np.concatenate([edge, values[:-1]])
    return np.where(rises & (values >= np.concatenate([values[1:], edge])), values, -np.inf)


def profit_share(
    *,
    oracle: Oracle,
    trades: pa.Table,
    rates: np.ndarray,
    costs: Costs,
    fraud_probability: np.ndarray | None = None,
) -> ProfitShare:
    """Judge ``rates`` (n,) offered for ``trades`` (n rows, the oracle's order; file or stored form). NaN: no
    offer.

    Both the policy and the best rates are judged by expected profit, so no luck of the draw is in the share.
    """
    face = face_values_fen(trades)
    known = {"oracle": oracle, "face_value_fen": face, "costs": costs, "fraud_probability": fraud_probability}
    best = best_rate(**known)
    policy = expected_profit_fen(rate=np.asarray(rates, dtype=np.float64), **known)
    ideal = expected_profit_fen(rate=best, **known)
    submitted_us = trades["submitted_at"].cast(pa.int64()).to_numpy()
    days, index = np.unique(local_day(submitted_us), return_inverse=True)
    return ProfitShare(
        policy_fen=float(policy.sum()),
        oracle_fen=float(ideal.sum()),
        share=float(policy.sum() / ideal.sum()) if ideal.sum() > 0 else float("nan"),
        no_offer_share=float(np.isnan(best).mean()),
        days=days.astype("datetime64[D]"),
        policy_by_day_fen=np.bincount(index, policy, len(days)),
        oracle_by_day_fen=np.bincount(index, ideal, len(days)),
    )


def face_values_fen(trades: pa.Table) -> np.ndarray:
    """Face values (n,) int64 of a trades table in stored form (fen) or file form (yuan)."""
    if "face_value_fen" in trades.column_names:
        return trades["face_value_fen"].to_numpy()
    return np.rint(trades["face_value_cny"].to_numpy() * 100).astype(np.int64)
