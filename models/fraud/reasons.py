"""Why a trade looks risky: the families of features that raise its risk most, each with its reason."""

from __future__ import annotations

import numpy as np

from models.fraud.model import FamilyContributions
from models.fraud.reason_dictionary import CASES, NO_RISK_SIGNALS, OTHER_RISK_SIGNALS, Case
from models.matrix import Columns
from models.reasons import Reason

MOST_REASONS = 3

LEAST_LOG_ODDS = 0.2
"""A family that raises the odds of fraud by less than about a fifth is not worth naming."""

LEAST_OF_STRONGEST = 0.25
"""Nor is one with less than this share of what the strongest adds: which of the weak ones comes third is chance, and
would be another one after the next training."""


def reason_codes(contributions: FamilyContributions, columns: Columns) -> list[tuple[Reason, ...]]:
    """Reasons of n trades: for each, up to three families that raise its risk most, the strongest first.

    columns are the feature columns (n,) the contributions were computed from; they decide which case of a
    family is true of the trade. A trade no riskier than the average one, or without a family worth naming
    (:data:`LEAST_LOG_ODDS`, :data:`LEAST_OF_STRONGEST`), gets NO_RISK_SIGNALS alone.
    """
    log_odds = contributions.log_odds
    told = [family_reasons(family, columns, len(log_odds)) for family in contributions.families]
    return [
        tuple(dict.fromkeys(told[family][row] for family in families)) or (NO_RISK_SIGNALS,)
        for row, families in enumerate(named_families(log_odds))
    ]


def family_reasons(family: str, columns: Columns, rows: int) -> list[Reason]:
    """What is told of a family where it is named: the first case that is true of each of the trades (rows,)."""
    cases = CASES.get(family, (Case(OTHER_RISK_SIGNALS),))
    if len(cases) == 1:
        return [cases[0].reason] * rows
    return [cases[index].reason for index in _first_true(cases, columns, rows).tolist()]


def named_families(log_odds: np.ndarray) -> list[tuple[int, ...]]:
    """Which families (columns of log_odds (n, k)) are worth naming, up to three, the strongest first; none where they
    do not raise the risk together."""
    strongest = np.argsort(-log_odds, axis=1, kind="stable")[:, :MOST_REASONS]
    added = np.take_along_axis(log_odds, strongest, axis=1)
    named = added >= np.maximum(LEAST_LOG_ODDS, LEAST_OF_STRONGEST * added[:, :1])
    named &= log_odds.sum(axis=1, keepdims=True) > 0
    return [tuple(families[kept].tolist()) for families, kept in zip(strongest, named, strict=True)]


def _first_true(cases: tuple[Case, ...], columns: Columns, rows: int) -> np.ndarray:
    """Position (rows,) of the first case whose facts all hold."""
    position = np.full(rows, len(cases) - 1)
    for index in range(len(cases) - 2, -1, -1):
        holds = np.ones(rows, dtype=bool)
        for fact in cases[index].facts:
            holds &= fact.holds(columns, rows)
        position[holds] = index
    return position
