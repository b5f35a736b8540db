"""Explains one answer to a risk analyst: what moved the probability, and what each action was expected to cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from features.definitions import FEATURES
from features.registry import Registry, column_of
from models.fraud.decision import ACTIONS, Decisions
from models.fraud.explanation import Explanation, explain
from models.fraud.extras import EXTRAS
from models.fraud.family_words import absent_families
from models.fraud.model import FraudModel
from models.quoting import ModelPair
from models.registry import DamagedModel, ModelNotFound, ModelRegistry
from pipelines.application_data import ApplicationData
from pipelines.champions import load_version
from pipelines.feature_log import LoggedFeatures, features_of_quote
from pipelines.feature_pins import FeaturesGone

KEPT_MODELS = 3
"""How many models that do not serve any more stay in memory: quotes that are looked at together are of one time."""

WITHOUT_SCORE = "answered without a fraud model or without features"


class NothingToExplain(LookupError):
    """There is no such quote or trade; the message says which was looked for."""


@dataclass(frozen=True)
class Decided:
    """The fraud model's own decision about one trade, before profile, draw, rules and lists.

    expected_cost_fen: by action, None where no model gave a probability. review_saving_fen: what a person's look is
    expected to save, None likewise. Both are money, expected of this trade alone; the action is chosen with fraud
    weighed more and scarce places priced, so it need not be the cheapest. review_priority_fen: what a look saves of
    that, the order of the queue; None for quotes from before it was kept, too.
    """

    action: str
    expected_cost_fen: Mapping[str, float | None]
    review_saving_fen: float | None
    review_priority_fen: float | None


def decided(decisions: Decisions, row: int) -> Decided:
    """One row of the model's decisions."""
    costs = zip(ACTIONS, decisions.expected_cost_fen[row].tolist(), strict=True)
    return Decided(
        action=str(decisions.action[row]),
        expected_cost_fen={action: known(cost) for action, cost in costs},
        review_saving_fen=known(float(decisions.review_saving_fen[row])),
        review_priority_fen=known(float(decisions.review_priority_fen[row])),
    )


@dataclass(frozen=True)
class Explained:
    """One answer taken apart. quote_id: None where the champions answered now, as of the trade's moment.

    answer: the quote as it was stored, or the same facts of the answer given now. decided: None for quotes from before
    it was kept. fraud: None where ``missing`` says why there is nothing to take apart. absent_signals: what the model
    had to do without, by family.
    """

    trade_id: str
    quote_id: str | None
    answer: Mapping[str, Any]
    decided: Decided | None
    fraud: Explanation | None
    missing: str
    absent_signals: tuple[str, ...]


@dataclass(frozen=True)
class Answerer:
    """The fraud model that answered a quote, and the version of each feature it was trained on. model: None where
    ``missing`` says why it cannot be had."""

    model: FraudModel | None
    versions: Mapping[str, str]
    missing: str = ""


@dataclass
class Explainer:
    """Explains quotes from what was kept with them: the features they were answered from and the model's version.

    serving: the models that answer in this process, which need not be loaded; None: there are none. Of others the
    last KEPT_MODELS are kept. Only :meth:`answerer` takes long: a service calls it in a thread.
    """

    data: ApplicationData
    registry: ModelRegistry
    serving: ModelPair | None = None
    features: Registry = field(default=FEATURES)
    _served: dict[str, Answerer] = field(init=False)
    _loaded: dict[str, Answerer] = field(default_factory=dict, init=False)
    _loading: Lock = field(default_factory=Lock, init=False)

    def __post_init__(self) -> None:
        self._served = _served(self.serving, self.features)

    def use(self, *serving: ModelPair) -> None:
        """Other models answer from now on; of those that did so far the last KEPT_MODELS stay at hand."""
        served: dict[str, Answerer] = {}
        for pair in serving:
            served |= _served(pair, self.features)
        former = [item for item in self._served.items() if item[0] not in served]
        self._served = dict(former[-KEPT_MODELS:]) | served  # one assignment: threads read it meanwhile

    def quote(self, quote_id: str) -> Explained:
        """Raises NothingToExplain where there is no such quote."""
        found = self.stored(quote_id)
        return self.explained(found, self.answerer(found))

    def stored(self, quote_id: str) -> Mapping[str, Any]:
        """A quote as it was kept. Raises NothingToExplain where there is no such quote."""
        found = self.data.quote(quote_id)
        if found is None:
            raise NothingToExplain(f"there is no quote {quote_id}")
        return found

    def answerer(self, found: Mapping[str, Any]) -> Answerer:
        """The model that answered a stored quote. May load it; safe to call from several threads."""
        version = found["answer"]["models"]["fraud"]
        if version is None:
            return Answerer(None, {}, WITHOUT_SCORE)
        if version in self._served:
            return self._served[version]
        with self._loading:
            try:
                found_model = self._loaded.pop(version, None) or Answerer(
                    *load_version(self.registry, version)
                )
            except (ModelNotFound, DamagedModel, FeaturesGone) as error:
                return Answerer(None, {}, str(error))
            self._loaded[version] = found_model  # the last one asked for stands last
            for oldest in list(self._loaded)[:-KEPT_MODELS]:
                del self._loaded[oldest]
            return found_model

    def explained(self, found: Mapping[str, Any], answerer: Answerer) -> Explained:
        """Take a stored quote apart with the model that answered it."""
        answer, model = found["answer"], answerer.model
        fraud, missing = None, answerer.missing
        logged = features_of_quote(self.data, found["quote_id"])
        if logged is None:
            model, missing = None, WITHOUT_SCORE
        if model is not None and logged is not None:
            try:
                fraud = explain(model, _columns(model, logged, answerer.versions), registry=self.features)
            except FeaturesGone as error:
                missing = str(error)
        kept = answer.get("analyst")
        return Explained(
            trade_id=found["trade_id"],
            quote_id=found["quote_id"],
            answer=answer,
            decided=None if kept is None else _kept(kept),
            fraud=fraud,
            missing=missing,
            absent_signals=() if model is None else absent_words(model, self.features),
        )


def _served(serving: ModelPair | None, features: Registry) -> dict[str, Answerer]:
    """The fraud model of the serving pair by its version, with the definitions that it is given."""
    if serving is None or serving.fraud is None or serving.fraud_version is None:
        return {}
    current = features.pinned(name for name in features.names() if name not in serving.fraud_pins)
    columns = (*current, *serving.fraud_pins.values())
    versions = dict(column.split("@", 1) for column in columns)
    return {serving.fraud_version: Answerer(serving.fraud, versions)}


def _columns(model: FraudModel, logged: LoggedFeatures, versions: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The features (1,) as the model knows them. Raises FeaturesGone where one that it reads was not kept."""
    values = dict(zip(logged.columns, logged.values, strict=True))
    kept = {name: f"{name}@{version}" for name, version in versions.items() if f"{name}@{version}" in values}
    gone = [name for name in model.trained_signals if name not in kept]
    if gone:
        raise FeaturesGone(f"the quote was kept without {', '.join(gone)}, which the model reads")
    categories = {*model.encoding.categorical, EXTRAS}
    return {
        name: column_of("category" if name in categories else "number", [values[column]])
        for name, column in kept.items()
        if name in categories or not isinstance(values[column], str)
    }


def _kept(kept: Mapping[str, Any]) -> Decided:
    return Decided(
        action=kept["decision"],
        expected_cost_fen=kept["expected_cost_fen"],
        review_saving_fen=kept["review_saving_fen"],
        review_priority_fen=kept.get("review_priority_fen"),
    )


def absent_words(model: FraudModel, features: Registry) -> tuple[str, ...]:
    """What the model had to do without, a family an item."""
    return tuple(str(family) for family in absent_families(model.absent_signals, registry=features))


def known(value: float) -> float | None:
    """A figure, None for NaN."""
    return None if np.isnan(value) else value
