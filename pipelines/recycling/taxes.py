"""How much of a trade is set aside for tax: rates as dated configuration, each with its source, all off as shipped."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError

from models.policy import Policy
from pipelines.recycling.accounts import Tax
from pipelines.recycling.bookings import ONE_BPS, split_fen

TAXES_FILE = "taxes.toml"
SHIPPED = Path(__file__).parent / TAXES_FILE


class TaxFileError(ValueError):
    """A file of rates cannot be used; the message names the file and what is wrong."""


class Rate(Policy):
    """One rate. ``starts``, ``until``: days in China, both included. ``of``: what it is a share of and comes out of."""

    name: str = Field(min_length=1)
    mode: Literal["on", "off"]
    kind: Tax
    of: Literal["revenue", "payout"]
    rate_bps: int = Field(ge=0, le=ONE_BPS)
    starts: date = Field(alias="from")
    until: date | None = None
    source_zh: str = Field(min_length=1)
    source_en: str = Field(min_length=1)

    def holds_on(self, day: date) -> bool:
        return self.mode == "on" and self.starts <= day and (self.until is None or day <= self.until)


@dataclass(frozen=True)
class SetAside:
    """An amount to set aside, in fen, and by which rate."""

    rate: str
    kind: Tax
    of: Literal["revenue", "payout"]
    amount_fen: int


@dataclass(frozen=True)
class Rates:
    """All rates. ``version``: a hash of what they say, for the records of a trade."""

    rates: tuple[Rate, ...]
    version: str

    def set_aside(self, *, day: date, revenue_fen: int, payout_fen: int) -> list[SetAside]:
        """What a trade settled on this day in China sets aside; each amount rounded down to the fen."""
        bases = {"revenue": revenue_fen, "payout": payout_fen}
        found = [
            SetAside(
                rate.name, rate.kind, rate.of, split_fen(bases[rate.of], part_bps=rate.rate_bps).part_fen
            )
            for rate in self.rates
            if rate.holds_on(day)
        ]
        return [item for item in found if item.amount_fen]


def load_rates(own: Path | None = None) -> Rates:
    """The shipped rates, replaced and extended by a workspace's own file where there is one. Raises TaxFileError."""
    rates = {rate.name: rate for rate in _read(SHIPPED)}
    if own is not None and own.exists():
        rates |= {rate.name: rate for rate in _read(own)}
    chosen = tuple(rates.values())
    return Rates(chosen, _version(chosen))


def _read(path: Path) -> list[Rate]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(list[Rate]).validate_python(data.get("rate", []))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TaxFileError(f"{path}: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise TaxFileError(f"{path}: {problems}") from error


def _version(rates: Sequence[Rate]) -> str:
    said = "\n".join(rate.model_dump_json() for rate in rates)
    return hashlib.sha256(said.encode()).hexdigest()[:12]
