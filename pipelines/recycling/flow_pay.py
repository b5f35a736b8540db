"""After the seller accepted: look at the card once more, take it over, settle, and see the payout through."""

from __future__ import annotations

import sqlalchemy as sa

from pipelines.recycling import ledger
from pipelines.recycling.charges import charges_of_trade, settlement
from pipelines.recycling.flow import (
    DEAD,
    Facts,
    Flow,
    Row,
    Runner,
    as_found,
    channel_of,
    frozen_id,
    presented,
    unfreeze,
    value_fen,
)
from pipelines.recycling.flow_review import NOT_CONNECTED, look, price, quote_columns
from pipelines.recycling.payouts import Payout, create_payout
from pipelines.recycling.trades import Step

BY_HAND = "look_by_hand"
"""Trouble of a card whose issuer is not connected: a person must look at it. Nothing is tried again by itself."""


def verify(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Take the card over if it is what was said; quote it again if it holds another value; send it back if dead."""
    row = as_found(flow, run, submission_id, states=("frozen", "received"))
    if row is None:
        return {"state": "moved"}
    looked = run.step("look_again", lambda: look(flow, row))
    if looked["standing"] in ("active", "expired") and looked["balance_fen"] in (None, value_fen(row)):
        looked = run.step("take", lambda: _take(flow, row))
    requoted: Facts = {}
    if _holds_other(looked, row):
        requoted = run.step("price_again", lambda: price(flow, row, looked))
    return run.transaction("conclude", lambda c: _verified(flow, c, row, looked, requoted))


def _holds_other(looked: Facts, row: Row) -> bool:
    """Whether a living card holds another value than was quoted."""
    balance = looked.get("balance_fen")
    alive = looked["standing"] in ("active", "expired") and not looked.get("trouble")
    return alive and balance not in (None, 0) and balance != value_fen(row) and not looked.get("taken")


def _take(flow: Flow, row: Row) -> Facts:
    """Have the issuer move the balance to the platform, once."""
    redemption_id, fen = f"{row['submission_id']}-take", value_fen(row)
    card = presented(flow, row, step="take")
    outcome = flow.issuer.redeem(card, redemption_id=redemption_id, amount_fen=fen)
    if outcome.value is None and outcome.maybe_done:
        outcome = flow.issuer.redemption(redemption_id)
    if outcome.value is None:
        return {"trouble": f"issuer_{outcome.state}", "wait": outcome.retry_after_seconds, "standing": ""}
    taken = outcome.value
    if taken.state == "in_process":
        return {"trouble": "card_in_process", "wait": None, "standing": ""}
    return {
        "standing": taken.standing,
        "balance_fen": taken.amount_fen,
        "taken": taken.state == "done",
        "refused": taken.state == "refused",
    }


def _verified(flow: Flow, connection: sa.Connection, seen: Row, looked: Facts, requoted: Facts) -> Facts:
    row = flow.book.read(connection, seen["submission_id"])
    if row["version"] != seen["version"]:
        return {"state": row["state"]}
    trouble = looked.get("trouble") or requoted.get("trouble")
    if trouble:
        return flow.failed(connection, row, trouble, looked.get("wait") or requoted.get("wait"))
    if looked["standing"] == NOT_CONNECTED:
        flow.book.change(connection, row, {"trouble": BY_HAND, "due_at": None})
        return {"state": row["state"], "trouble": BY_HAND}
    if looked.get("taken"):
        now = flow.clock()
        due = flow.policy(row).pay_at(decision=row["decision"], verified_at=now)
        return flow.moved(connection, row, "verified", "card_taken", told=looked, due_at=due)
    unfreeze(flow, connection, row)
    if requoted and not requoted["no_offer"] and requoted["payout_fen"] > 0:
        facts = dict(row["facts"]) | {"balance_fen": looked["balance_fen"], "requoted": True}
        facts["charges"] = requoted["charges"]
        columns = quote_columns(requoted)
        return flow.moved(
            connection,
            row,
            "quoted",
            "another_value",
            told={"found": looked, "quote": requoted},
            facts=facts,
            due_at=columns["valid_until"],
            **columns,
        )
    is_dead = looked["standing"] in DEAD or looked.get("refused")
    why = "no_offer" if requoted else f"card_{looked['standing']}" if is_dead else "card_empty"
    return flow.moved(connection, row, "returned", why, told=looked)


# --- paying ------------------------------------------------------------------------------------------------------


def payout_id_of(row: Row, *, number: int | None = None) -> str:
    """The id of a trade's payout: of its newest, or of that number."""
    return f"{row['submission_id']}-payout-{number or row['facts'].get('payouts', 1)}"


def order_payout(flow: Flow, connection: sa.Connection, row: Row, *, payout_id: str) -> None:
    """Keep the order to pay the seller, whose money is under way already."""
    order = Payout(
        payout_id=payout_id,
        trade_id=row["submission_id"],
        seller_ref=row["seller_id"],
        channel=channel_of(row),
        account_ref=row["payee_ref"],
        name_ref=row["payee_ref"],
def sent_fen(row: Row) -> int:
    """What the newest payout of a trade sends: its quote's payout, or what a dispute found to be owed."""
    return row["facts"].get("award_fen") or row["payout_fen"]


        amount_fen=sent_fen(row),
    )
    create_payout(connection, order, now=flow.clock())


def pay(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Settle what was frozen and order the payout, in one transaction."""

    def settle(connection: sa.Connection) -> Facts:
        row = flow.book.read(connection, submission_id)
        if row["state"] != "verified" or row["due_at"] is None or row["due_at"] > flow.clock():
            return {"state": row["state"]}
        frozen, now = frozen_id(submission_id, row["quote_id"]), flow.clock()
        ledger.post(connection, settlement(row, frozen_id=frozen, rates=flow.rates, now=now), now=now)
        order_payout(flow, connection, row, payout_id=payout_id_of(row))
        charges = charges_of_trade(row)
        told = {"payout_fen": row["payout_fen"], "price_fen": charges.price_fen, "fee_fen": charges.fee_fen}
        told |= {"postage_fen": charges.postage_fen, "tax_fen": charges.tax_fen}
        return flow.moved(connection, row, "paying", "settled", told=told)

    return run.transaction("settle", settle)


def resolve(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Send the payout, or find out what became of it, until it is paid or failed."""
    row = as_found(flow, run, submission_id, states=("paying",))
    if row is None:
        return {"state": "moved"}
    sent = run.step("advance_payout", lambda: {"payout": flow.payouts.advance(payout_id_of(row))})
    return run.transaction("conclude", lambda c: _paid(flow, c, row, sent["payout"]))


def _paid(flow: Flow, connection: sa.Connection, seen: Row, payout: str) -> Facts:
    row = flow.book.read(connection, seen["submission_id"])
    if row["version"] != seen["version"]:
        return {"state": row["state"]}
    now = flow.clock()
    if payout == "paid":
        due = now + flow.policy(row).confirm_window
        step = Step(
            "paid", "provider", flow.worker, "paid", {"due_at": due}, {"payout_fen": sent_fen(row)}
        )
    elif payout == "failed":
        step = Step("payout_failed", "provider", flow.worker, "not_paid", {}, {})
    else:
        return flow.failed(connection, row, f"payout_{payout}")
    flow.book.move(connection, row, step, now=now)
    return {"state": step.target}
