"""What is known, as a few flat event tables. Every feature is computed from these and from nothing else.

Offline they are cut from the stored tables; live they are put together from the entity states of one trade.
A row of ``submissions`` or ``labels`` may stand for several old events (``weight``, ``labels``): a live state
folds what no window can reach any more into one such row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Catalogue

ENTITIES: dict[str, str] = {
    "seller": "seller_id",
    "device": "device_id",
    "ip": "ip",
    "payout_account": "payout_account",
    "card_prefix": "card_prefix",
    "card_fingerprint": "card_fingerprint",
}
"""Entity kind -> the trades column that identifies it."""

TIME = pa.timestamp("us", tz="UTC")
PPM = 1_000_000
"""Rates are summed as integer parts per million, so that a sum does not depend on its order."""

_ENTITY_FIELDS = [(column, pa.string()) for column in ENTITIES.values()]
SUBMISSIONS = pa.schema(
    [
        ("trade_id", pa.string()),
        ("submitted_at", TIME),
        ("face_value_fen", pa.int64()),
        ("weight", pa.int64()),
        *_ENTITY_FIELDS,
    ]
)
LABELS = pa.schema(
    [
        ("trade_id", pa.string()),
        ("fraud_known_at", TIME),
        ("labels", pa.int64()),
        ("frauds", pa.int64()),
        *_ENTITY_FIELDS,
    ]
)
ACCEPTANCES = pa.schema([("decided_at", TIME), ("weight", pa.int64()), ("seller_id", pa.string())])
KINDS = pa.schema(
    [
        ("card_type", pa.string()),
        ("card_category", pa.string()),
        ("time", TIME),
        ("labels", pa.int64()),
        ("frauds", pa.int64()),
        ("resales", pa.int64()),
        ("resale_ppm", pa.int64()),
    ]
)
MARKET = pa.schema(
    [
        ("observed_at", TIME),
        ("card_type", pa.string()),
        ("source", pa.string()),
        ("side", pa.string()),
        ("rate_ppm", pa.int64()),
    ]
)

SPINE_COLUMNS = (
    "trade_id",
    "submitted_at",
    "seller_id",
    "device_id",
    "ip",
    "payout_account",
    "card_type",
    "card_form",
    "face_value_fen",
    "expires_on",
    "card_prefix",
    "card_fingerprint",
)
"""The columns of a trade that features read; none of them is an outcome."""


@dataclass(frozen=True)
class Facts:
    """Event tables in the schemas above."""

    submissions: pa.Table
    labels: pa.Table
    acceptances: pa.Table
    kinds: pa.Table
    market: pa.Table


def facts_from_tables(*, trades: pa.Table, market: pa.Table, catalogue: Catalogue) -> Facts:
    """Cut the event tables out of stored ``trades`` and ``market``."""
    return Facts(
        submissions=submissions_of(trades),
        labels=_labels(trades),
        acceptances=_acceptances(trades),
        kinds=_kinds(trades, catalogue),
        market=_market(market),
    )


def submissions_of(trades: pa.Table) -> pa.Table:
    """The submission events of trades (or of a spine)."""
    ones = pa.array(np.ones(len(trades), dtype=np.int64))
    columns = [ones if name == "weight" else trades[name] for name in SUBMISSIONS.names]
    return pa.table(columns, schema=SUBMISSIONS)


def rates_to_ppm(rates: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Rates as integer parts per million, rounded half to even."""
    values = np.rint(np.asarray(rates.to_numpy(zero_copy_only=False), dtype=np.float64) * PPM)
    return pa.array(values.astype(np.int64))


def rate_to_ppm(rate: float) -> int:
    """One rate as :func:`rates_to_ppm` gives it."""
    return round(rate * PPM)


def _labels(trades: pa.Table) -> pa.Table:
    known = trades.filter(pc.and_(trades["fraud"].is_valid(), trades["fraud_known_at"].is_valid()))
    columns = {
        "trade_id": known["trade_id"],
        "fraud_known_at": known["fraud_known_at"],
        "labels": pa.array(np.ones(len(known), dtype=np.int64)),
        "frauds": known["fraud"].cast(pa.int64()),
    } | {name: known[name] for name in ENTITIES.values()}
    return pa.table(columns, schema=LABELS)


def _acceptances(trades: pa.Table) -> pa.Table:
    accepted = trades.filter(
        pc.and_(pc.fill_null(trades["accepted"], False), trades["decided_at"].is_valid())
    )
    ones = pa.array(np.ones(len(accepted), dtype=np.int64))
    return pa.table([accepted["decided_at"], ones, accepted["seller_id"]], schema=ACCEPTANCES)


def _kinds(trades: pa.Table, catalogue: Catalogue) -> pa.Table:
    """Label and resale events of card types; one row an event."""
    labelled = trades.filter(pc.and_(trades["fraud"].is_valid(), trades["fraud_known_at"].is_valid()))
    resold = trades.filter(pc.and_(trades["resale_rate"].is_valid(), trades["resold_at"].is_valid()))
    return pa.concat_tables(
        [
            kind_events(
                card_type=labelled["card_type"],
                time=labelled["fraud_known_at"],
                frauds=labelled["fraud"].cast(pa.int64()),
                resale_ppm=None,
                catalogue=catalogue,
            ),
            kind_events(
                card_type=resold["card_type"],
                time=resold["resold_at"],
                frauds=None,
                resale_ppm=rates_to_ppm(resold["resale_rate"]),
                catalogue=catalogue,
            ),
        ]
    )


def kind_events(
    *,
    card_type: pa.ChunkedArray | pa.Array,
    time: pa.ChunkedArray | pa.Array,
    frauds: pa.ChunkedArray | pa.Array | None,
    resale_ppm: pa.Array | None,
    catalogue: Catalogue,
) -> pa.Table:
    """Rows of ``KINDS``: labels where ``frauds`` is given, resales where ``resale_ppm`` is given."""
    size = len(card_type)
    ones, zeros = np.ones(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    names = card_type.to_numpy(zero_copy_only=False)
    return pa.table(
        [
            card_type,
            pa.array(catalogue.attribute(names, "category"), pa.string()),
            time,
            pa.array(zeros if frauds is None else ones),
            pa.array(zeros) if frauds is None else frauds,
            pa.array(zeros if resale_ppm is None else ones),
            pa.array(zeros) if resale_ppm is None else resale_ppm,
        ],
        schema=KINDS,
    )


def _market(market: pa.Table) -> pa.Table:
    return pa.table(
        [market[name] for name in MARKET.names[:-1]] + [rates_to_ppm(market["rate"])], schema=MARKET
    )
