"""Small random histories for the feature tests: late labels, simultaneous trades, shared entities, gaps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from features.tables import MARKET, TRADES
from features.windows import DAY, HOUR, MINUTE

START = datetime(2025, 3, 1, tzinfo=UTC)
CARD_TYPES = ("jd_ecard", "jd_supermarket", "sinopec_fuel", "apple_us")
"""Two of one category, one named card, one without usual face values or a maximum."""

ADDRESSES = (
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.77",
    "198.51.100.1",
    "198.51.100.200",
    "203.0.113.5",
    "203.0.113.6",
    "2001:db8:0:1::1",
    "2001:db8:0:2::1",
    "unknown",
)
"""Shared addresses: of three networks of IPv4 and one of IPv6, and something that is no address."""

STEPS = (MINUTE, 5 * MINUTE, HOUR, 6 * HOUR, DAY)
SHARED = {"device_id": 6, "payout_account": 6, "card_prefix": 8}
"""What sellers share -> how many of it there are; the first of them is a hub that many use."""

SHARES = 0.35
"""Chance that a seller comes with something shared; otherwise it is the seller's own."""


ABSURD = (0.0, 0.009, 0.0888, 0.59, 1.0, 1.15, 1.5)
"""Rates that a typo can make of one near 0.9."""


def trades(*, rows: int, seed: int, days: int = 80, sellers: int = 30) -> pa.Table:
    """Random trades over ``days``; times fall on bucket edges and coincide often, outcomes come later."""
    rng = np.random.default_rng(seed)
    step = rng.choice(STEPS, size=rows)
    offset = (rng.integers(0, days * DAY, size=rows) // step) * step + rng.choice([-1, 0, 0, 1], size=rows)
    table = [_trade(number, int(offset[number]), sellers, rng) for number in range(rows)]
    return pa.Table.from_pylist(sorted(table, key=_order), schema=TRADES.schema)


def market(*, rows: int, seed: int, days: int = 80) -> pa.Table:
    """Random market rows over ``days``, near full hours; what one source shows may be old, or absurd."""
    rng = np.random.default_rng(seed)
    seen = {}
    for _ in range(rows):
        offset = int(rng.integers(0, days * 24)) * HOUR + int(rng.choice([-1, 0, 0, 1]))
        row = {
            "observed_at": START + timedelta(microseconds=offset),
            "card_type": str(rng.choice(CARD_TYPES)),
            "source": "abcd"[skewed(4, rng)],
            "side": str(rng.choice(["competitor_bid", "buyer_bid", "ask"])),
            "rate": _rate(rng),
        }
        seen[tuple(row[name] for name in MARKET.key)] = row
    ordered = sorted(seen.values(), key=lambda row: tuple(row[name] for name in MARKET.key))
    return pa.Table.from_pylist(ordered, schema=MARKET.schema)


def _rate(rng: np.random.Generator) -> float:
    """Mostly near one level, often wide of it, sometimes a typo."""
    rates = (rng.uniform(0.86, 0.92), rng.uniform(0.7, 0.98), rng.choice(ABSURD))
    return round(float(rng.choice(rates, p=(0.5, 0.35, 0.15))), int(rng.choice([2, 4, 7])))


def skewed(count: int, rng: np.random.Generator) -> int:
    """One of 0 … count-1, the first ones far more often."""
    return int(count * rng.random() ** 2)


def _trade(number: int, offset: int, sellers: int, rng: np.random.Generator) -> dict:
    submitted_at = START + timedelta(microseconds=offset)
    who = skewed(sellers, rng)
    seller = f"s{who}"

    def maybe(value: str) -> str | None:
        return None if rng.random() < 0.15 else value

    def own_or_shared(column: str) -> str | None:
        shared = rng.random() < SHARES
        return maybe(f"{column[0]}{skewed(SHARED[column], rng)}" if shared else f"{column[0]}-{seller}")

    def address() -> str | None:
        shared = rng.random() < SHARES
        return maybe(ADDRESSES[skewed(len(ADDRESSES), rng)] if shared else f"192.0.2.{100 + who % 150}")

    return {
        "trade_id": f"t{rng.integers(0, 10**6):06d}-{number}",
        "submitted_at": submitted_at,
        "seller_id": seller,
        "device_id": own_or_shared("device_id"),
        "ip": address(),
        "payout_account": own_or_shared("payout_account"),
        "card_type": CARD_TYPES[skewed(len(CARD_TYPES), rng)],
        "card_form": maybe("virtual"),
        "face_value_fen": int(rng.integers(0, 5)) * 10_000 + int(rng.choice([0, 0, 1, 99, 155])),
        "expires_on": None if rng.random() < 0.4 else date(2025, 4, 1) + timedelta(int(rng.integers(0, 60))),
        "card_prefix": own_or_shared("card_prefix"),
        "card_fingerprint": maybe(f"f{rng.integers(0, 200)}"),
        "region": (None, "gd", "sh")[number % 3],
        "channel": ("app", None)[number % 2],
        "extras": (None, '{"score":0.5}', '{"score":-2.0,"word":"b"}')[number % 3],
        "asked_rate": (None, 0.8512345, 0.0, 1.5, 0.9)[number % 5],
        "payee_is_seller": (True, None, False, True)[number % 4],
        "offered_rate": 0.9,
        **_outcomes(submitted_at, rng),
    }


def _outcomes(submitted_at: datetime, rng: np.random.Generator) -> dict:
    """Outcomes in any order: at once, at the same time as one another, or late."""

    def later(days: float) -> datetime:
        wait = int(rng.integers(0, int(days * DAY / MINUTE))) * MINUTE
        return submitted_at + timedelta(microseconds=int(rng.choice([0, 1, wait, wait, wait, wait])))

    accepted = bool(rng.random() < 0.6)
    labelled = rng.random() < (0.8 if accepted else 0.1)
    resold = accepted and rng.random() < 0.7
    decided_at, resold_at, fraud_known_at = later(1), later(10), later(20)
    return {
        "accepted": accepted,
        "decided_at": decided_at,
        "resale_rate": round(float(rng.uniform(0.8, 0.97)), 4) if resold else None,
        "resold_at": (decided_at if rng.random() < 0.1 else resold_at) if resold else None,
        "fraud": bool(rng.random() < 0.25) if labelled else None,
        "fraud_known_at": (decided_at if rng.random() < 0.1 else fraud_known_at) if labelled else None,
    }


def _order(row: dict) -> tuple[datetime, str]:
    return row["submitted_at"], row["trade_id"]
