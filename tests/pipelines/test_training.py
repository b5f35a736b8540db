"""From tables to registered models, and the aliases that say which one serves."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.compute as pc
import pytest

from features.definitions import FEATURES
from features.training_set import NothingToTrainOn, build_training_set, paused_columns
from models.fraud.training import fit_fraud
from models.registry import CHALLENGER, CHAMPION, DamagedModel, ModelNotFound
from pipelines.champions import load_pair
from pipelines.settings import Settings
from pipelines.stored_features import stored_training_set
from pipelines.training import training
from pipelines.training.collecting import collect
from pipelines.training.comparing import Comparison
from pipelines.training.discount_plots import discount_plots
from pipelines.training.examples import stored_examples
from pipelines.training.promoting import promote, rollback
from pipelines.training.promotion_checks import check
from pipelines.training.splitting import TooLittleHistory, split_by_time
from pipelines.training.training import Job, Listener, train
from pipelines.wiring import feature_store, model_registry
from pipelines.workspace import Workspace
from serving.worth_lines import first_words
from tests.conftest import TODAY
from tests.models.discount_market import fitted_model
from tests.pipelines.test_discount_checks import newer

QUIET = Listener(say=lambda step: None, features=lambda done, total: None)
DAY = 86_400_000_000
PLOTS = {
    "discount": {"discount.png", "discount_weeks.png", "discount_surface.png", "discount_value.png"},
    "fraud": {"fraud.png", "fraud_cost.png", "fraud_weeks.png"},
}


def test_first_models_are_champions_with_all_they_need(workspace):
    """Each registered version has alias, digest, origin tags, metrics, parameters, a plot and a signature."""
    registry = model_registry(workspace)
    for name in ("discount", "fraud"):
        version = registry.version(name, CHAMPION)
        assert version.tags["features_version"] == FEATURES.version()
        assert len(version.tags["sha256"]) == 64
        assert version.tags["data_fingerprint"]
        assert version.tags["code_version"]
        assert len(version.metrics) > 10
        client = mlflow.MlflowClient(tracking_uri=workspace.mlflow_url, registry_uri=workspace.mlflow_url)
        run = client.get_model_version(name, version.version).run_id
        plots = {Path(item.path).name for item in client.list_artifacts(run, "plots")}
        assert plots == PLOTS[name]
        assert client.get_run(run).data.params["test_rows"]


@pytest.mark.parametrize("name", ["discount", "fraud"])
def test_registered_model_answers_through_mlflow_like_our_own(workspace, name):
    """The generic MLflow interface loads the model without pickle and gives the same numbers."""
    registry = model_registry(workspace)
    mlflow.set_tracking_uri(workspace.mlflow_url)
    model = mlflow.pyfunc.load_model(f"models:/{name}@champion")
    example = model.input_example
    answer = model.predict(example)
    assert len(answer) == len(example)
    if name == "fraud":
        from models.frames import columns_of_frame

        own = load_pair(registry).fraud
        assert own is not None
        columns = columns_of_frame(example, categorical=own.encoding.categorical)
        np.testing.assert_array_equal(answer["fraud_probability"].to_numpy(), own.probability(columns))
    assert not list(registry.folder(registry.version(name, CHAMPION)).rglob("*.pkl"))


def test_retrieval_gives_the_rows_of_the_spine_in_order(workspace):
    """What Feast hands out for training equals the written training set, row by row."""
    training_set = build_training_set(
        store=workspace.tables,
        registry=FEATURES,
        folder=workspace.training_sets,
        since=None,
        until=None,
        progress=lambda done, total: None,
    )
    store = feature_store(workspace)
    store.register(registry=FEATURES, training_set=training_set.path)
    spine = training_set.trades.select(["trade_id", "submitted_at"]).slice(100, 300)
    found = store.retrieve(registry=FEATURES, model="fraud", spine=spine)
    assert found["trade_id"].to_pylist() == spine["trade_id"].to_pylist()
    assert set(FEATURES.names("fraud")) <= set(found.column_names)


def test_every_fit_of_the_fraud_model_is_told_what_pauses_of_labels_look_like(own_tables, monkeypatch):
    """The judged and the serving model's fits have, beside their columns and row by row with them, those of pauses."""
    fits = []

    def told(**arguments):
        fits.append(arguments)
        return fit_fraud(**arguments)

    monkeypatch.setattr("pipelines.training.fraud.fit_fraud", told)
    train(own_tables, job=Job(models=("fraud",)), listener=QUIET)
    examples = stored_examples(own_tables, model="fraud", since=datetime(2000, 1, 1, tzinfo=UTC))
    place = {int(moment): row for row, moment in enumerate(examples.submitted_ms)}
    assert len(place) == len(examples)  # a moment names its trade
    paused = paused_columns(stored_training_set(own_tables, paused=("fraud",)), FEATURES, "fraud")
    assert set(paused) == set(FEATURES.paused_features("fraud"))
    assert len(fits) >= 2
    for fit in fits:
        rows = [place[int(moment)] for moment in fit["submitted_at"]]
        for name in ("seller_labels_all", "kind_fraud_rate_30d"):
            assert np.array_equal(fit["columns"][name], examples.columns[name][rows], equal_nan=True)
            assert np.array_equal(fit["paused"][name], paused[name][rows], equal_nan=True)
    known = examples.columns["seller_labels_all"]
    assert 0 < np.nansum(paused["seller_labels_all"]) < np.nansum(known)


def test_training_set_is_reproducible_to_the_byte(own_tables, tmp_path):
    """The same tables, definitions and period give the same file."""
    files = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        built = build_training_set(
            store=own_tables.tables,
            registry=FEATURES,
            folder=folder,
            since=None,
            until=TODAY - timedelta(days=60),
            progress=lambda done, total: None,
        )
        files.append(built.path.read_bytes())
    assert files[0] == files[1]


def test_training_until_a_moment_uses_only_what_was_known_before_it(own_tables):
    """With `until`, no later trade and no outcome known later is among the examples."""
    until = TODAY - timedelta(days=60)
    built = build_training_set(
        store=own_tables.tables,
        registry=FEATURES,
        folder=own_tables.training_sets,
        since=None,
        until=until,
        progress=lambda done, total: None,
    )
    assert pc.max(built.trades["submitted_at"]).as_py() < until
    for value, time in (
        ("fraud", "fraud_known_at"),
        ("resale_rate", "resold_at"),
        ("accepted", "decided_at"),
    ):
        assert pc.max(built.trades[time]).as_py() < until
        assert built.trades[value].null_count == built.trades[time].null_count


def test_later_models_are_challengers_and_rollback_needs_a_promotion(own_earlier):
    """The second model of a kind becomes challenger; without a promotion there is nothing to roll back to."""
    registry = model_registry(own_earlier)
    first = registry.version("discount", CHAMPION).version
    trained = train(own_earlier, job=Job(models=("discount",)), listener=QUIET)[0]
    second = trained.version.version
    assert trained.alias == CHALLENGER
    assert registry.version("discount", CHAMPION).version == first
    with pytest.raises(ModelNotFound):
        rollback(registry, "discount")
    registry.move_alias("discount", "previous", first)
    registry.move_alias("discount", CHAMPION, second)
    assert rollback(registry, "discount") == first
    assert registry.version("discount", CHALLENGER).version == second


def test_a_first_discount_model_that_fails_does_not_go_live(own_tables, monkeypatch):
    """Proven worse than the log's offers it stays challenger, with no champion beside it, until somebody promotes it;
    the version keeps the check."""
    fails = (check("gain over the logged offers", passed=False, proof=True),)
    monkeypatch.setattr(training, "first_checks", lambda values, fairness: fails)
    trained = train(own_tables, job=Job(models=("discount",)), listener=QUIET)[0]
    registry = model_registry(own_tables)
    assert trained.alias == CHALLENGER
    assert registry.find("discount", CHAMPION) is None
    assert registry.version("discount", CHALLENGER).tags["promotion_checks"] == str(fails[0])
    assert first_words(trained).startswith("It does not go live, it stays challenger: gain over the logged")
    version = trained.version.version
    comparison = Comparison("discount", TODAY, 1, {CHALLENGER: version}, ({},), (), fails)
    assert promote(registry, comparison, forced=True) == version
    assert registry.version("discount", CHAMPION).version == version
    assert registry.find("discount", CHALLENGER) is None


def test_damaged_model_files_are_refused(trained_home, tmp_path):
    """A model whose files changed after registration is not loaded; its place stays empty and says so."""
    shutil.copytree(trained_home, tmp_path / "copy")
    database = tmp_path / "copy" / "mlflow.db"
    workspace = Workspace.open(tmp_path / "copy")
    registry = model_registry(workspace)
    version = registry.version("fraud", CHAMPION)
    folder = registry.folder(version)
    original = (folder / "model.txt").read_text()
    try:
        (folder / "model.txt").write_text(original.replace("leaf_value=", "leaf_value=1", 1))
        with pytest.raises(DamagedModel):
            registry.folder(version)
        pair = load_pair(registry)
        assert pair.fraud is None
        assert pair.degraded == ("fraud_model_missing",)
    finally:
        (folder / "model.txt").write_text(original)
    assert database.exists()


def test_fraud_only_data_trains_a_fraud_model(own_tables, tmp_path):
    """Data without any rate trains the fraud model, and the model names the signals it lacked."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipelines.training.importing import import_tables
    from pipelines.training.training import has_prices

    rng = np.random.default_rng(5)
    size = 6_000
    device = rng.integers(0, 200, size)
    fraud = rng.random(size) < np.where(device < 10, 0.5, 0.01)
    times = np.sort(rng.integers(0, 60 * DAY, size)) + np.datetime64("2025-01-01", "us").astype(np.int64)
    source = tmp_path / "raw.parquet"
    table = {
        "ID": np.arange(size).astype(str),
        "WHEN": pa.array(times, pa.timestamp("us")),
        "WHO": rng.integers(0, 900, size).astype(str),
        "WHERE": device.astype(str),
        "AMOUNT": np.round(rng.gamma(2, 50, size) + 1, 2),
        "BAD": fraud.astype(int),
    }
    pq.write_table(pa.table(table), source)
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        '[trades]\ntrade_id = "ID"\nsubmitted_at = { column = "WHEN", timezone = "UTC" }\nseller_id = "WHO"\n'
        'device_id = "WHERE"\nface_value_cny = "AMOUNT"\ncard_type = { constant = "any" }\n'
        'fraud = { column = "BAD", true = [1] }\nfraud_known_at = { column = "WHEN", plus_days = 3 }\n'
    )
    from pipelines.training.mapping import load_mapping

    workspace = Workspace.open(tmp_path / "fraud-only")
    import_tables(
        store=workspace.tables,
        sources={"trades": source},
        mapping=load_mapping(mapping),
        catalogue_types={},
        add_card_types=True,
        quarantine=False,
        report_dir=workspace.reports,
        now=TODAY,
        progress=lambda stage, share: None,
    )
    assert not has_prices(workspace.tables.read("trades"))
    trained = train(workspace, job=Job(models=("fraud",)), listener=QUIET)[0]
    assert trained.alias == CHAMPION
    assert trained.metrics["auc"] > 0.7
    model = load_pair(model_registry(workspace)).fraud
    assert model is not None
    assert "seller_asked_over_market" in model.absent_signals


@pytest.mark.parametrize("known", [True, False])
def test_plots_are_drawn_with_and_without_outcomes(tmp_path, known):
    """Three pictures, of equal names, also where nothing was decided, resold or is a valid virtual card."""
    test = newer()
    if not known:
        unknown = np.full(len(test), np.nan)
        columns = {**test.columns, "card_is_expired": np.ones(len(test))}
        test = replace(test, columns=columns, accepted=unknown, resale_rate=unknown)
    paths = discount_plots(model=fitted_model(), test=test, settings=Settings(), folder=tmp_path)
    assert {path.name for path in paths} == PLOTS["discount"] - {"discount_value.png"}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in paths)


def test_an_empty_period_is_refused(own_tables):
    """A period without trades is refused by name."""
    with pytest.raises(NothingToTrainOn):
        train(own_tables, job=Job(models=("fraud",), since=TODAY + timedelta(days=9)), listener=QUIET)


def test_split_keeps_label_delay_between_training_and_test():
    """No training row was submitted or labelled at or after the cut, and young rows are left out everywhere."""
    submitted = np.arange(100) * DAY
    known = np.where(submitted + 7 * DAY < 100 * DAY, submitted + 7 * DAY, -1)
    split = split_by_time(submitted_at=submitted, known_at=known, slow=np.ones(100, bool), test_share=0.2)
    assert known[split.train].max() < split.cut
    assert submitted[split.test].min() >= split.cut
    assert submitted[split.final].max() <= 93 * DAY


def test_a_period_shorter_than_twice_its_label_delay_is_split_without_the_gap():
    """Seven days with labels after seven days still train and are judged, and the split says how."""
    submitted = np.arange(14) * DAY
    split = split_by_time(
        submitted_at=submitted,
        known_at=np.where(submitted < 7 * DAY, submitted + 7 * DAY, -1),
        slow=np.ones(14, bool),
        test_share=0.2,
    )
    assert not split.label_gap
    assert submitted[split.train].max() < split.cut <= submitted[split.test].min()


def test_a_table_labelled_as_a_whole_trains_on_its_newest_trades_too():
    """Labels told on one day say nothing about delays, of every trade or of some at random; where newer trades wait for
    theirs, they do."""
    for seed, (size, share) in enumerate(4 * [(200, 1.0), (3_000, 0.5), (5_000, 0.2), (40_000, 0.05)]):
        rng = np.random.default_rng(seed)
        submitted, everyone = np.arange(size) * (200 * DAY // size), np.ones(size, bool)
        told = rng.random(size) < share
        waiting = told & ((submitted < 120 * DAY) | (rng.random(size) < 0.2))
        for labelled, at_once in ((told, True), (waiting, False)):
            known = np.where(labelled, 230 * DAY, -1)
            split = split_by_time(submitted_at=submitted, known_at=known, slow=everyone, test_share=0.2)
            assert (split.maturity == 0) == at_once, (size, share)
            assert not at_once or len(split.final) == told.sum()


def test_what_analysts_clear_at_once_hides_no_delay():
    """Few trades mature after 30 days and many are labelled within hours: the young ones are still waiting."""
    rng = np.random.default_rng(3)
    size = 200_000
    submitted = np.sort(rng.integers(0, 120 * DAY, size))
    cleared, matured = rng.random(size) < 0.15, rng.random(size) < 0.004
    known = np.where(cleared, submitted + DAY // 4, np.where(matured, submitted + 30 * DAY, -1))
    known[known > 120 * DAY] = -1
    split = split_by_time(submitted_at=submitted, known_at=known, slow=matured & ~cleared, test_share=0.2)
    assert split.maturity == 30 * DAY
    assert submitted[split.final].max() <= 90 * DAY + DAY


def test_split_refuses_a_history_shorter_than_its_labels():
    """A period in which no label became known is refused."""
    submitted = np.arange(5) * DAY
    with pytest.raises(TooLittleHistory):
        split_by_time(
            submitted_at=submitted,
            known_at=np.full(5, -1),
            slow=np.ones(5, bool),
            test_share=0.2,
        )


def test_collect_without_live_trades_changes_nothing(own_tables):
    """Nothing recorded means nothing merged."""
    from pipelines.application_data import ApplicationData

    before = own_tables.tables.fingerprint("trades")
    collected = collect(data=ApplicationData(own_tables.application_url), store=own_tables.tables)
    assert (collected.trades, collected.market) == (0, 0)
    assert own_tables.tables.fingerprint("trades") == before
