"""The first look at a submission: the issuer, whoever vouches for the seller, and a binding quote."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from features.china import CHINA
from pipelines.recycling.adapters.issuer import CardCheck, PresentedCard
from pipelines.recycling.charges import charged, charges_of
from pipelines.recycling.flow import (
    ALIVE,
    DEAD,
    SECRET_GONE,
    Facts,
    Flow,
    Row,
    Runner,
    as_found,
    expires_on,
    is_physical,
    presented,
    priced_as,
)

NOT_CONNECTED = "not_connected"
STAYS_TRUE = ("here", "shipment", "requoted", "first_day")
"""What an earlier round found out about a card and a new quote does not change."""
EXPIRED_FOR_GOOD = "expired_for_good"
EXPIRY_UNCLEAR = "expiry_unclear"
"""How a card stands that its issuer calls expired while no past day is known: it would be priced as valid."""
EMPTY = "empty"
"""How a card stands that is valid and holds nothing."""
RISKY_DEVICE = 0.8
"""From this risk of its device on, as the vendor sees it, a person looks at a trade."""
WORST_GRADE = "E"


def review(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Look at a submission and quote it, hand it to a person, or turn it down with a reason."""
    row = as_found(flow, run, submission_id, states=("submitted",))
    if row is None:
        return {"state": "moved"}
    looked = run.step("look", lambda: look(flow, row, presented(flow, row, step="look")))
    vouched = run.step("vouch", lambda: _vouch(flow, row))
    trouble = looked.get("trouble") or vouched.get("trouble")
    if trouble or looked["standing"] in (*DEAD, EMPTY, SECRET_GONE, EXPIRED_FOR_GOOD, EXPIRY_UNCLEAR):
        return run.transaction("turn_down", lambda c: _without_quote(flow, c, row, looked, vouched))
    priced = run.step("price", lambda: price(flow, row, looked))
    return run.transaction("conclude", lambda c: _conclude(flow, c, row, looked, vouched, priced))


def look(flow: Flow, row: Row, card: PresentedCard | None) -> Facts:
    """How a trade's card stands now: the issuer's ``standing`` and ``balance_fen`` (None: it does not say), and
    ``expires_on``, its day or the one known so far; or the trouble of asking."""
    silent: Facts = {"balance_fen": None, "expires_on": expires_on(row)}
    if card is None:
        return silent | {"standing": SECRET_GONE}
    outcome = flow.issuer.check(card)
    if outcome.state == NOT_CONNECTED:
        return silent | {"standing": NOT_CONNECTED}
    if outcome.state == "refused" and outcome.code in DEAD:
        return silent | {"standing": outcome.code}
    if outcome.value is None:
        return {"trouble": f"issuer_{outcome.state}", "wait": outcome.retry_after_seconds, "standing": ""}
    found = outcome.value
    if found.standing == "in_process":
        return {"trouble": "card_in_process", "wait": None, "standing": ""}
    day = expires_on(row) if found.expires_on is None else found.expires_on.isoformat()
    standing = _standing(found, day, today=flow.clock().astimezone(CHINA).date())
    return {"standing": standing, "balance_fen": found.balance_fen, "expires_on": day}


def _standing(found: CardCheck, day: str | None, *, today: date) -> str:
    """How a card with this last valid day stands for whoever would buy it."""
    if found.balance_fen == 0 and found.standing in ALIVE:
        return EMPTY
    if found.standing != "expired":
        return found.standing
    if found.reactivatable is False:
        return EXPIRED_FOR_GOOD
    return found.standing if day is not None and date.fromisoformat(day) < today else EXPIRY_UNCLEAR


def _vouch(flow: Flow, row: Row) -> Facts:
    """Whether the real name behind the seller was verified, and what others hold against the seller; partners know
    sellers by our reference."""
    outcome = flow.identity.verified(row["asked"]["seller"]["seller_id"])
    if outcome.value is None and outcome.state != NOT_CONNECTED:
        return {"trouble": f"identity_{outcome.state}", "wait": outcome.retry_after_seconds}
    identity = NOT_CONNECTED if outcome.value is None else outcome.value
    return {"identity": identity, "doubts": _doubts(flow, row["asked"]["seller"])}


def _doubts(flow: Flow, seller: Mapping[str, Any]) -> list[str]:
    """What the vendor of device risk, the bureau and the credit registry hold against a seller. One that cannot be
    reached or knows nothing holds nothing against anybody: they add to the fraud score, no trade waits for them."""
    doubts = []
    if flow.devices is not None and seller.get("device_id"):
        device = flow.devices.risk(seller["device_id"]).value
        if device is not None and device.risk >= RISKY_DEVICE:
            doubts.append("device_risky")
    for name, grades in flow.grades.items():
        found = grades.grade(seller["seller_id"]).value
        if found is not None and (found.listed or found.grade == WORST_GRADE):
            doubts.append(f"{name}_listed" if found.listed else f"{name}_grade")
    return doubts


def price(flow: Flow, row: Row, looked: Facts) -> Facts:
    """A quote of the pricing API for the card with the balance and the last day that were found, as plain values."""
    asked: dict[str, Any] = dict(row["asked"])
    face = asked["card"]["face_value"]["amount_fen"]
    value = face if looked["balance_fen"] is None else min(looked["balance_fen"], face)
    asked["trade_id"] = priced_as(row, value_fen=value, expires_on=looked["expires_on"])
    if looked["expires_on"] is not None:
        asked["card"] = asked["card"] | {"expires_on": looked["expires_on"]}
    if value < face:
        asked["card"] = asked["card"] | {"balance": {"amount_fen": value}}
    outcome = flow.pricing.quote(asked, key=f"{row['submission_id']}-{row['version']}")
    if outcome.value is None:
        return {
            "trouble": f"pricing_{outcome.state}",
            "wait": outcome.retry_after_seconds,
            "code": outcome.code,
        }
    found, policy = outcome.value, flow.policy(row)
    offered = policy.payout_fen(value_fen=value, quoted_fen=found.payout_fen)
    charges = charged(
        offered, policy=policy, rates=flow.rates, physical=is_physical(row), moment=flow.clock()
    )
    return {
        "quote_id": found.quote_id,
        "payout_fen": max(charges_of(charges).net_fen, 0),
        "charges": charges,
        "engine_payout_fen": found.payout_fen,
        "decision": found.decision,
        "no_offer": found.no_offer,
        "valid_until": found.valid_until.isoformat(),
        "law_version": found.law_version,
        "reasons": [dict(reason) for reason in found.reasons],
        "degraded": list(found.degraded),
    }


def _without_quote(flow: Flow, connection: sa.Connection, seen: Row, looked: Facts, vouched: Facts) -> Facts:
    row = flow.book.read(connection, seen["submission_id"])
    if row["version"] != seen["version"]:
        return {"state": row["state"]}
    for found in (looked, vouched):
        if found.get("trouble"):
            return flow.failed(connection, row, found["trouble"], found.get("wait"))
    facts = {name: row["facts"][name] for name in STAYS_TRUE if name in row["facts"]}
    facts |= {"card": looked["standing"], **vouched}
    return flow.moved(connection, row, "rejected", f"card_{looked['standing']}", told=facts, facts=facts)


def found_of(row: Row, looked: Facts) -> Facts:
    """What a trade keeps of the look at its card that a quote rests on."""
    kept = {name: looked[name] for name in ("balance_fen", "expires_on")}
    first_day = row["facts"].get("first_day", looked["expires_on"])
    return kept | {"card": looked["standing"], "first_day": first_day}


def quote_columns(priced: Facts) -> Facts:
    """The columns of a trade that a quote sets."""
    return {
        "quote_id": priced["quote_id"],
        "payout_fen": priced["payout_fen"],
        "decision": priced["decision"],
        "law_version": priced["law_version"],
        "valid_until": datetime.fromisoformat(priced["valid_until"]),
    }


def _conclude(
    flow: Flow, connection: sa.Connection, seen: Row, looked: Facts, vouched: Facts, priced: Facts
) -> Facts:
    row = flow.book.read(connection, seen["submission_id"])
    if row["version"] != seen["version"]:
        return {"state": row["state"]}
    if priced.get("trouble"):
        if priced["trouble"] == "pricing_refused":  # the pricing API names what is wrong with the card
            return flow.moved(connection, row, "rejected", priced["code"] or "not_priced", told=priced)
        return flow.failed(connection, row, priced["trouble"], priced.get("wait"))
    target, why = _verdict(flow, row, looked, vouched, priced)
    columns = quote_columns(priced)
    facts = {name: row["facts"][name] for name in STAYS_TRUE if name in row["facts"]}
    facts |= found_of(row, looked) | vouched
    facts |= {"reasons": priced["reasons"], "degraded": priced["degraded"]}
    facts["charges"] = priced["charges"]
    due = columns["valid_until"] if target == "quoted" else None
    return flow.moved(
        connection, row, target, why, told=facts | {"quote": priced}, facts=facts, due_at=due, **columns
    )


def _verdict(flow: Flow, row: Row, looked: Facts, vouched: Facts, priced: Facts) -> tuple[str, str]:
    """Where a priced submission goes, and why."""
    approved = row["facts"].get("approved_by")
    if priced["no_offer"] or priced["payout_fen"] <= 0:
        return "rejected", "no_offer"
    if priced["decision"] == "refuse" and not approved:
        return "rejected", "refused"
    if vouched["identity"] == "no":
        return "rejected", "identity_not_verified"
    if approved:
        return "quoted", "approved_before"
    if vouched["identity"] == "unknown":
        return "person_needed", "identity_unknown"
    if vouched.get("doubts"):
        return "person_needed", vouched["doubts"][0]
    if looked["standing"] == NOT_CONNECTED and flow.policy(row).name != "head":
        return "person_needed", "issuer_not_connected"
    if flow.policy(row).needs_person(decision=priced["decision"], payout_fen=priced["payout_fen"]):
        return "person_needed", "review" if priced["decision"] == "review" else "policy"
    return "quoted", "quoted"
