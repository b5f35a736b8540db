"""The discount model: what a card is worth and what to offer for it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.discount.acceptance import AcceptanceCurve, AcceptanceModel
from models.discount.context import CardContext, card_context
from models.discount.exploration import offsets, place
from models.discount.guard_rails import GuardRails, guard_rails
from models.discount.kind_risk import KindRisk
from models.discount.offers import Offers
from models.discount.optimiser import Economics, best_rates
from models.discount.rate_table import LOGGED_SOURCES, RateTable
from models.discount.resale import ResaleEstimate, ResaleModel
from models.matrix import Columns
from models.money import payout_fen, round_rate
from models.policy import Costs, PricePolicy

FILE_NAME = "model.json"
UNMEASURED_TRUST = 0.5
FULL_TRUST_SPREAD = 0.01
"""Spread of like offers that identifies the reaction to price: a uniform move of ±2 points has 0.0115."""


@dataclass(frozen=True)
class Training:
    """What a model was fitted on. fallbacks: parts that stand on a documented default for want of data."""

    names: tuple[str, ...]
    resale_rows: int
    offer_rows: int
    from_ms: int
    until_ms: int
    fallbacks: tuple[str, ...]


@dataclass(frozen=True)
class DiscountModel:
    """Resale value, acceptance, risk of the card kind and rate table of one training run.

    support_half_width: how far an offer may lie from the rate table, in rate.
    """

    resale: ResaleModel
    acceptance: AcceptanceModel
    kind_risk: KindRisk
    table: RateTable
    support_half_width: float
    training: Training

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
        face = np.asarray(face_value_fen, dtype=np.int64)
        context = card_context(columns, len(face))
        resale = self.resale.estimate(columns=columns, context=context)
        curve = self.acceptance.curve(columns=columns, context=context, resale_mean=resale.mean)
        table_rate, table_source = self.table.rate(context)
        logged = np.isin(table_source.astype(str), LOGGED_SOURCES)
        fraud_rate = self.kind_risk.share(columns=columns, context=context, resale_mean=resale.mean)
        economics = Economics(
            face_value_fen=face,
            resale_mean=resale.mean,
            logistics_share=policy.physical_logistics_share * context.physical,
            fraud_probability=fraud_rate * curve.probability(table_rate),
            handling_fen=costs.handling_fen,
            capital_share=costs.capital_share,
            fraud_loss=costs.loss_given_fraud,
        )
        rails = guard_rails(
            context=context,
            face_value_fen=face,
            resale_mean=resale.mean,
            table_rate=table_rate,
            support_half_width=np.where(logged, self.support_half_width, np.inf),
            costs=costs,
            policy=policy,
        )
        best = best_rates(economics=economics, curve=curve, low=rails.low, high=rails.high)
        start = np.clip(table_rate, rails.low, rails.high)
        centre = np.where(logged, start + self.trust * (best - start), best)
        free = best_rates(economics=economics, curve=curve, low=rails.band_low, high=rails.band_high)
        rate, density = _explore(
            centre=centre, rails=rails, context=context, face=face, submitted_at=submitted_at, policy=policy
        )
        return _offers(
            rate=rate,
            density=density,
            centre=centre,
            free=free,
            table=(table_rate, table_source),
            fraud_rate=fraud_rate,
            resale=resale,
            curve=curve,
            economics=economics,
            rails=rails,
        )

    def resale_estimate(self, *, columns: Columns, rows: int) -> ResaleEstimate:
        """Resale rate and range alone, without an offer."""
        return self.resale.estimate(columns=columns, context=card_context(columns, rows))

    def acceptance_curve(self, *, columns: Columns, rows: int) -> AcceptanceCurve:
        """The curve P(accept | rate) of each row."""
        context = card_context(columns, rows)
        mean = self.resale.estimate(columns=columns, context=context).mean
        return self.acceptance.curve(columns=columns, context=context, resale_mean=mean)

    def save(self, folder: Path) -> None:
        """``model.json`` and LightGBM text files; nothing in it is executable."""
        folder.mkdir(parents=True, exist_ok=True)
        self.resale.save(folder)
        self.acceptance.save(folder)
        self.kind_risk.save(folder)
        data = {
            "table": self.table.to_dict(),
            "support_half_width": self.support_half_width,
            "training": asdict(self.training),
        }
        (folder / FILE_NAME).write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")

    @property
    def trust(self) -> float:
        """Share of the way from the rate table to the model's optimum that an offer goes.

        Profit is about quadratic near its top, so half a step gains if the true optimum lies at least a
        quarter of the way; a whole step needs a log whose prices moved enough to have measured the way.
        """
        measured = min(self.table.spread / FULL_TRUST_SPREAD, 1.0)
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
            kind_risk=KindRisk.load(folder),
            table=RateTable.from_dict(data["table"]),
            support_half_width=data["support_half_width"],
            training=Training(**training),
        )


def _explore(
    *,
    centre: np.ndarray,
    rails: GuardRails,
    context: CardContext,
    face: np.ndarray,
    submitted_at: np.ndarray,
    policy: PricePolicy,
) -> tuple[np.ndarray, np.ndarray]:
    """Shown rates (n,) after exploration, and the density of each draw."""
    half_width = policy.exploration_half_width
    offset = offsets(
        seed=policy.exploration_seed,
        card_type=context.card_type,
        card_form=context.form,
        face_value_fen=face,
        submitted_at=submitted_at,
        half_width=half_width,
    )
    rate, density = place(centre=centre, offset=offset, low=rails.low, high=rails.high, half_width=half_width)
    return np.clip(round_rate(rate), rails.low, rails.high), density


def _offers(
    *,
    rate: np.ndarray,
    density: np.ndarray,
    centre: np.ndarray,
    free: np.ndarray,
    table: tuple[np.ndarray, np.ndarray],
    fraud_rate: np.ndarray,
    resale: ResaleEstimate,
    curve: AcceptanceCurve,
    economics: Economics,
    rails: GuardRails,
) -> Offers:
    """Put the parts of the answer together, amounts in whole fen."""
    acceptance = curve.probability(rate)
    payout = payout_fen(economics.face_value_fen, rate)
    best_profit = economics.expected_profit_fen(centre, curve.probability(centre))
    honest = np.maximum(acceptance - economics.fraud_probability, 1e-9)
    risk = np.minimum(economics.fraud_probability / honest, 1.0) * economics.fraud_loss_fen(rate)
    return Offers(
        face_value_fen=economics.face_value_fen,
        rate=rate,
        payout_fen=payout,
        centre_rate=centre,
        free_rate=free,
        table_rate=table[0],
        table_source=table[1],
        offer_density=density,
        acceptance_probability=acceptance,
        resale_mean=resale.mean,
        resale_p10=resale.p10,
        resale_p50=resale.p50,
        resale_p90=resale.p90,
        anchor=resale.anchor,
        low=rails.low,
        high=rails.high,
        band_low=rails.band_low,
        band_high=rails.band_high,
        kind_fraud_rate=fraud_rate,
        kind_risk=economics.fraud_probability,
        expected_profit_fen=_whole(economics.expected_profit_fen(rate, acceptance)),
        no_offer=(best_profit <= 0) | ~rails.reachable,
        handling_fen=np.full(len(rate), economics.handling_fen, dtype=np.int64),
        capital_fen=_whole(payout * economics.capital_share),
        logistics_fen=_whole(economics.face_value_fen * economics.logistics_share),
        risk_fen=_whole(risk),
    )


def _whole(amount: np.ndarray) -> np.ndarray:
    return np.rint(amount).astype(np.int64)
