"""The demo's parts: a market that ends now, its import, its models, and how good they are against the truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalogue import load_catalogue, workspace_catalogue
from models.evaluation.fraud_money import at_risk_fen, at_stake, stopped_share
from models.policy import Costs
from pipelines.answering import OUTCOMES, batch_features, outcomes, quote_batch, read_batch
from pipelines.champions import load_pair
from pipelines.simulation import Market, World, simulate, write
from pipelines.simulation.history import FIXED_RATE
from pipelines.simulation.oracle import ProfitShare, profit_share, read_oracle
from pipelines.terms import terms_of
from pipelines.training.importing import ImportResult, import_tables
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace

DAYS = 180
JUDGED_DAYS = 30
"""The newest days judge the models; they learn only from what was known before."""
LEAST_MEMBERS = 3
"""A ring that the demo tells of has so many sellers, if there is one."""


@dataclass(frozen=True)
class Verdict:
    """What the models would have done in the judged days, against the truth that only a simulation knows.

    model, fixed, history: expected profit of the models' rates, of a small platform's one rate, and of the rates the
    platform really offered, each against the best possible. frauds: all that the truth knows and whose seller did not
    decline. fraud_value_stopped: share of their money, see :mod:`models.evaluation.fraud_money`. honest_refused: share.
    shares: of all trades, by decision; without an offer nothing is decided, it is ``no offer``.
    """

    trades: int
    model: ProfitShare
    fixed: ProfitShare
    history: ProfitShare
    frauds: int
    fraud_value_stopped: float
    honest_refused: float
    shares: dict[str, float]


def make_market(folder: Path, *, trades: int, seed: int, until: datetime, night_fraud: bool = True) -> Market:
    """A synthetic market of ``DAYS`` whole days and of the last one until a moment, written to ``folder``. night_fraud:
    see World."""
    market = simulate(World.ending(until, days=DAYS, trades=trades, seed=seed, night_fraud=night_fraud))
    write(market, folder)
    return market


def import_market(workspace: Workspace, folder: Path, *, now: datetime) -> ImportResult:
    """Import the market's tables (never the oracle)."""
    return import_tables(
        store=workspace.tables,
        sources={name: folder / f"{name}.parquet" for name in ("trades", "market", "card_types")},
        mapping={},
        catalogue_types={card.card_type: card.category for card in load_catalogue()},
        add_card_types=False,
        quarantine=False,
        report_dir=workspace.reports,
        now=now,
        progress=lambda stage, share: None,
    )


def judged_from(today: date) -> datetime:
    """The moment from which trades judge the models."""
    return datetime.combine(today, datetime.min.time(), UTC) - timedelta(days=JUDGED_DAYS)


def judge(workspace: Workspace, folder: Path, *, since: datetime, now: datetime) -> Verdict:
    """Answer the trades since ``since`` with the champions, as `huika quote` would, and compare with the truth."""
    trades = pq.read_table(folder / "trades.parquet")
    recent = trades.filter(
        pc.greater_equal(trades["submitted_at"], pa.scalar(since, trades["submitted_at"].type))
    )
    source = folder / "judged.parquet"
    pq.write_table(recent, source)
    batch = read_batch(source, mapping={}, catalogue=workspace_catalogue(workspace.tables), now=now)
    models = load_pair(model_registry(workspace))
    columns = batch_features(workspace, batch, models=models, progress=lambda done, total: None)
    terms = terms_of(workspace)
    answers = quote_batch(batch, columns, models=models, terms=terms)
    return _verdict(recent, answers, pq.read_table(folder / "oracle.parquet"), terms.costs, workspace)


def _verdict(
    recent: pa.Table, answers: pa.Table, oracle: pa.Table, costs: Costs, workspace: Workspace
) -> Verdict:
    truth = read_oracle(oracle, recent["trade_id"])

    def share(rates: np.ndarray) -> ProfitShare:
        return profit_share(oracle=truth, trades=recent, rates=rates, costs=costs)

    none, decision = answers["no_offer"].to_numpy(), answers["decision"].to_numpy()
    rate, outcome = np.where(none, np.nan, answers["rate"].to_numpy()), outcomes(answers)
    offered, accepted = (recent[name].cast(pa.float64()).to_numpy() for name in ("offered_rate", "accepted"))
    fraud = at_stake(fraud=truth.is_fraud, accepted=accepted)
    face_fen = np.rint(recent["face_value_cny"].to_numpy() * 100)
    at_risk = at_risk_fen(face_value_fen=face_fen, offered_rate=offered)[fraud]
    stopped = stopped_share(decision, decision=workspace.settings.decision, no_offer=none)[fraud]
    return Verdict(
        trades=len(recent),
        model=share(rate),
        fixed=share(np.full(len(recent), FIXED_RATE)),
        history=share(offered),
        frauds=int(fraud.sum()),
        fraud_value_stopped=float(stopped @ at_risk / at_risk.sum()),
        honest_refused=float((decision[~truth.is_fraud.astype(bool)] == "refuse").mean()),
        shares={name: float((outcome == name).mean()) for name in OUTCOMES},
    )


def example_submissions(market: Market, *, today: date) -> list[tuple[str, dict[str, Any]]]:
    """Five cards to ask the service about, each with a title."""
    regular = regular_seller(market)
    return [
        ("京东E卡 JD E-Card, ¥500", _ask("jd_ecard", 50_000, regular)),
        (
            "沃尔玛卡 Walmart card, 12 days left",
            _ask("walmart_cn", 50_000, regular, expires_on=today + timedelta(days=12)),
        ),
        (
            "过期的沃尔玛卡 expired Walmart card",
            _ask("walmart_cn", 50_000, regular, expires_on=today - timedelta(days=40)),
        ),
        ("实体中石化卡 physical Sinopec card", _ask("sinopec_fuel", 50_000, regular, card_form="physical")),
        ("团伙账户 the same JD card, from a ring's account", _ask("jd_ecard", 50_000, _ring_member(market))),
    ]


def _ask(
    card_type: str,
    face_fen: int,
    seller: dict[str, Any],
    *,
    card_form: str = "virtual",
    expires_on: date | None = None,
) -> dict[str, Any]:
    card = {"card_type": card_type, "card_form": card_form, "face_value": {"amount_fen": face_fen}}
    if expires_on is not None:
        card["expires_on"] = expires_on.isoformat()
    return {"card": card, "seller": seller}


def _seller(trade: dict[str, Any]) -> dict[str, Any]:
    names = ("seller_id", "device_id", "ip", "payout_account", "region", "channel")
    return {name: trade[name] for name in names if trade[name] is not None}


def regular_seller(market: Market) -> dict[str, Any]:
    """The honest seller who sold most often."""
    rows = market.trades.join(market.oracle.select(["trade_id", "is_fraud"]), "trade_id")
    honest = rows.filter(pc.invert(rows["is_fraud"].cast(pa.bool_())))
    counts = honest["seller_id"].value_counts()
    name = counts[int(pc.index(counts.field("counts"), pc.max(counts.field("counts"))).as_py())]["values"]
    return _latest(honest.filter(pc.equal(honest["seller_id"], name)))


def _ring_member(market: Market) -> dict[str, Any]:
    """Whoever of a ring was active last among trades already known to be fraud."""
    trades = market.trades
    known = trades.filter(pc.fill_null(trades["fraud"], False))
    rings = market.oracle.filter(market.oracle["ring_id"].is_valid())
    members = known.filter(pc.is_in(known["trade_id"], value_set=rings["trade_id"].combine_chunks()))
    return _latest(members if len(members) else known)


def ring_members(market: Market, *, most: int) -> list[dict[str, Any]]:
    """Sellers of the ring that was active last among those with ``LEAST_MEMBERS`` known fraudsters (of any, where there
    is none), those active last first; empty without a ring."""
    rings = market.oracle.select(["trade_id", "ring_id"]).filter(market.oracle["ring_id"].is_valid())
    fraud = market.trades.filter(pc.fill_null(market.trades["fraud"], False))
    known = fraud.join(rings, "trade_id", join_type="inner")
    if not len(known):
        return []
    found = known.group_by("ring_id").aggregate([("seller_id", "count_distinct"), ("submitted_at", "max")])
    latest = max(
        found.to_pylist(),
        key=lambda ring: (ring["seller_id_count_distinct"] >= LEAST_MEMBERS, ring["submitted_at_max"]),
    )
    rows = known.filter(pc.equal(known["ring_id"], latest["ring_id"]))
    oldest = rows.sort_by([("submitted_at", "ascending"), ("trade_id", "ascending")]).to_pylist()
    members: dict[str, dict[str, Any]] = {}
    for row in reversed(oldest):
        members.setdefault(row["seller_id"], _seller(row))
    return list(members.values())[:most]


def _latest(rows: pa.Table) -> dict[str, Any]:
    newest = rows.sort_by([("submitted_at", "descending"), ("trade_id", "ascending")]).slice(0, 1)
    return _seller(newest.to_pylist()[0])
