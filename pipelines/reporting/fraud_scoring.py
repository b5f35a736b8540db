"""What was said about each trade: recorded when it was quoted, and answered now by the champion as of its moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from features.definitions import FEATURES
from features.training_set import Progress
from models.fraud.explanation import Explanation, explain
from models.fraud.model import FraudModel
from models.fraud.verdicts import verdicts
from models.matrix import Columns
from models.quoting import Terms, as_trained
from models.reasons import Reason
from pipelines.reporting.fraud_cases import Cases
from pipelines.stored_features import Chunk, StoredFeatures

MOST_REFERENCE = 20_000
FOLLOWED = 10
"""Features whose drift is followed: those the model gains most from."""
NEW_SELLER = "seller_count_all"

QUOTED, LOGGED, MODELLED = "quote", "log", "model"
"""Where a decision comes from: a quote of the service, the imported log, or the champion's answer of today."""


@dataclass(frozen=True)
class Champion:
    """The model that answers today. learned_from, learned_to: int64 ms, submissions of the trades it was fitted on."""

    model: FraudModel
    pins: Mapping[str, str]
    version: str
    learned_from: int
    learned_to: int

    def learned(self, submitted_at: np.ndarray) -> np.ndarray:
        """Whether trades (n,) submitted at some µs belong to the time it was fitted on."""
        submitted_ms = submitted_at // 1000
        return (submitted_ms >= self.learned_from) & (submitted_ms <= self.learned_to)

    def known(self, columns: Columns) -> Columns:
        """The columns as the model knows them."""
        return as_trained(columns, self.pins)

    @property
    def followed(self) -> tuple[str, ...]:
        """The inputs it gains most from, the most important first."""
        gain = self.model.booster.feature_importance("gain")
        order = np.argsort(-gain, kind="stable")[:FOLLOWED]
        return tuple(self.model.encoding.names[place] for place in order if gain[place] > 0)


@dataclass(frozen=True)
class Said:
    """Answers about n trades, (n,) each.

    probability: as told when the trade was quoted (``recorded``), or computed now. computed: the champion's own, of
    all trades. action: what was done, by ``origin``: QUOTED, LOGGED, or MODELLED for what the champion and the
    platform's profile would do. modelled: the champion's own decision, of all trades. saving_fen: the money that a
    review saves by the champion's probability. priority_fen: its place in the queue, with fraud weighed as for the
    decision. learned: the champion was fitted on trades of that time, so that whatever is its own (computed, modelled,
    saving_fen, priority_fen) flatters there. new_seller: 1, 0, or NaN where unknown. reasons: n of them,
    the champion's.
    """

    probability: np.ndarray
    computed: np.ndarray
    recorded: np.ndarray
    action: np.ndarray
    origin: np.ndarray
    modelled: np.ndarray
    saving_fen: np.ndarray
    priority_fen: np.ndarray
    learned: np.ndarray
    new_seller: np.ndarray
    reasons: Sequence[tuple[Reason, ...]]

    @property
    def in_sample(self) -> np.ndarray:
        """Trades (n,) bool whose ``probability`` comes from a model that was fitted on trades of their time: what was
        told when a trade was quoted never does."""
        return self.learned & ~self.recorded


@dataclass(frozen=True)
class Watched:
    """Scores (n,) and the followed inputs (n,) of trades, for drift."""

    probability: np.ndarray
    columns: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Computed:
    """The champion's answers about m trades, with what is followed."""

    probability: np.ndarray
    action: np.ndarray
    modelled: np.ndarray
    saving_fen: np.ndarray
    priority_fen: np.ndarray
    new_seller: np.ndarray
    followed: Mapping[str, np.ndarray]
    reasons: Sequence[tuple[Reason, ...]]

    @property
    def watched(self) -> Watched:
        return Watched(probability=self.probability, columns=self.followed)


def answered(
    cases: Cases, *, champion: Champion, features: StoredFeatures, terms: Terms, progress: Progress
) -> Computed:
    """The champion's answers about all trades."""
    parts: list[Computed] = []
    rows: list[np.ndarray] = []
    for chunk in features.chunks(cases.place):
        for part in _by_offer(cases, chunk):
            parts.append(_answered(cases, part, champion=champion, terms=terms))
            rows.append(part.rows)
        progress(int(chunk.rows[-1]) + 1, len(cases))
    order = np.argsort(np.concatenate(rows))
    columns = ("probability", "action", "modelled", "saving_fen", "priority_fen", "new_seller")
    followed = _together([part.followed for part in parts], champion.followed)
    reasons = [reasons for part in parts for reasons in part.reasons]
    return Computed(
        **{name: np.concatenate([getattr(part, name) for part in parts])[order] for name in columns},
        followed={name: column[order] for name, column in followed.items()},
        reasons=[reasons[place] for place in order],
    )


def _by_offer(cases: Cases, chunk: Chunk) -> Iterator[Chunk]:
    """The trades with a logged offer, and those without: all of one part have thresholds of one kind."""
    priced = cases.priced[chunk.rows]
    for own in (priced, ~priced):
        if own.any():
            yield Chunk(chunk.rows[own], {name: column[own] for name, column in chunk.columns.items()})


def _answered(cases: Cases, chunk: Chunk, *, champion: Champion, terms: Terms) -> Computed:
    """The champion's answers about trades that all have a logged offer, or none."""
    columns = champion.known(chunk.columns)
    priced = bool(cases.priced[chunk.rows[0]])
    found = verdicts(
        model=champion.model,
        columns=columns,
        payout_fen=cases.at_risk_fen[chunk.rows] if priced else None,
        face_value_fen=cases.face_value_fen[chunk.rows],
        costs=terms.costs,
        decision=terms.decision,
        profile=terms.profile,
        explain_paid=True,
    )
    before = columns[NEW_SELLER]
    return Computed(
        probability=found.probability,
        action=found.action,
        modelled=found.decisions.action,
        saving_fen=found.decisions.review_saving_fen,
        priority_fen=found.decisions.review_priority_fen,
        new_seller=np.where(np.isnan(before), np.nan, before == 0),
        followed=_followed(champion, columns),
        reasons=found.reasons,
    )


def said_of(
    cases: Cases, computed: Computed, *, champion: Champion, quotes: Mapping[str, Mapping[str, Any]]
) -> Said:
    """What was told where a trade was quoted, else what is computed. quotes: the answer that counts, by trade."""
    answers = [quotes.get(trade_id) for trade_id in cases.trade_id]
    told = np.array([np.nan if one is None else _known(one["fraud_probability"]) for one in answers])
    recorded = np.isfinite(told)
    decision = np.array([None if one is None else one["decision"] for one in answers], dtype=object)
    quoted, logged = (np.array([one is not None for one in column]) for column in (decision, cases.decision))
    return Said(
        probability=np.where(recorded, told, computed.probability),
        computed=computed.probability,
        recorded=recorded,
        action=np.where(quoted, decision, np.where(logged, cases.decision, computed.action)),
        origin=np.where(quoted, QUOTED, np.where(logged, LOGGED, MODELLED)).astype(object),
        modelled=computed.modelled,
        saving_fen=computed.saving_fen,
        priority_fen=computed.priority_fen,
        learned=champion.learned(cases.submitted_at),
        new_seller=computed.new_seller,
        reasons=computed.reasons,
    )


def learned_sample(submitted_at: np.ndarray, *, champion: Champion, features: StoredFeatures) -> Watched:
    """At most MOST_REFERENCE of the stored trades (submitted_at int64 µs of all) of the time the champion was fitted
    on, evenly spread."""
    places = np.flatnonzero(champion.learned(submitted_at))
    places = places[:: max(1, -(-len(places) // MOST_REFERENCE))]
    columns = [champion.known(chunk.columns) for chunk in features.chunks(places)]
    parts = [Watched(champion.model.probability(part), _followed(champion, part)) for part in columns]
    return Watched(
        probability=np.concatenate([np.empty(0), *(part.probability for part in parts)]),
        columns=_together([part.columns for part in parts], champion.followed),
    )


def explained(
    cases: Cases, rows: np.ndarray, *, champion: Champion, features: StoredFeatures
) -> tuple[Explanation, ...]:
    """The champion's probability of some rows taken apart, as of each trade."""
    order = np.argsort(rows)
    found: list[Explanation] = []
    for chunk in features.chunks(cases.place[rows[order]]):
        columns = champion.known(chunk.columns)
        for place in range(len(chunk.rows)):
            own = {name: column[place : place + 1] for name, column in columns.items()}
            found.append(explain(champion.model, own, registry=FEATURES))
    return tuple(found[place] for place in np.argsort(order))


def _followed(champion: Champion, columns: Columns) -> dict[str, np.ndarray]:
    inputs = champion.model.extras.expand(columns)
    return {name: inputs[name] for name in champion.followed}


def _together(parts: Sequence[Columns], names: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) if parts else np.empty(0) for name in names}


def _known(value: float | None) -> float:
    return np.nan if value is None else float(value)
