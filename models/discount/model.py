"""The discount model: what a card is worth and what to offer for it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from models.discount.acceptance import AcceptanceCurve, AcceptanceModel
from models.discount.context import CardContext, card_context
from models.discount.exploration import Curvatures, draws, place
from models.discount.fraud_share import FraudShare
from models.discount.guard_rails import GuardRails, fixed_fen, guard_rails
from models.discount.offers import Offers
from models.discount.optimiser import Economics, best_rates
from models.discount.rate_table import LOGGED_SOURCES, RateTable
from models.discount.resale import ResaleEstimate, ResaleModel
from models.discount.sale_time import SaleTime
from models.matrix import Columns
from models.money import payout_fen, round_rate
from models.policy import Costs, PricePolicy

FILE_NAME = "model.json"
LOYALTY = "seller_accepted_all"
"""The one fact about a person that a price may know: how many offers the seller took before. It only adds."""
UNMEASURED_TRUST = 0.7
FULL_TRUST_ERROR = 0.25
"""Standard error of the slope, per RATE_UNIT, that identifies the reaction to price: a tenth of a usual slope."""


@dataclass(frozen=True)
class Training:
    """What a model was fitted on.

    hidden_share: of the offers' movement, what neither the market nor a logged random draw explains; slope_error:
    how well the random movement measured sellers' reaction, see :mod:`models.discount.offer_movement`.
    fallbacks: parts that stand on a documented default for want of data.
    """

    names: tuple[str, ...]
    resale_rows: int
    offer_rows: int
    from_ms: int
    until_ms: int
    hidden_share: float
    slope_error: float
    fallbacks: tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """What the model's parts say about n cards, before any price."""

    context: CardContext
    resale: ResaleEstimate
    curve: AcceptanceCurve
    economics: Economics
    days_to_sell: np.ndarray


@dataclass(frozen=True)
class DiscountModel:
    """Resale value, acceptance, fraud share of the card kind, time to sell and rate table of one training run.

    support_half_width: how far an offer may lie from the rate table, in rate.
    """

    resale: ResaleModel
    acceptance: AcceptanceModel
    fraud_share: FraudShare
    sale_time: SaleTime
    table: RateTable
    curvatures: Curvatures
    support_half_width: float
    training: Training

    def know(
        self, *, columns: Columns, face_value_fen: np.ndarray, costs: Costs, policy: PricePolicy
    ) -> Known:
        """Resale, acceptance curve and economics of n cards. face_value_fen: int64 (n,), > 0."""
        face = np.asarray(face_value_fen, dtype=np.int64)
        context = card_context(columns, len(face))
        resale = self.resale.estimate(columns=columns, context=context)
        floor = self.fraud_share.share(context)
        days = self.sale_time.expected(context, usual=costs.days_to_sell)
        economics = Economics(
            face_value_fen=face,
            resale_mean=resale.mean,
            value=resale.mean - policy.range_margin * resale.usual_width,
            logistics_share=policy.physical_logistics_share * context.physical,
            capital_share=costs.capital_rate_daily * days,
            fraud_share=floor,
            fraud_of_type=self.fraud_share.share_of_type(context),
            fixed_fen=fixed_fen(context=context, costs=costs, policy=policy),
            fraud_loss=costs.loss_given_fraud,
        )
        curve = self.acceptance.curve(columns=columns, context=context, resale=resale, floor=floor)
        return Known(context=context, resale=resale, curve=curve, economics=economics, days_to_sell=days)

    def price(
        self,
        *,
        columns: Columns,
        face_value_fen: np.ndarray,
        submitted_at: np.ndarray,
        costs: Costs,
        policy: PricePolicy,
    ) -> Offers:
        """The offer for each of n cards. face_value_fen: int64 (n,), > 0; submitted_at: int64 ms (n,)."""
        known = self.know(columns=columns, face_value_fen=face_value_fen, costs=costs, policy=policy)
        context, economics = known.context, known.economics
        table_rate, table_source = self.table.rate(context)
        logged = np.isin(table_source.astype(str), LOGGED_SOURCES)
        rails = guard_rails(
            context=context,
            face_value_fen=economics.face_value_fen,
            value=economics.value,
            capital_share=economics.capital_share,
            table_rate=table_rate,
            support_half_width=np.where(logged, self.support_half_width, np.inf),
            costs=costs,
            policy=policy,
        )
        best = best_rates(economics=economics, curve=known.curve, low=rails.low, high=rails.high)
        start = np.clip(table_rate, rails.low, rails.high)
        centre = np.where(logged, start + self.trust * (best - start), best)
        rate, density = self._explore(centre, rails, known, submitted_at, policy)
        bonus = _loyalty(columns, rate, rails, policy)
        return _offers(
            rate=rate + bonus,
            bonus=bonus,
            density=density,
            centre=centre,
            free=self._free_rates(known, rails),
            table=(table_rate, table_source),
            known=known,
            never_seen=self.resale.never_seen(context),
            rails=rails,
        )

    def _explore(
        self,
        centre: np.ndarray,
        rails: GuardRails,
        known: Known,
        submitted_at: np.ndarray,
        policy: PricePolicy,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Shown rates (n,) after exploration, and the density of each draw."""
        context = known.context
        draw = draws(
            seed=policy.exploration_seed,
            card_type=context.card_type,
            card_form=context.form,
            submitted_at=submitted_at,
        )
        half_width = self.curvatures.half_width(
            context, most=policy.exploration_half_width, cost_share=policy.exploration_cost_share
        )
        rate, density = place(centre=centre, draw=draw, low=rails.low, high=rails.high, half_width=half_width)
        return np.clip(round_rate(rate), rails.low, rails.high), density

    def _free_rates(self, known: Known, rails: GuardRails) -> tuple[np.ndarray, np.ndarray]:
        """Best rates of the whole band: as things are, and if the best competitor bid what it usually bids."""
        band = {"economics": known.economics, "low": rails.band_low, "high": rails.band_high}
        free = best_rates(curve=known.curve, **band)
        move = self.acceptance.pooled.competitor_part * self.table.competitor_move(known.context)
        if not move.any():
            return free, free
        usual = replace(known.curve, location=known.curve.location - move)
        return free, best_rates(curve=usual, **band)

    def resale_estimate(self, *, columns: Columns, rows: int) -> ResaleEstimate:
        """Resale rate and range alone, without an offer."""
        return self.resale.estimate(columns=columns, context=card_context(columns, rows))

    def acceptance_curve(self, *, columns: Columns, rows: int) -> AcceptanceCurve:
        """The curve P(accept | rate) of each row."""
        context = card_context(columns, rows)
        resale = self.resale.estimate(columns=columns, context=context)
        floor = self.fraud_share.share(context)
        return self.acceptance.curve(columns=columns, context=context, resale=resale, floor=floor)

    def save(self, folder: Path) -> None:
        """``model.json`` and LightGBM text files; nothing in it is executable."""
        folder.mkdir(parents=True, exist_ok=True)
        self.resale.save(folder)
        self.acceptance.save(folder)
        self.fraud_share.save(folder)
        data = {
            "table": self.table.to_dict(),
            "sale_time": self.sale_time.to_dict(),
            "curvatures": self.curvatures.to_dict(),
            "support_half_width": self.support_half_width,
            "training": asdict(self.training),
        }
        (folder / FILE_NAME).write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")

    @property
    def trust(self) -> float:
        """Share of the way from the rate table to the model's optimum that an offer goes.

        Profit is about quadratic near its top, so such a step gains if the true optimum lies at least half as far
        away; a whole step needs a log whose prices moved enough to have measured the way.
        """
        measured = min(FULL_TRUST_ERROR / self.training.slope_error, 1.0)
        return UNMEASURED_TRUST + (1.0 - UNMEASURED_TRUST) * measured

    @classmethod
    def load(cls, folder: Path) -> DiscountModel:
        """The saved model; it answers bit for bit as the one that was saved."""
        data = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        training = data["training"]
        training["names"], training["fallbacks"] = tuple(training["names"]), tuple(training["fallbacks"])
        return cls(
            resale=ResaleModel.load(folder),
            acceptance=AcceptanceModel.load(folder),
            fraud_share=FraudShare.load(folder),
            sale_time=SaleTime.from_dict(data["sale_time"]),
            table=RateTable.from_dict(data["table"]),
            curvatures=Curvatures.from_dict(data["curvatures"]),
            support_half_width=data["support_half_width"],
            training=Training(**training),
        )


def _loyalty(columns: Columns, rate: np.ndarray, rails: GuardRails, policy: PricePolicy) -> np.ndarray:
    """What a regular seller gets on top (n,), never more than the rails leave."""
    if policy.loyalty_bonus == 0.0 or LOYALTY not in columns:
        return np.zeros(len(rate))
    regular = columns[LOYALTY] >= policy.loyalty_after
    room = np.maximum(rails.high - rate, 0.0)
    return round_rate(np.where(regular, np.minimum(policy.loyalty_bonus, room), 0.0))


def _offers(
    *,
    rate: np.ndarray,
    bonus: np.ndarray,
    density: np.ndarray,
    centre: np.ndarray,
    free: tuple[np.ndarray, np.ndarray],
    table: tuple[np.ndarray, np.ndarray],
    known: Known,
    never_seen: np.ndarray,
    rails: GuardRails,
) -> Offers:
    """Put the parts of the answer together, amounts in whole fen."""
    economics, curve, resale = known.economics, known.curve, known.resale
    rate = round_rate(rate)
    honest = curve.honest(rate)
    fraud = economics.fraud_share
    payout = payout_fen(economics.face_value_fen, rate)
    bought = np.maximum((1.0 - fraud) * honest, 1e-9)
    best_profit = economics.expected_profit_fen(centre, curve.honest(centre))
    return Offers(
        face_value_fen=economics.face_value_fen,
        rate=rate,
        loyalty_bonus=bonus,
        payout_fen=payout,
        centre_rate=centre,
        free_rate=free[0],
        usual_rate=free[1],
        table_rate=table[0],
        table_source=table[1],
        offer_density=density,
        acceptance_probability=curve.probability(rate),
        resale_mean=resale.mean,
        resale_p05=resale.p05,
        resale_p10=resale.p10,
        resale_p50=resale.p50,
        resale_p90=resale.p90,
        resale_p95=resale.p95,
        anchor=resale.anchor,
        never_seen=never_seen,
        low=rails.low,
        high=rails.high,
        band_low=rails.band_low,
        band_high=rails.band_high,
        fraud_share=fraud,
        expected_profit_fen=_whole(economics.expected_profit_fen(rate, honest)),
        no_offer=(best_profit <= 0) | ~rails.reachable,
        days_to_sell=known.days_to_sell,
        reserve_fen=_whole(economics.face_value_fen * (economics.resale_mean - economics.value)),
        fixed_fen=_whole(economics.fixed_fen),
        capital_fen=_whole(payout * economics.capital_share),
        logistics_fen=_whole(economics.face_value_fen * economics.logistics_share),
        risk_fen=_whole(np.minimum(fraud / bought, 1.0) * economics.fraud_loss_fen(rate)),
    )


def _whole(amount: np.ndarray) -> np.ndarray:
    return np.rint(amount).astype(np.int64)
