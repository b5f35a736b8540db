"""The cards that sellers bring in some days of a synthetic market, with what will become of each: known to the
simulation alone.

Sellers, cards, moments, least rates and who is a fraudster come from the market and its oracle. What happens to a card
is a simple model of the author's, without a public source:

* redeemed before: half are used when they are offered, half are emptied by somebody else within the hour;
* of a stolen batch, or through a rented account: good when it is taken over; the theft is reported 4 hours to 5 days
  later;
* other fraud: half are emptied within half an hour of being offered, half are reported as stolen after 1 to 6 days;
* honest: 3 % hold less than they show, of 1 % the seller spends a part while it is being sold, and after 0.4 % of the
  trades comes a complaint that is wrong.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from features.catalogue import CardType, load_catalogue
from features.china import midnight_in_china
from pipelines.simulation import World, simulate

LEAST_DAYS, LEAST_TRADES, FRAUD_SHARE = 7, 200, 0.05
PARTLY_SPENT, SPENDS_MEANWHILE, WRONG_COMPLAINTS = 0.03, 0.01, 0.004
FRAUD_TAKES_SHARE = 0.97
DIGITS, LETTERS = "0123456789", "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
FREE_LENGTH = 16
"""Marks of a code whose type has no pattern."""

Complaint = Literal["already_redeemed", "wrong_value", "not_received", "stolen_card"]
_TOKEN = re.compile(r"(\\d|\[A-Z0-9\]|\w)(?:\{(\d+)(?:,\d+)?\})?")


@dataclass(frozen=True)
class SoldCard:
    """A card that somebody offers at a moment. number, secret: of no real card, repeated where a card is offered again.

    balance_fen: what it holds until ``changes_at``, later_fen: afterwards. least_rate: the seller takes no less of face
    value. complaint: what somebody says after it was taken over, and after how long; empty: nobody does. unseen: a
    uniform number, for what people notice about it.
    """

    trade_id: str
    at: datetime
    asked: Mapping[str, Any]
    payee_ref: str
    number: str
    secret: str
    face_fen: int
    balance_fen: int
    changes_at: datetime
    later_fen: int
    least_rate: float
    is_fraud: bool
    complaint: Complaint | None
    complaint_after: timedelta
    unseen: float

    def holds_fen(self, now: datetime) -> int:
        return self.balance_fen if now < self.changes_at else self.later_fen

    def is_expired(self, now: datetime) -> bool:
        expires = self.asked["card"].get("expires_on")
        return expires is not None and date.fromisoformat(expires) < now.date()


def sold_cards(*, days: int, trades: int, seed: int, start: date) -> list[SoldCard]:
    """``trades`` cards brought in ``days`` days from ``start``, in their order, each with its fate. At least
    ``LEAST_DAYS`` days are simulated, and those asked for are taken of them. Raises WorldError."""
    whole_days = max(days, LEAST_DAYS)
    total = max(LEAST_TRADES, math.ceil(trades * whole_days / days * 1.6))
    while True:
        world = World(trades=total, days=whole_days, seed=seed, start=start, fraud_share=FRAUD_SHARE)
        market = simulate(world)
        end = midnight_in_china(start + timedelta(days=days))
        rows = zip(market.trades.to_pylist(), market.oracle.to_pylist(), strict=True)
        chosen = [(trade, truth) for trade, truth in rows if trade["submitted_at"] < end]
        if len(chosen) >= trades:
            break
        total *= 2
    rng = random.Random(seed)
    kept = sorted(rng.sample(range(len(chosen)), trades))
    types = load_catalogue().types
    return [_sold(*chosen[place], types, seed=seed) for place in kept]


def _sold(
    trade: Mapping[str, Any], truth: Mapping[str, Any], types: Mapping[str, CardType], *, seed: int
) -> SoldCard:
    rng = random.Random(f"{seed}/{trade['trade_id']}")
    own = random.Random(f"{seed}/{trade['card_fingerprint']}")  # the same card has the same codes
    card_type = types[trade["card_type"]]
    face, at = round(trade["face_value_cny"] * 100), trade["submitted_at"]
    balance, later, changes_at, complaint, after = _fate(truth["fraud_kind"], rng, face=face, at=at)
    takes_all = bool(truth["is_fraud"]) and rng.random() < FRAUD_TAKES_SHARE
    return SoldCard(
        trade_id=f"sim-{trade['trade_id']}",
        at=at,
        asked=_asked(trade, face),
        payee_ref=f"payee-{trade['payout_account']}",
        number=_code(card_type.number_pattern, own),
        secret=_code(card_type.secret_pattern, own),
        face_fen=face,
        balance_fen=balance,
        changes_at=changes_at,
        later_fen=later,
        least_rate=0.0 if takes_all else float(truth["reservation_rate"]),
        is_fraud=bool(truth["is_fraud"]),
        complaint=complaint,
        complaint_after=after,
        unseen=rng.random(),
    )


_Fate = tuple[int, int, datetime, Complaint | None, timedelta]


def _fate(kind: str | None, rng: random.Random, *, face: int, at: datetime) -> _Fate:
    """What a card holds, later holds, when that changes, and who complains how long after it was taken over."""
    never, minutes, first = timedelta(0), rng.uniform(1, 60), rng.random() < 0.5
    match kind:
        case "double_redemption":
            return (0 if first else face), 0, at + timedelta(minutes=minutes), None, never
        case "stolen_batch_ring" | "rented_accounts":
            return face, face, at, "stolen_card", timedelta(hours=rng.uniform(4, 120))
        case "ordinary" if first:
            return face, 0, at + timedelta(minutes=minutes / 2), None, never
        case "ordinary":
            return face, face, at, "stolen_card", timedelta(days=rng.uniform(1, 6))
    drawn, part = rng.random(), max(100, round(face * rng.uniform(0.003, 0.009)) * 100)
    if drawn < PARTLY_SPENT:
        return part, part, at, None, never
    if drawn < PARTLY_SPENT + SPENDS_MEANWHILE:
        return face, part, at + timedelta(minutes=minutes / 2), None, never
    wrong: Complaint | None = "wrong_value" if drawn > 1 - WRONG_COMPLAINTS else None
    return face, face, at, wrong, timedelta(days=rng.uniform(1, 6))


def _asked(trade: Mapping[str, Any], face_fen: int) -> dict[str, Any]:
    card: dict[str, Any] = {
        "card_type": trade["card_type"],
        "card_form": trade["card_form"],
        "face_value": {"amount_fen": face_fen},
    }
    if trade["expires_on"] is not None:
        card["expires_on"] = trade["expires_on"].isoformat()
    names = ("seller_id", "device_id", "ip", "payout_account", "region", "channel")
    return {"card": card, "seller": {name: trade[name] for name in names if trade[name] is not None}}


def _code(pattern: str | None, rng: random.Random) -> str:
    """A code of a catalogue pattern, which are rows of digits, letters and fixed marks."""
    if pattern is None:
        return "".join(rng.choices(LETTERS, k=FREE_LENGTH))
    marks = {r"\d": DIGITS, "[A-Z0-9]": LETTERS}
    tokens: list[tuple[str, str]] = _TOKEN.findall(pattern)
    return "".join("".join(rng.choices(marks.get(what, what), k=int(count or 1))) for what, count in tokens)
