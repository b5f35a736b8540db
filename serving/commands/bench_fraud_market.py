"""One market of ``huika bench fraud``: train on what was known, answer the later trades, compare with the truth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalogue import workspace_catalogue
from features.training_set import known_before
from models.evaluation.bootstrap import Difference
from models.evaluation.fraud import FraudMetrics, Judged, area_under_roc, evaluate_fraud
from models.evaluation.fraud_intervals import average_precision_interval
from models.evaluation.rings import RingDelays, ring_delays
from models.fraud.decision import ACTIONS
from pipelines import demo as parts
from pipelines.answering import batch_features, read_batch, score_batch
from pipelines.champions import load_pair
from pipelines.simulation import World, simulate, write
from pipelines.terms import terms_of
from pipelines.training.examples import examples_of
from pipelines.training.fraud import split_fraud
from pipelines.training.training import Job, Listener, train
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from serving.commands.bench_fraud_plain import Ids, plain_probability

JUDGED_DAYS = 30
STOPPED = ("review", "refuse")
INTERVAL_ROUNDS = 200


@dataclass(frozen=True)
class KindFigures:
    """Trades of one kind of fraud. value_share: of all fraud's face value; value_stopped: as in FraudMetrics; auc:
    against the honest trades; shares: of its trades, by action."""

    kind: str
    frauds: int
    value_share: float
    value_stopped: float
    auc: float
    shares: dict[str, float]


@dataclass(frozen=True)
class PlainFigures:
    """The peer, with ids as ``ids``, on the same trades."""

    ids: Ids
    metrics: FraudMetrics


@dataclass(frozen=True)
class MarketFigures:
    """What one market showed. learned: labelled trades the model was fitted on; interval: of the average precision."""

    learned: int
    metrics: FraudMetrics
    interval: Difference
    delays: RingDelays
    kinds: tuple[KindFigures, ...]
    plain: tuple[PlainFigures, ...]


@dataclass(frozen=True)
class _Truth:
    """What the oracle knows of m trades: fraud (m,) bool; kind and ring (m,) object, None where there is none."""

    fraud: np.ndarray
    kind: np.ndarray
    ring: np.ndarray


def measure_market(folder: Path, *, world: World, now: datetime) -> MarketFigures:
    """Simulate, import, train the fraud model on what was known ``JUDGED_DAYS`` before the end, score every trade of
    those days as `huika score` would, and judge by the oracle. The amount at risk is the face value."""
    files, workspace = folder / "market", Workspace.open(folder / "home")
    write(simulate(world), files)
    parts.import_market(workspace, files, now=now)
    end = datetime.combine(world.start + timedelta(days=world.days), datetime.min.time(), UTC)
    since = end - timedelta(days=JUDGED_DAYS)
    quiet = Listener(say=lambda step: None, features=lambda done, total: None)
    trained = train(workspace, job=Job(models=("fraud",), until=since), listener=quiet)[0]
    later, answers = _answers(workspace, files, since=since, now=now)
    trades, oracle = pq.read_table(files / "trades.parquet"), pq.read_table(files / "oracle.parquet")
    truth, everything = _truth(oracle, later["trade_id"]), _truth(oracle, trades["trade_id"])
    judged = _judged(later, answers, truth)
    return MarketFigures(
        learned=trained.rows,
        metrics=_metrics(judged, workspace),
        interval=average_precision_interval(judged, rng=np.random.default_rng(0), rounds=INTERVAL_ROUNDS),
        delays=_delays(trades, answers, everything.ring),
        kinds=_kinds(judged, truth.kind, workspace),
        plain=_plain(workspace, judged, later, since=since),
    )


def _answers(
    workspace: Workspace, files: Path, *, since: datetime, now: datetime
) -> tuple[pa.Table, pa.Table]:
    """The trades since ``since`` as they are stored, and their rows of `huika score`, in the same order."""
    trades = pq.read_table(files / "trades.parquet")
    recent = trades.filter(
        pc.greater_equal(trades["submitted_at"], pa.scalar(since, trades["submitted_at"].type))
    )
    source = files / "judged.parquet"
    pq.write_table(recent, source)
    batch = read_batch(source, mapping={}, catalogue=workspace_catalogue(workspace.tables), now=now)
    models = load_pair(model_registry(workspace))
    columns = batch_features(workspace, batch, models=models, progress=lambda done, total: None)
    return batch.spine, score_batch(batch, columns, models=models, terms=terms_of(workspace))


def _truth(oracle: pa.Table, trade_ids: pa.ChunkedArray) -> _Truth:
    rows = oracle.take(pc.index_in(trade_ids, value_set=oracle["trade_id"].combine_chunks()))
    kind, ring = (rows[name].to_numpy(zero_copy_only=False) for name in ("fraud_kind", "ring_id"))
    return _Truth(rows["is_fraud"].to_numpy().astype(bool), kind, ring)


def _judged(later: pa.Table, answers: pa.Table, truth: _Truth) -> Judged:
    face = later["face_value_fen"].to_numpy()
    return Judged(
        fraud=truth.fraud,
        probability=answers["fraud_probability"].to_numpy(),
        submitted_at=later["submitted_at"].cast(pa.int64()).to_numpy() // 1000,
        seller_id=later["seller_id"].to_numpy(zero_copy_only=False),
        action=answers["decision"].to_numpy(zero_copy_only=False),
        payout_fen=face,
        face_value_fen=face,
    )


def _metrics(judged: Judged, workspace: Workspace) -> FraudMetrics:
    settings = workspace.settings
    return evaluate_fraud(judged, costs=settings.costs, decision=settings.decision)


def _delays(trades: pa.Table, answers: pa.Table, ring: np.ndarray) -> RingDelays:
    """Rings by the trades of the whole log, of which the answered ones are judged."""
    place = pc.index_in(trades["trade_id"], value_set=answers["trade_id"].combine_chunks())
    judged = place.is_valid().to_numpy()
    stopped = np.zeros(len(trades), dtype=bool)
    stopped[judged] = np.isin(
        answers["decision"].take(place.drop_null()).to_numpy(zero_copy_only=False), STOPPED
    )
    moment = trades["submitted_at"].cast(pa.int64()).to_numpy()
    return ring_delays(ring=ring, submitted_at=moment, judged=judged, stopped=stopped)


def _kinds(judged: Judged, kind: np.ndarray, workspace: Workspace) -> tuple[KindFigures, ...]:
    value = judged.payout_fen[judged.fraud].sum()
    found = []
    for name in sorted({str(one) for one in kind[judged.fraud]}):
        rows = kind == name
        own = judged.rows(rows)
        against = rows | ~judged.fraud
        metrics = _metrics(own, workspace)
        found.append(
            KindFigures(
                kind=name,
                frauds=len(own),
                value_share=float(own.payout_fen.sum() / value),
                value_stopped=metrics.fraud_value_stopped,
                auc=area_under_roc(fraud=judged.fraud[against], probability=judged.probability[against]),
                shares={action: float((own.action == action).mean()) for action in ACTIONS},
            )
        )
    return tuple(found)


def _plain(
    workspace: Workspace, judged: Judged, later: pa.Table, *, since: datetime
) -> tuple[PlainFigures, ...]:
    """Trained on the very rows the fraud model learned from; its decisions are not judged, so they are all "pay"."""
    trades = workspace.tables.read("trades")
    before = trades.filter(pc.less(trades["submitted_at"], pa.scalar(since, trades["submitted_at"].type)))
    known = known_before(before, since)
    rows = split_fraud(examples_of(known, {}), workspace.settings).final
    learned = known.take(pa.array(rows)).sort_by("submitted_at")
    fraud = learned["fraud"].to_numpy(zero_copy_only=False).astype(bool)
    figures = []
    for ids in ("codes", "counts"):
        probability = plain_probability(learned, fraud, later, ids=ids)
        paid = Judged(
            **vars(judged) | {"probability": probability, "action": np.full(len(judged), "pay", dtype=object)}
        )
        figures.append(PlainFigures(ids, _metrics(paid, workspace)))
    return tuple(figures)
