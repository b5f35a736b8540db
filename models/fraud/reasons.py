"""Why a trade looks risky: the families of features that raise its risk most, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence

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


def reason_codes(
    contributions: FamilyContributions, columns: Columns, rows: Sequence[int] | None = None
) -> list[tuple[Reason, ...]]:
    """Reasons of n trades: for each, up to three families that raise its risk most, the strongest first.

    columns: the feature columns that the contributions were computed from; they decide which case of a family is true
    of a trade. rows: where the n trades stand in them; None: they are all of them. A trade no riskier than the average
    one, or without a family worth naming (:data:`LEAST_LOG_ODDS`, :data:`LEAST_OF_STRONGEST`), gets NO_RISK_SIGNALS
    alone.
    """
    named = named_families(contributions.log_odds)
    return [
        tuple(dict.fromkeys(family_reason(contributions.families[place], columns, row) for place in families))
        or (NO_RISK_SIGNALS,)
        for row, families in zip(range(len(named)) if rows is None else rows, named, strict=True)
    ]


def family_reason(family: str, columns: Columns, row: int) -> Reason:
    """What is told of a family where it is named: the first case that is true of the trade in this row."""
    cases = CASES.get(family, (Case(OTHER_RISK_SIGNALS),))
    told = (case.reason for case in cases if all(fact.holds(columns, row) for fact in case.facts))
    return next(told, cases[-1].reason)


def named_families(log_odds: np.ndarray) -> list[tuple[int, ...]]:
    """Which families (columns of log_odds (n, k)) are worth naming, up to three, the strongest first; none where they
    do not raise the risk together."""
    sums = log_odds.sum(axis=1).tolist()
    return [
        _worth_naming(row) if together > 0 else ()
        for row, together in zip(log_odds.tolist(), sums, strict=True)
    ]


def _worth_naming(added: Sequence[float]) -> tuple[int, ...]:
    strongest = sorted(range(len(added)), key=lambda place: -added[place])[:MOST_REASONS]
    least = max(LEAST_LOG_ODDS, LEAST_OF_STRONGEST * added[strongest[0]])
    return tuple(place for place in strongest if added[place] >= least)
