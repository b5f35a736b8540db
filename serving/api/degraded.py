"""What an answer can lack: the codes of ``degraded``, and what each means for whoever reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from models.quoting import NO_DISCOUNT_MODEL, NO_FRAUD_MODEL

NO_FEATURES = "feature_store_unavailable"

DEGRADED = {
    NO_DISCOUNT_MODEL: "no pricing model can be used, and the rate is the fallback's: that of a rate table without a "
    "log, less a haircut",
    NO_FRAUD_MODEL: "no fraud model can be used, and the trade is held or reviewed, never paid at once",
    NO_FEATURES: "what is known of seller, card and market could not be read in time, so that neither model answered: "
    "a price is the fallback's, and the trade is held or reviewed, never paid at once",
}
OF_SCORES = (NO_FRAUD_MODEL, NO_FEATURES)
"""Codes of fraud scores, which have no price."""


def _described(codes: Iterable[str]) -> str:
    return "what the answer does without; empty: nothing. " + "; ".join(
        f"`{code}`: {DEGRADED[code]}" for code in codes
    )


QuoteLacks = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": [*DEGRADED]})]],
    Field(description=_described(DEGRADED)),
]
ScoreLacks = Annotated[
    list[Annotated[str, Field(json_schema_extra={"enum": [*OF_SCORES]})]],
    Field(description=_described(OF_SCORES)),
]
