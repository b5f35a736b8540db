"""A payout desk that runs its own errands, as the flow does in its steps."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.recycling.payouts import PayoutDesk, State, Transaction


@dataclass(frozen=True, kw_only=True)
class LoneDesk(PayoutDesk):
    transaction: Transaction

    def advance(self, payout_id: str) -> State:
        """Do the next thing about a payout; its state then."""
        with self.transaction() as connection:
            errand = self.take(connection, payout_id)
        if errand.ended:
            return errand.row["state"]
        answer = self.run(errand)
        with self.transaction() as connection:
            return self.note(connection, errand, answer)
