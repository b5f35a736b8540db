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
from models.discount.known import Known, Placed
from models.discount.move_cap import DayBefore, capped, with_day_before
from models.discount.news import Seen, UsualNews
from models.discount.offers import Offers
from models.discount.optimiser import Band, Economics, WholeBand, best_rates, best_rates_and_band
from models.discount.rate_table import RateTable, is_logged
from models.discount.resale import ResaleEstimate, ResaleModel
from models.discount.sale_time import SaleTime
from models.discount.special import SpecialCards, as_usual, ordinary_cards, resale_if_valid, with_rows
from models.discount.thieves import Thieves
from models.discount.training_facts import Training
from models.matrix import FEW_ROWS, Columns, within
from models.money import payout_fen, round_rate
from models.policy import Costs, PricePolicy

FILE_NAME = "model.json"
LOYALTY = "seller_accepted_all"
"""The one fact about a person that a price may know: how many offers the seller took before. It only adds."""


@dataclass(frozen=True)
class DiscountModel:
    """Resale value, acceptance, fraud share of the card kind, time to sell and rate table of one training run.

    support_half_width: how far an offer may lie from the rate table, in rate. news: what the log nearly always knew.
    """

    resale: ResaleModel
    acceptance: AcceptanceModel
    fraud_share: FraudShare
    sale_time: SaleTime
    table: RateTable
    curvatures: Curvatures
    support_half_width: float
    training: Training
    news: UsualNews
    thieves: Thieves

    def know(
        self,
        *,
        columns: Columns,
        face_value_fen: np.ndarray,
        costs: Costs,
        policy: PricePolicy,
        special: SpecialCards | None = None,
    ) -> Known:
        """Resale, acceptance curve and economics of n cards. face_value_fen: int64 (n,), > 0; special: None: whole
        cards."""
        face = np.asarray(face_value_fen, dtype=np.int64)
        seen = self.news.seen(columns, len(face))
        context = card_context(seen.columns, len(face))
        resale = self._resale_of(seen, context)
        partial = 0.0 if special is None else policy.partial_balance_share * special.partial
        resale_mean = resale.mean * (1.0 - partial)
        floor = self.fraud_share.share(context)
        days = self.sale_time.expected(context, usual=costs.days_to_sell)
        economics = Economics(
            face_value_fen=face,
            resale_mean=resale_mean,
            value=resale_mean - policy.range_margin * resale.usual_width,
            logistics_share=policy.physical_logistics_share * context.physical,
            capital_share=costs.capital_rate_daily * days,
            fraud_share=floor,
            fraud_of_type=self.fraud_share.share_of_type(context),
            taken_usually=self.thieves.taken_usually(context),
            fixed_fen=fixed_fen(context=context, costs=costs, policy=policy),
            fraud_loss=costs.loss_given_fraud,
            like_honest=self.thieves.like_honest,
        )
        curve = self.acceptance.curve(columns=seen.columns, context=context, resale=resale, floor=floor)
        return Known(
            context=context,
            resale=resale,
            curve=curve,
            economics=economics,
            days_to_sell=days,
            outdated=seen.outdated,
        )

    def _resale_of(self, seen: Seen, context: CardContext) -> ResaleEstimate:
        return self.resale.estimate(
            columns=seen.columns, context=context, resales_stopped=seen.resales_stopped
        )

    def price(
        self,
        *,
        columns: Columns,
        face_value_fen: np.ndarray,
        submitted_at: np.ndarray,
        costs: Costs,
        policy: PricePolicy,
        special: SpecialCards | None = None,
        before: DayBefore | None = None,
    ) -> Offers:
        """The offer for each of n cards. face_value_fen: int64 (n,), > 0; submitted_at: int64 ms (n,).

        special: None: whole cards of usual face values. An odd card has the rate of its ``usual_fen``; everything
        else that is said about it is its own. before: what the cap of daily moves measures from; None: no cap.
        """
        cards = special or ordinary_cards(face_value_fen)
        placed = self._place(columns=columns, costs=costs, policy=policy, cards=cards, before=before)
        uncapped, centre, rails = placed.centre[: len(cards)], placed.centre, placed.rails
        if before is not None and len(centre) > len(cards):
            placed = placed.first(len(cards))
            centre, rails = capped(
                centre=centre,
                expired=placed.rated.context.expired,
                before=before,
                rails=placed.rails,
                policy=policy,
            )
        rate, density, middle = self._explore(centre, rails, placed.rated, submitted_at, policy)
        bonus = _loyalty(columns, rate, rails, policy)
        return _offers(
            rate=rate + bonus,
            bonus=bonus,
            density=density,
            offer_centre=middle + bonus,
            centre=centre,
            uncapped=uncapped,
            placed=placed,
            never_seen=self.resale.never_seen(placed.known.context),
            rails=rails,
            cards=cards,
        )

    def _place(
        self,
        *,
        columns: Columns,
        costs: Costs,
        policy: PricePolicy,
        cards: SpecialCards,
        before: DayBefore | None,
    ) -> Placed:
        """The best rates of n cards, or of the (n + 2k,) of :func:`models.discount.move_cap.with_day_before`."""
        asked = len(cards)
        if before is not None and policy.caps_moves and len(before.known):
            columns, cards = with_day_before(columns, cards, before)
        known = self.know(
            columns=columns, face_value_fen=cards.value_fen, costs=costs, policy=policy, special=cards
        )
        rated = self._as_usual(known, columns=columns, costs=costs, policy=policy, special=cards)
        context, economics = rated.context, rated.economics
        table_rate, table_source = self.table.rate(context)
        logged = is_logged(table_source)
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
        best, whole_band = self._best(rated, rails, asked)
        start = within(table_rate, rails.low, rails.high)
        return Placed(
            known=known,
            rated=rated,
            rails=rails,
            table_rate=table_rate,
            table_source=table_source,
            centre=np.where(logged, start + self.training.trust * (best - start), best),
            whole_band=whole_band,
        )

    def _best(self, rated: Known, rails: GuardRails, asked: int) -> tuple[np.ndarray, WholeBand]:
        """The best rates within the rails, and the whole band of the first ``asked`` cards."""
        move = self.acceptance.pooled.competitor_part * self.table.competitor_move(rated.context)
        band = Band(rails.band_low[:asked], rails.band_high[:asked], move[:asked])
        search = {"economics": rated.economics, "curve": rated.curve, "low": rails.low, "high": rails.high}
        few = len(rails.low) <= FEW_ROWS
        best, found = best_rates_and_band(**search, band=band) if few else (best_rates(**search), None)
        shown = rated if asked == len(rails.low) else rated.first(asked)
        return best, WholeBand(economics=shown.economics, curve=shown.curve, band=band, found=found)

    def _as_usual(
        self,
        known: Known,
        *,
        columns: Columns,
        costs: Costs,
        policy: PricePolicy,
        special: SpecialCards,
    ) -> Known:
        """``known`` of n cards, with every odd card as one of its ``usual_fen``, by which its rate is found."""
        odd = np.flatnonzero(special.odd)
        if not len(odd):
            return known
        own = special.rows(odd)
        usual = self.know(
            columns=as_usual({name: column[odd] for name, column in columns.items()}, own),
            face_value_fen=own.usual_fen,
            costs=costs,
            policy=policy,
            special=own,
        )
        return replace(
            known,
            context=with_rows(known.context, odd, usual.context),
            curve=with_rows(known.curve, odd, usual.curve),
            economics=with_rows(known.economics, odd, usual.economics),
        )

    def _explore(
        self,
        centre: np.ndarray,
        rails: GuardRails,
        known: Known,
        submitted_at: np.ndarray,
        policy: PricePolicy,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shown rates (n,) after exploration, the density of each draw, and the middle of what it was drawn from."""
        context = known.context
        draw = draws(
            seed=policy.exploration_seed,
            card_type=context.card_type,
            card_form=context.form,
            submitted_at=submitted_at,
        )
        half_width = self.curvatures.half_width(
            context,
            most=policy.exploration_half_width,
            cost_share=policy.exploration_cost_share * self.training.curiosity,
        )
        rate, density = place(centre=centre, draw=draw, low=rails.low, high=rails.high, half_width=half_width)
        middle = np.where(np.isnan(density), rate, rate - 0.5 * draw / density)
        return within(round_rate(rate), rails.low, rails.high), density, middle

    def resale_estimate(self, *, columns: Columns, rows: int) -> ResaleEstimate:
        """Resale rate and range alone, without an offer."""
        seen = self.news.seen(columns, rows)
        return self._resale_of(seen, card_context(seen.columns, rows))

    def acceptance_curve(self, *, columns: Columns, rows: int) -> AcceptanceCurve:
        """The curve P(accept | rate) of each row."""
        seen = self.news.seen(columns, rows)
        context = card_context(seen.columns, rows)
        resale, floor = self._resale_of(seen, context), self.fraud_share.share(context)
        return self.acceptance.curve(columns=seen.columns, context=context, resale=resale, floor=floor)

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
            "news": self.news.to_dict(),
            "thieves": asdict(self.thieves),
        }
        (folder / FILE_NAME).write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")

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
            news=UsualNews.from_dict(data["news"]),
            thieves=Thieves(**data["thieves"]),
        )


def _loyalty(columns: Columns, rate: np.ndarray, rails: GuardRails, policy: PricePolicy) -> np.ndarray:
    """What a regular seller gets on top (n,), never more than the rails leave."""
    if policy.loyalty_bonus == 0.0 or LOYALTY not in columns:
        return np.zeros(len(rate))
    regular = columns[LOYALTY] >= policy.loyalty_after
    room = np.maximum(rails.high - rate, 0.0)
    return round_rate(np.where(regular, np.minimum(policy.loyalty_bonus, room), 0.0))


def _risk_fen(economics: Economics, honest: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """The loss by fraud (n,) that a bought card carries on average."""
    bought = np.maximum((1.0 - economics.fraud_share) * honest, 1e-9)
    taken = economics.taken_by_fraud(rate, honest)
    return np.minimum(taken / bought, 1.0) * economics.fraud_loss_fen(rate)


def _expected(
    known: Known, rate: np.ndarray, centre: np.ndarray, uncapped: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How likely an honest seller takes ``rate`` (n,), and the expected profit (3, n) of all three rates."""
    rates = np.stack([rate, centre, uncapped], axis=1)
    honest = known.curve.honest(rates)
    return honest[:, 0], known.economics.expected_profit_fen(rates, honest).T


def _offers(
    *,
    rate: np.ndarray,
    bonus: np.ndarray,
    density: np.ndarray,
    offer_centre: np.ndarray,
    centre: np.ndarray,
    uncapped: np.ndarray,
    placed: Placed,
    never_seen: np.ndarray,
    rails: GuardRails,
    cards: SpecialCards,
) -> Offers:
    """Put the parts of the answer together, amounts in whole fen."""
    known = placed.known
    economics, resale = known.economics, known.resale
    face, rate = economics.face_value_fen, round_rate(rate)
    honest, (profit, best_profit, free_profit) = _expected(known, rate, centre, uncapped)
    no_offer = (best_profit <= 0) | ~rails.reachable
    payout = payout_fen(face, rate)
    return Offers(
        face_value_fen=face,
        rate=rate,
        loyalty_bonus=bonus,
        payout_fen=payout,
        centre_rate=centre,
        uncapped_rate=uncapped,
        table_rate=placed.table_rate,
        table_source=placed.table_source,
        offer_density=density,
        offer_centre=offer_centre,
        acceptance_probability=economics.accepted(rate, honest),
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
        fraud_share=economics.fraud_share,
        no_offer=no_offer,
        waits=no_offer & rails.reachable & (free_profit > 0),
        spent_fen=cards.spent_fen,
        resale_if_valid=resale_if_valid(known.context, resale.mean),
        days_to_sell=known.days_to_sell,
        outdated=known.outdated,
        whole_band=placed.whole_band,
        **_amounts(known, rate=rate, payout=payout, honest=honest, profit=profit),
    )


def _amounts(
    known: Known, *, rate: np.ndarray, payout: np.ndarray, honest: np.ndarray, profit: np.ndarray
) -> dict[str, np.ndarray]:
    """The amounts of an answer by name, each in whole fen, int64 (n,)."""
    economics, face = known.economics, known.economics.face_value_fen
    amounts = {
        "partial_fen": face * (known.resale.mean - economics.resale_mean),
        "reserve_fen": face * (economics.resale_mean - economics.value),
        "fixed_fen": economics.fixed_fen,
        "capital_fen": payout * economics.capital_share,
        "logistics_fen": face * economics.logistics_share,
        "risk_fen": _risk_fen(economics, honest, rate),
        "expected_profit_fen": profit,
    }
    whole = np.rint(np.array(list(amounts.values()))).astype(np.int64)
    return dict(zip(amounts, whole, strict=True))
