"""The worked example of docs/adding_a_feature.md, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from features import definitions
from features.catalogue import load_catalogue
from features.events import Record, Submitted
from features.online import LiveFeatures
from features.registry import Registry
from features.rows import SPINE_COLUMNS
from features.training_set import compute_features
from tests.features import worlds
from tests.features.replay import MemoryStates, timeline

DOCUMENT = Path(definitions.__file__).parent.parent / "docs" / "adding_a_feature.md"
NAME = "seller_hour_of_month"


def example() -> str:
    found = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    assert found is not None
    return found.group(1)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry with nothing but the example in it."""
    registry = Registry()
    source = tmp_path_factory.mktemp("example") / "example.py"
    source.write_text(example(), encoding="utf-8")
    names = vars(definitions) | {"define": registry.define}  # as if it stood in that module
    exec(compile(example(), str(source), "exec"), names)
    return registry


def test_the_example_is_short():
    """A new feature takes fewer than 15 lines in one place."""
    assert len(example().splitlines()) < 15


def test_the_example_is_in_the_dictionary(registry):
    """Name, meaning, unit, range and model of the new feature follow from its definition."""
    entry = registry[NAME].to_dict()
    assert entry["meaning"].startswith("Face value the seller offered in the last hour")
    assert (entry["unit"], entry["range"], entry["models"]) == ("ratio", "0 to any", ["fraud"])
    assert len(str(entry["version"])) == 8


def test_the_example_is_equal_offline_and_live(registry):
    """Replaying a history through the live path gives the offline column of the new feature, bit for bit."""
    trades, market = worlds.trades(rows=300, seed=21), worlds.market(rows=20, seed=21)
    offline = compute_features(
        spine=trades.select(SPINE_COLUMNS),
        trades=trades,
        market=market,
        catalogue=load_catalogue(),
        registry=registry,
        progress=lambda done, total: None,
    )[NAME]
    features = LiveFeatures(states=MemoryStates(), registry=registry, catalogue=load_catalogue())
    features.start(generation="example", now=worlds.START)
    live = {}
    for seq, (at, event) in enumerate(timeline(trades, market), start=1):
        if isinstance(event, Submitted):
            live[event.trade["trade_id"]] = features.answer(event.trade).values[NAME]
        features.apply([Record(seq, event)], now=at)
    np.testing.assert_array_equal([live[trade_id] for trade_id in trades["trade_id"].to_pylist()], offline)
    assert np.isfinite(offline).sum() > 100
