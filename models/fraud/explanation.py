"""Why the fraud model says what it says, in figures and values: for analysts, never for who sells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from features.registry import Registry, UnknownFeature
from models.fraud.model import FraudModel
from models.fraud.reasons import family_reason, named_families
from models.matrix import Columns
from models.reasons import Reason

MOST_SIGNALS = 3
LEAST_SIGNAL = 0.02
"""An input that moves the log-odds by less is not worth an analyst's look."""


@dataclass(frozen=True)
class Signal:
    """One input of the model: its value (a number, a category, None where there is none), what that adds to the
    log-odds, and the dictionary's words for it; null: what it means that there is no value, else empty."""

    name: str
    value: float | str | None
    log_odds: float
    unit: str
    meaning: str
    zh: str
    null: str


@dataclass(frozen=True)
class FamilyExplanation:
    """What one family of features adds to the log-odds, with its strongest signals in the direction of the family.
    reason: how the family is put to a seller; named: whether it is, as far as the model alone decides and
    unless the trade is simply paid."""

    family: str
    log_odds: float
    reason: Reason
    named: bool
    signals: tuple[Signal, ...]


@dataclass(frozen=True)
class Explanation:
    """One trade's probability taken apart: ``base_log_odds`` and the families' log-odds sum to its log-odds, exactly.

    base_probability: the average trade's. families: the strongest first, in either direction.
    """

    probability: float
    base_probability: float
    base_log_odds: float
    families: tuple[FamilyExplanation, ...]


def explain(model: FraudModel, columns: Columns, *, registry: Registry) -> Explanation:
    """Explain one trade; columns (1,) are its features as the model knows them."""
    columns = model.extras.expand(columns)
    matrix = model.matrix(columns)
    added = model.input_contributions(matrix)[0]
    parts = model.contributions_of(matrix)
    probability = float(model.probability_of(matrix)[0])
    # As the verdicts do: no family of a trade that is no riskier than the average one is put to its seller.
    named = named_families(parts.log_odds)[0] if probability > model.base_rate else ()
    order = np.argsort(-np.abs(parts.log_odds[0]), kind="stable").tolist()
    return Explanation(
        probability=probability,
        base_probability=float(expit(parts.base)),
        base_log_odds=parts.base,
        families=tuple(
            FamilyExplanation(
                family=parts.families[place],
                log_odds=float(parts.log_odds[0, place]),
                reason=family_reason(parts.families[place], columns, 0),
                named=place in named,
                signals=_signals(model, parts.families[place], added, columns, registry),
            )
            for place in order
        ),
    )


def _signals(
    model: FraudModel, family: str, added: np.ndarray, columns: Columns, registry: Registry
) -> tuple[Signal, ...]:
    """The inputs of a family that move its sum most, in the sum's own direction."""
    names = model.encoding.names
    own = np.array([place for place, name in enumerate(names) if model.families[name] == family])
    towards = added[own] * np.sign(added[own].sum())
    strongest = np.argsort(-towards, kind="stable")[:MOST_SIGNALS]
    return tuple(
        _signal(names[own[place]], columns, float(added[own[place]]), registry)
        for place in strongest
        if towards[place] >= LEAST_SIGNAL
    )


def _signal(name: str, columns: Columns, log_odds: float, registry: Registry) -> Signal:
    value = columns[name][0]
    if value is not None and not isinstance(value, str):
        value = None if np.isnan(value) else float(value)
    try:
        feature = registry[name]
    except UnknownFeature:
        return Signal(name, value, log_odds, unit="", meaning=name, zh=name, null="")
    null = feature.null if value is None else ""
    return Signal(name, value, log_odds, unit=feature.unit, meaning=feature.meaning, zh=feature.zh, null=null)
