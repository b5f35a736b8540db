"""The input tables: columns, units, and what a value must satisfy. The contract with the user's data.

A file's money columns end in ``_cny`` (two decimals); inside the program the same column ends in ``_fen``
and is an integer. Times are UTC with microseconds. Every stored table has every column listed here, null
where the user had none; columns not listed are kept behind them and ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

Kind = Literal["text", "time", "date", "money", "number", "flag", "integer", "object"]

ARROW_TYPES: dict[Kind, pa.DataType] = {
    "text": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "money": pa.int64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "integer": pa.int64(),
    "object": pa.string(),
}

MAX_FACE_CNY = 1_000_000
"""No gift card is worth more; a larger number is a typo or a unit error."""

ISSUED_FACE = "issued_face_fen"
"""Stored column: the issued face value of a partly used card, whose balance is its ``face_value_fen``; null: whole."""

LABEL_SOURCES = ("issuer", "chargeback", "analyst", "seller_dispute", "matured")
"""Who can say whether a trade was fraudulent, the most trusted first. ``matured``: nobody complained in time."""

DECISIONS = ("pay", "hold", "review", "refuse")

LEAST_LET_THROUGH = 1e-6
"""A probability of 0 lets nothing through."""


@dataclass(frozen=True)
class Column:
    """One column of an input table. ``low``/``high`` are inclusive bounds in the file's unit. stored_as: its name
    inside the program where that is another one. known_at: the column with the moment from which it counts as known;
    None: the moment of its row."""

    name: str
    kind: Kind
    meaning: str
    required: bool = False
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] | None = None
    stored_as: str | None = None
    known_at: str | None = None

    @property
    def stored(self) -> str:
        """The column's name inside the program: ``face_value_cny`` is stored as ``face_value_fen``."""
        if self.stored_as is not None:
            return self.stored_as
        return self.name.removesuffix("_cny") + "_fen" if self.kind == "money" else self.name

    @property
    def arrow_type(self) -> pa.DataType:
        return ARROW_TYPES[self.kind]


@dataclass(frozen=True)
class NotBefore:
    """The rule that ``later`` never lies before ``earlier`` where both are known."""

    later: str
    earlier: str


@dataclass(frozen=True)
class Together:
    """The rule that where ``column`` is known, ``needs`` is known too."""

    column: str
    needs: str


@dataclass(frozen=True)
class Belongs:
    """``column`` says something about ``to``: an import that changes one of those and does not give ``column`` leaves
    it unknown, for what was stored was about other values."""

    column: str
    to: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One input table: its columns, its key (no two rows share it) and its rules across columns.

    ``order`` sorts the stored table. ``updates`` are the columns that a later import may fill in or correct
    for a key already there; any other difference under one key is a conflict.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    order: tuple[str, ...]
    updates: tuple[str, ...] = ()
    not_before: tuple[NotBefore, ...] = ()
    together: tuple[Together, ...] = ()
    belongs: tuple[Belongs, ...] = ()

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def outcomes(self) -> dict[str, tuple[str, ...]]:
        """Column with a moment of its own -> the columns that count as known from that moment, itself among them."""
        moments = dict.fromkeys(column.known_at for column in self.columns if column.known_at)
        return {
            moment: tuple(column.name for column in self.columns if column.known_at == moment)
            for moment in moments
        }

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the stored table."""
        return pa.schema([(column.stored, column.arrow_type) for column in self.columns])

    @property
    def as_submitted(self) -> Table:
        """The table without what a later import may fill in, and without the rules about that."""
        columns = tuple(column for column in self.columns if column.name not in self.updates)
        known = {column.name for column in columns}
        return replace(
            self,
            columns=columns,
            updates=(),
            not_before=tuple(pair for pair in self.not_before if {pair.later, pair.earlier} <= known),
            together=tuple(pair for pair in self.together if {pair.column, pair.needs} <= known),
            belongs=tuple(pair for pair in self.belongs if {pair.column, *pair.to} <= known),
        )


TRADES = Table(
    name="trades",
    key=("trade_id",),
    order=("submitted_at", "trade_id"),
    columns=(
        Column("trade_id", "text", "one card offered by one seller", required=True),
        Column("submitted_at", "time", "the moment of the trade", required=True),
        Column("seller_id", "text", "who offers the card", required=True),
        Column("device_id", "text", "device the card was submitted from"),
        Column("ip", "text", "address the card was submitted from"),
        Column("payout_account", "text", "account the money would go to"),
        Column(
            "payee_is_seller",
            "flag",
            "whether that account's holder is the seller, as the payment provider says",
        ),
        Column("region", "text", "seller's province or region"),
        Column("channel", "text", "site, app or partner"),
        Column("card_type", "text", "card type of the catalogue", required=True),
        Column("card_form", "text", "virtual or physical", values=("virtual", "physical")),
        Column("face_value_cny", "money", "face value", required=True, low=0.0, high=MAX_FACE_CNY),
        Column(
            "balance_cny",
            "money",
            "what is left on a partly used card, null: all of it. What is sold is the balance: it is stored as "
            "face_value_fen, and what was issued as issued_face_fen",
            low=0.01,
            high=MAX_FACE_CNY,
            stored_as=ISSUED_FACE,
        ),
        Column("expires_on", "date", "last valid day; null: no expiry"),
        Column("card_prefix", "text", "issuer batch, the first digits of the number"),
        Column("card_fingerprint", "text", "keyed hash of the number, never the number"),
        Column("asked_rate", "number", "rate that the seller asks for", low=0.0, high=1.5),
        Column(
            "extras",
            "object",
            "more that was known at submission: a JSON object of names with a number, a text or null each",
        ),
        Column("offered_rate", "number", "rate offered to the seller", low=0.0, high=1.0),
        Column("offer_density", "number", "density with which the policy drew that rate", low=0.0),
        Column("offer_centre", "number", "rate around which it was drawn", low=0.0, high=1.0),
        Column("decision", "text", "what the platform did: pay, hold, review or refuse", values=DECISIONS),
        Column(
            "let_through",
            "number",
            "probability with which a trade that would have been stopped was let through at random; null: it was not",
            low=LEAST_LET_THROUGH,
            high=1.0,
        ),
        Column("accepted", "flag", "whether the seller accepted", known_at="decided_at"),
        Column("decided_at", "time", "when the seller accepted or declined", known_at="decided_at"),
        Column(
            "resale_rate",
            "number",
            "rate the card was resold at, net of fees",
            low=0.0,
            high=1.5,
            known_at="resold_at",
        ),
        Column("resold_at", "time", "when it was resold", known_at="resold_at"),
        Column("fraud", "flag", "whether the trade turned out fraudulent", known_at="fraud_known_at"),
        Column("fraud_known_at", "time", "when that became known", known_at="fraud_known_at"),
        Column(
            "label_source",
            "text",
            "who said so, the most trusted first",
            values=LABEL_SOURCES,
            known_at="fraud_known_at",
        ),
        Column("lot_id", "text", "cards offered together"),
    ),
    updates=(
        "offered_rate",
        "offer_density",
        "offer_centre",
        "decision",
        "let_through",
        "accepted",
        "decided_at",
        "resale_rate",
        "resold_at",
        "fraud",
        "fraud_known_at",
        "label_source",
    ),
    not_before=(
        NotBefore("decided_at", "submitted_at"),
        NotBefore("resold_at", "submitted_at"),
        NotBefore("fraud_known_at", "submitted_at"),
    ),
    together=(
        Together("accepted", "decided_at"),
        Together("resale_rate", "resold_at"),
        Together("fraud", "fraud_known_at"),
    ),
    belongs=(
        Belongs("offer_density", to=("offered_rate",)),
        Belongs("offer_centre", to=("offered_rate",)),
        Belongs("let_through", to=("decision",)),
        Belongs("label_source", to=("fraud", "fraud_known_at")),
    ),
)

MARKET = Table(
    name="market",
    key=("observed_at", "card_type", "source", "side"),
    order=("observed_at", "card_type", "source", "side"),
    columns=(
        Column("observed_at", "time", "when the rate was seen", required=True),
        Column("card_type", "text", "card type of the catalogue", required=True),
        Column("source", "text", "who quotes it", required=True),
        Column(
            "side",
            "text",
            "competitor_bid: what others pay sellers; buyer_bid: what buyers pay us; ask: what consumers pay",
            required=True,
            values=("competitor_bid", "buyer_bid", "ask"),
        ),
        Column("rate", "number", "rate of face value", required=True, low=0.0, high=1.5),
        Column("volume_cny", "money", "face value on offer at that rate", low=0.0, high=1e12),
    ),
    updates=("rate", "volume_cny"),
)

CARD_TYPES = Table(
    name="card_types",
    key=("card_type",),
    order=("card_type",),
    columns=(
        Column("card_type", "text", "short stable name, lower case", required=True),
        Column("name_zh", "text", "name in Chinese", required=True),
        Column("name_en", "text", "name in English", required=True),
        Column("issuer", "text", "who issues and redeems it", required=True),
        Column("category", "text", "group of card types that trade alike", required=True),
        Column("forms", "text", "virtual, physical or both, joined by |"),
        Column("face_values", "text", "usual face values in yuan, joined by |; empty: any"),
        Column("max_face_cny", "money", "largest face value that can exist", low=0.01, high=MAX_FACE_CNY),
        Column("registered", "flag", "named (registered) card rather than bearer card"),
        Column("validity_months", "integer", "validity from issue; null: none or unknown", low=1, high=1200),
        Column("number_pattern", "text", "regular expression of the card number, where a source exists"),
        Column("secret_pattern", "text", "regular expression of the secret, where a source exists"),
        Column("min_rate", "number", "least sensible rate", required=True, low=0.0, high=1.0),
        Column("max_rate", "number", "highest sensible rate", required=True, low=0.0, high=1.0),
        Column("regions_off", "text", "regions where it is not traded, joined by |"),
    ),
    updates=(
        "name_zh",
        "name_en",
        "issuer",
        "category",
        "forms",
        "face_values",
        "max_face_cny",
        "registered",
        "validity_months",
        "number_pattern",
        "secret_pattern",
        "min_rate",
        "max_rate",
        "regions_off",
    ),
    not_before=(NotBefore("max_rate", "min_rate"),),
)

TABLES: dict[str, Table] = {table.name: table for table in (TRADES, MARKET, CARD_TYPES)}
