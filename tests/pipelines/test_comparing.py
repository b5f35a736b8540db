"""Champion against challenger, promotion and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from mlflow import MlflowClient

from models.registry import CHALLENGER, CHAMPION, PREVIOUS
from pipelines.training import comparing
from pipelines.training.comparing import Comparison, NothingToCompare, compare, record
from pipelines.training.promoting import promote, rollback
from pipelines.training.promotion_checks import Verdict, not_judged
from pipelines.training.training import Job, Listener, train
from pipelines.wiring import model_registry
from serving.cli import main
from tests.conftest import EARLIER
from tests.pipelines.test_discount_checks import found

QUIET = Listener(say=lambda step: None, features=lambda done, total: None)


def test_without_models_or_newer_trades_there_is_nothing_to_compare(own_tables, workspace):
    """No model, or no trade newer than what the models learned from, is refused by name."""
    with pytest.raises(NothingToCompare, match="no fraud model"):
        compare(own_tables, name="fraud")
    with pytest.raises(NothingToCompare, match="newer"):
        compare(workspace, name="fraud")


def test_compare_judges_both_on_newer_trades_and_promotion_keeps_the_old_one(own_earlier):
    """Both models get figures on trades submitted after what they learned from; a promotion can be undone."""
    registry = model_registry(own_earlier)
    first = registry.version("discount", CHAMPION).version
    alone = compare(own_earlier, name="discount")
    assert list(alone.versions) == [CHAMPION]
    assert [worth.name for worth in alone.values.worths] == ["log", "list", CHAMPION]
    assert "value_champion_referee_fen" in alone.metrics()
    assert "0 unexplained differences" in alone.notes[0]
    job = Job(models=("discount",), until=EARLIER)
    second = train(own_earlier, job=job, listener=QUIET)[0].version.version
    comparison = compare(own_earlier, name="discount")
    assert comparison.versions == {CHAMPION: first, CHALLENGER: second}
    old, new = comparison.figures
    np.testing.assert_equal(old, new)  # same data, same seed: the same model
    assert comparison.since <= EARLIER
    assert comparison.rows >= 200
    checks = found(comparison.checks)
    for word in ("profit", "acceptance log loss", "surface", "reason", "blind to the person"):
        assert checks[word].verdict is Verdict.PASSED, checks[word].what
    assert promote(registry, comparison, forced=False) == second
    assert registry.version("discount", CHAMPION).version == second
    assert registry.version("discount", PREVIOUS).version == first
    assert "acceptance" in registry.version("discount", CHAMPION).tags["promotion_checks"]
    assert rollback(registry, "discount") == first
    assert registry.version("discount", CHALLENGER).version == second


def test_an_evaluation_is_kept_in_mlflow(own_earlier):
    """`huika evaluate` leaves a run with the figures, the versions and the plot, for who looks at MLflow."""
    comparison = compare(own_earlier, name="discount")
    record(own_earlier, comparison)
    client = MlflowClient(own_earlier.mlflow_url)
    experiment = client.get_experiment_by_name("evaluation")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id])[0]
    assert run.data.tags["champion_version"] == comparison.versions[CHAMPION]
    assert run.data.tags["promotion_checks"].startswith(tuple(Verdict))
    assert "value_list_referee_fen" in run.data.metrics
    assert [file.path for file in client.list_artifacts(run.info.run_id, "plots")] == [
        "plots/discount_value.png"
    ]


def test_a_proof_that_was_not_made_stops_a_promotion_until_a_person_says_otherwise(
    own_earlier, monkeypatch, capsys
):
    """Not judged is not passed: `huika promote` refuses, and --force is recorded on the version."""
    registry = model_registry(own_earlier)
    version = registry.version("discount", CHAMPION).version
    registry.move_alias("discount", CHALLENGER, version)
    unproven = Comparison(
        name="discount",
        since=EARLIER,
        rows=1_000,
        versions={CHAMPION: version, CHALLENGER: version},
        figures=({}, {}),
        notes=(),
        checks=(not_judged("profit", "nobody was offered such rates", proof=True),),
    )
    monkeypatch.setattr(comparing, "compare", lambda workspace, *, name: unproven)
    words = ["promote", "discount", "--home", str(own_earlier.home)]
    with pytest.raises(SystemExit):
        main(words)
    assert "not promoted: not judged: profit: nobody was offered such rates" in capsys.readouterr().err
    assert registry.version("discount", CHALLENGER).version == version
    with pytest.raises(SystemExit) as ended:
        main([*words, "--force"])
    assert not ended.value.code
    tags = registry.version("discount", CHAMPION).tags
    assert tags["promotion_forced"] == "true"
    assert tags["promotion_checks"].startswith("not judged: profit")
