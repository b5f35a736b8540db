"""Types of fields that several bodies have."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A JSON number: no boolean, no text, and neither infinite nor none."""
Rate = Annotated[Number, Field(ge=0, le=1.5)]
Fen = Annotated[int, Field(strict=True)]
"""A JSON number without a fraction, also not ``.0``."""
NO_NUL = r"^[^\x00]*$"
"""Texts that PostgreSQL takes."""
Words = Annotated[str, Field(min_length=1, max_length=500, pattern=NO_NUL)]
"""What a person writes."""
Text = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f]+$")]


def _text_only(value: Any) -> Any:
    """A time is written as text: a bare number could be seconds, milliseconds or days."""
    if isinstance(value, int | float):
        raise ValueError("must be written as text, as in ISO 8601")
    return value


Day = Annotated[date, BeforeValidator(_text_only)]
Moment = Annotated[AwareDatetime, BeforeValidator(_text_only)]
"""A time with its zone."""
