"""Small random histories for the feature tests: late labels, simultaneous trades, shared entities, gaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from features.tables import MARKET, TRADES
from features.windows import DAY, HOUR, MINUTE

START = datetime(2025, 3, 1, tzinfo=UTC)
CARD_TYPES = ("jd_ecard", "sinopec_fuel", "starbucks_cn")


def trades(*, rows: int, seed: int, days: int = 80) -> pa.Table:
    """Random trades over ``days``; times fall on bucket edges and coincide often, outcomes come later."""
    rng = np.random.default_rng(seed)
    step = rng.choice([MINUTE, 5 * MINUTE, HOUR, 6 * HOUR, DAY], size=rows)
    offset = (rng.integers(0, days * DAY, size=rows) // step) * step + rng.choice([0, 0, 1], size=rows)
    table = [_trade(number, int(offset[number]), rng) for number in range(rows)]
    return pa.Table.from_pylist(sorted(table, key=_order), schema=TRADES.schema)


def market(*, rows: int, seed: int, days: int = 80) -> pa.Table:
    rng = np.random.default_rng(seed)
    seen = {}
    for _ in range(rows):
        row = {
            "observed_at": START + timedelta(microseconds=int(rng.integers(0, days * 24)) * HOUR),
            "card_type": str(rng.choice(CARD_TYPES)),
            "source": str(rng.choice(["a", "b", "c"])),
            "side": str(rng.choice(["competitor_bid", "buyer_bid", "ask"])),
            "rate": round(float(rng.uniform(0.7, 0.98)), 4),
        }
        seen[tuple(row[name] for name in MARKET.key)] = row
    ordered = sorted(seen.values(), key=lambda row: tuple(row[name] for name in MARKET.key))
    return pa.Table.from_pylist(ordered, schema=MARKET.schema)


def _trade(number: int, offset: int, rng: np.random.Generator) -> dict:
    submitted_at = START + timedelta(microseconds=offset)

    def maybe(value: str) -> str | None:
        return None if rng.random() < 0.15 else value

    def later(days: float) -> datetime:
        return submitted_at + timedelta(seconds=int(rng.integers(1, int(days * 86_400))))

    accepted = rng.random() < 0.6
    labelled = accepted and rng.random() < 0.8
    resold = accepted and rng.random() < 0.7
    return {
        "trade_id": f"t{rng.integers(0, 10**6):06d}-{number}",
        "submitted_at": submitted_at,
        "seller_id": f"s{rng.integers(0, 12)}",
        "device_id": maybe(f"d{rng.integers(0, 6)}"),
        "ip": maybe(f"ip{rng.integers(0, 5)}"),
        "payout_account": maybe(f"p{rng.integers(0, 8)}"),
        "card_type": str(rng.choice(CARD_TYPES)),
        "card_form": maybe("virtual"),
        "face_value_fen": int(rng.integers(1, 5)) * 10_000 + int(rng.integers(0, 3)),
        "expires_on": None
        if rng.random() < 0.4
        else date(2025, 4, 1) + timedelta(days=int(rng.integers(0, 60))),
        "card_prefix": maybe(f"b{rng.integers(0, 6)}"),
        "card_fingerprint": maybe(f"f{rng.integers(0, 200)}"),
        "offered_rate": 0.9,
        "accepted": accepted,
        "decided_at": later(1),
        "resale_rate": round(float(rng.uniform(0.8, 0.97)), 4) if resold else None,
        "resold_at": later(10) if resold else None,
        "fraud": bool(rng.random() < 0.2) if labelled else None,
        "fraud_known_at": later(20) if labelled else None,
    }


def _order(row: dict) -> tuple[datetime, str]:
    return row["submitted_at"], row["trade_id"]
