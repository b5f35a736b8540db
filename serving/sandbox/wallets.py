"""The sandbox's wallet provider: whose holders agree, wait, or refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.sandbox.desk import Answer, Refused, fen_in, text_in
from serving.sandbox.scenarios import last_two

REFUSES, FROZEN, SLOWLY, NEVER, UNKNOWN = "81", "82", "84", "86", "88"
LOOKS = 3
"""Looks after which a holder who is slow has agreed, and one who never does has let it expire."""


@dataclass
class SandboxWallets:
    """Collections by id, each with its request and how often it was looked at."""

    collections: dict[str, tuple[dict[str, Any], int]] = field(default_factory=dict)

    def check(self, body: Mapping[str, Any]) -> Answer:
        ending = last_two(_known(body))
        return {"standing": "frozen" if ending == FROZEN else "active"}

    def collect(self, body: Mapping[str, Any]) -> Answer:
        """Once for each id; the same request again tells how it stands."""
        collection_id = text_in(body, "collection_id")
        _known(body)
        fen_in(body, "amount_fen")
        earlier = self.collections.get(collection_id)
        if earlier is not None and earlier[0] != dict(body):
            raise Refused(409, "conflicting_collection")
        self.collections.setdefault(collection_id, (dict(body), 0))
        return self.look(collection_id)

    def look(self, collection_id: str) -> Answer:
        if collection_id not in self.collections:
            raise Refused(404, "unknown_collection")
        body, looks = self.collections[collection_id]
        self.collections[collection_id] = (body, looks + 1)
        ending, late = last_two(body["wallet_ref"]), looks + 1 >= LOOKS
        state = {
            REFUSES: "refused",
            FROZEN: "refused",
            SLOWLY: "done" if late else "waiting",
            NEVER: "expired" if late else "waiting",
        }.get(ending, "done")
        amount = body["amount_fen"] if state == "done" else 0
        return {"collection_id": collection_id, "state": state, "amount_fen": amount}

    def concluded(self, collection_id: str) -> Answer:
        """What the provider calls about: the holder of the wallet has answered by then."""
        for _ in range(LOOKS):
            self.look(collection_id)
        return {"event_id": f"wc-{collection_id}", **self.look(collection_id)}


def _known(body: Mapping[str, Any]) -> str:
    wallet = text_in(body, "wallet_ref")
    if last_two(wallet) == UNKNOWN:
        raise Refused(404, "unknown_wallet")
    return wallet
