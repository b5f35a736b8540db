"""Fit and judge the fraud model on one workspace's examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from features.definitions import FEATURES
from features.registry import Registry
from models.evaluation.fraud import DAY_MS, FraudMetrics, Judged, evaluate_fraud
from models.fraud.capacity import HonestRefused, learned_thresholds, most_shares
from models.fraud.decision import ACTIONS, HOLD, PAY, REVIEW, Decisions, Thresholds, decide
from models.fraud.early_labels import EarlyLabels, early_labels
from models.fraud.family_words import absent_families
from models.fraud.labels import Lessons, label_figures, lessons
from models.fraud.model import FraudModel
from models.fraud.rules import RuleBook
from models.fraud.training import FraudFitSettings, fit_fraud
from pipelines.settings import Settings
from pipelines.training.examples import Examples
from pipelines.training.splitting import Split, split_by_time

ABSENT_TAG = "absent_signals"
USUAL_FACE = "card_face_is_usual"
NO_RULES = RuleBook()
LEAST_UNSEEN = 1_000
"""Trades from which the share of each decision can be told."""

THRESHOLDS_FROM = "thresholds_from"
OWN_YOUNG, GAP_OF_JUDGED, JUDGED_TRADES, OWN_SEEN = (
    "own_young_trades",
    "judged_model_label_gap",
    "judged_model_and_trades",
    "both_models_on_trades_behind_the_judged",
)
"""Metadata of a model: which trades its thresholds were learned on, and by which model's probabilities. The second and
third are the judged model's; the third, where labels have no delay, are learned on the trades that judge, so that the
judged shares flatter. The last serve where too few trades are young: the limits hold for the probabilities of the
judged model, which has not seen those trades, and for those of the serving model, which has but may stand on another
level."""

STRETCHES = 4
"""Limits on shares hold in each of so many stretches of the trades that thresholds are learned on, so that they hold in
a month that differs from these as much as they do among themselves."""


def split_fraud(examples: Examples, settings: Settings) -> Split:
    """Time-forward split on the labels that count (:class:`models.fraud.labels.Lessons`).

    Honest labels tell how long maturity takes: those given for want of a complaint where there are any, for an
    analyst clears a trade sooner. Refused trades may train the model, but do not judge it.
    """
    taught = taught_by(examples)
    honest = taught.counts & (examples.fraud == 0)
    matured = honest & np.isin(examples.label_source.astype(str), ("matured", "None"))
    split = split_by_time(
        submitted_at=examples.submitted_at,
        known_at=np.where(taught.counts, examples.fraud_known_at, -1),
        slow=matured if matured.any() else honest,
        test_share=settings.training.test_share,
    )
    fair = split.test[taught.fair[split.test]]
    return replace(split, test=fair) if len(fair) else split


def taught_by(examples: Examples) -> Lessons:
    """Which labels count, and how many trades each stands for."""
    return lessons(
        fraud=examples.fraud,
        decision=examples.decision,
        source=examples.label_source,
        let_through=examples.let_through,
    )


def label_facts(examples: Examples) -> dict[str, float]:
    """Where the labels of all examples come from, how late, and what was left out or weighted."""
    return label_figures(
        fraud=examples.fraud,
        decision=examples.decision,
        source=examples.label_source,
        let_through=examples.let_through,
        delay_us=examples.fraud_known_at - examples.submitted_at,
    )


def with_label_facts(model: FraudModel, facts: Mapping[str, float]) -> FraudModel:
    """The model with :func:`label_facts` in its metadata."""
    return replace(model, metadata={**model.metadata, "labels": dict(facts)})


def fit(examples: Examples, *, registry: Registry, settings: Settings) -> FraudModel:
    """Fit on examples whose label has matured."""
    return fit_fraud(
        columns=examples.columns,
        fraud=examples.fraud == 1,
        submitted_at=examples.submitted_ms,
        weight=taught_by(examples).weight,
        names=registry.names("fraud"),
        families=registry.families(),
        settings=_fit_settings(settings, registry),
        paused=examples.paused or None,
    )


def _fit_settings(settings: Settings, registry: Registry) -> FraudFitSettings:
    return FraudFitSettings(
        seed=settings.training.seed,
        threads=settings.training.threads,
        rising=registry.rising_risks(),
        own_facts=registry.own_facts(),
    )


def serving_model(
    examples: Examples,
    *,
    judged: FraudModel,
    split: Split,
    registry: Registry,
    settings: Settings,
    rules: RuleBook = NO_RULES,
) -> FraudModel:
    """The model that will serve: number of trees and calibrator from trades whose label has matured, then fitted again
    with what the younger ones already tell. Its thresholds are its own, from those younger ones where they are enough:
    it has seen their early labels, which is little beside what another model's probabilities differ by."""
    model = fit(examples.taken(split.final), registry=registry, settings=settings)
    early = early_of(examples, split)
    if early.fraud.any():
        model = _with_early(model, early, examples, split=split, registry=registry, settings=settings)
    return rationed(model, judged=judged, examples=examples, split=split, settings=settings, rules=rules)


def _with_early(
    matured: FraudModel,
    early: EarlyLabels,
    examples: Examples,
    *,
    split: Split,
    registry: Registry,
    settings: Settings,
) -> FraudModel:
    rows = np.concatenate([split.final, early.rows])
    learned = examples.taken(rows)
    model = fit_fraud(
        columns=learned.columns,
        fraud=np.concatenate([examples.fraud[split.final] == 1, early.fraud]),
        submitted_at=learned.submitted_ms,
        weight=np.concatenate([taught_by(examples).weight[split.final], early.weight]),
        names=registry.names("fraud"),
        families=registry.families(),
        settings=_fit_settings(settings, registry),
        judged=matured,
        paused=learned.paused or None,
    )
    return replace(model, metadata={**model.metadata, "young_rows": len(early)})


def early_of(examples: Examples, split: Split) -> EarlyLabels:
    """What the trades after ``split.final`` teach already."""
    taught = taught_by(examples)
    return early_labels(
        submitted_at=examples.submitted_at,
        known_at=examples.fraud_known_at,
        fraud=examples.fraud,
        accepted=examples.accepted,
        refused=(examples.decision == "refuse") & ~np.isfinite(examples.let_through),
        taught=taught,
        mature=split.final,
    )


def absent_tag(model: FraudModel) -> dict[str, str]:
    """What the model had to do without, by family, as a tag of its version; none where nothing was missing."""
    families = absent_families(model.absent_signals, registry=FEATURES)
    return {ABSENT_TAG: "; ".join(map(str, families))} if families else {}


def rationed_judge(
    judged: FraudModel, examples: Examples, split: Split, settings: Settings, *, rules: RuleBook = NO_RULES
) -> FraudModel:
    """The model fitted on ``split.train`` with thresholds from the label gap behind it, or, where that is too short,
    from the judged trades themselves."""
    unseen = _behind(examples, split.train) & (examples.submitted_at < split.cut)
    has_gap = unseen.sum() >= LEAST_UNSEEN
    later = np.flatnonzero(unseen if has_gap else examples.submitted_at >= split.cut)
    thresholds = _thresholds([judged], examples.rows(later), settings, rules)
    return _with_thresholds(judged, thresholds, learned_from=GAP_OF_JUDGED if has_gap else JUDGED_TRADES)


def rationed(
    final: FraudModel,
    *,
    judged: FraudModel,
    examples: Examples,
    split: Split,
    settings: Settings,
    rules: RuleBook = NO_RULES,
) -> FraudModel:
    """The model that will serve with thresholds from the trades after ``split.final``, which are too young for a label.
    Where they are too few, as in a table labelled as a whole, from the trades behind ``split.train``, so that shares
    hold for it and for ``judged``. Its metadata say which (THRESHOLDS_FROM)."""
    unseen = _behind(examples, split.final)
    if unseen.sum() >= LEAST_UNSEEN:
        thresholds = _thresholds([final], examples.rows(np.flatnonzero(unseen)), settings, rules)
        return _with_thresholds(final, thresholds, learned_from=OWN_YOUNG)
    later = np.flatnonzero(_behind(examples, split.train))
    thresholds = _thresholds([judged, final], examples.rows(later), settings, rules)
    return _with_thresholds(final, thresholds, learned_from=OWN_SEEN)


def _with_thresholds(model: FraudModel, thresholds: Thresholds, *, learned_from: object) -> FraudModel:
    metadata = {**model.metadata, THRESHOLDS_FROM: learned_from}
    return replace(model.with_thresholds(thresholds), metadata=metadata)


def _behind(examples: Examples, trained: np.ndarray) -> np.ndarray:
    """Whether trades (n,) came after the newest of the rows ``trained``. Of these a model fitted on those rows has seen
    early labels at most."""
    return examples.submitted_at > examples.submitted_at[trained].max()


def _thresholds(
    models: Sequence[FraudModel], unseen: Examples, settings: Settings, rules: RuleBook
) -> Thresholds:
    """What each action must save so that no more trades are held, reviewed and refused than the settings allow, those
    included that ``rules`` and checks of the balance send there, whichever of the ``models`` says the probability.

    All trades count, labelled or not: a decision is made on every one. Whatever thresholds the model has are left
    aside, and so is the weight they were learned at.
    """
    probabilities = [model.probability(unseen.columns) for model in models]
    anyway = _anyway(unseen, rules)
    priced = _learned(probabilities, unseen, unseen.at_risk_fen, anyway, settings)
    unpriced = _learned(probabilities, unseen, unseen.face_value_fen, anyway, settings)
    return replace(
        priced,
        learned_for=settings.decision.taken_at_training(),
        unpriced=(unpriced.hold_fen, unpriced.review_fen, unpriced.refuse_fen),
    )


def _learned(
    probabilities: Sequence[np.ndarray],
    unseen: Examples,
    payout_fen: np.ndarray,
    anyway: np.ndarray,
    settings: Settings,
) -> Thresholds:
    days = len(np.unique(unseen.submitted_ms // DAY_MS))
    costs = [
        _decided(each, unseen, settings, payout_fen=payout_fen, thresholds=None).weighed_cost_fen
        for each in probabilities
    ]
    stretches = min(STRETCHES, max(len(unseen) // LEAST_UNSEEN, 1))
    return learned_thresholds(
        weighed_cost_fen=np.concatenate(costs),
        most_share=most_shares(settings.decision, trades_per_day=len(unseen) / max(days, 1)),
        anyway=np.tile(anyway, len(costs)),
        honest=HonestRefused(
            np.concatenate(probabilities), settings.decision.refuse_honest_most_share, sets=len(costs)
        ),
        stretches=stretches * len(costs),
    )


def _anyway(examples: Examples, rules: RuleBook) -> np.ndarray:
    """What each trade (n,) meets whatever the model says, by its place in ACTIONS: what live rules and limits ask for,
    and a hold where the balance is verified before payment (partly used cards, and face values that the card type is
    not issued with)."""
    partial = examples.issued_face_fen > examples.face_value_fen
    usual = examples.columns.get(USUAL_FACE)
    least = np.where(partial if usual is None else partial | (usual == 0), HOLD, PAY)
    for rule, hit in rules.hits(columns=examples.columns, submitted_at=examples.submitted_ms):
        if rule.mode == "live":
            least = np.maximum(least, np.where(hit, ACTIONS.index(rule.action), PAY))
    return least


def judged(model: FraudModel, examples: Examples, settings: Settings) -> Judged:
    """What the model says of examples it was not fitted on, and what it would have done with each."""
    probability = model.probability(examples.columns)
    return Judged(
        fraud=examples.fraud == 1,
        probability=probability,
        submitted_at=examples.submitted_ms,
        seller_id=examples.seller_id,
        action=_decided(
            probability, examples, settings, payout_fen=examples.at_risk_fen, thresholds=model.thresholds
        ).action,
        payout_fen=examples.at_risk_fen,
        face_value_fen=examples.face_value_fen,
        weight=taught_by(examples).weight,
    )


def judge(model: FraudModel, examples: Examples, settings: Settings) -> FraudMetrics:
    """The model's figures on examples it was not fitted on; alerts are counted up to the analysts' capacity."""
    return figures_of(judged(model, examples, settings), settings)


def figures_of(judged: Judged, settings: Settings) -> FraudMetrics:
    """Figures of trades and decisions, by the platform's costs."""
    return evaluate_fraud(
        judged,
        costs=settings.costs,
        decision=settings.decision,
        alerts_per_day=alerts_per_day(judged, settings),
    )


def alerts_per_day(judged: Judged, settings: Settings) -> int:
    """How many trades the analysts can look at on a usual day of the judged ones, 1 at least."""
    trades_per_day = len(judged) / max(len(np.unique(judged.submitted_at // DAY_MS)), 1)
    share = most_shares(settings.decision, trades_per_day=trades_per_day)[REVIEW]
    return max(1, round(share * trades_per_day))


def decisions(model: FraudModel, examples: Examples, settings: Settings) -> Decisions:
    """What the model would have done with each example."""
    return _decided(
        model.probability(examples.columns),
        examples,
        settings,
        payout_fen=examples.at_risk_fen,
        thresholds=model.thresholds,
    )


def _decided(
    probability: np.ndarray,
    examples: Examples,
    settings: Settings,
    *,
    payout_fen: np.ndarray,
    thresholds: Thresholds | None,
) -> Decisions:
    return decide(
        probability=probability,
        payout_fen=payout_fen,
        face_value_fen=examples.face_value_fen,
        costs=settings.costs,
        decision=settings.decision,
        thresholds=thresholds,
    )
