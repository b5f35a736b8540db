"""What several expired cards of a batch are worth together, as the body of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

from models.discount.swap import INVITATION, ExpiredQuote, SwapCard, SwapProposal, propose_swaps
from serving.api.bodies import money
from serving.api.engine import Engine


def swaps_of(
    submissions: Sequence[Any], results: Sequence[Mapping[str, Any]], *, engine: Engine
) -> list[dict[str, Any]]:
    """Bodies of :class:`serving.api.schemas.Swap` for the submissions of a batch and their results."""
    pairs = zip(submissions, results, strict=True)
    told = {item["quote"]["quote_id"]: item["quote"] for item in results if "quote" in item}
    quotes = [_quote(asked, item["quote"], engine) for asked, item in pairs if _takes_part(item)]
    proposals = propose_swaps(quotes, costs=engine.terms.costs, policy=engine.terms.price)
    return [_body(proposal, told) for proposal in proposals]


def _takes_part(result: Mapping[str, Any]) -> bool:
    """Whether an expired card was priced and not refused; one that is no offer alone may be worth its work together."""
    quote = result.get("quote")
    return (
        quote is not None and quote["reactivation_probability"] is not None and quote["decision"] != "refuse"
    )


def _quote(asked: Mapping[str, Any], quote: Mapping[str, Any], engine: Engine) -> ExpiredQuote:
    card, value = asked["card"], quote["balance"] or quote["face_value"]
    return ExpiredQuote(
        quote_id=quote["quote_id"],
        card_id=card.get("card_fingerprint") or quote["trade_id"],
        seller_id=asked["seller"]["seller_id"],
        card=engine.catalogue.get(quote["card_type"]),
        card_form=card.get("card_form"),
        submitted_at=datetime.fromisoformat(quote["submitted_at"]),
        valid_until=datetime.fromisoformat(quote["valid_until"]),
        value_fen=value["amount_fen"],
        payout_fen=quote["payout"]["amount_fen"],
        decision=quote["decision"],
        no_offer=quote["no_offer"],
        steps={step["code"]: step["amount_fen"] for step in quote["waterfall"]},
    )


def _body(proposal: SwapProposal, told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    quote_ids = [quote.quote_id for quote in proposal.quotes]
    first = proposal.quotes[0]
    return {
        "swap_id": f"w-{blake2b('|'.join(quote_ids).encode(), digest_size=16).hexdigest()}",
        "quote_ids": quote_ids,
        "trade_ids": [told[quote_id]["trade_id"] for quote_id in quote_ids],
        "seller_id": first.seller_id,
        "issuer": first.card.issuer,
        "value": money(proposal.value_fen),
        "new_cards": [money(fen) for fen in proposal.targets_fen],
        "separate_payout": money(proposal.separate_fen),
        "payout": money(proposal.payout_fen),
        "rate": proposal.rate,
        "decision": proposal.decision,
        "notice": INVITATION.to_dict(),
        "valid_until": proposal.valid_until.isoformat(),
        "waterfall": [
            {"code": step.code, "zh": step.zh, "en": step.en, "amount_fen": step.amount_fen}
            for step in proposal.steps
        ],
        "swap_card": None if proposal.card is None else _card(proposal.card),
    }


def _card(card: SwapCard) -> dict[str, Any]:
    return {
        "face_values": [money(fen) for fen in card.faces_fen],
        "fee": money(card.fee_fen),
        "fee_share": card.fee_share,
        "success_probability": card.success_probability,
    }
