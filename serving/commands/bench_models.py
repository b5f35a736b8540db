"""``huika bench handbook`` and ``huika bench market``: how good the models are, by published or known truth."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.china import day_in_china, midnight_in_china
from serving.refusals import Refusal

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from pipelines.workspace import Workspace

MAPPING = Path(__file__).parents[2] / "docs" / "examples" / "handbook.toml"
HANDBOOK = "https://github.com/Fraud-Detection-Handbook/simulated-data-raw"
TRAIN_FROM, KNOWN_UNTIL = datetime(2018, 7, 25, tzinfo=UTC), datetime(2018, 8, 8, tzinfo=UTC)
TEST_UNTIL = datetime(2018, 8, 15, tzinfo=UTC)
FIRST_DAY = datetime(2018, 4, 1, tzinfo=UTC)


def bench_handbook(
    data: Annotated[
        Path | None,
        typer.Option(envvar="HUIKA_HANDBOOK", help="The handbook's transactions in one Parquet file."),
    ] = None,
    all_history: Annotated[
        bool, typer.Option("--all-history", help="Train on everything since April instead of 7 days.")
    ] = False,
) -> None:
    """The Fraud Detection Handbook's protocol: import, train fraud, score the test week, compare with the truth."""
    if data is None or not data.is_file():
        given = "no file was given" if data is None else f"{data} is not there"
        raise Refusal(
            f"{given}: --data (or HUIKA_HANDBOOK) names the Fraud Detection Handbook's transactions, all days of "
            f"{HANDBOOK} in one Parquet file with its column names"
        )
    with tempfile.TemporaryDirectory(prefix="huika-bench-") as folder:
        since = FIRST_DAY if all_history else TRAIN_FROM
        for line in _handbook(Path(folder), data, since):
            print(line, flush=True)


def _handbook(folder: Path, data: Path, since: datetime) -> list[str]:
    import pyarrow.parquet as pq

    from pipelines.training.importing import import_tables
    from pipelines.training.mapping import load_mapping
    from pipelines.training.training import Job, Listener, train
    from pipelines.workspace import Workspace

    workspace = Workspace.open(folder / "home")
    import_tables(
        store=workspace.tables,
        sources={"trades": data},
        mapping=load_mapping(MAPPING),
        catalogue_types={},
        add_card_types=True,
        quarantine=False,
        report_dir=workspace.reports,
        now=datetime.now(UTC),
    )
    quiet = Listener(say=lambda step: None, features=lambda done, total: None)
    trained = train(workspace, job=Job(models=("fraud",), since=since, until=KNOWN_UNTIL), listener=quiet)[0]
    raw = pq.read_table(data)
    week = _between(raw, "TX_DATETIME", KNOWN_UNTIL, TEST_UNTIL)
    learned = _between(raw, "TX_DATETIME", TRAIN_FROM, KNOWN_UNTIL - timedelta(days=7))
    return _handbook_figures(workspace, folder, week, learned, trained.rows)


def _handbook_figures(
    workspace: Workspace, folder: Path, week: pa.Table, learned: pa.Table, rows: int
) -> list[str]:
    import numpy as np
    import pyarrow.parquet as pq

    from models.evaluation import fraud as measures
    from models.evaluation.bootstrap import paired_bootstrap
    from models.evaluation.calibration import calibration

    pq.write_table(week, folder / "week.parquet")
    probability = _scores(workspace, folder / "week.parquet")
    compromised = set(learned.filter(learned["TX_FRAUD"].cast("bool"))["CUSTOMER_ID"].to_pylist())
    kept = np.array([customer not in compromised for customer in week["CUSTOMER_ID"].to_pylist()])
    fraud = week["TX_FRAUD"].to_numpy().astype(bool)[kept]
    seller = week["CUSTOMER_ID"].to_numpy()[kept]
    moment = week["TX_DATETIME"].cast("int64").to_numpy()[kept] // _per_ms(week)
    probability = probability[kept]
    interval = paired_bootstrap(
        difference=lambda weight: measures.average_precision(
            fraud=fraud, probability=probability, weight=weight
        ),
        clusters=[seller],
        rng=np.random.default_rng(0),
        rounds=200,
    )
    precision_at = measures.seller_precision_at_k(
        fraud=fraud, probability=probability, submitted_at=moment, seller_id=seller, k=100
    )
    level = calibration(probability=probability, outcome=fraud)
    return [
        f"trained on {rows:,} transactions, judged on {len(fraud):,} with {int(fraud.sum())} frauds",
        f"average precision {interval.estimate:.3f} (95 % {interval.low:.3f} to {interval.high:.3f}, by customer)",
        f"AUC {measures.area_under_roc(fraud=fraud, probability=probability):.3f}",
        f"card precision@100 {precision_at:.3f}",
        f"recall at 1 % FPR {measures.recall_at_fpr(fraud=fraud, probability=probability, fpr=0.01):.3f}",
        f"ECE {level.ece:.4f}, mean probability / rate {level.mean_probability / level.rate:.2f}",
    ]


def _scores(workspace: Workspace, source: Path) -> np.ndarray:
    """Fraud probabilities of a file's rows, as `huika score` gives them."""
    from features.catalogue import workspace_catalogue
    from pipelines import answering
    from pipelines.champions import load_pair
    from pipelines.terms import terms_of
    from pipelines.training.mapping import load_mapping
    from pipelines.wiring import model_registry

    batch = answering.read_batch(
        source,
        mapping=load_mapping(MAPPING)["trades"],
        catalogue=workspace_catalogue(workspace.tables),
        now=datetime.now(UTC),
    )
    models = load_pair(model_registry(workspace))
    columns = answering.batch_features(workspace, batch, models=models, progress=lambda done, total: None)
    table = answering.score_batch(
        batch,
        columns,
        models=models,
        terms=terms_of(workspace),
    )
    return table["fraud_probability"].to_numpy()


def _between(table: pa.Table, column: str, since: datetime, until: datetime) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    naive = table[column].type.tz is None
    low, high = (time.replace(tzinfo=None) if naive else time for time in (since, until))
    time = table[column]
    inside = pc.and_(
        pc.greater_equal(time, pa.scalar(low, time.type)), pc.less(time, pa.scalar(high, time.type))
    )
    return table.filter(inside)


def _per_ms(table: pa.Table) -> int:
    return {"s": 0, "ms": 1, "us": 1_000, "ns": 1_000_000}[table["TX_DATETIME"].type.unit]


def bench_market(
    trades: Annotated[int, typer.Option(help="Trades of each synthetic market.", min=5_000)] = 100_000,
    seeds: Annotated[str, typer.Option(help="Markets, by seed.")] = "101,102,103",
) -> None:
    """Train on synthetic markets, answer the next 30 days, and compare with the truth: profit and fraud stopped."""
    from pipelines import demo as parts
    from pipelines.training.training import Job, Listener, train
    from pipelines.workspace import Workspace

    quiet = Listener(say=lambda step: None, features=lambda done, total: None)
    now = datetime.now(UTC)
    today = day_in_china(now)
    since = parts.judged_from(today)
    verdicts: list[Any] = []
    for seed in (int(text) for text in seeds.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="huika-bench-"))
        try:
            workspace, files = Workspace.open(folder / "home"), folder / "market"
            parts.make_market(files, trades=trades, seed=seed, until=midnight_in_china(today))
            parts.import_market(workspace, files, now=now)
            train(workspace, job=Job(models=("discount", "fraud"), until=since), listener=quiet)
            verdicts.append(parts.judge(workspace, files, since=since, now=now))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(f"seed {seed}: {_verdict(verdicts[-1])}", flush=True)
    shares = sorted(verdict.model.share for verdict in verdicts)
    print(
        f"profit share of {len(shares)} markets: mean {sum(shares) / len(shares):.1%}, worst {shares[0]:.1%}"
    )


def _verdict(verdict: Any) -> str:
    return (
        f"profit share {verdict.model.share:.1%} (past prices {verdict.history.share:.1%}, fixed "
        f"{verdict.fixed.share:.1%}); fraud money stopped {verdict.fraud_value_stopped:.0%} of {verdict.frauds} "
        f"cases, honest refused {verdict.honest_refused:.2%}; "
        + ", ".join(f"{name} {share:.1%}" for name, share in verdict.shares.items())
    )
