"""Versions of definitions: what makes a new one, and how a former one is found again."""

from __future__ import annotations

import json

import pytest

from features.arithmetic import ratio
from features.definitions import FEATURES
from features.digest import code_digest
from features.moment import Moment
from features.registry import Registry, UnknownFeature
from models.quoting import ModelPair, as_trained
from pipelines.feature_pins import FeaturesGone, pins, write_versions

STRENGTH = 5.0


def helper(m):
    return m.face_fen + STRENGTH


def first(m):
    """One wording."""
    return ratio(helper(m), 100)


def reworded(m):
    """Another wording."""
    # and a comment
    return ratio(helper(m), 100)


def changed(m):
    """One wording."""
    return ratio(helper(m), 10)


def through_another_helper(m):
    """One wording."""
    return ratio(m.face_fen, 100)


def test_words_do_not_change_a_version():
    """Another name, docstring or comment is the same definition."""
    assert code_digest(first) == code_digest(reworded)


@pytest.mark.parametrize("other", [changed, through_another_helper])
def test_code_changes_a_version(other):
    """Another number or another helper is another definition."""
    assert code_digest(first) != code_digest(other)


def test_a_changed_constant_changes_a_version(monkeypatch):
    """A constant or helper of the project that the function uses belongs to its definition."""
    before = FEATURES["kind_fraud_rate_30d"].version
    monkeypatch.setattr("features.kind_definitions.KIND_RISK_STRENGTH", 60.0)
    assert code_digest(FEATURES["kind_fraud_rate_30d"].compute) != before


def test_a_changed_word_of_the_vocabulary_changes_a_version(monkeypatch):
    """A feature written with a word of the vocabulary changes when the word's formula does."""
    before = FEATURES["seller_mean_amount_30d"].version

    def mean_amount(self, entity, window):
        return self.amount(entity, window)

    monkeypatch.setattr(Moment, "mean_amount", mean_amount)
    assert code_digest(FEATURES["seller_mean_amount_30d"].compute) != before


def test_every_version_is_its_own():
    """No two features share a definition, and their versions are stable within a run."""
    versions = {item.name: item.version for item in FEATURES}
    assert {item.name: code_digest(item.compute) for item in FEATURES} == versions


def registry_with(compute) -> Registry:
    registry = Registry()
    compute.__name__ = "amount"
    registry.define(family="card", unit="CNY", zh="金额", as_of="trade")(compute)
    return registry


class Card:
    face_fen = 400


def test_an_old_model_keeps_its_definition(tmp_path):
    """After a definition changed, a model is given the column of the definition it was trained on."""
    before = registry_with(first)
    write_versions(tmp_path, registry=before, model="discount")
    after = registry_with(changed)
    after.retire("amount", first)
    found = pins(tmp_path, registry=after)
    assert found == {"amount": before["amount"].pinned}
    values = after.values(Card(), [*after.names(), *found.values()])
    assert as_trained(values, found)["amount"] == before.values(Card())["amount"] == 4.05
    assert values["amount"] == 40.5
    assert ModelPair(discount=None, fraud=None, discount_pins=found).pinned_columns == tuple(found.values())


def test_models_trained_on_a_count_that_is_gone_still_find_it(tmp_path):
    """How many labels a card type had is no feature any more; a model that learned from it serves on."""
    (tmp_path / "features.json").write_text(json.dumps({"kind_labels_30d": "d7db1691"}))
    assert pins(tmp_path, registry=FEATURES) == {"kind_labels_30d": "kind_labels_30d@d7db1691"}
    assert "kind_labels_30d" not in FEATURES


def test_an_unchanged_definition_needs_no_pin(tmp_path):
    """A model trained on today's definitions reads today's columns."""
    write_versions(tmp_path, registry=FEATURES, model="fraud")
    assert pins(tmp_path, registry=FEATURES) == {}
    assert set(json.loads((tmp_path / "features.json").read_text())) == set(FEATURES.names("fraud"))


def test_a_definition_that_is_gone_is_named(tmp_path):
    """A model that reads a definition nobody has any more cannot be used, and the error says which."""
    write_versions(tmp_path, registry=registry_with(first), model="discount")
    with pytest.raises(FeaturesGone, match="amount@"):
        pins(tmp_path, registry=registry_with(changed))
    with pytest.raises(UnknownFeature):
        FEATURES["seller_count_1h@00000000"]


def test_names_and_units_are_checked():
    """A second feature of a name, an unknown unit or as-of rule is refused where it is defined."""
    registry = registry_with(first)
    with pytest.raises(ValueError, match="twice"):
        registry.define(family="card", unit="CNY", zh="", as_of="trade")(first)
    with pytest.raises(ValueError, match="unit"):
        registry.define(family="card", unit="furlong", zh="", as_of="trade")(helper)
    with pytest.raises(ValueError, match="as-of"):
        registry.define(family="card", unit="CNY", zh="", as_of="tomorrow")(helper)
