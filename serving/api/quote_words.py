"""What the fields of a quote mean, told beside each in the OpenAPI document."""

from __future__ import annotations

from typing import Any

QUOTE = {
    "decision": "what the risk of fraud alone asks for: `pay` at once, `hold` the payout, `review` by a person, or "
    "`refuse`. It is no offer by itself: look at `no_offer` first",
    "no_offer": "true: no rate is worth offering, and nothing is bought whatever `decision` says; an event `accepted` "
    "is refused with 409 `no_offer`",
    "rate": "what is paid for each yuan of what is sold: the `balance` of a partly used card, else the `face_value`. "
    "Where `no_offer`, what could be paid at best, which nobody is offered",
    "payout": "what the seller gets: `rate` times what is sold, as the `waterfall` adds up. Where `no_offer` or where "
    "`decision` is `refuse`, nothing is paid",
    "valid_until": "the quote binds until then; accepted later, it is refused with 409 `quote_expired`",
    "fraud_probability": "probability that this trade is fraudulent; null without a fraud model",
    "acceptance_probability": "probability that the seller accepts at `rate`; null without a pricing model",
    "resale_rate": "what the card is expected to resell at, as rates of face value: the middle, and the bounds of "
    "80 %, each null without a pricing model",
    "offer_density": "density with which `rate` was drawn around `offer_centre`, so that its effect can be learnt; "
    "null where it was not drawn",
    "reference": "the board's price that a comparison may refer to; null where there is none to compare with: for an "
    "expired or partly used card, and one of another form",
}
"""Field of ``Quote`` -> what it means. ``degraded`` has its own words in :mod:`serving.api.degraded`."""


def tell_quotes(schemas: dict[str, Any]) -> None:
    """Write the words into the document's schemas, which are changed."""
    fields = schemas["Quote"]["properties"]
    for name, words in QUOTE.items():
        fields[name]["description"] = words
