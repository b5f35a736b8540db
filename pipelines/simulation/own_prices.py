"""A simulated log as it would have been, had somebody else priced some of its trades.

Who comes with which card, who is turned away and when a seller decides stay as they were; whoever would have brought a
declined card again still does. What follows from a rate is the market's own truth: the seller takes it if his hidden
least rate allows, and a bought card is resold, or turns out as fraud, when and as the simulation had drawn for it,
whether the platform that wrote the log had bought it or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.simulation.history import label_source

FILLED = (
    "offered_rate",
    "offer_density",
    "offer_centre",
    "accepted",
    "decided_at",
    "resale_rate",
    "resold_at",
    "fraud",
    "fraud_known_at",
    "label_source",
)


@dataclass(frozen=True)
class Shown:
    """What n trades were shown: rate, NaN where nothing was offered; density and centre of its draw, NaN where it was
    not drawn."""

    rate: np.ndarray
    density: np.ndarray
    centre: np.ndarray


def would_take(oracle: pa.Table, rate: np.ndarray) -> np.ndarray:
    """Whether each seller (n,) of the oracle's rows takes the rate (n,); fraudsters have least rates, too."""
    return rate >= oracle["reservation_rate"].to_numpy()


def with_prices(trades: pa.Table, oracle: pa.Table, *, rows: np.ndarray, shown: Shown) -> pa.Table:
    """Stored trades with other offers, and all that comes of them, at some rows (k,) of the table.

    oracle: one row per trade, in the trades' order; shown: of the rows. A trade that the log's platform turned away
    gets no offer. Outcomes stand in the table however late they become known: who learns from it takes what was known
    at a moment, as from any log.
    """
    own, truth = trades.take(pa.array(rows)), oracle.take(pa.array(rows))
    columns = _outcomes(own, truth, shown)
    place = np.arange(len(trades))
    place[rows] = len(trades) + np.arange(len(rows))
    for name in FILLED:
        field = trades.schema.field(name)
        both = pa.chunked_array([*trades[name].chunks, columns[name].cast(field.type)])
        trades = trades.set_column(trades.schema.get_field_index(name), field, both.take(pa.array(place)))
    return trades


def _outcomes(trades: pa.Table, oracle: pa.Table, shown: Shown) -> dict[str, pa.Array]:
    """The columns of FILLED for trades that were shown these rates."""
    offered = np.isfinite(shown.rate) & ~oracle["was_screened_out"].to_numpy(zero_copy_only=False)
    decided = trades["decided_at"].combine_chunks()
    has_decided = offered & decided.is_valid().to_numpy(zero_copy_only=False)
    accepts = has_decided & would_take(oracle, shown.rate)
    fraud = oracle["is_fraud"].to_numpy(zero_copy_only=False)
    resold = accepts & ~fraud
    known_at, resold_at = oracle["known_at"].combine_chunks(), oracle["would_resell_at"].combine_chunks()
    source = label_source(fraud=fraud, delay_us=_us(known_at) - _us(decided))
    return {
        "offered_rate": pa.array(shown.rate, mask=~offered),
        "offer_density": pa.array(shown.density, mask=~(offered & np.isfinite(shown.density))),
        "offer_centre": pa.array(shown.centre, mask=~(offered & np.isfinite(shown.centre))),
        "accepted": pa.array(accepts, mask=~has_decided),
        "decided_at": _where(has_decided, decided),
        "resale_rate": pa.array(oracle["resale_realised"].to_numpy(), mask=~resold),
        "resold_at": _where(resold, resold_at),
        "fraud": pa.array(fraud, mask=~accepts),
        "fraud_known_at": _where(accepts, known_at),
        "label_source": pa.array(source, pa.string(), mask=~accepts),
    }


def _where(known: np.ndarray, values: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(known), values, pa.scalar(None, values.type))


def _us(times: pa.Array) -> np.ndarray:
    return times.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
