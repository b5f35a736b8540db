"""Champion against challenger, promotion and the way back."""

from __future__ import annotations

import numpy as np
import pytest

from models.registry import CHALLENGER, CHAMPION, PREVIOUS
from pipelines.training.comparing import NothingToCompare, compare
from pipelines.training.promoting import promote, rollback
from pipelines.training.training import Job, Listener, train
from pipelines.wiring import model_registry
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
    assert alone.checks == ()
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
        assert checks[word].passed, checks[word].what
    assert promote(registry, comparison, forced=False) == second
    assert registry.version("discount", CHAMPION).version == second
    assert registry.version("discount", PREVIOUS).version == first
    assert "acceptance" in registry.version("discount", CHAMPION).tags["promotion_checks"]
    assert rollback(registry, "discount") == first
    assert registry.version("discount", CHALLENGER).version == second
