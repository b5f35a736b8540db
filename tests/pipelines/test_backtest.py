"""A past period answered again as if live: nothing of the future gets in, and the figures are what they say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.catalogue import workspace_catalogue
from features.rows import to_microseconds
from pipelines.settings import Settings
from pipelines.terms import terms_of
from pipelines.training.backtest import (
    BacktestJob,
    CannotReplay,
    Listener,
    Past,
    backtest,
    read_past,
    replay,
    steps_of,
)
from pipelines.training.backtest_figures import figures_of
from pipelines.training.backtest_intervals import ratio, total
from pipelines.training.backtest_ledger import NEVER, Answered, Ledger, Logged, logged
from pipelines.training.backtest_models import (
    NoSuchPair,
    fit_pair,
    known_at,
    registered_pair,
)
from pipelines.training.backtest_moves import Moves
from pipelines.training.backtest_series import series_of, stock_figures
from pipelines.training.backtest_trust import off_policy_figures, stability_figures
from pipelines.training.examples import Examples
from pipelines.training.splitting import DAY_US
from pipelines.wiring import model_registry
from pipelines.workspace import Workspace
from serving.cli import main
from tests.conftest import TODAY

SILENT = Listener(say=lambda step: None, answered=lambda done, total: None)
SINCE, UNTIL = TODAY - timedelta(days=60), TODAY - timedelta(days=45)
JOB = BacktestJob(since=SINCE, until=UNTIL)
CUT = to_microseconds(SINCE)


@pytest.fixture(scope="module")
def past(trained_home: Path) -> Past:
    """The shared market until UNTIL, with features and outcomes."""
    return read_past(Workspace.open(trained_home), job=JOB, progress=lambda done, total: None)


def answers(past: Past, history: Examples, workspace: Workspace) -> Answered:
    """The period's answers by models fitted on ``history``."""
    models_at = partial(fit_pair, history, settings=workspace.settings)
    catalogue, terms = workspace_catalogue(workspace.tables), terms_of(workspace)
    found = replay(
        past.period,
        job=JOB,
        models_at=models_at,
        terms=terms,
        catalogue=catalogue,
        listener=SILENT,
        moves=Moves(catalogue),
    )
    return found[1]


def tampered(examples: Examples, *, later: bool) -> Examples:
    """Every outcome known from CUT on (or, with ``later`` false, before it) turned round."""

    def other(values: np.ndarray, known: np.ndarray, instead: np.ndarray) -> np.ndarray:
        return np.where(
            ((known < 0) | (known >= CUT)) if later else (known >= 0) & (known < CUT), instead, values
        )

    size = len(examples)
    late = np.full(size, CUT + DAY_US)
    return replace(
        examples,
        offered_rate=np.where(examples.submitted_at >= CUT, 0.5, examples.offered_rate),
        accepted=other(examples.accepted, examples.decided_at, 1 - np.nan_to_num(examples.accepted)),
        resale_rate=other(examples.resale_rate, examples.resold_at, np.full(size, 0.2)),
        fraud=other(examples.fraud, examples.fraud_known_at, 1 - np.nan_to_num(examples.fraud)),
        decided_at=other(examples.decided_at, examples.decided_at, late) if later else examples.decided_at,
        resold_at=other(examples.resold_at, examples.resold_at, late) if later else examples.resold_at,
        fraud_known_at=other(examples.fraud_known_at, examples.fraud_known_at, late)
        if later
        else examples.fraud_known_at,
    )


def test_what_becomes_known_after_the_cut_leaves_every_answer_of_the_step_unchanged(past, workspace):
    """With all outcomes known from the cut on turned round, rates, decisions and probabilities are the same bits;
    with those known before it turned round, they are not."""
    honest = answers(past, past.examples, workspace)
    future = answers(past, tampered(past.examples, later=True), workspace)
    for name in ("rate", "centre_rate", "no_offer", "action", "fraud_probability", "expected_profit_fen"):
        np.testing.assert_array_equal(getattr(future, name), getattr(honest, name), err_msg=name)
    assert honest.modelled.all()
    earlier = answers(past, tampered(past.examples, later=False), workspace)
    assert (earlier.rate != honest.rate).mean() > 0.5


def test_a_fit_sees_neither_outcomes_nor_times_of_later(past):
    """What was known at the cut has no trade, outcome or time from the cut on."""
    known = known_at(past.examples, CUT)
    assert known.submitted_at.max() < CUT
    for values, times in (
        (known.accepted, known.decided_at),
        (known.resale_rate, known.resold_at),
        (known.fraud, known.fraud_known_at),
    ):
        assert times.max() < CUT
        np.testing.assert_array_equal(np.isfinite(values), times >= 0)


def test_steps_cover_the_period_once():
    """Steps are retrain_days long, the last one what is left, without gap or overlap."""
    steps = steps_of(replace(JOB, until=SINCE + timedelta(days=25), retrain_days=10))
    assert [(until - since) // DAY_US for since, until in steps] == [10, 10, 5]
    assert steps[0][0] == CUT
    assert [until for _, until in steps[:-1]] == [since for since, _ in steps[1:]]


def test_a_step_before_enough_history_says_so_and_prices_as_the_service_would(past, workspace):
    """Where no fit is possible the fallback prices, everything is held and nothing is predicted."""
    first = past.examples.submitted_at.min()
    begin = datetime.fromtimestamp(first // 1_000_000, SINCE.tzinfo)
    job = BacktestJob(since=begin, until=begin + timedelta(days=40), retrain_days=20)
    early = replace(past, job=job, examples=known_at(past.examples, to_microseconds(job.until)))
    result = backtest(workspace, past=early, listener=SILENT)
    one, two = result.steps
    assert one.figures.model.modelled == 0
    assert one.figures.model.decisions["pay"] == 0.0  # held, or reviewed where a rule says so
    assert "no discount model could be fitted" in one.step.models.notes[0]
    assert two.figures.model.modelled == two.figures.trades
    assert any("prices are the fallback's" in note for note in result.notes)
    assert result.total.trades == one.figures.trades + two.figures.trades
    assert result.total.log.bought == one.figures.log.bought + two.figures.log.bought


def test_a_refused_refit_leaves_the_model_before_in_its_place(past, workspace):
    """As live: the earlier model goes on answering, and the step says so."""
    pair = registered_pair(
        model_registry(workspace), alias="champion", submitted_at=past.period.submitted_at
    ).models
    step = fit_pair(
        past.examples, cut=int(past.examples.submitted_at.min()), before=pair, settings=workspace.settings
    )
    assert (step.models.discount, step.models.fraud) == (pair.discount, pair.fraud)
    assert step.models.discount_version == pair.discount_version
    assert all("the model of the step before answers" in note for note in step.notes)


def test_a_registered_pair_says_how_much_of_the_period_it_learned_from(past, workspace):
    """The warning names the share of trades a model has seen, and is absent for newer ones."""
    registry = model_registry(workspace)
    seen = registered_pair(registry, alias="champion", submitted_at=past.period.submitted_at)
    assert [note.startswith("NOT A FAIR TEST") for note in seen.notes] == [True, True]
    assert "(100%)" in seen.notes[0]
    newer = registered_pair(registry, alias="champion", submitted_at=np.array([to_microseconds(TODAY)]))
    assert newer.notes == ()
    with pytest.raises(NoSuchPair, match="no challenger"):
        registered_pair(registry, alias="challenger", submitted_at=past.period.submitted_at)


def test_command_writes_a_table_figures_and_a_page_that_opens_offline(
    trained_home, market_folder, tmp_path, capsys
):
    """One run gives readable lines, strict JSON with every part, and a page with its charts inside."""
    words = ["backtest", "--from", f"{SINCE:%Y-%m-%d}", "--to", f"{UNTIL:%Y-%m-%d}", "--pair", "champion"]
    words += [
        "--home",
        str(trained_home),
        "--out",
        str(tmp_path),
        "--oracle",
        f"{market_folder}/oracle.parquet",
    ]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0
    said = capsys.readouterr().out
    for part in ("分期 step by step", "predicted by realised profit", "NOT A FAIR TEST", "best possible"):
        assert part in said
    data = json.loads((tmp_path / "backtest.json").read_text(), parse_constant=pytest.fail)
    days = data["series"]["days"]
    assert days[0] == f"{SINCE:%Y-%m-%d}"
    assert all(len(data["series"][name]) == len(days) for name in ("logged_fen", "stock_model", "trades"))
    assert sum(data["series"]["trades"]) == data["total"]["trades"] == data["steps"][0]["figures"]["trades"]
    assert 0 < data["total"]["truth"]["model"]["estimate"] < 1
    page = (tmp_path / "backtest.html").read_text()
    assert page.count("<svg") == 4
    assert "累计利润" in page
    assert not re.search(r'(?:src|href)="(?!#)', page)


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (replace(JOB, since=UNTIL, until=SINCE), "before it begins"),
        (replace(JOB, since=TODAY, until=TODAY + timedelta(days=9)), "the trades reach from 2025-09"),
        (replace(JOB, oracle=Path("nowhere.parquet")), "no file nowhere"),
    ],
)
def test_a_period_without_trades_or_truth_is_refused(workspace, job, said):
    """The refusal comes before any work and says what is wrong."""
    with pytest.raises(CannotReplay, match=said):
        read_past(workspace, job=job, progress=lambda done, total: pytest.fail("features were computed"))


def test_a_file_that_is_no_oracle_of_these_trades_is_refused(workspace, market_folder):
    """Another table in its place is named, with what it lacks."""
    job = replace(JOB, oracle=market_folder / "trades.parquet")
    with pytest.raises(CannotReplay, match="is not the oracle of these trades"):
        read_past(workspace, job=job, progress=lambda done, total: None)


def test_trades_without_outcomes_and_an_empty_workspace_are_refused(own_tables, tmp_path):
    """There is nothing to compare with where nobody knows what came of any trade."""
    table = own_tables.tables.read("trades")
    path = own_tables.tables.path("trades")
    for name in ("accepted", "decided_at", "resale_rate", "resold_at", "fraud", "fraud_known_at"):
        place = table.schema.get_field_index(name)
        table = table.set_column(place, name, pa.nulls(len(table), table.schema.field(name).type))
    pq.write_table(table, path)
    with pytest.raises(CannotReplay, match="no outcome is known"):
        read_past(own_tables, job=JOB, progress=lambda done, total: None)
    with pytest.raises(CannotReplay, match="no trades yet"):
        read_past(Workspace.open(tmp_path / "new"), job=JOB, progress=lambda done, total: None)


def test_what_came_of_a_trade_by_hand(past):
    """A resold card earns its resale less rate, capital for its days, and handling; a fraud costs its payout; a card
    neither resold nor known as fraud counts as nothing yet and stays in stock."""
    rows = past.examples.rows(np.flatnonzero(past.examples.columns["card_form"] == "virtual")[:3])
    known = np.full(3, rows.submitted_at[0] + 3 * DAY_US)
    cards = replace(
        rows,
        face_value_fen=np.full(3, 10_000),
        offered_rate=np.array([0.9, 0.8, 0.9]),
        accepted=np.ones(3),
        decided_at=known - 2 * DAY_US,
        resale_rate=np.array([0.95, np.nan, np.nan]),
        resold_at=np.where([True, False, False], known, -1),
        fraud=np.array([0.0, 1.0, np.nan]),
        fraud_known_at=np.where([True, True, False], known, -1),
    )
    log = logged(cards, Settings())
    tied = 0.0003 * 2
    np.testing.assert_allclose(log.profit_fen, [10_000 * (0.95 - 0.9 * (1 + tied)) - 200, 0, 0])
    np.testing.assert_allclose(log.loss_fen, [0, 10_000 * 0.8 * (1 + tied) + 200, 0])
    assert log.settled.tolist() == [True, True, False]
    assert log.in_stock_until.tolist() == [known[0], known[1], NEVER]


def made(size: int, **columns: np.ndarray) -> Ledger:
    """A ledger of ``size`` trades on one day each of ten, quoted and bought at 0.9; ``columns`` replace defaults."""
    submitted = np.sort(np.arange(size) % 10) * DAY_US
    log = dict.fromkeys(Logged.__dataclass_fields__, np.zeros(size)) | {
        "day": submitted // DAY_US,
        "kind": np.full(size, "jd_ecard/valid", dtype=object),
        "seller_id": np.arange(size).astype(str),
        "face_value_fen": np.full(size, 10_000),
        "at_risk_fen": np.full(size, 9_000),
        "offered_rate": np.full(size, 0.9),
        "accepted": np.ones(size),
        "submitted_at": submitted,
        "in_stock_from": submitted,
        "in_stock_until": submitted + 3 * DAY_US,
        **{name: np.ones(size, dtype=bool) for name in ("bought", "settled", "labelled")},
    }
    said = dict.fromkeys(Answered.__dataclass_fields__, np.zeros(size)) | {
        "modelled": np.ones(size, dtype=bool),
        "no_offer": np.zeros(size, dtype=bool),
        "action": np.full(size, "pay", dtype=object),
        "rate": np.full(size, 0.9),
        "centre_rate": np.full(size, 0.9),
        "acceptance": np.full(size, 0.5),
        "logged_acceptance": np.full(size, 0.5),
        "days_to_sell": np.full(size, 2.0),
    }
    own = {name: column for name, column in columns.items() if name in log}
    theirs = {name: column for name, column in columns.items() if name in said}
    assert len(own) + len(theirs) == len(columns)
    return Ledger(
        step=np.zeros(size, dtype=np.int64),
        log=Logged(**(log | own)),
        said=Answered(**(said | theirs)),
        truth=None,
    )


def figures(ledger: Ledger):
    """The figures of a hand-made ledger."""
    stock = stock_figures(series_of(ledger), ledger.log.day)
    return figures_of(ledger, stock=stock, settings=Settings())


def test_fraud_money_is_stopped_by_the_share_each_decision_catches():
    """Of four frauds paid, held, reviewed and refused, nothing, half, nine tenths and all of the money is kept."""
    action = np.array(["pay", "hold", "review", "refuse", "refuse", "pay"], dtype=object)
    found = figures(made(6, action=action, fraud=np.array([1.0, 1, 1, 1, 0, 0]))).fraud
    assert (found.frauds, found.at_risk_fen) == (4, 36_000)
    assert found.stopped_fen == pytest.approx(9_000 * 2.4)
    assert found.stopped_share.estimate == pytest.approx(0.6)
    assert (found.honest, found.honest_refused) == (2, 0.5)


def test_predicted_counts_only_cards_that_would_be_bought_and_is_set_against_what_came():
    """Cards without an offer, or refused, earn nothing; predicted profit of the log's purchases holds the expected
    fraud among acceptances."""
    size = 100
    none = np.arange(size) < 20
    found = figures(
        made(
            size,
            no_offer=none,
            expected_profit_fen=np.full(size, 50.0),
            profit_fen=np.full(size, 80.0),
            logged_profit_fen=np.full(size, 100.0),
            logged_fixed_fen=np.full(size, -10.0),
        )
    )
    assert found.model.predicted_profit_fen.estimate == pytest.approx(80 * 50.0)
    assert found.model.expected_purchases == pytest.approx(40.0)
    assert found.model.no_offer_share == pytest.approx(0.2)
    assert found.belief.resale_ratio.estimate == pytest.approx(100 / 80)
    assert found.belief.ratio.estimate == pytest.approx((100 - 10 / 0.5) / 80)


def test_coverage_names_the_worst_card_type_with_enough_resales():
    """A type with 300 resales is judged, one with fewer is not."""
    size = 450
    kind = np.array(["many/valid"] * 300 + ["few/valid"] * 150, dtype=object)
    outside = np.arange(size) % 300 < 60
    found = figures(
        made(
            size,
            kind=kind,
            resale_rate=np.where(outside, 0.5, 0.9),
            **{name: np.full(size, value) for name, value in (("resale_p10", 0.85), ("resale_p90", 0.95))},
        )
    ).ranges["80"]
    assert found.coverage.estimate == pytest.approx(1 - 120 / 450)
    assert (found.worst, found.worst_type) == (pytest.approx(0.8), "many/valid")


def test_daily_moves_follow_the_mean_rate_of_a_card_type():
    """A type whose mean rate rises by a point each day moves by a point, and the log's that stands still by none."""
    ledger = made(100, rate=0.8 + 0.01 * np.sort(np.arange(100) % 10))
    found = stability_figures(ledger)
    assert found.moves == 9
    assert (found.mean, found.logged_mean) == (pytest.approx(0.01), pytest.approx(0.0))
    assert stability_figures(made(20)).moves == 0


def test_stock_counts_cards_from_purchase_to_sale():
    """Ten cards a day kept three days are thirty in the log; half of them kept two days are ten for the models."""
    series = series_of(made(100))
    assert series.stock_logged.tolist() == [10, 20, 30, 30, 30, 30, 30, 30, 30, 30]
    assert series.stock_model.tolist() == pytest.approx([5, 10, 10, 10, 10, 10, 10, 10, 10, 10])


def test_off_policy_value_where_the_log_covers_the_rates_and_a_reason_where_not():
    """Drawn offers around the models' own rates give an estimate with full overlap; of rates beyond them the first
    step is judged; without draws there is a reason."""
    size = 4_000
    rng = np.random.default_rng(5)
    offered = 0.9 + rng.uniform(-0.02, 0.02, size)
    columns = {
        "offered_rate": offered,
        "accepted": (rng.random(size) < 0.5 + 5 * (offered - 0.9)).astype(np.float64),
        "logged_acceptance": 0.5 + 5 * (offered - 0.9),
        "centre": np.full(size, 0.9),
        "density": np.full(size, 25.0),
        "centre_acceptance": np.full(size, 0.5),
        "centre_profit_fen": np.full(size, 100.0),
        "logged_profit_fen": 100.0 - 10_000 * (offered - 0.9),
    }
    found = off_policy_figures(made(size, **columns))
    assert found.value is not None
    assert found.value.overlap >= 0.99
    assert found.value.low <= 50 <= found.value.high
    far = {"centre_rate": 0.95, "first_rate": 0.91, "first_acceptance": 0.55, "first_profit_fen": 0.0}
    step = off_policy_figures(made(size, **columns | {k: np.full(size, v) for k, v in far.items()}))
    assert step.value is None
    assert step.first_step is not None
    assert (step.first_step.whole, step.first_step.moved) == (False, 1.0)
    assert step.first_step.value.gain_fen == pytest.approx(-step.first_step.value.logged_fen)
    undrawn = columns | {"density": np.full(size, np.nan)}
    refused = off_policy_figures(made(size, **undrawn))
    assert refused.value is None
    assert "the log's offers do not cover the models' rates" in refused.refused


def test_intervals_resample_days_and_need_some():
    """An interval holds its estimate, is the same each time, and is absent for a handful of days."""
    day = np.repeat(np.arange(40), 5)
    rng = np.random.default_rng(1)
    top, bottom = rng.gamma(2.0, 1.0, 200), np.ones(200)
    found = ratio(top, bottom, day)
    assert found == ratio(top, bottom, day)
    assert found.estimate == pytest.approx(top.mean())
    assert found.low < found.estimate < found.high
    assert np.isnan(ratio(top[:10], bottom[:10], day[:10]).low)
    assert np.isnan(ratio(top, np.zeros(200), day).estimate)
    assert total(top, day).estimate == pytest.approx(top.sum())
