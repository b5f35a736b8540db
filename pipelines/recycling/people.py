"""What people decide: the reviews the policy asks for, cards looked at by hand, parcels, failed payouts. Complaints:
:mod:`pipelines.recycling.disputes`.

Each decision names who made it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipelines.databases import reading
from pipelines.recycling import bookings, ledger
from pipelines.recycling.adapters.issuer import NEVER_HEARD
from pipelines.recycling.flow import Flow, channel_of, reserve, unfreeze
from pipelines.recycling.flow_pay import (
    LET_GO,
    TAKEN_AFTER_ALL,
    TAKEN_DIFFERS,
    earlier_taking,
    order_payout,
    payout_id_of,
    sent_fen,
)
from pipelines.recycling.flow_review import NOT_CONNECTED
from pipelines.recycling.returns import BY_HAND, SENDING_BACK, STUCK, keep
from pipelines.recycling.states import STATES
from pipelines.recycling.trades import Step
from pipelines.transactions import in_transaction

Row = Mapping[str, Any]


class DecisionRefused(ValueError):
    """A person cannot decide this, or not now or not alone; ``code`` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class People:
    """The decisions of people, on the application database."""

    flow: Flow
    engine: sa.Engine

    def approve(self, submission_id: str, *, by: str, reason: str) -> Row:
        """Let the seller have the quote that waits; where none is valid any more the card is looked at and quoted anew,
        and the seller gets that quote."""
        with reading(self.engine).connect() as connection:
            valid_until = self.flow.book.read(connection, submission_id)["valid_until"]
        is_valid = valid_until is not None and valid_until > self.flow.clock()

        def change(row: Row, connection: sa.Connection) -> dict[str, Any]:
            facts = dict(row["facts"]) | {"approved_by": by}
            return {"facts": facts} | ({"due_at": row["valid_until"]} if is_valid else {})

        target, why = ("quoted", "approved") if is_valid else ("submitted", "approved_late")
        return self._decide(submission_id, "person_needed", target, why, by, reason, change)

    def reject(self, submission_id: str, *, by: str, reason: str) -> Row:
        return self._decide(submission_id, "person_needed", "rejected", "rejected_by_person", by, reason)

    def looked_at(self, submission_id: str, *, is_good: bool, by: str, reason: str) -> Row:
        """A card that the machine cannot conclude was looked at by hand after its money was frozen. It is not found bad
        while its issuer says that it was taken over, or does not say, and not while the machine may take it over:
        DecisionRefused ``card_taken``, ``card_in_process``, ``issuer_silent``, ``machine_at_work``.

        Of a trade that was let go and whose card was taken over after all: its seller is paid, or its balance was given
        back."""
        with reading(self.engine).connect() as connection:
            seen = self.flow.book.read(connection, submission_id)
        if seen["trouble"] == TAKEN_AFTER_ALL:
            decide = self._paid_after_all if is_good else self._given_back
            return decide(submission_id, by=by, reason=reason)
        if not is_good:
            self._check_not_taken(seen)

        def change(row: Row, connection: sa.Connection) -> dict[str, Any]:
            if is_good:
                return {"due_at": self._pay_at(row)}
            if row["due_at"] is not None:  # what its issuer said a moment ago may be untrue by now
                raise DecisionRefused("machine_at_work", "the machine has not done with this card")
            unfreeze(self.flow, connection, row)
            return {}

        target, why = ("verified", "good_by_hand") if is_good else ("returned", "bad_by_hand")
        return self._decide(submission_id, ("frozen", "received"), target, why, by, reason, change)

    def _pay_at(self, row: Row) -> datetime:
        return self.flow.policy(row).pay_at(decision=row["decision"], verified_at=self.flow.clock())

    def _paid_after_all(self, submission_id: str, *, by: str, reason: str) -> Row:
        """Reserve the payout once more, and let it go the usual way. Raises DecisionRefused ``no_funds``."""

        def change(row: Row, connection: sa.Connection) -> dict[str, Any]:
            facts = dict(row["facts"]) | {"reserved": row["facts"].get("reserved", 1) + 1}
            try:
                reserve(self.flow, connection, {**row, "facts": facts})
            except ledger.Overdraft:
                raise DecisionRefused("no_funds", "the channel's cash does not cover the payout") from None
            return {"due_at": self._pay_at(row), "facts": facts}

        return self._decide(
            submission_id,
            "returned",
            "verified",
            "taken_after_all",
            by,
            reason,
            change,
            trouble=TAKEN_AFTER_ALL,
        )

    def _given_back(self, submission_id: str, *, by: str, reason: str) -> Row:
        """The trade stays as it is, and a physical card goes back."""

        def work(connection: sa.Connection) -> Row:
            row = self._read(connection, submission_id, LET_GO, trouble=TAKEN_AFTER_ALL)
            now = self.flow.clock()
            self.flow.book.evidence.append(
                connection,
                kind="balance_given_back",
                subject=submission_id,
                payload={"reason": reason},
                actor=by,
                source=self.flow.book.source,
                at=now,
            )
            goes_back = STATES[row["state"]].sends_back_after is not None and row["facts"].get("here")
            due_at = now if goes_back else row["due_at"]
            return self.flow.book.change(connection, row, {"trouble": "", "due_at": due_at})

        _check_reason(by, reason)
        return in_transaction(self.engine, work)

    def _check_not_taken(self, row: Row) -> None:
        if row["state"] not in ("frozen", "received") or row["trouble"] == TAKEN_DIFFERS:
            return
        taken = earlier_taking(self.flow, row)
        if taken.code == NEVER_HEARD or taken.state == NOT_CONNECTED:
            return
        if taken.value is None:
            raise DecisionRefused(
                "issuer_silent", "whether the card was taken over is not known; ask again later"
            )
        if taken.value.state == "in_process":
            raise DecisionRefused(
                "card_in_process", "the card is being taken over; its issuer must end that first"
            )
        if taken.value.state == "done":
            raise DecisionRefused(
                "card_taken", "the card was taken over: its seller is paid, or gets it back first"
            )

    def unpacked(self, submission_id: str, *, by: str, film_sha256: str) -> Row:
        """A physical card arrived and was unpacked on film; the film's hash goes into the evidence."""

        def change(row: Row, connection: sa.Connection) -> dict[str, Any]:
            return {"facts": dict(row["facts"]) | {"here": True}}

        return self._decide(
            submission_id,
            "shipping",
            "received",
            "unpacked",
            by,
            "unpacked",
            change,
            told={"film_sha256": film_sha256},
        )

    def sent_back(self, submission_id: str, *, by: str, tracking_number: str) -> Row:
        """A card went back by hand. Raises DecisionRefused ``wrong_state`` where nobody waits for that."""

        def work(connection: sa.Connection) -> Row:
            row = self._read(connection, submission_id, SENDING_BACK)
            if row["trouble"] not in (BY_HAND, *STUCK.values()):
                raise DecisionRefused("wrong_state", "this card does not wait to be sent back by hand")
            shipment = {"shipment_id": "", "tracking_number": tracking_number, "label_url": ""}
            shipment |= {"whereabouts": "on_the_way", "carrier_fee_fen": None}
            return keep(self.flow, connection, row, shipment, kind="return_by_hand", by=by)

        return in_transaction(self.engine, work)

    def stop_payout(self, submission_id: str, *, by: str, reason: str) -> Row:
        """A payout that is still held is not made: the card turned out wrong."""

        def change(row: Row, connection: sa.Connection) -> dict[str, Any]:
            unfreeze(self.flow, connection, row)
            return {"due_at": None}

        return self._decide(submission_id, "verified", "returned", "stopped", by, reason, change)

    def pay_again(self, submission_id: str, *, by: str, reason: str) -> Row:
        """Order a failed payout once more, under an id of its own."""

        def change(row: Row, connection: sa.Connection) -> dict[str, Any]:
            again = int(row["facts"].get("payouts", 1)) + 1
            order_again(self.flow, connection, row, number=again)
            return {"facts": dict(row["facts"]) | {"payouts": again}}

        return self._decide(submission_id, "payout_failed", "paying", "sent_again", by, reason, change)

    # --- the same for all

    def _decide(
        self,
        submission_id: str,
        source: str | tuple[str, ...],
        target: str,
        why: str,
        by: str,
        reason: str,
        change: Callable[[Row, sa.Connection], dict[str, Any]] = lambda row, connection: {},
        told: Mapping[str, Any] | None = None,
        trouble: str | None = None,
    ) -> Row:
        _check_reason(by, reason)

        def work(connection: sa.Connection) -> Row:
            row = self._read(connection, submission_id, source, trouble=trouble)
            evidence = {"reason": reason, **(told or {})}
            step = Step(target, "person", by, why, change(row, connection), evidence)
            return self.flow.book.move(connection, row, step, now=self.flow.clock())

        return in_transaction(self.engine, work)

    def _read(
        self,
        connection: sa.Connection,
        submission_id: str,
        source: str | tuple[str, ...],
        *,
        trouble: str | None = None,
    ) -> Row:
        """The trade, which is in one of these states and in this trouble, where one is named."""
        row = self.flow.book.read(connection, submission_id)
        is_there = row["state"] in ((source,) if isinstance(source, str) else source)
        if not is_there or trouble not in (None, row["trouble"]):
            raise DecisionRefused("wrong_state", f"this trade is {row['state']}; that cannot be decided now")
        return row


def _check_reason(by: str, reason: str) -> None:
    if not by or not reason.strip():
        raise DecisionRefused("reason_missing", "say who decides, and why")


def order_again(flow: Flow, connection: sa.Connection, row: Row, *, number: int) -> None:
    """Take the money out once more and order a payout of a new id."""
    payout_id = payout_id_of(row, number=number)
    transfers = bookings.send_again(
        transfer_id=f"{payout_id}/again",
        trade_id=row["submission_id"],
        channel=channel_of(row),
        amount_fen=sent_fen(row),
    )
    ledger.post(connection, transfers, now=flow.clock())
    order_payout(flow, connection, row, payout_id=payout_id)
