"""What a platform decides for itself: costs, price policy, decision costs.

Frozen pydantic models, filled from ``huika.toml`` by :mod:`pipelines.settings`. Amounts are in yuan
because people write them; the program turns them into fen once, through the ``*_fen`` properties.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Profile = Literal["small", "medium", "head"]
"""How much a platform automates: nothing, what is small and harmless, everything."""


class Policy(BaseModel):
    """Base of every settings section: frozen, and an unknown key is an error rather than ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Costs(Policy):
    """What one trade costs the platform."""

    handling_cny: float = Field(default=2.0, ge=0, description="work and channel fixed cost per trade")
    capital_rate_daily: float = Field(
        default=0.0003, ge=0, lt=1, description="cost of money per day, of the payout"
    )
    days_to_sell: float = Field(
        default=3.0, ge=0, description="days between paying the seller and being paid, where no sale tells"
    )
    review_cny: float = Field(default=15.0, ge=0, description="one manual review")
    complaint_cny: float = Field(default=250.0, ge=0, description="one complaint by an honest seller")
    complaint_share: float = Field(
        default=0.0, ge=0, le=1, description="share of bought cards whose honest seller complains"
    )
    loss_given_fraud: float = Field(
        default=1.0, ge=0, le=1.5, description="share of the payout lost when fraud is paid"
    )

    @property
    def handling_fen(self) -> int:
        return round(self.handling_cny * 100)

    @property
    def trade_fen(self) -> int:
        """Fixed cost of a bought card: handling, and its share of complaints."""
        return round((self.handling_cny + self.complaint_share * self.complaint_cny) * 100)

    @property
    def capital_share(self) -> float:
        """Cost of the money tied up until resale, as a share of the payout, where no sale tells how long."""
        return self.capital_rate_daily * self.days_to_sell


TAKEN_AT_TRAINING = (
    "fraud_weight",
    "review_capacity_share",
    "reviews_per_day",
    "hold_most_share",
    "refuse_most_share",
    "refuse_honest_most_share",
)
"""Settings of :class:`DecisionCosts` that the thresholds of a fraud model are learned for."""


class DecisionCosts(Policy):
    """What the four ways to pay cost, beside the fraud loss itself. Used by ``models.fraud.decision``."""

    hold_cny: float = Field(default=3.0, ge=0, description="second verification and the seller's wait")
    hold_catches: float = Field(
        default=0.5, ge=0, le=1, description="share of fraud that surfaces during a hold"
    )
    hold_drop_share: float = Field(
        default=0.01, ge=0, le=1, description="share of honest sellers who leave when their payment is held"
    )
    review_catches: float = Field(default=0.9, ge=0, le=1, description="share of fraud an analyst recognises")
    review_wrongly_refuses: float = Field(
        default=0.03, ge=0, le=1, description="share of honest trades lost in review"
    )
    complaint_probability: float = Field(
        default=0.1, ge=0, le=1, description="honest sellers who complain when refused"
    )
    margin_share: float = Field(
        default=0.04, ge=0, le=1, description="margin of an honest trade lost by a refusal"
    )
    fraud_weight: float = Field(
        default=2.0,
        ge=1,
        le=20,
        description="how many times its own loss a paid fraud counts when an action is chosen: whoever got through "
        "comes again; 1: the cheapest action for this trade alone; counts from the next training on",
    )
    review_capacity_share: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="share of trades the analysts can look at; what saves least of the others is decided without "
        "them; counts from the next training on",
    )
    reviews_per_day: int = Field(
        default=0,
        ge=0,
        description="trades the analysts can look at in a day; 0: review_capacity_share counts; from the next "
        "training on",
    )
    hold_most_share: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="most trades whose payment waits for a second verification; counts from the next training on",
    )
    refuse_most_share: float = Field(
        default=0.08,
        ge=0,
        le=1,
        description="most trades the model may refuse by itself; counts from the next training on",
    )
    refuse_honest_most_share: float = Field(
        default=0.01,
        gt=0,
        le=1,
        description="most of the honest trades, as the model expects them, that it may refuse by itself; counts "
        "from the next training on",
    )
    high_stakes_cny: float = Field(
        default=5_000.0,
        ge=0,
        description="from this face value on, and above what a card may legally hold, only a person refuses",
    )
    medium_pay_most_cny: float = Field(
        default=1_000.0, ge=0, description="profile medium: a larger payout always waits for a person"
    )
    medium_pay_most_probability: float = Field(
        default=0.02, ge=0, le=1, description="profile medium: a likelier fraud always waits for a person"
    )
    let_through_share: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        description="share of the trades the model would refuse that are paid at random, so that it learns their "
        "outcome; 0: none",
    )
    let_through_most_cny: float = Field(
        default=500.0, ge=0, description="a larger face value is never let through at random"
    )
    let_through_seed: str = Field(
        default="huika", description="changing it redraws who is let through; keep your own to yourself"
    )

    def taken_at_training(self) -> dict[str, float]:
        """The settings that a model takes up when it is trained, and keeps until the next training."""
        return {name: float(getattr(self, name)) for name in TAKEN_AT_TRAINING}

    @property
    def high_stakes_fen(self) -> int:
        return round(self.high_stakes_cny * 100)

    @property
    def medium_pay_most_fen(self) -> int:
        return round(self.medium_pay_most_cny * 100)

    @property
    def let_through_most_fen(self) -> int:
        return round(self.let_through_most_cny * 100)


class Band(Policy):
    """Overrides of the catalogue's price band for one category or card type; rates of face value."""

    min_rate: float | None = Field(default=None, ge=0, le=1)
    max_rate: float | None = Field(default=None, ge=0, le=1)


class PricePolicy(Policy):
    """Guard rails of every offer."""

    margin_floor: float = Field(default=0.005, ge=0, lt=1, description="least expected margin, of face value")
    range_margin: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="share of the distance from expected resale to its p10 that is kept as a reserve",
    )
    exploration_half_width: float = Field(
        default=0.02,
        ge=0,
        le=0.05,
        description="offers move by at most ± this much of face value, so that acceptance stays learnable",
    )
    exploration_cost_share: float = Field(
        default=0.003,
        ge=0,
        le=0.1,
        description="share of the expected profit that these moves may cost at most; a log that has measured sellers' "
        "reaction well spends as little as a quarter of it",
    )
    exploration_seed: str = Field(default="huika", description="changing it redraws every exploration offset")
    move_cap: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="prices of a card type, before exploration, rise by at most this much of face value from one day "
        "to the next; low values leave cards without an offer when a market rises faster; 0: no cap",
    )
    move_cap_down: float = Field(
        default=0.05, ge=0, le=1, description="… and fall by at most this much; 0: no cap"
    )
    loyalty_bonus: float = Field(
        default=0.0, ge=0, le=0.02, description="added to the rate of a regular seller, of face value"
    )
    loyalty_after: int = Field(default=10, ge=1, description="accepted offers that make a regular seller")
    expired_min_rate: float = Field(default=0.01, ge=0, le=1)
    expired_max_rate: float = Field(default=0.05, ge=0, le=1)
    expired_handling_cny: float = Field(
        default=0.0, ge=0, description="asking the issuer to re-activate one expired card"
    )
    physical_logistics_share: float = Field(
        default=0.06, ge=0, le=0.5, description="shipping and filmed unpacking, of face value"
    )
    partial_balance_share: float = Field(
        default=0.02,
        ge=0,
        le=0.5,
        description="taken off what a partly used card resells at: it is harder to resell and must be verified",
    )
    swap_fee_share: float = Field(
        default=0.10,
        ge=0,
        le=0.5,
        description="kept of the balance when expired cards are swapped into a new card for their seller",
    )
    quote_valid_minutes: int = Field(
        default=30, ge=1, description="how long a quote binds in a market of usual volatility or less"
    )
    quote_valid_least_minutes: int = Field(default=5, ge=1, description="… and in the wildest one")
    categories: dict[str, Band] = Field(default_factory=dict)
    card_types: dict[str, Band] = Field(default_factory=dict)

    @property
    def caps_moves(self) -> bool:
        return self.move_cap > 0 or self.move_cap_down > 0

    @property
    def reactivation_fen(self) -> int:
        """Cost of asking the issuer to re-activate one expired card."""
        return round(self.expired_handling_cny * 100)
