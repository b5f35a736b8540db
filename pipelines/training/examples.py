"""Feature columns with their outcomes: what a model is fitted on and judged on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.catalogue import Catalogue
from features.definitions import FEATURES
from features.rows import microseconds
from features.tables import ISSUED_FACE
from features.training_set import columns_of
from models.discount.special import SpecialCards, special_cards
from models.evaluation.bootstrap import TooFewClusters
from models.evaluation.fraud_money import at_risk_fen
from models.evaluation.off_policy import logged_or_estimated_centre
from models.matrix import Columns, Taken
from pipelines.stored_features import stored_training_set
from pipelines.training.splitting import DAY_US
from pipelines.workspace import Workspace


@dataclass(frozen=True)
class Examples:
    """Columns and outcomes of n trades in one order. Times are int64 µs, -1 where unknown; rates NaN where
    unknown; ``accepted`` and ``fraud`` are 1, 0 or NaN; ``decision`` and ``label_source`` object, None where
    unknown; ``let_through`` NaN where a trade was not let through by a random draw. ``card_type`` object, None where
    unknown; ``face_value_fen`` is what was sold, ``issued_face_fen`` int64 what a partly used card was issued with, 0
    for a whole one. paused: columns that outcomes go into, had these come in a few batches
    (:func:`features.training_set.paused_columns`); empty where nobody asked."""

    columns: Columns
    trade_id: np.ndarray
    seller_id: np.ndarray
    card_type: np.ndarray
    face_value_fen: np.ndarray
    issued_face_fen: np.ndarray
    submitted_at: np.ndarray
    offered_rate: np.ndarray
    offer_density: np.ndarray
    offer_centre: np.ndarray
    decision: np.ndarray
    let_through: np.ndarray
    accepted: np.ndarray
    decided_at: np.ndarray
    resale_rate: np.ndarray
    resold_at: np.ndarray
    fraud: np.ndarray
    fraud_known_at: np.ndarray
    label_source: np.ndarray
    paused: Columns = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.submitted_at)

    def rows(self, chosen: np.ndarray) -> Examples:
        """The chosen rows, in that order."""
        return combined([self], lambda arrays: arrays[0][chosen])

    def taken(self, chosen: np.ndarray) -> Examples:
        """As :meth:`rows`, but columns are taken when they are asked for: what is asked for once, as to fit a model on
        most of a log, needs no second copy of all."""
        taken: dict[str, Any] = {
            name: Taken(value, chosen) if isinstance(value, Mapping) else value[chosen]
            for name, value in vars(self).items()
        }
        return Examples(**taken)

    def known_before(self, moment: int) -> Examples:
        """The rows submitted before ``moment`` (µs), with every outcome not known by then taken out."""
        part = self.rows(np.flatnonzero(self.submitted_at < moment))

        def until(values: np.ndarray, known_at: np.ndarray) -> np.ndarray:
            return np.where((known_at >= 0) & (known_at < moment), values, np.nan)

        fraud, source = until(part.fraud, part.fraud_known_at), part.label_source.copy()
        source[np.isnan(fraud)] = None
        return replace(
            part,
            accepted=until(part.accepted, part.decided_at),
            resale_rate=until(part.resale_rate, part.resold_at),
            fraud=fraud,
            label_source=source,
        )

    def special(self, catalogue: Catalogue) -> SpecialCards:
        """What sets the cards apart from whole ones of usual face values, by the catalogue's lists."""
        return special_cards(
            catalogue=catalogue,
            card_type=self.card_type,
            value_fen=self.face_value_fen,
            issued_face_fen=self.issued_face_fen,
        )

    @property
    def submitted_ms(self) -> np.ndarray:
        return self.submitted_at // 1000

    @property
    def at_risk_fen(self) -> np.ndarray:
        """What would be paid, see :func:`models.evaluation.fraud_money.at_risk_fen`."""
        return at_risk_fen(face_value_fen=self.face_value_fen, offered_rate=self.offered_rate)

    @property
    def has_outcome(self) -> np.ndarray:
        """Rows (n,) bool of which anything beyond the submission is known."""
        return np.isfinite(self.accepted) | np.isfinite(self.resale_rate) | np.isfinite(self.fraud)


def combined(parts: Sequence[Examples], join: Callable[[list[np.ndarray]], np.ndarray]) -> Examples:
    """Each array of all parts, those of columns too, joined to one."""
    values: dict[str, Any] = {}
    for name, value in vars(parts[0]).items():
        each = [getattr(part, name) for part in parts]
        if isinstance(value, Mapping):
            values[name] = {column: join([columns[column] for columns in each]) for column in value}
        else:
            values[name] = join(each)
    return Examples(**values)


def examples_of(trades: pa.Table, columns: Columns) -> Examples:
    """Stored trades with their feature columns, in the trades' order."""
    return Examples(
        columns=columns,
        trade_id=trades["trade_id"].to_numpy(zero_copy_only=False),
        seller_id=trades["seller_id"].to_numpy(zero_copy_only=False),
        card_type=_words(trades["card_type"]),
        face_value_fen=trades["face_value_fen"].to_numpy(zero_copy_only=False),
        issued_face_fen=trades[ISSUED_FACE].fill_null(0).to_numpy(zero_copy_only=False),
        submitted_at=microseconds(trades["submitted_at"]),
        offered_rate=_number(trades["offered_rate"]),
        offer_density=_number(trades["offer_density"]),
        offer_centre=_number(trades["offer_centre"]),
        decision=_words(trades["decision"]),
        let_through=_number(trades["let_through"]),
        accepted=_number(trades["accepted"]),
        decided_at=_time(trades["decided_at"]),
        resale_rate=_number(trades["resale_rate"]),
        resold_at=_time(trades["resold_at"]),
        fraud=_number(trades["fraud"]),
        fraud_known_at=_time(trades["fraud_known_at"]),
        label_source=_words(trades["label_source"]),
    )


def offer_centres(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Where the drawn offers (n,) were centred, NaN where it cannot be told, and which of that was estimated."""
    try:
        return logged_or_estimated_centre(
            logged=examples.offer_centre,
            density=examples.offer_density,
            columns=examples.columns,
            names=[name for name in FEATURES.names("discount") if name in examples.columns],
            offered_rate=examples.offered_rate,
            fold_by=examples.submitted_at // DAY_US,
        )
    except TooFewClusters:
        return examples.offer_centre, np.zeros(len(examples), dtype=bool)


def stored_examples(workspace: Workspace, *, model: str, since: datetime) -> Examples:
    """All stored trades submitted from ``since`` on, with a model's features as of each and every outcome known now.

    Raises NothingToTrainOn where there is none.
    """
    found = stored_training_set(workspace, since=since)
    columns = columns_of(pq.read_table(found.path), FEATURES, FEATURES.names(model))
    return examples_of(found.trades, columns)


def _number(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _words(column: pa.ChunkedArray) -> np.ndarray:
    return column.to_numpy(zero_copy_only=False).astype(object)


def _time(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
