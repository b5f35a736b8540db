"""A payout provider: pays once for each payout id, tells later what came of it, and writes a statement of the day."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from features.china import day_in_china
from serving.sandbox.desk import Answer, Refused, fen_in, text_in
from serving.sandbox.scenarios import last_two

"""A statement is of a day in China."""
CHANNELS = ("bank", "alipay", "wechat", "ecny")
REFUSED = {"81": "account_closed", "82": "name_mismatch", "83": "limit_exceeded"}
FAILS_LATER, TWO_LOOKS, NOT_STATED, STATED_WRONG = "84", "85", "98", "89"
"""Endings of an account: accepted and later refused; processing until the second look; missing from the statement; a
fen too much in the statement."""


@dataclass
class Payout:
    """One payment as the provider keeps it."""

    body: dict[str, Any]
    provider_ref: str
    day: str
    state: str
    reason: str = ""
    looks: int = 0


@dataclass
class SandboxPayouts:
    """Payouts by id, in memory. ``now`` says what day it is."""

    now: Callable[[], datetime]
    payouts: dict[str, Payout] = field(default_factory=dict)

    def pay(self, body: Mapping[str, Any]) -> Answer:
        """Once for each id: the same request again gets the payout as it stands, another one with that id a refusal."""
        payout_id, account = text_in(body, "payout_id"), text_in(body, "account_ref")
        channel, _ = text_in(body, "channel"), fen_in(body, "amount_fen")
        if channel not in CHANNELS:
            raise Refused(422, "unknown_channel")
        earlier = self.payouts.get(payout_id)
        if earlier is not None:
            if earlier.body != dict(body):
                raise Refused(409, "conflicting_payout")
            return self._shown(payout_id)
        ending = last_two(account)
        state = "processing" if ending in (FAILS_LATER, TWO_LOOKS) else "paid"
        self.payouts[payout_id] = Payout(
            body=dict(body),
            provider_ref=f"SBP{len(self.payouts) + 1:08d}",
            day=day_in_china(self.now()).isoformat(),
            state="refused" if ending in REFUSED else state,
            reason=REFUSED.get(ending, ""),
        )
        return self._shown(payout_id)

    def look(self, payout_id: str) -> Answer:
        payout = self.payouts.get(payout_id)
        if payout is None:
            raise Refused(404, "payout_not_found")
        payout.looks += 1
        ending = last_two(payout.body["account_ref"])
        if ending == FAILS_LATER:
            payout.state, payout.reason = "refused", "account_frozen"
        elif payout.state == "processing" and payout.looks >= 2:
            payout.state = "paid"
        return self._shown(payout_id)

    def concluded(self, payout_id: str) -> Answer:
        """What the provider calls about: a payout that was under way has come to its end by then."""
        for _ in range(2):
            self.look(payout_id)
        told = self._shown(payout_id)
        return {"event_id": f"cb-{told['provider_ref']}", **told}

    def statement(self, day: str, channel: str = "") -> Answer:
        """What was paid on a day in China, by one channel or all, as the provider's books have it."""
        lines = []
        for payout_id, payout in self.payouts.items():
            ending = last_two(payout.body["account_ref"])
            other = channel and payout.body["channel"] != channel
            if payout.day != day or payout.state != "paid" or ending == NOT_STATED or other:
                continue
            amount = payout.body["amount_fen"] + (1 if ending == STATED_WRONG else 0)
            lines.append(
                {
                    "payout_id": payout_id,
                    "provider_ref": payout.provider_ref,
                    "channel": payout.body["channel"],
                    "amount_fen": amount,
                }
            )
        return {"day": day, "payments": lines, "total_fen": sum(line["amount_fen"] for line in lines)}

    def _shown(self, payout_id: str) -> Answer:
        payout = self.payouts[payout_id]
        return {
            "payout_id": payout_id,
            "provider_ref": payout.provider_ref,
            "state": payout.state,
            "amount_fen": payout.body["amount_fen"],
            "channel": payout.body["channel"],
            "reason": payout.reason,
        }
