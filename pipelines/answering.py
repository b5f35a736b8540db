"""`huika quote` and `huika score`: a file of trades in, an answer a row out, each as of its own moment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from features.catalogue import Catalogue
from features.channels import Extremes, extremes_at
from features.definitions import FEATURES
from features.rows import SPINE_COLUMNS, microseconds
from features.tables import ISSUED_FACE, TRADES
from models.discount.explain import waterfall
from models.discount.move_cap import DayBefore
from models.discount.special import special_cards
from models.discount.swap import ExpiredQuote, propose_swaps
from models.fraud.decision import ACTIONS, Decisions
from models.quoting import Answers, Asked, ModelPair, Terms, quote, score
from models.reasons import Reason
from pipelines.application_data import ApplicationData
from pipelines.board_history import BoardHistory
from pipelines.stored_features import features_of
from pipelines.training.import_problems import RuleResult
from pipelines.training.import_reading import Draft, read_file
from pipelines.training.mapping import TableMapping, shared
from pipelines.workspace import Workspace

Progress = Callable[[int, int], None]
NO_OFFER = "no offer"
OUTCOMES = (*ACTIONS, NO_OFFER)


class InputRefused(ValueError):
    """The input file cannot be answered; ``results`` lists each broken rule with rows and reasons."""

    def __init__(self, message: str, results: tuple[RuleResult, ...] = ()) -> None:
        super().__init__(message)
        self.results = results


@dataclass(frozen=True)
class Batch:
    """The rows of an input file: the spine (``SPINE_COLUMNS``, and the issued face value of partly used
    cards) in file order, arrays models need, and the catalogue the card types are in. unknown_types: those that are in
    none. before: what daily moves
    are measured from; extremes: best and worst channel of each row, None where no bid is believed. Both come from
    :func:`with_market`; without it no move is capped and no channel is named."""

    spine: pa.Table
    face_value_fen: np.ndarray
    submitted_ms: np.ndarray
    catalogue: Catalogue
    unknown_types: tuple[str, ...] = ()
    before: DayBefore | None = None
    extremes: Sequence[Extremes | None] = ()


def read_batch(
    path: Path, *, mapping: TableMapping, catalogue: Catalogue, now: datetime, priced: bool = True
) -> Batch:
    """Read and check a file of trades; outcomes in it are not looked at, and it need not have those that the mapping
    names; a zone, a format or a unit that the mapping gives with an outcome holds all the same for its column. priced:
    every card type must be known, or there is no price. Raises InputRefused."""
    with tempfile.TemporaryDirectory() as folder:
        draft = Draft(table=TRADES.as_submitted, path=path, cast=Path(folder) / "input.parquet")
        told = shared(TRADES, mapping)
        rules = {column.name: told[column.name] for column in draft.table.columns if column.name in told}
        read_file(draft, mapping=rules, now=now, all_rows=False, progress=lambda stage, share: None)
        if draft.broken:
            broken = tuple(result for result in draft.results() if result.failed)
            raise InputRefused(f"{path}: {len(broken)} rules are broken", broken)
        rows = pq.read_table(draft.cast)
    spine = pa.table({name: _column(rows, name) for name in (*SPINE_COLUMNS, ISSUED_FACE)})
    _refuse_repeats(path, spine)
    unknown = tuple(sorted(set(spine["card_type"].unique().to_pylist()) - set(catalogue.types)))
    if unknown and priced:
        raise _unknown_types(path, unknown)
    return Batch(
        spine=spine,
        face_value_fen=spine["face_value_fen"].to_numpy(),
        submitted_ms=microseconds(spine["submitted_at"]) // 1000,
        catalogue=catalogue,
        unknown_types=unknown,
    )


def batch_features(
    workspace: Workspace, batch: Batch, *, models: ModelPair, progress: Progress
) -> dict[str, np.ndarray]:
    """Features of the batch from the stored history, by the definitions the models know; its rows count as
    submissions for its later rows."""
    names = (*FEATURES.names(), *models.pinned_columns)
    return features_of(workspace, batch.spine, names=names, progress=progress)


def with_market(workspace: Workspace, batch: Batch) -> Batch:
    """The batch with what the workspace knows of each row's market as of its own moment: the price board's history of
    the days before, and the channels."""
    history = BoardHistory(ApplicationData(workspace.application_url), batch.catalogue)
    card_types = batch.spine["card_type"].to_pylist()
    extremes = extremes_at(
        workspace.tables.read("market"),
        card_types=np.array(card_types, dtype=object),
        moments=microseconds(batch.spine["submitted_at"]),
        catalogue=batch.catalogue,
    )
    return replace(batch, before=history.before(card_types, batch.submitted_ms), extremes=extremes)


def quote_batch(batch: Batch, columns: dict[str, np.ndarray], *, models: ModelPair, terms: Terms) -> pa.Table:
    """One row a trade with the columns of `huika quote`'s OUTPUT, in file order; docs/quotes.md says what they mean."""
    asked = asked_of(batch, columns)
    answers = quote(asked, models=models, terms=terms)
    return pa.table(
        {
            "trade_id": batch.spine["trade_id"],
            "rate": answers.rate,
            "payout_cny": answers.payout_fen / 100,
            "decision": pa.array(answers.action, pa.string()),
            "fraud_probability": _nullable(answers.fraud_probability),
            "acceptance_probability": _nullable(answers.acceptance_probability),
            "resale_rate_p10": _nullable(answers.resale_p10),
            "resale_rate_p50": _nullable(answers.resale_p50),
            "resale_rate_p90": _nullable(answers.resale_p90),
            **_promise_columns(answers),
            "offer_density": _nullable(answers.offer_density),
            "offer_centre": _nullable(answers.offer_centre),
            **_channel_columns(batch.extremes or [None] * len(asked)),
            "no_offer": answers.no_offer,
            **_swap_columns(_expired_quotes(asked, answers, batch.catalogue), asked, terms=terms),
            "let_through": _nullable(answers.let_through),
            **_review_columns(answers.decisions, nothing=answers.no_offer),
            "human_review": answers.action == "refuse",
            **_reason_columns(answers.reasons),
            "shadow_rules": ["|".join(names) for names in answers.shadow_rules],
            **_version_columns(models, terms, len(batch.spine)),
        }
    )


def score_batch(batch: Batch, columns: dict[str, np.ndarray], *, models: ModelPair, terms: Terms) -> pa.Table:
    """One row a trade with the columns of `huika score`'s OUTPUT; the payout at risk is the face value."""
    asked = asked_of(batch, columns)
    scores = score(asked, models=models, terms=terms)
    return pa.table(
        {
            "trade_id": batch.spine["trade_id"],
            "fraud_probability": _nullable(scores.probability),
            "decision": pa.array(scores.action, pa.string()),
            "let_through": _nullable(scores.let_through),
            **_review_columns(scores.decisions, nothing=np.zeros(len(asked), dtype=bool)),
            "human_review": scores.action == "refuse",
            **_reason_columns(scores.reasons),
            "shadow_rules": ["|".join(names) for names in scores.shadow_rules],
            **_version_columns(models, terms, len(batch.spine)),
        }
    )


def outcomes(answers: pa.Table) -> np.ndarray:
    """What became of each answered trade (n,) object, of :data:`OUTCOMES`: where a quote offers nothing, nothing is
    decided but a refusal."""
    decision = answers["decision"].to_numpy()
    if "no_offer" not in answers.column_names:
        return decision
    return np.where(answers["no_offer"].to_numpy() & (decision != "refuse"), NO_OFFER, decision)


def _promise_columns(answers: Answers) -> dict[str, pa.Array]:
    """What the discount model expects of each trade, so that it can be held to it: see :class:`Offers`. The profit is
    null where nothing is offered, all are where the fallback priced."""
    offers = answers.offers
    if offers is None:
        rates, money = pa.nulls(len(answers.rate), pa.float64()), pa.nulls(len(answers.rate), pa.int64())
        return {"resale_rate_mean": rates, "kind_fraud_share": rates, "expected_profit_fen": money}
    return {
        "resale_rate_mean": _nullable(offers.resale_mean),
        "kind_fraud_share": _nullable(offers.fraud_share),
        "expected_profit_fen": pa.array(offers.expected_profit_fen, pa.int64(), mask=offers.no_offer),
    }


def _review_columns(decisions: Decisions, *, nothing: np.ndarray) -> dict[str, pa.Array]:
    """What a look at each trade saves, in yuan, and its place in the queue, in yuan that weigh fraud more; null where
    there is ``nothing`` (n,) bool to look at."""
    return {
        "review_saving_cny": _nullable(np.where(nothing, np.nan, decisions.review_saving_fen / 100)),
        "review_priority": _nullable(np.where(nothing, np.nan, decisions.review_priority_fen / 100)),
    }


def asked_of(batch: Batch, columns: dict[str, np.ndarray]) -> Asked:
    """The batch as a question to the models."""
    submitted = submitted_columns(batch.spine)
    return Asked(
        columns=columns,
        face_value_fen=batch.face_value_fen,
        submitted_at=batch.submitted_ms,
        submitted=submitted,
        special=special_cards(
            catalogue=batch.catalogue,
            card_type=submitted["card_type"],
            value_fen=batch.face_value_fen,
            issued_face_fen=submitted[ISSUED_FACE],
        ),
        before=batch.before,
    )


def _channel_columns(extremes: Sequence[Extremes | None]) -> dict[str, pa.Array]:
    """Best and worst channel of each row's market, null where no bid is believed."""
    best = [None if found is None else found.best for found in extremes]
    worst = [None if found is None else found.worst for found in extremes]
    columns: dict[str, pa.Array] = {}
    for name, channels in (("best_channel", best), ("worst_channel", worst)):
        columns[name] = pa.array([channel and channel.source for channel in channels], pa.string())
        rates = [channel and round(channel.rate, 4) for channel in channels]
        columns[f"{name}_rate"] = pa.array(rates, pa.float64())
    return columns


def _expired_quotes(asked: Asked, answers: Answers, catalogue: Catalogue) -> list[ExpiredQuote]:
    """The quotes of expired cards that were not refused, called by their trades; none where no model priced."""
    if answers.offers is None:
        return []
    rows = np.flatnonzero(np.isfinite(answers.offers.reactivation) & (answers.action != "refuse"))
    told, offers = asked.submitted, answers.offers.rows(rows)
    return [
        ExpiredQuote(
            quote_id=told["trade_id"][row],
            card_id=told["card_fingerprint"][row] or told["trade_id"][row],
            seller_id=told["seller_id"][row],
            card=catalogue.get(told["card_type"][row]),
            card_form=told["card_form"][row],
            submitted_at=told["submitted_at"][row],
            valid_until=told["submitted_at"][row] + timedelta(minutes=int(answers.valid_minutes[row])),
            value_fen=int(asked.face_value_fen[row]),
            payout_fen=int(answers.payout_fen[row]),
            decision=str(answers.action[row]),
            no_offer=bool(answers.no_offer[row]),
            steps={step.code: step.amount_fen for step in waterfall(offers, place)},
        )
        for place, row in enumerate(rows.tolist())
    ]


def _swap_columns(quotes: list[ExpiredQuote], asked: Asked, *, terms: Terms) -> dict[str, pa.Array]:
    """The swap that each trade is part of, named by its first one, and what the swap pays in all; null without one."""
    groups: dict[str, str] = {}
    payouts: dict[str, float] = {}
    for proposal in propose_swaps(quotes, costs=terms.costs, policy=terms.price):
        for member in proposal.quotes:
            groups[member.quote_id] = proposal.quotes[0].quote_id
            payouts[member.quote_id] = proposal.payout_fen / 100
    trade_ids = asked.submitted["trade_id"].tolist()
    return {
        "swap_group": pa.array([groups.get(name) for name in trade_ids], pa.string()),
        "swap_payout_cny": pa.array([payouts.get(name) for name in trade_ids], pa.float64()),
    }


def submitted_columns(spine: pa.Table) -> dict[str, np.ndarray]:
    """The spine's columns (n,) as plain objects, None where unknown."""
    return {name: np.array(spine[name].to_pylist(), dtype=object) for name in spine.column_names}


def write_answers(table: pa.Table, path: Path) -> None:
    """Write Parquet, or CSV when the name ends in ``.csv``; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    if path.suffix.lower() == ".csv":
        pyarrow.csv.write_csv(table, temporary)
    else:
        pq.write_table(table, temporary)
    temporary.replace(path)


def _column(rows: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    if name in rows.column_names:
        return rows[name]
    return pa.nulls(len(rows), TRADES.schema.field(name).type)


def _refuse_repeats(path: Path, spine: pa.Table) -> None:
    counts = spine["trade_id"].value_counts()
    twice = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1)).to_pylist()
    if twice:
        raise InputRefused(f"{path}: trade_id is there more than once: {', '.join(twice[:5])}")


def _unknown_types(path: Path, unknown: Sequence[str]) -> InputRefused:
    return InputRefused(
        f"{path}: unknown card types {', '.join(unknown[:5])}; `huika cards` lists the known ones, and "
        "`huika import --card-types` or `--add-card-types` registers others"
    )


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)


def _reason_columns(reasons: list[tuple[Reason, ...]]) -> dict[str, Any]:
    return {
        "reasons": ["|".join(reason.code for reason in row) for row in reasons],
        "reasons_zh": ["；".join(reason.zh for reason in row) for row in reasons],
        "reasons_en": ["; ".join(reason.en for reason in row) for row in reasons],
    }


def _version_columns(models: ModelPair, terms: Terms, rows: int) -> dict[str, Any]:
    constants = {
        "discount_version": models.discount_version,
        "fraud_version": models.fraud_version,
        "rules_version": terms.rules.rules_version,
        "law_version": terms.rules.law_version,
        "degraded": "|".join(models.degraded) or None,
    }
    return {name: pa.array([value] * rows, pa.string()) for name, value in constants.items()}
