"""Explains a trade by its id: its newest quote, or what the champions say of a trade that only the tables know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from features.catalogue import workspace_catalogue
from features.definitions import FEATURES
from features.rows import SPINE_COLUMNS, microseconds
from features.tables import ISSUED_FACE, TRADES
from models.discount.explain import waterfall
from models.fraud.explanation import explain
from models.quoting import Answers, ModelPair, as_trained, quote
from pipelines.answering import Batch, asked_of, batch_features, with_market
from pipelines.application_data import ApplicationData
from pipelines.champions import load_pair
from pipelines.explaining import Explained, Explainer, NothingToExplain, absent_words, decided, known
from pipelines.live_trades import StoredTrades
from pipelines.terms import terms_of
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace


def explain_trade(workspace: Workspace, trade_id: str) -> Explained:
    """Explain a trade's newest quote, or, for a trade that only the tables know, what the champions say of it as of
    its own moment. A quote's id stands for that quote. Raises NothingToExplain."""
    data = ApplicationData(workspace.application_url)
    registry = model_registry(workspace)
    newest = data.last_quote_of(trade_id) or data.quote(trade_id)
    if newest is not None:
        return Explainer(data=data, registry=registry).quote(newest["quote_id"])
    trade = StoredTrades(workspace.tables).find(trade_id)
    if trade is None:
        raise NothingToExplain(f"there is no trade {trade_id}, neither quoted nor imported")
    return _explain_stored(workspace, trade, load_pair(registry))


def _explain_stored(workspace: Workspace, trade: Mapping[str, Any], models: ModelPair) -> Explained:
    batch = batch_of(workspace, [trade])
    columns = batch_features(workspace, batch, models=models, progress=lambda done, total: None)
    answers = quote(asked_of(batch, columns), models=models, terms=terms_of(workspace))
    fraud = None
    if models.fraud is not None:
        fraud = explain(models.fraud, as_trained(columns, models.fraud_pins), registry=FEATURES)
    return Explained(
        trade_id=trade["trade_id"],
        quote_id=None,
        answer=_answer(answers, models),
        decided=decided(answers.decisions, 0),
        fraud=fraud,
        missing="" if fraud is not None else "there is no fraud model; train one with `huika train fraud`",
        absent_signals=() if models.fraud is None else absent_words(models.fraud, FEATURES),
    )


def batch_of(workspace: Workspace, trades: Sequence[Mapping[str, Any]]) -> Batch:
    """Stored trades as a file would bring them, without their outcomes."""
    names = (*SPINE_COLUMNS, ISSUED_FACE)
    columns = {name: [trade[name] for trade in trades] for name in names}
    types = {name: TRADES.schema.field(name).type for name in names}
    spine = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    batch = Batch(
        spine=spine,
        face_value_fen=spine["face_value_fen"].to_numpy(),
        submitted_ms=microseconds(spine["submitted_at"]) // 1000,
        catalogue=workspace_catalogue(workspace.tables),
    )
    return with_market(workspace, batch)


def _answer(answers: Answers, models: ModelPair) -> dict[str, Any]:
    """The facts of an answer to one trade that a stored quote holds too."""
    steps = () if answers.offers is None else waterfall(answers.offers, 0)
    return {
        "decision": str(answers.action[0]),
        "fraud_probability": known(float(answers.fraud_probability[0])),
        "rate": float(answers.rate[0]),
        "payout": {"amount_fen": int(answers.payout_fen[0])},
        "no_offer": bool(answers.no_offer[0]),
        "let_through": known(float(answers.let_through[0])),
        "reasons": [reason.to_dict() for reason in answers.reasons[0]],
        "analyst_notes": [reason.to_dict() for reason in answers.notes[0]],
        "shadow_rules": list(answers.shadow_rules[0]),
        "waterfall": [
            {"code": step.code, "zh": step.zh, "en": step.en, "amount_fen": step.amount_fen} for step in steps
        ],
        "models": {"discount": models.discount_version, "fraud": models.fraud_version},
    }
