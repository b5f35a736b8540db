"""The benchmark on markets with rings: its peer by hand, its figures against one another on a small market."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.tables import TRADES
from pipelines.simulation import World
from serving.cli import main
from serving.commands.bench_fraud import _lines, _summary
from serving.commands.bench_fraud_market import MarketFigures, measure_market
from serving.commands.bench_fraud_plain import _codes, _counts, _moment, plain_probability


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> MarketFigures:
    """A small market with much fraud."""
    world = World(trades=6_000, days=120, seed=5, start=date(2025, 4, 1), fraud_share=0.06)
    folder: Path = tmp_path_factory.mktemp("bench")
    return measure_market(folder, world=world, now=datetime(2026, 1, 1, tzinfo=UTC))


def test_kinds_of_fraud_add_up(market: MarketFigures) -> None:
    """Frauds and value of the kinds sum to all fraud's, and the value stopped is theirs weighted by value."""
    kinds, metrics = market.kinds, market.metrics
    assert sum(kind.frauds for kind in kinds) == metrics.frauds
    assert sum(kind.value_share for kind in kinds) == pytest.approx(1)
    stopped = sum(kind.value_share * kind.value_stopped for kind in kinds)
    assert stopped == pytest.approx(metrics.fraud_value_stopped)
    assert all(sum(kind.shares.values()) == pytest.approx(1) for kind in kinds)


def test_the_peer_is_judged_on_the_same_trades(market: MarketFigures) -> None:
    """Both ways to hand ids to a plain LightGBM see as many trades and frauds as the model."""
    assert [plain.ids for plain in market.plain] == ["codes", "counts"]
    for plain in market.plain:
        assert (plain.metrics.trades, plain.metrics.frauds) == (market.metrics.trades, market.metrics.frauds)


def test_the_report_names_every_kind_and_the_aims(market: MarketFigures) -> None:
    """A line for each kind of fraud and each peer, and a summary with what is asked for."""
    lines = "\n".join(_lines(market))
    for word in (
        *(kind.kind for kind in market.kinds),
        "ids as codes",
        "ids as counts",
        "rings",
        "honest refused",
    ):
        assert word in lines
    summary = "\n".join(_summary([market, market]))
    assert "2 markets" in summary
    assert "(at least 80%)" in summary


def test_seeds_must_be_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """A list of seeds that is none is refused with what to write instead."""
    with pytest.raises(SystemExit):
        main(["bench", "fraud", "--seeds", "a,b"])
    assert "whole numbers" in capsys.readouterr().err


def _trades(**columns: list[object]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    fields = {field.name: pa.nulls(rows, field.type) for field in TRADES.schema}
    given = {name: pa.array(values, TRADES.schema.field(name).type) for name, values in columns.items()}
    return pa.table(fields | given)


def test_ids_as_codes_and_as_counts() -> None:
    """An id seen twice counts two, an unknown one none; as a code it has its place, or nothing."""
    known = pa.chunked_array([["a", "b", "a", None]])
    values = pa.chunked_array([["a", "c", None, "b"]])
    np.testing.assert_equal(_codes(known, values), [0, np.nan, np.nan, 1])
    np.testing.assert_equal(_counts(known, values), [2, 0, np.nan, 1])


def test_the_moment_is_told_in_chinese_time() -> None:
    """17:30 UTC on a Sunday is 01 h on Monday in China; a card that expires on Tuesday has one day."""
    trades = _trades(
        submitted_at=[datetime(2025, 6, 1, 17, 30, tzinfo=UTC)] * 2,
        face_value_fen=[12_345, 100],
        expires_on=[date(2025, 6, 3), None],
    )
    np.testing.assert_allclose(_moment(trades), [[123.45, 1, 0, 1], [1.0, 1, 0, np.nan]])


@pytest.mark.parametrize("ids", ["codes", "counts"])
def test_the_peer_learns_what_raw_columns_tell(ids: str) -> None:
    """Where one card type is riskier, the peer finds it out."""
    rng = np.random.default_rng(0)
    rows = 2_000
    kind = rng.choice(["jd_ecard", "walmart_cn"], rows)
    fraud = rng.random(rows) < np.where(kind == "jd_ecard", 0.3, 0.02)
    trades = _trades(
        submitted_at=[datetime(2025, 6, 1, tzinfo=UTC)] * rows,
        face_value_fen=[10_000] * rows,
        card_type=kind.tolist(),
        seller_id=[f"s{number}" for number in range(rows)],
    )
    found = plain_probability(trades, fraud, trades, ids=ids)  # pyright: ignore[reportArgumentType]
    assert found[kind == "jd_ecard"].min() > found[kind == "walmart_cn"].max()
