"""Which models answer a step of a backtest: fitted on what was known when it began, or registered ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from features.definitions import FEATURES
from features.rows import to_microseconds
from models.discount.model import DiscountModel
from models.discount.training import DiscountFitError
from models.fraud.model import FraudModel
from models.fraud.rules import RuleBook
from models.fraud.training import FraudTrainingError
from models.quoting import ModelPair
from models.registry import CHALLENGER, CHAMPION, ModelRegistry, ModelVersion
from pipelines.champions import load_pair
from pipelines.settings import Settings
from pipelines.training import discount, fraud
from pipelines.training.examples import Examples
from pipelines.training.splitting import TooLittleHistory

NO_PAIR = ModelPair(discount=None, fraud=None)
WITHOUT = {
    "discount": "prices are the fallback's, nothing is predicted",
    "fraud": "every trade is held",
}
"""What an answer without the model is, as in the live service."""


class NoSuchPair(LookupError):
    """The registry holds no model under the alias."""


@dataclass(frozen=True)
class StepModels:
    """The pair that answers a step. notes: what is unusual about it. known_trades: what a fit could learn from."""

    models: ModelPair
    known_trades: int | None
    notes: tuple[str, ...]


def moment(time_us: int) -> datetime:
    """An int64 µs as an aware UTC time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(time_us))


def known_at(examples: Examples, cut: int) -> Examples:
    """What was known at ``cut`` (µs): the trades submitted before it, and neither outcomes nor times of later."""
    known = examples.known_before(cut)

    def until(times: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(values), times, -1)

    return replace(
        known,
        decided_at=until(known.decided_at, known.accepted),
        resold_at=until(known.resold_at, known.resale_rate),
        fraud_known_at=until(known.fraud_known_at, known.fraud),
    )


def fit_pair(
    examples: Examples, *, cut: int, before: ModelPair, settings: Settings, rules: RuleBook = fraud.NO_RULES
) -> StepModels:
    """Both models, fitted as `huika train --until` would at ``cut`` (µs), but for what pauses of labels would teach the
    fraud model: in a replay labels never pause. A refused fit leaves the model of
    ``before`` in its place, as it would live, or none."""
    known, day = known_at(examples, cut), f"{moment(cut):%Y-%m-%d}"
    price, price_notes = _fit_or_keep("discount", _fit_discount, known, before.discount, settings)
    fit_fraud = partial(_fit_fraud, rules=rules)
    risk, risk_notes = _fit_or_keep("fraud", fit_fraud, known, before.fraud, settings)
    pair = ModelPair(
        discount=price,
        fraud=risk,
        discount_version=before.discount_version if price is before.discount else day,
        fraud_version=before.fraud_version if risk is before.fraud else day,
    )
    if price is not None and price is not before.discount and price.training.fallbacks:
        price_notes = (*price_notes, f"the discount model rests on {', '.join(price.training.fallbacks)}")
    return StepModels(models=pair, known_trades=len(known), notes=(*price_notes, *risk_notes))


def _fit_or_keep(
    name: str,
    fit: Callable[[Examples, Settings], Any],
    known: Examples,
    former: Any,
    settings: Settings,
) -> tuple[Any, tuple[str, ...]]:
    """A fitted model, or the former one and why."""
    try:
        if len(known) == 0:
            raise TooLittleHistory("no trade was submitted before")
        return fit(known, settings), ()
    except (TooLittleHistory, FraudTrainingError, DiscountFitError) as refusal:
        instead = WITHOUT[name] if former is None else "the model of the step before answers"
        return former, (f"no {name} model could be fitted ({refusal}); {instead}",)


def _fit_discount(known: Examples, settings: Settings) -> DiscountModel:
    return discount.fit(known, registry=FEATURES, settings=settings)


def _fit_fraud(known: Examples, settings: Settings, *, rules: RuleBook) -> FraudModel:
    split = fraud.split_fraud(known, settings)
    judged = fraud.fit(known.taken(split.train), registry=FEATURES, settings=settings)
    judged = fraud.rationed_judge(judged, known, split, settings, rules=rules)
    return fraud.serving_model(
        known, judged=judged, split=split, registry=FEATURES, settings=settings, rules=rules
    )


def registered_pair(registry: ModelRegistry, *, alias: str, submitted_at: np.ndarray) -> StepModels:
    """The champions, or the challengers with the champion where there is none of a kind. Raises NoSuchPair.

    submitted_at: int64 µs of the period's trades; the notes say how many of them a model has learned from.
    """
    pair, aliases = load_pair(registry, alias=alias), {"discount": alias, "fraud": alias}
    if pair.discount is None and pair.fraud is None:
        raise NoSuchPair(
            f"no {alias} to replay; `huika train` makes the first champion, later ones challenge"
        )
    notes: list[str] = []
    if alias == CHALLENGER:
        pair, aliases, filled = _filled(pair, load_pair(registry))
        notes += filled
    for name, model in (("discount", pair.discount), ("fraud", pair.fraud)):
        if model is None:
            notes.append(f"there is no {name} model to be had as {alias}; {WITHOUT[name]}")
            continue
        version = registry.version(name, aliases[name])
        notes += _overlap(version, submitted_at)
    return StepModels(models=pair, known_trades=None, notes=tuple(notes))


def _filled(pair: ModelPair, champions: ModelPair) -> tuple[ModelPair, dict[str, str], list[str]]:
    """The pair with the champion where it lacks a model, the alias of each, and notes that say so."""
    aliases, notes = {"discount": CHALLENGER, "fraud": CHALLENGER}, []
    for name in aliases:
        if getattr(pair, name) is None and getattr(champions, name) is not None:
            parts = (name, f"{name}_version", f"{name}_pins")
            pair = replace(pair, **{part: getattr(champions, part) for part in parts})
            aliases[name] = CHAMPION
            notes.append(f"there is no {name} challenger; the champion answers")
    return pair, aliases, notes


def _overlap(version: ModelVersion, submitted_at: np.ndarray) -> list[str]:
    until = datetime.fromisoformat(version.tags["trained_until"])
    seen = int((submitted_at < to_microseconds(until)).sum())
    if seen == 0:
        return []
    return [
        f"NOT A FAIR TEST: {version.name} version {version.version} learned from trades until {until:%Y-%m-%d %H:%M}, "
        f"{seen:,} of this period's {len(submitted_at):,} trades ({seen / len(submitted_at):.0%}) among them; its "
        f"figures on those are flattering"
    ]
