"""Batch answers: each row as of its own moment, whether history knows it or not."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.catalogue import workspace_catalogue
from features.definitions import FEATURES
from features.training_set import build_training_set, columns_of
from models.policy import Costs
from models.quoting import ModelPair
from pipelines import answering
from pipelines.champions import load_pair
from pipelines.terms import terms_of
from pipelines.training.mapping import ColumnRule
from pipelines.wiring import model_registry
from tests.conftest import TODAY


def file_rows(workspace, rows: pa.Table) -> list[dict]:
    """Stored trades as rows of an input file, without outcomes."""
    names = ("seller_id", "device_id", "ip", "payout_account", "card_type", "card_form", "expires_on")
    more = ("trade_id", "submitted_at", "card_prefix", "card_fingerprint", "region", "channel", "extras")
    asked = ("asked_rate", "payee_is_seller")
    return [
        {name: row[name] for name in (*names, *more, *asked)}
        | {"face_value_cny": row["face_value_fen"] / 100}
        for row in rows.to_pylist()
    ]


def read(workspace, path, rows: list[dict], **columns) -> answering.Batch:
    pq.write_table(pa.Table.from_pylist([row | columns for row in rows]), path)
    catalogue = workspace_catalogue(workspace.tables)
    return answering.read_batch(path, mapping={}, catalogue=catalogue, now=TODAY)


def features(workspace, batch: answering.Batch) -> dict[str, np.ndarray]:
    models = load_pair(model_registry(workspace))
    return answering.batch_features(workspace, batch, models=models, progress=lambda done, total: None)


def test_a_row_of_history_gets_the_features_it_was_trained_with(workspace, tmp_path):
    """Rows that history knows are answered from exactly the training set's features."""
    built = build_training_set(
        store=workspace.tables,
        registry=FEATURES,
        folder=workspace.training_sets,
        since=None,
        until=None,
        progress=lambda done, total: None,
    )
    stored = pq.read_table(built.path)
    expected = columns_of(stored, FEATURES, FEATURES.names())
    chosen = np.arange(2_000, 2_150)
    batch = read(workspace, tmp_path / "in.parquet", file_rows(workspace, built.trades.take(chosen)))
    found = features(workspace, batch)
    for name in FEATURES.names():
        np.testing.assert_array_equal(found[name], expected[name][chosen], err_msg=name)


def test_rows_of_the_file_count_as_submissions_for_its_later_rows(workspace, tmp_path):
    """A new seller's second card in the file sees the first one, and the file's order does not matter."""
    row = file_rows(workspace, workspace.tables.read("trades").slice(0, 1))[0]
    rows = [
        row
        | {
            "trade_id": f"n{number}",
            "seller_id": "new",
            "submitted_at": TODAY - timedelta(minutes=9 - number),
        }
        for number in range(3)
    ]
    batch = read(workspace, tmp_path / "in.parquet", [rows[2], rows[0], rows[1]])
    assert list(features(workspace, batch)["seller_count_1h"]) == [2, 0, 1]


def test_output_has_an_answer_for_every_row_in_order(workspace, tmp_path):
    """The output has the promised columns, one row a trade, a rate for every row."""
    batch = read(
        workspace, tmp_path / "in.parquet", file_rows(workspace, workspace.tables.read("trades").slice(0, 80))
    )
    table = answering.quote_batch(
        batch,
        features(workspace, batch),
        models=load_pair(model_registry(workspace)),
        terms=terms_of(workspace),
    )
    promised = "trade_id rate payout_cny decision fraud_probability acceptance_probability reasons"
    assert set(promised.split()) | {"resale_rate_p10", "resale_rate_p50", "resale_rate_p90"} <= set(
        table.column_names
    )
    assert table["trade_id"].to_pylist() == batch.spine["trade_id"].to_pylist()
    rate = table["rate"].to_numpy()
    assert ((rate > 0) & (rate < 1)).all()
    payout = np.rint(table["payout_cny"].to_numpy() * 100)
    assert (np.abs(payout - rate * batch.face_value_fen) < 1).all()
    answering.write_answers(table, tmp_path / "deep" / "out.csv")
    assert len((tmp_path / "deep" / "out.csv").read_text().splitlines()) == 81


def test_what_the_model_expects_can_be_checked_from_the_file(workspace, tmp_path):
    """Profit, mean resale and the card kind's share of fraud are the discount model's own; where nothing is offered
    there is no profit, and without the model none of the three."""
    trades = workspace.tables.read("trades").slice(0, 80)
    batch = read(workspace, tmp_path / "in.parquet", file_rows(workspace, trades))
    models, terms = load_pair(model_registry(workspace)), terms_of(workspace)
    columns = features(workspace, batch)
    asked, costs = answering.asked_of(batch, columns), Costs(handling_cny=14)
    terms = replace(terms, costs=costs)
    table = answering.quote_batch(batch, columns, models=models, terms=terms)
    assert models.discount is not None
    offers = models.discount.price(
        columns=columns,
        face_value_fen=batch.face_value_fen,
        submitted_at=batch.submitted_ms,
        costs=costs,
        policy=terms.price,
        special=asked.special,
    )
    none = offers.no_offer.tolist()
    assert 0 < sum(none) < len(none)
    profit = [None if no else fen for no, fen in zip(none, offers.expected_profit_fen.tolist(), strict=True)]
    assert table["expected_profit_fen"].to_pylist() == profit
    np.testing.assert_array_equal(table["resale_rate_mean"].to_numpy(), offers.resale_mean)
    np.testing.assert_array_equal(table["kind_fraud_share"].to_numpy(), offers.fraud_share)
    bare = answering.quote_batch(batch, columns, models=replace(models, discount=None), terms=terms)
    assert bare.column_names == table.column_names
    for name in ("expected_profit_fen", "resale_rate_mean", "kind_fraud_share"):
        assert bare[name].null_count == len(bare)
        assert bare[name].type == table[name].type


def test_the_document_lists_the_columns_of_an_answered_file(workspace, tmp_path):
    """docs/quotes.md names the columns of the file, every one and no other, in their order."""
    rows = file_rows(workspace, workspace.tables.read("trades").slice(0, 1))
    batch = read(workspace, tmp_path / "in.parquet", rows)
    models = ModelPair(discount=None, fraud=None)
    table = answering.quote_batch(batch, features(workspace, batch), models=models, terms=terms_of(workspace))
    text = (Path(__file__).parents[2] / "docs" / "quotes.md").read_text(encoding="utf-8")
    section = text.split("## A file's answers\n")[1].split("\n## ")[0]
    names = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    assert re.findall(r"`(\w+)`", " ".join(names)) == table.column_names


def test_the_mapping_of_an_import_reads_a_file_without_outcomes(workspace, tmp_path):
    """What a mapping says of labels is for files that have them; outcomes in a file are not even read."""
    rows = file_rows(workspace, workspace.tables.read("trades").slice(0, 3))
    mapping = {
        "fraud": ColumnRule(column="bad", true=("yes",)),
        "fraud_known_at": ColumnRule(column="seen"),
        "seller_id": ColumnRule(column="seller_id"),
    }
    path, catalogue = tmp_path / "later.parquet", workspace_catalogue(workspace.tables)
    pq.write_table(pa.Table.from_pylist([row | {"accepted": "perhaps"} for row in rows]), path)
    batch = answering.read_batch(path, mapping=mapping, catalogue=catalogue, now=TODAY)
    assert batch.spine["trade_id"].to_pylist() == [row["trade_id"] for row in rows]


def test_a_zone_given_beside_the_label_reads_a_file_without_labels(workspace, tmp_path):
    """A zone that only the label's rule gives for the column of times holds for the trade's own moment too."""
    row = file_rows(workspace, workspace.tables.read("trades").slice(0, 1))[0]
    moment = row.pop("submitted_at")
    mapping = {
        "submitted_at": ColumnRule(column="when"),
        "fraud_known_at": ColumnRule(column="when", timezone="UTC", plus_days=7),
    }
    path, catalogue = tmp_path / "naive.parquet", workspace_catalogue(workspace.tables)
    pq.write_table(pa.Table.from_pylist([row | {"when": moment.replace(tzinfo=None)}]), path)
    batch = answering.read_batch(path, mapping=mapping, catalogue=catalogue, now=TODAY)
    assert batch.spine["submitted_at"].to_pylist() == [moment]


def test_rows_without_ids_of_a_later_file_are_not_taken_for_stored_trades(workspace, tmp_path):
    """Two files whose rows are named by their place share no trade; one file read twice is the same trades."""
    rows = file_rows(workspace, workspace.tables.read("trades").slice(0, 4))
    catalogue = workspace_catalogue(workspace.tables)
    named = {"trade_id": ColumnRule(row="app-")}

    def ids(part: list[dict], name: str) -> list[str]:
        pq.write_table(pa.Table.from_pylist(part).drop_columns(["trade_id"]), tmp_path / name)
        batch = answering.read_batch(tmp_path / name, mapping=named, catalogue=catalogue, now=TODAY)
        return batch.spine["trade_id"].to_pylist()

    stored = ids(rows[:2], "imported.parquet")
    assert ids(rows[:2], "again.parquet") == stored
    assert not set(ids(rows[2:], "later.parquet")) & set(stored)


def test_a_card_type_that_nobody_knows_is_scored_all_the_same(workspace, tmp_path):
    """Only a price needs the catalogue: an unknown type is named beside its score."""
    rows = file_rows(workspace, workspace.tables.read("trades").slice(0, 3))
    path, catalogue = tmp_path / "moon.parquet", workspace_catalogue(workspace.tables)
    pq.write_table(pa.Table.from_pylist([row | {"card_type": "moon_card"} for row in rows]), path)
    batch = answering.read_batch(path, mapping={}, catalogue=catalogue, now=TODAY, priced=False)
    models = load_pair(model_registry(workspace))
    scored = answering.score_batch(
        batch, features(workspace, batch), models=models, terms=terms_of(workspace)
    )
    assert batch.unknown_types == ("moon_card",)
    assert scored["fraud_probability"].null_count == 0


def test_a_file_that_cannot_be_answered_is_refused(workspace, tmp_path):
    """Repeated ids, unknown card types and broken rows are refused by name."""
    rows = file_rows(workspace, workspace.tables.read("trades").slice(0, 3))
    with pytest.raises(answering.InputRefused, match="more than once"):
        read(workspace, tmp_path / "a.parquet", rows, trade_id="same")
    with pytest.raises(answering.InputRefused, match="unknown card types moon_card"):
        read(workspace, tmp_path / "b.parquet", rows, card_type="moon_card")
    with pytest.raises(answering.InputRefused) as refused:
        read(workspace, tmp_path / "c.parquet", rows, face_value_cny=-1.0)
    assert refused.value.results[0].rule.column == "face_value_cny"
