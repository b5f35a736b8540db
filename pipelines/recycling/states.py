"""The life of a trade as data: its states, which may follow which, and who may bring that about.

The diagram in ``docs/recycling.md`` is drawn from these tables (:func:`diagram`), and nothing moves a trade but along
them (:mod:`pipelines.recycling.trades`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Actor = Literal["seller", "machine", "person", "timer", "provider"]

ACTORS: dict[Actor, tuple[str, str]] = {
    "seller": ("卖家", "the seller"),
    "machine": ("系统", "the machine"),
    "person": ("人工", "a person"),
    "timer": ("定时", "a timer"),
    "provider": ("支付渠道", "the payment provider"),
}


@dataclass(frozen=True)
class State:
    """A state of a trade. phase: the work that the machine owes it, empty where it waits for somebody; is_end: nothing
    follows by itself. sends_back_after: after how many days a physical card that is here goes back; None: it stays."""

    code: str
    zh: str
    en: str
    phase: str = ""
    is_end: bool = False
    sends_back_after: int | None = None


@dataclass(frozen=True)
class Move:
    """A step from one state to another."""

    source: str
    target: str
    actor: Actor
    why: str


_STATES = (
    State("submitted", "已提交", "submitted", phase="review"),
    State("person_needed", "待人工复核", "waiting for a person"),
    State("quoted", "已报价", "quoted"),
    State("accepted", "已接受报价", "accepted", phase="freeze"),
    State("shipping", "寄送中", "on its way"),
    State("received", "已收货", "received", phase="verify"),
    State("frozen", "款项已冻结", "money frozen", phase="verify"),
    State("verified", "已验卡", "card verified", phase="pay"),
    State("paying", "打款中", "payout under way", phase="resolve"),
    State("payout_failed", "打款失败", "payout failed"),
    State("paid", "已打款", "paid"),
    State("disputed", "争议中", "in dispute", phase="rule"),
    State("closed", "已完成", "closed", is_end=True),
    State("rejected", "未收", "not taken", is_end=True, sends_back_after=3),
    State("declined", "卖家未接受", "declined by the seller", is_end=True, sends_back_after=0),
    State("lapsed", "报价过期", "quote lapsed", is_end=True, sends_back_after=3),
    State("cancelled", "已取消", "cancelled", is_end=True, sends_back_after=0),
    State("returned", "已退回", "returned", is_end=True, sends_back_after=0),
    State("reversed", "争议退款", "reversed after a dispute", is_end=True),
)
STATES: dict[str, State] = {state.code: state for state in _STATES}

MOVES = (
    Move("submitted", "quoted", "machine", "the card can be bought"),
    Move("submitted", "person_needed", "machine", "policy, law or risk asks for a person"),
    Move("submitted", "rejected", "machine", "wrong format, known card, dead card, or refused"),
    Move("submitted", "cancelled", "seller", "taken back"),
    Move("person_needed", "quoted", "person", "approved"),
    Move("person_needed", "submitted", "person", "approved; the quote is too old: made anew"),
    Move("person_needed", "rejected", "person", "not approved"),
    Move("person_needed", "cancelled", "seller", "taken back"),
    Move("rejected", "person_needed", "seller", "asks for a person's review"),
    Move("quoted", "accepted", "seller", "accepts the quote"),
    Move("quoted", "declined", "seller", "does not accept"),
    Move("quoted", "lapsed", "timer", "the quote is no longer valid"),
    Move("quoted", "cancelled", "seller", "taken back"),
    Move("lapsed", "submitted", "seller", "asks again"),
    Move("accepted", "frozen", "machine", "the payout is reserved"),
    Move("accepted", "shipping", "machine", "the payout is reserved; a physical card is sent in"),
    Move("shipping", "received", "person", "unpacked on film"),
    Move("shipping", "returned", "timer", "never arrived, lost, or came back"),
    Move("received", "verified", "machine", "the card is what was said"),
    Move("received", "verified", "person", "looked at by hand"),
    Move("received", "returned", "person", "looked at by hand: not what was said"),
    Move("received", "quoted", "machine", "the card holds another value: quoted again"),
    Move("received", "returned", "machine", "the card is dead"),
    Move("frozen", "verified", "machine", "the card is what was said"),
    Move("frozen", "verified", "person", "looked at by hand"),
    Move("frozen", "returned", "person", "looked at by hand: not what was said"),
    Move("frozen", "quoted", "machine", "the card holds another value: quoted again"),
    Move("frozen", "returned", "machine", "the card is dead"),
    Move("verified", "paying", "machine", "settled; the payout is sent"),
    Move("verified", "returned", "person", "found wrong while the payout was held"),
    Move("returned", "verified", "person", "its card was taken over after all: the seller is paid"),
    Move("paying", "paid", "provider", "the seller has the money"),
    Move("paying", "payout_failed", "provider", "the provider did not pay"),
    Move("payout_failed", "paying", "person", "sent again"),
    Move("paid", "closed", "timer", "the dispute window has ended"),
    Move("paid", "disputed", "person", "a complaint came in"),
    Move("paid", "disputed", "seller", "a complaint came in"),
    Move("disputed", "closed", "person", "decided for the trade"),
    Move("disputed", "closed", "timer", "not decided in time: for the seller"),
    Move("disputed", "reversed", "person", "decided against the trade"),
    Move("disputed", "reversed", "timer", "not answered in time: for who complains"),
    Move("disputed", "paying", "person", "the seller is right: what is owed is paid"),
    Move("disputed", "paying", "timer", "not answered or decided in time: what the seller claims is paid"),
)


class ForbiddenMove(ValueError):
    """A trade cannot go from its state to that one, or not by this actor."""


def check_move(source: str, target: str, actor: Actor) -> Move:
    """The move. Raises ForbiddenMove."""
    for move in MOVES:
        if (move.source, move.target, move.actor) == (source, target, actor):
            return move
    raise ForbiddenMove(f"a trade that is {source} cannot become {target} by {actor}")


def diagram() -> str:
    """The life of a trade as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> submitted"]
    lines += [f'    state "{state.zh} {state.en}" as {state.code}' for state in _STATES]
    lines += [f"    {move.source} --> {move.target}: {ACTORS[move.actor][0]} {move.why}" for move in MOVES]
    lines += [f"    {state.code} --> [*]" for state in _STATES if state.is_end]
    return "\n".join(lines)
