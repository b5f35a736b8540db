"""The fraud model: feature columns in, a calibrated probability and its log-odds by family out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import lightgbm
import numpy as np

from models.fraud.calibrator import Calibrator
from models.fraud.decision import Thresholds
from models.fraud.extras import EXTRAS, ExtraInputs
from models.matrix import Columns, Encoding
from models.trees import contributions, predict

CONTRIBUTION_ROWS = 20_000
"""Contributions are taken this many rows at a time, to hold one number per input for few rows only."""

TREES_FILE = "model.txt"
FACTS_FILE = "model.json"


@dataclass(frozen=True)
class FamilyContributions:
    """What moved each trade's log-odds away from the average trade's, summed within families of features.

    families: (k,) names. log_odds: (n, k), positive means riskier. base: the average trade's log-odds.
    ``base + log_odds.sum(axis=1)`` is the log-odds of :meth:`FraudModel.probability`, to rounding.
    """

    families: tuple[str, ...]
    log_odds: np.ndarray
    base: float


@dataclass(frozen=True, eq=False)
class FraudModel:
    """The probability that a trade turns out fraudulent.

    encoding: the inputs in matrix order. booster: trees whose raw score is a log-odds. calibrator: maps that
    score to the log-odds of the answer. families: family of every input. base_rate: share of fraud among the
    training rows. absent_signals: features that were empty in training, which the model had to do without.
    thresholds: what each action must save to be taken, so that its share of trades stays bearable.
    extras: inputs made from the platform's own extras. metadata: plain figures about the fit, JSON types only.
    """

    encoding: Encoding
    booster: lightgbm.Booster
    calibrator: Calibrator
    families: dict[str, str]
    base_rate: float
    absent_signals: tuple[str, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    extras: ExtraInputs = field(default_factory=ExtraInputs)
    metadata: dict[str, object] = field(default_factory=dict)

    @property
    def trained_signals(self) -> tuple[str, ...]:
        """Features the model was trained on."""
        own = set(self.extras.names)
        plain = tuple(name for name in self.encoding.names if name not in own)
        return (*plain, EXTRAS) if own else plain

    def matrix(self, columns: Columns) -> np.ndarray:
        """The inputs (n, inputs) float64, built once for all that is asked of the same trades. Raises MissingFeature
        naming absent columns."""
        return self.encoding.matrix(self.extras.expand(columns))

    def probability(self, columns: Columns) -> np.ndarray:
        """Calibrated probabilities (n,) float64 of fraud. Raises MissingFeature naming absent columns."""
        return self.probability_of(self.matrix(columns))

    def probability_of(self, matrix: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (n,) of inputs (n, inputs)."""
        return self.calibrator.probability(predict(self.booster, matrix))

    def contributions(self, columns: Columns) -> FamilyContributions:
        """Exact tree contributions (TreeSHAP) by family. Raises MissingFeature naming absent columns."""
        return self.contributions_of(self.matrix(columns))

    def contributions_of(self, matrix: np.ndarray) -> FamilyContributions:
        """Exact tree contributions by family, of inputs (n, inputs)."""
        names, summing = self._family_sum
        log_odds = np.empty((len(matrix), len(names)))
        for start in range(0, len(matrix), CONTRIBUTION_ROWS):
            rows = slice(start, start + CONTRIBUTION_ROWS)
            log_odds[rows] = self.input_contributions(matrix[rows]) @ summing
        return FamilyContributions(names, log_odds, self._base_log_odds)

    def input_contributions(self, matrix: np.ndarray) -> np.ndarray:
        """What each input adds to the log-odds (n, inputs), in matrix order, of inputs (n, inputs)."""
        return self.calibrator.slope * contributions(self.booster, matrix)[:, :-1]

    def with_thresholds(self, thresholds: Thresholds) -> FraudModel:
        """The same model with learned thresholds (``models.fraud.capacity.learned_thresholds``)."""
        return replace(self, thresholds=thresholds)

    def save(self, folder: Path) -> None:
        """Write ``model.txt`` (LightGBM text) and ``model.json`` into the folder, creating it."""
        folder.mkdir(parents=True, exist_ok=True)
        facts = {
            "encoding": self.encoding.to_dict(),
            "calibrator": self.calibrator.to_dict(),
            "families": self.families,
            "base_rate": self.base_rate,
            "absent_signals": list(self.absent_signals),
            "thresholds": self.thresholds.to_dict(),
            "extras": self.extras.to_dict(),
            "metadata": self.metadata,
        }
        (folder / TREES_FILE).write_text(self.booster.model_to_string(), encoding="utf-8")
        (folder / FACTS_FILE).write_text(
            json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> FraudModel:
        """Read what :meth:`save` wrote; predictions are bit-identical to those of the saved model."""
        facts: Mapping = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        return cls(
            encoding=Encoding.from_dict(facts["encoding"]),
            booster=lightgbm.Booster(model_str=(folder / TREES_FILE).read_text(encoding="utf-8")),
            calibrator=Calibrator.from_dict(facts["calibrator"]),
            families=dict(facts["families"]),
            base_rate=facts["base_rate"],
            absent_signals=tuple(facts["absent_signals"]),
            thresholds=Thresholds.from_dict(facts["thresholds"]),
            extras=ExtraInputs.from_dict(facts["extras"]),
            metadata=dict(facts["metadata"]),
        )

    @cached_property
    def _family_sum(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Family names (k,), and the 0/1 matrix (inputs, k) that sums inputs within them."""
        of_input = [self.families[name] for name in self.encoding.names]
        names = tuple(dict.fromkeys(of_input))
        return names, np.array([[float(family == name) for name in names] for family in of_input])

    @cached_property
    def _base_log_odds(self) -> float:
        """Calibrated log-odds of the average trade: the constant that TreeSHAP reports with every row."""
        nothing = np.full((1, len(self.encoding.names)), np.nan)
        return float(self.calibrator.log_odds(contributions(self.booster, nothing)[:, -1])[0])
