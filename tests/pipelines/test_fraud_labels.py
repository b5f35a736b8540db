"""Labels on their way: imported, stored, merged, chosen for training, and told on the model that learned from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.rows import SPINE_COLUMNS
from features.table_store import TableStore
from features.tables import TRADES
from features.training_set import known_before
from models.registry import CHAMPION
from pipelines.champions import load_pair
from pipelines.live_trades import StoredTrades, stored_trades
from pipelines.settings import Settings
from pipelines.training import fraud
from pipelines.training.examples import Examples, examples_of
from pipelines.wiring import model_registry
from tests.pipelines.import_world import World, replaced, trades

NEW = ("offer_centre", "decision", "let_through", "label_source")
LABELLED = {"fraud": ["1"] * 5, "fraud_known_at": ["2025-04-01T00:00:00Z"] * 5}
DAY_US = 86_400_000_000


# --- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "code", "words"),
    [
        (
            "label_source",
            "customer service",
            "not_in_set",
            "issuer, chargeback, analyst, seller_dispute, matured",
        ),
        ("decision", "rejected", "not_in_set", "pay, hold, review, refuse"),
        ("let_through", "0", "out_of_range", "between 1e-06 and 1"),
        ("let_through", "1.5", "out_of_range", "between 1e-06 and 1"),
        ("let_through", "yes", "wrong_type", "a number"),
        ("offer_centre", "92", "out_of_range", "between 0 and 1"),
    ],
)
def test_a_value_outside_the_contract_is_refused_by_row(tmp_path, column, value, code, words):
    """Free text as a source, an unknown decision or a probability of 0 is named with its row and what is allowed."""
    world = World(tmp_path)
    table = trades(**LABELLED, **{column: replaced([None] * 5, 3, value)})
    problem = world.refused_for(world.csv(table), code, column, 3)
    assert words in problem.rule.en


def test_the_new_columns_come_in_and_may_be_missing(tmp_path):
    """Every value of the contract is stored as given; a file without the columns has nulls."""
    world = World(tmp_path)
    told = {
        "label_source": ["issuer", "chargeback", "analyst", "seller_dispute", "matured"],
        "decision": ["pay", "hold", "review", "refuse", None],
        "let_through": ["0.02", "1", None, None, None],
        "offer_centre": ["0.91", None, None, None, None],
    }
    world.load(world.csv(trades(**LABELLED, **told)))
    rows = world.rows()
    assert [row["label_source"] for row in rows] == told["label_source"]
    assert [row["decision"] for row in rows] == told["decision"]
    assert [row["let_through"] for row in rows] == [0.02, 1.0, None, None, None]
    assert rows[0]["offer_centre"] == 0.91
    bare = World(tmp_path / "bare")
    bare.folder.mkdir()
    bare.load(bare.csv(trades()))
    assert {row[name] for row in bare.rows() for name in NEW} == {None}


def test_a_new_label_without_source_does_not_keep_the_old_one_s(tmp_path):
    """An import's label is the newest and wins; the stored source stays only as long as the label does."""
    world = World(tmp_path)
    given = {"decision": ["refuse"] * 5, "let_through": ["0.5"] * 5, "offer_centre": ["0.9"] * 5}
    world.load(world.csv(trades(**LABELLED, label_source=["analyst"] * 5, **given)))
    repeated = LABELLED | {"fraud": replaced(["1"] * 5, 2, "0"), "decision": replaced([None] * 5, 3, "pay")}
    repeated |= {"offered_rate": replaced(["0.92"] * 5, 4, "0.91")}
    result = world.load(world.csv(trades(**repeated)))
    assert result.tables[0].updated == 3
    rows = world.rows()
    assert [row["label_source"] for row in rows] == replaced(["analyst"] * 5, 2, None)
    assert [row["let_through"] for row in rows] == replaced([0.5] * 5, 3, None)
    assert [row["offer_centre"] for row in rows] == replaced([0.9] * 5, 4, None)
    better = trades(**LABELLED | {"fraud": ["0"] * 5}, label_source=["issuer"] * 5)
    world.load(world.csv(better))
    assert {(row["fraud"], row["label_source"]) for row in world.rows()} == {(False, "issuer")}


def test_quarantine_keeps_the_good_rows(tmp_path):
    """With --quarantine a row with a free-text source is set aside and the others are imported."""
    world = World(tmp_path)
    table = trades(**LABELLED, label_source=replaced(["issuer"] * 5, 2, "somebody"))
    result = world.load(world.csv(table), quarantine=True)
    assert (result.tables[0].added, result.tables[0].quarantined) == (4, 1)


def old_store(folder: Path) -> TableStore:
    """Trades as they were stored before the new columns existed."""
    world = World(folder)
    world.load(world.csv(trades(**LABELLED)))
    former = world.store.read("trades").drop_columns(list(NEW))
    staged = world.store.staging("trades")
    pq.write_table(former, staged)
    world.store.publish("trades", staged)
    return world.store


def test_tables_stored_before_are_still_read(tmp_path):
    """Without the new columns every way to read trades gives nulls, and an import adds the columns."""
    store = old_store(tmp_path)
    assert store.read("trades").schema.names == TRADES.schema.names
    assert store.snapshot("trades").table().schema.equals(TRADES.schema)
    assert store.read("trades", ["label_source", "fraud"]).to_pylist()[0] == {
        "label_source": None,
        "fraud": True,
    }
    assert store.snapshot("trades").column("let_through").null_count == 5
    for row in (StoredTrades(store).find("t2"), stored_trades(store, ["t2"])[0]):
        assert row is not None
        assert {name: row[name] for name in NEW} == dict.fromkeys(NEW)
    world = World(tmp_path)
    world.load(world.csv(trades(label_source=["issuer"] * 5)))
    assert pq.read_schema(store.path("trades") or "").names == TRADES.schema.names
    assert {row["label_source"] for row in world.rows()} == {"issuer"}


def test_what_becomes_known_later_is_no_outcome_yet(tmp_path):
    """Before a label is known, neither it nor its source is; decision and draw are known with the trade."""
    world = World(tmp_path)
    told = {"label_source": ["issuer"] * 5, "decision": ["pay"] * 5, "let_through": ["0.1"] * 5}
    world.load(world.csv(trades(**LABELLED, **told)))
    rows = known_before(world.store.read("trades"), datetime(2025, 3, 20, tzinfo=UTC)).to_pylist()
    names = ("fraud", "fraud_known_at", "label_source", "decision", "let_through")
    assert [rows[0][name] for name in names] == [None, None, None, "pay", 0.1]
    examples = examples_of(world.store.read("trades"), {})
    early = examples.known_before(int(examples.fraud_known_at[0]))
    assert (early.label_source[0], early.decision[0], early.let_through[0]) == (None, "pay", 0.1)
    assert examples.label_source[0] == "issuer"
    assert not set(NEW) & set(SPINE_COLUMNS)


# --- training ------------------------------------------------------------------------------------------------


def days(count: int, **changes: np.ndarray) -> Examples:
    """A trade a day, labelled honest for want of a complaint after 7 days."""
    submitted = np.arange(count) * DAY_US
    unknown, nothing = np.full(count, np.nan), np.full(count, None)
    examples = Examples(
        columns={},
        trade_id=np.arange(count).astype(str),
        seller_id=np.arange(count),
        card_type=nothing,
        face_value_fen=np.full(count, 10_000),
        issued_face_fen=np.zeros(count, dtype=np.int64),
        submitted_at=submitted,
        offered_rate=np.full(count, 0.9),
        offer_density=unknown,
        offer_centre=unknown,
        decision=np.full(count, "pay", dtype=object),
        let_through=unknown,
        accepted=np.ones(count),
        decided_at=submitted,
        resale_rate=unknown,
        resold_at=np.full(count, -1),
        fraud=np.zeros(count),
        fraud_known_at=submitted + 7 * DAY_US,
        label_source=nothing,
    )
    return replace(examples, **changes)


def test_refused_trades_are_split_off():
    """An honest label of a refused trade is in no part; its fraud trains, and never judges."""
    kind = np.arange(100) % 10
    decision = np.where(kind < 2, "refuse", "pay").astype(object)
    examples = days(100, decision=decision, fraud=(kind == 1).astype(float))
    split = fraud.split_fraud(examples, Settings())
    for rows in (split.train, split.test, split.final):
        assert not (kind[rows] == 0).any()
    assert (kind[split.train] == 1).any()
    assert (kind[split.final] == 1).any()
    assert not (kind[split.test] == 1).any()


def test_maturity_is_told_by_silence_not_by_analysts():
    """Trades that an analyst cleared at once do not make a trade without complaint count as mature sooner."""
    quick = np.arange(200) % 10 > 0
    known = np.arange(200) * DAY_US + np.where(quick, 1, 25) * DAY_US
    source = np.where(quick, "analyst", "matured").astype(object)
    split = fraud.split_fraud(days(200, fraud_known_at=known, label_source=source), Settings())
    assert split.maturity == 25 * DAY_US


def test_a_model_tells_what_its_labels_were(workspace):
    """Sources, delays, dropped and weighted rows stand in the model's metadata and among MLflow's metrics."""
    model, version = (
        load_pair(model_registry(workspace)).fraud,
        model_registry(workspace).version("fraud", CHAMPION),
    )
    assert model is not None
    facts = model.metadata["labels"]
    assert isinstance(facts, dict)
    stored = workspace.tables.read("trades")
    drawn = stored.filter(pa.compute.is_valid(stored["let_through"]))
    assert facts["labels_known"] == len(stored) - stored["fraud"].null_count
    assert facts["labels_let_through"] == len(drawn) - drawn["fraud"].null_count
    assert facts["labels_weight"] == pytest.approx(20 * facts["labels_let_through"])
    assert facts["labels_weight_most"] == 50
    assert facts["labels_delay_days_median_analyst"] < 4.1 < facts["labels_delay_days_median_chargeback"]
    assert 20 < facts["labels_delay_days_median_matured"] < facts["labels_delay_days_p90_matured"] < 31
    assert sum(
        facts[f"labels_share_{name}"] for name in ("analyst", "chargeback", "matured")
    ) == pytest.approx(1)
    assert {name: version.metrics[name] for name in facts} == pytest.approx(facts)


def test_the_log_of_the_synthetic_market_says_whom_it_let_through(market_folder):
    """What was refused has neither offer nor label; what was let through carries the probability and is paid."""
    log = pq.read_table(market_folder / "trades.parquet").to_pandas()
    truth = pq.read_table(market_folder / "oracle.parquet").to_pandas()
    refused = log["decision"] == "refuse"
    np.testing.assert_array_equal(refused, truth["was_screened_out"])
    np.testing.assert_array_equal(log["let_through"].notna(), truth["screen_flagged"] & ~refused)
    assert set(log["let_through"].dropna()) == {0.05}
    assert log.loc[refused, ["offered_rate", "accepted", "fraud", "label_source"]].isna().all(axis=None)
    np.testing.assert_array_equal(log["label_source"].notna(), log["fraud"].notna())
    honest = log["fraud"] == False  # noqa: E712 - an object column with nulls
    assert set(log.loc[honest, "label_source"]) == {"matured"}
    assert set(log.loc[log["fraud"] == True, "label_source"]) == {"analyst", "chargeback"}  # noqa: E712
