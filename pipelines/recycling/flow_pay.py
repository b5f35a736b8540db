"""After the seller accepted: look at the card once more, take it over, settle, and see the payout through."""

from __future__ import annotations

import sqlalchemy as sa

from pipelines.recycling import ledger
from pipelines.recycling.adapters.issuer import NEVER_HEARD, PresentedCard, Redemption
from pipelines.recycling.adapters.outcomes import Outcome
from pipelines.recycling.charges import charges_of_trade, settlement
from pipelines.recycling.flow import (
    ALIVE,
    Facts,
    Flow,
    Row,
    Runner,
    as_found,
    channel_of,
    expires_on,
    frozen_id,
    presented,
    unfreeze,
    value_fen,
)
from pipelines.recycling.flow_review import NOT_CONNECTED, found_of, look, price, quote_columns
from pipelines.recycling.payouts import Errand, NotSent, Payout, Unknown, create_payout
from pipelines.recycling.trades import Step

TAKEN_DIFFERS = "taken_differs"
"""Trouble of a card of which another amount was taken than was quoted: a person must decide. Nothing is paid."""
TAKEN_AFTER_ALL = "taken_after_all"
"""Trouble of a trade that was let go while its card was being taken over, and then it was: a person must decide."""
LET_GO = ("quoted", "declined", "lapsed", "cancelled", "rejected", "returned")
"""States that a trade may come to after its card was looked at, in which its payout is neither reserved nor paid."""
BY_HAND = "look_by_hand"
"""Trouble of a card whose issuer is not connected: a person must look at it. Nothing is tried again by itself."""


def verify(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Take the card over if it is what was said; quote it again if it is worth another; send it back if dead."""
    row = as_found(flow, run, submission_id, states=("frozen", "received"))
    if row is None:
        return {"state": "moved"}
    looked = run.step("take_over", lambda: _take_over(flow, row))
    requoted: Facts = {}
    if _is_another(looked, row):
        requoted = run.step("price_again", lambda: price(flow, row, looked))
    done = run.transaction("conclude", lambda c: _verified(flow, c, row, looked, requoted))
    return _sent(flow, run, done)


def _take_over(flow: Flow, row: Row) -> Facts:
    """Look at the card once more, and take it if it is what was said. A card that is not may be one that we took
    ourselves, before a process died or an answer was lost: the issuer is asked for that redemption."""
    card = presented(flow, row, step="take_over")
    looked = look(flow, row, card)
    if card is not None and looked["standing"] in ALIVE and _is_as_quoted(looked, row):
        return _take(flow, row, card)
    if looked.get("trouble") or looked["standing"] == NOT_CONNECTED:
        return looked
    earlier = earlier_taking(flow, row)
    if earlier.code == NEVER_HEARD or earlier.state == NOT_CONNECTED:  # or cannot tell of any
        return looked
    found = _as_taken(earlier)
    return looked if found.get("refused") else found


def earlier_taking(flow: Flow, row: Row) -> Outcome[Redemption]:
    """What came of taking the card over, whoever tried it and whenever."""
    return flow.issuer.redemption(
        redemption_id_of(row["submission_id"]), card_type=row["asked"]["card"]["card_type"]
    )


def redemption_id_of(submission_id: str) -> str:
    """The id under which a trade's card is taken over."""
    return f"{submission_id}-take"


def _is_as_quoted(looked: Facts, row: Row) -> bool:
    """Whether the issuer says of a living card what it was quoted as: value, last day, and whether that is past."""
    same_day = looked["expires_on"] == expires_on(row)
    same_standing = (looked["standing"] == "expired") == (row["facts"].get("card") == "expired")
    return looked["balance_fen"] in (None, value_fen(row)) and same_day and same_standing


def _is_another(looked: Facts, row: Row) -> bool:
    """Whether a living card is worth another sum than was quoted. What a redemption came to is no look at it."""
    is_seen = looked["standing"] in ALIVE and "taken" not in looked
    return is_seen and not _is_as_quoted(looked, row)


def _take(flow: Flow, row: Row, card: PresentedCard) -> Facts:
    """Have the issuer move the balance to the platform, once."""
    outcome = flow.issuer.redeem(
        card, redemption_id=redemption_id_of(row["submission_id"]), amount_fen=value_fen(row)
    )
    if outcome.value is None and outcome.maybe_done:
        outcome = earlier_taking(flow, row)
    return _as_taken(outcome)


def _as_taken(outcome: Outcome[Redemption]) -> Facts:
    """What came of a redemption, or the trouble of hearing of it."""
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
        return _let_go(flow, connection, row, looked)
    trouble = looked.get("trouble") or requoted.get("trouble")
    if trouble:
        return flow.failed(connection, row, trouble, looked.get("wait") or requoted.get("wait"))
    if looked["standing"] == NOT_CONNECTED:
        flow.book.change(connection, row, {"trouble": BY_HAND, "due_at": None})
        return {"state": row["state"], "trouble": BY_HAND}
    if looked.get("taken") and looked["balance_fen"] != value_fen(row):
        flow.book.change(connection, row, {"trouble": TAKEN_DIFFERS, "due_at": None})
        return {"state": row["state"], "trouble": TAKEN_DIFFERS}
    if looked.get("taken"):
        now = flow.clock()
        due = flow.policy(row).pay_at(decision=row["decision"], verified_at=now)
        moved = flow.moved(connection, row, "verified", "card_taken", told=looked, due_at=due)
        return settle(flow, connection, row["submission_id"]) if due <= now else moved
    unfreeze(flow, connection, row)
    if requoted and not requoted["no_offer"] and requoted["payout_fen"] > 0:
        facts = dict(row["facts"]) | found_of(row, looked)
        facts |= {"requoted": True, "charges": requoted["charges"]}
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
    why = "no_offer" if requoted else f"card_{looked['standing']}"
    return flow.moved(connection, row, "returned", why, told=looked)


def _let_go(flow: Flow, connection: sa.Connection, row: Row, looked: Facts) -> Facts:
    """Somebody else moved the trade while its card was looked at. Nothing more is owed, unless it was let go and its
    card is ours now: then a person hears of it, and nothing is sent back meanwhile."""
    if not looked.get("taken") or row["state"] not in LET_GO or row["trouble"] == TAKEN_AFTER_ALL:
        return {"state": row["state"]}
    flow.book.evidence.append(
        connection,
        kind=TAKEN_AFTER_ALL,
        subject=row["submission_id"],
        payload={"state": row["state"], "found": looked},
        actor=flow.worker,
        source=flow.book.source,
        at=flow.clock(),
    )
    due_at = row["due_at"] if row["state"] == "quoted" else None  # a quote lapses all the same
    flow.book.change(connection, row, {"trouble": TAKEN_AFTER_ALL, "due_at": due_at})
    return {"state": row["state"], "trouble": TAKEN_AFTER_ALL}


# --- paying ------------------------------------------------------------------------------------------------------


def payout_id_of(row: Row, *, number: int | None = None) -> str:
    """The id of a trade's payout: of its newest, or of that number."""
    return f"{row['submission_id']}-payout-{number or row['facts'].get('payouts', 1)}"


def sent_fen(row: Row) -> int:
    """What the newest payout of a trade sends: its quote's payout, or what a dispute found to be owed."""
    return row["facts"].get("award_fen", row["payout_fen"])


def order_payout(flow: Flow, connection: sa.Connection, row: Row, *, payout_id: str) -> None:
    """Keep the order to pay the seller, whose money is under way already."""
    order = Payout(
        payout_id=payout_id,
        trade_id=row["submission_id"],
        seller_ref=row["seller_id"],
        channel=channel_of(row),
        account_ref=row["payee_ref"],
        name_ref=row["payee_ref"],
        amount_fen=sent_fen(row),
    )
    create_payout(connection, order, now=flow.clock())


def pay(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Settle what was frozen and order the payout, in one transaction; then send it."""
    return _sent(flow, run, run.transaction("settle", lambda c: settle(flow, c, submission_id)))


def settle(flow: Flow, connection: sa.Connection, submission_id: str) -> Facts:
    """Book a verified trade whose time has come, and take up its payout: with ``errand`` it is ours to send."""
    row, now = flow.book.read(connection, submission_id), flow.clock()
    if row["state"] != "verified" or row["due_at"] is None or row["due_at"] > now:
        return {"state": row["state"]}
    ledger.post(connection, settlement(row, frozen_id=frozen_id(row), rates=flow.rates, now=now), now=now)
    order_payout(flow, connection, row, payout_id=payout_id_of(row))
    charges = charges_of_trade(row)
    told = {"payout_fen": row["payout_fen"], "price_fen": charges.price_fen, "fee_fen": charges.fee_fen}
    told |= {"postage_fen": charges.postage_fen, "tax_fen": charges.tax_fen}
    flow.moved(connection, row, "paying", "settled", told=told)
    return _taken_up(flow, connection, submission_id)


def resolve(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """Send the payout, or find out what became of it, until it is paid or failed."""
    return _sent(flow, run, run.transaction("take_up", lambda c: _taken_up(flow, c, submission_id)))


def _taken_up(flow: Flow, connection: sa.Connection, submission_id: str) -> Facts:
    row = flow.book.read(connection, submission_id)
    if row["state"] != "paying":
        return {"state": row["state"]}
    errand = flow.payouts.take(connection, payout_id_of(row))
    return {"state": "paying", "errand": errand, "trade": row}


def _sent(flow: Flow, run: Runner, taken: Facts) -> Facts:
    """Run the errand that was taken up, if one was, and conclude the trade with what was heard."""
    if "errand" not in taken:
        return taken
    errand: Errand = taken["errand"]
    heard: Facts = {}
    if not errand.ended:
        heard = run.step("pay_out", lambda: {"answer": flow.payouts.run(errand)})
    return run.transaction("conclude", lambda c: _paid(flow, c, taken["trade"], errand, heard))


def _paid(flow: Flow, connection: sa.Connection, seen: Row, errand: Errand, heard: Facts) -> Facts:
    """What was heard of a payout is kept in any case; the trade moves unless somebody else moved it meanwhile."""
    answer = heard.get("answer")
    payout = errand.row["state"] if answer is None else flow.payouts.note(connection, errand, answer)
    row = flow.book.read(connection, seen["submission_id"])
    if row["version"] != seen["version"]:
        return {"state": row["state"]}
    now = flow.clock()
    if payout == "paid":
        due = now + flow.policy(row).confirm_window
        step = Step("paid", "provider", flow.worker, "paid", {"due_at": due}, {"payout_fen": sent_fen(row)})
    elif payout == "failed":
        step = Step("payout_failed", "provider", flow.worker, "not_paid", {}, {})
    elif isinstance(answer, Unknown | NotSent) and answer.rest_seconds:
        flow.book.rest(connection, row, f"payout_{payout}", now=now, seconds=answer.rest_seconds)
        return {"state": row["state"]}
    else:
        # Once it was sent, what came before is forgotten: it is asked about soon.
        is_new = errand.sends and not isinstance(answer, NotSent)
        return flow.failed(connection, {**row, "failures": 0} if is_new else row, f"payout_{payout}")
    flow.book.move(connection, row, step, now=now)
    return {"state": step.target}
