"""`huika quote` and `huika score`: a file of trades in, an answer a row out, each as of its own moment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from features.catalogue import Catalogue, workspace_catalogue
from features.definitions import FEATURES
from features.rows import SPINE_COLUMNS, microseconds
from features.tables import TRADES
from features.training_set import compute_features
from models.quoting import Asked, ModelPair, Terms, quote, score
from models.reasons import Reason
from pipelines.settings import Settings
from pipelines.training.import_problems import RuleResult
from pipelines.training.import_reading import Draft, read_file
from pipelines.training.mapping import TableMapping
from pipelines.workspace import Workspace

Progress = Callable[[int, int], None]


class InputRefused(ValueError):
    """The input file cannot be answered; ``results`` lists each broken rule with rows and reasons."""

    def __init__(self, message: str, results: tuple[RuleResult, ...] = ()) -> None:
        super().__init__(message)
        self.results = results


@dataclass(frozen=True)
class Batch:
    """The rows of an input file: the spine (``SPINE_COLUMNS``) in file order, and arrays models need."""

    spine: pa.Table
    face_value_fen: np.ndarray
    submitted_ms: np.ndarray


def terms_of(settings: Settings) -> Terms:
    return Terms(costs=settings.costs, decision=settings.decision, price=settings.price)


def read_batch(path: Path, *, mapping: TableMapping, catalogue: Catalogue, now: datetime) -> Batch:
    """Read and check a file of trades; outcomes in it are not looked at. Raises InputRefused."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Draft(table=TRADES, path=path, cast=Path(folder) / "input.parquet")
        read_file(draft, mapping=mapping, now=now, all_rows=False, progress=lambda stage, share: None)
        if draft.broken:
            broken = tuple(result for result in draft.results() if result.failed)
            raise InputRefused(f"{path}: {len(broken)} rules are broken", broken)
        rows = pq.read_table(draft.cast)
    spine = pa.table({name: _column(rows, name) for name in SPINE_COLUMNS})
    _refuse_repeats(path, spine)
    _refuse_unknown_types(path, spine, catalogue)
    return Batch(
        spine=spine,
        face_value_fen=spine["face_value_fen"].to_numpy(),
        submitted_ms=microseconds(spine["submitted_at"]) // 1000,
    )


def batch_features(
    workspace: Workspace, batch: Batch, *, models: ModelPair, progress: Progress
) -> dict[str, np.ndarray]:
    """Features of the batch from the stored history, by the definitions the models know; its rows count as
    submissions for its later rows."""
    return compute_features(
        spine=batch.spine,
        trades=workspace.tables.read("trades"),
        market=workspace.tables.read("market"),
        catalogue=workspace_catalogue(workspace.tables),
        registry=FEATURES,
        progress=progress,
        names=(*FEATURES.names(), *models.pinned_columns),
    )


def quote_batch(batch: Batch, columns: dict[str, np.ndarray], *, models: ModelPair, terms: Terms) -> pa.Table:
    """One row a trade with the columns of `huika quote`'s OUTPUT, in file order."""
    answers = quote(_asked(batch, columns), models=models, terms=terms)
    return pa.table(
        {
            "trade_id": batch.spine["trade_id"],
            "rate": answers.rate,
            "payout_cny": answers.payout_fen / 100,
            "decision": pa.array(answers.action, pa.string()),
            "fraud_probability": _nullable(answers.fraud_probability),
            "acceptance_probability": _nullable(answers.acceptance_probability),
            "resale_rate_p10": _nullable(answers.resale_p10),
            "resale_rate_p50": _nullable(answers.resale_p50),
            "resale_rate_p90": _nullable(answers.resale_p90),
            "offer_density": _nullable(answers.offer_density),
            "no_offer": answers.no_offer,
            **_reason_columns(answers.reasons),
            **_version_columns(models, len(batch.spine)),
        }
    )


def score_batch(batch: Batch, columns: dict[str, np.ndarray], *, models: ModelPair, terms: Terms) -> pa.Table:
    """One row a trade with the columns of `huika score`'s OUTPUT; the payout at risk is the face value."""
    asked = _asked(batch, columns)
    scores = score(asked, payout_fen=asked.face_value_fen, models=models, terms=terms)
    return pa.table(
        {
            "trade_id": batch.spine["trade_id"],
            "fraud_probability": _nullable(scores.probability),
            "decision": pa.array(scores.action, pa.string()),
            **_reason_columns(scores.reasons),
            **_version_columns(models, len(batch.spine)),
        }
    )


def _asked(batch: Batch, columns: dict[str, np.ndarray]) -> Asked:
    return Asked(
        columns=columns,
        face_value_fen=batch.face_value_fen,
        submitted_at=batch.submitted_ms,
        submitted=submitted_columns(batch.spine),
    )


def submitted_columns(spine: pa.Table) -> dict[str, np.ndarray]:
    """The spine's columns (n,) as plain objects, None where unknown."""
    return {name: np.array(spine[name].to_pylist(), dtype=object) for name in SPINE_COLUMNS}


def write_answers(table: pa.Table, path: Path) -> None:
    """Write Parquet, or CSV when the name ends in ``.csv``; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    if path.suffix.lower() == ".csv":
        pyarrow.csv.write_csv(table, temporary)
    else:
        pq.write_table(table, temporary)
    temporary.replace(path)


def _column(rows: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    if name in rows.column_names:
        return rows[name]
    return pa.nulls(len(rows), TRADES.schema.field(name).type)


def _refuse_repeats(path: Path, spine: pa.Table) -> None:
    counts = spine["trade_id"].value_counts()
    twice = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1)).to_pylist()
    if twice:
        raise InputRefused(f"{path}: trade_id is there more than once: {', '.join(twice[:5])}")


def _refuse_unknown_types(path: Path, spine: pa.Table, catalogue: Catalogue) -> None:
    unknown = sorted(set(spine["card_type"].unique().to_pylist()) - set(catalogue.types))
    if unknown:
        raise InputRefused(
            f"{path}: unknown card types {', '.join(unknown[:5])}; `huika cards` lists the known ones, and "
            "`huika import --card-types` or `--add-card-types` registers others"
        )


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)


def _reason_columns(reasons: list[tuple[Reason, ...]]) -> dict[str, Any]:
    return {
        "reasons": ["|".join(reason.code for reason in row) for row in reasons],
        "reasons_zh": ["；".join(reason.zh for reason in row) for row in reasons],
        "reasons_en": ["; ".join(reason.en for reason in row) for row in reasons],
    }


def _version_columns(models: ModelPair, rows: int) -> dict[str, Any]:
    constants = {
        "discount_version": models.discount_version,
        "fraud_version": models.fraud_version,
        "degraded": "|".join(models.degraded) or None,
    }
    return {name: pa.array([value] * rows, pa.string()) for name, value in constants.items()}
