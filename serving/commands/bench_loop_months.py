"""The months of one market in ``huika bench loop``: a model that learns from the log of its own prices, beside others.

All models answer the same trades and are judged by the same truth. Only the prices of ``own`` are shown to sellers, so
only they fill its log; ``original`` learns each month from what the simulated platform's log would have been by then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.catalogue import Catalogue, workspace_catalogue
from features.definitions import FEATURES
from features.rows import SPINE_COLUMNS
from features.training_set import compute_features
from models.discount.acceptance import AcceptanceCurve
from models.discount.model import DiscountModel
from models.evaluation.calibration import expected_calibration_error
from models.quoting import ModelPair, Terms
from pipelines import demo as parts
from pipelines.simulation import Market, World, simulate, write
from pipelines.simulation.oracle import Oracle, acceptance_probability, profit_share, read_oracle
from pipelines.simulation.own_prices import Shown, with_prices
from pipelines.simulation.world import DAY_US
from pipelines.stored_features import silent
from pipelines.terms import terms_of
from pipelines.training.backtest_ledger import joined
from pipelines.training.backtest_moves import Moves
from pipelines.training.discount import fit
from pipelines.training.examples import Examples, combined, examples_of
from pipelines.workspace import Workspace

MONTH_DAYS = 30
SLOPE_STEP = 0.005
OWN, ORIGINAL, FIRST = "own prices", "original log", "first model"


@dataclass(frozen=True)
class MonthFigures:
    """How one model priced one month.

    learns: from which log. share: of the best possible profit. expected: its own expectation of its profit over the
    true one. ece: of its probabilities of acceptance at its own rates, against the true ones. slope: its mean slope of
    honest acceptance there over the true one. half_width: of its random moves, mean, of face value. no_offer: share
    of the trades. slope_error, hidden_share: of its log, as in :class:`models.discount.training_facts.Training`.
    """

    learns: str
    share: float
    expected: float
    ece: float
    slope: float
    half_width: float
    no_offer: float
    slope_error: float
    hidden_share: float


@dataclass(frozen=True)
class Said:
    """What a model answered n trades, (n,) each: the rate, also of what is no offer; density and centre of its draw;
    the expected acceptance and profit there."""

    rate: np.ndarray
    no_offer: np.ndarray
    density: np.ndarray
    centre: np.ndarray
    acceptance: np.ndarray
    profit_fen: np.ndarray

    @property
    def shown(self) -> Shown:
        return Shown(
            rate=np.where(self.no_offer, np.nan, self.rate), density=self.density, centre=self.centre
        )


@dataclass(frozen=True)
class Stage:
    """A simulated market, imported. trades: stored; oracle: a row for each, in their order; truth: it as numbers."""

    world: World
    trades: pa.Table
    market: pa.Table
    oracle: pa.Table
    truth: Oracle
    catalogue: Catalogue
    workspace: Workspace
    terms: Terms

    @classmethod
    def of(cls, market: Market, folder: Path) -> Stage:
        write(market, folder / "market")
        workspace = Workspace.open(folder / "home")
        parts.import_market(workspace, folder / "market", now=datetime.now(UTC))
        trades = workspace.tables.read("trades")
        ids = market.oracle["trade_id"].combine_chunks()
        return cls(
            world=market.world,
            trades=trades,
            market=workspace.tables.read("market"),
            oracle=market.oracle.take(pc.index_in(trades["trade_id"].combine_chunks(), value_set=ids)),
            truth=read_oracle(market.oracle, trades["trade_id"]),
            catalogue=workspace_catalogue(workspace.tables),
            workspace=workspace,
            terms=terms_of(workspace),
        )

    def day_us(self, day: int) -> int:
        """The beginning of a day of the log in China."""
        return self.world.start_us + day * DAY_US

    def rows(self, from_us: int, to_us: int) -> np.ndarray:
        submitted = self.trades["submitted_at"].cast(pa.int64()).to_numpy()
        return np.arange(*np.searchsorted(submitted, (from_us, to_us)))

    def examples(self, log: pa.Table, rows: np.ndarray) -> Examples:
        """Some trades of a log with the features that it gives them."""
        own = log.take(pa.array(rows))
        columns = compute_features(
            spine=own.select(SPINE_COLUMNS),
            trades=log,
            market=self.market,
            catalogue=self.catalogue,
            registry=FEATURES,
            progress=silent,
            names=FEATURES.names("discount"),
        )
        return examples_of(own, columns)

    def fitted(self, known: Examples, until_us: int) -> DiscountModel:
        """What ``huika train discount --until`` would fit."""
        return fit(known.known_before(until_us), registry=FEATURES, settings=self.workspace.settings)

    def moves(self) -> Moves:
        return Moves(self.catalogue)

    def price(self, model: DiscountModel, asked: Examples, moves: Moves) -> Said:
        """The answers to trades in the order of time, held by the cap of daily moves."""
        before = moves.before(asked, models=ModelPair(discount=model, fraud=None), terms=self.terms)
        offers = model.price(
            columns=asked.columns,
            face_value_fen=asked.face_value_fen,
            submitted_at=asked.submitted_ms,
            costs=self.terms.costs,
            policy=self.terms.price,
            special=asked.special(self.catalogue),
            before=before,
        )
        return Said(
            rate=offers.rate,
            no_offer=offers.no_offer,
            density=offers.offer_density,
            centre=offers.offer_centre,
            acceptance=offers.acceptance_probability,
            profit_fen=offers.expected_profit_fen,
        )


def months_of(world: World, folder: Path, *, log_days: int) -> Iterator[tuple[int, list[MonthFigures]]]:
    """The first day of each month after the platform's own ``log_days``, and how every model priced the month."""
    stage = Stage.of(simulate(world), folder)
    everything = np.arange(len(stage.trades))
    original = stage.examples(stage.trades, everything)
    own, first, loop = original, None, Loop(stage, stage.trades, stage.moves())
    moves = {name: stage.moves() for name in (ORIGINAL, FIRST)}
    for day in range(log_days, world.days - MONTH_DAYS + 1, MONTH_DAYS):
        since, until = stage.day_us(day), stage.day_us(day + MONTH_DAYS)
        rows = stage.rows(since, until)
        model = stage.fitted(own, since)
        others = {ORIGINAL: model if first is None else stage.fitted(original, since), FIRST: first or model}
        first = others[FIRST]
        loop, said = loop.month(model, day)
        own = spliced(own, stage.examples(loop.log, rows), rows)
        found = [judged(stage, rows, OWN, model, own, said)]
        for (name, other), seen in zip(others.items(), (original, own), strict=True):
            said = stage.price(other, seen.rows(rows), moves[name])
            found.append(judged(stage, rows, name, other, seen, said))
        yield day, found


@dataclass(frozen=True)
class Loop:
    """The log that its own prices fill. moves: remembers what daily moves are measured from."""

    stage: Stage
    log: pa.Table
    moves: Moves

    def month(self, model: DiscountModel, day: int) -> tuple[Loop, Said]:
        """A month from ``day`` on, day by day: each is priced by what the days before have told, and shown."""
        log, answers = self.log, []
        for each in range(day, day + MONTH_DAYS):
            rows = self.stage.rows(self.stage.day_us(each), self.stage.day_us(each + 1))
            asked = self.stage.examples(log, rows)
            answers.append(self.stage.price(model, asked, self.moves))
            log = with_prices(log, self.stage.oracle, rows=rows, shown=answers[-1].shown)
        return replace(self, log=log), joined(answers)


def spliced(examples: Examples, changed: Examples, rows: np.ndarray) -> Examples:
    """The examples with other ones at their rows (k,)."""

    def put(arrays: list[np.ndarray]) -> np.ndarray:
        old, new = arrays
        values = old.copy()
        values[rows] = new
        return values

    return combined([examples, changed], put)


def judged(
    stage: Stage, rows: np.ndarray, learns: str, model: DiscountModel, examples: Examples, said: Said
) -> MonthFigures:
    """The figures of a month's answers by the truth."""
    truth, rate = stage.truth.slice(rows), said.shown.rate
    share = profit_share(
        oracle=truth, trades=stage.trades.take(pa.array(rows)), rates=rate, costs=stage.terms.costs
    )
    offered = np.isfinite(rate)
    density = said.density[offered]
    curve = model.acceptance_curve(columns=examples.rows(rows).columns, rows=len(rows))
    fraud = truth.fraud_rate_screened
    takes = (1 - fraud) * acceptance_probability(truth, said.rate) + fraud * truth.fraud_accepts
    return MonthFigures(
        learns=learns,
        share=share.share,
        expected=float(said.profit_fen[offered].sum()) / share.policy_fen,
        ece=expected_calibration_error(probability=said.acceptance[offered], outcome=takes[offered]),
        slope=_slope(curve, truth, said.rate, offered),
        half_width=float(np.where(np.isfinite(density), 0.5 / density, 0.0).mean()),
        no_offer=float(said.no_offer.mean()),
        slope_error=model.training.slope_error,
        hidden_share=model.training.hidden_share,
    )


def _slope(curve: AcceptanceCurve, truth: Oracle, rate: np.ndarray, rows: np.ndarray) -> float:
    """Mean slope of the model's curve over the true one's, at rates (n,), of some rows (n,)."""
    ends = (rate - SLOPE_STEP, rate + SLOPE_STEP)
    found = curve.honest(ends[1]) - curve.honest(ends[0])
    true = acceptance_probability(truth, ends[1]) - acceptance_probability(truth, ends[0])
    return float(found[rows].mean() / true[rows].mean())
