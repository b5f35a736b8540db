"""Disputes about paid trades: who complains, who must answer by when, and who decides.

A complaint of a buyer, an issuer or the platform is answered by the seller; a seller's by the platform. Who does not
answer in time is decided against, and what is not decided in time is decided for the seller: by the machine, as a rule
that everybody sees beforehand. Above the policy's amount no rule decides: the trade says so, and two people must.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from pipelines.recycling import bookings, ledger
from pipelines.recycling.dispute_money import (
    NOT_RECEIVED,
    award,
    cost_of_card,
    ended_stakes,
    most_claimed,
    stakes,
)
from pipelines.recycling.dispute_tables import awarded_fen, awards_of, change, disputes, newest
from pipelines.recycling.flow import Facts, Flow, Runner
from pipelines.recycling.flow_pay import order_payout, payout_id_of
from pipelines.recycling.ledger_model import Overdraft
from pipelines.recycling.people import DecisionRefused
from pipelines.recycling.states import Actor
from pipelines.recycling.trades import Step
from pipelines.transactions import in_transaction

Row = Mapping[str, Any]
Complaint = Literal["already_redeemed", "wrong_value", "not_received", "stolen_card"]
Complainant = Literal["buyer", "issuer", "seller", "platform"]
Verdict = Literal["for_trade", "against_trade"]
Rule = Literal["no_answer", "not_decided"]

OVERDUE = "dispute_overdue"
"""Trouble of a dispute whose time is over and that is too large for a rule: two people must decide it."""


@dataclass(frozen=True)
class Complained:
    """What somebody complains about. buyer_ref: whose deposit stands behind a buyer's complaint. claim_fen: what a
    seller says is still owed; None: of a payout that did not come, all of it; of others: nothing is claimed."""

    kind: Complaint
    reason: str
    complainant: Complainant = "buyer"
    buyer_ref: str = ""
    claim_fen: int | None = None


@dataclass(frozen=True)
class Judged:
    """What a dispute comes to, and how: award_fen to a seller who is right; rule: which one decided, empty: people."""

    verdict: Verdict
    award_fen: int
    by: str
    reason: str
    rule: Rule | Literal[""] = ""


def respondent(dispute: Row) -> Literal["seller", "platform"]:
    """Who must answer."""
    return "platform" if dispute["complainant"] == "seller" else "seller"


@dataclass(frozen=True)
class Disputes:
    """What people do about complaints, on the application database."""

    flow: Flow
    engine: sa.Engine

    def complain(self, submission_id: str, said: Complained, *, by: str) -> Row:
        """Open a dispute about a paid trade, with its deadlines, and hold a stake of both parties' deposits.

        Raises DecisionRefused ``wrong_state``, ``reason_missing``, ``bad_claim``."""
        _told(by, said.reason)
        now, flow = self.flow.clock(), self.flow

        def work(connection: sa.Connection) -> Row:
            row = self._read(connection, submission_id, "paid")
            policy, before = flow.policy(row), newest(connection, submission_id)
            claim = _claim(row, said, awards_of(connection, submission_id))
            dispute = _opened(row, said, claim_fen=claim, by=by, now=now) | {
                "number": 1 if before is None else before["number"] + 1,
                "answer_by": now + timedelta(days=policy.answer_days),
                "decide_by": now + timedelta(days=policy.decide_days),
            }
            transfers, held = stakes(connection, row, dispute, share_bps=policy.stake_bps)
            ledger.post(connection, transfers, now=now)
            connection.execute(sa.insert(disputes).values(dispute | held))
            facts = dict(row["facts"])
            if said.complainant != "seller":
                facts["complaint"] = {"kind": said.kind, "by": by, "at": now.isoformat()}
            evidence = {"reason": said.reason, "number": dispute["number"], **held}
            evidence |= {name: dispute[name] for name in ("complainant", "claim_fen")}
            evidence |= {name: dispute[name].isoformat() for name in ("answer_by", "decide_by")}
            actor: Actor = "seller" if said.complainant == "seller" else "person"
            changes = {"facts": facts, "due_at": dispute["answer_by"]}
            step = Step("disputed", actor, by, f"complaint_{said.kind}", changes, evidence)
            return flow.book.move(connection, row, step, now=now)

        return in_transaction(self.engine, work)

    def answer(
        self, submission_id: str, *, by: str, reason: str, attachments: Sequence[str] = (), as_seller: bool
    ) -> Row:
        """What the party that must answer says, with the SHA-256 of what it shows. Said again it is kept, too; the
        first time counts. Raises DecisionRefused ``wrong_state``, ``not_yours_to_answer``."""
        _told(by, reason)

        def work(connection: sa.Connection) -> Row:
            row = self._read(connection, submission_id, "disputed")
            dispute = _newest(connection, submission_id)
            if as_seller and respondent(dispute) != "seller":
                raise DecisionRefused("not_yours_to_answer", "this complaint is answered by the platform")
            now = self.flow.clock()
            if dispute["answered_at"] is None:
                change(connection, dispute, {"answered_at": now, "answered_by": by})
            said = {"reason": reason, "attachments": list(attachments), "for": respondent(dispute)}
            self._note(connection, row, "dispute_answered", said, by=by, now=now)
            return self.flow.book.change(connection, row, {"due_at": dispute["decide_by"], "trouble": ""})

        return in_transaction(self.engine, work)

    def judge(
        self, submission_id: str, *, verdict: Verdict, by: str, reason: str, award_fen: int | None = None
    ) -> Row:
        """Decide. From the policy's amount on the first person proposes and another one who says the same decides.
        award_fen: what a seller who is right gets; None: what was claimed.

        Raises DecisionRefused ``second_person`` where the same person would decide twice, ``bad_award``, ``no_funds``.
        """
        _told(by, reason)

        def work(connection: sa.Connection) -> Row:
            row = self._read(connection, submission_id, "disputed")
            dispute = _newest(connection, submission_id)
            judged = Judged(verdict, _award(dispute, verdict, award_fen), by, reason)
            if _needs_two(self.flow, connection, row, dispute):
                same = (verdict, judged.award_fen) == (dispute["proposed"], dispute["proposed_fen"])
                if not same:
                    return self._propose(connection, row, dispute, judged)
                if dispute["proposed_by"] == by:
                    raise DecisionRefused(
                        "second_person", "a complaint of this size is decided by two people"
                    )
            try:
                return conclude(self.flow, connection, row, dispute, judged)
            except Overdraft:
                raise DecisionRefused("no_funds", "the channel's cash does not cover the award") from None

        return in_transaction(self.engine, work)

    def _propose(self, connection: sa.Connection, row: Row, dispute: Row, judged: Judged) -> Row:
        proposed = {"proposed": judged.verdict, "proposed_fen": judged.award_fen, "proposed_by": judged.by}
        change(connection, dispute, proposed)
        said = {"reason": judged.reason, "verdict": judged.verdict, "award_fen": judged.award_fen}
        self._note(connection, row, "dispute_proposed", said, by=judged.by, now=self.flow.clock())
        return self.flow.book.change(connection, row, {})

    def _note(
        self, connection: sa.Connection, row: Row, kind: str, said: Facts, *, by: str, now: datetime
    ) -> None:
        book = self.flow.book
        book.evidence.append(
            connection,
            kind=kind,
            subject=row["submission_id"],
            payload=said,
            actor=by,
            source=book.source,
            at=now,
        )

    def _read(self, connection: sa.Connection, submission_id: str, state: str) -> Row:
        row = self.flow.book.read(connection, submission_id)
        if row["state"] != state:
            raise DecisionRefused("wrong_state", f"this trade is {row['state']}; that cannot be done now")
        return row


def rule(flow: Flow, run: Runner, submission_id: str) -> Facts:
    """What the machine does when the time of a dispute is over."""
    return run.transaction("rule", lambda connection: _ruled(flow, connection, submission_id))


def _ruled(flow: Flow, connection: sa.Connection, submission_id: str) -> Facts:
    row, now = flow.book.read(connection, submission_id), flow.clock()
    if row["state"] != "disputed" or row["due_at"] is None or row["due_at"] > now:
        return {"state": row["state"]}
    dispute = _newest(connection, submission_id)
    if _needs_two(flow, connection, row, dispute):
        flow.book.change(connection, row, {"due_at": None, "trouble": OVERDUE})
        return {"state": row["state"], "trouble": OVERDUE}
    by_seller = dispute["complainant"] == "seller"
    which: Rule = "no_answer" if dispute["answered_at"] is None else "not_decided"
    verdict: Verdict = "against_trade" if which == "no_answer" or by_seller else "for_trade"
    judged = Judged(verdict, _award(dispute, verdict, None), flow.worker, which, rule=which)
    try:
        after = conclude(flow, connection, row, dispute, judged)
    except Overdraft:
        return flow.failed(connection, row, "no_funds")
    return {"state": after["state"], "rule": which}


def conclude(flow: Flow, connection: sa.Connection, row: Row, dispute: Row, judged: Judged) -> Row:
    """End a dispute: its money, its row and its trade in one transaction. Raises Overdraft."""
    now, by_seller = flow.clock(), dispute["complainant"] == "seller"
    against = judged.verdict == "against_trade"
    transfers = ended_stakes(dispute, seller_wins=against == by_seller)
    facts, target, cost = dict(row["facts"]), "closed", 0
    if against and by_seller:
        target, cost = "paying", judged.award_fen
        transfers += award(row, dispute, amount_fen=cost)
        facts |= {"award_fen": cost, "payouts": int(facts.get("payouts", 1)) + 1}
    elif against:
        target, cost = "reversed", cost_of_card(connection, row["submission_id"])
        if cost:
            transfers += bookings.write_off(
                transfer_id=f"{row['submission_id']}/write_off",
                trade_id=row["submission_id"],
                amount_fen=cost,
            )
        if not dispute["buyer_ref"]:
            cost -= dispute["seller_stake_fen"]
    ledger.post(connection, transfers, now=now)
    if "complaint" in facts:  # that nobody decided in time says nothing about the card
        facts["complaint"] = facts["complaint"] | {"is_label": judged.rule != "not_decided"}
    after = {"facts": facts, "due_at": now}  # the machine then tells the models what it came to, or pays
    if target == "paying":
        owed = {**row, **after}
        order_payout(flow, connection, owed, payout_id=payout_id_of(owed))
    _keep(connection, dispute, judged, cost_fen=cost, now=now)
    told = {"reason": judged.reason, "award_fen": judged.award_fen, "cost_fen": cost, "rule": judged.rule}
    told |= {"number": dispute["number"], "first": dispute["proposed_by"]}
    why = f"rule_{judged.rule}" if judged.rule else f"judged_{judged.verdict}"
    step = Step(target, "timer" if judged.rule else "person", judged.by, why, after, told)
    return flow.book.move(connection, row, step, now=now)


def _keep(connection: sa.Connection, dispute: Row, judged: Judged, *, cost_fen: int, now: datetime) -> None:
    values = {"verdict": judged.verdict, "award_fen": judged.award_fen, "cost_fen": cost_fen}
    change(
        connection,
        dispute,
        values | {"decided_by": judged.by, "decided_at": now, "rule": judged.rule},
    )


def _claim(row: Row, said: Complained, awards: Mapping[str, int]) -> int:
    """What a complaint claims, in fen; nothing where it is not a seller's. awards: of the trade so far, by kind. Raises
    DecisionRefused ``bad_claim``."""
    if said.complainant != "seller":
        if said.claim_fen is not None:
            raise DecisionRefused("bad_claim", "only a seller claims money")
        return 0
    most = most_claimed(row, said.kind, awards)
    claim = most if said.claim_fen is None and said.kind == NOT_RECEIVED else said.claim_fen
    if claim is None or not 0 < claim <= most:
        raise DecisionRefused(
            "bad_claim", f"a seller claims 1 fen at least, and here {max(most, 0)} fen at most"
        )
    return claim


def _opened(row: Row, said: Complained, *, claim_fen: int, by: str, now: datetime) -> Facts:
    """The row of a new dispute without its deadlines."""
    empty = {"answered_at": None, "decided_at": None, "award_fen": 0, "cost_fen": 0, "proposed_fen": 0}
    empty |= dict.fromkeys(("answered_by", "proposed", "proposed_by", "verdict", "decided_by", "rule"), "")
    return empty | {
        "submission_id": row["submission_id"],
        "profile": row["profile"],
        "kind": said.kind,
        "complainant": said.complainant,
        "buyer_ref": said.buyer_ref,
        "claim_fen": claim_fen,
        "opened_by": by,
        "opened_at": now,
    }


def _needs_two(flow: Flow, connection: sa.Connection, row: Row, dispute: Row) -> bool:
    """Whether all that the trade has paid, and what is claimed, is too much for one person: slices add up."""
    so_far = row["payout_fen"] + awarded_fen(connection, row)
    return so_far + dispute["claim_fen"] >= flow.policy(row).second_person_fen


def _award(dispute: Row, verdict: Verdict, award_fen: int | None) -> int:
    """What a verdict gives the seller. Raises DecisionRefused ``bad_award``."""
    most = dispute["claim_fen"] if verdict == "against_trade" else 0
    if award_fen is None:
        return most
    if (most and award_fen == 0) or not 0 <= award_fen <= most:
        raise DecisionRefused(
            "bad_award", "an award is for a seller who is right, of at most what was claimed"
        )
    return award_fen


def _newest(connection: sa.Connection, submission_id: str) -> Row:
    found = newest(connection, submission_id)
    if found is None:
        raise DecisionRefused("wrong_state", "nobody complained about this trade")
    return found


def _told(by: str, reason: str) -> None:
    if not by or not reason.strip():
        raise DecisionRefused("reason_missing", "say who decides, and why")
