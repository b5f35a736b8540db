"""Partly used and unusual cards in a backtest are answered and judged as the live service answers them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.catalogue import Catalogue, workspace_catalogue
from features.tables import ISSUED_FACE
from models.discount.model import DiscountModel
from models.quoting import Asked, quote
from pipelines.champions import load_pair
from pipelines.settings import Settings
from pipelines.terms import terms_of
from pipelines.training import discount
from pipelines.training.backtest import BacktestJob, read_past
from pipelines.training.backtest_ledger import answered
from pipelines.training.examples import Examples, examples_of
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from tests.conftest import TODAY

JOB = BacktestJob(since=TODAY - timedelta(days=5), until=TODAY)


@pytest.fixture(scope="module")
def home(trained_home: Path) -> Workspace:
    return Workspace.open(trained_home)


@pytest.fixture(scope="module")
def whole(home: Workspace) -> Examples:
    """Whole cards of usual face values of which the catalogue has a list."""
    period = read_past(home, job=JOB, progress=lambda done, total: None).period
    catalogue = workspace_catalogue(home.tables)
    listed = [bool(catalogue.get(name).face_values_fen) for name in period.card_type.tolist()]
    return period.rows(np.flatnonzero(np.array(listed) & ~period.special(catalogue).odd))


@pytest.fixture(scope="module")
def catalogue(home: Workspace) -> Catalogue:
    return workspace_catalogue(home.tables)


def partly(examples: Examples) -> Examples:
    """The same balances, left of cards issued with twice as much."""
    return replace(examples, issued_face_fen=2 * examples.face_value_fen)


def test_examples_keep_what_a_card_was_issued_with(home: Workspace) -> None:
    """Stored trades carry type and issued face value; whole cards have none, and rows stay together."""
    trades = home.tables.read("trades").slice(0, 3)
    issued = pa.array([None, 90_000, None], pa.int64())
    trades = trades.set_column(trades.schema.get_field_index(ISSUED_FACE), ISSUED_FACE, issued)
    found = examples_of(trades, {})
    assert found.issued_face_fen.tolist() == [0, 90_000, 0]
    assert found.card_type.tolist() == trades["card_type"].to_pylist()
    assert found.rows(np.array([1])).issued_face_fen.tolist() == [90_000]


def test_partly_used_cards_are_answered_as_live(
    home: Workspace, whole: Examples, catalogue: Catalogue
) -> None:
    """Every answer is that of the live question about the same card: held, never above a whole one's rate."""
    pair, terms, used = load_pair(model_registry(home)), terms_of(home), partly(whole)
    said = answered(used, models=pair, terms=terms, catalogue=catalogue)
    plain = answered(whole, models=pair, terms=terms, catalogue=catalogue)
    live = quote(
        Asked(
            columns=used.columns,
            face_value_fen=used.face_value_fen,
            submitted_at=used.submitted_ms,
            submitted={"trade_id": used.trade_id, "seller_id": used.seller_id},
            special=used.special(catalogue),
        ),
        models=pair,
        terms=terms,
    )
    np.testing.assert_array_equal(said.rate, live.rate)
    np.testing.assert_array_equal(said.action, live.action)
    assert (said.action != "pay").all()
    assert (plain.action == "pay").any()
    assert (said.centre_rate <= plain.centre_rate + 1e-9).all()
    assert (said.centre_rate < plain.centre_rate).mean() > 0.5
    honest = np.isfinite(said.logged_profit_fen)
    assert (said.logged_profit_fen < plain.logged_profit_fen)[honest].all()


def test_unusual_cards_are_answered_as_live(home: Workspace, whole: Examples, catalogue: Catalogue) -> None:
    """A value that no list names is not paid at once, and its rate is that of the next smaller usual value."""
    odd = replace(whole, face_value_fen=whole.face_value_fen + 1)
    special = odd.special(catalogue)
    assert special.unusual.all()
    pair, terms = load_pair(model_registry(home)), terms_of(home)
    said = answered(odd, models=pair, terms=terms, catalogue=catalogue)
    plain = answered(whole, models=pair, terms=terms, catalogue=catalogue)
    assert (said.action != "pay").all()
    np.testing.assert_allclose(said.centre_rate, plain.centre_rate, atol=1e-4)


def test_an_evaluation_takes_the_deduction_for_partly_used_cards(home: Workspace, whole: Examples) -> None:
    """Cards that resell for less are judged as earning less."""
    model = load_pair(model_registry(home)).discount
    assert isinstance(model, DiscountModel)
    settings = Settings()
    used, plain = (discount.judge(model, seen, settings).profit for seen in (partly(whole), whole))
    assert used != plain
