"""Everything a fraud report is made from, read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from features.catalogue import Catalogue, workspace_catalogue
from features.definitions import FEATURES
from features.rows import microseconds
from features.training_set import Progress
from models.evaluation.fraud import Judged
from models.fraud.explanation import Explanation
from models.quoting import Terms
from models.registry import CHAMPION, ModelVersion
from pipelines.application_data import ApplicationData
from pipelines.champions import load_pair
from pipelines.reporting.fraud_basis import Basis
from pipelines.reporting.fraud_cases import (
    Cases,
    Judgeable,
    Maturity,
    NothingToReport,
    Period,
    cases_within,
    classes,
    find_period,
    judgeable,
    label_maturity,
)
from pipelines.reporting.fraud_scoring import (
    Champion,
    Said,
    Watched,
    answered,
    explained,
    learned_sample,
    said_of,
)
from pipelines.reporting.tables import Words, utc
from pipelines.screening.history import RuleTest, try_rules
from pipelines.screening.list_data import ListData
from pipelines.screening.lists_tried import lists_tried
from pipelines.settings import Settings
from pipelines.stored_features import StoredFeatures, stored_training_set
from pipelines.terms import terms_of
from pipelines.training.collecting import collect_workspace, last_quotes
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace

OPEN_CASES = 50


@dataclass(frozen=True)
class Material:
    """One period of trades with what was said and what is known.

    learned: scores and features of trades the champion was fitted on. open_rows: cases worth a look, the first first,
    and why the champion says what it says of each. events: fraud events that were told, by the time they became known.
    version: the champion as registered. rules: those that are not off, and lists, tried on the period; None where
    there are none.
    """

    period: Period
    maturity: Maturity
    cases: Cases
    judge: Judgeable
    said: Said
    watched: Watched
    learned: Watched
    open_rows: np.ndarray
    explanations: Sequence[Explanation]
    champion: Champion
    version: ModelVersion
    rules: RuleTest | None
    events: Sequence[Mapping[str, Any]]
    settings: Settings
    catalogue: Catalogue

    @cached_property
    def classes(self) -> dict[str, np.ndarray]:
        """What is known of each trade."""
        return classes(self.cases, self.maturity, self.said.action)

    @cached_property
    def told(self) -> Basis:
        """What was told and done when it was recorded, else what is computed now: to judge the scores as they were."""
        return self._basis(self.said.probability, self.said.action, seen=self.said.in_sample)

    @cached_property
    def own(self) -> Basis:
        """The champion's own scores and decisions of all trades: to judge the model that answers today."""
        return self._basis(self.said.computed, self.said.modelled, seen=self.said.learned)

    def _basis(self, probability: np.ndarray, action: np.ndarray, *, seen: np.ndarray) -> Basis:
        fair = self.judge.fair & np.isfinite(probability)
        return Basis(probability, action, unseen=fair & ~seen, in_sample=fair & seen, fraud=self.cases.fraud)

    def flattered(self, words: Words, rows: np.ndarray | None = None) -> Words:
        """A title that says where the champion's part flatters. rows: mask (n,) or places of the trades it is about,
        None: all."""
        seen = int((self.said.learned if rows is None else self.said.learned[rows]).sum())
        if seen == 0:
            return words
        return Words(
            f"{words.zh}（现任模型部分含样本内 {seen:,} 笔，偏乐观）",
            f"{words.en} (the champion's part holds {seen:,} in-sample trades: it flatters)",
        )

    def judged(self, basis: Basis, rows: np.ndarray | None = None) -> Judged:
        """A basis as the evaluation takes it. rows (n,) bool or places: only these; None: all that it rests on."""
        cases, rows = self.cases, basis.rows if rows is None else rows
        return Judged(
            fraud=cases.is_fraud[rows],
            probability=basis.probability[rows],
            submitted_at=cases.submitted_at[rows] // 1000,
            seller_id=cases.seller_id[rows],
            action=basis.action[rows],
            payout_fen=cases.at_risk_fen[rows],
            face_value_fen=cases.face_value_fen[rows],
            weight=self.judge.weight[rows],
        )


def read_material(
    workspace: Workspace,
    *,
    since: datetime | None,
    until: datetime | None,
    now: datetime,
    progress: Progress,
) -> Material:
    """Bring in what the service recorded, and answer the period's trades; lists are tried as they are ``now``. Raises
    NothingToReport."""
    collect_workspace(workspace)
    catalogue = workspace_catalogue(workspace.tables)
    submitted = microseconds(workspace.tables.read("trades", ["submitted_at"])["submitted_at"])
    period = find_period(submitted, since=since, until=until)
    champion, version = _champion(workspace)
    terms, data = terms_of(workspace), ApplicationData(workspace.application_url)
    features = StoredFeatures(
        workspace=workspace,
        built=stored_training_set(workspace, progress=progress),
        names=FEATURES.names(),
        former=tuple(champion.pins.values()),
    )
    trades = features.built.trades
    cases, maturity = cases_within(trades, period, catalogue=catalogue), label_maturity(trades)
    computed = answered(cases, champion=champion, features=features, terms=terms, progress=progress)
    said = said_of(cases, computed, champion=champion, quotes=last_quotes(data, store=workspace.tables))
    to_review = open_rows(cases, said, maturity)
    return Material(
        period=period,
        maturity=maturity,
        cases=cases,
        judge=judgeable(cases, maturity),
        said=said,
        watched=computed.watched,
        open_rows=to_review,
        explanations=explained(cases, to_review, champion=champion, features=features),
        learned=learned_sample(microseconds(trades["submitted_at"]), champion=champion, features=features),
        champion=champion,
        version=version,
        rules=_rules(workspace, terms, period, now, progress),
        events=[event for event in data.all_events() if event["kind"].startswith("fraud_")],
        settings=workspace.settings,
        catalogue=catalogue,
    )


def open_rows(cases: Cases, said: Said, maturity: Maturity) -> np.ndarray:
    """Rows of the OPEN_CASES trades that stand first in the analysts' queue: those that may still go wrong."""
    known = classes(cases, maturity, said.action)
    rows = np.flatnonzero((known["ripening"] | known["overdue"]) & np.isfinite(said.priority_fen))
    return rows[np.argsort(-said.priority_fen[rows], kind="stable")[:OPEN_CASES]]


def _rules(
    workspace: Workspace, terms: Terms, period: Period, now: datetime, progress: Progress
) -> RuleTest | None:
    """Rules, limits and what stands on lists, as far as it counts or is watched, live ones first."""
    listed = ListData.open(ApplicationData(workspace.application_url)).active(now=now)
    book = (*terms.rules.rules, *terms.rules.limits, *lists_tried(listed))
    chosen = [rule for mode in ("live", "shadow") for rule in book if rule.mode == mode]
    if not chosen:
        return None
    since, until = (utc(at) for at in (period.since, period.until))
    return try_rules(workspace, chosen, since=since, until=until, progress=progress)


def _champion(workspace: Workspace) -> tuple[Champion, ModelVersion]:
    """The fraud model that serves. Raises NothingToReport."""
    registry = model_registry(workspace)
    pair = load_pair(registry)
    if pair.fraud is None:
        raise NothingToReport(
            "no fraud model to score the trades with; train one with `huika train fraud` (trades need fraud labels)"
        )
    facts: Any = pair.fraud.metadata
    champion = Champion(
        model=pair.fraud,
        pins=pair.fraud_pins,
        version=str(pair.fraud_version),
        learned_from=int(facts["submitted_at_first_ms"]),
        learned_to=int(facts["submitted_at_last_ms"]),
    )
    return champion, registry.version("fraud", CHAMPION)
