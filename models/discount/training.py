"""Fit the discount model on a log of trades."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from features.windows import DAY_MS
from models.discount.acceptance import AcceptanceModel, place_encoding, place_matrix
from models.discount.acceptance_fit import fit_acceptance
from models.discount.boosters import BoosterSettings
from models.discount.directions import DAY_OF_MONTH
from models.discount.exploration import Curvatures, measure_curvatures
from models.discount.fraud_share import FraudShare, fit_fraud_share
from models.discount.guard_rails import price_band
from models.discount.hills import with_best_hills
from models.discount.labelled_offers import told
from models.discount.log import Log
from models.discount.model import DiscountModel
from models.discount.news import UsualNews, usual_news
from models.discount.offer_movement import NOTHING, OfferMovement, offer_movement
from models.discount.optimiser import best_rates
from models.discount.pooled import PooledLogit
from models.discount.rate_table import RateTable, fit_rate_table
from models.discount.recent import Recent
from models.discount.resale import ResaleModel, fit_resale
from models.discount.sale_time import SaleTime, fit_sale_time
from models.discount.thieves import Thieves, fit_thieves
from models.discount.training_facts import Training
from models.matrix import Columns
from models.policy import Costs, PricePolicy

ACCEPTANCE_PRIOR = "acceptance_prior"
RATE_TABLE_UNLOGGED = "rate_table_unlogged"
FRAUD_SHARE_BY_TYPE = "fraud_share_by_type"
NEARLY_ALL_SOLD = 0.99
REPEATED_AFTER_MS = {"time_days_": 540 * DAY_MS, DAY_OF_MONTH: 90 * DAY_MS}
"""How long a log is that holds seasons twice, and days of the month three times, by how the features' names begin."""
NEWEST_ROWS = 20_000
THIEVES_ROWS = 100_000


class DiscountFitError(ValueError):
    """The log cannot carry a discount model. Subclasses: TooFewResales."""


class TooFewResales(DiscountFitError):
    """Without resale rates nobody can say what a card is worth; the message gives the counts."""


@dataclass(frozen=True)
class DiscountFitSettings:
    """How the discount model is fitted.

    calibration_share: the newest share of the rows; it chooses the number of rounds and corrects the range.
    min_resales: below this many resold trades the fit is refused. min_offers, min_decisions_each: with fewer
    decided offers, or fewer acceptances or refusals among them, acceptance stays at the documented prior.
    min_frauds: with fewer known frauds the fraud share of a kind is the smoothed rate of its card type.
    most_rows: of more resales, or more decided offers, :func:`spread` chooses so many; the others would add time and
    memory, and hardly any profit.
    support_half_width: farthest distance of an offer from the rate table, in rate. costs, policy: of the platform, by
    which the hill is chosen that a kind of card is priced on, and the cost of exploring is measured.
    """

    calibration_share: float = 0.2
    min_resales: int = 200
    min_offers: int = 1_000
    min_decisions_each: int = 100
    min_frauds: int = 30
    most_rows: int = 400_000
    support_half_width: float = 0.06
    resale: BoosterSettings = field(default_factory=BoosterSettings)
    acceptance: BoosterSettings = field(default_factory=lambda: BoosterSettings(min_rows_per_leaf=50))
    costs: Costs = field(default_factory=Costs)
    policy: PricePolicy = field(default_factory=PricePolicy)


def fit_discount(
    *,
    columns: Columns,
    names: Sequence[str],
    submitted_at: np.ndarray,
    offered_rate: np.ndarray,
    accepted: np.ndarray,
    resale_rate: np.ndarray,
    resold_at: np.ndarray,
    settings: DiscountFitSettings,
    fraud: np.ndarray | None = None,
    fraud_known_at: np.ndarray | None = None,
    offer_density: np.ndarray | None = None,
    paused: Columns | None = None,
) -> DiscountModel:
    """Fit on n trades, in any order.

    columns: feature columns (n,), of which ``names`` are the inputs: facts of the card, its market and its kind, never
    of a person. submitted_at, resold_at, fraud_known_at: int64 ms (n,), the last None: the log's end. Outcomes are
    float64 (n,), NaN where not (yet) known: offered_rate, accepted (1, 0), resale_rate, fraud (1, 0; None: no labels),
    offer_density (of an offer's random draw). paused: the columns (n,) that resales and labels go into, had these come
    in a few batches; None: what is unknown while they pause is not learned.
    Raises TooFewResales. Parts the log cannot carry are named in ``model.training.fallbacks``.
    """
    log = Log(
        columns=columns,
        submitted_at=submitted_at,
        offered_rate=offered_rate,
        offer_density=_or_unknown(offer_density, len(submitted_at)),
        accepted=accepted,
        resale_rate=resale_rate,
        resold_at=resold_at,
        fraud=_or_unknown(fraud, len(submitted_at)),
        fraud_known_at=_or_end(fraud_known_at, submitted_at),
        paused=paused or {},
    ).in_order()
    chosen = _repeated(tuple(names), log)
    resold, decided = log.resold, log.decided
    _check_resales(len(resold), settings)
    resale = _fit_resale(log.rows(spread(resold, settings.most_rows)), chosen, settings)
    if log.paused:
        rows = log.rows(spread(resold, settings.most_rows // 2)).with_pauses()
        resale = replace(resale, in_pauses=_fit_resale(rows, chosen, settings))
    tells = _told(log, decided)
    fraud_share = _fit_fraud_share(log, decided, tells, settings)
    some = spread(np.arange(len(decided)), settings.most_rows)
    offers = log.rows(decided[some])
    acceptance, movement = _fit_acceptance(offers, chosen, resale, fraud_share, settings)
    table = _fit_table(log)
    thieves = _fit_thieves(offers, tells[some], resale, acceptance, fraud_share, movement)
    model = DiscountModel(
        resale=resale,
        acceptance=acceptance,
        fraud_share=fraud_share,
        sale_time=_fit_sale_time(log, resold),
        table=table,
        curvatures=Curvatures(),
        support_half_width=settings.support_half_width,
        training=_facts(
            log,
            chosen,
            resold=len(resold),
            decided=len(decided),
            movement=movement,
            fallbacks=_fallbacks(acceptance, table, fraud_share),
        ),
        news=_usual_news(log, chosen),
        thieves=thieves,
    )
    newest = log.rows(slice(-NEWEST_ROWS, None))
    model = with_best_hills(model, newest, settings.costs, settings.policy)
    return replace(model, curvatures=_measure_curvatures(model, newest, settings))


def _check_resales(found: int, settings: DiscountFitSettings) -> None:
    if found < settings.min_resales:
        raise TooFewResales(f"{found} trades with a resale rate, at least {settings.min_resales} needed")


def _facts(
    log: Log,
    names: tuple[str, ...],
    *,
    resold: int,
    decided: int,
    movement: OfferMovement,
    fallbacks: tuple[str, ...],
) -> Training:
    """What the log was, as the model keeps it."""
    return Training(
        names=names,
        resale_rows=resold,
        offer_rows=decided,
        from_ms=int(log.submitted_at[0]),
        until_ms=int(log.submitted_at[-1]),
        hidden_share=movement.hidden_share,
        slope_error=movement.slope_error,
        fallbacks=fallbacks,
    )


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most ``most`` of some rows (k,) in time order: the newest half of so many whole, the others evenly out of all
    older ones, so that seasons and rare cards stay."""
    if len(rows) <= most:
        return rows
    older, newest = rows[: -(most // 2)], rows[-(most // 2) :]
    return np.concatenate(
        [older[np.linspace(0, len(older) - 1, most - len(newest)).astype(np.int64)], newest]
    )


def _fallbacks(acceptance: AcceptanceModel, table: RateTable, fraud_share: FraudShare) -> tuple[str, ...]:
    """Names of the parts that stand on a documented default."""
    fallbacks = (
        (ACCEPTANCE_PRIOR, not acceptance.pooled.weights),
        (RATE_TABLE_UNLOGGED, not table.cells),
        (FRAUD_SHARE_BY_TYPE, not fraud_share.weights),
    )
    return tuple(name for name, applies in fallbacks if applies)


def _or_unknown(values: np.ndarray | None, rows: int) -> np.ndarray:
    return np.full(rows, np.nan) if values is None else np.asarray(values, dtype=np.float64)


def _or_end(moments: np.ndarray | None, submitted_at: np.ndarray) -> np.ndarray:
    return np.full(len(submitted_at), submitted_at.max(initial=0)) if moments is None else moments


def _repeated(names: tuple[str, ...], log: Log) -> tuple[str, ...]:
    """The names without the calendar where the log does not hold its seasons twice, nor days of the month three times:
    until then a distance to a festival is only another name of the date, from which trees learn what last month was
    like."""
    length = log.submitted_at[-1] - log.submitted_at[0]
    dates = tuple(start for start, least in REPEATED_AFTER_MS.items() if length < least)
    return tuple(name for name in names if not name.startswith(dates))


def _fit_resale(log: Log, names: tuple[str, ...], settings: DiscountFitSettings) -> ResaleModel:
    return fit_resale(
        columns=log.columns,
        names=names,
        context=log.context,
        resale_rate=log.resale_rate,
        submitted_at=log.submitted_at,
        resold_at=log.resold_at,
        calibration_share=settings.calibration_share,
        settings=settings.resale,
    )


def _usual_news(log: Log, names: tuple[str, ...]) -> UsualNews:
    """Of the newer half: at the beginning of a log nothing is known yet."""
    newer = log.rows(slice(len(log) // 2, None))
    return usual_news(newer.columns, names, len(newer))


def _fit_fraud_share(
    log: Log, decided: np.ndarray, tells: np.ndarray, settings: DiscountFitSettings
) -> FraudShare:
    """The fraud share per kind of card; its type's smoothed rate where labels are too few or one-sided. tells: see
    :func:`_told`."""
    default = _usual_kind_rate(log)
    rows, tells = decided[tells > 0], tells[tells > 0]
    taken = (log.accepted[rows] == 1) & (log.fraud[rows] == 1)
    if not settings.min_frauds <= taken.sum() < len(taken) / 2:
        return FraudShare(default=default)
    return fit_fraud_share(
        context=log.context.rows(rows),
        taken_by_fraud=taken.astype(np.float64),
        told=tells,
        submitted_at=log.submitted_at[rows],
        default=default,
    )


def _told(log: Log, decided: np.ndarray) -> np.ndarray:
    """How much each decided offer (k,) tells of fraud."""
    return told(
        submitted_at=log.submitted_at[decided],
        accepted=log.accepted[decided],
        fraud=log.fraud[decided],
        known_at=log.fraud_known_at[decided],
    )


def _fit_acceptance(
    log: Log,
    names: tuple[str, ...],
    resale: ResaleModel,
    fraud_share: FraudShare,
    settings: DiscountFitSettings,
) -> tuple[AcceptanceModel, OfferMovement]:
    """The acceptance model, or the prior where the log is too small or one-sided; and how its offers moved."""
    each = min(int((log.accepted == 1).sum()), int((log.accepted == 0).sum()))
    if len(log) < settings.min_offers or each < settings.min_decisions_each:
        return AcceptanceModel(pooled=PooledLogit()), OfferMovement(np.zeros(len(log)), 0.0, NOTHING)
    context = log.context
    estimate = resale.estimate(columns=log.columns, context=context)
    encoding = place_encoding(log.columns, names)
    movement = offer_movement(
        inputs=place_matrix(log.columns, encoding, estimate),
        encoding=encoding,
        distance=log.offered_rate - estimate.anchor_rate,
        density=log.offer_density,
        card_type=log.columns["card_type"].astype(str),
        settings=settings.acceptance,
    )
    model = fit_acceptance(
        columns=log.columns,
        names=names,
        context=context,
        resale=estimate,
        floor=fraud_share.share(context),
        offered_rate=log.offered_rate - movement.hidden,
        slope_error=movement.slope_error,
        accepted=log.accepted,
        submitted_at=log.submitted_at,
        calibration_share=settings.calibration_share,
        settings=settings.acceptance,
    )
    return model, movement


def _fit_thieves(
    log: Log,
    tells: np.ndarray,
    resale: ResaleModel,
    acceptance: AcceptanceModel,
    fraud_share: FraudShare,
    movement: OfferMovement,
) -> Thieves:
    """How fraudsters react to the rate, from all bought and known cards and some of the declined offers; they take any
    rate where too few frauds are known to say how many there are."""
    if not fraud_share.weights:
        return Thieves()
    known = (log.accepted == 1) & (tells > 0) & np.isfinite(log.fraud)
    frauds = known & (log.fraud == 1)
    some = np.concatenate([np.flatnonzero(frauds), spread(np.flatnonzero(~frauds), THIEVES_ROWS)])
    some.sort()
    log, known, hidden = log.rows(some), known[some], movement.hidden[some]
    # The correction is of the newest decisions; frauds are of all times.
    acceptance = replace(acceptance, recent=Recent())
    context = log.context
    estimate = resale.estimate(columns=log.columns, context=context)
    share = fraud_share.share(context)
    curve = acceptance.curve(columns=log.columns, context=context, resale=estimate, floor=share)
    usual = acceptance.usual_offer(log.columns, estimate) if movement.slope_error < NOTHING else None
    return fit_thieves(
        context=context,
        offered=curve.honest(log.offered_rate - hidden),
        usual=None if usual is None else curve.honest(usual),
        fraud=log.fraud,
        share=share,
        tells=known,
    )


def _fit_sale_time(log: Log, resold: np.ndarray) -> SaleTime:
    """From cards bought so long ago that nearly all of their like are sold: the newest sales are the quick ones."""
    resold_at = log.resold_at[resold]
    waited = resold_at - log.submitted_at[resold]
    old = log.submitted_at[resold] <= resold_at.max() - np.quantile(waited, NEARLY_ALL_SOLD)
    return fit_sale_time(context=log.context.rows(resold[old]), days=waited[old] / DAY_MS)


def _usual_kind_rate(log: Log) -> float:
    """Mean known fraud rate of the card types in the log; 0 where none is known."""
    rate = log.context.kind_fraud_rate
    return float(np.nanmean(rate)) if np.isfinite(rate).any() else 0.0


def _fit_table(log: Log) -> RateTable:
    offered = np.flatnonzero(np.isfinite(log.offered_rate))
    if len(offered) == 0:
        return RateTable()
    return fit_rate_table(
        context=log.context.rows(offered),
        offered_rate=log.offered_rate[offered],
        submitted_at=log.submitted_at[offered],
    )


def _measure_curvatures(model: DiscountModel, log: Log, settings: DiscountFitSettings) -> Curvatures:
    """How much a move from the best rate costs, on the cards of ``log``."""
    costs, policy = settings.costs, settings.policy
    known = model.know(
        columns=log.columns,
        face_value_fen=log.face_value_fen,
        costs=costs,
        policy=policy,
    )
    low, high = price_band(context=known.context, policy=policy)
    best = best_rates(economics=known.economics, curve=known.curve, low=low, high=high)
    return measure_curvatures(context=known.context, economics=known.economics, curve=known.curve, best=best)
