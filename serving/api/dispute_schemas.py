"""Bodies of disputes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from serving.api.field_types import Words
from serving.api.schemas import Body, Money

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ComplaintMade(Body):
    """A complaint about a paid trade. ``complainant``: who complains. ``buyer_ref``: the buyer whose deposit stands
    behind it. ``claim``: of a seller, what is still owed, 1 fen at least; left out with ``not_received``: all of the
    payout; left out by the others, who claim nothing."""

    kind: Literal["already_redeemed", "wrong_value", "not_received", "stolen_card"]
    reason: Words
    complainant: Literal["buyer", "issuer", "seller", "platform"] = "buyer"
    buyer_ref: str = Field(default="", max_length=128, pattern=r"^[\x21-\x7e]*$")
    claim: Money | None = None


class ComplaintAnswered(Body):
    """What the party that must answer says. ``attachments_sha256``: of what it shows; kept with it in the evidence."""

    reason: Words
    attachments_sha256: list[Sha256] = Field(default_factory=list, max_length=20)


class Judgement(Body):
    """What a complaint comes to. Above the policy's amount a second person must say the same. ``award``: to a seller
    who complained and is right; what was claimed where it is left out."""

    verdict: Literal["for_trade", "against_trade"]
    reason: Words
    award: Money | None = None


class KnownThing(Body):
    """A leaf of the evidence log: what was written down, by whom, when. ``said`` is null once its time is over."""

    leaf_id: str
    kind: str
    actor: str
    at: datetime
    said: dict[str, Any] | None


class DisputeView(Body):
    """A dispute. Not answered by ``answer_by`` it is decided for who complains, not decided by ``decide_by`` for the
    seller, unless it is large enough for two people. ``rule``: the rule that decided it, empty: people did.
    ``…_stake``: what it holds, or held, of each party's deposit. ``proposed``, ``proposed_by``, ``decided_by`` and
    ``known`` (what was written down when) are for those who decide."""

    submission_id: str
    number: int
    kind: str
    complainant: str
    respondent: str
    opened_at: datetime
    answer_by: datetime
    decide_by: datetime
    answered_at: datetime | None
    decided_at: datetime | None
    claim: Money
    award: Money
    seller_stake: Money
    buyer_stake: Money
    proposed: str
    proposed_by: str
    verdict: str
    decided_by: str
    rule: str
    known: list[KnownThing]


class DisputeList(Body):
    """Disputes that are not decided, the most pressing first."""

    disputes: list[DisputeView]
